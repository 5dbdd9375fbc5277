"""Checked mode among threads, forked processes, signal handlers, and what torch does by itself."""

import contextlib
import os
import pickle
import signal
import sys
import threading
import time

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

import minitorch_triton.cpu as triton_cpu
from minitorch_triton.cpu import checking, storages


@triton.jit
def added(x_ptr, out_ptr, n, repetitions, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for _ in range(repetitions):
        total += tl.load(x_ptr + i, mask=i < n, other=0.0)
    tl.store(out_ptr + i, total, mask=i < n)


def launch(n, value, repetitions=1):
    x, out = torch.empty(n).fill_(value), torch.empty(n)
    added[(triton.cdiv(n, 64),)](x, out, n, repetitions, BLOCK=64)
    assert (out == value * repetitions).all()


@pytest.fixture(autouse=True)
def outside():
    """Each test turns checking on by itself, and off."""
    with triton_cpu.checked(False):
        empty = torch.empty
        yield
        assert not checking.active and torch.empty is empty


@contextlib.contextmanager
def often_switching():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def in_threads(*functions):
    """Run functions at the same time, one thread each; an exception of any of them is raised."""
    errors = []

    def run(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


def test_each_thread_turns_checking_on_and_off():
    def work():
        for n in range(30):
            with triton_cpu.checked():
                launch(5000 + n, 1.0, 5)

    with often_switching():
        in_threads(work, work, work)


def test_another_thread_turns_checking_off_in_the_middle_of_a_launch():
    done = threading.Event()

    def work():
        for _ in range(20):
            launch(1000, 1.0, 2000)
        done.set()

    def switch():
        while not done.wait(0.001):
            with triton_cpu.checked(False):
                launch(100, 1.0)

    with triton_cpu.checked():
        in_threads(work, switch)


def test_blocks_that_end_in_another_order_than_they_began():
    first, second = triton_cpu.checked(), triton_cpu.checked()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert checking.active
    second.__exit__(None, None, None)
    assert not checking.active


def test_launches_of_many_threads():
    findings = []

    def work():
        for n in range(60):
            launch(n % 7 * 50 + 1, float(n))
        x, out = torch.ones(100), torch.empty(101)
        try:
            added[(2,)](x, out, 101, 1, BLOCK=64)
        except triton_cpu.CheckError as error:
            findings.append(error.offset)

    with triton_cpu.checked(), often_switching():
        in_threads(*[work] * 8)
    assert findings == [100] * 8


def test_a_process_that_is_forked_during_a_launch():
    stop = threading.Event()

    def work():
        while not stop.is_set():
            launch(1000, 1.0, 5000)

    def fork():
        time.sleep(0.05)
        try:
            for _ in range(3):
                child = os.fork()
                if child == 0:
                    launch(100, 1.0)
                    os._exit(0)
                deadline = time.monotonic() + 30
                while not (ended := os.waitpid(child, os.WNOHANG))[0]:
                    if time.monotonic() > deadline:
                        os.kill(child, signal.SIGKILL)
                    time.sleep(0.01)
                assert ended[1] == 0
        finally:
            stop.set()

    with triton_cpu.checked():
        launch(100, 1.0)  # compiled
        in_threads(work, fork)


@triton.jit
def repeated(out_ptr, repetitions, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    for repetition in range(repetitions):
        tl.store(out_ptr + i, repetition)


def test_a_signal_handler_that_launches():
    out, handled = torch.zeros(64, dtype=torch.int32), []

    def handler(*_):
        repeated[(2,)](out, 5, BLOCK=64)  # where the other launch stores, too: that is no race
        with pytest.raises(triton_cpu.CheckError):
            repeated[(1,)](out[1:], 5, BLOCK=64)
        handled.append(checking._launch.kept is not None)
        if not handled[-1]:  # it has come between two launches
            signal.setitimer(signal.ITIMER_REAL, 0.1)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with triton_cpu.checked():
            repeated[(2,)](out, 5, BLOCK=64)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            while True not in handled:
                repeated[(2,)](out, 1_000_000, BLOCK=64)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@triton.jit
def through_table(pointers, out_ptr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x_ptr = tl.load(pointers).to(tl.pointer_type(tl.float32))
    tl.store(out_ptr + i, tl.load(x_ptr + i))


def test_an_exception_while_an_address_is_looked_up(monkeypatch):
    def interrupted(address):
        raise KeyboardInterrupt

    x, out = torch.ones(16), torch.zeros(16)
    with triton_cpu.checked():
        through_table[(1,)](torch.tensor([x.data_ptr()]), out, BLOCK=16)
        storages.registry.clear()
        monkeypatch.setattr(storages.registry, "_search", interrupted)
        with pytest.raises(KeyboardInterrupt):
            through_table[(1,)](torch.tensor([x.data_ptr()]), out, BLOCK=16)


def test_other_threads_may_build_tuples_while_tensors_are_searched():
    stop = threading.Event()

    def innocent():
        while not stop.is_set():
            assert len(tuple(torch.Tensor for _ in range(200))) == 200

    def search():
        try:
            for _ in range(8):
                assert storages.registry.find(64) is None
        finally:
            stop.set()

    with triton_cpu.checked(), often_switching():
        in_threads(innocent, search)


def test_all_tensors_are_found():
    class Special(torch.Tensor):
        pass

    tensors = torch.ones(3), torch.nn.Parameter(torch.ones(3)), torch.ones(3).as_subclass(Special)
    found = {id(tensor) for tensor in storages.instances(torch.Tensor)}
    assert found >= set(map(id, tensors))


def test_storages_that_come_and_go_in_any_order():
    class Owner:
        pass

    registry, random = storages.Registry(), np.random.default_rng(0)
    alive = {}
    for _ in range(300):
        if len(alive) < 20 or random.integers(2):
            start = int(random.integers(1, 1000)) * 64
            if start not in alive:
                alive[start] = owner = Owner()
                record = registry.add(storages.Memory(owner, start, 40))
                assert registry.add(storages.Memory(owner, start, 40)) is record
        else:
            del alive[random.choice(list(alive))]
        for start in (int(number) * 64 for number in random.integers(1, 1000, 10)):
            record = registry._known(start + 39)
            assert (record.start if record else None) == (start if start in alive else None)
            assert registry._known(start + 40) is None
    owner = None
    alive.clear()
    assert not registry.keys and not registry.records


@pytest.mark.parametrize("size", [1, 7, 4096, 4104, 100_001])
def test_memory_without_content(size):
    memory = np.zeros(size + 16, np.uint8)
    for shift in (0, 3):
        start = memory.ctypes.data + shift
        storages.StorageRecord(start, size).lose_content()
        phases = np.arange(start, start + size) % 8
        assert (memory[shift : shift + size] == storages.NO_CONTENT[phases]).all()
        assert not memory[shift + size :].any()
        memory[:] = 0


def allocating(x):
    like = torch.empty_like(x).copy_(x * 2)
    return like.sum() + x.new_empty(3).fill_(1).sum() + torch.empty(2, 2).fill_(0).sum()


def test_torch_traces_functions_that_allocate():
    x = torch.randn(4, 4)
    expected = allocating(x)
    original = torch.empty
    with triton_cpu.checked():
        compiled = torch.compile(allocating, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), expected)
        traced = torch.fx.symbolic_trace(allocating)
        assert torch.equal(traced(x), expected)
        pickled = pickle.dumps((torch.empty, torch.Tensor.new_empty))
        assert torch.empty in {original} and original in {torch.empty}
    assert torch.equal(compiled(x), expected) and torch.equal(traced(x), expected)
    assert pickle.loads(pickled) == (torch.empty, torch.Tensor.new_empty)
