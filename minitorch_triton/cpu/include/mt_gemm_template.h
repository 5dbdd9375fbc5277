/* One matrix product of mt_gemm.h, that of the kind which is defined: MT_GEMM_F32, MT_GEMM_F64,
 * MT_GEMM_F16F32, MT_GEMM_BF16F32 or MT_GEMM_I8I32.
 *
 * The loops are those of Goto and van de Geijn, "Anatomy of High-Performance Matrix
 * Multiplication" (2008), with two changes: a panel of B is packed just before it is used, or by the
 * first tile that uses it, so it goes from its place to the L1 cache and no further; and what lies
 * well enough is not packed but read in place. A panel of B (about MT_GEMM_KC rows) stays in L1, a
 * block of A (MT_GEMM_MC rows) in L2, a tile of C in registers.
 */
#include "mt_gemm.h"

/* The types of operands and accumulator, and in which type its lanes are computed. */
#if defined(MT_GEMM_F32)
#define MT_GEMM mt_gemm_f32
#define MT_GEMM_AT mt_gemm_f32_at
#define MT_IN float
#define MT_ACC float
#define MT_LANE float
#define MT_BYTES 4
#define MT_LOAD_SAME
#elif defined(MT_GEMM_F64)
#define MT_GEMM mt_gemm_f64
#define MT_GEMM_AT mt_gemm_f64_at
#define MT_IN double
#define MT_ACC double
#define MT_LANE double
#define MT_BYTES 8
#define MT_LOAD_SAME
#elif defined(MT_GEMM_BF16F32)
#define MT_GEMM mt_gemm_bf16f32
#define MT_GEMM_AT mt_gemm_bf16f32_at
#define MT_IN uint16_t
#define MT_ACC float
#define MT_LANE float
#define MT_BYTES 4
#define MT_LOAD_BF16
#elif defined(MT_GEMM_F16F32)
#define MT_GEMM mt_gemm_f16f32
#define MT_GEMM_AT mt_gemm_f16f32_at
#define MT_IN uint16_t
#define MT_ACC float
#define MT_LANE float
#define MT_BYTES 4
#define MT_LOAD_F16
#elif defined(MT_GEMM_I8I32)
#define MT_GEMM mt_gemm_i8i32
#define MT_GEMM_AT mt_gemm_i8i32_at
#define MT_IN int8_t
#define MT_ACC int32_t
#define MT_LANE uint32_t
#define MT_BYTES 4
#define MT_LOAD_I8
#endif

/* Rows of A so many bytes apart (or a multiple) share sets of the caches; they are copied where
 * at least so many columns of B use the copy. */
#define MT_CONFLICT_BYTES 2048
#define MT_CONFLICT_COLUMNS 129
/* Tiles of C are fetched ahead where the product is so deep that this costs little, or C so large
 * that it does not wait in the L2 cache. */
#define MT_ANNOUNCE_DEPTH 32
#define MT_ANNOUNCE_BYTES (512 << 10)

#define MT_INLINE static inline __attribute__((always_inline))
/* The vectors are written out: the higher levels of optimisation find nothing to do, but take their
 * time, which the first launch on a machine waits for. */
#if defined(__clang__)
#define MT_PLAIN static __attribute__((noinline))
#define MT_KERNEL static __attribute__((noinline))
#else
#define MT_PLAIN static __attribute__((noinline, optimize("O1")))
#define MT_KERNEL static __attribute__((noinline, optimize("O2")))
#endif

enum {
  VL = MT_GEMM_VECTOR / sizeof(MT_ACC), /* elements of a vector */
  NR = 2 * VL,                          /* columns of a full panel of B */
  MR = MT_GEMM_MR,
  A_VECTORS = (MR + VL - 1) / VL, /* that hold one k of the highest tile of A */
  FOURS = (MR + 3) / 4,           /* groups of four of its rows */
  LINE = 64 / sizeof(MT_ACC),     /* elements of a line of the caches */
};

