"""Backward: walk the graph from the roots to the leaves, each node once, newest first.

Three steps: count for every node how many gradients it waits for; keep those nodes that lead to
what was asked for; then take nodes from a heap, run them, and hand their results along their
edges. Iterative, so that depth costs no stack, and without any knowledge of kernels: gradients are
added with ``+`` and otherwise only passed on.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from minitorch_triton.autograd import modes
from minitorch_triton.autograd.node import Node

Edge = tuple[Node, int]


def run_backward(
    roots: Sequence[Edge],
    grads: Sequence[Any],
    *,
    keep_graph: bool,
    create_graph: bool,
    captures: Sequence[Edge] | None = None,
) -> list[Any]:
    """Propagate gradients from the roots.

    Args:
        roots: the edges of the tensors to differentiate.
        grads: a gradient for each.
        keep_graph: whether saved tensors stay for another backward.
        create_graph: whether backward itself is recorded.
        captures: edges whose gradients are returned, in place of accumulating into leaves.

    Returns:
        The captured gradients, None for an edge that the roots do not depend on.
    """
    waiting = _count_dependencies(roots)
    captured: dict[Edge, Any] = {}
    needed = None
    if captures is not None:
        captured = dict.fromkeys(captures)
        needed = _leading_to({node for node, _ in captures}, roots)
    incoming: dict[Node, list] = {}
    for (node, number), grad in zip(roots, grads, strict=True):
        _add(incoming, node, number, grad)
    # Roots that another root leads to wait for it.
    ready = [(-node.sequence_nr, id(node), node) for node in incoming if node not in waiting]
    heapq.heapify(ready)
    recorded = modes.state.grad_enabled
    modes.state.grad_enabled = create_graph
    try:
        while ready:
            node = heapq.heappop(ready)[2]
            inputs = incoming.pop(node, None) or [None] * len(node.outputs)
            if node.hooks is not None:
                _run_pre_hooks(node, inputs)
            if captures is not None:
                for number in range(len(inputs)):
                    if (node, number) in captured:
                        captured[node, number] = inputs[number]
                if not needed or node not in needed or not node.next_edges:
                    results: Sequence = (None,) * len(node.next_edges)
                else:
                    results = _run(node, inputs, keep_graph)
            else:
                results = _run(node, inputs, keep_graph)
            edges = node.next_edges
            if len(results) != len(edges):
                results = _match_count(node, results)
            for index, edge in enumerate(edges):
                if edge is None:
                    continue
                child, number = edge
                grad = results[index]
                if grad is not None:
                    _add(
                        incoming,
                        child,
                        number,
                        _validated(node, index, grad, child.outputs[number]),
                    )
                    grad = None
                waiting[child] -= 1
                if waiting[child] == 0:
                    heapq.heappush(ready, (-child.sequence_nr, id(child), child))
            results = ()
    finally:
        modes.state.grad_enabled = recorded
    return [captured[edge] for edge in captures] if captures is not None else []


def _run(node: Node, inputs: list, keep_graph: bool) -> Sequence:
    for grad in inputs:
        if grad is not None:
            break
    else:
        return (None,) * len(node.next_edges)
    grad = None
    hooks = node.hooks
    seen = tuple(inputs) if hooks is not None and hooks.post else ()
    results = node.apply(inputs)
    if not keep_graph:
        node.release()
    if hooks is not None:
        for hook in list(hooks.post.values()):
            replaced = hook(tuple(results), seen)
            if replaced is not None:
                results = replaced if isinstance(replaced, tuple) else (replaced,)
    return results


def _run_pre_hooks(node: Node, inputs: list) -> None:
    hooks = node.hooks
    assert hooks is not None
    for number, tensor_hooks in hooks.tensor.items():
        for hook in list(tensor_hooks.values()):
            if inputs[number] is not None:
                replaced = hook(inputs[number])
                if replaced is not None:
                    inputs[number] = replaced
    for number, retain in hooks.retained.items():
        retain(inputs[number])
    for hook in list(hooks.pre.values()):
        replaced = hook(tuple(inputs))
        if replaced is not None:
            inputs[:] = replaced if isinstance(replaced, tuple) else (replaced,)


def _add(incoming: dict[Node, list], node: Node, number: int, grad: Any) -> None:
    slots = incoming.get(node)
    if slots is None:
        slots = incoming[node] = [None] * len(node.outputs)
    present = slots[number]
    slots[number] = grad if present is None else present + grad


def _count_dependencies(roots: Sequence[Edge]) -> dict[Node, int]:
    """For every node reached over an edge, how many edges lead to it."""
    waiting: dict[Node, int] = {}
    seen = {node for node, _ in roots}
    stack = list(seen)
    while stack:
        for edge in stack.pop().next_edges:
            if edge is None:
                continue
            child = edge[0]
            waiting[child] = waiting.get(child, 0) + 1
            if child not in seen:
                seen.add(child)
                stack.append(child)
    return waiting


def _leading_to(targets: set[Node], roots: Sequence[Edge]) -> set[Node]:
    """The nodes from which a target is reached over at least one edge."""
    parents: dict[Node, list[Node]] = {}
    seen = {node for node, _ in roots}
    stack = list(seen)
    while stack:
        node = stack.pop()
        for edge in node.next_edges:
            if edge is None:
                continue
            parents.setdefault(edge[0], []).append(node)
            if edge[0] not in seen:
                seen.add(edge[0])
                stack.append(edge[0])
    leading: set[Node] = set()
    stack = list(targets)
    while stack:
        for parent in parents.get(stack.pop(), ()):
            if parent not in leading:
                leading.add(parent)
                stack.append(parent)
    return leading


def _match_count(node: Node, results: Sequence) -> Sequence:
    """The results cut to the number of inputs; surplus ones must be None, as in PyTorch."""
    expected = len(node.next_edges)
    if len(results) > expected and all(grad is None for grad in results[expected:]):
        return results[:expected]
    raise RuntimeError(
        f"function {node.name()} returned an incorrect number of gradients "
        f"(expected {expected}, got {len(results)})"
    )


def _validated(node: Node, index: int, grad: Any, expected: Any) -> Any:
    """The gradient in the shape and dtype of what it is the gradient of."""
    given = grad.layout
    if given is expected:
        return grad
    if given.shape != expected.shape:
        if not _expands_to(expected.shape, given.shape):
            raise RuntimeError(
                f"Function {node.name()} returned an invalid gradient at index {index} - got "
                f"{list(given.shape)} but expected shape compatible with {list(expected.shape)}"
            )
        grad = grad.sum_to_size(expected.shape)
    if given.device != expected.device:
        raise RuntimeError(
            f"Function {node.name()} returned an invalid gradient at index {index} - expected "
            f"device {expected.device} but got {given.device}"
        )
    if given.dtype != expected.dtype:
        grad = grad.to(expected.dtype)
    return grad


def _expands_to(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    if len(small) > len(large):
        return False
    tail = large[len(large) - len(small) :]
    return all(s in (1, size) for s, size in zip(small, tail, strict=True))
