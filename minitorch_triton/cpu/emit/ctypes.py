"""C types: how an element of Triton IR is held in a variable and in memory.

Floats narrower than 32 bits are `float` variables that hold a value of the narrow type exactly:
each operation computes in float and rounds to the narrow type.
"""

from __future__ import annotations

from ..ir import Element, Pointer, Scalar

NARROW_FLOATS = {
    "f16": "f16",
    "bf16": "bf16",
    "f8E4M3FN": "f8e4m3fn",
    "f8E5M2": "f8e5m2",
    "f8E4M3FNUZ": "f8e4m3fnuz",
    "f8E5M2FNUZ": "f8e5m2fnuz",
}
# Those with a function mt_..._bits, which takes a value of the type as it is.
_TAKEN_AS_THEY_ARE = ("bf16", "f8E5M2")
_VARIABLES = {"i1": "bool", "f32": "float", "f64": "double", "index": "int64_t"}


def is_narrow(element: Element) -> bool:
    """True for a float type that is computed with in float and rounded."""
    return isinstance(element, Scalar) and element.name in NARROW_FLOATS


def variable_type(element: Element) -> str:
    """C type of a local variable."""
    if isinstance(element, Pointer):
        return f"{memory_type(element.pointee)} *"
    if is_narrow(element):
        return "float"
    return _VARIABLES.get(element.name) or f"int{element.bits}_t"


def memory_type(element: Element) -> str:
    """C type of an element of an array or of memory that a pointer points to."""
    if isinstance(element, Pointer):
        return "int64_t"
    if is_narrow(element):
        return f"uint{element.bits}_t"
    return "uint8_t" if element.name == "i1" else variable_type(element)


def suffix(element: Element) -> str:
    """Suffix of the C functions that compute with this type: f32, f64, i32 ..."""
    if isinstance(element, Pointer) or element.name == "index":
        return "i64"
    if is_narrow(element):
        return "f32"
    return "i8" if element.name == "i1" else element.name


def from_memory(element: Element, text: str) -> str:
    """The variable's value of an element that was read."""
    if isinstance(element, Pointer):
        return f"({variable_type(element)}){text}"
    if is_narrow(element):
        return f"mt_{NARROW_FLOATS[element.name]}_to_f32({text})"
    return f"({text} != 0)" if element.name == "i1" else text


def to_memory(element: Element, text: str) -> str:
    """What to write for a variable's value."""
    if isinstance(element, Pointer):
        return f"(int64_t){text}"
    if element.name in _TAKEN_AS_THEY_ARE:
        return f"mt_{NARROW_FLOATS[element.name]}_bits({text})"
    if is_narrow(element):
        return f"mt_f32_to_{NARROW_FLOATS[element.name]}({text})"
    return text


def rounded(element: Element, text: str) -> str:
    """A result computed in float, rounded to a narrow type if it is one."""
    if not is_narrow(element):
        return text
    return from_memory(element, f"mt_f32_to_{NARROW_FLOATS[element.name]}({text})")
