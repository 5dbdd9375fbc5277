"""What ``backward`` and ``grad`` accept, refuse and leave behind, beside PyTorch."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
from same import check, leaf


def backward_of_a_constant(T):
    T.ones(1).backward()


def grad_of_a_constant(T):
    T.autograd.grad(T.ones(1), T.ones(1))


def grad_by_a_constant(T):
    x = leaf(T, 2)
    return T.autograd.grad((x * 2).sum(), T.ones(2))


def grad_without_inputs(T):
    x = leaf(T, 2)
    return T.autograd.grad(2 * x, [], grad_outputs=T.ones(2))


def backward_with_empty_inputs(T):
    x = leaf(T, 2)
    (2 * x).backward(T.ones(2), inputs=[])


def backward_of_several_elements(T):
    x = leaf(T, 2)
    (2 * x).backward()


def grad_of_several_elements(T):
    x = leaf(T, 2)
    T.autograd.grad(2 * x, x)


def backward_none_list(T):
    x = leaf(T, 2)
    T.autograd.backward([x * 2], [None])


def grad_with_wrong_shape(T):
    x = leaf(T, 2, 2)
    T.autograd.grad([x * 2], [x], [T.ones(2)])


def backward_with_wrong_shape(T):
    x = leaf(T, 2, 2)
    (x * 2).backward(T.ones(2))


def dtype_mismatch(T):
    x = leaf(T, 2, 2)
    (x * 2).backward(T.ones(2, 2, dtype=T.float64))
    return x.grad


def dtype_int_grad(T):
    x = leaf(T, 2, 2)
    (x * 2).backward(T.ones(2, 2, dtype=T.int64))
    return x.grad


def backward_with_too_few_gradients(T):
    x = leaf(T, 2, 2)
    T.autograd.backward([x * 2, x * 3], [T.ones(2, 2)])


def grad_with_too_few_gradients(T):
    x = leaf(T, 2, 2)
    T.autograd.grad([x * 2, x * 3], x, [T.ones(2, 2)])


def grad_by_a_number(T):
    x = leaf(T, 2)
    T.autograd.grad(x.sum(), [3])


def unused(T):
    x = leaf(T, 2)
    y = leaf(T, 2)
    return T.autograd.grad((x * 2).sum(), [x, y])


def unused_allowed(T):
    x = leaf(T, 2)
    y = leaf(T, 2)
    return T.autograd.grad((x * 2).sum(), [x, y], allow_unused=True)


def unused_materialized(T):
    x = leaf(T, 2)
    y = leaf(T, 2)
    return T.autograd.grad((x * 2).sum(), [x, y], materialize_grads=True)


def unused_materialized_and_refused(T):
    x = leaf(T, 2)
    return T.autograd.grad((x * 2).sum(), [x], materialize_grads=True, allow_unused=False)


def backward_twice(T):
    x = leaf(T, 2)
    y = (x * x).sum()
    y.backward()
    y.backward()


def backward_twice_where_nothing_is_saved(T):
    x = leaf(T, 2)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    return x.grad


def one_root_twice(T):
    x = leaf(T, 2)
    y = x * x
    T.autograd.backward([y, y], [T.ones(2), T.ones(2)])
    return x.grad


def dependent_roots(T):
    x = leaf(T, 2)
    y = x**2
    z = y**3
    T.autograd.backward([y, z], [T.ones(2), T.ones(2)])
    return x.grad


def root_leaf(T):
    x = leaf(T, 2)
    g = T.ones(2)
    x.backward(g)
    a = x.grad
    return (a is g, a, a.data_ptr() == g.data_ptr())


def view_grad_alias(T):
    x = leaf(T, 2, 2)
    g = T.ones(4)
    x.view(4).backward(g)
    x.grad.add_(1)
    return x.grad


def accumulate_in_place(T):
    x = leaf(T, 2)
    y = x + 2
    y.backward(T.ones(2))
    g = x.grad
    y.backward(T.ones(2))
    return (g is x.grad, g)


def accumulate_a_graph(T):
    x = leaf(T, 2)
    y = x + 2
    y.backward(T.ones(2))
    g = x.grad
    y.backward(T.ones(2), create_graph=True)
    return (g is x.grad, g, x.grad)


def accumulate_into_a_given_gradient(T):
    r = []
    for cg in (False, True):
        p = T.tensor([1.5, 1.5]).requires_grad_()
        p.grad = T.tensor([1.5, 1.5])
        s = p.grad
        p.backward(T.tensor([1.5, 1.5]), create_graph=cg)
        r.append((s is p.grad, p.grad))
    return r


def layout_of_a_gradient(T):
    x = T.ones(3, 2).t().detach().requires_grad_()
    (x * 2).sum().backward()
    s = x.grad.stride()
    y = T.ones(2, 3).requires_grad_()
    (y.t() * T.ones(3, 2)).sum().backward()
    z = T.ones(2, 3)[:, ::2].detach().requires_grad_()
    (z * 2).sum().backward()
    return (s, y.grad.stride(), z.grad.stride())


def nonleaf_inputs(T):
    x = leaf(T, 2)
    m = x * 1
    y = leaf(T, 2)
    z = leaf(T, 2)
    o = m**2 + y * m + y**2
    o.backward(T.ones(2), create_graph=True, inputs=[x, y, m])
    a = (x.grad, y.grad, m.grad)
    o.backward(T.ones(2), create_graph=True, inputs=[z])
    return (a, z.grad)


def inputs_single(T):
    x = leaf(T, 2)
    y = leaf(T, 2)
    (x * y).sum().backward(inputs=x)
    return (x.grad, y.grad)


def inputs_bad(T):
    x = leaf(T, 2)
    (x * x).sum().backward(inputs=T.ones(2))


def inputs_hooks(T):
    x = leaf(T, 2)
    log = []
    x.register_hook(lambda g: log.append("h"))
    x.register_post_accumulate_grad_hook(lambda p: log.append("p"))
    (x * x).sum().backward(inputs=[x])
    T.autograd.grad((x * x).sum(), x)
    return log


def grad_nonleaf_chain(T):
    x0 = leaf(T, 2)
    x = x0
    y = leaf(T, 2)
    for _ in range(3):
        (g,) = T.autograd.grad(x**2 + y * x + y**2, x, T.ones(2), create_graph=True)
        x = x + 0.05 * g
    x.backward(T.ones(2))
    return (x0.grad, y.grad)


def accumulate_dtype_change(T):
    x = T.ones(2, requires_grad=True)
    (x.double() * 2).sum().backward()
    return x.grad


def half_grad(T):
    x = T.ones(2, dtype=T.float16, requires_grad=True)
    (x.float() * 2).sum().backward()
    return x.grad


def edge(T):
    x = leaf(T, 2)
    y = x * 2
    z = y * y
    e = T.autograd.graph.get_gradient_edge(y)
    r = T.autograd.grad(z.sum(), e)
    return (r, e.output_nr, e.node is y.grad_fn)


def edge_out(T):
    x = leaf(T, 2)
    y = x * 2
    e = T.autograd.graph.get_gradient_edge(y)
    return T.autograd.grad(e, x, grad_outputs=T.ones(2))


def edge_out_none(T):
    x = leaf(T, 2)
    y = (x * 2).sum()
    e = T.autograd.graph.get_gradient_edge(y)
    return T.autograd.grad(e, x)


def edge_as_input_of_backward(T):
    x = leaf(T, 2)
    y = x * 2
    z = y * y
    e = T.autograd.graph.get_gradient_edge(x)
    z.sum().backward(inputs=e)
    return x.grad


def edge_as_root(T):
    x = leaf(T, 2)
    y = x * 2
    e = T.autograd.graph.get_gradient_edge(y)
    T.autograd.backward(e, T.ones(2))
    return x.grad


def edge_bad(T):
    T.autograd.graph.get_gradient_edge(T.ones(2))


def edge_leaf(T):
    x = leaf(T, 2)
    e = T.autograd.graph.get_gradient_edge(x)
    return (type(e.node).__name__, e.output_nr)


def edge_kept_after_inplace(T):
    x = leaf(T, 2)
    y = x * 2
    e = T.autograd.graph.get_gradient_edge(y)
    y.mul_(3)
    return T.autograd.grad(y.sum(), [e, y])


def call_a_node(T):
    x = leaf(T, 2)
    y = x**2
    return y.grad_fn(T.ones(2))


def call_a_node_with_too_few(T):
    x = leaf(T, 2)
    y = x**2
    return y.grad_fn()


def call_a_node_with_too_many(T):
    x = leaf(T, 2)
    y = x**2
    return y.grad_fn(T.ones(2), T.ones(2))


def call_a_node_of_two_inputs(T):
    x = leaf(T, 2)
    y = x * x
    return y.grad_fn(T.ones(2))


def call_an_accumulator(T):
    x = leaf(T, 2)
    y = x * x
    return (y.grad_fn.next_functions[0][0](T.ones(2)), x.grad)


def called_node_records(T):
    x = leaf(T, 2)
    y = x * x
    return y.grad_fn(T.ones(2))[0].requires_grad


def metadata(T):
    x = leaf(T, 2)
    y = x * x
    y.grad_fn.metadata["a"] = 1
    return y.grad_fn.metadata


def nodes_are_nodes(T):
    x = leaf(T, 2)
    y = x * x
    return (
        isinstance(y.grad_fn, T.autograd.graph.Node),
        issubclass(type(y.grad_fn), T.autograd.graph.Node),
        isinstance(y.grad_fn.next_functions[0][0], T.autograd.graph.Node),
    )


def increment_version(T):
    x = T.ones(2)
    T.autograd.graph.increment_version(x)
    return x._version


def increment_versions(T):
    x = T.ones(2)
    T.autograd.graph.increment_version([x, x])
    return x._version


def saved_access(T):
    x = leaf(T, 2)
    r = []
    y = x.exp()
    r.append((y.grad_fn._saved_result is y, y.grad_fn._saved_result))
    y = x**3
    r.append((y.grad_fn._saved_self is x, y.grad_fn._saved_self, y.grad_fn._saved_exponent))
    y = x * x
    r.append((y.grad_fn._saved_self is x, y.grad_fn._saved_other is x))
    y = x.sum(0)
    r.append(y.grad_fn._saved_dim)
    y = x.softmax(0)
    r.append((y.grad_fn._saved_result,))
    y = x.clamp(0, 1)
    r.append((y.grad_fn._saved_min, y.grad_fn._saved_max, y.grad_fn._saved_self))
    return r


def saved_freed(T):
    x = leaf(T, 2)
    y = x.exp()
    y.sum().backward()
    return y.grad_fn._saved_result


def saved_missing(T):
    x = leaf(T, 2)
    y = x + x
    return y.grad_fn._saved_self


def saved_leaf_modified(T):
    x = leaf(T, 2)
    y = x * x
    with T.no_grad():
        x.add_(1)
    return y.grad_fn._saved_self


def raw_saved(T):
    x = leaf(T, 2)
    y = x * x
    y.grad_fn._raw_saved_self.register_hooks(lambda t: t * 2, lambda t: t / 2)
    y.sum().backward()
    return x.grad


def raw_saved_freed(T):
    x = leaf(T, 2)
    y = x * x
    s = y.grad_fn._raw_saved_self
    y.sum().backward()
    s.register_hooks(lambda t: t * 2, lambda t: t / 2)


def raw_saved_twice(T):
    x = leaf(T, 2)
    y = x * x
    s = y.grad_fn._raw_saved_self
    s.register_hooks(lambda t: t * 2, lambda t: t / 2)
    s.register_hooks(lambda t: t * 2, lambda t: t / 2)


def raw_saved_badarg(T):
    x = leaf(T, 2)
    y = x * x
    s = y.grad_fn._raw_saved_self
    s.register_hooks(lambda: x, lambda t: t)


def free_on_drop(T):
    x = leaf(T, 2)
    gc.collect()
    gc.disable()
    try:
        a = x * 2
        r = weakref.ref(a)
        b = a * a
        c = b.exp().sum()
        del a, b, c
        d = r() is None
        a = x * 2
        r = weakref.ref(a)
        b = a * a
        c = b.exp().sum()
        c.backward()
        del a, b
        return (d, r() is None)
    finally:
        gc.enable()


def reentrant(T):
    x = leaf(T, 2)

    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            with T.enable_grad():
                ctx.x = a.detach().requires_grad_()
                ctx.y = ctx.x * ctx.x
            return ctx.y.detach()

        @staticmethod
        def backward(ctx, g):
            with T.enable_grad():
                ctx.y.sum().backward()
            return ctx.x.grad * g

    F.apply(x).sum().backward()
    return x.grad


def deep_reentrant(T):

    class D(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            with T.enable_grad():
                ctx.x = x.detach().requires_grad_()
                ctx.x = ctx.x - 1
            return ctx.x.detach()

        @staticmethod
        def backward(ctx, g):
            if ctx.x < 0:
                return g
            with T.enable_grad():
                D.apply(ctx.x).sum().backward()
            return g

    v = T.tensor(300.0, requires_grad=True)
    D.apply(v).sum().backward()
    return v.grad


def undefined_gradient_of_a_function(T):
    log = []

    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            log.append(g.tolist())
            return g

    class N(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return None

    x = leaf(T, 2)
    N.apply(F.apply(x)).sum().backward()
    return (log, x.grad)


def undefined_gradient_of_an_operation(T):

    class N(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return None

    x = leaf(T, 2)
    log = []
    y = x.exp()
    y.grad_fn.register_hook(lambda gi, go: log.append((gi, go)))
    y.grad_fn.register_prehook(lambda go: log.append(go))
    N.apply(y).sum().backward()
    return (log, x.grad)


def keyboard_interrupt(T):
    x = leaf(T, 2)
    y = x * x

    def h(g):
        raise KeyboardInterrupt

    hd = y.register_hook(h)
    r = None
    try:
        y.sum().backward(retain_graph=True)
    except KeyboardInterrupt:
        r = "k"
    hd.remove()
    y.sum().backward()
    return (r, x.grad, T.is_grad_enabled())


def callback_at_the_end(T):
    x = leaf(T, 2)
    log = []
    V = T.autograd.Variable
    x.register_hook(lambda g: V._execution_engine.queue_callback(lambda: log.append("cb")))
    x.register_post_accumulate_grad_hook(lambda p: log.append("acc"))
    x.sum().backward()
    return log


def callback_outside_backward(T):
    T.autograd.Variable._execution_engine.queue_callback(lambda: None)


def threads(T):
    x = leaf(T, 50)
    ts = []

    def f():
        for _ in range(20):
            (x * x).sum().backward()

    ts = [threading.Thread(target=f) for _ in range(4)]
    [t.start() for t in ts]
    [t.join() for t in ts]
    return x.grad


def tensors_are_variables(T):
    return isinstance(T.ones(2), T.autograd.Variable)


def make_a_variable(T):
    x = T.ones(2)
    v = T.autograd.Variable(x, requires_grad=True)
    return (v.requires_grad, v.is_leaf, v is x, x.requires_grad, v.data_ptr() == x.data_ptr())


CASES = [
    backward_of_a_constant,
    grad_of_a_constant,
    grad_by_a_constant,
    grad_without_inputs,
    backward_with_empty_inputs,
    backward_of_several_elements,
    grad_of_several_elements,
    backward_none_list,
    grad_with_wrong_shape,
    backward_with_wrong_shape,
    dtype_mismatch,
    dtype_int_grad,
    backward_with_too_few_gradients,
    grad_with_too_few_gradients,
    grad_by_a_number,
    unused,
    unused_allowed,
    unused_materialized,
    unused_materialized_and_refused,
    backward_twice,
    backward_twice_where_nothing_is_saved,
    one_root_twice,
    dependent_roots,
    root_leaf,
    view_grad_alias,
    accumulate_in_place,
    accumulate_a_graph,
    accumulate_into_a_given_gradient,
    layout_of_a_gradient,
    nonleaf_inputs,
    inputs_single,
    inputs_bad,
    inputs_hooks,
    grad_nonleaf_chain,
    accumulate_dtype_change,
    half_grad,
    edge,
    edge_out,
    edge_out_none,
    edge_as_input_of_backward,
    edge_as_root,
    edge_bad,
    edge_leaf,
    edge_kept_after_inplace,
    call_a_node,
    call_a_node_with_too_few,
    call_a_node_with_too_many,
    call_a_node_of_two_inputs,
    call_an_accumulator,
    called_node_records,
    metadata,
    nodes_are_nodes,
    increment_version,
    increment_versions,
    saved_access,
    saved_freed,
    saved_missing,
    saved_leaf_modified,
    raw_saved,
    raw_saved_freed,
    raw_saved_twice,
    raw_saved_badarg,
    free_on_drop,
    reentrant,
    deep_reentrant,
    undefined_gradient_of_a_function,
    undefined_gradient_of_an_operation,
    keyboard_interrupt,
    callback_at_the_end,
    callback_outside_backward,
    threads,
    tensors_are_variables,
    make_a_variable,
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("run", CASES, ids=[run.__name__ for run in CASES])
def test_as_pytorch(run):
    check(run, message=True)


def test_the_order_of_nodes_can_be_set():
    def run(T):
        x = T.ones(2, requires_grad=True)
        early, late = x * 2, x * 3
        early.grad_fn._set_sequence_nr(late.grad_fn._sequence_nr() + 1)
        order = []
        early.register_hook(lambda grad: order.append("early"))
        late.register_hook(lambda grad: order.append("late"))
        (early + late).sum().backward()
        return order, x.grad

    check(run)


def test_multithreading_is_a_setting_that_is_kept():
    def run(T):
        enabled = T.autograd.is_multithreading_enabled
        seen = [enabled()]
        with T.autograd.set_multithreading_enabled(False):
            seen.append(enabled())
            T.autograd.set_multithreading_enabled(True)
        return [*seen, enabled()]

    check(run)
