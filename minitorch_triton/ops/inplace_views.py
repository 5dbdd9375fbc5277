"""Views in place: ``x.transpose_(0, 1)`` changes how x reads its memory, and not the memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from minitorch_triton.autograd.inplace import check_countable, check_inplace
from minitorch_triton.autograd.modes import state
from minitorch_triton.ops import creation, dispatch, strided, views
from minitorch_triton.ops.creation import wrap_dim
from minitorch_triton.storage import Layout, layout

Steps = list[tuple]
"""View functions with their arguments."""


def _in_place(function: Callable, undo: Callable[..., Steps]) -> Callable:
    """The method that turns a tensor into a view of itself.

    Args:
        function: makes the view; it keeps all elements.
        undo: the steps that lead back, from the layout before and the function's arguments.
    """

    def method(x: Any, *args: Any) -> Any:
        _check(x)
        return _become(x, function(x, *args), undo(x.layout, *args))

    method.__name__ = f"{function.__name__}_"
    method.__doc__ = f"In-place version of :meth:`{function.__name__}`."
    return method


def _check(x: Any) -> None:
    check_countable(x)
    if state.grad_enabled and x.requires_grad:
        check_inplace(x)


def _become(x: Any, y: Any, back: Steps) -> Any:
    """Let x be its view y, from which the steps ``back`` lead to what x was."""
    x.layout, x.offset, x.address = y.layout, y.offset, y.address
    x.storage.written()
    x.follow(y, back)
    if y._tangent is not None:
        state.dual_level.attach(x, y._tangent)
    return x


def _exchanged(before: Layout, dim0: int = 0, dim1: int = 1) -> Steps:
    ndim = len(before.shape)
    order = list(range(ndim))
    if ndim > 1:
        dim0, dim1 = wrap_dim(dim0, ndim), wrap_dim(dim1, ndim)
        order[dim0], order[dim1] = order[dim1], order[dim0]
    return [(views.permute, tuple(order))]


def _without(before: Layout, dim: int) -> Steps:
    return [(views.squeeze, wrap_dim(dim, len(before.shape) + 1))]


def _with_ones(before: Layout, dim: Any = None) -> Steps:
    """Back from ``squeeze``: the dimensions of size 1 that there were."""
    kept = views.squeezed_dims(before, dim)
    return [(views.unsqueeze, d) for d in range(len(before.shape)) if d not in kept]


transpose_ = _in_place(views.transpose, _exchanged)
t_ = _in_place(views.t, _exchanged)
unsqueeze_ = _in_place(views.unsqueeze, _without)
squeeze_ = _in_place(views.squeeze, _with_ones)


def as_strided_(
    x: Any, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Any:
    """In-place version of :meth:`as_strided`."""
    _check(x)
    y = strided.as_strided(x, size, stride, storage_offset)
    return _become(x, y, [strided.step_back(x, y)])


def resize_(x: Any, *sizes: Any) -> Any:
    """Give a tensor outside the graph another shape, contiguous, in place.

    The elements keep their order in memory. More elements than there is memory for get new memory,
    which begins with the old elements and is otherwise uninitialised; views keep the old memory.

    Raises:
        RuntimeError: the tensor requires a gradient.
    """
    shape = views.shape_arguments(sizes)
    if x.requires_grad and not state.inference:
        raise RuntimeError("cannot resize variables that require grad")
    if shape == x.layout.shape:
        return x
    check_countable(x)
    form = layout(shape, None, x.dtype, x.device)
    if x.offset * x.itemsize + form.nbytes > x.storage.size:
        _enlarge(x, math.prod(shape))
    x.layout = form
    x.storage.written()
    return x


def _enlarge(x: Any, numel: int) -> None:
    """New memory for x that begins with what its memory holds from its first element on."""
    old = dispatch.Tensor(x.storage, _row(x.storage.size // x.itemsize - x.offset, x), x.offset)
    new = dispatch.empty((numel,), x.dtype, x.device)
    creation.copy_into(views.narrow(new, 0, 0, old.numel()), old)
    version = x.storage.version
    x.storage, x.offset, x.address = new.storage, 0, new.address
    x.storage.set_version(version)


def _row(numel: int, x: Any) -> Layout:
    return layout((numel,), None, x.dtype, x.device)


def resize_as_(x: Any, other: Any) -> Any:
    """:func:`resize_` to the shape of ``other``."""
    return resize_(x, other.shape)
