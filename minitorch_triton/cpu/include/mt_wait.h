/* Waiting until memory has a value that another program writes. */
#ifndef MT_WAIT_H
#define MT_WAIT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include "mt_launch.h"

__attribute__((unused)) static int64_t mt_nanoseconds_(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* False after `limit` nanoseconds, if that is not negative, and where the launch has ended. */
__attribute__((unused)) static bool mt_wait_for(
    mt_launch *L, const void *cell, const void *expected, int size, int64_t limit) {
    uint64_t wanted = 0;
    memcpy(&wanted, expected, size);
    const int64_t start = mt_nanoseconds_();
    mt_begin_waiting(L);
    for (;;) {
        const uint64_t seen = size == 8   ? __atomic_load_n((const uint64_t *)cell, __ATOMIC_ACQUIRE)
                              : size == 4 ? __atomic_load_n((const uint32_t *)cell, __ATOMIC_ACQUIRE)
                              : size == 2 ? __atomic_load_n((const uint16_t *)cell, __ATOMIC_ACQUIRE)
                                          : __atomic_load_n((const uint8_t *)cell, __ATOMIC_ACQUIRE);
        if (seen == wanted) return true;
        if (limit >= 0 && mt_nanoseconds_() - start >= limit) return false;
        if (mt_waits(L)) return false;
    }
}

#endif
