"""Kernels that work on many tensors in one launch: optimizer steps and gradient clipping.

A *table* on the device says what there is to do. Each row is one block of one parameter, and so
one program: the addresses of the block in the parameter, the gradient and the optimizer's state,
then the number of elements. :func:`table_rows` makes the rows on the host; they stay valid as long
as no address changes, which in a training loop is nearly always.

All arithmetic is float32, float64 for float64, and is rounded once, when it is stored.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from minitorch_triton.kernels.launch import jit, launch, overlap_error

_TRITON_TYPE = {
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float32: tl.float32,
    torch.float64: tl.float64,
}


# A kernel that reads and writes several columns of a table; `refuse_overlaps` sees to the option.
jit_for_tables = functools.partial(jit, loaded_pointers_overlap=False)


def block_size(device: torch.device) -> int:
    """Elements of one row: enough to hide a program's cost, few enough to fill the cores."""
    return 4096 if device.type == "cpu" else 1024


def table_rows(
    addresses: Sequence[Sequence[int]], numels: Sequence[int], itemsize: int, block: int
) -> np.ndarray:
    """The rows of a table.

    Args:
        addresses: for each parameter, the addresses of its tensors, all densely stored alike.
        numels: the number of elements of each parameter.
        itemsize: bytes of an element.
        block: elements of a block, see :func:`block_size`.

    Returns:
        int64 array (blocks, addresses + 1): in each row the addresses where the block begins, and
        its number of elements.

    Raises:
        RuntimeError: tensors of a parameter overlap in part.
    """
    parts = []
    for tensors, numel in zip(addresses, numels, strict=True):
        start = np.arange(0, numel, block, dtype=np.int64)[:, None]
        begins = np.array(tensors, dtype=np.int64) + start * itemsize
        parts.append(np.hstack([begins, np.minimum(numel - start, block)]))
    rows = np.concatenate(parts)
    refuse_overlaps(rows, itemsize)
    return rows


def refuse_overlaps(rows: np.ndarray, itemsize: int) -> None:
    """Check a table's rows: in each the tensors must be the same or have no memory in common, as
    the kernels may write to the one before they have read all of the other.

    Raises:
        RuntimeError: some overlap in part, as in PyTorch.
    """
    distances = np.diff(np.sort(rows[:, :-1]))
    if np.any((distances > 0) & (distances < rows[:, -1:] * itemsize)):
        raise overlap_error()


def _types(dtype: torch.dtype) -> dict[str, Any]:
    return {
        "DTYPE": _TRITON_TYPE[dtype],
        "COMPUTE": tl.float64 if dtype == torch.float64 else tl.float32,
    }


@triton.jit
def _address(table_ptr, column: tl.constexpr, COLUMNS: tl.constexpr, DTYPE: tl.constexpr):
    """Where this program's block begins in the tensor of one column."""
    row = tl.program_id(0).to(tl.int64)
    return tl.load(table_ptr + row * COLUMNS + column).to(tl.pointer_type(DTYPE))


@triton.jit
def _mask(table_ptr, COLUMNS: tl.constexpr, offsets):
    """Which of the offsets lie in this program's block; the last column holds its length."""
    row = tl.program_id(0).to(tl.int64)
    return offsets < tl.load(table_ptr + row * COLUMNS + COLUMNS - 1)


@triton.jit
def _load(pointers, mask, COMPUTE: tl.constexpr):
    return tl.load(pointers, mask=mask, other=0.0).to(COMPUTE)


