"""Math functions that ``tl`` lacks: libdevice's (a GPU's or the native CPU's own).

Triton's interpreter has no libdevice, so there the same functions are written in ``tl``.
"""

from __future__ import annotations

import triton
import triton.language as tl

from minitorch_triton.kernels.launch import INTERPRETED

if not INTERPRETED:
    from triton.language.extra.libdevice import atan2, expm1, log1p, pow, tanh
else:

    @triton.jit
    def _has_minus(x):
        return (x < 0) | ((x == 0) & (1 / x < 0))

    @triton.jit
    def atan2(a, b):
        """The angle of (b, a), from the series of one that is halved twice."""
        high, width = tl.abs(a), tl.abs(b)
        small, large = tl.minimum(high, width), tl.maximum(high, width)
        t = tl.where(large == 0, 0.0, tl.where(small == float("inf"), 1.0, small / large))
        for _ in tl.static_range(2):
            t = t / (1 + tl.sqrt(1 + t * t))
        series = t * 0
        for k in tl.static_range(12):
            series = 1 / (23 - 2 * k) - t * t * series
        angle = 4 * t * series
        angle = tl.where(high > width, 1.5707963267948966 - angle, angle)
        angle = tl.where(_has_minus(b), 3.141592653589793 - angle, angle)
        angle = tl.where(_has_minus(a), -angle, angle)
        return tl.where((a != a) | (b != b), float("nan"), angle)

    @triton.jit
    def expm1(x):
        """exp(x) - 1 without cancellation (W. Kahan's correction by the rounded exponential)."""
        u = tl.exp(x)
        shifted = u - 1
        corrected = shifted * x / tl.log(u)
        return tl.where(
            u == 1, x, tl.where((shifted == -1) | (u == float("inf")), shifted, corrected)
        )

    @triton.jit
    def log1p(x):
        """log(1 + x) without cancellation (W. Kahan's correction by the rounded sum)."""
        u = 1 + x
        return tl.where(u == 1, x, tl.where(u == float("inf"), u, tl.log(u) * x / (u - 1)))

    @triton.jit
    def tanh(x):
        t = expm1(-2 * tl.abs(x))
        y = -t / (t + 2)
        return tl.where(x < 0, -y, tl.where(x == 0, x, y))

    @triton.jit
    def pow(x, exponent):
        magnitude = tl.exp(exponent * tl.log(tl.abs(x)))
        whole = tl.floor(exponent) == exponent
        even = tl.floor(exponent * 0.5) * 2 == exponent
        sign = tl.where(even, 1.0, tl.where(whole, -1.0, float("nan")))
        y = tl.where(x < 0, magnitude * sign, magnitude)
        return tl.where(exponent == 0, 1.0, tl.where(x == 1, 1.0, y))
