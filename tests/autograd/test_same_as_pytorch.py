"""What PyTorch's introduction to autograd teaches, line by line the same here."""

from __future__ import annotations

import gc
import weakref

import pytest
from same import check

import minitorch_triton as mt


def leaf(T, *values):
    return T.tensor(values or (1.0, 2.0, 3.0), requires_grad=True)


def gradients(build):
    """Run ``build(T, x)``, which returns something to call backward on; the gradient of x."""

    def run(T):
        x = leaf(T)
        build(T, x).backward()
        return x.grad

    return run


def second_derivative(function):
    def run(T):
        x = leaf(T)
        (first,) = T.autograd.grad(function(T, x).sum(), x, create_graph=True)
        (second,) = T.autograd.grad((first * first).sum(), x)
        return first.detach(), second

    return run


def inplace(function):
    """An in-place operation on something computed from a leaf; values and gradient."""

    def run(T):
        x = leaf(T)
        y = x * 2
        result = function(T, x, y)
        result = y if result is None else result
        (result * T.arange(float(result.numel())).view(result.shape)).sum().backward()
        return y.detach(), x.grad

    return run


def add_to_view(T, x, y):
    y[1:].add_(x[:2])


def mul_view(T, x, y):
    v = y[0]
    v.mul_(3)
    return v + y[1]


def view_of_view(T, x, y):
    y.view(3, 1)[1:].mul_(x[0])


def view_made_before(T, x, y):
    v = y.view(3, 1)
    y.mul_(2)
    return v * v


def assign(T, x, y):
    y[1] = x[2] * 5


def copy_into_leafless(T, x, y):
    z = T.zeros(3)
    z[:2] = y[:2]
    return z * z


class Counter:
    """Notes what hooks saw."""

    def __init__(self):
        self.seen = []


def hook_on_tensor(T):
    x = leaf(T)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.clone()))
    y.register_hook(lambda g: g * 3)
    handle = x.register_hook(lambda g: g + 100)
    y.sum().backward()
    handle.remove()
    first = x.grad.clone()
    (x * 1).sum().backward()
    return seen, first, x.grad


def hook_on_node(T):
    x = leaf(T)
    y = x * 2
    seen = []
    y.grad_fn.register_hook(lambda gi, go: seen.append((gi[0], go[0])))
    y.grad_fn.register_prehook(lambda go: (go[0] * 2,))
    y.sum().backward()
    return seen, x.grad


def post_accumulate(T):
    x = leaf(T)
    seen = []
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    return seen


def saved_hooks(T):
    x = leaf(T)
    packed = []

    def pack(t):
        packed.append(t.shape)
        return t * 2

    saved_tensors_hooks = (
        T.autograd.graph.saved_tensors_hooks if hasattr(T.autograd, "graph") else None
    )
    with saved_tensors_hooks(pack, lambda t: t / 2):
        y = x.exp() * x
    y.sum().backward()
    return len(packed) > 0, x.grad


