"""``Variable``: what a tensor in a graph was called before PyTorch 0.4, as old scripts do."""

from __future__ import annotations

from typing import Any

from minitorch_triton.autograd import engine
from minitorch_triton.autograd.node import is_tensor


class _VariableType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return is_tensor(instance)


class _Engine:
    queue_callback = staticmethod(engine.queue_callback)


class Variable(metaclass=_VariableType):
    """``Variable(x, requires_grad)`` is a new leaf on the memory of x; every tensor is one."""

    _execution_engine = _Engine()

    def __new__(cls, data: Any, requires_grad: bool = False, volatile: bool | None = None) -> Any:
        return data.detach().requires_grad_(requires_grad)
