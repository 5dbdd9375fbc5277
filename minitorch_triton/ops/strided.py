"""``as_strided``: any shape and strides over a tensor's memory, and the gradient of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from minitorch_triton.autograd.modes import no_grad
from minitorch_triton.ops import creation, dispatch, indexing, views
from minitorch_triton.ops.pointwise import is_dense
from minitorch_triton.storage import Layout, layout, span


def as_strided(
    input: Any, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Any:
    """A view of the memory with any shape and strides, which may overlap.

    Args:
        size, stride: of the view, the strides in elements.
        storage_offset: of the view's first element in the memory; by default that of ``input``.

    Raises:
        RuntimeError: the view would reach out of the memory.
    """
    size, stride = views.shape_arguments((size,)), views.shape_arguments((stride,))
    start = input.offset if storage_offset is None else storage_offset
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    return _as_strided(input, input.layout, size, stride, start - input.offset)


def _check_geometry(size: tuple, stride: tuple, start: int, x: Any) -> None:
    if any(step < 0 for step in stride):
        raise RuntimeError(
            "as_strided: Negative strides are not supported at the moment, got strides: "
            f"{list(stride)}"
        )
    if start < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {start}")
    needed = (start + span(size, stride)) * x.itemsize
    if math.prod(size) and needed > x.storage.size:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {start}, and "
            f"itemsize {x.itemsize} requiring a storage size of {needed} are out of bounds for "
            f"storage of size {x.storage.size}"
        )


def _as_strided(x: Any, form: Layout, size: tuple, stride: tuple, distance: int) -> Any:
    """The view of a tensor that lies in its memory as one of layout ``form`` does.

    Args:
        distance: from the first element of x to that of the view.
    """
    if x.layout.strides != form.strides:
        raise RuntimeError(
            f"the gradient of as_strided needs a base without gaps, not one of shape "
            f"{tuple(form.shape)} and strides {form.strides}"
        )
    _check_geometry(size, stride, x.offset + distance, x)
    return views.make_view(
        x,
        layout(size, stride, form.dtype, form.device),
        x.offset + distance,
        _AsStrided,
        (distance,),
        (_as_strided, form, size, stride, distance),
    )


def step_back(x: Any, view: Any) -> tuple:
    """The step of a chain that leads from a view by strides back to x."""
    if view.numel() == x.numel() and is_dense(view.layout) and is_dense(x.layout):
        form = x.layout
        return _as_strided, view.layout, form.shape, form.strides, x.offset - view.offset
    return (_lost,)


def _lost(x: Any) -> Any:
    raise RuntimeError(
        "a view of a tensor that as_strided_ took elements from, or gave more than once, cannot be "
        "modified inplace"
    )


class _AsStrided(views.ViewNode):
    """Adds each element of the gradient where the view read it, and reads x's elements there."""

    __slots__ = ()

    def apply(self, grads: list) -> Sequence:
        (distance,) = self.details
        (view,) = self.outputs
        form = self.form
        # From the first element of memory that either of the two begins at.
        before, start = max(0, -distance), max(0, distance)
        n = max(before + span(form.shape, form.strides), start + span(view.shape, view.strides))
        with no_grad():
            read, own = _places(view, start), _places(form, before)
        memory = indexing.scatter_add(_row(n, form, 0), 0, read, grads[0].reshape(-1))
        if not is_dense(form):
            # Elements of x that share their memory share its gradient.
            with no_grad():
                sharers = indexing.scatter_add(_row(n, form, 0), 0, own, _row(form.numel, form, 1))
            memory = memory / sharers.clamp(min=1)
        return (indexing.gather(memory, 0, own).view(form.shape),)


_AsStrided.__name__ = dispatch.node_name("AsStrided")


def _row(n: int, form: Layout, value: float) -> Any:
    return creation.filled(layout((n,), None, form.dtype, form.device), value)


def _places(form: Layout, start: int) -> Any:
    """Where in memory the elements of a layout lie, in row-major order."""
    places = creation.filled(layout(form.shape, None, torch.int64, form.device), start)
    for dim, (n, step) in enumerate(zip(form.shape, form.strides, strict=True)):
        along = creation.arange(n, device=form.device) * step
        places = places + along.view((n,) + (1,) * (len(form.shape) - 1 - dim))
    return places.view(-1)
