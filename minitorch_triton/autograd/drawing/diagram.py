"""What a picture shows, before it has a form: boxes with text, arrows, frames.

A diagram is made from a graph in three steps: decide which operations share a box, because they
belong to one call of a module or because there are too many; describe each box; connect them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minitorch_triton.autograd import inspection
from minitorch_triton.autograd.drawing.modules import Call
from minitorch_triton.autograd.inspection import Graph
from minitorch_triton.autograd.tracing import CONDITIONS, Trace, measure

MAX_VALUES = 9
MAX_TEXT = 28
"""A tensor of so many elements whose values take so many characters is shown with them, a larger
one with its shape."""
MAX_DETAILED = 16
"""With more variables each is described in one line, where not asked otherwise."""
MIN_REPEATED = 3
"""So many equal modules, each the only user of the one before, become one box."""
MAX_PARAMETERS = 4
"""So many parameters of a folded module are listed; more are counted."""


@dataclass
class Box:
    """A variable, an operation, or a part of the graph folded into one.

    Attributes:
        kind: "variable", "operation", "module" (a folded call) or "rest" (what is left out).
        rows: (key, value) lines below the title.
        alarm: what is wrong with its gradient or its data; "" for nothing.
        level: "error" for NaN and inf, "warning" for a gradient of zeros, "" for nothing.
        origin: whether that began here.
        frame: the open calls of modules that it lies in, outermost first.
    """

    kind: str
    title: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    alarm: str = ""
    level: str = ""
    origin: bool = False
    frame: tuple[Call, ...] = ()


@dataclass
class Diagram:
    """Boxes by name, and arrows between them in the direction in which the data flowed."""

    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: dict[tuple[str, str], None] = field(default_factory=dict)


class _Builder:
    def __init__(
        self,
        graph: Graph,
        calls: Mapping[Any, tuple[Call, ...]],
        names: Mapping[str, Any],
        *,
        trace: Trace | None,
        saved: bool,
        depth: int | None,
        max_boxes: int,
        details: bool | None,
    ):
        self.graph = graph
        self.trace = trace
        self.saved = saved
        self.depth = depth
        self.diagram = Diagram()
        self.calls = calls
        self.names = {id(tensor): name for name, tensor in names.items()}
        self.known = {}  # (node, output number) -> tensor
        for tensor in [*names.values(), *graph.roots]:
            if tensor.grad_fn is not None:
                self.known[tensor.grad_fn, tensor.output_nr] = tensor
        self.group: dict[Any, Any] = {node: self._group(node) for node in graph.nodes}
        self._place_leaves()
        self._leave_out(max_boxes)
        self.members: dict[Any, list] = {}
        for node, group in self.group.items():
            self.members.setdefault(group, []).append(node)
        self.box_of: dict[Any, str] = {}
        self.leaves = sum(1 for node in graph.nodes if self.group[node] is node and _is_leaf(node))
        self.detailed = self.leaves <= MAX_DETAILED if details is None else details

    # Which nodes share a box

    def _group(self, node: Any) -> Any:
        """The folded call that a node belongs to, or the node itself."""
        path = self.calls.get(node, ())
        if self.depth is None or not path:
            return node
        if len(path) >= self.depth:
            return path[: self.depth]
        return node if path[-1].is_composite else path

    def _place_leaves(self) -> None:
        """A parameter that only one folded call uses goes into that call's box."""
        users: dict[Any, set] = {}
        for node in self.graph.nodes:
            for edge in self.graph.inputs[node]:
                if edge is not None and _is_leaf(edge[0]):
                    users.setdefault(edge[0], set()).add(self.group[node])
        for leaf, groups in users.items():
            (group, *others) = groups
            if not others and isinstance(group, tuple) and leaf in self.calls:
                self.group[leaf] = group

    def _leave_out(self, max_boxes: int) -> None:
        """Where there are too many boxes, fold all that lies far behind the roots into one."""
        if len(set(self.group.values())) <= max_boxes:
            return
        shown: set = set()
        for node in reversed(self.graph.nodes):
            if not _is_leaf(node) and len(shown) < max_boxes:
                shown.add(self.group[node])
        used = {
            edge[0]
            for node in self.graph.nodes
            if self.group[node] in shown
            for edge in self.graph.inputs[node]
            if edge is not None
        }
        for node in self.graph.nodes:
            if self.group[node] not in shown and not (_is_leaf(node) and node in used):
                self.group[node] = "rest"

    # Boxes and arrows

    def build(self) -> Diagram:
        for node in self.graph.nodes:
            group = self.group[node]
            if group in self.box_of:
                continue
            name = f"n{len(self.diagram.boxes)}"
            self.box_of[group] = name
            self.diagram.boxes[name] = self._describe(group, node)
        for node in self.graph.nodes:
            target = self.box_of[self.group[node]]
            for edge in self.graph.inputs[node]:
                if edge is not None and self.group[edge[0]] != self.group[node]:
                    self._arrow(self._source(*edge), target)
        for root in self.graph.roots:
            if root.grad_fn is not None:
                self._source(root.grad_fn, root.output_nr)
            elif not any(inspection.leaf(node) is root for node in self.graph.nodes):
                self.diagram.boxes[f"n{len(self.diagram.boxes)}"] = self._variable(root)
        _merge_repeated(self.diagram)
        return self.diagram

    def _source(self, node: Any, number: int) -> str:
        """The box from which arrows to the users of an output start."""
        producer = self.box_of[self.group[node]]
        tensor = self.known.get((node, number))
        if tensor is None:
            return producer
        key = (node, number)
        if key not in self.box_of:
            name = f"n{len(self.diagram.boxes)}"
            self.box_of[key] = name
            box = self._variable(tensor)
            box.frame = self.diagram.boxes[producer].frame
            self.diagram.boxes[name] = box
            self._arrow(producer, name)
        return self.box_of[key]

    def _arrow(self, tail: str, head: str) -> None:
        self.diagram.arrows[tail, head] = None

    def _describe(self, group: Any, node: Any) -> Box:
        if group == "rest":
            return self._rest()
        if isinstance(group, tuple):
            return self._module(group)
        tensor = inspection.leaf(node)
        if tensor is not None:
            box = self._variable(tensor)
            box.frame = self.calls.get(node, ())
            return box
        box = Box("operation", inspection.name(node), frame=self.calls.get(node, ()))
        box.rows += [("output", shape_text(*form)) for form in inspection.output_forms(node)]
        step = None if self.trace is None else self.trace.step_of(node)
        if step is not None:
            norms = [f"{g.norm:.3g}" for g in step.incoming if g is not None]
            box.rows.append(("|gradient|", ", ".join(norms)))
        if self.saved:
            for label, value in inspection.saved_tensors(node):
                text = value if isinstance(value, str) else value_text(value)
                box.rows.append((f"saved {label}".strip(), text))
        self._mark(box, [node])
        return box

    def _variable(self, tensor: Any) -> Box:
        box = Box("variable", self.names.get(id(tensor), ""))
        gradient = tensor.grad if tensor.is_leaf or tensor.retains_grad else None
        if self.detailed:
            box.rows = [
                value_row(tensor),
                ("requires_grad", str(tensor.requires_grad)),
                ("grad", "None" if gradient is None else value_text(gradient)),
                ("is_leaf", str(tensor.is_leaf)),
            ]
        else:
            box.rows = [value_row(tensor)]
        if self.trace is not None and (condition := measure(tensor).condition) in ("NaN", "inf"):
            box.alarm, box.level = f"data has {condition}", "error"
        elif gradient is not None:
            self._describe_condition(box, measure(gradient).condition, False)
        return box

    def _module(self, path: tuple[Call, ...]) -> Box:
        call = path[-1]
        members = self.members[path]
        box = Box("module", call.title, frame=path[:-1])
        box.rows.append(("", call.kind))
        tensors = [inspection.leaf(node) for node in members if _is_leaf(node)]
        if len(tensors) <= MAX_PARAMETERS:
            for tensor in tensors:
                label = self.names[id(tensor)].removeprefix(f"{call.name}.")
                box.rows.append((label, shape_text(tuple(tensor.shape), tensor.dtype)))
        else:
            elements = sum(tensor.numel() for tensor in tensors)
            box.rows.append(("parameters", f"{len(tensors)} ({elements:,} elements)"))
        operations = [node for node in members if not _is_leaf(node)]
        if len(operations) > 1:
            box.rows.append(("operations", f"{len(operations)}"))
        box.rows.append(("output", shape_text(*inspection.output_forms(operations[-1])[0])))
        self._mark(box, members)
        return box

    def _rest(self) -> Box:
        members = self.members["rest"]
        leaves = sum(1 for node in members if _is_leaf(node))
        box = Box("rest", "not shown")
        box.rows = [("operations", f"{len(members) - leaves:,}")]
        if leaves:
            box.rows.append(("variables", f"{leaves:,}"))
        self._mark(box, members)
        return box

    def _mark(self, box: Box, nodes: list) -> None:
        """Say what happened to gradients in a box, and where a parameter in it is broken."""
        if self.trace is None:
            return
        for node in nodes:
            tensor = inspection.leaf(node)
            condition = "" if tensor is None else measure(tensor).condition
            if condition in ("NaN", "inf"):
                box.alarm = f"{self.names.get(id(tensor), 'a variable')} has {condition}"
                box.level, box.origin = "error", True
                return
        steps = [step for node in nodes if (step := self.trace.step_of(node)) is not None]
        for condition in CONDITIONS:
            found = [step.is_origin for step in steps if step.condition == condition]
            if found:
                self._describe_condition(box, condition, any(found))
                return

    @staticmethod
    def _describe_condition(box: Box, condition: str, begins: bool) -> None:
        if condition == "zero":
            box.alarm = "a gradient becomes zero here" if begins else "gradient is zero"
            box.level = "warning"
        elif condition:
            box.alarm = f"gradient gets {condition} here" if begins else f"gradient has {condition}"
            box.level = "error"
        box.origin = begins


