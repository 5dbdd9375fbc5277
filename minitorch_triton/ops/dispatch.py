"""The way of every operation: plan, launch, link into the graph.

An :class:`Op` says how to compute its outputs and gradients by allocating tensors and calling
launchers of ``kernels/``. The first call with new layouts *records* what that does (allocations,
launches, outputs) as a :class:`Plan`; later calls only replay the plan with other addresses. So an
op's Python runs once per combination of layouts, and may be as slow and clear as it likes, but must
not depend on data.
"""

from __future__ import annotations

import inspect
import struct
import threading
from collections.abc import Callable, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch

from minitorch_triton.autograd.api import grad
from minitorch_triton.autograd.modes import set_grad_enabled, state
from minitorch_triton.autograd.node import FREED, Node, SavedTensor, saved_attributes
from minitorch_triton.kernels import launch as launching
from minitorch_triton.storage import Layout, Storage, layout

if TYPE_CHECKING:
    from minitorch_triton.tensor import Tensor
else:
    Tensor: type = None  # set by tensor.py, which imports this module

MAX_PLANS = 4096
"""Plans an op keeps; a program with ever new shapes starts over rather than growing."""


class Scalar:
    """A Python number on its way to a kernel: its value is no part of the plan.

    Attributes:
        kind: its type, which is.
    """

    kind: type


class Float64(Scalar, float):
    """A number for a kernel's float64 parameter."""

    kind = float


class Number(Scalar, int):
    """A number for a kernel that takes any.

    It is the int64 that the kernel gets: an int or bool as it is, a float as the bits of a float64.
    """

    is_float: bool

    def __new__(cls, value: float) -> Number:
        is_float = isinstance(value, float)
        bits = struct.unpack("q", struct.pack("d", value))[0] if is_float else int(value)
        number = super().__new__(cls, bits)
        number.kind = type(value)
        number.is_float = is_float
        return number

    @property
    def value(self) -> float:
        """The Python number."""
        if self.is_float:
            return struct.unpack("d", struct.pack("q", self))[0]
        return self.kind(int(self))


class _Trace(threading.local):
    """What the op being recorded has allocated; None when nothing is recorded."""

    storages: list[Storage] | None = None


_trace = _Trace()

_recording = threading.RLock()
"""Held while a plan is recorded: threads that need a kernel at once compile it once."""


