"""Tensors made of indices: ranges and identity matrices."""

from __future__ import annotations

from typing import Any

import triton.language as tl

from minitorch_triton.kernels.launch import is_cpu, jit, launch
from minitorch_triton.kernels.map import flat_block, number_operand


@jit
def arange_kernel(
    y_ptr,  # (N,)
    N,
    start,
    step,
    FLOATS: tl.constexpr,  # whether start and step are floats (as bits)
    COMPUTE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    first = number_operand(start, FLOATS[0], COMPUTE)
    y = first + i.to(COMPUTE) * number_operand(step, FLOATS[1], COMPUTE)
    tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=i < N)


@jit
def linspace_kernel(
    y_ptr,  # (N,)
    N,
    start,  # start, end and step are the bits of float64 numbers
    end,
    step,
    BLOCK_SIZE: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    delta = number_operand(step, True, tl.float64)
    # Counted from the nearer end, so that both ends are exact.
    rising = number_operand(start, True, tl.float64) + i.to(tl.float64) * delta
    falling = number_operand(end, True, tl.float64) - (N - 1 - i).to(tl.float64) * delta
    y = tl.where(i < N // 2, rising, falling)
    tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=i < N)


@jit
def eye_kernel(
    y_ptr,  # (M, N)
    M,
    N,
    BLOCK_SIZE: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    y = i // N == i % N
    tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=i < M * N)


def arange(y: Any, start: Any, step: Any, compute: Any) -> None:
    """``y[i] = start + i * step``; start and step are Numbers."""
    n = y.shape[0]
    block = flat_block(is_cpu(y))
    launch(
        arange_kernel, (-(-n // block),), y, n, start, step,
        FLOATS=(start.is_float, step.is_float), COMPUTE=compute, BLOCK_SIZE=block,
    )  # fmt: skip


def linspace(y: Any, start: Any, end: Any, step: Any) -> None:
    """``len(y)`` values from start to end, both included; all are float Numbers."""
    n = y.shape[0]
    block = flat_block(is_cpu(y))
    launch(linspace_kernel, (-(-n // block),), y, n, start, end, step, BLOCK_SIZE=block)


def eye(y: Any) -> None:
    """Ones on the diagonal of a contiguous matrix, zeros elsewhere."""
    m, n = y.shape
    block = flat_block(is_cpu(y))
    launch(eye_kernel, (-(-m * n // block),), y, m, n, BLOCK_SIZE=block)
