"""``autograd.Function`` beside PyTorch's: every script gives the same values or the same error."""

from __future__ import annotations

import gc
import weakref

import pytest
from same import check

SCRIPTS = []

# PyTorch's make_dual loads scripted functions.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is dep:DeprecationWarning")


def script(function):
    SCRIPTS.append(pytest.param(function, id=function.__name__))
    return function


def make(T, forward, backward=None, **methods):
    """A Function of these static methods."""
    methods["forward"] = forward
    if backward is not None:
        methods["backward"] = backward
    body = {name: staticmethod(method) for name, method in methods.items()}
    return type("MyFn", (T.autograd.Function,), body)


def leaf(T, *values):
    return T.tensor(values or (1.0, 2.0, 3.0), requires_grad=True)


def times_two(ctx, x):
    return x * 2


def grad_times_two(ctx, g):
    return g * 2


def identity(ctx, x):
    return x


def message(action):
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


@script
def names(T):
    node = make(T, times_two, grad_times_two).apply(leaf(T)).grad_fn
    return [
        node.name(),
        type(node).__name__,
        repr(node).split(" at ")[0].replace("minitorch_triton", "torch"),
        [type(before).__name__ for before, _ in node.next_functions],
        node.needs_input_grad,
    ]


# Inputs and views as outputs


@script
def returns_its_input(T):
    results = []
    for copied in (False, True):
        x = leaf(T)
        v = x.clone() if copied else x
        y = make(T, identity, grad_times_two).apply(v)
        y.sum().backward()
        results += [y is v, y._is_view(), x.grad]
    return results


@script
def an_input_as_output_is_not_written_to(T):
    y = make(T, identity, grad_times_two).apply(leaf(T))
    y += 1


@script
def an_input_as_output_whose_base_was_written_to(T):
    v = leaf(T) * 1
    y = make(T, identity, grad_times_two).apply(v)
    v += 1
    return y + 2


@script
def a_view_as_output(T):
    x = leaf(T)
    as_row = make(T, lambda ctx, x: x.view(1, 3), lambda ctx, g: g.view(3) * 2)
    y = as_row.apply(x * 1)
    y.sum().backward()
    return [y._is_view(), x.grad, message(lambda: y.mul_(2))]


@script
def several_views_as_outputs(T):
    x = leaf(T)
    halves = make(T, lambda ctx, x: (x[:1], x[1:]), lambda ctx, g, h: T.cat([g, h]) * 2)
    a, b = halves.apply(x * 1)
    (a.sum() + b.sum()).backward()
    return [x.grad, message(lambda: a.mul_(2))]


@script
def one_output_twice(T):
    def forward(ctx, x):
        y = x * 2
        return y, y

    x = leaf(T)
    a, b = make(T, forward, lambda ctx, g, h: g + h).apply(x)
    (a.sum() + 2 * b.sum()).backward()
    return [a is b, x.grad]


# In place


def doubled(ctx, x):
    x.mul_(2)
    ctx.mark_dirty(x)
    return x


@script
def in_place(T):
    x = leaf(T)
    v = x * 1
    y = make(T, doubled, grad_times_two).apply(v)
    y.sum().backward()
    return [y is v, x.grad, v]


@script
def in_place_on_a_leaf(T):
    make(T, doubled, grad_times_two).apply(leaf(T))


@script
def in_place_on_a_view(T):
    x = leaf(T)
    base = x * 1
    view = base[:2]
    y = make(T, doubled, grad_times_two).apply(view)
    base.sum().backward()
    return [y is view, x.grad, base.detach(), type(base.grad_fn).__name__]


@script
def in_place_on_a_view_of_a_leaf(T):
    make(T, doubled, grad_times_two).apply(leaf(T)[:2])


@script
def in_place_on_a_view_with_two_outputs(T):
    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x, x.clone()

    view = (leaf(T) * 1)[:2]
    text = message(lambda: make(T, forward, lambda ctx, g, h: g).apply(view))
    return text.split("You can ask")[0].strip()


@script
def in_place_but_not_returned(T):
    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x.clone()

    make(T, forward, grad_times_two).apply(leaf(T) * 1)


@script
def in_place_and_saved(T):
    def forward(ctx, x, w):
        x.mul_(w)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x, w)
        return x

    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w, g * x

    x, w = T.tensor([1.0, 2.0]), leaf(T, 3.0, 4.0)
    y = make(T, forward, backward).apply(x, w)
    y.sum().backward()
    return [y is x, x.requires_grad, w.grad]