def type_name(dtype: torch.dtype) -> str:
    """PyTorch's name of a dtype in messages: Float, Long, ..."""
    return torch.empty(0, dtype=dtype, device="meta").type().split(".")[-1].removesuffix("Tensor")


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A contiguous tensor without initial values."""
    return empty_as(layout(tuple(shape), None, dtype, device))


def empty_as(form: Layout) -> Tensor:
    """A tensor of a dense layout, without initial values."""
    storage = Storage.allocate(form.nbytes, form.device)
    if _trace.storages is not None:
        _trace.storages.append(storage)
    return bare(storage, form, 0, storage.address)


def bare(storage: Storage, form: Layout, offset: int, address: int) -> Tensor:
    """``Tensor(storage, form, offset)`` at two thirds of its cost, where the address is known."""
    tensor = _new(Tensor)
    tensor.storage = storage
    tensor.layout = form
    tensor.offset = offset
    tensor.address = address
    tensor._requires_grad = False
    tensor._node = tensor._view = None
    return tensor


_new = object.__new__


class Plan:
    """One op for one set of layouts: what to allocate, what to launch, what to return.

    It is kept as the source of one straight-line function, because a loop over the recorded steps
    would cost more than the launches. In the source ``a0, a1, ...`` are the arguments, ``s0, ...``
    the allocated storages, and ``c0, ...`` constants that are no integers.

    Attributes:
        source: of the function.
        replay: the function; it takes arguments of the layouts that were recorded.
    """

    __slots__ = ("_constants", "_names", "replay", "source")

    def __init__(self, args: Sequence, storages: list[Storage], launches: list, results: Sequence):
        self._constants: dict[str, Any] = {}
        # The variable for an argument or a storage, and the address that it had when recorded.
        self._names: dict[int, tuple[str, int]] = {}
        for number, arg in enumerate(args):
            if isinstance(arg, Tensor):
                self._names[id(arg.storage)] = f"a{number}", arg.address
            elif isinstance(arg, Scalar):
                self._names[id(arg)] = f"a{number}", 0
        for number, storage in enumerate(storages):
            self._names[id(storage)] = f"s{number}", storage.address
        lines = [f"[{', '.join(f'a{number}' for number in range(len(args)))}] = args"]
        for number, storage in enumerate(storages):
            lines.append(f"s{number} = take({self._constant(storage.bin)})")
            lines.append(f"s{number}.size = {storage.size}")
        for prepared, grid, values in launches:
            lines.append(self._start(prepared, grid, values))
        lines.append(f"return [{', '.join(self._output(result, args) for result in results)}]")
        if storages:
            # Looked up when it happens, so that a test can replace it.
            lines.insert(0, "take = Storage.take")
        self.source = "\n    ".join(["def replay(args):", *lines])
        namespace = {"Storage": Storage, "Tensor": Tensor, "bare": bare, **self._constants}
        exec(self.source, namespace)
        self.replay: Callable[[Sequence], list] = namespace["replay"]

    def _constant(self, value: Any) -> str:
        if type(value) is int:
            return str(value)
        name = f"c{len(self._constants)}"
        self._constants[name] = value
        return name

    def _start(self, prepared: Any, grid: tuple, values: Sequence) -> str:
        """The launch. What follows the last address and number of the call is packed here."""
        fixed = len(values)
        while fixed and not isinstance(values[fixed - 1], (Tensor, Scalar)):
            fixed -= 1
        pack, pack_fixed = prepared.packers(fixed)
        slots = ", ".join(map(self._number, (*grid, *values[:fixed])))
        block = f"{self._constant(pack)}({slots})"
        if fixed < len(values):
            block += f" + {self._constant(pack_fixed(*values[fixed:]))}"
        return f"{self._constant(prepared)}.start({block})"

    def _number(self, value: Any) -> str:
        """What a launch gets: an address, a number among the arguments, or a constant."""
        if isinstance(value, Tensor):
            name, address = self._names[id(value.storage)]
            delta = value.address - address
            return f"{name}.address + {delta}" if delta else f"{name}.address"
        found = self._names.get(id(value)) if isinstance(value, Scalar) else None
        return self._constant(value) if found is None else found[0]

    def _output(self, result: Any, args: Sequence) -> str:
        if result is None:
            return "None"
        name, _ = self._names[id(result.storage)]
        form = self._constant(result.layout)
        if name.startswith("s"):
            if result.offset == 0:
                return f"bare({name}, {form}, 0, {name}.address)"
            return f"Tensor({name}, {form}, {result.offset})"
        arg = args[int(name[1:])]
        if result.layout is arg.layout and result.offset == arg.offset:
            return name
        return f"Tensor({name}.storage, {form}, {name}.offset + {result.offset - arg.offset})"


class Planned:
    """A function of tensors and constants that allocates and launches, with its plans.

    Args:
        function: returns a tensor, or a sequence of tensors and None. Tensors may be None; every
            other argument must be hashable, and is part of what a plan depends on, except a
            :class:`Scalar`.

    Attributes:
        replays: whether calls are planned; otherwise the function runs every time.
        returns_arguments: whether a result has been one of the arguments itself.
    """

    __slots__ = ("function", "plans", "replays", "returns_arguments")

    def __init__(self, function: Callable):
        self.function = function
        self.replays = not launching.INTERPRETED
        self.returns_arguments = False
        self.plans: dict[tuple, Plan] = {}

    def call(self, args: Sequence) -> list:
        """The function's results. (A method, because calling an object takes longer.)"""
        if _trace.storages is not None or not self.replays:
            return self.run(args)
        parts: list = []
        for arg in args:
            if isinstance(arg, Tensor):
                parts.append(arg.layout)
            elif isinstance(arg, Scalar):
                parts.append(arg.kind)
            else:
                parts.append(arg)
        key = tuple(parts)
        plan = self.plans.get(key)
        if plan is None:
            with _recording:
                plan = self.plans.get(key)  # another thread may have recorded it meanwhile
                if plan is None:
                    return self._record(key, args)
        return plan.replay(args)

    def run(self, args: Sequence) -> list:
        """Call the function itself."""
        with set_grad_enabled(False):
            results = _as_list(self.function(*args))
        given = set(map(id, args))
        if any(id(result) in given for result in results if result is not None):
            self.returns_arguments = True
        return results

    def _record(self, key: tuple, args: Sequence) -> list:
        # Each argument gets an identity of its own, so that f(x, x) is not taken for f(x, y).
        stand_ins = [
            Tensor(arg.storage.alias(), arg.layout, arg.offset) if isinstance(arg, Tensor) else arg
            for arg in args
        ]
        _trace.storages, launching.recording.launches = [], []
        try:
            with set_grad_enabled(False):
                results = _as_list(self.function(*stand_ins))
            plan = Plan(stand_ins, _trace.storages, launching.recording.launches, results)
        finally:
            _trace.storages = launching.recording.launches = None
        owners = {id(arg.storage): n for n, arg in enumerate(stand_ins) if isinstance(arg, Tensor)}
        for number, result in enumerate(results):
            owner = None if result is None else owners.get(id(result.storage))
            if owner is not None:
                arg = args[owner]
                if result.layout is arg.layout and result.offset == arg.offset:
                    results[number] = arg
                    self.returns_arguments = True
                else:
                    results[number] = Tensor(arg.storage, result.layout, result.offset)
        # Only now, because other threads replay it and read returns_arguments.
        if len(self.plans) >= MAX_PLANS:
            self.plans.clear()
        self.plans[key] = plan
        return results


