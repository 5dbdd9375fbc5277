"""Number formats and integer arithmetic of `mt_types.h`, against exact references."""

import itertools
import math

import numpy as np
import pytest
import torch
from c_functions import X86_64, compile_functions

BITS = {"f32": np.uint32, "f64": np.uint64}
# Name: explicit significand bits, exponent bias, codes of the largest number and of "too large",
# storage type.  The codes of the finite magnitudes of a format are consecutive integers.
FORMATS = {
    "bf16": (7, 127, 0x7F7F, 0x7F80, "u16"),
    "f16": (10, 15, 0x7BFF, 0x7C00, "u16"),
    "f8e4m3fn": (3, 7, 0x7E, 0x7E, "u8"),
    "f8e5m2": (2, 15, 0x7B, 0x7B, "u8"),
    "f8e4m3fnuz": (3, 8, 0x7F, 0x7F, "u8"),
    "f8e5m2fnuz": (2, 16, 0x7F, 0x7F, "u8"),
}
TORCH_FORMATS = {
    "bf16": torch.bfloat16,
    "f16": torch.float16,
    "f8e4m3fn": torch.float8_e4m3fn,
    "f8e5m2": torch.float8_e5m2,
    "f8e4m3fnuz": torch.float8_e4m3fnuz,
    "f8e5m2fnuz": torch.float8_e5m2fnuz,
}
INTEGERS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64}
BINARY = (
    "addi", "subi", "muli", "shli", "shrsi", "shrui", "divsi", "divui", "remsi", "remui",
    "maxsi", "maxui", "minsi", "minui", "ceildivsi", "ceildivui", "floordivsi",
)  # fmt: skip

SIGNATURES = {}
for _name, (*_, _storage) in FORMATS.items():
    for _float in ("f32", "f64"):
        SIGNATURES[f"{_name}_to_{_float}"] = (_storage, _float)
        SIGNATURES[f"{_float}_to_{_name}"] = (_float, _storage)
        SIGNATURES[f"{_float}_to_{_name}_rtz"] = (_float, _storage)
for _kind, _bits, _float in itertools.product("iu", (8, 16, 32, 64), ("f32", "f64")):
    SIGNATURES[f"{_float}_to_{_kind}{_bits}"] = (_float, f"{_kind}{_bits}")
    SIGNATURES[f"{_kind}{_bits}_to_{_float}"] = (f"{_kind}{_bits}", _float)
for _type in INTEGERS:
    SIGNATURES[f"absi_{_type}"] = (_type, _type)
    for _op in BINARY:
        SIGNATURES[f"{_op}_{_type}"] = (_type, _type, _type)
for _type in ("i32", "i64"):
    for _op in ("mulhui", "mulhsi", "mulhiui"):
        SIGNATURES[f"{_op}_{_type}"] = (_type, _type, _type)
for _type in ("f32", "f64"):
    for _op in ("maximumf", "minimumf", "maxnumf", "minnumf"):
        SIGNATURES[f"{_op}_{_type}"] = (_type, _type, _type)
    for _op in ("clampf_none", "clampf_all"):
        SIGNATURES[f"{_op}_{_type}"] = (_type, _type, _type, _type)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return compile_functions(SIGNATURES, tmp_path_factory.mktemp("types"))


@pytest.fixture(scope="module")
def c(compiled):
    return compiled[0]


def magnitudes(name: str) -> np.ndarray:
    """The finite magnitudes of a format by their codes, from its definition."""
    significand_bits, bias, largest, _, _ = FORMATS[name]
    codes = np.arange(largest + 1)
    exponent, fraction = codes >> significand_bits, codes & ((1 << significand_bits) - 1)
    significand = fraction + np.where(exponent > 0, 1 << significand_bits, 0)
    return np.ldexp(significand.astype(float), np.maximum(exponent, 1) - bias - significand_bits)


