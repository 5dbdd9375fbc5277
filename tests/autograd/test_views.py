"""In-place operations, views and versions, beside PyTorch."""

from __future__ import annotations

import contextlib

import pytest
from same import check, leaf


def weights(T, y):
    """1, 2, ... in the shape of y."""
    return T.arange(1.0, y.numel() + 1).view(y.shape)


def modified_output(T):
    x = leaf(T, 2, 3)
    y = x.exp()
    y.add_(1)
    y.sum().backward()


def modified_input(T):
    x = leaf(T, 2, 3)
    a = x * 2
    y = a * a
    a.add_(1)
    y.sum().backward()


def modified_constant(T):
    x = leaf(T, 2, 3)
    w = T.ones(2, 3)
    y = x * w
    w.add_(1)
    y.sum().backward()


def modified_leaf(T):
    x = leaf(T, 2, 3)
    y = x * x
    with T.no_grad():
        x.add_(1)
    y.sum().backward()


def modified_double(T):
    x = leaf(T, 2, 3).double().detach().requires_grad_()
    y = x.sqrt()
    y.mul_(2)
    y.sum().backward()


def modified_indices(T):
    x = leaf(T, 2, 3)
    v, i = x.max(1)
    i.add_(1)
    v.sum().backward()


def leaf_inplace(T):
    leaf(T, 2).add_(1)


def leaf_inplace_set(T):
    leaf(T, 2)[0] = 1


def leaf_view_inplace(T):
    leaf(T, 2).view(2, 1).add_(1)


def leaf_view_view_inplace(T):
    leaf(T, 2).view(2, 1)[0].add_(1)


def leaf_zero(T):
    leaf(T, 2).zero_()


def leaf_fill(T):
    leaf(T, 2).fill_(1)


def leaf_copy(T):
    leaf(T, 2).copy_(T.ones(2))


def leaf_nograd(T):
    x = leaf(T, 2)
    with T.no_grad():
        x.add_(1)
    return (x, x.requires_grad, x._version, x.is_leaf)


def split_inplace(T):
    x = leaf(T, 4) * 1
    a, _b = x.split(2)
    a.add_(1)


def chunk_inplace(T):
    x = leaf(T, 4) * 1
    a, _b = x.chunk(2)
    a.add_(1)


def unbind_inplace(T):
    x = leaf(T, 4) * 1
    a = x.unbind()[1]
    a.add_(1)


def split_of_view_inplace(T):
    x = leaf(T, 4) * 1
    a = x.view(2, 2).split(1)[1][0]
    a.add_(1)


def iter_inplace(T):
    x = leaf(T, 4) * 1
    for a in x:
        a.add_(1)


def split_nograd_data(T):
    x = T.ones(4)
    a, _b = x.split(2)
    a.add_(1)
    return x


def split_add_leaf(T):
    x = T.ones(4)
    w = leaf(T, 2)
    a, _b = x.split(2)
    a.add_(w)
    return x


def split_base_inplace(T):
    x = leaf(T, 4) * 1
    a, _b = x.split(2)
    x.mul_(2)
    return a.grad_fn is None


def split_base_inplace_use(T):
    x = leaf(T, 4) * 1
    a, _b = x.split(2)
    x.mul_(2)
    (a * 2).sum().backward()


def split_base_inplace_value(T):
    x = leaf(T, 4) * 1
    a, _b = x.split(2)
    x.mul_(2)
    return (a.detach(), a.requires_grad)


def split_nograd_ctx(T):
    x = leaf(T, 4) * 1
    a, _b = x.split(2)
    with T.no_grad():
        a.mul_(2)
    return x


def nograd_view_inplace(T):
    x = leaf(T, 4) * 1
    with T.no_grad():
        v = x.view(2, 2)
    r = (v.requires_grad, v.is_leaf, v._is_view(), v._base is x)
    return r


def nograd_view_inplace2(T):
    x = leaf(T, 4) * 1
    with T.no_grad():
        v = x.view(2, 2)
    v.mul_(2)


