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
