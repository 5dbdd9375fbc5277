/* Matrix products for tl.dot: C += A B on strided operands, read where they lie.
 *
 *   static void mt_gemm_<type>(int64_t M, int64_t N, int64_t K,
 *                              const In *A, int64_t a_rs, int64_t a_cs,
 *                              const In *B, int64_t b_rs, int64_t b_cs,
 *                              Acc *C, int64_t ldc, Acc *scratch);
 *
 * A is M x K, B is K x N; element (i, k) of A lies at A[i * a_rs + k * a_cs], likewise B; any
 * stride may be 0 or negative. C is row-major, its rows ldc >= N elements apart; nothing but its
 * M x N elements is touched. It overlaps no operand. `scratch` holds
 * mt_gemm_<type>_scratch(M, N, K) elements of Acc, 64-byte aligned; the number never shrinks as
 * M, N or K grow, so that of a whole block serves every partial one. mt_gemm_<type>_set, with the
 * same arguments, is C = A B: C need not be initialised.
 *
 * Define before including (each once) what the file uses:
 *   MT_GEMM_F32     float    -> float        MT_GEMM_F64     double -> double
 *   MT_GEMM_F16F32  fp16     -> float        MT_GEMM_BF16F32 bf16   -> float   (both uint16_t)
 *   MT_GEMM_I8I32   int8_t   -> int32_t, wrapping
 *
 * The loops are those of Goto and van de Geijn, "Anatomy of High-Performance Matrix
 * Multiplication" (2008), with one change: a panel of B is packed just before it is used, so it
 * goes from its place to the L1 cache and no further. A panel of B (MT_GEMM_KC rows) stays in
 * L1, a block of A (MT_GEMM_MC rows) in L2, a tile of C in registers.
 */
#ifndef MT_GEMM_H
#define MT_GEMM_H
#include <stdint.h>
#include <string.h>

/* Bytes of a vector, and rows of a register tile: a tile is MT_GEMM_MR x 2 vectors, which with
 * two vectors of B and one element of A fills the 16 (AVX-512: 32) registers. */
#if defined(__AVX512F__)
#define MT_GEMM_VECTOR 64
#define MT_GEMM_MR 12
#define MT_GEMM_MR_LOW 8
#elif defined(__AVX__)
#define MT_GEMM_VECTOR 32
#define MT_GEMM_MR 6
#define MT_GEMM_MR_LOW 5
#else
#define MT_GEMM_VECTOR 16
#define MT_GEMM_MR 6
#define MT_GEMM_MR_LOW 5
#endif

/* Nominal depth of a panel of B, and most rows of a block of A. */
#define MT_GEMM_KC 320
#define MT_GEMM_MC 264
/* B is read in place where each panel is used by no more tiles than fill this many rows. */
#define MT_GEMM_IN_PLACE_ROWS 24
/* Rows of A so many bytes apart (or a multiple) share sets of the caches; they are copied where
 * at least so many columns of B use the copy. */
#define MT_GEMM_CONFLICT_BYTES 2048
#define MT_GEMM_CONFLICT_COLUMNS 64

/* Shuffles of two vectors, by bytes of an element: ZIP interleaves the low (high) halves of each
 * 128-bit lane, LANES interleaves the low (high) half of the lanes. */
