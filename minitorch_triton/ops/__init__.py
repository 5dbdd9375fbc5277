"""The operations: each names the kernels it calls and its gradient rule."""

from typing import Any

from minitorch_triton.ops import pointwise as _pointwise
from minitorch_triton.ops.pointwise import elementwise
from minitorch_triton.ops.subscript import getitem, setitem

__all__ = ["add", "elementwise", "getitem", "setitem", "sub"]


def add(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    """``a + alpha * b``."""
    return _pointwise.add(a, b) if alpha == 1 else _pointwise.add_scaled(a, b, alpha)


def sub(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    """``a - alpha * b``."""
    return _pointwise.sub(a, b) if alpha == 1 else _pointwise.add_scaled(a, b, -alpha)
