"""Hooks on tensors, on leaves and on nodes, beside PyTorch."""

from __future__ import annotations

import pytest
from same import check, leaf


def hook_nograd(T):
    T.ones(2).register_hook(lambda g: g)


def hook_wrong_type(T):
    x = leaf(T, 2)
    y = x * 2
    y.register_hook(lambda g: 3)
    y.sum().backward()


def hook_wrong_shape(T):
    x = leaf(T, 2)
    y = x * 2
    y.register_hook(lambda g: T.ones(3))
    y.sum().backward()


def hook_wrong_dtype(T):
    x = leaf(T, 2)
    y = x * 2
    y.register_hook(lambda g: g.double())
    y.sum().backward()


def hook_none_grad(T):
    x = leaf(T, 4)
    log = []

    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            return (a * 1, b * 1)

        @staticmethod
        def backward(ctx, g, h):
            return (g, None)

    y = x * 2
    z = x * 3
    a, b = F.apply(y, z)
    z.register_hook(lambda g: log.append(g is None))
    (a + b).sum().backward()
    return (log, x.grad)


def hook_unused_split(T):
    x = leaf(T, 4)
    a, b = (x * 1).split(2)
    log = []
    b.register_hook(lambda g: log.append(g))
    (a * 2).sum().backward()
    return (log, x.grad)


def hook_order(T):
    x = leaf(T, 2)
    log = []
    y = x * 2
    y.register_hook(lambda g: log.append(("t1", g.tolist())) or g * 2)
    y.retain_grad()
    y.register_hook(lambda g: log.append(("t2", g.tolist())) or g * 3)
    y.grad_fn.register_prehook(lambda g: log.append(("p", [i.tolist() for i in g])))
    y.grad_fn.register_hook(
        lambda gi, go: log.append(
            ("n", [i.tolist() if i is not None else None for i in gi], [i.tolist() for i in go])
        )
    )
    y.sum().backward()
    return (log, y.grad, x.grad)


def hook_order_leaf(T):
    x = leaf(T, 2)
    log = []
    acc = x.view_as(x).grad_fn.next_functions[0][0]
    acc.register_prehook(lambda g: log.append("pre"))
    acc.register_hook(lambda gi, go: log.append(("post", len(gi), len(go))))
    x.register_hook(lambda g: log.append("t"))
    x.register_post_accumulate_grad_hook(lambda p: log.append("pa"))
    (x * 2).sum().backward()
    return log


def prehook_bad_count(T):
    x = leaf(T, 2)
    y = x * 2
    y.grad_fn.register_prehook(lambda g: (g[0], g[0]))
    y.sum().backward()


def prehook_bad_type(T):
    x = leaf(T, 2)
    y = x * 2
    y.grad_fn.register_prehook(lambda g: (3,))
    y.sum().backward()


def prehook_single(T):
    x = leaf(T, 2)
    y = x * 2
    y.grad_fn.register_prehook(lambda g: g[0] * 2)
    y.sum().backward()
    return x.grad


def posthook_bad_count(T):
    x = leaf(T, 2)
    y = x * 2
    y.grad_fn.register_hook(lambda gi, go: (go[0], go[0], go[0]))
    y.sum().backward()


def posthook_replace(T):
    x = leaf(T, 2)
    y = x.exp()
    y.grad_fn.register_hook(lambda gi, go: (gi[0] * 10,))
    y.sum().backward()
    return x.grad


def posthook_single(T):
    x = leaf(T, 2)
    y = x.exp()
    y.grad_fn.register_hook(lambda gi, go: gi[0] * 10)
    y.sum().backward()
    return x.grad


def posthook_list(T):
    x = leaf(T, 2)
    y = x.exp()
    y.grad_fn.register_hook(lambda gi, go: [gi[0] * 10])
    y.sum().backward()
    return x.grad


def posthook_tensor_none(T):
    x = leaf(T, 2)
    y = x * 2
    y.grad_fn.register_hook(lambda gi, go: (gi[0], go[0]))
    y.sum().backward()
    return x.grad


def posthook_none_ok(T):
    x = leaf(T, 2)
    y = x.exp()
    y.grad_fn.register_hook(lambda gi, go: (None,))
    y.sum().backward()
    return x.grad


