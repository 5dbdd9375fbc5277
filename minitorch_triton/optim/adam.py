"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from minitorch_triton.kernels import optimizers as kernels
from minitorch_triton.ops.dispatch import Float64, Planned
from minitorch_triton.optim.optimizer import Optimizer
from minitorch_triton.optim.sgd import check_implementation, check_learning_rate
from minitorch_triton.tensor import Tensor


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015, algorithm 1)::

        exp_avg = beta1 * exp_avg + (1 - beta1) * g
        exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * g**2
        param -= lr * (exp_avg / (1 - beta1**step)) / (sqrt(exp_avg_sq / (1 - beta2**step)) + eps)

    Args:
        params: tensors or dictionaries of parameter groups.
        lr: learning rate.
        betas: decay rates of the two moving averages.
        eps: added to the denominator.
        weight_decay: L2 penalty, added to the gradient.
        amsgrad: use the largest exp_avg_sq so far (Reddi et al., 2018).
        maximize: go up the gradient instead of down.
        decoupled_weight_decay: shrink the parameter itself instead, as :class:`AdamW` does.
        foreach, fused, capturable: accepted for PyTorch's sake; every step is one launch anyway.
        differentiable: must be False.

    Raises:
        ValueError: a value out of its range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        check_learning_rate(lr)
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for index, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {index}: {beta}")
        if not weight_decay >= 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        check_implementation(foreach, fused, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._evaluate(closure)
        for number, group in enumerate(self.param_groups):
            columns: tuple[str, ...] = ("exp_avg", "exp_avg_sq")
            if group["amsgrad"]:
                columns += ("max_exp_avg_sq",)
            lr, (beta1, beta2) = float(group["lr"]), map(float, group["betas"])
            reference = self._reference_step(group)
            for batch in self._batches(number, group, columns, partial(_steps_after, reference)):
                step = reference + batch.key + 1
                step_size, correction = kernels.bias_corrected(lr, beta1, beta2, step)
                _update.call(
                    (
                        batch.table,
                        batch.dtype,
                        Float64(lr),
                        Float64(beta1),
                        Float64(beta2),
                        Float64(group["eps"]),
                        Float64(group["weight_decay"]),
                        Float64(step_size),
                        Float64(correction),
                        group["amsgrad"],
                        group["maximize"],
                        group["decoupled_weight_decay"],
                    )
                )
                for state in batch.states:
                    state["step"] = step
                batch.finish()
        return loss

    def _reference_step(self, group: dict[str, Any]) -> int:
        """The steps taken by the first parameter that has a gradient."""
        for param in group["params"]:
            if param.grad is not None:
                return self.state[param].get("step", 0)
        return 0


_update = Planned(kernels.adam)


def _steps_after(reference: int, state: dict[str, Any]) -> int:
    """A parameter that had no gradient for a while has taken fewer steps than another."""
    return state.get("step", 0) - reference


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)::

        param *= 1 - lr * weight_decay

    and then the step of :class:`Adam` without weight decay. Arguments as there.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True  # also in a state_dict of an older version
