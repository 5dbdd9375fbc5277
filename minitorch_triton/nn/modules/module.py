"""The hooks that apply to every module, and :class:`Module` itself under PyTorch's name.

The hooks are module-level dictionaries, as in PyTorch, so that a test may put empty ones in their
place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from minitorch_triton.utils.hooks import RemovableHandle, register

Hooks = OrderedDict[int, Callable]
Marks = OrderedDict[int, bool]

_global_forward_pre_hooks: Hooks = OrderedDict()
_global_forward_hooks: Hooks = OrderedDict()
_global_forward_hooks_with_kwargs: Marks = OrderedDict()
_global_forward_hooks_always_called: Marks = OrderedDict()
_global_backward_pre_hooks: Hooks = OrderedDict()
_global_backward_hooks: Hooks = OrderedDict()
_global_is_full_backward_hook: bool | None = None
_global_module_registration_hooks: Hooks = OrderedDict()
_global_buffer_registration_hooks: Hooks = OrderedDict()
_global_parameter_registration_hooks: Hooks = OrderedDict()


def __getattr__(name: str) -> Any:
    if name == "Module":  # its file imports this one
        from minitorch_triton.nn.module import Module

        return Module
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, args)`` before the forward of every module; may return new arguments."""
    return register(_global_forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Callable, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """``hook(module, args, output)`` after the forward of every module; may return a new output.

    Args:
        with_kwargs: call ``hook(module, args, kwargs, output)``.
        always_call: call the hook also when forward raised an exception.
    """
    marks = [
        mark
        for wanted, mark in (
            (with_kwargs, _global_forward_hooks_with_kwargs),
            (always_call, _global_forward_hooks_always_called),
        )
        if wanted
    ]
    return register(_global_forward_hooks, hook, marks=marks)


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, grad_output)`` before the backward of every module."""
    return register(_global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, grad_input, grad_output)`` after the backward of every module."""
    return _register_backward_hook(hook, full=True)


def register_module_backward_hook(hook: Callable) -> RemovableHandle:
    """The older kind: sees the gradients of the last operation of a module's forward only."""
    return _register_backward_hook(hook, full=False)


def _register_backward_hook(hook: Callable, full: bool) -> RemovableHandle:
    global _global_is_full_backward_hook
    if _global_is_full_backward_hook is not None and _global_is_full_backward_hook != full:
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module "
            "hook. Please use only one of them."
        )
    _global_is_full_backward_hook = full
    return register(_global_backward_hooks, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, name, submodule)`` whenever a submodule is added; may return another."""
    return register(_global_module_registration_hooks, hook)


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, name, buffer)`` whenever a buffer is added; may return another."""
    return register(_global_buffer_registration_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, name, parameter)`` whenever a parameter is added; may return another."""
    return register(_global_parameter_registration_hooks, hook)