def _merge_repeated(diagram: Diagram) -> None:
    """Put chains of modules of the same kind and sizes into one box each: the layers of a model."""
    after: dict[str, list[str]] = {}
    before: dict[str, list[str]] = {}
    for tail, head in diagram.arrows:
        after.setdefault(tail, []).append(head)
        before.setdefault(head, []).append(tail)

    def is_continued(name: str) -> bool:
        (following,) = after[name] if len(after.get(name, ())) == 1 else [name]
        one, other = diagram.boxes[name], diagram.boxes[following]
        return (
            following != name
            and before[following] == [name]
            and one.kind == "module"
            and (one.rows, one.alarm, one.frame) == (other.rows, other.alarm, other.frame)
            and not (one.origin or other.origin)
        )

    for name in list(diagram.boxes):
        if name not in diagram.boxes:
            continue
        chain = [name]
        while is_continued(chain[-1]):
            chain += after[chain[-1]]
        if len(chain) < MIN_REPEATED or any(is_continued(tail) for tail in before.get(name, ())):
            continue
        box, last = diagram.boxes[name], diagram.boxes[chain[-1]]
        box.title = f"{box.title} … {last.title}"
        (key, kind), *rows = box.rows
        box.rows = [(key, f"{len(chain)} times {kind}, each:"), *rows]
        for repeated in chain[1:]:
            del diagram.boxes[repeated]
        diagram.arrows = {
            (name if tail in chain else tail, head): None
            for tail, head in diagram.arrows
            if head not in chain[1:]
        }


