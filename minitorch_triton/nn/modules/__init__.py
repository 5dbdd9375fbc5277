"""PyTorch's place for modules and the hooks that apply to all of them."""

from minitorch_triton.nn.modules import module

__all__ = ["module"]