typedef MT_LANE vec __attribute__((vector_size(MT_GEMM_VECTOR), aligned(1), may_alias));

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- Elements ----------------------------------------------------------------------------- */

/* One vector of operand elements, and one element, converted. */
#if defined(MT_LOAD_SAME)
MT_INLINE vec load(const MT_IN *p) { return *(const vec *)p; }
MT_INLINE MT_LANE load1(const MT_IN *p) { return *p; }
#else
typedef MT_IN narrow __attribute__((vector_size(VL * sizeof(MT_IN)), aligned(1), may_alias));
#if defined(MT_LOAD_BF16)
typedef uint32_t bits __attribute__((vector_size(MT_GEMM_VECTOR)));
MT_INLINE vec load(const MT_IN *p) {
  return (vec)(__builtin_convertvector(*(const narrow *)p, bits) << 16);
}
MT_INLINE MT_LANE load1(const MT_IN *p) {
  uint32_t word = (uint32_t)*p << 16;
  MT_LANE value;
  memcpy(&value, &word, sizeof value);
  return value;
}
#elif defined(MT_LOAD_I8)
MT_INLINE vec load(const MT_IN *p) { return __builtin_convertvector(*(const narrow *)p, vec); }
MT_INLINE MT_LANE load1(const MT_IN *p) { return (MT_LANE)*p; }
#elif defined(MT_LOAD_F16)
/* fp16 to float by integer arithmetic: the exponent is rebiased; infinity and NaN get the rest
 * of the way; a subnormal is an exact difference of two normal floats, so that it survives
 * flushing to zero. */
typedef uint32_t bits __attribute__((vector_size(MT_GEMM_VECTOR)));
MT_INLINE vec load(const MT_IN *p) {
  bits half = __builtin_convertvector(*(const narrow *)p, bits);
  bits magnitude = (half & 0x7fff) << 13;
  bits normal = magnitude + (112u << 23);
  normal += (bits)(magnitude >= 0x7c00u << 13) & (112u << 23);
  bits subnormal = (bits)((vec)(magnitude + (113u << 23)) - 0x1p-14f);
  bits small = (bits)(magnitude < 0x0400u << 13);
  return (vec)((small & subnormal) | (~small & normal) | (half & 0x8000) << 16);
}
MT_INLINE MT_LANE load1(const MT_IN *p) {
  MT_IN lanes[VL] = {*p};
  return load(lanes)[0];
}
#endif
#endif

/* ---- Tiles of C --------------------------------------------------------------------------- */

/* C[i, v] = sum_k A[i, k] B[k, v], or with `add` C[i, v] += ..., for `height` rows i and `width`
 * vectors v, all in registers. The last of the rows, whose number is even, may be missing: then it
 * is computed from the one before, and goes to `spare`. The rows from
 * `ahead` on, which the next tiles will want, are fetched ahead, and with `announce` C too. B is
 * copied to `packed`, unless that is NULL. */
