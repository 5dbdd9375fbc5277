"""Running hand-written C bodies through mt_launch.h: grid, threads, scratch memory, errors."""

import contextlib
import os
import re
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from minitorch_triton.cpu import backend, launch, toolchain

BODY = """
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include "mt_launch.h"
static double seconds(void) {{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}}
static void body(mt_launch *L) {{ {body} }}
MT_ENTRY(body, 0, {cost})
"""


def compile_body(body, cost="0"):
    text = BODY.format(body=body, cost=cost)
    return toolchain.compile_c(text, objects=[backend.common_object("mt_launch")])


@pytest.fixture
def build(tmp_path):
    """build(body, types) compiles a body and returns a prepared kernel."""

    def make(body, types, cost="0"):
        path = tmp_path / f"kernel{len(list(tmp_path.iterdir()))}.so"
        path.write_bytes(compile_body(body, cost))
        return launch.PreparedKernel(launch.Library(str(path), "kernel"), types, None)

    return make


@pytest.fixture
def threads():
    """Set torch's number of threads; put back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


COUNT = """
int64_t *counts = (int64_t *)L->args[0];
int64_t i = (L->pid[2] * (int64_t)L->grid[1] + L->pid[1]) * L->grid[0] + L->pid[0];
__atomic_fetch_add(&counts[i], 1 + L->pid[0] + 100 * L->pid[1] + 10000 * L->pid[2],
                   __ATOMIC_RELAXED);
