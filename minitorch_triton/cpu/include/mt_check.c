/* Checked mode: the checks that mt_check.h tells of. */
#include "mt_check.h"

#include <stdlib.h>

__thread mt_checks *mt_check;

/* What checking.py fills memory without content with, by the low bits of the address. As float16,
 * bfloat16 and float32 it is NaN. */
static const uint8_t MT_NO_CONTENT[8] = {0xa5, 0x7f, 0xb3, 0x7f, 0xa9, 0x7f, 0xbd, 0xff};

/* Notes a wrong lane, as the finding, or as one more lane of it. */
static __attribute__((cold)) void mt_report(mt_launch *L, mt_kind kind, const mt_site *site,
                                            const mt_storage *storage, uint64_t address,
                                            int64_t lane) {
    mt_finding *f = &mt_check->finding;
    if (f->kind) {
        if (f->kind != kind || f->site != site) return;
        f->last = lane;
        f->count++;
        return;
    }
    *f = (mt_finding){.site = site, .storage = storage, .address = address, .first = lane,
                      .last = lane, .count = 1, .kind = kind, .source = -1,
                      .pid = {L->pid[0], L->pid[1], L->pid[2]}};
    mt_fail(L, MT_CHECK_FAILED);
}

/* ---- Which storage ---- */

static mt_storage *mt_known(uint64_t address) {
    const mt_start *last = mt_check->storages;
    if (!last || last->start > address) return NULL;
    for (int64_t count = mt_check->known; count > 1;) { /* the last that starts before it */
        int64_t half = count / 2;
        last += last[half].start <= address ? half : 0;
        count -= half;
    }
    return mt_contains(last->storage, address, 1) ? last->storage : NULL;
}

mt_storage *mt_check_look_up(uint64_t address) {
    mt_storage *s = mt_known(address);
    /* Whoever has found one address without a storage has looked everywhere. */
    if (!s && mt_check->finding.kind != MT_NO_STORAGE) s = mt_check->find(mt_check, address);
    return mt_check->recent = s;
}

/* ---- Out of bounds ---- */

void mt_out_of_bounds(mt_launch *L, const mt_site *site, const mt_storage *s, uint64_t pointer,
                      int64_t stride, int64_t low, int64_t high, int64_t row) {
    for (int64_t j = low; j < high; j++) {
        uint64_t address = pointer + (uint64_t)(j * stride);
        if (s && mt_contains(s, address, (uint64_t)site->bytes)) continue;
        mt_report(L, s ? MT_OUT_OF_BOUNDS : MT_NO_STORAGE, site, s, address,
                  row * site->extent + j);
    }
}

/* ---- Memory without content ---- */

/* Whether nothing has written an element: no kernel, and nobody else either, as it still holds what
 * memory without content was filled with. A short element must have neighbours that do, too. */
static int mt_is_unwritten(const mt_site *site, const mt_storage *s, uint64_t address) {
    const int64_t bytes = site->bytes;
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
    /* Another writer may have written a byte or two of these by chance, but hardly such a NaN. */
    return untouched >= (mt_is_half(site) ? 2 : 3);
}

static void mt_reads(mt_launch *L, const mt_site *site, mt_storage *s, uint64_t pointer,
                     int64_t stride, int64_t low, int64_t high, int64_t row) {
    int64_t bytes = site->bytes;
    uint64_t first = pointer + (uint64_t)(low * stride) - s->start;
    if (stride == bytes && !memchr(s->unwritten + first, 1, (size_t)((high - low) * bytes))) return;
    for (int64_t j = low; j < high; j++) {
        uint64_t address = pointer + (uint64_t)(j * stride);
        if (mt_is_unwritten(site, s, address)) {
            mt_report(L, MT_UNWRITTEN, site, s, address, row * site->extent + j);
        } else {
            memset(s->unwritten + (address - s->start), 0, (size_t)bytes);
        }
    }
}