MT_INLINE void tile(const int height, const int width, int64_t K, const MT_ACC *a, int64_t a_rs,
                    int64_t a_cs, const MT_ACC *b, int64_t b_rs, const MT_ACC *ahead,
                    int64_t ahead_rs, MT_ACC *packed, MT_ACC *c, int64_t c_rs, int64_t rows,
                    int add, int announce, MT_ACC *spare) {
  vec sum[MR][2] = {{{0}}};
  /* Every fourth row has a pointer; the strides reach the others from there. A pointer for each row
   * would not fit the registers. */
  int64_t one = a_rs * (int64_t)sizeof *a, three = 3 * one, step = a_cs * (int64_t)sizeof *a;
  const char *row[FOURS], *last_row = (const char *)(a + (rows - 1) * a_rs);
#pragma GCC unroll 4
  for (int i = 0; i < FOURS; i++) row[i] = (const char *)(a + 4 * i * a_rs);
  MT_ACC *last_c = rows < height ? spare : c + (height - 1) * c_rs;
  const MT_ACC *announced = c;
  if (announce)
#pragma GCC unroll 16
    for (int i = 0; i < height; i++, announced += c_rs) {
      __builtin_prefetch(announced, 1);
      if (width > 1) __builtin_prefetch(announced + 2 * VL - 1, 1);
    }
  for (int64_t k = 0; k < K; k++, b += b_rs) {
    /* Keeps the compiler from making a pointer for each row after all. */
    __asm__("" : "+r"(one), "+r"(three));
#pragma GCC unroll 4
    for (int i = 0; i < FOURS; i++) __asm__("" : "+r"(row[i]));
    vec b0 = *(const vec *)b, b1 = width > 1 ? *(const vec *)(b + VL) : b0;
    __builtin_prefetch(ahead, 0, 2);
    if (width * VL > LINE) __builtin_prefetch(ahead + LINE, 0, 2);
    ahead += ahead_rs;
    if (packed) {
      *(vec *)(packed + k * NR) = b0;
      *(vec *)(packed + k * NR + VL) = b1;
    }
#pragma GCC unroll 16
    for (int i = 0; i < height; i++) {
      const char *at = row[i / 4] + (i % 4 == 3 ? three : i % 4 * one);
      vec broadcast = *(const MT_LANE *)(i < height - 1 ? at : last_row) - (vec){0};
      sum[i][0] += broadcast * b0;
      if (width > 1) sum[i][1] += broadcast * b1;
    }
#pragma GCC unroll 4
    for (int i = 0; i < FOURS; i++) row[i] += step;
    last_row += step;
  }
  __asm__("" : "+r"(c)); /* Keeps the addresses of its rows from being computed before the loop. */
#pragma GCC unroll 16
  for (int i = 0; i < height; i++, c += c_rs) {
    vec *to = (vec *)(i < height - 1 ? c : last_c);
    if (add) sum[i][0] += to[0];
    if (add && width > 1) sum[i][1] += to[1];
    to[0] = sum[i][0];
    if (width > 1) to[1] = sum[i][1];
  }
}

typedef void tile_function(int64_t K, const MT_ACC *a, int64_t a_rs, int64_t a_cs, const MT_ACC *b,
                           int64_t b_rs, const MT_ACC *ahead, int64_t ahead_rs, MT_ACC *packed,
                           MT_ACC *c, int64_t c_rs, int64_t rows, int add, int announce,
                           MT_ACC *spare);
#define MT_TILE(name, height, width, packed)                                                     \
  MT_KERNEL void name(int64_t K, const MT_ACC *a, int64_t a_rs, int64_t a_cs, const MT_ACC *b,   \
                      int64_t b_rs, const MT_ACC *ahead, int64_t ahead_rs, MT_ACC *to_pack,      \
                      MT_ACC *c, int64_t c_rs, int64_t rows, int add, int announce,              \
                      MT_ACC *spare) {                                                           \
    (void)to_pack;                                                                               \
    tile(height, width, K, a, a_rs, a_cs, b, b_rs, ahead, ahead_rs, packed, c, c_rs, rows, add,  \
         announce, spare);                                                                       \
  }
