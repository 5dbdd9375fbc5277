/* Elementary functions of float and double.
 *
 * Every function is `static inline`.  Those of float, and of double exp, exp2, expm1, rsqrt,
 * log, tanh and sigmoid, are free of branches and calls, so that a loop over arrays that calls
 * them is vectorised; -ffast-math is neither needed nor allowed.  The last part calls the C
 * library, one number at a time.  Infinities, NaN, subnormal numbers and signed zeros are right.
 *
 * Errors are below 2 ulp for every argument; sin, cos and tan reduce every float exactly enough.
 * The largest errors of the float functions, in ulp (tools/check_math.c; those with a star over
 * all 2^32 floats, the others over every 31st or 97th; pow, atan2 and hypot over random pairs):
 *
 *     exp* 0.90    exp2* 0.88   exp10 0.89   expm1* 1.59  log* 0.86    log2* 1.55   log10 1.57
 *     log1p* 1.44  tanh* 1.95   sigmoid 1.91 erf* 1.87    sin 1.54     cos 1.54     tan 0.55
 *     sinpi 1.51   cospi 1.50   asin 0.64    acos 0.61    atan 1.33    rsqrt 1.50   pow 0.53
 *     sinh, cosh, asinh, acosh, atanh, hypot, atan2 0.51  cbrt 0.53
 */
#ifndef MT_MATH_H
#define MT_MATH_H

#include "mt_types.h"

/* a * b + c in a polynomial: fused where the machine does that in one instruction. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__FP_FAST_FMA)
#define MT_FMA_f32(a, b, c) __builtin_fmaf(a, b, c)
#define MT_FMA_f64(a, b, c) __builtin_fma(a, b, c)
#else
#define MT_FMA_f32(a, b, c) ((a) * (b) + (c))
#define MT_FMA_f64(a, b, c) ((a) * (b) + (c))
#endif

#include "mt_polynomials.h"

/* ---- exact operations ---- */

#define MT_EXACT_(type, F, suffix, bits, from_bits, sign)                                        \
    MT_FN F mt_absf_##type(F x) { return __builtin_fabs##suffix(x); }                            \
    MT_FN F mt_sqrt_##type(F x) { return __builtin_sqrt##suffix(x); }                            \
    MT_FN F mt_fma_##type(F a, F b, F c) { return __builtin_fma##suffix(a, b, c); }              \
    MT_FN F mt_floor_##type(F x) { return __builtin_floor##suffix(x); }                          \
    MT_FN F mt_ceil_##type(F x) { return __builtin_ceil##suffix(x); }                            \
    MT_FN F mt_trunc_##type(F x) { return __builtin_trunc##suffix(x); }                          \
    MT_FN F mt_rint_##type(F x) { return __builtin_rint##suffix(x); }                            \
    MT_FN F mt_nearbyint_##type(F x) { return __builtin_rint##suffix(x); }                       \
    MT_FN F mt_roundeven_##type(F x) { return __builtin_rint##suffix(x); }                       \
    MT_FN F mt_copysign_##type(F x, F y) {                                                       \
        return from_bits((bits(x) & ~(sign)) | (bits(y) & (sign)));                              \
    }                                                                                            \
    /* Half away from zero. */                                                                   \
    MT_FN F mt_round_##type(F x) {                                                               \
        const F truncated = __builtin_trunc##suffix(x);                                          \
        const F away = __builtin_fabs##suffix(x - truncated) >= (F)0.5 ? 1 : 0;                  \
        return truncated + mt_copysign_##type(away, x);                                          \
    }                                                                                            \
    MT_FN F mt_fdim_##type(F x, F y) {                                                           \
        const F difference = x - y;                                                              \
        return x <= y ? 0 : difference;                                                          \
    }                                                                                            \
    MT_FN F mt_saturate_##type(F x) { return x > 0 ? (x < 1 ? x : 1) : 0; }                      \
    MT_FN int32_t mt_isnan_##type(F x) { return x != x; }                                        \
    MT_FN int32_t mt_isinf_##type(F x) {                                                         \
        return __builtin_fabs##suffix(x) == __builtin_inf##suffix();                             \
    }                                                                                            \
    MT_FN int32_t mt_isfinite_##type(F x) {                                                      \
        return __builtin_fabs##suffix(x) < __builtin_inf##suffix();                              \
    }                                                                                            \
    MT_FN int32_t mt_signbit_##type(F x) { return (bits(x) & (sign)) != 0; }

