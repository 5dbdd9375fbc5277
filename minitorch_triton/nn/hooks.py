"""Hooks of modules: the global ones, and those of the backward pass.

A hook of the backward pass needs nodes of its own in the graph, around the module:
:class:`BackwardHooks` puts an identity behind the module's inputs and one before its outputs.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from minitorch_triton.autograd import Function, is_grad_enabled
from minitorch_triton.autograd.node import Node, RemovableHandle
from minitorch_triton.tensor import Tensor

Hooks = OrderedDict[int, Callable]


class GlobalHooks:
    """Hooks that apply to every module."""

    def __init__(self) -> None:
        self.forward_pre: Hooks = OrderedDict()
        self.forward: Hooks = OrderedDict()
        self.forward_with_kwargs: set[int] = set()
        self.forward_always_called: set[int] = set()
        self.backward_pre: Hooks = OrderedDict()
        self.backward: Hooks = OrderedDict()
        self.module_registration: Hooks = OrderedDict()
        self.buffer_registration: Hooks = OrderedDict()
        self.parameter_registration: Hooks = OrderedDict()


global_hooks = GlobalHooks()


def register(hooks: Hooks, hook: Callable, prepend: bool = False) -> RemovableHandle:
    """Add a hook, as the first one with ``prepend``."""
    handle = RemovableHandle(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, args)`` before the forward of every module; may return new arguments."""
    return register(global_hooks.forward_pre, hook)


def register_module_forward_hook(
    hook: Callable, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """``hook(module, args, output)`` after the forward of every module; may return a new output.

    Args:
        with_kwargs: call ``hook(module, args, kwargs, output)``.
        always_call: call the hook also when forward raised an exception.
    """
    handle = register(global_hooks.forward, hook)
    if with_kwargs:
        global_hooks.forward_with_kwargs.add(handle.id)
    if always_call:
        global_hooks.forward_always_called.add(handle.id)
    return handle


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, grad_output)`` before the backward of every module."""
    return register(global_hooks.backward_pre, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, grad_input, grad_output)`` after the backward of every module."""
    return register(global_hooks.backward, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, name, submodule)`` whenever a submodule is added; may return another."""
    return register(global_hooks.module_registration, hook)


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, name, buffer)`` whenever a buffer is added; may return another."""
    return register(global_hooks.buffer_registration, hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, name, parameter)`` whenever a parameter is added; may return another."""
    return register(global_hooks.parameter_registration, hook)


class BackwardHookFunction(Function):
    """The identity on all its tensors, as one node."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.mark_non_differentiable(*(t for t in tensors if not t.requires_grad))
        return tensors

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return grads


def _through_one_node(values: Sequence) -> tuple[tuple, list[int], Node | None]:
    """Pass the tensors among values through one identity node.

    Returns:
        the values, the positions of the tensors, and the node: None if no gradient is wanted.
    """
    positions = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    if not (is_grad_enabled() and any(values[i].requires_grad for i in positions)):
        return tuple(values), [], None
    passed = BackwardHookFunction.apply(*(values[i] for i in positions))
    result = list(values)
    for i, tensor in zip(positions, passed, strict=True):
        result[i] = tensor
    node = next(tensor.grad_fn for tensor in passed if tensor.grad_fn is not None)
    return tuple(result), positions, node


def _spread(positions: Sequence[int], grads: Sequence, length: int) -> tuple:
    """The gradients at their positions, None elsewhere."""
    spread = [None] * length
    for position, grad in zip(positions, grads, strict=True):
        spread[position] = grad
    return tuple(spread)


class BackwardHooks:
    """The backward hooks of one call of a module.

    Args:
        module: the first argument of every hook.
        hooks: called with the gradients of inputs and outputs; may replace those of the inputs.
        pre_hooks: called with the gradients of the outputs; may replace them.
    """

    def __init__(self, module: Any, hooks: list[Callable], pre_hooks: list[Callable]):
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.has_input_node = False
        self.n_inputs = 0
        self.grad_outputs: tuple | None = None

    def wrap_inputs(self, args: tuple) -> tuple:
        args, positions, node = _through_one_node(args)
        self.n_inputs = len(args)
        if node is not None:
            self.has_input_node = True
            node.register_hook(lambda grads, _: self._after(grads, positions))
        return args

    def wrap_outputs(self, result: Any) -> Any:
        single = not isinstance(result, tuple)
        values, positions, node = _through_one_node((result,) if single else result)
        if node is not None:
            node.register_hook(lambda _, grads: self._before(grads, positions, len(values)))
        return values[0] if single else values

    def _before(self, grads: Sequence, positions: list[int], n_outputs: int) -> tuple:
        """Run the pre-hooks: the gradients of the outputs are known."""
        grad_outputs = _spread(positions, grads, n_outputs)
        for hook in self.pre_hooks:
            replaced = hook(self.module, grad_outputs)
            if replaced is None:
                continue
            if isinstance(replaced, Tensor):
                replaced = (replaced,)
            if len(replaced) != n_outputs:
                raise RuntimeError(
                    "Backward pre hook returned an invalid number of grad_output, "
                    f"got {len(replaced)}, but expected {n_outputs}"
                )
            grad_outputs = replaced
        if self.has_input_node:
            self.grad_outputs = grad_outputs
        elif self.hooks:
            self._without_inputs(grad_outputs)
        return tuple(grad_outputs[i] for i in positions)

    def _without_inputs(self, grad_outputs: tuple) -> None:
        """Run the hooks when no input needs a gradient."""
        warnings.warn(
            "Full backward hook is firing when gradients are computed with respect to module "
            "outputs since no inputs require gradients.",
            stacklevel=2,
        )
        for hook in self.hooks:
            result = hook(self.module, (None,) * self.n_inputs, grad_outputs)
            if result is not None and not (
                isinstance(result, tuple) and all(grad is None for grad in result)
            ):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )

    def _after(self, grads: Sequence, positions: list[int]) -> tuple | None:
        """Run the hooks: the gradients of the inputs are known."""
        if self.grad_outputs is None:  # the gradient came by a way around the module's outputs
            return None
        grad_inputs = _spread(positions, grads, self.n_inputs)
        for hook in self.hooks:
            replaced = hook(self.module, grad_inputs, self.grad_outputs)
            if replaced is None:
                continue
            if isinstance(replaced, Tensor):
                replaced = (replaced,)
            if len(replaced) != self.n_inputs:
                raise RuntimeError(
                    "Backward hook returned an invalid number of grad_input, "
                    f"got {len(replaced)}, but expected {self.n_inputs}"
                )
            grad_inputs = replaced
        self.grad_outputs = None
        return tuple(grad_inputs[i] for i in positions)