#define MT_TILES(height)                    \
  MT_TILE(tile_##height##x1, height, 1, NULL) \
  MT_TILE(tile_##height##x2, height, 2, NULL)
#define MT_NAMES(height) {tile_##height##x1, tile_##height##x2},
MT_TILES(2) MT_TILES(4) MT_TILES(6)
#if MT_GEMM_MR == 14
MT_TILES(8) MT_TILES(10) MT_TILES(12) MT_TILES(14)
#endif
/* By half their height, less one, and their width, less one. */
static tile_function *const tiles[MR / 2][2] = {
  MT_NAMES(2) MT_NAMES(4) MT_NAMES(6)
#if MT_GEMM_MR == 14
  MT_NAMES(8) MT_NAMES(10) MT_NAMES(12) MT_NAMES(14)
#endif
};

/* The tile that packs, in a function of its own because the test would slow down the others. Only
 * a B that needs no conversion is read in place. */
#ifdef MT_LOAD_SAME
MT_TILE(tile_and_pack, MR, 2, to_pack)
#else
#define tile_and_pack NULL
#endif

/* Height of the next tile when `left` rows are to go: full ones, at the end two of about the same
 * height, or one. */
static inline int64_t tile_height(int64_t left) {
  if (left >= 2 * MR) return MR;
  return ((left > MR ? (left + 1) / 2 : left) + 1) / 2 * 2;
}

/* ---- Packing ------------------------------------------------------------------------------ */

/* Shuffles of two vectors, by bytes of an element: ZIP interleaves the low (high) halves of each
 * 128-bit lane, LANES interleaves the low (high) half of the lanes. */
#if MT_GEMM_VECTOR == 64
#define MT_ZIP_LOW_4 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define MT_ZIP_HIGH_4 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define MT_LANES_LOW_4 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23
#define MT_LANES_HIGH_4 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31
#define MT_ZIP_LOW_8 0, 8, 2, 10, 4, 12, 6, 14
#define MT_ZIP_HIGH_8 1, 9, 3, 11, 5, 13, 7, 15
#define MT_LANES_LOW_8 0, 1, 8, 9, 2, 3, 10, 11
#define MT_LANES_HIGH_8 4, 5, 12, 13, 6, 7, 14, 15
#elif MT_GEMM_VECTOR == 32
#define MT_ZIP_LOW_4 0, 8, 1, 9, 4, 12, 5, 13
#define MT_ZIP_HIGH_4 2, 10, 3, 11, 6, 14, 7, 15
#define MT_LANES_LOW_4 0, 1, 2, 3, 8, 9, 10, 11
#define MT_LANES_HIGH_4 4, 5, 6, 7, 12, 13, 14, 15
#define MT_ZIP_LOW_8 0, 4, 2, 6
#define MT_ZIP_HIGH_8 1, 5, 3, 7
#define MT_LANES_LOW_8 0, 1, 4, 5
#define MT_LANES_HIGH_8 2, 3, 6, 7
#else
#define MT_ZIP_LOW_4 0, 4, 1, 5
#define MT_ZIP_HIGH_4 2, 6, 3, 7
#define MT_LANES_LOW_4 0, 1, 2, 3
#define MT_LANES_HIGH_4 0, 1, 2, 3
#define MT_ZIP_LOW_8 0, 2
#define MT_ZIP_HIGH_8 1, 3
#define MT_LANES_LOW_8 0, 1
#define MT_LANES_HIGH_8 0, 1
#endif
#if defined(__clang__)
#define MT_SHUFFLE_(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MT_SHUFFLE_(a, b, ...) __builtin_shuffle(a, b, (lane_index){__VA_ARGS__})
#endif

#define MT_INDEX_4 int32_t
#define MT_INDEX_8 int64_t
#define MT_CAT_(a, b) a##b
#define MT_CAT(a, b) MT_CAT_(a, b)
typedef MT_CAT(MT_INDEX_, MT_BYTES) lane_index __attribute__((vector_size(MT_GEMM_VECTOR)));
#define MT_SHUFFLE(kind, a, b) MT_SHUFFLE_(a, b, MT_CAT(MT_##kind##_, MT_BYTES))

/* Transposes VL vectors of VL elements: elements within 128-bit lanes first, then whole lanes, each
 * by rounds that interleave row i with the row half a group further on. */
MT_INLINE void transpose(vec *rows) {
  enum { GROUP = 16 / sizeof(MT_ACC), LANES = VL / GROUP };
  vec zipped[VL];
#pragma GCC unroll 2
  for (int round = 1; round < GROUP; round *= 2) {
#pragma GCC unroll 8
    for (int j = 0; j < VL / 2; j++) {
      int group = j / (GROUP / 2) * GROUP, i = j % (GROUP / 2);
      vec a = rows[group + i], b = rows[group + i + GROUP / 2];
      zipped[group + 2 * i] = MT_SHUFFLE(ZIP_LOW, a, b);
      zipped[group + 2 * i + 1] = MT_SHUFFLE(ZIP_HIGH, a, b);
    }
#pragma GCC unroll 16
    for (int j = 0; j < VL; j++) rows[j] = zipped[j];
  }
#pragma GCC unroll 2
  for (int round = 1; round < LANES; round *= 2) {
#pragma GCC unroll 8
    for (int j = 0; j < VL / 2; j++) {
      int i = j / GROUP, element = j % GROUP;
      vec a = rows[i * GROUP + element], b = rows[(i + LANES / 2) * GROUP + element];
      zipped[2 * i * GROUP + element] = MT_SHUFFLE(LANES_LOW, a, b);
      zipped[(2 * i + 1) * GROUP + element] = MT_SHUFFLE(LANES_HIGH, a, b);
    }
#pragma GCC unroll 16
    for (int j = 0; j < VL; j++) rows[j] = zipped[j];
  }
}

/* Any matrix to rows of ld elements, one by one. */
MT_PLAIN void copy(int64_t rows, int64_t columns, const MT_IN *from, int64_t rs, int64_t cs,
                   MT_ACC *to, int64_t ld) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) to[i * ld + j] = (MT_ACC)load1(from + i * rs + j * cs);
}

