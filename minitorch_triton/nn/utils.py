"""Gradient clipping, and parameters as one vector."""

from __future__ import annotations

import math
import types
import warnings
from collections.abc import Iterable

import torch

from minitorch_triton.autograd import no_grad
from minitorch_triton.kernels import optimizers as kernels
from minitorch_triton.ops.creation import cat
from minitorch_triton.ops.dispatch import empty
from minitorch_triton.ops.pointwise import is_dense
from minitorch_triton.optim.multi_tensor import by_type, table
from minitorch_triton.tensor import Tensor


class _Gradients:
    """The gradients of some parameters in tables, one for each device and dtype."""

    def __init__(self, parameters: Tensor | Iterable[Tensor]):
        if isinstance(parameters, Tensor):
            parameters = [parameters]
        self.grads = [p.grad for p in parameters if p.grad is not None and p.grad.numel()]
        # What has gaps in its memory is worked on in a copy.
        self._copies = [
            (grad, grad.contiguous()) for grad in self.grads if not is_dense(grad.layout)
        ]
        dense = [grad for grad in self.grads if is_dense(grad.layout)]
        dense += [copy for _, copy in self._copies]
        self.tables = [
            (dtype, table([(grad,) for grad in grads]))
            for (_, dtype), grads in by_type(dense).items()
        ]

    def finish(self) -> None:
        """Note that the gradients were written."""
        for grad in self.grads:
            grad.storage.written()
        for grad, copy in self._copies:
            grad.copy_(copy)


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients down together, if their joint norm exceeds ``max_norm``.

    They are multiplied by ``min(1, max_norm / (norm + 1e-6))``; nothing waits for the device.

    Args:
        parameters: a tensor or several.
        norm_type: the order of the norm, positive, or ``inf`` for the largest magnitude.
        error_if_nonfinite: raise instead of scaling by NaN or 0.
        foreach: accepted for PyTorch's sake.

    Returns:
        the norm before, of shape ().

    Raises:
        RuntimeError: the norm is not finite, with ``error_if_nonfinite``.
        ValueError: an order that is not positive.
    """
    norm_type = float(norm_type)
    if not norm_type > 0:
        raise ValueError(f"norm_type must be positive, but got {norm_type}")
    if isinstance(parameters, types.GeneratorType):
        parameters = list(parameters)
        if not parameters:
            warnings.warn(
                "`parameters` is an empty generator, no gradient clipping will occur.",
                stacklevel=3,
            )
    gradients = _Gradients(parameters)
    total = _total_norm(gradients, norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            "so it cannot be clipped. To disable this error and scale the gradients by the "
            "non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    for dtype, rows in gradients.tables:
        on_device = total.to(rows.device)
        kernels.scale_to_norm(rows, on_device, dtype, float(max_norm))
    gradients.finish()
    return total


def _total_norm(gradients: _Gradients, order: float) -> Tensor:
    """The norm of all gradients, of shape (), in their common dtype."""
    if not gradients.tables:
        return empty((), torch.get_default_dtype(), torch.device("cpu")).fill_(0.0)
    dtypes = [dtype for dtype, _ in gradients.tables]
    compute = torch.float64 if torch.float64 in dtypes else torch.float32
    parts: list[Tensor] = []
    for dtype, rows in gradients.tables:
        part = empty((rows.shape[0],), compute, rows.device)
        kernels.partial_norms(part, rows, dtype, order)
        parts.append(part.to(parts[0].device) if parts else part)
    partial = parts[0] if len(parts) == 1 else cat(parts)
    result = dtypes[0] if len(set(dtypes)) == 1 else compute
    total = empty((), result, partial.device)
    kernels.total_norm(total, partial, order)
    return total


@no_grad()
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Clamp all gradients to [-clip_value, clip_value]."""
    gradients = _Gradients(parameters)
    for dtype, rows in gradients.tables:
        kernels.clamp(rows, dtype, float(clip_value))
    gradients.finish()


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters in one tensor (total number of elements,)."""
    return cat([param.reshape(-1) for param in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make the parameters views of one tensor, as :func:`parameters_to_vector` lays them out."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {torch.typename(vec)}")
    start = 0
    for param in parameters:
        end = start + param.numel()
        param.data = vec[start:end].view(param.shape).data
        start = end