def test_in_place_on_a_view_that_is_not_the_first_input():
    """PyTorch takes the first input for the one that is written to."""
    import minitorch_triton as mt

    def forward(ctx, w, x):
        x.mul_(w)
        ctx.mark_dirty(x)
        return x

    x, w = leaf(mt), mt.tensor([5.0, 6.0], requires_grad=True)
    base = x * 1
    make(mt, forward, lambda ctx, g: (g * 7, g * 2)).apply(w, base[:2])
    base.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 1.0]
    assert w.grad.tolist() == [7.0, 7.0]


# What backward may return


def returning(result, *, also=()):
    """Backward of a function of a tensor and of other arguments."""

    def run(T):
        x = leaf(T)
        value = result(T) if callable(result) else result
        make(T, lambda ctx, x, *rest: x * 1, lambda ctx, g: value).apply(x, *also).sum().backward()
        return x.grad

    return run


for name, run in {
    "too_many": returning(lambda T: (T.ones(3), T.ones(3))),
    "too_many_but_none": returning(lambda T: (T.ones(3), None)),
    "too_few": returning(lambda T: T.ones(3), also=(2,)),
    "for_a_number": returning(lambda T: (T.ones(3), T.ones(3)), also=(2,)),
    "a_number": returning(3),
    "a_list": returning(lambda T: [T.ones(3)]),
    "wrong_shape": returning(lambda T: T.ones(10)),
    "broadcast_shape": returning(lambda T: T.ones(2, 3)),
    "other_dtype": returning(lambda T: T.ones(3, dtype=T.float64)),
    "none": returning(None),
}.items():
    SCRIPTS.append(pytest.param(run, id=f"backward_returns_{name}"))


@script
def missing_methods(T):
    return [
        message(lambda: make(T, times_two).apply(leaf(T)).sum().backward()),
        message(lambda: T.autograd.Function.apply(leaf(T))),
        message(
            lambda: (
                make(T, times_two, grad_times_two, vjp=grad_times_two)
                .apply(leaf(T))
                .sum()
                .backward()
            )
        ),
        message(lambda: make(T, times_two).vmap(None, None)),
        make(T, times_two).generate_vmap_rule,
    ]


@script
def vjp_is_backward(T):
    x = leaf(T)
    make(T, times_two, vjp=grad_times_two).apply(x).sum().backward()
    return x.grad


@script
def an_exception_leaves_the_graph_usable(T):
    def backward(ctx, g):
        if ctx.fails:
            ctx.fails = False
            raise ValueError("in backward")
        return g * 2

    def forward(ctx, x):
        ctx.fails = True
        return x * 2

    x = leaf(T)
    y = make(T, forward, backward).apply(x).sum()
    text = message(lambda: y.backward(retain_graph=True))
    y.backward()
    return [text, x.grad]


# Saved tensors


@script
def saved_tensors(T):
    def forward(ctx, x):
        ctx.save_for_backward(x, None)
        return x * 1

    y = make(T, forward, grad_times_two).apply(leaf(T))
    saved = y.grad_fn.saved_tensors
    y.sum().backward()
    return [saved, message(lambda: y.grad_fn.saved_tensors)]


@script
def saving_what_is_no_tensor(T):
    return [
        message(
            lambda value=value: make(T, lambda ctx, x: ctx.save_for_backward(value)).apply(leaf(T))
        )
        for value in (3, [leaf(T)])
    ]


def saving_input(ctx, x):
    ctx.save_for_backward(x)
    return x * 1


def times_saved(ctx, g):
    return g * ctx.saved_tensors[0]


@script
def a_saved_input_was_modified(T):
    v = leaf(T) * 1
    y = make(T, saving_input, times_saved).apply(v)
    v.add_(1)
    y.sum().backward()


@script
def a_saved_output(T):
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    x = leaf(T)
    y = make(T, forward, times_saved).apply(x)
    (first,) = T.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = T.autograd.grad(first.sum(), x)
    y = make(T, forward, times_saved).apply(x)
    y.add_(1)
    return [first.detach(), second, message(lambda: y.sum().backward())]


@script
def backward_twice(T):
    y = make(T, saving_input, times_saved).apply(leaf(T)).sum()
    y.backward()
    y.backward()


@script
def third_derivative(T):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    def backward(ctx, g):
        return 3 * g * ctx.saved_tensors[0] ** 2

    x = leaf(T)
    results = [make(T, forward, backward).apply(x)]
    for _ in range(3):
        results += T.autograd.grad(results[-1].sum(), x, create_graph=True)
    return [result.detach() for result in results]


