/* Checked mode: the checks that mt_check.h tells of. */
#include "mt_check.h"

__thread mt_checks *mt_check;

/* What checking.py fills memory without content with, by the low bits of the address. As float16,
 * bfloat16 and float32 it is NaN. */
static const uint8_t MT_NO_CONTENT[8] = {0xa5, 0x7f, 0xb3, 0x7f, 0xa9, 0x7f, 0xbd, 0xff};

static __attribute__((cold)) int mt_report(mt_launch *L, mt_kind kind, const mt_site *site,
                                           const mt_storage *storage, uint64_t address,
                                           int64_t first) {
    mt_finding *f = &mt_check->finding;
    *f = (mt_finding){.site = site, .storage = storage, .address = address, .first = first,
                      .last = first, .count = 1, .kind = kind,
                      .pid = {L->pid[0], L->pid[1], L->pid[2]}};
    mt_fail(L, MT_CHECK_FAILED);
    return 1;
}

/* Adds another lane of the same row to the finding. */
static __attribute__((cold)) void mt_report_lane(int64_t lane) {
    mt_check->finding.last = lane;
    mt_check->finding.count++;
}

/* ---- Out of bounds ---- */

int mt_out_of_bounds(mt_launch *L, const mt_site *site, const mt_storage *s, uint64_t pointer,
                     int64_t stride, int64_t low, int64_t high, int64_t row) {
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
static int mt_is_unwritten(const mt_storage *s, uint64_t address, int64_t bytes) {
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

static int mt_reads_unwritten(mt_launch *L, const mt_site *site, mt_storage *s,
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
    if (mt_check->synchronised || mt_check->conflicts == MT_CONFLICTS) return;
    mt_conflict *c = &mt_check->conflict[mt_check->conflicts++];
    *c = (mt_conflict){.site = site, .storage = s, .address = address, .lane = lane, .other = other};
    memcpy(c->before, (const void *)address, (size_t)site->bytes);
}

/* Notes who stores, and where another program has stored before. */
static void mt_note_writer(const mt_site *site, mt_storage *s, uint64_t pointer,
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
static int mt_is_masked_off(const mt_site *site, uint64_t address, int32_t *source) {
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

static int mt_stored_masked_off(mt_launch *L, const mt_site *site, mt_storage *s,
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

int mt_check_content(mt_launch *L, const mt_site *site, mt_storage *s, uint64_t pointer,
                     int64_t stride, int64_t low, int64_t high, int64_t row) {
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

void mt_check_begin(mt_launch *L) {
    int64_t number = ((int64_t)L->pid[2] * L->grid[1] + L->pid[1]) * L->grid[0] + L->pid[0];
    mt_check->program = mt_check->first_program + (uint32_t)number;
    mt_check->synchronised = mt_check->conflicts = 0;
}

/* At the end of a program: has it changed what another one had stored? */
void mt_check_end(mt_launch *L) {
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
