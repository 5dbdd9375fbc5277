/* Functions of CUDA's libdevice that are rarer than those of mt_math.h: rounding in a given
 * direction, bits of integers, special functions.  They run one element at a time. */
#ifndef MT_LIBDEVICE_H
#define MT_LIBDEVICE_H

#include <fenv.h>
#include <math.h>
#include "mt_math.h"

/* ---- rounding in a given direction ---- */

/* The operands are volatile so that the operation stays between the changes of the direction. */
#define MT_TOWARD_(name, R, X, Y, Z, expression)                                                 \
    __attribute__((unused)) static R mt_##name(X a, Y b, Z c, int direction) {                   \
        volatile X x = a;                                                                        \
        volatile Y y = b;                                                                        \
        volatile Z z = c;                                                                        \
        const int before = fegetround();                                                         \
        fesetround(direction);                                                                   \
        volatile R result = (R)(expression);                                                     \
        fesetround(before);                                                                      \
        (void)x, (void)y, (void)z;                                                               \
        return result;                                                                           \
    }
#define MT_TOWARD_ALL_(type, F, suffix)                                                          \
    MT_TOWARD_(toward_add_##type, F, F, F, F, x + y)                                             \
    MT_TOWARD_(toward_sub_##type, F, F, F, F, x - y)                                             \
    MT_TOWARD_(toward_mul_##type, F, F, F, F, x * y)                                             \
    MT_TOWARD_(toward_div_##type, F, F, F, F, x / y)                                             \
    MT_TOWARD_(toward_rcp_##type, F, F, F, F, 1 / x)                                             \
    MT_TOWARD_(toward_sqrt_##type, F, F, F, F, __builtin_sqrt##suffix(x))                        \
    MT_TOWARD_(toward_fma_##type, F, F, F, F, __builtin_fma##suffix(x, y, z))
MT_TOWARD_ALL_(f32, float, f)
MT_TOWARD_ALL_(f64, double, )
MT_TOWARD_(toward_f64_to_f32, float, double, int, int, x)
MT_TOWARD_(toward_i32_to_f32, float, int32_t, int, int, x)
MT_TOWARD_(toward_u32_to_f32, float, uint32_t, int, int, x)
MT_TOWARD_(toward_i64_to_f32, float, int64_t, int, int, x)
MT_TOWARD_(toward_u64_to_f32, float, uint64_t, int, int, x)
MT_TOWARD_(toward_i64_to_f64, double, int64_t, int, int, x)
MT_TOWARD_(toward_u64_to_f64, double, uint64_t, int, int, x)

/* ---- bits of integers ---- */

MT_FN int32_t mt_clz_i32(int32_t x) { return x ? __builtin_clz((uint32_t)x) : 32; }
MT_FN int32_t mt_clz_i64(int64_t x) { return x ? __builtin_clzll((uint64_t)x) : 64; }
MT_FN int32_t mt_reverse_bits_i32(int32_t x) {
    uint32_t u = (uint32_t)x;
    u = (u >> 1 & 0x55555555) | (u & 0x55555555) << 1;
    u = (u >> 2 & 0x33333333) | (u & 0x33333333) << 2;
    u = (u >> 4 & 0x0f0f0f0f) | (u & 0x0f0f0f0f) << 4;
    return (int32_t)__builtin_bswap32(u);
}
MT_FN int64_t mt_reverse_bits_i64(int64_t x) {
    const uint64_t low = (uint32_t)mt_reverse_bits_i32((int32_t)x);
    return (int64_t)(low << 32 | (uint32_t)mt_reverse_bits_i32((int32_t)((uint64_t)x >> 32)));
}
/* Each 4-bit digit of the selector names one of the eight bytes of x and y. */
MT_FN int32_t mt_byte_perm_i32(int32_t x, int32_t y, int32_t selector) {
    const uint64_t bytes = (uint64_t)(uint32_t)y << 32 | (uint32_t)x;
    uint32_t result = 0;
    for (int k = 0; k < 4; ++k)
        result |= (uint32_t)((bytes >> 8 * (selector >> 4 * k & 7)) & 255) << 8 * k;
    return (int32_t)result;
}
MT_FN int32_t mt_low_24_i32(int32_t x) { return (int32_t)((uint32_t)x << 8) >> 8; }
MT_FN double mt_high_word_f64(double x) {
    return mt_bits_f64(mt_f64_bits(x) & 0xffffffff00000000);
}

/* ---- special functions ---- */

MT_FN double mt_sinpi_f64(double x) {
    const double turn = remainder(x, 2);
    const double folded = fabs(turn) > 0.5 ? copysign(1, turn) - turn : turn;
    return sin(3.141592653589793 * folded);
}
MT_FN double mt_cospi_f64(double x) { return mt_sinpi_f64(0.5 - fabs(remainder(x, 2))); }

/* Halley's iteration on erfc, from the approximation 26.2.22 of Abramowitz and Stegun, Handbook of
 * Mathematical Functions; 0 <= y <= 1. */
__attribute__((unused)) static double mt_erfcinv_upper_(double y) {
    if (y == 0) return INFINITY;
    const double t = sqrt(-2 * log(y / 2));
    double x = (t - (2.30753 + 0.27061 * t) / (1 + t * (0.99229 + 0.04481 * t))) / sqrt(2);
    for (int k = 0; k < 4; ++k) {
        const double error = erfc(x) - y;
        x += error / (1.1283791670955126 * exp(-x * x) - x * error);
    }
    return x;
}
MT_FN double mt_erfcinv_f64(double y) {
    if (!(y >= 0 && y <= 2)) return NAN;
    return y <= 1 ? mt_erfcinv_upper_(y) : -mt_erfcinv_upper_(2 - y);
}
/* Near 0, where 1 - y would lose digits, the same iteration on erf. */
__attribute__((unused)) static double mt_erfinv_f64(double y) {
    if (fabs(y) > 0.5) return mt_erfcinv_f64(1 - y);
    double x = 0.886226925452758 * y;
    for (int k = 0; k < 4; ++k) {
        const double error = erf(x) - y;
        x -= error / (1.1283791670955126 * exp(-x * x) + x * error);
    }
    return x;
}
MT_FN double mt_normcdf_f64(double x) { return 0.5 * erfc(-0.7071067811865476 * x); }
MT_FN double mt_normcdfinv_f64(double p) { return -1.4142135623730951 * mt_erfcinv_f64(2 * p); }
/* exp(x^2) erfc(x); the rounding error of x^2 goes into the result's, and far out it is the
 * asymptotic series. */
__attribute__((unused)) static double mt_erfcx_f64(double x) {
    if (x > 25) {
        const double s = 1 / (2 * x * x);
        return 0.5641895835477563 / x * (1 - s * (1 - 3 * s * (1 - 5 * s)));
    }
    const double square = x * x, error = fma(x, x, -square);
    return exp(square) * (1 + error) * erfc(x);
}
/* Modified Bessel functions by their power series, all of whose terms are positive. */
__attribute__((unused)) static double mt_bessel_i_(double x, int order) {
    const double quarter = x * x / 4;
    double term = order ? fabs(x) / 2 : 1, sum = term;
    for (int k = 1; k < 2000 && term > sum * 1e-17; ++k) {
        term *= quarter / ((double)k * (k + order));
        sum += term;
    }
    return order && x < 0 ? -sum : sum;
}
MT_FN double mt_cyl_bessel_i0_f64(double x) { return mt_bessel_i_(x, 0); }
MT_FN double mt_cyl_bessel_i1_f64(double x) { return mt_bessel_i_(x, 1); }
MT_FN double mt_rhypot_f64(double x, double y) { return 1 / hypot(x, y); }
MT_FN double mt_norm3d_f64(double x, double y, double z) { return hypot(hypot(x, y), z); }
MT_FN double mt_rnorm3d_f64(double x, double y, double z) { return 1 / mt_norm3d_f64(x, y, z); }
MT_FN double mt_norm4d_f64(double x, double y, double z, double w) {
    return hypot(hypot(x, y), hypot(z, w));
}
MT_FN double mt_rnorm4d_f64(double x, double y, double z, double w) {
    return 1 / mt_norm4d_f64(x, y, z, w);
}
MT_FN double mt_rcbrt_f64(double x) { return 1 / cbrt(x); }

#endif