MT_EXACT_(f32, float, f, mt_f32_bits, mt_bits_f32, 0x80000000u)
MT_EXACT_(f64, double, , mt_f64_bits, mt_bits_f64, 0x8000000000000000u)

/* ---- exponential functions ---- */

/* Adding this rounds a small float to an integer, which is then in the lowest bits. */
#define MT_ROUND_F32_ 0x1.8p23f
#define MT_ROUND_F64_ 0x1.8p52
/* Likewise, with a float's bias added to the integer n: the bits shifted by 23 are those of 2^n. */
#define MT_ROUND_BIASED_F32_ (MT_ROUND_F32_ + 127.0f)

/* 2^n for -126 <= n <= 127, and -1022 <= n <= 1023. */
MT_FN float mt_pow2_f32_(int32_t n) { return mt_bits_f32((uint32_t)(n + 127) << 23); }
MT_FN double mt_pow2_f64_(int64_t n) { return mt_bits_f64((uint64_t)(n + 1023) << 52); }

/* y 2^n, rounded once, for 0.5 < y < 2 and an n up to twice as large. */
MT_FN float mt_scale_f32_(float y, int32_t n) {
    const int32_t half = n >> 1;
    return y * mt_pow2_f32_(half) * mt_pow2_f32_(n - half);
}
MT_FN double mt_scale_f64_(double y, int64_t n) {
    const int64_t half = (int64_t)((uint64_t)(n + 4096) >> 1) - 2048; /* AVX2 lacks n >> 1 */
    return y * mt_pow2_f64_(half) * mt_pow2_f64_(n - half);
}

/* x = n log(2) + r with |r| <= log(2)/2; n also in the lowest bits of `shifted`. */
typedef struct {
    float r;
    int32_t n;
    uint32_t shifted;
} mt_reduced_f32_;
MT_FN mt_reduced_f32_ mt_reduce_exp_f32_(float x) {
    const float shifted = MT_FMA_f32(x, 0x1.715476p+0f, MT_ROUND_F32_);
    const float n = shifted - MT_ROUND_F32_;
    const float r = MT_FMA_f32(n, -0x1.7f7d1cp-20f, MT_FMA_f32(n, -0x1.62e4p-1f, x));
    const uint32_t bits = mt_f32_bits(shifted);
    return (mt_reduced_f32_){r, (int32_t)(bits - mt_f32_bits(MT_ROUND_F32_)), bits};
}
typedef struct {
    double r;
    int64_t n;
} mt_reduced_f64_;
MT_FN mt_reduced_f64_ mt_reduce_exp_f64_(double x) {
    const double shifted = MT_FMA_f64(x, 0x1.71547652b82fep+0, MT_ROUND_F64_);
    const double n = shifted - MT_ROUND_F64_;
    const double r =
        MT_FMA_f64(n, -0x1.a39ef35793c76p-33, MT_FMA_f64(n, -0x1.62e42feep-1, x));
    return (mt_reduced_f64_){r, (int64_t)(mt_f64_bits(shifted) - mt_f64_bits(MT_ROUND_F64_))};
}

/* Beyond these arguments the result is 0 or infinity; NaN passes through. */
#define MT_CLAMP_(x, low, high) ((x) < (low) ? (low) : (x) > (high) ? (high) : (x))

/* exp(x) = y 2^n: y and, in the lowest bits of `shifted`, n; |x| < 2^21. */
typedef struct {
    float y;
    uint32_t shifted;
} mt_scaled_f32_;
MT_FN mt_scaled_f32_ mt_exp_scaled_f32_(float x) {
    const mt_reduced_f32_ a = mt_reduce_exp_f32_(x);
    const float y = MT_FMA_f32(MT_FMA_f32(mt_poly_exp_f32_(a.r), a.r, 1.0f), a.r, 1.0f);
    return (mt_scaled_f32_){y, a.shifted};
}
/* Adding n to the exponent scales by 2^n; a result that may be subnormal is first made 2^64 times
 * as large.  Below -104, where the result is 0 and which the smaller of two integers cuts off, all
 * bits are larger as unsigned integers. */
