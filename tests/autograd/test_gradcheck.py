"""``gradcheck`` beside PyTorch's: verdicts and reports."""

from __future__ import annotations

import importlib
import itertools

import pytest
import torch
from same import check

import minitorch_triton as mt

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is dep:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Backwards compatibility"),
]


def of(T):
    importlib.import_module(f"{T.__name__}.autograd.gradcheck")
    return T.autograd


def random(T, *shape, requires_grad=True, dtype=torch.float64):
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(3), dtype=dtype)
    return (values if T is torch else mt.from_torch(values)).requires_grad_(requires_grad)


def make(T, forward, backward, jvp=None):
    methods = {"forward": forward, "backward": backward}
    if jvp is not None:
        methods["jvp"] = jvp
    body = {name: staticmethod(method) for name, method in methods.items()}
    return type("MyFn", (T.autograd.Function,), body).apply


def doubled(ctx, x):
    return x * 2


def right(T):
    return lambda x: x.exp() * x, random(T, 3)


def two_inputs_and_outputs(T):
    return lambda x, y: (x @ y, x.sum()), (random(T, 2, 3), random(T, 3, 2, requires_grad=False))


def no_dimension(T):
    return lambda x: x * x, random(T)


def some_outputs_differentiable(T):
    return lambda x: (x * 2, x.detach()), random(T, 3)


def constant(T):
    return lambda x: x.detach() * 0, random(T, 3)


def secretly_dependent(T):
    return lambda x: x.detach() * 2, random(T, 3)


def wrong(T):
    return make(T, doubled, lambda ctx, g: g * 3, lambda ctx, t: t * 3), random(T, 3)


def upstream_ignored(T):
    two = T.full((3,), 2.0, dtype=T.float64)
    return make(T, doubled, lambda ctx, g: two), random(T, 3)


def not_repeatable(T):
    count = itertools.count()
    return make(T, doubled, lambda ctx, g: g * 2 + 1e-9 * next(count)), random(T, 3)


def undefined(result):
    def case(T):
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2

        return make(T, forward, lambda ctx, g: result(T) if g is None else g * 2), random(T, 3)

    return case


def refuse(T):
    raise RuntimeError("no gradient")


def single_precision(T):
    return lambda x: x * 2, random(T, 3, dtype=torch.float32)


def no_input(T):
    return lambda x: x * 2, random(T, 3, requires_grad=False)


def overlapping_input(T):
    return lambda x: x * 2, random(T, 1, requires_grad=False).expand(3).requires_grad_()


def changing_shape(T):
    middle = T.full((3,), 0.5, dtype=T.float64, requires_grad=True)
    return lambda x: x[:2] if x[0].item() > 0.5 else x, middle


CASES = {
    "right": right,
    "two_inputs_and_outputs": two_inputs_and_outputs,
    "no_dimension": no_dimension,
    "some_outputs_differentiable": some_outputs_differentiable,
    "constant": constant,
    "secretly_dependent": secretly_dependent,
    "wrong": wrong,
    "upstream_ignored": upstream_ignored,
    "not_repeatable": not_repeatable,
    "undefined_refused": undefined(refuse),
    "undefined_wrong": undefined(lambda T: T.ones(3, dtype=T.float64)),
    "single_precision": single_precision,
    "no_input": no_input,
    "overlapping_input": overlapping_input,
    "changing_shape": changing_shape,
}
OPTIONS = [
    {},
    {"fast_mode": True},
    {"raise_exception": False},
    {"check_undefined_grad": False},
    {"nondet_tol": 1e-6},
]
FORWARD = {"check_forward_ad": True, "check_backward_ad": False}


def verdict(T, case, options):
    """True, False or the error's type and the part of its text that PyTorch words alike."""
    function, inputs = case(T)
    try:
        return of(T).gradcheck(function, inputs, **options)
    except Exception as error:
        text = str(error)
        for end in ("The above quantities", "The tolerance for", "Please look", "A gradient that"):
            text = text.partition(end)[0]
        if options.get("fast_mode"):  # the projections are random
            text = text.partition("numerical:")[0]
        return [type(error).__name__, text.partition("check_undefined_grad")[0].strip()]


@pytest.mark.filterwarnings("ignore:Input #0 requires gradient and is not a double")
@pytest.mark.parametrize("name", CASES)
def test_reports(name):
    for options in OPTIONS:
        check(lambda T, options=options: verdict(T, CASES[name], options))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", ["right", "two_inputs_and_outputs", "constant", "wrong"])