"""


@pytest.mark.parametrize("cost", ["0", "1.0", "1e6", "(double)args[1]"])
@pytest.mark.parametrize("grid", [(1, 1, 1), (7, 1, 1), (1, 5, 1), (3, 4, 5), (1000, 3, 2)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_program_runs_once(build, threads, cost, grid, count):
    threads(count)
    kernel = build(COUNT, ["*i64", "i64"], cost)
    counts = torch.zeros(grid[::-1], dtype=torch.int64)
    kernel.launch(grid, (counts.data_ptr(), 10**6))
    z, y, x = torch.meshgrid(*map(torch.arange, grid[::-1]), indexing="ij")
    assert torch.equal(counts, 1 + x + 100 * y + 10000 * z)


@pytest.mark.parametrize("grid", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 2**31 - 1, 2**31 - 1)])
def test_an_empty_grid_runs_nothing(build, grid):
    counts = torch.zeros(4, dtype=torch.int64)
    build(COUNT, ["*i64"]).launch(grid, (counts.data_ptr(),))
    assert not counts.any()


@pytest.mark.parametrize("grid", [(-1, 1, 1), (-2, -2, 1), (2**31 - 1,) * 3])
def test_an_impossible_grid_is_refused(build, grid):
    counts = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match=re.escape(str(grid))):
        build(COUNT, ["*i64"]).launch(grid, (counts.data_ptr(),))
    assert counts[0] == 0


def test_arguments_arrive_as_slots_of_eight_bytes(build):
    body = """
    double *out = (double *)L->args[0];
    out[0] = (int8_t)L->args[1];
    out[1] = (int32_t)L->args[2];
    out[2] = (double)L->args[3];
    out[3] = ((const double *)L->args)[4];
    out[4] = (float)((const double *)L->args)[5];
    out[5] = (double)(uint64_t)L->args[6];
    out[6] = L->args[7] & 1;
    """
    kernel = build(body, ["*fp64", "i8", "i32", "i64", "fp64", "fp32", "u64", "u1"])
    out = torch.zeros(7, dtype=torch.float64)
    kernel.launch((1, 1, 1), (out.data_ptr(), -3, -70000, -(2**40), 0.1, 0.1, 2**63, True))
    expected = [-3, -70000, -(2**40), 0.1, torch.tensor(0.1).item(), 2.0**63, 1]
    assert out.tolist() == expected


@pytest.mark.parametrize(
    ("ty", "value"),
    [
        ("i32", 2**31),
        ("i32", -(2**31) - 1),
        ("u8", 256),
        ("i64", 2**63),
        ("i64", 1.5),
        ("*fp32", None),
    ],
)
def test_a_value_that_does_not_fit_is_an_error(build, ty, value):
    with pytest.raises(struct.error):
        build("", [ty]).launch((1, 1, 1), (value,))


def test_too_many_or_too_few_values_are_an_error(build):
    kernel = build("", ["i32", "i32"])
    for values in ((1,), (1, 2, 3)):
        with pytest.raises(struct.error):
            kernel.launch((1, 1, 1), values)


@pytest.mark.parametrize("count", [1, 2])
def test_scratch_memory_is_aligned_distinct_and_reused(build, threads, count):
    threads(count)
    body = """
    int64_t *bad = (int64_t *)L->args[0];
    char *a = MT_SCRATCH(100), *b = MT_SCRATCH(L->pid[0] * 1000 + 1), *c = MT_SCRATCH(64);
    int wrong = ((int64_t)a | (int64_t)b | (int64_t)c) & 63;
    memset(a, 1, 100); memset(b, 2, L->pid[0] * 1000 + 1); memset(c, 3, 64);
    for (int i = 0; i < 100; i++) wrong |= a[i] != 1;
    for (int i = 0; i < L->pid[0] * 1000 + 1; i++) wrong |= b[i] != 2;
    for (int i = 0; i < 64; i++) wrong |= c[i] != 3;
    if (wrong) __atomic_fetch_add(bad, 1, __ATOMIC_RELAXED);
    """
    bad = torch.zeros(1, dtype=torch.int64)
    build(body, ["*i64"], cost="1e5").launch((300, 1, 1), (bad.data_ptr(),))
    assert bad.item() == 0


def test_a_failure_is_reported_and_stops_the_launch(build):
    body = """
    int64_t *ran = (int64_t *)L->args[0];
    ran[L->pid[0]] = 1;
    if (L->pid[0] == 5) mt_fail(L, MT_ASSERTION_FAILED);
    """
    ran = torch.zeros(100, dtype=torch.int64)
    kernel = build(body, ["*i64"], cost="0.001")
    with pytest.raises(launch.KernelError, match="device_assert failed in kernel kernel"):
        kernel.launch((100, 1, 1), (ran.data_ptr(),))
    assert ran[:6].all() and not ran[6:].any()


def test_packing_in_two_parts(build):
    kernel = build("", ["*fp32", "i32", "fp32", "u8", "i64"])
    values = (1 << 40, -3, 0.5, 200, -(1 << 50))
    for count in range(len(values) + 1):
        first, others = kernel.packers(count)
        assert first(4, 5, 6, *values[:count]) + others(*values[count:]) == kernel.pack(
            4, 5, 6, *values
        )


# A chain: each program waits for the one before it.
CHAIN = """
int64_t *done = (int64_t *)L->args[0];
while (__atomic_load_n(done, __ATOMIC_ACQUIRE) != L->pid[0]) sched_yield();
__atomic_store_n(done, L->pid[0] + 1, __ATOMIC_RELEASE);
"""


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_program_may_wait_for_earlier_ones(build, threads, count):
    threads(count)
    kernel = build(CHAIN, ["*i64"], cost="1e5")
    for _ in range(5):
        done = torch.zeros(1, dtype=torch.int64)
        kernel.launch((200, 1, 1), (done.data_ptr(),))
        assert done.item() == 200


# Each program notes which thread it ran on, and takes long enough for all threads to join in.
WHO = """
((int64_t *)L->args[0])[L->pid[0]] = (int64_t)pthread_self();
double until = seconds() + 1e-4;
while (seconds() < until) {}
"""


def threads_used(kernel):
    """The most of 20 launches: on a busy machine a thread may come when all work is done."""

    def once():
        who = torch.zeros(64, dtype=torch.int64)
        kernel.launch((64, 1, 1), (who.data_ptr(),))
        return len(set(who.tolist()))

    return max(once() for _ in range(20))


def test_the_number_of_threads_follows_torch(build, threads):
    kernel = build(WHO, ["*i64"], cost="1e5")
    for count in (1, 2, 1):
        threads(count)
        assert threads_used(kernel) == count


# The smallest normal number halved, by all threads; what each made of it, and who it was.
DENORMAL = (
    WHO
    + """
