"""``backward`` and ``grad``: check what the user gave, then run the engine."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from minitorch_triton.autograd.engine import run_backward
from minitorch_triton.autograd.node import Node, is_tensor, make


class GradientEdge(NamedTuple):
    """A place in the graph where a gradient goes: stands for a tensor in ``grad``."""

    node: Node
    output_nr: int


def _as_tuple(value: Any) -> tuple:
    if value is None:
        return ()
    if is_tensor(value) or isinstance(value, GradientEdge):
        return (value,)
    return tuple(value)


def _edge(value: Any) -> tuple[Node, int] | None:
    """Where the gradient of a tensor or an edge goes; None if it has none."""
    if isinstance(value, GradientEdge):
        return value.node, value.output_nr
    return value.grad_edge()


def _roots(outputs: Sequence[Any], upstream: Any, create_graph: bool) -> tuple[list, list]:
    """The edges of the outputs and an upstream gradient for each: what was given, or one."""
    given = (None,) * len(outputs) if upstream is None else _as_tuple(upstream)
    if len(given) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(given)} gradients")
    edges, grads = [], []
    for index, (output, grad) in enumerate(zip(outputs, given, strict=True)):
        if not (is_tensor(output) or isinstance(output, GradientEdge)):
            raise TypeError(f"Expected output to be a Tensor, but got {type(output).__name__}")
        edge = _edge(output)
        if grad is not None:
            if not is_tensor(grad):
                raise TypeError(
                    f"gradients can be either Tensors or None, but got {type(grad).__name__}"
                )
            alike = grad.layout is getattr(output, "layout", None)
            if not alike and grad.shape != _shape(output):
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{index}] has a shape of {grad.shape} and "
                    f"output[{index}] has a shape of {_shape(output)}."
                )
        elif edge is not None:
            grad = _one(edge)
        if edge is None:
            raise RuntimeError(
                f"element {index} of tensors does not require grad and does not have a grad_fn"
            )
        edges.append(edge)
        grads.append(grad if create_graph or not grad.requires_grad else grad.detach())
    return edges, grads


def _shape(output: Any) -> tuple[int, ...]:
    """Of a tensor, or of what an edge leads to."""
    return output.shape if is_tensor(output) else output.node.outputs[output.output_nr].shape


def _one(edge: tuple[Node, int]) -> Any:
    """The upstream gradient of a scalar."""
    form = edge[0].outputs[edge[1]]
    if form.numel != 1:
        raise RuntimeError("grad can be implicitly created only for scalar outputs")
    if not form.dtype.is_floating_point:
        raise RuntimeError(
            f"grad can be implicitly created only for real scalar outputs but got {form.dtype}"
        )
    return make.filled(form, 1)


def _warn_of_cycle() -> None:
    warnings.warn(
        "Using backward() with create_graph=True will create a reference cycle between the "
        "parameter and its gradient which can cause a memory leak. We recommend using "
        "autograd.grad when creating the graph to avoid this. If you have to use this function, "
        "make sure to reset the .grad fields of your parameters to None after use to break the "
        "cycle and avoid the leak.",
        stacklevel=3,
    )


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Accumulate the gradients of ``tensors`` into the ``.grad`` of the leaves.

    Args:
        tensors: one tensor (or :class:`GradientEdge`) or several.
        grad_tensors: upstream gradients of the same shapes; None for scalars.
        retain_graph: keep the graph for another backward; ``create_graph`` by default.
        create_graph: record backward, for higher derivatives.
        inputs: accumulate only into these tensors, which may be results of operations.

    Raises:
        RuntimeError: a tensor is no scalar and has no upstream gradient, shapes differ, a tensor
            does not require a gradient, or the graph was freed.
    """
    targets = () if inputs is None else _as_tuple(inputs)
    if inputs is not None and not targets:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    edges, grads = _roots(_as_tuple(tensors), grad_tensors, create_graph)
    if create_graph:
        _warn_of_cycle()
    nodes: list[Node] = []
    if inputs is not None:
        for target in targets:
            if is_tensor(target):
                target.retain_grad()
            edge = _edge(target)
            if edge is not None:
                nodes.append(edge[0])
    run_backward(
        edges,
        grads,
        keep_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        captures=None if inputs is None else [],
        targets=nodes,
    )


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple:
    """The gradients of ``outputs`` with respect to ``inputs``, without touching any ``.grad``.

    Both may be :class:`GradientEdge` instead of tensors.

    Args:
        is_grads_batched: each of ``grad_outputs`` has a first dimension more, and so has each
            gradient: one backward pass for every index of it.

    Returns:
        One gradient per input; None for an unused one if ``allow_unused``, zeros if
        ``materialize_grads``.

    Raises:
        RuntimeError: as :func:`backward`, or an input was not used in the graph.
    """
    if is_grads_batched:
        return _batched_grad(
            _as_tuple(outputs),
            _as_tuple(inputs),
            _as_tuple(grad_outputs),
            retain_graph=create_graph if retain_graph is None else retain_graph,
            create_graph=create_graph,
            allow_unused=allow_unused,
            materialize_grads=materialize_grads,
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    targets = _as_tuple(inputs)
    if not targets:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    edges, grads = _roots(_as_tuple(outputs), grad_outputs, create_graph)
    captures = []
    for target in targets:
        if not (is_tensor(target) or isinstance(target, GradientEdge)):
            raise RuntimeError(
                f"all inputs have to be Tensors or GradientEdges, but got {type(target).__name__}"
            )
        edge = _edge(target)
        if edge is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
        captures.append(edge)
    found = run_backward(
        edges,
        grads,
        keep_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        captures=captures,
    )
    for index, gradient in enumerate(found):
        if gradient is not None:
            continue
        if materialize_grads:
            if not is_tensor(targets[index]):
                raise RuntimeError(
                    "materialize_grads cannot be used when the given input is a GradientEdge"
                )
            found[index] = make.filled(targets[index].layout, 0).requires_grad_(create_graph)
        elif not allow_unused:
            raise RuntimeError(
                f"The differentiated Tensor at index {index} appears to not have been used in the "
                "graph. Set allow_unused=True if this is the desired behavior."
            )
    return tuple(found)


def _batched_grad(
    outputs: tuple, inputs: tuple, grad_outputs: tuple, *, retain_graph: bool, **options: Any
) -> tuple:
    """The gradients for every index of the first dimension of the upstream gradients, stacked."""
    for index, (output, upstream) in enumerate(zip(outputs, grad_outputs, strict=True)):
        if not upstream.ndim or upstream.shape[1:] != _shape(output):
            raise RuntimeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output "
                "as the batch dimension. The sizes of the remaining dimensions are expected to "
                "match the shape of corresponding output, but a mismatch was detected: "
                f"grad_output[{index}] has a shape of {upstream.shape[1:]} and output[{index}] has "
                f"a shape of {_shape(output)}. If you only want some tensors in `grad_output` to "
                "be considered batched, consider using vmap."
            )
    size = min(upstream.shape[0] for upstream in grad_outputs)
    rows = [
        grad(
            outputs,
            inputs,
            [upstream[number] for upstream in grad_outputs],
            retain_graph=retain_graph or number + 1 < size,
            **options,
        )
        for number in range(size)
    ]
    return tuple(
        None if column[0] is None else make.stacked(column, 0) for column in zip(*rows, strict=True)
    )
