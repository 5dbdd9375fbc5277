"""The operations of checked mode: each a call of ``mt_check.h`` for every row of its lanes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..instrument import Site
from ..ir import Op, Pointer, Value
from ..poly import Poly
from ..views import ZERO, Index
from . import ctypes
from .loops import bounds, bounds_j
from .registry import executes, lowers

if TYPE_CHECKING:
    from .emitter import Emitter


@executes("mt.check")
def check(em: Emitter, op: Op) -> None:
    """Loops over the rows of the block of pointers around the check of one row."""
    shape = op.operands[0].shape
    extents = [extent for extent in shape if extent > 1]
    names = [*(f"i{d}" for d in range(len(extents) - 1)), "j"][: len(extents)]
    variables = iter(names)
    index = tuple(Poly.symbol(next(variables)) if extent > 1 else ZERO for extent in shape)
    for name, extent in zip(names[:-1], extents, strict=False):
        em.push()
        em.depths[name] = em.depth
        em.extents[name] = extent
    row = ZERO
    for name, extent in zip(names[:-1], extents, strict=False):
        row = row.scaled(extent) + Poly.symbol(name)
    if extents:
        em.depths["j"], em.extents["j"] = em.depth + 1, extents[-1]
        if not whole_row(em, op, index, row, extents[-1]):
            em.push(inner=True)
            lanes(em, op, index, row)
            lines = em.pop()
            em.block(f"for (int j = 0; j < {extents[-1]}; ++j)", lines)
    else:
        lanes(em, op, index, row)
    for name, extent in reversed(list(zip(names[:-1], extents, strict=False))):
        lines = em.pop()
        em.block(f"for (int {name} = 0; {name} < {extent}; ++{name})", lines)
    for name in names:
        del em.extents[name]
    em.line("if (mt_check->finding.kind) return;")


def mask_conditions(em: Emitter, op: Op, index: Index) -> frozenset:
    return em.conditions(op.operands[2] if len(op.operands) > 2 else None, index)


def whole_row(em: Emitter, op: Op, index: Index, row: Poly, extent: int) -> bool:
    """One call for the row, where its lanes are evenly spaced and the mask cuts off its ends."""
    em.push(inner=True)
    address = em.address(op.operands[0], index)
    conditions = mask_conditions(em, op, index)
    em.pop()
    stride = address.offset.slope("j")
    if stride is None or em.depth_of(address.base, stride, address.offset.without("j")) > em.depth:
        return False
    if any(em.condition_depth(c) > em.depth and not bounds_j(em, c) for c in conditions):
        return False
    low, high = bounds(em, conditions, extent)
    call(em, op, address.base, address.offset.without("j"), stride, low, high, row)
    return True


def lanes(em: Emitter, op: Op, index: Index, row: Poly) -> None:
    """A call for one lane."""
    address = em.address(op.operands[0], index)
    holds = em.holds(mask_conditions(em, op, index), em.depth)
    lane = "j" if "j" in em.extents else "0"
    if holds != "false":
        em.push()
        call(em, op, address.base, address.offset, ZERO, lane, f"{lane} + 1", row)
        em.block("" if holds == "true" else f"if ({holds})", em.pop())


def call(em: Emitter, op: Op, base: str, offset: Poly, stride: Poly, low, high, row: Poly) -> None:
    pointer, origin = op.operands[:2]
    pointee = ctypes.memory_type(pointer.element.pointee)
    place = base if offset.value == 0 else f"{base} + ({offset.text()})"
    arguments = em.function.arguments
    if em.function.public and origin in arguments:
        storage = f"mt_check->arguments[{arguments.index(origin)}]"
    elif origin is pointer:
        storage = f"mt_check_find((uint64_t)({base if pointer.shape else place}))"
    else:
        storage = f"mt_check_find((uint64_t){em.element(origin, ())})"
    site = f"&mt_sites[{op.attributes['site']}]"
    step = stride.text()
    distance = "0" if step == "0" else f"({step})*(int64_t)sizeof({pointee})"
    some = "" if high == f"{low} + 1" else f"if ({low} < {high}) "
    em.line(
        f"{some}mt_check_row(L, {site}, {storage}, {place}, {distance}, {low}, {high}, "
        f"{row.text()});"
    )


@lowers("mt.masked_off")
def masked_off(em: Emitter, op: Op, index: Index) -> str:
    bits = 64 if op.result.element.bits == 64 else 32
    return f"MT_MASKED_OFF_F{bits}({op.attributes['site']})"


def tables(sites: list[Site], arguments: list[Value]) -> str:
    """The accesses of a checked kernel and its pointer arguments, as tables in C; nothing for any
    other kernel."""
    if not sites:
        return ""
    rows = []
    for site in sites:
        where = site.location
        file, line = (json.dumps(where.file), where.line) if where else ('""', 0)
        argument = -1 if site.argument is None else site.argument
        element = getattr(site.element, "name", "pointer")
        shape = "x".join(map(str, site.shape))
        extent = next((e for e in reversed(site.shape) if e > 1), 1)
        rows.append(
            f'    {{{file}, "{element}", "{shape}", {line}, {site.access}, {argument}, '
            f"sizeof({ctypes.memory_type(site.element)}), {int(site.masked)}, {extent}}},\n"
        )
    names = ", ".join(
        json.dumps(argument.name) if isinstance(argument.type, Pointer) else "0"
        for argument in arguments
    )
    return (
        '#include "mt_check.h"\n'
        f"MT_EXPORT const char *const mt_pointers[] = {{{names}}};\n"
        f"MT_EXPORT const mt_site mt_sites[] = {{\n{''.join(rows)}}};\n"
    )
