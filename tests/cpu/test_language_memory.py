"""Memory: strides, masks, order of loads and stores, pointers, atomics."""

import pytest
import torch
import triton
import triton.language as tl


@triton.jit
def copy_strided(x, out, M, N, sm, sn, BM: tl.constexpr, BN: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)[:, None]
    n = tl.program_id(1) * BN + tl.arange(0, BN)[None, :]
    mask = (m < M) & (n < N)
    tl.store(out + m * N + n, tl.load(x + m * sm + n * sn, mask=mask), mask=mask)


@pytest.mark.parametrize("view", ["plain", "transposed", "steps", "row", "column"])
def test_any_strides(view):
    x = torch.randn(40, 70)
    x = {
        "plain": x,
        "transposed": x.T,
        "steps": x[::3, ::2],
        "row": x[:1].expand(13, 70),
        "column": x[:, :1].expand(40, 9),
    }[view]
    out = torch.zeros(x.shape)
    grid = (triton.cdiv(x.shape[0], 16), triton.cdiv(x.shape[1], 32))
    copy_strided[grid](x, out, *x.shape, *x.stride(), BM=16, BN=32)
    assert torch.equal(out, x)


@triton.jit
def copy_dimensions(
    x, out, rows, size0, size1, s0, s1, inner, BLOCK: tl.constexpr, C: tl.constexpr
):
    """Rows are numbered through two leading dimensions, split again by / and %."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    column = tl.arange(0, C)
    source = (row // size1) * s0 + (row % size1) * s1
    mask = (row < rows)[:, None] & (column < inner)[None, :]
    v = tl.load(x + source[:, None] + column[None, :], mask=mask)
    tl.store(out + row[:, None] * inner + column[None, :], v, mask=mask)


def test_row_index_by_division():
    x = torch.randn(5, 7, 20)[:, ::2, 3:13]
    out = torch.zeros(5, 4, 10)
    copy_dimensions[(3,)](x, out, 20, 5, 4, *x.stride()[:2], 10, BLOCK=8, C=16)
    assert torch.equal(out, x)


@triton.jit
def window(x, out, n, shift, BLOCK: tl.constexpr):
    """Elements before and after the row are masked off: a mask with two ends."""
    i = tl.arange(0, BLOCK)
    j = i + shift
    v = tl.load(x + j, mask=(j >= 0) & (j < n), other=-1.0)
    tl.store(out + i, v + tl.sum(v, 0))


@pytest.mark.parametrize("shift", [-40, -5, 0, 5, 40])
def test_masks_with_two_ends(shift):
    x = torch.randn(20)
    out = torch.zeros(32)
    window[(1,)](x, out, 20, shift, BLOCK=32)
    v = torch.tensor([x[i + shift].item() if 0 <= i + shift < 20 else -1.0 for i in range(32)])
    torch.testing.assert_close(out, v + v.sum(), rtol=1e-5, atol=1e-5)


@triton.jit
def two_masks(x, y, out, n, m, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a = tl.load(x + i, mask=i < n, other=1.0)
    b = tl.load(y + i, mask=i < m, other=2.0)
    even = tl.load(x + i, mask=(i < n) & (i % 2 == 0), other=3.0)
    tl.store(out + i, a * b + even)


def test_loads_with_different_masks():
    x, y = torch.randn(20), torch.randn(10)
    out = torch.zeros(32)
    two_masks[(1,)](x, y, out, 20, 10, BLOCK=32)
    a, b, c = torch.ones(32), torch.full((32,), 2.0), torch.full((32,), 3.0)
    a[:20], b[:10], c[:20:2] = x, y, x[::2]
    torch.testing.assert_close(out, a * b + c)


@triton.jit
def rotate_in_place(x, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x + (i + 1) % BLOCK, tl.load(x + i))


@triton.jit
def reverse_in_place(x, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x + BLOCK - 1 - i, tl.load(x + i) * 2)


@triton.jit
def swap_in_place(x, y, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a = tl.load(x + i)
    b = tl.load(y + i)
    tl.store(x + i, b)
    tl.store(y + i, a)


def test_a_load_is_complete_before_a_store_that_follows_it():
    x = torch.randn(32)
    rotated = x.clone()
    rotate_in_place[(1,)](rotated, BLOCK=32)
    assert torch.equal(rotated, x.roll(1))
    reversed_ = x.clone()
    reverse_in_place[(1,)](reversed_, BLOCK=32)
    assert torch.equal(reversed_, 2 * x.flip(0))
    a, b = x.clone(), -x
    swap_in_place[(1,)](a, b, BLOCK=32)
    assert torch.equal(a, -x) and torch.equal(b, x)


@triton.jit
def read_back(x, out, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x + i, i.to(tl.float32))
    tl.store(out + i, tl.load(x + BLOCK - 1 - i))


def test_a_load_sees_the_store_before_it():
    x, out = torch.zeros(32), torch.zeros(32)
    read_back[(1,)](x, out, BLOCK=32)
    assert torch.equal(out, torch.arange(31.0, -1.0, -1.0))


@triton.jit
def shift_in_loop(x, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    for _ in range(n):
        tl.store(x + i + 1, tl.load(x + i))


def test_memory_that_a_loop_changes():
    x = torch.arange(33.0)
    shift_in_loop[(1,)](x, 3, BLOCK=32)
    expected = torch.arange(33.0)
    for _ in range(3):
        expected[1:] = expected[:-1].clone()
    assert torch.equal(x, expected)


@triton.jit
def through_table(table, sizes, value, BLOCK: tl.constexpr):
    pid = tl.program_id(0)
    p = tl.load(table + pid).to(tl.pointer_type(tl.float32))
    n = tl.load(sizes + pid)
    for start in range(0, n, BLOCK):
        i = start + tl.arange(0, BLOCK)
        tl.store(p + i, tl.load(p + i, mask=i < n) + value, mask=i < n)


def test_addresses_from_a_table():
    tensors = [torch.randn(n) for n in (5, 40, 64)]
    before = [t.clone() for t in tensors]
    table = torch.tensor([t.data_ptr() for t in tensors])
    sizes = torch.tensor([t.numel() for t in tensors])
    through_table[(3,)](table, sizes, 1.5, BLOCK=32)
    for new, old in zip(tensors, before, strict=True):
        assert torch.equal(new, old + 1.5)


@triton.jit
def gather_pointers(table, out, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    p = tl.load(table + i).to(tl.pointer_type(tl.float32))
    tl.store(out + i, tl.load(p))


def test_a_block_of_addresses():
    x = torch.randn(16)
    order = torch.randperm(16)
    table = x.data_ptr() + 4 * order
    out = torch.zeros(16)
    gather_pointers[(1,)](table, out, BLOCK=16)
    assert torch.equal(out, x[order])


@triton.jit
def atomics(x, where, total, largest, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    v = tl.load(x + i, mask=mask)
    bin = tl.load(where + i, mask=mask)
    tl.atomic_add(total + bin, v, mask=mask)
    tl.atomic_max(largest + bin, v, mask=mask)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.int64, torch.float64])
def test_atomics_from_many_programs(dtype):
    n = 5000
    x = torch.randint(-50, 50, (n,)).to(dtype)
    where = torch.randint(0, 7, (n,), dtype=torch.int32)
    total = torch.zeros(7, dtype=dtype)
    largest = torch.full((7,), -100, dtype=dtype)
    atomics[(triton.cdiv(n, 128),)](x, where, total, largest, n, BLOCK=128)
    assert torch.equal(total, torch.zeros(7, dtype=dtype).index_add(0, where, x))
    expected = torch.stack([x[where == b].max() for b in range(7)])
    assert torch.equal(largest, expected)


@triton.jit
def tickets(counter, out, n):
    mine = tl.atomic_add(counter, 1)
    tl.store(out + mine, tl.program_id(0))
    old = tl.atomic_cas(counter + 1, tl.program_id(0), 1000)
    tl.store(out + n + tl.program_id(0), old)


def test_results_of_atomics():
    counter = torch.tensor([0, 3], dtype=torch.int32)
    out = torch.full((16,), -1, dtype=torch.int32)
    tickets[(8,)](counter, out, 8)
    assert counter.tolist() == [8, 1000]
    assert sorted(out[:8].tolist()) == list(range(8))
    assert all(v in (3, 1000) for v in out[8:].tolist()) and out[8 + 3] == 3


@triton.jit
def booleans(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=0)
    tl.store(out + i, ~v, mask=i < n)


def test_boolean_tensors():
    x = torch.arange(20) % 3 == 0
    out = torch.zeros(20, dtype=torch.bool)
    booleans[(1,)](x, out, 20, BLOCK=32)
    assert torch.equal(out, ~x)


@triton.jit
def descriptor_copy(x, out, M, N, BM: tl.constexpr, BN: tl.constexpr):
    source = tl.make_tensor_descriptor(x, [M, N], [N, 1], [BM, BN])
    target = tl.make_tensor_descriptor(out, [M, N], [N, 1], [BM, BN])
    m, n = tl.program_id(0) * BM, tl.program_id(1) * BN
    target.store([m, n], source.load([m, n]) * 2)


def test_tensor_descriptors():
    x = torch.randn(20, 40)
    out = torch.zeros(20, 40)
    descriptor_copy[(2, 3)](x, out, 20, 40, BM=16, BN=16)
    assert torch.equal(out, 2 * x)


@triton.jit
def load_where(x, out, m, n, KIND: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    a, b = i < m, j < n
    if KIND == "nand":
        mask = ~(a & b)
    elif KIND == "nor":
        mask = ~(a | b)
    elif KIND == "or":
        mask = (i >= m) | (j >= n)
    elif KIND == "xor":
        mask = a ^ b
    elif KIND == "ne":
        mask = a != b
    elif KIND == "eq":
        mask = a == b
    elif KIND == "where":
        mask = tl.where(a, ~b, b)
    else:
        mask = ~(a & b & (j > 2))
    tl.store(out + i * N + j, tl.load(x + i * N + j, mask=mask, other=0.0))


MASKS = {
    "nand": lambda a, b, c: ~(a & b),
    "nor": lambda a, b, c: ~(a | b),
    "or": lambda a, b, c: ~a | ~b,
    "xor": lambda a, b, c: a ^ b,
    "ne": lambda a, b, c: a != b,
    "eq": lambda a, b, c: a == b,
    "where": lambda a, b, c: torch.where(a, ~b, b),
    "three": lambda a, b, c: ~(a & b & c),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_rows_and_columns_in_any_combination(kind):
    x, out = torch.randn(4, 16), torch.zeros(4, 16)
    load_where[(1,)](x, out, 3, 13, KIND=kind, M=4, N=16)
    i, j = torch.arange(4)[:, None], torch.arange(16)[None, :]
    assert torch.equal(out, torch.where(MASKS[kind](i < 3, j < 13, j > 2), x, 0.0))


@triton.jit
def message_kernel(box, out):
    """The first program leaves a message for the second; both wait for a third that never is."""
    i = tl.arange(0, 8)
    if tl.program_id(0) == 0:
        tl.atomic_store(box + 1 + i, i * i, mask=i < 5)
        tl.atomic_store(box, 7)
        tl.store(out, tl.atomic_poll(box + 9, 1, timeout_ns=1000).to(tl.int32))
    else:
        arrived = tl.atomic_poll(box, 7)
        tl.store(out + 1, arrived.to(tl.int32) + tl.atomic_load(box))
        tl.store(out + 2 + i, tl.atomic_load(box + 1 + i, mask=i < 5))


@pytest.mark.skipif(not hasattr(tl, "atomic_poll"), reason="Triton 3.6 has no atomic loads")
def test_atomic_loads_stores_and_waiting():
    box, out = torch.zeros(10, dtype=torch.int32), torch.full((10,), -1, dtype=torch.int32)
    message_kernel[(2,)](box, out)
    assert box.tolist() == [7, 0, 1, 4, 9, 16, 0, 0, 0, 0]
    assert out[:7].tolist() == [0, 8, 0, 1, 4, 9, 16]


@triton.jit
def copy_constants(x: tl.const, out, B: tl.constexpr):
    tl.store(out + tl.arange(0, B), tl.load(x + tl.arange(0, B)))


def test_pointers_to_constants():
    x, out = torch.randn(64), torch.zeros(64)
    copy_constants[(1,)](x, out, B=64)
    assert torch.equal(out, x)