def nograd_view_inplace3(T):
    x = leaf(T, 4) * 1
    with T.no_grad():
        v = x.view(2, 2)
        v.mul_(2)
    return (x, x.grad_fn is None)


def nograd_view_of_const_inplace(T):
    x = T.ones(4)
    w = leaf(T, 2, 2)
    with T.no_grad():
        v = x.view(2, 2)
    v.mul_(w)
    return x.requires_grad


def nograd_view_leaf(T):
    x = leaf(T, 4)
    with T.no_grad():
        v = x.view(2, 2)
    return (v.requires_grad, v.is_leaf, v.grad_fn is None)


def nograd_view_leaf_inplace(T):
    x = leaf(T, 4)
    with T.no_grad():
        v = x.view(2, 2)
    v.mul_(2)


def nograd_view_base_inplace(T):
    x = leaf(T, 4) * 1
    with T.no_grad():
        v = x.view(2, 2)
    x.mul_(2)
    return v.requires_grad


def nograd_view_base_inplace_fn(T):
    x = leaf(T, 4) * 1
    with T.no_grad():
        v = x.view(2, 2)
    x.mul_(2)
    return v.grad_fn is None


def nograd_view_view(T):
    x = leaf(T, 4) * 1
    with T.no_grad():
        v = x.view(2, 2)
    w = v[0]
    return (w.requires_grad, w.grad_fn is None)


def const_base_view_inplace(T):
    w = leaf(T, 2)
    x = T.zeros(4)
    v = x[:2]
    u = x.view(2, 2)
    v.mul_(w)
    v.add_(w)
    (x * weights(T, x)).sum().backward()
    a = w.grad
    (u * weights(T, u)).sum().backward()
    return (a, w.grad, type(x.grad_fn).__name__, type(v.grad_fn).__name__, type(u.grad_fn).__name__)


def view_requires_grad_later(T):
    x = T.ones(4)
    v = x[:2]
    x.requires_grad = True
    return (v.requires_grad, v.is_leaf, v.grad_fn is None)


def view_requires_grad_later_inplace(T):
    x = T.ones(4)
    v = x[:2]
    x.requires_grad = True
    v.add_(5)


def view_requires_grad_self(T):
    x = T.ones(4)
    v = x[:2]
    v.requires_grad_()
    v.add_(1)


def view_leaf_requires(T):
    x = T.ones(4)
    v = x[:2].requires_grad_()
    y = (v * v).sum()
    y.backward()
    return (v.grad, v.is_leaf)


def view_leaf_requires_base_changed(T):
    x = T.ones(4)
    v = x[:2].requires_grad_()
    x.mul_(2)
    return (v.requires_grad, v.is_leaf)


def detach_view(T):
    leaf(T, 4).view(2, 2).detach_()


def detach_base(T):
    x = leaf(T, 4)
    v = x.narrow(0, 1, 2)
    x.detach_()
    return (x.requires_grad, v.requires_grad, v.grad_fn is None, v._base is x)


def detach_inplace(T):
    x = leaf(T, 4)
    a = x * 2
    a.detach_()
    a.mul_(3)
    x2 = (a * x).sum()
    x2.backward()
    return (x.grad, a.is_leaf)


def detach_shares_version(T):
    x = leaf(T, 4)
    d = x.detach()
    y = x * x
    d.add_(1)
    y.sum().backward()


def data_no_version(T):
    x = leaf(T, 4)
    y = x * x
    x.data.add_(1)
    y.sum().backward()
    return (x.grad, x._version)


