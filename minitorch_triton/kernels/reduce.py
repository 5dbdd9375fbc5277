"""Reductions over any dimensions, with an elementwise function applied on the way in.

``y[m] = combine over n of FN(operands)[m, n]``, where m runs over the kept dimensions and n over
the reduced ones. A broadcast operand's gradient is such a reduction of its derivative, so that the
full-size product is never written out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from minitorch_triton.kernels.launch import is_cpu, jit, launch
from minitorch_triton.kernels.map import (
    MAX_NUMBERS,
    MAX_TENSORS,
    TRITON_DTYPE,
    call,
    collapse,
    load_operand,
    number_operand,
)

GROUP_DIMS = 3


@triton.jit
def add(a, b):
    return a + b


@triton.jit
def multiply(a, b):
    return a * b


@triton.jit
def maximum(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minimum(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


# tl.reduce takes a device function by name only, not as a constant of the kernel; hence KIND.


@triton.jit
def combine(a, b, KIND: tl.constexpr):
    if KIND == "sum":
        return add(a, b)
    elif KIND == "product":
        return multiply(a, b)
    elif KIND == "maximum":
        return maximum(a, b)
    else:
        return minimum(a, b)


@triton.jit
def reduce_axis(x, AXIS: tl.constexpr, KIND: tl.constexpr):
    if KIND == "sum":
        return tl.reduce(x, AXIS, add)
    elif KIND == "product":
        return tl.reduce(x, AXIS, multiply)
    elif KIND == "maximum":
        return tl.reduce(x, AXIS, maximum)
    else:
        return tl.reduce(x, AXIS, minimum)


@triton.jit
def group_offsets(index, size_1, size_2, stride_0, stride_1, stride_2, ONE: tl.constexpr):
    """Offsets of flat indices over a group of up to three dimensions."""
    if ONE:
        return index * stride_2
    else:
        i_2 = index % size_2
        i_1 = index // size_2 % size_1
        i_0 = index // (size_2 * size_1)
        return i_0 * stride_0 + i_1 * stride_1 + i_2 * stride_2


@jit
def reduce_kernel(
    y_ptr,  # (programs along axis 1, M)
    a_ptr,  # operands over (M, N)
    b_ptr,
    c_ptr,
    d_ptr,
    p,
    q,
    r,
    M,
    N,
    chunk,  # reduced elements per program along axis 1 of the grid
    count,  # divisor of a mean
    kept_1,  # sizes of the kept dimensions but the first
    kept_2,
    reduced_1,  # sizes of the reduced dimensions but the first
    reduced_2,
    a_k0,  # strides: kept dimensions 0 to 2, reduced dimensions 0 to 2
    a_k1,
    a_k2,
    a_r0,
    a_r1,
    a_r2,
    b_k0,
    b_k1,
    b_k2,
    b_r0,
    b_r1,
    b_r2,
    c_k0,
    c_k1,
    c_k2,
    c_r0,
    c_r1,
    c_r2,
    d_k0,
    d_k1,
    d_k2,
    d_r0,
    d_r1,
    d_r2,
    FN: tl.constexpr,
    ARGS: tl.constexpr,
    UNIT: tl.constexpr,  # for each operand whether its innermost stride along the columns is 1
    FLOATS: tl.constexpr,
    COMPUTE: tl.constexpr,
    KIND: tl.constexpr,
    IDENTITY: tl.constexpr,
    MEAN: tl.constexpr,
    ONE_KEPT: tl.constexpr,
    ONE_REDUCED: tl.constexpr,
    KEPT_INNER: tl.constexpr,  # tile (reduced, kept) in place of (kept, reduced)
    EACH_TILE: tl.constexpr,  # reduce every tile at once: a CPU has no registers for a sum of tiles
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    m = tl.program_id(0).to(tl.int64) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    AXIS: tl.constexpr = 0 if KEPT_INNER else 1
    if KEPT_INNER:
        rows = m[None, :]
        total = tl.full((BLOCK_SIZE_N, BLOCK_SIZE_M), IDENTITY, COMPUTE)
    else:
        rows = m[:, None]
        total = tl.full((BLOCK_SIZE_M, BLOCK_SIZE_N), IDENTITY, COMPUTE)
    if EACH_TILE:
        total = tl.full((BLOCK_SIZE_M,), IDENTITY, COMPUTE)
    a_row = group_offsets(
        rows, kept_1, kept_2, a_k0, a_k1, 1 if UNIT[0] and KEPT_INNER else a_k2, ONE_KEPT
    )
    b_row = group_offsets(
        rows, kept_1, kept_2, b_k0, b_k1, 1 if UNIT[1] and KEPT_INNER else b_k2, ONE_KEPT
    )
    c_row = group_offsets(
        rows, kept_1, kept_2, c_k0, c_k1, 1 if UNIT[2] and KEPT_INNER else c_k2, ONE_KEPT
    )
    d_row = group_offsets(
        rows, kept_1, kept_2, d_k0, d_k1, 1 if UNIT[3] and KEPT_INNER else d_k2, ONE_KEPT
    )
    first = tl.program_id(1).to(tl.int64) * chunk
    last = tl.minimum(first + chunk, N)
    for start in tl.range(first, last, BLOCK_SIZE_N):
        n = start + tl.arange(0, BLOCK_SIZE_N)
        if KEPT_INNER:
            cols = n[:, None]
        else:
            cols = n[None, :]
        mask = (rows < M) & (cols < last)
        a_col = group_offsets(
            cols,
            reduced_1,
            reduced_2,
            a_r0,
            a_r1,
            1 if UNIT[0] and not KEPT_INNER else a_r2,
            ONE_REDUCED,
        )
        b_col = group_offsets(
            cols,
            reduced_1,
            reduced_2,
            b_r0,
            b_r1,
            1 if UNIT[1] and not KEPT_INNER else b_r2,
            ONE_REDUCED,
        )
        c_col = group_offsets(
            cols,
            reduced_1,
            reduced_2,
            c_r0,
            c_r1,
            1 if UNIT[2] and not KEPT_INNER else c_r2,
            ONE_REDUCED,
        )
        d_col = group_offsets(
            cols,
            reduced_1,
            reduced_2,
            d_r0,
            d_r1,
            1 if UNIT[3] and not KEPT_INNER else d_r2,
            ONE_REDUCED,
        )
        values = [
            load_operand(a_ptr, a_row + a_col, mask, COMPUTE),
            load_operand(b_ptr, b_row + b_col, mask, COMPUTE),
            load_operand(c_ptr, c_row + c_col, mask, COMPUTE),
            load_operand(d_ptr, d_row + d_col, mask, COMPUTE),
            number_operand(p, FLOATS[0], COMPUTE),
            number_operand(q, FLOATS[1], COMPUTE),
            number_operand(r, FLOATS[2], COMPUTE),
        ]
        x = call(FN, values, ARGS)
        x = tl.where(mask, x, tl.full((), IDENTITY, COMPUTE))
        if EACH_TILE:
            x = reduce_axis(x, AXIS, KIND)
        total = combine(total, x, KIND)
    y = total if EACH_TILE else reduce_axis(total, AXIS, KIND)
    if MEAN:
        y = y / count.to(COMPUTE)
    y_offsets = tl.program_id(1).to(tl.int64) * M + m
    tl.store(y_ptr + y_offsets, y.to(y_ptr.dtype.element_ty), mask=m < M)


@triton.jit
def later_maximum(value, index, other_value, other_index):
    """The larger value; of equal ones the first; NaN beats every number."""
    other_wins = (
        (other_value > value)
        | ((other_value != other_value) & (value == value))
        | (
            ((other_value == value) | ((other_value != other_value) & (value != value)))
            & (other_index < index)
        )
    )
    return tl.where(other_wins, other_value, value), tl.where(other_wins, other_index, index)


@triton.jit
def later_minimum(value, index, other_value, other_index):
    """The smaller value; of equal ones the first; NaN beats every number."""
    other_wins = (
        (other_value < value)
        | ((other_value != other_value) & (value == value))
        | (
            ((other_value == value) | ((other_value != other_value) & (value != value)))
            & (other_index < index)
        )
    )
    return tl.where(other_wins, other_value, value), tl.where(other_wins, other_index, index)


@jit
def arg_reduce_kernel(
    y_ptr,  # (M,) the extreme values
    index_ptr,  # (M,) int64, where they are
    x_ptr,  # (M0, N, M1), M = M0 * M1
    M,
    N,
    M1,
    stride_0,
    stride_n,
    stride_1,
    COMPUTE: tl.constexpr,
    KIND: tl.constexpr,
    IDENTITY: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    m = tl.program_id(0).to(tl.int64) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    rows = (m // M1 * stride_0 + m % M1 * stride_1)[:, None]
    best = tl.full((BLOCK_SIZE_M, BLOCK_SIZE_N), IDENTITY, COMPUTE)
    where = tl.full((BLOCK_SIZE_M, BLOCK_SIZE_N), 0, tl.int64) + N
    for start in tl.range(0, N, BLOCK_SIZE_N):
        n = start + tl.arange(0, BLOCK_SIZE_N)[None, :]
        mask = (m[:, None] < M) & (n < N)
        x = tl.load(x_ptr + rows + n * stride_n, mask=mask, other=0).to(COMPUTE)
        x = tl.where(mask, x, tl.full((), IDENTITY, COMPUTE))
        place = tl.where(mask, n + tl.zeros_like(where), N)
        if KIND == "maximum":
            best, where = later_maximum(best, where, x, place)
        else:
            best, where = later_minimum(best, where, x, place)
    if KIND == "maximum":
        y, index = tl.reduce((best, where), 1, later_maximum)
    else:
        y, index = tl.reduce((best, where), 1, later_minimum)
    tl.store(y_ptr + m, y.to(y_ptr.dtype.element_ty), mask=m < M)
    tl.store(index_ptr + m, index, mask=m < M)


def identity_element(kind: str, dtype: torch.dtype) -> float | int:
    """The value that a reduction of this kind leaves out, as a constant of the compute dtype."""
    if kind in ("sum", "product"):
        return int(kind == "product")
    if dtype.is_floating_point:
        return -math.inf if kind == "maximum" else math.inf
    info = torch.iinfo(dtype)
    return info.min if kind == "maximum" else info.max


def reduce_tile(m: int, n: int, kept_inner: bool, on_cpu: bool) -> tuple[int, int]:
    """Kept and reduced elements per step: the contiguous direction gets the long side."""
    elements = 4096 if on_cpu else 1024
    if kept_inner and on_cpu:
        # 64 sums stay in registers. Wide rows give work to all threads with longer loops, too.
        inner = 16 if m <= 16 else 64 if m <= 16384 else 1024
    else:
        inner = next(size for size in (16, 128, 1024) if size >= min(m if kept_inner else n, 1024))
    outer = min(elements // inner, 16 if on_cpu else 64)
    return (inner, outer) if kept_inner else (outer, inner)


def splits(m: int, n: int) -> int:
    """Into how many parts a long reduction with few results is cut, to be reduced in turn."""
    return 1 if m * n < 65536 or m > 64 else min(-(-n // 16384), 64)


def groups(tensors: Sequence[Any], dims: Sequence[int]) -> tuple[list, list, list, list]:
    """Merged sizes and strides of the kept dimensions (in order), then of the reduced ones."""
    shape = tensors[0].shape
    strides = [t.stride() for t in tensors]
    kept_dims = [d for d in range(len(shape)) if d not in dims]
    dense: list[int] = []
    step = 1
    for d in reversed(kept_dims):
        dense.insert(0, step)
        step *= max(shape[d], 1)
    kept, (_, *kept_strides) = collapse(
        [shape[d] for d in kept_dims], [dense, *[[s[d] for d in kept_dims] for s in strides]]
    )
    reduced, reduced_strides = collapse(
        [shape[d] for d in dims], [[s[d] for d in dims] for s in strides]
    )
    return kept, kept_strides, reduced, reduced_strides


def fits(tensors: Sequence[Any], dims: Sequence[int]) -> bool:
    """Whether the kernel can reduce these operands over ``dims`` in one launch."""
    kept, _, reduced, _ = groups(tensors, dims)
    return len(kept) <= GROUP_DIMS and len(reduced) <= GROUP_DIMS


def reduction(
    fn: Any,
    kind: str,
    y: Any,
    tensors: Sequence[Any],
    dims: Sequence[int],
    numbers: Sequence[Any],
    args: tuple[int, ...],
    compute: torch.dtype,
    mean_of: int = 0,
    parts: int = 1,
) -> None:
    """Reduce ``fn`` of the operands over ``dims``.

    Args:
        fn: elementwise device function, as in ``map.elementwise``.
        kind: "sum", "product", "maximum" or "minimum".
        y: contiguous output (parts, kept dimensions in order); with more than one part each
            holds the reduction of a consecutive share of the reduced elements.
        tensors: up to four operands of one common shape; the kept dimensions, and the reduced
            ones, must each collapse to at most three.
        dims: the reduced dimensions.
        numbers, args, compute: as in ``map.elementwise``.
        mean_of: the divisor of a mean, or 0.
    """
    kept, kept_strides, reduced, reduced_strides = groups(tensors, dims)
    m, n = math.prod(kept), math.prod(reduced)
    kept_inner = kept_strides[0][-1] == 1 and m > 1 and reduced_strides[0][-1] != 1
    kept_pad, reduced_pad = GROUP_DIMS - len(kept), GROUP_DIMS - len(reduced)
    flat = []
    for k, r in zip(kept_strides, reduced_strides, strict=True):
        flat += [0] * kept_pad + k + [0] * reduced_pad + r
    absent = MAX_TENSORS - len(tensors)
    flat += [0] * 2 * GROUP_DIMS * absent
    inner = kept_strides if kept_inner else reduced_strides
    floats = tuple(getattr(number, "is_float", False) for number in numbers)
    block_m, block_n = reduce_tile(m, n, kept_inner, is_cpu(y))
    chunk = -(-n // (parts * block_n)) * block_n
    launch(
        reduce_kernel, (-(-m // block_m), parts), y, *tensors, *[None] * absent,
        *numbers, *[0] * (MAX_NUMBERS - len(numbers)), m, n, chunk, mean_of,
        *([1] * kept_pad + kept)[1:], *([1] * reduced_pad + reduced)[1:], *flat,
        FN=fn, ARGS=args,
        UNIT=tuple(s[-1] == 1 for s in inner) + (False,) * absent,
        FLOATS=floats + (False,) * (MAX_NUMBERS - len(floats)),
        COMPUTE=TRITON_DTYPE[compute], KIND=kind,
        IDENTITY=identity_element(kind, compute), MEAN=mean_of > 0,
        ONE_KEPT=len(kept) == 1, ONE_REDUCED=len(reduced) == 1, KEPT_INNER=kept_inner,
        EACH_TILE=is_cpu(y), BLOCK_SIZE_M=block_m, BLOCK_SIZE_N=block_n,
    )  # fmt: skip


def arg_reduction(kind: str, y: Any, index: Any, x: Any, compute: torch.dtype) -> None:
    """Largest or smallest element along the middle dimension, and its first position.

    Args:
        kind: "maximum" or "minimum".
        y, index: contiguous (M0, M1) outputs; ``index`` is int64.
        x: (M0, N, M1), any strides, N > 0.
    """
    m0, n, m1 = x.shape
    block_m, block_n = reduce_tile(m0 * m1, n, False, is_cpu(x))
    stride_0, stride_n, stride_1 = x.stride()
    launch(
        arg_reduce_kernel, (-(-m0 * m1 // block_m),), y, index, x,
        m0 * m1, n, m1, stride_0, stride_n, stride_1,
        COMPUTE=TRITON_DTYPE[compute], KIND=kind,
        IDENTITY=identity_element(kind, compute),
        BLOCK_SIZE_M=block_m, BLOCK_SIZE_N=block_n,
    )  # fmt: skip
