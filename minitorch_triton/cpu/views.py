"""Operations that only rearrange: which element of the operand an element of the result is.

Each maps an index of the result (one polynomial per dimension) to an index of its operand, so a
view costs nothing: whoever asks for an element asks the operand for another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from .ir import Op
from .poly import Poly

Index = tuple[Poly, ...]
Extents = Mapping[str, int]

VIEWS: dict[str, Callable[[Op, Index, Extents], Index]] = {}
ZERO = Poly.constant(0)
ANYWHERE = Poly.symbol("anywhere")  # an index that is itself looked up


def view(*names: str):
    """Registers the index map of the operations ``names``."""

    def register(function):
        for name in names:
            VIEWS[name] = function
        return function

    return register


def flatten(index: Sequence[Poly], shape: Sequence[int]) -> Poly:
    """Row-major position of an element of a block."""
    position = ZERO
    for i, extent in zip(index, shape, strict=True):
        position = position.scaled(extent) + (i if extent > 1 else ZERO)
    return position


def unflatten(position: Poly, shape: Sequence[int], extents: Extents) -> Index:
    """Index of the element at a row-major position."""
    index = []
    for extent in reversed(shape[1:]):
        position, remainder = position.divmod(extent, extents)
        index.append(remainder)
    return tuple(reversed([*index, position])) if shape else ()


@view("tt.splat", "tt.unsplat")
def _splat(op: Op, index: Index, extents: Extents) -> Index:
    return (ZERO,) * len(op.operands[0].shape)


@view("tt.broadcast")
def _broadcast(op: Op, index: Index, extents: Extents) -> Index:
    source = op.operands[0].shape
    return tuple(ZERO if extent == 1 else i for i, extent in zip(index, source, strict=True))


@view("tt.expand_dims")
def _expand_dims(op: Op, index: Index, extents: Extents) -> Index:
    axis = op.attributes["axis"]
    return index[:axis] + index[axis + 1 :]


@view("tt.trans")
def _trans(op: Op, index: Index, extents: Extents) -> Index:
    order = op.attributes["order"]
    return tuple(index[order.index(dimension)] for dimension in range(len(index)))


@view("tt.reshape")
def _reshape(op: Op, index: Index, extents: Extents) -> Index:
    source, target = op.operands[0].shape, op.result.shape
    position = flatten(index, target)
    assert math.prod(source) == math.prod(target)
    return unflatten(position, source, extents)


@view("mt.swap")
def _swap(op: Op, index: Index, extents: Extents) -> Index:
    """The other one of the two elements along an axis."""
    axis = op.attributes["axis"]
    return (*index[:axis], Poly.constant(1) - index[axis], *index[axis + 1 :])


@view("tt.reduce")
def _reduce_of_one(op: Op, index: Index, extents: Extents) -> Index:
    """A reduction over an axis of one element."""
    axis = op.attributes["axis"]
    return (*index[:axis], ZERO, *index[axis:])


def is_view(op: Op | None) -> bool:
    """True where the result's elements are elements of operand 0."""
    if op is None or op.name not in VIEWS:
        return False
    if op.name == "tt.reduce":
        return len(op.operands) == 1 and op.operands[0].shape[op.attributes["axis"]] == 1
    return True


def source_index(op: Op, index: Index, extents: Extents) -> Index:
    """Index into operand 0 of a view."""
    return VIEWS[op.name](op, index, extents)
