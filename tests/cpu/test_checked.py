"""Checked mode: what it finds, what it tells of it, and what it leaves alone."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from torch._subclasses.fake_tensor import FakeTensorMode

import minitorch_triton as mt
import minitorch_triton.cpu as triton_cpu
import minitorch_triton.storage
from minitorch_triton.cpu import analysis, checking, instrument, storages

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def checks():
    with triton_cpu.checked():
        yield


def line_of(kernel, text):
    """The number of the kernel's first line that holds the text."""
    lines, start = inspect.getsourcelines(kernel.fn)
    return start + next(number for number, line in enumerate(lines) if text in line)


def finding(kernel, grid, *args, **kwargs):
    """The error that a launch raises; nothing is wrong with the next one."""
    with pytest.raises(triton_cpu.CheckError) as caught:
        kernel[grid](*args, **kwargs)
    error = caught.value
    assert error.kernel == kernel.fn.__name__ and error.file == __file__
    assert f"{error.file}:{error.line}" in str(error)
    return error


@triton.jit
def copy(x_ptr, out_ptr, n, shift, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + shift + i, mask=i < n, other=0.0)
    tl.store(out_ptr + i, v, mask=i < n)


# ---- Bounds --------------------------------------------------------------------------------------


def test_a_load_too_far_by_one_lane():
    x, out = torch.randn(1000), torch.zeros(1001)
    error = finding(copy, (4,), x, out, 1001, 0, BLOCK=256)
    assert (error.kind, error.access, error.argument) == ("out of bounds", "load", "x_ptr")
    assert error.line == line_of(copy, "v = tl.load")
    assert (error.offset, error.size, error.address) == (1000, 4000, x.data_ptr() + 4000)
    assert (error.program, error.lanes, error.count) == ((3, 0, 0), ((232,), (232,)), 1)
    assert error.mask == "i < n"
    for part in ("copy", "x_ptr + 1000", "4000 bytes", "(3, 0, 0)", "lane 232 of 256", "i < n"):
        assert part in str(error)
    copy[(4,)](x, out, 1000, 0, BLOCK=256)
    assert torch.equal(out[:1000], x)


def test_a_store_too_far_changes_nothing():
    memory = torch.zeros(1200)
    x, out = torch.randn(1024), torch.zeros(1000)
    error = finding(copy, (4,), x, out, 1024, 0, BLOCK=256)
    assert (error.access, error.argument, error.offset) == ("store", "out_ptr", 1000)
    assert (error.lanes, error.count) == (((232,), (255,)), 24)
    assert not memory.any()


def test_before_the_start():
    error = finding(copy, (1,), torch.randn(100), torch.zeros(100), 100, -2, BLOCK=128)
    assert (error.offset, error.count, error.lanes) == (-2, 2, ((0,), (1,)))


def test_a_view_may_reach_all_of_its_storage():
    x, out = torch.randn(100), torch.zeros(100)
    copy[(1,)](x[50:], out, 100, -50, BLOCK=128)
    assert torch.equal(out, x)
    error = finding(copy, (1,), x[50:], out, 51, 0, BLOCK=128)
    assert (error.offset, error.size) == (50, 400)


def test_into_the_neighbouring_tensor():
    memory = torch.randn(64)
    # Two storages side by side in one allocation, as an allocator makes them.
    first, second = (
        torch.frombuffer(memory.numpy(), dtype=torch.float32, count=32, offset=offset)
        for offset in (0, 128)
    )
    assert second.data_ptr() == first.data_ptr() + 128
    out = torch.zeros(64)
    error = finding(copy, (1,), first, out, 33, 0, BLOCK=64)
    assert (error.argument, error.offset, error.size) == ("x_ptr", 32, 128)


def test_tensors_of_one_numpy_array():
    """A slice of an array is no limit for the array, nor for another slice that overlaps it."""
    array, out = np.arange(100, dtype=np.float32), torch.zeros(100)
    whole = torch.from_numpy(array)
    for first, last in ((0, 10), (10, 20)):
        part = torch.from_numpy(array[first:last])
        copy[(1,)](part, out, last - first, 0, BLOCK=128)
        assert out[: last - first].tolist() == list(range(first, last))
        copy[(1,)](whole[first:], out, 100 - first, 0, BLOCK=128)
        assert out[: 100 - first].tolist() == list(range(first, 100))
        assert finding(copy, (1,), whole, torch.zeros(101), 101, 0, BLOCK=128).size == 400