# Outputs without gradient, missing gradients


@script
def non_differentiable(T):
    def forward(ctx, x):
        b = x * 3
        ctx.mark_non_differentiable(b)
        return x * 2, b, x.long()

    seen = []

    def backward(ctx, *grads):
        seen.extend(grads)
        return grads[0] * 2

    x = leaf(T)
    a, b, c = make(T, forward, backward).apply(x)
    a.sum().backward()
    return [b.requires_grad, b.grad_fn, c.requires_grad, c.grad_fn, seen, x.grad]


@script
def non_differentiable_gradients_left_out(T):
    seen = []

    def forward(ctx, x):
        b = x.clone()
        ctx.mark_non_differentiable(b)
        ctx._materialize_non_diff_grads = False
        return x.clone(), b

    def backward(ctx, g, h):
        seen.append(h)
        return g

    make(T, forward, backward).apply(leaf(T))[0].sum().backward()
    return seen


@script
def non_differentiable_input(T):
    def forward(ctx, x):
        ctx.mark_non_differentiable(x)
        return x

    x = leaf(T)
    y = make(T, forward, grad_times_two).apply(x)
    return [y is x, y.requires_grad, x.requires_grad]


@script
def missing_gradients(T):
    seen = []
    for materialize in (True, False):

        def forward(ctx, x, n, materialize=materialize):
            ctx.set_materialize_grads(materialize)
            return x * 2, n, x * 3

        def backward(ctx, *grads):
            seen.append(grads)
            return grads[0] * 2, None

        make(T, forward, backward).apply(leaf(T), 5)[0].sum().backward()
    return seen


@script
def all_gradients_missing(T):
    seen = []
    for materialize in (True, False):

        def forward(ctx, x, materialize=materialize):
            ctx.set_materialize_grads(materialize)
            return x * 2

        def backward(ctx, g):
            seen.append(g)

        lost = make(T, times_two, lambda ctx, g: None)
        x = leaf(T)
        lost.apply(make(T, forward, backward).apply(x)).sum().backward()
        seen.append(x.grad)
    return seen


@script
def outputs_that_are_no_tensors(T):
    results = make(T, lambda ctx, x: (x * 2, 5, "a", None), lambda ctx, *g: g[0]).apply(leaf(T))
    listed = make(T, lambda ctx, x: [x * 2], grad_times_two).apply(leaf(T))
    return [results[1:], type(listed).__name__, make(T, lambda ctx, x: None).apply(leaf(T))]


# Modes and arguments


@script
def what_forward_and_backward_see(T):
    seen = []

    def forward(ctx, x, y, n):
        seen.append((T.is_grad_enabled(), x.requires_grad, ctx.needs_input_grad))
        return x * y

    def backward(ctx, g):
        seen.append((T.is_grad_enabled(), g.requires_grad, ctx.needs_input_grad))
        return g, None, None

    function = make(T, forward, backward)
    x = leaf(T)
    T.autograd.grad(function.apply(x, T.ones(3), 2).sum(), x)
    T.autograd.grad(function.apply(x, T.ones(3), 2).sum(), x, create_graph=True)
    with T.no_grad():
        function.apply(x, T.ones(3), 2)
    function.apply(T.ones(3), x.detach(), 2)
    return seen


@script
def setup_context(T):
    def setup(ctx, inputs, output):
        ctx.count = len(inputs)
        ctx.save_for_backward(inputs[0], output)

    def forward(x, n=4):
        return x * n

    function = make(
        T,
        forward,
        lambda ctx, g: (g * ctx.count * ctx.saved_tensors[0], None),
        setup_context=setup,
    )
    x = leaf(T)
    results = [function.apply(x), function.apply(x, 3), function.apply(n=2, x=x)]
    sum(y.sum() for y in results).backward()
    return [*results, x.grad]


@script
def keyword_arguments(T):
    return make(T, times_two, grad_times_two).apply(x=leaf(T))


@script
def one_input_twice(T):
    x = leaf(T)
    make(T, lambda ctx, a, b: a * b, lambda ctx, g: (g, g * 2)).apply(x, x).sum().backward()
    return x.grad


# Differentiable once


