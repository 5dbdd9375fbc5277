"""Hooks of saved tensors beside PyTorch's."""

from __future__ import annotations

import pytest
from same import check


def leaf(T):
    return T.tensor([1.0, 2.0, 3.0], requires_grad=True)


def unchanged(tensor):
    return tensor


def nested_hooks(T):
    x = leaf(T)
    with T.autograd.graph.saved_tensors_hooks(lambda t: t * 2, unchanged):
        a = x.exp()
        with T.autograd.graph.saved_tensors_hooks(lambda t: t * 3, unchanged):
            b = a.exp()
        c = b.exp()
    c.sum().backward()
    return x.grad


def unpacked_to(value):
    def run(T):
        with T.autograd.graph.saved_tensors_hooks(unchanged, lambda t: value):
            y = leaf(T) * leaf(T)
        y.sum().backward()

    return run


def on_cpu(T):
    x = leaf(T)
    with T.autograd.graph.save_on_cpu():
        y = (x * x).exp()
    y.sum().backward()
    return x.grad


def second_derivative(T):
    x = leaf(T)
    with T.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t * 1):
        y = x**3 + x.exp()
    (first,) = T.autograd.grad(y.sum(), x, create_graph=True)
    return T.autograd.grad(first.sum(), x)


def disabled(T):
    texts = []

    def attempt():
        try:
            with T.autograd.graph.saved_tensors_hooks(unchanged, unchanged):
                texts.append("allowed")
        except RuntimeError as error:
            texts.append(str(error))

    with T.autograd.graph.disable_saved_tensors_hooks("outer"):
        attempt()
        with T.autograd.graph.disable_saved_tensors_hooks("inner"):
            attempt()
        attempt()
    attempt()
    return texts


def disabled_while_in_use(T):
    with (
        T.autograd.graph.saved_tensors_hooks(unchanged, unchanged),
        T.autograd.graph.disable_saved_tensors_hooks("in use"),
    ):
        pass


def mutated(T):
    """Values, and how many copies were made."""
    x = T.ones(2, 3, requires_grad=True)
    counts = []
    with T.autograd.graph.allow_mutation_on_saved_tensors() as context:
        b = x.clone()
        y = (b.exp() * b).sum() + (b.view(6) ** 2).sum()
        b[0].sin_()
        counts.append(len(context.cloned))
        b.mul_(3)
        counts.append(len(context.cloned))
        y.backward()
    return [x.grad, counts]


def mutated_and_nested(T):
    with (
        T.autograd.graph.allow_mutation_on_saved_tensors(),
        T.autograd.graph.allow_mutation_on_saved_tensors(),
    ):
        pass


def mutated_and_backward_outside(T):
    x = leaf(T)
    with T.autograd.graph.allow_mutation_on_saved_tensors():
        y = (x.clone() ** 2).sum()
    try:
        y.backward()
    except AssertionError as error:
        return str(error)[:30]


SCRIPTS = {
    "mutated": mutated,
    "mutated_and_nested": mutated_and_nested,
    "mutated_and_backward_outside": mutated_and_backward_outside,
    "nested_hooks": nested_hooks,
    "unpacked_to_number": unpacked_to(5),
    "unpacked_to_none": unpacked_to(None),
    "on_cpu": on_cpu,
    "second_derivative": second_derivative,
    "disabled": disabled,
    "disabled_while_in_use": disabled_while_in_use,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name):
    check(SCRIPTS[name], message=True)