def post_acc_return(T):
    x = leaf(T, 2)
    x.register_post_accumulate_grad_hook(lambda p: 3)
    x.sum().backward()


def post_acc_nonleaf(T):
    (leaf(T, 2) * 1).register_post_accumulate_grad_hook(lambda p: None)


def post_acc_nograd(T):
    T.ones(2).register_post_accumulate_grad_hook(lambda p: None)


def post_acc_multi(T):
    x = leaf(T, 2)
    log = []
    h = x.register_post_accumulate_grad_hook(lambda p: log.append(1))
    x.register_post_accumulate_grad_hook(lambda p: log.append(2))
    x.sum().backward()
    h.remove()
    x.sum().backward()
    return log


def post_acc_clears(T):
    x = leaf(T, 2)

    def h(p):
        p.grad = None

    x.register_post_accumulate_grad_hook(h)
    x.sum().backward()
    return x.grad


def hook_raises(T):
    x = leaf(T, 2)
    y = x * x

    def h(g):
        raise ValueError("boo")

    hd = y.register_hook(h)
    r = []
    try:
        y.sum().backward(retain_graph=True)
    except ValueError as e:
        r.append(str(e))
    hd.remove()
    y.sum().backward()
    return (r, x.grad, T.is_grad_enabled())


def hook_remove_inside(T):
    x = leaf(T, 2)
    y = x * x
    log = []

    def h(g):
        log.append(1)
        hd.remove()

    hd = y.register_hook(h)
    y.register_hook(lambda g: log.append(2))
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    return log


def hook_handle_ctx(T):
    x = leaf(T, 2)
    y = x * x
    log = []
    with y.register_hook(lambda g: log.append(1)):
        y.sum().backward(retain_graph=True)
    y.sum().backward()
    return log


def hook_changes_inplace(T):
    x = leaf(T, 2)
    y = x * 2

    def h(g):
        g.mul_(5)

    y.register_hook(h)
    (y * 1).sum().backward()
    return x.grad


def retain_inplace(T):
    x = leaf(T, 2)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    r = (y.retains_grad,)
    y.sum().backward()
    return (r, y.grad, x.grad)


def hook_inplace(T):
    x = leaf(T, 2)
    y = x * 2
    log = []
    y.register_hook(lambda g: log.append(("a", g.tolist())))
    y.mul_(3)
    y.register_hook(lambda g: log.append(("b", g.tolist())))
    y.sum().backward()
    return log


def retain_inplace_twice(T):
    x = leaf(T, 2)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    y.mul_(4)
    y.sum().backward()
    return y.grad


def retain_inplace_view(T):
    x = leaf(T, 4)
    y = x * 2
    v = y[:2]
    v.retain_grad()
    y.retain_grad()
    v.mul_(3)
    (y * T.arange(1.0, 5)).sum().backward()
    return (v.grad, y.grad, x.grad)


def retain_view_inplace_base(T):
    x = leaf(T, 4)
    y = x * 2
    v = y[:2]
    v.retain_grad()
    y.mul_(3)
    (v * T.arange(1.0, 3)).sum().backward()
    return (v.retains_grad, v.grad, x.grad)


def hook_view_inplace(T):
    x = leaf(T, 4)
    y = x * 2
    v = y[:2]
    log = []
    v.register_hook(lambda g: log.append(("v0", g.tolist())))
    y.register_hook(lambda g: log.append(("y0", g.tolist())))
    v.mul_(3)
    v.register_hook(lambda g: log.append(("v1", g.tolist())))
    y.register_hook(lambda g: log.append(("y1", g.tolist())))
    (y * T.arange(1.0, 5)).sum().backward()
    a = list(log)
    (x * 1).sum()
    return a


def hook_view_inplace_use_v(T):
    x = leaf(T, 4)
    y = x * 2
    v = y[:2]
    log = []
    v.register_hook(lambda g: log.append(("v0", g.tolist())))
    v.mul_(3)
    v.register_hook(lambda g: log.append(("v1", g.tolist())))
    (v * T.arange(1.0, 3)).sum().backward()
    return log