def encode(name: str, x: np.ndarray, *, toward_zero: bool) -> np.ndarray:
    """Codes of the format for the numbers x, none of them NaN, found among all its numbers."""
    _, _, largest, too_large, storage = FORMATS[name]
    numbers = magnitudes(name)
    next_number = 2 * numbers[-1] - numbers[-2]
    x = x.astype(np.float64)
    size = np.abs(x)
    if toward_zero:
        codes = np.searchsorted(numbers, size, side="right") - 1
        codes = np.where(np.isinf(size), too_large, codes)
    else:
        middles = (numbers + np.append(numbers[1:], next_number)) / 2
        codes = np.searchsorted(middles, size, side="left")
        tie = size == middles[np.minimum(codes, largest)]
        codes = codes + (tie & (codes % 2 == 1))
        codes = np.where(codes > largest, too_large, codes)
    sign = np.where(np.signbit(x), 0x8000 if storage == "u16" else 0x80, 0)
    if name.endswith("fnuz"):
        sign = np.where(codes == 0, 0, sign)
    return (codes | sign).astype(np.uint16 if storage == "u16" else np.uint8)


def inputs(name: str, float_type: str) -> np.ndarray:
    """Numbers of all sizes, and every number of the format, every middle, and their neighbours."""
    dtype = np.float32 if float_type == "f32" else np.float64
    numbers = magnitudes(name)
    next_number = 2 * numbers[-1] - numbers[-2]
    corners = np.concatenate([numbers, (numbers + np.append(numbers[1:], next_number)) / 2])
    with np.errstate(over="ignore"):
        corners = corners.astype(dtype)
    near = [np.nextafter(corners, dtype(np.inf)), np.nextafter(corners, dtype(-np.inf))]
    random = np.random.default_rng(0).integers(0, 2**64, 200_000, dtype=np.uint64)
    random = (random >> np.uint64(64 - 8 * dtype().itemsize)).astype(BITS[float_type]).view(dtype)
    special = np.array([0.0, np.inf, np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal])
    x = np.concatenate([corners, *near, random, special.astype(dtype)])
    x = np.concatenate([x, -x])
    return x[~np.isnan(x)]


@pytest.mark.parametrize("float_type", ["f32", "f64"])
@pytest.mark.parametrize("name", FORMATS)
def test_narrowing_rounds_to_nearest_even(c, name, float_type):
    x = inputs(name, float_type)
    np.testing.assert_array_equal(
        c[f"{float_type}_to_{name}"](x), encode(name, x, toward_zero=False)
    )


@pytest.mark.parametrize("float_type", ["f32", "f64"])
@pytest.mark.parametrize("name", FORMATS)
def test_narrowing_toward_zero(c, name, float_type):
    x = inputs(name, float_type)
    np.testing.assert_array_equal(
        c[f"{float_type}_to_{name}_rtz"](x), encode(name, x, toward_zero=True)
    )


@pytest.mark.parametrize("name", FORMATS)
def test_every_number_widens_to_what_torch_says(c, name):
    storage = FORMATS[name][-1]
    codes = np.arange(2**16 if storage == "u16" else 2**8)
    codes = codes.astype(np.uint16 if storage == "u16" else np.uint8)
    expected = torch.from_numpy(codes).view(TORCH_FORMATS[name]).to(torch.float32).numpy()
    got = c[f"{name}_to_f32"](codes)
    np.testing.assert_array_equal(got, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(expected)[number])
    np.testing.assert_array_equal(c[f"{name}_to_f64"](codes), expected)


@pytest.mark.parametrize("suffix", ["", "_rtz"])
@pytest.mark.parametrize("name", FORMATS)
def test_nan_stays_nan(c, name, suffix):
    narrow = np.array([0x7FC00000, 0x7F800001, 0xFFFFFFFF, 0xFF812345], np.uint32)
    wide = np.array([0x7FF8 << 48, (0x7FF0 << 48) + 1, 2**64 - 1], np.uint64)
    for float_type, x in (("f32", narrow.view(np.float32)), ("f64", wide.view(np.float64))):
        codes = c[f"{float_type}_to_{name}{suffix}"](x)
        assert np.isnan(c[f"{name}_to_f32"](codes)).all()


