"""Kernels that once went wrong; `fuzz.py` found them."""

import pytest
import torch
import triton
import triton.language as tl


@triton.jit
def negated(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out_ptr + i, -tl.load(x_ptr + i, mask=i < n, other=-1.0))


def test_the_negative_of_a_negative_constant():
    x, out = torch.randn(20), torch.zeros(32)
    negated[(1,)](x, out, 20, BLOCK=32)
    assert torch.equal(out, torch.cat([-x, torch.ones(12)]))


@triton.jit
def larger(a, i, b, j):
    later = b >= a
    return tl.where(later, b, a), tl.where(later, j, i)


@triton.jit
def scans(x_ptr, out_ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    i = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    x = tl.load(x_ptr + i)
    sums = tl.cumsum(x, axis=1)
    largest, where = tl.associative_scan((x, i), axis=1, combine_fn=larger)
    tl.store(out_ptr + i, tl.where(sums > 0, sums, 0.0) + largest * 10 + where * 100)


def test_scans_over_one_column():
    x, out = torch.randn(8, 1), torch.zeros(8, 1)
    scans[(1,)](x, out, ROWS=8, COLUMNS=1)
    expected = x.clamp(min=0) + x * 10 + torch.arange(8)[:, None] * 100
    torch.testing.assert_close(out, expected)


@triton.jit
def chosen(x_ptr, choice_ptr, out_ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    i = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    choice = tl.load(choice_ptr + i) != 0
    tl.store(out_ptr + i, tl.load(x_ptr + i, mask=choice, other=0))


@pytest.mark.parametrize("columns", [2, 4, 8, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int16])
def test_short_rows_with_a_mask_from_memory(dtype, columns):
    x = torch.arange(1, 16 * columns + 1).reshape(16, columns).to(dtype)
    choice = torch.randint(0, 2, x.shape, dtype=torch.int8)
    out = torch.empty_like(x)
    chosen[(1,)](x, choice, out, ROWS=16, COLUMNS=columns)
    assert torch.equal(out, x * choice)


@triton.jit
def overwritten_start(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    sums = tl.load(x_ptr + i)
    for step in range(n):
        sums += step
    tl.store(x_ptr + i, i)
    tl.store(out_ptr + i, sums)


def test_where_a_sum_in_a_loop_began_is_overwritten_after_the_loop():
    x = torch.randint(-9, 9, (32,), dtype=torch.int32)
    expected, out = x + 6, torch.zeros_like(x)
    overwritten_start[(1,)](x, out, 4, BLOCK=32)
    assert torch.equal(out, expected)
    assert torch.equal(x, torch.arange(32, dtype=torch.int32))


@triton.jit
def reductions_of_both_axes(x, out, columns, rows, N, B: tl.constexpr):
    i, j = tl.arange(0, 2), tl.arange(0, B)
    places = i[:, None] * N + j[None, :]
    inside = (j < N)[None, :] & (i < 2)[:, None]
    v = tl.load(x + places, mask=inside, other=-2.0)
    tl.store(out + places, v * 2, mask=inside)
    largest, total = tl.max(v, axis=0), tl.sum(v, axis=0)
    tl.store(rows + i, tl.max(v * 3 + 1, axis=1))
    tl.store(columns + j, largest)
    tl.store(columns + B + j, total)


@pytest.mark.parametrize("n", [5, 64, 69, 128])
def test_reductions_of_columns_beside_one_of_rows_take_each_element_once(n):
    x, out = torch.randn(2, n), torch.zeros(2, n)
    columns, rows = torch.zeros(2, 128), torch.zeros(2)
    reductions_of_both_axes[(1,)](x, out, columns, rows, n, B=128)
    wide = torch.cat([x, torch.full((2, 128 - n), -2.0)], 1)
    assert torch.equal(out, x * 2)
    assert torch.equal(columns, torch.stack([wide.amax(0), wide.sum(0)]))
    torch.testing.assert_close(rows, (wide * 3 + 1).amax(1))
