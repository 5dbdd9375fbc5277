"""Host arithmetic that the structured kernels' launchers share: shapes and strides, no data."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from minitorch_triton.kernels.launch import is_cpu


def compute_type(dtype: torch.dtype) -> tl.dtype:
    """The type in which a kernel computes: float32 for the half types, otherwise its own."""
    return {torch.float64: tl.float64, torch.int64: tl.int64}.get(
        dtype, tl.float32 if dtype.is_floating_point else tl.int32
    )


def block_size(size: int, largest: int, smallest: int = 1) -> int:
    """The power of two that covers ``size``, within bounds: few values, so few variants."""
    return max(smallest, min(largest, triton.next_power_of_2(max(size, 1))))


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


def slices(dim: int, *buffers: Any) -> tuple[int, int, list[tuple[int, int, int]]]:
    """See buffers of one shape as ``(outer, rows, n)``, where ``n`` is dimension ``dim``.

    ``rows`` is the innermost stretch of the other dimensions that every buffer walks through in
    one stride, ``outer`` the rest: a kernel takes ``outer`` from its program number and a block of
    ``rows`` as a vector, so no offset needs a division.

    Args:
        dim: the dimension that a kernel works along.
        buffers: buffers of the same shape.

    Returns:
        ``outer, rows`` and for each buffer its strides ``(stride_outer, stride_row, stride_n)``.

    Raises:
        ValueError: more than two stretches would be needed; make the buffers contiguous first.
    """
    shape = buffers[0].shape
    if len(shape) == 0:
        return 1, 1, [(0, 0, 0)] * len(buffers)
    dim %= len(shape)
    others = [i for i in range(len(shape)) if i != dim]
    sizes, strides = merge(
        [shape[i] for i in others], [[b.stride()[i] for b in buffers] for i in others]
    )
    if len(sizes) > 2:
        raise ValueError(f"strides of shape {tuple(shape)} do not fold into three dimensions")
    none = [0] * len(buffers)
    outer, rows = [*[1] * (2 - len(sizes)), *sizes]
    outer_strides, row_strides = [*[none] * (2 - len(sizes)), *strides]
    along = [b.stride()[dim] for b in buffers]
    return outer, rows, list(zip(outer_strides, row_strides, along, strict=True))


def tile(rows: int, n: int, buffer: Any, largest_row: int = 4096) -> tuple[int, int]:
    """Block sizes ``(BLOCK_SIZE_M, BLOCK_SIZE_N)`` for a kernel that reduces rows of length n.

    Short rows share a program. On a GPU a tile stays within the registers of four warps; on a CPU
    a program should be worth the 0.4 microseconds of starting its thread.
    """
    block_n = block_size(n, largest_row)
    elements = 16384 if is_cpu(buffer) else 4096
    return block_size(rows, max(1, elements // block_n)), block_n
