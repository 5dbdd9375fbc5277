"""Matrix product with its neighbours fused: C = act(alpha * A @ B + beta * bias).

One kernel serves forward and backward. Every operand has strides, so a transpose costs nothing:
for Y = X @ W the gradients dX = dY @ W^T and dW = X^T @ dY are the same kernel with strides
swapped (Goodfellow et al., Deep Learning, eq. 6.46 ff.). The tiling is that of Triton's matrix
multiplication tutorial.
"""

import math
import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from minitorch_triton.kernels.launch import is_cpu, jit, launch
from minitorch_triton.kernels.layout import block_size, compute_type, merge


@jit
def matmul_kernel(
    c_ptr,  # (B1, B0, M, N)
    pre_ptr,  # as c, or None: the product before the activation
    a_ptr,  # (B1, B0, R, M, K)
    b_ptr,  # (B1, B0, R, K, N)
    bias_ptr,  # (B1, B0, M, N), or None
    B0,
    R,
    M,
    N,
    K,
    tile_m,  # rows and columns of C for each program, at most a block
    tile_n,
    stride_cb1,
    stride_cb0,
    stride_cm,
    stride_cn,
    stride_ab1,
    stride_ab0,
    stride_ar,
    stride_am,
    stride_ak,
    stride_bb1,
    stride_bb0,
    stride_br,
    stride_bk,
    stride_bn,
    stride_bias_b1,
    stride_bias_b0,
    stride_bias_m,
    stride_bias_n,
    alpha: tl.float64,
    beta: tl.float64,
    ACTIVATION: tl.constexpr,  # x -> C, or None
    SCALED: tl.constexpr,  # whether alpha is not 1
    SUMMED: tl.constexpr,  # whether R is not 1
    UNIT_C: tl.constexpr,  # whether stride_cn is known to be 1
    UNIT_BIAS: tl.constexpr,  # likewise stride_bias_n
    COMPUTE_TYPE: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
    BLOCK_SIZE_K: tl.constexpr,
    GROUP_SIZE_M: tl.constexpr,
):
    """One tile of C for each program; products of the R matrices of a batch are added up."""
    # Neighbouring programs take GROUP_SIZE_M rows of tiles, whose operands stay in the L2 cache.
    tiles_m = tl.cdiv(M, tile_m)
    tiles_n = tl.cdiv(N, tile_n)
    pid = tl.program_id(0).to(tl.int64)
    batch = pid // (tiles_m * tiles_n)
    pid = pid % (tiles_m * tiles_n)
    group = pid // (GROUP_SIZE_M * tiles_n)
    first_m = group * GROUP_SIZE_M
    group_size = tl.minimum(tiles_m - first_m, GROUP_SIZE_M)
    pid_m = first_m + pid % group_size
    pid_n = (pid % (GROUP_SIZE_M * tiles_n)) // group_size

    b1 = batch // B0
    b0 = batch % B0
    start_m = pid_m * tile_m
    start_n = pid_n * tile_n
    offs_m = start_m + tl.arange(0, BLOCK_SIZE_M)
    offs_n = start_n + tl.arange(0, BLOCK_SIZE_N)
    mask_m = offs_m < tl.minimum(start_m + tile_m, M)
    mask_n = offs_n < tl.minimum(start_n + tile_n, N)
    a_ptr += b1 * stride_ab1 + b0 * stride_ab0
    b_ptr += b1 * stride_bb1 + b0 * stride_bb0

    acc = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), COMPUTE_TYPE)
    steps = tl.cdiv(K, BLOCK_SIZE_K)
    total_steps = steps
    if SUMMED:
        total_steps = R * steps
    for step in range(total_steps):
        a_matrix = a_ptr
        b_matrix = b_ptr
        start = step * BLOCK_SIZE_K
        if SUMMED:
            a_matrix += step // steps * stride_ar
            b_matrix += step // steps * stride_br
            start = step % steps * BLOCK_SIZE_K
        offs_k = start + tl.arange(0, BLOCK_SIZE_K)
        mask_a = mask_m[:, None] & (offs_k < K)[None, :]
        offs_a = offs_m[:, None] * stride_am + offs_k[None, :] * stride_ak
        a = tl.load(a_matrix + offs_a, mask=mask_a, other=0)
        mask_b = (offs_k < K)[:, None] & mask_n[None, :]
        offs_b = offs_k[:, None] * stride_bk + offs_n[None, :] * stride_bn
        b = tl.load(b_matrix + offs_b, mask=mask_b, other=0)
        if COMPUTE_TYPE.is_floating():
            # Triton 3.6 takes the type of a float64 accumulator from nothing else.
            acc = tl.dot(a, b, acc, input_precision=INPUT_PRECISION, out_dtype=COMPUTE_TYPE)
        else:
            a = a.to(COMPUTE_TYPE)[:, :, None]
            acc += tl.sum(a * b.to(COMPUTE_TYPE)[None, :, :], axis=1)

    if SCALED:
        acc *= tl.full((), alpha, COMPUTE_TYPE)
    mask = mask_m[:, None] & mask_n[None, :]
    if bias_ptr is not None:
        bias_ptr += b1 * stride_bias_b1 + b0 * stride_bias_b0
        offs_bias = offs_m[:, None] * stride_bias_m
        if UNIT_BIAS:
            stride_bias_n = 1
        offs_bias += offs_n[None, :] * stride_bias_n
        bias = tl.load(bias_ptr + offs_bias, mask=mask, other=0).to(COMPUTE_TYPE)
        acc += tl.full((), beta, COMPUTE_TYPE) * bias
    offs_c = b1 * stride_cb1 + b0 * stride_cb0
    if UNIT_C:
        stride_cn = 1
    offs_c += offs_m[:, None] * stride_cm + offs_n[None, :] * stride_cn
    if pre_ptr is not None:
        tl.store(pre_ptr + offs_c, acc, mask=mask)
    if ACTIVATION is not None:
        acc = ACTIVATION(acc)
    tl.store(c_ptr + offs_c, acc, mask=mask)