def _is_leaf(node: Any) -> bool:
    return inspection.name(node) == "AccumulateGrad"


def value_text(tensor: Any) -> str:
    """The values of a small tensor, the shape of a large one."""
    if 0 < tensor.numel() <= MAX_VALUES:
        text = _number_text(tensor.detach().tolist())
        if len(text) <= MAX_TEXT:
            return text
    return shape_text(tuple(tensor.shape), tensor.dtype)


def value_row(tensor: Any) -> tuple[str, str]:
    """The same with its key."""
    text = value_text(tensor)
    return "shape" if text.startswith("(") else "data", text


def shape_text(shape: tuple[int, ...], dtype: Any) -> str:
    """``(128, 256)``, with the dtype where it is not float32."""
    kind = str(dtype).removeprefix("torch.")
    return f"{shape}" if kind == "float32" else f"{shape} {kind}"


def _number_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_number_text(item) for item in value)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def build_diagram(
    graph: Graph, calls: Mapping[Any, tuple[Call, ...]], names: Mapping[str, Any], **options: Any
) -> Diagram:
    """The diagram of a graph.

    Args:
        calls: for each node the calls of modules that it ran in, outermost first.
        names: tensors that are to be shown, and under which name.
        options: ``trace``, ``saved``, ``depth``, ``max_boxes`` and ``details`` of ``draw``.
    """
    return _Builder(graph, calls, names, **options).build()