/* A[0:M, 0:K] with adjacent rows to panels of one tile each, [K][rows of the tile]; 16 k at a
 * time, so that a line of A is still cached when the next tile wants the rest of it. */
MT_PLAIN void pack_a(int64_t M, int64_t K, const MT_IN *a, int64_t a_cs, MT_ACC *packed) {
  for (int64_t k0 = 0; k0 < K; k0 += 16) {
    int64_t k_end = smaller(k0 + 16, K);
    MT_ACC *panel = packed;
    for (int64_t i = 0, height; i < M; i += height, panel += height * K + A_VECTORS * VL) {
      height = tile_height(M - i);
      for (int64_t k = k0; k < k_end; k++) {
        const MT_IN *from = a + i + k * a_cs;
        MT_ACC *to = panel + k * height;
        if (k * a_cs + i + A_VECTORS * VL <= (K - 1) * a_cs + M)
          for (int64_t v = 0; v < A_VECTORS; v++) *(vec *)(to + v * VL) = load(from + v * VL);
        else
          copy(1, smaller(height, M - i), from, 0, 1, to, 0);
      }
    }
  }
}

/* A[0:M, 0:K] to rows of ld elements. */
MT_PLAIN void copy_a(int64_t M, int64_t K, const MT_IN *a, int64_t a_rs, int64_t a_cs, MT_ACC *to,
                     int64_t ld) {
  int64_t whole = a_cs == 1 ? K - K % VL : 0;
  for (int64_t i = 0; i < M; i++)
    for (int64_t k = 0; k < whole; k += VL) *(vec *)(to + i * ld + k) = load(a + i * a_rs + k);
  copy(M, K - whole, a + whole * a_cs, a_rs, a_cs, to + whole, ld);
}

/* B[0:K, 0:columns] to a panel of rows of `width` elements, whole vectors; what is put in the
 * columns from `columns` on is whatever is at hand. */
