"""Indexing by tensors of integers and bools, embedding, gather and scatter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from minitorch_triton.kernels import indexing as kernels
from minitorch_triton.ops import creation, dispatch, pointwise, views
from minitorch_triton.ops.dispatch import Op, Planned
from minitorch_triton.ops.promotion import compute_type
from minitorch_triton.ops.status import status_of
from minitorch_triton.storage import contiguous_strides

Strides = tuple[int, int, int]


def _around(shape: Sequence[int], dim: int) -> tuple[int, int]:
    """The sizes (outer, inner) of a contiguous tensor around a dimension."""
    return math.prod(shape[:dim]), math.prod(shape[dim + 1 :])


def _dense(shape: Sequence[int], dim: int) -> Strides:
    """The strides along (outer, dim, inner) of a contiguous tensor."""
    _, inner = _around(shape, dim)
    return shape[dim] * inner, inner, 1


class Take(Op):
    """``x`` with a dimension replaced by those of an index: index_select, embedding, x[index]."""

    composed = True

    def forward(self, x: Any, index: Any, status: Any, dim: int, skipped: int) -> Any:
        x, index = creation.contiguous(x), creation.contiguous(index)
        shape = tuple(x.shape)
        y = dispatch.empty((*shape[:dim], *index.shape, *shape[dim + 1 :]), x.dtype, x.device)
        outer, inner = _around(shape, dim)
        sizes = (outer, index.layout.numel, inner)
        kernels.gather(y, x, index, status, sizes, shape[dim], _dense(shape, dim), (0, 1, 0))
        return y

    def backward(
        self, needs: tuple[bool, ...], g: Any, forms: Any, index: Any, dim: int, skipped: int
    ) -> Any:
        return (_put(g, index, forms[0].shape, dim, skipped),)


class Put(Op):
    """The gradient of :class:`Take`: zeros of a shape, with each piece of g added in its place."""

    composed = True

    def forward(self, g: Any, index: Any, shape: tuple[int, ...], dim: int, skipped: int) -> Any:
        x = dispatch.empty(shape, compute_type(g.dtype), g.device)
        creation.fill_with(x, 0)
        g, index = creation.contiguous(g), creation.contiguous(index)
        outer, inner = _around(shape, dim)
        n = index.layout.numel
        kernels.scatter(
            x,
            index,
            g,
            None,
            (outer, n, inner),
            shape[dim],
            _dense(shape, dim),
            (0, 1, 0),
            (n * inner, inner, 1),
            add=True,
            skipped=skipped,
        )
        return creation.cast(x, g.dtype)

    def backward(self, needs: tuple[bool, ...], g: Any, index: Any, dim: int, skipped: int) -> Any:
        if skipped != kernels.NOTHING_SKIPPED:
            row = pointwise.eq(creation.arange(g.shape[dim], device=g.device), skipped)
            g = pointwise.masked_fill(g, row.reshape((-1,) + (1,) * (g.ndim - 1 - dim)), 0.0)
        return (_take(g, index, None, dim, skipped),)


class Gather(Op):
    """``y[i][j] = x[index[i][j]][j]`` for dim 0, and likewise for the others."""

    composed = True

    def forward(self, x: Any, index: Any, status: Any, dim: int) -> Any:
        index = creation.contiguous(index)
        x = creation.contiguous(_cropped(x, index, dim))
        y = dispatch.empty(index.shape, x.dtype, x.device)
        outer, inner = _around(index.shape, dim)
        sizes = (outer, index.shape[dim], inner)
        strides = _dense(x.shape, dim), _dense(index.shape, dim)
        kernels.gather(y, x, index, status, sizes, x.shape[dim], *strides)
        return y

    def backward(self, needs: tuple[bool, ...], g: Any, forms: Any, index: Any, dim: int) -> Any:
        zeros = creation.zeros_as(forms[0])
        return (_scatter_add(zeros, index, g, None, dim),)


class ScatterAdd(Op):
    """A copy of ``x`` with ``source`` added where :class:`Gather` would have read."""

    composed = True

    def forward(self, x: Any, index: Any, source: Any, status: Any, dim: int) -> Any:
        y = dispatch.empty(x.shape, compute_type(x.dtype), x.device)
        creation.copy_into(y, x)
        _scatter_into(y, index, source, status, dim, add=True)
        return creation.cast(y, x.dtype)

    def backward(self, needs: tuple[bool, ...], g: Any, index: Any, forms: Any, dim: int) -> Any:
        d_source = None
        if needs[2]:
            d_source = _gather(g, index, None, dim)
        return g, None, _padded(d_source, forms[2].shape) if needs[2] else None


class Scatter(Op):
    """A copy of ``x`` with elements overwritten where :class:`Gather` would have read."""

    composed = True

    def forward(self, x: Any, index: Any, source: Any, status: Any, dim: int) -> Any:
        y = dispatch.empty(x.shape, x.dtype, x.device)
        creation.copy_into(y, x)
        _scatter_into(y, index, source, status, dim, add=False)
        return y

    def backward(self, needs: tuple[bool, ...], g: Any, index: Any, forms: Any, dim: int) -> Any:
        dx = d_source = None
        if needs[0]:
            zeros = creation.zeros_as(forms[2])
            dx = _scatter(g, index, zeros, None, dim)
        if needs[2]:
            d_source = _padded(_gather(g, index, None, dim), forms[2].shape)
        return dx, None, d_source


def _cropped(x: Any, index: Any, dim: int) -> Any:
    """``x`` without what lies beyond the index in the other dimensions."""
    for d, size in enumerate(index.shape):
        if d != dim and size != x.shape[d]:
            x = views.narrow(x, d, 0, size)
    return x


def _padded(piece: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of a shape that begin with ``piece``."""
    for d, size in enumerate(shape):
        missing = size - piece.shape[d]
        if missing:
            rest = list(piece.shape)
            rest[d] = missing
            zeros = creation.make(rest, 0, piece.dtype, piece.device, False)
            piece = creation.cat([piece, zeros], d)
    return piece


