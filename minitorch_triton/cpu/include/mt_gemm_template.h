/* One matrix product, for the types mt_gemm.h has set: MT_IN (operands), MT_ACC (accumulator),
 * MT_LANE (arithmetic), MT_GEMM (name) and one MT_LOAD_* (how an operand is converted). */

#define MT_(name) MT_GEMM_CAT(MT_GEMM, _##name)
#define MT_VEC MT_(vec)
#define MT_VL ((int64_t)(MT_GEMM_VECTOR / sizeof(MT_ACC)))
/* Columns in a full panel of B, and vectors that hold one k of the highest tile of A. */
#define MT_NR (2 * MT_VL)
#define MT_A_VECTORS ((MT_GEMM_MR + MT_VL - 1) / MT_VL)
/* Blocks are levelled: one may hold up to half as much again as its nominal size. */
#define MT_KC_MAX (MT_GEMM_KC + MT_GEMM_KC / 2)
/* A copied row of A is longer by this, lest rows a power of two apart share a cache set. */
#define MT_ROW_PAD 16

typedef MT_LANE MT_VEC __attribute__((vector_size(MT_GEMM_VECTOR), aligned(1), may_alias));
typedef MT_GEMM_CAT(MT_GEMM_INDEX_, MT_BYTES) MT_(index) __attribute__((vector_size(MT_GEMM_VECTOR)));
#define MT_SHUFFLE(kind, a, b) \
  MT_GEMM_SHUFFLE(MT_(index), a, b, MT_GEMM_CAT(MT_GEMM_##kind##_, MT_BYTES))

/* One vector of operand elements, converted. */
#if defined(MT_LOAD_SAME)
static inline MT_VEC MT_(load)(const MT_IN *p) { return *(const MT_VEC *)p; }
static inline MT_LANE MT_(load1)(const MT_IN *p) { return *p; }
#else
typedef MT_IN MT_(narrow)
    __attribute__((vector_size(MT_GEMM_VECTOR / sizeof(MT_ACC) * sizeof(MT_IN)), aligned(1), may_alias));
#if defined(MT_LOAD_BF16)
typedef uint32_t MT_(bits) __attribute__((vector_size(MT_GEMM_VECTOR)));
static inline MT_VEC MT_(load)(const MT_IN *p) {
  return (MT_VEC)(__builtin_convertvector(*(const MT_(narrow) *)p, MT_(bits)) << 16);
}
static inline MT_LANE MT_(load1)(const MT_IN *p) {
  uint32_t bits = (uint32_t)*p << 16;
  MT_LANE value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
#elif defined(MT_LOAD_I8)
static inline MT_VEC MT_(load)(const MT_IN *p) {
  return __builtin_convertvector(*(const MT_(narrow) *)p, MT_VEC);
}
static inline MT_LANE MT_(load1)(const MT_IN *p) { return (MT_LANE)*p; }
#elif defined(MT_LOAD_F16)
/* fp16 to float by integer arithmetic: the exponent is rebiased; infinity and NaN get the rest
 * of the way; a subnormal is an exact difference of two normal floats, so that it survives
 * flushing to zero. */
typedef uint32_t MT_(bits) __attribute__((vector_size(MT_GEMM_VECTOR)));
static inline MT_VEC MT_(load)(const MT_IN *p) {
  MT_(bits) half = __builtin_convertvector(*(const MT_(narrow) *)p, MT_(bits));
  MT_(bits) magnitude = (half & 0x7fff) << 13;
  MT_(bits) normal = magnitude + (112u << 23);
  normal += (MT_(bits))(magnitude >= 0x7c00u << 13) & (112u << 23);
  MT_(bits) subnormal = (MT_(bits))((MT_VEC)(magnitude + (113u << 23)) - 0x1p-14f);
  MT_(bits) small = (MT_(bits))(magnitude < 0x0400u << 13);
  return (MT_VEC)((small & subnormal) | (~small & normal) | (half & 0x8000) << 16);
}
static inline MT_LANE MT_(load1)(const MT_IN *p) {
  MT_IN lanes[MT_GEMM_VECTOR / sizeof(MT_ACC)] = {*p};
  return MT_(load)(lanes)[0];
}
#endif
#endif

/* C[i, 0:NV] += sum_k A[i, k] B[k, 0:NV] for MR rows and NV vectors held in registers. Rows from
 * `rows` on repeat the last one and are not stored. */
static inline __attribute__((always_inline)) void MT_(tile)(
    const int MR, const int NV, int64_t K, const MT_ACC *a, int64_t a_rs, int64_t a_cs,
    const MT_ACC *b, int64_t b_rs, MT_ACC *c, int64_t ldc, int64_t rows) {
  MT_VEC acc[MT_GEMM_MR][2] = {{{0}}};
  const MT_ACC *row[MT_GEMM_MR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {
    row[i] = a + (i < rows ? i : rows - 1) * a_rs;
    if (i < rows) __builtin_prefetch(c + i * ldc, 1);
  }
  for (int64_t k = 0, at = 0; k < K; k++, at += a_cs, b += b_rs) {
    MT_VEC b0 = *(const MT_VEC *)b, b1 = NV > 1 ? *(const MT_VEC *)(b + MT_VL) : b0;
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      MT_VEC broadcast = (MT_LANE)row[i][at] - (MT_VEC){0};
      acc[i][0] += broadcast * b0;
      if (NV > 1) acc[i][1] += broadcast * b1;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
    if (i < rows)
#pragma GCC unroll 2
      for (int v = 0; v < NV; v++) *(MT_VEC *)(c + i * ldc + v * MT_VL) += acc[i][v];
}

#define MT_TILE(name, MR, NV)                                                                   \
  static __attribute__((noinline)) void MT_(name)(                                              \
      int64_t K, const MT_ACC *a, int64_t a_rs, int64_t a_cs, const MT_ACC *b, int64_t b_rs,    \
      MT_ACC *c, int64_t ldc, int64_t rows) {                                                   \
    MT_(tile)(MR, NV, K, a, a_rs, a_cs, b, b_rs, c, ldc, rows);                                 \
  }
MT_TILE(tile_high_1, MT_GEMM_MR, 1)
MT_TILE(tile_high_2, MT_GEMM_MR, 2)
MT_TILE(tile_low_1, MT_GEMM_MR_LOW, 1)
MT_TILE(tile_low_2, MT_GEMM_MR_LOW, 2)
#undef MT_TILE

/* How many low tiles fill M rows best: the fewest with which high ones make up the rest. */
static inline int64_t MT_(low_tiles)(int64_t M) {
  const int64_t step = MT_GEMM_MR % MT_GEMM_MR_LOW ? MT_GEMM_MR_LOW / 2 : MT_GEMM_MR_LOW;
  int64_t low = 0;
  for (M = (M + step - 1) / step * step; (M - low * MT_GEMM_MR_LOW) % MT_GEMM_MR;) low++;
  return low;
}

/* Rows of the tile that starts with `left` rows to go, of which the last `low` tiles are low. */
static inline int64_t MT_(tile_rows)(int64_t left, int64_t low) {
  return left <= low * MT_GEMM_MR_LOW ? MT_GEMM_MR_LOW : MT_GEMM_MR;
}

/* A[0:M, 0:K] with adjacent rows to panels of one tile each, [K][rows of the tile]; 16 k at a
 * time, so that a line of A is still cached when the next tile wants the rest of it. */
static void MT_(pack_a)(int64_t M, int64_t K, int64_t low, const MT_IN *a, int64_t a_cs,
                        MT_ACC *packed) {
  for (int64_t k0 = 0; k0 < K; k0 += 16) {
    int64_t k_end = mt_gemm_min(k0 + 16, K);
    MT_ACC *panel = packed;
    for (int64_t i = 0, mr; i < M; i += mr, panel += mr * K + MT_A_VECTORS * MT_VL) {
      mr = MT_(tile_rows)(M - i, low);
      int64_t rows = mt_gemm_min(mr, M - i);
      for (int64_t k = k0; k < k_end; k++) {
        const MT_IN *from = a + i + k * a_cs;
        MT_ACC *to = panel + k * mr;
        if (k * a_cs + i + MT_A_VECTORS * MT_VL <= (K - 1) * a_cs + M)
          for (int64_t v = 0; v < MT_A_VECTORS; v++)
            *(MT_VEC *)(to + v * MT_VL) = MT_(load)(from + v * MT_VL);
        else
          for (int64_t r = 0; r < rows; r++) to[r] = (MT_ACC)MT_(load1)(from + r);
      }
    }
  }
}

/* A[0:M, 0:K] to rows of ld elements. */
static void MT_(copy_a)(int64_t M, int64_t K, const MT_IN *a, int64_t a_rs, int64_t a_cs,
                        MT_ACC *copy, int64_t ld) {
  for (int64_t i = 0; i < M; i++, a += a_rs, copy += ld) {
    int64_t k = 0;
    if (a_cs == 1)
      for (; k + MT_VL <= K; k += MT_VL) *(MT_VEC *)(copy + k) = MT_(load)(a + k);
    for (; k < K; k++) copy[k] = (MT_ACC)MT_(load1)(a + k * a_cs);
  }
}

/* Transposes VL vectors of VL elements: elements within 128-bit lanes first, then whole lanes, each
 * by rounds that interleave row i with the row half a group further on. */
static inline __attribute__((always_inline)) void MT_(transpose)(MT_VEC *rows) {
  enum { VL = MT_GEMM_VECTOR / sizeof(MT_ACC), GROUP = 16 / sizeof(MT_ACC), LANES = VL / GROUP };
  MT_VEC zipped[VL];
#pragma GCC unroll 2
  for (int round = 1; round < GROUP; round *= 2) {
#pragma GCC unroll 8
    for (int j = 0; j < VL / 2; j++) {
      int group = j / (GROUP / 2) * GROUP, i = j % (GROUP / 2);
      MT_VEC a = rows[group + i], b = rows[group + i + GROUP / 2];
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
      MT_VEC a = rows[i * GROUP + element], b = rows[(i + LANES / 2) * GROUP + element];
      zipped[2 * i * GROUP + element] = MT_SHUFFLE(LANES_LOW, a, b);
      zipped[(2 * i + 1) * GROUP + element] = MT_SHUFFLE(LANES_HIGH, a, b);
    }
#pragma GCC unroll 16
    for (int j = 0; j < VL; j++) rows[j] = zipped[j];
  }
}

/* B[0:K, 0:columns] to a panel of rows of `width` elements, whole vectors; what is put in the
 * columns from `columns` on is whatever is at hand. */
static void MT_(pack_b)(int64_t K, int64_t columns, int64_t width, const MT_IN *b, int64_t b_rs,
                        int64_t b_cs, MT_ACC *panel) {
  enum { VL = MT_GEMM_VECTOR / sizeof(MT_ACC) };
  int64_t k = 0;
  if (b_cs == 1) {
    for (; k < K && k * b_rs + width <= (K - 1) * b_rs + columns; k++)
      for (int64_t j = 0; j < width; j += VL)
        *(MT_VEC *)(panel + k * width + j) = MT_(load)(b + k * b_rs + j);
  } else if (b_rs == 1) {
    for (int64_t j = 0; j < width; j += VL) {
      const MT_IN *column[VL];
      for (int64_t i = 0; i < VL; i++) column[i] = b + mt_gemm_min(j + i, columns - 1) * b_cs;
      for (k = 0; k + VL <= K; k += VL) {
        MT_VEC rows[VL];
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) rows[i] = MT_(load)(column[i] + k);
        MT_(transpose)(rows);
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) *(MT_VEC *)(panel + (k + i) * width + j) = rows[i];
      }
    }
  }
  for (; k < K; k++)
    for (int64_t j = 0; j < width; j++)
      panel[k * width + j] = (MT_ACC)MT_(load1)(b + k * b_rs + mt_gemm_min(j, columns - 1) * b_cs);
}

static inline int64_t MT_(scratch)(int64_t M, int64_t N, int64_t K) {
  int64_t mc = mt_gemm_min(M, MT_GEMM_MC) + 2 * MT_GEMM_MR, kc = mt_gemm_min(K, MT_KC_MAX);
  (void)N;
  return mc * (kc + MT_ROW_PAD) + MT_NR * (kc + MT_GEMM_MR);
}

static void MT_GEMM(int64_t M, int64_t N, int64_t K, const MT_IN *A, int64_t a_rs, int64_t a_cs,
                    const MT_IN *B, int64_t b_rs, int64_t b_cs, MT_ACC *C, int64_t ldc,
                    MT_ACC *scratch) {
  if (M <= 0 || N <= 0 || K <= 0) return;
  int64_t k_blocks = (K + MT_GEMM_KC / 2) / MT_GEMM_KC, kc = k_blocks > 1 ? (K - 1) / k_blocks + 1 : K;
  int64_t m_blocks = (M - 1) / MT_GEMM_MC + 1, mc = (M - 1) / m_blocks + 1;
  mc = (mc + MT_GEMM_MR - 1) / MT_GEMM_MR * MT_GEMM_MR;
  MT_ACC *panel = scratch, *edge = panel + MT_NR * kc, *block = edge + MT_NR * MT_GEMM_MR;

  for (int64_t k0 = 0; k0 < K; k0 += kc)
    for (int64_t i0 = 0; i0 < M; i0 += mc) {
      int64_t depth = mt_gemm_min(kc, K - k0), height = mt_gemm_min(mc, M - i0);
      int64_t low = MT_(low_tiles)(height);
      const MT_IN *a = A + i0 * a_rs + k0 * a_cs;
      const MT_ACC *a_block = block;
      int64_t tile_rs = 1, tile_cs = 0;
      int panels = a_rs == 1 && a_cs != 1;
      if (panels) MT_(pack_a)(height, depth, low, a, a_cs, block);
#ifdef MT_LOAD_SAME
      else a_block = a, tile_rs = a_rs, tile_cs = a_cs;
#else
      else {
        tile_rs = depth + MT_ROW_PAD, tile_cs = 1;
        MT_(copy_a)(height, depth, a, a_rs, a_cs, block, tile_rs);
      }
#endif
      for (int64_t j0 = 0, width; j0 < N; j0 += width) {
        width = N - j0 > MT_VL ? MT_NR : MT_VL;
        int64_t columns = mt_gemm_min(width, N - j0);
        const MT_IN *b = B + k0 * b_rs + j0 * b_cs;
        const MT_ACC *b_panel = panel;
        int64_t panel_rs = width;
#ifdef MT_LOAD_SAME
        if (b_cs == 1 && columns == width && height <= MT_GEMM_IN_PLACE_ROWS)
          b_panel = b, panel_rs = b_rs;
        else
#endif
          MT_(pack_b)(depth, columns, width, b, b_rs, b_cs, panel);
        int fits = j0 + width <= ldc;
        const MT_ACC *a_tile = a_block;
        for (int64_t i = 0, mr; i < height; i += mr) {
          mr = MT_(tile_rows)(height - i, low);
          int64_t rows = mt_gemm_min(mr, height - i);
          MT_ACC *c = C + (i0 + i) * ldc + j0, *to = c;
          int64_t ld = ldc;
          if (!fits) {
            to = edge, ld = width;
            memset(edge, 0, rows * width * sizeof(MT_ACC));
          }
          if (panels) tile_cs = mr;
          (mr == MT_GEMM_MR ? width == MT_NR ? MT_(tile_high_2) : MT_(tile_high_1)
                            : width == MT_NR ? MT_(tile_low_2) : MT_(tile_low_1))(
              depth, a_tile, tile_rs, tile_cs, b_panel, panel_rs, to, ld, rows);
          a_tile += panels ? mr * depth + MT_A_VECTORS * MT_VL : mr * tile_rs;
          if (!fits)
            for (int64_t r = 0; r < rows; r++)
              for (int64_t j = 0; j < columns; j++) c[r * ldc + j] += edge[r * width + j];
        }
      }
    }
}

#undef MT_
#undef MT_VEC
#undef MT_VL
#undef MT_NR
#undef MT_A_VECTORS
#undef MT_KC_MAX
#undef MT_ROW_PAD
#undef MT_IN
#undef MT_ACC
#undef MT_LANE
#undef MT_BYTES
#undef MT_SHUFFLE
#undef MT_LOAD_SAME
#undef MT_LOAD_BF16
#undef MT_LOAD_F16
#undef MT_LOAD_I8
#undef MT_GEMM
