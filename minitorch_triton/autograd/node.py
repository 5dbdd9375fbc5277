"""The graph: nodes, edges and saved tensors.

A node is one operation of the forward pass. Its edges lead to the nodes that made its inputs; an
edge is ``(node, number of that node's output)`` and never a tensor, so that an intermediate result
lives only as long as somebody needs it. A leaf's edge leads to its ``AccumulateGrad``.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from minitorch_triton.autograd import anomaly_mode
from minitorch_triton.autograd.modes import state
from minitorch_triton.utils.hooks import RemovableHandle, register

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you "
    "call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward "
    "through the graph a second time or if you need to access saved tensors after calling backward."
)

Hooks = OrderedDict[int, Callable]

next_sequence_nr = itertools.count().__next__


class _Make:
    """How the graph makes a tensor; ops/creation.py, which imports this package, fills it in."""

    filled: Callable[[Any, float], Any]
    """A contiguous tensor of a layout's shape, dtype and device, filled with a number."""
    stacked: Callable[[Sequence, int], Any]
    """Several tensors along a new dimension."""


make = _Make()


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of this framework; autograd does not import the class."""
    return hasattr(value, "grad_edge")


class Node:
    """An operation in the graph.

    Attributes:
        next_edges: one ``(node, output number)`` per input, None where no gradient is needed.
        outputs: the layouts of the forward outputs: shape, dtype and device of the gradients. None
            for what a ``Function`` returned beside tensors.
        sequence_nr: counts nodes; later ones run first in backward.
        takes_undefined: whether :meth:`apply` is called even if every gradient is None.
    """

    __slots__ = ("__weakref__", "hooks", "metadata_", "next_edges", "outputs", "sequence_nr")

    takes_undefined = False

    def __init__(self, next_edges: Sequence, outputs: Sequence):
        self.next_edges = next_edges
        self.outputs = outputs
        self.sequence_nr = next_sequence_nr()
        self.hooks: NodeHooks | None = None
        if anomaly_mode.mode.enabled:
            anomaly_mode.remember(self)

    def apply(self, grads: list) -> Sequence:
        """Gradients of the inputs from the gradients of the outputs (None: no gradient)."""
        raise NotImplementedError

    def __call__(self, *grads: Any) -> Any:
        """The gradients of the inputs, without going on to other nodes and without hooks."""
        if len(grads) != len(self.outputs):
            raise TypeError(f"expected {len(self.outputs)} arguments, got {len(grads)} instead")
        results = tuple(self.apply(list(grads)))
        return results[0] if len(results) == 1 else results

    def release(self) -> None:
        """Free what was saved for backward."""

    def saved_values(self) -> dict[Any, Any]:
        """What was saved for backward, by PyTorch's names; see :func:`saved_attributes`."""
        return {}

    def name(self) -> str:
        return type(self).__name__

    def forward_name(self) -> str:
        """What messages call the operation: the name up to its last ``Backward``."""
        operation, found, _ = self.name().rpartition("Backward")
        return operation if found else self.name()

    def _sequence_nr(self) -> int:
        return self.sequence_nr

    def _set_sequence_nr(self, number: int) -> None:
        """Run before the nodes with a smaller number that are ready at the same time."""
        self.sequence_nr = number

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        return tuple((None, 0) if edge is None else edge for edge in self.next_edges)

    @property
    def _input_metadata(self) -> list:
        """Shape, dtype and device of the gradients that backward gets, by PyTorch's name."""
        return list(self.outputs)

    @property
    def metadata(self) -> dict:
        """A dictionary for the user."""
        try:
            return self.metadata_
        except AttributeError:
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
        self.pre: Hooks = OrderedDict()
        self.post: Hooks = OrderedDict()
        self.tensor: dict[int, Hooks] = {}
        self.retained: dict[int, Callable] = {}

    def run_of_tensors(self, grads: list) -> None:
        """Run the hooks of the output tensors on their gradients, then keep those retained."""
        for number, hooks in self.tensor.items():
            for hook in list(hooks.values()):
                replaced = hook(grads[number])
                if replaced is not None:
                    grads[number] = _checked(hook, grads[number], replaced)
        for number, retain in self.retained.items():
            retain(grads[number])

    def run_before(self, grads: list) -> None:
        """Run the hooks that see the gradients of the outputs."""
        for hook in list(self.pre.values()):
            replaced = hook(tuple(grads))
            if replaced is not None:
                grads[:] = _all_checked(hook, grads, replaced)

    def run_after(self, results: Sequence, grads: tuple) -> Sequence:
        """Run the hooks that see the gradients of inputs and outputs; the former, replaced."""
        for hook in list(self.post.values()):
            replaced = hook(tuple(results), grads)
            if replaced is not None:
                results = _all_checked(hook, results, replaced)
        return results


