/* Numbers: conversions between formats, and integer arithmetic without undefined behaviour.
 *
 * Every function is `static inline` and free of branches, so that a loop over arrays that calls
 * it is vectorised.  Names follow the operations of Triton IR: mt_<operation>_<type>, where an
 * integer iN is the signed C type intN_t also for unsigned operations; a conversion is
 * mt_<from>_to_<to>.  Formats narrower than float are held as their bits.
 *
 * Integer arithmetic wraps.  Division by zero gives 0 and so does its remainder, the most
 * negative number divided by -1 wraps; a shift by the width or more moves every bit out.
 * Conversions from float to integer truncate and saturate, and NaN becomes 0.
 */
#ifndef MT_TYPES_H
#define MT_TYPES_H

#include <stdint.h>

#define MT_FN static inline __attribute__((always_inline, unused))

/* ---- bits ---- */

MT_FN uint32_t mt_f32_bits(float x) {
    uint32_t u;
    __builtin_memcpy(&u, &x, sizeof u);
    return u;
}
MT_FN float mt_bits_f32(uint32_t u) {
    float x;
    __builtin_memcpy(&x, &u, sizeof x);
    return x;
}
MT_FN uint64_t mt_f64_bits(double x) {
    uint64_t u;
    __builtin_memcpy(&u, &x, sizeof u);
    return u;
}
MT_FN double mt_bits_f64(uint64_t u) {
    double x;
    __builtin_memcpy(&x, &u, sizeof x);
    return x;
}

/* ---- formats narrower than float ---- */

/* The magnitude of x as the bits of a format with `mantissa` explicit bits and exponent bias
 * `bias`, to nearest, ties to even, as if the exponent had no upper end.  x must not be NaN. */
MT_FN uint32_t mt_encode_(float x, int mantissa, int bias) {
    const int shift = 23 - mantissa;
    const uint32_t magnitude = mt_f32_bits(x) & 0x7fffffff;
    const uint32_t odd = (magnitude >> shift) & 1;
    const uint32_t rounded = magnitude + ((1u << (shift - 1)) - 1) + odd;
    const uint32_t normal = (rounded - ((uint32_t)(127 - bias) << 23)) >> shift;
    /* The unit in the last place of this power of two is that of the format's subnormals: the
     * addition rounds. */
    const float unit = mt_bits_f32((uint32_t)(127 + 24 - bias - mantissa) << 23);
    const uint32_t subnormal = mt_f32_bits(mt_bits_f32(magnitude) + unit) - mt_f32_bits(unit);
    return magnitude < (uint32_t)(128 - bias) << 23 ? subnormal : normal;
}

/* The inverse for a finite magnitude. */
MT_FN float mt_decode_(uint32_t magnitude, int mantissa, int bias) {
    const float normal =
        mt_bits_f32((magnitude << (23 - mantissa)) + ((uint32_t)(127 - bias) << 23));
    const float unit = mt_bits_f32((uint32_t)(128 - bias - mantissa) << 23);
    const float subnormal = (float)(int32_t)magnitude * unit;
    return magnitude < 1u << mantissa ? subnormal : normal;
}

/* mt_encode_ towards zero. */
MT_FN uint32_t mt_encode_rtz_(float x, int mantissa, int bias) {
    const uint32_t nearest = mt_encode_(x, mantissa, bias);
    return nearest - (mt_decode_(nearest, mantissa, bias) > __builtin_fabsf(x));
}

MT_FN float mt_with_sign_(float magnitude, uint32_t sign_bit) {
    return mt_bits_f32(mt_f32_bits(magnitude) | sign_bit);
}

/* x rounded to float so that rounding the result once more, to at most 22 bits, is as good as
 * rounding x itself ("round to odd": an inexact result has its last bit set). */
