"""Elementwise functions and their derivatives as Triton device functions.

A derivative is the vector-Jacobian product in one input. Its parameter names say what it needs:
``g`` is the gradient of the output, ``y`` the output, any other name that input of the function.
All run in the compute dtype: float32 for half types, the type itself otherwise.
"""

from __future__ import annotations

import triton
import triton.language as tl

from minitorch_triton.kernels.libdevice import atan2, expm1, log1p, pow, tanh


@triton.jit
def identity(x):
    return x


@triton.jit
def identity_grad(g):
    return g


# Arithmetic


@triton.jit
def add(a, b):
    return a + b


@triton.jit
def sub(a, b):
    return a - b


@triton.jit
def negated_grad(g):
    return -g


@triton.jit
def add_scaled(a, b, alpha):
    return a + b * alpha


@triton.jit
def scaled_grad(g, alpha):
    return g * alpha


@triton.jit
def mul(a, b):
    return a * b


@triton.jit
def mul_grad_a(g, b):
    return g * b


@triton.jit
def mul_grad_b(g, a):
    return g * a


@triton.jit
def div(a, b):
    return a / b


@triton.jit
def div_grad_a(g, b):
    return g / b


@triton.jit
def div_grad_b(g, a, b):
    return -g * ((a / b) / b)


@triton.jit
def fmod(a, b):
    return a % b


@triton.jit
def fmod_grad_b(g, a, b):
    return -g * trunc(a / b)


@triton.jit
def remainder(a, b):
    """The remainder with the sign of the divisor, as Python's ``%``."""
    r = a % b
    return tl.where((r != 0) & ((r < 0) != (b < 0)), r + b, r)


@triton.jit
def remainder_grad_b(g, a, b):
    return -g * floor_divide_float(a, b)


@triton.jit
def floor_divide_int(a, b):
    r = a % b
    return a // b - ((r != 0) & ((r < 0) != (b < 0))).to(a.dtype)


@triton.jit
def floor_divide_float(a, b):
    """Python's ``//``: from the exact remainder, so that a quotient that rounds up to a whole
    number is not taken for that number."""
    r = a % b
    quotient = (a - r) / b
    quotient = tl.where((r != 0) & ((r < 0) != (b < 0)), quotient - 1, quotient)
    floored = tl.floor(quotient)
    floored = tl.where(quotient - floored > 0.5, floored + 1, floored)
    return tl.where(b == 0, a / b, floored)


@triton.jit
def neg(x):
    return -x


@triton.jit
def abs(x):
    return tl.abs(x)


@triton.jit
def sign(x):
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def abs_grad(g, x):
    return g * sign(x)


@triton.jit
def zero_grad(g):
    """Zero also where g is NaN or infinite."""
    return tl.where(g == g, 0.0, 0.0)


@triton.jit
def second(x, source):
    return source


@triton.jit
def reciprocal(x):
    return 1 / x


@triton.jit
def reciprocal_grad(g, y):
    return -g * y * y


@triton.jit
def square(x):
    return x * x


@triton.jit
def square_grad(g, x):
    return 2 * g * x


@triton.jit
def pow_float(x, exponent):
    return pow(x, exponent)


@triton.jit
def pow_int(x, exponent):
    """Whole powers by repeated squaring; a negative one is 0 unless the base is 1 or -1."""
    y = x * 0 + 1
    base = x
    for bit in tl.static_range(6):
        y = tl.where((exponent >> bit) & 1 != 0, y * base, y)
        base = base * base
    ones = tl.where(x == 1, 1, tl.where(x + 1 == 0, 1 - 2 * (exponent & 1), 0))
    return tl.where(exponent < 0, ones, y)


@triton.jit
def pow_grad_x(g, x, exponent):
    return tl.where(exponent == 0, 0.0, g * exponent * pow(x, exponent - 1))


@triton.jit
def pow_grad_exponent(g, x, exponent, y):
    return tl.where((x == 0) & (exponent >= 0), 0.0, g * y * tl.log(x))


@triton.jit
def sqrt(x):
    return tl.sqrt(x)


@triton.jit
def sqrt_grad(g, y):
    return g / (2 * y)


@triton.jit
def root_grad(g, y):
    """Of the root of a sum of squares, which has the subgradient 0 at 0."""
    return tl.where(y == 0, 0.0, g / (2 * y))


@triton.jit
def rsqrt(x):
    return 1 / tl.sqrt(x)


@triton.jit
def rsqrt_grad(g, y):
    return -0.5 * g * y * y * y


