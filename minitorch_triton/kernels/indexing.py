"""Reading and writing elements by number: gather, embedding, index_select, masks, and gradients.

The indexed tensor is seen as ``(outer, size, inner)``, where an index picks from ``size``. Negative
numbers count from the end. A number out of range touches no memory: it reads as NaN (0 in an
integer tensor), writes nothing, and is reported in a status buffer.
"""

from typing import Any

import triton
import triton.language as tl

from minitorch_triton.kernels.launch import is_cpu, jit, launch
from minitorch_triton.kernels.layout import block_size, compute_type

NOTHING_SKIPPED = -(2**63)


@triton.jit
def load_index(index_ptr, offs, mask, lowest, size, status_ptr, CODE: tl.constexpr):
    """Indices counted from 0, and which of them are in [lowest, size); others go to the status
    buffer. A negative one counts from the end."""
    index = tl.load(index_ptr + offs, mask=mask, other=0).to(tl.int64)
    valid = mask & (index >= lowest) & (index < size)
    if status_ptr is not None:
        wrong = tl.where(mask & (index < lowest) | mask & (index >= size), offs, 0x7FFFFFFFFFFFFFFF)
        first_wrong = tl.min(wrong)
        if first_wrong != 0x7FFFFFFFFFFFFFFF:
            tl.store(status_ptr, tl.load(index_ptr + first_wrong).to(tl.int64))
            tl.store(status_ptr + 1, CODE)
    return tl.where(index < 0, index + size, index), valid