def _checked(hook: Callable, present: Any, replaced: Any) -> Any:
    """What a hook returned in place of a gradient, or an error in PyTorch's words."""
    name = getattr(hook, "__name__", "<unknown>")
    if not hasattr(replaced, "layout"):
        raise TypeError(f"expected Variable, but hook returned '{type(replaced).__name__}'")
    if present is None:
        raise RuntimeError("can't replace a None gradient with a non-None value")
    if replaced.type() != present.type():
        raise RuntimeError(
            f"hook '{name}' has changed the type of value (was {present.type()} got "
            f"{replaced.type()})"
        )
    if replaced.shape != present.shape:
        raise RuntimeError(f"hook '{name}' has changed the size of value")
    return replaced


def _all_checked(hook: Callable, present: Sequence, replaced: Any) -> tuple:
    if not isinstance(replaced, tuple):
        raise TypeError(f"expected tuple, but hook returned '{type(replaced).__name__}'")
    if len(replaced) != len(present):
        name = getattr(hook, "__name__", "<unknown>")
        raise RuntimeError(
            f"hook '{name}' has returned an incorrect number of values (got {len(replaced)}, but "
            f"expected {len(present)})"
        )
    return tuple(
        None if new is None else _checked(hook, old, new)
        for old, new in zip(present, replaced, strict=True)
    )


OWN_DTYPE = "that of the tensor"
"""The ``grad_dtype`` of a leaf that nobody has set."""


class GradientForm(NamedTuple):
    """What a leaf's gradient must be, where its dtype (None: any) is not the leaf's."""

    shape: tuple[int, ...]
    dtype: Any
    device: Any


_accumulating = threading.RLock()
"""Held while a leaf's gradient grows: several threads may run backward into the same leaf."""


class AccumulateGrad(Node):
    """The end of a path: adds the gradient to its leaf's ``.grad``."""

    __slots__ = ("variable",)

    def __init__(self, variable: Any, form: Any):
        """``form``: shape, dtype and device of the gradient."""
        # All that Node's does; a training step makes one for each parameter.
        self.next_edges, self.outputs, self.hooks = (), (form,), None
        # A leaf's gradient is accumulated as soon as it is there, which frees it early.
        self.sequence_nr = sys.maxsize
        self.variable = variable
        if anomaly_mode.mode.enabled:
            anomaly_mode.remember(self)

    def apply(self, grads: list) -> Sequence:
        grad = grads.pop()
        if grad is None:
            return ()
        variable = self.variable
        with _accumulating:
            present = variable._grad
            if present is not None:
                if state.grad_enabled:
                    variable.grad = present + grad
                else:
                    present.add_(grad)
            else:
                kept = self.hooks is not None and bool(self.hooks.post)
                if not state.grad_enabled:
                    # A tensor of its own: if others hold the gradient, its storage has two.
                    grad = grad.detach()
                if not state.grad_enabled and _is_owned(grad, variable, 1 + kept):
                    variable._grad = grad
                else:
                    variable.grad = grad.laid_out_as(variable.layout)
        if variable._post_accumulate_hooks:
            for hook in list(variable._post_accumulate_hooks.values()):
                replaced = hook(variable)
                if replaced is not None:
                    _checked(hook, variable, replaced)
                    raise RuntimeError("Tensor post accumulate grad hooks should return None.")
        return ()


