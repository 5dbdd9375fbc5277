"""Which call of which module an operation ran in, told by the parameters it uses.

A graph does not record modules. But an operation that uses a parameter ran in the module that owns
it, and operations are numbered in the order in which they ran; so one that uses none ran in the
innermost module that was surely being called: whose parameters are used both before and after it.
A parameter's second use begins a new call. Operations at a module's very beginning or end that use
no parameters of it are taken for its caller's, since the graph does not tell, with one exception:
what lies between all neighbours in a list in the same way (the sum at the end of a residual block)
is taken for theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minitorch_triton.autograd import inspection
from minitorch_triton.autograd.inspection import Graph


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        name: of the module in the model: ``layers.3``.
        kind: its class.
        number: counts the calls of all modules.
        repeat: 1 for the module's first call, 2 for its second.
        is_composite: whether the module consists of others.
    """

    name: str
    kind: str
    number: int
    repeat: int = 1
    is_composite: bool = False

    @property
    def title(self) -> str:
        return self.name if self.repeat == 1 else f"{self.name} (call {self.repeat})"

    @property
    def label(self) -> str:
        """Of a frame around it."""
        return f"{self.title}: {self.kind}" if self.kind else self.title


def calls_of(graph: Graph, model: Any) -> dict[Any, tuple[Call, ...]]:
    """For each node, and each parameter's node, the calls it lies in, outermost first.

    The model's own call is left out, as are containers without a forward (``ModuleList``).
    """
    owners = _owners(model)
    operations = sorted(
        (node for node in graph.nodes if inspection.leaf(node) is None), key=inspection.position
    )
    found: dict[Any, tuple[Call, ...]] = {}
    current: list[tuple[Call, set[int]]] = []  # the calls that are open, and what each has used
    repeats: dict[str, int] = {}
    number = 0
    undecided: list = []
    for node in operations:
        used = _parameters(graph, node) & owners.keys()
        paths = {owners[parameter] for parameter in used} - {None}
        if len(paths) != 1:
            undecided.append(node)
            continue
        (path,) = paths
        common = 0
        for (call, seen), (name, _, _) in zip(current, path, strict=False):
            if call.name != name or seen & used:
                break
            common += 1
        enclosing = tuple(call for call, _ in current[:common])
        found.update(dict.fromkeys(undecided, enclosing))
        undecided.clear()
        del current[common:]
        for name, kind, is_composite in path[common:]:
            repeats[name] = repeats.get(name, 0) + 1
            number += 1
            current.append((Call(name, kind, number, repeats[name], is_composite), set()))
        for _, seen in current:
            seen |= used
        found[node] = tuple(call for call, _ in current)
    _add_ends(operations, found)
    return found | _calls_of_parameters(graph, found, owners)


def _add_ends(operations: list, found: dict[Any, tuple[Call, ...]]) -> None:
    """Give operations that lie between all neighbours in the same way to those neighbours.

    What follows the last neighbour too is the end of each; the rest is the next one's beginning.
    """
    members: list[tuple[Call, ...]] = []
    gaps: list[list] = []  # the operations after each member, before the next
    for node in operations:
        path = found.get(node, ())
        listed = next((end for end, call in enumerate(path, 1) if _is_listed(call)), 0)
        if listed:
            if not members or members[-1] != path[:listed]:
                members.append(path[:listed])
                gaps.append([])
            gaps[-1].clear()
        elif members:
            gaps[-1].append(node)
    start = 0
    while start < len(members):
        end = start + 1
        while end < len(members) and _are_neighbours(members[end - 1], members[end]):
            end += 1
        names = [[inspection.name(node) for node in gap] for gap in gaps[start:end]]
        if end - start > 1 and all(gap == names[0] for gap in names[:-1]):
            split = 0
            while split < min(len(names[0]), len(names[-1])) and (
                names[0][split] == names[-1][split]
            ):
                split += 1
            for number in range(start, end):
                found.update(dict.fromkeys(gaps[number][:split], members[number]))
                if number + 1 < end:
                    found.update(dict.fromkeys(gaps[number][split:], members[number + 1]))
        start = end


def _is_listed(call: Call) -> bool:
    """Whether it is a composite module in a list, where names are numbers.

    A ``Sequential`` has no operations but those of the modules in it.
    """
    return (
        call.is_composite and call.kind != "Sequential" and call.name.rpartition(".")[2].isdigit()
    )


def _are_neighbours(first: tuple[Call, ...], second: tuple[Call, ...]) -> bool:
    """Whether two calls are of modules of the same class in the same list."""
    one, other = first[-1], second[-1]
    return (
        first[:-1] == second[:-1]
        and one.kind == other.kind
        and one.name.rpartition(".")[0] == other.name.rpartition(".")[0]
    )


def _owners(model: Any) -> dict[int, tuple[tuple[str, str, bool], ...] | None]:
    """For each parameter, by id, the (name, class, whether it is composite) of the modules around
    it, outermost first; None if several modules share it."""
    modules = dict(model.named_modules())
    owners: dict[int, tuple[tuple[str, str, bool], ...] | None] = {}
    for name, module in modules.items():
        parts = name.split(".") if name else []
        prefixes = [".".join(parts[: end + 1]) for end in range(len(parts))]
        path = tuple(
            (prefix, type(modules[prefix]).__name__, any(True for _ in modules[prefix].children()))
            for prefix in prefixes
            if type(modules[prefix]).__name__ not in ("ModuleList", "ModuleDict")
        )
        for _, parameter in module.named_parameters(recurse=False):
            owners[id(parameter)] = None if id(parameter) in owners else path
    return owners


def _parameters(graph: Graph, node: Any) -> set[int]:
    """The leaves, by id, that an operation takes."""
    leaves = [inspection.leaf(edge[0]) for edge in graph.inputs[node] if edge is not None]
    return {id(leaf) for leaf in leaves if leaf is not None}


def _calls_of_parameters(
    graph: Graph, found: Mapping[Any, tuple[Call, ...]], owners: Mapping
) -> dict[Any, tuple[Call, ...]]:
    """Each parameter lies in the calls that all its users lie in."""
    common: dict[Any, tuple[Call, ...]] = {}
    for user in graph.nodes:
        for edge in graph.inputs[user]:
            if edge is None or id(inspection.leaf(edge[0])) not in owners:
                continue
            path = found.get(user, ())
            shared = common.setdefault(edge[0], path)
            end = 0
            while end < min(len(path), len(shared)) and path[end] == shared[end]:
                end += 1
            common[edge[0]] = path[:end]
    return common