def setitem_kinds(T):
    r = []
    for idx in (
        0,
        (0, 1),
        slice(1, None),
        (slice(None), 0),
        Ellipsis,
        None,
        T.tensor([0, 1]),
        T.tensor([1, 1]),
        T.tensor([[True, False, True], [False, True, True]]),
        T.tensor([True, False]),
        (T.tensor([0, 1]), T.tensor([2, 0])),
        (slice(None), T.tensor([2, 0])),
        [0, 1],
        (0, T.tensor([0, 2])),
        (T.tensor([0]), slice(None)),
        T.tensor(1),
        True,
    ):
        x = leaf(T, 2, 3)
        y = x * 2
        y[idx] = 7.0
        (y * weights(T, y)).sum().backward()
        r.append((y, x.grad))
        x = leaf(T, 2, 3)
        y = x * 2
        v = (y[idx] * 0 + 5).detach().clone().requires_grad_()
        y[idx] = v
        (y * weights(T, y)).sum().backward()
        r.append((y, x.grad, v.grad))
    return r


def setitem_broadcast(T):
    x = leaf(T, 4)
    y = T.zeros(2, 3, 4)
    y[1] = x
    y.backward(weights(T, y))
    return x.grad


def list_of_lists_as_index(T):
    x = leaf(T, 3, 3)
    return x[[[0, 1], [1, 0]]]


def list_with_a_slice_as_index(T):
    x = leaf(T, 3, 3)
    return x[[slice(None), [0, 1]]]


def text_index(T):
    leaf(T, 3)["a"]


def assign_to_a_text_index(T):
    T.ones(3)["a"] = 1


def inplace_expanded(T):
    x = T.ones(1).expand(3)
    x.add_(1)


def inplace_self_overlap(T):
    x = T.arange(6.0)
    x[1:].add_(x[:-1])


def inplace_chain(T):
    x = leaf(T, 3)
    y = x * 2
    y.mul_(y)
    y.exp_()
    y.div_(2)
    y.sum().backward()
    return x.grad


def inplace_view_chain(T):
    x = leaf(T, 2, 3)
    y = x * 2
    v = y.t()[1:]
    v.mul_(x.t()[1:])
    w = y.view(-1)[2:]
    w.sin_()
    (y * weights(T, y)).sum().backward()
    return (y, x.grad)


def inplace_view_double(T):
    x = leaf(T, 2, 3)
    y = x * 2
    v = y[0]
    v.mul_(x[1])
    v.exp_()
    z = (y * y).sum()
    (g,) = T.autograd.grad(z, x, create_graph=True)
    (h,) = T.autograd.grad((g * weights(T, g)).sum(), x)
    return (g, h)


def inplace_view_grad_of_view(T):
    x = leaf(T, 2, 3)
    y = x * 2
    v = y[0]
    v.mul_(3)
    (v * weights(T, v)).sum().backward()
    return x.grad


def inplace_both_views(T):
    x = leaf(T, 4)
    y = x * 2
    a = y[:3]
    b = y[1:]
    a.mul_(2)
    b.mul_(x[:3])
    (a * weights(T, a)).sum().backward()
    return x.grad


def inplace_expand_view(T):
    x = leaf(T, 1)
    y = x * 2
    v = y.expand(3)
    y.mul_(2)
    (v * weights(T, v)).sum().backward()
    return x.grad


def copy_to_view_grad(T):
    x = leaf(T, 3)
    y = T.zeros(2, 3)
    y[0].copy_(x)
    y[1].copy_(x * 2)
    (y * weights(T, y)).sum().backward()
    return x.grad


def copy_cast(T):
    x = leaf(T, 3)
    y = T.zeros(3, dtype=T.float64)
    y.copy_(x)
    (y * weights(T, y)).sum().backward()
    return x.grad


def fill_tensor_grad(T):
    x = leaf(T)
    y = T.zeros(3)
    y.fill_(x)
    (y * weights(T, y)).sum().backward()
    return x.grad


def masked_fill_tensor(T):
    x = leaf(T, 3)
    v = leaf(T)
    y = (x * 2).masked_fill_(T.tensor([True, False, True]), v)
    (y * weights(T, y)).sum().backward()
    return (x.grad, v.grad)


def requires_nonfloat(T):
    T.ones(2, dtype=T.int64).requires_grad_()


def requires_nonfloat2(T):
    T.ones(2, dtype=T.int64).requires_grad = True


def requires_nonfloat3(T):
    T.ones(2, dtype=T.int64, requires_grad=True)


