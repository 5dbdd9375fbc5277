"""Derivatives of derivatives: every operation of the table against PyTorch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import minitorch_triton as mt
from minitorch_triton.testing import CASES
from minitorch_triton.testing.cases import MATRIX
from minitorch_triton.testing.checks import error, tolerance

DIFFERENTIABLE = [
    case
    for case in CASES.values()
    if case.deterministic and case.differentiable and torch.float64 in case.dtypes
]
ELEMENTWISE = [
    case
    for case in DIFFERENTIABLE
    if case.kind == "elementwise"
    and all(given.dtype is None and given.shape == MATRIX for given in case.inputs)
]


def by_name(cases):
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def drawn(t, shapes, seed):
    """Random cotangents, the same for both packages."""
    generator = torch.Generator().manual_seed(seed)
    return [
        t.as_tensor(torch.randn(shape, generator=generator, dtype=torch.float64))
        for shape in shapes
    ]


def derivatives(t, case, order):
    """Vector-Jacobian products of vector-Jacobian products, by inputs and cotangents."""
    xs = [t.as_tensor(x.clone()) for x in case.sample(torch.float64)]
    wanted = [
        x.requires_grad_()
        for x, given in zip(xs, case.inputs, strict=True)
        if x.dtype.is_floating_point and given.tracked
    ]
    results = case.call(t, *xs)
    results = results if isinstance(results, (tuple, list)) else [results]
    outputs = [y for y in results if y.requires_grad]
    found = []
    for step in range(order):
        cotangents = drawn(t, [tuple(y.shape) for y in outputs], step)
        cotangents = [g.requires_grad_(step < order - 1) for g in cotangents]
        given = wanted
        wanted = wanted + [g for g in cotangents if g.requires_grad]
        outputs = t.autograd.grad(
            outputs, given, cotangents, create_graph=True, materialize_grads=True
        )
        found += [y.detach() for y in outputs]
        outputs = [y for y in outputs if y.requires_grad]
        if not outputs:
            break
    return found


SHIFTED_BY_PYTORCH = 1e-12 / 0.05**2
"""PyTorch's second derivative of binary_cross_entropy adds 1e-12 to x and to 1 - x before it
divides by them twice; the cases keep x in [0.05, 0.95]."""


@by_name(DIFFERENTIABLE)
def test_second_derivative(case):
    ours, theirs = derivatives(mt, case, 2), derivatives(torch, case, 2)
    limit = tolerance(torch.float64, case.terms, 16 * case.condition)
    if case.op == "binary_cross_entropy":
        limit += SHIFTED_BY_PYTORCH
    assert len(ours) == len(theirs)
    for number, (y, expected) in enumerate(zip(ours, theirs, strict=True)):
        assert error(y.torch(), expected, upstream=1.0) <= limit, number


THIRD = ("mul", "div", "pow:scalar", "exp", "tanh", "sigmoid", "silu", "softplus", "logsigmoid")
THIRD += ("matmul", "softmax", "mse_loss")


@pytest.mark.parametrize("name", THIRD)
def test_third_derivative(name):
    case = CASES[name]
    limit = tolerance(torch.float64, case.terms, 64 * case.condition)
    for y, expected in zip(derivatives(mt, case, 3), derivatives(torch, case, 3), strict=True):
        assert error(y.torch(), expected, upstream=1.0) <= limit


EXTREMES = [0.0, -0.0, 0.5, -1.5, 1.0, 100.0, -100.0, 1e4, -1e4, math.inf, -math.inf, math.nan]

NAN_OF_THE_BRANCH_NOT_TAKEN = ("atan2", "pow")
"""PyTorch's second derivatives of x ** y are NaN where x or y is 0 or x infinite, but not always,
and those of atan2 where both are 0: it multiplies the gradient of the branch not taken by zero.
Ours is that of the branch taken."""


@by_name(ELEMENTWISE)
def test_second_derivatives_at_extremes_are_pytorchs(case):
    """In float32 on both sides, for all combinations of values."""
    grid = list(itertools.product(EXTREMES, repeat=len(case.inputs)))
    columns = [torch.tensor(column) for column in zip(*grid, strict=True)]
    found = []
    for t in (mt, torch):
        xs = [t.as_tensor(x.clone()).requires_grad_() for x in columns]
        y = case.call(t, *xs)
        firsts = t.autograd.grad(y, xs, t.ones_like(y), create_graph=True)
        derivatives = list(firsts)
        for first in firsts:
            if first.requires_grad:
                derivatives += t.autograd.grad(
                    first, xs, t.ones_like(first), materialize_grads=True, retain_graph=True
                )
            else:
                derivatives += [t.zeros_like(x) for x in xs]
        found.append([y.detach() for y in derivatives])
    for ours, theirs in zip(*found, strict=True):
        close = torch.isclose(ours.torch(), theirs, rtol=1e-5, atol=1e-37, equal_nan=True)
        if case.name in NAN_OF_THE_BRANCH_NOT_TAKEN:
            close |= theirs.isnan()
        if case.name == "atan2":
            # Two terms of 1 / (a² + b²) at most cancel, and PyTorch rounds each.
            terms = 1 / (columns[0] ** 2 + columns[1] ** 2)
            close |= (ours.torch() - theirs).abs() <= torch.finfo(torch.float32).eps * terms
        places = (~close).nonzero().flatten().tolist()
        assert not [(grid[i], ours[i].item(), theirs[i].item()) for i in places]


def test_derivatives_of_fmod_by_both():
    generator = torch.Generator().manual_seed(0)
    a, b, g = torch.randn(3, 5, 7, generator=generator, dtype=torch.float64)
    found = []
    for t in (mt, torch):
        x = t.as_tensor(10 * a).requires_grad_()
        y = t.as_tensor(b[0]).requires_grad_()
        firsts = t.autograd.grad(t.fmod(x, y), (x, y), t.as_tensor(g), create_graph=True)
        second = t.autograd.grad(firsts[1].sum(), (x, y), materialize_grads=True)
        found.append([z.detach() for z in (*firsts, *second)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours.torch(), theirs)


@pytest.mark.parametrize("loss", ["huber_loss", "smooth_l1_loss"])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_losses_at_their_limits_and_at_nan(loss, reduction):
    found = []
    for t in (mt, torch):
        values = [math.nan, 1.0, -1.0, 0.5, -3.0, math.inf]
        x = t.tensor(values, dtype=t.float64, requires_grad=True)
        target = t.zeros(6, dtype=t.float64, requires_grad=True)
        y = getattr(t.nn.functional, loss)(x, target, reduction=reduction)
        firsts = t.autograd.grad(y.sum(), (x, target), create_graph=True)
        seconds = t.autograd.grad(firsts[0][1:5].sum(), (x, target))
        found.append([z.detach() for z in (*firsts, *seconds)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours.torch(), theirs, equal_nan=True)


@pytest.mark.parametrize("exponent", [2, 3])
def test_powers_until_their_derivatives_vanish(exponent):
    """PyTorch's graph ends at the first derivative that is zero; ours goes on, and stays zero."""
    found = []
    for t in (mt, torch):
        x = t.tensor([0.0, 2.0, -1.5], dtype=t.float64, requires_grad=True)
        y = x**exponent
        for _ in range(exponent + 1):
            (y,) = t.autograd.grad(y.sum(), x, create_graph=True)
            found.append(y.tolist())
        if t is mt:
            (beyond,) = t.autograd.grad(y.sum(), x)
            assert beyond.tolist() == [0.0, 0.0, 0.0]
    assert found[: exponent + 1] == found[exponent + 1 :]


def test_the_bias_of_a_linear_layer_may_change_before_a_recorded_backward():
    """No derivative depends on it, so that PyTorch does not save it."""
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(*s, generator=generator).double() for s in ((5, 3), (3, 3), (3,), (5, 3))]
    found = []
    for t in (mt, torch):
        x, w, bias, g = (t.tensor(z.tolist(), dtype=t.float64) for z in given)
        for leaf in (x, w, bias):
            leaf.requires_grad_()
        y = t.nn.functional.linear(x, w, bias)
        with t.no_grad():
            bias.mul_(3.0)
        firsts = t.autograd.grad(y, (x, w, bias), g, create_graph=True)
        seconds = t.autograd.grad((firsts[0] * g).sum(), (x, w), materialize_grads=True)
        found.append([z.detach() for z in (*firsts, *seconds)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours.torch(), theirs)
