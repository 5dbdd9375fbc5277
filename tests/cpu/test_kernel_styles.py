"""Kernels in the styles of public projects: language-model layers, scans, quantisation, atomics."""

import pytest
import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from triton.language.extra import libdevice

# ---- RMS normalisation: a program per row forward, per group of rows backward -------------------


@triton.jit
def rms_norm_forward(Y, X, W, RSTD, n_cols, eps, BLOCK_SIZE: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    x = tl.load(X + row * n_cols + cols, mask=mask, other=0).to(tl.float32)
    w = tl.load(W + cols, mask=mask, other=0)
    rstd = libdevice.rsqrt(tl.sum(x * x, axis=0) / n_cols + eps)
    tl.store(RSTD + row, rstd)
    tl.store(Y + row * n_cols + cols, (x * rstd * w).to(Y.dtype.element_ty), mask=mask)


@triton.jit
def rms_norm_backward(DX, DW, DY, X, W, RSTD, n_rows, n_cols, rows_per_program,
                      BLOCK_SIZE: tl.constexpr):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n_cols
    w = tl.load(W + cols, mask=mask, other=0.0)
    dw = tl.zeros((BLOCK_SIZE,), dtype=tl.float32)
    last = min((program + 1) * rows_per_program, n_rows)
    for row in range(program * rows_per_program, last):
        dy = tl.load(DY + row * n_cols + cols, mask=mask, other=0.0)
        x = tl.load(X + row * n_cols + cols, mask=mask, other=0.0)
        rstd = tl.load(RSTD + row)
        m = dy * w
        dx = rstd * m - (1 / n_cols) * rstd * rstd * rstd * tl.sum(m * x, axis=0) * x
        dw += dy * (x * rstd)
        tl.store(DX + row * n_cols + cols, dx, mask=mask)
    tl.store(DW + program * n_cols + cols, dw, mask=mask)


def test_rms_norm():
    x = torch.randn(37, 200, requires_grad=True)
    w = torch.randn(200, requires_grad=True)
    dy = torch.randn(37, 200)
    expected = F.rms_norm(x, (200,), w, 1e-6)
    expected.backward(dy)
    X, W = x.detach(), w.detach()
    y, rstd = torch.empty(37, 200), torch.empty(37)
    rms_norm_forward[(37,)](y, X, W, rstd, 200, 1e-6, BLOCK_SIZE=256)
    torch.testing.assert_close(y, expected.detach())
    dx, dw = torch.empty(37, 200), torch.empty(4, 200)
    rms_norm_backward[(4,)](dx, dw, dy, X, W, rstd, 37, 200, 10, BLOCK_SIZE=256)
    torch.testing.assert_close(dx, x.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(dw.sum(0), w.grad, atol=1e-5, rtol=1e-4)


# ---- Rotary embedding: in place, two halves of each head ----------------------------------------


@triton.jit
def rotary_kernel(Q, COS, SIN, n_heads: tl.constexpr, head_dim: tl.constexpr,
                  BACKWARD: tl.constexpr):  # fmt: skip
    position = tl.program_id(0)
    half: tl.constexpr = head_dim // 2
    cols = tl.arange(0, half)
    cos = tl.load(COS + position * half + cols)
    sin = tl.load(SIN + position * half + cols)
    if BACKWARD:
        sin = -sin
    heads = position * n_heads + tl.arange(0, n_heads)
    first = Q + heads[:, None] * head_dim + cols[None, :]
    a = tl.load(first)
    b = tl.load(first + half)
    tl.store(first, a * cos - b * sin)
    tl.store(first + half, b * cos + a * sin)


def test_rotary_embedding():
    q = torch.randn(10, 4, 32)
    angles = torch.outer(torch.arange(10.0), 10000 ** -torch.linspace(0, 1, 17)[:16])
    rotated = torch.view_as_complex(torch.stack([q[..., :16], q[..., 16:]], -1))
    rotated = rotated * torch.polar(torch.ones_like(angles), angles)[:, None]
    expected = torch.cat([rotated.real, rotated.imag], -1)
    x = q.clone()
    rotary_kernel[(10,)](x, angles.cos(), angles.sin(), 4, 32, False)
    torch.testing.assert_close(x, expected)
    rotary_kernel[(10,)](x, angles.cos(), angles.sin(), 4, 32, True)
    torch.testing.assert_close(x, q, atol=1e-5, rtol=1e-5)


# ---- Cross-entropy: online softmax over a large vocabulary, early return, gradient in place ------


@triton.jit
def cross_entropy_kernel(X, Y, LOSS, n_cols, ignore_index, smoothing: tl.constexpr,
                         BLOCK_SIZE: tl.constexpr):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    y = tl.load(Y + row)
    X += row * n_cols
    if y == ignore_index:
        for start in range(0, n_cols, BLOCK_SIZE):
            cols = start + tl.arange(0, BLOCK_SIZE)
            tl.store(X + cols, 0.0, mask=cols < n_cols)
        return
    m = float("-inf")
    d = 0.0
    smooth = 0.0
    eps = smoothing / n_cols
    x_y = tl.load(X + y)
    for start in range(0, n_cols, BLOCK_SIZE):
        cols = start + tl.arange(0, BLOCK_SIZE)
        x = tl.load(X + cols, mask=cols < n_cols, other=float("-inf"))
        if smoothing > 0:
            smooth += tl.sum(tl.where(cols < n_cols, -eps * x, 0.0))
        m_new = tl.maximum(m, tl.max(x))
        d = d * tl.exp(m - m_new) + tl.sum(tl.exp(x - m_new))
        m = m_new
    lse = m + tl.log(d)
    for start in range(0, n_cols, BLOCK_SIZE):
        cols = start + tl.arange(0, BLOCK_SIZE)
        x = tl.load(X + cols, mask=cols < n_cols, other=float("-inf"))
        gradient = tl.exp(x - m) / d - eps
        gradient = tl.where(cols != y, gradient, gradient - (1 - smoothing))
        tl.store(X + cols, gradient, mask=cols < n_cols)
    tl.debug_barrier()
    loss = lse - x_y
    if smoothing > 0:
        loss = loss * (1 - smoothing) + smooth + smoothing * lse
    tl.store(LOSS + row, loss)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing):
    x = torch.randn(13, 1000, requires_grad=True)
    y = torch.randint(0, 1000, (13,))
    y[3] = -100
    expected = F.cross_entropy(x, y, ignore_index=-100, label_smoothing=smoothing, reduction="none")
    expected.sum().backward()
    X, loss = x.detach().clone(), torch.zeros(13)
    cross_entropy_kernel[(13,)](X, y, loss, 1000, -100, smoothing, BLOCK_SIZE=256)
    torch.testing.assert_close(loss, expected.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(X, x.grad, atol=1e-6, rtol=1e-4)


# ---- Scans and reductions with functions of several values ---------------------------------------


@triton.jit
def recurrence(a_left, b_left, a_right, b_right):
    return a_left * a_right, b_left * a_right + b_right


@triton.jit
def recurrence_kernel(A, B, H, n, BLOCK_SIZE: tl.constexpr, REVERSE: tl.constexpr):
    offsets = tl.program_id(0) * n + tl.arange(0, BLOCK_SIZE)
    mask = tl.arange(0, BLOCK_SIZE) < n
    a = tl.load(A + offsets, mask=mask, other=1.0)
    b = tl.load(B + offsets, mask=mask, other=0.0)
    _, h = tl.associative_scan((a, b), 0, recurrence, reverse=REVERSE)
    tl.store(H + offsets, h, mask=mask)


@pytest.mark.parametrize("reverse", [False, True])
def test_linear_recurrence(reverse):
    a, b, h = torch.rand(5, 100), torch.randn(5, 100), torch.empty(5, 100)
    recurrence_kernel[(5,)](a, b, h, 100, BLOCK_SIZE=128, REVERSE=reverse)
    state = torch.zeros(5)
    for t in reversed(range(100)) if reverse else range(100):
        state = state * a[:, t] + b[:, t]
        torch.testing.assert_close(h[:, t], state, atol=1e-5, rtol=1e-5)


@triton.jit
def welford(mean_1, m2_1, weight_1, mean_2, m2_2, weight_2):
    delta = mean_2 - mean_1
    weight = weight_1 + weight_2
    share = tl.where(weight == 0.0, 0.0, weight_2 / weight)
    return mean_1 + delta * share, m2_1 + m2_2 + delta * delta * weight_1 * share, weight


@triton.jit
def variance_kernel(X, MEAN, VAR, n, BLOCK_SIZE: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK_SIZE)
    mask = cols < n
    x = tl.load(X + row * n + cols, mask=mask, other=0.0)
    mean, m2, weight = tl.reduce((x, tl.zeros_like(x), mask.to(tl.float32)), 0, welford)
    tl.store(MEAN + row, mean)
    tl.store(VAR + row, m2 / weight)


def test_variance_by_welford():
    x, mean, var = torch.randn(5, 100) + 3, torch.empty(5), torch.empty(5)
    variance_kernel[(5,)](x, mean, var, 100, BLOCK_SIZE=128)
    torch.testing.assert_close(mean, x.mean(1))
    torch.testing.assert_close(var, x.var(1, unbiased=False))


# ---- Four-bit weights, atomics, a 3-D grid -------------------------------------------------------


@triton.jit
def unpack_kernel(PACKED, OUT, scale, n: tl.constexpr):
    packed = tl.load(PACKED + tl.arange(0, n))
    low = (packed & 0xF).to(tl.int8) - 8
    high = (packed >> 4).to(tl.int8) - 8
    tl.store(OUT + tl.arange(0, 2 * n), tl.interleave(low, high).to(tl.float32) * scale)


def test_four_bit_weights():
    packed, out = torch.randint(0, 256, (64,), dtype=torch.uint8), torch.empty(128)
    unpack_kernel[(1,)](packed, out, 0.5, 64)
    expected = torch.stack([packed & 15, packed >> 4], 1).flatten().float() - 8
    assert torch.equal(out, expected * 0.5)


@triton.jit
def embedding_backward(DY, INDICES, DW, n, dim, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    indices = tl.load(INDICES + rows, mask=rows < n, other=0)
    mask = (rows[:, None] < n) & (cols[None, :] < dim)
    dy = tl.load(DY + rows[:, None] * dim + cols[None, :], mask=mask, other=0.0)
    tl.atomic_add(DW + indices[:, None] * dim + cols[None, :], dy, mask=mask)


def test_embedding_backward():
    indices, dy, dw = torch.randint(0, 20, (333,)), torch.randn(333, 50), torch.zeros(20, 50)
    embedding_backward[(triton.cdiv(333, 16), 2)](dy, indices, dw, 333, 50, BLOCK_M=16, BLOCK_N=32)
    expected = torch.zeros(20, 50).index_add_(0, indices, dy)
    torch.testing.assert_close(dw, expected, atol=1e-4, rtol=1e-5)


@triton.jit
def split_k_kernel(A, B, C, M, N, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
                   BLOCK_K: tl.constexpr, SPLIT_K: tl.constexpr):  # fmt: skip
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.program_id(2) * BLOCK_K + tl.arange(0, BLOCK_K)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for _ in range(tl.cdiv(K, BLOCK_K * SPLIT_K)):
        a = tl.load(A + m[:, None] * K + k, mask=(m[:, None] < M) & (k < K), other=0.0)
        b = tl.load(B + k[:, None] * N + n, mask=(k[:, None] < K) & (n < N), other=0.0)
        acc += tl.dot(a, b, input_precision="ieee")
        k += BLOCK_K * SPLIT_K
    tl.atomic_add(C + m[:, None] * N + n, acc, mask=(m[:, None] < M) & (n < N))


def test_split_k():
    a, b, c = torch.randn(50, 200), torch.randn(200, 40), torch.zeros(50, 40)
    split_k_kernel[(2, 2, 3)](a, b, c, 50, 40, 200, BLOCK_M=32, BLOCK_N=32, BLOCK_K=16, SPLIT_K=3)
    torch.testing.assert_close(c, a @ b, atol=1e-4, rtol=1e-5)