def _is_owned(grad: Any, variable: Any, owners: int) -> bool:
    """Whether nobody else can see this gradient's memory, so that it may become a ``.grad``.

    Args:
        owners: the tensors on it that do not count: this one, and what post hooks will be given.
    """
    # The storage is referred to by these tensors, and by the argument of getrefcount.
    return (
        grad.layout.strides == variable.layout.strides
        and sys.getrefcount(grad.storage) == owners + 1
    )


class SavedTensor:
    """A tensor kept for backward, with the version it had.

    An output is saved without its graph, because it would otherwise keep alive the very node that
    saves it; :meth:`unpack` links it again.
    """

    __slots__ = ("_edge", "_hooks", "_output_nr", "_packed", "version")

    def __init__(self, tensor: Any, output_nr: int | None = None):
        self._output_nr = output_nr
        storage = tensor.storage
        self.version = storage.version if storage.foreign else storage.own_version
        if self.version is None:
            raise RuntimeError(
                "Inference tensors cannot be saved for backward. Please do not use Tensors created "
                "in inference mode in computation tracked by autograd. To work around this, you "
                "can make a clone to get a normal tensor and use it in autograd, or use "
                "`torch.no_grad()` instead of `torch.inference_mode()`."
            )
        self._packed = tensor if output_nr is None else tensor.detach()
        self._hooks: tuple[Callable, Callable] | None = None
        self._edge: tuple[Node, int] | None = None
        if state.saved_tensors_hooks:
            self._pack(state.saved_tensors_hooks[-1])

    def _pack(self, hooks: tuple[Callable, Callable]) -> None:
        tensor = self._packed
        version = tensor.storage.version
        # What the hook returns is linked to the tensor's history again.
        self._edge = tensor.grad_edge() if tensor.requires_grad else None
        with state.without_hooks():
            self._packed = hooks[0](tensor)
        self._hooks = hooks
        if tensor.storage.version != version:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as "
                "input to pack hook cannot be modified by in-place operations as this can lead to "
                "unexpected side-effects."
            )

    def register_hooks(self, pack_hook: Callable, unpack_hook: Callable) -> None:
        """Keep ``pack_hook(tensor)`` instead; backward gets ``unpack_hook`` of that."""
        if self._hooks is not None:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: "
                "only one pair of hooks is allowed at a time."
            )
        for hook in (pack_hook, unpack_hook):
            if not callable(hook):
                raise TypeError(
                    "register_hooks(): incompatible function arguments: expected two functions, "
                    f"got {type(hook).__name__}"
                )
        self._pack((pack_hook, unpack_hook))

    def is_output(self, number: int) -> bool:
        """Whether this is that output of its node, kept without hooks."""
        return self._output_nr == number and self._hooks is None

    def peek(self) -> Any:
        """What is kept, without any check."""
        return self._packed

    @property
    def unpack_hook(self) -> Callable | None:
        return None if self._hooks is None else self._hooks[1]

    def unpack(self, node: Node) -> Any:
        """The tensor as it was; an error if it was changed in place since."""
        tensor = self._packed
        if self._hooks is not None:
            tensor = self._hooks[1](tensor)
            if not is_tensor(tensor):
                raise TypeError(
                    "Output of saved tensor unpack_hook expected to be a Tensor but got result of "
                    f"type {type(tensor).__name__}"
                )
            if self._edge is not None:
                return tensor.linked(*self._edge)
        else:
            storage = tensor.storage
            if (storage.version if storage.foreign else storage.own_version) != self.version:
                raise RuntimeError(self._modified(tensor, node))
            if node is not None and tensor._detached_at > node.sequence_nr:
                raise RuntimeError(
                    "Trying to use a saved tensor that has been detached in-place, i.e. with "
                    ".detach_().This is not supported, please use out-of-place `.detach()` instead"
                )
        if self._output_nr is not None and state.grad_enabled:
            tensor = tensor.linked(node, self._output_nr)
        return tensor

    def _modified(self, tensor: Any, node: Node) -> str:
        maker = tensor.grad_fn if self._output_nr is None else node
        number = tensor.output_nr if self._output_nr is None else self._output_nr
        kind = f"{tensor.type()} {list(tensor.shape)}"
        made = ""
        if maker is not None:
            made = f", which is output {number} of {maker.forward_name()},"
        return (
            "one of the variables needed for gradient computation has been modified by an inplace "
            f"operation: [{kind}]{made} is at version {tensor.storage.version}; expected version "
            f"{self.version} instead. Hint: {_hint()}"
        )


