"""Cross-entropy of logits, negative log-likelihood of log-probabilities, and their gradients.

With a target distribution q over C classes, class weights w and label smoothing s (Szegedy et al.,
Rethinking the Inception architecture, 2015, section 7, https://arxiv.org/abs/1512.00567),

    v[c] = w[c] * ((1 - s) * q[c] + s / C)
    loss = sum_c v[c] * (logsumexp(x) - x[c])
    dloss/dx[c] = softmax(x)[c] * sum(v) - v[c]

A class index t is the distribution q[c] = (c == t). The softmax is never written out: the forward
pass saves two numbers for each row, the largest logit and log(sum(exp(x - largest))). The mean
over rows divides by the number of rows, or by sum(w[t]) over the rows that are not ignored.
"""

from typing import Any

import triton
import triton.language as tl

from minitorch_triton.kernels.launch import jit, launch
from minitorch_triton.kernels.layout import compute_type, n_axis, offsets, slices, tile
from minitorch_triton.kernels.softmax import accumulate_exponentials

_NONE, _MEAN = tl.constexpr("none"), tl.constexpr("mean")


@triton.jit
def target_weights(
    target_ptr,  # (outer, rows, C) probabilities; not read for class indices
    weight_ptr,  # (C,), or None
    index,  # class of each row
    o,
    m,
    n,
    mask,
    C,
    stride_to,
    stride_tm,
    stride_tn,
    stride_w,
    smoothing,
    PROBABILITIES: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
    UNIT: tl.constexpr,
):
    """The v of the formula above for a tile of rows m and classes n."""
    if PROBABILITIES:
        offs = offsets(o, m, n, stride_to, stride_tm, stride_tn, UNIT)
        q = tl.load(target_ptr + offs, mask=mask, other=0).to(COMPUTE_TYPE)
    else:
        q = tl.where(n[None, :] == index[:, None], 1.0, 0.0).to(COMPUTE_TYPE)
    v = tl.where(mask, q * (1 - smoothing) + smoothing / C, 0)
    if weight_ptr is not None:
        w = tl.load(weight_ptr + n * stride_w, mask=n < C, other=0).to(COMPUTE_TYPE)
        v *= w[None, :]
    return v