# Exponentials and trigonometry


@triton.jit
def exp(x):
    return tl.exp(x)


@triton.jit
def exp_grad(g, y):
    return g * y


@triton.jit
def expm1_(x):
    return expm1(x)


@triton.jit
def expm1_grad(g, y):
    return g * (y + 1)


@triton.jit
def log(x):
    return tl.log(x)


@triton.jit
def log_grad(g, x):
    return g / x


@triton.jit
def log2(x):
    return tl.log2(x)


@triton.jit
def log2_grad(g, x):
    return g / (x * 0.6931471805599453)


@triton.jit
def log1p_(x):
    return log1p(x)


@triton.jit
def log1p_grad(g, x):
    return g / (x + 1)


@triton.jit
def sin(x):
    return tl.sin(x)


@triton.jit
def sin_grad(g, x):
    return g * tl.cos(x)


@triton.jit
def cos(x):
    return tl.cos(x)


@triton.jit
def cos_grad(g, x):
    return -g * tl.sin(x)


@triton.jit
def erf(x):
    return tl.erf(x)


@triton.jit
def erf_grad(g, x):
    return g * 1.1283791670955126 * tl.exp(-x * x)


# Activations


@triton.jit
def relu(x):
    return tl.where(x <= 0, 0, x)


@triton.jit
def relu_grad(g, y):
    return tl.where(y <= 0, 0, g)


@triton.jit
def leaky_relu(x, negative_slope):
    return tl.where(x > 0, x, x * negative_slope)


@triton.jit
def leaky_relu_grad(g, x, negative_slope):
    return tl.where(x > 0, g, g * negative_slope)


@triton.jit
def threshold(x, threshold, value):
    return tl.where(x <= threshold, value, x)


@triton.jit
def threshold_grad(g, x, threshold):
    return tl.where(x <= threshold, 0.0, g)


@triton.jit
def tanh_(x):
    return tanh(x)


@triton.jit
def tanh_grad(g, y):
    return g * (1 - y * y)


@triton.jit
def sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def sigmoid_grad(g, y):
    return g * (1 - y) * y


@triton.jit
def silu(x):
    return x / (1 + tl.exp(-x))


@triton.jit
def silu_grad(g, x):
    s = sigmoid(x)
    return g * s * (1 + x * (1 - s))


@triton.jit
def gelu(x):
    """Gaussian error linear unit (Hendrycks & Gimpel 2016), x times the normal CDF."""
    half = 0.5 * x
    return half + half * tl.erf(x * 0.7071067811865476)


@triton.jit
def gelu_grad(g, x):
    cdf = 0.5 + 0.5 * tl.erf(x * 0.7071067811865476)
    pdf = 0.3989422804014327 * tl.exp(-0.5 * x * x)
    return g * (cdf + x * pdf)


@triton.jit
def gelu_tanh(x):
    """The tanh approximation of GELU (Hendrycks & Gimpel 2016)."""
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


@triton.jit
def gelu_tanh_grad(g, x):
    t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))
    inner = 0.7978845608028654 * (1 + 0.134145 * x * x)
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)


@triton.jit
def elu(x, alpha):
    """Exponential linear unit (Clevert et al. 2015)."""
    return tl.where(x > 0, x, alpha * expm1(x))


@triton.jit
def elu_grad(g, x, alpha):
    # The exponential of 0 from 0 on, so that the second derivative is PyTorch's there, too.
    return tl.where(x <= 0, g * alpha * tl.exp(tl.where(x < 0, x, 0.0)), g)


@triton.jit
def softplus(x, beta, threshold):
    scaled = x * beta
    return tl.where(scaled > threshold, x, log1p(tl.exp(scaled)) / beta)


@triton.jit
def softplus_grad(g, x, beta, threshold):
    scaled = x * beta
    return tl.where(scaled > threshold, g, g * sigmoid(scaled))


@triton.jit
def logsigmoid(x):
    return tl.where(x < 0, x, 0.0) - log1p(tl.exp(-tl.abs(x)))


@triton.jit
def logsigmoid_grad(g, x):
    return g * sigmoid(-x)


# Rounding, selection, limits


@triton.jit
def floor(x):
    if x.dtype.is_floating():
        return tl.floor(x)
    else:
        return x


@triton.jit
def ceil(x):
    if x.dtype.is_floating():
        return tl.ceil(x)
    else:
        return x


@triton.jit
def trunc(x):
    if x.dtype.is_floating():
        return tl.where(x < 0, tl.ceil(x), tl.floor(x))
    else:
        return x


