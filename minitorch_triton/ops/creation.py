"""Creation, filling, copying and casting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from minitorch_triton.autograd import node
from minitorch_triton.autograd.modes import state
from minitorch_triton.kernels import creation as kernels
from minitorch_triton.kernels import elementwise as fn
from minitorch_triton.kernels.map import TRITON_DTYPE
from minitorch_triton.ops import dispatch, promotion
from minitorch_triton.ops.dispatch import Number, Op, Planned, empty_as
from minitorch_triton.ops.output import write_out
from minitorch_triton.ops.pointwise import (
    Elementwise,
    apply_map,
    is_dense,
    write_inplace,
)
from minitorch_triton.storage import Layout, contiguous_strides, layout


def resolve_device(device: Any) -> torch.device:
    """A device from its name; ``cuda`` becomes the current one, which must exist."""
    if device is None:
        return torch.device("cpu")
    device = torch.device(device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise RuntimeError("No CUDA GPUs are available")
        if device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
    elif device.type != "cpu":
        raise RuntimeError(f"minitorch_triton runs on cpu and cuda devices, not on {device.type}")
    elif device.index is not None:
        device = torch.device("cpu")
    return device


def check_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype itself; a TypeError for one that no kernel knows."""
    if dtype not in TRITON_DTYPE:
        raise TypeError(f"minitorch_triton has no tensors of {dtype}")
    return dtype


def wrap_dim(dim: int, ndim: int) -> int:
    """A dimension counted from the end made positive; PyTorch's IndexError outside the range."""
    bound = max(ndim, 1)
    if not isinstance(dim, int):
        raise TypeError(f"dim must be int, not {type(dim).__name__}")
    if not -bound <= dim < bound:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got "
            f"{dim})"
        )
    return dim % bound


# Filling and copying, without the graph


def fill_with(y: Any, value: Any) -> None:
    """Set every element; ``value`` is a Python number or a Number."""
    number = value if isinstance(value, Number) else Number(value)
    apply_map(fn.identity, y, [number], promotion.compute_type(y.dtype))


def copy_into(y: Any, x: Any) -> None:
    """Write x, broadcast and cast, into y."""
    apply_map(fn.identity, y, [x], promotion.compute_type(x.dtype))


def _full(form: Layout, value: Number) -> Any:
    y = empty_as(form)
    fill_with(y, value)
    return y


_planned_full = Planned(_full)


def full_as(form: Layout, value: float) -> Any:
    """A tensor of a dense layout with every element the same."""
    return _planned_full.call((form, Number(value)))[0]


def filled(form: Layout, value: float) -> Any:
    """A contiguous tensor of the shape, dtype and device of any layout, filled with a number."""
    if not form.contiguous:
        form = layout(form.shape, None, form.dtype, form.device)
    return full_as(form, value)


def zeros_as(form: Layout) -> Any:
    """Zeros of the shape, dtype and device of any layout, contiguous."""
    return filled(form, 0)


node.make.filled = filled


def form_like(form: Layout, dtype: torch.dtype | None, device: Any) -> Layout:
    """A dense layout of the same shape, whose dimensions keep their order where they have one."""
    strides = form.strides if is_dense(form) else contiguous_strides(form.shape)
    return layout(
        form.shape,
        strides,
        check_dtype(dtype or form.dtype),
        form.device if device is None else resolve_device(device),
    )


class Clone(Op):
    """A copy with its own memory."""

    composed = True

    def forward(self, x: Any) -> Any:
        y = empty_as(form_like(x.layout, None, None))
        copy_into(y, x)
        return y

    def backward(self, needs: tuple[bool, ...], g: Any) -> Any:
        return g


class Contiguous(Op):
    """A row-major copy."""

    composed = True

    def forward(self, x: Any) -> Any:
        form = x.layout
        y = empty_as(layout(form.shape, None, form.dtype, form.device))
        copy_into(y, x)
        return y

    def backward(self, needs: tuple[bool, ...], g: Any) -> Any:
        return g


class ToCopy(Op):
    """A copy in another dtype."""

    composed = True

    def forward(self, x: Any, dtype: torch.dtype) -> Any:
        y = empty_as(form_like(x.layout, dtype, None))
        copy_into(y, x)
        return y

    def backward(self, needs: tuple[bool, ...], g: Any, forms: Any) -> Any:
        return cast(g, forms[0].dtype)


class ToDevice(Op):
    """A copy on another device; the transfer is PyTorch's, as memory is."""

    composed = True

    def __call__(self, x: Any, device: torch.device) -> Any:
        x = contiguous(x)
        moved = x.torch().to(device)
        y = dispatch.Tensor.from_torch_memory(moved, shared=False)
        if x.requires_grad:
            self.link((x, device), [y])
        return y

    def forward(self, x: Any, device: torch.device) -> Any:
        raise NotImplementedError("a transfer between devices is not planned")

    def backward(self, needs: tuple[bool, ...], g: Any, forms: Any) -> Any:
        return to_device(g, forms[0].device)