MT_FN float mt_exp_f32(float x) {
    const uint32_t lowest = mt_f32_bits(-104.0f), x_bits = mt_f32_bits(x);
    const mt_scaled_f32_ a = mt_exp_scaled_f32_(mt_bits_f32(x_bits < lowest ? x_bits : lowest));
    const uint32_t bits = mt_f32_bits(a.y) + (a.shifted << 23);
    const float normal = mt_bits_f32(bits), small = mt_bits_f32(bits + (64u << 23)) * 0x1p-64f;
    const float finite = x < -87.0f ? small : normal;
    return x <= 0x1.62e42ep+6f ? finite : x + __builtin_inff(); /* NaN for NaN */
}
/* exp(-x) for x >= 0 and NaN. */
MT_FN float mt_exp_minus_f32_(float x) {
    const mt_scaled_f32_ a = mt_exp_scaled_f32_(x > 104.0f ? -104.0f : -x);
    return a.y * mt_bits_f32((a.shifted << 23) + ((127u + 64u) << 23)) * 0x1p-64f;
}
MT_FN double mt_exp_f64(double x) {
    const mt_reduced_f64_ a = mt_reduce_exp_f64_(MT_CLAMP_(x, -746.0, 710.0));
    const double p = MT_FMA_f64(a.r * a.r, mt_poly_exp_f64_(a.r), a.r);
    return mt_scale_f64_(1.0 + p, a.n);
}

MT_FN float mt_exp2_f32(float x) {
    const float clamped = MT_CLAMP_(x, -151.0f, 129.0f);
    const float shifted = clamped + MT_ROUND_F32_;
    const float r = clamped - (shifted - MT_ROUND_F32_);
    const int32_t n = (int32_t)(mt_f32_bits(shifted) - mt_f32_bits(MT_ROUND_F32_));
    return mt_scale_f32_(MT_FMA_f32(r, mt_poly_exp2_f32_(r), 1.0f), n);
}
MT_FN double mt_exp2_f64(double x) {
    const double clamped = MT_CLAMP_(x, -1076.0, 1025.0);
    const double shifted = clamped + MT_ROUND_F64_;
    const double r = (clamped - (shifted - MT_ROUND_F64_)) * 0x1.62e42fefa39efp-1;
    const int64_t n = (int64_t)(mt_f64_bits(shifted) - mt_f64_bits(MT_ROUND_F64_));
    return mt_scale_f64_(1.0 + MT_FMA_f64(r * r, mt_poly_exp_f64_(r), r), n);
}

MT_FN float mt_exp10_f32(float x) {
    const float clamped = MT_CLAMP_(x, -46.0f, 39.0f);
    const float shifted = MT_FMA_f32(clamped, 0x1.a934f0p+1f, MT_ROUND_F32_);
    const float n = shifted - MT_ROUND_F32_;
    const float r = MT_FMA_f32(n, -0x1.3509f8p-18f, MT_FMA_f32(n, -0x1.344p-2f, clamped));
    const int32_t exponent = (int32_t)(mt_f32_bits(shifted) - mt_f32_bits(MT_ROUND_F32_));
    return mt_scale_f32_(MT_FMA_f32(r, mt_poly_exp10_f32_(r), 1.0f), exponent);
}

/* With s = 2^(n - 1): exp(x) - 1 = 2 (s (exp(r) - 1) + (s - 1/2)).  The sign is that of x, also
 * that of a zero. */
MT_FN float mt_expm1_f32(float x) {
    const mt_reduced_f32_ a = mt_reduce_exp_f32_(MT_CLAMP_(x, -18.0f, 89.0f));
    const float p = MT_FMA_f32(a.r * a.r, mt_poly_expm1_f32_(a.r), a.r);
    const float s = mt_pow2_f32_(a.n - 1);
    const float scaled = 2.0f * MT_FMA_f32(p, s, s - 0.5f);
    return mt_copysign_f32(a.n == 0 ? p : scaled, x);
}
MT_FN double mt_expm1_f64(double x) {
    const mt_reduced_f64_ a = mt_reduce_exp_f64_(MT_CLAMP_(x, -38.0, 710.0));
    const double p = MT_FMA_f64(a.r * a.r, mt_poly_exp_f64_(a.r), a.r);
    const double s = mt_pow2_f64_(a.n - 1);
    const double scaled = 2.0 * MT_FMA_f64(p, s, s - 0.5);
    return mt_copysign_f64(a.n == 0 ? p : scaled, x);
}

