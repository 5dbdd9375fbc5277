/* Largest errors of the float functions of mt_math.h over all 2^32 floats.
 *
 *     gcc -O3 -march=native -fno-math-errno -fno-trapping-math -D_GNU_SOURCE \
 *         -Iminitorch_triton/cpu/include tools/check_math.c -o check_math -lm
 *     ./check_math 1 exp log        # every float: two minutes a function
 *     ./check_math 97               # every 97th float, all functions
 *
 * The reference is the C library's function of double.  An error is in ulp of the exact result;
 * a result that is wrongly NaN, infinite or of the wrong sign is counted apart.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mt_math.h"

#define FUNCTIONS(F)                                                                             \
    F(exp) F(exp2) F(exp10) F(expm1) F(log) F(log2) F(log10) F(log1p) F(tanh) F(sigmoid) F(erf)  \
    F(sin) F(cos) F(tan) F(asin) F(acos) F(atan) F(sinh) F(cosh) F(asinh) F(acosh) F(atanh)      \
    F(cbrt) F(rsqrt)

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double rsqrt(double x) { return 1 / sqrt(x); }

enum { BLOCK = 4096 };
static float arguments[BLOCK], results[BLOCK];

#define DEFINE_LOOP(name)                                                                        \
    static void loop_##name(void) {                                                              \
        for (int i = 0; i < BLOCK; i++) results[i] = mt_##name##_f32(arguments[i]);              \
    }
FUNCTIONS(DEFINE_LOOP)

typedef struct {
    const char *name;
    void (*loop)(void);
    double (*exact)(double);
} function;
#define ENTRY(name) {#name, loop_##name, name},
static const function functions[] = {FUNCTIONS(ENTRY)};

/* The distance from the exact result by the gap between floats there; -1 for a wrong kind. */
static double error_of(float got, double exact) {
    const float rounded = (float)exact;
    if (isnan(got) || isnan(exact)) return isnan(got) && isnan(exact) ? 0 : -1;
    if (signbit(got) != signbit(rounded) || isinf(got) != isinf(rounded)) return -1;
    if (isinf(got)) return 0;
    int exponent;
    frexp(exact, &exponent);
    if (exact == 0 || exponent < -125) exponent = -125;
    return fabs(got - exact) / ldexp(1, exponent - 24);
}

static void check(const function *f, uint64_t stride) {
    double largest = 0;
    float at = 0;
    long wrong = 0;
    for (uint64_t start = 0; start < 1ull << 32; start += BLOCK * stride) {
        for (int i = 0; i < BLOCK; i++) arguments[i] = mt_bits_f32((uint32_t)(start + i * stride));
        f->loop();
        for (int i = 0; i < BLOCK; i++) {
            const double error = error_of(results[i], f->exact(arguments[i]));
            wrong += error < 0;
            if (error > largest) largest = error, at = arguments[i];
        }
    }
    printf("%-8s %.3f ulp at %a, %ld of the wrong kind\n", f->name, largest, at, wrong);
    fflush(stdout);
}

int main(int count, char **words) {
    const uint64_t stride = count > 1 ? strtoull(words[1], NULL, 10) : 97;
    for (size_t k = 0; k < sizeof functions / sizeof *functions; k++) {
        int chosen = count < 3;
        for (int j = 2; j < count; j++) chosen |= strcmp(words[j], functions[k].name) == 0;
        if (chosen) check(&functions[k], stride);
    }
}
