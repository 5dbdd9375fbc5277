"""Cross-entropy of logits and negative log-likelihood of log-probabilities."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch

from minitorch_triton.kernels import cross_entropy as kernels
from minitorch_triton.ops import creation, dispatch, pointwise, reductions
from minitorch_triton.ops.dispatch import Op
from minitorch_triton.ops.promotion import compute_type
from minitorch_triton.ops.softmaxes import log_softmax
from minitorch_triton.ops.status import status_of
from minitorch_triton.storage import Layout


class CrossEntropy(Op):
    """The loss of logits, or (``logits`` False) of log-probabilities.

    Args:
        name: of the node.
        logits: whether a log-softmax belongs to the loss.
    """

    outputs = ("loss", "denominator", "stats")
    unread = ("status",)

    def __init__(self, name: str, logits: bool):
        self.logits = logits
        super().__init__(name)

    def forward(
        self,
        x: Any,
        target: Any,
        weight: Any,
        status: Any,
        reduction: str,
        ignore_index: int,
        label_smoothing: float,
    ) -> Any:
        class_dim = min(1, x.ndim - 1)
        rest = tuple(x.shape[:class_dim]) + tuple(x.shape[class_dim + 1 :])
        compute = compute_type(x.dtype)
        loss = dispatch.empty(rest if reduction == "none" else (), x.dtype, x.device)
        denominator = dispatch.empty((1,), compute, x.device)
        # Log-probabilities need no statistics; one element stands for none.
        rows = math.prod(rest) if self.logits else 0
        stats = dispatch.empty((rows, 2), compute, x.device)
        x, target = _foldable(x, target)
        partial = None
        parts = kernels.programs(x)
        if reduction != "none" and parts > 1:
            partial = dispatch.empty((2, parts), compute, x.device)
        kernels.cross_entropy(
            loss,
            denominator,
            partial,
            stats if self.logits else None,
            status,
            x,
            target,
            weight,
            reduction=reduction,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
        )
        return loss, denominator, stats

    def backward(
        self,
        needs: tuple[bool, ...],
        g: Any,
        x: Any,
        target: Any,
        weight: Any,
        denominator: Any,
        stats: Any,
        reduction: str,
        ignore_index: int,
        label_smoothing: float,
    ) -> Any:
        dx = dispatch.empty(x.shape, x.dtype, x.device)
        dtarget = dispatch.empty(x.shape, target.dtype, x.device) if needs[1] else None
        x, target = _foldable(x, target)
        if reduction == "none":
            g = creation.contiguous(g) if g.ndim > 2 else g
        kernels.cross_entropy_backward(
            dx,
            dtarget,
            g,
            denominator,
            stats if self.logits else None,
            x,
            target,
            weight,
            reduction=reduction,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
        )
        return dx if needs[0] else None, dtarget

    def decompose(
        self,
        x: Any,
        target: Any,
        weight: Any,
        status: Any,
        reduction: str,
        ignore_index: int,
        label_smoothing: float,
    ) -> Any:
        dim = min(1, x.ndim - 1)
        classes = x.shape[dim]
        log_p = log_softmax(x, dim) if self.logits else x
        row_weight: Any = None
        if target.dtype.is_floating_point:
            v = target
        else:
            numbers = creation.arange(classes, device=x.device)
            numbers = numbers.reshape((classes,) + (1,) * (x.ndim - 1 - dim))
            hit = pointwise.eq(target.unsqueeze(dim), numbers)
            v = creation.cast(hit, x.dtype)
            row_weight = creation.cast(pointwise.ne(target, ignore_index), x.dtype)
        v = v * (1 - label_smoothing) + label_smoothing / classes
        if weight is not None:
            per_class = weight.reshape((classes,) + (1,) * (x.ndim - 1 - dim))
            v = v * per_class
            if row_weight is not None:
                hit_weight = creation.cast(hit, x.dtype) * per_class
                row_weight = row_weight * reductions.sum(hit_weight, dim)
        # A logit of minus infinity counts for nothing where its weight is 0.
        losses = pointwise.where(pointwise.eq(v, 0), 0.0, -(v * log_p))
        losses = reductions.sum(losses, dim)
        if row_weight is None:
            count = x.layout.numel // max(classes, 1)
            return _reduced(losses, reduction, count)
        losses = pointwise.where(pointwise.eq(target, ignore_index), 0.0, losses)
        return _reduced(losses, reduction, reductions.sum(row_weight))


def _reduced(losses: Any, reduction: str, denominator: Any) -> Any:
    if reduction == "none":
        return losses
    total = reductions.sum(losses)
    return total / denominator if reduction == "mean" else total


def _foldable(x: Any, target: Any) -> tuple[Any, Any]:
    """Contiguous where there are more than the two dimensions that always fold."""
    if x.ndim <= 2:
        return x, target
    return creation.contiguous(x), creation.contiguous(target)


_cross_entropy = CrossEntropy("CrossEntropyLoss", logits=True)
_nll_loss = CrossEntropy("NllLoss", logits=False)


@lru_cache
def _check(
    logits: bool,
    x: Layout,
    target: Layout,
    weight: Layout | None,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
) -> bool:
    """Whether the target holds probabilities; the errors that layouts and options show.

    What passed once is remembered.
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    for name, other in (("input", x), ("target", target), ("weight", weight)):
        if other is None:
            continue
        if other.device != x.device:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{x.device} (input) and {other.device} ({name})!"
            )
    if not x.dtype.is_floating_point:
        name = "log_softmax" if logits else "nll_loss_out_frame"
        raise NotImplementedError(
            f"\"{name}\" not implemented for '{pointwise.type_name(x.dtype)}'"
        )
    if not x.shape:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    class_dim = min(1, len(x.shape) - 1)
    classes = x.shape[class_dim]
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(
            "weight tensor should be defined either for all or no classes: expected shape "
            f"[{classes}], got {list(weight.shape)}"
        )
    if logits and target.shape == x.shape:
        if not target.dtype.is_floating_point:
            raise RuntimeError(
                "Expected floating point type for target with class probabilities, got "
                f"{pointwise.type_name(target.dtype)}"
            )
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return True
    rest = x.shape[:class_dim] + x.shape[class_dim + 1 :]
    if len(x.shape) > 1 and target.shape and x.shape[0] != target.shape[0]:
        raise ValueError(
            f"Expected input batch_size ({x.shape[0]}) to match target batch_size "
            f"({target.shape[0]})."
        )
    if target.shape != rest:
        raise RuntimeError(f"Expected target size {list(rest)}, got {list(target.shape)}")
    if target.dtype not in (torch.int64, torch.uint8):
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {pointwise.type_name(target.dtype)}"
        )
    return False


