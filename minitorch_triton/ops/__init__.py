"""The operations: each names the kernels it calls and its gradient rule."""

from typing import Any

from minitorch_triton.ops import pointwise as _pointwise
from minitorch_triton.ops.classification import cross_entropy, nll_loss
from minitorch_triton.ops.custom import as_torch, structured
from minitorch_triton.ops.indexing import embedding
from minitorch_triton.ops.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from minitorch_triton.ops.normalization import batch_norm, layer_norm, rms_norm
from minitorch_triton.ops.output import write_out
from minitorch_triton.ops.pointwise import elementwise
from minitorch_triton.ops.products import linear, matmul
from minitorch_triton.ops.random import dropout
from minitorch_triton.ops.softmaxes import log_softmax, softmax
from minitorch_triton.ops.subscript import getitem, setitem

__all__ = [
    "add",
    "as_torch",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "elementwise",
    "embedding",
    "getitem",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "linear",
    "log_softmax",
    "matmul",
    "mse_loss",
    "nll_loss",
    "rms_norm",
    "setitem",
    "smooth_l1_loss",
    "softmax",
    "structured",
    "sub",
]


def add(a: Any, b: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    """``a + alpha * b``."""
    if out is not None:
        return write_out("add", out, (a, b), lambda: add(a, b, alpha=alpha))
    return _pointwise.add(a, b) if alpha == 1 else _pointwise.add_scaled(a, b, alpha)


def sub(a: Any, b: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    """``a - alpha * b``."""
    if out is not None:
        return write_out("sub", out, (a, b), lambda: sub(a, b, alpha=alpha))
    return _pointwise.sub(a, b) if alpha == 1 else _pointwise.add_scaled(a, b, -alpha)
