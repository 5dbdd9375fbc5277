"""Control flow: loops, branches, returns, nested functions, grids."""

import contextlib
import os
import re
import signal
import threading

import pytest
import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from minitorch_triton.cpu import checking
from minitorch_triton.cpu.ir import UnsupportedOperation
from minitorch_triton.cpu.launch import KernelError


@triton.jit
def loop_over_blocks(x, out, n, BLOCK: tl.constexpr):
    """Sum and maximum of a row with carried blocks and an advancing pointer."""
    i = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    largest = tl.full((BLOCK,), -float("inf"), tl.float32)
    pointers = x + tl.program_id(0) * n + i
    for start in range(0, n, BLOCK):
        mask = start + i < n
        total += tl.load(pointers, mask=mask, other=0.0)
        largest = tl.maximum(largest, tl.load(pointers, mask=mask, other=-float("inf")))
        pointers += BLOCK
    tl.store(out + tl.program_id(0) * 2, tl.sum(total, 0))
    tl.store(out + tl.program_id(0) * 2 + 1, tl.max(largest, 0))


@pytest.mark.parametrize("n", [1, 31, 32, 100])
def test_loop_over_blocks(n):
    x = torch.randn(3, n)
    out = torch.zeros(3, 2)
    loop_over_blocks[(3,)](x, out, n, BLOCK=32)
    expected = torch.stack([x.sum(1), x.amax(1)], 1)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@triton.jit
def rows_without_zeros(x, out, rows, n, BLOCK: tl.constexpr):
    """A block of truth values, all true at first, that a loop carries."""
    i = tl.arange(0, 4)
    full = tl.full((4, BLOCK), 1, tl.int1)
    for start in range(0, n, BLOCK):
        j = start + tl.arange(0, BLOCK)
        mask = (i < rows)[:, None] & (j < n)[None, :]
        full = full & (tl.load(x + i[:, None] * n + j[None, :], mask=mask, other=1.0) != 0)
    tl.store(out + i, tl.min(full.to(tl.int32), 1), mask=i < rows)


def test_loop_that_carries_truth_values():
    x = torch.ones(3, 37)
    x[1, 36] = 0
    out = torch.full((3,), 7, dtype=torch.int32)
    rows_without_zeros[(1,)](x, out, 3, 37, BLOCK=16)
    assert out.tolist() == [1, 0, 1]


@triton.jit
def fibonacci(out, n):
    """Scalars that swap places, and a block that depends on its neighbour in the swap."""
    a, b = 0, 1
    u = tl.zeros((4,), tl.int32)
    v = tl.full((4,), 1, tl.int32)
    for _ in range(n):
        a, b = b, a + b
        u, v = v, u + v
    tl.store(out, a)
    tl.store(out + 1 + tl.arange(0, 4), u)


def test_carried_values_change_all_at_once():
    out = torch.zeros(5, dtype=torch.int32)
    fibonacci[(1,)](out, 10)
    assert out.tolist() == [55] * 5


@triton.jit
def plain_and_alternating_sums(x, out, n, rows, B: tl.constexpr, SUM: tl.constexpr):
    i = tl.arange(0, B)
    grand_total = 0.0
    total, alternating = tl.zeros((B,), tl.float32), tl.full((B,), 1.0, tl.float32)
    for row in range(rows):
        elements = tl.load(x + row * n + i, mask=i < n, other=2.0)
        total += elements
        alternating = elements - alternating
        if SUM:
            grand_total += tl.sum(elements)
    tl.store(out + i, total)
    tl.store(out + B + i, alternating)
    tl.store(out + 2 * B, grand_total)


@pytest.mark.parametrize("with_sum", [False, True])
@pytest.mark.parametrize("rows", [0, 5])
def test_blocks_that_a_loop_updates_in_place(rows, with_sum):
    """Also those of masked-off elements, and next to a sum, which goes by 64 elements at a time."""
    x, out = torch.randint(-9, 10, (rows, 100)).float(), torch.empty(2 * 256 + 1)
    compiled = plain_and_alternating_sums[(1,)](x, out, 100, rows, B=256, SUM=with_sum)
    total, alternating = torch.zeros(256), torch.ones(256)
    for row in F.pad(x, (0, 156), value=2.0):
        total += row
        alternating = row - alternating
    assert torch.equal(out[:-1], torch.cat([total, alternating]))
    assert out[-1] == (total.sum() if with_sum else 0)
    assert "SWAP" not in compiled.asm["c"].split(" body(")[1]  # each has one buffer