def requires_false_nonleaf(T):
    (leaf(T, 2) * 2).requires_grad_(False)


def requires_false_nonleaf2(T):
    (leaf(T, 2) * 2).requires_grad = False


def del_attrs(T):
    r = []
    x = leaf(T, 2)
    for a in ("data", "requires_grad", "_grad_fn", "_backward_hooks", "grad"):
        try:
            delattr(x, a)
            r.append("ok")
        except Exception as e:
            r.append(type(e).__name__)
    return r


def data_none(T):
    leaf(T, 2).data = None


def data_set(T):
    x = leaf(T, 2)
    x * x
    x.data = T.ones(3)
    return (x, x.requires_grad, x._version)


def data_set_dtype(T):
    x = leaf(T, 2)
    x.data = T.ones(3, dtype=T.int64)


def grad_set_bad(T):
    x = leaf(T, 2)
    x.grad = T.ones(3)


def grad_set_bad3(T):
    x = leaf(T, 2)
    x.grad = 0


def grad_set_self(T):
    x = leaf(T, 2)
    x.grad = x


def base_attr(T):
    x = T.ones(4)
    return (
        x._base is None,
        x.view(2, 2)._base is x,
        x.view(2, 2)[0]._base is x,
        x.detach()._base is None,
        x.detach()._is_view(),
        x.clone()._is_view(),
    )


def detach_is_view(T):
    x = leaf(T, 4)
    d = x.detach()
    return (d._is_view(), d.is_leaf)


def set_after_save_no_need(T):
    x = leaf(T, 3)
    y = T.ones(3)
    z = x + y
    y.add_(1)
    z.sum().backward()
    return x.grad


def indexing_saves_no_values(T):
    a = T.tensor([1.0, 0, 0])
    b = T.zeros(3, requires_grad=True)
    t = b + 0
    t[a != 0] = t[a != 0]
    t.backward(T.ones(3))
    return b.grad


def backward_twice_through_indexing(T):
    b = leaf(T, 3)
    c = T.zeros(3)
    c[[1, 2]] = b[[1, 1]]
    c.backward(T.ones(3))
    c.backward(T.ones(3))


def mk_id_one(T, view):

    class IdOne(T.autograd.Function):
        @staticmethod
        def forward(ctx, a, b, make_view):
            return a.narrow(0, 0, 2) if make_view else a.narrow(0, 0, 2).clone()

        @staticmethod
        def backward(ctx, g):
            r = T.zeros(4)
            r.narrow(0, 0, 2).copy_(g)
            return (r, None, None)

    return IdOne


def fn_noview_inplace(T):
    a = leaf(T, 4)
    f = mk_id_one(T, True)
    o = f.apply(a * 1, None, False)
    o.mul_(3)
    o.sum().backward()
    return a.grad