MT_FN float mt_f64_to_f32_odd_(double x) {
    const float nearest = (float)x;
    const double magnitude = __builtin_fabs(x), rounded = __builtin_fabs((double)nearest);
    const uint32_t truncated = mt_f32_bits(nearest) - (rounded > magnitude);
    const uint32_t inexact = (rounded < magnitude) | (rounded > magnitude);
    return mt_bits_f32(truncated | inexact);
}

/* bfloat16 is the upper half of a float. */
MT_FN float mt_bf16_to_f32(uint16_t h) { return mt_bits_f32((uint32_t)h << 16); }
/* The code of a number that is one of the format already. */
MT_FN uint16_t mt_bf16_bits(float x) { return (uint16_t)(mt_f32_bits(x) >> 16); }
MT_FN uint16_t mt_f32_to_bf16(float x) {
    const uint32_t u = mt_f32_bits(x);
    const uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    return (uint16_t)(x == x ? rounded : (u >> 16) | 0x40);
}
MT_FN uint16_t mt_f32_to_bf16_rtz(float x) {
    const uint32_t u = mt_f32_bits(x);
    return (uint16_t)((u >> 16) | (x == x ? 0 : 0x40));
}

MT_FN float mt_f16_to_f32(uint16_t h) {
    const uint32_t magnitude = h & 0x7fff;
    const uint32_t u = mt_f32_bits(mt_decode_(magnitude, 10, 15));
    const uint32_t special = magnitude >= 0x7c00 ? 0x7f800000 : 0; /* inf or NaN */
    return mt_bits_f32(u | special | (uint32_t)(h & 0x8000) << 16);
}
MT_FN uint16_t mt_f32_to_f16(float x) {
    const uint32_t sign = (mt_f32_bits(x) >> 16) & 0x8000;
    uint32_t code = mt_encode_(x, 10, 15);
    code = code > 0x7c00 ? 0x7c00 : code;
    return (uint16_t)(sign | (x == x ? code : 0x7e00 | (mt_f32_bits(x) >> 13 & 0x1ff)));
}
MT_FN uint16_t mt_f32_to_f16_rtz(float x) {
    const uint32_t sign = (mt_f32_bits(x) >> 16) & 0x8000;
    uint32_t code = mt_encode_rtz_(x, 10, 15);
    code = code > 0x7bff ? 0x7bff : code;
    code = __builtin_fabsf(x) == __builtin_inff() ? 0x7c00 : code;
    return (uint16_t)(sign | (x == x ? code : 0x7e00 | (mt_f32_bits(x) >> 13 & 0x1ff)));
}

/* The 8-bit floats saturate at their largest number, infinities included, as the conversions of
 * the GPU that Triton uses do. */
#define MT_F8_FROM_F32_(name, mantissa, bias, largest, nan)                                      \
    MT_FN uint8_t mt_f32_to_##name(float x) {                                                    \
        const uint32_t sign = (mt_f32_bits(x) >> 24) & 0x80;                                     \
        uint32_t code = mt_encode_(x, mantissa, bias);                                           \
        code = code > largest ? largest : code;                                                  \
        return (uint8_t)(sign | (x == x ? code : nan));                                          \
    }                                                                                            \
    MT_FN uint8_t mt_f32_to_##name##_rtz(float x) {                                              \
        const uint32_t sign = (mt_f32_bits(x) >> 24) & 0x80;                                     \
        uint32_t code = mt_encode_rtz_(x, mantissa, bias);                                       \
        code = code > largest ? largest : code;                                                  \
        return (uint8_t)(sign | (x == x ? code : nan));                                          \
    }
MT_F8_FROM_F32_(f8e4m3fn, 3, 7, 0x7e, 0x7f)
MT_F8_FROM_F32_(f8e5m2, 2, 15, 0x7b, 0x7f)

/* The FNUZ formats have one zero; what would be its negative is their only NaN. */
#define MT_F8FNUZ_FROM_F32_(name, mantissa, bias, encode, suffix)                                \
    MT_FN uint8_t mt_f32_to_##name##suffix(float x) {                                            \
        const uint32_t sign = (mt_f32_bits(x) >> 24) & 0x80;                                     \
        uint32_t code = encode(x, mantissa, bias);                                               \
        code = code > 0x7f ? 0x7f : code;                                                        \
        code = code == 0 ? 0 : sign | code;                                                      \
        return (uint8_t)(x == x ? code : 0x80);                                                  \
    }
