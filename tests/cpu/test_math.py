"""Elementary functions of `mt_math.h`: accuracy, special numbers, vectorisation.

Errors are in ulp of the exact result: its distance from the result divided by the gap between the
two neighbouring numbers of the format.  Here each float function sees a million arguments, spread
over all sizes; tools/check_math.c checks all 2^32 of them.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from c_functions import X86_64, compile_functions

from minitorch_triton.cpu import toolchain

# Signalling NaNs are among the samples: NumPy warns when it converts one.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")

LARGEST_ERROR = 2.0

ONE_ARGUMENT = (
    "exp", "exp2", "exp10", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinpi",
    "cospi", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf",
    "erfc", "cbrt", "rsqrt", "sqrt", "sigmoid",
)  # fmt: skip
TWO_ARGUMENTS = ("pow", "atan2", "hypot", "fdim", "remf")
EXACT = ("floor", "ceil", "trunc", "rint", "roundeven", "nearbyint", "round", "absf")
# One number at a time: calls of the C library.
LIBRARY_F32 = {"erfc", "remf"}
VECTORISED_F64 = {"exp", "exp2", "expm1", "log", "tanh", "sigmoid", "rsqrt", "sqrt", "fdim"}

F64_ONE_ARGUMENT = tuple(name for name in ONE_ARGUMENT if name not in ("sinpi", "cospi"))
SIGNATURES = {
    **{f"{name}_f32": ("f32", "f32") for name in (*ONE_ARGUMENT, *EXACT)},
    **{f"{name}_f32": ("f32", "f32", "f32") for name in (*TWO_ARGUMENTS, "copysign")},
    **{f"{name}_f64": ("f64", "f64") for name in (*F64_ONE_ARGUMENT, *EXACT)},
    **{f"{name}_f64": ("f64", "f64", "f64") for name in (*TWO_ARGUMENTS, "copysign")},
    "fma_f32": ("f32", "f32", "f32", "f32"),
    "fma_f64": ("f64", "f64", "f64", "f64"),
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return compile_functions(SIGNATURES, tmp_path_factory.mktemp("math"))


@pytest.fixture(scope="module")
def c(compiled):
    return compiled[0]


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors of `got` in ulp of its format; 0 where both are the same special number.

    A wrong NaN, infinity or sign is an infinite error.
    """
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        rounded = exact.astype(got.dtype)
        exponent = np.maximum(np.frexp(exact)[1] - 1, info.minexp)
        gap = np.ldexp(exact.dtype.type(1), np.minimum(exponent, info.maxexp - 1) - info.nmant)
        error = np.abs(got.astype(exact.dtype) - exact) / gap
    error = np.where(np.isinf(got) | np.isinf(rounded), np.where(got == rounded, 0, np.inf), error)
    error = np.where(np.signbit(got) != np.signbit(rounded), np.inf, error)
    nan = np.isnan(exact) | np.isnan(got)
    error = np.where(nan, np.where(np.isnan(exact) & np.isnan(got), 0, np.inf), error)
    return error


def assert_close(got: np.ndarray, exact: np.ndarray, *arguments: np.ndarray) -> None:
    error = ulps(got, exact)
    worst = int(np.argmax(error))
    assert error[worst] <= LARGEST_ERROR, (
        f"{error[worst]:.3f} ulp at {[float(a[worst]) for a in arguments]}: "
        f"{got[worst]} instead of {exact[worst]}"
    )


def float32_samples() -> np.ndarray:
    """A million floats of all exponents and both signs, with all special numbers."""
    spread = np.arange(0, 2**32, 4099, dtype=np.uint32).view(np.float32)
    powers = np.ldexp(np.float32(1), np.arange(-149, 128))
    corners = np.array([0, 1, 2, 3, 0.5, 1.5, 9, 88.7, 89, 104, 127, 150, 3e38, np.inf, np.nan])
    near = np.concatenate([powers, corners.astype(np.float32)])
    near = np.concatenate(
        [near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(np.inf))]
    )
    return np.concatenate([spread, near, -near])


def half_turns(function, x: np.ndarray) -> np.ndarray:
    """sin or cos of pi x, for doubles that hold floats; exact at the multiples of 1/2."""
    remainder = np.fmod(x, 2)
    exact = np.where(np.fmod(x, 0.5) == 0, np.round(function(np.pi * remainder)), 0)
    return np.where(np.fmod(x, 0.5) == 0, exact, function(np.pi * remainder.astype(np.longdouble)))


def reference(name: str, x: np.ndarray) -> np.ndarray:
    """The function in the precision of x, which exceeds that under test."""
    special = {
        "exp10": lambda: np.power(x.dtype.type(10), x),
        "rsqrt": lambda: 1 / np.sqrt(x),
        "sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "sinpi": lambda: half_turns(np.sin, x),
        "cospi": lambda: half_turns(np.cos, x),
        "erf": lambda: torch.erf(torch.from_numpy(x)).numpy(),
        "erfc": lambda: torch.erfc(torch.from_numpy(x)).numpy(),
    }
    numpy_name = {
        "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh",
        "acosh": "arccosh", "atanh": "arctanh", "atan2": "arctan2",
    }.get(name, name)  # fmt: skip
    with np.errstate(all="ignore"):
        return special[name]() if name in special else getattr(np, numpy_name)(x)


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_float_functions_of_all_floats(c, name):
    x = float32_samples()
    got, exact = c[f"{name}_f32"](x), reference(name, x.astype(np.float64)).astype(np.float64)
    if name in ("sinpi", "cospi"):  # conventions on the sign of a zero differ
        got, exact = got + (exact == 0) * 0.0, np.where(exact == 0, 0.0, exact)
        got = np.where(exact == 0, np.abs(got), got).astype(np.float32)
    assert_close(got, exact, x)