def float_samples(float_type: str) -> np.ndarray:
    dtype = np.float32 if float_type == "f32" else np.float64
    corners = [0.0, 0.5, 0.99, 1.0, 1.5, 2.5, 1e-40, np.inf, np.nan, 3.4e38]
    for bits in (7, 8, 15, 16, 24, 31, 32, 53, 63, 64):
        corners += [2.0**bits + d for d in (-1.5, -1, -0.5, 0, 0.5, 1)]
    corners = np.array(corners, dtype)
    corners = np.concatenate(
        [corners, np.nextafter(corners, dtype(0)), np.nextafter(corners, dtype(np.inf))]
    )
    random = np.random.default_rng(1)
    sizes = np.exp2(random.uniform(-4, 70, 20_000)).astype(dtype)
    return np.concatenate([corners, -corners, sizes, -sizes])


@pytest.mark.parametrize("float_type", ["f32", "f64"])
@pytest.mark.parametrize("integer", [f"{k}{b}" for k in "iu" for b in (8, 16, 32, 64)])
def test_float_to_integer_truncates_and_saturates(c, integer, float_type):
    x = float_samples(float_type)
    bits = int(integer[1:])
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if integer[0] == "i" else (0, 2**bits - 1)

    def reference(v: float) -> int:
        if math.isnan(v):
            return 0
        if math.isinf(v):
            return high if v > 0 else low
        return min(max(int(v), low), high)

    expected = [reference(v) for v in x.tolist()]
    assert c[f"{float_type}_to_{integer}"](x).tolist() == expected


@pytest.mark.parametrize("integer", [f"{k}{b}" for k in "iu" for b in (8, 16, 32, 64)])
def test_integer_to_float_rounds_once(c, integer):
    bits = int(integer[1:])
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if integer[0] == "i" else (0, 2**bits - 1)
    powers = [s * 2**k + d for k in range(bits) for d in range(-2, 3) for s in (1, -1)]
    # Just above the middle between two floats, by less than a double can hold.
    powers += [2**k + 2 ** (k - 24) + 1 for k in range(24, bits)]
    values = sorted({v for v in [*powers, low, high] if low <= v <= high})
    x = np.array(values, dtype={"i": "int", "u": "uint"}[integer[0]] + str(bits))
    random = np.random.default_rng(2).integers(low, high, 20_000, dtype=x.dtype, endpoint=True)
    x = np.concatenate([x, random >> random.dtype.type(1), random])
    np.testing.assert_array_equal(c[f"{integer}_to_f32"](x), x.astype(np.float32))
    np.testing.assert_array_equal(c[f"{integer}_to_f64"](x), x.astype(np.float64))


