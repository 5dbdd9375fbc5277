/* Running a kernel's programs: the grid loop, its threads, and their scratch memory.
 *
 * A kernel's C file defines its body, says what one program costs, and ends with MT_ENTRY:
 *
 *     static void body(mt_launch *L) { ... L->args, L->pid, L->grid ... }
 *     #define MT_PROGRAM_COST 120.0        // nanoseconds per program, may use args[]; 0: unknown
 *     MT_ENTRY(body)
 *
 * MT_PROGRAM_COST is evaluated once per launch. A body with loops that may go on for ever asks
 * mt_stopped in each iteration, and its file defines MT_UNBOUNDED before this one. MT_ENTRY exports
 *
 *     int mt_entry(const int64_t *args, int32_t grid_x, int32_t grid_y, int32_t grid_z);
 *     int mt_call(const int64_t *packed);   // packed = {grid_x, grid_y, grid_z, args...}
 *     void mt_attach(const mt_runtime *);   // called once, when the library is loaded
 *
 * Each slot of args is 8 bytes: a pointer or an integer as int64_t, every float as a double.
 * The functions return 0, or the code that a program gave to mt_fail, or MT_BAD_GRID. Programs of
 * one launch may run in any order and at the same time; a launch may be started from many threads at
 * once.
 */
#ifndef MT_LAUNCH_H
#define MT_LAUNCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

typedef struct mt_block {
    struct mt_block *previous;
    size_t size;
} mt_block;

typedef struct {
    const int64_t *args;
    int32_t pid[3];
    int32_t grid[3];
    int32_t *status;
    mt_block *block; /* newest scratch block of this thread, or NULL */
    size_t used;     /* bytes of it given to the current program */
    int64_t until_look; /* programs before the next look for signals, and from that to the one after */
    int64_t between_looks;
    double last_look; /* seconds, or 0 */
} mt_launch;

typedef void (*mt_body)(mt_launch *);

enum { MT_OK = 0, MT_ASSERTION_FAILED = 1, MT_SIGNALLED = 3, MT_BAD_GRID = 4 };

/* Make the launch return `code`. Running programs finish, unless they ask mt_stopped; programs not
 * yet started do not run. */
static inline void mt_fail(mt_launch *L, int32_t code) {
    __atomic_store_n(L->status, code, __ATOMIC_RELAXED);
}

#define MT_ALIGNMENT 64

static __attribute__((noinline, cold, unused)) void *mt_scratch_grow(mt_launch *L, size_t bytes) {
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

/* Uninitialised memory, aligned to 64 bytes, private to the thread, valid until the program ends.
 * A program may ask several times and gets distinct memory. The thread keeps the memory for its
 * next program, and frees it when the launch ends. */
static inline __attribute__((unused)) void *mt_scratch(mt_launch *L, size_t bytes) {
    bytes = (bytes + MT_ALIGNMENT - 1) & ~(size_t)(MT_ALIGNMENT - 1);
    if (L->block && L->used + bytes <= L->block->size) {
        void *memory = (char *)L->block + MT_ALIGNMENT + L->used;
        L->used += bytes;
        return memory;
    }
    return mt_scratch_grow(L, bytes);
}

/* For use in a body whose parameter is called L. */
#define MT_SCRATCH(bytes) mt_scratch(L, (bytes))

static inline void mt_scratch_free(mt_launch *L) {
    for (mt_block *block = L->block, *previous; block; block = previous) {
        previous = block->previous;
        free(block);
    }
}

static inline double mt_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* Starting threads and waiting for them costs a few microseconds: less work than this stays on one
 * thread. Each thread first works through a share of the programs, always the same one, because its
 * cache holds what that share read and wrote in the launch before; then it helps the others. It takes
 * programs in chunks of about MT_CHUNK_NS, or an eighth of a share. */
#define MT_PARALLEL_NS 8000.0
#define MT_CHUNK_NS 2000.0
#define MT_MAX_SHARES 128

/* Consecutive programs: the first that no thread has taken, and the end. A cache line of its own. */
typedef struct {
    int64_t next, end;
} __attribute__((aligned(64))) mt_share;

typedef struct {
    const int64_t *args;
    const void *launcher; /* what tells the thread that launches from others */
    int32_t grid[3];
    int32_t status;
    int64_t chunk; /* programs that a thread takes at a time */
    mt_share *shares;
    int count; /* of shares */
    int working; /* threads, counted where MT_UNBOUNDED */
    int timed; /* whether to add up `busy` */
    int64_t busy; /* nanoseconds that all threads have spent in programs */
} mt_job;

static const mt_runtime *mt_rt;
static __thread int mt_thread_known;

/* How many threads a launch from this thread may use. */
static inline int mt_threads(void) {
    if (!mt_rt || mt_rt->serial || !mt_rt->parallel) return 1;
    if (!mt_thread_known) {
        mt_thread_known = 1;
        if (mt_rt->enter_thread) mt_rt->enter_thread();
    }
    return mt_rt->max_threads();
}

/* Let Python handle the signals that have arrived, about every MT_LOOK_S while a launch lasts; a
 * handler that raises, as Ctrl-C's does, ends the launch. */
#define MT_LOOK_S 0.05

static __attribute__((noinline, cold, unused)) void mt_look_for_signals(mt_launch *L) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    const double now = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec, passed = now - L->last_look;
    L->until_look = L->between_looks;
    if (L->last_look == 0) {
        L->last_look = now;
    } else if (passed < MT_LOOK_S / 4) {
        L->between_looks *= 2;
    } else if (passed >= MT_LOOK_S) {
        mt_runtime *runtime = (mt_runtime *)mt_rt;
        void **raised = runtime->raised;
        const int lock = runtime->lock_interpreter();
        if (runtime->handle_signals()) {
            runtime->take_exception(&raised[0], &raised[1], &raised[2]);
            mt_fail(L, MT_SIGNALLED);
        }
        runtime->unlock_interpreter(lock);
        if (passed > 2 * MT_LOOK_S && L->between_looks > 1) L->between_looks /= 2;
        L->last_look = now;
    }
}