def test_what_is_lent_has_an_end_of_its_own():
    buffer = torch.zeros(100)
    small = mt.empty(50).fill_(1.0)
    assert finding(copy, (1,), small, torch.zeros(64), 51, 0, BLOCK=64).size == 200
    shared = small.torch()  # a torch tensor over the pool's buffer
    assert finding(copy, (1,), shared, buffer, 51, 0, BLOCK=64).size == 200


@triton.jit
def rows(x_ptr, out_ptr, M, N, stride, BM: tl.constexpr, BN: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)[:, None]
    n = tl.arange(0, BN)[None, :]
    v = tl.load(x_ptr + m * stride + n, (m < M) & (n < N), other=0)
    tl.atomic_add(out_ptr + m * N + n, v, mask=(m < M) & (n < N))


def test_lanes_of_a_block_of_two_dimensions():
    out = torch.zeros(20, 10)
    error = finding(rows, (3,), torch.randn(20, 10), out, 20, 10, 11, BM=8, BN=16)
    # Row 18 starts at 198: two elements are left, and none for row 19.
    assert (error.program, error.lanes, error.count) == ((2, 0, 0), ((2, 2), (3, 9)), 18)
    assert "18 lanes, (2, 2) to (3, 9)," in str(error)
    assert (error.offset, error.mask) == (200, "(m < M) & (n < N)")


def test_an_atomic():
    error = finding(rows, (3,), torch.randn(20, 11), torch.zeros(199), 20, 10, 11, BM=8, BN=16)
    assert (error.access, error.argument, error.offset) == ("atomic", "out_ptr", 199)
    assert error.line == line_of(rows, "atomic_add")


