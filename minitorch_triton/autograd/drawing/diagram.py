"""What a picture shows, before it has a form: boxes with text, arrows, frames.

A diagram is made from a graph in three steps: decide which operations share a box, because they
belong to one call of a module, because they repeat each other, or because there are too many;
describe each box; connect them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minitorch_triton.autograd import inspection
from minitorch_triton.autograd.drawing import repetition
from minitorch_triton.autograd.drawing.modules import Call
from minitorch_triton.autograd.inspection import Graph
from minitorch_triton.autograd.tracing import CONDITIONS, Trace, measure

MAX_VALUES = 9
MAX_TEXT = 28
"""A tensor of so many elements whose values take so many characters is shown with them, a larger
one with its shape."""
MAX_DETAILED = 16
"""With more variables each is described in one line, where not asked otherwise."""
MAX_UNFOLDED = 40
"""With more boxes, repeated operations are drawn once, where not asked otherwise."""
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
        repeats: bool | None,
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
        self.repeat_of: dict[Any, _Repeated] = {}
        self.part: dict[Any, int] = {}  # of its repeat, for each node in one
        if repeats is not False:
            many = len(set(self.group.values())) > MAX_UNFOLDED
            self._fold_repeats(modules_only=not (repeats or many))
        self._leave_out(max_boxes)
        self.members = self._members()
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

    def _members(self) -> dict[Any, list]:
        """The nodes of each box, without those that only repeat others."""
        members: dict[Any, list] = {}
        for node, group in self.group.items():
            if not self.part.get(node):
                members.setdefault(group, []).append(node)
        return members

    def _fold_repeats(self, modules_only: bool) -> None:
        """Give what repeats the boxes of its first part.

        Args:
            modules_only: fold single modules in a row alone.
        """
        members = self._members()
        users: dict[Any, set] = {}
        for node in self.graph.nodes:
            for edge in self.graph.inputs[node]:
                if edge is not None:
                    users.setdefault(edge[0], set()).add(self.group[node])
        own = {
            leaf for leaf, groups in users.items()
            if _is_leaf(leaf) and self.group[leaf] is leaf and len(groups) == 1
        }  # fmt: skip
        operations = {
            group: min(inspection.position(node) for node in nodes if not _is_leaf(node))
            for group, nodes in members.items()
            if not all(_is_leaf(node) for node in nodes)
        }
        sequence = sorted(operations, key=operations.__getitem__)
        place = {group: number for number, group in enumerate(sequence)}
        signatures = [self._signature(group, members[group], place, own) for group in sequence]
        calls = {call for path in self.calls.values() for call in path}
        for number, repeat in enumerate(repetition.find(signatures), 1 + len(calls)):
            is_module = repeat.length == 1 and isinstance(sequence[repeat.start], tuple)
            if is_module or not modules_only:
                self._fold(repeat, number, sequence, members, own)

    def _signature(self, group: Any, nodes: list, place: dict, own: set) -> tuple:
        """What two operations, or calls of modules, have in common if they are drawn as one.

        Args:
            place: of each of them in the order of execution.
            own: variables that only one of them uses.
        """
        operations = [node for node in nodes if not _is_leaf(node)]
        inputs: list[Any] = []
        for node in operations:
            for edge in self.graph.inputs[node]:
                source = None if edge is None else self.group[edge[0]]
                if source == group:
                    continue
                if edge is None or (_is_leaf(edge[0]) and edge[0] not in own):
                    inputs.append(source)
                elif _is_leaf(edge[0]):
                    inputs.append(self._of_leaf(edge[0]))
                else:
                    inputs.append((place[group] - place[source], edge[1]))
        path = self.calls.get(operations[-1], ())
        return (
            path[-1].kind if isinstance(group, tuple) else inspection.name(group),
            tuple(call.kind for call in path),
            tuple(inspection.name(node) for node in operations),
            tuple(map(tuple, inspection.output_forms(operations[-1]))),
            tuple(_form(inspection.leaf(node)) for node in nodes if _is_leaf(node)),
            tuple(inputs),
            tuple(id(self.known[node, n]) for node in operations
                  for n in range(len(inspection.output_forms(node))) if (node, n) in self.known),
            self._trouble(nodes),
        )  # fmt: skip

    def _of_leaf(self, node: Any) -> tuple:
        return _form(inspection.leaf(node)), self._trouble([node])

    def _fold(
        self, repeat: repetition.Repeat, number: int, sequence: list, members: dict, own: set
    ) -> None:
        """Let all parts of a repeat share the boxes of the first."""
        length = repeat.length
        parts = [
            sequence[repeat.start + n * length : repeat.start + (n + 1) * length]
            for n in range(repeat.times)
        ]
        first_path, second_path = (
            [self.calls.get(members[group][-1], ()) for group in part] for part in parts[:2]
        )
        depth = min(map(_common, first_path, second_path))
        call = Call(f"{repeat.times} times in a row", "", number)
        leaves = [self._own_leaves(group, members, own) for group in parts[0]]
        single = length == 1 and not leaves[0]
        for n, part in enumerate(parts):
            for group, first, of_first in zip(part, parts[0], leaves, strict=True):
                pairs = [(node, first) for node in members[group]]
                pairs += zip(self._own_leaves(group, members, own), of_first, strict=True)
                for node, stand_in in pairs:
                    self.group[node] = stand_in
                    self.part[node] = n
        for number_in_part, first in enumerate(parts[0]):
            last = parts[-1][number_in_part]
            last_leaves = self._own_leaves(last, members, own)
            for box, end in [(first, last), *zip(leaves[number_in_part], last_leaves, strict=True)]:
                self.repeat_of[box] = _Repeated(end, repeat.times, call, depth, single)

    def _own_leaves(self, group: Any, members: dict, own: set) -> list:
        return [
            edge[0]
            for node in members[group]
            for edge in self.graph.inputs[node]
            if edge is not None and edge[0] in own
        ]

    def _frame(self, group: Any, path: tuple[Call, ...]) -> tuple[Call, ...]:
        """The frames around a box: open calls, and that of a repeat."""
        repeated = self.repeat_of.get(group)
        if repeated is None or repeated.single:
            return path
        return (*path[: repeated.depth], repeated.call, *path[repeated.depth :])

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
            self.diagram.boxes[name] = self._describe(group)
        for node in self.graph.nodes:
            target = self.box_of[self.group[node]]
            for edge in self.graph.inputs[node]:
                if edge is not None and not self._is_inside(edge[0], node):
                    self._arrow(self._source(*edge), target)
        for root in self.graph.roots:
            if root.grad_fn is not None:
                self._source(root.grad_fn, root.output_nr)
            elif not any(inspection.leaf(node) is root for node in self.graph.nodes):
                self.diagram.boxes[f"n{len(self.diagram.boxes)}"] = self._variable(root)
        return self.diagram

    def _is_inside(self, source: Any, node: Any) -> bool:
        """Whether an arrow would stay in a box, or lead from one part of a repeat to the next."""
        one, other = self.group[source], self.group[node]
        if one == other:
            return True
        repeats_ = [self.repeat_of[group].call for group in (one, other) if group in self.repeat_of]
        return (
            len(repeats_) == 2
            and repeats_[0] is repeats_[1]
            and self.part[source] != self.part[node]
        )

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

    def _describe(self, group: Any) -> Box:
        if group == "rest":
            return self._rest()
        if isinstance(group, tuple):
            return self._module(group)
        node = group
        frame = self._frame(node, self.calls.get(node, ()))
        repeated = self.repeat_of.get(node)
        tensor = inspection.leaf(node)
        if tensor is not None:
            box = self._variable(tensor)
            box.frame = frame
            if repeated is not None:
                box.rows = [("shape", shape_text(tuple(tensor.shape), tensor.dtype))]
                if box.title:
                    box.title += f" … {self.names[id(inspection.leaf(repeated.last))]}"
            return box
        box = Box("operation", inspection.name(node), frame=frame)
        if repeated is not None and repeated.single:
            box.rows.append(("", f"{repeated.times} times, each:"))
        box.rows += [("output", shape_text(*form)) for form in inspection.output_forms(node)]
        step = None if self.trace is None else self.trace.step_of(node)
        if step is not None and repeated is None:
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
        box = Box("module", call.title, frame=self._frame(path, path[:-1]))
        box.rows.append(("", call.kind))
        repeated = self.repeat_of.get(path)
        if repeated is not None:
            box.title += f" … {repeated.last[-1].title}"
            if repeated.single:
                box.rows = [("", f"{repeated.times} times {call.kind}, each:")]
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
        condition, begins, tensor = self._trouble(nodes)
        if tensor is not None:
            box.alarm = f"{self.names.get(id(tensor), 'a variable')} has {condition}"
            box.level, box.origin = "error", True
        elif condition:
            self._describe_condition(box, condition, begins)

    def _trouble(self, nodes: list) -> tuple[str, bool, Any]:
        """The worst condition of some nodes' gradients, whether it began there, and the variable
        among the nodes that is broken itself."""
        if self.trace is None:
            return "", False, None
        for node in nodes:
            tensor = inspection.leaf(node)
            condition = "" if tensor is None else measure(tensor).condition
            if condition in ("NaN", "inf"):
                return condition, True, tensor
        steps = [step for node in nodes if (step := self.trace.step_of(node)) is not None]
        for condition in CONDITIONS:
            found = [step.is_origin for step in steps if step.condition == condition]
            if found:
                return condition, any(found), None
        return "", False, None

    @staticmethod
    def _describe_condition(box: Box, condition: str, begins: bool) -> None:
        if condition == "zero":
            box.alarm = "a gradient becomes zero here" if begins else "gradient is zero"
            box.level = "warning"
        elif condition:
            box.alarm = f"gradient gets {condition} here" if begins else f"gradient has {condition}"
            box.level = "error"
        box.origin = begins


@dataclass(frozen=True)
class _Repeated:
    """Of a box in the first part of a repeat.

    Attributes:
        last: what it stands for in the last part. times: how many parts there are.
        call: the frame around the part, inside of ``depth`` others.
        single: whether the part is this one box, which needs no frame.
    """

    last: Any
    times: int
    call: Call
    depth: int
    single: bool


def _form(tensor: Any) -> tuple:
    return tuple(tensor.shape), tensor.dtype


def _common(one: tuple, other: tuple) -> int:
    """How many items two paths begin with alike."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


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
        options: ``trace``, ``saved``, ``depth``, ``max_boxes``, ``details`` and ``repeats`` of
            ``draw``.
    """
    return _Builder(graph, calls, names, **options).build()
