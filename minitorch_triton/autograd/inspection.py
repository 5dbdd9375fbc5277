"""Walk a graph, ours or PyTorch's: its nodes and edges, and what they say of themselves.

Both frameworks' nodes have ``next_functions`` and hooks; where they differ in the rest, the
functions here hide it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Graph:
    """The graph behind some tensors.

    Attributes:
        roots: the tensors.
        nodes: every node once, each after those that made its inputs; the leaves'
            ``AccumulateGrad`` are among them.
        inputs: for every node its edges ``(node, output number)`` in the order of its inputs, None
            where no gradient is needed.
    """

    roots: tuple
    nodes: list[Any]
    inputs: dict[Any, list[tuple[Any, int] | None]]


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of this framework or of PyTorch."""
    return isinstance(value, torch.Tensor) or (
        hasattr(type(value), "grad_fn") and hasattr(type(value), "requires_grad")
    )


def as_tensors(tensors: Any, asker: str) -> tuple:
    """One tensor or several as a tuple; TypeError for anything else."""
    roots = tuple(tensors) if isinstance(tensors, (list, tuple)) else (tensors,)
    if not roots:
        raise ValueError(f"{asker}() got no tensor")
    for number, root in enumerate(roots):
        if not is_tensor(root):
            place = f" at index {number}" if isinstance(tensors, (list, tuple)) else ""
            raise TypeError(
                f"{asker}() expects a tensor or a sequence of tensors, but got "
                f"{type(root).__name__}{place}"
            )
    return roots


def named_tensors(model: Any, names: Mapping[str, Any] | None, asker: str) -> dict[str, Any]:
    """The parameters of a model and the tensors of ``names``, which may be ``locals()``: other
    values are passed over, and so are private names, as a notebook has them for all it shows."""
    if model is not None and not hasattr(model, "named_parameters"):
        raise TypeError(f"{asker}() expects model to be a module, but got {type(model).__name__}")
    known = {} if model is None else dict(model.named_parameters())
    for name, value in (names or {}).items():
        if is_tensor(value) and not name.startswith("_"):
            known[name] = value
    return known


def collect(roots: Sequence[Any]) -> Graph:
    """Every node that the roots' gradients pass; iterative, for graphs of any depth."""
    inputs: dict[Any, list] = {}
    finished: list = []
    stack = [(root.grad_fn, False) for root in reversed(roots) if root.grad_fn is not None]
    while stack:
        node, done = stack.pop()
        if done:
            finished.append(node)
            continue
        if node in inputs:
            continue
        edges = [None if edge[0] is None else edge for edge in node.next_functions]
        inputs[node] = edges
        stack.append((node, True))
        stack += [(edge[0], False) for edge in reversed(edges) if edge is not None]
    return Graph(tuple(roots), finished, inputs)


def leaf(node: Any) -> Any:
    """The tensor whose gradient an ``AccumulateGrad`` collects; None for any other node."""
    return getattr(node, "variable", None) if name(node) == "AccumulateGrad" else None


def name(node: Any) -> str:
    """``MulBackward0``."""
    return node.name().rpartition("::")[2]


def position(node: Any) -> int:
    """Later operations of a thread have greater numbers."""
    return node._sequence_nr() if hasattr(node, "_sequence_nr") else node.sequence_nr


def output_forms(node: Any) -> list[tuple[tuple[int, ...], torch.dtype]]:
    """Shape and dtype of what the operation made."""
    return [(tuple(output.shape), output.dtype) for output in node._input_metadata if output]


def saved_tensors(node: Any) -> list[tuple[str, Any]]:
    """What is kept for backward, as (name, tensor or a word that says why there is none).

    Tensors that a ``Function`` saves have no names but "", or "0", "1", ... where they are several.
    """
    found = []
    for label, unpack in _saved(node):
        try:
            value = unpack()
        except RuntimeError as error:
            value = "freed" if "second time" in str(error) else "changed in place since"
        for number, part in enumerate(value if isinstance(value, (list, tuple)) else [value]):
            if is_tensor(part) or isinstance(part, str):
                several = isinstance(value, (list, tuple)) and len(value) > 1
                found.append((f"{label} {number}".strip() if several else label, part))
    return found


def _saved(node: Any) -> Iterator[tuple[str, Any]]:
    op = getattr(node, "op", None)
    if op is not None and node.saved is None:  # of the table, freed with the names
        yield "", node.saved_values
    elif op is not None:
        parameters = getattr(op, "parameters", None) or list(
            inspect.signature(op.forward).parameters
        )
        for (kind, number), item in zip(op.saves_for(node.needs), node.saved or (), strict=False):
            if hasattr(item, "unpack"):
                names = op.outputs if kind == "output" else parameters
                yield names[number], lambda item=item: item.unpack(node)
    elif hasattr(type(node), "saved_tensors"):  # a Function
        yield "", lambda: node.saved_tensors
    else:
        for attribute in dir(node):
            if attribute.startswith("_saved_"):
                yield attribute.removeprefix("_saved_"), lambda a=attribute: getattr(node, a)
