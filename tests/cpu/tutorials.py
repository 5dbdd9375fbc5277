"""Kernels of Triton's tutorials with their launches, for the tests and for benchmarks/tutorials.py.

Each function takes and returns tensors, and computes what the PyTorch function that it is compared
with does.
"""

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

# ---- Attention, backward -------------------------------------------------------------------------


@triton.jit
def attention_backward_keys(
    Q, K, V, DO, DK, DV, LSE, DELTA, scale, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    HEAD_DIM: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Gradients of one block of keys and values, over all blocks of queries that see it."""
    head = tl.program_id(1).to(tl.int64) * N
    start = tl.program_id(0) * BLOCK_N
    n, d = start + tl.arange(0, BLOCK_N), tl.arange(0, HEAD_DIM)
    rows = (head + n)[:, None] * HEAD_DIM + d[None, :]
    k, v = tl.load(K + rows), tl.load(V + rows)
    dk = tl.zeros((BLOCK_N, HEAD_DIM), tl.float32)
    dv = tl.zeros((BLOCK_N, HEAD_DIM), tl.float32)
    for first in range(start if CAUSAL else 0, N, BLOCK_M):
        m = first + tl.arange(0, BLOCK_M)
        queries = (head + m)[:, None] * HEAD_DIM + d[None, :]
        q, do = tl.load(Q + queries), tl.load(DO + queries)
        p = tl.exp(tl.dot(k, tl.trans(q)) * scale - tl.load(LSE + head + m)[None, :])
        if CAUSAL:
            p = tl.where(m[None, :] >= n[:, None], p, 0.0)
        dv += tl.dot(p.to(do.dtype), do)
        dp = tl.dot(v, tl.trans(do))
        ds = p * (dp - tl.load(DELTA + head + m)[None, :])
        dk += tl.dot(ds.to(q.dtype), q)
    tl.store(DK + rows, dk * scale)
    tl.store(DV + rows, dv)


@triton.jit
def attention_backward_queries(
    Q, K, V, DO, DQ, LSE, DELTA, scale, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    HEAD_DIM: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Gradients of one block of queries, over all blocks of keys that it sees."""
    head = tl.program_id(1).to(tl.int64) * N
    start = tl.program_id(0) * BLOCK_M
    m, d = start + tl.arange(0, BLOCK_M), tl.arange(0, HEAD_DIM)
    rows = (head + m)[:, None] * HEAD_DIM + d[None, :]
    q, do = tl.load(Q + rows), tl.load(DO + rows)
    lse, delta = tl.load(LSE + head + m), tl.load(DELTA + head + m)
    dq = tl.zeros((BLOCK_M, HEAD_DIM), tl.float32)
    for first in range(0, start + BLOCK_M if CAUSAL else N, BLOCK_N):
        n = first + tl.arange(0, BLOCK_N)
        keys = (head + n)[:, None] * HEAD_DIM + d[None, :]
        k, v = tl.load(K + keys), tl.load(V + keys)
        p = tl.exp(tl.dot(q, tl.trans(k)) * scale - lse[:, None])
        if CAUSAL:
            p = tl.where(m[:, None] >= n[None, :], p, 0.0)
        ds = p * (tl.dot(do, tl.trans(v)) - delta[:, None])
        dq += tl.dot(ds.to(k.dtype), k)
    tl.store(DQ + rows, dq * scale)


@triton.jit
def row_products(X, Y, OUT, D: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    i = row * D + tl.arange(0, D)
    tl.store(OUT + row, tl.sum(tl.load(X + i).to(tl.float32) * tl.load(Y + i)))


def attention_backward(q, k, v, output, lse, grad, causal, block=64):
    """Gradients of scaled dot-product attention.

    Args:
        q, k, v, output, grad: (batch, heads, length, head dimension), contiguous; the length a
            multiple of ``block``.
        lse: (batch, heads, length), logarithm of the sum of the scores' exponentials.

    Returns:
        The gradients of q, k and v.
    """
    length, dimension = q.shape[-2:]
    heads = q.shape[0] * q.shape[1]
    dq, dk, dv, delta = map(torch.empty_like, (q, k, v, lse))
    row_products[(heads * length,)](output, grad, delta, dimension)
    grid = (length // block, heads)
    constants = {"BLOCK_M": block, "BLOCK_N": block, "HEAD_DIM": dimension, "CAUSAL": causal}
    scale = dimension**-0.5
    shared = (lse, delta, scale, length)
    attention_backward_keys[grid](q, k, v, grad, dk, dv, *shared, **constants)
    attention_backward_queries[grid](q, k, v, grad, dq, *shared, **constants)
    return dq, dk, dv


# ---- Grouped matrix products ---------------------------------------------------------------------


@triton.jit
def grouped_matmul_kernel(
    a_table, b_table, c_table, sizes, groups, PROGRAMS: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A fixed number of programs takes turns at the tiles of all products."""
    tile = tl.program_id(0)
    done = 0
    for group in range(groups):
        M, N = tl.load(sizes + 3 * group), tl.load(sizes + 3 * group + 1)
        K = tl.load(sizes + 3 * group + 2)
        across = tl.cdiv(N, BLOCK_N)
        tiles = tl.cdiv(M, BLOCK_M) * across
        a = tl.load(a_table + group).to(tl.pointer_type(tl.float32))
        b = tl.load(b_table + group).to(tl.pointer_type(tl.float32))
        c = tl.load(c_table + group).to(tl.pointer_type(tl.float32))
        while tile < done + tiles:
            m = (tile - done) // across * BLOCK_M + tl.arange(0, BLOCK_M)
            n = (tile - done) % across * BLOCK_N + tl.arange(0, BLOCK_N)
            total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
            for start in range(0, K, BLOCK_K):
                k = start + tl.arange(0, BLOCK_K)
                left = (m < M)[:, None] & (k < K)[None, :]
                right = (k < K)[:, None] & (n < N)[None, :]
                x = tl.load(a + m[:, None] * K + k[None, :], mask=left, other=0.0)
                y = tl.load(b + k[:, None] * N + n[None, :], mask=right, other=0.0)
                total = tl.dot(x, y, total)
            tl.store(
                c + m[:, None] * N + n[None, :], total, mask=(m < M)[:, None] & (n < N)[None, :]
            )
            tile += PROGRAMS
        done += tiles


def grouped_matmul(pairs, programs=8, block=64):
    """The products of (a, b) pairs of contiguous float32 matrices of any sizes, in one launch."""
    results = [torch.empty(a.shape[0], b.shape[1]) for a, b in pairs]
    tables = [
        torch.tensor([matrix.data_ptr() for matrix in matrices])
        for matrices in ([a for a, _ in pairs], [b for _, b in pairs], results)
    ]
    sizes = torch.tensor([(*a.shape, b.shape[1]) for a, b in pairs], dtype=torch.int32)
    sizes = sizes[:, [0, 2, 1]].contiguous()
    grouped_matmul_kernel[(programs,)](
        *tables, sizes, len(pairs), programs, BLOCK_M=block, BLOCK_N=block, BLOCK_K=block
    )
    return results


# ---- Persistent matrix product with descriptors --------------------------------------------------


@triton.jit
def persistent_matmul_kernel(a, b, c, M, N, K, PROGRAMS: tl.constexpr):
    """Tiles of a b^T, of the sizes that the descriptors say."""
    BLOCK_M: tl.constexpr = a.block_shape[0]
    BLOCK_N: tl.constexpr = b.block_shape[0]
    BLOCK_K: tl.constexpr = a.block_shape[1]
    across = tl.cdiv(N, BLOCK_N)
    tiles = tl.cdiv(M, BLOCK_M) * across
    for tile in tl.range(tl.program_id(0), tiles, PROGRAMS, flatten=True):
        m, n = tile // across * BLOCK_M, tile % across * BLOCK_N
        total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for k in range(0, K, BLOCK_K):
            total = tl.dot(a.load([m, k]), b.load([n, k]).T, total)
        c.store([m, n], total.to(c.dtype))


def persistent_matmul(a, b, programs=4, block=(64, 64, 64)):
    """a @ b.T for contiguous matrices (M, K) and (N, K) with rows of a multiple of 16 bytes."""
    (M, K), N = a.shape, b.shape[0]
    c = torch.empty(M, N, dtype=a.dtype)
    m, n, k = block
    descriptors = [
        TensorDescriptor.from_tensor(matrix, shape)
        for matrix, shape in ((a, [m, k]), (b, [n, k]), (c, [m, n]))
    ]
    persistent_matmul_kernel[(programs,)](*descriptors, M, N, K, programs)
    return c
