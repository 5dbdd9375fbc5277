"""Checked mode in the compiler: operations that look at every access, put into Triton IR.

`instrument` inserts an `mt.check` before each load, store and atomic of a kernel, with the access's
own pointers and mask. It knows where the addresses of the access ought to be: in the storage of the
argument, or of the loaded pointer, that they are offsets from, through whatever loops and
branches. `emit/check.py` translates the operations, `include/mt_check.h` says what they do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .ir import Block, Element, Function, Location, Op, Tensor, Value
from .views import VIEWS

_ACCESSES = {
    "tt.load": "MT_LOAD",
    "tt.store": "MT_STORE",
    "tt.atomic_rmw": "MT_ATOMIC",
    "tt.atomic_cas": "MT_ATOMIC",
    "tt.atomic_load": "MT_ATOMIC",
    "tt.atomic_store": "MT_ATOMIC_STORE",
    "tt.atomic_poll": "MT_ATOMIC",
}
_MASKS = {
    "tt.load": 1,
    "tt.store": 2,
    "tt.atomic_rmw": 2,
    "tt.atomic_load": 1,
    "tt.atomic_store": 2,
}


@dataclass(frozen=True)
class Site:
    """One access in the kernel's source: `mt_site` of mt_check.h.

    ``argument`` is the slot of the pointer that its addresses are offsets from, None where that is
    not an argument.
    """

    location: Location | None
    access: str
    argument: int | None
    element: Element
    shape: tuple[int, ...]
    masked: bool


def instrument(function: Function) -> list[Site]:
    """Put checks into a function; returns the accesses that they check, by number."""
    origins = _Origins(function)
    sites: list[Site] = []
    marked = False
    for block in _blocks(function):
        ops: list[Op] = []
        for op in block.ops:
            if op.name in _ACCESSES:
                site = len(sites)
                check = _check(op, site, origins.of(op.operands[0], block))
                sites.append(_site(op, _ACCESSES[op.name], check, function))
                ops.append(check)
                if masked_off := _mark_masked_off(op, site):
                    ops.append(masked_off)
                    marked = True
            ops.append(op)
        block.ops = ops
    if marked:
        _check_what_is_stored(function, origins, sites)
    return sites


def _blocks(function: Function) -> Iterator[Block]:
    pending = list(function.blocks)
    while pending:
        block = pending.pop(0)
        yield block
        pending += [inner for op in block.ops for region in op.regions for inner in region]


def _mask(op: Op) -> list[Value]:
    position = _MASKS.get(op.name, len(op.operands))
    return op.operands[position : position + 1]


def _check(op: Op, site: int, origin: Value | None) -> Op:
    """``mt.check(pointers, origin, mask)``; the origin is the pointer itself if there is no one."""
    pointer = op.operands[0]
    operands = [pointer, origin or pointer, *_mask(op)]
    check = Op("mt.check", operands, [], {"site": site}, [], [], op.location)
    for operand in operands:
        operand.uses.append(check)
    return check


def _site(op: Op, access: str, check: Op, function: Function) -> Site:
    origin = check.operands[1]
    of_kernel = function.public and origin in function.arguments
    argument = function.arguments.index(origin) if of_kernel else None
    pointer = check.operands[0]
    return Site(
        op.location, access, argument, pointer.element.pointee, pointer.shape, bool(_mask(op))
    )


# ---- Lanes that a mask leaves out ----------------------------------------------------------------


def _mark_masked_off(op: Op, site: int) -> Op | None:
    """Make a NaN that tells the load the ``other`` of a load of floats that has none."""
    if op.name != "tt.load" or len(op.operands) != 2:
        return None
    element = op.result.element
    if not element.is_float or element.bits < 16:
        return None
    marker = Op("mt.masked_off", [], [], {"site": site}, [], [], op.location)
    marker.results.append(Value(f"masked_off_{site}", op.result.type, marker, [op]))
    op.operands.append(marker.result)
    return marker


def _check_what_is_stored(function: Function, origins: _Origins, sites: list[Site]) -> None:
    """After each store or atomic of floats: no lane that a mask left out has come through to
    memory."""
    for block in _blocks(function):
        ops: list[Op] = []
        for op in block.ops:
            ops.append(op)
            stores = op.name in ("tt.store", "tt.atomic_rmw", "tt.atomic_store")
            element = op.operands[1].element if stores else None
            if element is not None and element.is_float and element.bits >= 16:
                check = _check(op, len(sites), origins.of(op.operands[0], block))
                sites.append(_site(op, "MT_STORED", check, function))
                ops.append(check)
        block.ops = ops


# ---- What a pointer is an offset from ------------------------------------------------------------


class _Origins:
    """Finds the one scalar pointer that a pointer's addresses are offsets from."""

    def __init__(self, function: Function):
        self.incoming: dict[Value, list[Value]] = {}
        self.enclosing: dict[Block, Block] = {}
        by_label = {block.label: block for block in function.blocks}
        for block in function.blocks:
            for op in block.ops:
                for inner in op.walk():
                    self._note_control(inner)
            for label, values in block.terminator.attributes.get("successors", ()):
                for value, argument in zip(values, by_label[label].arguments, strict=True):
                    self.incoming.setdefault(argument, []).append(value)

        for block in _blocks(function):
            for op in block.ops:
                self.enclosing |= {inner: block for region in op.regions for inner in region}

    def _note_control(self, op: Op) -> None:
        if op.name == "scf.for":
            self._note(op.body.arguments[1:], op.operands[3:], op.body.terminator.operands)
            self._note(op.results, op.operands[3:], op.body.terminator.operands)
        elif op.name == "scf.while":
            before, after = op.regions[0][0], op.regions[1][0]
            self._note(before.arguments, op.operands, after.terminator.operands)
            self._note(after.arguments, before.terminator.operands[1:])
            self._note(op.results, before.terminator.operands[1:])
        elif op.name == "scf.if" and op.results:
            self._note(op.results, *(region[0].terminator.operands for region in op.regions))

    def _note(self, targets: list[Value], *sources: list[Value]) -> None:
        for values in sources:
            for target, value in zip(targets, values, strict=True):
                self.incoming.setdefault(target, []).append(value)

    def of(self, pointer: Value, block: Block) -> Value | None:
        """The origin of a pointer that is used in ``block``; None where there are several, or a
        block of them, or one that is not known there."""
        found: set[Value] = set()
        through_control_flow = False
        pending, seen = [pointer], set()
        while pending:
            value = pending.pop()
            if value in seen:
                continue
            seen.add(value)
            op = value.op
            if value in self.incoming:
                through_control_flow = True
                pending += self.incoming[value]
            elif op is not None and (op.name in ("tt.addptr", "tt.bitcast") or op.name in VIEWS):
                pending.append(op.operands[0])
            elif op is not None and op.name == "arith.select":
                pending += op.operands[1:]
            else:
                found.add(value)
        if len(found) != 1:
            return None
        (origin,) = found
        if isinstance(origin.type, Tensor):
            return None
        if through_control_flow and origin.op is not None and not self._encloses(origin.op, block):
            return None
        return origin

    def _encloses(self, op: Op, block: Block | None) -> bool:
        while block is not None and op not in block.ops:
            block = self.enclosing.get(block)
        return block is not None