@triton.jit
def round(x):
    """To the nearest whole number, halves to the even one."""
    if x.dtype.is_floating():
        low = tl.floor(x)
        fraction = x - low
        odd = low - 2 * tl.floor(low * 0.5) == 1
        return tl.where((fraction > 0.5) | ((fraction == 0.5) & odd), low + 1, low)
    else:
        return x


@triton.jit
def clamp_min(x, low):
    return tl.where((x >= low) | (x != x), x, low)


@triton.jit
def clamp_min_grad(g, x, low):
    return tl.where(x >= low, g, 0.0)


@triton.jit
def clamp_min_grad_low(g, x, low):
    return tl.where(x < low, g, 0.0)


@triton.jit
def clamp_max(x, high):
    return tl.where((x <= high) | (x != x), x, high)


@triton.jit
def clamp_max_grad(g, x, high):
    return tl.where(x <= high, g, 0.0)


@triton.jit
def clamp_max_grad_high(g, x, high):
    return tl.where(x > high, g, 0.0)


@triton.jit
def clamp(x, low, high):
    """Where the limits are exchanged the upper one holds, as in PyTorch."""
    return clamp_max(clamp_min(x, low), high)


@triton.jit
def clamp_grad(g, x, low, high):
    return tl.where((x >= low) & (x <= high), g, 0.0)


@triton.jit
def clamp_grad_low(g, x, low, high):
    return tl.where((x < low) & (low < high), g, 0.0)


@triton.jit
def clamp_grad_high(g, x, low, high):
    return tl.where((x > high) | (high < low), g, 0.0)


@triton.jit
def atan2_(a, b):
    return atan2(a, b)


@triton.jit
def atan2_grad_a(g, a, b):
    squared = a * a + b * b
    return tl.where(squared == 0, 0.0, g * b / squared)


@triton.jit
def atan2_grad_b(g, a, b):
    squared = a * a + b * b
    return tl.where(squared == 0, 0.0, -g * a / squared)


@triton.jit
def maximum(a, b):
    return tl.where((a > b) | (a != a), a, b)


@triton.jit
def maximum_grad_a(g, a, b):
    return tl.where(a == b, g / 2, tl.where(a < b, 0.0, g))


@triton.jit
def maximum_grad_b(g, a, b):
    return tl.where(a == b, g / 2, tl.where(a > b, 0.0, g))


@triton.jit
def minimum(a, b):
    return tl.where((a < b) | (a != a), a, b)


@triton.jit
def where(condition, a, b):
    return tl.where(condition != 0, a, b)


@triton.jit
def where_grad_a(g, condition):
    return tl.where(condition != 0, g, 0)


@triton.jit
def where_grad_b(g, condition):
    return tl.where(condition != 0, 0, g)


@triton.jit
def masked_fill(x, mask, value):
    return tl.where(mask != 0, value, x)


@triton.jit
def masked_fill_grad(g, mask):
    return tl.where(mask != 0, 0, g)


@triton.jit
def masked_fill_grad_value(g, mask):
    return tl.where(mask != 0, g, 0)


# Comparisons and logic


@triton.jit
def eq(a, b):
    return a == b


@triton.jit
def ne(a, b):
    return a != b


@triton.jit
def lt(a, b):
    return a < b


@triton.jit
def le(a, b):
    return a <= b


@triton.jit
def gt(a, b):
    return a > b


@triton.jit
def ge(a, b):
    return a >= b


@triton.jit
def logical_not(x):
    return x == 0


@triton.jit
def logical_and(a, b):
    return (a != 0) & (b != 0)


@triton.jit
def logical_or(a, b):
    return (a != 0) | (b != 0)


@triton.jit
def logical_xor(a, b):
    return (a != 0) ^ (b != 0)


@triton.jit
def bitwise_not(x):
    return ~x


@triton.jit
def bitwise_and(a, b):
    return a & b


@triton.jit
def bitwise_or(a, b):
    return a | b


@triton.jit
def bitwise_xor(a, b):
    return a ^ b


@triton.jit
def signbit(x):
    if x.dtype.is_floating():  # also that of a zero or a NaN
        if x.dtype == tl.float64:
            return x.to(tl.int64, bitcast=True) < 0
        return x.to(tl.float32).to(tl.int32, bitcast=True) < 0
    return x < 0


@triton.jit
def isnan(x):
    return x != x


@triton.jit
def isinf(x):
    return tl.abs(x) == float("inf")