MT_F8FNUZ_FROM_F32_(f8e4m3fnuz, 3, 8, mt_encode_, )
MT_F8FNUZ_FROM_F32_(f8e4m3fnuz, 3, 8, mt_encode_rtz_, _rtz)
MT_F8FNUZ_FROM_F32_(f8e5m2fnuz, 2, 16, mt_encode_, )
MT_F8FNUZ_FROM_F32_(f8e5m2fnuz, 2, 16, mt_encode_rtz_, _rtz)

MT_FN float mt_f8e4m3fn_to_f32(uint8_t h) {
    const uint32_t magnitude = h & 0x7f;
    const float finite = mt_decode_(magnitude, 3, 7);
    return mt_with_sign_(magnitude == 0x7f ? __builtin_nanf("") : finite, (h & 0x80u) << 24);
}
MT_FN float mt_f8e5m2_to_f32(uint8_t h) { return mt_f16_to_f32((uint16_t)(h << 8)); }
/* The code of a number that is one of the format already: an infinity stays one, where a
 * conversion would saturate. */
MT_FN uint8_t mt_f8e5m2_bits(float x) { return (uint8_t)(mt_f32_to_f16(x) >> 8); }
MT_FN float mt_f8e4m3fnuz_to_f32(uint8_t h) {
    const float finite = mt_with_sign_(mt_decode_(h & 0x7f, 3, 8), (h & 0x80u) << 24);
    return h == 0x80 ? __builtin_nanf("") : finite;
}
MT_FN float mt_f8e5m2fnuz_to_f32(uint8_t h) {
    const float finite = mt_with_sign_(mt_decode_(h & 0x7f, 2, 16), (h & 0x80u) << 24);
    return h == 0x80 ? __builtin_nanf("") : finite;
}

/* The 4-bit float and the power of two of the microscaling formats. */
MT_FN float mt_e2m1_to_f32(uint8_t h) {
    const uint32_t exponent = (h >> 1) & 3, half = h & 1;
    const uint32_t normal = ((exponent + 126) << 23) | (half << 22);
    const uint32_t magnitude = exponent ? normal : (half ? 0x3f000000 : 0);
    return mt_bits_f32(magnitude | ((uint32_t)(h & 8) << 28));
}
MT_FN float mt_e8m0_to_f32(uint8_t h) {
    const uint32_t bits = h == 0 ? 0x00400000 : (uint32_t)h << 23;
    return mt_bits_f32(h == 255 ? 0x7fc00000 : bits);
}

MT_FN double mt_f32_to_f64(float x) { return x; }
MT_FN float mt_f64_to_f32(double x) { return (float)x; }

#define MT_NARROW_F64_(name, bits)                                                               \
    MT_FN double mt_##name##_to_f64(bits h) { return mt_##name##_to_f32(h); }                    \
    MT_FN bits mt_f64_to_##name(double x) { return mt_f32_to_##name(mt_f64_to_f32_odd_(x)); }    \
    MT_FN bits mt_f64_to_##name##_rtz(double x) {                                                \
        return mt_f32_to_##name##_rtz(mt_f64_to_f32_odd_(x));                                    \
    }
MT_NARROW_F64_(bf16, uint16_t)
MT_NARROW_F64_(f16, uint16_t)
MT_NARROW_F64_(f8e4m3fn, uint8_t)
MT_NARROW_F64_(f8e5m2, uint8_t)
MT_NARROW_F64_(f8e4m3fnuz, uint8_t)
MT_NARROW_F64_(f8e5m2fnuz, uint8_t)

/* ---- float to integer ---- */

