/* Running a kernel's programs: the grid loop, its threads, and their scratch memory. mt_launch.h
 * tells what a kernel makes use of; this file is compiled once, and linked with every kernel. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "mt_launch.h"

/* What the process provides; filled in by launch.py. */
typedef struct {
    void (*parallel)(void (*fn)(void *), void *data, unsigned threads, unsigned flags);
    int (*max_threads)(void);
    int (*thread_number)(void); /* within the team that `parallel` runs */
    void (*enter_thread)(void); /* called once by each thread that launches a kernel */
    int32_t serial;             /* nonzero in a forked child: the thread pool did not come along */
    /* Python's signal handlers run while a launch does; what one raises is kept in `raised`. */
    int (*lock_interpreter)(void);
    void (*unlock_interpreter)(int);
    int (*handle_signals)(void);
    void (*take_exception)(void **, void **, void **);
    void *raised[3];
} mt_runtime;

static mt_runtime *mt_rt;

MT_EXPORT void mt_attach(mt_runtime *runtime) { mt_rt = runtime; }

static double mt_seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double mt_now_ns(void) { return 1e9 * mt_seconds(CLOCK_MONOTONIC); }

/* ---- Scratch memory ---- */

__attribute__((cold)) void *mt_scratch_grow(mt_launch *L, size_t bytes) {
    size_t size = L->block ? 2 * L->block->size : 4096;
    if (size < bytes) size = bytes;
    mt_block *block = aligned_alloc(MT_ALIGNMENT, MT_ALIGNMENT + size);
    if (!block) {
        fprintf(stderr, "minitorch_triton.cpu: out of memory (%zu bytes of scratch)\n", size);
        abort();
    }
    block->previous = L->block;
    block->size = size;
    L->block = block;
    L->used = bytes;
    return (char *)block + MT_ALIGNMENT;
}

static void mt_scratch_free(mt_launch *L) {
    for (mt_block *block = L->block, *previous; block; block = previous) {
        previous = block->previous;
        free(block);
    }
}

/* ---- Signals ---- */

/* Let Python handle the signals that have arrived, about every MT_LOOK_S while a launch lasts; a
 * handler that raises, as Ctrl-C's does, ends the launch. */
#define MT_LOOK_S 0.05

__attribute__((cold)) void mt_look_for_signals(mt_launch *L) {
    const double now = mt_seconds(CLOCK_MONOTONIC_COARSE), passed = now - L->last_look;
    L->until_look = L->between_looks;
    if (L->last_look == 0) {
        L->last_look = now;
    } else if (passed < MT_LOOK_S / 4) {
        L->between_looks *= 2;
    } else if (passed >= MT_LOOK_S) {
        void **raised = mt_rt->raised;
        const int lock = mt_rt->lock_interpreter();
        if (mt_rt->handle_signals()) {
            mt_rt->take_exception(&raised[0], &raised[1], &raised[2]);
            mt_fail(L, MT_SIGNALLED);
        }
        mt_rt->unlock_interpreter(lock);
        if (passed > 2 * MT_LOOK_S && L->between_looks > 1) L->between_looks /= 2;
        L->last_look = now;
    }
}

/* ---- How a thread computes with floats ---- */

/* Whether denormal numbers count as zero (torch.set_flush_denormal), and how results are rounded.
 * The threads of a launch take that over from the one that launches. */
