"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from minitorch_triton.kernels import optimizers as kernels
from minitorch_triton.ops.dispatch import Float64, Planned
from minitorch_triton.optim.optimizer import Optimizer
from minitorch_triton.tensor import Tensor


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Sutskever et al., 2013), as PyTorch defines it.

    With gradient g (and ``weight_decay`` times the parameter added to it)::

        buffer = momentum * buffer + (1 - dampening) * g      # g itself in the first step
        param -= lr * (g + momentum * buffer if nesterov else buffer)

    Args:
        params: tensors or dictionaries of parameter groups.
        lr: learning rate.
        momentum: factor of the last update.
        dampening: how much less the new gradient counts.
        weight_decay: L2 penalty.
        nesterov: look ahead by one momentum step.
        maximize: go up the gradient instead of down.
        foreach, fused: accepted for PyTorch's sake; every step is one launch in any case.
        differentiable: must be False.

    Raises:
        ValueError: a negative value, or nesterov without momentum or with dampening.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_learning_rate(lr)
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_implementation(foreach, fused, differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._evaluate(closure)
        for number, group in enumerate(self.param_groups):
            columns = ("momentum_buffer",) if group["momentum"] else ()
            for batch in self._batches(number, group, columns):
                _update.call(
                    (
                        batch.table,
                        batch.dtype,
                        Float64(group["lr"]),
                        Float64(group["momentum"]),
                        Float64(group["dampening"]),
                        Float64(group["weight_decay"]),
                        group["nesterov"],
                        group["maximize"],
                        batch.fresh,
                    )
                )
                batch.finish()
        return loss


_update = Planned(kernels.sgd)


def check_learning_rate(lr: Any) -> None:
    """Refuse a learning rate that is negative or a tensor of more than one number."""
    if isinstance(lr, Tensor):
        if lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
    elif lr < 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")


def check_implementation(foreach: bool | None, fused: bool | None, differentiable: bool) -> None:
    """Refuse options that PyTorch refuses together, and a differentiable step."""
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if differentiable:
        raise NotImplementedError("a step through which one can differentiate is not supported")