@jit
def linear_gradient_kernel(
    d_ptr,  # (M, N), contiguous, or None: DERIVATIVE(g, saved)
    sum_ptr,  # (N,), or None: the sum of its rows
    g_ptr,  # (M, N)
    saved_ptr,  # (M, N), contiguous, or None
    M,
    N,
    stride_gm,
    stride_gn,
    DERIVATIVE: tl.constexpr,  # or None: d = g
    UNIT: tl.constexpr,  # whether stride_gn is 1
    COMPUTE_TYPE: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    """The gradient before a linear layer's activation, and of its bias: a block of columns."""
    offs_n = tl.program_id(0).to(tl.int64) * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    mask_n = offs_n < N
    total = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), COMPUTE_TYPE)
    for start in range(0, M, BLOCK_SIZE_M):
        offs_m = start + tl.arange(0, BLOCK_SIZE_M)
        mask = (offs_m < M)[:, None] & mask_n[None, :]
        offs = offs_m[:, None] * N + offs_n[None, :]
        offs_g = offs_m[:, None] * stride_gm
        if UNIT:
            offs_g += offs_n[None, :]
        else:
            offs_g += offs_n[None, :] * stride_gn
        d = tl.load(g_ptr + offs_g, mask=mask, other=0).to(COMPUTE_TYPE)
        if DERIVATIVE is not None:
            saved = tl.load(saved_ptr + offs, mask=mask, other=0).to(COMPUTE_TYPE)
            d = tl.where(mask, DERIVATIVE(d, saved), 0)
            tl.store(d_ptr + offs, d, mask=mask)
        total += d
    if sum_ptr is not None:
        tl.store(sum_ptr + offs_n, tl.sum(total, axis=0), mask=mask_n)


CPU_TILES = 2 * len(os.sched_getaffinity(0))
"""A CPU gets at least so many tiles, unless they became too small: two for each core."""


class Tiling(NamedTuple):
    """Block sizes of a variant, and how much of a block a program of this launch computes."""

    block_m: int
    block_n: int
    block_k: int
    tile_m: int
    tile_n: int


