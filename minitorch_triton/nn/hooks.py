"""How a module's hooks come to be called in the backward pass.

They need nodes of their own in the graph, around the module: :class:`BackwardHooks` puts an
identity behind the module's inputs and one before its outputs. The older kind of backward hook,
:func:`hook_last_node`, sits on the node of the output instead.
"""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from minitorch_triton.autograd import Function, is_grad_enabled
from minitorch_triton.autograd.node import Node
from minitorch_triton.tensor import Tensor


class ModuleHook:
    """A hook that gets the module it was registered on as first argument, if it wants it.

    The module is referred to weakly, since it holds the hook, and strongly in a pickle or copy.

    Args:
        hook: the user's.
        module: its first argument, or None for none.
    """

    def __init__(self, hook: Callable, module: Any = None):
        self.hook = hook
        functools.update_wrapper(self, hook)
        self.module = None if module is None else weakref.ref(module)

    def __call__(self, *args: Any) -> Any:
        if self.module is None:
            return self.hook(*args)
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args)

    def __getstate__(self) -> tuple:
        return self.hook, None if self.module is None else self.module()

    def __setstate__(self, state: tuple) -> None:
        self.__init__(*state)  # type: ignore[misc]


class BackwardHookFunction(Function):
    """The identity on all its tensors, as one node."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.mark_non_differentiable(*(t for t in tensors if not t.requires_grad))
        return tensors

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return grads


def _through_one_node(values: tuple) -> tuple[tuple, list[int], Node | None]:
    """Pass the tensors among values through one identity node.

    Returns:
        the values, the positions of the tensors, and the node: None if no gradient is wanted.
    """
    positions = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    if not (is_grad_enabled() and any(values[i].requires_grad for i in positions)):
        return values, [], None
    passed = BackwardHookFunction.apply(*(values[i] for i in positions))
    result = list(values)
    for i, tensor in zip(positions, passed, strict=True):
        result[i] = tensor
    node = next(tensor.grad_fn for tensor in passed if tensor.grad_fn is not None)
    # A named tuple stays one.
    same = tuple(result) if type(values) is tuple else type(values)(*result)
    return same, positions, node


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


def hook_last_node(module: Any, hooks: Sequence[Callable], args: tuple, result: Any) -> None:
    """Call hooks with the gradients of the operation that made the module's output.

    Warns where those are not the gradients of the module's inputs and outputs.
    """
    first = result
    while not isinstance(first, Tensor):
        first = (
            next(value for value in first.values() if isinstance(value, Tensor))
            if isinstance(first, dict)
            else first[0]
        )
    node = first.grad_fn
    if node is None:
        return
    for hook in hooks:
        node.register_hook(ModuleHook(hook, module))
    problem = _why_incomplete(node, args, result)
    if problem is not None:
        warnings.warn(
            f"Using {problem} is deprecated and will be removed in future versions. This hook will "
            "be missing some of the gradients. Please use register_full_backward_hook to get the "
            "documented behavior.",
            FutureWarning,
            stacklevel=4,
        )


def _why_incomplete(node: Node, args: tuple, result: Any) -> str | None:
    """What keeps a hook on the last node from seeing a module's gradients."""
    outputs = (result,) if isinstance(result, Tensor) else result
    if not isinstance(outputs, tuple) or not all(isinstance(y, Tensor) for y in outputs):
        return (
            "non-full backward hooks on a Module that does not return a single Tensor or a tuple "
            "of Tensors"
        )
    if not all(isinstance(x, Tensor) for x in args):
        return (
            "non-full backward hooks on a Module that does not take as input a single Tensor or a "
            "tuple of Tensors"
        )
    makers = {y.grad_fn for y in outputs if y.grad_fn is not None}
    if makers != {node}:
        return (
            "a non-full backward hook when outputs are generated by different autograd Nodes"
            if len(makers) > 1
            else "a non-full backward hook when outputs are nested in python data structure"
        )
    inputs = {x.grad_fn for x in args if x.grad_fn is not None}
    leaves = {x.grad_edge()[0] for x in args if x.requires_grad and x.grad_fn is None}
    if {before for before, _ in node.next_functions if before is not None} - leaves != inputs:
        return "a non-full backward hook when the forward contains multiple autograd Nodes"
    return None