def _hint() -> str:
    if anomaly_mode.mode.enabled:
        return (
            "the backtrace further above shows the operation that failed to compute its gradient. "
            "The variable in question was changed in there or anywhere later. Good luck!"
        )
    return (
        "enable anomaly detection to find the operation that failed to compute its gradient, with "
        "torch.autograd.set_detect_anomaly(True, check_nan=False)."
    )


def saved_attributes(names: Iterable[str]) -> dict[str, property]:
    """``_saved_NAME`` and ``_raw_saved_NAME`` for a class of nodes that may save these values.

    Properties, because a ``__getattr__`` would slow down every attribute of the nodes.
    """

    def value_of(node: Node, name: str) -> Any:
        values = node.saved_values()
        if name not in values:
            raise AttributeError(f"'{node.name()}' object has no attribute '_saved_{name}'")
        return values[name]

    def saved(node: Node, name: str) -> Any:
        value = value_of(node, name)
        return value.unpack(node) if isinstance(value, SavedTensor) else value

    def raw(node: Node, name: str) -> RawSavedTensor:
        with contextlib.suppress(RuntimeError):  # freed: whoever uses what this returns is told so
            value_of(node, name)
        return RawSavedTensor.of(node, name)

    attributes = {}
    for name in names:
        attributes[f"_saved_{name}"] = property(partial(saved, name=name))
        attributes[f"_raw_saved_{name}"] = property(partial(raw, name=name))
    return attributes


class RawSavedTensor:
    """What ``node._raw_saved_NAME`` gives: a saved tensor that is not unpacked."""

    _node: Node
    _key: Any

    def __init__(self) -> None:
        raise RuntimeError("Trying to create a SavedTensor object from Python is forbidden.")

    @classmethod
    def of(cls, node: Node, key: Any) -> RawSavedTensor:
        """That of the node's ``saved_values()`` under this key."""
        raw = cls.__new__(cls)
        raw._node, raw._key = node, key
        return raw

    def _saved(self) -> SavedTensor | None:
        """What the node keeps; None if that is None, or no longer there."""
        try:
            return self._node.saved_values()[self._key]
        except RuntimeError:
            return None

    @property
    def data(self) -> Any:
        """What is kept: the tensor (an output without its graph), or what a hook made of it."""
        saved = self._saved()
        return None if saved is None else saved.peek()

    @property
    def unpack_hook(self) -> Callable | None:
        """The hook that will get :attr:`data`, None if there is none."""
        saved = self._saved()
        return None if saved is None else saved.unpack_hook

    def unpack(self) -> Any:
        """The tensor, as backward gets it.

        Raises:
            RuntimeError: it was freed, or changed in place.
        """
        saved = self._node.saved_values()[self._key]
        return None if saved is None else saved.unpack(self._node)

    def register_hooks(self, pack_hook: Callable, unpack_hook: Any = None) -> None:
        """Keep ``pack_hook(tensor)`` instead; backward gets ``unpack_hook`` of that.

        Raises:
            RuntimeError: the tensor was freed, or has hooks, or the hook writes to its input.
            TypeError: there are not two functions.
        """
        try:
            saved = self._node.saved_values()[self._key]
        except RuntimeError:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor after it has been freed. "
                + FREED.partition("). ")[2].replace("saved tensors", "saved variables")
            ) from None
        if saved is None:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor with value None is forbidden"
            )
        saved.register_hooks(pack_hook, unpack_hook)