def make_function(T):
    class Cube(T.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.save_for_backward(x)
            ctx.scale = scale
            return x * x * x * scale

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x * x * ctx.scale * g, None

    return Cube


def custom(T):
    x = leaf(T)
    y = make_function(T).apply(x, 2.0)
    y.sum().backward()
    return y, type(y.grad_fn).__name__, x.grad


def custom_twice(T):
    x = leaf(T)
    (g,) = T.autograd.grad(make_function(T).apply(x, 2.0).sum(), x, create_graph=True)
    return T.autograd.grad(g.sum(), x)


def custom_setup_context(T):
    class Scale(T.autograd.Function):
        @staticmethod
        def forward(x, factor):
            return x * factor

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.factor = inputs[1]

        @staticmethod
        def backward(ctx, g):
            return g * ctx.factor, None

    x = leaf(T)
    Scale.apply(x, 3).sum().backward()
    return x.grad


def custom_two_outputs(T):
    class Both(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            positive = x > 1
            ctx.mark_non_differentiable(positive)
            ctx.save_for_backward(x)
            return x * 2, positive, x * 3

        @staticmethod
        def backward(ctx, g, _, h):
            return g * 2 + h * 3

    x = leaf(T)
    results = Both.apply(x)
    flags = [result.requires_grad for result in results]
    results[2].sum().backward()
    return flags, x.grad


def custom_needs(T):
    seen = []

    class Product(T.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            seen.append(ctx.needs_input_grad)
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, g):
            _, b = ctx.saved_tensors
            seen.append(ctx.needs_input_grad)
            return g * b, None

    x = leaf(T)
    Product.apply(x, T.ones(3)).sum().backward()
    return seen, x.grad


def custom_dirty(T):
    class Double(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(2)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(T)
    y = x * 1
    z = Double.apply(y)
    z.sum().backward()
    return z is y, y.detach(), x.grad


def custom_undefined(T):
    seen = []

    class Both(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, g, h):
            seen.append((g is None, h is None))
            return g * 2

    x = leaf(T)
    Both.apply(x)[0].sum().backward()
    return seen, x.grad


def external_gradient(T):
    x = leaf(T)
    (x**2).backward(T.tensor([1.0, 0.5, 2.0]))
    return x.grad


def retained(T):
    x = leaf(T)
    y = x * 2
    y.retain_grad()
    z = y * y
    z.sum().backward()
    return y.grad, x.grad, y.retains_grad


def detached(T):
    x = leaf(T)
    y = x * 2
    d = y.detach()
    (y * d).sum().backward()
    return d.requires_grad, d.is_leaf, x.grad


def modes(T):
    x = leaf(T)
    with T.no_grad():
        a = x * 2
        with T.enable_grad():
            b = x * 2
    with T.set_grad_enabled(False):
        c = x * 2
    before = T.is_grad_enabled()
    T.set_grad_enabled(False)
    off = T.is_grad_enabled()
    T.set_grad_enabled(True)

    @T.no_grad()
    def decorated():
        return x * 2

    return a, b.requires_grad, c, before, off, decorated()


def leaves(T):
    x = leaf(T)
    y = x * 2
    z = T.ones(3)
    return (
        (x.is_leaf, y.is_leaf, z.is_leaf, (z * 2).is_leaf, y.detach().is_leaf),
        (x.grad_fn is None, y.grad_fn is None),
        [type(node).__name__ for node, _ in (y + z).grad_fn.next_functions],
        y.grad_fn.next_functions[0][0].variable is x,
        x.grad,
    )


def names(T):
    x = leaf(T)
    made = [
        x + 1, x - 1, x * 2, x / 2, x**2, x**3, 2**x, -x, x.exp(), x.log(), x.sqrt(), x.sum(),
        x.mean(), x.sum(0), x.relu(), x.tanh(), x.sigmoid(), x.sin(), x.abs(), x.clone(),
        x.view(3, 1), x.unsqueeze(0), x.expand(2, 3), x[0], x[1:], x.view(3, 1).t(),
        x.view(1, 3).permute(1, 0), x.clamp(0, 1), x.max(), T.cat([x, x]), T.stack([x, x]),
        x.view(1, 3) @ x.view(3, 1), T.softmax(x, 0), T.where(x > 1, x, x), x.to(T.float64),
    ]  # fmt: skip
    return [type(y.grad_fn).__name__ for y in made]


def inputs_argument(T):
    a, b = leaf(T), leaf(T)
    (a * b).sum().backward(inputs=[a])
    return a.grad, b.grad


def several_roots(T):
    x = leaf(T)
    T.autograd.backward([x * 2, x * 3], [T.ones(3), T.ones(3)])
    return x.grad


def grad_of_several(T):
    a, b = leaf(T), leaf(T)
    y = a * b
    return T.autograd.grad([y, y * 2], [a, b], [T.ones(3), T.ones(3)])


def unused(T):
    a, b = leaf(T), leaf(T)
    return T.autograd.grad(a.sum(), [a, b], allow_unused=True)


def materialized(T):
    a, b = leaf(T), leaf(T)
    return T.autograd.grad(a.sum(), [a, b], materialize_grads=True)


def grad_of_intermediate(T):
    x = leaf(T)
    y = x * 2
    z = y * y
    return T.autograd.grad(z.sum(), [y, x])


def mixed_dtypes(T):
    x = leaf(T)
    y = T.ones(3, dtype=T.float64, requires_grad=True)
    (x * y).sum().backward()
    return x.grad, y.grad


def set_grad(T):
    x = leaf(T)
    x.grad = T.ones(3)
    (x * 2).sum().backward()
    first = x.grad
    x.grad = None
    return first, x.grad


def freed_by_backward(T):
    x = leaf(T)
    y = (x * x).sum()
    y.backward()
    y.backward()


def add_needs_no_saved(T):
    x = leaf(T)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    return x.grad


def retain(T):
    x = leaf(T)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


def modified(T):
    x = leaf(T)
    y = x * 2
    z = y * y
    y.add_(1)
    z.sum().backward()


def modified_output(T):
    x = leaf(T)
    y = x.exp()
    y.mul_(2)
    y.sum().backward()


def data_is_not_tracked(T):
    x = leaf(T)
    y = x * x
    x.data.mul_(10)
    y.sum().backward()
    return x, x.grad


def history_lost(T):
    x = T.ones(1, requires_grad=True)
    with T.no_grad():
        y = x[:]
        y.mul_(2)
    return repr(y), repr(x)


def detached_and_used(T):
    y = leaf(T) * 1
    z = y.exp()
    y.detach_().requires_grad_()
    z.sum().backward()
    y.sin().sum().backward()
    return y.grad, y.is_sparse


def input_returned_in_no_grad(T):
    class Same(T.autograd.Function):
        forward = staticmethod(lambda ctx, x: x)

    x = leaf(T)
    with T.no_grad():
        y = Same.apply(x)
    return y is x, y._is_view(), y._base is x, y.requires_grad


def tangent_of_integers(T):
    seen = []

    class Two(T.autograd.Function):
        @staticmethod
        def forward(ctx, x, n):
            return x * 2, n + 1

        @staticmethod
        def jvp(ctx, t, none):
            seen.append(none)
            return t * 2, None

    with T.autograd.forward_ad.dual_level():
        x = T.autograd.forward_ad.make_dual(T.ones(3), T.ones(3))
        y, n = Two.apply(x, T.tensor(3))
        return seen, T.autograd.forward_ad.unpack_dual(y).tangent, n


def pure_view(T, *, of_several=False):
    calls = []

    class Head(T.autograd.Function):
        @staticmethod
        def forward(ctx, x, *rest):
            ctx._is_pure_view = True
            return x[:2]

        @staticmethod
        def backward(ctx, g):
            calls.append(g)
            return T.stack([g[0], g[1], g[0] * 0])

    x = leaf(T)
    y = x * 2
    rest = [x] if of_several else []
    kept = Head.apply(y, *rest).exp()
    head = Head.apply(y)
    head.mul_(x[1:])
    (kept.sum() + (head * head).sum() + y.sum()).backward()
    return len(calls), head.detach(), y.detach(), x.grad


def versions_after_new_data(T):
    x = T.zeros(2, 3)
    x.add_(1)
    view, alone, source = x[0], T.zeros(2), T.zeros(4)
    x.data = source
    alone.data = source
    seen = []
    for written in (x, view, source, alone, x.view(2, 2)):
        written.add_(1)
        seen.append((x._version, view._version, source._version, alone._version))
    x.data = T.ones(1)
    view.add_(1)
    return seen, x._version, view, x


SAME = {
    "versions after new data": versions_after_new_data,
    "pure view": pure_view,
    "history lost": history_lost,
    "detached and used": detached_and_used,
    "input returned in no_grad": input_returned_in_no_grad,
    "tangent of integers": tangent_of_integers,
    "polynomial": gradients(lambda T, x: (3 * x**3 - x**2).sum()),
    "external gradient": external_gradient,
    "used twice": gradients(lambda T, x: (x * x + x).sum()),
    "broadcast": gradients(lambda T, x: (x.view(3, 1) * x).sum()),
    "mean": gradients(lambda T, x: (x * x).mean()),
    "std": gradients(lambda T, x: x.std()),
    "norm": gradients(lambda T, x: x.norm()),
    "max": gradients(lambda T, x: x.max()),
    "max ties": gradients(lambda T, x: (x * 0).max()),
    "max dim": gradients(lambda T, x: x.view(1, 3).max(1).values.sum()),
    "prod": gradients(lambda T, x: x.prod()),
    "prod with zero": gradients(lambda T, x: (x - 1).prod()),
    "cat": gradients(lambda T, x: (T.cat([x, x * 2]) ** 2).sum()),
    "slices": gradients(lambda T, x: (x[1:] * x[:-1]).sum()),
    "steps": gradients(lambda T, x: (x[::2] ** 2).sum()),
    "expand": gradients(lambda T, x: (x.expand(4, 3) ** 2).sum()),
    "transpose": gradients(lambda T, x: (x.view(3, 1).T @ x.view(3, 1)).sum()),
    "where": gradients(lambda T, x: T.where(x > 1.5, x**2, x).sum()),
    "clamp": gradients(lambda T, x: x.clamp(1.5, 2.5).sum()),
    "index": gradients(lambda T, x: (x[T.tensor([0, 0, 2])] ** 2).sum()),
    "mask": gradients(lambda T, x: (x[x > 1.5] ** 2).sum()),
    "softmax": gradients(lambda T, x: (T.softmax(x, 0) * x).sum()),
    "logsumexp": gradients(lambda T, x: T.logsumexp(x, 0)),
    "half": gradients(lambda T, x: (x.half() * 2).sum().float()),
    "unbind": gradients(lambda T, x: x.unbind(0)[1] ** 2),
    "iteration": gradients(lambda T, x: sum(v * v for v in x)),
    "second of cube": second_derivative(lambda T, x: x**3),
    "second of exp": second_derivative(lambda T, x: x.exp() * x),
    "second of tanh": second_derivative(lambda T, x: x.tanh()),
    "second of sigmoid": second_derivative(lambda T, x: x.sigmoid() / x),
    "second of product": second_derivative(lambda T, x: (x.view(3, 1) * x).sum(0)),
    "second of matmul": second_derivative(lambda T, x: x.view(1, 3) ** 2 @ x.view(3, 1)),
    "second of softmax": second_derivative(lambda T, x: T.softmax(x, 0) ** 2),
    "second of slices": second_derivative(lambda T, x: x[1:] ** 2 * x[:-1]),
    "second of var": second_derivative(lambda T, x: x.var() ** 2),
    "in-place view": inplace(add_to_view),
    "in-place on element": inplace(mul_view),
    "in-place on view of view": inplace(view_of_view),
    "view made before": inplace(view_made_before),
    "assign": inplace(assign),
    "assign into zeros": inplace(copy_into_leafless),
    "in-place add": inplace(lambda T, x, y: y.add_(x)),
    "in-place mul": inplace(lambda T, x, y: (y + 0).mul_(x)),
    "in-place exp": inplace(lambda T, x, y: (y + 0).exp_()),
    "in-place zero": inplace(lambda T, x, y: (y + 0).zero_() + y),
    "in-place relu": inplace(lambda T, x, y: (y - 3).relu_()),
    "hook on tensor": hook_on_tensor,
    "hook on node": hook_on_node,
    "post accumulate hook": post_accumulate,
    "saved tensors hooks": saved_hooks,
    "function": custom,
    "function twice": custom_twice,
    "function setup_context": custom_setup_context,
    "function two outputs": custom_two_outputs,
    "function needs_input_grad": custom_needs,
    "function dirty": custom_dirty,
    "function undefined": custom_undefined,
    "retain_grad": retained,
    "detach": detached,
    "modes": modes,
    "leaves": leaves,
    "inputs": inputs_argument,
    "several roots": several_roots,
    "grad of several": grad_of_several,
    "unused": unused,
    "materialized": materialized,
    "grad of intermediate": grad_of_intermediate,
    "mixed dtypes": mixed_dtypes,
    "set grad": set_grad,
    "add twice": add_needs_no_saved,
    "retain graph": retain,
    "data": data_is_not_tracked,
    "names": names,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("name", SAME)
def test_same(name):
    check(SAME[name])


def inplace_leaf(T):
    leaf(T).add_(1)


def inplace_view_of_leaf(T):
    leaf(T)[0] = 1


def backward_in_no_grad(T):
    with T.no_grad():
        y = leaf(T).sum()
    y.backward()


def wrong_number_of_gradients(T):
    class Bad(T.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            return a * b

        @staticmethod
        def backward(ctx, g):
            return g

    x = leaf(T)
    Bad.apply(x, x).sum().backward()


def wrong_shape(T):
    class Bad(T.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            return a * 2

        @staticmethod
        def backward(ctx, g):
            return T.ones(2)

    x = leaf(T)
    Bad.apply(x).sum().backward()


def write_to_view_of_view(T, mode):
    x = T.zeros(2)
    with mode():
        y = x.view(2)
    y.requires_grad_()
    y.view(2).mul_(2)


def write_to_view_by_function(T, make):
    class Make(T.autograd.Function):
        forward = staticmethod(lambda ctx, x: make(x))

    Make.apply(T.zeros(2)).add_(leaf(T)[:2])


def detached_after_use(T):
    y = leaf(T) * 1
    z = y.sin()
    y.detach_()
    z.sum().backward()


def marks_a_new_view(T):
    class Mark(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.clone().view(3)
            ctx.mark_dirty(y)
            return y

    Mark.apply(leaf(T))


def tangent_elsewhere(T, of_view, tangent):
    class Head(T.autograd.Function):
        forward = staticmethod(lambda ctx, x: x[:2])
        jvp = staticmethod(lambda ctx, t: tangent(t))

    with T.autograd.forward_ad.dual_level():
        x = T.autograd.forward_ad.make_dual(T.ones(3), T.ones(3))
        Head.apply(x.view(3) if of_view else x)


ERRORS = {
    "view of view in no_grad": lambda T: write_to_view_of_view(T, T.no_grad),
    "view of view in inference": lambda T: write_to_view_of_view(T, T.inference_mode),
    "pure view of several": lambda T: pure_view(T, of_several=True),
    "view by function": lambda T: write_to_view_by_function(T, lambda x: x.view(2)),
    "views by function": lambda T: write_to_view_by_function(T, lambda x: x),
    "detached after use": detached_after_use,
    "marks a new view": marks_a_new_view,
    "tangent no view": lambda T: tangent_elsewhere(T, False, lambda t: t[:2].clone()),
    "tangent another view": lambda T: tangent_elsewhere(T, False, lambda t: t.clone()[:2]),
    "tangent of another base": lambda T: tangent_elsewhere(T, True, lambda t: t.clone()[:2]),
    "twice": freed_by_backward,
    "non-scalar": lambda T: (leaf(T) * 2).backward(),
    "wrong shape": lambda T: (leaf(T) * 2).backward(T.ones(2)),
    "no grad": lambda T: T.ones(2).sum().backward(),
    "in no_grad": backward_in_no_grad,
    "in-place leaf": inplace_leaf,
    "in-place view of leaf": inplace_view_of_leaf,
    "grad of no grad": lambda T: T.autograd.grad(leaf(T).sum(), T.ones(2)),
    "unused": lambda T: T.autograd.grad(leaf(T).sum(), leaf(T)),
    "non-leaf flag": lambda T: (leaf(T) * 2).requires_grad_(False),
    "hook without grad": lambda T: T.ones(2).register_hook(print),
    "function count": wrong_number_of_gradients,
    "function shape": wrong_shape,
    "empty inputs": lambda T: leaf(T).sum().backward(inputs=[]),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("name", ERRORS)
def test_error(name):
    check(ERRORS[name], message=True)


@pytest.mark.parametrize("function", [modified, modified_output])
def test_modified(function):
    check(function)
    with pytest.raises(RuntimeError, match=r"is at version \d; expected version \d instead"):
        function(mt)


def twice_in_one_op(T):
    a = T.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]], requires_grad=True)
    linear = T.nn.functional.linear(a, a)
    (first,) = T.autograd.grad(linear.pow(2).sum(), a, create_graph=True)
    (second,) = T.autograd.grad((first * first).sum(), a)
    return first.detach().contiguous(), second.contiguous()


def dependent_arguments(T):
    a = T.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]], requires_grad=True)
    normed = T.nn.functional.layer_norm(a, (3,), a[0], a[1])
    return T.autograd.grad((normed**2).sum(), a, create_graph=True)[0].detach()


def norm_at_zero(T):
    x = T.zeros(3, requires_grad=True)
    (x.norm() + T.ones(3, requires_grad=True).std()).backward()
    return x.grad


def integer_cast(T):
    x = leaf(T)
    return x.long().requires_grad, x.bool().requires_grad, (x.long() * 2).requires_grad


def layout_of_grad(T):
    x = T.ones(3, 4, requires_grad=True)
    (x.t() @ T.ones(3, 2)).sum().backward()
    y = T.ones(2, 3, requires_grad=True)
    (y * T.ones(3, 2).t()).sum().backward()
    return x.grad, y.grad, x.grad.view(-1)


def retained_is_a_copy(T):
    x = leaf(T)
    y = x * 1
    y.retain_grad()
    y.sum().backward()
    return y.grad.mul_(2)


def hooks_of_all_kinds_on_a_leaf(T):
    x = leaf(T)
    node = x.view_as(x).grad_fn.next_functions[0][0]
    x.register_hook(lambda g: g - 3)
    node.register_prehook(lambda grads: (grads[0] / 4,))
    x.register_post_accumulate_grad_hook(lambda p: p.grad.add_(1))
    seen = []
    # What it gets is the memory that has become .grad.
    node.register_hook(lambda grad_inputs, grad_outputs: seen.append(grad_outputs[0].clone()))
    x.sum().backward()
    return seen, x.grad


def hooks_entered_and_left_during_backward(T):
    hooks = T.autograd.graph.saved_tensors_hooks

    def leave(tensor):
        inner.__exit__()
        return tensor

    def enter(tensor):
        outer.__enter__()
        return tensor

    packed = []
    inner = hooks(lambda tensor: tensor, leave)
    outer = hooks(lambda tensor: packed.append(tensor.shape) or tensor, enter)
    with outer, inner:
        leaf(T).sin().sum().backward()
        leaf(T).sin()
    with outer:
        leaf(T).view(3, 1).sin().sum().backward()
    leaf(T).sin()
    return packed


def batched_gradients(T):
    x = leaf(T)
    y = x**2
    upstream = T.arange(6).view(2, 3)
    (first,) = T.autograd.grad(y, x, upstream, is_grads_batched=True, create_graph=True)
    of_sum = T.autograd.grad(y.sum(), [x, leaf(T)], T.ones(2), is_grads_batched=True,
                             allow_unused=True, retain_graph=True)  # fmt: skip
    return of_sum[0], of_sum[1], T.autograd.grad(first.sum(), x)


def materialized_and_used_again(T):
    x = leaf(T)
    (zero,) = T.autograd.grad(leaf(T).sum(), x, create_graph=True, materialize_grads=True)
    (again,) = T.autograd.grad(zero.sum(), x, materialize_grads=True)
    return zero.requires_grad, again


def edges_after_set(T):
    x = leaf(T)
    edge = T.autograd.graph.get_gradient_edge(x)
    y = (x * 2).sum()
    with T.no_grad():
        before = x._version
        x.set_(T.ones(2, 2).t())
    (by_edge,) = T.autograd.grad(y, edge, retain_graph=True)
    return x, x._version - before, by_edge, T.autograd.grad(y, x, allow_unused=True)


def forms_of_gradients(T):
    x = T.ones(2, 3, requires_grad=True)
    variance, _ = T.var_mean(x, dim=0)
    forms = [*variance.grad_fn._input_metadata, *(x * 2).grad_fn._input_metadata]
    return [(tuple(form.shape), form.dtype) for form in forms]


def gradients_of_results_that_are_no_tensors(T):
    seen = []

    class Both(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return "first", x * 2, 3, x * 4

        @staticmethod
        def backward(ctx, *grads):
            seen.append([grad is None for grad in grads])
            return grads[1] * 2 + grads[3] * 4

    x = leaf(T)
    _, y, _, z = Both.apply(x)
    z.grad_fn.register_prehook(lambda grads: (None, grads[1], None, grads[3] * 2))
    y.sum().backward(retain_graph=True)
    (y + z).sum().backward()
    return seen, y.output_nr, z.output_nr, x.grad


def one_expand_per_sum(T):
    x = leaf(T)
    (gradient,) = T.autograd.grad((x * x).sum(), x, T.tensor(1.0, requires_grad=True),
                                  create_graph=True)  # fmt: skip
    (whole,) = T.autograd.grad(x.sum(), x, T.tensor(1.0, requires_grad=True), create_graph=True)
    return gradient.detach(), type(whole.grad_fn.next_functions[0][0]).__name__


def moments(T):
    x = T.tensor([[1.0, 2.0, 4.0], [3.0, 5.0, 9.0]], requires_grad=True)
    (v, m), (s, _) = T.var_mean(x, 1), T.std_mean(x, (0, 1), correction=0.5)
    (first,) = T.autograd.grad((v * m).sum() * s, x, create_graph=True)
    (second,) = T.autograd.grad((first * first).sum(), x)
    (only_mean,) = T.autograd.grad(T.var_mean(x, 0)[1].sum(), x)
    return v.detach(), m.detach(), s.detach(), second, only_mean.contiguous(), v.grad_fn.name()


def moments_at_the_edges(T):
    fine = T.tensor([1.0, 1.25, 1.5, 1.75], dtype=T.bfloat16) + 64
    return (
        T.var(T.tensor([1.0, 2.0]), 0, correction=2),
        T.var_mean(T.tensor(2.0)),
        T.var_mean(T.zeros(2, 0), 1, keepdim=True),
        T.var_mean(fine, 0),
        type(T.var(leaf(T)).grad_fn).__name__,
    )


def diagonals(T):
    x = T.arange(24.0).view(2, 3, 4).requires_grad_()
    (first,) = T.autograd.grad((x.diagonal(1, 1, 2) ** 3).sum(), x, create_graph=True)
    (second,) = T.autograd.grad(first.pow(2).sum(), x)
    y = x * 1
    y.diagonal(-1, dim1=1, dim2=2).mul_(10)
    y.sum().backward()
    (expanded,) = T.autograd.grad(x[0].diagonal(), x, T.tensor(2.0).expand(3))
    shapes = [T.zeros(3, 4).diagonal(k).shape for k in range(-4, 6)]
    return T.diagonal(x, -1).detach(), first.detach(), second, y.detach(), x.grad, expanded, shapes


def dtypes_of_gradients(T):
    class InDouble(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g.double()

    found = [T.arange(3).grad_dtype, leaf(T).grad_dtype]
    for dtype in (None, T.float16, T.float32):
        x = leaf(T)
        y = InDouble.apply(x)  # its accumulator is there before the dtype is set
        x.grad_dtype = dtype
        y.sum().backward()
        InDouble.apply(x).sum().backward()
        found += [x.grad_dtype, x.grad]
    x = leaf(T)
    x.grad_dtype = None
    x.grad = T.ones(3, dtype=T.bfloat16)
    (x * 2).sum().backward()
    return found, x.grad


def news(T):
    x = T.ones(2, dtype=T.float64)
    made = [x.new(), x.new(2, 3), x.new(x[:1].size()), x.new([2, 3]), x.new((2, 3))]
    return [(y.shape, y.dtype) for y in made], made[-1]


def numbers_of_a_leaf(T):
    x = leaf(T)
    with T.no_grad():
        return x.numpy() * 2


@pytest.mark.filterwarnings("ignore:volatile")
@pytest.mark.parametrize(
    "function",
    [
        diagonals,
        dtypes_of_gradients,
        lambda T: T.zeros(5, dtype=T.float64).bernoulli(1.0),
        lambda T: T.bernoulli(T.arange(3), 0),
        lambda T: leaf(T).volatile,
        news,
        numbers_of_a_leaf,
    ],
)
def test_same_methods(function):
    check(function)


def gradient_of_another_dtype(T):
    x = leaf(T)
    x.grad_dtype = T.float64
    x.grad = T.ones(3)


def dtype_beside_another_gradient(T):
    x = leaf(T)
    x.grad = T.ones(3)
    x.grad_dtype = T.float64


def dtype_that_is_none(T):
    leaf(T).grad_dtype = 3


def dtype_of_a_result(T):
    (leaf(T) * 2).grad_dtype = None


@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize(
    "function",
    [
        gradient_of_another_dtype,
        dtype_beside_another_gradient,
        dtype_that_is_none,
        dtype_of_a_result,
        lambda T: (leaf(T) * 2).grad_dtype,
        lambda T: T.zeros(3, 4).diagonal(0, 1, -1),
        lambda T: T.zeros(3, 4).diagonal(0, 1, 2),
    ],
)
def test_error_of_methods(function):
    check(function, message=True)


def test_nothing_stays_of_a_function_that_a_hook_has_stopped():
    kept = []

    class Keep(mt.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.clone()
            ctx.save_for_backward(y)
            kept.append(weakref.ref(y))
            return y

        @staticmethod
        def backward(ctx, g):
            return ctx.saved_tensors[0] * g

    gc.disable()
    try:
        y = mt.utils.checkpoint.checkpoint(Keep.apply, leaf(mt), use_reentrant=False)
        y.sum().backward()
        del y
        assert [reference() for reference in kept] == [None, None]
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")
def test_an_instance_of_a_function_is_no_node():
    function = make_function(mt)()
    for name in ("name", "next_functions", "register_hook", "_sequence_nr", "_input_metadata"):
        with pytest.raises(RuntimeError, match=f"Attribute '{name}' is invalid"):
            getattr(function, name)
    with pytest.raises(RuntimeError, match="underlying PyNode"):
        _ = function.metadata
    assert not hasattr(function, "something_else")


def test_mean_beside_a_variance_is_the_mean():
    x = mt.tensor([1.0, float("inf"), 2.0])
    variance, mean = mt.var_mean(x, 0)
    assert mean.item() == mt.mean(x).item() == float("inf")
    assert variance.isnan()


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize(
    "function",
    [
        batched_gradients,
        edges_after_set,
        forms_of_gradients,
        gradients_of_results_that_are_no_tensors,
        hooks_entered_and_left_during_backward,
        hooks_of_all_kinds_on_a_leaf,
        materialized_and_used_again,
        moments,
        moments_at_the_edges,
        one_expand_per_sum,
    ],
)
def test_in_depth(function):
    check(function)


def batched_gradient_of_wrong_shape(T):
    x = leaf(T)
    T.autograd.grad(x * 2, x, T.ones(3), is_grads_batched=True)


def materialized_edge(T):
    x = leaf(T).clone()
    T.autograd.grad(leaf(T).sum(), T.autograd.graph.get_gradient_edge(x), materialize_grads=True)


def set_of_a_leaf(T):
    leaf(T).set_(T.ones(3))


def set_of_another_dtype(T):
    T.ones(3).set_(T.ones(3, dtype=T.float64))


@pytest.mark.parametrize(
    "function",
    [
        batched_gradient_of_wrong_shape,
        lambda T: T.var_mean(T.arange(3)),
        materialized_edge,
        set_of_a_leaf,
        set_of_another_dtype,
    ],
)
def test_error_in_depth(function):
    check(function, message=True)


@pytest.mark.parametrize(
    "function",
    [
        twice_in_one_op,
        dependent_arguments,
        norm_at_zero,
        integer_cast,
        layout_of_grad,
        retained_is_a_copy,
    ],
)
def test_found_by_review(function):
    check(function)


def test_a_deep_chain_of_views_is_linear():
    x = mt.ones(1, requires_grad=True)
    z = x
    for _ in range(20_000):
        z = z.view(1)
    z.backward()
    assert x.grad.item() == 1
    with pytest.raises(TypeError, match=r"@triton\.jit"):
        mt.ops.elementwise(lambda value: value)