def signed(value: int, bits: int) -> int:
    return (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


def truncated_quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def integer_reference(op: str, a: int, b: int, bits: int) -> int:
    """The operation on Python's integers, which have no width."""
    ua, ub = a % 2**bits, b % 2**bits
    if b == 0 and ("div" in op or "rem" in op):
        return 0
    return {
        "addi": lambda: a + b,
        "subi": lambda: a - b,
        "muli": lambda: a * b,
        "shli": lambda: a << ub if ub < bits else 0,
        "shrsi": lambda: a >> min(ub, bits),
        "shrui": lambda: ua >> min(ub, bits),
        "divsi": lambda: truncated_quotient(a, b),
        "divui": lambda: ua // ub,
        "remsi": lambda: a - truncated_quotient(a, b) * b,
        "remui": lambda: ua % ub,
        "maxsi": lambda: max(a, b),
        "minsi": lambda: min(a, b),
        "maxui": lambda: max(ua, ub),
        "minui": lambda: min(ua, ub),
        "ceildivsi": lambda: -(-a // b),
        "ceildivui": lambda: -(-ua // ub),
        "floordivsi": lambda: a // b,
        "mulhui": lambda: ua * ub >> bits,
        "mulhiui": lambda: ua * ub >> bits,
        "mulhsi": lambda: a * b >> bits,
    }[op]()


def integer_pairs(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of corners, and random pairs; of 8-bit numbers also each with every corner."""
    dtype = np.dtype(f"int{bits}")
    powers = (0, 3, bits // 2, bits - 2)
    corners = [s * 2**k + d for k in powers for d in (-1, 0, 1) for s in (1, -1)]
    corners += [0, 5, 7, 10, bits - 1, bits, bits + 1]
    corners += [2 ** (bits - 1) - 1, -(2 ** (bits - 1)), -(2 ** (bits - 1)) + 1]
    corners = np.array(sorted(set(corners)), dtype=dtype)
    values = np.arange(-128, 128, dtype=dtype) if bits == 8 else corners
    a, b = (grid.ravel() for grid in np.meshgrid(values, corners))
    random = np.random.default_rng(bits)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    more = random.integers(low, high, (2, 3000), dtype=dtype, endpoint=True)
    more[1] >>= random.integers(0, bits, 3000, dtype=dtype)  # divisors of every size
    return np.concatenate([a, more[0]]), np.concatenate([b, more[1]])


@pytest.mark.parametrize("integer", INTEGERS)
@pytest.mark.parametrize("op", [*BINARY, "mulhui", "mulhsi", "mulhiui"])
def test_integer_arithmetic_wraps_and_never_traps(c, op, integer):
    if f"{op}_{integer}" not in c:
        assert op.startswith("mulh") and integer in ("i8", "i16")  # no such operation in Triton
        return
    bits = INTEGERS[integer]
    a, b = integer_pairs(bits)
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    expected = [signed(integer_reference(op, x, y, bits), bits) for x, y in pairs]
    assert c[f"{op}_{integer}"](a, b).tolist() == expected


@pytest.mark.parametrize("integer", INTEGERS)
def test_absolute_value_wraps(c, integer):
    a, _ = integer_pairs(INTEGERS[integer])
    expected = [signed(abs(x), INTEGERS[integer]) for x in a.tolist()]
    assert c[f"absi_{integer}"](a).tolist() == expected


SPECIAL = [0.0, -0.0, 1.0, -1.0, 1e-40, -1e-40, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("float_type", ["f32", "f64"])
def test_minimum_and_maximum(c, float_type):
    a, b = (np.array(t) for t in zip(*itertools.product(SPECIAL, SPECIAL), strict=True))
    a, b = a.astype(np.float32), b.astype(np.float32)
    for op, propagating, numeric in (
        ("max", np.maximum, np.fmax),
        ("min", np.minimum, np.fmin),
    ):
        got = c[f"{op}imumf_{float_type}"](a, b)
        np.testing.assert_array_equal(got, propagating(a, b))
        zeros = (a == 0) & (b == 0)
        sign = (np.signbit(a) & np.signbit(b)) if op == "max" else (np.signbit(a) | np.signbit(b))
        np.testing.assert_array_equal(np.signbit(got)[zeros], sign[zeros])
        np.testing.assert_array_equal(c[f"{op}numf_{float_type}"](a, b), numeric(a, b))


@pytest.mark.parametrize("float_type", ["f32", "f64"])
def test_clamp(c, float_type):
    x = np.array([*SPECIAL, 0.5, 3.0, -3.0])
    low, high = np.full_like(x, -1.0), np.full_like(x, 2.0)
    expected = np.array([0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 2.0, -1.0, np.nan, 0.5, 2.0, -1.0])
    got = c[f"clampf_all_{float_type}"](x, low, high)
    np.testing.assert_allclose(got, expected, atol=2e-40)
    got = c[f"clampf_none_{float_type}"](x, low, high)
    np.testing.assert_allclose(got, np.where(np.isnan(x), -1.0, expected), atol=2e-40)


@X86_64
def test_loops_are_vectorised(compiled):
    """All but the divisions of 64-bit integers, for which there is no trick, and signed shifts of
    narrow integers by a varying amount, which AVX2 lacks and gcc does not widen."""
    scalar = {f"{op}_i64" for op in BINARY if "div" in op or "rem" in op}
    assert compiled[1] <= scalar | {"shrsi_i8", "shrsi_i16"}
