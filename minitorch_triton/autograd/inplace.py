"""In-place operations on views: the history of the base is rewritten, as in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitorch_triton.autograd.node import Node

Chain = tuple
"""The steps from a base to a view: ``(steps before, (function, *args))``, or () for none."""


def replay(base: Any, chain: Chain) -> Any:
    """Make a view again: apply the view functions that led from the base to it."""
    steps = []
    while chain:
        chain, step = chain
        steps.append(step)
    for function, *args in reversed(steps):
        base = function(base, *args)
    return base


class CopySlices(Node):
    """The base after an in-place operation on a view of it.

    The gradient of the viewed part goes through the operation's own node, the rest passes.
    """

    __slots__ = ("chain", "inner")

    def __init__(self, base: Any, chain: Chain, inner: Node):
        base_edge = base.grad_edge() if base.requires_grad else None
        super().__init__((base_edge, *inner.next_edges[1:]), (base.layout,))
        self.chain = chain
        self.inner = inner

    def apply(self, grads: list) -> Sequence:
        result = grads[0].clone()
        part = replay(result, self.chain)
        first, *others = self.inner.apply([part.clone()])
        if first is None:
            part.zero_()
        else:
            part.copy_(first)
        return (result, *others)

    def release(self) -> None:
        self.inner.release()