def _scatter_into(y: Any, index: Any, source: Any, status: Any, dim: int, add: bool) -> None:
    """Write or add source[: index.shape] to a contiguous y."""
    index = creation.contiguous(index)
    for d, size in enumerate(index.shape):
        if size != source.shape[d]:
            source = views.narrow(source, d, 0, size)
    source = creation.contiguous(source)
    target = _cropped(y, index, dim)
    piece = creation.contiguous(target)
    outer, inner = _around(index.shape, dim)
    strides = _dense(index.shape, dim)
    kernels.scatter(
        piece,
        index,
        source,
        status,
        (outer, index.shape[dim], inner),
        y.shape[dim],
        _dense(piece.shape, dim),
        strides,
        strides,
        add=add,
    )
    if piece.storage is not target.storage:
        creation.copy_into(target, piece)


_take, _put = Take("Index"), Put("IndexPut")
_index_select, _embedding = Take("IndexSelect"), Take("Embedding")
_gather, _scatter_add, _scatter = Gather("Gather"), ScatterAdd("ScatterAdd"), Scatter("Scatter")


def index_select(input: Any, dim: int, index: Any) -> Any:
    """The slices of a dimension that a 1-d (or 0-d) index names.

    Raises:
        IndexError: an index is out of range (on a CPU; on a GPU it reads as NaN, integers as 0).
    """
    dim = views.wrap_dim(dim, input.ndim)
    if index.dtype not in (torch.int64, torch.int32):
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    x = input if input.ndim else input.unsqueeze(0)
    index = index if index.ndim else index.unsqueeze(0)
    status = status_of(x.device)
    y = _index_select(x, index, status.buffer, dim, kernels.NOTHING_SKIPPED)
    status.check(IndexError, "index out of range in self")
    return y if input.ndim else y.squeeze(0)


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """The rows of ``weight`` (num, dim) that the integers of ``input`` name: (*input, dim).

    Args:
        padding_idx: a row that gets no gradient.

    Raises:
        IndexError: an index is out of range (on a CPU; on a GPU it reads as NaN).
    """
    if input.dtype not in (torch.int64, torch.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {type(input).__name__} of {input.dtype} instead (while checking "
            "arguments for embedding)"
        )
    if weight.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    rows = weight.shape[0]
    skipped = kernels.NOTHING_SKIPPED
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        skipped = padding_idx % rows
    status = status_of(weight.device)
    y = _embedding(weight, input, status.buffer, 0, skipped)
    status.check(IndexError, "index out of range in self")
    return y


def _check_gather(name: str, input: Any, dim: int, index: Any) -> int:
    dim = views.wrap_dim(dim, input.ndim)
    if index.dtype not in (torch.int64, torch.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")
    if index.ndim != input.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for d, (size, bound) in enumerate(zip(index.shape, input.shape, strict=True)):
        if d != dim and size > bound:
            raise RuntimeError(
                f"Size does not match at dimension {d} expected index {list(index.shape)} to be no "
                f"larger than self {list(input.shape)} apart from dimension {dim}"
            )
    return dim


def gather(input: Any, dim: int, index: Any) -> Any:
    """``y[i][j] = input[index[i][j]][j]`` for dim 0, and likewise for the others.

    Raises:
        RuntimeError: an index is out of range (on a CPU; on a GPU it reads as NaN, integers as 0).
    """
    dim = _check_gather("gather", input, dim, index)
    if input.ndim == 0:
        return gather(input.unsqueeze(0), 0, index.unsqueeze(0)).squeeze(0)
    status = status_of(input.device)
    y = _gather(input, index, status.buffer, dim)
    status.check(RuntimeError, _OUT_OF_BOUNDS, dim=dim, size=input.shape[dim])
    return y


_OUT_OF_BOUNDS = "index {value} is out of bounds for dimension {dim} with size {size}"


def scatter(input: Any, dim: int, index: Any, src: Any) -> Any:
    """A copy of ``input`` with ``y[index[i][j]][j] = src[i][j]`` (dim 0); src may be a number."""
    dim = _check_gather("scatter", input, dim, index)
    if not isinstance(src, dispatch.Tensor):
        src = creation.make(index.shape, src, input.dtype, input.device, False)
    return _scattered(_scatter, input, dim, index, src)


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """A copy of ``input`` with ``y[index[i][j]][j] += src[i][j]`` (dim 0).

    On a GPU the order of sums of several sources, and so their rounding, is not fixed.
    """
    dim = _check_gather("scatter_add", input, dim, index)
    return _scattered(_scatter_add, input, dim, index, src)


def _scattered(op: Op, input: Any, dim: int, index: Any, src: Any) -> Any:
    if src.dtype != input.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    if any(size > bound for size, bound in zip(index.shape, src.shape, strict=True)):
        raise RuntimeError(
            f"Expected index {list(index.shape)} to be no larger than src {list(src.shape)}"
        )
    status = status_of(input.device)
    y = op(input, index, src, status.buffer, dim)
    status.check(RuntimeError, _OUT_OF_BOUNDS, dim=dim, size=input.shape[dim])
    return y


# Masks


def _counts(mask: Any) -> Any:
    counts = dispatch.empty((kernels.count_programs(mask.layout.numel),), torch.int64, mask.device)
    kernels.count(counts, mask)
    return counts


def _coordinates(mask: Any, counts: Any, count: int) -> Any:
    y = dispatch.empty((mask.ndim, count), torch.int64, mask.device)
    kernels.nonzero(y, counts, mask)
    return y


_planned_counts, _planned_coordinates = Planned(_counts), Planned(_coordinates)


def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """The coordinates of the elements that are not zero: (count, ndim), or one vector each.

    The host waits for the device, because it must know how many there are.
    """
    x = input.detach() if input.ndim else input.detach().unsqueeze(0)
    x = creation.contiguous(x)
    counts = _planned_counts.call((x,))[0]
    total = sum(counts.tolist())
    found = _planned_coordinates.call((x, counts, total))[0]
    if as_tuple:
        return tuple(found.unbind(0))
    return found.t() if input.ndim else found.t()[:, :0]


def masked_select(input: Any, mask: Any) -> Any:
    """The elements where a bool mask holds, 1-d; both are broadcast."""
    if mask.dtype != torch.bool:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = pointwise.broadcast_shapes(tuple(input.shape), tuple(mask.shape))
    return index(input.expand(shape), [mask.expand(shape)])


# x[indices]


def _integer_indices(x: Any, indices: list) -> list:
    """One integer tensor or None for each dimension: bool masks become coordinates."""
    result: list = []
    for item in indices:
        if item is None:
            result.append(None)
        elif item.dtype in (torch.bool, torch.uint8):
            first = len(result)
            for d, size in enumerate(item.shape):
                if size != x.shape[first + d]:
                    raise IndexError(
                        f"The shape of the mask {list(item.shape)} at index {d} does not match the "
                        f"shape of the indexed tensor {list(x.shape)} at index {first + d}"
                    )
            coordinates = nonzero(item, as_tuple=True)
            if item.ndim == 0:
                coordinates = (creation.arange(coordinates[0].shape[0], device=x.device) * 0,)
            result += coordinates
        elif item.dtype.is_floating_point:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        else:
            result.append(creation.cast(item, torch.int64))
    return result


def _ravelled(indices: tuple, status: Any, sizes: tuple[int, ...]) -> Any:
    linear = dispatch.empty(indices[0].shape, torch.int64, indices[0].device)
    strides = list(contiguous_strides(sizes))
    flat = [creation.contiguous(index).view(-1) for index in indices]
    kernels.ravel(linear.view(-1), flat, status, list(sizes), strides)
    return linear


_planned_ravel = Planned(lambda status, sizes, *indices: _ravelled(indices, status, sizes))


def _one_index(x: Any, indices: list) -> tuple[Any, Any, int]:
    """``x`` with the indexed dimensions made one, the index into it, and where it is.

    As in PyTorch, the result's dimensions of the index stand where the indexed ones stood if these
    are neighbours, else in front.
    """
    indices = _integer_indices(x, indices)
    if len(indices) > x.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}")
    dims = [d for d, item in enumerate(indices) if item is not None]
    try:
        shape = pointwise.broadcast_shapes(*[tuple(indices[d].shape) for d in dims])
    except RuntimeError:
        shapes = ", ".join(str(list(indices[d].shape)) for d in dims)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    picked = [indices[d].expand(shape) for d in dims]
    first = dims[0]
    if dims != list(range(first, first + len(dims))):
        x = x.permute(*dims, *[d for d in range(x.ndim) if d not in dims])
        first = 0
    sizes = tuple(x.shape[first : first + len(dims)])
    for place, size in enumerate(sizes):
        if size == 0 and picked[place].layout.numel:
            raise IndexError(f"index is out of bounds for dimension {place} with size 0")
    status = status_of(x.device)
    index = _planned_ravel.call((status.buffer, sizes, *picked))[0]
    reported = status.take()
    if reported is not None:
        # PyTorch, too, counts the dimensions that are indexed by tensors.
        value, code = reported
        place = code - 1
        raise IndexError(_OUT_OF_BOUNDS.format(value=value, dim=place, size=sizes[place]))
    x = x.reshape(*x.shape[:first], math.prod(sizes), *x.shape[first + len(dims) :])
    return x, index, first


def index(x: Any, indices: list) -> Any:
    """``x[indices]``: a tensor of integers or bools, or None, for each dimension.

    Raises:
        IndexError: an index is out of range (on a CPU; on a GPU it reads as NaN, integers as 0).
    """
    flat, number, dim = _one_index(x, indices)
    return _take(flat, number, None, dim, kernels.NOTHING_SKIPPED)


class IndexPut(Op):
    """``x[index] = value`` (or ``+=``) along one dimension, in place on contiguous memory."""

    composed = True

    def forward(self, x: Any, index: Any, value: Any, dim: int, add: bool) -> None:
        n = index.layout.numel
        outer, inner = _around(x.shape, dim)
        shape = (*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])
        value = creation.contiguous(value.expand(shape))
        target = creation.contiguous(x)
        kernels.scatter(
            target,
            creation.contiguous(index),
            value,
            None,
            (outer, n, inner),
            x.shape[dim],
            _dense(x.shape, dim),
            (0, 1, 0),
            (n * inner, inner, 1),
            add=add,
        )
        if target.storage is not x.storage:
            creation.copy_into(x, target)

    def backward(
        self,
        needs: tuple[bool, ...],
        g: Any,
        index: Any,
        forms: Any,
        dim: int,
        add: bool,
    ) -> Any:
        dx = dv = None
        if needs[0]:
            dx = g
            if not add:
                dx = g.clone()
                zero = creation.make((), 0, g.dtype, g.device, False)
                _index_put(dx, index, zero, dim, False)
        if needs[2]:
            dv = _take(g, index, None, dim, kernels.NOTHING_SKIPPED)
            dv = dv.sum_to_size(forms[2].shape)
        return dx, None, dv