((float *)L->args[1])[L->pid[0]] = *(const float *)L->args[2] * 0.5f;
"""
)


def test_all_threads_of_a_launch_flush_denormals_or_none(build, threads):
    threads(2)
    kernel = build(DENORMAL, ["*i64", "*fp32", "*fp32"], cost="1e5")
    smallest = torch.tensor(2**-126)
    who, out = torch.zeros(64, dtype=torch.int64), torch.zeros(64)
    try:
        for flushed in (True, False, True, False):
            torch.set_flush_denormal(flushed)
            for _ in range(20):
                kernel.launch((64, 1, 1), (who.data_ptr(), out.data_ptr(), smallest.data_ptr()))
                assert {bool(bits) for bits in out.view(torch.int32).tolist()} == {not flushed}
                if len(who.unique()) == 2:
                    break
            assert len(who.unique()) == 2
    finally:
        torch.set_flush_denormal(False)


def test_a_python_thread_has_torchs_number_of_threads_too(build, threads):
    kernel = build(WHO, ["*i64"], cost="1e5")
    threads(1)
    counts = []
    thread = threading.Thread(target=lambda: counts.append(threads_used(kernel)))
    thread.start()
    thread.join()
    assert counts == [1]


def test_a_forked_child_runs_on_one_thread(build, threads):
    threads(2)
    kernel = build(WHO, ["*i64"], cost="1e5")
    assert threads_used(kernel) == 2
    child = os.fork()
    if child == 0:
        os._exit(threads_used(kernel))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert threads_used(kernel) == 2


def test_a_child_forked_before_the_first_launch(tmp_path):
    # torch has started the pool of threads, which the child does not have.
    library = tmp_path / "kernel.so"
    library.write_bytes(compile_body(WHO, cost="1e5"))
    script = f"""
import os, torch
from minitorch_triton.cpu import launch
torch.set_num_threads(2)
(torch.randn(500, 500) @ torch.randn(500, 500)).exp()
child = os.fork()
if child == 0:
    kernel = launch.PreparedKernel(launch.Library({str(library)!r}, "kernel"), ["*i64"], None)
    who = torch.zeros(64, dtype=torch.int64)
    kernel.launch((64, 1, 1), (who.data_ptr(),))
    os._exit(len(set(who.tolist())))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert result.stdout.strip() == "1"


def test_launches_from_many_python_threads(build, threads):
    threads(2)
    body = """
    int64_t *out = (int64_t *)L->args[0] + L->pid[0] * 64;
    int64_t *tile = MT_SCRATCH(64 * 8);
    for (int i = 0; i < 64; i++) tile[i] = L->args[1] + i;
    for (int i = 0; i < 64; i++) out[i] = tile[i];
    """
    kernel = build(body, ["*i64", "i64"], cost="1e4")
    failures = []

    def work(number):
        for repeat in range(50):
            out = torch.zeros(100, 64, dtype=torch.int64)
            value = number * 1000 + repeat
            kernel.launch((100, 1, 1), (out.data_ptr(), value))
            if not torch.equal(out, (value + torch.arange(64)).expand(100, 64)):
                failures.append(value)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_the_gil_is_released(build):
    body = """
    volatile int64_t *flag = (int64_t *)L->args[0];
    double until = seconds() + 5;
    while (!*flag && seconds() < until) {}
    ((int64_t *)L->args[0])[1] = *flag;
    """
    kernel = build(body, ["*i64"])
    flag = torch.zeros(2, dtype=torch.int64)
    thread = threading.Thread(target=kernel.launch, args=((1, 1, 1), (flag.data_ptr(),)))
    thread.start()
    flag[0] = 1
    thread.join()
    assert flag[1] == 1


NAP = """
struct timespec nap = {0, 5000000};
nanosleep(&nap, NULL);
__atomic_fetch_add((int64_t *)L->args[0], 1, __ATOMIC_RELAXED);
"""


class Alarm(Exception):
    pass


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("raises", [True, False])
def test_signals_are_handled_during_a_launch(build, threads, count, raises):
    threads(count)
    programs = 4000 if raises else 100
    seen = []

    def handler(number, frame):
        seen.append(int(done))
        if raises:
            raise Alarm("ring")

    kernel, done = build(NAP, ["*i64"]), torch.zeros((), dtype=torch.int64)
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        with pytest.raises(Alarm, match="ring") if raises else contextlib.nullcontext():
            kernel.launch((programs, 1, 1), (done.data_ptr(),))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(seen) == 1 and seen[0] < programs
    assert (int(done) < programs) == raises
    kernel.launch((3, 1, 1), (done.data_ptr(),))