MT_PLAIN void pack_b(int64_t K, int64_t columns, int64_t width, const MT_IN *b, int64_t b_rs,
                     int64_t b_cs, MT_ACC *panel) {
  int64_t k = 0;
  if (b_cs == 1) {
    for (; k < K && k * b_rs + width <= (K - 1) * b_rs + columns; k++)
      for (int64_t j = 0; j < width; j += VL)
        *(vec *)(panel + k * width + j) = load(b + k * b_rs + j);
  } else if (b_rs == 1) {
    for (int64_t j = 0; j < width; j += VL) {
      const MT_IN *column[VL];
      for (int64_t i = 0; i < VL; i++) column[i] = b + smaller(j + i, columns - 1) * b_cs;
      vec rows[VL];
#ifdef MT_LOAD_BF16
      /* Pairs of neighbours, which have the size of a lane, are transposed before they are
       * converted: half the work. */
      for (k = 0; k + 2 * VL <= K; k += 2 * VL) {
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) rows[i] = *(const vec *)(column[i] + k);
        transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) {
          *(vec *)(panel + (k + 2 * i) * width + j) = (vec)((bits)rows[i] << 16);
          *(vec *)(panel + (k + 2 * i + 1) * width + j) = (vec)((bits)rows[i] & 0xffff0000);
        }
      }
#else
      for (k = 0; k + VL <= K; k += VL) {
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) rows[i] = load(column[i] + k);
        transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) *(vec *)(panel + (k + i) * width + j) = rows[i];
      }
#endif
    }
  }
  copy(K - k, columns, b + k * b_rs, b_rs, b_cs, panel + k * width, width);
}

/* Two full panels at once, of a B whose rows are contiguous: half as many short reads of its
 * rows. */
MT_PLAIN void pack_pair(int64_t K, const MT_IN *b, int64_t b_rs, MT_ACC *first) {
  MT_ACC *second = first + K * NR;
  for (int64_t k = 0; k < K; k++, b += b_rs, first += NR, second += NR) {
    __builtin_prefetch(b + 2 * NR, 0, 2);
    __builtin_prefetch(b + 3 * NR, 0, 2);
#pragma GCC unroll 2
    for (int64_t j = 0; j < NR; j += VL) {
      *(vec *)(first + j) = load(b + j);
      *(vec *)(second + j) = load(b + NR + j);
    }
  }
}

/* ---- The loops ---------------------------------------------------------------------------- */

/* Part of a tile of C to or from a buffer. */
MT_PLAIN void copy_c(int64_t rows, int64_t columns, const MT_ACC *from, int64_t from_rs,
                     int64_t from_cs, MT_ACC *to, int64_t to_rs, int64_t to_cs) {
  for (int64_t i = 0; i < rows; i++, from += from_rs, to += to_rs) {
    int64_t j = 0;
    if (from_cs == 1 && to_cs == 1)
#pragma GCC unroll 5
      for (int64_t part = 16; part; part /= 2)
        if (columns & part) memcpy(to + j, from + j, part * sizeof *to), j += part;
    for (; j < columns; j++) to[j * to_cs] = from[j * from_cs];
  }
}

/* A block of A as the tiles read it. */
typedef struct {
  const MT_ACC *at;
  int64_t rs, cs; /* strides within a tile, or */
  int panels;     /* whether each tile is packed, [K][height] */
} a_block;

static a_block place_a(int64_t M, int64_t N, int64_t K, const MT_IN *a, int64_t a_rs, int64_t a_cs,
                       MT_ACC *packed) {
  (void)N;
  if (a_rs == 1 && a_cs != 1) {
    pack_a(M, K, a, a_cs, packed);
    return (a_block){packed, 1, 0, 1};
  }
#ifdef MT_LOAD_SAME
  int conflict = a_rs * (int64_t)sizeof *a % MT_CONFLICT_BYTES == 0;
  if (!conflict || N < MT_CONFLICT_COLUMNS) return (a_block){a, a_rs, a_cs, 0};
#endif
  copy_a(M, K, a, a_rs, a_cs, packed, K + MT_GEMM_ROW_PAD);
  return (a_block){packed, K + MT_GEMM_ROW_PAD, 1, 0};
}

