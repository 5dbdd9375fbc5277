"""Atomic loads and stores, and waiting for a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Op, Value
from ..schedule import Task
from ..views import Index
from . import ctypes
from .memory import deliver_old, result_variable
from .registry import executes

if TYPE_CHECKING:
    from .emitter import Emitter


def cell(em: Emitter, pointer: Value, index: Index) -> tuple[str, str]:
    """The address of an element as that of an unsigned integer of its size, and that type."""
    address = em.address(pointer, index)
    type_ = f"uint{max(address.pointee.bits, 8)}_t"
    return f"({type_} *)({em.pointer_text(address)})", type_


@executes("tt.atomic_load")
def atomic_load(em: Emitter, op: Op, task: Task | None = None) -> None:
    index = task.index if task else ()
    mask = op.operands[1] if len(op.operands) > 1 else None
    holds = em.holds(em.conditions(mask, index), em.depth)
    element = op.result.element
    value = result_variable(em, op)
    if holds != "false":
        em.push()
        address, type_ = cell(em, op.operands[0], index)
        em.line(f"{ctypes.memory_type(element)} seen;")
        em.line(f"__atomic_load({address}, ({type_} *)&seen, __ATOMIC_ACQUIRE);")
        em.line(f"{value} = {ctypes.from_memory(element, 'seen')};")
        lines = em.pop()
        em.block("" if holds == "true" else f"if ({holds})", lines)
    deliver_old(em, op, index, value)


@executes("tt.atomic_store")
def atomic_store(em: Emitter, op: Op, task: Task | None = None) -> None:
    index = task.index if task else ()
    pointer, value = op.operands[:2]
    mask = op.operands[2] if len(op.operands) > 2 else None
    holds = em.holds(em.conditions(mask, index), em.depth)
    if holds == "false":
        return
    text = ctypes.to_memory(value.element, em.element(value, index))
    em.push()
    address, type_ = cell(em, pointer, index)
    em.line(f"{ctypes.memory_type(value.element)} desired = {text};")
    em.line(f"__atomic_store({address}, ({type_} *)&desired, __ATOMIC_RELEASE);")
    lines = em.pop()
    em.block("" if holds == "true" else f"if ({holds})", lines)


@executes("tt.atomic_poll")
def atomic_poll(em: Emitter, op: Op, task: Task | None = None) -> None:
    """Waits for a value, as long as the time in nanoseconds says if there is one."""
    index = task.index if task else ()
    pointer, expected = op.operands[:2]
    text = ctypes.to_memory(expected.element, em.element(expected, index))
    limit = em.element(op.operands[2], index) if len(op.operands) > 2 else "-1"
    arrived = result_variable(em, op)
    em.headers.add("mt_wait.h")
    em.push()
    address, type_ = cell(em, pointer, index)
    em.line(f"{ctypes.memory_type(expected.element)} expected = {text};")
    size = f"sizeof({type_})"
    em.line(f"{arrived} = mt_wait_for({address}, &expected, {size}, {limit});")
    em.block("", em.pop())
    deliver_old(em, op, index, arrived)
