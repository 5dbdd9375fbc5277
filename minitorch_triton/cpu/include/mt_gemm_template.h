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
static MT_GEMM_INLINE MT_VEC MT_(load)(const MT_IN *p) { return *(const MT_VEC *)p; }
static MT_GEMM_INLINE MT_LANE MT_(load1)(const MT_IN *p) { return *p; }
#else
typedef MT_IN MT_(narrow)
    __attribute__((vector_size(MT_GEMM_VECTOR / sizeof(MT_ACC) * sizeof(MT_IN)), aligned(1), may_alias));
#if defined(MT_LOAD_BF16)
typedef uint32_t MT_(bits) __attribute__((vector_size(MT_GEMM_VECTOR)));
static MT_GEMM_INLINE MT_VEC MT_(load)(const MT_IN *p) {
  return (MT_VEC)(__builtin_convertvector(*(const MT_(narrow) *)p, MT_(bits)) << 16);
}
static MT_GEMM_INLINE MT_LANE MT_(load1)(const MT_IN *p) {
  uint32_t bits = (uint32_t)*p << 16;
  MT_LANE value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
#elif defined(MT_LOAD_I8)
static MT_GEMM_INLINE MT_VEC MT_(load)(const MT_IN *p) {
  return __builtin_convertvector(*(const MT_(narrow) *)p, MT_VEC);
}
static MT_GEMM_INLINE MT_LANE MT_(load1)(const MT_IN *p) { return (MT_LANE)*p; }
#elif defined(MT_LOAD_F16)
/* fp16 to float by integer arithmetic: the exponent is rebiased; infinity and NaN get the rest
 * of the way; a subnormal is an exact difference of two normal floats, so that it survives
 * flushing to zero. */
typedef uint32_t MT_(bits) __attribute__((vector_size(MT_GEMM_VECTOR)));
static MT_GEMM_INLINE MT_VEC MT_(load)(const MT_IN *p) {
  MT_(bits) half = __builtin_convertvector(*(const MT_(narrow) *)p, MT_(bits));
  MT_(bits) magnitude = (half & 0x7fff) << 13;
  MT_(bits) normal = magnitude + (112u << 23);
  normal += (MT_(bits))(magnitude >= 0x7c00u << 13) & (112u << 23);
  MT_(bits) subnormal = (MT_(bits))((MT_VEC)(magnitude + (113u << 23)) - 0x1p-14f);
  MT_(bits) small = (MT_(bits))(magnitude < 0x0400u << 13);
  return (MT_VEC)((small & subnormal) | (~small & normal) | (half & 0x8000) << 16);
}
static MT_GEMM_INLINE MT_LANE MT_(load1)(const MT_IN *p) {
  MT_IN lanes[MT_GEMM_VECTOR / sizeof(MT_ACC)] = {*p};
  return MT_(load)(lanes)[0];
}
#endif
#endif

/* C[i, v] = sum_k A[i, k] B[k, v], or with `add` C[i, v] += ..., for MR rows i and NV vectors v, all
 * in registers. Rows from `rows` on repeat the last one, and go to `spare` (two vectors). */
static MT_GEMM_INLINE void MT_(tile)(
    const int MR, const int NV, int64_t K, const MT_ACC *a, int64_t a_rs, int64_t a_cs,
    const MT_ACC *b, int64_t b_rs, MT_ACC *c, int64_t ldc, int64_t rows, int add, MT_ACC *spare) {
  MT_VEC acc[MT_GEMM_MR][2] = {{{0}}};
  const MT_ACC *from[MT_GEMM_MR];
  MT_VEC *to[MT_GEMM_MR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {
    from[i] = a + (i < rows ? i : rows - 1) * a_rs;
    to[i] = (MT_VEC *)(i < rows ? c + i * ldc : spare);
    __builtin_prefetch(to[i], 1);
  }
  for (int64_t k = 0, at = 0; k < K; k++, at += a_cs, b += b_rs) {
    MT_VEC b0 = *(const MT_VEC *)b, b1 = NV > 1 ? *(const MT_VEC *)(b + MT_VL) : b0;
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      MT_VEC broadcast = (MT_LANE)from[i][at] - (MT_VEC){0};
      acc[i][0] += broadcast * b0;
      if (NV > 1) acc[i][1] += broadcast * b1;
    }
  }
  if (add)
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      acc[i][0] += to[i][0];
      if (NV > 1) acc[i][1] += to[i][1];
    }
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {
    to[i][0] = acc[i][0];
    if (NV > 1) to[i][1] = acc[i][1];
  }
}

#define MT_TILE(name, MR, NV)                                                                   \
  static MT_GEMM_KERNEL void MT_(name)(                                                        \
      int64_t K, const MT_ACC *a, int64_t a_rs, int64_t a_cs, const MT_ACC *b, int64_t b_rs,    \
      MT_ACC *c, int64_t ldc, int64_t rows, int add, MT_ACC *spare) {                           \
    MT_(tile)(MR, NV, K, a, a_rs, a_cs, b, b_rs, c, ldc, rows, add, spare);                     \
  }
