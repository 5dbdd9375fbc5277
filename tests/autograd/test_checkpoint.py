"""``utils.checkpoint`` beside PyTorch's, with and without re-entry."""

from __future__ import annotations

import contextlib
import gc
import importlib
import weakref

import pytest
import torch
from same import check

import minitorch_triton as mt

pytestmark = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
reentrant = pytest.mark.parametrize("reentrant", [False, True], ids=["plain", "reentrant"])


def of(T):
    return importlib.import_module(f"{T.__name__}.utils.checkpoint")


def random(T, *shape, requires_grad=True, seed=0):
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
    return (values if T is torch else mt.from_torch(values)).requires_grad_(requires_grad)


def network(T):
    modules = T.nn.Sequential(
        T.nn.Linear(3, 4), T.nn.ReLU(), T.nn.Linear(4, 5), T.nn.Tanh(), T.nn.Linear(5, 2)
    )
    with T.no_grad():
        for seed, parameter in enumerate(modules.parameters()):
            parameter.copy_(random(T, *parameter.shape, requires_grad=False, seed=seed))
    return modules


@reentrant
def test_a_network(reentrant):
    def run(T):
        results = []
        for segments in (0, 1, 2, 3):
            modules, x, modes = network(T), random(T, 2, 3), []

            def forward(x, modules=modules, modes=modes):
                modes.append(T.is_grad_enabled())
                return modules(x)

            y = (
                of(T).checkpoint_sequential(modules, segments, x, use_reentrant=reentrant)
                if segments
                else of(T).checkpoint(forward, x, use_reentrant=reentrant)
            )
            y.sum().backward()
            results += [y.detach(), x.grad, [p.grad for p in modules.parameters()], modes]
        return results

    check(run)


@reentrant
@pytest.mark.parametrize("preserve", [True, False])
def test_random_numbers(preserve, reentrant):
    mt.manual_seed(3)
    masks = []

    def drop(v):
        masks.append(mt.rand(200) > 0.5)
        return v * masks[-1] * v

    y = mt.utils.checkpoint.checkpoint(
        drop, random(mt, 200), use_reentrant=reentrant, preserve_rng_state=preserve
    )
    state = mt.get_rng_state()
    y.sum().backward()
    assert mt.equal(*masks) == preserve
    assert mt.equal(state, mt.get_rng_state()) == preserve


def times(v, n, other):
    return v.exp() * n, v * 2, other


def nested(T, reentrant):
    def again(function, v):
        return of(T).checkpoint(function, v, use_reentrant=reentrant)

    def inner(v):
        return v.sin().exp()

    def middle(v):
        return again(inner, v.cos()) * v

    x = random(T, 3)
    again(lambda v: again(middle, v.exp()) * again(inner, v), x).sum().backward()
    return x.grad


def inside_of_no_grad(T, reentrant):
    with T.no_grad():
        return of(T).checkpoint(lambda v: v * 2, random(T, 3), use_reentrant=reentrant)


def with_tuple(T, reentrant):
    x = random(T, 3)
    y = of(T).checkpoint(times, x, 3, None, use_reentrant=reentrant)
    (y[0].sum() + y[1].sum()).backward()
    return [x.grad, y[2]]


def without_gradient(T, reentrant):
    """The argument needs no gradient, but what the function finds elsewhere does."""
    w = random(T, 3)
    x = random(T, 3, requires_grad=False)
    y = of(T).checkpoint(lambda v: v * w, x, use_reentrant=reentrant)
    if y.requires_grad:
        y.sum().backward()
    return [y.requires_grad, w.grad]


def keyword_argument(T, reentrant):
    x = random(T, 3)
    of(T).checkpoint(lambda v, k: v.exp() * k, x, k=x, use_reentrant=reentrant).sum().backward()
    return x.grad


def by_grad(T, reentrant):
    x = random(T, 3)
    y = of(T).checkpoint(lambda v: v.exp() * v, x, use_reentrant=reentrant)
    return T.autograd.grad(y.sum(), x)


def by_inputs(T, reentrant):
    x = random(T, 3)
    y = of(T).checkpoint(lambda v: v.exp() * v, x, use_reentrant=reentrant)
    y.sum().backward(inputs=[x])
    return x.grad


