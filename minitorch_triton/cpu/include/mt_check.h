/* Checked mode: what a kernel asks before each of its accesses to memory.
 *
 * A checked kernel's C file calls mt_check_row before every load, store and atomic, for a row of
 * lanes at a time, returns after the last row if there is a finding, and ends with MT_CHECKED_ENTRY instead of MT_ENTRY, which exports
 *
 *     int mt_checked_call(const int64_t *packed, mt_checks *checks);
 *
 * Its programs run one after the other, in order, so that findings are the same in every run. The
 * first finding ends the launch. The checks are in mt_check.c, which is compiled once and linked with
 * every checked kernel; checking.py is the other side.
 */
#ifndef MT_CHECK_H
#define MT_CHECK_H

#include "mt_launch.h"

enum { MT_CHECK_FAILED = 2 }; /* the status of a launch with a finding */

/* MT_STORED looks at what a store has left behind. */
typedef enum { MT_LOAD, MT_STORE, MT_ATOMIC, MT_ATOMIC_STORE, MT_STORED } mt_access;
typedef enum { MT_OUT_OF_BOUNDS = 1, MT_NO_STORAGE, MT_UNWRITTEN, MT_RACE, MT_MASKED_OFF } mt_kind;

/* One allocation. `unwritten` has a 1 for each byte that no kernel has written since it was
 * allocated without content, and is NULL where nothing is known of the content. `writers` has, for
 * each `unit` bytes, the number of the program that stored there last, 0 for none. */
typedef struct {
    uint64_t start, size;
    uint8_t *unwritten;
    uint32_t *writers;
    int64_t unit;
} mt_storage;

/* One access in the kernel's source. `argument` is the slot of the pointer that its addresses are
 * offsets from, -1 where that is not an argument; `bytes` the size of an element. */
typedef struct {
    const char *file;
    const char *type;
    const char *shape; /* such as 16x32; empty for a scalar access */
    int32_t line, access, argument, bytes, masked;
    int64_t extent; /* lanes of a row */
} mt_site;

typedef struct {
    const mt_site *site;
    const mt_storage *storage;
    uint64_t address; /* of the first lane */
    int64_t first, last, count; /* lanes, counted through the whole block */
    int32_t kind;
    int32_t pid[3];
    uint32_t other; /* number of the program that wrote before, in a race */
    int32_t source; /* number of the load whose lane was masked off, -1 if it is not known */
} mt_finding;

/* A store to where another program of the launch has stored, and what was there. */
typedef struct {
    const mt_site *site;
    mt_storage *storage;
    uint64_t address;
    int64_t lane;
    uint32_t other;
    uint8_t before[8];
} mt_conflict;

typedef struct {
    uint64_t start;
    mt_storage *storage;
} mt_start;

typedef struct mt_checks mt_checks;

struct mt_checks {
    mt_storage **arguments; /* by slot; NULL where it is no pointer */
    const mt_start *storages; /* by address; none overlaps another, known or not */
    int64_t known;            /* how many */
    /* The storage that an address belongs to, NULL if none. Makes most of them known. */
    mt_storage *(*find)(mt_checks *checks, uint64_t address);
    /* Have a storage's writers noted from now on, for each so many bytes. */
    void (*track_writers)(mt_storage *storage, int32_t unit);
    uint32_t first_program; /* number of the first program */
    int32_t several;        /* whether there is more than one */
    mt_finding finding;
    uint32_t program;       /* number of the one that is running */
    int32_t synchronised;   /* whether it has executed an atomic */
    mt_conflict *conflict;
    int64_t conflicts, room;
    int32_t ambiguous;  /* whether the launch has read 16-bit data that look masked off */
    mt_storage *recent; /* what mt_check_find found last */
};

_Static_assert(sizeof(mt_checks) <= 256, "checking.py makes room for so much");

extern __thread mt_checks *mt_check __attribute__((visibility("hidden")));

/* A lane that a load's mask leaves out has a NaN with a payload that tells the load, if `other` was
 * left out. Arithmetic passes the payload on. */
#define MT_MASKED_OFF_F32(site) mt_bits_f32(0x7fea0000u | (uint32_t)(site))
#define MT_MASKED_OFF_F64(site) mt_bits_f64(0x7ffd400000000000u | (uint64_t)(site) << 29)

static inline int mt_contains(const mt_storage *s, uint64_t first, uint64_t bytes) {
    return first >= s->start && bytes <= s->size && first - s->start <= s->size - bytes;
}

mt_storage *mt_check_look_up(uint64_t address);

/* The storage that an address belongs to, NULL if none. */
static inline __attribute__((unused)) mt_storage *mt_check_find(uint64_t address) {
    mt_storage *recent = mt_check->recent;
    return recent && mt_contains(recent, address, 1) ? recent : mt_check_look_up(address);
}

static inline int mt_is_half(const mt_site *site) {
    return site->bytes == 2 && site->type[0] != 'i';
}

/* What mt_check_row finds in a row that is not in bounds, and in one that is. */
__attribute__((cold)) void mt_out_of_bounds(mt_launch *L, const mt_site *site, const mt_storage *s,
                                            uint64_t pointer, int64_t stride, int64_t low,
                                            int64_t high, int64_t row);
void mt_check_content(mt_launch *L, const mt_site *site, mt_storage *s, uint64_t pointer,
                      int64_t stride, int64_t low, int64_t high, int64_t row);

/* Looks at lanes low..high-1 of a row, which are `stride` bytes apart; lane 0 is at `lane0`, and `s`
 * is where they ought to be. */
static inline __attribute__((unused)) void mt_check_row(mt_launch *L, const mt_site *site,
                                                        mt_storage *s, const void *lane0,
                                                        int64_t stride, int64_t low, int64_t high,
                                                        int64_t row) {
    if (low >= high) return;
    const uint64_t pointer = (uint64_t)lane0;
    const int64_t a = low * stride, b = (high - 1) * stride;
    const uint64_t span = (uint64_t)(a < b ? b - a : a - b) + (uint64_t)site->bytes;
    if (!s || !mt_contains(s, pointer + (uint64_t)(a < b ? a : b), span)) {
        mt_out_of_bounds(L, site, s, pointer, stride, low, high, row);
    } else if (site->access != MT_LOAD || s->unwritten || mt_is_half(site)) {
        mt_check_content(L, site, s, pointer, stride, low, high, row);
    }
}

/* At the beginning and the end of each program. */
void mt_check_begin(mt_launch *L);
void mt_check_end(mt_launch *L);

int mt_check_run(mt_checks *checks, mt_programs *programs, const int64_t *packed);

#define MT_CHECKED_ENTRY(body, same)                                                               \
    static void mt_checked_body(mt_launch *L) {                                                    \
        mt_check_begin(L);                                                                         \
        body(L);                                                                                   \
        if (!*L->status) mt_check_end(L);                                                          \
    }                                                                                              \
    MT_ENTRY(mt_checked_body, same, 0)                                                             \
    MT_EXPORT int mt_checked_call(const int64_t *packed, mt_checks *checks) {                      \
        const int64_t *args = packed + 3;                                                          \
        return same ? MT_SAME_TENSORS : mt_check_run(checks, mt_programs_of_body, packed);         \
    }

#endif
