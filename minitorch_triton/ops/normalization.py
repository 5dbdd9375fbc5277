"""Layer, RMS and batch normalization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from minitorch_triton.kernels import normalization as kernels
from minitorch_triton.ops import creation, dispatch, pointwise, reductions
from minitorch_triton.ops.dispatch import Number, Op
from minitorch_triton.ops.promotion import compute_type
from minitorch_triton.storage import Layout


def _contiguous(*tensors: Any) -> list:
    return [None if x is None else creation.contiguous(x) for x in tensors]


class LayerNorm(Op):
    """``(x - mean) * rstd * weight + bias`` over the last ``n_dims`` dimensions.

    Args:
        name: of the node.
        center: whether the mean is subtracted; without it this is RMS normalization.
    """

    outputs = ("y", "stats")

    def __init__(self, name: str, center: bool):
        self.center = center
        super().__init__(name)

    def forward(self, x: Any, weight: Any, bias: Any, n_dims: int, eps: float) -> Any:
        x, weight, bias = _contiguous(x, weight, bias)
        rows = math.prod(x.shape[: x.ndim - n_dims])
        y = dispatch.empty(x.shape, x.dtype, x.device)
        stats = dispatch.empty((2, rows), compute_type(x.dtype), x.device)
        kernels.layer_norm(y, stats, x, weight, bias, n_dims=n_dims, eps=eps, center=self.center)
        return y, stats

    def backward(
        self,
        needs: tuple[bool, ...],
        g: Any,
        x: Any,
        weight: Any,
        forms: Any,
        stats: Any,
        n_dims: int,
    ) -> Any:
        x, weight = _contiguous(x, weight)
        dx = dispatch.empty(x.shape, x.dtype, x.device) if needs[0] else None
        dw, db = [
            dispatch.empty(forms[i].shape, forms[i].dtype, x.device) if needs[i] else None
            for i in (1, 2)
        ]
        partial = None
        groups = kernels.weight_gradient_groups(x, n_dims)
        if groups > 1 and (needs[1] or needs[2]):
            n = math.prod(x.shape[x.ndim - n_dims :])
            partial = dispatch.empty((2, groups, n), stats.dtype, x.device)
        arguments = (stats, x, weight)
        options: dict[str, Any] = {"n_dims": n_dims, "center": self.center}
        try:
            kernels.layer_norm_backward(dx, dw, db, partial, g, *arguments, **options)
        except ValueError:
            g = creation.contiguous(g)
            kernels.layer_norm_backward(dx, dw, db, partial, g, *arguments, **options)
        return dx, dw, db

    def decompose(self, x: Any, weight: Any, bias: Any, n_dims: int, eps: float) -> Any:
        dims = tuple(range(x.ndim - n_dims, x.ndim))
        if self.center:
            x = x - reductions.mean(x, dims, True)
        return _affine(x, reductions.mean(x * x, dims, True), weight, bias, eps)


def _affine(centered: Any, variance: Any, weight: Any, bias: Any, eps: float) -> Any:
    y = centered * pointwise.rsqrt(variance + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


class BatchNorm(Op):
    """Normalization of each channel (dimension 1) over all the others.

    Training writes the running statistics, which are no part of the graph.
    """

    outputs = ("y", "stats")

    def forward(
        self,
        x: Any,
        weight: Any,
        bias: Any,
        running_mean: Any,
        running_var: Any,
        training: bool,
        momentum: Number,
        eps: float,
    ) -> Any:
        x, weight, bias = _foldable(x), *_contiguous(weight, bias)
        y = dispatch.empty(x.shape, x.dtype, x.device)
        stats = dispatch.empty((2, x.shape[1]), compute_type(x.dtype), x.device)
        kernels.batch_norm(
            y,
            stats,
            x,
            weight,
            bias,
            running_mean,
            running_var,
            training=training,
            momentum=momentum,
            eps=eps,
        )
        return y, stats

    def backward(
        self,
        needs: tuple[bool, ...],
        g: Any,
        x: Any,
        weight: Any,
        forms: Any,
        stats: Any,
        training: bool,
    ) -> Any:
        x, g, weight = _foldable(x), _foldable(g), *_contiguous(weight)
        dx = dispatch.empty(x.shape, x.dtype, x.device) if needs[0] else None
        dw, db = [
            dispatch.empty(forms[i].shape, forms[i].dtype, x.device) if needs[i] else None
            for i in (1, 2)
        ]
        kernels.batch_norm_backward(dx, dw, db, g, stats, x, weight, training=training)
        return dx, dw, db

    def decompose(
        self,
        x: Any,
        weight: Any,
        bias: Any,
        running_mean: Any,
        running_var: Any,
        training: bool,
        momentum: Number,
        eps: float,
    ) -> Any:
        per_channel = (1, x.shape[1]) + (1,) * (x.ndim - 2)
        dims = tuple(d for d in range(x.ndim) if d != 1)
        if training:
            centered = x - reductions.mean(x, dims, True)
            variance = reductions.mean(centered * centered, dims, True)
        else:
            centered = x - running_mean.reshape(per_channel)
            variance = running_var.reshape(per_channel)
        weight, bias = [None if p is None else p.reshape(per_channel) for p in (weight, bias)]
        return _affine(centered, variance, weight, bias, eps)


def _foldable(x: Any) -> Any:
    """Contiguous where there are more than the two dimensions that always fold."""
    return x if x.ndim <= 2 else creation.contiguous(x)


_layer_norm, _rms_norm = LayerNorm("NativeLayerNorm", True), LayerNorm("FusedRmsNorm", False)
_batch_norm = BatchNorm("NativeBatchNorm")


@lru_cache
def _normalized_dims(
    name: str,
    input: Layout,
    normalized_shape: int | tuple[int, ...],
    weight: Layout | None,
    bias: Layout | None,
) -> int:
    """How many dimensions are normalized; the checks that layer and RMS normalization share."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
            "element, but got normalized_shape = []"
        )
    for parameter, form in (("weight", weight), ("bias", bias)):
        if form is not None and form.shape != shape:
            raise RuntimeError(
                f"Expected {parameter} to be of same shape as normalized_shape, but got "
                f"{parameter} of shape {list(form.shape)} and normalized_shape = {list(shape)}"
            )
    if input.shape[-len(shape) :] != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape "
            f"[*, {', '.join(map(str, shape))}], but got input of size{list(input.shape)}"
        )
    _check_floating(name, input)
    return len(shape)


