"""``Function``: an operation with a hand-written derivative, as in PyTorch.

A class written for PyTorch works after changing its import. The context ``ctx`` that ``forward``
and ``backward`` get is the graph node itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from minitorch_triton.autograd import modes
from minitorch_triton.autograd.node import FREED, Node, SavedTensor, make


class FunctionCtx(Node):
    """What ``forward`` notes for ``backward``."""

    takes_undefined = True
    needs_input_grad: tuple[bool, ...]
    _is_tensor: list[bool]
    _forward_class: type[Function]

    def __init__(self) -> None:
        super().__init__((), ())
        self._to_save: tuple = ()
        self._saved: list | None = []
        self._non_differentiable: tuple = ()
        self._dirty: tuple = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep inputs or outputs (tensors or None) for backward."""
        for tensor in tensors:
            if tensor is not None and not hasattr(tensor, "layout"):
                raise TypeError(
                    "save_for_backward can only save variables, but argument "
                    f"{tensors.index(tensor)} is of type {type(tensor).__name__}"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Accepted for compatibility: there is no forward mode for a Function."""

    def mark_dirty(self, *tensors: Any) -> None:
        """Name the inputs that forward changed in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Name the outputs that have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing upstream gradients reach backward as zeros (default) or None."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple:
        if self._saved is None:
            raise RuntimeError(FREED)
        return tuple(None if saved is None else saved.unpack(self) for saved in self._saved)

    def apply(self, grads: list) -> Sequence:
        if self._materialize:
            grads = [
                make.filled(layout, 0) if grad is None else grad
                for grad, layout in zip(grads, self.outputs, strict=True)
            ]
        cls = self._forward_class
        results = cls.backward(self, *grads)
        results = results if isinstance(results, tuple) else (results,)
        expected = len(self._is_tensor)
        if len(results) != expected and not (
            len(results) > expected and all(r is None for r in results[expected:])
        ):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients "
                f"(expected {expected}, got {len(results)})"
            )
        for index, (result, is_tensor) in enumerate(zip(results, self._is_tensor, strict=False)):
            if result is not None and not is_tensor:
                raise RuntimeError(
                    f"function {self.name()} returned a gradient different from None at position "
                    f"{index + 1}, but the corresponding forward input was not a Variable"
                )
        return [r for r, is_tensor in zip(results, self._is_tensor, strict=False) if is_tensor]

    def release(self) -> None:
        if self._saved:
            self._saved = None


class Function:
    """Subclass with static ``forward(ctx, *args)`` and ``backward(ctx, *grads)``; call ``apply``.

    Alternatively ``forward(*args)`` with ``setup_context(ctx, inputs, output)``.
    """

    _node_class: type[FunctionCtx]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._node_class = type(f"{cls.__name__}Backward", (FunctionCtx,), {"_forward_class": cls})

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    setup_context: Callable | None = None

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward; record a node if an input requires a gradient."""
        ctx = cls._node_class()
        is_tensor = [hasattr(arg, "layout") for arg in args]
        requires = [
            tensor and arg.requires_grad for tensor, arg in zip(is_tensor, args, strict=True)
        ]
        ctx.needs_input_grad = tuple(requires)
        ctx._is_tensor = is_tensor
        with modes.set_grad_enabled(False):
            if cls.setup_context is None:
                outputs = cls.forward(ctx, *args)
            else:
                outputs = cls.forward(*args)
                cls.setup_context(ctx, args, outputs)
        single = not isinstance(outputs, tuple)
        results = [outputs] if single else list(outputs)
        for tensor in ctx._dirty:
            tensor.storage.written()
        if modes.state.grad_enabled and any(requires):
            results = cls._link(ctx, args, results)
        return results[0] if single else tuple(results)

    @staticmethod
    def _link(ctx: FunctionCtx, args: Sequence, results: list) -> list:
        """Put the node behind the outputs."""
        for tensor in ctx._dirty:
            if tensor.is_leaf and tensor.requires_grad:
                raise RuntimeError(
                    "a leaf Variable that requires grad is being used in an in-place operation."
                )
        ctx.next_edges = tuple(
            arg.grad_edge() if arg.requires_grad else None for arg in args if hasattr(arg, "layout")
        )
        linked = []
        numbers: dict[int, int] = {}
        layouts: list = []
        for result in results:
            if not hasattr(result, "layout"):
                linked.append(result)
                continue
            original = result
            if any(result is dirty for dirty in ctx._dirty):
                result.rebase(ctx, len(layouts))
            elif any(result is skipped for skipped in ctx._non_differentiable) or not (
                result.dtype.is_floating_point
            ):
                result = result.detach()
            else:
                # An input that is returned as it is becomes a new tensor of the graph.
                result = result.detach() if any(result is arg for arg in args) else result
                result.rebase(ctx, len(layouts))
            numbers[id(original)] = len(layouts)
            layouts.append(result.layout)
            linked.append(result)
        ctx.outputs = tuple(layouts)
        dirty = {id(tensor) for tensor in ctx._dirty}
        ctx._saved = [
            None
            if tensor is None
            else SavedTensor(
                tensor,
                numbers[id(tensor)]
                if id(tensor) in numbers
                and (id(tensor) in dirty or not any(tensor is arg for arg in args))
                else None,
            )
            for tensor in ctx._to_save
        ]
        ctx._to_save = ()
        return linked


def once_differentiable(backward: Callable) -> Callable:
    """Decorates a ``backward`` that is not itself differentiable."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        recorded = modes.state.grad_enabled
        with modes.set_grad_enabled(False):
            results = backward(ctx, *grads)
        if not recorded or not any(grad is not None and grad.requires_grad for grad in grads):
            return results
        single = not isinstance(results, tuple)
        failing = [
            result if result is None else _refuse(result)
            for result in ([results] if single else results)
        ]
        return failing[0] if single else tuple(failing)

    return wrapper


class _NotDifferentiable(Node):
    __slots__ = ()

    def apply(self, grads: list) -> Sequence:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )


def _refuse(result: Any) -> Any:
    result = result.detach()
    result.rebase(_NotDifferentiable((), (result.layout,)), 0)
    return result
