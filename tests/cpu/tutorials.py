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
def attention_backward_kernel(
    Q, K, V, DO, DQ, DK, DV, LSE, DELTA, scale, N, BLOCK: tl.constexpr, HEAD_DIM: tl.constexpr,
    CAUSAL: tl.constexpr,
):  # fmt: skip
    """All gradients of one head: for each block of keys those of the keys and values, over the
    blocks of queries that see it, whose gradients grow in memory meanwhile.

    As in the first version of the tutorial: five products for each pair of blocks. In two passes,
    one over the keys and one over the queries, more programs can run, but it takes seven.
    """
    head = tl.program_id(0).to(tl.int64) * N
    i, d = tl.arange(0, BLOCK), tl.arange(0, HEAD_DIM)
    for start in range(0, N, BLOCK):
        n = start + i
        keys = (head + n)[:, None] * HEAD_DIM + d[None, :]
        k, v = tl.load(K + keys), tl.load(V + keys)
        dk = tl.zeros((BLOCK, HEAD_DIM), tl.float32)
        dv = tl.zeros((BLOCK, HEAD_DIM), tl.float32)
        for first in range(start if CAUSAL else 0, N, BLOCK):
            m = first + i
            queries = (head + m)[:, None] * HEAD_DIM + d[None, :]
            q, do = tl.load(Q + queries), tl.load(DO + queries)
            p = tl.exp(tl.dot(k, tl.trans(q)) * scale - tl.load(LSE + head + m)[None, :])
            if CAUSAL:
                p = tl.where(m[None, :] >= n[:, None], p, 0.0)
            dv += tl.dot(p.to(do.dtype), do)
            dp = tl.dot(v, tl.trans(do))
            ds = (p * (dp - tl.load(DELTA + head + m)[None, :]) * scale).to(q.dtype)
            dk += tl.dot(ds, q)
            dq = tl.load(DQ + queries)
            tl.store(DQ + queries, tl.dot(tl.trans(ds), k, dq))
        tl.store(DK + keys, dk)
        tl.store(DV + keys, dv)


@triton.jit
def row_products(X, Y, OUT, D: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    i = row * D + tl.arange(0, D)
    tl.store(OUT + row, tl.sum(tl.load(X + i).to(tl.float32) * tl.load(Y + i)))


def attention_backward(q, k, v, output, lse, grad, causal, block=64):
    """Gradients of scaled dot-product attention.

    Args:
        q, k, v, output, grad: (batch, heads, length, head dimension), float32, contiguous; the
            length a multiple of ``block``.
        lse: (batch, heads, length), logarithm of the sum of the scores' exponentials.

    Returns:
        The gradients of q, k and v.
    """
    length, dimension = q.shape[-2:]
    heads = q.shape[0] * q.shape[1]
    dq, dk, dv, delta = torch.zeros_like(q), *map(torch.empty_like, (k, v, lse))
    row_products[(heads * length,)](output, grad, delta, dimension)
    attention_backward_kernel[(heads,)](
        q, k, v, grad, dq, dk, dv, lse, delta, dimension**-0.5, length, BLOCK=block,
        HEAD_DIM=dimension, CAUSAL=causal,
    )  # fmt: skip
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


def grouped_matmul(pairs, programs=8, block=128):
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


def persistent_matmul(a, b, programs=4, block=(128, 128, 64)):
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