@jit
def cross_entropy_kernel(
    loss_ptr,  # (outer, rows) without reduction, otherwise (1,)
    denominator_ptr,  # (1,): what a mean divides by
    partial_ptr,  # (2, programs), or None for a single program
    stats_ptr,  # (outer, rows, 2), or None for log-probabilities
    status_ptr,  # (2,): takes a target that is out of range, and 1
    x_ptr,  # (outer, rows, C)
    target_ptr,  # (outer, rows) class indices, or (outer, rows, C) probabilities
    weight_ptr,  # (C,), or None
    rows,
    C,
    stride_xo,
    stride_xm,
    stride_xn,
    stride_to,
    stride_tm,
    stride_tn,
    stride_w,
    ignore_index,
    label_smoothing: tl.float64,
    LOGITS: tl.constexpr,
    PROBABILITIES: tl.constexpr,
    SMOOTH: tl.constexpr,
    REDUCTION: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
    UNIT: tl.constexpr,
    ONE_BLOCK: tl.constexpr,
    N_AXIS: tl.constexpr,  # of a tile that is one block
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    """Each program computes BLOCK_SIZE_M rows; a single one also the reduced loss."""
    blocks = tl.maximum(tl.cdiv(rows, BLOCK_SIZE_M), 1)
    pid = tl.program_id(0).to(tl.int64)
    o = pid // blocks
    m = (pid % blocks) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    n = tl.arange(0, BLOCK_SIZE_N)
    mask_m = m < rows

    largest = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
    log_total = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
    if LOGITS:
        if ONE_BLOCK:
            inside = tl.expand_dims(mask_m, N_AXIS) & tl.expand_dims(n < C, 1 - N_AXIS)
            offs = offsets(o, m, n, stride_xo, stride_xm, stride_xn, UNIT, N_AXIS)
            logits = tl.load(x_ptr + offs, mask=inside, other=float("-inf")).to(COMPUTE_TYPE)
            largest = tl.max(logits, axis=N_AXIS)
            total = tl.sum(tl.exp(logits - tl.expand_dims(largest, N_AXIS)), axis=N_AXIS)
        else:
            largest = tl.full((BLOCK_SIZE_M,), float("-inf"), COMPUTE_TYPE)
            total = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
            for start in range(0, C, BLOCK_SIZE_N):
                mask = mask_m[:, None] & (start + n < C)[None, :]
                offs_x = offsets(o, m, start + n, stride_xo, stride_xm, stride_xn, UNIT)
                x = tl.load(x_ptr + offs_x, mask=mask, other=float("-inf")).to(COMPUTE_TYPE)
                largest, total = accumulate_exponentials(x, largest, total)
        log_total = tl.log(total)
        offs_stats = (o * rows + m) * 2
        tl.store(stats_ptr + offs_stats, largest, mask=mask_m)
        tl.store(stats_ptr + offs_stats + 1, log_total, mask=mask_m)

    kept = mask_m
    valid = mask_m
    index = m
    row_weight = tl.where(mask_m, 1.0, 0.0).to(COMPUTE_TYPE)
    if not PROBABILITIES:
        offs_t = o * stride_to + m * stride_tm
        index = tl.load(target_ptr + offs_t, mask=mask_m, other=0).to(tl.int64)
        kept = mask_m & (index != ignore_index)
        valid = kept & (index >= 0) & (index < C)
        wrong = tl.where(kept & (index < 0) | kept & (index >= C), m, rows)
        first_wrong = tl.min(wrong, axis=0)
        if first_wrong < rows:
            tl.store(status_ptr, tl.sum(tl.where(m == first_wrong, index, 0), axis=0))
            tl.store(status_ptr + 1, 1)
        row_weight = tl.where(kept, row_weight, 0)
        if weight_ptr is not None:
            w = tl.load(weight_ptr + index * stride_w, mask=valid, other=0)
            row_weight = w.to(COMPUTE_TYPE)

    if SMOOTH or PROBABILITIES:
        loss = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
        for start in range(0, C, BLOCK_SIZE_N):
            mask = mask_m[:, None] & (start + n < C)[None, :]
            offs_x = offsets(o, m, start + n, stride_xo, stride_xm, stride_xn, UNIT)
            x = tl.load(x_ptr + offs_x, mask=mask, other=0).to(COMPUTE_TYPE)
            v = target_weights(
                target_ptr, weight_ptr, index, o, m, start + n, mask, C,
                stride_to, stride_tm, stride_tn, stride_w,
                tl.full((), label_smoothing, COMPUTE_TYPE), PROBABILITIES, COMPUTE_TYPE, UNIT,
            )  # fmt: skip
            term = v * (log_total[:, None] - (x - largest[:, None]))
            loss += tl.sum(tl.where(mask, term, 0), axis=1)
        loss = tl.where(valid, loss, float("nan"))
    else:
        offs_x = o * stride_xo + m * stride_xm + index * stride_xn
        x = tl.load(x_ptr + offs_x, mask=valid, other=float("nan")).to(COMPUTE_TYPE)
        loss = row_weight * (log_total - (x - largest))
    loss = tl.where(kept, loss, 0)

    if REDUCTION == _NONE:
        tl.store(loss_ptr + o * rows + m, loss, mask=mask_m)
    else:
        total_loss = tl.sum(loss, axis=0)
        denominator = tl.sum(row_weight, axis=0)
        if partial_ptr is None:
            store_reduced(loss_ptr, denominator_ptr, total_loss, denominator, REDUCTION)
        else:
            tl.store(partial_ptr + pid, total_loss)
            tl.store(partial_ptr + tl.num_programs(0) + pid, denominator)


@triton.jit
def store_reduced(loss_ptr, denominator_ptr, total_loss, denominator, REDUCTION: tl.constexpr):
    """Write the reduced loss, and the denominator that the backward pass needs."""
    tl.store(denominator_ptr, denominator)
    if REDUCTION == _MEAN:
        total_loss = total_loss / denominator
    tl.store(loss_ptr, total_loss)


@jit
def reduce_partial_kernel(
    loss_ptr,  # (1,)
    denominator_ptr,  # (1,)
    partial_ptr,  # (2, programs)
    programs,
    REDUCTION: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    """Add up what the programs of :func:`cross_entropy_kernel` left, always in the same order."""
    total_loss = tl.zeros((BLOCK_SIZE,), COMPUTE_TYPE)
    denominator = tl.zeros((BLOCK_SIZE,), COMPUTE_TYPE)
    for start in range(0, programs, BLOCK_SIZE):
        i = start + tl.arange(0, BLOCK_SIZE)
        total_loss += tl.load(partial_ptr + i, mask=i < programs, other=0)
        denominator += tl.load(partial_ptr + programs + i, mask=i < programs, other=0)
    store_reduced(loss_ptr, denominator_ptr, tl.sum(total_loss), tl.sum(denominator), REDUCTION)


@jit
def cross_entropy_backward_kernel(
    dx_ptr,  # (outer, rows, C)
    dtarget_ptr,  # as dx, or None: the gradient of target probabilities
    g_ptr,  # (outer, rows) without reduction, otherwise (1,)
    denominator_ptr,  # (1,)
    stats_ptr,  # (outer, rows, 2), or None
    x_ptr,  # (outer, rows, C)
    target_ptr,  # (outer, rows) class indices, or (outer, rows, C) probabilities
    weight_ptr,  # (C,), or None
    rows,
    C,
    stride_dxo,
    stride_dxm,
    stride_dxn,
    stride_xo,
    stride_xm,
    stride_xn,
    stride_go,
    stride_gm,
    stride_to,
    stride_tm,
    stride_tn,
    stride_w,
    ignore_index,
    label_smoothing: tl.float64,
    LOGITS: tl.constexpr,
    PROBABILITIES: tl.constexpr,
    SMOOTH: tl.constexpr,
    REDUCTION: tl.constexpr,
    COMPUTE_TYPE: tl.constexpr,
    UNIT: tl.constexpr,
    BLOCK_SIZE_M: tl.constexpr,
    BLOCK_SIZE_N: tl.constexpr,
):
    """dx = g * (softmax(x) * sum(v) - v); without logits dx = -g * v."""
    blocks = tl.cdiv(rows, BLOCK_SIZE_M)
    pid = tl.program_id(0).to(tl.int64)
    o = pid // blocks
    m = (pid % blocks) * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    n = tl.arange(0, BLOCK_SIZE_N)
    mask_m = m < rows
    smoothing = tl.full((), label_smoothing, COMPUTE_TYPE)

    g = tl.load(g_ptr + o * stride_go + m * stride_gm, mask=mask_m, other=0).to(COMPUTE_TYPE)
    if REDUCTION == _MEAN:
        g = g / tl.load(denominator_ptr)
    index = m
    if not PROBABILITIES:
        offs_t = o * stride_to + m * stride_tm
        index = tl.load(target_ptr + offs_t, mask=mask_m, other=0).to(tl.int64)
        g = tl.where(index == ignore_index, 0, g)
    if LOGITS:
        offs_stats = (o * rows + m) * 2
        largest = tl.load(stats_ptr + offs_stats, mask=mask_m, other=0)
        log_total = tl.load(stats_ptr + offs_stats + 1, mask=mask_m, other=0)

    total_v = tl.zeros((BLOCK_SIZE_M,), COMPUTE_TYPE)
    if SMOOTH or PROBABILITIES:
        for start in range(0, C, BLOCK_SIZE_N):
            mask = mask_m[:, None] & (start + n < C)[None, :]
            v = target_weights(
                target_ptr, weight_ptr, index, o, m, start + n, mask, C,
                stride_to, stride_tm, stride_tn, stride_w,
                smoothing, PROBABILITIES, COMPUTE_TYPE, UNIT,
            )  # fmt: skip
            total_v += tl.sum(v, axis=1)
    elif weight_ptr is None:
        total_v += 1
    else:
        valid = mask_m & (index >= 0) & (index < C)
        total_v += tl.load(weight_ptr + index * stride_w, mask=valid, other=0).to(COMPUTE_TYPE)

    for start in range(0, C, BLOCK_SIZE_N):
        mask = mask_m[:, None] & (start + n < C)[None, :]
        v = target_weights(
            target_ptr, weight_ptr, index, o, m, start + n, mask, C,
            stride_to, stride_tm, stride_tn, stride_w,
            smoothing, PROBABILITIES, COMPUTE_TYPE, UNIT,
        )  # fmt: skip
        offs_dx = offsets(o, m, start + n, stride_dxo, stride_dxm, stride_dxn, UNIT)
        if LOGITS:
            offs_x = offsets(o, m, start + n, stride_xo, stride_xm, stride_xn, UNIT)
            x = tl.load(x_ptr + offs_x, mask=mask, other=0).to(COMPUTE_TYPE)
            log_p = x - largest[:, None] - log_total[:, None]
            dx = g[:, None] * (tl.exp(log_p) * total_v[:, None] - v)
            if dtarget_ptr is not None:
                dtarget = g[:, None] * (smoothing - 1) * log_p
                if weight_ptr is not None:
                    w = tl.load(weight_ptr + (start + n) * stride_w, mask=start + n < C, other=0)
                    dtarget *= w.to(COMPUTE_TYPE)[None, :]
                tl.store(dtarget_ptr + offs_dx, dtarget, mask=mask)
        else:
            dx = -g[:, None] * v
        tl.store(dx_ptr + offs_dx, dx, mask=mask)


def programs(x: Any) -> int:
    """Into how many partial sums :func:`cross_entropy` splits a reduced loss of logits ``x``."""
    class_dim = min(1, len(x.shape) - 1)
    outer, rows, n, _, unit = slices(class_dim, x)
    block_m, _ = tile(rows, n, x, n_axis(n, unit, x))
    return max(1, outer * triton.cdiv(rows, block_m))


def _is_probabilities(x: Any, target: Any) -> bool:
    return target.dtype.is_floating_point and len(target.shape) == len(x.shape)


def cross_entropy(
    loss: Any,
    denominator: Any,
    partial: Any,
    stats: Any,
    status: Any,
    x: Any,
    target: Any,
    weight: Any = None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> None:
    """Write the cross-entropy of logits, or the negative log-likelihood of log-probabilities.

    Args:
        loss: the target's shape without reduction, contiguous; otherwise one element. Written.
        denominator: one element of the compute type; written unless ``reduction`` is "none".
        partial: (2, :func:`programs` of x) of the compute type, scratch; None for one program.
        stats: (rows, 2) of the compute type, written: what the backward pass needs. None if ``x``
            holds log-probabilities already (nll_loss).
        status: (2,) int64, two zeros: a target that is out of range is stored here, and a 1 behind
            it, and the loss of its row is nan. No memory outside ``x`` is read.
        x: (N, C, ...) or (C,).
        target: integers (N, ...) or (), or probabilities of ``x``'s shape.
        weight: (C,).
    """
    class_dim = min(1, len(x.shape) - 1)
    probabilities = _is_probabilities(x, target)
    if probabilities:
        outer, rows, n, (sx, st), unit = slices(class_dim, x, target)
    else:
        outer, rows, n, (sx, st), unit = slices(class_dim, x, rowwise=[target])
    axis = n_axis(n, slices(class_dim, x).unit, x)
    block_m, block_n = tile(rows, n, x, axis)
    grid = outer * triton.cdiv(rows, block_m)
    compute = compute_type(x.dtype)
    launch(
        cross_entropy_kernel,
        (grid if reduction == "none" else max(1, grid),),
        loss,
        denominator,
        partial,
        stats,
        status,
        x,
        target,
        weight,
        rows if outer else 0,
        n,
        *sx,
        *st,
        0 if weight is None else weight.stride()[0],
        ignore_index,
        label_smoothing,
        LOGITS=stats is not None,
        PROBABILITIES=probabilities,
        SMOOTH=label_smoothing > 0,
        REDUCTION=reduction,
        COMPUTE_TYPE=compute,
        UNIT=unit,
        ONE_BLOCK=n <= block_n,
        N_AXIS=axis,
        BLOCK_SIZE_M=block_m,
        BLOCK_SIZE_N=block_n,
    )
    if partial is not None:
        launch(
            reduce_partial_kernel,
            (1,),
            loss,
            denominator,
            partial,
            grid,
            REDUCTION=reduction,
            COMPUTE_TYPE=compute,
            BLOCK_SIZE=1024,
        )


def cross_entropy_backward(
    dx: Any,
    dtarget: Any,
    g: Any,
    denominator: Any,
    stats: Any,
    x: Any,
    target: Any,
    weight: Any = None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> None:
    """Write the gradient for ``x``, and unless ``dtarget`` is None that for probabilities.

    Args:
        dx: ``x``'s shape, written.
        dtarget: ``dx``'s shape and strides, written, or None.
        g: the upstream gradient, of the loss's shape and any strides.

    The other arguments are those of :func:`cross_entropy`, as it left them.
    """
    class_dim = min(1, len(x.shape) - 1)
    probabilities = _is_probabilities(x, target)
    classwise = [dx, x]
    rowwise: list[Any] = []
    (classwise if probabilities else rowwise).append(target)
    if reduction == "none":
        rowwise.append(g)
    outer, rows, n, strides, unit = slices(class_dim, *classwise, rowwise=rowwise)
    sdx, sx, st = strides[:3]
    sg = strides[3] if reduction == "none" else (0, 0, 0)
    block_m, block_n = tile(rows, n, x)
    launch(
        cross_entropy_backward_kernel,
        (outer * triton.cdiv(rows, block_m),),
        dx,
        dtarget,
        g,
        denominator,
        stats,
        x,
        target,
        weight,
        rows,
        n,
        *sdx,
        *sx,
        *sg[:2],
        *st,
        0 if weight is None else weight.stride()[0],
        ignore_index,
        label_smoothing,
        LOGITS=stats is not None,
        PROBABILITIES=probabilities,
        SMOOTH=label_smoothing > 0,
        REDUCTION=reduction,
        COMPUTE_TYPE=compute_type(x.dtype),
        UNIT=unit,
        BLOCK_SIZE_M=block_m,
        BLOCK_SIZE_N=block_n,
    )
