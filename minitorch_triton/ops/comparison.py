"""Comparing whole tensors."""

from __future__ import annotations

from typing import Any

from minitorch_triton.ops import pointwise


def equal(input: Any, other: Any) -> bool:
    """Whether two tensors have the same shape and elements; NaN equals nothing."""
    if input.shape != other.shape:
        return False
    return bool(pointwise.eq(input, other).all())


def isclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Elementwise ``|input - other| <= atol + rtol * |other|``; equal infinities are close."""
    if input.dtype != other.dtype:
        raise RuntimeError(f"{input.dtype} did not match {other.dtype}")
    close = pointwise.eq(input, other)
    if equal_nan:
        close = close | (pointwise.ne(input, input) & pointwise.ne(other, other))
    if not input.dtype.is_floating_point:
        input, other = input.double(), other.double()
    error = (input - other).abs()
    return close | (error.isfinite() & (error <= atol + rtol * other.abs()))


def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Any:
    """For each element whether it is among the test elements; compares every pair.

    Args:
        elements, test_elements: tensors of any shape.
        invert: whether it is not.
    """
    among = pointwise.eq(elements.unsqueeze(-1), test_elements.reshape(-1)).any(-1)
    return pointwise.logical_not(among) if invert else among


def allclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close, see :func:`isclose`."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())