/* True where a program that may go on for ever should return: the launch has ended. */
static inline __attribute__((unused)) int mt_stopped(mt_launch *L) {
    if (L->until_look-- == 0) mt_look_for_signals(L);
    return __atomic_load_n(L->status, __ATOMIC_RELAXED) != 0;
}

/* Run programs first..last-1, numbered with the x coordinate running fastest. Always inlined, and
 * with it the body, which is a constant at every call. */
static inline __attribute__((always_inline)) void mt_run_range(mt_launch *L, mt_body body,
                                                               int64_t first, int64_t last) {
    int64_t row = first / L->grid[0];
    L->pid[0] = (int32_t)(first % L->grid[0]);
    L->pid[1] = (int32_t)(row % L->grid[1]);
    L->pid[2] = (int32_t)(row / L->grid[1]);
    for (int64_t i = first; i < last; i++) {
        if (L->until_look-- == 0) mt_look_for_signals(L);
        if (__atomic_load_n(L->status, __ATOMIC_RELAXED)) return;
        L->used = 0;
        body(L);
        if (++L->pid[0] < L->grid[0]) continue;
        L->pid[0] = 0;
        if (++L->pid[1] < L->grid[1]) continue;
        L->pid[1] = 0;
        L->pid[2]++;
    }
}

#ifdef MT_UNBOUNDED
/* The thread that launches, without programs left, goes on looking for signals while others have
 * some. */
static __attribute__((noinline, cold)) void mt_watch(mt_launch *L, mt_job *job) {
    const struct timespec pause = {0, 20000};
    for (int round = 0; __atomic_load_n(&job->working, __ATOMIC_RELAXED) > 0; round++) {
        if (round < 2000) continue;
        nanosleep(&pause, NULL);
        mt_look_for_signals(L);
    }
}
#endif

/* What each thread does: take chunks of programs until none is left in any share. A program that
 * waits for earlier ones does not wait in vain: shares and chunks are taken from their beginning, so
 * the earliest unfinished program is one that a thread is running or comes to. */
static inline __attribute__((always_inline)) void mt_work(mt_job *job, mt_body body) {
    mt_launch L = {.args = job->args, .grid = {job->grid[0], job->grid[1], job->grid[2]},
                   .status = &job->status, .between_looks = 1};
    /* Only the process's first thread handles signals, and whoever launches may be that one. */
    const int looks = mt_rt && mt_rt->handle_signals && job->launcher == &mt_thread_known;
    L.until_look = looks ? 0 : INT64_MAX;
    double start = job->timed ? mt_now_ns() : 0.0;
#ifdef MT_UNBOUNDED
    __atomic_add_fetch(&job->working, 1, __ATOMIC_RELAXED);
#endif
    const int own = job->count > 1 ? mt_rt->thread_number() : 0;
    for (int i = 0; i < job->count; i++) {
        mt_share *share = &job->shares[(own + i) % job->count];
        for (;;) {
            int64_t first = __atomic_fetch_add(&share->next, job->chunk, __ATOMIC_RELAXED);
            if (first >= share->end) break;
            int64_t last = first + job->chunk < share->end ? first + job->chunk : share->end;
            mt_run_range(&L, body, first, last);
        }
    }
    if (job->timed) {
        __atomic_fetch_add(&job->busy, (int64_t)(mt_now_ns() - start), __ATOMIC_RELAXED);
    }
#ifdef MT_UNBOUNDED
    __atomic_sub_fetch(&job->working, 1, __ATOMIC_RELAXED);
    if (looks) mt_watch(&L, job);
#endif
    mt_scratch_free(&L);
}

/* What a program took in recent launches, by grid: the upper half of an entry is a hash of the grid,
 * the lower half a float, in nanoseconds. One word each, so that concurrent launches see either the
 * old or the new. */