static void mt_writes(const mt_site *site, mt_storage *s, uint64_t pointer, int64_t stride,
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

static __attribute__((cold)) void mt_note_conflict(
    const mt_site *site, mt_storage *s, uint64_t address, int64_t lane, uint32_t other) {
    if (mt_check->synchronised) return;
    if (mt_check->conflicts == mt_check->room) {
        int64_t room = 2 * mt_check->room + 256;
        void *larger = realloc(mt_check->conflict, (size_t)room * sizeof(mt_conflict));
        if (!larger) return;
        mt_check->conflict = larger;
        mt_check->room = room;
    }
    mt_conflict *c = &mt_check->conflict[mt_check->conflicts++];
    *c = (mt_conflict){.site = site, .storage = s, .address = address, .lane = lane, .other = other};
    memcpy(c->before, (const void *)address, (size_t)site->bytes);
}

/* Notes who stores, and where another program has stored before. */
static void mt_note_writer(const mt_site *site, mt_storage *s, uint64_t pointer, int64_t stride,
                           int64_t low, int64_t high, int64_t row) {
    if (!s->start) return; /* nobody knows how much memory it is */
    if (!s->writers || s->unit > site->bytes) mt_check->track_writers(s, site->bytes);
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
static int mt_is_masked_off(const mt_site *site, uint64_t address, int32_t *source) {
    *source = -1;
    if (site->bytes == 4) {
        uint32_t bits;
        memcpy(&bits, (const void *)address, 4);
        *source = (int32_t)(bits & 0xffff);
        /* A wider NaN of 16 bits has a multiple of 0x2000 here; no kernel has so many loads. */
        if (*source >= 0x2000 || (mt_check->ambiguous && !*source)) return 0;
        return (bits & 0x7fff0000u) == 0x7fea0000u;
    }
    if (site->bytes == 8) {
        uint64_t bits;
        memcpy(&bits, (const void *)address, 8);
        *source = (int32_t)(bits >> 29 & 0xffff);
        return (bits & 0x7fffe00000000000u) == 0x7ffd400000000000u;
    }
    if (mt_check->ambiguous) return 0;
    uint16_t bits;
    memcpy(&bits, (const void *)address, 2);
    return (bits & 0x7fff) == (site->type[0] == 'b' ? 0x7fea : 0x7f50);
}

/* Notes whether a row of 16-bit floats has that NaN as data: then it tells nothing. */
static void mt_look_for_ambiguity(const mt_site *site, uint64_t pointer, int64_t stride,
                                  int64_t low, int64_t high) {
    const int is_bf16 = site->type[0] == 'b', quiet = is_bf16 ? 0x40 : 0x200;
    const int masked_off = is_bf16 ? 0x7fea : 0x7f50;
    int found = 0;
    for (int64_t j = low; j < high; j++) {
        uint16_t bits;
        memcpy(&bits, (const void *)(pointer + (uint64_t)(j * stride)), 2);
        found |= ((bits | quiet) & 0x7fff) == masked_off;
    }
    if (found) mt_check->ambiguous = 1;
}

static void mt_stored_masked_off(mt_launch *L, const mt_site *site, mt_storage *s,
                                 uint64_t pointer, int64_t stride, int64_t low, int64_t high,
                                 int64_t row) {
    for (int64_t j = low; j < high; j++) {
        uint64_t address = pointer + (uint64_t)(j * stride);
        int32_t source;
        if (!mt_is_masked_off(site, address, &source)) continue;
        mt_report(L, MT_MASKED_OFF, site, s, address, row * site->extent + j);
        if (mt_check->finding.count == 1) mt_check->finding.source = source;
    }
}

/* ---- All together ---- */

void mt_check_content(mt_launch *L, const mt_site *site, mt_storage *s, uint64_t pointer,
                      int64_t stride, int64_t low, int64_t high, int64_t row) {
    if (site->access == MT_STORED) {
        mt_stored_masked_off(L, site, s, pointer, stride, low, high, row);
        return;
    }
    if (site->access == MT_LOAD && mt_is_half(site) && !mt_check->ambiguous) {
        mt_look_for_ambiguity(site, pointer, stride, low, high);
    }
    if (s->unwritten) {
        if (site->access == MT_LOAD || site->access == MT_ATOMIC) {
            mt_reads(L, site, s, pointer, stride, low, high, row);
        }
        if (site->access != MT_LOAD) mt_writes(site, s, pointer, stride, low, high);
    }
    if (site->access == MT_ATOMIC || site->access == MT_ATOMIC_STORE) mt_check->synchronised = 1;
    if (site->access == MT_STORE && mt_check->several) {
        mt_note_writer(site, s, pointer, stride, low, high, row);
    }
}

void mt_check_begin(mt_launch *L) {
    int64_t number = ((int64_t)L->pid[2] * L->grid[1] + L->pid[1]) * L->grid[0] + L->pid[0];
    mt_check->program = mt_check->first_program + (uint32_t)number;
    mt_check->synchronised = 0;
    mt_check->conflicts = 0;
}

/* At the end of a program: has it changed what another one had stored? */
void mt_check_end(mt_launch *L) {
    for (int64_t i = 0; i < mt_check->conflicts; i++) {
        const mt_conflict *c = &mt_check->conflict[i];
        if (!memcmp(c->before, (const void *)c->address, (size_t)c->site->bytes)) continue;
        mt_report(L, MT_RACE, c->site, c->storage, c->address, c->lane);
        if (mt_check->finding.count == 1) mt_check->finding.other = c->other - mt_check->first_program;
    }
}

int mt_check_run(mt_checks *checks, mt_programs *programs, const int64_t *packed) {
    const int32_t x = (int32_t)packed[0], y = (int32_t)packed[1], z = (int32_t)packed[2];
    checks->several = x > 1 || y > 1 || z > 1;
    mt_checks *outer = mt_check;
    mt_check = checks;
    const int status = mt_run_in_order(programs, packed + 3, x, y, z);
    mt_check = outer;
    free(checks->conflict);
    return status;
}