def test_forward_mode(name, fast):
    check(lambda T: verdict(T, CASES[name], {**FORWARD, "fast_mode": fast}))


def test_inputs_are_as_before():
    x = mt.rand(3, dtype=mt.float64, requires_grad=True)
    before, version = x.tolist(), x._version
    mt.autograd.gradcheck(lambda x: x * x, x, fast_mode=True)
    mt.autograd.gradcheck(lambda x: x * x, x)
    assert x.tolist() == before
    assert x._version == version
    assert x.grad is None


def test_single_precision_is_warned_about():
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double"):
        assert not mt.autograd.gradcheck(*single_precision(mt), raise_exception=False)


def test_fast_mode_explains_itself():
    with pytest.raises(RuntimeError, match=r"The max per-element difference \(slow mode\) is: 1"):
        mt.autograd.gradcheck(*wrong(mt), fast_mode=True)


def second(T, options, wrong=False):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0].detach()

    function = make(T, forward, backward) if wrong else lambda x: x * x.exp()
    try:
        return of(T).gradgradcheck(function, random(T, 3), **options)
    except Exception as error:
        return [type(error).__name__, str(error).partition("numerical:")[0]]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fast_mode": True},
        {"gen_non_contig_grad_outputs": True},
        {"check_fwd_over_rev": True},
        {"check_fwd_over_rev": True, "check_rev_over_rev": False, "check_undefined_grad": False},
        {"check_fwd_over_rev": True, "check_rev_over_rev": False},
        {"check_rev_over_rev": False},
    ],
    ids=str,
)
def test_gradgradcheck(options):
    check(lambda T: second(T, options))
    if not options.get("check_fwd_over_rev"):
        check(lambda T: second(T, options, wrong=True))


@pytest.mark.filterwarnings("ignore:`get_:FutureWarning")
def test_older_names():
    def run(T):
        module = importlib.import_module(f"{T.__name__}.autograd.gradcheck")
        x, y = random(T, 2, 2), random(T, 2, 1)

        def function(inputs):
            return (inputs[0] * inputs[1]).exp(), inputs[0]

        output = function((x, y))[0]
        return (
            module.get_numerical_jacobian(function, (x, y), eps=1e-6),
            module.get_numerical_jacobian(function, (x, y), target=y, eps=1e-6),
            module.get_analytical_jacobian((x, y), output),
        )

    def wrong_upstream(T):
        module = importlib.import_module(f"{T.__name__}.autograd.gradcheck")
        return module.get_numerical_jacobian(sum, random(T, 1), grad_out=2.0)

    check(run)
    check(wrong_upstream)
    x = random(mt, 3)
    module = importlib.import_module("minitorch_triton.autograd.gradcheck")
    scattered = make(mt, doubled, lambda ctx, g: g * mt.rand_like(g))(x)
    with pytest.warns(FutureWarning, match="was part of PyTorch's private API"):
        assert module.get_analytical_jacobian(x, scattered)[1:] == (False, True, True)


def test_batches_of_upstream_gradients():
    x = mt.rand(3, dtype=mt.float64, requires_grad=True)
    y = mt.rand(3, dtype=mt.float64, requires_grad=True)
    assert mt.autograd.gradcheck(lambda x, y: (x * y, y.sum()), (x, y), check_batched_grad=True)
    assert mt.autograd.gradcheck(
        mt.sin, x, check_batched_grad=True, check_forward_ad=True, check_batched_forward_grad=True
    )
    with pytest.raises(AssertionError, match="check_batched_grad=True requires"):
        mt.autograd.gradcheck(
            mt.sin, x, check_batched_grad=True, check_backward_ad=False, check_forward_ad=True
        )
    check(lambda T: verdict(T, right, {"check_backward_ad": False}))


def test_backward_that_depends_on_the_call_fails_in_batches():
    class Counting(mt.autograd.Function):
        calls = 0

        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            # The first calls, which nothing is compared with twice, are right.
            Counting.calls += 1
            return g if Counting.calls <= 6 else g * Counting.calls

    x = mt.rand(3, dtype=mt.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="testing batched gradient"):
        mt.autograd.gradcheck(Counting.apply, x, check_batched_grad=True)
