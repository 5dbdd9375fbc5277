"""Numbers through whole kernels: math functions, casts, integer arithmetic, NaN, Philox.

Each kernel computes many operations on the same inputs, a row of the output for each.
"""

import itertools

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from minitorch_triton.cpu.emit.libdevice import _EXPRESSIONS, _MATH
from minitorch_triton.cpu.toolchain import compile_c

MATH = ("exp", "exp2", "log", "log2", "sin", "cos", "sqrt", "rsqrt", "erf", "floor", "ceil", "abs")


@triton.jit
def math_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    x = tl.load(x_ptr + i, mask=inside, other=1.0)
    tl.store(out_ptr + i, tl.exp(x), mask=inside)
    tl.store(out_ptr + n + i, tl.exp2(x), mask=inside)
    tl.store(out_ptr + 2 * n + i, tl.log(x), mask=inside)
    tl.store(out_ptr + 3 * n + i, tl.log2(x), mask=inside)
    tl.store(out_ptr + 4 * n + i, tl.sin(x), mask=inside)
    tl.store(out_ptr + 5 * n + i, tl.cos(x), mask=inside)
    tl.store(out_ptr + 6 * n + i, tl.sqrt(x), mask=inside)
    tl.store(out_ptr + 7 * n + i, tl.rsqrt(x), mask=inside)
    tl.store(out_ptr + 8 * n + i, tl.erf(x), mask=inside)
    tl.store(out_ptr + 9 * n + i, tl.floor(x), mask=inside)
    tl.store(out_ptr + 10 * n + i, tl.ceil(x), mask=inside)
    tl.store(out_ptr + 11 * n + i, tl.abs(x), mask=inside)
    tl.store(out_ptr + 12 * n + i, tl.sigmoid(x), mask=inside)


def special_values(dtype: torch.dtype) -> torch.Tensor:
    values = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, 88.0, -88.0, 1e4, -1e4, 1e-5]
    values += [float("inf"), -float("inf"), float("nan"), torch.finfo(dtype).max]
    values += [torch.finfo(dtype).tiny, torch.finfo(dtype).tiny / 8]
    return torch.tensor(values, dtype=torch.float64).to(dtype)


