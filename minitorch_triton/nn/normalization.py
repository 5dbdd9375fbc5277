"""``LayerNorm`` and ``BatchNorm1d``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from minitorch_triton.nn import functional as F
from minitorch_triton.nn import init
from minitorch_triton.nn.module import Module
from minitorch_triton.nn.parameter import Parameter, empty_parameter
from minitorch_triton.ops.creation import make
from minitorch_triton.tensor import Tensor


class LayerNorm(Module):
    """Normalizes over the last dimensions (Ba, Kiros and Hinton, 2016).

    Args:
        normalized_shape: the sizes of the last dimensions; an int for one.
        eps: added to the variance.
        elementwise_affine: whether there is a weight, and with ``bias`` a bias.
        device, dtype: of the parameters.

    Attributes:
        weight, bias: of shape ``normalized_shape``, initially ones and zeros; or None.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if isinstance(normalized_shape, int):
            normalized_shape = (normalized_shape,)
        self.normalized_shape = tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        _add_affine(self, self.normalized_shape, elementwise_affine, bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Ones and zeros."""
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class BatchNorm1d(Module):
    """Normalizes each feature over the batch (Ioffe and Szegedy, 2015).

    In training it uses the batch's mean and (biased) variance, and moves the running ones towards
    them by ``momentum``; in evaluation it uses the running ones.

    Args:
        num_features: size C; the input is (N, C) or (N, C, L).
        eps: added to the variance.
        momentum: None for the plain average of all batches.
        affine: whether there is a weight, and with ``bias`` a bias.
        track_running_stats: otherwise evaluation uses the batch's statistics too.
        device, dtype: of parameters and buffers.

    Attributes:
        weight, bias: (C,), initially ones and zeros; or None.
        running_mean, running_var, num_batches_tracked: buffers (C,), (C,), (); or None.
    """

    _version = 2  # since then the state_dict has num_batches_tracked

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        _add_affine(self, (num_features,), affine, bias, device, dtype)
        statistics: list[Tensor | None] = [None, None, None]
        if track_running_stats:
            of_features = dtype or torch.get_default_dtype()
            statistics = [
                make((num_features,), 0, of_features, device, False),
                make((num_features,), 1, of_features, device, False),
                make((), 0, torch.int64, device, False),
            ]
        names = ("running_mean", "running_var", "num_batches_tracked")
        for name, buffer in zip(names, statistics, strict=True):
            self.register_buffer(name, buffer)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean zero, variance one, no batch seen."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Ones and zeros, and fresh statistics."""
        self.reset_running_stats()
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {input.dim()}D input)")
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        use_running = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if use_running else None,
            self.running_var if use_running else None,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        *args: Any,
    ) -> None:
        version = local_metadata.get("version")
        if (version is None or version < 2) and self.num_batches_tracked is not None:
            state_dict.setdefault(f"{prefix}num_batches_tracked", self.num_batches_tracked)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def _add_affine(
    module: Module,
    shape: tuple[int, ...],
    affine: bool,
    bias: bool,
    device: Any,
    dtype: torch.dtype | None,
) -> None:
    """Register ``weight`` and ``bias``, or None for what is not wanted."""
    for name, wanted in (("weight", affine), ("bias", affine and bias)):
        module.register_parameter(name, empty_parameter(shape, device, dtype) if wanted else None)


def _reset_affine(module: Any) -> None:
    if module.weight is not None:
        init.ones_(module.weight)
    if module.bias is not None:
        init.zeros_(module.bias)
