"""Fit the polynomials of `mt_math.h` and write `mt_polynomials.h`.

    python tools/fit_math.py                 # fit all, write the header
    python tools/fit_math.py exp_f32 log_f32 # fit these and print them

Each polynomial P minimises the largest weighted error |w(x) (g(x) - P(x))| over an interval
(least squares with Lawson's reweighting on a Chebyshev grid, in 60-digit arithmetic).  The
coefficients are then rounded to the format that C computes in, the lowest order first, and those
of higher order are fitted again after each rounding, so that they absorb what it cost.  The
weight is chosen such that the error printed is relative to the function's value.

Method: C. L. Lawson (1961), as in J. R. Rice, "The Approximation of Functions" II (1969);
rounding one coefficient at a time is a simple form of N. Brisebarre and S. Chevillard,
"Efficient polynomial L-infinity approximations", ARITH 18 (2007).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from mpmath import mp, mpf

mp.dps = 60

HEADER = Path(__file__).parents[1] / "minitorch_triton/cpu/include/mt_polynomials.h"
GRID_POINTS = 200
LAWSON_STEPS = 20

Real = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Fit:
    """P(x) of `degree` close to `target` on [low, high], computed in `bits`-bit significands.

    `fixed` are its lowest coefficients where they are given instead of fitted. With `pairs` the
    terms are added in pairs, which takes half as long as one after the other; it needs x^2.
    """

    name: str
    low: mpf
    high: mpf
    degree: int
    target: Real
    weight: Real
    meaning: str
    bits: int = 24
    fixed: tuple[float, ...] = ()
    pairs: bool = False


def round_to(x: mpf, bits: int) -> mpf:
    """`x` with a significand of `bits` bits, to nearest."""
    if x == 0:
        return mpf(0)
    _, exponent = mp.frexp(x)
    return mp.ldexp(mp.nint(mp.ldexp(x, bits - exponent)), exponent - bits)


def chebyshev_points(low: mpf, high: mpf, count: int) -> list[mpf]:
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]


def evaluate(coefficients: list[mpf], x: mpf) -> mpf:
    result = mpf(0)
    for c in reversed(coefficients):
        result = result * x + c
    return result


def minimax(
    points: list[mpf], values: list[mpf], weights: list[mpf], fixed: list[mpf], degree: int
) -> list[mpf]:
    """Coefficients, of which the first are `fixed`, with nearly the least largest error."""
    importance = [mpf(1)] * len(points)
    best, least = fixed, mp.inf
    for _ in range(LAWSON_STEPS):
        scaled = [w * mp.sqrt(i) for w, i in zip(weights, importance, strict=True)]
        coefficients = least_squares(points, values, scaled, fixed, degree)
        errors = [abs(e) for e in weighted_errors(points, values, weights, coefficients)]
        largest = max(errors)
        if largest < least:
            best, least = coefficients, largest
        importance = [i * e / largest for i, e in zip(importance, errors, strict=True)]
    return best


def weighted_errors(
    points: list[mpf], values: list[mpf], weights: list[mpf], coefficients: list[mpf]
) -> list[mpf]:
    return [
        w * (v - evaluate(coefficients, x)) for x, v, w in zip(points, values, weights, strict=True)
    ]


def least_squares(
    points: list[mpf], values: list[mpf], weights: list[mpf], fixed: list[mpf], degree: int
) -> list[mpf]:
    """Coefficients, of which the first are `fixed`, with the least weighted squared error."""
    first = len(fixed)
    free = degree + 1 - first
    rows = [
        [w * x ** (first + k) for k in range(free)] for x, w in zip(points, weights, strict=True)
    ]
    errors = weighted_errors(points, values, weights, fixed)
    gram = mp.matrix(free, free)
    right = mp.matrix(free, 1)
    for i in range(free):
        right[i] = mp.fdot((row[i], e) for row, e in zip(rows, errors, strict=True))
        for j in range(i, free):
            gram[i, j] = gram[j, i] = mp.fdot((row[i], row[j]) for row in rows)
    solution = mp.lu_solve(gram, right)
    return fixed + [solution[i] for i in range(free)]


def fit(spec: Fit) -> tuple[list[mpf], mpf]:
    """The rounded coefficients of `spec`, lowest order first, and its largest weighted error."""
    points = chebyshev_points(mpf(spec.low), mpf(spec.high), GRID_POINTS)
    values = [spec.target(x) for x in points]
    weights = [spec.weight(x) for x in points]
    done = [mpf(c) for c in spec.fixed]
    while len(done) <= spec.degree:
        best = minimax(points, values, weights, done, spec.degree)
        done = done + [round_to(best[len(done)], spec.bits)]
    return done, max(map(abs, weighted_errors(points, values, weights, done)))


def hexadecimal(x: mpf) -> str:
    digits, exponent = float(x).hex().split("p")
    return digits.rstrip("0").rstrip(".") + "p" + exponent


def c_function(spec: Fit, coefficients: list[mpf], error: mpf) -> str:
    """The polynomial as a C function in Horner's form, of x or of x^2."""
    kind, suffix, c_type = ("f32", "f", "float") if spec.bits == 24 else ("f64", "", "double")
    terms = [hexadecimal(c) + suffix for c in coefficients]
    variable, square = "x", []
    if spec.pairs:
        variable, square = "x2", [f"    const {c_type} x2 = x * x;"]
        terms = [
            f"MT_FMA_{kind}({pair[1]}, x, {pair[0]})" if pair[1] else pair[0]
            for pair in zip_longest(terms[::2], terms[1::2])
        ]
    lines = [
        f"/* {spec.meaning}; {float(spec.low):.6g} <= x <= {float(spec.high):.6g},",
        f" * error 2^{float(mp.log(error, 2)):.1f}. */",
        f"MT_FN {c_type} mt_poly_{spec.name}_({c_type} x) {{",
        *square,
        f"    {c_type} p = {terms[-1]};",
        *(f"    p = MT_FMA_{kind}(p, {variable}, {term});" for term in reversed(terms[:-1])),
        "    return p;",
        "}",
    ]
    return "\n".join(lines)


