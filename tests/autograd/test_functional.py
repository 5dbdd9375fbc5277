"""``autograd.functional`` beside PyTorch's: results, whether they have a graph, error texts."""

from __future__ import annotations

import pytest
import torch
from same import check

import minitorch_triton as mt

PRODUCTS = ("vjp", "jvp", "vhp", "hvp")


def random(T, *shape, requires_grad=False, seed=0):
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(seed + len(shape)))
    return (values if T is torch else mt.from_torch(values)).requires_grad_(requires_grad)


def head(a):
    return 3 * a.narrow(0, 0, 3)


def head_exp(a):
    return head(a).exp().sum()


def with_text(a):
    return head(a), "bar"


def detached(a):
    return a.detach()


def unconnected(a):
    return a.long().float().requires_grad_().clone()


def summed(function):
    return lambda a: function(a).sum()


def clone(a):
    return a.clone()


def scalar(a):
    return (a * a).sum().view(1, 1)


def linear(a):
    return (3 * a).sum()


def two(a, b):
    return 2 * a + b.narrow(0, 0, 4), a * a.cos()


def two_exp(a, b):
    return (a * b.narrow(0, 0, 4)).exp().sum()


FLAGS = [
    {},
    {"create_graph": True},
    {"strict": True},
    {"create_graph": True, "strict": True},
]


def flags_id(flags):
    return "+".join(flags) or "plain"


@pytest.mark.parametrize("flags", FLAGS, ids=flags_id)
@pytest.mark.parametrize("api", [*PRODUCTS, "jacobian", "hessian"])
def test_one_input(api, flags):
    """Every function, with vectors of every shape, right and wrong."""
    functions = [head, head_exp, with_text, detached, unconnected, clone, scalar, linear]
    functions += [summed(detached), summed(unconnected)]
    vectors = [None] if api in ("jacobian", "hessian") else [None, 3, 4, 5]
    for function in functions:
        for requires_grad in (False, True):
            for size in vectors:

                def run(T, function=function, requires_grad=requires_grad, size=size):
                    x = random(T, 4, requires_grad=requires_grad)
                    v = () if size is None else (random(T, size, seed=1),)
                    return getattr(T.autograd.functional, api)(function, x, *v, **flags)

                check(run, message=True)


@pytest.mark.parametrize("flags", FLAGS, ids=flags_id)
@pytest.mark.parametrize("api", [*PRODUCTS, "jacobian", "hessian"])
def test_tuples(api, flags):
    def run(T, function, vector):
        a, b = random(T, 4), random(T, 5, requires_grad=True)
        v = () if vector is None else (vector(T),)
        return getattr(T.autograd.functional, api)(function, (a, b), *v, **flags)

    vectors = [
        None,
        lambda T: (random(T, 4), random(T, 4, seed=1)),
        lambda T: (random(T, 4), random(T, 5)),
        lambda T: random(T, 4),
        lambda T: (random(T, 4), 2),
    ]
    for function in (two, two_exp):
        for vector in vectors[: 1 if api in ("jacobian", "hessian") else None]:
            check(lambda T, f=function, v=vector: run(T, f, v), message=True)
    check(lambda T: getattr(T.autograd.functional, api)(head, (random(T, 4), 2)), message=True)


@pytest.mark.parametrize("api", PRODUCTS)
def test_under_no_grad(api):
    def run(T):
        results = []
        for create_graph in (False, True):
            with T.no_grad():
                x, v = random(T, 4, requires_grad=True), random(T, 4, seed=1)
                function = head_exp if api in ("vhp", "hvp") else clone
                results.append(getattr(T.autograd.functional, api)(function, x, v, create_graph))
        return results

    check(run)


@pytest.mark.parametrize(
    "options",
    [
        {"vectorize": True},
        {"vectorize": True, "strict": True},
        {"strategy": "forward-mode", "create_graph": True, "vectorize": True},
        {"strategy": "forward-mode", "strict": True, "vectorize": True},
        {"strategy": "sideways"},
    ],
    ids=str,
)
def test_options(options):
    check(lambda T: T.autograd.functional.jacobian(head, random(T, 4), **options), message=True)


def test_forward_mode_gives_the_same():
    def matrices(a, b):
        return (a * a) @ b, a @ (a.sum(1) * b), b.sum()

    def third(a, b):
        return ((a.relu() * a) @ b.sin()).pow(3).sum()

    inputs = (random(mt, 3, 2), random(mt, 2, 3))
    functional = mt.autograd.functional
    for expected, found in (
        (
            functional.jacobian(matrices, inputs),
            functional.jacobian(matrices, inputs, vectorize=True, strategy="forward-mode"),
        ),
        (
            functional.hessian(third, inputs),
            functional.hessian(
                third, inputs, vectorize=True, outer_jacobian_strategy="forward-mode"
            ),
        ),
    ):
        torch.testing.assert_close(
            [[part.torch() for part in row] for row in map(_as_tuple, found)],
            [[part.torch() for part in row] for row in map(_as_tuple, expected)],
        )


def _as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def test_an_input_of_the_function_is_not_one_it_finds_elsewhere():
    def run(T):
        x = random(T, 3, requires_grad=True)
        return T.autograd.functional.jacobian(lambda a: a * x, x)

    check(run)


def test_nothing_to_differentiate():
    def run(T):
        return T.autograd.functional.vjp(lambda a: a * 2, T.zeros(0), T.zeros(0))

    check(run)
