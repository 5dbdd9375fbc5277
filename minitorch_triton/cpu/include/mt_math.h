/* Elementary functions of float and double.
 *
 * Every function is `static inline`.  Those named in the first part are free of branches and
 * calls, so that a loop over arrays that calls them is vectorised; -ffast-math is neither needed
 * nor allowed.  Infinities, NaN, subnormal numbers and signed zeros are right.  Those of the last
 * part call the C library, one number at a time.
 */
#ifndef MT_MATH_H
#define MT_MATH_H

#include "mt_types.h"

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

/* ---- the C library's ---- */

#define MT_LIBM1_F32_(name) MT_FN float mt_##name##_f32(float x) { return __builtin_##name##f(x); }
#define MT_LIBM1_F64_(name) MT_FN double mt_##name##_f64(double x) { return __builtin_##name(x); }
#define MT_LIBM1_(name) MT_LIBM1_F32_(name) MT_LIBM1_F64_(name)
#define MT_LIBM2_(name)                                                                          \
    MT_FN float mt_##name##_f32(float x, float y) { return __builtin_##name##f(x, y); }          \
    MT_FN double mt_##name##_f64(double x, double y) { return __builtin_##name(x, y); }

MT_LIBM1_(exp)
MT_LIBM1_(exp2)
MT_LIBM1_(exp10)
MT_LIBM1_(expm1)
MT_LIBM1_(log)
MT_LIBM1_(log2)
MT_LIBM1_(log10)
MT_LIBM1_(log1p)
MT_LIBM1_(sin)
MT_LIBM1_(cos)
MT_LIBM1_(tan)
MT_LIBM1_(asin)
MT_LIBM1_(acos)
MT_LIBM1_(atan)
MT_LIBM1_(sinh)
MT_LIBM1_(cosh)
MT_LIBM1_(tanh)
MT_LIBM1_(asinh)
MT_LIBM1_(acosh)
MT_LIBM1_(atanh)
MT_LIBM1_(erf)
MT_LIBM1_(erfc)
MT_LIBM1_(cbrt)
MT_LIBM1_(lgamma)
MT_LIBM1_(tgamma)
MT_LIBM1_(logb)
MT_LIBM1_(j0)
MT_LIBM1_(j1)
MT_LIBM1_(y0)
MT_LIBM1_(y1)
MT_LIBM2_(pow)
MT_LIBM2_(atan2)
MT_LIBM2_(hypot)
MT_LIBM2_(fmod)
MT_LIBM2_(remainder)
MT_LIBM2_(nextafter)

MT_FN float mt_rsqrt_f32(float x) { return 1.0f / __builtin_sqrtf(x); }
MT_FN double mt_rsqrt_f64(double x) { return 1.0 / __builtin_sqrt(x); }
MT_FN float mt_remf_f32(float x, float y) { return __builtin_fmodf(x, y); }
MT_FN double mt_remf_f64(double x, double y) { return __builtin_fmod(x, y); }

#define MT_WITH_INTEGER_(type, F, suffix)                                                        \
    MT_FN F mt_ldexp_##type(F x, int32_t n) { return __builtin_ldexp##suffix(x, n); }            \
    MT_FN F mt_scalbn_##type(F x, int32_t n) { return __builtin_ldexp##suffix(x, n); }           \
    MT_FN F mt_jn_##type(int32_t n, F x) { return __builtin_jn##suffix(n, x); }                  \
    MT_FN F mt_yn_##type(int32_t n, F x) { return __builtin_yn##suffix(n, x); }                  \
    MT_FN F mt_powi_##type(F x, int32_t n) { return mt_pow_##type(x, (F)n); }                    \
    MT_FN int32_t mt_ilogb_##type(F x) { return __builtin_ilogb##suffix(x); }                    \
    MT_FN int64_t mt_llrint_##type(F x) { return mt_##type##_to_i64(mt_rint_##type(x)); }        \
    MT_FN int64_t mt_llround_##type(F x) { return mt_##type##_to_i64(mt_round_##type(x)); }
MT_WITH_INTEGER_(f32, float, f)
MT_WITH_INTEGER_(f64, double, )

#endif