MT_TILE(tile_high, MT_GEMM_MR, 2)
MT_TILE(tile_low, MT_GEMM_MR_LOW, 2)
MT_TILE(tile_narrow, MT_GEMM_MR, 1)
#undef MT_TILE

/* Rows of the tile that starts with `left` rows to go, of which the last `low` tiles are low. */
static inline int64_t MT_(tile_rows)(int64_t left, int64_t low) {
  return left <= low * MT_GEMM_MR_LOW ? MT_GEMM_MR_LOW : MT_GEMM_MR;
}

/* Any matrix to rows of ld elements, one by one. */
static MT_GEMM_PLAIN void MT_(copy)(int64_t rows, int64_t columns, const MT_IN *from, int64_t rs,
                                    int64_t cs, MT_ACC *to, int64_t ld) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++)
      to[i * ld + j] = (MT_ACC)MT_(load1)(from + i * rs + j * cs);
}

/* A[0:M, 0:K] with adjacent rows to panels of one tile each, [K][rows of the tile]; 16 k at a
 * time, so that a line of A is still cached when the next tile wants the rest of it. */
static MT_GEMM_PLAIN void MT_(pack_a)(int64_t M, int64_t K, int64_t low, const MT_IN *a,
                                      int64_t a_cs, MT_ACC *packed) {
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
          MT_(copy)(1, rows, from, 0, 1, to, 0);
      }
    }
  }
}

/* A[0:M, 0:K] to rows of ld elements. */
static MT_GEMM_PLAIN void MT_(copy_a)(int64_t M, int64_t K, const MT_IN *a, int64_t a_rs,
                                      int64_t a_cs, MT_ACC *to, int64_t ld) {
  int64_t whole = a_cs == 1 ? K - K % MT_VL : 0;
  for (int64_t i = 0; i < M; i++)
    for (int64_t k = 0; k < whole; k += MT_VL)
      *(MT_VEC *)(to + i * ld + k) = MT_(load)(a + i * a_rs + k);
  MT_(copy)(M, K - whole, a + whole * a_cs, a_rs, a_cs, to + whole, ld);
}

/* Transposes VL vectors of VL elements: elements within 128-bit lanes first, then whole lanes, each
 * by rounds that interleave row i with the row half a group further on. */