/* 1 / (1 + exp(-x)), also where exp(-x) overflows; what the sum loses by rounding is made up. */
MT_FN float mt_sigmoid_f32(float x) {
    const float e = mt_exp_minus_f32_(__builtin_fabsf(x));
    const float sum = 1.0f + e, lost = e - (sum - 1.0f);
    const float y = (x < 0 ? e : 1.0f) / sum;
    return MT_FMA_f32(-y, lost, y);
}
MT_FN double mt_sigmoid_f64(double x) {
    const double e = mt_exp_f64(-__builtin_fabs(x));
    const double sum = 1 + e, lost = e - (sum - 1);
    const double y = (x < 0 ? e : 1) / sum;
    return y - y * lost;
}

/* With |x| = n log(2)/2 + r, t = tanh(r) and s = 2^n, whose tanh(n log(2)/2) is (s - 1) / (s + 1),
 * the addition theorem makes ((s - 1) + (s + 1) t) / ((s + 1) + (s - 1) t), or, which has the smaller
 * error near 1, 1 + (2 t - 2) / ((s + 1) + (s - 1) t).  n is less than the nearest number of halves
 * of log(2) by a little: with the nearest one, both terms of the quotient would be rounded worst
 * just where the result is near 1/2. */
MT_FN float mt_tanh_f32(float x) {
    const uint32_t sign = mt_f32_bits(x) & 0x80000000u;
    const float magnitude = mt_bits_f32(mt_f32_bits(x) ^ sign);
    const float shifted = MT_FMA_f32(magnitude, 2.7f, MT_ROUND_BIASED_F32_);
    const float r = MT_FMA_f32(shifted - MT_ROUND_BIASED_F32_, -0x1.62e43p-2f, magnitude);
    const float r2 = r * r, t = MT_FMA_f32(r * r2, mt_poly_tanh_f32_(r2), r);
    const float s = mt_bits_f32(mt_f32_bits(shifted) << 23);
    const int far = magnitude > 0.65f;
    const float below = MT_FMA_f32(t, s - 1.0f, s + 1.0f);
    const float above = MT_FMA_f32(t, far ? 2.0f : s + 1.0f, far ? -2.0f : s - 1.0f);
    const float y = (far ? 1.0f : 0.0f) + above / below;
    return mt_with_sign_(magnitude > 9.25f ? 1.0f : y, sign);
}
MT_FN double mt_tanh_f64(double x) {
    const double magnitude = __builtin_fabs(x), x2 = x * x;
    const double near = MT_FMA_f64(magnitude * x2, mt_poly_tanh_f64_(x2), magnitude);
    const double e = mt_exp_f64(magnitude > 20.0 ? 40.0 : 2.0 * magnitude);
    const double far = 1.0 - 2.0 / (e + 1.0);
    return mt_copysign_f64(magnitude < 0.625 ? near : far, x);
}

/* 1 - exp(t) with t = log(1 - erf|x|), which is |x| times a polynomial; t = n log(2) + r. */
MT_FN float mt_erf_f32(float x) {
    const uint32_t sign = mt_f32_bits(x) & 0x80000000u;
    const float magnitude = mt_bits_f32(mt_f32_bits(x) ^ sign);
    const float near = magnitude * mt_poly_erf_f32_(magnitude);
    const float t = magnitude > 4.0f ? -18.0f : MT_FMA_f32(magnitude, -0x1.20dd76p+0f, -near);
    const float shifted = MT_FMA_f32(t, 0x1.715476p+0f, MT_ROUND_BIASED_F32_);
    const float r = MT_FMA_f32(shifted - MT_ROUND_BIASED_F32_, -0x1.62e43p-1f, t);
    const float p = MT_FMA_f32(r * r, mt_poly_expm1_f32_(r), r);
    const float s = mt_bits_f32(mt_f32_bits(shifted) << 23);
    return mt_with_sign_(MT_FMA_f32(-p, s, 1.0f - s), sign);
}

/* ---- logarithms ---- */

/* x = 2^e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), for finite x > 0. */
typedef struct {
    float e, f;
} mt_split_f32_;
MT_FN mt_split_f32_ mt_split_log_f32_(float x) {
    const int subnormal = x < 0x1p-126f;
    const uint32_t u = mt_f32_bits(subnormal ? x * 0x1p23f : x) - 0x3f3504f3;
    const float m = mt_bits_f32((u & 0x7fffff) + 0x3f3504f3);
    const float e = (float)((int32_t)u >> 23) - (subnormal ? 23.0f : 0.0f);
    return (mt_split_f32_){e, m - 1.0f};
}
typedef struct {
    double e, f;
} mt_split_f64_;
MT_FN mt_split_f64_ mt_split_log_f64_(double x) {
    const int subnormal = x < 0x1p-1022;
    const uint64_t u =
        mt_f64_bits(subnormal ? x * 0x1p52 : x) - 0x3fe6a09e667f3bcd + 0x3ff0000000000000;
    const double m = mt_bits_f64((u & 0xfffffffffffff) + 0x3fe6a09e667f3bcd);
    const double e = mt_bits_f64(0x4330000000000000 | (u >> 52)) - (0x1p52 + 1023.0);
    return (mt_split_f64_){e - (subnormal ? 52.0 : 0.0), m - 1.0};
}