# Where long double is no wider than double there is nothing to compare with.
WIDE = np.finfo(np.longdouble).nmant > 52
EXTENDED = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos",
    "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "cbrt", "rsqrt", "sqrt", "sigmoid",
)  # fmt: skip


def float64_samples() -> np.ndarray:
    random = np.random.default_rng(0)
    spread = random.integers(0, 2**64, 200_000, dtype=np.uint64).view(np.float64)
    usual = random.uniform(-40, 40, 200_000)
    small = random.uniform(-1.5, 1.5, 200_000)
    large = random.uniform(-760, 720, 100_000)
    corners = np.array([0, 1, 0.5, 2, 709.7, 710, 745, 746, 1e300, 5e-324, 2e-308, np.inf, np.nan])
    return np.concatenate([spread, usual, small, large, corners, -corners])


@pytest.mark.skipif(not WIDE, reason="needs a long double with more digits than a double")
@pytest.mark.parametrize("name", EXTENDED)
def test_double_functions(c, name):
    x = float64_samples()
    assert_close(c[f"{name}_f64"](x), reference(name, x.astype(np.longdouble)), x)


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_double_error_functions(c, name):
    x = np.random.default_rng(0).uniform(-6, 6, 10_000)
    exact = np.array([getattr(math, name)(v) for v in x])
    np.testing.assert_allclose(c[f"{name}_f64"](x), exact, rtol=2 * 2.0**-52)


def pairs(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of special numbers, of numbers of any size, and of moderate ones."""
    special = [0, 1, 2, 3, 0.5, 1.5, 7.25, 16777215, 16777216, np.inf, np.nan, 1e-40, 1e38]
    special = np.array([*special, *(-s for s in special)], dtype)
    a, b = (np.array(t, dtype) for t in zip(*itertools.product(special, special), strict=True))
    random = np.random.default_rng(3)
    unsigned = np.uint32 if dtype is np.float32 else np.uint64
    bits = random.integers(0, np.iinfo(unsigned).max, (2, 100_000), dtype=unsigned)
    any_size = bits.view(dtype)
    base = np.exp(random.uniform(-3, 3, 300_000)).astype(dtype)
    exponent = random.uniform(-30, 30, 300_000).astype(dtype)
    return (
        np.concatenate([a, any_size[0], base, -base[:1000]]),
        np.concatenate([b, any_size[1], exponent, np.round(exponent[:1000])]),
    )


def reference_of_two(name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    functions = {
        "pow": np.power,
        "atan2": np.arctan2,
        "hypot": np.hypot,
        "fdim": lambda a, b: np.where(a <= b, 0, a - b),
        "remf": np.fmod,
    }
    with np.errstate(all="ignore"):
        return functions[name](a, b)


@pytest.mark.parametrize("name", TWO_ARGUMENTS)
def test_float_functions_of_two_arguments(c, name):
    a, b = pairs(np.float32)
    exact = reference_of_two(name, a.astype(np.float64), b.astype(np.float64))
    assert_close(c[f"{name}_f32"](a, b), exact, a, b)


@pytest.mark.skipif(not WIDE, reason="needs a long double with more digits than a double")
@pytest.mark.parametrize("name", TWO_ARGUMENTS)
def test_double_functions_of_two_arguments(c, name):
    a, b = pairs(np.float64)
    exact = reference_of_two(name, a.astype(np.longdouble), b.astype(np.longdouble))
    assert_close(c[f"{name}_f64"](a, b), exact, a, b)


@pytest.mark.parametrize("float_type", ["f32", "f64"])
@pytest.mark.parametrize("name", EXACT)
def test_rounding_and_absolute_value(c, name, float_type):
    x = float32_samples().astype(np.float32 if float_type == "f32" else np.float64)
    x = np.concatenate([x, np.arange(-20, 20, 0.25, dtype=x.dtype)])

    def half_away_from_zero(v):
        whole = np.trunc(v)
        return np.copysign(np.abs(whole) + (np.abs(v - whole) >= 0.5), v)

    functions = {
        "absf": np.abs, "roundeven": np.rint, "nearbyint": np.rint, "round": half_away_from_zero,
    }  # fmt: skip
    with np.errstate(all="ignore"):
        expected = functions.get(name, getattr(np, name, None))(x)
    got = c[f"{name}_{float_type}"](x)
    np.testing.assert_array_equal(got, expected)
    number = ~np.isnan(x)
    np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(expected)[number])


@pytest.mark.parametrize("float_type", ["f32", "f64"])
def test_copysign(c, float_type):
    a, b = pairs(np.float32)
    got = c[f"copysign_{float_type}"](a, b)
    assert (np.signbit(got) == np.signbit(b)).all()
    np.testing.assert_array_equal(np.abs(got), np.abs(a).astype(got.dtype))


def test_fma_rounds_once(c):
    random = np.random.default_rng(4)
    a, b = random.standard_normal((2, 10_000)).astype(np.float32)
    product = a.astype(np.float64) * b  # exact
    # The product but for its last digits: a * b - sum is lost when the product is rounded.
    got = c["fma_f32"](a, b, -product.astype(np.float32))
    np.testing.assert_array_equal(got, (product - product.astype(np.float32)).astype(np.float32))


@X86_64
def test_loops_are_vectorised(compiled):
    vectorised_f64 = VECTORISED_F64 | {*EXACT, "copysign", "fma"}
    scalar = {f"{name}_f32" for name in LIBRARY_F32}
    if "clang" in toolchain.compiler_version():
        scalar.add("tan_f32")  # the one that clang 22 leaves scalar; it reports no reason
    scalar |= {
        name for name in SIGNATURES if name.endswith("f64") and name[:-4] not in vectorised_f64
    }
    assert compiled[1] <= scalar