LN2 = mp.log(2)
SQRT_HALF = mp.sqrt(mpf(1) / 2)
HALF_LN2 = LN2 / 2 * (1 + mpf(2) ** -12)  # the reduced argument may miss the nearest by a rounding
HALF_LG2 = HALF_LN2 / mp.log(10)
QUARTER_LN2 = HALF_LN2 / 2
QUARTER_PI = mp.pi / 4 * (1 + mpf(2) ** -12)
M_LOW, M_HIGH = SQRT_HALF - 1, mp.sqrt(2) - 1  # significand - 1 of a logarithm's argument
S_HIGH = (M_HIGH / (2 + M_HIGH)) ** 2  # the square of f / (2 + f) for the same f
ERF_SLOPE = round_to(2 / mp.sqrt(mp.pi), 24)
TINY = mpf(2) ** -40  # stands for 0, where some of the expressions below are 0/0


def log_ratio(s2: mpf) -> mpf:
    """log((1 + s)/(1 - s)) / s, as a function of s^2."""
    s = mp.sqrt(s2)
    return 2 * mp.atanh(s) / s


def of_square(f: Real) -> Real:
    """f as a function of the square of its argument."""
    return lambda x2: f(mp.sqrt(x2))


FITS = [
    Fit(
        "exp_f32", -HALF_LN2, HALF_LN2, 4,
        lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.exp(r),
        "exp(x) = 1 + x + x^2 P(x)",
    ),
    Fit(
        "exp2_f32", mpf(-0.5), mpf(0.5), 5,
        lambda r: mp.expm1(r * LN2) / r, lambda r: r / mp.exp(r * LN2),
        "2^x = 1 + x P(x)",
    ),
    Fit(
        "exp10_f32", -HALF_LG2, HALF_LG2, 5,
        lambda r: mp.expm1(r * mp.log(10)) / r, lambda r: r / mp.exp(r * mp.log(10)),
        "10^x = 1 + x P(x)",
    ),
    Fit(
        "expm1_f32", -HALF_LN2, HALF_LN2, 4,
        lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.expm1(r),
        "exp(x) - 1 = x + x^2 P(x)", pairs=True,
    ),
    Fit(
        "log_f32", M_LOW, M_HIGH, 7,
        lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3, lambda f: f**3 / mp.log1p(f),
        "log(1 + x) = x - x^2/2 + x^3 P(x)",
    ),
    Fit(
        "log2_f32", M_LOW, M_HIGH, 9,
        lambda f: mp.log1p(f) / LN2 / f, lambda f: f / mp.log1p(f) * LN2,
        "log2(1 + x) = x P(x)",
    ),
    Fit(
        "log10_f32", M_LOW, M_HIGH, 9,
        lambda f: mp.log10(1 + f) / f, lambda f: f / mp.log10(1 + f),
        "log10(1 + x) = x P(x)",
    ),
    Fit(
        "tanh_f32", TINY, QUARTER_LN2**2, 2,
        of_square(lambda x: (mp.tanh(x) - x) / x**3), of_square(lambda x: x**3 / mp.tanh(x)),
        "tanh(sqrt(x)) = sqrt(x) (1 + x P(x))",
    ),
    Fit(
        "erf_f32", TINY, mpf(4), 8,
        lambda x: -mp.log(mp.erfc(x)) / x - ERF_SLOPE, lambda x: x * mp.erfc(x) / mp.erf(x),
        f"erf(x) = 1 - exp(-x ({hexadecimal(ERF_SLOPE)} + P(x)))", pairs=True,
    ),
    Fit(
        "sin_f32", TINY, QUARTER_PI**2, 2,
        of_square(lambda r: (mp.sin(r) - r) / r**3), of_square(lambda r: r**3 / mp.sin(r)),
        "sin(sqrt(x)) = sqrt(x) (1 + x P(x))",
    ),
    Fit(
        "cos_f32", TINY, QUARTER_PI**2, 2,
        of_square(lambda r: (mp.cos(r) - 1 + r**2 / 2) / r**4),
        of_square(lambda r: r**4 / mp.cos(r)),
        "cos(sqrt(x)) = 1 - x/2 + x^2 P(x)",
    ),
    Fit(
        "asin_f32", TINY, mpf(0.25), 4,
        of_square(lambda x: (mp.asin(x) - x) / x**3), of_square(lambda x: x**3 / mp.asin(x)),
        "asin(sqrt(x)) = sqrt(x) (1 + x P(x))",
    ),
    Fit(
        "atan_f32", TINY, mpf(1), 8,
        of_square(lambda x: (mp.atan(x) - x) / x**3), of_square(lambda x: x**3 / mp.atan(x)),
        "atan(sqrt(x)) = sqrt(x) (1 + x P(x))",
    ),
    Fit(
        "exp_f64", -HALF_LN2, HALF_LN2, 9,
        lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.exp(r),
        "exp(x) = 1 + x + x^2 P(x)", bits=53,
    ),
    Fit(
        "tanh_f64", TINY, mpf(0.65) ** 2, 11,
        of_square(lambda x: (mp.tanh(x) - x) / x**3), of_square(lambda x: x**3 / mp.tanh(x)),
        "tanh(sqrt(x)) = sqrt(x) (1 + x P(x))", bits=53,
    ),
    Fit(
        "log_f64", TINY, S_HIGH, 6,
        lambda z: (log_ratio(z) - 2) / z, lambda z: z / log_ratio(z),
        "log((1 + s)/(1 - s)) = s (2 + x P(x)) with x = s^2", bits=53,
    ),
    Fit(
        "pow_log2_f64", TINY, S_HIGH, 5,
        lambda z: log_ratio(z) / LN2, lambda z: LN2 / log_ratio(z),
        "log2((1 + s)/(1 - s)) = s P(x) with x = s^2, for pow of floats", bits=53,
    ),
    Fit(
        "pow_exp2_f64", mpf(-0.5), mpf(0.5), 6,
        lambda r: mp.exp(r * LN2), lambda r: mp.exp(-r * LN2),
        "2^x = P(x), for pow of floats", bits=53,
    ),
    Fit(
        "tan_sin_f64", TINY, QUARTER_PI**2, 4,
        of_square(lambda r: mp.sin(r) / r), of_square(lambda r: r / mp.sin(r)),
        "sin(sqrt(x)) = sqrt(x) P(x), for tan of floats", bits=53,
    ),
    Fit(
        "tan_cos_f64", TINY, QUARTER_PI**2, 4,
        of_square(mp.cos), of_square(lambda r: 1 / mp.cos(r)),
        "cos(sqrt(x)) = P(x), for tan of floats", bits=53,
    ),
    Fit(
        "atan_f64", TINY, mpf(1), 10,
        of_square(lambda x: mp.atan(x) / x), of_square(lambda x: x / mp.atan(x)),
        "atan(sqrt(x)) = sqrt(x) P(x), for atan2 of floats", bits=53,
    ),
]  # fmt: skip


