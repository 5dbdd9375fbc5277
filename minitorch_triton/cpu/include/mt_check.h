/* Checked mode: what a kernel asks before each of its accesses to memory.
 *
 * A checked kernel's C file calls mt_check_row before every load, store and atomic, for a row of
 * lanes at a time, and ends with MT_CHECKED_ENTRY instead of MT_ENTRY, which exports
 *
 *     int mt_checked_call(const int64_t *packed, mt_checks *checks);
 *
 * Its programs run one after the other, in order, so that findings are the same in every run. The
 * first finding ends the launch. checking.py is the other side.
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
    uint32_t other;     /* number of the program that wrote before, in a race */
    int32_t source;     /* number of the load whose lane was masked off */
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

enum { MT_CONFLICTS = 256 };

typedef struct {
    mt_storage **arguments; /* by slot; NULL where it is no pointer */
    mt_storage *(*find)(uint64_t address, int32_t unit); /* see mt_check_find, mt_check_writers */
    uint32_t first_program;                              /* number of the first program */
    int32_t several;                                     /* whether there is more than one */
    mt_finding finding;
    uint32_t program;     /* number of the one that is running */
    int32_t synchronised; /* whether it has executed an atomic */
    int32_t conflicts;
    mt_conflict conflict[MT_CONFLICTS];
    mt_storage *recent; /* what mt_check_find found last */
} mt_checks;

_Static_assert(sizeof(mt_checks) < 16 << 10, "checking.py makes room for so much");

static __thread mt_checks *mt_check;

/* What checking.py fills memory without content with, by the low bits of the address. As float16,
 * bfloat16 and float32 it is NaN. */
static const uint8_t MT_NO_CONTENT[8] = {0xa5, 0x7f, 0xb3, 0x7f, 0xa9, 0x7f, 0xbd, 0xff};

/* A lane that a load's mask leaves out has a NaN with a payload that tells the load, if `other` was
 * left out. Arithmetic passes the payload on. */
#define MT_MASKED_OFF_F32(site) mt_bits_f32(0x7fea0000u | (uint32_t)(site))
#define MT_MASKED_OFF_F64(site) mt_bits_f64(0x7ffd400000000000u | (uint64_t)(site) << 29)

static inline int mt_contains(const mt_storage *s, uint64_t first, uint64_t bytes) {
    return first >= s->start && bytes <= s->size && first - s->start <= s->size - bytes;
}

/* The storage that an address belongs to, NULL if none. */
static inline __attribute__((unused)) mt_storage *mt_check_find(uint64_t address) {
    if (!mt_check->recent || !mt_contains(mt_check->recent, address, 1)) {
        mt_check->recent = mt_check->find(address, 0);
    }
    return mt_check->recent;
}

static __attribute__((cold, noinline, unused)) int mt_report(mt_launch *L, mt_kind kind,
                                                             const mt_site *site,
                                                             const mt_storage *storage,
                                                             uint64_t address, int64_t first) {
    mt_finding *f = &mt_check->finding;
    *f = (mt_finding){.site = site, .storage = storage, .address = address, .first = first,
                      .last = first, .count = 1, .kind = kind,
                      .pid = {L->pid[0], L->pid[1], L->pid[2]}};
    mt_fail(L, MT_CHECK_FAILED);
    return 1;
}

/* Adds another lane of the same row to the finding. */
static __attribute__((cold, noinline, unused)) void mt_report_lane(int64_t lane) {
    mt_check->finding.last = lane;
    mt_check->finding.count++;
}

/* ---- Out of bounds ---- */

static __attribute__((cold, noinline, unused)) int mt_out_of_bounds(
    mt_launch *L, const mt_site *site, const mt_storage *s, uint64_t pointer, int64_t stride,
    int64_t low, int64_t high, int64_t row) {
    int found = 0;
    for (int64_t j = low; j < high; j++) {
        uint64_t address = pointer + (uint64_t)(j * stride);
        if (s && mt_contains(s, address, (uint64_t)site->bytes)) continue;
        if (found) mt_report_lane(row * site->extent + j);
        else found = mt_report(L, s ? MT_OUT_OF_BOUNDS : MT_NO_STORAGE, site, s, address,
                               row * site->extent + j);
    }
    return found;
}

/* ---- Memory without content ---- */

/* Whether nothing has written an element: no kernel, and nobody else either, as it still holds what
 * memory without content was filled with. A short element must have neighbours that do, too. */