static uint64_t mt_memory[16];

static inline uint32_t mt_grid_hash(const int32_t *grid) {
    uint32_t hash = (uint32_t)grid[0] * 0x9E3779B1u + (uint32_t)grid[1] * 0x85EBCA77u +
                    (uint32_t)grid[2] * 0xC2B2AE3Du;
    return hash ^ hash >> 15;
}

static inline double mt_recall(const int32_t *grid) {
    uint32_t hash = mt_grid_hash(grid);
    uint64_t entry = __atomic_load_n(&mt_memory[hash & 15], __ATOMIC_RELAXED);
    uint32_t bits = (uint32_t)entry;
    float cost;
    memcpy(&cost, &bits, sizeof cost);
    return entry >> 32 == hash ? (double)cost : 0.0;
}

static inline void mt_remember(const int32_t *grid, double nanoseconds) {
    uint32_t hash = mt_grid_hash(grid), bits;
    float cost = (float)nanoseconds;
    memcpy(&bits, &cost, sizeof bits);
    __atomic_store_n(&mt_memory[hash & 15], (uint64_t)hash << 32 | bits, __ATOMIC_RELAXED);
}

/* Run programs first..end-1 of a job on this thread. */
static inline void mt_run_here(mt_job *job, void (*work)(void *), int64_t first, int64_t end) {
    mt_share all = {first, end};
    job->shares = &all;
    job->count = 1;
    job->chunk = end - first;
    work(job);
}

/* Run programs first..end-1 on up to `threads` threads, at `cost` nanoseconds per program. */
static inline void mt_run_shared(mt_job *job, void (*work)(void *), int64_t first, int64_t end,
                                 int threads, double cost) {
    const int64_t left = end - first;
    if (left < 2 || cost * (double)left < MT_PARALLEL_NS) {
        mt_run_here(job, work, first, end);
        return;
    }
    if (threads > MT_MAX_SHARES) threads = MT_MAX_SHARES;
    if (left < threads) threads = (int)left;
    mt_share shares[MT_MAX_SHARES];
    for (int i = 0; i < threads; i++) {
        const int64_t size = left / threads + (i < left % threads);
        shares[i] = (mt_share){first, first + size};
        first += size;
    }
    const int64_t most = left / (8 * threads), small = (int64_t)(MT_CHUNK_NS / cost);
    job->shares = shares;
    job->count = threads;
    job->chunk = most < small ? most : small;
    if (job->chunk < 1) job->chunk = 1;
    mt_rt->parallel(work, job, (unsigned)threads, 0);
}

/* The number of programs; -1 if a size is negative, or if there are too many to count. */
static inline int64_t mt_count_programs(const int32_t *grid) {
    int64_t total = (int64_t)grid[0] * grid[1];
    if (grid[0] < 0 || grid[1] < 0 || grid[2] < 0) return -1;
    return __builtin_mul_overflow(total, (int64_t)grid[2], &total) ? -1 : total;
}

/* Run a launch. `cost`: nanoseconds per program; where it is not known, that of the last launch with
 * this grid counts, and before the first, the first program is run alone and timed. What threads
 * spend waiting for each other is not counted: it would make small launches look worth sharing. */
static inline int mt_run(mt_job *job, void (*work)(void *), double cost) {
    int64_t total = mt_count_programs(job->grid);
    if (total <= 0) return total < 0 ? MT_BAD_GRID : MT_OK;
    int threads = total > 1 ? mt_threads() : 1;
    if (threads == 1) {
        mt_run_here(job, work, 0, total);
    } else if (cost > 0.0) {
        mt_run_shared(job, work, 0, total, threads, cost);
    } else {
        job->timed = 1;
        cost = mt_recall(job->grid);
        int64_t first = 0;
        if (cost == 0.0) {
            mt_run_here(job, work, 0, 1);
            cost = (double)job->busy;
            first = 1;
        }
        mt_run_shared(job, work, first, total, threads, cost);
        mt_remember(job->grid, (double)job->busy / (double)total);
    }
    return job->status;
}

#define MT_EXPORT __attribute__((visibility("default")))

#define MT_ENTRY(body)                                                                             \
    static void mt_work_body(void *job) { mt_work(job, body); }                                    \
    MT_EXPORT int mt_entry(const int64_t *args, int32_t grid_x, int32_t grid_y, int32_t grid_z) {  \
        mt_job job = {.args = args, .launcher = &mt_thread_known,                                  \
                      .grid = {grid_x, grid_y, grid_z}};                             \
        return mt_run(&job, mt_work_body, (double)(MT_PROGRAM_COST));                              \
    }                                                                                              \
    MT_EXPORT int mt_call(const int64_t *packed) {                                                 \
        return mt_entry(packed + 3, (int32_t)packed[0], (int32_t)packed[1], (int32_t)packed[2]);   \
    }                                                                                              \
    MT_EXPORT void mt_attach(const mt_runtime *runtime) { mt_rt = runtime; }

#endif
