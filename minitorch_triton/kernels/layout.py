"""Shapes, strides and offsets: what the structured kernels and their launchers share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from minitorch_triton.kernels.launch import is_cpu


def compute_type(dtype: torch.dtype) -> tl.dtype:
    """The type in which a kernel computes: float32 for the half types, otherwise its own."""
    return {torch.float64: tl.float64, torch.int64: tl.int64}.get(
        dtype, tl.float32 if dtype.is_floating_point else tl.int32
    )


def block_size(size: int, largest: int, smallest: int = 16) -> int:
    """A block that covers ``size``, within bounds: 16, 64, 256, 1024 or 4096.

    Few values make few variants. What sticks out is masked: a CPU skips it.
    """
    block = 16
    while block < size:
        block *= 4
    return max(smallest, min(largest, block))


def merge(
    sizes: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """Merge neighbouring dimensions that every operand walks through in one stride.

    Args:
        sizes: the dimensions' sizes.
        strides: for each dimension the operands' strides.

    Returns:
        The same, with as few dimensions as possible and none of size 1.
    """
    merged_sizes: list[int] = []
    merged_strides: list[list[int]] = []
    for size, steps in zip(sizes, strides, strict=True):
        if size == 1:
            continue
        if merged_sizes and all(
            outer == size * inner for outer, inner in zip(merged_strides[-1], steps, strict=True)
        ):
            merged_sizes[-1] *= size
            merged_strides[-1] = list(steps)
        else:
            merged_sizes.append(size)
            merged_strides.append(list(steps))
    return merged_sizes, merged_strides


class Slices(NamedTuple):
    """Buffers of one shape seen as ``(outer, rows, n)``: see :func:`slices`."""

    outer: int
    rows: int
    n: int
    strides: list[tuple[int, int, int]]
    unit: int | None


def slices(dim: int, *buffers: Any, rowwise: Sequence[Any] = ()) -> Slices:
    """See buffers of one shape as ``(outer, rows, n)``, where ``n`` is dimension ``dim``.

    ``rows`` is the innermost stretch of the other dimensions that every buffer walks through in
    one stride, ``outer`` the rest: a kernel takes ``outer`` from its program number and a block of
    ``rows`` as a vector, so no offset needs a division.

    Args:
        dim: the dimension that a kernel works along.
        buffers: buffers of the same shape.
        rowwise: buffers of that shape without ``dim``; their stride along ``n`` is 0.

    Returns:
        The sizes, for each buffer its strides ``(outer, row, n)``, and which axis of a tile
        (rows, n) each of ``buffers`` walks through one element at a time: 0, 1 or None.

    Raises:
        ValueError: more than two stretches would be needed; make the buffers contiguous first.
    """
    shape = buffers[0].shape
    if len(shape) == 0:
        return Slices(1, 1, 1, [(0, 0, 1)] * (len(buffers) + len(rowwise)), 1)
    dim %= len(shape)
    along = [1 if shape[dim] == 1 else b.stride()[dim] for b in buffers]
    strides = [[x for i, x in enumerate(b.stride()) if i != dim] for b in buffers]
    strides += [list(b.stride()) for b in rowwise]
    others = [size for i, size in enumerate(shape) if i != dim]
    sizes, steps = merge(others, list(zip(*strides, strict=True)))
    if len(sizes) > 2:
        raise ValueError(f"strides of shape {tuple(shape)} do not fold into three dimensions")
    outer, rows = [*[1] * (2 - len(sizes)), *sizes]
    steps = [*[[0] * len(strides)] * (2 - len(sizes)), *steps]
    unit = 1 if set(along) == {1} else 0 if set(steps[1][: len(along)]) == {1} else None
    along += [0] * len(rowwise)
    return Slices(outer, rows, shape[dim], list(zip(*steps, along, strict=True)), unit)


@triton.jit
def offsets(
    o, m, n, stride_o, stride_m, stride_n, UNIT: tl.constexpr, N_AXIS: tl.constexpr = 1
):  # fmt: skip
    """Offsets of a tile (m, n), or (n, m) for N_AXIS 0; the compiler sees that ``UNIT``, 0 for m
    and 1 for n, has stride 1."""
    m = tl.expand_dims(m, N_AXIS)
    n = tl.expand_dims(n, 1 - N_AXIS)
    if UNIT == 0:
        return o * stride_o + m + n * stride_n
    if UNIT == 1:
        return o * stride_o + m * stride_m + n
    return o * stride_o + m * stride_m + n * stride_n


def n_axis(n: int, unit: int | None, buffer: Any) -> int:
    """Which axis of a tile a kernel reduces that holds whole rows of length ``n``.

    A CPU computes the last axis of a tile in vectors: the rows' own direction (1), or across the
    rows (0) where those are contiguous or too short to fill vectors.
    """
    return 0 if is_cpu(buffer) and n <= LARGEST_ROW and (unit == 0 or n <= 16) else 1


LARGEST_ROW = 4096


def tile(rows: int, n: int, buffer: Any, axis: int = 1) -> tuple[int, int]:
    """Block sizes ``(BLOCK_SIZE_M, BLOCK_SIZE_N)`` for a kernel that reduces rows of length n.

    Short rows share a program. On a GPU a tile stays within the registers of four warps; on a CPU
    within the first-level cache, because some kernels go over it several times, or it has full
    vectors of rows where those are computed across (``axis`` 0).
    """
    block_n = block_size(n, LARGEST_ROW)
    largest = (4096 if is_cpu(buffer) else 2048) // block_n
    return row_block(rows, largest if axis == 1 else max(largest, 64)), block_n


def row_block(rows: int, largest: int) -> int:
    """The power of two, of at most ``largest``, that covers ``rows``.

    Finer than :func:`block_size`, because a CPU computes every row of a block, masked or not.
    """
    return max(1, min(largest, max(16, triton.next_power_of_2(rows))))