#if MT_GEMM_VECTOR == 64
#define MT_GEMM_ZIP_LOW_4 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define MT_GEMM_ZIP_HIGH_4 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define MT_GEMM_LANES_LOW_4 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23
#define MT_GEMM_LANES_HIGH_4 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31
#define MT_GEMM_ZIP_LOW_8 0, 8, 2, 10, 4, 12, 6, 14
#define MT_GEMM_ZIP_HIGH_8 1, 9, 3, 11, 5, 13, 7, 15
#define MT_GEMM_LANES_LOW_8 0, 1, 8, 9, 2, 3, 10, 11
#define MT_GEMM_LANES_HIGH_8 4, 5, 12, 13, 6, 7, 14, 15
#elif MT_GEMM_VECTOR == 32
#define MT_GEMM_ZIP_LOW_4 0, 8, 1, 9, 4, 12, 5, 13
#define MT_GEMM_ZIP_HIGH_4 2, 10, 3, 11, 6, 14, 7, 15
#define MT_GEMM_LANES_LOW_4 0, 1, 2, 3, 8, 9, 10, 11
#define MT_GEMM_LANES_HIGH_4 4, 5, 6, 7, 12, 13, 14, 15
#define MT_GEMM_ZIP_LOW_8 0, 4, 2, 6
#define MT_GEMM_ZIP_HIGH_8 1, 5, 3, 7
#define MT_GEMM_LANES_LOW_8 0, 1, 4, 5
#define MT_GEMM_LANES_HIGH_8 2, 3, 6, 7
#else
#define MT_GEMM_ZIP_LOW_4 0, 4, 1, 5
#define MT_GEMM_ZIP_HIGH_4 2, 6, 3, 7
#define MT_GEMM_LANES_LOW_4 0, 1, 2, 3
#define MT_GEMM_LANES_HIGH_4 0, 1, 2, 3
#define MT_GEMM_ZIP_LOW_8 0, 2
#define MT_GEMM_ZIP_HIGH_8 1, 3
#define MT_GEMM_LANES_LOW_8 0, 1
#define MT_GEMM_LANES_HIGH_8 0, 1
#endif
#if defined(__clang__)
#define MT_GEMM_SHUFFLE(I, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MT_GEMM_SHUFFLE(I, a, b, ...) __builtin_shuffle(a, b, (I){__VA_ARGS__})
#endif

#define MT_GEMM_INDEX_4 int32_t
#define MT_GEMM_INDEX_8 int64_t
#define MT_GEMM_CAT_(a, b) a##b
#define MT_GEMM_CAT(a, b) MT_GEMM_CAT_(a, b)

#define MT_GEMM_INLINE inline __attribute__((always_inline))
/* The vectors are written out, so that the higher levels of optimisation find nothing to do here
 * but take their time, which each kernel's first launch waits for. */
#if defined(__clang__)
#define MT_GEMM_PLAIN __attribute__((noinline))
#define MT_GEMM_KERNEL __attribute__((noinline))
#else
#define MT_GEMM_PLAIN __attribute__((noinline, optimize("O1")))
#define MT_GEMM_KERNEL __attribute__((noinline, optimize("O2")))
#endif

static inline int64_t mt_gemm_min(int64_t a, int64_t b) { return a < b ? a : b; }

/* How many tiles of MT_GEMM_MR_LOW rows, the rest being of MT_GEMM_MR, cover M rows with the fewest
 * to spare. */
static inline int64_t mt_gemm_low_tiles(int64_t M) {
  int64_t best = 0, spare = MT_GEMM_MR;
  for (int64_t low = 0; low < MT_GEMM_MR && spare; low++) {
    int64_t left = M - low * MT_GEMM_MR_LOW;
    int64_t over = left > 0 ? (MT_GEMM_MR - left % MT_GEMM_MR) % MT_GEMM_MR : -left;
    if (over < spare) best = low, spare = over;
    if (left <= 0) break;
  }
  return best;
}

#ifdef MT_GEMM_F32
#define MT_IN float
#define MT_ACC float
#define MT_LANE float
#define MT_BYTES 4
#define MT_GEMM mt_gemm_f32
#define MT_LOAD_SAME
#include "mt_gemm_template.h"
#endif

#ifdef MT_GEMM_F64
#define MT_IN double
#define MT_ACC double
#define MT_LANE double
#define MT_BYTES 8
#define MT_GEMM mt_gemm_f64
#define MT_LOAD_SAME
#include "mt_gemm_template.h"
#endif

#ifdef MT_GEMM_BF16F32
#define MT_IN uint16_t
#define MT_ACC float
#define MT_LANE float
#define MT_BYTES 4
#define MT_GEMM mt_gemm_bf16f32
#define MT_LOAD_BF16
#include "mt_gemm_template.h"
#endif

#ifdef MT_GEMM_F16F32
#define MT_IN uint16_t
#define MT_ACC float
#define MT_LANE float
#define MT_BYTES 4
#define MT_GEMM mt_gemm_f16f32
#define MT_LOAD_F16
#include "mt_gemm_template.h"
#endif

#ifdef MT_GEMM_I8I32
#define MT_IN int8_t
#define MT_ACC int32_t
#define MT_LANE uint32_t
#define MT_BYTES 4
#define MT_GEMM mt_gemm_i8i32
#define MT_LOAD_I8
#include "mt_gemm_template.h"
#endif

#endif
