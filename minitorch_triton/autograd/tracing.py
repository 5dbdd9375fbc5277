"""``trace``: run backward, and print what each node gets, gives, and how long it takes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

import torch

from minitorch_triton.autograd import api, inspection

CONDITIONS = ("NaN", "inf", "zero")
"""What can be wrong with a gradient, the worst first."""

NAME, SHAPE, NORM, TIME = 25, 15, 9, 8
"""Widths of the table's columns."""


@dataclass(frozen=True)
class Gradient:
    """What went over one edge: shape, dtype and Euclidean norm."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    norm: float

    @property
    def condition(self) -> str:
        """ "NaN", "inf" or "zero" (of a gradient that has elements); "" for a healthy one."""
        if math.isnan(self.norm):
            return "NaN"
        if math.isinf(self.norm):
            return "inf"
        return "zero" if self.norm == 0 and 0 not in self.shape else ""


def measure(tensor: Any) -> Gradient:
    """Shape, dtype and norm of a gradient, ours or PyTorch's."""
    tensor = tensor.detach()
    norm = float(tensor.norm())
    if norm == 0 or math.isinf(norm):  # the squares may be too small or too large for the dtype
        norm = float(tensor.double().norm())
    return Gradient(tuple(tensor.shape), tensor.dtype, norm)


@dataclass(frozen=True)
class Step:
    """One node's turn.

    Attributes:
        node: the node itself.
        name: ``MulBackward0``; for a leaf whose name is known ``w.grad``.
        incoming: a gradient for each output of forward, None where there is none.
        outgoing: a gradient for each input of forward; nothing for a leaf, which keeps it.
        seconds: what the node's own work took.
    """

    node: Any
    name: str
    incoming: tuple[Gradient | None, ...]
    outgoing: tuple[Gradient | None, ...]
    seconds: float

    @property
    def condition(self) -> str:
        """The worst condition of the gradients that it gives, or gets if it gives none."""
        seen = [g.condition for g in self.outgoing or self.incoming if g is not None]
        return next((condition for condition in CONDITIONS if condition in seen), "")

    @property
    def is_origin(self) -> bool:
        """Whether its condition began here: no gradient that came in had it."""
        arrived = [g.condition for g in self.incoming if g is not None]
        return bool(self.outgoing and self.condition) and self.condition not in arrived

    def lines(self, number: int) -> Iterator[str]:
        """Its lines of the table: as many as it gets or gives gradients."""
        for row in range(max(len(self.incoming), len(self.outgoing), 1)):
            name, duration, note = "", "", ""
            if row == 0:
                name = f"{number:>4}  {_shortened(self.name)}"
                duration = _duration(self.seconds)
                note = f"  < {self.condition}" if self.is_origin else ""
            gradients = f"{_cells(self.incoming, row)} {_cells(self.outgoing, row)}"
            yield f"{name:{NAME + 6}} {gradients} {duration:>{TIME}}{note}".rstrip()


HEADER = (
    f"{'step  node':{NAME + 6}} {'gradient in':{SHAPE}} {'norm':>{NORM}} "
    f"{'gradients out':{SHAPE}} {'norm':>{NORM}} {'time':>{TIME}}"
)


def _shortened(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"


def _cells(gradients: Sequence[Gradient | None], row: int) -> str:
    """Shape and norm of one of the gradients."""
    shape = norm = ""
    if row < len(gradients):
        gradient = gradients[row]
        shape = "-" if gradient is None else str(gradient.shape)
        norm = "" if gradient is None else f"{gradient.norm:.3g}"
        if len(shape) > SHAPE:
            shape = shape.replace(" ", "")
    return f"{shape:{SHAPE}} {norm:>{NORM}}"


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.0f} us"


