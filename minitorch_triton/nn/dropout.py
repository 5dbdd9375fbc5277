"""``Dropout``."""

from __future__ import annotations

from minitorch_triton.nn import functional as F
from minitorch_triton.nn.module import Module
from minitorch_triton.tensor import Tensor


class Dropout(Module):
    """In training, zeroes each element with probability p and scales the others by 1/(1-p).

    Args:
        p: the probability.
        inplace: overwrite the input.

    Raises:
        ValueError: p is not a probability.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