/* A logarithm's value y where x is positive and finite, and what it is elsewhere. */
MT_FN float mt_log_special_f32_(float y, float x) {
    const float finite = x < __builtin_inff() ? y : x;
    const float below = x == 0 ? -__builtin_inff() : __builtin_nanf("");
    return x > 0 ? finite : below;
}
MT_FN double mt_log_special_f64_(double y, double x) {
    const double finite = x < __builtin_inf() ? y : x;
    const double below = x == 0 ? -__builtin_inf() : __builtin_nan("");
    return x > 0 ? finite : below;
}

/* e log(2) + log(1 + f). */
MT_FN float mt_log_sum_f32_(float e, float f) {
    const float f2 = f * f;
    const float tail = MT_FMA_f32(f2 * f, mt_poly_log_f32_(f), e * 0x1.7f7d1cp-20f);
    return MT_FMA_f32(e, 0x1.62e4p-1f, f + MT_FMA_f32(f2, -0.5f, tail));
}
MT_FN double mt_log_sum_f64_(double e, double f) {
    const double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
    const double tail = MT_FMA_f64(s, half + z * mt_poly_log_f64_(z), e * 0x1.a39ef35793c76p-33);
    return e * 0x1.62e42feep-1 - ((half - tail) - f);
}

MT_FN float mt_log_f32(float x) {
    const mt_split_f32_ a = mt_split_log_f32_(x);
    return mt_log_special_f32_(mt_log_sum_f32_(a.e, a.f), x);
}
MT_FN double mt_log_f64(double x) {
    const mt_split_f64_ a = mt_split_log_f64_(x);
    return mt_log_special_f64_(mt_log_sum_f64_(a.e, a.f), x);
}
MT_FN float mt_log2_f32(float x) {
    const mt_split_f32_ a = mt_split_log_f32_(x);
    return mt_log_special_f32_(MT_FMA_f32(a.f, mt_poly_log2_f32_(a.f), a.e), x);
}
MT_FN float mt_log10_f32(float x) {
    const mt_split_f32_ a = mt_split_log_f32_(x);
    const float tail = MT_FMA_f32(a.f, mt_poly_log10_f32_(a.f), a.e * 0x1.3509f8p-18f);
    return mt_log_special_f32_(MT_FMA_f32(a.e, 0x1.344p-2f, tail), x);
}

/* What 1 + x loses by rounding is added to f, scaled like it. */
MT_FN float mt_log1p_f32(float x) {
    const float u = 1.0f + x, lost = x - (u - 1.0f);
    const mt_split_f32_ a = mt_split_log_f32_(u);
    const float scale = mt_pow2_f32_(-(int32_t)(a.e > 30.0f ? 30.0f : a.e));
    const float y = mt_log_sum_f32_(a.e, MT_FMA_f32(lost, scale, a.f));
    return u == 1.0f ? x : mt_log_special_f32_(y, u);
}

/* ---- trigonometric functions ---- */

/* x = n pi/2 + r with |r| <= pi/4, and n modulo 4, for any x: Payne and Hanek's reduction
 * (1983).  x is an integer M of 24 bits times a power of two, whose 2/pi multiple modulo 4 comes
 * from a table; r is good to 2^-57 of a quadrant, and no float is nearer than 2^-33 to one's
 * boundary.  Floats below 2^-30 are their own sine. */