def tiling(M: int, N: int, dtype: torch.dtype, cpu: bool, packed: bool, plain: bool) -> Tiling:
    """Tile sizes as a pure function of the shapes and the machine.

    The CPU compiler turns a whole tile into one in-place product of the valid rectangle, so there
    a tile covers all of K. A program packs the panels of B that it needs for itself, so where they
    are packed columns are split first to give every core work, rows only when the columns are
    down to 64; and where B is read in place, the other way around.

    Args:
        packed: whether a CPU packs B, because its rows have gaps or its type is a half one.
        plain: whether a CPU stores the product as it is: then the sizes of the blocks, of which
            only the valid part counts, cost nothing, and one variant serves every shape.
    """
    if not dtype.is_floating_point:
        return Tiling(16, 16, 16, 16, 16)
    if not cpu:
        largest = 64 if dtype.itemsize >= 4 else 128
        block_m, block_n = block_size(M, largest), block_size(N, largest)
        return Tiling(block_m, block_n, 32, block_m, block_n)
    if packed:
        columns, rows = _split(N, 256, M, 256)
    else:
        rows, columns = _split(M, 256, N, 1024 if plain else 256)
    block_m = 256 if plain else triton.next_power_of_2(rows)
    # Narrow products share a variant with those of 64 columns.
    block_n = 1024 if plain else max(64, triton.next_power_of_2(columns))
    # A block longer than K costs nothing.
    return Tiling(block_m, block_n, 1024, rows, columns)