/* Both ends of these ranges are numbers of the float type, so clamping is saturation. */
#define MT_TO_NARROW_INT_(from, F, to, I, low, high)                                             \
    MT_FN I mt_##from##_to_##to(F x) {                                                           \
        F clamped = x == x ? x : 0;                                                              \
        clamped = clamped < (F)(low) ? (F)(low) : clamped;                                       \
        clamped = clamped > (F)(high) ? (F)(high) : clamped;                                     \
        return (I)(int32_t)clamped;                                                              \
    }
MT_TO_NARROW_INT_(f32, float, i8, int8_t, INT8_MIN, INT8_MAX)
MT_TO_NARROW_INT_(f32, float, u8, uint8_t, 0, UINT8_MAX)
MT_TO_NARROW_INT_(f32, float, i16, int16_t, INT16_MIN, INT16_MAX)
MT_TO_NARROW_INT_(f32, float, u16, uint16_t, 0, UINT16_MAX)
MT_TO_NARROW_INT_(f64, double, i8, int8_t, INT8_MIN, INT8_MAX)
MT_TO_NARROW_INT_(f64, double, u8, uint8_t, 0, UINT8_MAX)
MT_TO_NARROW_INT_(f64, double, i16, int16_t, INT16_MIN, INT16_MAX)
MT_TO_NARROW_INT_(f64, double, u16, uint16_t, 0, UINT16_MAX)
MT_TO_NARROW_INT_(f64, double, i32, int32_t, INT32_MIN, INT32_MAX)

MT_FN int32_t mt_f32_to_i32(float x) {
    const int32_t largest = x >= 0x1p31f;
    float clamped = x == x ? x : 0;
    clamped = clamped < -0x1p31f ? -0x1p31f : clamped;
    clamped = largest ? 0 : clamped;
    return largest ? INT32_MAX : (int32_t)clamped;
}

/* No instruction of AVX2 converts to unsigned: halve the range by subtracting its middle. */
#define MT_TO_U32_(from, F)                                                                      \
    MT_FN uint32_t mt_##from##_to_u32(F x) {                                                     \
        const int largest = x >= (F)0x1p32;                                                      \
        F clamped = x > 0 ? x : 0;                                                               \
        clamped = largest ? 0 : clamped;                                                         \
        const int upper = clamped >= (F)0x1p31;                                                  \
        const int32_t low = (int32_t)(upper ? clamped - (F)0x1p31 : clamped);                    \
        const uint32_t result = (uint32_t)low + (upper ? 0x80000000u : 0);                       \
        return largest ? UINT32_MAX : result;                                                    \
    }
MT_TO_U32_(f32, float)
MT_TO_U32_(f64, double)

/* The integer part of |x| < 2^64, by shifting the significand: no instruction of AVX2 does. */
MT_FN uint64_t mt_integer_part_(double x) {
    const uint64_t u = mt_f64_bits(x) & 0x7fffffffffffffff;
    const int64_t exponent = (int64_t)(u >> 52) - 1023;
    const uint64_t significand = (u & 0xfffffffffffff) | 0x10000000000000;
    const int64_t left = exponent > 52 ? exponent - 52 : 0;
    const int64_t right = exponent < 52 ? 52 - exponent : 0;
    return (significand << (left & 63)) >> (right > 63 ? 63 : right);
}
MT_FN int64_t mt_f64_to_i64(double x) {
    const uint64_t part = mt_integer_part_(x);
    const int64_t value = (int64_t)(x < 0 ? 0 - part : part);
    int64_t result = x >= 0x1p63 ? INT64_MAX : value;
    result = x < -0x1p63 ? INT64_MIN : result;
    return x == x ? result : 0;
}
MT_FN uint64_t mt_f64_to_u64(double x) {
    const uint64_t positive = x > 0 ? mt_integer_part_(x) : 0;
    return x >= 0x1p64 ? UINT64_MAX : positive;
}
MT_FN int64_t mt_f32_to_i64(float x) { return mt_f64_to_i64(x); }
MT_FN uint64_t mt_f32_to_u64(float x) { return mt_f64_to_u64(x); }

