"""Run a Triton device function on tensors: its own code, with ``tl`` replaced by our operations.

This is how the derivative of an elementwise op is itself differentiated: no second rule is written.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from minitorch_triton.kernels import libdevice

_converted: dict[Any, types.FunctionType] = {}


class _TensorLanguage:
    """The part of ``triton.language`` that elementwise functions use, on tensors."""

    PropagateNan = tl.PropagateNan

    def __getattr__(self, name: str) -> Any:
        from minitorch_triton.ops import pointwise

        operation = getattr(pointwise, name, None)
        if operation is None:
            raise NotImplementedError(
                f"tl.{name} has no differentiable counterpart, so a derivative that uses it "
                "cannot be differentiated again"
            )
        return operation

    @staticmethod
    def where(condition: Any, a: Any, b: Any) -> Any:
        from minitorch_triton.ops import pointwise

        if not hasattr(condition, "layout"):
            return a if condition else b
        if not hasattr(a, "layout") and not hasattr(b, "layout"):
            a = condition.to(torch.get_default_dtype()) * 0 + a
        return pointwise.where(condition, a, b)


_language = _TensorLanguage()


def run_on_tensors(function: Any, args: Sequence[Any]) -> Any:
    """Call a ``@triton.jit`` device function with tensors and Python numbers.

    Raises:
        NotImplementedError: it uses something of ``tl`` that has no differentiable counterpart.
    """
    return _convert(function)(*args)


def _convert(function: Any) -> types.FunctionType:
    converted = _converted.get(function)
    if converted is None:
        original = function.fn
        names = {
            name: _replace(name, value)
            for name, value in original.__globals__.items()
            if name in original.__code__.co_names
        }
        names["__builtins__"] = original.__globals__["__builtins__"]
        closure = original.__closure__
        converted = types.FunctionType(
            original.__code__, names, original.__name__, original.__defaults__, closure
        )
        _converted[function] = converted
    return converted


def _replace(name: str, value: Any) -> Any:
    if value is tl:
        return _language
    if any(value is getattr(libdevice, known) for known in ("expm1", "log1p", "pow", "tanh")):
        return getattr(_language, name)
    if isinstance(value, tl.constexpr):
        return value.value
    if isinstance(value, triton.runtime.JITFunction) or hasattr(value, "fn"):
        return lambda *args: run_on_tensors(value, args)
    return value