def _split(first: int, largest: int, second: int, second_largest: int) -> tuple[int, int]:
    """Parts of two sizes, as even as multiples of 32 can be, that make enough tiles: the first
    is split before the second, neither below 64."""

    def part(size: int, parts: int) -> int:
        return max(32, triton.cdiv(triton.cdiv(size, parts), 32) * 32)

    others = max(1, triton.cdiv(second, second_largest))
    parts = max(1, triton.cdiv(first, largest), min(triton.cdiv(CPU_TILES, others), first // 64))
    others = max(others, min(triton.cdiv(CPU_TILES, parts), second // 64))
    return part(first, parts), part(second, others)


@dataclass
class _Operand:
    """A buffer as a stack of matrices: sizes and strides of the batch, then of one matrix.

    A dimension of size 1 has stride 0, because it broadcasts; that also makes any stride foldable.
    """

    batch: list[int]
    batch_strides: list[int]
    shape: tuple[int, int]
    strides: tuple[int, int]

    @classmethod
    def of(cls, buffer: Any, ndim: int, transpose: bool = False) -> "_Operand":
        missing = ndim - len(buffer.shape)
        shape = [1] * missing + list(buffer.shape)
        strides = [0] * missing + list(buffer.stride())
        strides = [0 if size == 1 else step for size, step in zip(shape, strides, strict=True)]
        order = (-1, -2) if transpose else (-2, -1)
        return cls(
            shape[:-2],
            strides[:-2],
            (shape[order[0]], shape[order[1]]),
            (strides[order[0]], strides[order[1]]),
        )


def _fold(
    sizes: list[int], strides: list[list[int]], size: int, steps: list[int], without: list[int]
) -> tuple[int, list[int]]:
    """Take the last batch dimension into a matrix dimension, if every operand's strides allow.

    Args:
        without: operands that do not have the matrix dimension, so must not have the other either.
    """
    if sizes and not any(strides[-1][operand] for operand in without):
        folded_sizes, folded_steps = merge([sizes[-1], size], [strides[-1], steps])
        if len(folded_sizes) < 2:
            del sizes[-1], strides[-1]
            return (folded_sizes or [1])[0], (folded_steps or [[0] * len(steps)])[0]
    return size, steps


def matmul(
    c: Any,
    a: Any,
    b: Any,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    bias: Any = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    activation: Any = None,
    pre_activation: Any = None,
    input_precision: str = "ieee",
) -> None:
    """Compute ``c = activation(alpha * a @ b + beta * bias)``.

    Args:
        c: (..., M, N), written. A batch dimension that has size 1 in ``c`` alone is summed over:
            the gradient of an operand that was broadcast.
        a: (..., M, K); (..., K, M) with ``transpose_a``.
        b: (..., K, N); (..., N, K) with ``transpose_b``; of ``a``'s dtype.
        bias: anything that broadcasts to ``c``.
        activation: a device function of one argument.
        pre_activation: (..., M, N) with ``c``'s strides, written: the value before ``activation``.
        input_precision: "ieee", "tf32" or "tf32x3": float32 products on NVIDIA's tensor cores.

    Raises:
        ValueError: the batch dimensions' strides do not fold into two kept and one summed; make
            the operands contiguous first.
    """
    ndim = max(len(x.shape) for x in (c, a, b))
    A, B, C = (
        _Operand.of(a, ndim, transpose_a),
        _Operand.of(b, ndim, transpose_b),
        _Operand.of(c, ndim),
    )
    D = C if bias is None else _Operand.of(bias, ndim)
    (M, K), N = A.shape, B.shape[1]
    steps_m = [A.strides[0], 0, D.strides[0], C.strides[0]]
    steps_k = [A.strides[1], B.strides[0], 0, 0]

    kept: tuple[list, list] = [], []
    summed: tuple[list, list] = [], []
    for i in range(ndim - 2):
        size = B.batch[i] if A.batch[i] == 1 else A.batch[i]
        sizes, strides = summed if C.batch[i] == 1 != size else kept
        sizes.append(size)
        strides.append([x.batch_strides[i] for x in (A, B, D, C)])
    batch, batch_steps = merge(*kept)
    sums, sum_steps = merge(*summed)
    # A stack of matrices times one matrix is one taller product, and likewise for a sum over K.
    M, steps_m = _fold(batch, batch_steps, M, steps_m, without=[1])
    K, steps_k = _fold(sums, sum_steps, K, steps_k, without=[2, 3])
    if len(batch) > 2 or len(sums) > 1:
        raise ValueError(
            f"strides of a {tuple(a.stride())} and b {tuple(b.stride())} do not fold into two "
            "batch dimensions and one sum"
        )

    B1, B0 = [*[1] * (2 - len(batch)), *batch]
    outer, inner = [*[[0] * 4] * (2 - len(batch)), *batch_steps]
    R, reduced = (sums[0], sum_steps[0]) if sums else (1, [0] * 4)
    half = a.dtype.itemsize < 4
    fused = bias is not None or activation is not None or pre_activation is not None
    plain = not (fused or half or alpha != 1 or R != 1)
    tiles = tiling(
        M, N, a.dtype, is_cpu(c), packed=B.strides[1] != 1 or half, plain=plain
    )  # fmt: skip
    launch(
        matmul_kernel,
        (B1 * B0 * triton.cdiv(M, tiles.tile_m) * triton.cdiv(N, tiles.tile_n),),
        c, pre_activation, a, b, bias,
        B0, R, M, N, K, tiles.tile_m, tiles.tile_n,
        outer[3], inner[3], steps_m[3], C.strides[1],
        outer[0], inner[0], reduced[0], steps_m[0], steps_k[0],
        outer[1], inner[1], reduced[1], steps_k[1], B.strides[1],
        outer[2], inner[2], steps_m[2], D.strides[1],
        alpha, beta,
        ACTIVATION=activation,
        SCALED=alpha != 1,
        SUMMED=R != 1,
        UNIT_C=C.strides[1] == 1 and not (plain and is_cpu(c)),
        UNIT_BIAS=bias is not None and D.strides[1] == 1,
        COMPUTE_TYPE=compute_type(a.dtype),
        INPUT_PRECISION=input_precision,
        BLOCK_SIZE_M=tiles.block_m,
        BLOCK_SIZE_N=tiles.block_n,
        BLOCK_SIZE_K=tiles.block_k,
        GROUP_SIZE_M=8,
    )  # fmt: skip


def linear_gradient(
    g: Any, *, d: Any = None, row_sum: Any = None, derivative: Any = None, saved: Any = None
) -> None:
    """Compute ``d = derivative(g, saved)`` and its sum over all dimensions but the last.

    For a linear layer ``activation(x @ w^T + bias)`` these are the gradients before its activation,
    from which those of x and w follow, and of its bias.

    Args:
        g: (..., N), the upstream gradient; contiguous where it has more than two dimensions.
        d: as ``g``, contiguous, written; None without ``derivative``.
        row_sum: (N,), written, or None.
        derivative: a device function ``(g, saved)``, or None for the identity.
        saved: as ``g``, contiguous.
    """
    N = g.shape[-1]
    M = math.prod(g.shape[:-1])
    cpu = is_cpu(g)
    # A CPU adds up row by row, on a GPU the threads of a program share a block of rows.
    block_m, block_n = (1, 16 if N <= 16 else 128) if cpu else (16, 64)
    launch(
        linear_gradient_kernel,
        (triton.cdiv(N, block_n),),
        d, row_sum, g, saved,
        M, N, g.stride()[-2], g.stride()[-1],
        DERIVATIVE=derivative,
        UNIT=g.stride()[-1] == 1,
        COMPUTE_TYPE=compute_type(g.dtype),
        BLOCK_SIZE_M=block_m,
        BLOCK_SIZE_N=block_n,
    )  # fmt: skip