/* C = A B or C += A B for a block of A; `edge` holds a tile, `spare` a row of one. */
MT_PLAIN void block_product(int64_t M, int64_t N, int64_t K, a_block A, const MT_IN *B,
                            int64_t b_rs, int64_t b_cs, MT_ACC *C, int64_t c_rs, int64_t c_cs,
                            int add, MT_ACC *panel, MT_ACC *edge, MT_ACC *spare) {
  int64_t packed = 0; /* columns of B */
  int announce = K >= MT_ANNOUNCE_DEPTH || M * N * (int64_t)sizeof *C >= MT_ANNOUNCE_BYTES;
  for (int64_t j0 = 0, width; j0 < N; j0 += width) {
    width = N - j0 > VL ? NR : VL;
    int64_t columns = smaller(width, N - j0), panel_rs = width, ahead_rs = width;
    const MT_IN *b = B + j0 * b_cs;
    const MT_ACC *b_panel = panel, *ahead = panel;
    MT_ACC *to_pack = NULL;
    if (j0 < packed) {
      b_panel = panel + K * NR;
#ifdef MT_LOAD_SAME
    } else if (b_cs == 1 && columns == width && (width == NR || M < 2 * MR)) {
      /* The first tile reads B in place, and packs it for the others if they are many. What is
       * wanted next is to the right of this panel, or the first panel of the next K rows. */
      b_panel = b, panel_rs = b_rs;
      ahead = j0 + width < N ? b + width : B + K * b_rs, ahead_rs = b_rs;
      if (M >= 2 * MR) to_pack = panel;
#endif
    } else if (b_cs == 1 && N - j0 >= 2 * NR) {
      pack_pair(K, b, b_rs, panel);
      packed = j0 + 2 * NR;
    } else {
      pack_b(K, columns, width, b, b_rs, b_cs, panel);
    }
    int direct = columns == width && c_cs == 1;
    const MT_ACC *a = A.at;
    for (int64_t i = 0, height; i < M; i += height) {
      height = tile_height(M - i);
      int64_t rows = smaller(height, M - i);
      int64_t a_cs = A.panels ? height : A.cs;
      MT_ACC *c = C + i * c_rs + j0 * c_cs;
      if (!direct && add) copy_c(rows, columns, c, c_rs, c_cs, edge, width, 1);
      tile_function *run = to_pack ? tile_and_pack : tiles[height / 2 - 1][width == NR];
      run(K, a, A.rs, a_cs, b_panel, panel_rs, ahead, ahead_rs, to_pack, direct ? c : edge,
          direct ? c_rs : width, rows, add, announce, spare);
      if (!direct) copy_c(rows, columns, edge, width, 1, c, c_rs, c_cs);
      if (to_pack) b_panel = panel, panel_rs = width, to_pack = NULL;
      a += A.panels ? height * K + A_VECTORS * VL : height * A.rs;
    }
  }
}

void MT_GEMM(int64_t M, int64_t N, int64_t K, const MT_IN *A, int64_t a_rs, int64_t a_cs,
             const MT_IN *B, int64_t b_rs, int64_t b_cs, MT_ACC *C, int64_t c_rs, int64_t c_cs,
             int add, MT_ACC *scratch) {
  if (M <= 0 || N <= 0) return;
  if (K <= 0) {
    for (int64_t i = 0; i < M && !add; i++)
      for (int64_t j = 0; j < N; j++) C[i * c_rs + j * c_cs] = 0;
    return;
  }
  int64_t k_blocks = (K + MT_GEMM_KC / 2) / MT_GEMM_KC;
  int64_t kc = k_blocks > 1 ? (K - 1) / k_blocks + 1 : K;
  int64_t m_blocks = (M - 1) / MT_GEMM_MC + 1, mc = (M - 1) / m_blocks + 1;
  mc = (mc + MR - 1) / MR * MR;
  MT_ACC *panel = scratch, *edge = panel + 2 * NR * kc, *spare = edge + NR * MR,
         *block = spare + NR;
  for (int64_t k0 = 0; k0 < K; k0 += kc, add = 1)
    for (int64_t i0 = 0; i0 < M; i0 += mc) {
      int64_t depth = smaller(kc, K - k0), rows = smaller(mc, M - i0);
      a_block a = place_a(rows, N, depth, A + i0 * a_rs + k0 * a_cs, a_rs, a_cs, block);
      block_product(rows, N, depth, a, B + k0 * b_rs, b_rs, b_cs, C + i0 * c_rs, c_rs, c_cs, add,
                    panel, edge, spare);
    }
}

