/* Sorting the rows of a block: keys whose order as unsigned integers is that of the numbers, sorted
 * byte by byte from the lowest (radix sort), or by insertion where there are few. */
#ifndef MT_SORT_H
#define MT_SORT_H

#include <stdint.h>
#include <string.h>
#include "mt_types.h"

/* Floats by their bits: sign and magnitude become one number; whatever is larger than infinity in
 * magnitude is NaN and comes last. */
#define MT_SORT_(type, U, bytes)                                                                 \
    MT_FN U mt_order_##type(U bits, U sign, U infinity) {                                        \
        const U all = sign | (sign - 1);                                                         \
        const U ordered = bits & sign ? ~bits & all : bits | sign;                               \
        return (bits & (sign - 1)) > infinity ? all : ordered;                                   \
    }                                                                                            \
    MT_FN U mt_unorder_##type(U key, U sign) {                                                   \
        return key & sign ? key & (sign - 1) : ~key & (sign | (sign - 1));                       \
    }                                                                                            \
    static void mt_sort_##type(U *keys, U *spare, int64_t count) {                               \
        if (count <= 32) {                                                                       \
            for (int64_t i = 1; i < count; ++i) {                                                \
                const U key = keys[i];                                                           \
                int64_t j = i;                                                                   \
                for (; j > 0 && keys[j - 1] > key; --j) keys[j] = keys[j - 1];                   \
                keys[j] = key;                                                                   \
            }                                                                                    \
            return;                                                                              \
        }                                                                                        \
        U *from = keys, *to = spare;                                                             \
        for (int shift = 0; shift < 8 * bytes; shift += 8) {                                     \
            int64_t places[256] = {0};                                                           \
            for (int64_t i = 0; i < count; ++i) ++places[(from[i] >> shift) & 255];              \
            if (places[(from[0] >> shift) & 255] == count) continue;                             \
            int64_t next = 0;                                                                    \
            for (int digit = 0; digit < 256; ++digit) {                                          \
                const int64_t here = places[digit];                                              \
                places[digit] = next;                                                            \
                next += here;                                                                    \
            }                                                                                    \
            for (int64_t i = 0; i < count; ++i) to[places[(from[i] >> shift) & 255]++] = from[i]; \
            U *const sorted = to;                                                                \
            to = from;                                                                           \
            from = sorted;                                                                       \
        }                                                                                        \
        if (from != keys) memcpy(keys, from, count * sizeof *keys);                              \
    }
MT_SORT_(u32, uint32_t, 4)
MT_SORT_(u64, uint64_t, 8)

#endif
