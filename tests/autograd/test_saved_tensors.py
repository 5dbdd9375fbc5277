"""Hooks of saved tensors beside PyTorch's."""

from __future__ import annotations

import weakref

import pytest
from same import check

import minitorch_triton as mt


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


def what_hooks_get(T):
    x, seen = leaf(T), []
    y = x * 2
    with T.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t) or t, unchanged):
        z = x**3 * y.sin()
    z.sum().backward()
    return seen[0] is x, seen[1] is y, x.grad


def raw(T):
    x = leaf(T)
    y = x.exp()
    with T.autograd.graph.saved_tensors_hooks(lambda t: 5, lambda number: y):
        z = y.sin()
    saved = [x.sin().grad_fn._raw_saved_self, y.grad_fn._raw_saved_result]
    packed = z.grad_fn._raw_saved_self
    seen = [isinstance(packed, T.autograd.SavedTensor), packed.data, packed.unpack().detach()]
    seen += [saved[0].data is x, saved[1].data is y, saved[1].data, saved[1].unpack_hook]
    saved[1].register_hooks(unchanged, unchanged)
    seen.append(saved[1].unpack_hook is unchanged)
    y.sum().backward()
    return [*seen, saved[1].data, saved[1].unpack_hook]


def keeping(T, *, clear):
    class Keep(T.autograd.Function):
        clear_saved_tensors_on_access = clear

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, None)
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            (x, _) = ctx.saved_tensors
            reference = weakref.ref(x)
            del x
            freed.append(reference() is None)
            return g * 2

    freed: list = []
    return Keep, freed


def raw_of_freed(T):
    y = leaf(T).exp() * leaf(T)
    y.sum().backward()
    y.grad_fn._raw_saved_self.register_hooks(unchanged, unchanged)


def raw_of_a_function(T):
    x = leaf(T)
    y = keeping(T, clear=False)[0].apply(x)
    kept, nothing = y.grad_fn._raw_saved_tensors
    seen = [kept.data is x, nothing.data]
    kept.register_hooks(lambda t: t * 3, unchanged)
    seen.append(y.grad_fn.saved_tensors[0].detach())
    nothing.register_hooks(unchanged, unchanged)


def cleared_on_access(T):
    x = leaf(T)
    Keep, freed = keeping(T, clear=True)
    Keep.apply(x * 1).sum().backward()
    return freed, x.grad


def cleared_and_read_again(T):
    y = keeping(T, clear=True)[0].apply(leaf(T))
    assert y.grad_fn.saved_tensors[1] is None
    return y.grad_fn.saved_tensors


SCRIPTS = {
    "what_hooks_get": what_hooks_get,
    "raw": raw,
    "raw_by_hand": lambda T: T.autograd.SavedTensor(),
    "raw_of_freed": raw_of_freed,
    "raw_of_a_function": raw_of_a_function,
    "cleared_on_access": cleared_on_access,
    "cleared_and_read_again": cleared_and_read_again,
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


@pytest.mark.parametrize("hooks", [(unchanged,), (1, unchanged), (unchanged, None)])
def test_hooks_of_a_saved_tensor_are_two_functions(hooks):
    with pytest.raises(TypeError, match="incompatible function arguments"):
        leaf(mt).exp().grad_fn._raw_saved_result.register_hooks(*hooks)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name):
    check(SCRIPTS[name], message=True)