typedef struct {
    double r;
    int32_t n;
} mt_turn_;
MT_FN mt_turn_ mt_reduce_sin_f32_(float x) {
    const uint32_t u = mt_f32_bits(x) & 0x7fffffff;
    const int32_t exponent = (int32_t)(u >> 23) - (127 - 30);
    const int64_t entry = exponent < 0 ? 0 : exponent > 157 ? 157 : exponent;
    const double significand = (double)(int32_t)((u & 0x7fffff) | 0x800000);
    const double upper = significand * mt_two_over_pi_upper_[entry];
    const double lower = significand * mt_two_over_pi_lower_[entry];
    const double shifted = (upper + lower) + MT_ROUND_F64_;
    const double turn = (upper - (shifted - MT_ROUND_F64_)) + lower;
    const double r = turn * 0x1.921fb54442d18p+0;
    const int32_t n = (int32_t)(uint32_t)mt_f64_bits(shifted);
    return (mt_turn_){x < 0 ? -r : r, x < 0 ? -n : n};
}
/* sin(r + n pi/2). */
MT_FN float mt_sin_quadrant_(float r, int32_t n) {
    const float r2 = r * r;
    const float s = MT_FMA_f32(r * r2, mt_poly_sin_f32_(r2), r);
    const float c = MT_FMA_f32(r2, MT_FMA_f32(r2, mt_poly_cos_f32_(r2), -0.5f), 1.0f);
    const float y = n & 1 ? c : s;
    return mt_bits_f32(mt_f32_bits(y) ^ (uint32_t)(n & 2) << 30);
}
MT_FN float mt_sin_f32(float x) {
    const mt_turn_ a = mt_reduce_sin_f32_(x);
    const float y = mt_sin_quadrant_((float)a.r, a.n);
    return __builtin_fabsf(x) < 0x1p-30f ? x : y + (x - x);
}
MT_FN float mt_cos_f32(float x) {
    const mt_turn_ a = mt_reduce_sin_f32_(x);
    const float y = mt_sin_quadrant_((float)a.r, a.n + 1);
    return __builtin_fabsf(x) < 0x1p-30f ? 1.0f : y + (x - x);
}

/* Infinity minus itself makes the NaN that these give for infinity. */
MT_FN float mt_tan_f32(float x) {
    const mt_turn_ a = mt_reduce_sin_f32_(x);
    const double r2 = a.r * a.r;
    const double s = a.r * mt_poly_tan_sin_f64_(r2), c = mt_poly_tan_cos_f64_(r2);
    const double above = a.n & 1 ? -c : s, below = a.n & 1 ? s : c;
    return __builtin_fabsf(x) < 0x1p-30f ? x : (float)(above / below) + (x - x);
}

/* sin(pi x) and cos(pi x).  A float from 2^24 on is an even number, as good as 0. */
MT_FN float mt_sin_half_turns_(float x, int32_t first) {
    const float small = __builtin_fabsf(x) < 0x1p24f ? x : 0;
    const float n = __builtin_rintf(2.0f * small);
    const double r = (double)(small - 0.5f * n) * 0x1.921fb54442d18p+1;
    return mt_sin_quadrant_((float)r, (int32_t)n + first) + (x - x);
}
MT_FN float mt_sinpi_f32(float x) { return mt_sin_half_turns_(x, 0); }
MT_FN float mt_cospi_f32(float x) { return mt_sin_half_turns_(x, 1); }

/* asin(x) for |x| <= 1/2; beyond, asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)). */
typedef struct {
    double y;
    int far;
} mt_asin_parts_;
MT_FN mt_asin_parts_ mt_asin_parts_f32_(float magnitude) {
    const int far = magnitude > 0.5f;
    const float square = far ? 0.5f * (1.0f - magnitude) : magnitude * magnitude;
    const double z = far ? __builtin_sqrt((double)square) : (double)magnitude;
    return (mt_asin_parts_){z + z * (double)(square * mt_poly_asin_f32_(square)), far};
}
#define MT_HALF_PI_ 0x1.921fb54442d18p+0
MT_FN float mt_asin_f32(float x) {
    const mt_asin_parts_ a = mt_asin_parts_f32_(__builtin_fabsf(x));
    return mt_copysign_f32((float)(a.far ? MT_HALF_PI_ - 2 * a.y : a.y), x);
}
MT_FN float mt_acos_f32(float x) {
    const mt_asin_parts_ a = mt_asin_parts_f32_(__builtin_fabsf(x));
    const double near = MT_HALF_PI_ - (x < 0 ? -a.y : a.y);
    const double far = x < 0 ? 2 * (MT_HALF_PI_ - a.y) : 2 * a.y;
    return (float)(a.far ? far : near);
}
MT_FN float mt_atan_f32(float x) {
    const float magnitude = __builtin_fabsf(x);
    const int far = magnitude > 1.0f;
    const float z = far ? 1.0f / magnitude : magnitude, z2 = z * z;
    const float near = MT_FMA_f32(z * z2, mt_poly_atan_f32_(z2), z);
    const float beyond = 0x1.921fb6p+0f - (near + 0x1.777a5cp-25f);
    return mt_copysign_f32(far ? beyond : near, x);
}
/* In double, where no quotient of floats overflows. */
MT_FN float mt_atan2_f32(float y, float x) {
    const float a = __builtin_fabsf(x), b = __builtin_fabsf(y);
    const int steep = b > a;
    const double larger = steep ? b : a, smaller = steep ? a : b;
    double q = smaller / (larger == 0 ? 1 : larger);
    q = a == b && b == __builtin_inff() ? 1 : q;
    double angle = q * mt_poly_atan_f64_(q * q);
    angle = steep ? MT_HALF_PI_ - angle : angle;
    angle = mt_f32_bits(x) >> 31 ? 2 * MT_HALF_PI_ - angle : angle;
    return (x != x) | (y != y) ? x + y : mt_copysign_f32((float)angle, y);
}

