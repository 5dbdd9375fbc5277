"""Arithmetic, comparisons, conversions and elementary functions of single elements.

The C functions are those of ``mt_types.h`` and ``mt_math.h``; their names follow the operations.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from ..ir import Op, Scalar, Value
from ..poly import Poly, literal
from ..views import Index
from . import ctypes
from .registry import lowers

if TYPE_CHECKING:
    from .emitter import Emitter

_FLOAT_FORMATS = {16: "<e", 32: "<f", 64: "<d"}


@lowers("arith.constant")
def constant(em: Emitter, op: Op, index: Index) -> str:
    text, element = op.attributes["value"], op.result.element
    if text.startswith("["):
        raise em.unsupported(op, "a constant block whose elements differ")
    if element.is_float:
        return float_literal(float_value(text, element), element)
    if element.bits == 1:
        return "true" if text in ("true", "1", "-1") else "false"
    return literal(int(text, 0))


def float_value(text: str, element: Scalar) -> float:
    """Value of a float constant, which may be written as its bits.

    Of the 8-bit formats MLIR writes only infinities and NaNs so.
    """
    if not text.startswith("0x"):
        return float(text)
    bits = int(text, 16)
    if element.name == "bf16":
        return struct.unpack("<f", (bits << 16).to_bytes(4, "little"))[0]
    if element.name == "f8E5M2":  # the upper half of a float16
        return struct.unpack("<e", (bits << 8).to_bytes(2, "little"))[0]
    if element.bits == 8:  # the other formats have NaN, but no infinity
        return math.nan
    return struct.unpack(_FLOAT_FORMATS[element.bits], bits.to_bytes(element.bits // 8, "little"))[
        0
    ]


def float_literal(value: float, element: Scalar) -> str:
    if math.isnan(value):
        return "MT_NAN"
    if value in (float("inf"), float("-inf")):
        return "MT_INFINITY" if value > 0 else "-MT_INFINITY"
    if element.bits == 64:
        return repr(value)
    return f"{struct.unpack('<f', struct.pack('<f', value))[0]!r}f"


def operator(name: str, symbol: str) -> None:
    @lowers(name)
    def lower(em: Emitter, op: Op, index: Index) -> str:
        a, b = em.operands(op, index)
        return ctypes.rounded(op.result.element, f"{a} {symbol} {b}")


@lowers("arith.divf")
def divf(em: Emitter, op: Op, index: Index) -> str:
    """A quotient; that of `tl.sigmoid` is one function, exact where the exponential overflows."""
    argument = sigmoid_argument(op)
    if argument is not None:
        return f"mt_sigmoid_{ctypes.suffix(op.result.element)}({em.element(argument, index)})"
    a, b = em.operands(op, index)
    return ctypes.rounded(op.result.element, f"{a} / {b}")


def sigmoid_argument(op: Op) -> Value | None:
    """x where the operation computes 1 / (1 + exp(0 - x)) in float32 or float64."""
    if op.result.element.bits < 32 or not is_constant(op.operands[0], 1):
        return None
    total = op.operands[1].op
    if total is None or total.name != "arith.addf":
        return None
    others = [v for v in total.operands if not is_constant(v, 1)]
    exponential = others[0].op if len(others) == 1 else None
    if exponential is None or exponential.name != "math.exp":
        return None
    minus = exponential.operands[0].op
    if minus is not None and minus.name == "arith.subf" and is_constant(minus.operands[0], 0):
        return minus.operands[1]
    return minus.operands[0] if minus is not None and minus.name == "arith.negf" else None


def is_constant(value: Value, number: float) -> bool:
    op = value.op
    return (
        op is not None
        and op.name == "arith.constant"
        and float_value(op.attributes["value"], value.element) == number
    )


for _name, _symbol in {
    "arith.addf": "+",
    "arith.subf": "-",
    "arith.mulf": "*",
    "tt.precise_divf": "/",
    "arith.ori": "|",
    "arith.xori": "^",
}.items():
    operator(_name, _symbol)


@lowers("arith.andi")
def andi(em: Emitter, op: Op, index: Index) -> str:
    if decided := decided_by_loop(em, op, index):
        return decided
    a, b = em.operands(op, index)
    return f"{a} & {b}"


def decided_by_loop(em: Emitter, op: Op, index: Index) -> str:
    """``true`` or ``false`` for a truth value that the bounds of a loop, which come from a mask,
    decide; else nothing."""
    if op.result.element.bits > 1:
        return ""
    conditions = em.conditions(op.result, index)
    if not all(isinstance(c, Poly) for c in conditions):
        return ""
    return em.decided(conditions, max((em.condition_depth(c) for c in conditions), default=0))


@lowers("arith.negf")
def negf(em: Emitter, op: Op, index: Index) -> str:
    return f"-({em.element(op.operands[0], index)})"


@lowers(
    "arith.remf",
    "arith.maximumf",
    "arith.minimumf",
    "arith.maxnumf",
    "arith.minnumf",
    "arith.addi",
    "arith.subi",
    "arith.muli",
    "arith.divsi",
    "arith.divui",
    "arith.remsi",
    "arith.remui",
    "arith.ceildivsi",
    "arith.ceildivui",
    "arith.floordivsi",
    "arith.shli",
    "arith.shrsi",
    "arith.shrui",
    "arith.maxsi",
    "arith.maxui",
    "arith.minsi",
    "arith.minui",
    "tt.mulhiui",
    "math.absf",
    "math.absi",
    "math.exp",
    "math.exp2",
    "math.expm1",
    "math.log",
    "math.log2",
    "math.log10",
    "math.log1p",
    "math.sin",
    "math.cos",
    "math.tan",
    "math.asin",
    "math.acos",
    "math.atan",
    "math.atan2",
    "math.sinh",
    "math.cosh",
    "math.tanh",
    "math.erf",
    "math.sqrt",
    "math.rsqrt",
    "math.powf",
    "math.copysign",
    "math.fma",
    "math.floor",
    "math.ceil",
    "math.trunc",
    "math.round",
    "math.roundeven",
    "tt.precise_sqrt",
)
def call(em: Emitter, op: Op, index: Index) -> str:
    """The C function ``mt_<mnemonic>_<type>``."""
    name = op.name.partition(".")[2].removeprefix("precise_")
    return function_call(em, op, index, _RENAMED.get(name, name))


_RENAMED = {"powf": "pow"}


def function_call(em: Emitter, op: Op, index: Index, name: str) -> str:
    element = op.operands[0].element
    if element.bits == 1:
        return _bit_operation(em, op, index, name)
    arguments = ", ".join(em.operands(op, index))
    return ctypes.rounded(op.result.element, f"mt_{name}_{ctypes.suffix(element)}({arguments})")


def _bit_operation(em: Emitter, op: Op, index: Index, name: str) -> str:
    """Integer arithmetic of one bit."""
    symbols = {
        "addi": "^",
        "subi": "^",
        "muli": "&",
        "maxui": "|",
        "minui": "&",
        "minsi": "|",
        "maxsi": "&",
    }
    if name not in symbols:
        raise em.unsupported(op, f"{op.name} of i1")
    a, b = em.operands(op, index)
    return f"{a} {symbols[name]} {b}"


@lowers("tt.clampf")
def clampf(em: Emitter, op: Op, index: Index) -> str:
    nan = op.attributes.get("propagateNan", "none")
    return function_call(em, op, index, f"clampf_{nan}")


@lowers("arith.cmpi")
def cmpi(em: Emitter, op: Op, index: Index) -> str:
    predicate = op.words[0]
    if decided := decided_by_loop(em, op, index):
        return decided
    a, b = em.operands(op, index)
    if predicate.startswith("u"):
        type_ = f"uint{max(op.operands[0].element.bits, 8)}_t"
        a, b = f"({type_}){a}", f"({type_}){b}"
    return f"{a} {_COMPARISONS[predicate.lstrip('su')]} {b}"


_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


@lowers("arith.cmpf")
def cmpf(em: Emitter, op: Op, index: Index) -> str:
    """Ordered predicates are false where an operand is NaN, unordered ones true."""
    predicate = op.words[0]
    a, b = em.operands(op, index)
    if predicate in ("false", "true"):
        return predicate
    if predicate == "ord":
        return f"({a} == {a}) & ({b} == {b})"
    if predicate == "uno":
        return f"({a} != {a}) | ({b} != {b})"
    kind = predicate[1:]
    if predicate == "one":
        return f"({a} < {b}) | ({a} > {b})"
    if predicate == "une":
        return f"{a} != {b}"
    if predicate == "ueq":
        return f"!(({a} < {b}) | ({a} > {b}))"
    if predicate.startswith("o"):
        return f"{a} {_COMPARISONS[kind]} {b}"
    opposite = {"lt": ">=", "le": ">", "gt": "<=", "ge": "<"}[kind]
    return f"!({a} {opposite} {b})"


@lowers("arith.select")
def select(em: Emitter, op: Op, index: Index) -> str:
    condition, yes, no = op.operands
    test = em.element(condition, index)
    if test in ("true", "false"):
        return em.element(yes if test == "true" else no, index)
    return f"{test} ? {em.element(yes, index)} : {em.element(no, index)}"


@lowers("arith.extsi", "arith.index_cast", "arith.trunci", "arith.index_castui")
def convert_integer(em: Emitter, op: Op, index: Index) -> str:
    (x,) = em.operands(op, index)
    if op.operands[0].element.bits == 1:
        x = f"-(int){x}"
    if op.result.element.bits == 1:
        return f"({x} & 1) != 0"
    return f"({ctypes.variable_type(op.result.element)}){x}"


@lowers("arith.extui")
def extui(em: Emitter, op: Op, index: Index) -> str:
    (x,) = em.operands(op, index)
    source = op.operands[0].element
    unsigned = "" if source.bits == 1 else f"(uint{source.bits}_t)"
    return f"({ctypes.variable_type(op.result.element)}){unsigned}{x}"


@lowers("arith.sitofp", "arith.uitofp")
def int_to_float(em: Emitter, op: Op, index: Index) -> str:
    (x,) = em.operands(op, index)
    source, target = op.operands[0].element, op.result.element
    if source.bits == 1:
        return f"{'-' if op.name == 'arith.sitofp' else ''}({ctypes.variable_type(target)}){x}"
    kind = "i" if op.name == "arith.sitofp" else "u"
    text = f"mt_{kind}{source.bits}_to_{ctypes.suffix(target)}({x})"
    return ctypes.rounded(target, text)


@lowers("arith.fptosi", "arith.fptoui")
def float_to_int(em: Emitter, op: Op, index: Index) -> str:
    (x,) = em.operands(op, index)
    source, target = op.operands[0].element, op.result.element
    if target.bits == 1:
        return f"{x} != 0"
    kind = "i" if op.name == "arith.fptosi" else "u"
    text = f"mt_{ctypes.suffix(source)}_to_{kind}{target.bits}({x})"
    return f"({ctypes.variable_type(target)}){text}"


@lowers("arith.extf", "arith.truncf", "tt.fp_to_fp")
def convert_float(em: Emitter, op: Op, index: Index) -> str:
    (x,) = em.operands(op, index)
    source, target = op.operands[0].element, op.result.element
    if not ctypes.is_narrow(target):
        return f"({ctypes.variable_type(target)}){x}"
    toward_zero = "_rtz" if op.attributes.get("rounding") == "rtz" else ""
    name = ctypes.NARROW_FLOATS[target.name]
    encoded = f"mt_{ctypes.suffix(source)}_to_{name}{toward_zero}({x})"
    return ctypes.from_memory(target, encoded)


@lowers("arith.bitcast", "tt.bitcast")
def bitcast(em: Emitter, op: Op, index: Index) -> str:
    (x,) = em.operands(op, index)
    source, target = op.operands[0].element, op.result.element
    if source.is_float:
        x = ctypes.to_memory(source, x)
        if not ctypes.is_narrow(source):
            x = f"mt_{source.name}_bits({x})"
    if not target.is_float:
        return f"({ctypes.variable_type(target)}){x}"
    if ctypes.is_narrow(target):
        return ctypes.from_memory(target, f"({ctypes.memory_type(target)}){x}")
    return f"mt_bits_{target.name}({x})"


@lowers("arith.mului_extended", "arith.mulsi_extended")
def mul_extended(em: Emitter, op: Op, index: Index, result: int) -> str:
    a, b = em.operands(op, index)
    kind = "u" if op.name == "arith.mului_extended" else "s"
    name = "muli" if result == 0 else f"mulh{kind}i"
    return f"mt_{name}_{ctypes.suffix(op.result.element)}({a}, {b})"


@lowers("tt.make_range")
def make_range(em: Emitter, op: Op, index: Index) -> str:
    raise AssertionError("a range is a polynomial")


@lowers("tt.get_program_id")
def get_program_id(em: Emitter, op: Op, index: Index) -> str:
    return f"L->pid[{_axis(op)}]"


@lowers("tt.get_num_programs")
def get_num_programs(em: Emitter, op: Op, index: Index) -> str:
    return f"L->grid[{_axis(op)}]"


def _axis(op: Op) -> int:
    return "xyz".index(op.words[0])


@lowers("tt.join")
def join(em: Emitter, op: Op, index: Index) -> str:
    a, b = op.operands
    last = index[-1]
    if last.value is not None:
        return em.element(b if last.value else a, index[:-1])
    return f"{last.text()} ? {em.element(b, index[:-1])} : {em.element(a, index[:-1])}"


@lowers("tt.split")
def split(em: Emitter, op: Op, index: Index, result: int) -> str:
    return em.element(op.operands[0], (*index, type(index[0]).constant(result)))