/* ---- integer to float ---- */

#define MT_FROM_INT_(from, I)                                                                    \
    MT_FN float mt_##from##_to_f32(I x) { return (float)x; }                                     \
    MT_FN double mt_##from##_to_f64(I x) { return (double)x; }
MT_FROM_INT_(i8, int8_t)
MT_FROM_INT_(u8, uint8_t)
MT_FROM_INT_(i16, int16_t)
MT_FROM_INT_(u16, uint16_t)
MT_FROM_INT_(i32, int32_t)
MT_FN float mt_u32_to_f32(uint32_t x) { return (float)x; }
MT_FN double mt_u32_to_f64(uint32_t x) {
    return (double)(int32_t)(x ^ 0x80000000) + 0x1p31;
}

/* The halves of x become significands of doubles with a fixed exponent, 2^52 for the lower and
 * 2^84 for the upper half; their sum rounds once. */
MT_FN double mt_u64_to_f64(uint64_t x) {
    const double low = mt_bits_f64(0x4330000000000000 | (x & 0xffffffff));
    const double high = mt_bits_f64(0x4530000000000000 | (x >> 32));
    return (high - (0x1p84 + 0x1p52)) + low;
}
MT_FN double mt_i64_to_f64(int64_t x) {
    const uint64_t biased = (uint64_t)x ^ 0x8000000000000000;
    const double low = mt_bits_f64(0x4330000000000000 | (biased & 0xffffffff));
    const double high = mt_bits_f64(0x4530000000000000 | (biased >> 32));
    return (high - (0x1p84 + 0x1p63 + 0x1p52)) + low;
}

/* Beyond 53 bits the lowest eleven are folded into one, so that the double is exact and rounding
 * it to float rounds x once. */
MT_FN uint64_t mt_fold_low_bits_(uint64_t x) { return (x | ((x & 0x7ff) + 0x7ff)) & ~0x7ffull; }
MT_FN float mt_u64_to_f32(uint64_t x) {
    return (float)mt_u64_to_f64(x >> 53 ? mt_fold_low_bits_(x) : x);
}
MT_FN float mt_i64_to_f32(int64_t x) {
    const int wide = x > (1ll << 53) || x < -(1ll << 53);
    return (float)mt_i64_to_f64(wide ? (int64_t)mt_fold_low_bits_((uint64_t)x) : x);
}

/* ---- integer arithmetic ---- */

/* Multiplying by 1u keeps 16-bit factors from being promoted to a signed type. */
#define MT_INTEGER_(type, I, U, bits)                                                            \
    MT_FN I mt_addi_##type(I a, I b) { return (I)((U)a + (U)b); }                                \
    MT_FN I mt_subi_##type(I a, I b) { return (I)((U)a - (U)b); }                                \
    MT_FN I mt_muli_##type(I a, I b) { return (I)(1u * (U)a * (U)b); }                           \
    MT_FN I mt_absi_##type(I a) { return a < 0 ? (I)(0 - (U)a) : a; }                            \
    MT_FN I mt_shli_##type(I a, I n) {                                                           \
        return (U)n < bits ? (I)((U)a << (n & (bits - 1))) : 0;                                  \
    }                                                                                            \
    MT_FN I mt_shrui_##type(I a, I n) {                                                          \
        return (U)n < bits ? (I)((U)a >> (n & (bits - 1))) : 0;                                  \
    }                                                                                            \
    MT_FN I mt_shrsi_##type(I a, I n) {                                                          \
        return (I)(a >> ((U)n < bits ? n & (bits - 1) : bits - 1));                              \
    }                                                                                            \
    MT_FN I mt_maxsi_##type(I a, I b) { return a > b ? a : b; }                                  \
    MT_FN I mt_minsi_##type(I a, I b) { return a < b ? a : b; }                                  \
    MT_FN I mt_maxui_##type(I a, I b) { return (U)a > (U)b ? a : b; }                            \
    MT_FN I mt_minui_##type(I a, I b) { return (U)a < (U)b ? a : b; }                            \
    MT_FN I mt_remsi_##type(I a, I b) {                                                          \
        const I remainder = (I)((U)a - 1u * (U)mt_divsi_##type(a, b) * (U)b);                    \
        return b == 0 ? 0 : remainder;                                                           \
    }                                                                                            \
    MT_FN I mt_remui_##type(I a, I b) {                                                          \
        const I remainder = (I)((U)a - 1u * (U)mt_divui_##type(a, b) * (U)b);                    \
        return b == 0 ? 0 : remainder;                                                           \
    }