/* ---- hyperbolic functions, in double; a float below 2^-12 is their value at it ---- */

#define MT_ODD_F32_(x, y) \
    (__builtin_fabsf(x) < 0x1p-12f ? (x) : mt_copysign_f32((float)(y), x))

MT_FN float mt_sinh_f32(float x) {
    const double e = mt_exp_f64(__builtin_fabsf(x));
    return MT_ODD_F32_(x, 0.5 * (e - 1 / e));
}
MT_FN float mt_cosh_f32(float x) {
    const double e = mt_exp_f64(__builtin_fabsf(x));
    return (float)(0.5 * (e + 1 / e));
}
MT_FN float mt_asinh_f32(float x) {
    const double a = __builtin_fabsf(x);
    return MT_ODD_F32_(x, mt_log_f64(a + __builtin_sqrt(a * a + 1)));
}
MT_FN float mt_acosh_f32(float x) {
    const double a = x >= 1.0f ? x : __builtin_nanf("");
    return (float)mt_log_f64(a + __builtin_sqrt(a * a - 1));
}
MT_FN float mt_atanh_f32(float x) {
    const double a = __builtin_fabsf(x);
    return MT_ODD_F32_(x, 0.5 * mt_log_f64((1 + a) / (1 - a)));
}

/* ---- powers ---- */

/* Two roundings: within 1.5 ulp. */
MT_FN float mt_rsqrt_f32(float x) { return 1.0f / __builtin_sqrtf(x); }
MT_FN double mt_rsqrt_f64(double x) { return 1.0 / __builtin_sqrt(x); }
MT_FN float mt_hypot_f32(float x, float y) {
    const double a = x, b = y;
    const int infinite = mt_isinf_f32(x) | mt_isinf_f32(y);
    return infinite ? __builtin_inff() : (float)__builtin_sqrt(a * a + b * b);
}

/* x^y for x >= 0, in double. */
MT_FN float mt_pow_magnitude_(float x, double y) {
    const mt_split_f64_ a = mt_split_log_f64_(x);
    const double s = a.f / (2.0 + a.f);
    double log2 = MT_FMA_f64(s, mt_poly_pow_log2_f64_(s * s), a.e);
    log2 = x == 0 ? -__builtin_inf() : log2;
    log2 = x == __builtin_inff() ? __builtin_inf() : log2;
    const double t = y * log2;
    const double clamped = MT_CLAMP_(t, -160.0, 160.0);
    const double shifted = clamped + MT_ROUND_F64_;
    const double r = clamped - (shifted - MT_ROUND_F64_);
    const int64_t n = (int64_t)(mt_f64_bits(shifted) - mt_f64_bits(MT_ROUND_F64_));
    const float power = (float)(mt_poly_pow_exp2_f64_(r) * mt_pow2_f64_(n));
    return x == 1.0f ? 1.0f : power;
}
MT_FN float mt_cbrt_f32(float x) {
    const float magnitude = mt_pow_magnitude_(__builtin_fabsf(x), 0x1.5555555555555p-2);
    return x == x ? mt_copysign_f32(magnitude, x) : x;
}
/* Signs and special numbers are those of IEEE 754. */
MT_FN float mt_pow_f32(float x, float y) {
    const float magnitude = __builtin_fabsf(x);
    const int integer = __builtin_rintf(y) == y;
    const int odd = integer & (__builtin_rintf(0.5f * y) != 0.5f * y);
    float power = mt_pow_magnitude_(magnitude, y);
    /* A choice by bits, since gcc does not vectorise one by a condition that is the same for all. */
    power = mt_with_sign_(power, mt_f32_bits(x) & (odd ? 0x80000000u : 0));
    power = (x < 0) & (magnitude < __builtin_inff()) & !integer ? __builtin_nanf("") : power;
    power = (x != x) | (y != y) ? x + y : power;
    return (x == 1.0f) | (y == 0) ? 1.0f : power;
}

