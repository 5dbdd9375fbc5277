"""Softmax and log-softmax along one dimension."""

from __future__ import annotations

from typing import Any

import torch

from minitorch_triton.kernels import softmax as kernels
from minitorch_triton.ops import creation, dispatch, pointwise, reductions
from minitorch_triton.ops.dispatch import Op
from minitorch_triton.ops.views import wrap_dim


class Softmax(Op):
    """``exp(x) / sum(exp(x))`` along a dimension, or its logarithm.

    Args:
        name: of the node.
        log: whether the logarithm is computed.
    """

    def __init__(self, name: str, log: bool):
        self.log = log
        super().__init__(name)

    def forward(self, x: Any, dim: int, dtype: torch.dtype) -> Any:
        y = dispatch.empty(x.shape, dtype, x.device)
        try:
            kernels.softmax(y, x, dim, log=self.log)
        except ValueError:
            kernels.softmax(y, creation.contiguous(x), dim, log=self.log)
        return y

    def backward(self, needs: tuple[bool, ...], g: Any, y: Any, forms: Any, dim: int) -> Any:
        dx = dispatch.empty(y.shape, forms[0].dtype, y.device)
        try:
            kernels.softmax_backward(dx, g, y, dim, log=self.log)
        except ValueError:
            kernels.softmax_backward(dx, creation.contiguous(g), y, dim, log=self.log)
        return (dx,)

    def decompose(self, x: Any, dim: int, dtype: torch.dtype) -> Any:
        x = creation.cast(x, dtype)
        if x.layout.numel == 0:
            return creation.clone(x)
        # The shift has no influence on the result, so it needs no place in the graph.
        x = x - reductions.amax(x.detach(), dim, True)
        total = reductions.sum(pointwise.exp(x), dim, True)
        return x - pointwise.log(total) if self.log else pointwise.exp(x) / total


_softmax, _log_softmax = Softmax("Softmax", False), Softmax("LogSoftmax", True)


def _apply(op: Softmax, x: Any, dim: Any, dtype: torch.dtype | None) -> Any:
    if not isinstance(dim, int):
        raise TypeError(
            f"{op.name.lower()}(): argument 'dim' must be int, not {type(dim).__name__}"
        )
    dtype = dtype or x.dtype
    if not dtype.is_floating_point:
        name = "log_softmax_lastdim_kernel_impl" if op.log else "softmax_kernel_impl"
        raise NotImplementedError(f"\"{name}\" not implemented for '{pointwise.type_name(dtype)}'")
    return op(x, wrap_dim(dim, x.ndim), creation.check_dtype(dtype))


def softmax(input: Any, dim: int, dtype: torch.dtype | None = None) -> Any:
    """``exp(x) / sum(exp(x))`` along ``dim``; ``dtype`` converts first."""
    return _apply(_softmax, input, dim, dtype)


def log_softmax(input: Any, dim: int, dtype: torch.dtype | None = None) -> Any:
    """The logarithm of :func:`softmax`, without its underflow."""
    return _apply(_log_softmax, input, dim, dtype)