/* No vector unit divides integers.  A quotient that is not an integer differs from one by at
 * least 1/b, more than the rounding error of a float division whose significand has twice the
 * bits of the operands or, as for double and 32 bits, some more than their number; so the
 * truncated quotient is exact. */
#define MT_DIVIDE_(type, I, U, F)                                                                \
    MT_FN I mt_divsi_##type(I a, I b) {                                                          \
        if (__builtin_constant_p(b) && b > 0) return (I)(a / b);                                 \
        const F quotient = (F)a / (F)(b == 0 ? 1 : b);                                           \
        return b == 0 ? 0 : (I)(int32_t)quotient;                                                \
    }                                                                                            \
    MT_FN I mt_divui_##type(I a, I b) {                                                          \
        if (__builtin_constant_p(b) && b != 0) return (I)((U)a / (U)b);                          \
        const F quotient = (F)(U)a / (F)(U)(b == 0 ? 1 : b);                                     \
        return b == 0 ? 0 : (I)(int32_t)quotient;                                                \
    }
MT_DIVIDE_(i8, int8_t, uint8_t, float)
MT_DIVIDE_(i16, int16_t, uint16_t, float)

MT_FN int32_t mt_divsi_i32(int32_t a, int32_t b) {
    if (__builtin_constant_p(b) && b > 0) return a / b;
    const double quotient = (double)a / (double)(b == 0 ? 1 : b);
    const int32_t wrapped = (int32_t)(quotient == 0x1p31 ? -0x1p31 : quotient);
    return b == 0 ? 0 : wrapped;
}
MT_FN int32_t mt_divui_i32(int32_t a, int32_t b) {
    if (__builtin_constant_p(b) && b != 0) return (int32_t)((uint32_t)a / (uint32_t)b);
    const double divisor = mt_u32_to_f64(b == 0 ? 1 : (uint32_t)b);
    const double quotient = mt_u32_to_f64((uint32_t)a) / divisor;
    return b == 0 ? 0 : (int32_t)mt_f64_to_u32(quotient);
}
MT_FN int64_t mt_divsi_i64(int64_t a, int64_t b) {
    const int64_t divisor = b == 0 || b == -1 ? 1 : b;
    const int64_t quotient = a / divisor;
    return b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : quotient;
}
MT_FN int64_t mt_divui_i64(int64_t a, int64_t b) {
    const uint64_t quotient = (uint64_t)a / (b == 0 ? 1 : (uint64_t)b);
    return b == 0 ? 0 : (int64_t)quotient;
}

MT_INTEGER_(i8, int8_t, uint8_t, 8)
MT_INTEGER_(i16, int16_t, uint16_t, 16)
MT_INTEGER_(i32, int32_t, uint32_t, 32)
MT_INTEGER_(i64, int64_t, uint64_t, 64)

/* Quotients rounded up and down. */
#define MT_DIVIDE_ROUNDED_(type, I)                                                              \
    MT_FN I mt_ceildivsi_##type(I a, I b) {                                                      \
        return (I)(mt_divsi_##type(a, b) + (mt_remsi_##type(a, b) != 0 && (a < 0) == (b < 0)));  \
    }                                                                                            \
    MT_FN I mt_floordivsi_##type(I a, I b) {                                                     \
        return (I)(mt_divsi_##type(a, b) - (mt_remsi_##type(a, b) != 0 && (a < 0) != (b < 0)));  \
    }                                                                                            \
    MT_FN I mt_ceildivui_##type(I a, I b) {                                                      \
        return (I)(mt_divui_##type(a, b) + (mt_remui_##type(a, b) != 0));                        \
    }
