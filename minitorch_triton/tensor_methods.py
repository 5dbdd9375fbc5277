"""What a tensor can be asked to compute: operators, and operations as methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from minitorch_triton import ops
from minitorch_triton.autograd.node import is_tensor
from minitorch_triton.ops import (
    comparison,
    creation,
    dispatch,
    indexing,
    inplace_views,
    pointwise,
    products,
    random,
    reductions,
    softmaxes,
    strided,
    views,
)

if TYPE_CHECKING:
    from minitorch_triton.tensor import Tensor


def _reflected(op: Callable) -> Callable:
    """The operator with its operands exchanged, for ``2 - x``."""

    def method(self: Tensor, other: Any) -> Any:
        other = _operand(other)
        return NotImplemented if other is None else op(other, self)

    return method


def _operator(op: Callable) -> Callable:
    run = op.run if isinstance(op, pointwise.Elementwise) else None

    def method(self: Tensor, other: Any) -> Any:
        if run is not None and isinstance(other, TensorMethods):
            return run((self, other))  # what op(self, other) comes to
        other = _operand(other)
        return NotImplemented if other is None else op(self, other)

    return method


def _method(op: pointwise.Elementwise) -> Callable:
    """The op as a plain function, which is the kind of method that Python calls fastest."""
    run, unary = op.run, len(op.parameters) == 1

    def method(self: Tensor, *operands: Any, **named: Any) -> Any:
        if unary and not operands and not named and isinstance(self, TensorMethods):
            return run((self,))  # what op(self) comes to
        return op(self, *operands, **named)

    method.__name__ = op.name.lower()
    method.__doc__ = op.__doc__
    return method


def _inplace(op: pointwise.Elementwise) -> Callable:
    """``x.op_(...)``: the op's result written into x."""

    def method(self: Tensor, *operands: Any) -> Tensor:
        missing = list(op.defaults.values())[len(operands) + 1 - len(op.parameters) :]
        if len(operands) + 1 < len(op.parameters):
            operands += tuple(missing)
        if not op.linked:  # without a gradient: the graph sees a copy, whose target's is zero
            return self.copy_(op(self, *operands))
        return op.inplace(self, *operands)

    method.__name__ = f"{op.name.lower()}_"
    method.__doc__ = f"In-place version of :meth:`{op.name.lower()}`."
    return method


