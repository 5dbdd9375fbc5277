/* Running a kernel's programs: what the C file of a kernel sees of it.
 *
 * A kernel's C file defines its body, and ends with MT_ENTRY:
 *
 *     static void body(mt_launch *L) { ... L->args, L->pid, L->grid ... }
 *     MT_ENTRY(body, args[0] == args[1], 0)
 *
 * Its second argument says where arguments are the same tensor that the body takes to be different
 * ones, 0 where there are none; the third how many nanoseconds a program takes, 0 where that is not
 * known. Both may use args[], and are evaluated once per launch.
 *
 * A body with loops that may take long asks mt_stopped in each iteration. A loop in which a program
 * may wait for another one comes after mt_begin_waiting and asks mt_waits; the file with such loops
 * ends with MT_WAITING_ENTRY(body, same, locks_only), which is told whether all that is waited for
 * are locks: this decides which thread runs which programs. Both entries export
 *
 *     int mt_entry(const int64_t *args, int32_t grid_x, int32_t grid_y, int32_t grid_z);
 *     int mt_call(const int64_t *packed);   // packed = {grid_x, grid_y, grid_z, args...}
 *
 * and mt_launch.c, which is compiled once and linked with every kernel, exports
 *
 *     void mt_attach(const mt_runtime *);   // called once, when the library is loaded
 *
 * Each slot of args is 8 bytes: a pointer or an integer as int64_t, every float as a double.
 * The functions return 0, or the code that a program gave to mt_fail, or MT_BAD_GRID; or, without
 * having run anything, MT_SAME_TENSORS: another version of the kernel has to run. Programs of one
 * launch may run in any order and at the same time; a launch may be started from many threads at once.
 */
#ifndef MT_LAUNCH_H
#define MT_LAUNCH_H

#include <stdint.h>
#include <string.h>

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
    /* Programs and loop iterations before the next look for signals, and from that to the next. */
    int64_t until_look;
    int64_t between_looks;
    double last_look; /* seconds, or 0 */
    struct mt_job *job;
    int64_t rounds;       /* of a loop that waits, since others were last let run */
    double waiting_since; /* nanoseconds, or 0 */
} mt_launch;

enum {
    MT_OK = 0,
    MT_ASSERTION_FAILED = 1,
    MT_SIGNALLED = 3,
    MT_BAD_GRID = 4,
    MT_WAITS_IN_VAIN = 5,
    MT_SAME_TENSORS = 6
};

/* Make the launch return `code`. Running programs finish, unless they ask mt_stopped; programs not
 * yet started do not run. */
static inline void mt_fail(mt_launch *L, int32_t code) {
    __atomic_store_n(L->status, code, __ATOMIC_RELAXED);
}

#define MT_ALIGNMENT 64

void *mt_scratch_grow(mt_launch *L, size_t bytes);

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

/* Let Python handle the signals that have arrived, if it is time for that. */
void mt_look_for_signals(mt_launch *L);

/* True where a program that takes long should return: the launch has ended. */
static inline __attribute__((unused)) int mt_stopped(mt_launch *L) {
    if (__builtin_expect(L->until_look-- == 0, 0)) mt_look_for_signals(L);
    return __atomic_load_n(L->status, __ATOMIC_RELAXED) != 0;
}

#define MT_ROUNDS 1024

/* See to it that the program that is waited for gets to run. */
void mt_let_others_run(mt_launch *L);

static inline __attribute__((unused)) void mt_begin_waiting(mt_launch *L) {
    L->rounds = 0;
    L->waiting_since = 0;
}

/* mt_stopped for an iteration of a loop that may be waiting for another program. */
static inline __attribute__((unused)) int mt_waits(mt_launch *L) {
    if (__builtin_expect(++L->rounds >= MT_ROUNDS, 0)) mt_let_others_run(L);
    return mt_stopped(L);
}

/* Run programs first..last-1, numbered with the x coordinate running fastest. */
typedef void mt_programs(mt_launch *L, int64_t first, int64_t last);

/* Always inlined, and with it the body, which is a constant at every call. */
static inline __attribute__((always_inline)) void mt_run_range(mt_launch *L,
                                                               void (*body)(mt_launch *),
                                                               int64_t first, int64_t last) {
    int64_t row = first / L->grid[0];
    L->pid[0] = (int32_t)(first % L->grid[0]);
    L->pid[1] = (int32_t)(row % L->grid[1]);
    L->pid[2] = (int32_t)(row / L->grid[1]);
    for (int64_t i = first; i < last; i++) {
        if (mt_stopped(L)) return;
        L->used = 0;
        body(L);
        if (++L->pid[0] < L->grid[0]) continue;
        L->pid[0] = 0;
        if (++L->pid[1] < L->grid[1]) continue;
        L->pid[1] = 0;
        L->pid[2]++;
    }
}

/* Run a launch, on several threads if that is worth it; or with as many threads as programs wait for
 * others; or on this one, program by program. */
int mt_run(mt_programs *programs, const int64_t *args, int32_t grid_x, int32_t grid_y,
           int32_t grid_z, double cost);
int mt_run_waiting(mt_programs *programs, const int64_t *args, int32_t grid_x, int32_t grid_y,
                   int32_t grid_z, int locks_only);
int mt_run_in_order(mt_programs *programs, const int64_t *args, int32_t grid_x, int32_t grid_y,
                    int32_t grid_z);

#define MT_EXPORT __attribute__((visibility("default")))

#define MT_ENTRY_THAT_RUNS(body, same, ...)                                                        \
    static void mt_programs_of_body(mt_launch *L, int64_t first, int64_t last) {                   \
        mt_run_range(L, body, first, last);                                                        \
    }                                                                                              \
    MT_EXPORT int mt_entry(const int64_t *args, int32_t grid_x, int32_t grid_y, int32_t grid_z) {  \
        if (same) return MT_SAME_TENSORS;                                                          \
        return __VA_ARGS__;                                                                        \
    }                                                                                              \
    MT_EXPORT int mt_call(const int64_t *packed) {                                                 \
        return mt_entry(packed + 3, (int32_t)packed[0], (int32_t)packed[1], (int32_t)packed[2]);   \
    }

#define MT_ENTRY(body, same, cost)                                                                 \
    MT_ENTRY_THAT_RUNS(                                                                            \
        body, same, mt_run(mt_programs_of_body, args, grid_x, grid_y, grid_z, (double)(cost)))

#define MT_WAITING_ENTRY(body, same, locks_only)                                                   \
    MT_ENTRY_THAT_RUNS(                                                                            \
        body, same,                                                                                \
        mt_run_waiting(mt_programs_of_body, args, grid_x, grid_y, grid_z, locks_only))

#endif
