"""The graph: nodes, edges and saved tensors.

A node is one operation of the forward pass. Its edges lead to the nodes that made its inputs; an
edge is ``(node, number of that node's output)`` and never a tensor, so that an intermediate result
lives only as long as somebody needs it. A leaf's edge leads to its ``AccumulateGrad``.
"""

from __future__ import annotations

import itertools
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from minitorch_triton.autograd.modes import state
from minitorch_triton.utils.hooks import RemovableHandle, register

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you "
    "call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward "
    "through the graph a second time or if you need to access saved tensors after calling backward."
)

_sequence = itertools.count()


class Node:
    """An operation in the graph.

    Attributes:
        next_edges: one ``(node, output number)`` per input, None where no gradient is needed.
        outputs: the layouts of the forward outputs: shape, dtype and device of the gradients.
        sequence_nr: counts nodes; later ones run first in backward.
    """

    __slots__ = ("__weakref__", "hooks", "metadata_", "next_edges", "outputs", "sequence_nr")

    def __init__(self, next_edges: Sequence, outputs: Sequence):
        self.next_edges = next_edges
        self.outputs = outputs
        self.sequence_nr = next(_sequence)
        self.hooks: NodeHooks | None = None

    def apply(self, grads: list) -> Sequence:
        """Gradients of the inputs from the gradients of the outputs (None: no gradient)."""
        raise NotImplementedError

    def release(self) -> None:
        """Free what was saved for backward."""

    def name(self) -> str:
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        return tuple((None, 0) if edge is None else edge for edge in self.next_edges)

    @property
    def metadata(self) -> dict:
        """A dictionary for the user."""
        if not hasattr(self, "metadata_"):
            self.metadata_: dict = {}
        return self.metadata_

    def register_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(grad_inputs, grad_outputs)`` after the node ran; it may replace the first."""
        return register(self.own_hooks().post, hook)

    def register_prehook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(grad_outputs)`` before the node runs; it may replace them."""
        return register(self.own_hooks().pre, hook)

    def own_hooks(self) -> NodeHooks:
        if self.hooks is None:
            self.hooks = NodeHooks()
        return self.hooks

    def __repr__(self) -> str:
        return f"<{self.name()} object at {hex(id(self))}>"


class NodeHooks:
    """The hooks of a node; ``tensor`` holds those of its output tensors by output number."""

    __slots__ = ("post", "pre", "retained", "tensor")

    def __init__(self) -> None:
        self.pre: OrderedDict[int, Callable] = OrderedDict()
        self.post: OrderedDict[int, Callable] = OrderedDict()
        self.tensor: dict[int, OrderedDict[int, Callable]] = {}
        self.retained: dict[int, Callable] = {}


class AccumulateGrad(Node):
    """The end of a path: adds the gradient to its leaf's ``.grad``."""

    __slots__ = ("variable",)

    def __init__(self, variable: Any):
        super().__init__((), (variable.layout,))
        # A leaf's gradient is accumulated as soon as it is there, which frees it early.
        self.sequence_nr = sys.maxsize
        self.variable = variable

    def apply(self, grads: list) -> Sequence:
        grad = grads.pop()
        variable = self.variable
        if grad is None:
            return ()
        present = variable._grad
        if present is None:
            if state.grad_enabled:
                variable.grad = grad.laid_out_as(variable)
            elif _is_unshared(grad) and grad.layout.strides == variable.layout.strides:
                variable._grad = grad
            else:
                variable.grad = grad.detach().laid_out_as(variable)
        elif state.grad_enabled:
            variable.grad = present + grad
        else:
            present.add_(grad)
        for hook in list(variable._post_accumulate_hooks.values()):
            hook(variable)
        return ()


# References to an object that only the engine holds: the callers' local variables, one level in
# AccumulateGrad.apply and one in _is_unshared, and getrefcount's own argument; to its storage: the
# tensor and the argument.
_TENSOR_REFERENCES = 3
_STORAGE_REFERENCES = 2


def _is_unshared(grad: Any) -> bool:
    """Whether nobody but the engine can see this gradient, so that it may become a ``.grad``."""
    return (
        grad.grad_fn is None
        and sys.getrefcount(grad) <= _TENSOR_REFERENCES
        and sys.getrefcount(grad.storage) <= _STORAGE_REFERENCES
    )


class SavedTensor:
    """A tensor kept for backward, with the version it had.

    An output is saved without its graph, because it would otherwise keep alive the very node that
    saves it; :meth:`unpack` links it again.
    """

    __slots__ = ("_hooks", "_output_nr", "_packed", "version")

    def __init__(self, tensor: Any, output_nr: int | None = None):
        self._output_nr = output_nr
        storage = tensor.storage
        self.version = storage.version if storage.foreign else storage.own_version
        self._hooks = state.saved_tensors_hooks
        if output_nr is not None:
            tensor = tensor.detach()
        if self._hooks is not None:
            with state.without_hooks():
                self._packed = self._hooks[0](tensor)
        else:
            self._packed = tensor

    def is_output(self, number: int) -> bool:
        """Whether this is that output of its node, kept without hooks."""
        return self._output_nr == number and self._hooks is None

    def peek(self) -> Any:
        """What is kept, without any check."""
        return self._packed

    def unpack(self, node: Node) -> Any:
        """The tensor as it was; an error if it was changed in place since."""
        tensor = self._packed
        if self._hooks is not None:
            return self._hooks[1](tensor)
        storage = tensor.storage
        if (storage.version if storage.foreign else storage.own_version) != self.version:
            raise RuntimeError(self._modified(tensor, node))
        if self._output_nr is not None and state.grad_enabled:
            tensor = tensor.linked(node, self._output_nr)
        return tensor

    def _modified(self, tensor: Any, node: Node) -> str:
        maker = tensor.grad_fn if self._output_nr is None else node
        number = tensor.output_nr if self._output_nr is None else self._output_nr
        kind = f"{tensor.type()} {list(tensor.shape)}"
        made = ""
        if maker is not None:
            made = f", which is output {number} of {maker.name().partition('Backward')[0]},"
        return (
            "one of the variables needed for gradient computation has been modified by an inplace "
            f"operation: [{kind}]{made} is at version {tensor.storage.version}; expected version "
            f"{self.version} instead. Hint: enable anomaly detection to find the operation that "
            "failed to compute its gradient, with torch.autograd.set_detect_anomaly(True)."
        )