def _as_list(results: Any) -> list:
    if isinstance(results, (tuple, list)):
        return list(results)
    return [results]


Save = tuple[str, int]
"""What a node keeps: ``("input", 0)``, an input only if it is a Number (``("number", 0)``),
``("output", 0)``, the layouts of the arguments, or nothing."""
FORMS: Save = ("forms", 0)
NOTHING: Save = ("nothing", 0)


def node_name(name: str) -> str:
    """``Mul`` names MulBackward0; a name with ``Backward`` in it (PowBackward1) is complete."""
    return name if "Backward" in name else f"{name}Backward0"


class OpNode(Node):
    """A node of an op of the table: keeps what the op's backward names."""

    __slots__ = ("args", "needs", "places", "saved")

    op: Op
    plan: Planned
    """Of the op's backward."""
    upstream: Sequence[int] | None
    """Which of the gradients backward takes; None for all of them as they come."""
    args: list | None
    needs: tuple[bool, ...]
    places: list[int]
    saved: list | None

    def apply(self, grads: list) -> Sequence:
        saved = self.saved
        if saved is None:
            raise RuntimeError(FREED)
        values = []
        for item in saved:
            values.append(item.unpack(self) if isinstance(item, SavedTensor) else item)
        if state.grad_enabled or (
            # Tangents go through backward only where it consists of operations.
            state.dual_level is not None
            and any(tangent is not None for tangent in tangents_of((*grads, *values)))
        ):
            results = self.op.recorded_backward(self, grads, values)
        else:
            if self.upstream is not None:
                grads = [grads[place] for place in self.upstream]
            results = self.plan.call((self.needs, *grads, *values))
        places, count = self.places, len(results)
        if len(places) == count == places[-1] + 1:
            return results
        return [results[place] if place < count else None for place in places]

    def release(self) -> None:
        for item in self.saved or ():
            if isinstance(item, SavedTensor):
                self.saved = self.args = None
                return

    def saved_values(self) -> dict[str, Any]:
        if self.saved is None:
            raise RuntimeError(FREED)
        op = self.op
        values = {}
        for (kind, number), item in zip(op.saves_for(self.needs), self.saved, strict=True):
            if kind == "number" and item is None:
                continue
            if kind in ("input", "number") and number < len(op.inputs):
                name = op.inputs[number]
            elif kind == "output":
                name = op.outputs[number]
            else:
                continue
            values[PYTORCH_NAMES.get(name, name)] = item.value if isinstance(item, Number) else item
        return values


PYTORCH_NAMES = {
    "x": "self",
    "a": "self",
    "input": "self",
    "b": "other",
    "y": "result",
    "low": "min",
    "high": "max",
    "dims": "dim",
}
"""What PyTorch calls a saved parameter or output in ``grad_fn._saved_NAME``."""