@dataclass
class Trace:
    """What backward did, in the order in which it did it; ``print(trace)`` shows the table.

    ``draw(loss, trace=trace)`` marks in a picture where gradients became NaN, infinite or zero.
    """

    steps: list[Step] = field(default_factory=list)

    def step_of(self, node: Any) -> Step | None:
        """The turn of a node, None if it had none."""
        return self._by_node.get(node)

    def __post_init__(self) -> None:
        self._by_node = {step.node: step for step in self.steps}

    def _append(self, step: Step) -> None:
        self.steps.append(step)
        self._by_node[step.node] = step

    def __str__(self) -> str:
        lines = [line for number, step in enumerate(self.steps, 1) for line in step.lines(number)]
        return "\n".join([HEADER, *lines])

    def __repr__(self) -> str:
        return f"<Trace of {len(self.steps)} steps>"


class _Watch:
    """The hooks of one node: measure what comes in and goes out, and the time between."""

    def __init__(self, node: Any, name: str, finished: Any):
        self.node = node
        self.name = name
        self.finished = finished
        self.incoming: tuple = ()
        self.start = 0.0
        self.handles = [node.register_prehook(self.before), node.register_hook(self.after)]

    def before(self, incoming: Sequence[Any]) -> None:
        self.incoming = _measured(incoming)
        _synchronize(incoming)
        self.start = time.perf_counter()

    def after(self, outgoing: Sequence[Any], incoming: Sequence[Any]) -> None:
        _synchronize(incoming)
        seconds = time.perf_counter() - self.start
        self.finished(Step(self.node, self.name, self.incoming, _measured(outgoing), seconds))

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


def _measured(gradients: Sequence[Any]) -> tuple[Gradient | None, ...]:
    return tuple(None if gradient is None else measure(gradient) for gradient in gradients)


def _synchronize(gradients: Sequence[Any]) -> None:
    """Wait for the GPU, so that a time is that of the work and not of its launch."""
    if any(gradient is not None and gradient.is_cuda for gradient in gradients):
        torch.cuda.synchronize()


def trace(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    *,
    model: Any = None,
    names: Mapping[str, Any] | None = None,
    file: TextIO | None = None,
    quiet: bool = False,
) -> Trace:
    """Run :func:`backward` and print a line for each node as it runs; PyTorch's graphs as well.

    A line has the node's name, shape and norm of the gradient it gets (of each, where forward had
    several outputs), of those it gives to its inputs ("-" for one that needs none), and the time
    of its own work. ``< NaN`` (``inf``, ``zero``) at its end: no gradient that came in was so.

    >>> w = mt.tensor([6.0, 4.0], requires_grad=True)
    >>> record = mt.autograd.trace((w * w).sum(), names={"w": w})

    Args:
        tensors, grad_tensors, retain_graph, create_graph: as for :func:`backward`.
        model: a module whose parameters are called by their names.
        names: further tensors' names; ``names=locals()`` takes all there are.
        file: where to print; standard output by default.
        quiet: print nothing, only return the record.

    Raises:
        TypeError: ``tensors`` are no tensors.
        RuntimeError: as :func:`backward`; what ran before an error was printed.
    """
    roots = inspection.as_tensors(tensors, "trace")
    known = inspection.named_tensors(model, names, "trace")
    leaf_names = {id(tensor): name for name, tensor in known.items()}
    record = Trace()
    output = sys.stdout if file is None else file

    def finished(step: Step) -> None:
        record._append(step)
        if not quiet:
            if len(record.steps) == 1:
                print(HEADER, file=output)
            print(*step.lines(len(record.steps)), sep="\n", file=output)

    backward = torch.autograd.backward if isinstance(roots[0], torch.Tensor) else api.backward
    watches = []
    try:
        for node in inspection.collect(roots).nodes:
            leaf = leaf_names.get(id(inspection.leaf(node)))
            name = inspection.name(node) if leaf is None else f"{leaf}.grad"
            watches.append(_Watch(node, name, finished))
        backward(roots, grad_tensors, retain_graph, create_graph)
    finally:
        for watch in watches:
            watch.remove()
    if not quiet and not record.steps:
        print(HEADER, file=output)
    return record