MT_DIVIDE_ROUNDED_(i8, int8_t)
MT_DIVIDE_ROUNDED_(i16, int16_t)
MT_DIVIDE_ROUNDED_(i32, int32_t)
MT_DIVIDE_ROUNDED_(i64, int64_t)

/* The upper half of the product, of unsigned and of signed numbers. */
MT_FN int32_t mt_mulhui_i32(int32_t a, int32_t b) {
    return (int32_t)(((uint64_t)(uint32_t)a * (uint32_t)b) >> 32);
}
MT_FN int64_t mt_mulhui_i64(int64_t a, int64_t b) {
    const uint64_t a_low = (uint32_t)a, a_high = (uint64_t)a >> 32;
    const uint64_t b_low = (uint32_t)b, b_high = (uint64_t)b >> 32;
    const uint64_t middle = a_high * b_low + ((a_low * b_low) >> 32);
    const uint64_t carried = a_low * b_high + (uint32_t)middle;
    return (int64_t)(a_high * b_high + (middle >> 32) + (carried >> 32));
}

MT_FN int32_t mt_mulhiui_i32(int32_t a, int32_t b) { return mt_mulhui_i32(a, b); }
MT_FN int64_t mt_mulhiui_i64(int64_t a, int64_t b) { return mt_mulhui_i64(a, b); }
MT_FN int32_t mt_mulhsi_i32(int32_t a, int32_t b) { return (int32_t)(((int64_t)a * b) >> 32); }
MT_FN int64_t mt_mulhsi_i64(int64_t a, int64_t b) {
    const uint64_t negative = (a < 0 ? (uint64_t)b : 0) + (b < 0 ? (uint64_t)a : 0);
    return (int64_t)((uint64_t)mt_mulhui_i64(a, b) - negative);
}

/* ---- minimum and maximum of floats ---- */

/* maximumf and minimumf give NaN if either argument is NaN and order -0 before +0; maxnumf and
 * minnumf give the other argument. */
#define MT_MINMAX_(type, F, U, bits, from_bits)                                                  \
    MT_FN F mt_maximumf_##type(F a, F b) {                                                       \
        const F equal = from_bits(bits(a) & bits(b));                                            \
        const F larger = a > b ? a : b;                                                          \
        const F number = a == b ? equal : larger;                                                \
        return a == a ? number : a;                                                              \
    }                                                                                            \
    MT_FN F mt_minimumf_##type(F a, F b) {                                                       \
        const F equal = from_bits(bits(a) | bits(b));                                            \
        const F smaller = a < b ? a : b;                                                         \
        const F number = a == b ? equal : smaller;                                               \
        return a == a ? number : a;                                                              \
    }                                                                                            \
    MT_FN F mt_maxnumf_##type(F a, F b) {                                                        \
        const F larger = a > b ? a : b;                                                          \
        return b == b ? larger : a;                                                              \
    }                                                                                            \
    MT_FN F mt_minnumf_##type(F a, F b) {                                                        \
        const F smaller = a < b ? a : b;                                                         \
        return b == b ? smaller : a;                                                             \
    }                                                                                            \
    MT_FN F mt_clampf_none_##type(F x, F low, F high) {                                          \
        return mt_minnumf_##type(mt_maxnumf_##type(x, low), high);                               \
    }                                                                                            \
    MT_FN F mt_clampf_all_##type(F x, F low, F high) {                                           \
        return x == x ? mt_clampf_none_##type(x, low, high) : x;                                 \
    }
MT_MINMAX_(f32, float, uint32_t, mt_f32_bits, mt_bits_f32)
MT_MINMAX_(f64, double, uint64_t, mt_f64_bits, mt_bits_f64)

#endif