static inline int mt_is_unwritten(const mt_storage *s, uint64_t address, int64_t bytes) {
    uint64_t first = address, end = address + (uint64_t)bytes;
    for (uint64_t a = first; a < end; a++) {
        if (!s->unwritten[a - s->start]) return 0;
    }
    if (bytes < 4) {
        first = address & ~(uint64_t)7;
        end = first + 8;
        if (first < s->start) first = s->start;
        if (end > s->start + s->size) end = s->start + s->size;
    }
    int untouched = 0;
    for (uint64_t a = first; a < end; a++) {
        if (!s->unwritten[a - s->start]) continue;
        if (*(const uint8_t *)a != MT_NO_CONTENT[a & 7]) return 0;
        untouched++;
    }
    return untouched >= 4;
}

static inline int mt_reads_unwritten(mt_launch *L, const mt_site *site, mt_storage *s,
                                     uint64_t pointer, int64_t stride, int64_t low, int64_t high,
                                     int64_t row) {
    int64_t bytes = site->bytes;
    uint64_t first = pointer + (uint64_t)(low * stride) - s->start;
    if (stride == bytes && !memchr(s->unwritten + first, 1, (size_t)((high - low) * bytes))) return 0;
    int found = 0;
    for (int64_t j = low; j < high; j++) {
        uint64_t address = pointer + (uint64_t)(j * stride);
        if (mt_is_unwritten(s, address, bytes)) {
            if (found) mt_report_lane(row * site->extent + j);
            else found = mt_report(L, MT_UNWRITTEN, site, s, address, row * site->extent + j);
        } else {
            memset(s->unwritten + (address - s->start), 0, (size_t)bytes);
        }
    }
    return found;
}

static inline void mt_writes(const mt_site *site, mt_storage *s, uint64_t pointer, int64_t stride,
                             int64_t low, int64_t high) {
    int64_t bytes = site->bytes;
    uint8_t *unwritten = s->unwritten + (pointer - s->start);
    if (stride == bytes) {
        memset(unwritten + low * bytes, 0, (size_t)((high - low) * bytes));
    } else {
        for (int64_t j = low; j < high; j++) memset(unwritten + j * stride, 0, (size_t)bytes);
    }
}

/* ---- Races ---- */

static __attribute__((cold, noinline, unused)) void mt_note_conflict(
    const mt_site *site, mt_storage *s, uint64_t address, int64_t lane, uint32_t other) {
    if (mt_check->synchronised || mt_check->conflicts == MT_CONFLICTS) return;
    mt_conflict *c = &mt_check->conflict[mt_check->conflicts++];
    *c = (mt_conflict){.site = site, .storage = s, .address = address, .lane = lane, .other = other};
    memcpy(c->before, (const void *)address, (size_t)site->bytes);
}

/* Notes who stores, and where another program has stored before. */
static inline void mt_note_writer(const mt_site *site, mt_storage *s, uint64_t pointer,
                                  int64_t stride, int64_t low, int64_t high, int64_t row) {
    if (!s->writers || s->unit > site->bytes) mt_check->find(s->start, site->bytes);
    if (!s->writers) return;
    uint32_t first = mt_check->first_program, me = mt_check->program, conflicts = 0;
    int64_t parts = site->bytes / s->unit;
    if (parts == 1 && stride == site->bytes && (pointer - s->start) % (uint64_t)s->unit == 0) {
        uint32_t *w = s->writers + (int64_t)(pointer - s->start) / s->unit;
        for (int64_t j = low; j < high; j++) conflicts |= (w[j] >= first) & (w[j] != me);
        if (!conflicts) {
            for (int64_t j = low; j < high; j++) w[j] = me;
            return;
        }
    }
    for (int64_t j = low; j < high; j++) {
        uint64_t address = pointer + (uint64_t)(j * stride);
        uint32_t *w = s->writers + (int64_t)(address - s->start) / s->unit;
        if (*w >= first && *w != me) mt_note_conflict(site, s, address, row * site->extent + j, *w);
        for (int64_t part = 0; part < parts; part++) w[part] = me;
    }
}

/* ---- Lanes that a mask leaves out ---- */

/* Whether an element is a NaN with the payload of MT_MASKED_OFF, and the load that it tells. */
static inline int mt_is_masked_off(const mt_site *site, uint64_t address, int32_t *source) {
    *source = -1;
    if (site->bytes == 4) {
        uint32_t bits;
        memcpy(&bits, (const void *)address, 4);
        *source = (int32_t)(bits & 0xffff);
        return (bits & 0x7fff0000u) == 0x7fea0000u;
    }
    if (site->bytes == 8) {
        uint64_t bits;
        memcpy(&bits, (const void *)address, 8);
        *source = (int32_t)(bits >> 29 & 0xffff);
        return (bits & 0x7fffe00000000000u) == 0x7ffd400000000000u;
    }
    uint16_t bits;
    memcpy(&bits, (const void *)address, 2);
    return (bits & 0x7fff) == (site->type[0] == 'b' ? 0x7fea : 0x7f50);
}