def mark_uncounted(results: Sequence, args: Sequence = ()) -> None:
    """Of new tensors that are made in inference mode nobody counts the writes."""
    given = {id(arg.storage) for arg in args if isinstance(arg, Tensor)}
    for result in results:
        if result is not None and id(result.storage) not in given:
            result.storage.own_version = None


def tangents_of(args: Sequence) -> list:
    """The forward-mode tangent of each argument, None for what has none."""
    return [arg._tangent if isinstance(arg, Tensor) else None for arg in args]


def separate(tangent: Tensor, others: Sequence) -> Tensor:
    """The tangent in memory of its own, so that a write to it leaves the others alone."""
    shared = any(other is not None and other.storage is tangent.storage for other in others)
    return tangent.clone() if shared else tangent


class Op:
    """An operation: subclass with ``forward`` and ``backward``, and make one instance.

    ``forward(*args)`` gets the call's arguments: tensors (or None) and hashable constants. It
    allocates with :func:`empty`, calls launchers and returns the outputs.

    ``backward(needs, g, ...)`` returns one gradient per tensor argument, in their order, None where
    ``needs`` (a bool per argument of forward) says that none is needed. Its parameter names are
    what the graph keeps: ``g`` is the upstream gradient (``g_NAME`` for several differentiable
    outputs), ``forms`` the layouts of forward's arguments (None for one that is no tensor), a name
    of ``outputs`` that output, and a name of forward's parameters that argument.

    ``decompose(*args)`` is the same op in differentiable operations, for higher derivatives. An op
    whose backward itself consists of such operations says ``composed = True`` instead.

    Attributes:
        outputs: names of what forward returns.
        visible: how many of them the caller gets; the rest only serve backward.
        non_differentiable: names of visible outputs without gradient.
        differentiable: for each argument whether the node has an edge for it; None: floating ones.
        wraps_numbers: whether a number in place of a tensor has an edge too, as in PyTorch.
        unread: names of arguments whose values no derivative depends on: they may be written to.
    """

    outputs: tuple[str, ...] = ("y",)
    visible: int = 1
    non_differentiable: tuple[str, ...] = ()
    composed: bool = False
    differentiable: Sequence[bool] | None = None
    wraps_numbers: bool = False
    unread: tuple[str, ...] = ()

    def __init__(self, name: str):
        self.name = name.partition("Backward")[0]
        self.plan_forward = Planned(self.forward)
        self.plan_backward = Planned(self.backward)
        self.inputs = list(inspect.signature(self.forward).parameters)
        self.configure(self.inputs, list(inspect.signature(self.backward).parameters))
        saved = [PYTORCH_NAMES.get(name, name) for name in (*self.inputs, *self.outputs)]
        in_order = self.upstream == list(range(len(self.linked)))
        members = {
            "__slots__": (),
            "op": self,
            "plan": self.plan_backward,
            "upstream": None if in_order else self.upstream,
            **saved_attributes(saved),
        }
        self.node_type = type(node_name(name), (OpNode,), members)

    def configure(self, inputs: list[str], backward: list[str]) -> None:
        """Work out from backward's parameter names what is to be saved."""
        with_gradient = [
            number
            for number, output in enumerate(self.outputs[: self.visible])
            if output not in self.non_differentiable
        ]
        self.linked = with_gradient
        upstream = [name for name in backward[1:] if name == "g" or name.startswith("g_")]
        places = {f"g_{self.outputs[number]}": place for place, number in enumerate(with_gradient)}
        self.upstream = [0 if name == "g" else places[name] for name in upstream]
        self.saves: list[Save] = []
        for name in backward[1 + len(upstream) :]:
            if name == "forms":
                self.saves.append(FORMS)
            elif name in self.outputs:
                self.saves.append(("output", self.outputs.index(name)))
            elif name in inputs:
                self.saves.append(("input", inputs.index(name)))
            else:
                raise TypeError(
                    f"{self.name}: backward's parameter {name!r} is neither an output "
                    f"{self.outputs} nor an argument of forward {tuple(inputs)}"
                )

    def forward(self, *args: Any) -> Any:
        raise NotImplementedError

    def backward(self, needs: tuple[bool, ...], g: Any) -> Any:
        raise NotImplementedError(f"{self.name} has no derivative")

    decompose: Callable | None = None

    def as_torch(self) -> Callable:
        """A function of torch tensors that PyTorch's own autograd differentiates through this."""
        from minitorch_triton.ops.custom import as_torch

        return as_torch(self)

    def recorded_backward(self, node: OpNode, grads: list, saved: list) -> Sequence:
        """Backward in operations: the gradient of ``decompose``; recorded under create_graph."""
        if self.composed:
            return _as_list(
                self.backward(node.needs, *[grads[place] for place in self.upstream], *saved)
            )
        if self.decompose is None:
            raise RuntimeError(
                f"derivative for {self.name} is not differentiable: it has no decompose, which "
                "create_graph=True needs"
            )
        assert node.args is not None and node.saved is not None
        # What is unpacked already is not unpacked again: a hook may give it only once.
        unpacked = {id(item): value for item, value in zip(node.saved, saved, strict=True)}
        args = []
        for arg in node.args:
            if isinstance(arg, SavedTensor):
                arg = unpacked[id(arg)] if id(arg) in unpacked else arg.unpack(node)
            args.append(arg)
        wanted = [number for number, needed in enumerate(node.needs) if needed]
        recorded = state.grad_enabled
        with set_grad_enabled(True):
            for number in wanted:
                # Views of their own, so that f(x, x) has two gradients, and none goes on from x.
                args[number] = args[number].view_as(args[number])
            outputs = _as_list(self.decompose(*args))[: self.visible]
        pairs = [
            (outputs[number], grads[place])
            for place, number in enumerate(self.linked)
            if grads[place] is not None
        ]
        found = grad(
            [output for output, _ in pairs],
            [args[number] for number in wanted],
            [upstream for _, upstream in pairs],
            create_graph=recorded,
            allow_unused=True,
        )
        results: list = [None] * len(args)
        for number, result in zip(wanted, found, strict=True):
            results[number] = result
        return results

    def __call__(self, *args: Any) -> Any:
        return self.run(args)

    def run(self, args: Sequence) -> Any:
        """What a call does: compute the outputs, and link them into the graph."""
        results = self.plan_forward.call(args)
        if state.grad_enabled:
            for arg in args:
                if isinstance(arg, Tensor) and (
                    arg._requires_grad
                    or arg._node is not None
                    or (arg._view is not None and arg.requires_grad)
                ):
                    if self.linked:
                        self.link(args, results)
                    break
        elif state.inference:
            mark_uncounted(results, args)
        if state.dual_level is not None and self.linked:
            self.propagate(args, results)
        if self.visible == 1:
            return results[0]
        return tuple(results[: self.visible])

    # Forward mode

    def propagate(self, args: Sequence, results: list) -> None:
        """Give the outputs their tangents, if an argument has one."""
        tangents = tangents_of(args)
        if not any(tangent is not None for tangent in tangents):
            return
        level, state.dual_level = state.dual_level, None
        try:
            found = [separate(new, tangents) for new in self.jvp(args, tangents, results)]
        finally:
            state.dual_level = level
        for number, tangent in zip(self.linked, found, strict=True):
            result = results[number]
            level.attach(result, tangent)
            if state.grad_enabled and isinstance(result.grad_fn, OpNode):
                for item in result.grad_fn.saved or ():
                    if isinstance(item, SavedTensor) and item.is_output(self.linked.index(number)):
                        level.attach(item.peek(), tangent)

    def jvp(
        self,
        args: Sequence,
        tangents: Sequence,
        results: list,
        version: int | None = None,
        original: Tensor | None = None,
    ) -> list:
        """The tangents of the linked outputs, by differentiating backward.

        Backward maps upstream gradients to ``J^T g``. That is linear in g, so its own backward
        maps tangents to ``J t``, whatever g is.

        Args:
            args: the call's arguments.
            tangents: of each argument, or None.
            results: the call's outputs.
            version, original: for an in-place op as :meth:`link` takes them.
        """
        own_rule = type(self).recorded_backward is not Op.recorded_backward
        if self.decompose is None and not self.composed and not own_rule:
            raise NotImplementedError(
                f"Trying to use forward AD with {self.name} that does not support it because it "
                "has no decompose."
            )
        recorded = state.grad_enabled and any(
            isinstance(part, Tensor) and part.requires_grad for part in (*args, *tangents)
        )
        with state.without_hooks(), set_grad_enabled(True):
            primals = list(args)
            wanted = [place for place, tangent in enumerate(tangents) if tangent is not None]
            for place in wanted:
                arg = args[place]
                own = recorded and arg.requires_grad and version is None
                primals[place] = arg.view_as(arg) if own else arg.detach().requires_grad_()
            outputs = [None if result is None else result.detach() for result in results]
            self.link(primals, outputs, version, original)
            visible = [outputs[number] for number in self.linked]
            weights = [y.new_zeros(y.shape, requires_grad=True) for y in visible]
            pulled = grad(
                visible,
                [primals[place] for place in wanted],
                weights,
                create_graph=True,
                allow_unused=True,
            )
            pairs = [
                (gradient, tangents[place])
                for gradient, place in zip(pulled, wanted, strict=True)
                if gradient is not None and gradient.requires_grad
            ]
            found: Sequence = [None] * len(weights)
            if pairs:
                found = grad(
                    [gradient for gradient, _ in pairs],
                    weights,
                    [tangent for _, tangent in pairs],
                    create_graph=recorded,
                    allow_unused=True,
                )
        return [
            y.new_zeros(y.shape) if tangent is None else tangent
            for y, tangent in zip(visible, found, strict=True)
        ]

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """An op that is a class attribute is a method, as a function would be."""
        return self if instance is None else MethodType(self, instance)

    def saves_for(self, needs: tuple[bool, ...]) -> list[Save]:
        """What to keep when these arguments need a gradient."""
        return self.saves

    @staticmethod
    def needs_of(args: Sequence) -> tuple[bool, ...]:
        """Which arguments need a gradient."""
        return tuple([isinstance(arg, Tensor) and arg.requires_grad for arg in args])

    def link(
        self,
        args: Sequence,
        results: list,
        version: int | None = None,
        original: Tensor | None = None,
    ) -> Node:
        """Put a node behind the outputs.

        Args:
            args: the call's arguments.
            results: the outputs; those that get a gradient become part of the graph.
            version: for an in-place op the version that the written storage had before.
            original: for an in-place op a copy of what was overwritten, if backward needs it.
        """
        places = []
        edges = []
        needed = []
        differentiable = self.differentiable
        for place, arg in enumerate(args):
            edge = None
            tensor = isinstance(arg, Tensor)
            requires_grad = tensor and (
                arg._requires_grad
                or arg._node is not None
                or (arg._view is not None and arg.requires_grad)
            )
            needed.append(requires_grad)
            if requires_grad:
                edge = arg.grad_edge()
            elif not (tensor or (self.wraps_numbers and isinstance(arg, Number))):
                continue
            if differentiable is None:
                has_edge = arg.layout.dtype.is_floating_point
            else:
                has_edge = differentiable[place]
            if has_edge:
                places.append(place)
                edges.append(edge)
        needs = tuple(needed)
        linked = self.linked
        if version is None and self.plan_forward.returns_arguments:
            for number in linked:
                if any(results[number] is arg for arg in args):
                    results[number] = results[number].detach()
        node = self.node_type(edges, [results[number].layout for number in linked])
        node.needs = needs
        node.places = places
        node.saved = saved = []
        kept: dict[int, SavedTensor] = {}
        for kind, number in self.saves_for(needs):
            item = None
            if kind == "input":
                item = args[number]
                if number == 0 and original is not None:
                    item = SavedTensor(original)
                elif isinstance(item, Tensor):
                    item = kept[number] = SavedTensor(item)
                    if version is not None and args[number].storage is results[0].storage:
                        item.version = version
            elif kind == "output":
                item = SavedTensor(
                    results[number], linked.index(number) if number in linked else None
                )
            elif kind == "number":
                item = args[number] if isinstance(args[number], Number) else None
            elif kind == "forms":
                item = tuple([arg.layout if isinstance(arg, Tensor) else None for arg in args])
            saved.append(item)
        node.args = None
        if self.decompose is not None:
            node.args = list(args)
            for place, arg in enumerate(args):
                if isinstance(arg, Tensor) and self.inputs[place] not in self.unread:
                    node.args[place] = kept.get(place) or SavedTensor(arg)
        if version is not None:
            results[0].rebase_inplace(node)
            return node
        for place, number in enumerate(linked):
            result = results[number]
            if result._view is not None:
                result.rebase(node, place)
            else:
                result._node, result.output_nr = node, place
        return node
