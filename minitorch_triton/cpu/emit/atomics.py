"""Atomics: read-modify-write, compare-and-swap, loads and stores, and waiting for a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Op, Tensor, Value
from ..schedule import Task
from ..views import Index
from . import ctypes
from .registry import executes

if TYPE_CHECKING:
    from .emitter import Emitter


_RMW = {
    "fadd": "arith.addf",
    "add": "arith.addi",
    "max": "arith.maxsi",
    "min": "arith.minsi",
    "umax": "arith.maxui",
    "umin": "arith.minui",
    "and": "arith.andi",
    "or": "arith.ori",
    "xor": "arith.xori",
}


@executes("tt.atomic_rmw")
def atomic_rmw(em: Emitter, op: Op, task: Task | None = None) -> None:
    """Compare-and-swap until nobody interfered; integer additions and the like in one step."""
    index = task.index if task else ()
    kind = op.words[0]
    pointer, value = op.operands[:2]
    mask = op.operands[2] if len(op.operands) > 2 else None
    holds = em.holds(em.conditions(mask, index), em.depth)
    element = value.element
    operand = em.element(value, index)
    address = em.pointer_text(em.address(pointer, index))
    old = result_variable(em, op)
    if holds != "false":
        em.push()
        if kind == "exch" or (kind in ("add", "and", "or", "xor") and element.bits >= 8):
            call = "exchange_n" if kind == "exch" else f"fetch_{kind}"
            stored = ctypes.to_memory(element, operand)
            if element.is_float:
                exchange(em, op, address, old, operand, lambda before: operand)
            else:
                em.line(f"{old} = __atomic_{call}({address}, {stored}, __ATOMIC_ACQ_REL);")
        else:
            exchange(
                em,
                op,
                address,
                old,
                operand,
                lambda before: updated(kind, element, before, operand),
            )
        lines = em.pop()
        em.block("" if holds == "true" else f"if ({holds})", lines)
    deliver_old(em, op, index, old)


def updated(kind: str, element, before: str, operand: str) -> str:
    suffix = ctypes.suffix(element)
    if element.is_float:
        names = {"fadd": "+", "max": "maxnumf", "min": "minnumf"}
        if kind == "fadd":
            return ctypes.rounded(element, f"({before} + {operand})")
        return f"mt_{names[kind]}_{suffix}({before}, {operand})"
    return f"mt_{_RMW[kind].removeprefix('arith.')}_{suffix}({before}, {operand})"


def exchange(em: Emitter, op: Op, address: str, old: str, operand: str, update) -> None:
    element = op.operands[1].element
    bits = f"uint{element.bits}_t"
    memory = ctypes.memory_type(element)
    cell, seen, new = (em.fresh(name) for name in ("cell", "seen", "new"))
    em.line(f"{memory} *const {cell} = {address};")
    em.line(f"{memory} {seen} = *{cell}, {new};")
    em.line("do {")
    em.line(f"    {old} = {ctypes.from_memory(element, seen)};")
    em.line(f"    {new} = {ctypes.to_memory(element, update(old))};")
    em.line(
        f"}} while (!__atomic_compare_exchange(({bits} *){cell}, ({bits} *)&{seen}, "
        f"({bits} *)&{new}, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));"
    )


def result_variable(em: Emitter, op: Op) -> str:
    old = em.fresh(op.result.name)
    em.line(f"{ctypes.variable_type(op.result.element)} {old} = 0;")
    return old


def deliver_old(em: Emitter, op: Op, index: Index, old: str) -> None:
    result = op.result
    if not isinstance(result.type, Tensor):
        em.scalars[result] = old
    elif result in em.arrays:
        array = em.arrays[result]
        em.line(f"{em.place(array, index)} = {ctypes.to_memory(array.element, old)};")


@executes("tt.atomic_cas")
def atomic_cas(em: Emitter, op: Op, task: Task | None = None) -> None:
    index = task.index if task else ()
    element = op.operands[1].element
    compared, value = (em.element(operand, index) for operand in op.operands[1:3])
    address = em.pointer_text(em.address(op.operands[0], index))
    memory, bits = ctypes.memory_type(element), f"uint{element.bits}_t"
    old = result_variable(em, op)
    em.push()
    em.line(f"{memory} expected = {ctypes.to_memory(element, compared)};")
    em.line(f"{memory} desired = {ctypes.to_memory(element, value)};")
    em.line(
        f"__atomic_compare_exchange(({bits} *)({address}), ({bits} *)&expected, "
        f"({bits} *)&desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);"
    )
    em.line(f"{old} = {ctypes.from_memory(element, 'expected')};")
    em.block("", em.pop())
    deliver_old(em, op, index, old)


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
    em.waits = em.waits_for_values = True
    em.push()
    address, type_ = cell(em, pointer, index)
    em.line(f"{ctypes.memory_type(expected.element)} expected = {text};")
    size = f"sizeof({type_})"
    em.line(f"{arrived} = mt_wait_for(L, {address}, &expected, {size}, {limit});")
    em.block("", em.pop())
    deliver_old(em, op, index, arrived)