class Copy(Elementwise):
    """``x.copy_(source)``, in the dtype of x."""

    def types(self, operands: Sequence[Any]) -> tuple[torch.dtype, torch.dtype]:
        target, source = operands
        source_dtype = promotion.result_type(
            [] if isinstance(source, Number) else [source],
            [source.kind] if isinstance(source, Number) else [],
        )
        return promotion.compute_type(source_dtype), target.dtype


clone_op = Clone("Clone")
contiguous_op = Contiguous("Clone")
to_copy = ToCopy("ToCopy")
to_device = ToDevice("ToCopy")
copy = Copy("CopyBackwards", fn.second, {"x": fn.zero_grad, "source": fn.identity_grad})


def clone(x: Any, *, memory_format: Any = None) -> Any:
    """A copy with its own memory, in the graph."""
    if memory_format is torch.channels_last:
        return _channels_first(contiguous_op(_channels_last(x)))
    return (contiguous_op if memory_format is torch.contiguous_format else clone_op)(x)


def contiguous(x: Any, memory_format: Any = None) -> Any:
    """x itself where it is row-major already, else a copy.

    Args:
        memory_format: ``channels_last`` for images in the order of memory (N, H, W, C), though
            the dimensions stay (N, C, H, W).
    """
    if memory_format is torch.channels_last:
        last = _channels_last(x)
        return x if last.layout.contiguous else _channels_first(contiguous_op(last))
    return x if x.layout.contiguous else contiguous_op(x)


def is_contiguous(x: Any, memory_format: Any = torch.contiguous_format) -> bool:
    """Whether the elements lie in row-major order, or in that of a memory format."""
    return (_channels_last(x) if memory_format is torch.channels_last else x).layout.contiguous


def _channels_last(x: Any) -> Any:
    if x.ndim != 4:
        raise RuntimeError("required rank 4 tensor to use channels_last format")
    return x.permute(0, 2, 3, 1)


def _channels_first(x: Any) -> Any:
    return x.permute(0, 3, 1, 2)


def cast(x: Any, dtype: torch.dtype) -> Any:
    """x in another dtype; x itself where it has it."""
    if x.layout.dtype == dtype:
        return x
    # Integers and bools have no gradient.
    return to_copy(x if dtype.is_floating_point else x.detach(), check_dtype(dtype))


class Fill(Op):
    """``x.fill_(value)``: the old value has no influence, so its gradient is zero."""

    composed = True

    def forward(self, x: Any, value: Number) -> None:
        fill_with(x, value)

    def backward(self, needs: tuple[bool, ...], g: Any) -> Any:
        return zeros_as(g.layout)


fill = Fill("Fill")


def fill_(x: Any, value: Any) -> Any:
    """Set every element of x."""
    if isinstance(value, dispatch.Tensor):
        return copy.inplace(x, value)
    return write_inplace(fill, fill.plan_forward, x, [x, Number(value)])


def zero_(x: Any) -> Any:
    """Set every element of x to zero."""
    return fill_(x, 0)


# Creation


def with_grad(y: Any, requires_grad: bool) -> Any:
    """A new leaf, requiring a gradient or not."""
    if state.inference:
        dispatch.mark_uncounted([y])
    if requires_grad:
        if not y.dtype.is_floating_point:
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        y.requires_grad_()
    return y


def make(
    shape: Sequence[int],
    fill: float | None,
    dtype: torch.dtype | None,
    device: Any,
    requires_grad: bool,
) -> Any:
    """A new leaf, filled with a number, or uninitialised where ``fill`` is None."""
    for size in shape:
        if size < 0:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {size}: {list(shape)}"
            )
    form = layout(
        tuple(shape),
        None,
        check_dtype(dtype or torch.get_default_dtype()),
        resolve_device(device),
    )
    y = empty_as(form) if fill is None else full_as(form, fill)
    return with_grad(y, requires_grad)


def _arange(form: Layout, start: Number, step: Number) -> Any:
    y = empty_as(form)
    compute = torch.float64 if start.is_float or step.is_float else torch.int64
    kernels.arange(y, start, step, TRITON_DTYPE[compute])
    return y


