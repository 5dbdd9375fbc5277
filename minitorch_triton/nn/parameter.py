"""``Parameter``: a tensor that a module trains; ``Buffer``: one that it only keeps."""

from __future__ import annotations

from typing import Any

import torch

from minitorch_triton.ops.creation import make
from minitorch_triton.tensor import Tensor


class Parameter(Tensor):
    """A leaf that requires a gradient and is registered by the module it is assigned to.

    Args:
        data: the tensor whose memory the parameter shares; an empty one by default.
        requires_grad: whether it is trained.

    Raises:
        RuntimeError: a gradient is required of integers.
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True):
        if data is None:
            data = make((0,), None, torch.get_default_dtype(), None, False)
        if requires_grad and not data.is_floating_point():
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        super().__init__(data.storage, data.layout, data.offset)
        self.requires_grad = requires_grad

    def __deepcopy__(self, memo: dict) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return memo[id(self)]

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that a module registers as state, but does not train, when it is assigned to it.

    Args:
        data: the tensor whose memory the buffer shares; an empty one by default.
        persistent: whether it is in the module's state_dict.
    """

    persistent = True

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True):
        if data is None:
            data = make((0,), None, torch.get_default_dtype(), None, False)
        super().__init__(data.storage, data.layout, data.offset)
        self.requires_grad = data.requires_grad
        self.persistent = persistent


def empty_parameter(shape: tuple[int, ...], device: Any, dtype: torch.dtype | None) -> Parameter:
    """An uninitialised parameter, on the CPU and of the default dtype unless said otherwise."""
    return Parameter(make(shape, None, dtype or torch.get_default_dtype(), device, False))
