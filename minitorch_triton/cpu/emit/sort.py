"""`tl.sort` and `tl.topk`, whose rows are sorted by ``mt_sort.h`` instead of a sorting network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Element, Op
from . import ctypes
from .registry import executes

if TYPE_CHECKING:
    from .emitter import Emitter

# The largest magnitude that is not NaN, as bits.
_LARGEST = {
    "f64": 0x7FF0 << 48,
    "f32": 0x7F800000,
    "f16": 0x7C00,
    "bf16": 0x7F80,
    "f8E5M2": 0x7C,
    "f8E4M3FN": 0x7E,
    "f8E4M3FNUZ": 0x7F,
    "f8E5M2FNUZ": 0x7F,
}


@executes("mt.sort")
def sort(em: Emitter, op: Op) -> None:
    """Rows of the result are the first numbers of the sorted rows of the operand."""
    source, target = em.arrays[op.operands[0]], em.arrays[op.result]
    count, kept = source.shape[-1], target.shape[-1]
    rows = op.operands[0].type.size // count
    kind = "u64" if source.element.bits == 64 else "u32"
    type_ = "uint64_t" if kind == "u64" else "uint32_t"
    keys, spare = (em.scratch_array(type_, name, count) for name in ("keys", "spare"))
    reverse = "~" if op.attributes["descending"] else ""
    unsigned = op.attributes["unsigned"]
    key = key_text(source.element, kind, f"{source.name}[row*{count} + j]", unsigned)
    number = number_text(source.element, kind, f"{reverse}{keys}[j]", unsigned)
    number = ctypes.to_memory(target.element, ctypes.from_memory(source.element, number))
    em.headers.add("mt_sort.h")
    em.push()
    em.line(f"for (int j = 0; j < {count}; ++j) {keys}[j] = {reverse}({type_})({key});")
    em.line(f"mt_sort_{kind}({keys}, {spare}, {count});")
    em.line(f"for (int j = 0; j < {kept}; ++j) {target.name}[row*{kept} + j] = {number};")
    em.block(f"for (int64_t row = 0; row < {rows}; ++row)", em.pop())


def sign_bit(element: Element) -> str:
    return f"UINT64_C({1 << (element.bits - 1)})"


def key_text(element: Element, kind: str, place: str, unsigned: bool) -> str:
    """The key of a number in memory."""
    if not element.is_float:
        bits = f"(uint{max(element.bits, 8)}_t){place}"
        return bits if unsigned or element.bits == 1 else f"{bits} ^ {sign_bit(element)}"
    bits = place if ctypes.is_narrow(element) else f"mt_{element.name}_bits({place})"
    return f"mt_order_{kind}({bits}, {sign_bit(element)}, UINT64_C({_LARGEST[element.name]}))"


def number_text(element: Element, kind: str, key: str, unsigned: bool) -> str:
    """The number in memory that has a key."""
    if not element.is_float:
        flipped = key if unsigned or element.bits == 1 else f"({key} ^ {sign_bit(element)})"
        sign = "u" if unsigned else ""
        return f"({sign}int{max(element.bits, 8)}_t){flipped}"
    bits = f"mt_unorder_{kind}({key}, {sign_bit(element)})"
    return bits if ctypes.is_narrow(element) else f"mt_bits_{element.name}({bits})"
