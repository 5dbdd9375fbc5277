"""Layer, root-mean-square and batch normalization, and their gradients.

Both compute y = w * xhat + b with xhat = (x - mean) * rstd. They differ in the axis that mean and
rstd = 1 / sqrt(variance + eps) are taken over. With a = g * w the gradient is

    dx = rstd * (a - average(a) - xhat * average(a * xhat)),  dw = sum(g * xhat),  db = sum(g)

with averages over that same axis. Layer normalization: Ba et al., 2016
(https://arxiv.org/abs/1607.06450); batch normalization: Ioffe and Szegedy, 2015
(https://arxiv.org/abs/1502.03167); RMS normalization, which leaves out the mean and its term:
Zhang and Sennrich, 2019 (https://arxiv.org/abs/1910.07467).
"""

from typing import Any

import triton
import triton.language as tl

from minitorch_triton.kernels.launch import is_cpu, jit, launch
from minitorch_triton.kernels.layout import (
    block_size,
    compute_type,
    merge,
    offsets,
    row_block,
    slices,
    tile,
)
from minitorch_triton.kernels.map import number_operand


@jit
def layer_norm_kernel(
    y_ptr,  # (M, N)
    stats_ptr,  # (2, M): mean, rstd
    x_ptr,  # (M, N)
    weight_ptr,  # (N,), or None
    bias_ptr,  # (N,), or None
    M,
    N,
    stride_ym,
    stride_xm,
    eps: tl.float64,
    CENTER: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    """Each program normalizes BLOCK_SIZE_M rows; without CENTER the mean counts as 0."""
    m = tl.program_id(0).to(tl.int64) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    n = tl.arange(0, BLOCK_SIZE_N)
    mask_m = m < M
    x_rows = x_ptr + m[:, None] * stride_xm
    y_rows = y_ptr + m[:, None] * stride_ym

    mean = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
    if CENTER:
        for start in range(0, N, BLOCK_SIZE_N):
            offs = (start + n)[None, :]
            x = tl.load(x_rows + offs, mask=mask_m[:, None] & (offs < N), other=0)
            mean += tl.sum(x.to(COMPUTE_TYPE), axis=1)
        mean = mean / N
    variance = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
    for start in range(0, N, BLOCK_SIZE_N):
        offs = (start + n)[None, :]
        mask = mask_m[:, None] & (offs < N)
        x = tl.load(x_rows + offs, mask=mask, other=0).to(COMPUTE_TYPE)
        x = tl.where(mask, x - mean[:, None], 0)
        variance += tl.sum(x * x, axis=1)
    rstd = 1 / tl.sqrt(variance / N + tl.full((), eps, COMPUTE_TYPE))
    tl.store(stats_ptr + m, mean, mask=mask_m)
    tl.store(stats_ptr + M + m, rstd, mask=mask_m)

    for start in range(0, N, BLOCK_SIZE_N):
        offs = (start + n)[None, :]
        mask = mask_m[:, None] & (offs < N)
        x = tl.load(x_rows + offs, mask=mask, other=0).to(COMPUTE_TYPE)
        y = (x - mean[:, None]) * rstd[:, None]
        if weight_ptr is not None:
            y *= tl.load(weight_ptr + offs, mask=offs < N, other=0).to(COMPUTE_TYPE)
        if bias_ptr is not None:
            y += tl.load(bias_ptr + offs, mask=offs < N, other=0).to(COMPUTE_TYPE)
        tl.store(y_rows + offs, y, mask=mask)


@jit
def layer_norm_dx_kernel(
    dx_ptr,  # (M, N)
    g_ptr,  # (M, N)
    stats_ptr,  # (2, M)
    x_ptr,  # (M, N)
    weight_ptr,  # (N,), or None
    M,
    N,
    stride_dxm,
    stride_gm,
    stride_gn,
    stride_xm,
    CENTER: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
    UNIT_G: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    """The gradient of BLOCK_SIZE_M rows for each program."""
    m = tl.program_id(0).to(tl.int64) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    n = tl.arange(0, BLOCK_SIZE_N)
    mask_m = m < M
    mean = tl.load(stats_ptr + m, mask=mask_m, other=0)
    rstd = tl.load(stats_ptr + M + m, mask=mask_m, other=0)

    average_a = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
    average_ax = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
    for start in range(0, N, BLOCK_SIZE_N):
        offs = (start + n)[None, :]
        mask = mask_m[:, None] & (offs < N)
        offs_g = offsets(0, m, start + n, 0, stride_gm, stride_gn, UNIT_G)
        a = tl.load(g_ptr + offs_g, mask=mask, other=0).to(COMPUTE_TYPE)
        if weight_ptr is not None:
            a *= tl.load(weight_ptr + offs, mask=offs < N, other=0).to(COMPUTE_TYPE)
        x = tl.load(x_ptr + m[:, None] * stride_xm + offs, mask=mask, other=0).to(COMPUTE_TYPE)
        average_a += tl.sum(a, axis=1)
        average_ax += tl.sum(a * (x - mean[:, None]) * rstd[:, None], axis=1)
    average_ax = (average_ax / N)[:, None]
    if CENTER:
        average_a = (average_a / N)[:, None]
    else:
        average_a = tl.zeros((BLOCK_SIZE_M, 1), COMPUTE_TYPE)

    for start in range(0, N, BLOCK_SIZE_N):
        offs = (start + n)[None, :]
        mask = mask_m[:, None] & (offs < N)
        offs_g = offsets(0, m, start + n, 0, stride_gm, stride_gn, UNIT_G)
        a = tl.load(g_ptr + offs_g, mask=mask, other=0).to(COMPUTE_TYPE)
        if weight_ptr is not None:
            a *= tl.load(weight_ptr + offs, mask=offs < N, other=0).to(COMPUTE_TYPE)
        x = tl.load(x_ptr + m[:, None] * stride_xm + offs, mask=mask, other=0).to(COMPUTE_TYPE)
        xhat = (x - mean[:, None]) * rstd[:, None]
        dx = rstd[:, None] * (a - average_a - xhat * average_ax)
        tl.store(dx_ptr + m[:, None] * stride_dxm + offs, dx, mask=mask)


@jit
def layer_norm_dw_kernel(
    dw_ptr,  # (groups, N), or None
    db_ptr,  # (groups, N), or None
    g_ptr,  # (M, N)
    stats_ptr,  # (2, M)
    x_ptr,  # (M, N)
    M,
    N,
    rows,
    stride_gm,
    stride_gn,
    stride_xm,
    COMPUTE_TYPE: tl.constexpr,
    UNIT_G: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    """Sums over a group of ``rows`` rows, for BLOCK_SIZE_N columns in each program."""
    n = tl.program_id(0).to(tl.int64) * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    group = tl.program_id(1).to(tl.int64)
    first = group * rows
    last = tl.minimum(first + rows, M)
    dw = tl.zeros((BLOCK_SIZE_N,), COMPUTE_TYPE)
    db = tl.zeros((BLOCK_SIZE_N,), COMPUTE_TYPE)
    for start in range(first, last, BLOCK_SIZE_M):
        m = start + tl.arange(0, BLOCK_SIZE_M)
        mask = (m < last)[:, None] & (n < N)[None, :]
        offs_g = offsets(0, m, n, 0, stride_gm, stride_gn, UNIT_G)
        g = tl.load(g_ptr + offs_g, mask=mask, other=0).to(COMPUTE_TYPE)
        db += tl.sum(g, axis=0)
        if dw_ptr is not None:
            mean = tl.load(stats_ptr + m, mask=m < last, other=0)
            rstd = tl.load(stats_ptr + M + m, mask=m < last, other=0)
            offs_x = m[:, None] * stride_xm + n[None, :]
            x = tl.load(x_ptr + offs_x, mask=mask, other=0).to(COMPUTE_TYPE)
            dw += tl.sum(g * (x - mean[:, None]) * rstd[:, None], axis=0)
    if dw_ptr is not None:
        tl.store(dw_ptr + group * N + n, dw, mask=n < N)
    if db_ptr is not None:
        tl.store(db_ptr + group * N + n, db, mask=n < N)


@jit
def sum_groups_kernel(
    out_ptr,  # (N,)
    partial_ptr,  # (groups, N)
    groups,
    N,
    COMPUTE_TYPE: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    """Add up the groups, always in the same order."""
    n = tl.program_id(0).to(tl.int64) * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    total = tl.zeros((BLOCK_SIZE_N,), COMPUTE_TYPE)
    for start in range(0, groups, BLOCK_SIZE_M):
        m = start + tl.arange(0, BLOCK_SIZE_M)
        mask = (m < groups)[:, None] & (n < N)[None, :]
        partial = tl.load(partial_ptr + m[:, None] * N + n[None, :], mask=mask, other=0)
        total += tl.sum(partial.to(COMPUTE_TYPE), axis=0)
    tl.store(out_ptr + n, total, mask=n < N)


@jit
def batch_norm_kernel(
    y_ptr,  # (outer, rows, C)
    stats_ptr,  # (2, C): mean, rstd
    x_ptr,  # (outer, rows, C)
    weight_ptr,  # (C,), or None
    bias_ptr,  # (C,), or None
    running_mean_ptr,  # (C,), or None
    running_var_ptr,  # (C,), or None
    outer,
    rows,
    C,
    stride_yo,
    stride_ym,
    stride_yn,
    stride_xo,
    stride_xm,
    stride_xn,
    momentum,  # the bits of a float64
    eps: tl.float64,
    TRAINING: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
    UNIT: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    """Each program normalizes BLOCK_SIZE_N channels over all rows."""
    n = tl.program_id(0).to(tl.int64) * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    mask_n = n < C
    blocks = tl.cdiv(rows, BLOCK_SIZE_M)
    if TRAINING:
        count = outer * rows
        mean = tl.zeros((BLOCK_SIZE_N,), COMPUTE_TYPE)
        for step in range(outer * blocks):
            m = (step % blocks) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
            mask = (m < rows)[:, None] & mask_n[None, :]
            offs_x = offsets(step // blocks, m, n, stride_xo, stride_xm, stride_xn, UNIT)
            x = tl.load(x_ptr + offs_x, mask=mask, other=0)
            mean += tl.sum(x.to(COMPUTE_TYPE), axis=0)
        mean = mean / count
        variance = tl.zeros((BLOCK_SIZE_N,), COMPUTE_TYPE)
        for step in range(outer * blocks):
            m = (step % blocks) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
            mask = (m < rows)[:, None] & mask_n[None, :]
            offs_x = offsets(step // blocks, m, n, stride_xo, stride_xm, stride_xn, UNIT)
            x = tl.load(x_ptr + offs_x, mask=mask, other=0).to(COMPUTE_TYPE)
            x = tl.where(mask, x - mean[None, :], 0)
            variance += tl.sum(x * x, axis=0)
        variance = variance / count
        if running_mean_ptr is not None:
            # The running variance is the unbiased one, the variance used here is not.
            unbiased = variance * (count / (count - 1)).to(COMPUTE_TYPE)
            rate = number_operand(momentum, True, COMPUTE_TYPE)
            old_mean = tl.load(running_mean_ptr + n, mask=mask_n, other=0).to(COMPUTE_TYPE)
            old_var = tl.load(running_var_ptr + n, mask=mask_n, other=0).to(COMPUTE_TYPE)
            new_mean = (1 - rate) * old_mean + rate * mean
            new_var = (1 - rate) * old_var + rate * unbiased
            tl.store(running_mean_ptr + n, new_mean, mask=mask_n)
            tl.store(running_var_ptr + n, new_var, mask=mask_n)
    else:
        mean = tl.load(running_mean_ptr + n, mask=mask_n, other=0).to(COMPUTE_TYPE)
        variance = tl.load(running_var_ptr + n, mask=mask_n, other=0).to(COMPUTE_TYPE)
    rstd = 1 / tl.sqrt(variance + tl.full((), eps, COMPUTE_TYPE))
    tl.store(stats_ptr + n, mean, mask=mask_n)
    tl.store(stats_ptr + C + n, rstd, mask=mask_n)

    scale = rstd
    if weight_ptr is not None:
        scale *= tl.load(weight_ptr + n, mask=mask_n, other=0).to(COMPUTE_TYPE)
    shift = tl.zeros((BLOCK_SIZE_N,), COMPUTE_TYPE)
    if bias_ptr is not None:
        shift += tl.load(bias_ptr + n, mask=mask_n, other=0).to(COMPUTE_TYPE)
    for step in range(outer * blocks):
        o = step // blocks
        m = (step % blocks) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
        mask = (m < rows)[:, None] & mask_n[None, :]
        offs_x = offsets(o, m, n, stride_xo, stride_xm, stride_xn, UNIT)
        offs_y = offsets(o, m, n, stride_yo, stride_ym, stride_yn, UNIT)
        x = tl.load(x_ptr + offs_x, mask=mask, other=0).to(COMPUTE_TYPE)
        y = (x - mean[None, :]) * scale[None, :] + shift[None, :]
        tl.store(y_ptr + offs_y, y, mask=mask)


@jit
def batch_norm_backward_kernel(
    dx_ptr,  # (outer, rows, C), or None
    dw_ptr,  # (C,), or None
    db_ptr,  # (C,), or None
    g_ptr,  # (outer, rows, C)
    stats_ptr,  # (2, C)
    x_ptr,  # (outer, rows, C)
    weight_ptr,  # (C,), or None
    outer,
    rows,
    C,
    stride_dxo,
    stride_dxm,
    stride_dxn,
    stride_go,
    stride_gm,
    stride_gn,
    stride_xo,
    stride_xm,
    stride_xn,
    TRAINING: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
    UNIT: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    """All gradients of BLOCK_SIZE_N channels; in evaluation mean and rstd are constants."""
    n = tl.program_id(0).to(tl.int64) * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    mask_n = n < C
    blocks = tl.cdiv(rows, BLOCK_SIZE_M)
    mean = tl.load(stats_ptr + n, mask=mask_n, other=0)
    rstd = tl.load(stats_ptr + C + n, mask=mask_n, other=0)

    dw = tl.zeros((BLOCK_SIZE_N,), COMPUTE_TYPE)
    db = tl.zeros((BLOCK_SIZE_N,), COMPUTE_TYPE)
    for step in range(outer * blocks):
        o = step // blocks
        m = (step % blocks) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
        mask = (m < rows)[:, None] & mask_n[None, :]
        offs_g = offsets(o, m, n, stride_go, stride_gm, stride_gn, UNIT)
        offs_x = offsets(o, m, n, stride_xo, stride_xm, stride_xn, UNIT)
        g = tl.load(g_ptr + offs_g, mask=mask, other=0).to(COMPUTE_TYPE)
        x = tl.load(x_ptr + offs_x, mask=mask, other=0).to(COMPUTE_TYPE)
        dw += tl.sum(g * (x - mean[None, :]) * rstd[None, :], axis=0)
        db += tl.sum(g, axis=0)
    if dw_ptr is not None:
        tl.store(dw_ptr + n, dw, mask=mask_n)
    if db_ptr is not None:
        tl.store(db_ptr + n, db, mask=mask_n)

    if dx_ptr is not None:
        scale = rstd
        if weight_ptr is not None:
            scale *= tl.load(weight_ptr + n, mask=mask_n, other=0).to(COMPUTE_TYPE)
        for step in range(outer * blocks):
            o = step // blocks
            m = (step % blocks) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
            mask = (m < rows)[:, None] & mask_n[None, :]
            offs_g = offsets(o, m, n, stride_go, stride_gm, stride_gn, UNIT)
            dx = tl.load(g_ptr + offs_g, mask=mask, other=0).to(COMPUTE_TYPE)
            if TRAINING:
                offs_x = offsets(o, m, n, stride_xo, stride_xm, stride_xn, UNIT)
                x = tl.load(x_ptr + offs_x, mask=mask, other=0).to(COMPUTE_TYPE)
                xhat = (x - mean[None, :]) * rstd[None, :]
                dx -= (db[None, :] + xhat * dw[None, :]) / (outer * rows)
            offs_dx = offsets(o, m, n, stride_dxo, stride_dxm, stride_dxn, UNIT)
            tl.store(dx_ptr + offs_dx, dx * scale[None, :], mask=mask)


def _rows(x: Any, n_dims: int) -> tuple[int, int, int, int]:
    """``(M, N, stride_m, stride_n)`` of a buffer whose last ``n_dims`` dimensions count as N."""
    split = len(x.shape) - n_dims
    folded = []
    for part in (slice(None, split), slice(split, None)):
        sizes, strides = merge(x.shape[part], [[step] for step in x.stride()[part]])
        if len(sizes) > 1:
            raise ValueError(f"shape {tuple(x.shape)} with strides {x.stride()} is no matrix")
        folded.append((sizes[0], strides[0][0]) if sizes else (1, 1))
    (M, stride_m), (N, stride_n) = folded
    return M, N, stride_m, stride_n


def layer_norm(
    y: Any,
    stats: Any,
    x: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    n_dims: int = 1,
    eps: float = 1e-5,
    center: bool = True,
) -> None:
    """Normalize the last ``n_dims`` dimensions of ``x``.

    Args:
        y: ``x``'s shape, contiguous, written.
        stats: (2, rows) of the compute type, written: mean and rstd of each row.
        x: rows that are contiguous each.
        weight: the normalized shape, contiguous, or None.
        bias: likewise.
        center: subtract the mean; without it this is RMS normalization.

    Raises:
        ValueError: ``x`` cannot be seen as such a matrix; make it contiguous first.
    """
    M, N, stride_xm, _ = _rows(x, n_dims)
    block_m, block_n = tile(M, N, x)
    launch(
        layer_norm_kernel,
        (triton.cdiv(M, block_m),),
        y,
        stats,
        x,
        weight,
        bias,
        M,
        N,
        N,
        stride_xm,
        eps,
        CENTER=center,
        COMPUTE_TYPE=compute_type(x.dtype),
        BLOCK_SIZE_M=block_m,
        BLOCK_SIZE_N=block_n,
    )


def weight_gradient_groups(x: Any, n_dims: int = 1) -> int:
    """Into how many groups of rows the gradients of weight and bias are split.

    A GPU needs more programs than there are blocks of columns; a CPU does not.
    """
    M = _rows(x, n_dims)[0]
    return 1 if is_cpu(x) else min(64, max(1, triton.cdiv(M, 128)))


def layer_norm_backward(
    dx: Any,
    dw: Any,
    db: Any,
    partial: Any,
    g: Any,
    stats: Any,
    x: Any,
    weight: Any = None,
    *,
    n_dims: int = 1,
    center: bool = True,
) -> None:
    """Write the gradients of :func:`layer_norm` that are not None.

    Args:
        dx: ``x``'s shape, contiguous.
        dw: the normalized shape, contiguous.
        db: likewise.
        partial: (2, :func:`weight_gradient_groups`, N) of the compute type, scratch; None for a
            single group.
        g: the upstream gradient, of strides that fold into a matrix, expanded ones too.

    The other arguments are those of :func:`layer_norm`, as it left them.
    """
    M, N, stride_xm, _ = _rows(x, n_dims)
    _, _, stride_gm, stride_gn = _rows(g, n_dims)
    compute = compute_type(x.dtype)
    unit_g = 1 if stride_gn == 1 else None
    if dx is not None:
        block_m, block_n = tile(M, N, x)
        launch(
            layer_norm_dx_kernel,
            (triton.cdiv(M, block_m),),
            dx,
            g,
            stats,
            x,
            weight,
            M,
            N,
            N,
            stride_gm,
            stride_gn,
            stride_xm,
            CENTER=center,
            COMPUTE_TYPE=compute,
            UNIT_G=unit_g,
            BLOCK_SIZE_M=block_m,
            BLOCK_SIZE_N=block_n,
        )
    if dw is None and db is None:
        return
    groups = weight_gradient_groups(x, n_dims)
    block_n = block_size(N, 256 if is_cpu(x) else 64)
    columns = triton.cdiv(N, block_n)
    targets = [
        out if out is None or partial is None else partial[part] for out, part in ((dw, 0), (db, 1))
    ]
    launch(
        layer_norm_dw_kernel,
        (columns, groups),
        *targets,
        g,
        stats,
        x,
        M,
        N,
        triton.cdiv(M, groups),
        stride_gm,
        stride_gn,
        stride_xm,
        COMPUTE_TYPE=compute,
        UNIT_G=unit_g,
        BLOCK_SIZE_M=32,
        BLOCK_SIZE_N=block_n,
    )
    if partial is not None:
        for out, part in ((dw, 0), (db, 1)):
            if out is not None:
                launch(
                    sum_groups_kernel,
                    (columns,),
                    out,
                    partial[part],
                    groups,
                    N,
                    COMPUTE_TYPE=compute,
                    BLOCK_SIZE_M=32,
                    BLOCK_SIZE_N=block_n,
                )


def _channel_tile(rows: int, channels: int, buffer: Any) -> tuple[int, int]:
    block_n = block_size(channels, 64 if is_cpu(buffer) else 32)
    return row_block(rows, 4096 // block_n), block_n


def batch_norm(
    y: Any,
    stats: Any,
    x: Any,
    weight: Any = None,
    bias: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
    *,
    training: bool = True,
    momentum: int,
    eps: float = 1e-5,
) -> None:
    """Normalize each channel (dimension 1) of ``x``.

    Args:
        y: ``x``'s shape, written.
        stats: (2, C) of the compute type, written: the mean and rstd that were used.
        x: (N, C) or (N, C, ...).
        weight, bias, running_mean, running_var: (C,), contiguous, or None.
        training: take mean and variance from ``x`` and move the running ones towards them (towards
            the unbiased variance) by ``momentum``; otherwise use the running ones.
        momentum: the bits of a float64, because it may change with every call.

    Raises:
        ValueError: the strides do not fold; make ``x`` contiguous first.
    """
    outer, rows, channels, strides, unit = slices(1, y, x)
    block_m, block_n = _channel_tile(rows, channels, x)
    launch(
        batch_norm_kernel,
        (triton.cdiv(channels, block_n),),
        y,
        stats,
        x,
        weight,
        bias,
        running_mean,
        running_var,
        outer,
        rows,
        channels,
        *strides[0],
        *strides[1],
        momentum,
        eps,
        TRAINING=training,
        COMPUTE_TYPE=compute_type(x.dtype),
        UNIT=unit,
        BLOCK_SIZE_M=block_m,
        BLOCK_SIZE_N=block_n,
    )


def batch_norm_backward(
    dx: Any,
    dw: Any,
    db: Any,
    g: Any,
    stats: Any,
    x: Any,
    weight: Any = None,
    *,
    training: bool = True,
) -> None:
    """Write those of the gradients of :func:`batch_norm` that are not None.

    Args:
        dx: ``x``'s shape.
        dw, db: (C,), contiguous.
        g: the upstream gradient, of any strides that fold together with ``x``'s.
    """
    buffers = [x if dx is None else dx, g, x]
    outer, rows, channels, strides, unit = slices(1, *buffers)
    block_m, block_n = _channel_tile(rows, channels, x)
    launch(
        batch_norm_backward_kernel,
        (triton.cdiv(channels, block_n),),
        dx,
        dw,
        db,
        g,
        stats,
        x,
        weight,
        outer,
        rows,
        channels,
        *(step for steps in strides for step in steps),
        TRAINING=training,
        COMPUTE_TYPE=compute_type(x.dtype),
        UNIT=unit,
        BLOCK_SIZE_M=block_m,
        BLOCK_SIZE_N=block_n,
    )