@triton.jit
def collatz(x, out, n, BLOCK: tl.constexpr):
    """Steps to 1, with a while loop on blocks and a scalar condition."""
    i = tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=1)
    steps = tl.zeros((BLOCK,), tl.int32)
    left = tl.max((v != 1).to(tl.int32), 0)
    while left > 0:
        going = v != 1
        steps += going.to(tl.int32)
        v = tl.where(going, tl.where(v % 2 == 0, v // 2, 3 * v + 1), v)
        left = tl.max((v != 1).to(tl.int32), 0)
    tl.store(out + i, steps, mask=i < n)


def test_while():
    def steps(v):
        count = 0
        while v != 1:
            v, count = (v // 2 if v % 2 == 0 else 3 * v + 1), count + 1
        return count

    x = torch.arange(1, 28, dtype=torch.int32)
    out = torch.zeros(27, dtype=torch.int32)
    collatz[(1,)](x, out, 27, BLOCK=32)
    assert out.tolist() == [steps(v) for v in x.tolist()]


@triton.jit
def branches(x, out, threshold, BLOCK: tl.constexpr):
    pid = tl.program_id(0)
    i = pid * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i)
    scale = 1.0
    if pid > threshold:
        v = tl.exp(v)
        scale = 2.0
    elif pid == threshold:
        v = -v
    tl.store(out + i, v * scale)


def test_if_with_blocks_and_scalars():
    x = torch.randn(4, 16)
    out = torch.zeros(4, 16)
    branches[(4,)](x, out, 1, BLOCK=16)
    expected = torch.stack([x[0], -x[1], 2 * x[2].exp(), 2 * x[3].exp()])
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


@triton.jit
def early_return(x, out, n, BLOCK: tl.constexpr):
    pid = tl.program_id(0)
    i = pid * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i)
    if pid >= n:
        return
    if pid == 1:
        tl.store(out + i, -v)
        return
    tl.store(out + i, v)


def test_return_inside_if():
    x = torch.randn(4, 16)
    out = torch.zeros(4, 16)
    early_return[(4,)](x, out, 3, BLOCK=16)
    assert torch.equal(out, torch.stack([x[0], -x[1], x[2], torch.zeros(16)]))


@triton.jit
def square(v):
    return v * v


@triton.jit
def sum_and_squares(v):
    return v + v, square(v)


@triton.jit
def nested(x, out, STEPS: tl.constexpr):
    i = tl.arange(0, 16)
    v = tl.load(x + i)
    for step in tl.static_range(STEPS):
        a, b = sum_and_squares(v)
        v = a - b * (step + 1)
    for _ in range(2):
        for k in range(3):
            v += k
    tl.store(out + i, v)


def test_nested_functions_and_loops():
    x = torch.rand(16)
    out = torch.zeros(16)
    nested[(1,)](x, out, STEPS=2)
    v = x
    for step in range(2):
        v = v + v - v * v * (step + 1)
    torch.testing.assert_close(out, v + 6, rtol=1e-6, atol=1e-6)


@triton.jit
def where_am_i(out):
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    row = (z * tl.num_programs(1) + y) * tl.num_programs(0) + x
    tl.store(out + row, x + 10 * y + 100 * z)


def test_grid_of_three_dimensions():
    out = torch.zeros(4, 3, 2, dtype=torch.int32)
    where_am_i[(2, 3, 4)](out)
    z, y, x = torch.meshgrid(torch.arange(4), torch.arange(3), torch.arange(2), indexing="ij")
    assert torch.equal(out.long(), x + 10 * y + 100 * z)


@triton.jit
def countdown(out, n):
    total = 0
    for i in range(n, 0, -2):
        total += i
    tl.store(out, total)


def test_range_with_a_negative_step():
    out = torch.zeros(1, dtype=torch.int32)
    countdown[(1,)](out, 9)
    assert out.item() == 9 + 7 + 5 + 3 + 1


@triton.jit
def must_be_positive(x, BLOCK: tl.constexpr):
    v = tl.load(x + tl.arange(0, BLOCK))
    tl.device_assert(v > 0, "not positive")


def test_device_assert_fails_the_launch(capfd):
    must_be_positive[(1,)](torch.ones(8), BLOCK=8, debug=True)
    with pytest.raises(RuntimeError):
        must_be_positive[(1,)](torch.zeros(8), BLOCK=8, debug=True)
    assert "not positive" in capfd.readouterr().err


@triton.jit
def checked_sum(a, b):
    tl.device_assert(a + b < 100, "too much")
    return a + b


@triton.jit(debug=True)
def sum_with_assertion(x, out, SCAN: tl.constexpr):
    i = tl.arange(0, 8)
    if SCAN:
        tl.store(out + i, tl.associative_scan(tl.load(x + i), 0, checked_sum))
    else:
        tl.store(out, tl.reduce(tl.load(x + i), 0, checked_sum))


@pytest.mark.parametrize("scan", [False, True])
def test_assertions_in_combine_functions(capfd, scan):
    x, out = torch.arange(8.0), torch.zeros(8)
    sum_with_assertion[(1,)](x, out, SCAN=scan)
    assert out[7 if scan else 0] == 28
    with pytest.raises(KernelError, match="device_assert"):
        sum_with_assertion[(1,)](4 * x, out, SCAN=scan)
    assert "too much" in capfd.readouterr().err


@triton.jit
def show(x):
    tl.device_print("value", tl.load(x + tl.arange(0, 2)))


def test_device_print_names_the_program(capfd):
    show[(2,)](torch.tensor([1.5, -2.0]))
    lines = capfd.readouterr().out.splitlines()
    assert sorted(lines) == sorted(
        f"pid ({p}, 0, 0) idx ({i}) value: {v}"
        for p in (0, 1)
        for i, v in enumerate(["1.500000", "-2.000000"])
    )


@triton.jit
def even_above(out, n):
    total = 0
    while total < n:
        total += 2
    tl.store(out, total * 1.5)


def test_a_scalar_that_a_while_computes():
    out = torch.zeros(1)
    even_above[(1,)](out, 7)
    assert out.item() == 12


@triton.jit
def sign_of_difference(a, b):
    if a < b:
        return -1
    elif a == b:
        return 0
    return 1


@triton.jit
def divide(a, b):
    return a // b, a % b


@triton.jit
def crosswise(a0, a1, b0, b1):
    return a0 + b1, a1 - b0


@triton.jit
def mapped(x, y, out):
    i = tl.arange(0, 16)
    a, b = tl.load(x + i), tl.load(y + i)
    tl.store(out + i, tl.map_elementwise(sign_of_difference, a, b))
    quotient, remainder = tl.map_elementwise(divide, a, b)
    tl.store(out + 16 + i, quotient)
    tl.store(out + 32 + i, remainder)
    (crossed,) = tl.map_elementwise(crosswise, a, b, pack=2)
    tl.store(out + 48 + i, crossed)


def test_functions_of_single_elements():
    x = torch.randint(0, 5, (16,), dtype=torch.int32)
    y = torch.randint(1, 5, (16,), dtype=torch.int32)
    out = torch.zeros(4, 16, dtype=torch.int32)
    mapped[(1,)](x, y, out)
    a, b = x.view(8, 2), y.view(8, 2)
    crossed = torch.stack([a[:, 0] + b[:, 1], a[:, 1] - b[:, 0]], 1).flatten()
    assert torch.equal(out, torch.stack([torch.sign(x - y), x // y, x % y, crossed]))


@triton.jit
def power(a, b):
    result = 1
    while b > 0:
        result *= a
        b -= 1
    return result


@triton.jit
def mapped_loop(x):
    i = tl.arange(0, 16)
    tl.store(x + i, tl.map_elementwise(power, tl.load(x + i), tl.load(x + i)))


def test_a_loop_in_a_mapped_function_is_refused_with_its_line():
    where = r"control\.py:\d+: .*scf\.while in tl\.map_elementwise"
    with pytest.raises(UnsupportedOperation, match=where):
        mapped_loop[(1,)](torch.ones(16, dtype=torch.int32))


@triton.jit
def best_row(x, out, n, B: tl.constexpr):
    """Branches and loops within loops that change blocks and scalars together."""
    i = tl.arange(0, B)
    kept = tl.zeros((B,), tl.float32)
    best, where = -1.0e9, 0
    for row in range(n):
        v = tl.load(x + row * B + i)
        total = tl.sum(v)
        if total > best:
            best, where, kept = total, row, v
        elif row % 2 == 0:
            kept += v * 0.5
        else:
            kept -= tl.where(v > 0, v, 0.0)
        k = 0
        while k < row and total > 0:
            kept *= 2
            k += 1
    tl.store(out + i, kept)
    tl.store(out + B, best)
    tl.store(out + B + 1, where.to(tl.float32))


def test_branches_and_loops_within_loops():
    x, out = torch.randint(-4, 5, (6, 16)).float(), torch.zeros(18)
    best_row[(1,)](x, out, 6, 16)
    kept, best, where = torch.zeros(16), -1.0e9, 0
    for row, v in enumerate(x):
        if v.sum() > best:
            best, where, kept = v.sum(), row, v
        else:
            kept = kept + v * 0.5 if row % 2 == 0 else kept - v.clamp(min=0)
        if v.sum() > 0:
            kept = kept * 2**row
    assert torch.equal(out, torch.cat([kept, torch.tensor([best, float(where)])]))


@triton.jit
def changing_pointers(a, b, out, n, B: tl.constexpr):
    i = tl.arange(0, B)
    p, q = a, b
    for row in range(n):
        tl.store(out + row * B + i, tl.load(p + i))
        p, q = q, p
    if n > 2:
        p = a
    tl.store(out + n * B + i, tl.load(p + i))
    tl.store(out + (n + 1) * B + i, tl.load(tl.where(i % 2 == 0, a + i, b + i)))


def test_pointers_that_change_and_are_selected():
    a, b, out = torch.randn(16), torch.randn(16), torch.zeros(5, 16)
    changing_pointers[(1,)](a, b, out, 3, 16)
    mixed = torch.where(torch.arange(16) % 2 == 0, a, b)
    assert torch.equal(out, torch.stack([a, b, a, a, mixed]))


@triton.jit
def wait_for(flag, first):
    if tl.program_id(0) >= first:
        while tl.atomic_add(flag, 0) == 0:
            pass


def interrupted(launch):
    """Start a launch, send Ctrl-C while it runs, and expect that to end it."""
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    # A process in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            launch()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("first", [0, 7])
def test_ctrl_c_ends_a_program_that_waits_forever(first):
    flag = torch.zeros(1, dtype=torch.int32)
    wait_for[(8,)](torch.ones_like(flag), first)
    rescue = threading.Timer(20, flag.fill_, (1,))  # lets the test fail, not hang
    rescue.start()
    interrupted(lambda: wait_for[(8,)](flag, first))
    rescue.cancel()
    assert flag.item() == 0


@triton.jit
def meet(arrived, count):
    """A barrier across the grid."""
    tl.debug_barrier()
    tl.atomic_add(arrived, 1)
    while tl.atomic_add(arrived, 0) < count:
        pass


@triton.jit
def divide_by_sum(x, sums, arrived, ROUNDS: tl.constexpr, B: tl.constexpr):
    program, programs = tl.program_id(0), tl.num_programs(0)
    i = program * B + tl.arange(0, B)
    all_programs = tl.arange(0, 128)
    for n in range(ROUNDS):
        tl.store(sums + program, tl.sum(tl.load(x + i)))
        meet(arrived, (2 * n + 1) * programs)
        parts = tl.load(sums + all_programs, mask=all_programs < programs, other=0.0)
        meet(arrived, (2 * n + 2) * programs)
        tl.store(x + i, tl.load(x + i) / tl.sum(parts) + n)


ONE_AFTER_THE_OTHER = pytest.mark.skipif(
    checking.active, reason="checked mode runs programs one after the other, and says so"
)


@contextlib.contextmanager
def torch_threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@ONE_AFTER_THE_OTHER
@pytest.mark.parametrize(("programs", "threads"), [(3, 1), (100, 1), (100, 2)])
def test_barriers_across_the_grid(programs, threads):
    x = torch.rand(programs, 16)
    expected = x / x.sum()
    expected = expected / expected.sum() + 1
    arrived = torch.zeros(1, dtype=torch.int32)
    with torch_threads(threads):
        divide_by_sum[(programs,)](x, torch.empty(programs), arrived, ROUNDS=2, B=16)
    torch.testing.assert_close(x, expected)
    assert arrived.item() == 4 * programs


@triton.jit
def one_after_the_next(flags, order, count, TAKE: tl.constexpr):
    """Each program waits for the one that begins after it."""
    program = tl.program_id(0)
    if TAKE:  # the way one takes a lock
        while tl.atomic_cas(flags + program + 1, 1, 0) == 0:
            pass
    else:
        while tl.load(flags + program + 1, volatile=True) == 0:
            pass
    tl.store(order + program, tl.atomic_add(count, 1))
    tl.atomic_xchg(flags + program, 1)


@ONE_AFTER_THE_OTHER
@pytest.mark.parametrize("take", [False, True])
def test_programs_that_wait_for_later_ones(take):
    flags, order = torch.zeros(41, dtype=torch.int32), torch.zeros(40, dtype=torch.int32)
    flags[40] = 1
    count = torch.zeros(1, dtype=torch.int32)
    compiled = one_after_the_next[(40,)](flags, order, count, TAKE=take)
    assert order.tolist() == list(range(39, -1, -1))
    taken_for_a_lock = re.search(r"MT_WAITING_ENTRY\(body, .*, ([01])\)", compiled.asm["c"])[1]
    assert taken_for_a_lock == str(int(take))


@triton.jit
def running_sum(x, sums, done):
    """Each program waits for the one that begins before it."""
    program = tl.program_id(0)
    total = tl.load(x + program)
    if program > 0:
        while tl.atomic_add(done + program - 1, 0) == 0:
            pass
        total += tl.load(sums + program - 1)
    tl.store(sums + program, total)
    tl.debug_barrier()
    tl.atomic_xchg(done + program, 1)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_programs_that_wait_for_earlier_ones(threads):
    x = torch.randint(-9, 10, (500,), dtype=torch.int32)
    sums, done = torch.empty_like(x), torch.zeros_like(x)
    with torch_threads(threads):
        running_sum[(500,)](x, sums, done)
    assert torch.equal(sums, x.cumsum(0, dtype=torch.int32))


@triton.jit
def add_under_locks(x, sums, locks, GROUPS: tl.constexpr, B: tl.constexpr):
    program = tl.program_id(0)
    group = program % GROUPS
    i = tl.arange(0, B)
    while tl.atomic_cas(locks + group, 0, 1) == 1:
        pass
    total = tl.load(sums + group * B + i) + tl.load(x + program * B + i)
    tl.store(sums + group * B + i, total)
    tl.debug_barrier()
    tl.atomic_xchg(locks + group, 0)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("programs", [7, 500])
def test_locks_around_sums(programs, threads):
    x = torch.randint(-9, 10, (programs, 64), dtype=torch.int32)
    sums, locks = torch.zeros(5, 64, dtype=torch.int32), torch.zeros(5, dtype=torch.int32)
    with torch_threads(threads):
        add_under_locks[(programs,)](x, sums, locks, GROUPS=5, B=64)
    groups = torch.arange(programs) % 5
    assert torch.equal(sums, torch.zeros_like(sums).index_add_(0, groups, x))
    assert not locks.any()


@triton.jit
def count_up(out, n, first, B: tl.constexpr):
    i = tl.arange(0, B)
    if tl.program_id(0) >= first:
        for _ in range(n):
            tl.store(out + i, tl.load(out + i) + 1)


@pytest.mark.parametrize(("grid", "first"), [(1, 0), (8, 7)])
def test_ctrl_c_ends_a_long_loop(grid, first):
    out, n = torch.zeros(64, dtype=torch.int64), 2**31 - 1  # a minute
    count_up[(grid,)](out, 2, first, 64)
    interrupted(lambda: count_up[(grid,)](out, n, first, 64))
    assert 2 < out[0] < n


@triton.jit
def store_what_a_branch_gives(x, out, other, flag, n, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i)
    if tl.load(flag) > 0:
        first, second = v + 1, v * 2
    else:
        first, second = v - 1, v * 3
    last = n - 1
    tl.store(out + (last - i), first, mask=i < n)
    tl.store(out + (last - i), second, mask=i < n // 2)
    again = tl.load(out + i, mask=i < n, other=0.0)
    tl.store(other + i, again)


@triton.jit
def read_before_the_store(x, out, flag, B: tl.constexpr):
    i = tl.arange(0, B)
    if tl.load(flag) > 0:
        value = tl.load(x + i)
    else:
        value = tl.load(x + i) + 1
    before = tl.load(out + i)
    tl.store(out + i, value)
    tl.store(x + i, before)


@pytest.mark.parametrize("taken", [0, 1])
def test_stores_of_what_a_branch_gives(taken):
    x, flag, n = torch.randn(64), torch.tensor([taken]), 50
    out, other = torch.full((64,), 7.0), torch.zeros(64)
    store_what_a_branch_gives[(1,)](x, out, other, flag, n, B=64)
    first, second = (x + 1, x * 2) if taken else (x - 1, x * 3)
    expected = torch.full((64,), 7.0)
    expected[:n] = first[:n].flip(0)
    expected[n - n // 2 : n] = second[: n // 2].flip(0)
    assert torch.equal(out, expected)
    assert torch.equal(other[:n], expected[:n]) and not other[n:].any()

    before = x.clone()
    read_before_the_store[(1,)](x, out, flag, B=64)
    assert torch.equal(out, before if taken else before + 1) and torch.equal(x, expected)
