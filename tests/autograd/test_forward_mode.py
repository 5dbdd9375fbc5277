"""Forward mode beside PyTorch's: tangents, what they do to views and in-place writes, levels."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from same import check

import minitorch_triton as mt
from minitorch_triton.testing import CASES
from minitorch_triton.testing.checks import error, tolerance

# PyTorch's make_dual loads scripted functions.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is dep:DeprecationWarning")


def fw(T):
    return T.autograd.forward_ad


def random(T, *shape, seed=0, dtype=torch.float32):
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return values if T is torch else mt.from_torch(values)


def on_a_copy(change):
    def function(T, a, b):
        x = a * 1
        change(x, b)
        return x

    return function


FUNCTIONS = {
    "mul": lambda T, a, b: a * b,
    "div": lambda T, a, b: a / b,
    "exp": lambda T, a, b: a.exp(),
    "pow": lambda T, a, b: a**b,
    "broadcast": lambda T, a, b: a + b[0],
    "same_operand": lambda T, a, b: a * a,
    "number": lambda T, a, b: 2 - a,
    "where": lambda T, a, b: T.where(a > b, a, b),
    "floor": lambda T, a, b: a.floor(),
    "matmul": lambda T, a, b: a @ b,
    "sum": lambda T, a, b: a.sum(1),
    "std": lambda T, a, b: a.std(),
    "amax": lambda T, a, b: a.amax(1),
    "view": lambda T, a, b: a.t()[1:].reshape(-1),
    "cat": lambda T, a, b: T.cat([a, b]),
    "gather": lambda T, a, b: a[T.tensor([0, 2])],
    "softmax": lambda T, a, b: T.softmax(a, 1),
    "clone": lambda T, a, b: a.clone(),
    "cast": lambda T, a, b: a.double() * 2,
    "cross_entropy": lambda T, a, b: T.nn.functional.cross_entropy(a, T.tensor([0, 1, 2])),
    "gelu": lambda T, a, b: T.nn.functional.gelu(a),
    "linear": lambda T, a, b: T.nn.functional.linear(a, b, b[0]),
    "mul_": on_a_copy(lambda x, b: x.mul_(b)),
    "exp_": on_a_copy(lambda x, b: x.exp_()),
    "copy_": on_a_copy(lambda x, b: x.copy_(b)),
    "assign": on_a_copy(lambda x, b: x.__setitem__(0, b[1])),
    "write_to_view": on_a_copy(lambda x, b: x[1].mul_(b[0])),
    "write_to_transposed": on_a_copy(lambda x, b: x.t().div_(b)),
    "fill_row": on_a_copy(lambda x, b: x[0].fill_(3.0)),
    "masked_assign": on_a_copy(lambda x, b: x.__setitem__(b > 0.5, 0.0)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tangents(name):
    """Values, and with gradients recorded the gradients of the tangent."""

    def run(T, recorded):
        values = [random(T, 3, 3, seed=seed) for seed in range(4)]
        for value in values:
            value.requires_grad_(recorded)
        with fw(T).dual_level():
            a, b = (fw(T).make_dual(p, t) for p, t in zip(values[:2], values[2:], strict=True))
            primal, tangent = fw(T).unpack_dual(FUNCTIONS[name](T, a, b))
        results = [primal.detach(), tangent.detach()]
        if tangent.requires_grad:
            weight = random(T, *tangent.shape, seed=9, dtype=tangent.dtype)
            gradients = T.autograd.grad((tangent * weight).sum(), values, allow_unused=True)
            results += [
                T.zeros(3, 3) if gradient is None else gradient.contiguous()
                for gradient in gradients
            ]
        return results

    check(lambda T: run(T, False))
    if name != "softmax":  # PyTorch's own formula fails there: it changed what it had saved
        check(lambda T: run(T, True))


def test_layer_norm_tangent_does_not_see_a_shift():
    x, shift, t = random(mt, 4, 3), mt.ones(4, 3), random(mt, 4, 3, seed=1)
    x.requires_grad_()
    with fw(mt).dual_level():
        y = mt.nn.functional.layer_norm(fw(mt).make_dual(x, t), (3,))
        tangent = fw(mt).unpack_dual(y).tangent
        shifted = mt.nn.functional.layer_norm(fw(mt).make_dual(t, shift), (3,))
        assert fw(mt).unpack_dual(shifted).tangent.abs().max().item() < 1e-6
    (gradient,) = mt.autograd.grad((tangent * t).sum(), x)
    assert gradient.sum(1).abs().max().item() < 1e-4


def test_no_grad_and_detach():
    def run(T):
        x = random(T, 2).requires_grad_()
        with fw(T).dual_level():
            dual = fw(T).make_dual(x, T.ones(2))
            with T.no_grad():
                p, t = fw(T).unpack_dual(dual * 3)
            detached = fw(T).unpack_dual(dual.detach() * 2)
            left = dual.clone()
            left.detach_()
            return [p, t, *detached, *fw(T).unpack_dual(left * 2), fw(T).unpack_dual(dual > 0)[1]]

    check(run)


def test_primal_and_tangent_are_differentiable():
    def run(T):
        x, t = random(T, 2).requires_grad_(), random(T, 2, seed=1).requires_grad_()
        with fw(T).dual_level():
            primal, tangent = fw(T).unpack_dual(fw(T).make_dual(x, t))
            return [
                T.autograd.grad(part.sum(), (x, t), allow_unused=True) for part in (primal, tangent)
            ]

    check(run)


def test_writes_go_to_the_tangent_that_was_given():
    def run(T):
        x, t = random(T, 2), T.ones(2)
        with fw(T).dual_level():
            dual = fw(T).make_dual(x, t)
            dual *= 2
            first = [t.clone(), fw(T).unpack_dual(x)[1], fw(T).unpack_dual(dual)[1].clone()]
            view = dual.narrow(0, 0, 1)
            view *= 3
            other = T.zeros(2)
            other[0] = dual[0]
            outside = T.zeros(2)
            detached = outside.detach()
            detached += dual
            return [
                *first,
                *fw(T).unpack_dual(dual),
                fw(T).unpack_dual(view)[1],
                fw(T).unpack_dual(other)[1],
                fw(T).unpack_dual(outside)[1],
                fw(T).unpack_dual(detached)[1],
            ]

    check(run)


def test_backward_inside_of_a_level():
    """Of a tangent, and of a dual tensor, whose gradient then has a tangent."""

    def run(T):
        w = random(T, 4, 3).requires_grad_()
        x, t = random(T, 5, 3, seed=1), random(T, 5, 3, seed=2)
        target = T.tensor([0, 1, 3, 1, 2])
        results = []
        with fw(T).dual_level():
            dual = fw(T).make_dual(x, t)
            loss = (T.tanh(dual @ w.t()) ** 2).sum()
            results += T.autograd.grad(fw(T).unpack_dual(loss)[1], w, retain_graph=True)
            (gradient,) = T.autograd.grad(loss, w)
            results += fw(T).unpack_dual(gradient)
            if T is mt:  # PyTorch changed there what it had saved
                log_loss = T.nn.functional.cross_entropy(dual @ w.t(), target)
                tangent = fw(T).unpack_dual(log_loss)[1]
                assert T.autograd.grad(tangent, w)[0].shape == w.shape
        return [result.contiguous() for result in results]

    check(run)


def test_tangents_do_not_share_memory():
    def run(T):
        x = random(T, 3)
        with fw(T).dual_level():
            dual = fw(T).make_dual(x, T.ones(3))
            copies = [dual + 0, dual.clone(), T.zeros(3).add_(dual), T.zeros(3).copy_(dual)]
            for copy in copies:
                copy.mul_(2)
            return [fw(T).unpack_dual(y)[1] for y in (dual, *copies)]

    check(run)


def test_a_tangent_lives_as_long_as_its_dual_and_level():
    with fw(mt).dual_level() as level:
        assert level == 0
        tangent = mt.rand(2)
        dual = fw(mt).make_dual(mt.rand(2), tangent)
        assert fw(mt).unpack_dual(dual).tangent is tangent
        reference = weakref.ref(tangent)
        del tangent
        assert reference() is not None
        del dual
        gc.collect()
        assert reference() is None
        kept = fw(mt).make_dual(mt.rand(2), mt.rand(2))
    assert fw(mt).unpack_dual(kept).tangent is None
    with fw(mt).dual_level():
        assert fw(mt).unpack_dual(kept).tangent is None
    assert fw(mt)._current_level == -1


def test_printing():
    def run(T):
        with fw(T).dual_level():
            dual = fw(T).make_dual(T.zeros(2), T.ones(2))
            return [str(dual), str(fw(T).unpack_dual(dual)[0]), str(T.zeros(2))]

    check(run)


ERRORS = {
    "no_level": lambda T: fw(T).make_dual(T.ones(2), T.ones(2)),
    "size": lambda T: in_level(T, lambda: fw(T).make_dual(T.ones(2), T.ones(3))),
    "integers": lambda T: in_level(T, lambda: fw(T).make_dual(T.ones(2).long(), T.ones(2))),
    "integer_tangent": lambda T: in_level(T, lambda: fw(T).make_dual(T.ones(2), T.ones(2).long())),
    "dual_of_a_dual": lambda T: in_level(
        T, lambda: fw(T).make_dual(fw(T).make_dual(T.ones(2), T.ones(2)), T.ones(2))
    ),
    "nested": lambda T: in_level(T, fw(T).enter_dual_level),
}


def in_level(T, function):
    with fw(T).dual_level():
        return function()


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    check(ERRORS[name], message=True)


DIFFERENTIABLE = [
    case
    for case in CASES.values()
    if case.deterministic and case.differentiable and torch.float64 in case.dtypes
]


def as_tuple(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


SHIFTED_BY_PYTORCH = 1e-12 / 0.05**2
"""PyTorch, where it differentiates binary_cross_entropy twice, adds 1e-12 to x and to 1 - x before
it divides by them; the cases keep x in [0.05, 0.95]."""


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda case: case.name)
def test_every_operation(case):
    """The tangent beside PyTorch's ``autograd.functional.jvp``, which differentiates twice."""
    xs = case.sample(torch.float64)
    generator = torch.Generator().manual_seed(1)
    tangents = {
        place: torch.randn(x.shape, generator=generator, dtype=torch.float64)
        for place, (x, given) in enumerate(zip(xs, case.inputs, strict=True))
        if x.dtype == torch.float64 and given.tracked
    }

    def floating(T, *varying):
        args = [x.clone() if T is torch else mt.from_torch(x.clone()) for x in xs]
        for place, arg in zip(tangents, varying, strict=True):
            args[place] = arg * 1  # some cases write to their inputs
        return tuple(y for y in as_tuple(case.call(T, *args)) if y.is_floating_point())

    _, expected = torch.autograd.functional.jvp(
        lambda *varying: floating(torch, *varying),
        tuple(xs[place] for place in tangents),
        tuple(tangents.values()),
    )
    with fw(mt).dual_level():
        duals = [
            fw(mt).make_dual(mt.from_torch(xs[place].clone()), mt.from_torch(tangent))
            for place, tangent in tangents.items()
        ]
        outputs = floating(mt, *duals)
        found = [fw(mt).unpack_dual(y).tangent for y in outputs]
    limit = tolerance(torch.float64, case.terms, 16 * case.condition)
    if case.op == "binary_cross_entropy":
        limit += SHIFTED_BY_PYTORCH
    for tangent, reference in zip(found, expected, strict=True):
        assert tangent.shape == reference.shape
        assert error(tangent.torch(), reference) <= limit