def retain_multi(T):
    x = leaf(T, 2)
    y = x * 2
    y.retain_grad()
    y.retain_grad()
    z = (y * y).sum()
    z.backward(retain_graph=True)
    a = y.grad.clone()
    z.backward()
    return (a, y.grad)


def retain_nograd(T):
    T.ones(2).retain_grad()


def retain_flag(T):
    x = leaf(T, 2)
    y = x * 2
    r = [x.retains_grad, y.retains_grad]
    y.retain_grad()
    x.retain_grad()
    return r + [x.retains_grad, y.retains_grad]


def retain_then_hook(T):
    x = leaf(T, 2)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    y.sum().backward()
    return (y.grad, x.grad)


def retain_after_hook_create(T):
    x = leaf(T, 2)
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward(create_graph=True)
    return (y.grad.requires_grad, x.grad.requires_grad)


def multi_all(T):
    a, b, c = [leaf(T, 2) for _ in range(3)]
    log = []
    h = T.autograd.graph.register_multi_grad_hook(
        (a, b, c), lambda gs: log.append([g is None for g in gs])
    )
    (a * b).sum().backward()
    (a * b * c).sum().backward()
    h.remove()
    (a * b).sum().backward()
    return log


def multi_any(T):
    a, b, c = [leaf(T, 2) for _ in range(3)]
    log = []
    h = T.autograd.graph.register_multi_grad_hook(
        (a, b, c), lambda g: log.append(g.tolist()), mode="any"
    )
    (a * b).sum().backward()
    (b * c).sum().backward()
    h.remove()
    (a * b).sum().backward()
    return log


def multi_bad(T):
    T.autograd.graph.register_multi_grad_hook((leaf(T, 2),), lambda g: None, mode="x")


def multi_nonleaf(T):
    x = leaf(T, 2)
    a = x * 2
    b = x * 3
    log = []
    T.autograd.graph.register_multi_grad_hook(
        (a, b), lambda gs: log.append([None if g is None else g.tolist() for g in gs])
    )
    (a * b).sum().backward(retain_graph=True)
    (a * 1).sum().backward()
    T.autograd.grad((a + b).sum(), a)
    return log


def multi_exception(T):
    x = leaf(T, 2)
    y = leaf(T, 2)
    log = []

    def bad(g):
        raise RuntimeError("e")

    h0 = y.register_hook(bad)
    T.autograd.graph.register_multi_grad_hook((x, y), lambda gs: log.append(1))
    try:
        (x * y).sum().backward()
    except RuntimeError:
        log.append("e")
    h0.remove()
    (x * y).sum().backward()
    return log


def create_graph_hooks(T):
    x = leaf(T, 2)
    y = x * x
    log = []
    y.register_hook(lambda g: log.append(g.requires_grad))
    (y * y).sum().backward(create_graph=True)
    (y * y).sum().backward()
    return log


CASES = [
    hook_nograd,
    hook_wrong_type,
    hook_wrong_shape,
    hook_wrong_dtype,
    hook_none_grad,
    hook_unused_split,
    hook_order,
    hook_order_leaf,
    prehook_bad_count,
    prehook_bad_type,
    prehook_single,
    posthook_bad_count,
    posthook_replace,
    posthook_single,
    posthook_list,
    posthook_tensor_none,
    posthook_none_ok,
    post_acc_return,
    post_acc_nonleaf,
    post_acc_nograd,
    post_acc_multi,
    post_acc_clears,
    hook_raises,
    hook_remove_inside,
    hook_handle_ctx,
    hook_changes_inplace,
    retain_inplace,
    hook_inplace,
    retain_inplace_twice,
    retain_inplace_view,
    retain_view_inplace_base,
    hook_view_inplace,
    hook_view_inplace_use_v,
    retain_multi,
    retain_nograd,
    retain_flag,
    retain_then_hook,
    retain_after_hook_create,
    multi_all,
    multi_any,
    multi_bad,
    multi_nonleaf,
    multi_exception,
    create_graph_hooks,
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("run", CASES, ids=[run.__name__ for run in CASES])
def test_as_pytorch(run):
    check(run, message=True)
