"""Hooks of modules beside PyTorch's: what is called, in which order, with what, to what effect.

Each script runs on both frameworks and must return or raise the same.
"""

import collections
import copy
import pickle
import warnings

import pytest
import torch
from torch.nn.modules import module as torch_hooks

import minitorch_triton as mt
from minitorch_triton.nn.modules import module as our_hooks

SCRIPTS = []


def script(function):
    SCRIPTS.append(pytest.param(function, id=function.__name__))
    return function


def plain(value):
    """Tensors as nested lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


class Calls(list):
    """Notes calls: ``calls("name")`` is a hook."""

    def __call__(self, name, result=None):
        def hook(module, *args):
            self.append((name, type(module).__name__, plain(args)))
            return result(*args) if callable(result) else result

        return hook


def linear(t, n):
    m = n.Linear(2, 1, bias=False)
    m.load_state_dict({"weight": t.tensor([[2.0, 3.0]])})
    return m


def failing(t, n):
    class Failing(n.Module):
        def forward(self, x):
            raise ValueError("in forward")

    return Failing()


@script
def forward_and_pre_hooks_in_order(t, n, calls, hooks):
    m = linear(t, n)
    m.register_forward_pre_hook(calls("pre 1"))
    m.register_forward_pre_hook(calls("pre 2"), prepend=True)
    m.register_forward_hook(calls("post 1"))
    m.register_forward_hook(calls("post 2"), prepend=True)
    m(t.ones(1, 2))


@script
def a_handle_removes(t, n, calls, hooks):
    m = linear(t, n)
    handle = m.register_forward_hook(calls("a"), with_kwargs=True, always_call=True)
    with m.register_forward_hook(calls("b")):
        m(t.ones(1, 2))
    handle.remove()
    handle.remove()
    m(t.ones(1, 2))
    return len(m._forward_hooks)


@script
def inputs_and_outputs_are_replaced(t, n, calls, hooks):
    m = linear(t, n)
    m.register_forward_pre_hook(lambda module, args: args[0] * 2)
    m.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    m.register_forward_hook(calls("post", lambda args, out: out * 10))
    m.register_forward_hook(calls("post", lambda args, out: out + 1))
    return m(t.ones(1, 2))


@script
def keyword_arguments(t, n, calls, hooks):
    class Scaled(n.Module):
        def forward(self, x, *, factor=1.0):
            return x * factor

    m = Scaled()
    m.register_forward_pre_hook(
        calls("pre", lambda args, kwargs: (args, {"factor": kwargs["factor"] + 1})),
        with_kwargs=True,
    )
    m.register_forward_hook(calls("post"), with_kwargs=True)
    m.register_forward_hook(calls("plain"))
    return m(t.ones(2), factor=3.0)


@script
def a_pre_hook_with_kwargs_returns_both(t, n, calls, hooks):
    m = linear(t, n)
    m.register_forward_pre_hook(lambda module, args, kwargs: args, with_kwargs=True)
    m(t.ones(1, 2))


@script
def always_called(t, n, calls, hooks):
    m = failing(t, n)
    m.register_forward_hook(calls("sometimes"))
    m.register_forward_hook(calls("always"), always_call=True)
    m.register_forward_hook(calls("with kwargs"), always_call=True, with_kwargs=True)
    m(t.ones(1))


@script
def an_exception_in_an_always_called_hook_is_a_warning(t, n, calls, hooks):
    def fail(*args):
        raise RuntimeError("in the hook")

    m = failing(t, n)
    m.register_forward_hook(fail, always_call=True)
    m.register_forward_hook(calls("after"), always_call=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            m(t.ones(1))
        finally:
            calls.append([str(w.message) for w in caught])


@script
def a_failing_hook_is_not_called_twice(t, n, calls, hooks):
    def fail(module, args, out):
        calls.append("fail")
        raise RuntimeError("in the hook")

    m = linear(t, n)
    m.register_forward_hook(fail, always_call=True)
    m.register_forward_hook(calls("after"), always_call=True)
    m(t.ones(1, 2))


@script
def backward_hooks(t, n, calls, hooks):
    m = n.Sequential(linear(t, n), n.ReLU())
    for name, module in m.named_modules():
        module.register_full_backward_hook(calls(f"post {name}"))
        module.register_full_backward_pre_hook(calls(f"pre {name}"))
    x = t.ones(1, 2, requires_grad=True)
    y = m(x)
    y.backward(t.tensor([[5.0]]))
    return x.grad, m[0].weight.grad, type(y.grad_fn).__name__


@script
def backward_hooks_replace(t, n, calls, hooks):
    m = linear(t, n)
    m.register_full_backward_hook(calls("post", lambda gi, go: (gi[0] * 10,)))
    m.register_full_backward_hook(calls("first", lambda gi, go: (gi[0] + 1,)), prepend=True)
    m.register_full_backward_pre_hook(calls("pre", lambda go: (go[0] * 2,)))
    m.register_full_backward_pre_hook(calls("first", lambda go: (go[0] + 1,)), prepend=True)
    x = t.ones(1, 2, requires_grad=True)
    m(x).sum().backward()
    return x.grad, m.weight.grad


@script
def inputs_that_are_no_tensors_get_none(t, n, calls, hooks):
    class Two(n.Module):
        def forward(self, x, factor, y):
            return x * factor, "text", y * 2

    m = Two()
    m.register_full_backward_hook(calls("post"))
    x, y = t.ones(2, requires_grad=True), t.ones(2)
    a, _, b = m(x, 3, y)
    (a + b).sum().backward()
    return x.grad


@script
def no_input_needs_a_gradient(t, n, calls, hooks):
    m = linear(t, n)
    m.register_full_backward_hook(calls("post"))
    y = m(t.ones(1, 2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        y.sum().backward()
    return m.weight.grad, len(caught), str(caught[0].message)[:120]


@script
def no_input_needs_a_gradient_and_a_hook_returns_one(t, n, calls, hooks):
    m = linear(t, n)
    m.register_full_backward_hook(lambda m, gi, go: (go[0],))
    y = m(t.ones(1, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y.sum().backward()


@script
def too_many_gradients(t, n, calls, hooks):
    m = linear(t, n)
    m.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    m(t.ones(1, 2, requires_grad=True)).sum().backward()


@script
def too_many_gradients_before(t, n, calls, hooks):
    m = linear(t, n)
    m.register_full_backward_pre_hook(lambda m, go: (go[0], go[0]))
    m(t.ones(1, 2, requires_grad=True)).sum().backward()


@script
def nothing_under_no_grad(t, n, calls, hooks):
    m = linear(t, n)
    m.register_full_backward_hook(calls("post"))
    with t.no_grad():
        return m(t.ones(1, 2, requires_grad=True)).requires_grad


@script
def an_output_that_is_no_tensor_warns(t, n, calls, hooks):
    class Dictionary(n.Module):
        def forward(self, x):
            return {"y": x * 2}

    m = Dictionary()
    m.register_full_backward_hook(calls("post"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        m(t.ones(1, requires_grad=True))["y"].backward()
    return [str(w.message) for w in caught]


@script
def non_full_backward_hooks(t, n, calls, hooks):
    m = n.LeakyReLU(0.5)
    m.register_backward_hook(calls("grads", lambda gi, go: tuple(g * 2 for g in gi)))
    x = t.tensor([1.0, 2.0], requires_grad=True)
    m(x * 1).sum().backward()
    return x.grad


@script
def both_kinds_of_backward_hooks(t, n, calls, hooks):
    m = n.LeakyReLU(0.5)
    m.register_backward_hook(calls("a"))
    m.register_full_backward_hook(calls("b"))


@script
def a_named_tuple_stays_one(t, n, calls, hooks):
    pair = collections.namedtuple("pair", "a b")

    class Pairs(n.Module):
        def forward(self, x):
            return pair(x * 2, x * 3)

    m = Pairs()
    m.register_full_backward_hook(calls("full"))
    result = m(t.ones(2, requires_grad=True))
    result.a.sum().backward()
    return type(result).__name__


@script
def inputs_and_outputs_with_hooks_are_not_written_to(t, n, calls, hooks):
    class Kept(n.Module):
        def forward(self, x, write):
            self.x = x
            if write:
                x += 1
            return x.clone()

    m = Kept()
    m.register_full_backward_hook(calls("full"))
    leaf = t.ones(2, requires_grad=True)
    texts = []

    def attempt(action):
        try:
            action()
        except RuntimeError as error:
            texts.append(str(error))

    attempt(lambda: m(leaf.clone(), True))
    v = leaf.clone()
    m(v, False)
    v[0] *= 1
    attempt(lambda: m.x + 2)
    y = m(leaf, False)
    attempt(lambda: y.add_(1))
    return texts


@script
def a_state_dict_hook_may_return_another(t, n, calls, hooks):
    m = n.Linear(1, 1)
    m._register_state_dict_hook(lambda module, state, prefix, metadata: {"other": 1})
    return m.state_dict()


@script
def pre_hooks_of_loading_with_and_without_the_module(t, n, calls, hooks):
    m = n.Linear(1, 1)
    state = m.state_dict()
    m._register_load_state_dict_pre_hook(lambda *args: calls.append(len(args)))
    m._register_load_state_dict_pre_hook(lambda *args: calls.append(args[0] is m), True)
    m.register_load_state_dict_pre_hook(lambda *args: calls.append(args[0] is m))
    m.load_state_dict(state)


@script
def global_hooks_can_be_put_aside(t, n, calls, hooks):
    kept = hooks._global_forward_hooks
    hooks.register_module_forward_hook(calls("global"))
    hooks._global_forward_hooks = collections.OrderedDict()
    try:
        n.LeakyReLU(0.5)(t.ones(1))
    finally:
        hooks._global_forward_hooks = kept
        kept.clear()


@script
def a_handle_removes_its_marks(t, n, calls, hooks):
    m = n.LeakyReLU(0.5)
    handle = m.register_forward_hook(calls("a"), with_kwargs=True, always_call=True)
    marks = [handle.id in m._forward_hooks_with_kwargs, handle.id in m._forward_hooks_always_called]
    handle.remove()
    return [*marks, len(m._forward_hooks_with_kwargs), len(m._forward_hooks_always_called)]


@script
def global_hooks(t, n, calls, hooks):
    m = n.Sequential(linear(t, n))
    handles = [
        hooks.register_module_forward_pre_hook(calls("pre")),
        hooks.register_module_forward_hook(calls("post")),
        hooks.register_module_forward_hook(calls("kwargs"), with_kwargs=True),
        hooks.register_module_full_backward_hook(calls("backward")),
        hooks.register_module_full_backward_pre_hook(calls("backward pre")),
    ]
    try:
        m.register_forward_hook(calls("own"))
        m(t.ones(1, 2, requires_grad=True)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    m(t.ones(1, 2))


@script
def a_global_hook_is_always_called(t, n, calls, hooks):
    handle = hooks.register_module_forward_hook(calls("always"), always_call=True)
    try:
        failing(t, n)(t.ones(1))
    finally:
        handle.remove()


@script
def registration_hooks(t, n, calls, hooks):
    handles = [
        hooks.register_module_buffer_registration_hook(calls("buffer")),
        hooks.register_module_parameter_registration_hook(
            lambda module, name, p: calls.append(("parameter", name))
        ),
        hooks.register_module_module_registration_hook(
            lambda module, name, m: calls.append(("module", name)) or n.LeakyReLU(0.5)
        ),
    ]
    try:
        m = n.Module()
        m.register_buffer("b", t.ones(1))
        m.p = n.Parameter(t.ones(1))
        m.c = n.ReLU()
        m.add_module("d", n.ReLU())
    finally:
        for handle in handles:
            handle.remove()
    return repr(m)


@script
def a_copy_has_hooks_of_its_own(t, n, calls, hooks):
    m = linear(t, n)
    m.register_forward_hook(calls("post"))
    twin = copy.deepcopy(m)
    twin.register_forward_hook(lambda *args: None)
    twin(t.ones(1, 2))
    return len(m._forward_hooks), len(twin._forward_hooks)


def outcome(function, t, hooks):
    calls = Calls()
    try:
        result = plain(function(t, t.nn, calls, hooks))
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    return result, calls


@pytest.mark.parametrize("function", SCRIPTS)
def test_as_pytorch(function):
    result, calls = outcome(function, mt, our_hooks)
    expected, expected_calls = outcome(function, torch, torch_hooks)
    assert calls == expected_calls
    assert result == expected


def noted(*args):
    """A hook that can be pickled."""


def test_hooks_are_pickled_and_copied():
    m = mt.nn.Linear(1, 1)
    m.register_load_state_dict_pre_hook(noted)
    handle = m.register_forward_hook(noted, with_kwargs=True)
    again, copied = pickle.loads(pickle.dumps(m)), copy.deepcopy(m)
    for other in (again, copied):
        assert (
            other._load_state_dict_pre_hooks[next(iter(other._load_state_dict_pre_hooks))].module()
            is other
        )
        assert list(other._forward_hooks) == list(other._forward_hooks_with_kwargs) == [handle.id]
        other.load_state_dict(m.state_dict())
    assert pickle.loads(pickle.dumps(handle)).id == handle.id
    assert m.register_forward_hook(noted).id > handle.id


@pytest.mark.parametrize(
    ("make_module", "text"),
    [
        (lambda args: (args[0].clone().clone(),), "multiple autograd Nodes"),
        (lambda args: (args[0].clone(), args[0].clone()), "different autograd Nodes"),
        (lambda args: [args[0].clone()], "does not return a single Tensor or a tuple of Tensors"),
    ],
)
def test_non_full_backward_hooks_warn_where_they_miss_gradients(make_module, text):
    class Some(mt.nn.Module):
        def forward(self, *args):
            return make_module(args)

    m = Some()
    m.register_backward_hook(noted)
    with pytest.warns(FutureWarning, match=text):
        m(mt.ones(2, requires_grad=True))