/* ---- the C library's ---- */

/* Those of float in double, since the C library's are only good to a few ulp. */
#define MT_LIBM1_F32_(name)                                                                      \
    MT_FN float mt_##name##_f32(float x) { return (float)__builtin_##name(x); }
#define MT_LIBM1_F64_(name) MT_FN double mt_##name##_f64(double x) { return __builtin_##name(x); }
#define MT_LIBM1_(name) MT_LIBM1_F32_(name) MT_LIBM1_F64_(name)
#define MT_LIBM2_F64_(name)                                                                      \
    MT_FN double mt_##name##_f64(double x, double y) { return __builtin_##name(x, y); }
#define MT_LIBM2_(name)                                                                          \
    MT_FN float mt_##name##_f32(float x, float y) { return __builtin_##name##f(x, y); }          \
    MT_LIBM2_F64_(name)

/* No built-in function of clang. */
MT_FN double mt_exp10_f64(double x) { return __builtin_pow(10.0, x); }
MT_LIBM1_F64_(log2)
MT_LIBM1_F64_(log10)
MT_LIBM1_F64_(log1p)
MT_LIBM1_F64_(sin)
MT_LIBM1_F64_(cos)
MT_LIBM1_F64_(tan)
MT_LIBM1_F64_(asin)
MT_LIBM1_F64_(acos)
MT_LIBM1_F64_(atan)
MT_LIBM1_F64_(sinh)
MT_LIBM1_F64_(cosh)
MT_LIBM1_F64_(asinh)
MT_LIBM1_F64_(acosh)
MT_LIBM1_F64_(atanh)
MT_LIBM1_F64_(erf)
MT_LIBM1_(erfc)
MT_LIBM1_(lgamma)
MT_LIBM1_(tgamma)
MT_LIBM1_(logb)
MT_LIBM2_F64_(pow)
MT_LIBM2_F64_(atan2)
MT_LIBM2_F64_(hypot)
MT_LIBM2_(fmod)
MT_LIBM2_(remainder)
MT_LIBM2_(nextafter)

/* Bessel functions, which are no built-in functions of clang. */
double j0(double), j1(double), y0(double), y1(double), jn(int, double), yn(int, double);
#define MT_BESSEL_(name)                                                                         \
    MT_FN float mt_##name##_f32(float x) { return (float)name(x); }                              \
    MT_FN double mt_##name##_f64(double x) { return name(x); }
MT_BESSEL_(j0)
MT_BESSEL_(j1)
MT_BESSEL_(y0)
MT_BESSEL_(y1)

/* glibc's cbrt misses by up to 4 ulp. */
MT_FN double mt_cbrt_f64(double x) { return (double)__builtin_cbrtl(x); }
MT_FN float mt_remf_f32(float x, float y) { return __builtin_fmodf(x, y); }
MT_FN double mt_remf_f64(double x, double y) { return __builtin_fmod(x, y); }

#define MT_WITH_INTEGER_(type, F, suffix)                                                        \
    MT_FN F mt_ldexp_##type(F x, int32_t n) { return __builtin_ldexp##suffix(x, n); }            \
    MT_FN F mt_scalbn_##type(F x, int32_t n) { return __builtin_ldexp##suffix(x, n); }           \
    MT_FN F mt_jn_##type(int32_t n, F x) { return (F)jn(n, x); }                                 \
    MT_FN F mt_yn_##type(int32_t n, F x) { return (F)yn(n, x); }                                 \
    MT_FN F mt_powi_##type(F x, int32_t n) { return mt_pow_##type(x, (F)n); }                    \
    MT_FN int32_t mt_ilogb_##type(F x) { return __builtin_ilogb##suffix(x); }                    \
    MT_FN int64_t mt_llrint_##type(F x) { return mt_##type##_to_i64(mt_rint_##type(x)); }        \
    MT_FN int64_t mt_llround_##type(F x) { return mt_##type##_to_i64(mt_round_##type(x)); }
MT_WITH_INTEGER_(f32, float, f)
MT_WITH_INTEGER_(f64, double, )

#endif
