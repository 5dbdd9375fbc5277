"""Functions of CUDA's libdevice, which kernels reach as `tl.extra.libdevice`.

Those with a counterpart in ``mt_math.h`` have its name; each of the others has an expression in
the table. What is in neither is an error. Those of ROCm, `tl.extra.hip.libdevice`, are taken for
the ones of libdevice that do the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..ir import Op
from ..views import Index
from . import ctypes
from .registry import lowers

if TYPE_CHECKING:
    from .emitter import Emitter

_SYMBOL = re.compile(r"__nv_(?:fast_)?(\w+?)(f?)$")

# Names of functions in mt_math.h and mt_types.h, where they differ from libdevice's.
_SAME_NAME = (
    *("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil"),
    *("copysign", "cos", "cosh", "cospi", "erf", "erfc", "exp", "exp10", "exp2"),
    *("expm1", "fdim", "floor", "fma", "hypot", "ilogb", "isinf", "isnan", "j0", "j1"),
    *("ldexp", "lgamma", "llrint", "llround", "log", "log10", "log1p", "log2", "logb"),
    *("nearbyint", "nextafter", "pow", "powi", "remainder", "rint", "round", "rsqrt"),
    *("saturate", "scalbn", "signbit", "sin", "sinh", "sinpi", "sqrt", "tan", "tanh"),
    *("tgamma", "trunc", "y0", "y1"),
)
_MATH = {name: name for name in _SAME_NAME} | {
    "fmax": "maxnumf",
    "fmin": "minnumf",
    "fabs": "absf",
    "fmod": "remf",
    "fsqrt_rn": "sqrt",
    "dsqrt_rn": "sqrt",
    "isnand": "isnan",
    "isinfd": "isinf",
    "isfinited": "isfinite",
    "finite": "isfinite",
    "signbitd": "signbit",
}

# Of the others: the C expression of the operands {0}, {1}, ..., by the symbol without __nv_.
_EXPRESSIONS = {
    "abs": "mt_absi_i32({0})",
    "llabs": "mt_absi_i64({0})",
    "min": "mt_minsi_i32({0}, {1})",
    "umin": "mt_minui_i32({0}, {1})",
    "llmin": "mt_minsi_i64({0}, {1})",
    "ullmin": "mt_minui_i64({0}, {1})",
    "max": "mt_maxsi_i32({0}, {1})",
    "umax": "mt_maxui_i32({0}, {1})",
    "llmax": "mt_maxsi_i64({0}, {1})",
    "ullmax": "mt_maxui_i64({0}, {1})",
    "clz": "mt_clz_i32({0})",
    "clzll": "mt_clz_i64({0})",
    "popc": "__builtin_popcount((uint32_t){0})",
    "popcll": "__builtin_popcountll((uint64_t){0})",
    "ffs": "__builtin_ffs({0})",
    "ffsll": "__builtin_ffsll({0})",
    "brev": "mt_reverse_bits_i32({0})",
    "brevll": "mt_reverse_bits_i64({0})",
    "byte_perm": "mt_byte_perm_i32({0}, {1}, {2})",
    "mulhi": "mt_mulhsi_i32({0}, {1})",
    "umulhi": "mt_mulhui_i32({0}, {1})",
    "mul64hi": "mt_mulhsi_i64({0}, {1})",
    "umul64hi": "mt_mulhui_i64({0}, {1})",
    "mul24": "mt_muli_i32(mt_low_24_i32({0}), mt_low_24_i32({1}))",
    "umul24": "mt_muli_i32({0} & 0xffffff, {1} & 0xffffff)",
    "sad": "(int32_t)((uint32_t){2} + (uint32_t)(({0} > {1} ? (int64_t){0} - {1} : "
    "(int64_t){1} - {0})))",
    "usad": "(int32_t)((uint32_t){2} + ((uint32_t){0} > (uint32_t){1} ? (uint32_t){0} - "
    "(uint32_t){1} : (uint32_t){1} - (uint32_t){0}))",
    "hadd": "(int32_t)(((int64_t){0} + {1}) >> 1)",
    "rhadd": "(int32_t)(((int64_t){0} + {1} + 1) >> 1)",
    "uhadd": "(int32_t)(((uint64_t)(uint32_t){0} + (uint32_t){1}) >> 1)",
    "urhadd": "(int32_t)(((uint64_t)(uint32_t){0} + (uint32_t){1} + 1) >> 1)",
    "int_as_float": "mt_bits_f32((uint32_t){0})",
    "uint_as_float": "mt_bits_f32((uint32_t){0})",
    "float_as_int": "(int32_t)mt_f32_bits({0})",
    "float_as_uint": "(int32_t)mt_f32_bits({0})",
    "longlong_as_double": "mt_bits_f64((uint64_t){0})",
    "double_as_longlong": "(int64_t)mt_f64_bits({0})",
    "double2hiint": "(int32_t)(mt_f64_bits({0}) >> 32)",
    "double2loint": "(int32_t)mt_f64_bits({0})",
    "hiloint2double": "mt_bits_f64((uint64_t)(uint32_t){0} << 32 | (uint32_t){1})",
    "int2double_rn": "(double){0}",
    "uint2double_rn": "mt_u32_to_f64((uint32_t){0})",
    "rcp64h": "mt_high_word_f64(1 / {0})",
    "fast_fdividef": "{0} / {1}",
    "frsqrt_rn": "(float)(1 / sqrt((double){0}))",
    "jn": "jn({0}, {1})",
    "yn": "yn({0}, {1})",
    "jnf": "(float)jn({0}, {1})",
    "ynf": "(float)yn({0}, {1})",
}

_DIRECTIONS = {"rz": "FE_TOWARDZERO", "rd": "FE_DOWNWARD", "ru": "FE_UPWARD"}
_NEAREST = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "rcp": "1 / {0}",
    "sqrt": "mt_sqrt_{type}({0})",
    "fma": "mt_fma_{type}({0}, {1}, {2})",
}


def _add_arithmetic(prefix: str, suffix: str, type_: str) -> None:
    for name, nearest in _NEAREST.items():
        symbol = f"fma{suffix}" if name == "fma" else f"{prefix}{name}"
        operands = {"rcp": "{0}, 0, 0", "sqrt": "{0}, 0, 0", "fma": "{0}, {1}, {2}"}
        arguments = operands.get(name, "{0}, {1}, 0")
        _EXPRESSIONS[f"{symbol}_rn"] = nearest.replace("{type}", type_)
        for mode, direction in _DIRECTIONS.items():
            _EXPRESSIONS[f"{symbol}_{mode}"] = f"mt_toward_{name}_{type_}({arguments}, {direction})"


def _add_conversions() -> None:
    integers = {"int": "i32", "uint": "u32", "ll": "i64", "ull": "u64"}
    whole = {"rn": "roundeven", "rz": "trunc", "rd": "floor", "ru": "ceil"}
    for word, integer in integers.items():
        signed = f"int{integer[1:]}_t"
        given = f"(u{signed}){{0}}" if integer[0] == "u" else "{0}"
        for name, type_ in (("float", "f32"), ("double", "f64")):
            for mode, function in whole.items():
                number = f"mt_{type_}_to_{integer}(mt_{function}_{type_}({{0}}))"
                _EXPRESSIONS[f"{name}2{word}_{mode}"] = f"({signed}){number}"
            _EXPRESSIONS.setdefault(f"{word}2{name}_rn", f"mt_{integer}_to_{type_}({given})")
            if integer.endswith("32") and type_ == "f64":
                continue  # exact
            for mode, direction in _DIRECTIONS.items():
                conversion = f"mt_toward_{integer}_to_{type_}({given}, 0, 0, {direction})"
                _EXPRESSIONS[f"{word}2{name}_{mode}"] = conversion
    _EXPRESSIONS["double2float_rn"] = "(float){0}"
    for mode, direction in _DIRECTIONS.items():
        _EXPRESSIONS[f"double2float_{mode}"] = f"mt_toward_f64_to_f32({{0}}, 0, 0, {direction})"


def _add_special_functions() -> None:
    """Those that are computed in double."""
    counts = {"rhypot": 2, "norm3d": 3, "rnorm3d": 3, "norm4d": 4, "rnorm4d": 4}
    counts |= dict.fromkeys(("erfinv", "erfcinv", "normcdf", "normcdfinv", "erfcx"), 1)
    counts |= dict.fromkeys(("cyl_bessel_i0", "cyl_bessel_i1", "rcbrt", "sinpi", "cospi"), 1)
    for name, count in counts.items():
        arguments = ", ".join(f"{{{n}}}" for n in range(count))
        _EXPRESSIONS[name] = f"mt_{name}_f64({arguments})"
        if name not in _MATH:
            _EXPRESSIONS[f"{name}f"] = f"(float)mt_{name}_f64({arguments})"


_add_arithmetic("f", "f", "f32")
_add_arithmetic("d", "", "f64")
_add_conversions()
_add_special_functions()


_ROCM_MATH = re.compile(r"__ocml_(\w+)_f(32|64)$")
_OF_ROCM = {"pown": "powi", "i0": "cyl_bessel_i0", "i1": "cyl_bessel_i1", "isfinite": "finite"}
# Of ROCm's other functions: the names in libdevice for operands of 32 and of 64 bits.
_OTHERS_OF_ROCM = {
    "__ockl_clz_u32": ("clz", ""),
    "__ockl_clz_u64": ("", "clzll"),
    "__ockl_popcount_u32": ("popc", ""),
    "__ockl_popcount_u64": ("", "popcll"),
    "__triton_hip_iabs": ("abs", "llabs"),
    "__triton_hip_fabs": ("fabsf", "fabs"),
    "__triton_hip_fast_expf": ("fast_expf", ""),
    "__triton_hip_fast_tanhf": ("tanhf", ""),
    "__triton_hip_fast_fdividef": ("fast_fdividef", ""),
    "__triton_hip_rint": ("rintf", "rint"),
    "__triton_hip_llrint": ("llrintf", "llrint"),
}


def _in_libdevice(symbol: str, bits: int) -> str:
    """The function of libdevice that does what the one with this symbol does."""
    if found := _ROCM_MATH.match(symbol):
        return f"__nv_{_OF_ROCM.get(found[1], found[1])}{'f' if found[2] == '32' else ''}"
    if symbol in _OTHERS_OF_ROCM:
        return f"__nv_{_OTHERS_OF_ROCM[symbol][bits == 64]}"
    return symbol


@lowers("tt.extern_elementwise")
def extern_elementwise(em: Emitter, op: Op, index: Index) -> str:
    symbol = _in_libdevice(op.attributes["symbol"], op.operands[0].element.bits)
    arguments = em.operands(op, index)
    expression = _EXPRESSIONS.get(symbol.removeprefix("__nv_"))
    if symbol.startswith("__nv_") and expression is not None:
        em.headers.add("mt_libdevice.h")
        return expression.format(*arguments)
    found = _SYMBOL.match(symbol)
    element = op.operands[0].element
    name = found and (found[1] if found[2] and element.bits == 32 else found[1] + found[2])
    if name not in _MATH:
        raise em.unsupported(op, f"the external function {symbol}")
    return f"mt_{_MATH[name]}_{ctypes.suffix(element)}({', '.join(arguments)})"
