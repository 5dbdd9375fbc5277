"""Backward: walk the graph from the roots to the leaves, each node once, newest first.

Three steps: count for every node how many gradients it waits for; keep those nodes that lead to
what was asked for; then take nodes from a heap, run them, and hand their results along their
edges. Iterative, so that depth costs no stack, and without any knowledge of kernels: gradients are
added with ``+`` and otherwise only passed on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from minitorch_triton.autograd import anomaly_mode
from minitorch_triton.autograd.modes import state
from minitorch_triton.autograd.node import Node

Edge = tuple[Node, int]

MAX_DEPTH = 50
"""Backward passes inside each other in one thread; a Python stack ends at about 1000 frames."""


class Task:
    """One backward pass, as hooks see it while it runs.

    Attributes:
        roots, waiting: where it starts, and the nodes it reaches from there.
        visited: those that a gradient comes to, None for all.
        callbacks: to be called when it has ended.
    """

    roots: Sequence[Edge]
    waiting: dict[Node, int]
    visited: set[Node] | None
    callbacks: list[Callable]

    @property
    def is_partial(self) -> bool:
        """Whether gradients of some tensors are wanted, rather than those of all leaves."""
        return self.visited is not None

    def will_visit(self, node: Node) -> bool:
        """Whether a gradient comes to this node in this pass."""
        if self.visited is not None and node not in self.visited:
            return False
        return node in self.waiting or any(node is root for root, _ in self.roots)


class _Running(threading.local):
    task: Task | None = None
    depth = 0


running = _Running()


def queue_callback(callback: Callable) -> None:
    """Call ``callback()`` when the backward pass that runs now has ended."""
    if running.task is None:
        raise RuntimeError("Final callbacks can only be installed during backward pass.")
    running.task.callbacks.append(callback)


def run_backward(
    roots: Sequence[Edge],
    grads: Sequence[Any],
    *,
    keep_graph: bool,
    create_graph: bool,
    captures: Sequence[Edge] | None = None,
    targets: Sequence[Node] = (),
) -> list[Any]:
    """Propagate gradients from the roots.

    Args:
        roots: the edges of the tensors to differentiate.
        grads: a gradient for each.
        keep_graph: whether saved tensors stay for another backward.
        create_graph: whether backward itself is recorded.
        captures: edges whose gradients are returned; only what leads to them or to targets runs.
        targets: nodes that run, beside those that lead to them.

    Returns:
        The captured gradients, None for an edge that the roots do not depend on.
    """
    depth = running.depth
    if depth >= MAX_DEPTH:
        return _in_new_thread(
            run_backward,
            roots,
            grads,
            keep_graph=keep_graph,
            create_graph=create_graph,
            captures=captures,
            targets=targets,
        )
    waiting = _count_dependencies(roots)
    captured: dict[Edge, Any] = {}
    needed = visited = None
    if captures is not None:
        captured = dict.fromkeys(captures)
        ends = {node for node, _ in captures}
        needed = _leading_to(ends.union(targets), roots).union(targets)
        visited = needed | ends
    incoming: dict[Node, list] = {}
    for edge, grad in zip(roots, grads, strict=True):
        _deliver(incoming, edge, grad, *edge)
    ready: list[tuple[int, int, Node]] = []
    for node in incoming:
        # Roots that another root leads to wait for it.
        if node not in waiting and (visited is None or node in visited):
            heappush(ready, (-node.sequence_nr, id(node), node))
    outer = running.task
    task = running.task = Task()
    task.roots, task.waiting, task.visited, task.callbacks = roots, waiting, visited, []
    recorded, hooks = state.grad_enabled, state.saved_tensors_hooks
    state.grad_enabled = create_graph
    running.depth = depth + 1
    try:
        while ready:
            node = heappop(ready)[2]
            inputs = incoming.pop(node, None) or [None] * len(node.outputs)
            if node.hooks is not None:
                node.hooks.run_of_tensors(inputs)
            if captured:
                for number in range(len(inputs)):
                    if (node, number) in captured:
                        captured[node, number] = inputs[number]
            edges = node.next_edges
            results: Sequence
            if needed is not None and node not in needed:
                results = (None,) * len(edges)
            elif node.hooks is not None or inputs[0] is None or anomaly_mode.mode.enabled:
                results = _run(node, inputs, keep_graph)
            else:  # what _run comes to for most nodes
                results = node.apply(inputs)
                if not keep_graph:
                    node.release()
            if len(results) != len(edges):
                results = _match_count(node, results)
            for index, edge in enumerate(edges):
                if edge is None or (visited is not None and edge[0] not in visited):
                    continue
                if results[index] is not None:
                    _deliver(incoming, edge, results[index], node, index)
                child = edge[0]
                waiting[child] = left = waiting[child] - 1
                if left == 0:
                    heappush(ready, (-child.sequence_nr, id(child), child))
            results = ()
        for callback in task.callbacks:
            callback()
    finally:
        state.grad_enabled, state.saved_tensors_hooks = recorded, hooks
        running.depth = depth
        running.task = outer
    return [captured[edge] for edge in captures] if captures is not None else []


def _run(node: Node, inputs: list, keep_graph: bool) -> Sequence:
    hooks = node.hooks
    seen: tuple = ()
    if hooks is not None:
        hooks.run_before(inputs)
        seen = tuple(inputs) if hooks.post else ()
    for grad in inputs:
        if grad is not None or node.takes_undefined:
            grad = None
            if anomaly_mode.mode.enabled:
                results = anomaly_mode.run(node, inputs)
            else:
                results = node.apply(inputs)
            if not keep_graph:
                node.release()
            break
    else:
        results = (None,) * len(node.next_edges)
    return results if hooks is None else hooks.run_after(results, seen)


def _in_new_thread(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call the function where the stack is empty, in the same modes."""
    modes_here, task = vars(state).copy(), running.task
    outcome: list = []
    failure: list[BaseException] = []

    def call() -> None:
        vars(state).update(modes_here)
        running.task = task
        try:
            outcome.append(function(*args, **kwargs))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if failure:
        raise failure.pop()
    return outcome.pop()


def _deliver(incoming: dict[Node, list], edge: Edge, grad: Any, sender: Node, index: int) -> None:
    """Add a gradient, which is a node's result of this index, to what has come over the edge."""
    node, number = edge
    expected = node.outputs[number]
    if grad.layout is not expected:
        grad = _validated(sender, index, grad, expected)
    slots = incoming.get(node)
    if slots is None:
        slots = incoming[node] = [None] * len(node.outputs)
    present = slots[number]
    slots[number] = grad if present is None else present + grad


def _count_dependencies(roots: Sequence[Edge]) -> dict[Node, int]:
    """For every node reached over an edge, how many edges lead to it."""
    waiting: dict[Node, int] = {}
    starts = {node for node, _ in roots}
    stack = list(starts)
    while stack:
        for edge in stack.pop().next_edges:
            if edge is None:
                continue
            child = edge[0]
            if child in waiting:
                waiting[child] += 1
                continue
            waiting[child] = 1
            if child not in starts:
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
    if given.dtype != expected.dtype and expected.dtype is not None:
        grad = grad.to(expected.dtype)
    return grad


def _expands_to(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    if len(small) > len(large):
        return False
    tail = large[len(large) - len(small) :]
    return all(s in (1, size) for s, size in zip(small, tail, strict=True))
