"""``Flatten``."""

from __future__ import annotations

from minitorch_triton.nn.module import Module
from minitorch_triton.tensor import Tensor


class Flatten(Module):
    """Makes one dimension of those from ``start_dim`` to ``end_dim``; all but the batch's."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