_index_put_op = IndexPut("IndexPut")


def _index_put(x: Any, index: Any, value: Any, dim: int, add: bool) -> Any:
    args = [x, index, value, dim, add]
    return pointwise.write_inplace(_index_put_op, _index_put_op.plan_forward, x, args)


def _apart(x: Any, indices: Sequence[Any], value: Any, accumulate: bool) -> Any:
    """The value, copied where a write to x might change it; what certainly overlaps is refused."""
    given = [item for item in indices if item is not None]
    integers = [item for item in given if item.dtype not in (torch.bool, torch.uint8)]
    for item in integers:
        if item.storage.may_share(x.storage):
            pointwise.overlap(x, item)
    # One number under one mask is read before anything is written, as by masked_fill_.
    filled = value.layout.numel == 1 and len(given) == 1 and not integers and not accumulate
    if value.storage.may_share(x.storage) and not filled and pointwise.overlap(x, value):
        return value.clone()
    return value


def index_put_(x: Any, indices: Sequence[Any], value: Any, accumulate: bool = False) -> Any:
    """``x[indices] = value`` in place, or ``+=`` with ``accumulate``; value is broadcast and cast.

    Where an element is named twice, the last value stays on a CPU; on a GPU it is not fixed which.

    Raises:
        RuntimeError: the value, or an index of integers, is in the memory that is written to.
    """
    if not isinstance(value, dispatch.Tensor):
        value = creation.make((), value, x.dtype, x.device, False)
    value = _apart(x, indices, value, accumulate)
    flat, number, dim = _one_index(x, list(indices))
    value = creation.cast(value, x.dtype)
    rest = (*flat.shape[:dim], *number.shape, *flat.shape[dim + 1 :])
    while value.ndim > len(rest) and value.shape[0] == 1:
        value = value.squeeze(0)
    padded = (1,) * (len(rest) - value.ndim) + tuple(value.shape)
    if len(padded) != len(rest) or any(
        size not in (1, full) for size, full in zip(padded, rest, strict=True)
    ):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to "
            f"indexing result of shape {list(rest)}"
        )
    if flat.storage is x.storage:
        _index_put(flat, number, value, dim, accumulate)
        return x
    # The indexed dimensions do not merge in place: work on a copy, and write it back.
    _index_put(flat, number, value, dim, accumulate)
    dims = [d for d, item in enumerate(_integer_indices(x, list(indices))) if item is not None]
    order = [*dims, *[d for d in range(x.ndim) if d not in dims]]
    moved = dims != list(range(dims[0], dims[0] + len(dims)))
    shape = [x.shape[d] for d in order] if moved else list(x.shape)
    back = flat.reshape(shape)
    return x.copy_(back.permute(*[order.index(d) for d in range(x.ndim)]) if moved else back)
