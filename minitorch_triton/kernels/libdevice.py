"""Math functions that ``tl`` lacks: libdevice's (a GPU's or the native CPU's own).

Triton's interpreter has no libdevice, so there the same functions are written in ``tl``.
"""

from __future__ import annotations

import triton
import triton.language as tl

from minitorch_triton.kernels.launch import INTERPRETED

if not INTERPRETED:
    from triton.language.extra.libdevice import expm1, log1p, pow, tanh
else:

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
