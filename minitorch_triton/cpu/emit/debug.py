"""`device_assert` and `device_print`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Op, Scalar, Tensor
from ..schedule import Task
from . import ctypes
from .registry import executes

if TYPE_CHECKING:
    from .emitter import Emitter


def quoted(text: str) -> str:
    """A string literal of C, safe as a format of printf."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def position_text(em: Emitter, task: Task | None) -> tuple[str, list[str]]:
    """Format and arguments that name the program and the element."""
    index = task.index if task else ()
    places = ", ".join("%d" for _ in index)
    arguments = [f"L->pid[{axis}]" for axis in range(3)] + [f"(int)({i.text()})" for i in index]
    return f'"pid (%d, %d, %d) idx ({places})"', arguments


@executes("tt.assert")
def assert_(em: Emitter, op: Op, task: Task | None = None) -> None:
    """Writes the message and ends the program; the launch returns an error."""
    condition = em.element(op.operands[0], task.index if task else ())
    where, arguments = position_text(em, task)
    message = op.attributes.get("string", "")
    source = f"{op.location}: " if op.location else ""
    em.push()
    text = quoted(f" {source}device assertion failed: {message}")
    em.headers.add("stdio.h")
    em.line(f'fprintf(stderr, {where} {text} "\\n", {", ".join(arguments)});')
    em.line("mt_fail(L, MT_ASSERTION_FAILED);")
    em.line("return;")
    em.block(f"if (!{condition})", em.pop())


@executes("tt.print")
def print_(em: Emitter, op: Op, task: Task | None = None) -> None:
    """One line for each element of each operand, as on a GPU."""
    em.headers.add("stdio.h")
    prefix = op.attributes.get("string", "")
    signs = op.attributes.get("isSigned") or [1] * len(op.operands)
    if not op.operands:
        program = "L->pid[0], L->pid[1], L->pid[2]"
        em.line(f'printf("pid (%d, %d, %d)" {quoted(prefix)} "\\n", {program});')
    for number, (operand, signed) in enumerate(zip(op.operands, signs, strict=True)):
        where, arguments = position_text(em, task if isinstance(operand.type, Tensor) else None)
        text = em.element(operand, task.index if task else ())
        format_, value = formatted(operand.element, text, bool(signed), op.attributes.get("hex"))
        which = f"(operand {number}) " if len(op.operands) > 1 else ""
        line = f'{where} {quoted(prefix + which)} {format_} "\\n"'
        em.line(f"printf({line}, {', '.join([*arguments, value])});")
    em.line("fflush(stdout);")


def formatted(element, text: str, signed: bool, hexadecimal: object) -> tuple[str, str]:
    """Format and argument of printf for one number."""
    if not isinstance(element, Scalar):
        return '"%p"', f"(void *){text}"
    if hexadecimal:
        if element.is_float and not ctypes.is_narrow(element):
            text = f"mt_{element.name}_bits({text})"
        elif element.is_float:
            text = ctypes.to_memory(element, text)
        digits = max(element.bits // 4, 1)
        mask = (1 << element.bits) - 1
        return f'"0x%0{digits}llx"', f"(unsigned long long){text} & {mask}ull"
    if element.is_float:
        return '"%f"', f"(double){text}"
    if signed or element.bits == 1:
        return '"%lld"', f"(long long){text}"
    return '"%llu"', f"(unsigned long long)(uint{element.bits}_t){text}"
