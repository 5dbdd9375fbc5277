"""Loads, stores, gathers, and pointers as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Op
from ..schedule import Task
from ..views import Index
from . import ctypes
from .registry import executes, lowers

if TYPE_CHECKING:
    from .emitter import Emitter


@lowers("tt.load")
def load(em: Emitter, op: Op, index: Index) -> str:
    """``mask ? *pointer : other``, with no test where the loop's bounds imply the mask."""
    pointer = op.operands[0]
    mask = op.operands[1] if len(op.operands) > 1 else None
    element = op.result.element
    address = em.address(pointer, index)
    conditions = em.conditions(mask, index)
    depth = max(
        em.depth_of(address.base, address.offset),
        em.homes.get(op, 0),
        em.floor,
        *(em.condition_depth(c) for c in conditions),
    )
    holds = em.holds(conditions, depth)
    if holds == "false":
        return em.element(op.operands[2], index) if len(op.operands) > 2 else zero(element)
    text = ctypes.from_memory(element, em.memory(address, depth))
    frame = em.frames[depth]
    if frame.guard:
        frame.guarded &= holds == "true"
        text = f"{frame.guard} ? {text} : 0"
    if holds != "true":
        other = em.element(op.operands[2], index) if len(op.operands) > 2 else zero(element)
        frame.tested |= em.depth_of(holds) == depth
        text = f"{holds} ? {text} : {other}"
    depth = max(depth, em.depth_of(text))
    return em.define(op.result.name, ctypes.variable_type(element), text, depth)


def zero(element) -> str:
    return "false" if element.bits == 1 else "0"


@executes("tt.store")
def store(em: Emitter, op: Op, task: Task | None = None) -> None:
    index = task.index if task else ()
    pointer, value = op.operands[:2]
    mask = op.operands[2] if len(op.operands) > 2 else None
    holds = em.holds(em.conditions(mask, index), em.depth)
    if holds == "false":
        return
    text = ctypes.to_memory(value.element, em.element(value, index))
    place = em.memory(em.address(pointer, index), em.depth)
    frame = em.frames[em.depth]
    if frame.guard:
        frame.guarded &= holds == "true"
        holds = frame.guard
    em.line(f"{'' if holds == 'true' else f'if ({holds}) '}{place} = {text};")


@lowers("tt.gather")
def gather(em: Emitter, op: Op, index: Index) -> str:
    source, where = op.operands
    axis = op.attributes["axis"]
    position = list(index)
    position[axis] = em.poly(where, index)
    return em.element(source, tuple(position))


@lowers("tt.int_to_ptr")
def int_to_ptr(em: Emitter, op: Op, index: Index) -> str:
    type_ = ctypes.variable_type(op.result.element)
    return f"({type_}){em.element(op.operands[0], index)}"


@lowers("tt.ptr_to_int")
def ptr_to_int(em: Emitter, op: Op, index: Index) -> str:
    address = em.address(op.operands[0], index)
    return f"(int64_t)({em.pointer_text(address)})"
