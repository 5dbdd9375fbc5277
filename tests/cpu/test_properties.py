"""Properties of the compiler for any shape, stride, mask and overlap of arguments, against NumPy.

Sizes, strides and offsets are run-time numbers, so that many examples share few variants.
"""

import hypothesis
import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from hypothesis import strategies as st

EXAMPLES = hypothesis.settings(
    max_examples=25, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
DTYPES = [torch.float32, torch.float16, torch.int32, torch.int8]
BLOCK_M, BLOCK_N = 4, 16


@triton.jit(do_not_specialize=["M", "N", "xm", "xn", "ym", "yn", "om", "on", "low"])
def elementwise(x_ptr, y_ptr, out_ptr, M, N, xm, xn, ym, yn, om, on, low, BM: tl.constexpr,
                BN: tl.constexpr):  # fmt: skip
    """out = max(x - y, y) where column >= low, else x, in place or not."""
    m = (tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)[:, None]
    n = (tl.program_id(1) * BN + tl.arange(0, BN)).to(tl.int64)[None, :]
    inside = (m < M) & (n < N)
    x = tl.load(x_ptr + m * xm + n * xn, mask=inside, other=1)
    y = tl.load(y_ptr + m * ym + n * yn, mask=inside & (n >= low), other=2)
    value = tl.where(n >= low, tl.maximum(x - y, y), x)
    tl.store(out_ptr + m * om + n * on, value, mask=inside)


@triton.jit(do_not_specialize=["M", "N", "xm", "xn"])
def rows(x_ptr, sum_ptr, max_ptr, scan_ptr, M, N, xm, xn, BM: tl.constexpr, BN: tl.constexpr):
    """Of each row: the sum, the place of the maximum, and the running sums."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.arange(0, BN)
    inside = (m < M)[:, None] & (n < N)[None, :]
    x = tl.load(x_ptr + m[:, None] * xm + n[None, :] * xn, mask=inside, other=0)
    x = x.to(sum_ptr.dtype.element_ty)
    tl.store(sum_ptr + m, tl.sum(x, axis=1), mask=m < M)
    largest = tl.where(inside, x, -1000)
    tl.store(max_ptr + m, tl.argmax(largest, axis=1), mask=m < M)
    tl.store(scan_ptr + m[:, None] * N + n[None, :], tl.cumsum(x, axis=1), mask=inside)


@triton.jit(do_not_specialize=["M", "N", "K", "am", "ak", "bk", "bn"])
def product(a_ptr, b_ptr, c_ptr, M, N, K, am, ak, bk, bn, BLOCK: tl.constexpr):
    m = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK, BLOCK], c_ptr.dtype.element_ty)
    for start in range(0, K, BLOCK):
        k = start + tl.arange(0, BLOCK)
        a = tl.load(a_ptr + m[:, None] * am + k[None, :] * ak,
                    mask=(m < M)[:, None] & (k < K)[None, :], other=0)  # fmt: skip
        b = tl.load(b_ptr + k[:, None] * bk + n[None, :] * bn,
                    mask=(k < K)[:, None] & (n < N)[None, :], other=0)  # fmt: skip
        total = tl.dot(a, b, total, out_dtype=c_ptr.dtype.element_ty)
    tl.store(c_ptr + m[:, None] * N + n[None, :], total, mask=(m < M)[:, None] & (n < N)[None, :])


@triton.jit(do_not_specialize=["n", "bins"])
def counts(x_ptr, out_ptr, n, bins, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n, other=0)
    tl.atomic_add(out_ptr + ((x % bins) + bins) % bins, 1, mask=i < n)


@st.composite
def matrices(draw, shape, dtype, expand=True):
    """A tensor with any order of dimensions, steps, offset and, to be read, expanded dimensions."""
    m, n = shape
    kind = draw(st.sampled_from(["rows", "columns", "steps", "expanded"]))
    m_ = 1 if kind == "expanded" and expand else m
    steps = draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) if kind == "steps" else (1, 1)
    offset = draw(st.integers(0, 3))
    seed = draw(st.integers(0, 2**31))
    size = m_ * steps[0] + offset, n * steps[1]
    values = torch.from_numpy(np.random.default_rng(seed).integers(-9, 10, size))
    values = values.to(dtype)
    if kind == "columns":
        values = values.T.contiguous().T
    return values[offset :: steps[0], :: steps[1]][:m_, :n].expand(m, n)


def exact(tensor):
    """The numbers as NumPy has them: float64 or int64."""
    return (tensor.double() if tensor.is_floating_point() else tensor.long()).numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@EXAMPLES
@hypothesis.given(data=st.data())
def test_elementwise(dtype, data):
    shape = M, N = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 40)))
    low = data.draw(st.integers(-2, N + 2))
    x = data.draw(matrices(shape, dtype, expand=False))
    y = data.draw(matrices(shape, dtype))
    out = data.draw(st.sampled_from(["new", "x", "y"]))
    alias = {"new": torch.zeros(shape, dtype=dtype), "x": x, "y": y if y.stride(0) else x}[out]
    y_, x_ = exact(y), exact(x)
    expected = np.where(np.arange(N) >= low, np.maximum(x_ - y_, y_), x_)
    grid = triton.cdiv(M, BLOCK_M), triton.cdiv(N, BLOCK_N)
    elementwise[grid](x, y, alias, M, N, *x.stride(), *y.stride(), *alias.stride(), low,
                      BM=BLOCK_M, BN=BLOCK_N)  # fmt: skip
    np.testing.assert_array_equal(exact(alias), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@EXAMPLES
@hypothesis.given(data=st.data())
def test_reductions_and_scans(dtype, data):
    shape = M, N = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 32)))
    x = data.draw(matrices(shape, dtype))
    wide = torch.float32 if dtype.is_floating_point else torch.int32
    sums, scans = torch.zeros(M, dtype=wide), torch.zeros(shape, dtype=wide)
    largest = torch.zeros(M, dtype=torch.int32)
    rows[triton.cdiv(M, BLOCK_M),](x, sums, largest, scans, M, N, *x.stride(), BM=BLOCK_M, BN=32)
    values = exact(x)
    np.testing.assert_array_equal(exact(sums), values.sum(1))
    np.testing.assert_array_equal(exact(largest), values.argmax(1))
    np.testing.assert_array_equal(exact(scans), values.cumsum(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int8])
@EXAMPLES
@hypothesis.given(data=st.data())
def test_products(dtype, data):
    M, N, K = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 40)))
    a, b = data.draw(matrices((M, K), dtype)), data.draw(matrices((K, N), dtype))
    c = torch.zeros(M, N, dtype=torch.float32 if dtype.is_floating_point else torch.int32)
    grid = triton.cdiv(M, 16), triton.cdiv(N, 16)
    product[grid](a, b, c, M, N, K, *a.stride(), *b.stride(), BLOCK=16)
    np.testing.assert_array_equal(exact(c), exact(a) @ exact(b))


@EXAMPLES
@hypothesis.given(st.lists(st.integers(-100, 100), max_size=100), st.integers(1, 20))
def test_atomics(numbers, bins):
    x, out = torch.tensor(numbers, dtype=torch.int32), torch.zeros(bins, dtype=torch.int32)
    counts[(triton.cdiv(max(len(numbers), 1), 16),)](x, out, len(numbers), bins, BLOCK=16)
    np.testing.assert_array_equal(out.numpy(), np.bincount(np.array(numbers, int) % bins,
                                                           minlength=bins))  # fmt: skip