def _form(parameter: Any) -> Layout | None:
    return None if parameter is None else parameter.layout


def _check_floating(name: str, x: Any) -> None:
    if not x.dtype.is_floating_point:
        raise NotImplementedError(
            f"\"{name}\" not implemented for '{pointwise.type_name(x.dtype)}'"
        )


def layer_norm(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    """Layer normalization over the last dimensions, which have ``normalized_shape``."""
    shape = normalized_shape if isinstance(normalized_shape, int) else tuple(normalized_shape)
    n_dims = _normalized_dims(
        "LayerNormKernelImpl", input.layout, shape, _form(weight), _form(bias)
    )
    return _layer_norm(input, weight, bias, n_dims, float(eps))


def rms_norm(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    eps: float | None = None,
) -> Any:
    """Root-mean-square normalization; ``eps`` None is the dtype's machine epsilon."""
    shape = normalized_shape if isinstance(normalized_shape, int) else tuple(normalized_shape)
    n_dims = _normalized_dims("rms_norm", input.layout, shape, _form(weight), None)
    if eps is None:
        eps = torch.finfo(input.dtype).eps
    return _rms_norm(input, weight, None, n_dims, float(eps))


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Batch normalization of (N, C) or (N, C, ...) over everything but C.

    Args:
        running_mean, running_var: (C,). Training moves them by ``momentum`` (in place, if they are
            given), evaluation needs them.

    Raises:
        ValueError: a single value for each channel in training.
        RuntimeError: shapes or dtypes do not fit, or statistics are missing in evaluation.
    """
    if input.ndim < 2:
        raise ValueError(f"expected 2D or 3D input (got {input.ndim}D input)")
    _check_floating("batch_norm", input)
    channels = input.shape[1]
    if training and input.layout.numel == channels:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape}"
        )
    if not training and (running_mean is None or running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise RuntimeError(f"{missing} must be defined in evaluation mode")
    named = {
        "running_mean": running_mean,
        "running_var": running_var,
        "weight": weight,
        "bias": bias,
    }
    for name, value in named.items():
        if value is not None and value.layout.numel != channels:
            raise RuntimeError(
                f"{name} should contain {channels} elements not {value.layout.numel}"
            )
    running = [running_mean, running_var]
    # The kernels read vectors without gaps; statistics with gaps are written back below.
    weight, bias, *dense = [
        None if value is None else creation.contiguous(value) for value in (weight, bias, *running)
    ]
    if training and running_mean is not None:
        # Counted before the node saves them: what backward keeps is what forward leaves.
        for values in dense:
            values.storage.written()
    y = _batch_norm(
        input, weight, bias, *dense, bool(training), Number(float(momentum)), float(eps)
    )
    if training:
        for statistic, values in zip(running, dense, strict=True):
            if values is not statistic:
                statistic.copy_(values)
    return y
