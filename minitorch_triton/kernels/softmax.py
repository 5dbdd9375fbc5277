"""Softmax and log-softmax along one dimension, and their gradients.

Rows that fit in one block are read once. Longer ones are read twice: first for the largest
element and the sum of exponentials, which are kept up to date together as in Milakov and
Gimelshein, Online normalizer calculation for softmax, 2018 (https://arxiv.org/abs/1805.02867),
then for the result.
"""

from typing import Any

import triton
import triton.language as tl

from minitorch_triton.kernels.launch import jit, launch
from minitorch_triton.kernels.layout import compute_type, n_axis, offsets, slices, tile


@triton.jit
def accumulate_exponentials(x, largest, total):
    """Take a block x (M, N) into each row's maximum and sum of exp(x - maximum) so far."""
    new_largest = tl.maximum(largest, tl.max(x, axis=1))
    # Rows of nothing but -inf so far: any finite shift keeps the sum at 0 instead of nan.
    shift = tl.where(new_largest == float("-inf"), 0.0, new_largest)
    total = total * tl.exp(largest - shift) + tl.sum(tl.exp(x - shift[:, None]), axis=1)
    return new_largest, total


@jit
def softmax_kernel(
    y_ptr,  # (outer, rows, N)
    x_ptr,  # (outer, rows, N)
    rows,
    N,
    stride_yo,
    stride_ym,
    stride_yn,
    stride_xo,
    stride_xm,
    stride_xn,
    LOG: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
    UNIT: tl.constexpr,
    ONE_BLOCK: tl.constexpr,
    N_AXIS: tl.constexpr,  # of a tile that is one block
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    """Each program computes BLOCK_SIZE_M rows."""
    blocks = tl.cdiv(rows, BLOCK_SIZE_M)
    pid = tl.program_id(0).to(tl.int64)
    o = pid // blocks
    m = (pid % blocks) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    n = tl.arange(0, BLOCK_SIZE_N)
    mask_m = (m < rows)[:, None]
    if ONE_BLOCK:
        mask = tl.expand_dims(m < rows, N_AXIS) & tl.expand_dims(n < N, 1 - N_AXIS)
        offs_x = offsets(o, m, n, stride_xo, stride_xm, stride_xn, UNIT, N_AXIS)
        offs_y = offsets(o, m, n, stride_yo, stride_ym, stride_yn, UNIT, N_AXIS)
        x = tl.load(x_ptr + offs_x, mask=mask, other=float("-inf")).to(COMPUTE_TYPE)
        x -= tl.max(x, axis=N_AXIS, keep_dims=True)
        exponentials = tl.exp(x)
        total = tl.sum(exponentials, axis=N_AXIS, keep_dims=True)
        if LOG:
            y = x - tl.log(total)
        else:
            y = exponentials * (1 / total)
        tl.store(y_ptr + offs_y, y, mask=mask)
    else:
        largest = tl.full((BLOCK_SIZE_M,), float("-inf"), COMPUTE_TYPE)
        total = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
        for start in range(0, N, BLOCK_SIZE_N):
            mask = mask_m & (start + n < N)[None, :]
            offs_x = offsets(o, m, start + n, stride_xo, stride_xm, stride_xn, UNIT)
            x = tl.load(x_ptr + offs_x, mask=mask, other=float("-inf")).to(COMPUTE_TYPE)
            largest, total = accumulate_exponentials(x, largest, total)
        for start in range(0, N, BLOCK_SIZE_N):
            mask = mask_m & (start + n < N)[None, :]
            offs_x = offsets(o, m, start + n, stride_xo, stride_xm, stride_xn, UNIT)
            x = tl.load(x_ptr + offs_x, mask=mask, other=float("-inf")).to(COMPUTE_TYPE)
            x -= largest[:, None]
            if LOG:
                y = x - tl.log(total)[:, None]
            else:
                y = tl.exp(x) * (1 / total)[:, None]
            offs_y = offsets(o, m, start + n, stride_yo, stride_ym, stride_yn, UNIT)
            tl.store(y_ptr + offs_y, y, mask=mask)


@triton.jit
def _input_gradient(g, y, total, LOG: tl.constexpr):
    """The gradient of a block, given the sum over its rows of g (LOG) or g * y."""
    if LOG:
        return g - tl.exp(y) * total
    return y * (g - total)


@jit
def softmax_backward_kernel(
    dx_ptr,  # (outer, rows, N)
    g_ptr,  # (outer, rows, N)
    y_ptr,  # (outer, rows, N)
    rows,
    N,
    stride_dxo,
    stride_dxm,
    stride_dxn,
    stride_go,
    stride_gm,
    stride_gn,
    stride_yo,
    stride_ym,
    stride_yn,
    LOG: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
    UNIT: tl.constexpr,
    ONE_BLOCK: tl.constexpr,
    N_AXIS: tl.constexpr,  # of a tile that is one block
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    """dx = y * (g - sum(g * y)); of the logarithm: dx = g - exp(y) * sum(g)."""
    blocks = tl.cdiv(rows, BLOCK_SIZE_M)
    pid = tl.program_id(0).to(tl.int64)
    o = pid // blocks
    m = (pid % blocks) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    n = tl.arange(0, BLOCK_SIZE_N)
    mask_m = (m < rows)[:, None]
    if ONE_BLOCK:
        mask = tl.expand_dims(m < rows, N_AXIS) & tl.expand_dims(n < N, 1 - N_AXIS)
        offs_g = offsets(o, m, n, stride_go, stride_gm, stride_gn, UNIT, N_AXIS)
        offs_y = offsets(o, m, n, stride_yo, stride_ym, stride_yn, UNIT, N_AXIS)
        offs_dx = offsets(o, m, n, stride_dxo, stride_dxm, stride_dxn, UNIT, N_AXIS)
        g = tl.load(g_ptr + offs_g, mask=mask, other=0).to(COMPUTE_TYPE)
        y = tl.load(y_ptr + offs_y, mask=mask, other=0).to(COMPUTE_TYPE)
        total = tl.sum(g if LOG else g * y, axis=N_AXIS, keep_dims=True)
        tl.store(dx_ptr + offs_dx, _input_gradient(g, y, total, LOG), mask=mask)
    else:
        total = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
        for start in range(0, N, BLOCK_SIZE_N):
            mask = mask_m & (start + n < N)[None, :]
            offs_g = offsets(o, m, start + n, stride_go, stride_gm, stride_gn, UNIT)
            term = tl.load(g_ptr + offs_g, mask=mask, other=0).to(COMPUTE_TYPE)
            if not LOG:
                offs_y = offsets(o, m, start + n, stride_yo, stride_ym, stride_yn, UNIT)
                term *= tl.load(y_ptr + offs_y, mask=mask, other=0).to(COMPUTE_TYPE)
            total += tl.sum(term, axis=1)
        for start in range(0, N, BLOCK_SIZE_N):
            mask = mask_m & (start + n < N)[None, :]
            offs_g = offsets(o, m, start + n, stride_go, stride_gm, stride_gn, UNIT)
            offs_y = offsets(o, m, start + n, stride_yo, stride_ym, stride_yn, UNIT)
            g = tl.load(g_ptr + offs_g, mask=mask, other=0).to(COMPUTE_TYPE)
            y = tl.load(y_ptr + offs_y, mask=mask, other=0).to(COMPUTE_TYPE)
            offs_dx = offsets(o, m, start + n, stride_dxo, stride_dxm, stride_dxn, UNIT)
            tl.store(dx_ptr + offs_dx, _input_gradient(g, y, total[:, None], LOG), mask=mask)


def _launch(kernel: Any, dim: int, log: bool, *buffers: Any) -> None:
    outer, rows, n, strides, unit = slices(dim, *buffers)
    axis = n_axis(n, unit, buffers[0])
    block_m, block_n = tile(rows, n, buffers[0], axis)
    launch(
        kernel,
        (outer * triton.cdiv(rows, block_m) if n else 0,),
        *buffers,
        rows,
        n,
        *(step for steps in strides for step in steps),
        LOG=log,
        COMPUTE_TYPE=compute_type(buffers[0].dtype),
        UNIT=unit,
        ONE_BLOCK=n <= block_n,
        N_AXIS=axis,
        BLOCK_SIZE_M=block_m,
        BLOCK_SIZE_N=block_n,
    )


def softmax(y: Any, x: Any, dim: int, *, log: bool = False) -> None:
    """Write ``softmax(x, dim)`` or its logarithm to ``y``: ``y[i] = exp(x[i]) / sum(exp(x))``.

    Args:
        y: floating-point, of ``x``'s shape, written.
        x: real, any strides that :func:`~minitorch_triton.kernels.layout.slices` folds; it is
            converted to ``y``'s dtype (at least float32) before anything else.
    """
    _launch(softmax_kernel, dim, log, y, x)


def softmax_backward(dx: Any, g: Any, y: Any, dim: int, *, log: bool = False) -> None:
    """Write the gradient for ``x`` to ``dx``, from the upstream gradient ``g`` and the result."""
    _launch(softmax_backward_kernel, dim, log, dx, g, y)