@jit_for_tables
def sgd_kernel(
    table_ptr,  # (blocks, 4): parameter, gradient, momentum buffer, length
    lr: tl.float64,
    momentum: tl.float64,
    dampening: tl.float64,
    weight_decay: tl.float64,
    first,  # 1 while the momentum buffer holds nothing yet
    DTYPE: tl.constexpr,
    COMPUTE: tl.constexpr,
    BUFFERED: tl.constexpr,  # without momentum the table has no column for the buffer
    NESTEROV: tl.constexpr,
    MAXIMIZE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    COLUMNS: tl.constexpr = 4 if BUFFERED else 3
    offsets = tl.arange(0, BLOCK_SIZE)
    mask = _mask(table_ptr, COLUMNS, offsets)
    p_ptr = _address(table_ptr, 0, COLUMNS, DTYPE) + offsets
    g_ptr = _address(table_ptr, 1, COLUMNS, DTYPE) + offsets
    p = _load(p_ptr, mask, COMPUTE)
    g = _load(g_ptr, mask, COMPUTE)
    if MAXIMIZE:
        g = -g
    # Without decay an infinite parameter must not turn the gradient into NaN.
    g = tl.where(weight_decay != 0.0, g + tl.full((), weight_decay, COMPUTE) * p, g)
    if BUFFERED:
        buffer_ptr = _address(table_ptr, 2, COLUMNS, DTYPE) + offsets
        buffer = _load(buffer_ptr, mask, COMPUTE)
        decayed = (
            tl.full((), momentum, COMPUTE) * buffer + tl.full((), 1.0 - dampening, COMPUTE) * g
        )
        buffer = tl.where(first != 0, g, decayed)
        tl.store(buffer_ptr, buffer.to(DTYPE), mask=mask)
        if NESTEROV:
            g = g + tl.full((), momentum, COMPUTE) * buffer
        else:
            g = buffer
    tl.store(p_ptr, (p - tl.full((), lr, COMPUTE) * g).to(DTYPE), mask=mask)


def sgd(
    table: Any,
    dtype: torch.dtype,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    """One step of stochastic gradient descent on every parameter of a table.

    Args:
        table: (blocks, 3 or 4) int64: parameter, gradient, with momentum its buffer, length.
        dtype: of every tensor in the table.
        first: the momentum buffers hold nothing yet and become the gradients.
    """
    launch(
        sgd_kernel,
        (table.shape[0],),
        table,
        lr,
        momentum,
        dampening,
        weight_decay,
        int(first),
        **_types(dtype),
        BUFFERED=table.shape[1] == 4,
        NESTEROV=nesterov,
        MAXIMIZE=maximize,
        BLOCK_SIZE=block_size(table.device),
    )


@jit_for_tables
def adam_kernel(
    table_ptr,  # (blocks, 6): parameter, gradient, exp_avg, exp_avg_sq, max_exp_avg_sq, length
    lr: tl.float64,
    beta1: tl.float64,
    beta2: tl.float64,
    eps: tl.float64,
    weight_decay: tl.float64,
    step_size: tl.float64,
    correction: tl.float64,
    DTYPE: tl.constexpr,
    COMPUTE: tl.constexpr,
    AMSGRAD: tl.constexpr,  # otherwise the table has no column for max_exp_avg_sq
    DECOUPLED: tl.constexpr,
    MAXIMIZE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    COLUMNS: tl.constexpr = 6 if AMSGRAD else 5
    offsets = tl.arange(0, BLOCK_SIZE)
    mask = _mask(table_ptr, COLUMNS, offsets)
    p_ptr = _address(table_ptr, 0, COLUMNS, DTYPE) + offsets
    g_ptr = _address(table_ptr, 1, COLUMNS, DTYPE) + offsets
    exp_avg_ptr = _address(table_ptr, 2, COLUMNS, DTYPE) + offsets
    exp_avg_sq_ptr = _address(table_ptr, 3, COLUMNS, DTYPE) + offsets
    p = _load(p_ptr, mask, COMPUTE)
    g = _load(g_ptr, mask, COMPUTE)
    exp_avg = _load(exp_avg_ptr, mask, COMPUTE)
    exp_avg_sq = _load(exp_avg_sq_ptr, mask, COMPUTE)

    if MAXIMIZE:
        g = -g
    if DECOUPLED:
        p = p * tl.full((), 1.0 - lr * weight_decay, COMPUTE)
    else:
        g = tl.where(weight_decay != 0.0, g + tl.full((), weight_decay, COMPUTE) * p, g)
    exp_avg += tl.full((), 1.0 - beta1, COMPUTE) * (g - exp_avg)
    exp_avg_sq = (
        tl.full((), beta2, COMPUTE) * exp_avg_sq + tl.full((), 1.0 - beta2, COMPUTE) * g * g
    )
    tl.store(exp_avg_ptr, exp_avg.to(DTYPE), mask=mask)
    tl.store(exp_avg_sq_ptr, exp_avg_sq.to(DTYPE), mask=mask)
    second_moment = exp_avg_sq
    if AMSGRAD:
        max_ptr = _address(table_ptr, 4, COLUMNS, DTYPE) + offsets
        largest = _load(max_ptr, mask, COMPUTE)
        # The comparison with itself lets a NaN through.
        grows = (exp_avg_sq > largest) | (exp_avg_sq != exp_avg_sq)
        second_moment = tl.where(grows, exp_avg_sq, largest)
        tl.store(max_ptr, second_moment.to(DTYPE), mask=mask)
    denominator = tl.sqrt(second_moment) / tl.full((), correction, COMPUTE) + tl.full(
        (), eps, COMPUTE
    )
    p = p - tl.full((), step_size, COMPUTE) * exp_avg / denominator
    tl.store(p_ptr, p.to(DTYPE), mask=mask)


def bias_corrected(lr: float, beta1: float, beta2: float, step: int) -> tuple[float, float]:
    """The step size, and what the root of the second moment is divided by.

    Args:
        step: the number of this step, 1 for the first.
    """
    return lr / (1 - beta1**step), (1 - beta2**step) ** 0.5


def adam(
    table: Any,
    dtype: torch.dtype,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step_size: float,
    correction: float,
    amsgrad: bool,
    maximize: bool,
    decoupled: bool,
) -> None:
    """One step of Adam (Kingma and Ba, 2015, algorithm 1) on every parameter of a table.

    Args:
        table: (blocks, 5 or 6) int64: parameter, gradient, exp_avg, exp_avg_sq, with amsgrad
            max_exp_avg_sq, length.
        dtype: of every tensor in the table.
        step_size, correction: see :func:`bias_corrected`.
        decoupled: weight decay shrinks the parameter itself (AdamW: Loshchilov and Hutter, 2019)
            instead of being added to the gradient.
    """
    launch(
        adam_kernel,
        (table.shape[0],),
        table,
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        step_size,
        correction,
        **_types(dtype),
        AMSGRAD=amsgrad,
        DECOUPLED=decoupled,
        MAXIMIZE=maximize,
        BLOCK_SIZE=block_size(table.device),
    )


@triton.jit
def _max_or_nan(x):
    """The largest element, NaN if there is one."""
    any_nan = tl.max((x != x).to(tl.int32), axis=0)
    return tl.where(any_nan != 0, float("nan"), tl.max(x, axis=0))


@jit
def norm_kernel(
    partial_ptr,  # (blocks,)
    table_ptr,  # (blocks, 2): gradient, length
    order: tl.float64,
    DTYPE: tl.constexpr,
    COMPUTE: tl.constexpr,
    ORDER: tl.constexpr,  # "inf", "1", "2", or "p": the run-time order
    BLOCK_SIZE: tl.constexpr,
):
    offsets = tl.arange(0, BLOCK_SIZE)
    mask = _mask(table_ptr, 2, offsets)
    x = tl.abs(_load(_address(table_ptr, 0, 2, DTYPE) + offsets, mask, COMPUTE))
    if ORDER == "inf":
        partial = _max_or_nan(x)
    elif ORDER == "1":
        partial = tl.sum(x, axis=0)
    elif ORDER == "2":
        partial = tl.sum(x * x, axis=0)
    else:
        power = tl.exp2(tl.full((), order, COMPUTE) * tl.log2(tl.where(x == 0.0, 1.0, x)))
        partial = tl.sum(tl.where(x == 0.0, 0.0, power), axis=0)
    row = tl.program_id(0).to(tl.int64)
    tl.store(partial_ptr + row, partial.to(partial_ptr.dtype.element_ty))


@jit
def total_norm_kernel(
    total_ptr,  # ()
    partial_ptr,  # (blocks,)
    blocks,
    order: tl.float64,
    COMPUTE: tl.constexpr,
    ORDER: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    offsets = tl.arange(0, BLOCK_SIZE)
    total = tl.zeros((), COMPUTE)
    for start in range(0, blocks, BLOCK_SIZE):
        partial = _load(partial_ptr + start + offsets, start + offsets < blocks, COMPUTE)
        if ORDER == "inf":
            largest = _max_or_nan(partial)
            total = tl.where((largest > total) | (largest != largest), largest, total)
        else:
            total += tl.sum(partial, axis=0)
    if ORDER == "2":
        total = tl.sqrt(total)
    elif ORDER == "p":
        root = tl.exp2(tl.log2(tl.where(total == 0.0, 1.0, total)) / tl.full((), order, COMPUTE))
        total = tl.where(total == 0.0, 0.0, root)
    tl.store(total_ptr, total.to(total_ptr.dtype.element_ty))


def _order(order: float) -> str:
    return {float("inf"): "inf", 1.0: "1", 2.0: "2"}.get(order, "p")


def partial_norms(partial: Any, table: Any, dtype: torch.dtype, order: float) -> None:
    """For each block of a table its largest magnitude (order inf) or sum of powers.

    Args:
        partial: (blocks,), float32 or float64.
        table: (blocks, 2) int64: gradient, length.
        dtype: of every tensor in the table.
    """
    launch(
        norm_kernel,
        (table.shape[0],),
        partial,
        table,
        order,
        **_types(dtype),
        ORDER=_order(order),
        BLOCK_SIZE=block_size(table.device),
    )


def total_norm(total: Any, partial: Any, order: float) -> None:
    """The norm of all blocks, of shape (), from what :func:`partial_norms` left of each."""
    launch(
        total_norm_kernel,
        (1,),
        total,
        partial,
        partial.shape[0],
        order,
        COMPUTE=_TRITON_TYPE[partial.dtype],
        ORDER=_order(order),
        BLOCK_SIZE=1024,
    )


@jit
def scale_to_norm_kernel(
    table_ptr,  # (blocks, 2): gradient, length
    total_ptr,  # ()
    max_norm: tl.float64,
    DTYPE: tl.constexpr,
    COMPUTE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    offsets = tl.arange(0, BLOCK_SIZE)
    mask = _mask(table_ptr, 2, offsets)
    g_ptr = _address(table_ptr, 0, 2, DTYPE) + offsets
    factor = tl.full((), max_norm, COMPUTE) / (tl.load(total_ptr).to(COMPUTE) + 1e-6)
    factor = tl.where(factor > 1.0, 1.0, factor)
    tl.store(g_ptr, (_load(g_ptr, mask, COMPUTE) * factor).to(DTYPE), mask=mask)


def scale_to_norm(table: Any, total: Any, dtype: torch.dtype, max_norm: float) -> None:
    """Multiply all gradients by ``min(1, max_norm / (total + 1e-6))``; total stays on the device.

    Args:
        table: (blocks, 2) int64: gradient, length.
        total: the norm of all gradients, of shape ().
        dtype: of every gradient in the table.
    """
    launch(
        scale_to_norm_kernel,
        (table.shape[0],),
        table,
        total,
        max_norm,
        **_types(dtype),
        BLOCK_SIZE=block_size(table.device),
    )


@jit
def clamp_kernel(
    table_ptr,  # (blocks, 2): gradient, length
    bound: tl.float64,
    DTYPE: tl.constexpr,
    COMPUTE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    offsets = tl.arange(0, BLOCK_SIZE)
    mask = _mask(table_ptr, 2, offsets)
    g_ptr = _address(table_ptr, 0, 2, DTYPE) + offsets
    g = _load(g_ptr, mask, COMPUTE)
    upper = tl.full((), bound, COMPUTE)
    g = tl.where(g > upper, upper, tl.where(g < -upper, -upper, g))
    tl.store(g_ptr, g.to(DTYPE), mask=mask)


def clamp(table: Any, dtype: torch.dtype, bound: float) -> None:
    """Clamp all gradients of a table (blocks, 2) to [-bound, bound]; NaN stays NaN."""
    launch(
        clamp_kernel,
        (table.shape[0],),
        table,
        bound,
        **_types(dtype),
        BLOCK_SIZE=block_size(table.device),
    )