#if defined(__x86_64__)
static uint64_t mt_float_mode(void) { return __builtin_ia32_stmxcsr() & ~0x3fu; }
static void mt_set_float_mode(uint64_t mode) { __builtin_ia32_ldmxcsr((unsigned)mode); }
#elif defined(__aarch64__)
static uint64_t mt_float_mode(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static void mt_set_float_mode(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
static uint64_t mt_float_mode(void) { return 0; }
static void mt_set_float_mode(uint64_t mode) { (void)mode; }
#endif

/* ---- Threads ---- */

/* Starting threads and waiting for them costs a few microseconds: less work than this stays on one
 * thread. Each thread first works through a share of the programs, always the same one, because its
 * cache holds what that share read and wrote in the launch before; then it helps the others. It takes
 * programs in chunks of about MT_CHUNK_NS, or an eighth of a share. */
#define MT_PARALLEL_NS 8000.0
#define MT_CHUNK_NS 2000.0
#define MT_MAX_SHARES 128

/* Programs of a launch: how many of them threads have taken, the first, and where they end. A cache
 * line of its own. */
typedef struct {
    int64_t taken, first, end;
} __attribute__((aligned(64))) mt_share;

typedef struct mt_job {
    mt_programs *programs;
    const int64_t *args;
    const void *launcher; /* what tells the thread that launches from others */
    int32_t grid[3];
    int32_t status;
    int64_t chunk; /* programs that a thread takes at a time */
    int64_t run;   /* consecutive programs of a share, after which it leaves out `skip` */
    int64_t skip;
    mt_share *shares;
    int count;   /* of shares */
    int working; /* threads */
    int timed;   /* whether to add up `busy` */
    int64_t busy; /* nanoseconds that all threads have spent in programs */
    uint64_t float_mode;
    int in_order;       /* whether its programs run one after the other */
    pthread_t *helpers; /* room for MT_MAX_HELPERS threads, if its programs may wait for each other */
    int helping;        /* how many there are */
    char starting;      /* whether one is being started */
} mt_job;

static __thread int mt_thread_known;

/* How many threads a launch from this thread may use. */
static int mt_threads(void) {
    if (!mt_rt || mt_rt->serial || !mt_rt->parallel) return 1;
    if (!mt_thread_known) {
        mt_thread_known = 1;
        if (mt_rt->enter_thread) mt_rt->enter_thread();
    }
    return mt_rt->max_threads();
}

/* The thread that launches, without programs left, goes on looking for signals while others have
 * some: at first at the ready, later asleep for a small part of the time it has waited. It does not
 * yield at once: where another process takes the core, it is away for milliseconds. */
#define MT_READY_NS 1e5

static void mt_watch(mt_launch *L, mt_job *job) {
    double start = 0;
    for (int round = 0; __atomic_load_n(&job->working, __ATOMIC_RELAXED) > 0; round++) {
        if (round < 1000) continue;
        if (start == 0) start = mt_now_ns();
        const double waited = mt_now_ns() - start;
        if (waited < MT_READY_NS) continue;
        if (waited < 2e6) {
            sched_yield();
            continue;
        }
        const struct timespec pause = {0, (long)(waited < 3.2e8 ? waited / 32 : 1e7)};
        nanosleep(&pause, NULL);
        mt_look_for_signals(L);
    }
}

/* The number of a share's n-th program. */
static int64_t mt_program(const mt_job *job, const mt_share *share, int64_t n) {
    return share->first + n + n / job->run * job->skip;
}

/* The share with the earliest program that no thread has taken; NULL if all have been. */
static mt_share *mt_earliest(const mt_job *job) {
    mt_share *found = NULL;
    int64_t earliest = INT64_MAX;
    for (mt_share *share = job->shares; share < job->shares + job->count; share++) {
        const int64_t taken = __atomic_load_n(&share->taken, __ATOMIC_RELAXED);
        const int64_t next = mt_program(job, share, taken);
        if (next < share->end && next < earliest) {
            found = share;
            earliest = next;
        }
    }
    return found;
}

/* What a thread does: take chunks of programs, of `share` first, until none is left in any.
 *
 * A program that waits for earlier ones does not wait in vain. Threads take the programs of a share
 * in order, and stay with it until all are taken. So if the earliest unfinished program has not been
 * taken, no thread is at its share: it would be running an earlier one. Then the next thread that
 * looks for a share, which may be one that mt_let_others_run starts, takes it. */
static void mt_work_from(mt_job *job, mt_share *share) {
    mt_launch L = {.args = job->args, .grid = {job->grid[0], job->grid[1], job->grid[2]},
                   .status = &job->status, .between_looks = 1, .job = job};
    const int launches = job->launcher == &mt_thread_known;
    const int several = job->count > 1 || job->helpers;
    /* Only the process's first thread handles signals, and whoever launches may be that one. */
    const int looks = launches && mt_rt && mt_rt->handle_signals;
    L.until_look = looks ? 0 : INT64_MAX;
    const double start = job->timed ? mt_now_ns() : 0.0;
    if (several) __atomic_add_fetch(&job->working, 1, __ATOMIC_RELAXED);
    const uint64_t own_mode = launches ? job->float_mode : mt_float_mode();
    if (own_mode != job->float_mode) mt_set_float_mode(job->float_mode);
    for (; share; share = mt_earliest(job)) {
        for (;;) {
            const int64_t taken = __atomic_fetch_add(&share->taken, job->chunk, __ATOMIC_RELAXED);
            const int64_t first = mt_program(job, share, taken);
            if (first >= share->end) break;
            const int64_t last = first + job->chunk < share->end ? first + job->chunk : share->end;
            job->programs(&L, first, last);
        }
    }
    if (own_mode != job->float_mode) mt_set_float_mode(own_mode);
    if (job->timed) {
        __atomic_fetch_add(&job->busy, (int64_t)(mt_now_ns() - start), __ATOMIC_RELAXED);
    }
    if (several) {
        __atomic_sub_fetch(&job->working, 1, __ATOMIC_RELAXED);
        if (looks) mt_watch(&L, job);
    }
    mt_scratch_free(&L);
}

static void mt_work(void *data) {
    mt_job *job = data;
    mt_work_from(job, &job->shares[job->count > 1 ? mt_rt->thread_number() : 0]);
}

/* ---- Programs that wait for each other ---- */

/* On a GPU the programs of a launch run at the same time, at least as many as it has room for, and
 * some kernels count on it: those with a barrier across the grid, for one. Here a program that has
 * waited for a while gets company: a further thread, which runs programs that have not begun. */
#define MT_PATIENCE_NS 2e6
#define MT_MAX_HELPERS 1024
/* How long a program may wait where no other can run. */
#define MT_VAIN_NS 2e9

static void *mt_help(void *data) {
    mt_job *job = data;
    mt_work_from(job, mt_earliest(job));
    __atomic_sub_fetch(&job->working, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void mt_start_helper(mt_job *job) {
    if (__atomic_exchange_n(&job->starting, 1, __ATOMIC_ACQUIRE)) return;
    if (job->helping < MT_MAX_HELPERS && mt_earliest(job)) {
        __atomic_add_fetch(&job->working, 1, __ATOMIC_RELAXED);
        if (pthread_create(&job->helpers[job->helping], NULL, mt_help, job) == 0) {
            job->helping++;
        } else {
            __atomic_sub_fetch(&job->working, 1, __ATOMIC_RELAXED);
        }
    }
    __atomic_store_n(&job->starting, 0, __ATOMIC_RELEASE);
}

__attribute__((cold)) void mt_let_others_run(mt_launch *L) {
    const double now = mt_now_ns();
    L->rounds = 0;
    if (L->waiting_since == 0) L->waiting_since = now;
    if (L->job->in_order) {
        if (now - L->waiting_since > MT_VAIN_NS) mt_fail(L, MT_WAITS_IN_VAIN);
        return;
    }
    if (now - L->waiting_since > MT_PATIENCE_NS) {
        if (L->job->helpers) mt_start_helper(L->job);
        L->waiting_since = now;
    }
    sched_yield();
}

/* What a program took in recent launches, by grid: the upper half of an entry is a hash of the grid,
 * the lower half a float, in nanoseconds. One word each, so that concurrent launches see either the
 * old or the new. */
static uint64_t mt_memory[16];

static uint32_t mt_grid_hash(const int32_t *grid) {
    uint32_t hash = (uint32_t)grid[0] * 0x9E3779B1u + (uint32_t)grid[1] * 0x85EBCA77u +
                    (uint32_t)grid[2] * 0xC2B2AE3Du;
    return hash ^ hash >> 15;
}

static double mt_recall(const int32_t *grid) {
    uint32_t hash = mt_grid_hash(grid);
    uint64_t entry = __atomic_load_n(&mt_memory[hash & 15], __ATOMIC_RELAXED);
    uint32_t bits = (uint32_t)entry;
    float cost;
    memcpy(&cost, &bits, sizeof cost);
    return entry >> 32 == hash ? (double)cost : 0.0;
}

static void mt_remember(const int32_t *grid, double nanoseconds) {
    uint32_t hash = mt_grid_hash(grid), bits;
    float cost = (float)nanoseconds;
    memcpy(&bits, &cost, sizeof bits);
    __atomic_store_n(&mt_memory[hash & 15], (uint64_t)hash << 32 | bits, __ATOMIC_RELAXED);
}

/* Run programs first..end-1 of a job on this thread. */
static void mt_run_here(mt_job *job, int64_t first, int64_t end) {
    mt_share all = {.first = first, .end = end};
    job->shares = &all;
    job->count = 1;
    job->chunk = job->run = end - first;
    mt_work(job);
}

/* Run programs first..end-1 on up to `threads` threads, at `cost` nanoseconds per program. */
static void mt_run_shared(mt_job *job, int64_t first, int64_t end, int threads, double cost) {
    const int64_t left = end - first;
    if (left < 2 || cost * (double)left < MT_PARALLEL_NS) {
        mt_run_here(job, first, end);
        return;
    }
    if (threads > MT_MAX_SHARES) threads = MT_MAX_SHARES;
    if (left < threads) threads = (int)left;
    mt_share shares[MT_MAX_SHARES];
    for (int i = 0; i < threads; i++) {
        const int64_t size = left / threads + (i < left % threads);
        shares[i] = (mt_share){.first = first, .end = first + size};
        first += size;
    }
    const int64_t most = left / (8 * threads), small = (int64_t)(MT_CHUNK_NS / cost);
    job->shares = shares;
    job->count = threads;
    job->chunk = most < small ? most : small;
    if (job->chunk < 1) job->chunk = 1;
    job->run = left;
    job->float_mode = mt_float_mode();
    mt_rt->parallel(mt_work, job, (unsigned)threads, 0);
}

/* The number of programs; -1 if a size is negative, or if there are too many to count. */
static int64_t mt_count_programs(int32_t grid_x, int32_t grid_y, int32_t grid_z) {
    int64_t total = (int64_t)grid_x * grid_y;
    if (grid_x < 0 || grid_y < 0 || grid_z < 0) return -1;
    return __builtin_mul_overflow(total, (int64_t)grid_z, &total) ? -1 : total;
}

/* `cost`: nanoseconds per program; where it is not known, that of the last launch with this grid
 * counts, and before the first, the first program is run alone and timed. What threads spend waiting
 * for each other is not counted: it would make small launches look worth sharing. */
int mt_run(mt_programs *programs, const int64_t *args, int32_t grid_x, int32_t grid_y,
           int32_t grid_z, double cost) {
    const int64_t total = mt_count_programs(grid_x, grid_y, grid_z);
    if (total <= 0) return total < 0 ? MT_BAD_GRID : MT_OK;
    mt_job job = {.programs = programs, .args = args, .launcher = &mt_thread_known,
                  .grid = {grid_x, grid_y, grid_z}};
    const int threads = total > 1 ? mt_threads() : 1;
    if (threads == 1) {
        mt_run_here(&job, 0, total);
    } else if (cost > 0.0) {
        mt_run_shared(&job, 0, total, threads, cost);
    } else {
        job.timed = 1;
        cost = mt_recall(job.grid);
        int64_t first = 0;
        if (cost == 0.0) {
            mt_run_here(&job, 0, 1);
            cost = (double)job.busy;
            first = 1;
        }
        mt_run_shared(&job, first, total, threads, cost);
        mt_remember(job.grid, (double)job.busy / (double)total);
    }
    return job.status;
}

/* Threads take turns at the programs, because most that wait do so for a neighbour. Where they wait
 * for nothing but locks, a turn is several programs, this many in a round of all threads: so a thread
 * reads what lies close together, and a kernel that adds to one of 64, 96 or 128 sums, by the number
 * of the program, finds lock and sum in the cache of its thread. */
#define MT_ROUND 32

int mt_run_waiting(mt_programs *programs, const int64_t *args, int32_t grid_x, int32_t grid_y,
                   int32_t grid_z, int locks_only) {
    const int64_t total = mt_count_programs(grid_x, grid_y, grid_z);
    if (total <= 0) return total < 0 ? MT_BAD_GRID : MT_OK;
    int threads = mt_threads();
    if (threads > MT_MAX_SHARES) threads = MT_MAX_SHARES;
    if (total < threads) threads = (int)total;
    const int64_t run = locks_only && threads < MT_ROUND ? MT_ROUND / threads : 1;
    mt_share shares[MT_MAX_SHARES];
    for (int i = 0; i < threads; i++) shares[i] = (mt_share){.first = i * run, .end = total};
    pthread_t helpers[MT_MAX_HELPERS];
    mt_job job = {.programs = programs, .args = args, .launcher = &mt_thread_known,
                  .grid = {grid_x, grid_y, grid_z}, .shares = shares, .count = threads, .chunk = 1,
                  .run = run, .skip = (threads - 1) * run, .float_mode = mt_float_mode(),
                  .helpers = helpers};
    if (threads == 1) {
        mt_work(&job);
    } else {
        mt_rt->parallel(mt_work, &job, (unsigned)threads, 0);
    }
    /* Who starts a helper is waited for before it, so that all are known by then. */
    for (int i = 0; i < job.helping; i++) pthread_join(helpers[i], NULL);
    return job.status;
}

int mt_run_in_order(mt_programs *programs, const int64_t *args, int32_t grid_x, int32_t grid_y,
                    int32_t grid_z) {
    const int64_t total = mt_count_programs(grid_x, grid_y, grid_z);
    if (total <= 0) return total < 0 ? MT_BAD_GRID : MT_OK;
    mt_job job = {.programs = programs, .args = args, .launcher = &mt_thread_known,
                  .grid = {grid_x, grid_y, grid_z}, .in_order = 1};
    mt_run_here(&job, 0, total);
    return job.status;
}
