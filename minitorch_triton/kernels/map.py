"""One kernel for every elementwise function, forward and backward, over operands of any strides.

``FN`` is a ``@triton.jit`` device function and a constant of the kernel. Its arguments are tensors
(up to four) and run-time numbers (up to three) in any order: ``ARGS`` names their places, 0 to 3
for a tensor and 4 to 6 for a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from minitorch_triton.kernels.launch import is_cpu, jit, launch

MAX_TENSORS = 4
MAX_NUMBERS = 3
OUTER_DIMS = 4

TRITON_DTYPE = {
    torch.float64: tl.float64,
    torch.float32: tl.float32,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.int64: tl.int64,
    torch.int32: tl.int32,
    torch.int16: tl.int16,
    torch.int8: tl.int8,
    torch.uint8: tl.uint8,
    torch.bool: tl.int1,
}


@triton.jit
def load_operand(x_ptr, offsets, mask, COMPUTE: tl.constexpr):
    """A block of an operand in the compute dtype; an absent operand is 0."""
    if x_ptr is None:
        return 0
    else:
        return tl.load(x_ptr + offsets, mask=mask, other=0).to(COMPUTE)


@triton.jit
def number_operand(bits, IS_FLOAT: tl.constexpr, COMPUTE: tl.constexpr):
    """A run-time number in the compute dtype; floats travel as the bits of a float64, so that one
    int64 argument carries every Python number exactly."""
    if IS_FLOAT:
        return bits.to(tl.int64).to(tl.float64, bitcast=True).to(COMPUTE)
    else:
        return bits.to(COMPUTE)


@triton.jit
def call(FN: tl.constexpr, values, ARGS: tl.constexpr):
    """``FN`` of the values at the places in ``ARGS``."""
    chosen = [values[ARGS[0]]]
    for k in tl.static_range(1, len(ARGS)):
        chosen = chosen + [values[ARGS[k]]]
    return FN(*chosen)


@jit
def map_flat_kernel(
    y_ptr,  # (N,)
    a_ptr,  # (N,) or a single element, as are b, c and d
    b_ptr,
    c_ptr,
    d_ptr,
    p,
    q,
    r,
    N,
    FN: tl.constexpr,
    ARGS: tl.constexpr,
    STEPS: tl.constexpr,  # 1 or 0 for each operand: dense or a single element
    FLOATS: tl.constexpr,  # whether each number is a float
    COMPUTE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    offsets = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < N
    values = [
        load_operand(a_ptr, offsets * STEPS[0], mask, COMPUTE),
        load_operand(b_ptr, offsets * STEPS[1], mask, COMPUTE),
        load_operand(c_ptr, offsets * STEPS[2], mask, COMPUTE),
        load_operand(d_ptr, offsets * STEPS[3], mask, COMPUTE),
        number_operand(p, FLOATS[0], COMPUTE),
        number_operand(q, FLOATS[1], COMPUTE),
        number_operand(r, FLOATS[2], COMPUTE),
    ]
    y = call(FN, values, ARGS)
    tl.store(y_ptr + offsets, y.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def inner_offsets(cols, stride, STEP: tl.constexpr):
    """Offsets along the innermost dimension; a step of 0 or 1 is known to the compiler."""
    if STEP == -1:
        return cols * stride
    else:
        return cols * STEP


@jit
def map_strided_kernel(
    y_ptr,
    a_ptr,
    b_ptr,
    c_ptr,
    d_ptr,
    p,
    q,
    r,
    M,  # elements of all outer dimensions
    N,  # elements of the innermost dimension
    size_1,  # sizes of the outer dimensions but the first
    size_2,
    size_3,
    y_0,  # strides of y: outer dimensions 0 to 3, then the innermost
    y_1,
    y_2,
    y_3,
    y_n,
    a_0,
    a_1,
    a_2,
    a_3,
    a_n,
    b_0,
    b_1,
    b_2,
    b_3,
    b_n,
    c_0,
    c_1,
    c_2,
    c_3,
    c_n,
    d_0,
    d_1,
    d_2,
    d_3,
    d_n,
    FN: tl.constexpr,
    ARGS: tl.constexpr,
    STEPS: tl.constexpr,  # y's and each operand's innermost stride: 0, 1, or -1 for any other
    FLOATS: tl.constexpr,
    COMPUTE: tl.constexpr,
    ONE_OUTER: tl.constexpr,  # whether there is a single outer dimension, the last
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    programs_n = tl.cdiv(N, BLOCK_SIZE_N)
    program = tl.program_id(0).to(tl.int64)
    row = (program // programs_n) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    col = (program % programs_n) * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)[None, :]
    mask = (row[:, None] < M) & (col < N)
    if ONE_OUTER:
        y_row = row * y_3
        a_row = row * a_3
        b_row = row * b_3
        c_row = row * c_3
        d_row = row * d_3
    else:
        i_3 = row % size_3
        i_2 = row // size_3 % size_2
        i_1 = row // (size_3 * size_2) % size_1
        i_0 = row // (size_3 * size_2 * size_1)
        y_row = i_0 * y_0 + i_1 * y_1 + i_2 * y_2 + i_3 * y_3
        a_row = i_0 * a_0 + i_1 * a_1 + i_2 * a_2 + i_3 * a_3
        b_row = i_0 * b_0 + i_1 * b_1 + i_2 * b_2 + i_3 * b_3
        c_row = i_0 * c_0 + i_1 * c_1 + i_2 * c_2 + i_3 * c_3
        d_row = i_0 * d_0 + i_1 * d_1 + i_2 * d_2 + i_3 * d_3
    values = [
        load_operand(a_ptr, a_row[:, None] + inner_offsets(col, a_n, STEPS[1]), mask, COMPUTE),
        load_operand(b_ptr, b_row[:, None] + inner_offsets(col, b_n, STEPS[2]), mask, COMPUTE),
        load_operand(c_ptr, c_row[:, None] + inner_offsets(col, c_n, STEPS[3]), mask, COMPUTE),
        load_operand(d_ptr, d_row[:, None] + inner_offsets(col, d_n, STEPS[4]), mask, COMPUTE),
        number_operand(p, FLOATS[0], COMPUTE),
        number_operand(q, FLOATS[1], COMPUTE),
        number_operand(r, FLOATS[2], COMPUTE),
    ]
    y = call(FN, values, ARGS)
    y = tl.broadcast_to(y.to(y_ptr.dtype.element_ty), (BLOCK_SIZE_M, BLOCK_SIZE_N))
    tl.store(y_ptr + (y_row[:, None] + inner_offsets(col, y_n, STEPS[0])), y, mask=mask)


def collapse(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """Merge neighbouring dimensions that every operand steps through as one.

    Args:
        shape: the common shape.
        strides: for each operand one stride per dimension; the first operand's order (its
            largest stride outermost) becomes the order of the dimensions.

    Returns:
        The merged sizes, and for each operand the merged strides; at least one dimension.
    """
    dims = [d for d in range(len(shape)) if shape[d] != 1]
    dims.sort(key=lambda d: -strides[0][d])
    sizes: list[int] = []
    merged: list[list[int]] = [[] for _ in strides]
    for d in dims:
        if sizes and all(m[-1] == s[d] * shape[d] for m, s in zip(merged, strides, strict=True)):
            sizes[-1] *= shape[d]
            for m, s in zip(merged, strides, strict=True):
                m[-1] = s[d]
        else:
            sizes.append(shape[d])
            for m, s in zip(merged, strides, strict=True):
                m.append(s[d])
    if not sizes:
        return [1], [[1] for _ in strides]
    return sizes, merged


def flat_block(on_cpu: bool) -> int:
    """Elements per program of a flat map: one size, so that few variants are compiled."""
    return 4096 if on_cpu else 1024


def tile(n: int, on_cpu: bool) -> tuple[int, int]:
    """Rows and columns per program of a strided map over rows of ``n`` elements."""
    elements = 8192 if on_cpu else 1024
    block_n = next(size for size in (16, 128, 1024) if size >= min(n, 1024))
    return elements // block_n, block_n


def elementwise(
    fn: Any,
    y: Any,
    tensors: Sequence[Any],
    numbers: Sequence[Any],
    args: tuple[int, ...],
    compute: torch.dtype,
) -> None:
    """``y = fn(...)`` elementwise.

    Args:
        fn: the device function.
        y: the output buffer, any strides.
        tensors: up to four buffers of y's shape (broadcast by strides of 0).
        numbers: up to three Python numbers, a float as the int64 bits of a float64 in an object
            with a true attribute ``is_float``.
        args: for each parameter of ``fn`` the index of a tensor, or 4 + the index of a number.
        compute: the dtype in which ``fn`` computes.
    """
    floats = tuple(getattr(number, "is_float", False) for number in numbers)
    floats += (False,) * (MAX_NUMBERS - len(floats))
    padded = [*numbers, *[0] * (MAX_NUMBERS - len(numbers))]
    sizes, (y_strides, *strides) = collapse(y.shape, [y.stride(), *[t.stride() for t in tensors]])
    absent = MAX_TENSORS - len(tensors)
    constants = {"FN": fn, "ARGS": args}
    rest = {"FLOATS": floats, "COMPUTE": TRITON_DTYPE[compute]}
    pointers = [*tensors, *[None] * absent]
    if len(sizes) == 1 and y_strides == [1] and all(s[0] in (0, 1) for s in strides):
        block = flat_block(is_cpu(y))
        steps = tuple(s[0] for s in strides) + (0,) * absent
        grid = (-(-sizes[0] // block),)
        launch(
            map_flat_kernel, grid, y, *pointers, *padded, sizes[0],
            **constants, STEPS=steps, **rest, BLOCK_SIZE=block,
        )  # fmt: skip
        return
    *outer, n = sizes
    if len(outer) > OUTER_DIMS:
        for i in range(y.shape[0]):
            elementwise(fn, y[i], [t[i] for t in tensors], numbers, args, compute)
        return
    m = math.prod(outer)
    pad = OUTER_DIMS - len(outer)
    outer_sizes = [1] * pad + outer
    all_strides = [[0] * pad + s for s in [y_strides, *strides]] + [[0] * 5] * absent
    steps = tuple(s[-1] if s[-1] in (0, 1) else -1 for s in all_strides)
    block_m, block_n = tile(n, is_cpu(y))
    grid = (-(-m // block_m) * -(-n // block_n),)
    flat_strides = [stride for s in all_strides for stride in s]
    launch(
        map_strided_kernel, grid, y, *pointers, *padded, m, n, *outer_sizes[1:], *flat_strides,
        **constants, STEPS=steps, **rest, ONE_OUTER=len(outer) <= 1,
        BLOCK_SIZE_M=block_m, BLOCK_SIZE_N=block_n,
    )  # fmt: skip