def exact_math(name: str, x: torch.Tensor) -> torch.Tensor:
    return getattr(torch, name)(x.double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_math_functions(dtype):
    x = torch.cat([special_values(dtype), torch.randn(500, dtype=dtype) * 20])
    n = len(x)
    out = torch.empty(13, n, dtype=dtype)
    math_kernel[(triton.cdiv(n, 128),)](x, out, n, BLOCK=128)
    for row, name in enumerate((*MATH, "sigmoid")):
        expected = exact_math(name, x).to(dtype)
        # Two ulp, and one more because the reference is rounded too.
        torch.testing.assert_close(
            out[row], expected, rtol=3 * torch.finfo(dtype).eps, atol=0, equal_nan=True,
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


LIBDEVICE = (
    "tanh", "log1p", "expm1", "sinh", "cosh", "tan", "asin", "acos", "atan", "asinh", "acosh",
    "atanh", "erfc", "log10", "exp10", "cbrt", "rint", "round", "trunc",
)  # fmt: skip


@triton.jit
def libdevice_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    inside = i < n
    x = tl.load(x_ptr + i, mask=inside, other=1.0)
    y = tl.load(y_ptr + i, mask=inside, other=1.0)
    tl.store(out_ptr + i, libdevice.tanh(x), mask=inside)
    tl.store(out_ptr + n + i, libdevice.log1p(x), mask=inside)
    tl.store(out_ptr + 2 * n + i, libdevice.expm1(x), mask=inside)
    tl.store(out_ptr + 3 * n + i, libdevice.sinh(x), mask=inside)
    tl.store(out_ptr + 4 * n + i, libdevice.cosh(x), mask=inside)
    tl.store(out_ptr + 5 * n + i, libdevice.tan(x), mask=inside)
    tl.store(out_ptr + 6 * n + i, libdevice.asin(x), mask=inside)
    tl.store(out_ptr + 7 * n + i, libdevice.acos(x), mask=inside)
    tl.store(out_ptr + 8 * n + i, libdevice.atan(x), mask=inside)
    tl.store(out_ptr + 9 * n + i, libdevice.asinh(x), mask=inside)
    tl.store(out_ptr + 10 * n + i, libdevice.acosh(x), mask=inside)
    tl.store(out_ptr + 11 * n + i, libdevice.atanh(x), mask=inside)
    tl.store(out_ptr + 12 * n + i, libdevice.erfc(x), mask=inside)
    tl.store(out_ptr + 13 * n + i, libdevice.log10(x), mask=inside)
    tl.store(out_ptr + 14 * n + i, libdevice.exp10(x), mask=inside)
    tl.store(out_ptr + 15 * n + i, libdevice.cbrt(x), mask=inside)
    tl.store(out_ptr + 16 * n + i, libdevice.rint(x), mask=inside)
    tl.store(out_ptr + 17 * n + i, libdevice.round(x), mask=inside)
    tl.store(out_ptr + 18 * n + i, libdevice.trunc(x), mask=inside)
    tl.store(out_ptr + 19 * n + i, libdevice.pow(x, y), mask=inside)
    tl.store(out_ptr + 20 * n + i, libdevice.atan2(x, y), mask=inside)
    tl.store(out_ptr + 21 * n + i, libdevice.hypot(x, y), mask=inside)
    tl.store(out_ptr + 22 * n + i, libdevice.fmod(x, y), mask=inside)
    tl.store(out_ptr + 23 * n + i, libdevice.copysign(x, y), mask=inside)
    tl.store(out_ptr + 24 * n + i, libdevice.isnan(x).to(x.dtype), mask=inside)
    tl.store(out_ptr + 25 * n + i, libdevice.isinf(x).to(x.dtype), mask=inside)
    tl.store(out_ptr + 26 * n + i, libdevice.fma(x, y, x), mask=inside)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_libdevice_functions(dtype):
    x = torch.cat([special_values(dtype), torch.randn(200, dtype=dtype)])
    y = torch.randn(len(x), dtype=dtype) * 3
    n = len(x)
    out = torch.empty(27, n, dtype=dtype)
    libdevice_kernel[(1,)](x, y, out, n, BLOCK=256)
    wide, wide_y = x.double().numpy(), y.double().numpy()
    numpy_names = {
        "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh",
        "acosh": "arccosh", "atanh": "arctanh",
    }  # fmt: skip
    special = {
        "erfc": lambda v: torch.erfc(torch.from_numpy(v)).numpy(),
        "exp10": lambda v: np.power(10.0, v),
        "round": lambda v: np.copysign(np.floor(np.abs(v) + 0.5), v),
    }
    with np.errstate(all="ignore"):
        expected = [
            special.get(name, getattr(np, numpy_names.get(name, name), None))(wide)
            for name in LIBDEVICE
        ]
        expected += [
            np.power(wide, wide_y), np.arctan2(wide, wide_y), np.hypot(wide, wide_y),
            np.fmod(wide, wide_y), np.copysign(wide, wide_y), np.isnan(wide), np.isinf(wide),
            wide * wide_y + wide,
        ]  # fmt: skip
    names = (*LIBDEVICE, "pow", "atan2", "hypot", "fmod", "copysign", "isnan", "isinf", "fma")
    for row, name in enumerate(names):
        reference = torch.from_numpy(np.asarray(expected[row], np.float64)).to(dtype)
        # The reference of a double is a double itself; some of NumPy's are only good to 4 ulp.
        # x y + x in two roundings loses its digits where the terms cancel.
        tolerance = 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(
            out[row], reference, rtol=tolerance, atol=tolerance if name == "fma" else 0,
            equal_nan=True, msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


# ---- casts ----

CASTS = (
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32,
    torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool,
)  # fmt: skip


@triton.jit
def cast_kernel(x_ptr, o0, o1, o2, o3, o4, o5, o6, o7, o8, o9, o10, o11, o12, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i)
    tl.store(o0 + i, x.to(o0.dtype.element_ty))
    tl.store(o1 + i, x.to(o1.dtype.element_ty))
    tl.store(o2 + i, x.to(o2.dtype.element_ty))
    tl.store(o3 + i, x.to(o3.dtype.element_ty))
    tl.store(o4 + i, x.to(o4.dtype.element_ty))
    tl.store(o5 + i, x.to(o5.dtype.element_ty))
    tl.store(o6 + i, x.to(o6.dtype.element_ty))
    tl.store(o7 + i, x.to(o7.dtype.element_ty))
    tl.store(o8 + i, x.to(o8.dtype.element_ty))
    tl.store(o9 + i, x.to(o9.dtype.element_ty))
    tl.store(o10 + i, x.to(o10.dtype.element_ty))
    tl.store(o11 + i, x.to(o11.dtype.element_ty))
    tl.store(o12 + i, x.to(tl.int1))


def cast_samples(dtype: torch.dtype) -> torch.Tensor:
    if dtype == torch.bool:
        return torch.arange(32) % 3 == 0
    if dtype.is_floating_point:
        values = torch.randn(32, dtype=torch.float64) * 300
        values[:16] = torch.tensor(
            [0.0, -0.0, 0.5, -0.5, 1.9, -1.9, 127.5, -128.5, 255.5, 65504.0, 65519.0, 65520.0,
             -70000.0, float("inf"), -float("inf"), float("nan")]
        )  # fmt: skip
        return values.to(dtype)
    info = torch.iinfo(dtype)
    # 2049 and 257 lie between two float16 and bfloat16 numbers; all are exact in float32.
    values = [0, 1, 2, 3, 100, 127, 255, 257, 2049, 2051, 65519, 65520, 10**6, info.max // 2 + 1]
    values += [-1, -2, -128, -129, -32769, info.min]
    values = [v for v in values if info.min <= v <= info.max]
    values = [values[i % len(values)] for i in range(32)]
    return torch.tensor(values, dtype=dtype)


def cast_reference(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What Triton's cast gives: integers wrap; floats truncate, saturate, and NaN becomes 0."""
    if dtype == torch.bool:
        return x != 0
    if x.dtype.is_floating_point and not dtype.is_floating_point:
        info = torch.iinfo(dtype)
        values = x.double().nan_to_num(0.0, float("inf"), -float("inf")).tolist()
        values = [min(max(v, info.min), info.max) for v in values]
        return torch.tensor([int(v) for v in values], dtype=dtype)
    if not dtype.is_floating_point:
        bits = torch.iinfo(dtype).bits
        numpy_type = np.dtype(f"{'u' if not dtype.is_signed else ''}int{bits}")
        wrapped = [int(v) % 2**bits for v in x.tolist()]
        return torch.from_numpy(np.array(wrapped, np.uint64).astype(numpy_type))
    values = torch.tensor([float(v) for v in x.tolist()], dtype=torch.float64)
    return values.to(dtype)


@pytest.mark.parametrize("source", CASTS)
def test_casts_between_all_types(source):
    x = cast_samples(source)
    out = [torch.empty(32, dtype=t) for t in CASTS]
    cast_kernel[(1,)](x, *out, BLOCK=32)
    for got, dtype in zip(out, CASTS, strict=True):
        torch.testing.assert_close(
            got, cast_reference(x, dtype), rtol=0, atol=0, equal_nan=True,
            msg=lambda text, dtype=dtype: f"{source} to {dtype}: {text}",
        )  # fmt: skip


@triton.jit
def fp8_kernel(x_ptr, code_ptr, back_ptr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i)
    tl.store(code_ptr + i, x.to(code_ptr.dtype.element_ty))
    tl.store(back_ptr + i, tl.load(code_ptr + i).to(tl.float32))


@pytest.mark.parametrize("source", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("fp8", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_fp8_rounds_to_nearest_and_saturates(fp8, source):
    x = (torch.randn(256, dtype=torch.float64) * torch.logspace(-6, 3, 256)).to(source)
    x[:4] = torch.tensor([0.0, float("nan"), 1e4, -1e4]).to(source)
    code, back = torch.empty(256, dtype=fp8), torch.empty(256)
    fp8_kernel[(1,)](x, code, back, BLOCK=256)
    largest = torch.finfo(fp8).max
    torch.testing.assert_close(
        back, x.float().clamp(-largest, largest).to(fp8).float(), rtol=0, atol=0, equal_nan=True
    )
    torch.testing.assert_close(code.float(), back, rtol=0, atol=0, equal_nan=True)


@triton.jit
def copy_kernel(x_ptr, copy_ptr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(copy_ptr + i, tl.load(x_ptr + i))


def test_fp8_infinities_and_nans_are_kept():
    x = torch.arange(256, dtype=torch.uint8).view(torch.float8_e5m2)
    copy = torch.empty_like(x)
    copy_kernel[(1,)](x, copy, BLOCK=256)
    torch.testing.assert_close(copy.float(), x.float(), rtol=0, atol=0, equal_nan=True)


@triton.jit
def constant_kernel(out_ptr, VALUE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out_ptr + i, tl.full((BLOCK,), VALUE, out_ptr.dtype.element_ty))


@pytest.mark.skipif(triton.__version__.startswith("3.6."), reason="3.6 makes no fp8 constants")
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), -1.5])
def test_fp8_constants(value):
    out = torch.empty(256, dtype=torch.float8_e5m2)
    constant_kernel[(1,)](out, value, BLOCK=256)
    expected = torch.full((256,), value)
    torch.testing.assert_close(out.float(), expected, rtol=0, atol=0, equal_nan=True)


# ---- integers ----


@triton.jit
def integer_kernel(a_ptr, b_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    a = tl.load(a_ptr + i, mask=inside, other=1)
    b = tl.load(b_ptr + i, mask=inside, other=1)
    tl.store(out_ptr + i, a + b, mask=inside)
    tl.store(out_ptr + n + i, a - b, mask=inside)
    tl.store(out_ptr + 2 * n + i, a * b, mask=inside)
    tl.store(out_ptr + 3 * n + i, a // b, mask=inside)
    tl.store(out_ptr + 4 * n + i, a % b, mask=inside)
    tl.store(out_ptr + 5 * n + i, a & b, mask=inside)
    tl.store(out_ptr + 6 * n + i, a | b, mask=inside)
    tl.store(out_ptr + 7 * n + i, a ^ b, mask=inside)
    tl.store(out_ptr + 8 * n + i, ~a, mask=inside)
    tl.store(out_ptr + 9 * n + i, a << (b & 7), mask=inside)
    tl.store(out_ptr + 10 * n + i, a >> (b & 7), mask=inside)
    tl.store(out_ptr + 11 * n + i, tl.minimum(a, b), mask=inside)
    tl.store(out_ptr + 12 * n + i, tl.maximum(a, b), mask=inside)
    tl.store(out_ptr + 13 * n + i, (a < b).to(a.dtype), mask=inside)
    tl.store(out_ptr + 14 * n + i, (a >= b).to(a.dtype), mask=inside)
    tl.store(out_ptr + 15 * n + i, tl.where(a != b, a, 7), mask=inside)
    tl.store(out_ptr + 16 * n + i, tl.cdiv(a, b), mask=inside)


def quotient(a: int, b: int) -> int:
    if b == 0:
        return 0
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def remainder(a: int, b: int) -> int:
    return 0 if b == 0 else a - quotient(a, b) * b


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("kind", ["int", "uint"])
def test_integer_arithmetic_wraps(kind, bits):
    dtype = np.dtype(f"{kind}{bits}")
    info = np.iinfo(dtype)
    corners = [0, 1, 2, 3, 7, 100, info.max, info.max - 1, info.min, info.min + 1]
    corners += [-1, -2, -7] if kind == "int" else [info.max // 2, info.max // 2 + 1, 200]
    a, b = (list(t) for t in zip(*itertools.product(corners, corners), strict=True))
    random = np.random.default_rng(0).integers(info.min, info.max, (2, 60), dtype, endpoint=True)
    a, b = a + random[0].tolist(), b + random[1].tolist()
    n = len(a)

    def wrap(value: int) -> int:
        value %= 2**bits
        return value - 2**bits if value > info.max else value

    functions = (
        lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, quotient, remainder,
        lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: ~x,
        lambda x, y: x << (y & 7), lambda x, y: x >> (y & 7), min, max,
        lambda x, y: x < y, lambda x, y: x >= y, lambda x, y: x if x != y else 7,
        lambda x, y: quotient(wrap(x + wrap(y - 1)), y),
    )  # fmt: skip
    out = torch.from_numpy(np.empty((len(functions), n), dtype))
    left, right = (torch.from_numpy(np.array(v, dtype)) for v in (a, b))
    integer_kernel[(triton.cdiv(n, 64),)](left, right, out, n, BLOCK=64)
    for row, function in enumerate(functions):
        expected = [wrap(function(x, y)) for x, y in zip(a, b, strict=True)]
        assert out[row].tolist() == expected, f"row {row}"


@triton.jit
def umulhi_kernel(a_ptr, b_ptr, out_ptr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out_ptr + i, tl.umulhi(tl.load(a_ptr + i), tl.load(b_ptr + i)))


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_umulhi(dtype):
    bits = int(dtype[-2:])
    info = np.iinfo(dtype)
    random = np.random.default_rng(0)
    a, b = random.integers(info.min, info.max, (2, 128), np.dtype(dtype), endpoint=True)
    a[:3], b[:3] = info.max, (info.max, info.min, 1)
    out = torch.from_numpy(np.empty(128, dtype))
    umulhi_kernel[(1,)](torch.from_numpy(a), torch.from_numpy(b), out, BLOCK=128)
    mask = 2**bits - 1
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    expected = [((x & mask) * (y & mask)) >> bits for x, y in pairs]
    assert [v & mask for v in out.tolist()] == expected


# ---- NaN ----


@triton.jit
def nan_kernel(a_ptr, b_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    inside = i < n
    a = tl.load(a_ptr + i, mask=inside, other=0.0)
    b = tl.load(b_ptr + i, mask=inside, other=0.0)
    d = a.dtype
    tl.store(out_ptr + i, (a < b).to(d), mask=inside)
    tl.store(out_ptr + n + i, (a <= b).to(d), mask=inside)
    tl.store(out_ptr + 2 * n + i, (a == b).to(d), mask=inside)
    tl.store(out_ptr + 3 * n + i, (a != b).to(d), mask=inside)
    tl.store(out_ptr + 4 * n + i, (a > b).to(d), mask=inside)
    tl.store(out_ptr + 5 * n + i, (a >= b).to(d), mask=inside)
    tl.store(out_ptr + 6 * n + i, tl.where(a < b, a, b), mask=inside)
    tl.store(out_ptr + 7 * n + i, tl.where((a <= float("inf")) & (not (b > 0)), a, b), mask=inside)
    tl.store(out_ptr + 8 * n + i, tl.maximum(a, b), mask=inside)
    tl.store(out_ptr + 9 * n + i, tl.minimum(a, b), mask=inside)
    PROPAGATE: tl.constexpr = tl.PropagateNan.ALL
    tl.store(out_ptr + 10 * n + i, tl.maximum(a, b, propagate_nan=PROPAGATE), mask=inside)
    tl.store(out_ptr + 11 * n + i, tl.minimum(a, b, propagate_nan=PROPAGATE), mask=inside)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_comparisons_and_extrema_with_nan(dtype):
    values = [0.0, -0.0, 1.0, -1.5, float("inf"), -float("inf"), float("nan")]
    a, b = (torch.tensor(t) for t in zip(*itertools.product(values, values), strict=True))
    a, b = a.to(dtype), b.to(dtype)
    n = len(a)
    out = torch.empty(12, n, dtype=dtype)
    nan_kernel[(1,)](a, b, out, n, BLOCK=64)
    expected = [
        a < b, a <= b, a == b, a != b, a > b, a >= b, torch.where(a < b, a, b),
        torch.where(~a.isnan() & ~(b > 0), a, b), torch.fmax(a, b), torch.fmin(a, b),
        torch.maximum(a, b), torch.minimum(a, b),
    ]  # fmt: skip
    for row, values in enumerate(expected):
        torch.testing.assert_close(
            out[row], values.to(dtype), rtol=0, atol=0, equal_nan=True,
            msg=lambda text, row=row: f"row {row}: {text}",
        )  # fmt: skip


@triton.jit
def clamp_kernel(x_ptr, low_ptr, high_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    inside = i < n
    x = tl.load(x_ptr + i, mask=inside, other=0.0)
    low = tl.load(low_ptr + i, mask=inside, other=0.0)
    high = tl.load(high_ptr + i, mask=inside, other=0.0)
    PROPAGATE: tl.constexpr = tl.PropagateNan.ALL
    tl.store(out_ptr + i, tl.clamp(x, low, high), mask=inside)
    tl.store(out_ptr + n + i, tl.clamp(x, low, high, propagate_nan=PROPAGATE), mask=inside)
    tl.store(out_ptr + 2 * n + i, tl.fma(x, low, high), mask=inside)
    tl.store(out_ptr + 3 * n + i, tl.fdiv(x, high), mask=inside)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clamp_fma_and_division(dtype):
    x = torch.cat([special_values(dtype), torch.randn(20, dtype=dtype)])
    n = len(x)
    low, high = -torch.rand(n, dtype=dtype), 1 + torch.rand(n, dtype=dtype)
    out = torch.empty(4, n, dtype=dtype)
    clamp_kernel[(1,)](x, low, high, out, n, BLOCK=64)
    clamped = torch.minimum(torch.maximum(x, low), high)
    torch.testing.assert_close(out[0], torch.where(x.isnan(), low, clamped), rtol=0, atol=0)
    torch.testing.assert_close(out[1], clamped, rtol=0, atol=0, equal_nan=True)
    # One rounding; in two, the term with the larger ulp is |high| < 2 or the product.
    wide = (x.double() * low.double() + high.double()).to(dtype)
    tolerance = 2 * torch.finfo(dtype).eps
    torch.testing.assert_close(out[2], wide, rtol=tolerance, atol=tolerance, equal_nan=True)
    torch.testing.assert_close(out[3], x / high, rtol=0, atol=0, equal_nan=True)


@triton.jit
def scalar_cdiv_kernel(out_ptr, a, b):
    tl.store(out_ptr, tl.cdiv(a, b))
    tl.store(out_ptr + 1, a // b)
    tl.store(out_ptr + 2, a % b)


@pytest.mark.parametrize(("a", "b"), [(10, 3), (9, 3), (1, 7), (-10, 3), (10, -3), (2**31 - 9, 8)])
def test_scalar_division(a, b):
    out = torch.empty(3, dtype=torch.int32)
    scalar_cdiv_kernel[(1,)](out, a, b)
    assert out.tolist() == [quotient(a + b - 1, b), quotient(a, b), remainder(a, b)]


# ---- random numbers ----


def philox(seed: int, offsets: np.ndarray) -> list[np.ndarray]:
    """Philox 4x32-10 (J. K. Salmon et al., SC 2011) of the counters (offset, 0, 0, 0)."""
    counter = [offsets.astype(np.uint64), *(np.zeros(len(offsets), np.uint64) for _ in range(3))]
    key = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        first = counter[0] * np.uint64(0xD2511F53)
        second = counter[2] * np.uint64(0xCD9E8D57)
        counter = [
            (second >> np.uint64(32)) ^ counter[1] ^ np.uint64(key[0]), second & low,
            (first >> np.uint64(32)) ^ counter[3] ^ np.uint64(key[1]), first & low,
        ]  # fmt: skip
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter


def uniform(bits: np.ndarray) -> np.ndarray:
    """Triton's map of 32 bits to [0, 1): of a negative number, the complement's."""
    x = bits.astype(np.uint32).view(np.int32)
    return np.where(x < 0, ~x, x).astype(np.float32) * np.float32(4.6566127342e-10)


@triton.jit
def random_kernel(ints_ptr, floats_ptr, seed, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    a, b, c, d = tl.randint4x(seed, i)
    tl.store(ints_ptr + i, a, mask=inside)
    tl.store(ints_ptr + n + i, b, mask=inside)
    tl.store(ints_ptr + 2 * n + i, c, mask=inside)
    tl.store(ints_ptr + 3 * n + i, d, mask=inside)
    tl.store(floats_ptr + i, tl.rand(seed, i), mask=inside)
    tl.store(floats_ptr + n + i, tl.randn(seed, i), mask=inside)


@pytest.mark.parametrize("seed", [0, 42, 2**40 + 7])
def test_random_numbers_are_those_of_philox(seed):
    n = 1000
    ints, floats = torch.empty(4, n, dtype=torch.int32), torch.empty(2, n)
    random_kernel[(triton.cdiv(n, 256),)](ints, floats, seed, n, BLOCK=256)
    words = philox(seed, np.arange(n))
    for row, word in enumerate(words):
        np.testing.assert_array_equal(ints[row].numpy().view(np.uint32), word.astype(np.uint32))
    first, second = uniform(words[0]), uniform(words[1])
    np.testing.assert_array_equal(floats[0].numpy(), first)
    angle = np.float32(2 * np.pi) * second
    normal = np.sqrt(-2 * np.log(np.maximum(first, 1e-7), dtype=np.float64)) * np.cos(
        angle, dtype=np.float64
    )
    # The angle is below 2 pi, its rounding error below 2^-22; the radius is below 5.7.
    np.testing.assert_allclose(floats[1].numpy(), normal, atol=6 * 2.0**-22, rtol=2.0**-21)


def test_the_names_of_libdevice_are_in_the_header():
    source = ['#include "mt_libdevice.h"', "int main(void) {", "int a = 1, b = 1, c = 1, d = 1;"]
    for name in sorted(set(_MATH.values())):
        only_float = name in ("saturate", "sinpi", "cospi")
        types = ("f32",) if only_float else ("f32", "f64")
        source += [f"(void)sizeof(&mt_{name}_{ty});" for ty in types]
    for expression in _EXPRESSIONS.values():
        source.append(f"(void)({expression.format('a', 'b', 'c', 'd')});")
    compile_c("\n".join([*source, "return 0; }"]))