@triton.jit
def isfinite(x):
    return tl.abs(x) < float("inf")


# Pointwise losses of an input x and a target


@triton.jit
def squared_error(x, target):
    return (x - target) * (x - target)


@triton.jit
def squared_error_grad_x(g, x, target):
    return 2 * g * (x - target)


@triton.jit
def squared_error_grad_target(g, x, target):
    return -2 * g * (x - target)


@triton.jit
def absolute_error(x, target):
    return tl.abs(x - target)


@triton.jit
def absolute_error_grad_x(g, x, target):
    return g * sign(x - target)


@triton.jit
def absolute_error_grad_target(g, x, target):
    return -g * sign(x - target)


@triton.jit
def smooth_l1(x, target, beta):
    """Quadratic below beta, linear above (Girshick 2015)."""
    error = tl.abs(x - target)
    return tl.where(error < beta, 0.5 * error * error / beta, error - 0.5 * beta)


@triton.jit
def smooth_l1_grad_x(g, x, target, beta):
    difference = x - target
    # NaN is in neither of the linear parts.
    slope = tl.where(difference <= -beta, -1.0, difference / beta)
    return g * tl.where(difference >= beta, 1.0, slope)


@triton.jit
def smooth_l1_grad_target(g, x, target, beta):
    return -smooth_l1_grad_x(g, x, target, beta)


@triton.jit
def huber(x, target, delta):
    """Quadratic below delta, linear above (Huber 1964)."""
    error = tl.abs(x - target)
    return tl.where(error <= delta, 0.5 * error * error, delta * (error - 0.5 * delta))


@triton.jit
def huber_grad_x(g, x, target, delta):
    difference = x - target
    # The limits belong to the linear parts, so that the second derivative is 0 there.
    slope = tl.where(difference <= -delta, -delta, difference)
    return g * tl.where(difference >= delta, delta, slope)


@triton.jit
def huber_grad_target(g, x, target, delta):
    return -huber_grad_x(g, x, target, delta)


@triton.jit
def binary_cross_entropy(x, target):
    """Logarithms are held at -100 and above, as in PyTorch, so that the loss stays finite."""
    log_x = clamp_min(tl.log(x), -100.0)
    log_rest = clamp_min(log1p(-x), -100.0)
    return (target - 1) * log_rest - target * log_x


@triton.jit
def binary_cross_entropy_grad_x(g, x, target):
    return g * (x - target) / clamp_min((1 - x) * x, 1e-12)


@triton.jit
def binary_cross_entropy_grad_target(g, x):
    return g * (clamp_min(log1p(-x), -100.0) - clamp_min(tl.log(x), -100.0))


@triton.jit
def bce_with_logits(x, target):
    return (1 - target) * x + log1p(tl.exp(-tl.abs(x))) + clamp_min(-x, 0.0)


@triton.jit
def bce_with_logits_grad_x(g, x, target):
    return g * (sigmoid(x) - target)


@triton.jit
def bce_with_logits_grad_target(g, x):
    return -g * x


@triton.jit
def bce_with_logits_weighted(x, target, pos_weight):
    log_weight = (pos_weight - 1) * target + 1
    return (1 - target) * x + log_weight * (log1p(tl.exp(-tl.abs(x))) + clamp_min(-x, 0.0))


@triton.jit
def bce_with_logits_weighted_grad_x(g, x, target, pos_weight):
    weighted = pos_weight * target
    return g * ((weighted + 1 - target) * sigmoid(x) - weighted)


@triton.jit
def bce_with_logits_weighted_grad_target(g, x, pos_weight):
    negative = log1p(tl.exp(-tl.abs(x))) + clamp_min(-x, 0.0)
    return g * ((pos_weight - 1) * negative - x)


@triton.jit
def kl_div(x, target):
    """target * (log(target) - x), 0 where the target is 0."""
    return tl.where(target == 0, 0.0, target * (tl.log(target) - x))


@triton.jit
def kl_div_grad_x(g, target):
    return -g * target


@triton.jit
def kl_div_grad_target(g, x, target):
    return tl.where(target == 0, 0.0, g * (tl.log(target) + 1 - x))


@triton.jit
def kl_div_log_target(x, target):
    return tl.exp(target) * (target - x)


@triton.jit
def kl_div_log_target_grad_x(g, target):
    return -g * tl.exp(target)


@triton.jit
def kl_div_log_target_grad_target(g, x, target):
    return g * tl.exp(target) * (target - x + 1)