@triton.jit
def gathered(x_ptr, where_ptr, out_ptr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    j = tl.load(where_ptr + i)
    tl.store(out_ptr + i, tl.load(x_ptr + j, mask=j >= 0, other=-1.0))


def test_addresses_from_memory():
    where = torch.arange(32).flip(0)
    where[5] = -7
    x, out = torch.randn(32), torch.zeros(32)
    gathered[(1,)](x, where, out, BLOCK=32)
    assert torch.equal(out, torch.where(where < 0, -1, x[where]))
    where[9] = 32
    where[20] = 1 << 40
    error = finding(gathered, (1,), x, where, out, BLOCK=32)
    assert (error.offset, error.lanes, error.count) == (32, ((9,), (20,)), 2)


@triton.jit
def walk(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Pointers that a loop advances, past the end of the storage when it is left."""
    p = x_ptr
    blocks = x_ptr + tl.arange(0, BLOCK)
    total = 0.0
    for _ in range(0, n, BLOCK):
        total += tl.load(p) + tl.sum(tl.load(blocks))
        p += BLOCK
        blocks += BLOCK
    tl.store(out_ptr, total)


def test_pointers_that_a_loop_advances():
    x, out = torch.randn(96), torch.zeros(1)
    walk[(1,)](x, out, 96, BLOCK=32)
    torch.testing.assert_close(out, (x.sum() + x[::32].sum())[None])
    error = finding(walk, (1,), x[:64].clone(), out, 96, BLOCK=32)
    assert (error.argument, error.offset, error.lanes, error.mask) == ("x_ptr", 64, ((), ()), None)
    assert "a scalar" in str(error) and "no mask" in str(error)


@triton.jit
def table(pointers, sizes, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    x_ptr = tl.load(pointers + program).to(tl.pointer_type(tl.float32))
    i = tl.arange(0, BLOCK)
    mask = i < tl.load(sizes + program)
    tl.store(x_ptr + i, tl.load(x_ptr + i, mask=mask, other=0.0) + 1, mask=mask)


def test_pointer_tables():
    with triton_cpu.checked(False):
        tensors = [torch.zeros(n) for n in (5, 60, 33)]
    pointers = torch.tensor([t.data_ptr() for t in tensors])
    table[(3,)](pointers, torch.tensor([5, 60, 33]), BLOCK=64)
    assert all((t == 1).all() for t in tensors)
    error = finding(table, (3,), pointers, torch.tensor([5, 60, 34]), BLOCK=64)
    assert (error.kind, error.argument, error.offset) == ("out of bounds", None, 33)
    assert (error.size, error.program) == (132, (2, 0, 0))
    pointers[1] = 64
    error = finding(table, (3,), pointers, torch.tensor([5, 60, 33]), BLOCK=64)
    assert (error.kind, error.size, error.offset, error.address) == ("no storage", None, None, 64)


@triton.jit
def pages(pointers, out_ptr, count, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for page in range(count):
        total += tl.load(tl.load(pointers + page).to(tl.pointer_type(tl.float32)) + i)
    tl.store(out_ptr + i, total)


def test_a_table_of_many_pointers_is_not_asked_for_one_by_one(monkeypatch):
    tensors, out = [torch.full((16,), float(n)) for n in range(200)], torch.zeros(16)
    pointers = torch.tensor([t.data_ptr() for t in tensors])
    pages[(1,)](pointers, out, 200, BLOCK=16)
    asked = []
    find = storages.registry.find
    monkeypatch.setattr(storages.registry, "find", lambda a: asked.append(a) or find(a))
    pages[(1,)](pointers, out, 200, BLOCK=16)
    assert out.tolist() == [sum(range(200))] * 16
    assert len(asked) == 3  # the arguments, and the first page
    pointers[150] += 4
    error = finding(pages, (1,), pointers, out, 200, BLOCK=16)
    assert (error.kind, error.offset, error.size) == ("out of bounds", 16, 64)


def test_freed_memory_belongs_to_no_tensor():
    x = torch.zeros(1 << 20)
    pointers = torch.tensor([x.data_ptr()])
    table[(1,)](pointers, torch.tensor([64]), BLOCK=64)
    del x
    assert finding(table, (1,), pointers, torch.tensor([64]), BLOCK=64).kind == "no storage"


def test_tensors_that_stand_for_others_have_no_memory():
    """torch.compile and torch.func trace with such; they may allocate, and live on for a while."""
    with FakeTensorMode():
        stand_in = torch.empty(5)
    traced = torch.func.vmap(lambda row: torch.empty_like(row).fill_(3.0) + row)(torch.ones(3, 2))
    assert (traced == 4).all()
    with triton_cpu.checked(False):
        x = torch.zeros(5)
    table[(1,)](torch.tensor([x.data_ptr()]), torch.tensor([5]), BLOCK=64)  # asks all live objects
    assert (x == 1).all() and stand_in.shape == (5,)


@triton.jit
def described(x_ptr, out_ptr, M, N, BM: tl.constexpr, BN: tl.constexpr):
    x = tl.make_tensor_descriptor(x_ptr, [M, N], [N, 1], [BM, BN])
    out = tl.make_tensor_descriptor(out_ptr, [M, N], [N, 1], [BM, BN])
    out.store([0, 0], x.load([0, 0]))


def test_descriptors():
    x, out = torch.randn(10, 12), torch.zeros(10, 12)
    described[(1,)](x, out, 10, 12, BM=16, BN=16)
    assert torch.equal(out, x)
    error = finding(described, (1,), x, torch.zeros(9, 12), 10, 12, BM=16, BN=16)
    assert (error.access, error.argument, error.offset) == ("store", "out_ptr", 9 * 12)
    assert error.line == line_of(described, "out.store")


@triton.jit
def product(a_ptr, b_ptr, c_ptr, K, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a = a_ptr + i[:, None] * K + i[None, :]
    b = b_ptr + i[:, None] * BLOCK + i[None, :]
    total = tl.zeros([BLOCK, BLOCK], tl.float32)
    for k in range(0, K, BLOCK):
        inside = k + i < K
        total = tl.dot(
            tl.load(a, mask=inside[None, :], other=0.0),
            tl.load(b, mask=inside[:, None], other=0.0),
            total,
        )
        a += BLOCK
        b += BLOCK * BLOCK
    tl.store(c_ptr + i[:, None] * BLOCK + i[None, :], total)


def test_products():
    a, b, c = torch.randn(16, 40), torch.randn(40, 16), torch.zeros(16, 16)
    product[(1,)](a, b, c, 40, BLOCK=16)
    torch.testing.assert_close(c, a @ b, rtol=1e-5, atol=1e-5)
    error = finding(product, (1,), a, b[:39].clone(), c, 40, BLOCK=16)
    assert (error.argument, error.offset) == ("b_ptr", 39 * 16)
    assert error.mask == "inside[:, None]"


# ---- Memory that nothing has written -------------------------------------------------------------

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int64]


@triton.jit
def move(x_ptr, out_ptr, n, stride, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i * stride, mask=i < n)
    tl.store(out_ptr + i * stride, v, mask=i < n)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 3])
def test_what_nothing_has_written(dtype, stride):
    x, out = torch.empty(300, dtype=dtype), torch.zeros(300, dtype=dtype)
    x[:120] = 1  # torch writes
    move[(4,)](x, out, 120 // stride, stride, BLOCK=32)
    error = finding(move, (4,), x, out, 300 // stride, stride, BLOCK=32)
    assert (error.kind, error.access, error.argument) == ("unwritten", "load", "x_ptr")
    assert error.offset == 120
    move[(10,)](out, x, 300 // stride, stride, BLOCK=32)  # a kernel writes
    move[(10,)](x, out, 300 // stride, stride, BLOCK=32)


def test_functions_that_allocate():
    like, out = torch.zeros(8, 8), torch.zeros(64)
    for x in (
        torch.empty(8, 8), torch.empty_like(like), torch.empty_strided((8, 8), (8, 1)),
        like.new_empty(8, 8), like.new_empty_strided((8, 8), (8, 1)), torch.empty(256).view(2, -1),
        torch.empty_permuted((8, 8), (1, 0)),
    ):  # fmt: skip
        assert finding(move, (1,), x, out, 64, 1, BLOCK=64).kind == "unwritten"
        x.copy_(like) if x.shape == like.shape else x.zero_()
        move[(1,)](x, out, 64, 1, BLOCK=64)
    x = torch.empty(64)
    x.numpy()[:] = 3  # somebody else writes
    move[(1,)](x, out, 64, 1, BLOCK=64)
    assert (out == 3).all()


@pytest.mark.parametrize(("dtype", "rest"), [(torch.int8, 3), (torch.int16, 2), (torch.float16, 1)])
def test_a_few_elements_that_nothing_has_written(dtype, rest):
    x, out = torch.empty(16, dtype=dtype), torch.zeros(16, dtype=dtype)
    move[(1,)](out, x, 16 - rest, 1, BLOCK=16)
    error = finding(move, (1,), x, out, 16, 1, BLOCK=16)
    assert (error.kind, error.offset, error.count) == ("unwritten", 16 - rest, rest)
    x[16 - rest :] = 5
    move[(1,)](x, out, 16, 1, BLOCK=16)


def test_our_own_tensors():
    with triton_cpu.checked(False):  # a plan that is made without checks is of no use with them
        mt.zeros(50) + mt.zeros(50)
    x, out = mt.empty(50), mt.zeros(50)
    assert finding(move, (1,), x, out, 50, 1, BLOCK=64).kind == "unwritten"
    with pytest.raises(triton_cpu.CheckError) as caught:
        x + out
    assert (caught.value.kind, caught.value.offset) == ("unwritten", 0)
    x.fill_(2.0)
    assert (x + out).tolist() == [2.0] * 50
    # The pool rounds 200 bytes up to 256; the tensor has 200 nevertheless.
    error = finding(move, (1,), x, torch.zeros(64), 51, 1, BLOCK=64)
    assert (error.kind, error.offset, error.size) == ("out of bounds", 50, 200)


def test_an_atomic_reads():
    counts = torch.empty(64)
    error = finding(rows, (1,), torch.ones(8, 8), counts, 8, 8, 8, BM=8, BN=8)
    assert (error.kind, error.access) == ("unwritten", "atomic")


# ---- Races ---------------------------------------------------------------------------------------


@triton.jit
def overlapping(out_ptr, step, value, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    i = program * step + tl.arange(0, BLOCK)
    tl.store(out_ptr + i, (program * value + tl.arange(0, BLOCK)).to(out_ptr.dtype.element_ty))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, torch.float16, torch.float64])
def test_programs_that_store_different_values(dtype):
    out = torch.zeros(100, dtype=dtype)
    overlapping[(3,)](out, 16, 1, BLOCK=16)
    error = finding(overlapping, (3,), out, 15, 1, BLOCK=16)
    assert (error.kind, error.access, error.argument) == ("race", "store", "out_ptr")
    assert (error.program, error.lanes, error.offset) == ((1, 0, 0), ((0,), (0,)), 15)
    assert "(0, 0, 0)" in str(error)


@triton.jit
def mostly_the_same(out_ptr, same, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out_ptr + i, tl.where(i < same, 1, tl.program_id(0)))


def test_a_race_after_many_elements_that_agree():
    out = torch.zeros(4096, dtype=torch.int32)
    error = finding(mostly_the_same, (2,), out, 4000, BLOCK=4096)
    assert (error.kind, error.offset, error.count) == ("race", 4000, 96)
    mostly_the_same[(9,)](out, 4096, BLOCK=4096)


def test_programs_that_store_the_same():
    out = torch.zeros(100)
    overlapping[(5,)](out, 0, 0, BLOCK=16)
    overlapping[(5,)](out, 4, 4, BLOCK=16)  # element i is i, whoever stores it
    assert out[:32].tolist() == list(range(32))


def test_launches_do_not_race_with_each_other():
    out = torch.zeros(16)
    for value in range(3):
        overlapping[(1,)](out + value, 1, 1, BLOCK=16)
        overlapping[(2,)](out, 0, 0, BLOCK=16)


@triton.jit
def locked(lock_ptr, out_ptr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    while tl.atomic_cas(lock_ptr, 0, 1) == 1:
        pass
    tl.store(out_ptr + i, tl.load(out_ptr + i) + tl.program_id(0))
    tl.atomic_xchg(lock_ptr, 0)


def test_a_lock_is_respected():
    lock, out = torch.zeros(1, dtype=torch.int32), torch.zeros(16)
    locked[(4,)](lock, out, BLOCK=16)
    assert out.tolist() == [6.0] * 16


@triton.jit
def met(arrived):
    tl.atomic_add(arrived, 1)
    while tl.atomic_add(arrived, 0) < tl.num_programs(0):
        pass


def test_a_program_that_waits_for_a_later_one_is_told_that_it_cannot():
    with pytest.raises(triton_cpu.KernelError, match=r"met waits in a while loop .* checked mode"):
        met[(2,)](torch.zeros(1, dtype=torch.int32))


@triton.jit
def signalled(box, out):
    tl.atomic_store(box, 5)
    tl.store(out, tl.atomic_load(box))


@pytest.mark.skipif(not hasattr(tl, "atomic_store"), reason="Triton 3.6 has no atomic stores")
def test_an_atomic_store_writes():
    out = torch.zeros(1, dtype=torch.int32)
    signalled[(1,)](torch.empty(1, dtype=torch.int32), out)
    assert out.item() == 5
    error = finding(signalled, (1,), torch.zeros(8, dtype=torch.int32)[8:], out)
    assert error.access == "atomic"


# ---- Lanes that a mask leaves out ----------------------------------------------------------------


@triton.jit
def total(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n)
    tl.store(out_ptr, tl.sum(v * 2.0, axis=0))


@triton.jit
def selected(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    v = tl.load(x_ptr + i, mask=i < n)
    tl.store(out_ptr, tl.sum(tl.where(i < n, v, 0.0), axis=0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_lane_without_a_value_reaches_a_result(dtype):
    x, out = torch.ones(20, dtype=dtype), torch.zeros(1, dtype=dtype)
    error = finding(total, (1,), x, out, 20, BLOCK=32)
    assert (error.kind, error.argument) == ("masked-off", "out_ptr")
    assert error.line == line_of(total, "tl.store")
    if x.element_size() > 2:
        assert f"the load in line {line_of(total, 'tl.load')}" in str(error)
    selected[(1,)](x, out, 20, BLOCK=32)
    assert out.item() == 20
    total[(1,)](x, out, 16, BLOCK=16)


@triton.jit
def added(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.atomic_add(out_ptr + i, tl.load(x_ptr + i, mask=i < n))


def test_a_lane_without_a_value_is_added_atomically():
    x, out = torch.ones(20), torch.zeros(32)
    error = finding(added, (1,), x, out, 20, BLOCK=32)
    assert (error.kind, error.offset, error.count) == ("masked-off", 20, 12)
    added[(1,)](x, out, 16, BLOCK=16)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_data_may_look_like_a_lane_without_a_value(dtype):
    x = torch.arange(-(1 << 15), 1 << 15).to(torch.int16).view(dtype)
    out, wide = torch.zeros_like(x), torch.zeros(1 << 16)
    move[(64,)](x, out, 1 << 16, 1, BLOCK=1024)
    torch.testing.assert_close(out, x, rtol=0, atol=0, equal_nan=True)
    move[(64,)](x, wide, 1 << 16, 1, BLOCK=1024)
    torch.testing.assert_close(wide, x.float(), rtol=0, atol=0, equal_nan=True)


def test_every_operation_that_accesses_memory_is_checked():
    assert set(instrument._ACCESSES) == analysis.WRITES | {"tt.load"}


# ---- The mode ------------------------------------------------------------------------------------


def test_both_kinds_of_variants_live_side_by_side():
    x, out = torch.randn(60), torch.zeros(64)[:60]
    for _ in range(2):
        with triton_cpu.checked(False):
            copy[(1,)](x, out, 61, 0, BLOCK=64)
            assert not checking.active
        assert finding(copy, (1,), x, out, 61, 0, BLOCK=64).offset == 60
        assert checking.active
    with triton_cpu.checked(False):
        plain = triton_cpu.prepare(copy, [x, out, 60, 0], {"BLOCK": 64})
    prepared = triton_cpu.prepare(copy, [x, out, 60, 0], {"BLOCK": 64})
    plain.launch((1, 1, 1), (x.data_ptr(), out.data_ptr(), 61, 0))
    with pytest.raises(triton_cpu.CheckError):
        prepared.launch((1, 1, 1), (x.data_ptr(), out.data_ptr(), 61, 0))
    assert "mt_check" in prepared.compiled.asm["c"] and "mt_check" not in plain.compiled.asm["c"]


def test_leaving_undoes_everything():
    def replaced():
        return [type(f) for f in (torch.empty, torch.Tensor.new_empty, mt.storage.Storage.allocate)]

    inside = replaced()
    with triton_cpu.checked(False):
        outside = replaced()
        assert not set(inside) & set(outside)
        with triton_cpu.checked():
            assert replaced() == inside
        assert replaced() == outside


def test_ops_forward_and_backward():
    x = mt.randn(7, 9, requires_grad=True)
    w = mt.randn(9, 5, requires_grad=True)
    loss = mt.nn.functional.cross_entropy((x @ w).relu(), mt.tensor([0, 1, 2, 3, 4, 0, 1]))
    loss.backward()
    with triton_cpu.checked(False):
        a, b = (t.detach().torch().clone().requires_grad_() for t in (x, w))
        target = torch.tensor([0, 1, 2, 3, 4, 0, 1])
        torch.nn.functional.cross_entropy((a @ b).relu(), target).backward()
        torch.testing.assert_close(x.grad.torch(), a.grad)
        torch.testing.assert_close(w.grad.torch(), b.grad)


SCRIPT = """
import torch, triton, triton.language as tl
import minitorch_triton.cpu as triton_cpu
triton_cpu.enable()

@triton.jit
def kernel(x_ptr):
    tl.store(x_ptr + tl.arange(0, 64), 1.0)

kernel[(1,)](torch.zeros(63))
"""


@pytest.mark.parametrize("value", ["1", "0"])
def test_the_environment_variable(tmp_path, value):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "MINITORCH_TRITON_CHECK": value, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode != 0) == (value == "1")
    found = "CheckError: kernel: store outside its buffer" in done.stderr
    assert found == (value == "1"), done.stderr
    assert not found or re.search(r"script.py:8: tl.store\(x_ptr", done.stderr)
