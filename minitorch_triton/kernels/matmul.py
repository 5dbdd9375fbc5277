"""Matrix product with its neighbours fused: C = act(alpha * A @ B + beta * bias).

One kernel serves forward and backward. Every operand has strides, so a transpose costs nothing:
for Y = X @ W the gradients dX = dY @ W^T and dW = X^T @ dY are the same kernel with strides
swapped (Goodfellow et al., Deep Learning, eq. 6.46 ff.). The tiling is that of Triton's matrix
multiplication tutorial.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from minitorch_triton.kernels.launch import is_cpu, jit, launch
from minitorch_triton.kernels.layout import block_size, compute_type, merge


@triton.jit
def load_a(
    a_ptr,
    saved_ptr,
    offs_m,
    offs_k,
    M,
    K,
    stride_am,
    stride_ak,
    stride_sm,
    stride_sk,
    PROLOGUE: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
):
    """A block of the left operand, which may be PROLOGUE of what lies in memory."""
    mask = (offs_m < M)[:, None] & (offs_k < K)[None, :]
    offs = offs_m[:, None] * stride_am + offs_k[None, :] * stride_ak
    a = tl.load(a_ptr + offs, mask=mask, other=0)
    if PROLOGUE is not None:
        offs = offs_m[:, None] * stride_sm + offs_k[None, :] * stride_sk
        saved = tl.load(saved_ptr + offs, mask=mask, other=0)
        derived = PROLOGUE(a.to(COMPUTE_TYPE), saved.to(COMPUTE_TYPE))
        a = tl.where(mask, derived, 0).to(a.dtype)
    return a


@jit
def matmul_kernel(
    c_ptr,  # (B1, B0, M, N)
    pre_ptr,  # as c, or None: the product before the activation
    sum_ptr,  # (M,), or None: the sum of A's rows
    a_ptr,  # (B1, B0, R, M, K)
    saved_ptr,  # (M, K), or None: second argument of PROLOGUE
    b_ptr,  # (B1, B0, R, K, N)
    bias_ptr,  # (B1, B0, M, N), or None
    B0,
    R,
    M,
    N,
    K,
    stride_cb1,
    stride_cb0,
    stride_cm,
    stride_cn,
    stride_ab1,
    stride_ab0,
    stride_ar,
    stride_am,
    stride_ak,
    stride_sm,
    stride_sk,
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
    PROLOGUE: tl.constexpr,  # (g, saved) -> A, applied to A's elements, or None
    ACTIVATION: tl.constexpr,  # x -> C, or None
    SCALED: tl.constexpr,  # whether alpha is not 1
    SUMMED: tl.constexpr,  # whether R is not 1
    COMPUTE_TYPE: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
    BLOCK_SIZE_K: tl.constexpr,
    GROUP_SIZE_M: tl.constexpr,
):
    """One tile of C for each program; products of the R matrices of a batch are added up."""
    # Neighbouring programs take GROUP_SIZE_M rows of tiles, whose operands stay in the L2 cache.
    tiles_m = tl.cdiv(M, BLOCK_SIZE_M)
    tiles_n = tl.cdiv(N, BLOCK_SIZE_N)
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
    offs_m = pid_m * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    offs_n = pid_n * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    mask_m = offs_m < M
    mask_n = offs_n < N
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
        a = load_a(
            a_matrix, saved_ptr, offs_m, offs_k, M, K,
            stride_am, stride_ak, stride_sm, stride_sk, PROLOGUE, COMPUTE_TYPE,
        )  # fmt: skip
        mask_b = (offs_k < K)[:, None] & mask_n[None, :]
        offs_b = offs_k[:, None] * stride_bk + offs_n[None, :] * stride_bn
        b = tl.load(b_matrix + offs_b, mask=mask_b, other=0)
        if COMPUTE_TYPE.is_floating():
            acc = tl.dot(a, b, acc, input_precision=INPUT_PRECISION)
        else:
            a = a.to(COMPUTE_TYPE)[:, :, None]
            acc += tl.sum(a * b.to(COMPUTE_TYPE)[None, :, :], axis=1)

    if SCALED:
        acc *= tl.full((), alpha, COMPUTE_TYPE)
    mask = mask_m[:, None] & mask_n[None, :]
    if bias_ptr is not None:
        bias_ptr += b1 * stride_bias_b1 + b0 * stride_bias_b0
        offs_bias = offs_m[:, None] * stride_bias_m + offs_n[None, :] * stride_bias_n
        bias = tl.load(bias_ptr + offs_bias, mask=mask, other=0).to(COMPUTE_TYPE)
        acc += tl.full((), beta, COMPUTE_TYPE) * bias
    offs_c = b1 * stride_cb1 + b0 * stride_cb0
    offs_c += offs_m[:, None] * stride_cm + offs_n[None, :] * stride_cn
    if pre_ptr is not None:
        tl.store(pre_ptr + offs_c, acc, mask=mask)
    if ACTIVATION is not None:
        acc = ACTIVATION(acc)
    tl.store(c_ptr + offs_c, acc, mask=mask)
    if sum_ptr is not None:  # noqa: SIM102 (settled at compile time, the next line is not)
        # In a loop of its own, which only the first tile of each row of tiles runs.
        if pid_n == 0:
            row_sum = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
            for start in range(0, K, BLOCK_SIZE_K):
                a = load_a(
                    a_ptr, saved_ptr, offs_m, start + tl.arange(0, BLOCK_SIZE_K), M, K,
                    stride_am, stride_ak, stride_sm, stride_sk, PROLOGUE, COMPUTE_TYPE,
                )  # fmt: skip
                row_sum += tl.sum(a.to(COMPUTE_TYPE), axis=1)
            tl.store(sum_ptr + offs_m, row_sum, mask=mask_m)


CPU_TILES = 4
"""A CPU gets at least so many tiles, unless they became too small: two for each of two threads."""


def block_sizes(M: int, N: int, K: int, dtype: torch.dtype, cpu: bool) -> tuple[int, int, int]:
    """Tile sizes ``(BLOCK_SIZE_M, BLOCK_SIZE_N, BLOCK_SIZE_K)`` as a pure function of the shapes.

    The CPU compiler turns a whole tile into one in-place product of the valid rectangle, so there
    a tile covers all of K. A program packs the panels of B that it needs for itself, so columns are
    split first to give every thread work, rows only when the columns are down to 64.
    """
    if not dtype.is_floating_point:
        return 16, 16, 16
    if not cpu:
        largest = 64 if dtype.itemsize >= 4 else 128
        return block_size(M, largest), block_size(N, largest), 32
    rows = max(16, min(128, triton.next_power_of_2(M)))
    columns = max(16, min(256, triton.next_power_of_2(N)))
    while triton.cdiv(M, rows) * triton.cdiv(N, columns) < CPU_TILES:
        if columns > 64:
            columns //= 2
        elif rows > 64:
            rows //= 2
        else:
            break
    # A tile longer than K costs nothing, so short products share one length.
    return rows, columns, max(256, block_size(K, 4096))


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
    prologue: Any = None,
    saved: Any = None,
    row_sum: Any = None,
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
        prologue: a device function ``(g, saved)``; its result takes the place of ``a``.
        saved: the second argument of ``prologue``; ``a``'s shape before any transpose.
        row_sum: (M,), written: the sum over K of ``a`` after ``prologue``. With ``a`` the
            transposed upstream gradient of a linear layer, this is the gradient of its bias.
        input_precision: "ieee", "tf32" or "tf32x3": float32 products on NVIDIA's tensor cores.

    Raises:
        ValueError: the batch dimensions' strides do not fold into two kept and one summed (none
            at all with ``saved`` or ``row_sum``); make the operands contiguous first.
    """
    ndim = max(len(x.shape) for x in (c, a, b))
    A, B, C = (
        _Operand.of(a, ndim, transpose_a),
        _Operand.of(b, ndim, transpose_b),
        _Operand.of(c, ndim),
    )
    S = A if saved is None else _Operand.of(saved, ndim, transpose_a)
    D = C if bias is None else _Operand.of(bias, ndim)
    (M, K), N = A.shape, B.shape[1]
    steps_m = [A.strides[0], S.strides[0], 0, D.strides[0], C.strides[0]]
    steps_k = [A.strides[1], S.strides[1], B.strides[0], 0, 0]

    kept: tuple[list, list] = [], []
    summed: tuple[list, list] = [], []
    for i in range(ndim - 2):
        size = B.batch[i] if A.batch[i] == 1 else A.batch[i]
        sizes, strides = summed if C.batch[i] == 1 != size else kept
        sizes.append(size)
        strides.append([x.batch_strides[i] for x in (A, S, B, D, C)])
    batch, batch_steps = merge(*kept)
    sums, sum_steps = merge(*summed)
    # A stack of matrices times one matrix is one taller product, and likewise for a sum over K.
    M, steps_m = _fold(batch, batch_steps, M, steps_m, without=[2])
    K, steps_k = _fold(sums, sum_steps, K, steps_k, without=[3, 4])
    plain = saved is None and row_sum is None
    if len(batch) > (2 if plain else 0) or len(sums) > (1 if plain else 0):
        raise ValueError(
            f"strides of a {tuple(a.stride())} and b {tuple(b.stride())} do not fold into two "
            "batch dimensions and one sum"
        )

    B1, B0 = [*[1] * (2 - len(batch)), *batch]
    outer, inner = [*[[0] * 5] * (2 - len(batch)), *batch_steps]
    R, reduced = (sums[0], sum_steps[0]) if sums else (1, [0] * 5)
    block_m, block_n, block_k = block_sizes(M, N, K, a.dtype, is_cpu(c))
    launch(
        matmul_kernel,
        (B1 * B0 * triton.cdiv(M, block_m) * triton.cdiv(N, block_n),),
        c, pre_activation, row_sum, a, saved, b, bias,
        B0, R, M, N, K,
        outer[4], inner[4], steps_m[4], C.strides[1],
        outer[0], inner[0], reduced[0], steps_m[0], steps_k[0],
        steps_m[1], steps_k[1],
        outer[2], inner[2], reduced[2], steps_k[2], B.strides[1],
        outer[3], inner[3], steps_m[3], D.strides[1],
        alpha, beta,
        PROLOGUE=prologue,
        ACTIVATION=activation,
        SCALED=alpha != 1,
        SUMMED=R != 1,
        COMPUTE_TYPE=compute_type(a.dtype),
        INPUT_PRECISION=input_precision,
        BLOCK_SIZE_M=block_m,
        BLOCK_SIZE_N=block_n,
        BLOCK_SIZE_K=block_k,
        GROUP_SIZE_M=8,
    )  # fmt: skip