@script
def once_differentiable(T):
    once = T.autograd.function.once_differentiable
    square = make(T, lambda ctx, x, y: x * x, once(lambda ctx, g: (g * 2, None)))
    x, y = leaf(T), leaf(T)
    plain = T.autograd.grad(square.apply(x, y).sum(), x, create_graph=True)[0]
    upstream = T.ones(3).requires_grad_()
    found = T.autograd.grad(
        square.apply(x, y), (x, y), upstream, create_graph=True, allow_unused=True
    )
    node = found[0].grad_fn
    return [
        plain.requires_grad,
        found[1],
        type(node).__name__,
        [None if before is None else type(before).__name__ for before, _ in node.next_functions],
        message(lambda: found[0].sum().backward()),
    ]


# Forward mode


@script
def jvp(T):
    seen = []

    def forward(ctx, x, y, n):
        ctx.save_for_forward(x, y)
        ctx.n = n
        return x * y * n

    def tangent(ctx, x_t, y_t, n_t):
        seen.append([x_t, y_t, n_t])
        x, y = ctx.saved_tensors
        return (x_t * y + y_t * x) * ctx.n

    fw = T.autograd.forward_ad
    with fw.dual_level():
        dual = fw.make_dual(T.ones(3), T.full((3,), 2.0))
        y = make(T, forward, grad_times_two, jvp=tangent).apply(dual, T.full((3,), 3.0), 4)
        return [*fw.unpack_dual(y), seen]


def pushed(T, result, forward=times_two):
    """The tangent of a Function whose jvp returns ``result(tangent)``, or its error."""
    fw = T.autograd.forward_ad

    def run():
        nonlocal found
        dual = fw.make_dual(T.ones(3), T.full((3,), 2.0))
        function = make(T, forward, grad_times_two, jvp=lambda ctx, t: result(t))
        found = list(fw.unpack_dual(function.apply(dual)))

    found = []
    with fw.dual_level():
        text = message(run)
    return [text, found]


@script
def jvp_returns_the_wrong_thing(T):
    return [
        pushed(T, lambda t: (t, t)),
        pushed(T, lambda t: T.ones(2)),
        pushed(T, lambda t: 3),
    ]


@script
def jvp_of_a_view(T):
    def as_row(ctx, x):
        return x.view(1, 3)

    return [
        pushed(T, lambda t: t.view(1, 3), as_row),
        pushed(T, lambda t: t.view(1, 3) * 2, as_row),
    ]


@script
def jvp_of_the_input_itself(T):
    return [
        pushed(T, lambda t: t.view_as(t), identity),
        pushed(T, lambda t: t, identity),
    ]


@script
def jvp_of_a_non_differentiable_output(T):
    def forward(ctx, x):
        y = x.clone()
        ctx.mark_non_differentiable(y)
        return y

    return pushed(T, lambda t: t * 1, forward)


@script
def jvp_in_place(T):
    return [pushed(T, lambda t: t.mul_(2), doubled), pushed(T, lambda t: t * 2, doubled)]


@script
def jvp_is_missing(T):
    fw = T.autograd.forward_ad
    with fw.dual_level():
        make(T, times_two, grad_times_two).apply(fw.make_dual(T.ones(3), T.ones(3)))


@pytest.mark.parametrize("run", SCRIPTS)
def test_script(run):
    check(run, message=True)


def test_bad_arguments_of_the_context():
    import minitorch_triton as mt

    for method, value, text in (
        ("mark_dirty", 3, "mark_dirty can only accept variables"),
        ("mark_non_differentiable", 3, "mark_non_differentiable only accepts variable"),
        ("set_materialize_grads", 0, "set_materialize_grads received an invalid combination"),
        ("save_for_forward", 3, "save_for_forward expects all arguments to be tensors"),
    ):

        def forward(ctx, x, method=method, value=value):
            getattr(ctx, method)(value)
            return x * 1

        with pytest.raises((RuntimeError, TypeError, AssertionError), match=text):
            make(mt, forward, grad_times_two).apply(leaf(mt))


def test_nothing_is_kept_alive_by_the_node():
    import minitorch_triton as mt

    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    gc.collect()
    gc.disable()
    try:
        for make_input in (lambda x: x.clone(), lambda x: x.clone()[:2]):
            y = make(mt, forward, grad_times_two).apply(make_input(leaf(mt)))
            alive = weakref.ref(y if y._base is None else y._base)
            del y
            assert alive() is None
    finally:
        gc.enable()


def test_an_instance_is_of_no_use():
    import minitorch_triton as mt

    with pytest.warns(DeprecationWarning, match="should not be instantiated"):
        instance = make(mt, times_two, grad_times_two)()
    with pytest.raises(RuntimeError, match="Legacy autograd function"):
        instance(leaf(mt))
