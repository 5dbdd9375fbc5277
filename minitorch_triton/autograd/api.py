"""``backward`` and ``grad``: check what the user gave, then run the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitorch_triton.autograd.engine import run_backward


def _as_tuple(value: Any) -> tuple:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _initial_gradients(outputs: Sequence[Any], grads: Sequence[Any], create_graph: bool) -> list:
    """The upstream gradient of each output: what was given, or one for a scalar."""
    result: list = []
    for index, (output, grad) in enumerate(zip(outputs, grads, strict=True)):
        if grad is None:
            if not output.requires_grad:
                result.append(None)
                continue
            if output.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if not output.dtype.is_floating_point:
                raise RuntimeError(
                    "grad can be implicitly created only for real scalar outputs but got "
                    f"{output.dtype}"
                )
            result.append(output.new_ones(output.shape))
            continue
        if not hasattr(grad, "layout"):
            raise TypeError(
                f"gradients can be either Tensors or None, but got {type(grad).__name__}"
            )
        if grad.shape != output.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{index}] has a shape of {grad.shape} and "
                f"output[{index}] has a shape of {output.shape}."
            )
        result.append(grad if create_graph else grad.detach())
    return result


def _root_edges(outputs: Sequence[Any]) -> list:
    edges = []
    for index, output in enumerate(outputs):
        if not output.requires_grad:
            raise RuntimeError(
                f"element {index} of tensors does not require grad and does not have a grad_fn"
            )
        edges.append(output.grad_edge())
    return edges


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Accumulate the gradients of ``tensors`` into the ``.grad`` of the leaves.

    Args:
        tensors: one tensor or several.
        grad_tensors: upstream gradients of the same shapes; None for scalars.
        retain_graph: keep the graph for another backward; ``create_graph`` by default.
        create_graph: record backward, for higher derivatives.
        inputs: accumulate only into these tensors.

    Raises:
        RuntimeError: a tensor is no scalar and has no upstream gradient, shapes differ, a tensor
            does not require a gradient, or the graph was freed.
    """
    if inputs is not None and not _as_tuple(inputs):
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    roots = _as_tuple(tensors)
    upstream = _as_tuple(grad_tensors) or (None,) * len(roots)
    keep_graph = create_graph if retain_graph is None else retain_graph
    edges = _root_edges(roots)
    grads = _initial_gradients(roots, upstream, create_graph)
    if inputs is None:
        run_backward(edges, grads, keep_graph=keep_graph, create_graph=create_graph)
        return
    targets = _as_tuple(inputs)
    for target in targets:
        if not target.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    found = run_backward(
        edges,
        grads,
        keep_graph=keep_graph,
        create_graph=create_graph,
        captures=[target.grad_edge() for target in targets],
    )
    for target, grad in zip(targets, found, strict=True):
        if grad is not None:
            target.grad = grad if target.grad is None else target.grad + grad


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

    Returns:
        One gradient per input; None for an unused one if ``allow_unused``, zeros if
        ``materialize_grads``.

    Raises:
        RuntimeError: as :func:`backward`, or an input was not used in the graph.
    """
    if is_grads_batched:
        raise NotImplementedError(
            "is_grads_batched needs vmap, which minitorch_triton does not have"
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    roots, targets = _as_tuple(outputs), _as_tuple(inputs)
    upstream = _as_tuple(grad_outputs) or (None,) * len(roots)
    keep_graph = create_graph if retain_graph is None else retain_graph
    edges = _root_edges(roots)
    for target in targets:
        if not target.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    found = run_backward(
        edges,
        _initial_gradients(roots, upstream, create_graph),
        keep_graph=keep_graph,
        create_graph=create_graph,
        captures=[target.grad_edge() for target in targets],
    )
    if materialize_grads:
        return tuple(
            target.new_zeros(target.shape) if grad is None else grad
            for target, grad in zip(targets, found, strict=True)
        )
    for index, gradient in enumerate(found):
        if gradient is None and not allow_unused:
            raise RuntimeError(
                f"The differentiated Tensor at index {index} appears to not have been used in the "
                "graph. Set allow_unused=True if this is the desired behavior."
            )
    return tuple(found)
