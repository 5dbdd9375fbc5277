/* Matrix products for tl.dot: C = A B or C += A B on strided operands, read where they lie.
 *
 *   void mt_gemm_<kind>(int64_t M, int64_t N, int64_t K,
 *                       const In *A, int64_t a_rs, int64_t a_cs,
 *                       const In *B, int64_t b_rs, int64_t b_cs,
 *                       Acc *C, int64_t c_rs, int64_t c_cs, int add, Acc *scratch);
 *
 * A is M x K, B is K x N, C is M x N; element (i, k) of A lies at A[i * a_rs + k * a_cs], likewise
 * the others. A stride of an operand may be 0 or negative. With `add` 0 the old content of C counts
 * for nothing. Nothing but the M x N elements of C is touched; it overlaps no operand. `scratch`
 * holds MT_GEMM_SCRATCH(Acc, M, K) elements of Acc, 64-byte aligned; the number never shrinks as M
 * or K grow, so that of a whole block serves every partial one.
 *
 *   void mt_gemm_<kind>_at(int64_t M, int64_t N, int64_t K,
 *                          const In *A, int64_t a_rs, int64_t a_cs, const int64_t *a_at,
 *                          const In *B, int64_t b_rs, int64_t b_cs, const int64_t *b_at,
 *                          Acc *C, int64_t c_rs, int64_t c_cs, int add, Acc *scratch);
 *
 * is the same with rows of A and columns of B anywhere: element (i, k) of A lies at
 * A[a_at[i] + k * a_cs], element (k, j) of B at B[k * b_rs + b_at[j]], and is zero where the table
 * holds MT_GEMM_NOWHERE. A table that is NULL stands for the stride. The scratch memory is that of
 * MT_GEMM_AT_SCRATCH(Acc, M, N, K).
 *
 * The kinds:  f32      float  -> float        f64       double -> double
 *             f16f32   fp16   -> float        bf16f32   bf16   -> float   (both uint16_t)
 *             i8i32    int8_t -> int32_t, wrapping
 *
 * This file declares the functions. A file that defines MT_GEMM_<KIND> before including
 * mt_gemm_template.h holds one of them; it is compiled once, and linked into every kernel that
 * uses it.
 */
#ifndef MT_GEMM_H
#define MT_GEMM_H
#include <stdint.h>
#include <string.h>

/* Bytes of a vector, and most rows of a register tile: a tile is MT_GEMM_MR x 2 vectors, which with
 * two vectors of B and one element of A fills the 16 (AVX-512: 32) registers. */
#if defined(__AVX512F__)
#define MT_GEMM_VECTOR 64
#define MT_GEMM_MR 14
#elif defined(__AVX__)
#define MT_GEMM_VECTOR 32
#define MT_GEMM_MR 6
#else
#define MT_GEMM_VECTOR 16
#define MT_GEMM_MR 6
#endif

/* Nominal depth of a panel of B, and most rows of a block of A. Depths are levelled: one may be up
 * to half as much again. */
#define MT_GEMM_KC 256
#define MT_GEMM_KC_MAX (MT_GEMM_KC + MT_GEMM_KC / 2)
#define MT_GEMM_MC 264
/* A copied row of A is longer by this, lest rows a power of two apart share a cache set. */
#define MT_GEMM_ROW_PAD 16

#define MT_GEMM_AT_MOST(a, b) ((a) < (b) ? (a) : (b))
/* A block of A, two panels of B, a tile of C, and a row to throw away. */
#define MT_GEMM_SCRATCH(Acc, M, K)                                                            \
  ((MT_GEMM_AT_MOST(M, MT_GEMM_MC) + 2 * MT_GEMM_MR) *                                        \
       (MT_GEMM_AT_MOST(K, MT_GEMM_KC_MAX) + MT_GEMM_ROW_PAD) +                               \
   2 * MT_GEMM_VECTOR / (int64_t)sizeof(Acc) *                                                \
       (2 * MT_GEMM_AT_MOST(K, MT_GEMM_KC_MAX) + MT_GEMM_MR + 1))

/* Besides, copies of A and B as deep as a panel. */
#define MT_GEMM_AT_SCRATCH(Acc, M, N, K) \
  (MT_GEMM_SCRATCH(Acc, M, K) + ((M) + (N)) * MT_GEMM_AT_MOST(K, MT_GEMM_KC))
#define MT_GEMM_NOWHERE INT64_MIN

#define MT_GEMM_DECLARE(kind, In, Acc)                                                         \
  __attribute__((visibility("hidden"))) void mt_gemm_##kind(                                   \
      int64_t M, int64_t N, int64_t K, const In *A, int64_t a_rs, int64_t a_cs, const In *B,   \
      int64_t b_rs, int64_t b_cs, Acc *C, int64_t c_rs, int64_t c_cs, int add, Acc *scratch);  \
  __attribute__((visibility("hidden"))) void mt_gemm_##kind##_at(                              \
      int64_t M, int64_t N, int64_t K, const In *A, int64_t a_rs, int64_t a_cs,                \
      const int64_t *a_at, const In *B, int64_t b_rs, int64_t b_cs, const int64_t *b_at,       \
      Acc *C, int64_t c_rs, int64_t c_cs, int add, Acc *scratch);
MT_GEMM_DECLARE(f32, float, float)
MT_GEMM_DECLARE(f64, double, double)
MT_GEMM_DECLARE(f16f32, uint16_t, float)
MT_GEMM_DECLARE(bf16f32, uint16_t, float)
MT_GEMM_DECLARE(i8i32, int8_t, int32_t)
#undef MT_GEMM_DECLARE

/* Clears the elements, of `size` bytes, of a matrix in some rows and columns. */
static inline void mt_gemm_clear(char *matrix, int64_t size, int64_t rs, int64_t cs, int64_t top,
                                 int64_t bottom, int64_t left, int64_t right) {
  for (int64_t i = top; i < bottom; i++)
    if (cs == 1)
      memset(matrix + (i * rs + left) * size, 0, (size_t)((right - left) * size));
    else
      for (int64_t j = left; j < right; j++) memset(matrix + (i * rs + j * cs) * size, 0, size);
}

/* The same but for a part of those rows and columns, which a product will overwrite. */
static inline __attribute__((unused)) void mt_gemm_clear_rest(
    void *matrix, int64_t size, int64_t rs, int64_t cs, int64_t top, int64_t bottom, int64_t left,
    int64_t right, int64_t part_top, int64_t part_bottom, int64_t part_left, int64_t part_right) {
  mt_gemm_clear(matrix, size, rs, cs, top, part_top, left, right);
  mt_gemm_clear(matrix, size, rs, cs, part_top, part_bottom, left, part_left);
  mt_gemm_clear(matrix, size, rs, cs, part_top, part_bottom, part_right, right);
  mt_gemm_clear(matrix, size, rs, cs, part_bottom, bottom, left, right);
}

#endif
