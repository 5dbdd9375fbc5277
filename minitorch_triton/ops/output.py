"""``out=``: an operation's result written into a tensor that is given."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from minitorch_triton.autograd.modes import no_grad, state
from minitorch_triton.ops import dispatch


def write_out(name: str, out: Any, args: Sequence[Any], compute: Callable[[], Any]) -> Any:
    """Write what ``compute()`` returns into ``out``, which gets its shape; returns ``out``.

    Args:
        name: of the function, for errors.
        out: the tensor; its dtype stays.
        args: what the function was called with.

    Raises:
        RuntimeError: a gradient is required, or the result's kind of dtype does not fit ``out``.
        NotImplementedError: an argument has a tangent of forward mode.
    """
    from minitorch_triton.ops.creation import copy

    if not isinstance(out, dispatch.Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    tensors = [arg for arg in (out, *args) if isinstance(arg, dispatch.Tensor)]
    if any(tensor._tangent is not None for tensor in tensors):
        raise NotImplementedError(
            f"Trying to use forward AD with {name}_out that does not support it because it is an "
            "out= function"
        )
    if state.grad_enabled and any(tensor.requires_grad for tensor in tensors):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, "
            "but one of the arguments requires grad."
        )
    result = compute()
    if not torch.can_cast(result.dtype, out.dtype):
        raise RuntimeError(
            f"result type {dispatch.type_name(result.dtype)} can't be cast to the desired output "
            f"type {dispatch.type_name(out.dtype)}"
        )
    if out.shape != result.shape:
        if out.numel():
            warnings.warn(
                "An output with one or more elements was resized since it had shape "
                f"{list(out.shape)}, which does not match the required output shape "
                f"{list(result.shape)}.",
                stacklevel=3,
            )
        out.data = dispatch.empty(result.shape, out.dtype, out.device)
    with no_grad():
        copy.inplace(out, result)
    return out