static inline int mt_stored_masked_off(mt_launch *L, const mt_site *site, mt_storage *s,
                                       uint64_t pointer, int64_t stride, int64_t low, int64_t high,
                                       int64_t row) {
    int found = 0;
    for (int64_t j = low; j < high; j++) {
        uint64_t address = pointer + (uint64_t)(j * stride);
        int32_t source;
        if (!mt_is_masked_off(site, address, &source)) continue;
        if (found) mt_report_lane(row * site->extent + j);
        else {
            found = mt_report(L, MT_MASKED_OFF, site, s, address, row * site->extent + j);
            mt_check->finding.source = source;
        }
    }
    return found;
}

/* ---- All together ---- */

/* Looks at lanes low..high-1 of a row, which are `stride` bytes apart; lane 0 is at `pointer`, and
 * `s` is where they ought to be. Returns nonzero if there is a finding. */
static inline __attribute__((unused)) int mt_check_row(mt_launch *L, const mt_site *site,
                                                       mt_storage *s, const void *lane0,
                                                       int64_t stride, int64_t low, int64_t high,
                                                       int64_t row) {
    if (low >= high) return 0;
    uint64_t pointer = (uint64_t)lane0;
    int64_t a = low * stride, b = (high - 1) * stride;
    uint64_t span = (uint64_t)(a < b ? b - a : a - b) + (uint64_t)site->bytes;
    if (!s || !mt_contains(s, pointer + (uint64_t)(a < b ? a : b), span)) {
        return mt_out_of_bounds(L, site, s, pointer, stride, low, high, row);
    }
    if (site->access == MT_STORED) {
        return mt_stored_masked_off(L, site, s, pointer, stride, low, high, row);
    }
    if (s->unwritten) {
        if ((site->access == MT_LOAD || site->access == MT_ATOMIC) &&
            mt_reads_unwritten(L, site, s, pointer, stride, low, high, row)) return 1;
        if (site->access != MT_LOAD) mt_writes(site, s, pointer, stride, low, high);
    }
    if (site->access == MT_ATOMIC || site->access == MT_ATOMIC_STORE) mt_check->synchronised = 1;
    if (site->access == MT_STORE && mt_check->several) {
        mt_note_writer(site, s, pointer, stride, low, high, row);
    }
    return 0;
}

static inline void mt_check_begin(mt_launch *L) {
    int64_t number = ((int64_t)L->pid[2] * L->grid[1] + L->pid[1]) * L->grid[0] + L->pid[0];
    mt_check->program = mt_check->first_program + (uint32_t)number;
    mt_check->synchronised = mt_check->conflicts = 0;
}

/* At the end of a program: has it changed what another one had stored? */
static inline void mt_check_end(mt_launch *L) {
    for (int32_t i = 0; i < mt_check->conflicts; i++) {
        const mt_conflict *c = &mt_check->conflict[i];
        if (!memcmp(c->before, (const void *)c->address, (size_t)c->site->bytes)) continue;
        if (mt_check->finding.kind) {
            if (mt_check->finding.site == c->site) mt_report_lane(c->lane);
            continue;
        }
        mt_report(L, MT_RACE, c->site, c->storage, c->address, c->lane);
        mt_check->finding.other = c->other - mt_check->first_program;
    }
}

#define MT_CHECKED_ENTRY(body, same)                                                               \
    static void mt_checked_body(mt_launch *L) {                                                    \
        mt_check_begin(L);                                                                         \
        body(L);                                                                                   \
        if (!*L->status) mt_check_end(L);                                                          \
    }                                                                                              \
    MT_ENTRY(mt_checked_body, same, 0)                                                             \
    MT_EXPORT int mt_checked_call(const int64_t *packed, mt_checks *checks) {                      \
        const int64_t *args = packed + 3;                                                          \
        const int32_t x = (int32_t)packed[0], y = (int32_t)packed[1], z = (int32_t)packed[2];      \
        if (same) return MT_SAME_TENSORS;                                                          \
        checks->several = x > 1 || y > 1 || z > 1;                                                 \
        mt_checks *outer = mt_check;                                                               \
        mt_check = checks;                                                                         \
        const int status = mt_run_in_order(mt_programs_of_body, args, x, y, z);                    \
        mt_check = outer;                                                                          \
        return status;                                                                             \
    }

#endif
