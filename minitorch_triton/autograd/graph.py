"""Nodes and what is kept between forward and backward, under PyTorch's names."""

from minitorch_triton.autograd.modes import saved_tensors_hooks
from minitorch_triton.autograd.node import Node

__all__ = ["Node", "saved_tensors_hooks"]
