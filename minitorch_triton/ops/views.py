"""Views: other shapes and strides on the same memory; no kernel runs.

A view's node turns the gradient back by a view of its own, except where elements were left out
(slices) or repeated (expand).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from minitorch_triton.autograd.inplace import ONE_OF_SEVERAL, UNDER_INFERENCE, UNDER_NO_GRAD
from minitorch_triton.autograd.modes import state
from minitorch_triton.autograd.node import Node
from minitorch_triton.ops import creation, dispatch
from minitorch_triton.ops.creation import wrap_dim
from minitorch_triton.storage import Layout, layout


class ViewNode(Node):
    """A view in the graph: the layout of what was viewed, and how to undo the view."""

    __slots__ = ("details", "form")

    details: tuple
    form: Layout
    undo: Callable

    def apply(self, grads: list) -> Sequence:
        return (type(self).undo(grads[0], self.form, *self.details),)


def view_node(name: str, undo: Callable) -> type[ViewNode]:
    """A node type; ``undo(gradient, layout, *details)`` returns the gradient of the input."""
    return type(
        dispatch.node_name(name), (ViewNode,), {"__slots__": (), "undo": staticmethod(undo)}
    )


Index = tuple[Any, ...]
"""Items of a basic index, hashable: ints, ("slice", start, stop, step), None, Ellipsis."""

EVERYTHING = ("slice", None, None, None)

# A view's layout depends on nothing but the viewed layout and the arguments.
_cached = functools.lru_cache(maxsize=4096)


def make_view(
    x: Any,
    form: Layout,
    offset: int,
    node_type: type[ViewNode],
    details: tuple,
    replay: tuple,
) -> Any:
    """A tensor on x's memory; of one made in inference mode it does not count as a view.

    Args:
        form: the view's layout.
        offset: in elements from the start of the storage.
        node_type, details: the node, and what its ``undo`` needs.
        replay: ``(function, *args)`` such that ``function(x, *args)`` makes this view again.
    """
    y = dispatch.Tensor(x.storage, form, offset)
    counted = x.storage.own_version is not None
    if counted:
        y.become_view(x, replay)
    if not state.grad_enabled:
        y._unrewritable = _unrecorded()
    elif counted and x.requires_grad:
        node = node_type((x.grad_edge(),), (form,))
        node.form = x.layout
        node.details = details
        y.rebase(node, 0)
    if state.dual_level is not None and x._tangent is not None:
        function, *rest = replay
        state.dual_level.attach(y, function(x._tangent, *rest))
    return y


def _unrecorded() -> str:
    """Why the history of a view that is made now, without being recorded, cannot be rewritten."""
    return UNDER_INFERENCE if state.inference else UNDER_NO_GRAD


class ManyViewsNode(Node):
    """Several views that one function made of one tensor, which may not be written to."""

    __slots__ = ("dim",)

    dim: int
    join: Callable

    def apply(self, grads: list) -> Sequence:
        parts = [
            creation.zeros_as(form) if grad is None else grad
            for grad, form in zip(grads, self.outputs, strict=True)
        ]
        return (type(self).join(parts, self.dim),)


def _many_views(x: Any, dim: int, indices: Sequence, node_type: type, safe: bool = True) -> tuple:
    """A view of x for each basic index into dimension ``dim``, all from one node.

    Args:
        safe: whether a write into a piece counts as one into x, and is therefore refused.
    """
    before = (EVERYTHING,) * dim
    counted = x.storage.own_version is not None
    pieces = []
    for index in indices:
        form, offset = _indexed(x.layout, (*before, index))
        y = dispatch.Tensor(x.storage if safe else x.storage.alias(), form, x.offset + offset)
        if safe and counted:
            y.become_view(x, (index_view, (*before, index)))
            y._unrewritable = ONE_OF_SEVERAL if state.grad_enabled else _unrecorded()
        pieces.append(y)
    if state.grad_enabled and counted and x.requires_grad and pieces:
        node = node_type((x.grad_edge(),), [piece.layout for piece in pieces])
        node.dim = dim
        for number, piece in enumerate(pieces):
            piece.rebase(node, number)
    if state.dual_level is not None and x._tangent is not None:
        for piece, index in zip(pieces, indices, strict=True):
            state.dual_level.attach(piece, index_view(x._tangent, (*before, index)))
    return tuple(pieces)


def shape_arguments(sizes: tuple) -> tuple[int, ...]:
    """``f(2, 3)``, ``f((2, 3))`` and ``f([2, 3])`` mean the same."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    for size in sizes:
        if isinstance(size, bool) or not hasattr(size, "__index__"):
            raise TypeError(f"sizes must be ints, not {type(size).__name__}")
    return tuple([size.__index__() for size in sizes])