def _loss(op: CrossEntropy, x: Any, target: Any, weight: Any, *options: Any) -> Any:
    for name, value in (("input", x), ("target", target), ("weight", weight)):
        if not isinstance(value, dispatch.Tensor) and (value is not None or name != "weight"):
            raise TypeError(
                f"{op.name}: argument '{name}' must be Tensor, not {torch.typename(value)}"
            )
    weight_form = None if weight is None else weight.layout
    probabilities = _check(op.logits, x.layout, target.layout, weight_form, *options)
    status = status_of(x.layout.device)
    loss = op(x, target, weight, status.buffer, *options)
    if not probabilities:
        status.check(IndexError, "Target {value} is out of bounds.")
    return loss


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The cross-entropy between logits and targets, fused with the log-softmax.

    Args:
        input: logits, (N, C), (C,) or (N, C, d1, ...).
        target: class indices, (N,), () or (N, d1, ...), int64 or uint8; or class probabilities of
            ``input``'s shape.
        weight: of the classes, (C,).
        ignore_index: targets of this value count for nothing.
        reduction: "none", "mean" (over the weights of the targets) or "sum".
        label_smoothing: part of each target that is spread over all classes.

    Raises:
        ValueError, RuntimeError: shapes or dtypes do not fit.
        IndexError: a target is out of range. On a GPU, where the host does not wait for the
            kernel, the loss of such a row is NaN instead.
    """
    return _loss(
        _cross_entropy, input, target, weight, reduction, ignore_index, float(label_smoothing)
    )


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """The negative log-likelihood of log-probabilities; see :func:`cross_entropy`."""
    return _loss(_nll_loss, input, target, weight, reduction, ignore_index, 0.0)