@jit
def gather_kernel(
    y_ptr,  # (outer, N, inner)
    x_ptr,  # (outer, size, inner)
    index_ptr,  # (outer, N, inner), repeated where a stride is 0
    status_ptr,  # (2,), or None
    N,
    inner,
    size,
    stride_xo,
    stride_xd,
    stride_xb,
    stride_io,
    stride_in,
    stride_ib,
    BLOCK_SIZE_N: tl.constexpr,
    BLOCK_SIZE_B: tl.constexpr,
):
    """y[o, n, b] = x[o, index[o, n, b], b]."""
    blocks_n = tl.cdiv(N, BLOCK_SIZE_N)
    blocks_b = tl.cdiv(inner, BLOCK_SIZE_B)
    pid = tl.program_id(0).to(tl.int64)
    o = pid // (blocks_n * blocks_b)
    n = (pid // blocks_b % blocks_n * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N))[:, None]
    b = (pid % blocks_b * BLOCK_SIZE_B + tl.arange(0, BLOCK_SIZE_B))[None, :]
    mask = (n < N) & (b < inner)
    offs_index = o * stride_io + n * stride_in + b * stride_ib
    index, valid = load_index(index_ptr, offs_index, mask, 0, size, status_ptr, 1)
    offs_x = o * stride_xo + index * stride_xd + b * stride_xb
    if x_ptr.dtype.element_ty.is_floating():
        x = tl.load(x_ptr + offs_x, mask=valid, other=float("nan"))
    else:
        x = tl.load(x_ptr + offs_x, mask=valid, other=0)
    tl.store(y_ptr + (o * N + n) * inner + b, x, mask=mask)


@jit
def scatter_kernel(
    x_ptr,  # (outer, size, inner), changed
    index_ptr,  # (outer, N, inner), repeated where a stride is 0
    value_ptr,  # (outer, N, inner)
    status_ptr,  # (2,), or None
    N,
    inner,
    size,
    chunk,
    skipped,
    stride_xo,
    stride_xd,
    stride_xb,
    stride_io,
    stride_in,
    stride_ib,
    stride_vo,
    stride_vn,
    stride_vb,
    ADD: tl.constexpr,
    ATOMIC: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
    BLOCK_SIZE_B: tl.constexpr,
):
    """x[o, index[o, n, b], b] = (or +=) value[o, n, b], except where index is ``skipped``.

    Without ATOMIC a program takes its n one after the other, so equal indices are no race.
    """
    chunks = tl.cdiv(N, chunk)
    blocks_b = tl.cdiv(inner, BLOCK_SIZE_B)
    pid = tl.program_id(0).to(tl.int64)
    o = pid // (chunks * blocks_b)
    first = pid // blocks_b % chunks * chunk
    last = tl.minimum(first + chunk, N)
    b = (pid % blocks_b * BLOCK_SIZE_B + tl.arange(0, BLOCK_SIZE_B))[None, :]
    for start in range(first, last, BLOCK_SIZE_N):
        n = (start + tl.arange(0, BLOCK_SIZE_N))[:, None]
        mask = (n < last) & (b < inner)
        offs_index = o * stride_io + n * stride_in + b * stride_ib
        index, valid = load_index(index_ptr, offs_index, mask, 0, size, status_ptr, 1)
        valid = valid & (index != skipped)
        offs_v = o * stride_vo + n * stride_vn + b * stride_vb
        value = tl.load(value_ptr + offs_v, mask=valid, other=0)
        offs_x = o * stride_xo + index * stride_xd + b * stride_xb
        if ATOMIC:
            tl.atomic_add(x_ptr + offs_x, value.to(x_ptr.dtype.element_ty), mask=valid)
        elif ADD:
            old = tl.load(x_ptr + offs_x, mask=valid, other=0).to(COMPUTE_TYPE)
            tl.store(x_ptr + offs_x, old + value.to(COMPUTE_TYPE), mask=valid)
        else:
            tl.store(x_ptr + offs_x, value, mask=valid)


@jit
def ravel_kernel(
    linear_ptr,  # (N,)
    index_ptr,  # (N,)
    status_ptr,  # (2,)
    N,
    size,
    stride,
    FIRST: tl.constexpr,
    CODE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    """Add one dimension's part to the element numbers; out of range stays out of range."""
    i = (tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE))[None, :]
    mask = i < N
    index, valid = load_index(index_ptr, i, mask, -size, size, status_ptr, CODE)
    # So far below zero that no other dimension brings it back.
    part = tl.where(valid, index * stride, -0x2000000000000000)
    if not FIRST:
        part += tl.load(linear_ptr + i, mask=mask, other=0)
    tl.store(linear_ptr + i, part, mask=mask)


@jit
def count_kernel(
    counts_ptr,  # (programs,)
    mask_ptr,  # (N,)
    N,
    BLOCK_SIZE: tl.constexpr,
):
    pid = tl.program_id(0).to(tl.int64)
    i = pid * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    set = tl.load(mask_ptr + i, mask=i < N, other=0) != 0
    tl.store(counts_ptr + pid, tl.sum(set.to(tl.int64), axis=0))


@jit
def nonzero_kernel(
    y_ptr,  # (ndim, count)
    counts_ptr,  # (programs,)
    mask_ptr,  # (N,)
    N,
    count,
    dim,
    size,
    stride,
    BLOCK_SIZE: tl.constexpr,
):
    """The coordinate along one dimension of each element that is not zero."""
    pid = tl.program_id(0).to(tl.int64)
    before = tl.full((), 0, tl.int64)
    for start in range(0, pid, BLOCK_SIZE):
        p = start + tl.arange(0, BLOCK_SIZE)
        before += tl.sum(tl.load(counts_ptr + p, mask=p < pid, other=0), axis=0)
    i = pid * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    set = tl.load(mask_ptr + i, mask=i < N, other=0) != 0
    position = before + tl.cumsum(set.to(tl.int64), axis=0) - 1
    tl.store(y_ptr + dim * count + position, i // stride % size, mask=set)


_MASK_BLOCK = 4096


def gather(
    y: Any,
    x: Any,
    index: Any,
    status: Any,
    sizes: tuple[int, int, int],
    size: int,
    x_strides: tuple[int, int, int],
    index_strides: tuple[int, int, int],
) -> None:
    """``y[o, n, b] = x[o, index[o, n, b], b]``.

    Args:
        y: contiguous, written.
        index: integers.
        status: (2,) int64, zeros: takes an index that is out of range, and 1; None: not reported.
        sizes: (outer, N, inner).
        size: what an index picks from.
        x_strides: along outer, the indexed dimension and inner.
        index_strides: along outer, N and inner; 0 where indices repeat.
    """
    outer, n, inner = sizes
    block_b = block_size(inner, 1024)
    block_n = 2048 // block_b
    launch(
        gather_kernel,
        (outer * triton.cdiv(n, block_n) * triton.cdiv(inner, block_b),),
        y,
        x,
        index,
        status,
        n,
        inner,
        size,
        *x_strides,
        *index_strides,
        BLOCK_SIZE_N=block_n,
        BLOCK_SIZE_B=block_b,
    )


def scatter(
    x: Any,
    index: Any,
    value: Any,
    status: Any,
    sizes: tuple[int, int, int],
    size: int,
    x_strides: tuple[int, int, int],
    index_strides: tuple[int, int, int],
    value_strides: tuple[int, int, int],
    *,
    add: bool,
    skipped: int = NOTHING_SKIPPED,
) -> None:
    """``x[o, index[o, n, b], b] = value[o, n, b]``, or ``+=`` with ``add``.

    On a CPU equal indices are taken in order: the result is deterministic, and the last of several
    values stays. On a GPU sums are atomic, so their order is not fixed.

    Args:
        skipped: an index that is left out.

    The other arguments are those of :func:`gather`.
    """
    outer, n, inner = sizes
    block_b = block_size(inner, 1024)
    sequential = is_cpu(x) or not add
    block_n = 1 if sequential else max(1, 1024 // block_b)
    chunk = max(n, 1) if sequential else block_n
    launch(
        scatter_kernel,
        (outer * triton.cdiv(n, chunk) * triton.cdiv(inner, block_b),),
        x,
        index,
        value,
        status,
        n,
        inner,
        size,
        chunk,
        skipped,
        *x_strides,
        *index_strides,
        *value_strides,
        ADD=add,
        ATOMIC=add and not sequential,
        COMPUTE_TYPE=compute_type(x.dtype),
        BLOCK_SIZE_N=block_n,
        BLOCK_SIZE_B=block_b,
    )


def ravel(
    linear: Any,
    indices: list,
    status: Any,
    sizes: list[int],
    strides: list[int],
) -> None:
    """Element numbers from one index for each dimension: ``sum(index * stride)``.

    Args:
        linear: (N,) int64, written; below 0 where an index is out of range.
        indices: (N,) integers each, contiguous.
        status: (2,) int64, zeros: takes an index that is out of range, and 1 + its place.
        sizes, strides: of the indexed dimensions.
    """
    n = linear.shape[0]
    block = 1024
    for place, (index, size, stride) in enumerate(zip(indices, sizes, strides, strict=True)):
        launch(
            ravel_kernel,
            (triton.cdiv(n, block),),
            linear,
            index,
            status,
            n,
            size,
            stride,
            FIRST=place == 0,
            CODE=place + 1,
            BLOCK_SIZE=block,
        )


def count_programs(n: int) -> int:
    """How many counts :func:`count` writes for n elements."""
    return triton.cdiv(n, _MASK_BLOCK)


def count(counts: Any, mask: Any) -> None:
    """Count what is not zero in each block of ``mask``.

    Args:
        counts: (:func:`count_programs`,) int64, written.
        mask: contiguous, any dtype.
    """
    n = mask.numel()
    launch(count_kernel, (count_programs(n),), counts, mask, n, BLOCK_SIZE=_MASK_BLOCK)


def nonzero(y: Any, counts: Any, mask: Any) -> None:
    """The coordinates of what is not zero, in row-major order.

    Args:
        y: (ndim, count) int64, written.
        counts: as :func:`count` left it.
        mask: contiguous.
    """
    n = mask.numel()
    stride = n
    for dim, size in enumerate(mask.shape):
        stride = stride // max(size, 1)
        launch(
            nonzero_kernel,
            (count_programs(n),),
            y,
            counts,
            mask,
            n,
            y.shape[1],
            dim,
            size,
            stride,
            BLOCK_SIZE=_MASK_BLOCK,
        )
