"""Optimizers and learning-rate schedules, with PyTorch's names, defaults and results."""

from minitorch_triton.optim import lr_scheduler
from minitorch_triton.optim.adam import Adam, AdamW
from minitorch_triton.optim.optimizer import Optimizer
from minitorch_triton.optim.sgd import SGD

__all__ = ["Adam", "AdamW", "Optimizer", "SGD", "lr_scheduler"]