/* ---- Rows of A and columns of B anywhere -------------------------------------------------- */

/* The step of a table of n offsets that are evenly spaced; false where they are not. */
static int evenly_spaced(const int64_t *at, int64_t n, int64_t *step) {
  *step = n > 1 ? at[1] - at[0] : 0;
  int even = at[0] != MT_GEMM_NOWHERE;
  for (int64_t i = 1; i < n; i++) even &= at[i] - at[i - 1] == *step && at[i] != MT_GEMM_NOWHERE;
  return even;
}

/* n lines of `depth` elements from where the table says to adjacent ones. */
MT_PLAIN void copy_lines(int64_t n, int64_t depth, const MT_IN *from, const int64_t *at,
                         int64_t step, MT_IN *to) {
  for (int64_t i = 0; i < n; i++, to += depth) {
    if (at[i] == MT_GEMM_NOWHERE)
      memset(to, 0, (size_t)depth * sizeof *to);
    else if (step == 1)
      memcpy(to, from + at[i], (size_t)depth * sizeof *to);
    else
      for (int64_t k = 0; k < depth; k++) to[k] = from[at[i] + k * step];
  }
}

/* The same, transposed. */
MT_PLAIN void copy_across(int64_t n, int64_t depth, const MT_IN *from, const int64_t *at,
                          int64_t step, MT_IN *to) {
  for (int64_t k = 0; k < depth; k++, from += step, to += n)
    for (int64_t i = 0; i < n; i++) to[i] = at[i] == MT_GEMM_NOWHERE ? 0 : from[at[i]];
}

void MT_GEMM_AT(int64_t M, int64_t N, int64_t K, const MT_IN *A, int64_t a_rs, int64_t a_cs,
                const int64_t *a_at, const MT_IN *B, int64_t b_rs, int64_t b_cs,
                const int64_t *b_at, MT_ACC *C, int64_t c_rs, int64_t c_cs, int add,
                MT_ACC *scratch) {
  if (M <= 0 || N <= 0) return;
  if (a_at && evenly_spaced(a_at, M, &a_rs)) A += a_at[0], a_at = NULL;
  if (b_at && evenly_spaced(b_at, N, &b_cs)) B += b_at[0], b_at = NULL;
  if (K <= 0 || (!a_at && !b_at)) {
    MT_GEMM(M, N, K, A, a_rs, a_cs, B, b_rs, b_cs, C, c_rs, c_cs, add, scratch);
    return;
  }
  int64_t deepest = smaller(K, MT_GEMM_KC);
  MT_IN *rows = (MT_IN *)(scratch + MT_GEMM_SCRATCH(MT_ACC, M, K));
  MT_IN *columns = (MT_IN *)((MT_ACC *)rows + M * deepest);
  for (int64_t k = 0, depth; k < K; k += depth, A += depth * a_cs, B += depth * b_rs, add = 1) {
    depth = smaller(deepest, K - k);
    const MT_IN *a = A, *b = B;
    int64_t rs[2] = {a_rs, b_rs}, cs[2] = {a_cs, b_cs};
    if (a_at) copy_lines(M, depth, A, a_at, a_cs, rows), a = rows, rs[0] = depth, cs[0] = 1;
    if (b_at && b_rs == 1) {
      copy_lines(N, depth, B, b_at, 1, columns), b = columns, rs[1] = 1, cs[1] = depth;
    } else if (b_at) {
      copy_across(N, depth, B, b_at, b_rs, columns), b = columns, rs[1] = N, cs[1] = 1;
    }
    MT_GEMM(M, N, depth, a, rs[0], cs[0], b, rs[1], cs[1], C, c_rs, c_cs, add, scratch);
  }
}