_planned_arange = Planned(_arange)


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """``start, start + step, ...`` below ``end``; ``arange(end)`` starts from 0.

    Returns:
        A 1-d tensor, int64 if all arguments are ints, else the default float.
    """
    if end is None:
        start, end = 0, start
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype is None:
        whole = all(isinstance(number, int) for number in (start, end, step))
        dtype = torch.int64 if whole else torch.get_default_dtype()
    if all(isinstance(number, int) for number in (start, end, step)):
        n = int(-(-(end - start) // step))
    else:
        n = math.ceil((end - start) / step)
    form = layout((n,), None, check_dtype(dtype), resolve_device(device))
    y = _planned_arange.call((form, Number(start), Number(step)))[0]
    return with_grad(y, requires_grad)


def _linspace(form: Layout, start: Number, end: Number, step: Number) -> Any:
    y = empty_as(form)
    kernels.linspace(y, start, end, step)
    return y


_planned_linspace = Planned(_linspace)


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """``steps`` evenly spaced values from ``start`` to ``end``, both included."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    dtype = check_dtype(dtype or torch.get_default_dtype())
    form = layout((steps,), None, dtype, resolve_device(device))
    step = (end - start) / (steps - 1) if steps > 1 else 0.0
    numbers = [Number(float(number)) for number in (start, start if steps == 1 else end, step)]
    y = _planned_linspace.call((form, *numbers))[0]
    return with_grad(y, requires_grad)


def _eye(form: Layout) -> Any:
    y = empty_as(form)
    kernels.eye(y)
    return y


_planned_eye = Planned(_eye)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """An n x m matrix with ones on the diagonal."""
    dtype = check_dtype(dtype or torch.get_default_dtype())
    form = layout((n, n if m is None else m), None, dtype, resolve_device(device))
    y = _planned_eye.call((form,))[0]
    return with_grad(y, requires_grad)


# Joining


class Cat(Op):
    """Tensors one after the other along a dimension."""

    composed = True

    def configure(self, inputs: list[str], backward: list[str]) -> None:
        self.linked = [0]
        self.upstream = [0]
        self.saves = [dispatch.FORMS, ("input", 0)]

    def forward(self, dim: int, *tensors: Any) -> Any:
        dtype = promotion.result_type(tensors)
        first = tensors[0].shape
        size = sum(tensor.shape[dim] for tensor in tensors)
        y = dispatch.empty((*first[:dim], size, *first[dim + 1 :]), dtype, tensors[0].device)
        at = 0
        for tensor in tensors:
            copy_into(y.narrow(dim, at, tensor.shape[dim]), tensor)
            at += tensor.shape[dim]
        return y

    def backward(self, needs: tuple[bool, ...], g: Any, forms: Any, dim: int) -> Any:
        results: list = [None]
        at = 0
        for needed, form in zip(needs[1:], forms[1:], strict=True):
            size = form.shape[dim]
            results.append(cast(g.narrow(dim, at, size), form.dtype) if needed else None)
            at += size
        return results


_cat = Cat("Cat")
_stack = Cat("Stack")


def cat(tensors: Sequence[Any], dim: int = 0, *, out: Any = None) -> Any:
    """Concatenate along an existing dimension; the other sizes must agree."""
    if out is not None:
        return write_out("cat", out, tuple(tensors), lambda: cat(tensors, dim))
    tensors = tuple(tensors)
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    for index, tensor in enumerate(tensors):
        if not isinstance(tensor, dispatch.Tensor):
            raise TypeError(
                f"expected Tensor as element {index} in argument 0, but got {type(tensor).__name__}"
            )
        if not tensor.layout.shape:
            raise RuntimeError(
                f"zero-dimensional tensor (at position {index}) cannot be concatenated"
            )
    # A 1-d tensor without elements joins anything, as in PyTorch.
    tensors = tuple([t for t in tensors if t.layout.shape != (0,)]) or tensors[:1]
    ndim = len(tensors[0].layout.shape)
    dim = wrap_dim(dim, ndim)
    for index, tensor in enumerate(tensors[1:], 1):
        shape = tensor.layout.shape
        if len(shape) != ndim:
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {ndim} and {len(shape)}"
            )
        for d in range(ndim):
            if d != dim and shape[d] != tensors[0].layout.shape[d]:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size "
                    f"{tensors[0].shape[d]} but got size {tensor.shape[d]} for tensor number "
                    f"{index} in the list."
                )
    return _cat(dim, *tensors)


def stack(tensors: Sequence[Any], dim: int = 0, *, out: Any = None) -> Any:
    """Concatenate along a new dimension; all shapes must agree."""
    if out is not None:
        return write_out("stack", out, tuple(tensors), lambda: stack(tensors, dim))
    tensors = list(tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    for index, tensor in enumerate(tensors):
        if tensor.shape != tensors[0].shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(tensors[0].shape)} at "
                f"entry 0 and {list(tensor.shape)} at entry {index}"
            )
    dim = wrap_dim(dim, tensors[0].ndim + 1)
    return _stack(dim, *[tensor.unsqueeze(dim) for tensor in tensors])


node.make.stacked = stack
