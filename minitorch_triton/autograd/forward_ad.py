"""Forward mode: the derivative in one direction, computed along with the function.

    with dual_level():
        x = make_dual(primal, tangent)
        y, derivative = unpack_dual(f(x))

A dual tensor carries a tangent. Operations hand tangents on, with gradients recorded or not: an
elementwise one multiplies by the derivative that backward uses too, since its Jacobian is
diagonal; a view takes the same view of the tangent; every other one differentiates its own
backward, which is linear in the upstream gradient. Tangents live until their level is left.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

from minitorch_triton.autograd.modes import state

__all__ = [
    "UnpackedDualTensor",
    "dual_level",
    "enter_dual_level",
    "exit_dual_level",
    "make_dual",
    "unpack_dual",
]


class DualLevel:
    """The tensors that carry a tangent between ``enter_dual_level`` and ``exit_dual_level``."""

    def __init__(self) -> None:
        self._duals: list[weakref.ref] = []

    def attach(self, tensor: Any, tangent: Any) -> None:
        """Let a tensor carry a tangent while this level lasts."""
        tensor._tangent = tangent
        self._duals.append(weakref.ref(tensor))

    def clear(self) -> None:
        """Take all tangents away."""
        for reference in self._duals:
            tensor = reference()
            if tensor is not None:
                tensor._tangent = None
        self._duals.clear()


def __getattr__(name: str) -> Any:
    if name == "_current_level":
        return -1 if state.dual_level is None else 0
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def enter_dual_level() -> int:
    """Begin a level of forward mode.

    Raises:
        RuntimeError: there is one already.
    """
    if state.dual_level is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    state.dual_level = DualLevel()
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End the level: no tensor carries a tangent any more.

    Raises:
        RuntimeError: there is no level, or not this one.
    """
    if state.dual_level is None or level not in (None, 0):
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is "
            "not supported."
        )
    state.dual_level.clear()
    state.dual_level = None


class dual_level(contextlib.ContextDecorator):
    """The block in which forward mode happens; gives the number of the level, which is 0."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exception: object) -> None:
        exit_dual_level()


def _is_fwd_grad_enabled() -> bool:
    """Whether operations of this thread hand tangents on."""
    return state.forward_grad_enabled


@contextlib.contextmanager
def _set_fwd_grad_enabled(mode: bool) -> Iterator[None]:
    """Inside, operations hand tangents on or not, and tensors have tangents or not."""
    enabled, level = state.forward_grad_enabled, state.dual_level
    if mode != enabled:
        state.forward_grad_enabled = mode
        state.dual_level, state.stashed_level = state.stashed_level, level
    try:
        yield
    finally:
        if mode != enabled:
            state.forward_grad_enabled = enabled
            state.stashed_level, state.dual_level = state.dual_level, level


class UnpackedDualTensor(NamedTuple):
    """The value of a dual tensor, and its tangent or None."""

    primal: Any
    tangent: Any


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> Any:
    """A tensor with the memory of ``tensor`` that carries a tangent.

    Args:
        tensor: the value, of a floating-point dtype.
        tangent: the direction, of the same shape, dtype and device; carried as it is, unless its
            strides or the size of its memory are not those of ``tensor``.
        level: of forward mode; there is only the current one.

    Raises:
        RuntimeError: there is no level, the tangent does not fit, or the tensor has one already.
        ValueError: a dtype is not floating point.
    """
    current = state.dual_level
    if current is None or level not in (None, 0):
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first."
        )
    for what, part in (("primal", tensor), ("tangent", tangent)):
        if not part.is_floating_point():
            raise ValueError(
                f"Expected {what} to be floating point or complex, but got: {part.dtype}"
            )
    if tensor._tangent is not None:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the "
            "same level 0 is not supported."
        )
    if tangent._tangent is not None:
        raise RuntimeError(
            "Setting a forward grad that itself has a forward gradient at the same level 0 is not "
            "supported."
        )
    check_tangent(tensor, tangent)
    form = tensor.layout
    if form.numel and not form.repeats and tangent.storage.size != tensor.storage.size:
        # Every view of the tensor, by as_strided too, is to be one of the tangent.
        memory = tangent.new_zeros(tensor.storage.size // form.dtype.itemsize)
        place = memory.as_strided(form.shape, form.strides, tensor.offset)
        tangent = place.copy_(tangent)
    elif tangent.stride() != tensor.stride():
        tangent = tangent.laid_out_as(tensor.layout)
    dual = tensor.view_as(tensor)
    current.attach(dual, tangent)
    return dual


def check_tangent(tensor: Any, tangent: Any) -> None:
    """Raise unless the tangent has the shape, dtype and device of the tensor."""
    if tangent.shape != tensor.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original "
            f"Tensor, this is not supported. Tensor is of size {list(tensor.shape)} while the "
            f"given forward gradient is of size {list(tangent.shape)}."
        )
    for what, own, other in (
        ("dtype", tensor.dtype, tangent.dtype),
        ("device", tensor.device, tangent.device),
    ):
        if own != other:
            raise RuntimeError(
                f"Trying to set a forward gradient that has a different {what} than that of the "
                f"original Tensor, this is not supported. Tensor has {what} {own} while the given "
                f"forward gradient has {what} {other}."
            )


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """The value and the tangent of a tensor; None where it has no tangent, or no level is open."""
    if state.dual_level is None:
        return UnpackedDualTensor(tensor, None)
    primal = tensor.view_as(tensor)
    primal._tangent = None
    return UnpackedDualTensor(primal, tensor._tangent)