# x 2/pi modulo 4 for a float x = M 2^(e - 23) with a 24-bit integer M: M times the entry of e,
# whose upper part has 29 bits so that the product is exact.
REDUCTION_FIRST, REDUCTION_LAST, REDUCTION_BITS = -30, 127, 29


def reduction_table() -> str:
    """2^(e - 23) 2/pi modulo 4 for each exponent e, in two parts, as C arrays."""
    with mp.workdps(120):
        whole = [
            mp.ldexp(2 / mp.pi, e - 23) % 4 for e in range(REDUCTION_FIRST, REDUCTION_LAST + 1)
        ]
        upper = [round_to(t, REDUCTION_BITS) for t in whole]
        lower = [t - u for t, u in zip(whole, upper, strict=True)]
    arrays = [
        f"static const double mt_two_over_pi_{part}_[] = {{\n    "
        + ",\n    ".join(hexadecimal(x) for x in values)
        + ",\n};"
        for part, values in (("upper", upper), ("lower", lower))
    ]
    head = (
        "/* 2^(e - 23) 2/pi modulo 4 in two parts, "
        f"for {REDUCTION_FIRST} <= e <= {REDUCTION_LAST}. */"
    )
    return "\n".join([head, *arrays])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="fit only these, and print instead of writing")
    names = parser.parse_args().names
    chosen = [spec for spec in FITS if not names or spec.name in names]
    functions = [c_function(spec, *fit(spec)) for spec in chosen]
    if names:
        print("\n\n".join(functions))
        return
    text = "\n\n".join(
        [
            "/* Polynomials of mt_math.h.  Written by tools/fit_math.py; do not edit. */",
            "#ifndef MT_POLYNOMIALS_H\n#define MT_POLYNOMIALS_H",
            *functions,
            reduction_table(),
            "#endif\n",
        ]
    )
    HEADER.write_text(text)


if __name__ == "__main__":
    main()
