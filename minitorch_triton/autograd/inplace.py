"""In-place operations and views: what is allowed, and how history is rewritten, as in PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from minitorch_triton.autograd.modes import state
from minitorch_triton.autograd.node import Node

Chain = tuple
"""The steps from a base to a view: ``(steps before, (function, *args))``, or () for none."""

# How a view was made, where its history cannot be rewritten; the end of the error's text. What is
# made of such a view has the same reason.
ONE_OF_SEVERAL = (
    "This view is the output of a function that returns multiple views. Such functions do not "
    "allow the output views to be modified inplace. You should replace the inplace operation by an "
    "out-of-place one."
)
UNRECORDED = (
    "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify "
    "your code by moving both the view and the inplace either both inside the {mode} block (if "
    "you don't want the inplace to be tracked) or both outside (if you want the inplace to be "
    "tracked)."
)
UNDER_NO_GRAD = UNRECORDED.format(mode="no_grad")
UNDER_INFERENCE = UNRECORDED.format(mode="inference_mode")
BY_FUNCTION = (
    "This view was created inside a custom Function (or because an input was returned as-is) and "
    "the autograd logic to handle view+inplace would override the custom backward associated with "
    "the custom Function, leading to incorrect gradients. This behavior is forbidden. You can fix "
    "this by cloning the output of the custom Function."
)


def refuse_rewriting(view: Any, *, of_base: bool) -> None:
    """Raise if the history of this view cannot be rewritten.

    Args:
        of_base: whether the base, or another view of it, was written to, rather than this view.
    """
    reason = view._unrewritable
    if reason is None:
        return
    what = "is being modified inplace"
    if of_base:
        what = "its base or another view of its base has been modified inplace"
    node = view._node
    start = "A view"
    if node is not None:
        start = f"Output {view.output_nr} of {node.forward_name()} is a view"
        if reason not in (UNDER_NO_GRAD, UNDER_INFERENCE):
            raise RuntimeError(f"{start} and {what}. {reason}")
        start += " of a view which"
    made, now = "no_grad mode", "with grad mode enabled"
    if reason is UNDER_INFERENCE:
        made, now = "inference mode", "in normal mode"
    raise RuntimeError(f"{start} was created in {made} and {what} {now}. {reason}")


def check_inplace(tensor: Any) -> None:
    """Raise where a recorded in-place operation must not write to this tensor."""
    if tensor._view is not None:
        refuse_rewriting(tensor, of_base=False)
        base = tensor._view[0]
        if tensor.requires_grad and base.is_leaf:
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place "
                "operation."
            )
    if tensor.requires_grad and tensor.is_leaf:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation."
        )


def check_countable(tensor: Any) -> None:
    """Raise where a write outside inference mode could not be counted."""
    if tensor.storage.own_version is None and not state.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed.You can make "
            "a clone to get a normal tensor before doing inplace update.See "
            "https://github.com/pytorch/rfcs/pull/17 for more details."
        )


def steps_of(chain: Chain) -> list[tuple]:
    """The steps of a chain, the first one first."""
    steps = []
    while chain:
        chain, step = chain
        steps.append(step)
    steps.reverse()
    return steps


def chain_of(steps: Sequence[tuple], chain: Chain = ()) -> Chain:
    """A chain and the steps after it."""
    for step in steps:
        chain = chain, step
    return chain


def base_and_chain(view: Any) -> tuple[Any, Chain]:
    """The base of a view, and the steps that lead to the view from the base as it is now."""
    base, chain = view._view
    back = base._turned[1]
    return base, chain_of(steps_of(chain), back) if back else chain


def replay(base: Any, chain: Chain) -> Any:
    """Make a view again: apply the view functions that led from the base to it."""
    for function, *args in steps_of(chain):
        base = function(base, *args)
    return base


class CopySlices(Node):
    """The base after an in-place operation on a view of it.

    The gradient of the viewed part goes through the operation's own node, the rest passes.
    """

    __slots__ = ("chain", "inner", "place")

    def __init__(self, base: Any, chain: Chain, inner: Node, place: int):
        edges = list(inner.next_edges)
        edges[place] = base.grad_edge() if base.requires_grad else None
        super().__init__(edges, (base.layout,))
        self.chain = chain
        self.inner = inner
        self.place = place

    def apply(self, grads: list) -> Sequence:
        form = self.outputs[0]
        same = grads[0].layout.strides == form.strides
        result = grads[0].clone() if same else grads[0].laid_out_as(form)
        part = replay(result, self.chain)
        # A saved output is linked to the node that unpacks it. If this is recorded, that node is
        # walked through later, and freed: so a copy of the one that this node goes on to use.
        inner = copy.copy(self.inner) if state.grad_enabled else self.inner
        results = list(inner.apply([part.clone()]))
        written = results[self.place]
        if written is None:
            part.zero_()
        else:
            part.copy_(written)
        results[self.place] = result
        return results

    def release(self) -> None:
        self.inner.release()
