"""Nodes and what is kept between forward and backward, under PyTorch's names."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from minitorch_triton.autograd import engine
from minitorch_triton.autograd.api import GradientEdge
from minitorch_triton.autograd.modes import saved_tensors_hooks, state
from minitorch_triton.autograd.mutation import allow_mutation_on_saved_tensors
from minitorch_triton.autograd.node import Node, RemovableHandle


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """Where the gradient of a tensor goes; it stands for the tensor in ``grad`` and ``backward``.

    It stays what it is when the tensor is changed in place, and does not keep the tensor alive.

    Raises:
        RuntimeError: the tensor does not require a gradient.
    """
    edge = tensor.grad_edge() if tensor.requires_grad else None
    if edge is None:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients"
        )
    return GradientEdge(*edge)


def increment_version(tensor: Any) -> None:
    """Count a write into a tensor's memory (or that of several) that nobody else noticed."""
    for written in (tensor,) if hasattr(tensor, "storage") else tensor:
        written.storage.written()


class _Handles:
    """Removes several hooks at once."""

    def __init__(self, handles: Sequence[RemovableHandle]):
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register_multi_grad_hook(
    tensors: Sequence[Any], fn: Callable, *, mode: str = "all"
) -> _Handles:
    """Call a hook for several tensors together, once in each backward pass that reaches them.

    Args:
        tensors: tensors that require a gradient.
        fn: in mode "all" called with a list of all gradients when the last one is there, None for
            a tensor that this backward does not reach; in mode "any" called with the first one.
        mode: "all" or "any".

    Returns:
        A handle whose ``remove()`` takes the hook out again.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock = threading.Lock()
    # What each backward pass has brought so far; gone with the pass, also if it failed.
    passes: WeakKeyDictionary[engine.Task, dict[int, Any]] = WeakKeyDictionary()
    nodes = [get_gradient_edge(tensor).node for tensor in tensors]

    def arrived(number: int, grad: Any) -> None:
        task = engine.running.task
        assert task is not None
        with lock:
            grads = passes.setdefault(task, {})
            grads[number] = grad
            seen = len(grads)
        if mode == "any":
            if seen == 1:
                fn(grad)
        elif seen == sum(task.will_visit(node) for node in nodes):
            fn([grads.get(n) for n in range(len(nodes))])

    return _Handles(
        [
            tensor.register_hook(lambda grad, number=number: arrived(number, grad))
            for number, tensor in enumerate(tensors)
        ]
    )


class save_on_cpu(saved_tensors_hooks):
    """Tensors saved for backward inside wait in the memory of the CPU.

    Args:
        pin_memory: in memory from which a GPU copies quickly.
        device_type: accepted for compatibility.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        def pack(tensor: Any) -> tuple[Any, Any]:
            if not pin_memory:
                return tensor.device, tensor.cpu()
            pinned = tensor._as_torch().cpu().pin_memory()
            return tensor.device, tensor.from_torch_memory(pinned, shared=False)

        super().__init__(pack, lambda packed: packed[1].to(packed[0]))


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Using ``saved_tensors_hooks`` inside is a RuntimeError with this message."""
    if state.saved_tensors_hooks:
        raise RuntimeError(error_message)
    previous, state.hooks_disabled = state.hooks_disabled, error_message
    try:
        yield
    finally:
        state.hooks_disabled = previous


__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]
