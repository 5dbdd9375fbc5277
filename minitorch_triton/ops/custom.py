"""Your own operations: kernels of yours in the graph, and in PyTorch's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from minitorch_triton.autograd.api import grad
from minitorch_triton.autograd.modes import enable_grad
from minitorch_triton.ops import dispatch
from minitorch_triton.ops.dispatch import Op


class StructuredOp(Op):
    """An op made of functions; see :func:`structured`."""

    def __init__(
        self,
        name: str,
        forward: Callable,
        backward: Callable,
        decompose: Callable | None,
        outputs: Sequence[str],
        visible: int,
        non_differentiable: Sequence[str],
        defaults: dict[str, Any],
    ):
        self.outputs = tuple(outputs)
        self.visible = visible
        self.non_differentiable = tuple(non_differentiable)
        self.forward = forward  # type: ignore[method-assign]
        self.backward = backward  # type: ignore[method-assign]
        if decompose is not None:
            self.decompose = decompose
        self.parameters = list(inspect.signature(forward).parameters)
        self.defaults = defaults
        super().__init__(name)
        # A user's function starts kernels as it likes, so it is run anew in every call.
        self.plan_forward.replays = self.plan_backward.replays = False

    def __call__(self, *args: Any, **named: Any) -> Any:
        values = {**self.defaults, **dict(zip(self.parameters, args, strict=False)), **named}
        unknown = set(values) - set(self.parameters)
        if unknown or len(args) > len(self.parameters):
            raise TypeError(
                f"{self.name}() takes ({', '.join(self.parameters)}), got "
                f"{len(args)} positional arguments and {sorted(named)}"
            )
        missing = [parameter for parameter in self.parameters if parameter not in values]
        if missing:
            raise TypeError(f"{self.name}() missing required argument: '{missing[0]}'")
        return super().__call__(*[values[parameter] for parameter in self.parameters])


def structured(
    forward: Callable,
    backward: Callable,
    decompose: Callable | None = None,
    *,
    name: str | None = None,
    outputs: Sequence[str] = ("y",),
    visible: int | None = None,
    non_differentiable: Sequence[str] = (),
) -> StructuredOp:
    """Make a differentiable op of functions that start your kernels.

    Args:
        forward: ``forward(x, ..., constants)`` allocates its outputs (``mt.empty_like``), starts
            kernels and returns a tensor or a tuple, one for each name in ``outputs``.
        backward: ``backward(needs, g, ...)`` returns a gradient, or a tuple with one per argument
            of forward (None where there is none). ``needs`` has a bool per argument. The other
            parameters say by their names what is kept from forward: its arguments, its outputs,
            ``forms`` (the layouts of its arguments). ``g`` is the upstream gradient; with several
            differentiable outputs there is one ``g_NAME`` for each, None if it has none.
        decompose: forward in differentiable operations, for ``create_graph=True``.
        name: of the graph node; by default forward's.
        outputs: what forward returns.
        visible: how many of the outputs a call returns (all); the rest is only kept for backward.
        non_differentiable: the outputs without gradient.

    Raises:
        TypeError: a parameter of backward names something unknown.
    """
    defaults = {
        parameter.name: parameter.default
        for parameter in inspect.signature(forward).parameters.values()
        if parameter.default is not inspect.Parameter.empty
    }
    name = name or "".join(
        part.capitalize() for part in forward.__name__.removesuffix("_forward").split("_")
    )
    visible = len(outputs) if visible is None else visible
    return StructuredOp(
        name, forward, backward, decompose, outputs, visible, non_differentiable, defaults
    )


class _TorchBridge(torch.autograd.Function):
    """One of our ops as a node of PyTorch's graph."""

    @staticmethod
    def forward(ctx: Any, op: Callable, *args: Any) -> Any:
        inputs = []
        for arg in args:
            if isinstance(arg, torch.Tensor):
                requires_grad = arg.requires_grad
                arg = dispatch.Tensor.from_torch_memory(arg)
                arg.requires_grad_(requires_grad)
            inputs.append(arg)
        with enable_grad():
            results = op(*inputs)
        ctx.inputs = inputs
        ctx.results = results if isinstance(results, tuple) else (results,)
        outputs = tuple(result.detach().torch() for result in ctx.results)
        ctx.mark_non_differentiable(
            *[
                output
                for output, result in zip(outputs, ctx.results, strict=True)
                if not result.requires_grad
            ]
        )
        return outputs if isinstance(results, tuple) else outputs[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        wanted = [
            arg for arg in ctx.inputs if isinstance(arg, dispatch.Tensor) and arg.requires_grad
        ]
        pairs = [
            (result, dispatch.Tensor.from_torch_memory(upstream))
            for result, upstream in zip(ctx.results, grads, strict=True)
            if result.requires_grad and upstream is not None
        ]
        found = grad(
            [result for result, _ in pairs],
            wanted,
            [upstream for _, upstream in pairs],
            retain_graph=True,
            allow_unused=True,
        )
        by_input = {
            id(arg): gradient.torch()
            for arg, gradient in zip(wanted, found, strict=True)
            if gradient is not None
        }
        return None, *[by_input.get(id(arg)) for arg in ctx.inputs]


def as_torch(op: Callable) -> Callable:
    """A function of torch tensors that PyTorch's own autograd differentiates through ``op``.

    Memory is shared, not copied. The result can be differentiated once.
    """

    def function(*args: Any) -> Any:
        return _TorchBridge.apply(op, *args)

    return function