def fn_returns_input_inplace(T):

    class Same(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g

    a = leaf(T, 2) * 1
    o = Same.apply(a)
    r = (o is a, o._is_view())
    o.add_(1)
    return r


def multi_out_nograd_view(T):
    a = leaf(T, 4) * 1
    with T.no_grad():
        x = a.split(2)
    x[0].mul_(2)


def inplace_makes_base_require(T):
    a = T.zeros(4, 4)
    b = leaf(T, 2, 2)
    c = a[1:3, 1:3]
    c.add_(b)
    r = (a.requires_grad, c.requires_grad)
    a.sum().backward()
    return (r, b.grad)


def inplace_backprop_view_of_view(T):
    leaf(T, 4, 4).clone()
    root = leaf(T, 4, 4)
    x = root.clone()
    v1 = x.narrow(0, 0, 2)
    v2 = v1.narrow(1, 0, 2)
    v2.mul_(3)
    v1.mul_(5)
    (x * T.arange(16.0).view(4, 4)).sum().backward()
    return root.grad


def inplace_saved_output(T):
    x = leaf(T, 4)
    y = x * 1
    z = y[0:2]
    z.exp_()
    z.sum().backward()
    return x.grad


def weak_grad_fn(T):
    x = leaf(T, 2)
    a = x * 1
    v = a[0:1]
    v.mul_(2)
    v1 = v.grad_fn
    a.mul_(3)
    v2 = v.grad_fn
    return (v1 is v2, v.grad_fn is v2)


def version_counter(T):
    x = T.ones(1, 2)
    s = x._version
    x.add_(1)
    r = [x._version > s]
    y = x.view(2)
    r.append(y._version == x._version)
    y.add_(1)
    r.append(y._version == x._version)
    z = x.data
    r.append(z._version)
    z.add_(1)
    r.append(x._version)
    x.data = T.ones(2, 3)
    r.append(x._version)
    return r


def set_data_req(T):
    a = T.tensor(1.0, requires_grad=True)
    b = T.tensor(2.0)
    a.data = b
    return (a.requires_grad, a, b.requires_grad)


def set_data_self(T):
    x = leaf(T, 3)
    y = x * x
    x.data = x.data * 2
    y.sum().backward()
    return x.grad


def unused_chunk(T):
    x = leaf(T, 10, 2)
    o = x.chunk(5)
    (o[2] * 4 + 2).sum().backward()
    return x.grad


def unbind_bw(T):
    x = leaf(T, 3, 2)
    a, b, c = x.unbind()
    g = T.arange(6.0).view(3, 2)
    T.autograd.backward([a, b, c], g.unbind())
    return x.grad


def unbind_dim(T):
    x = leaf(T, 3, 2)
    a, b = x.unbind(1)
    (a * b).sum().backward()
    return (x.grad, a.grad_fn.name(), b.output_nr)


def split_sizes(T):
    x = leaf(T, 5, 2)
    a, b = x.split([2, 3])
    (b * b).sum().backward()
    return (x.grad, type(a.grad_fn).__name__)


def split_double(T):
    x = leaf(T, 4)
    a, b = x.split(2)
    (g,) = T.autograd.grad((a * b * b).sum(), x, create_graph=True)
    return T.autograd.grad((g * T.arange(4.0)).sum(), x)


def prod_zeros(T):
    r = []
    for v in ([[2.0, 3.0], [0.0, 4.0]], [[0.0, 3.0], [0.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]):
        x = T.tensor(v, requires_grad=True)
        (g,) = T.autograd.grad(x.prod(), x, create_graph=True)
        r.append(g.detach())
        r.append(T.autograd.grad((g * T.arange(4.0).view(2, 2)).sum(), x)[0])
        x.prod(1).sum().backward()
        r.append(x.grad)
    return r


def same_grad_two_leaves(T):
    x = leaf(T, 3)
    y = leaf(T, 3)
    (x + y).backward(T.ones(3))
    x.grad.add_(1)
    return (x.grad, y.grad)


def expanded_upstream(T):
    x = leaf(T, 2, 3)
    (x * 1).backward(T.ones(1).expand(2, 3))
    x.grad.add_(T.arange(6.0).view(2, 3))
    return x.grad


def leaf_assign(T):
    x = T.zeros(3, 2)
    y = leaf(T, 2)
    z = leaf(T, 2)
    x[0] = y
    x[1] = 2 * z
    x.sum().backward()
    return (x.requires_grad, y.grad, z.grad)


def nograd_modifies(T):
    x = leaf(T, 3)
    z = (x * x).sum()
    with T.no_grad():
        x *= 2
    z.backward()


def no_unnecessary_save(T):
    mu = T.ones(1, requires_grad=True)
    x = T.empty(1)
    loss = 0
    for i in range(3):
        x.detach_()
        x.copy_(mu + i)
        m = x * T.tensor([float(i)])
        loss = loss + m.sum()
    loss.backward()
    return mu.grad


def retain_grad_inplace_nograd(T):
    x = leaf(T, 3)
    y = x * 2
    y.retain_grad()
    with T.no_grad():
        y.zero_()
    y.sum().backward()
    return (y.grad, x.grad)


def retain_multi_out(T):
    x = leaf(T, 4)
    a, b = (x * 1).split(2)
    a.retain_grad()
    b.retain_grad()
    (a * a + b).sum().backward()
    return (a.grad, b.grad)


def floordiv_grad(T):
    x = leaf(T, 3)
    y = x // 2
    return y.requires_grad


def reentrant_mode(T):
    r = []

    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            r.append(T.is_grad_enabled())
            with T.enable_grad():
                z = T.ones(1, requires_grad=True)
                (z * 2).sum().backward()
            r.append(T.is_grad_enabled())
            return g

    x = leaf(T, 2)
    F.apply(x).sum().backward()
    T.autograd.grad(F.apply(x).sum(), x, create_graph=True)
    return r


def grad_mode_after_exc(T):

    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise ValueError("x")

    x = leaf(T, 2)
    with contextlib.suppress(ValueError):
        F.apply(x).sum().backward(create_graph=True)
    return T.is_grad_enabled()


CASES = [
    fn_noview_inplace,
    fn_returns_input_inplace,
    multi_out_nograd_view,
    inplace_makes_base_require,
    inplace_backprop_view_of_view,
    inplace_saved_output,
    weak_grad_fn,
    version_counter,
    set_data_req,
    set_data_self,
    unused_chunk,
    unbind_bw,
    unbind_dim,
    split_sizes,
    split_double,
    prod_zeros,
    same_grad_two_leaves,
    expanded_upstream,
    leaf_assign,
    nograd_modifies,
    no_unnecessary_save,
    retain_grad_inplace_nograd,
    retain_multi_out,
    floordiv_grad,
    reentrant_mode,
    grad_mode_after_exc,
    modified_output,
    modified_input,
    modified_constant,
    modified_leaf,
    modified_double,
    modified_indices,
    leaf_inplace,
    leaf_inplace_set,
    leaf_view_inplace,
    leaf_view_view_inplace,
    leaf_zero,
    leaf_fill,
    leaf_copy,
    leaf_nograd,
    split_inplace,
    chunk_inplace,
    unbind_inplace,
    split_of_view_inplace,
    iter_inplace,
    split_nograd_data,
    split_add_leaf,
    split_base_inplace,
    split_base_inplace_use,
    split_base_inplace_value,
    split_nograd_ctx,
    nograd_view_inplace,
    nograd_view_inplace2,
    nograd_view_inplace3,
    nograd_view_of_const_inplace,
    nograd_view_leaf,
    nograd_view_leaf_inplace,
    nograd_view_base_inplace,
    nograd_view_base_inplace_fn,
    nograd_view_view,
    const_base_view_inplace,
    view_requires_grad_later,
    view_requires_grad_later_inplace,
    view_requires_grad_self,
    view_leaf_requires,
    view_leaf_requires_base_changed,
    detach_view,
    detach_base,
    detach_inplace,
    detach_shares_version,
    data_no_version,
    setitem_kinds,
    setitem_broadcast,
    list_of_lists_as_index,
    list_with_a_slice_as_index,
    text_index,
    assign_to_a_text_index,
    inplace_expanded,
    inplace_self_overlap,
    inplace_chain,
    inplace_view_chain,
    inplace_view_double,
    inplace_view_grad_of_view,
    inplace_both_views,
    inplace_expand_view,
    copy_to_view_grad,
    copy_cast,
    fill_tensor_grad,
    masked_fill_tensor,
    requires_nonfloat,
    requires_nonfloat2,
    requires_nonfloat3,
    requires_false_nonleaf,
    requires_false_nonleaf2,
    del_attrs,
    data_none,
    data_set,
    data_set_dtype,
    grad_set_bad,
    grad_set_bad3,
    grad_set_self,
    base_attr,
    detach_is_view,
    set_after_save_no_need,
    indexing_saves_no_values,
    backward_twice_through_indexing,
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("run", CASES, ids=[run.__name__ for run in CASES])
def test_as_pytorch(run):
    check(run, message=True)