def several_times(T, reentrant):
    calls = []

    def function(v):
        calls.append(1)
        return v.exp() * v

    x = random(T, 3)
    y = of(T).checkpoint(function, x, use_reentrant=reentrant).sum()
    y.backward(retain_graph=True)
    y.backward()
    return [x.grad, len(calls)]


def modified_input(T, reentrant):
    v = random(T, 3) * 1
    y = of(T).checkpoint(lambda v: v.exp() * v, v, use_reentrant=reentrant)
    v.add_(1)
    y.sum().backward()


def no_output_with_gradient(T, reentrant):
    y = of(T).checkpoint(lambda v: v.detach() * 2, random(T, 3), use_reentrant=reentrant)
    y.sum().backward()


def contexts(T, reentrant):
    def pair():
        return contextlib.nullcontext(), contextlib.nullcontext()

    y = of(T).checkpoint(lambda v: v * v, random(T, 3), use_reentrant=reentrant, context_fn=pair)
    return y.detach()


def fails_the_second_time(T, reentrant):
    calls = []

    def function(v):
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("the second time")
        return v * v

    x = random(T, 3)
    y = of(T).checkpoint(function, x, use_reentrant=reentrant).sum()
    with contextlib.suppress(ValueError):
        y.backward(retain_graph=True)
    y.backward()
    return x.grad


SCRIPTS = [
    nested,
    inside_of_no_grad,
    with_tuple,
    without_gradient,
    keyword_argument,
    by_grad,
    by_inputs,
    several_times,
    modified_input,
    no_output_with_gradient,
    contexts,
    fails_the_second_time,
]


@reentrant
@pytest.mark.parametrize("run", SCRIPTS, ids=lambda run: run.__name__)
def test_script(run, reentrant):
    # PyTorch's texts have links at their ends.
    check(lambda T: run(T, reentrant), message=run is not by_inputs and run is not by_grad)


def other_the_second_time(T, first, second, **options):
    calls = []

    def function(v):
        calls.append(1)
        return (first if len(calls) == 1 else second)(T, v)

    x = random(T, 3)
    try:
        of(T).checkpoint(function, x, use_reentrant=False, **options).sum().backward()
    except RuntimeError as error:
        return [type(error).__name__, str(error).split("\nTip")[0].rstrip()]
    return x.grad


def exp(T, v):
    return v.exp()


def exp_twice(T, v):
    return v.exp().exp()


def exp_double(T, v):
    return v.double().exp()


@pytest.mark.parametrize("early_stop", [True, False])
def test_a_function_that_does_something_else_the_second_time(early_stop):
    for first, second in ((exp, exp_twice), (exp_twice, exp)):
        check(
            lambda T, first=first, second=second: other_the_second_time(
                T, first, second, early_stop=early_stop
            )
        )


def test_other_dtypes_the_second_time():
    kind, text = other_the_second_time(mt, exp, exp_double)
    assert kind == "CheckpointError"
    assert "different metadata" in text
    assert "tensor at position 0:\nsaved metadata: {'shape': torch.Size([3])" in text
    check(lambda T: other_the_second_time(T, exp, exp_double, determinism_check="none"))


def test_debug_shows_where_tensors_were_saved():
    checkpoint = mt.utils.checkpoint
    calls = []

    def function(v):
        calls.append(1)
        return v.exp().exp() if len(calls) == 1 else v.exp()

    for manager, options in (
        (contextlib.nullcontext(), {"debug": True}),
        (checkpoint.set_checkpoint_debug_enabled(True), {}),
    ):
        calls.clear()
        with manager:
            y = checkpoint.checkpoint(function, random(mt, 3), use_reentrant=False, **options)
        with pytest.raises(checkpoint.CheckpointError) as caught:
            y.sum().backward()
        assert "you passed `debug=True`" in str(caught.value)
        assert "return v.exp().exp() if len(calls) == 1 else v.exp()" in str(caught.value)


def test_options():
    def run(T, **options):
        return of(T).checkpoint(lambda v: v, random(T, 3), **options)

    check(lambda T: run(T, use_reentrant=False, determinism_check="foo"), message=True)
    check(lambda T: run(T, use_reentrant=True, debug=True), message=True)
    check(
        lambda T: of(T).checkpoint_sequential([abs], 1, random(T, 3), use_reentrant=False, foo=1),
        message=True,
    )
    with pytest.warns(UserWarning, match="use_reentrant parameter"):
        run(mt)