def given_size(sizes: tuple, size: Any) -> tuple[int, ...]:
    """The shape, from positional sizes or from the keyword ``size``."""
    if size is None:
        return shape_arguments(sizes)
    if sizes:
        raise TypeError("the size was given twice, by position and by keyword")
    return shape_arguments((size,))


# Shapes


def _inferred(shape: tuple[int, ...], numel: int) -> tuple[int, ...]:
    """The shape with its -1 worked out."""
    if shape.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    if any(size < -1 for size in shape):
        bad = next(size for size in shape if size < -1)
        raise RuntimeError(f"invalid shape dimension {bad}")
    known = math.prod(size for size in shape if size != -1)
    if -1 in shape:
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of {numel} elements into shape {list(shape)} because the "
                "unspecified dimension size -1 can be any value and is ambiguous"
            )
        if numel % known == 0:
            return tuple(numel // known if size == -1 else size for size in shape)
    if -1 in shape or known != numel:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
    return shape


def _strides_for(form: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides with which the same memory has another shape, or None where it cannot."""
    if form.contiguous:
        return layout(shape, None, form.dtype, form.device).strides
    old = [(n, s) for n, s in zip(form.shape, form.strides, strict=True) if n != 1]
    strides = [0] * len(shape)
    position = len(shape) - 1
    while old:
        # Merge old dimensions that step as one, then split the whole among new dimensions.
        size, stride = old.pop()
        total = size
        while old and old[-1][1] == total * stride:
            total *= old.pop()[0]
        rest, step = total, stride
        while position >= 0 and rest > 1:
            if rest % shape[position] != 0 or shape[position] == 0:
                return None
            strides[position] = step
            step *= shape[position]
            rest //= shape[position]
            position -= 1
        if rest != 1:
            return None
    for p in range(position, -1, -1):
        if shape[p] != 1:
            return None
    for p in range(len(shape) - 1, -1, -1):
        if shape[p] == 1 and strides[p] == 0:
            strides[p] = strides[p + 1] * shape[p + 1] if p + 1 < len(shape) else 1
    return tuple(strides)


@_cached
def _viewed(form: Layout, sizes: tuple[int, ...]) -> Layout | None:
    """The same memory in another shape, or None where that needs a copy."""
    shape = _inferred(sizes, form.numel)
    strides = form.strides if shape == form.shape else _strides_for(form, shape)
    return None if strides is None else layout(shape, strides, form.dtype, form.device)


def _undo_shape(g: Any, form: Any) -> Any:
    return g.reshape(form.shape)


_View = view_node("View", _undo_shape)
_Unsqueeze = view_node("Unsqueeze", _undo_shape)
_Squeeze = view_node("Squeeze", _undo_shape)
_SqueezeDim = view_node("SqueezeBackward1", _undo_shape)


def view(x: Any, *sizes: Any) -> Any:
    """The same elements in another shape, without copying; one size may be -1.

    Raises:
        RuntimeError: the number of elements differs, or the strides do not allow it.
    """
    form = _viewed(x.layout, shape_arguments(sizes))
    if form is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return make_view(x, form, x.offset, _View, (), (view, form.shape))


def reshape(x: Any, *sizes: Any) -> Any:
    """Like :func:`view`, but copies where a view is impossible."""
    shape = shape_arguments(sizes)
    if _viewed(x.layout, shape) is None:
        x = x.contiguous()
    return view(x, shape)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Merge the dimensions from ``start_dim`` to ``end_dim``."""
    shape = x.layout.shape
    start, end = wrap_dim(start_dim, len(shape)), wrap_dim(end_dim, len(shape))
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return reshape(x, 1)
    if start == end:
        return x
    return reshape(x, *shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


def unflatten(x: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Split one dimension into several."""
    shape = x.layout.shape
    dim = wrap_dim(dim, len(shape))
    sizes = _inferred(tuple(sizes), shape[dim])
    return reshape(x, *shape[:dim], *sizes, *shape[dim + 1 :])


def unsqueeze(x: Any, dim: int) -> Any:
    """A dimension of size 1 more, at ``dim``."""
    return make_view(x, _unsqueezed(x.layout, dim), x.offset, _Unsqueeze, (), (unsqueeze, dim))


@_cached
def _unsqueezed(form: Layout, dim: int) -> Layout:
    dim = wrap_dim(dim, len(form.shape) + 1)
    stride = form.shape[dim] * form.strides[dim] if dim < len(form.shape) else 1
    shape = (*form.shape[:dim], 1, *form.shape[dim:])
    strides = (*form.strides[:dim], stride, *form.strides[dim:])
    return layout(shape, strides, form.dtype, form.device)


def squeeze(x: Any, dim: int | Sequence[int] | None = None) -> Any:
    """Without the dimensions of size 1, or only those named."""
    form = x.layout
    kept = squeezed_dims(form, dim)
    return make_view(
        x,
        layout(
            tuple(form.shape[d] for d in kept),
            tuple(form.strides[d] for d in kept),
            form.dtype,
            form.device,
        ),
        x.offset,
        _Squeeze if dim is None else _SqueezeDim,
        (),
        (squeeze, dim),
    )


def squeezed_dims(form: Layout, dim: int | Sequence[int] | None) -> list[int]:
    """The dimensions that :func:`squeeze` keeps."""
    ndim = len(form.shape)
    dims = range(ndim) if dim is None else ([dim] if isinstance(dim, int) else dim)
    dropped = {wrap_dim(d, ndim) for d in dims}
    return [d for d in range(ndim) if d not in dropped or form.shape[d] != 1]


# Order of dimensions


def _undo_permute(g: Any, form: Any, inverse: tuple[int, ...]) -> Any:
    return permute(g, inverse)


_Permute = view_node("Permute", _undo_permute)
_Transpose = view_node("Transpose", _undo_permute)
_T = view_node("T", _undo_permute)


def _permuted(x: Any, dims: tuple[int, ...], node_type: type[ViewNode]) -> Any:
    form, inverse = _permuted_form(x.layout, dims)
    return make_view(x, form, x.offset, node_type, (inverse,), (permute, dims))


@_cached
def _permuted_form(form: Layout, dims: tuple[int, ...]) -> tuple[Layout, tuple[int, ...]]:
    """The layout with the dimensions in another order, and the inverse order."""
    shape = tuple([form.shape[d] for d in dims])
    strides = tuple([form.strides[d] for d in dims])
    inverse = tuple(sorted(range(len(dims)), key=dims.__getitem__))
    return layout(shape, strides, form.dtype, form.device), inverse


def permute(x: Any, *dims: Any) -> Any:
    """The dimensions in another order."""
    given = shape_arguments(dims)
    ndim = len(x.layout.shape)
    if len(given) != ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {ndim} is not equal "
            f"to len(dims) = {len(given)}"
        )
    order = tuple(wrap_dim(d, ndim) for d in given)
    if len(set(order)) != ndim:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return _permuted(x, order, _Permute)


def transpose(x: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged."""
    ndim = len(x.layout.shape)
    dim0, dim1 = wrap_dim(dim0, ndim), wrap_dim(dim1, ndim)
    order = list(range(ndim))
    if ndim:
        order[dim0], order[dim1] = order[dim1], order[dim0]
    return _permuted(x, tuple(order), _Transpose)


def movedim(x: Any, source: Any, destination: Any) -> Any:
    """Dimensions moved to other places; the rest keep their order."""
    sources = source if isinstance(source, (tuple, list)) else (source,)
    targets = destination if isinstance(destination, (tuple, list)) else (destination,)
    if len(sources) != len(targets):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({list(sources)} dims) should "
            f"contain the same number of dims as destination ({list(targets)} dims)"
        )
    ndim = len(x.layout.shape)
    places: dict[str, list[int]] = {}
    for name, dims in (("source", sources), ("destination", targets)):
        places[name] = [wrap_dim(dim, ndim) for dim in dims]
        if len(set(places[name])) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({list(dims)})")
    order = [dim for dim in range(ndim) if dim not in places["source"]]
    for target, dim in sorted(zip(places["destination"], places["source"], strict=True)):
        order.insert(target, dim)
    return permute(x, order)


def t(x: Any) -> Any:
    """The transpose of a matrix; a vector as it is."""
    ndim = len(x.layout.shape)
    if ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {ndim}D")
    return _permuted(x, tuple(reversed(range(ndim))), _T)


def reversed_dims(x: Any) -> Any:
    """``x.T``: all dimensions in reverse order."""
    return permute(x, *reversed(range(x.ndim)))


def matrix_transpose(x: Any) -> Any:
    """``x.mT``: the last two dimensions exchanged."""
    if x.ndim < 2:
        raise RuntimeError(
            "tensor.mT is only supported on matrices or batches of matrices. Got "
            f"{x.ndim}-D tensor."
        )
    return transpose(x, -2, -1)


# Repetition


def _undo_expand(g: Any, form: Any) -> Any:
    return g.sum_to_size(form.shape)


_Expand = view_node("Expand", _undo_expand)


def expand(x: Any, *sizes: Any) -> Any:
    """Dimensions of size 1 repeated without copying; -1 keeps a size."""
    form = _expanded(x.layout, shape_arguments(sizes))
    return make_view(x, form, x.offset, _Expand, (), (expand, form.shape))


@_cached
def _expanded(form: Layout, given: tuple[int, ...]) -> Layout:
    pad = len(given) - len(form.shape)
    if pad < 0:
        raise RuntimeError(
            f"expand(torch.{dispatch.type_name(form.dtype)}Tensor{{{list(form.shape)}}}, "
            f"size={list(given)}): the number of sizes "
            f"provided ({len(given)}) must be greater or equal to the number of dimensions in the "
            f"tensor ({len(form.shape)})"
        )
    shape, strides = [], []
    for d, size in enumerate(given):
        old = form.shape[d - pad] if d >= pad else 1
        if size == -1:
            if d < pad:
                raise RuntimeError(
                    f"The expanded size of the tensor ({size}) isn't allowed in a leading, "
                    f"non-existing dimension {d}"
                )
            size = old
        if size == old and d >= pad:
            strides.append(form.strides[d - pad])
        elif old == 1:
            strides.append(0)
        else:
            raise RuntimeError(
                f"The expanded size of the tensor ({size}) must match the existing size ({old}) at "
                f"non-singleton dimension {d}.  Target sizes: {list(given)}.  Tensor sizes: "
                f"{list(form.shape)}"
            )
        shape.append(size)
    return layout(tuple(shape), tuple(strides), form.dtype, form.device)


def expand_as(x: Any, other: Any) -> Any:
    """x expanded to the shape of ``other``."""
    return expand(x, other.layout.shape)


def broadcast_to(x: Any, shape: Sequence[int]) -> Any:
    """x expanded to ``shape``."""
    return expand(x, tuple(shape))


# Slices


def _undo_index(g: Any, form: Any, index: Index) -> Any:
    return scatter_view(g, form, (index,))


_Slice = view_node("Slice", _undo_index)
_Select = view_node("Select", _undo_index)


def as_index(items: tuple) -> Index:
    """A basic index (ints, slices, None, Ellipsis) in hashable form."""
    return tuple(
        ("slice", item.start, item.stop, item.step)
        if isinstance(item, slice)
        else item
        if item is None or item is Ellipsis
        else item.__index__()
        for item in items
    )


@_cached
def _indexed(form: Layout, index: Index) -> tuple[Layout, int]:
    """Layout and offset (from the tensor's own) of a basic index."""
    ndim = len(form.shape)
    used = sum(1 for item in index if item is not None and item is not Ellipsis)
    if used > ndim:
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    if index.count(Ellipsis) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    items: list = list(index)
    fill = [EVERYTHING] * (ndim - used)
    if Ellipsis in items:
        at = items.index(Ellipsis)
        items[at : at + 1] = fill
    else:
        items += fill
    shape: list[int] = []
    strides: list[int] = []
    offset = d = 0
    for item in items:
        if item is None:
            shape.append(1)
            strides.append(form.shape[d] * form.strides[d] if d < ndim else 1)
            continue
        size, stride = form.shape[d], form.strides[d]
        if isinstance(item, tuple):
            _, start, stop, step = item
            if step is not None and step <= 0:
                raise ValueError("step must be greater than zero")
            start, stop, step = slice(start, stop, step).indices(size)
            shape.append(max(0, -(-(stop - start) // step)))
            strides.append(stride * step)
            offset += (start if shape[-1] or start < size else 0) * stride
        else:
            if not -size <= item < size:
                raise IndexError(
                    f"index {item} is out of bounds for dimension {d} with size {size}"
                )
            offset += item % size * stride
        d += 1
    return layout(tuple(shape), tuple(strides), form.dtype, form.device), offset


def index_view(x: Any, index: Index) -> Any:
    """``x[index]`` for a basic index, sharing memory."""
    form, offset = _indexed(x.layout, index)
    selects = any(isinstance(item, int) for item in index)
    return make_view(
        x,
        form,
        x.offset + offset,
        _Select if selects else _Slice,
        (index,),
        (index_view, index),
    )


def _undo_diagonal(g: Any, form: Any, *details: Any) -> Any:
    return scatter_diagonal(g, form, details)


_Diagonal = view_node("Diagonal", _undo_diagonal)


@_cached
def _diagonal_form(form: Layout, offset: int, dim1: int, dim2: int) -> tuple[Layout, int]:
    """Layout and offset (from the tensor's own) of a diagonal."""
    shape, strides = form.shape, form.strides
    below, right = max(-offset, 0), max(offset, 0)
    size = max(min(shape[dim1] - below, shape[dim2] - right), 0)
    start = below * strides[dim1] + right * strides[dim2] if size else 0
    kept = [d for d in range(len(shape)) if d not in (dim1, dim2)]
    return layout(
        (*[shape[d] for d in kept], size),
        (*[strides[d] for d in kept], strides[dim1] + strides[dim2]),
        form.dtype,
        form.device,
    ), start


def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The elements whose indices in two dimensions differ by ``offset``, as the last dimension."""
    ndim = len(x.layout.shape)
    given = dim1, dim2
    dim1, dim2 = wrap_dim(dim1, ndim), wrap_dim(dim2, ndim)
    if dim1 == dim2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {given[0]}, {given[1]}")
    form, start = _diagonal_form(x.layout, offset, dim1, dim2)
    details = (offset, dim1, dim2)
    return make_view(x, form, x.offset + start, _Diagonal, details, (diagonal, *details))


def select(x: Any, dim: int, index: int) -> Any:
    """The slice at ``index`` of dimension ``dim``."""
    if not x.layout.shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim = wrap_dim(dim, len(x.layout.shape))
    return index_view(x, (*(EVERYTHING,) * dim, index))


def narrow(x: Any, dim: int, start: int, length: int) -> Any:
    """``length`` elements of dimension ``dim`` from ``start`` on."""
    shape = x.layout.shape
    dim = wrap_dim(dim, len(shape))
    start = start + shape[dim] if start < 0 else start
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if start + length > shape[dim]:
        raise RuntimeError(
            f"start ({start}) + length ({length}) exceeds dimension size ({shape[dim]})."
        )
    return index_view(x, (*(EVERYTHING,) * dim, ("slice", start, start + length, 1)))


class _Split(ManyViewsNode):
    __slots__ = ()
    join = staticmethod(creation.cat)


class _SplitWithSizes(_Split):
    __slots__ = ()


class _Unbind(ManyViewsNode):
    __slots__ = ()
    join = staticmethod(creation.stack)


class _UnsafeSplit(_Split):
    __slots__ = ()


for _node_type in (_Split, _SplitWithSizes, _UnsafeSplit, _Unbind):
    _node_type.__name__ = dispatch.node_name(_node_type.__name__.removeprefix("_"))


def unbind(x: Any, dim: int = 0) -> tuple:
    """The slices along a dimension."""
    dim = wrap_dim(dim, len(x.layout.shape))
    return _many_views(x, dim, range(x.layout.shape[dim]), _Unbind)


def split(x: Any, split_size: int | Sequence[int], dim: int = 0) -> tuple:
    """Pieces of the given size, or sizes, along a dimension."""
    node_type = _Split if isinstance(split_size, int) else _SplitWithSizes
    return _many_views(x, *_pieces(x, split_size, dim), node_type)


def split_with_sizes(x: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple:
    """Pieces of the given sizes along a dimension."""
    return split(x, split_sizes, dim)


def unsafe_split(x: Any, split_size: int | Sequence[int], dim: int = 0) -> tuple:
    """Like :func:`split`, for pieces that may be written to because nobody uses x any more."""
    return _many_views(x, *_pieces(x, split_size, dim), _UnsafeSplit, safe=False)


def _pieces(x: Any, split_size: int | Sequence[int], dim: int) -> tuple[int, list]:
    """The dimension made positive, and the slices along it."""
    dim = wrap_dim(dim, len(x.layout.shape))
    size = x.layout.shape[dim]
    if isinstance(split_size, int):
        if split_size <= 0:
            raise RuntimeError(
                f"split expects split_size be positive, but got split_size={split_size}"
            )
        sizes = [min(split_size, size - at) for at in range(0, size, split_size)] or [0]
    else:
        sizes = list(split_size)
        if sum(sizes) != size:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's "
                f"size at dimension {dim}), but got split_sizes={sizes}"
            )
    indices, at = [], 0
    for length in sizes:
        indices.append(("slice", at, at + length, 1))
        at += length
    return dim, indices


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple:
    """At most ``chunks`` pieces of equal size (the last may be smaller)."""
    return split(x, _chunk_size(x, chunks, dim), dim)


def unsafe_chunk(x: Any, chunks: int, dim: int = 0) -> tuple:
    """Like :func:`chunk`, for pieces that may be written to because nobody uses x any more."""
    return unsafe_split(x, _chunk_size(x, chunks, dim), dim)


def _chunk_size(x: Any, chunks: int, dim: int) -> int:
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    size = x.layout.shape[wrap_dim(dim, len(x.layout.shape))]
    return max(1, -(-size // chunks))


def view_as(x: Any, other: Any) -> Any:
    """x in the shape of ``other``."""
    return view(x, other.layout.shape)


_Alias = view_node("Alias", _undo_shape)


def alias(x: Any) -> Any:
    """The same tensor as a new object of the graph."""
    form = x.layout
    return make_view(x, form, x.offset, _Alias, (), (alias,))


class ScatterView(dispatch.Op):
    """The gradient of a view of some elements: zeros with g in their places.

    Args:
        view: makes it, given a tensor and ``details``.
    """

    composed = True

    def __init__(self, name: str, view: Callable):
        self.view = view
        super().__init__(name)

    def forward(self, g: Any, form: Any, details: tuple) -> Any:
        y = dispatch.empty(form.shape, g.dtype, g.device)
        creation.fill_with(y, 0)
        creation.copy_into(self.view(y, *details), g)
        return y

    def backward(self, needs: tuple[bool, ...], g: Any, details: tuple) -> Any:
        return self.view(g, *details)


scatter_view = ScatterView("ScatterView", index_view)
scatter_diagonal = ScatterView("ScatterDiagonal", diagonal)