def _operand(value: Any) -> Any:
    """What an operator can take: a tensor or a number, also NumPy's; None for anything else."""
    if isinstance(value, (TensorMethods, int, float)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        raise TypeError(
            "unsupported operand: a torch.Tensor; minitorch_triton.from_torch shares its memory"
        )
    if isinstance(value, np.ndarray):
        return dispatch.Tensor.from_torch_memory(torch.from_numpy(value))
    return None


class TensorMethods:
    """The part of :class:`minitorch_triton.Tensor` that computes, in the order of ``ops``."""

    # Indexing

    def __getitem__(self: Any, index: Any) -> Tensor:
        return ops.getitem(self, index)

    def __setitem__(self: Any, index: Any, value: Any) -> None:
        ops.setitem(self, index, value)

    # Operators

    __add__ = _operator(pointwise.add)
    __radd__ = _operator(pointwise.add)
    __iadd__ = _inplace(pointwise.add)
    __sub__ = _operator(pointwise.sub)
    __rsub__ = _reflected(pointwise.sub)
    __isub__ = _inplace(pointwise.sub)
    __mul__ = _operator(pointwise.mul)
    __rmul__ = _operator(pointwise.mul)
    __imul__ = _inplace(pointwise.mul)
    __truediv__ = _operator(pointwise.div)
    __rtruediv__ = _reflected(pointwise.div)
    __itruediv__ = _inplace(pointwise.div)
    __floordiv__ = _operator(pointwise.floor_divide)
    __rfloordiv__ = _reflected(pointwise.floor_divide)
    __mod__ = _operator(pointwise.remainder)
    __rmod__ = _reflected(pointwise.remainder)
    __pow__ = _operator(pointwise.pow)
    __rpow__ = _reflected(pointwise.pow)
    __matmul__ = products.matmul
    __neg__ = pointwise.neg
    __abs__ = pointwise.abs
    __invert__ = pointwise.bitwise_not
    __eq__ = _operator(pointwise.eq)
    __ne__ = _operator(pointwise.ne)
    __lt__ = _operator(pointwise.lt)
    __le__ = _operator(pointwise.le)
    __gt__ = _operator(pointwise.gt)
    __ge__ = _operator(pointwise.ge)
    __and__ = _operator(pointwise.bitwise_and)
    __rand__ = _reflected(pointwise.bitwise_and)
    __or__ = _operator(pointwise.bitwise_or)
    __ror__ = _reflected(pointwise.bitwise_or)
    __xor__ = _operator(pointwise.bitwise_xor)
    __rxor__ = _reflected(pointwise.bitwise_xor)

    def __pos__(self: Any) -> Tensor:
        return self

    # Elementwise

    add = ops.add
    sub = subtract = ops.sub
    mul = multiply = pointwise.mul
    div = divide = true_divide = pointwise.div
    floor_divide = pointwise.floor_divide
    remainder = pointwise.remainder
    fmod = pointwise.fmod
    pow = pointwise.pow
    neg = negative = pointwise.neg
    abs = absolute = pointwise.abs
    sign = pointwise.sign
    reciprocal = pointwise.reciprocal
    square = pointwise.square
    sqrt = pointwise.sqrt
    rsqrt = pointwise.rsqrt
    exp = pointwise.exp
    expm1 = pointwise.expm1
    log = pointwise.log
    log2 = pointwise.log2
    log1p = pointwise.log1p
    sin = pointwise.sin
    cos = pointwise.cos
    erf = pointwise.erf
    relu = pointwise.relu
    tanh = pointwise.tanh
    sigmoid = pointwise.sigmoid
    floor = pointwise.floor
    ceil = pointwise.ceil
    trunc = pointwise.trunc
    round = pointwise.round
    clamp = clip = pointwise.clamp
    atan2 = arctan2 = pointwise.atan2
    maximum = pointwise.maximum
    minimum = pointwise.minimum
    masked_fill = pointwise.masked_fill
    eq = pointwise.eq
    ne = pointwise.ne
    lt = pointwise.lt
    le = pointwise.le
    gt = pointwise.gt
    ge = pointwise.ge
    logical_not = pointwise.logical_not
    logical_and = pointwise.logical_and
    logical_or = pointwise.logical_or
    logical_xor = pointwise.logical_xor
    bitwise_not = pointwise.bitwise_not
    signbit = pointwise.signbit
    isnan = pointwise.isnan
    isinf = pointwise.isinf
    isfinite = pointwise.isfinite
    equal = comparison.equal
    isclose = comparison.isclose
    allclose = comparison.allclose

    def where(self: Any, condition: Tensor, other: Any) -> Tensor:
        """This tensor where the condition holds, else ``other``."""
        return pointwise.where(condition, self, other)

    # In place

    def add_(self: Any, other: Any, *, alpha: Any = 1) -> Tensor:
        """In-place version of :meth:`add`."""
        if alpha != 1:
            return pointwise.add_scaled.inplace(self, other, alpha)
        return pointwise.add.inplace(self, other)

    def sub_(self: Any, other: Any, *, alpha: Any = 1) -> Tensor:
        """In-place version of :meth:`sub`."""
        if alpha != 1:
            return pointwise.add_scaled.inplace(self, other, -alpha)
        return pointwise.sub.inplace(self, other)

    mul_ = _inplace(pointwise.mul)
    div_ = _inplace(pointwise.div)
    neg_ = _inplace(pointwise.neg)
    abs_ = _inplace(pointwise.abs)
    reciprocal_ = _inplace(pointwise.reciprocal)
    sqrt_ = _inplace(pointwise.sqrt)
    rsqrt_ = _inplace(pointwise.rsqrt)
    exp_ = _inplace(pointwise.exp)
    log_ = _inplace(pointwise.log)
    sin_ = _inplace(pointwise.sin)
    cos_ = _inplace(pointwise.cos)
    relu_ = _inplace(pointwise.relu)
    tanh_ = _inplace(pointwise.tanh)
    sigmoid_ = _inplace(pointwise.sigmoid)
    floor_ = _inplace(pointwise.floor)
    ceil_ = _inplace(pointwise.ceil)
    round_ = _inplace(pointwise.round)
    square_ = _inplace(pointwise.square)
    expm1_ = _inplace(pointwise.expm1)
    log2_ = _inplace(pointwise.log2)
    log1p_ = _inplace(pointwise.log1p)
    erf_ = _inplace(pointwise.erf)
    trunc_ = _inplace(pointwise.trunc)
    sign_ = _inplace(pointwise.sign)
    remainder_ = _inplace(pointwise.remainder)
    fmod_ = _inplace(pointwise.fmod)
    logical_not_ = _inplace(pointwise.logical_not)
    logical_and_ = _inplace(pointwise.logical_and)
    logical_or_ = _inplace(pointwise.logical_or)
    logical_xor_ = _inplace(pointwise.logical_xor)
    eq_ = _inplace(pointwise.eq)
    ne_ = _inplace(pointwise.ne)
    lt_ = _inplace(pointwise.lt)
    le_ = _inplace(pointwise.le)
    gt_ = _inplace(pointwise.gt)
    ge_ = _inplace(pointwise.ge)
    masked_fill_ = _inplace(pointwise.masked_fill)
    fill_ = creation.fill_
    zero_ = creation.zero_
    uniform_ = random.uniform_
    normal_ = random.normal_
    random_ = random.random_
    bernoulli_ = random.bernoulli_
    bernoulli = random.bernoulli

    def pow_(self: Any, exponent: Any) -> Tensor:
        """In-place version of :meth:`pow`."""
        return pointwise.pow_float.inplace(self, exponent)

    def copy_(self: Any, source: Any, non_blocking: Any = False) -> Tensor:
        """Overwrite with ``source``, broadcast and cast."""
        if is_tensor(source) and source.device != self.device:
            source = source.to(self.device)
        return creation.copy.inplace(self, source)

    def clamp_(self: Any, min: Any = None, max: Any = None) -> Tensor:
        """In-place version of :meth:`clamp`."""
        if min is not None:
            pointwise.clamp_min.inplace(self, min)
        return self if max is None else pointwise.clamp_max.inplace(self, max)

    # Matrix products

    matmul = products.matmul
    mm = products.mm
    bmm = products.bmm
    mv = products.mv
    dot = products.dot
    addmm = products.addmm
    baddbmm = products.baddbmm

    # Along a dimension

    softmax = softmaxes.softmax
    log_softmax = softmaxes.log_softmax

    # Indexing by tensors

    index_select = indexing.index_select
    gather = indexing.gather
    scatter = indexing.scatter
    scatter_add = indexing.scatter_add
    masked_select = indexing.masked_select
    nonzero = indexing.nonzero

    # Copies

    clone = creation.clone
    contiguous = creation.contiguous

    # Views

    view = views.view
    view_as = views.view_as
    reshape = views.reshape
    flatten = views.flatten
    unflatten = views.unflatten
    squeeze = views.squeeze
    unsqueeze = views.unsqueeze
    permute = views.permute
    transpose = swapaxes = swapdims = views.transpose
    movedim = moveaxis = views.movedim
    outer = products.outer
    t = views.t
    expand = views.expand
    expand_as = views.expand_as
    broadcast_to = views.broadcast_to
    select = views.select
    diagonal = views.diagonal
    narrow = views.narrow
    unbind = views.unbind
    split = views.split
    split_with_sizes = views.split_with_sizes
    unsafe_split = unsafe_split_with_sizes = views.unsafe_split
    chunk = views.chunk
    as_strided = strided.as_strided
    unsafe_chunk = views.unsafe_chunk
    transpose_ = swapaxes_ = swapdims_ = inplace_views.transpose_
    t_ = inplace_views.t_
    squeeze_ = inplace_views.squeeze_
    unsqueeze_ = inplace_views.unsqueeze_
    as_strided_ = inplace_views.as_strided_
    resize_ = inplace_views.resize_
    resize_as_ = inplace_views.resize_as_

    def ravel(self: Any) -> Tensor:
        """In one dimension, without copying where the strides allow it."""
        return self.reshape(-1)

    def repeat(self: Any, *sizes: Any) -> Tensor:
        """A copy with each dimension repeated that many times."""
        times = views.shape_arguments(sizes)
        pad = len(times) - self.ndim
        if pad < 0:
            raise RuntimeError(
                "Number of dimensions of repeat dims can not be smaller than number of dimensions "
                "of tensor"
            )
        shape = (1,) * pad + self.layout.shape
        pairs = [part for count, size in zip(times, shape, strict=True) for part in (count, size)]
        ones = [part for size in shape for part in (1, size)]
        whole = [count * size for count, size in zip(times, shape, strict=True)]
        return self.reshape(ones).expand(pairs).reshape(whole)

    def reshape_as(self: Any, other: Tensor) -> Tensor:
        """In the shape of ``other``."""
        return self.reshape(other.shape)

    @property
    def T(self: Any) -> Tensor:
        return views.reversed_dims(self)

    @property
    def mT(self: Any) -> Tensor:
        return views.matrix_transpose(self)

    # Reductions

    sum = reductions.sum
    trace = reductions.trace
    mean = reductions.mean
    prod = reductions.prod
    amax = reductions.amax
    amin = reductions.amin
    max = reductions.max
    min = reductions.min
    argmax = reductions.argmax
    argmin = reductions.argmin
    any = reductions.any
    all = reductions.all
    var = reductions.var
    std = reductions.std
    norm = reductions.norm
    logsumexp = reductions.logsumexp
    sum_to_size = reductions.sum_to_size


for _name, _op in list(vars(TensorMethods).items()):
    if isinstance(_op, pointwise.Elementwise):
        setattr(TensorMethods, _name, _method(_op))