def test_passes_of_a_group_share_one_second_run():
    def run(T, grouped):
        runs = []

        def function(v):
            runs.append(len(runs))
            middle = v.sin().exp()
            return middle, middle.cos().exp()

        x = random(T, 3)
        with of(T).GraphExecGroup() if grouped else contextlib.nullcontext():
            middle, y = of(T).checkpoint(function, x, use_reentrant=False)
            (g,) = T.autograd.grad(y.sum(), middle)
            (g,) = T.autograd.grad(middle, x, g)
        return len(runs), g

    for grouped in (False, True):
        check(lambda T, grouped=grouped: run(T, grouped))


def test_passes_of_a_group_must_not_overlap():
    x = random(mt, 3)
    group = of(mt).GraphExecGroup()
    y = of(mt).checkpoint(lambda v: v.sin().cos(), x, use_reentrant=False).sum()
    with group:
        y.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="Performing two backward calls that overlap"):
            y.backward()
        with pytest.raises(RuntimeError, match="cannot be nested"):
            group.__enter__()
    y.backward()


def test_early_stop_and_contexts():
    def run(T):
        log = []

        @contextlib.contextmanager
        def noted(name):
            log.append(f"in {name}")
            yield

        def function(v):
            y = v.exp().exp() + 1
            log.append("end")
            return y

        for stop in (True, False):
            x = random(T, 3)
            with of(T).set_checkpoint_early_stop(stop):
                y = of(T).checkpoint(
                    function,
                    x,
                    use_reentrant=False,
                    context_fn=lambda: (noted("first"), noted("second")),
                )
            y.sum().backward()
        return log

    check(run)


def test_saved_tensors_read_outside_of_backward():
    def run(T):
        calls = []

        def function(v):
            calls.append(1)
            return (v * v).exp()

        y = of(T).checkpoint(function, random(T, 3), use_reentrant=False)
        counts = [len(calls)]
        for _ in range(2):
            assert y.grad_fn._saved_result.shape == (3,)
            counts.append(len(calls))
        y.sum().backward()
        return [*counts, len(calls)]

    check(run)


def test_a_tensor_without_gradient_is_itself_again():
    seen = []

    class Noted(mt.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(y)
            return x * 1

        @staticmethod
        def backward(ctx, g):
            seen.extend(ctx.saved_tensors)
            return g, None

    y = mt.ones(3)
    mt.utils.checkpoint.checkpoint(
        Noted.apply, random(mt, 3), y, use_reentrant=False
    ).sum().backward()
    assert seen[0] is y


def test_backward_inside_of_the_function():
    def run(T):
        def function(v):
            y = v.sin()
            z = y.cos()
            (g,) = T.autograd.grad(z.sum(), v, retain_graph=True)
            return g * z

        x = random(T, 3)
        y = of(T).checkpoint(function, x, use_reentrant=False)
        y.sum().backward()
        return [y.detach(), x.grad]

    check(run)


@pytest.mark.parametrize(
    "function",
    [
        lambda T, v: v.exp() * v,
        lambda T, v: T.nn.functional.linear(v, random(T, 4, 3), random(T, 4)).tanh(),
        lambda T, v: T.nn.functional.layer_norm(T.softmax(v, 1) ** 2, (3,)),
    ],
    ids=["elementwise", "linear", "normalized"],
)
def test_second_derivative(function):
    def run(T):
        x = random(T, 2, 3)
        y = of(T).checkpoint(lambda v: function(T, v), x, use_reentrant=False)
        (first,) = T.autograd.grad((y**2).sum(), x, create_graph=True)
        return [part.contiguous() for part in T.autograd.grad((first**2).sum(), x)]

    check(run)


def test_nothing_of_the_function_is_kept():
    alive = []

    def function(v):
        a = v.exp()
        b = a.exp()
        alive.extend(map(weakref.ref, (a, b)))
        return b.sum()

    def outer(v):
        w = v.cos()
        alive.append(weakref.ref(w))
        return mt.utils.checkpoint.checkpoint(function, w, use_reentrant=False)

    y = mt.utils.checkpoint.checkpoint(outer, random(mt, 3), use_reentrant=False)
    gc.collect()
    assert [reference() for reference in alive] == [None] * 3
    y.backward()
    gc.collect()
    assert [reference() for reference in alive] == [None] * len(alive)
