"""``gradcheck`` and ``gradgradcheck``: gradients beside finite differences, as in PyTorch.

Jacobians are matrices with a row for each element of an input and a column for each element of an
output. In the fast mode only one number of each is compared, ``u^T J v`` for random u and v.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from minitorch_triton.autograd import forward_ad
from minitorch_triton.autograd.api import grad
from minitorch_triton.autograd.function import Function
from minitorch_triton.autograd.node import is_tensor

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A gradient is wrong."""


def gradcheck(
    func: Callable,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of a function agree with finite differences.

    Two values agree if they differ by no more than ``atol + rtol * |numerical|``. The defaults are
    for float64.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: those that require a gradient are checked.
        eps: how far an element of an input is moved, up and down.
        atol, rtol: tolerances.
        raise_exception: raise a :class:`GradcheckError` that shows the difference, rather than
            return False.
        nondet_tol: by how much two runs of the same backward may differ.
        check_undefined_grad: whether backward takes a missing upstream gradient for zero.
        check_grad_dtypes: whether gradients have their inputs' dtype.
        check_batched_grad: whether ``grad(..., is_grads_batched=True)`` gives what a call for
            each upstream gradient gives.
        check_batched_forward_grad: accepted for compatibility: there are no batches of tangents.
        check_forward_ad, check_backward_ad: which modes to check.
        fast_mode: compare a random projection of each Jacobian instead of all its elements.
        masked: accepted for compatibility: it is about sparse tensors.

    Raises:
        GradcheckError: a gradient is wrong.
        ValueError: no input requires a gradient.
        RuntimeError: an input's elements overlap in memory.
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError(
            "Expected at least one of check_forward_ad or check_backward_ad to be True"
        )
    if check_batched_grad and not check_backward_ad:
        raise AssertionError(
            "Setting check_batched_grad=True requires check_backward_ad to be True"
        )
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError(
            "Setting check_batched_forward_grad=True requires check_forward_ad to be True"
        )
    inputs = _as_tuple(inputs)
    _check_inputs(inputs)
    check = _Check(func, inputs, eps, atol, rtol, nondet_tol, check_grad_dtypes)
    try:
        if check_backward_ad:
            check.backward_mode(fast_mode)
        if check_forward_ad:
            check.forward_mode(fast_mode)
            if check_undefined_grad:
                check.undefined_tangents()
        if check_batched_grad:
            check.batched_upstream()
        if check_backward_ad:
            check.zero_upstream()
            if check_undefined_grad:
                check.undefined_upstream()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Whether the second derivatives of a function agree with finite differences of the first.

    Checks, by :func:`gradcheck`, the function that maps inputs and upstream gradients to the
    gradients of the inputs.

    Args:
        func, inputs: as in :func:`gradcheck`.
        grad_outputs: the upstream gradients; random ones by default.
        gen_non_contig_grad_outputs: make the random ones non-contiguous.
        check_fwd_over_rev, check_rev_over_rev: in which modes to differentiate the gradient.
        eps, atol, rtol, raise_exception, nondet_tol, check_undefined_grad, check_grad_dtypes,
        check_batched_grad, fast_mode, masked: as in :func:`gradcheck`.
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError(
            "Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True"
        )
    if check_undefined_grad and not check_rev_over_rev:
        raise AssertionError(
            "Setting check_undefined_grad=True requires check_rev_over_rev to be True"
        )
    inputs = _as_tuple(inputs)
    if grad_outputs is None:
        outputs = _differentiable(func(*inputs))
        upstream = tuple(_random_like(y, gen_non_contig_grad_outputs) for y in outputs)
    else:
        upstream = _as_tuple(grad_outputs)
    count = len(inputs)
    wanted = [n for n, x in enumerate(inputs) if is_tensor(x) and x.requires_grad]
    live = [n for n, g in enumerate(upstream, count) if g.requires_grad]

    def gradients(*args: Any) -> tuple:
        # Forward mode passes tensors that require no gradient.
        for number in (*wanted, *live):
            args[number].requires_grad_()
        found = grad(
            _differentiable(func(*args[:count])),
            [args[number] for number in wanted],
            args[count:],
            create_graph=True,
            allow_unused=True,
        )
        return tuple(gradient for gradient in found if gradient is not None)

    return gradcheck(
        gradients,
        inputs + upstream,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def get_numerical_jacobian(
    fn: Callable, inputs: Any, target: Any = None, eps: float = 1e-3, grad_out: float = 1.0
) -> tuple:
    """An older name of a part of :func:`gradcheck`: Jacobians by finite differences.

    Args:
        fn: takes all inputs as one sequence; its first output counts.
        inputs: tensors.
        target: the tensors to differentiate by; the inputs that require a gradient by default.
        eps: how far an element is moved, up and down.
        grad_out: must be 1.

    Returns:
        For each target a matrix with a row for each of its elements.
    """
    _warn_of_older_name("get_numerical_jacobian", grad_out)
    targets = None if target is None else list(_as_tuple(target))
    check = _Check(lambda *args: fn(args), _as_tuple(inputs), eps, checked=targets)
    return _first_of_each(check.checked, check._numerical())


def get_analytical_jacobian(
    inputs: Any, output: Any, nondet_tol: float = 0.0, grad_out: float = 1.0
) -> tuple:
    """An older name of a part of :func:`gradcheck`: Jacobians of an output by backward.

    Args:
        inputs: tensors.
        output: what was computed from them.
        nondet_tol: by how much two runs of the same backward may differ.
        grad_out: must be 1.

    Returns:
        For each input that requires a gradient a matrix with a row for each of its elements;
        whether two runs agreed; and whether gradients have their inputs' sizes and dtypes, which
        the engine sees to.
    """
    _warn_of_older_name("get_analytical_jacobian", grad_out)
    check = _Check(lambda *args: output, _as_tuple(inputs), nondet_tol=np.inf)
    first, second = check._by_backward(), check._by_backward()
    reentrant = all(
        np.abs(a - b).max(initial=0) <= nondet_tol
        for rows in _pairs(first, second)
        for a, b in _pairs(*rows)
    )
    return _first_of_each(check.checked, first), reentrant, True, True


def _warn_of_older_name(name: str, grad_out: float) -> None:
    warnings.warn(
        f"`{name}` was part of PyTorch's private API and is deprecated; use gradcheck instead.",
        FutureWarning,
        stacklevel=3,
    )
    if grad_out != 1.0:
        raise ValueError(f"Expected grad_out to be 1.0, but got {grad_out}. {name} is deprecated.")


def _first_of_each(inputs: Sequence, jacobians: list[list[np.ndarray]]) -> tuple:
    """The Jacobian of the first output with respect to each input, as tensors."""
    return tuple(
        x.new_tensor(blocks[0]) if blocks else x.new_zeros(x.numel(), 0)
        for x, blocks in _pairs(inputs, jacobians)
    )


def _as_tuple(value: Any) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _differentiable(outputs: Any) -> tuple:
    return tuple(y for y in _as_tuple(outputs) if y.requires_grad)


def _random_like(y: Any, non_contiguous: bool) -> Any:
    """A leaf of the shape of y with values in [-1, 1)."""
    if non_contiguous:
        values = y.new_empty(*y.shape, 2).uniform_(-1, 1)[..., 0]
    else:
        values = y.new_empty(y.shape).uniform_(-1, 1)
    return values.detach().requires_grad_()


def _check_inputs(inputs: Sequence) -> None:
    checked = [(n, x) for n, x in enumerate(inputs) if is_tensor(x) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them "
            "have requires_grad=True."
        )
    for number, x in checked:
        if x.dtype != torch.float64:
            warnings.warn(
                f"Input #{number} requires gradient and is not a double precision floating point "
                "or complex. This check will likely fail if all the inputs are not of double "
                "precision floating point or complex. ",
                stacklevel=3,
            )
        if x.layout.repeats:
            raise RuntimeError(
                f"The {number}th input has a dimension with stride 0. gradcheck only supports "
                "inputs that are non-overlapping to be able to compute the numerical gradients "
                "correctly. You should call .contiguous on the input before passing it to "
                "gradcheck."
            )


def _numbers(tensor: Any) -> np.ndarray:
    """A copy of a tensor's elements in a row."""
    return np.array(tensor.detach().tolist(), dtype=np.float64).reshape(-1)


class _Undefined(Function):
    """The identity, whose upstream gradient gets lost."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return None


class _Check:
    """One function, one set of inputs, and the tolerances.

    Args:
        func, inputs, eps, atol, rtol, nondet_tol, check_grad_dtypes: as in :func:`gradcheck`.
        checked: the tensors to differentiate by; the inputs that require a gradient by default.
    """

    def __init__(
        self,
        func: Callable,
        inputs: tuple,
        eps: float = 1e-6,
        atol: float = 1e-5,
        rtol: float = 1e-3,
        nondet_tol: float = 0.0,
        check_grad_dtypes: bool = False,
        checked: list | None = None,
    ):
        self.func = func
        self.inputs = inputs
        self.eps = eps
        self.atol = atol
        self.rtol = rtol
        self.nondet_tol = nondet_tol
        self.check_grad_dtypes = check_grad_dtypes
        if checked is None:
            checked = [x for x in inputs if is_tensor(x) and x.requires_grad]
        self.checked = checked
        self.all_outputs = _as_tuple(func(*inputs))
        self.outputs = _differentiable(self.all_outputs)

    # What is compared

    def backward_mode(self, fast: bool) -> None:
        """Jacobians by backward beside numerical ones."""
        if not self.outputs:
            self._constant()
        elif fast:
            self._projected(forward=False)
        else:
            self._compare(self._numerical(), self._by_backward(), forward=False)

    def forward_mode(self, fast: bool) -> None:
        """Jacobians by forward mode beside numerical ones."""
        if not self.outputs:
            self._constant()
        elif fast:
            self._projected(forward=True)
        else:
            self._compare(self._numerical(), self._by_forward_mode(), forward=True)

    def _constant(self) -> None:
        """A function without differentiable output must not depend on its inputs."""
        if any(np.any(block != 0) for row in self._numerical() for block in row):
            raise GradcheckError("Numerical gradient for function expected to be zero")

    def batched_upstream(self) -> None:
        """Backward of several upstream gradients at once must give what one at a time gives."""
        for y in self.outputs:
            upstream = y.new_empty(2, *y.shape).uniform_(-1, 1)
            batched, *single = [
                grad(
                    y,
                    self.checked,
                    weights,
                    retain_graph=True,
                    allow_unused=True,
                    is_grads_batched=weights is upstream,
                )
                for weights in (upstream, upstream[0], upstream[1])
            ]
            for number, rows in enumerate(zip(batched, *single, strict=True)):
                together, *apart = [None if g is None else _numbers(g) for g in rows]
                if together is not None and not np.allclose(
                    together, np.concatenate(apart), rtol=self.rtol, atol=self.atol
                ):
                    raise GradcheckError(
                        "gradcheck or gradgradcheck failed while testing batched gradient "
                        f"computation: for input {number}, grad(..., is_grads_batched=True) gives "
                        f"{together}, one call for each gives {np.concatenate(apart)}."
                    )

    def zero_upstream(self) -> None:
        """Backward of an upstream gradient of zeros must give zeros."""
        if not self.outputs:
            return
        zeros = [y.new_zeros(y.shape) for y in self.outputs]
        found = grad(self.outputs, self.checked, zeros, retain_graph=True, allow_unused=True)
        for gradient, x in zip(found, self.checked, strict=True):
            if gradient is None:
                continue
            if np.any(_numbers(gradient) != 0):
                raise GradcheckError("backward not multiplied by grad_output")
            if gradient.dtype != x.dtype:
                raise GradcheckError("grad is incorrect type")
            if gradient.shape != x.shape:
                raise GradcheckError("grad is incorrect size")

    def undefined_upstream(self) -> None:
        """Missing upstream gradients, all of them and one at a time, must count as zeros."""
        which: list[Sequence[int]] = [range(len(self.outputs))]
        if len(self.outputs) > 1:
            which += [[number] for number in range(len(self.outputs))]
        for missing in which:
            outputs = [
                _Undefined.apply(y) if number in missing else y
                for number, y in enumerate(_differentiable(self.func(*self.inputs)))
            ]
            if not outputs:
                return
            zeros = [y.new_zeros(y.shape) for y in outputs]
            try:
                found = grad(outputs, self.checked, zeros, allow_unused=True)
            except RuntimeError as error:
                _warn_of_undefined_check()
                raise GradcheckError(
                    "Expected backward function to handle undefined output grads. A gradient that "
                    "is None stands for zeros."
                ) from error
            if any(g is not None and np.any(_numbers(g) != 0) for g in found):
                _warn_of_undefined_check()
                raise GradcheckError(
                    "Expected all input grads to be undefined or zero when all output grads are "
                    "undefined or zero."
                )

    def undefined_tangents(self) -> None:
        """An input without a tangent must count as one whose tangent is zero."""
        for missing in range(len(self.checked)):
            results = []
            for without in (False, True):
                tangents = [x.new_full(x.shape, 1.0) for x in self.checked]
                tangents[missing] = None if without else tangents[missing].zero_()
                results.append(self._tangents(tangents))
            for number, (zero, none) in enumerate(zip(*results, strict=True)):
                if not np.allclose(zero, none):
                    raise GradcheckError(
                        f"Mismatch in tangent values for output with index: {number} when input "
                        f"{missing} has an undefined tangent value. Got: {none} but expected: "
                        f"{zero}"
                    )

    def _compare(self, numerical: list, analytical: list, forward: bool) -> None:
        for j, (n_row, a_row) in enumerate(zip(numerical, analytical, strict=True)):
            for i, (n, a) in enumerate(zip(n_row, a_row, strict=True)):
                if not self._close(a, n, self.atol):
                    raise GradcheckError(self._mismatch(a, n, i, j, forward))

    def _close(self, analytical: np.ndarray, numerical: np.ndarray, atol: float) -> bool:
        return np.allclose(analytical, numerical, rtol=self.rtol, atol=atol)

    # Jacobians: a list per output of matrices, one per checked input

    def _numerical(self) -> list[list[np.ndarray]]:
        """By central differences, element by element."""
        kept = self.outputs or self.all_outputs
        blocks = [[np.zeros((x.numel(), y.numel())) for x in self.checked] for y in kept]
        for j, x in enumerate(self.checked):
            for k in range(x.numel()):
                direction = np.zeros(x.numel())
                direction[k] = 1.0
                place = f"on index {tuple(map(int, np.unravel_index(k, x.shape)))} "
                for i, column in enumerate(self._difference(x, direction, place)):
                    blocks[i][j][k] = column
        return _transposed(blocks, len(self.checked))

    def _difference(self, x: Any, direction: np.ndarray, place: str = "") -> list[np.ndarray]:
        """``(f(x + eps d) - f(x - eps d)) / 2 eps`` of each output."""
        memory = x._as_torch().data  # PyTorch, if it sees this memory, does not count the writes
        present = memory.clone()
        step = torch.from_numpy(direction).reshape(memory.shape).to(memory)
        try:
            memory.copy_(present - self.eps * step)
            below = self._evaluate(place)
            memory.copy_(present + self.eps * step)
            above = self._evaluate(place)
        finally:
            memory.copy_(present)
        return [(b - a) / (2 * self.eps) for a, b in zip(below, above, strict=True)]

    def _evaluate(self, place: str) -> list[np.ndarray]:
        outputs = _as_tuple(self.func(*self.inputs))
        for new, known in zip(outputs, self.all_outputs, strict=True):
            for what, a, b in (
                ("shape", known.shape, new.shape),
                ("dtype", known.dtype, new.dtype),
            ):
                if a != b:
                    raise AssertionError(
                        f"Expected `func` to return outputs with the same {what} when inputs are "
                        f"perturbed {place}by {self.eps}, but got: {what}s {a} and {b}."
                    )
        kept = [
            new
            for new, known in zip(outputs, self.all_outputs, strict=True)
            if known.requires_grad or not self.outputs
        ]
        return [_numbers(y) for y in kept]

    def _by_backward(self) -> list[list[np.ndarray]]:
        blocks = []
        for y in self.outputs:
            units = np.eye(y.numel())
            rows = [self._pulled_back(y, unit) for unit in units]
            blocks.append(
                [
                    np.stack([row[j] for row in rows], 1) if rows else np.zeros((x.numel(), 0))
                    for j, x in enumerate(self.checked)
                ]
            )
        return _transposed(blocks, len(self.checked))

    def _pulled_back(self, y: Any, direction: np.ndarray) -> list[np.ndarray]:
        """The gradients of ``direction . y``, computed twice."""
        upstream = _tensor_like(y, direction)
        runs = [
            grad(y.clone(), self.checked, upstream, retain_graph=True, allow_unused=True)
            for _ in range(2)
        ]
        for gradient, x in zip(runs[0], self.checked, strict=True):
            if gradient is None:
                continue
            if self.check_grad_dtypes and gradient.dtype != x.dtype:
                raise GradcheckError("Gradient has dtype mismatch")
            if gradient.shape != x.shape:
                raise GradcheckError("Analytical gradient has incorrect size")
        first, second = [
            [
                np.zeros(x.numel()) if gradient is None else _numbers(gradient)
                for gradient, x in zip(run, self.checked, strict=True)
            ]
            for run in runs
        ]
        if any(np.any(np.abs(a - b) > self.nondet_tol) for a, b in zip(first, second, strict=True)):
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output "
                "multiple times gives different values, although analytical gradient matches "
                f"numerical gradient. The tolerance for nondeterminism was {self.nondet_tol}. Pass "
                "nondet_tol=... if the function is meant to be nondeterministic."
            )
        return first

    def _by_forward_mode(self) -> list[list[np.ndarray]]:
        blocks = [[np.zeros((x.numel(), y.numel())) for x in self.checked] for y in self.outputs]
        for j, x in enumerate(self.checked):
            for k in range(x.numel()):
                unit = np.zeros(x.numel())
                unit[k] = 1.0
                for i, column in enumerate(self._pushed_forward(j, unit)):
                    blocks[i][j][k] = column
        return _transposed(blocks, len(self.checked))

    def _pushed_forward(self, number: int, direction: np.ndarray) -> list[np.ndarray]:
        """The tangents of the outputs for a direction of one input."""
        tangents = [x.new_zeros(x.shape) for x in self.checked]
        tangents[number] = _tensor_like(self.checked[number], direction)
        return self._tangents(tangents)

    def _tangents(self, tangents: Sequence) -> list[np.ndarray]:
        by_input = dict(zip(map(id, self.checked), tangents, strict=True))
        with forward_ad.dual_level():
            args = []
            for x in self.inputs:
                tangent = by_input.get(id(x))
                if tangent is not None:
                    x = forward_ad.make_dual(x.detach(), tangent)
                elif id(x) in by_input:
                    x = x.detach()
                args.append(x)
            results = []
            for y, known in zip(_as_tuple(self.func(*args)), self.all_outputs, strict=True):
                if not known.requires_grad:
                    continue
                primal, tangent = forward_ad.unpack_dual(y)
                if tangent is None:
                    results.append(np.zeros(y.numel()))
                    continue
                if self.check_grad_dtypes and tangent.dtype != primal.dtype:
                    raise GradcheckError("Forward AD gradient has dtype mismatch.")
                results.append(_numbers(tangent))
        return results

    # The fast mode

    def _projected(self, forward: bool) -> None:
        """Compare one random projection of each Jacobian."""
        random = np.random.default_rng(0)
        us = [_unit(random, x.numel()) for x in self.checked]
        vs = [np.ones(1) if forward else _unit(random, y.numel()) for y in self.outputs]
        pulled = None if forward else [self._pulled_back(y, v) for y, v in _pairs(self.outputs, vs)]
        for j, (x, u) in enumerate(_pairs(self.checked, us)):
            pushed = self._pushed_forward(j, u) if forward else None
            for i, column in enumerate(self._difference(x, u)):
                v = vs[i]
                if pulled is None:
                    assert pushed is not None
                    analytical, numerical = pushed[i], column
                else:
                    analytical, numerical = np.array(pulled[i][j] @ u), np.array(column @ v)
                # In the sum u^T J v an error of atol in each element of J comes to this much.
                atol = self.atol * u.sum() * v.sum()
                if not self._close(analytical, numerical, float(atol)):
                    raise GradcheckError(
                        self._mismatch(analytical, numerical, i, j, forward)
                        + self._in_detail(i, j, forward)
                    )

    def _in_detail(self, i: int, j: int, forward: bool) -> str:
        """The whole Jacobian of output i with respect to input j, after its projection failed."""
        numerical = self._numerical()[j][i]
        analytical = (self._by_forward_mode() if forward else self._by_backward())[j][i]
        text = (
            "\nThe above quantities relating the numerical and analytical jacobians are computed \n"
            "in fast mode: they are random projections. The jacobians themselves are:\n\n"
            f"Numerical:\n {self._shown(numerical, j)}\n"
            f"Analytical:\n{self._shown(analytical, j)}\n\n"
            "The max per-element difference (slow mode) is: "
            f"{np.abs(numerical - analytical).max()}.\n"
        )
        if self._close(analytical, numerical, self.atol):
            text += (
                "Fast gradcheck failed but element-wise differences are small. This means that the "
                "test might've passed in slow_mode!\nUse fast_mode=False."
            )
        return text

    def _mismatch(
        self, analytical: np.ndarray, numerical: np.ndarray, i: int, j: int, forward: bool
    ) -> str:
        mode = "computed with forward mode " if forward else ""
        return (
            f"Jacobian {mode}mismatch for output {i} with respect to input {j},\n"
            f"numerical:{self._shown(numerical, j)}\nanalytical:{self._shown(analytical, j)}\n"
        )

    def _shown(self, matrix: np.ndarray, j: int) -> torch.Tensor:
        """Numbers about input j as PyTorch prints a tensor."""
        return torch.from_numpy(matrix).to(self.checked[j].dtype)


def _warn_of_undefined_check() -> None:
    warnings.warn(
        "Backwards compatibility: New undefined gradient support checking feature is enabled; "
        "check_undefined_grad=False leaves it out.",
        stacklevel=4,
    )


def _transposed(blocks: list[list[np.ndarray]], inputs: int) -> list[list[np.ndarray]]:
    """From a list per output to a list per input."""
    return [[row[j] for row in blocks] for j in range(inputs)]


def _pairs(a: Sequence, b: Sequence) -> zip:
    return zip(a, b, strict=True)


def _unit(random: np.random.Generator, size: int) -> np.ndarray:
    """A random vector of length 1, without negative elements."""
    values = random.random(size)
    return values / (np.linalg.norm(values) or 1.0)


def _tensor_like(x: Any, values: np.ndarray) -> Any:
    """A tensor of the shape, dtype and device of x."""
    result = x.new_empty(x.shape)
    memory = result._as_torch()
    memory.copy_(torch.from_numpy(values).reshape(memory.shape))
    return result