static MT_GEMM_INLINE void MT_(transpose)(MT_VEC *rows) {
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
static MT_GEMM_PLAIN void MT_(pack_b)(int64_t K, int64_t columns, int64_t width,
                                      const MT_IN *b, int64_t b_rs, int64_t b_cs, MT_ACC *panel) {
  enum { VL = MT_GEMM_VECTOR / sizeof(MT_ACC) };
  int64_t k = 0;
  if (b_cs == 1) {
    for (; k < K && k * b_rs + width <= (K - 1) * b_rs + columns; k++) {
      for (int64_t j = 0; j < width; j += VL)
        *(MT_VEC *)(panel + k * width + j) = MT_(load)(b + k * b_rs + j);
    }
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
  MT_(copy)(K - k, columns, b + k * b_rs, b_rs, b_cs, panel + k * width, width);
}

static inline int64_t MT_(scratch)(int64_t M, int64_t N, int64_t K) {
  int64_t mc = mt_gemm_min(M, MT_GEMM_MC) + 2 * MT_GEMM_MR, kc = mt_gemm_min(K, MT_KC_MAX);
  (void)N;
  return mc * (kc + MT_ROW_PAD) + MT_NR * (2 * kc + MT_GEMM_MR + 1);
}

/* Two full panels at once, of a B whose rows are contiguous: half as many short reads of its rows. */
static MT_GEMM_PLAIN void MT_(pack_pair)(int64_t K, const MT_IN *b, int64_t b_rs, MT_ACC *first) {
  MT_ACC *second = first + K * MT_NR;
  for (int64_t k = 0; k < K; k++, b += b_rs, first += MT_NR, second += MT_NR) {
    __builtin_prefetch(b + 2 * MT_NR, 0, 2);
    __builtin_prefetch(b + 3 * MT_NR, 0, 2);
#pragma GCC unroll 2
    for (int64_t j = 0; j < MT_NR; j += MT_VL) {
      *(MT_VEC *)(first + j) = MT_(load)(b + j);
      *(MT_VEC *)(second + j) = MT_(load)(b + MT_NR + j);
    }
  }
}

/* C = A B, or with `add` C += A B; M, N and K are positive. */
static MT_GEMM_PLAIN void MT_(product)(int64_t M, int64_t N, int64_t K, const MT_IN *A,
                                       int64_t a_rs, int64_t a_cs, const MT_IN *B, int64_t b_rs,
                                       int64_t b_cs, MT_ACC *C, int64_t ldc, int add,
                                       MT_ACC *scratch) {
  int64_t k_blocks = (K + MT_GEMM_KC / 2) / MT_GEMM_KC;
  int64_t kc = k_blocks > 1 ? (K - 1) / k_blocks + 1 : K;
  int64_t m_blocks = (M - 1) / MT_GEMM_MC + 1, mc = (M - 1) / m_blocks + 1;
  mc = (mc + MT_GEMM_MR - 1) / MT_GEMM_MR * MT_GEMM_MR;
  int panels = a_rs == 1 && a_cs != 1;
#ifdef MT_LOAD_SAME
  int conflict = N >= MT_GEMM_CONFLICT_COLUMNS &&
                 a_rs * (int64_t)sizeof(MT_IN) % MT_GEMM_CONFLICT_BYTES == 0;
#endif
  MT_ACC *panel = scratch, *edge = panel + 2 * MT_NR * kc, *spare = edge + MT_NR * MT_GEMM_MR,
         *block = spare + MT_NR;

  for (int64_t k0 = 0; k0 < K; k0 += kc, add = 1)
    for (int64_t i0 = 0; i0 < M; i0 += mc) {
      int64_t depth = mt_gemm_min(kc, K - k0), height = mt_gemm_min(mc, M - i0);
      int64_t low = mt_gemm_low_tiles(height);
      const MT_IN *a = A + i0 * a_rs + k0 * a_cs;
      const MT_ACC *a_block = block;
      int64_t tile_rs = 1, tile_cs = 0;
      if (panels) {
        MT_(pack_a)(height, depth, low, a, a_cs, block);
#ifdef MT_LOAD_SAME
      } else if (!conflict) {
        a_block = a, tile_rs = a_rs, tile_cs = a_cs;
#endif
      } else {
        tile_rs = depth + MT_ROW_PAD, tile_cs = 1;
        MT_(copy_a)(height, depth, a, a_rs, a_cs, block, tile_rs);
      }
      int64_t packed = 0; /* columns */
      for (int64_t j0 = 0, width; j0 < N; j0 += width) {
        width = N - j0 > MT_VL ? MT_NR : MT_VL;
        int64_t columns = mt_gemm_min(width, N - j0), panel_rs = width;
        const MT_IN *b = B + k0 * b_rs + j0 * b_cs;
        const MT_ACC *b_panel = panel;
        if (j0 < packed) {
          b_panel = panel + depth * MT_NR;
#ifdef MT_LOAD_SAME
        } else if (b_cs == 1 && columns == width && height <= MT_GEMM_IN_PLACE_ROWS) {
          b_panel = b, panel_rs = b_rs;
#endif
        } else if (b_cs == 1 && N - j0 >= 2 * MT_NR) {
          MT_(pack_pair)(depth, b, b_rs, panel);
          packed = j0 + 2 * MT_NR;
        } else {
          MT_(pack_b)(depth, columns, width, b, b_rs, b_cs, panel);
        }
        int fits = columns == width;
        const MT_ACC *a_tile = a_block;
        for (int64_t i = 0, mr; i < height; i += mr) {
          mr = MT_(tile_rows)(height - i, low);
          int64_t rows = mt_gemm_min(mr, height - i);
          MT_ACC *c = C + (i0 + i) * ldc + j0;
          if (panels) tile_cs = mr;
          (width < MT_NR ? MT_(tile_narrow) : mr < MT_GEMM_MR ? MT_(tile_low) : MT_(tile_high))(
              depth, a_tile, tile_rs, tile_cs, b_panel, panel_rs, fits ? c : edge,
              fits ? ldc : width, rows, add && fits, spare);
          a_tile += panels ? mr * depth + MT_A_VECTORS * MT_VL : mr * tile_rs;
          if (!fits)
            for (int64_t r = 0; r < rows; r++)
              for (int64_t j = 0; j < columns; j++)
                c[r * ldc + j] = edge[r * width + j] + (add ? c[r * ldc + j] : 0);
        }
      }
    }
}

static inline void MT_GEMM(int64_t M, int64_t N, int64_t K, const MT_IN *A, int64_t a_rs,
                           int64_t a_cs, const MT_IN *B, int64_t b_rs, int64_t b_cs, MT_ACC *C,
                           int64_t ldc, MT_ACC *scratch) {
  if (M > 0 && N > 0 && K > 0)
    MT_(product)(M, N, K, A, a_rs, a_cs, B, b_rs, b_cs, C, ldc, 1, scratch);
}

static inline void MT_(set)(int64_t M, int64_t N, int64_t K, const MT_IN *A, int64_t a_rs,
                            int64_t a_cs, const MT_IN *B, int64_t b_rs, int64_t b_cs, MT_ACC *C,
                            int64_t ldc, MT_ACC *scratch) {
  if (M > 0 && N > 0 && K > 0)
    MT_(product)(M, N, K, A, a_rs, a_cs, B, b_rs, b_cs, C, ldc, 0, scratch);
  else
    for (int64_t i = 0; i < M; i++)
      for (int64_t j = 0; j < N; j++) C[i * ldc + j] = 0;
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
