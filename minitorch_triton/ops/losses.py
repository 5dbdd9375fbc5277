"""Losses that are an elementwise function of input and target, reduced in the same kernel."""

from __future__ import annotations

import warnings
from typing import Any

from minitorch_triton.kernels import elementwise as fn
from minitorch_triton.ops import pointwise
from minitorch_triton.ops.pointwise import Elementwise
from minitorch_triton.ops.reductions import ReducedElementwise


class PointwiseLoss:
    """One op for each reduction of an elementwise loss.

    Args:
        name: of the node.
        function: device function of x, target and run-time numbers or further tensors.
        grad_x, grad_target: its derivatives.
    """

    def __init__(self, name: str, function: Any, grad_x: Any, grad_target: Any):
        derivatives = {"x": grad_x, "target": grad_target}
        self.ops = {
            "none": Elementwise(name, function, derivatives, "float"),
            "mean": ReducedElementwise(name, function, derivatives, mean=True),
            "sum": ReducedElementwise(name, function, derivatives, mean=False),
        }

    def __call__(self, x: Any, target: Any, reduction: str, *rest: Any) -> Any:
        op = self.ops.get(reduction)
        if op is None:
            raise ValueError(f"{reduction} is not a valid value for reduction")
        if x.layout.shape != target.layout.shape:
            warnings.warn(
                f"Using a target size ({target.shape}) that is different to the input size "
                f"({x.shape}). This will likely lead to incorrect results due to broadcasting. "
                "Please ensure they have the same size.",
                stacklevel=4,
            )
        return op(x, target, *rest)


_mse = PointwiseLoss(
    "MseLoss", fn.squared_error, fn.squared_error_grad_x, fn.squared_error_grad_target
)
_l1 = PointwiseLoss(
    "L1Loss", fn.absolute_error, fn.absolute_error_grad_x, fn.absolute_error_grad_target
)
_smooth_l1 = PointwiseLoss(
    "SmoothL1Loss", fn.smooth_l1, fn.smooth_l1_grad_x, fn.smooth_l1_grad_target
)
_huber = PointwiseLoss("HuberLoss", fn.huber, fn.huber_grad_x, fn.huber_grad_target)
_bce = PointwiseLoss(
    "BinaryCrossEntropy",
    fn.binary_cross_entropy,
    fn.binary_cross_entropy_grad_x,
    fn.binary_cross_entropy_grad_target,
)
_bce_logits = PointwiseLoss(
    "BinaryCrossEntropyWithLogits",
    fn.bce_with_logits,
    fn.bce_with_logits_grad_x,
    fn.bce_with_logits_grad_target,
)
_bce_logits_weighted = PointwiseLoss(
    "BinaryCrossEntropyWithLogits",
    fn.bce_with_logits_weighted,
    fn.bce_with_logits_weighted_grad_x,
    fn.bce_with_logits_weighted_grad_target,
)
_kl = PointwiseLoss("KlDiv", fn.kl_div, fn.kl_div_grad_x, fn.kl_div_grad_target)
_kl_log = PointwiseLoss(
    "KlDiv",
    fn.kl_div_log_target,
    fn.kl_div_log_target_grad_x,
    fn.kl_div_log_target_grad_target,
)


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Any:
    """The squared error."""
    return _mse(x, target, reduction)


def l1_loss(x: Any, target: Any, reduction: str = "mean") -> Any:
    """The absolute error."""
    return _l1(x, target, reduction)


def smooth_l1_loss(x: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """Quadratic below beta, linear above (Girshick 2015, Fast R-CNN)."""
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return _l1(x, target, reduction)
    return _smooth_l1(x, target, reduction, float(beta))


def huber_loss(x: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """Quadratic below delta, linear above (Huber 1964)."""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    return _huber(x, target, reduction, float(delta))


def _weighted(loss: Any, weight: Any, reduction: str) -> Any:
    """An unreduced loss times a weight per element, then reduced."""
    loss = pointwise.mul(loss, weight)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def binary_cross_entropy(x: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """Cross-entropy of probabilities x and targets, both in [0, 1].

    Raises:
        ValueError: the shapes differ.
        RuntimeError: the dtypes differ.
    """
    if x.shape != target.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({x.shape}) "
            "is deprecated. Please ensure they have the same size."
        )
    if x.dtype != target.dtype:
        raise RuntimeError(
            f"Found dtype {pointwise.type_name(target.dtype)} but expected "
            f"{pointwise.type_name(x.dtype)}"
        )
    if weight is None:
        return _bce(x, target, reduction)
    return _weighted(_bce(x, target, "none"), weight, reduction)


def binary_cross_entropy_with_logits(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """Cross-entropy of ``sigmoid(x)`` and targets, computed without overflow.

    Raises:
        ValueError: the shapes differ.
    """
    if x.shape != target.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({x.shape})")
    inner = reduction if weight is None else "none"
    if pos_weight is None:
        loss = _bce_logits(x, target, inner)
    else:
        loss = _bce_logits_weighted(x, target, inner, pos_weight)
    return loss if weight is None else _weighted(loss, weight, reduction)


def kl_div(x: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """Kullback-Leibler divergence of log-probabilities x from ``target``."""
    loss = _kl_log if log_target else _kl
    if reduction == "batchmean":
        return loss(x, target, "sum") / (x.shape[0] if x.ndim else 1)
    return loss(x, target, reduction)
