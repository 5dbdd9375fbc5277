"""Tensors that change their shape in place, views of any strides, and memory formats."""

from __future__ import annotations

import pytest
import torch
from same import check, leaf

import minitorch_triton as mt


def weighted(T, y):
    """A number that depends on every element of y in another way."""
    return (y * T.arange(1.0, y.numel() + 1).view(y.shape)).sum()


def turned_base(T, x):
    y = x * 2
    before = y.view(-1)
    y.t_()
    before[:2].mul_(3)
    after = y[1]
    after.add_(before[0])
    y.unsqueeze_(1)
    y[2].mul_(x[0, 0])
    y.squeeze_()
    y.transpose_(0, 1)
    return y * y, before, after


def turned_view(T, x):
    y = x * 2
    view = y[:, 1:]
    view.t_()
    view.mul_(3)
    return (view * view).contiguous(), y


def turned_often(T, x):
    y = x * 2
    row, view = y[0], y[:, 1:]
    for _ in range(1500):
        y.t_()
        view.t_()
    view.mul_(3)
    y.t_()
    row.add_(1)
    return (y * y).contiguous(), view


def unsqueezed_and_squeezed(T, x):
    y = (x * 2).unsqueeze_(0).unsqueeze_(-1)
    y[0, 0].mul_(2)
    y.squeeze_((0, 3))
    return y * x


def strided_in_place(T, x):
    y = x * 2
    before = y.view(-1)
    y.as_strided_((3, 2), (1, 3))
    before[:2].mul_(3)
    y[1].add_(before[0])
    y.as_strided_((2, 2), (2, 1), 1)
    return y * y


def overlapping(T, x):
    return (x * 2).as_strided((3, 2), (1, 1)) ** 2


def strided_into_base(T, x):
    y = x * 2
    y.as_strided((2, 2), (3, 1), 1).mul_(x[:, :2])
    y[1].as_strided((2,), (1,)).add_(1)
    return y * y


def strided_turned(T, x):
    y = (x * 2).t().clone()
    y.as_strided((2,), (1,), 2).mul_(3)
    return y * y


def strided_expanded(T, x):
    return x[:1, :1].expand(3, 2).as_strided((2,), (0,)) ** 2


def compared_in_place(T, x):
    y = x * 2
    y.gt_(1.0)
    return y + x


def split_unsafely(T, x):
    first, second = (x * 2).unsafe_split(1)
    first.mul_(second)
    return first + second


@pytest.mark.parametrize(
    "function",
    [
        turned_base,
        turned_view,
        turned_often,
        unsqueezed_and_squeezed,
        strided_in_place,
        overlapping,
        strided_into_base,
        strided_turned,
        strided_expanded,
        compared_in_place,
        split_unsafely,
    ],
)
def test_values_and_two_derivatives(function):
    def run(T):
        x = leaf(T, 2, 3)
        results = function(T, x)
        results = results if isinstance(results, tuple) else (results,)
        total = sum(weighted(T, result) for result in results)
        (first,) = T.autograd.grad(total, x, create_graph=True)
        (second,) = T.autograd.grad((first * first).sum() + (x * x).sum(), x)
        return [result.detach() for result in results], first.detach().contiguous(), second

    check(run)


@pytest.mark.parametrize(
    "function",
    [
        lambda T, x: x.t_(),
        lambda T, x: x.unsqueeze_(0),
        lambda T, x: (x * 1).resize_(6),
        lambda T, x: x.detach().as_strided((2,), (1, 1)),
        lambda T, x: x.detach().as_strided((2,), (-1,)),
        lambda T, x: x.detach().as_strided((2,), (1,), -1),
        lambda T, x: x.contiguous(memory_format=T.channels_last),
        lambda T, x: T.mul(x, x, out=T.zeros(2, 3)),
    ],
)
def test_what_is_refused(function):
    check(lambda T: function(T, leaf(T, 2, 3)), message=True)


def test_a_saved_tensor_must_not_be_turned():
    x = leaf(mt, 2, 3)
    y = x * 1
    z = y * y
    y.t_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_elements_that_as_strided_left_out_are_not_asked_for():
    x = leaf(mt, 2, 3)
    y = x * 2
    view = y[0]
    y.as_strided_((2,), (1,))
    with pytest.raises(RuntimeError, match="as_strided_ took elements from"):
        view.mul_(2)


def test_as_strided_stays_inside_the_memory():
    with pytest.raises(RuntimeError, match="are out of bounds for storage of size"):
        mt.zeros(4).as_strided((1000,), (1,))


def test_resize_keeps_the_memory_or_takes_more():
    def run(T):
        x = T.arange(6.0)
        x.resize_(2, 2)
        smaller = x.clone(), x._version
        x.resize_(50, 3)
        x.resize_as_(T.zeros(50, 3))
        return smaller, x.shape, x.view(-1)[:6], x._version

    check(run)


def test_channels_last():
    def run(T):
        x = leaf(T, 2, 3, 2, 2)
        y = (x * 2).to(memory_format=T.channels_last)
        copies = [
            y.contiguous(),
            y.clone(memory_format=T.contiguous_format),
            x.clone(memory_format=T.channels_last),
            T.zeros_like(y),
            T.ones_like(y, memory_format=T.contiguous_format),
        ]
        weighted(T, y).backward()
        formats = T.channels_last, T.contiguous_format
        return (
            [copy.detach() for copy in copies],
            [y.is_contiguous(memory_format=which) for which in formats],
            x.grad,
        )

    check(run)


def test_the_gradient_of_a_leaf_with_gaps_has_none():
    def run(T):
        x = T.empty_strided((2, 2), (4, 2)).copy_(T.ones(2, 2)).requires_grad_()
        (x * 3).sum().backward()
        return x.stride(), x.grad

    check(run)


def test_strides_of_a_tensor_without_elements():
    check(lambda T: [T.empty_strided(*form) for form in (((0,), (10,)), ((2, 0), (5, 3)))])


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is dep:DeprecationWarning")  # PyTorch's own
def test_forward_mode_follows_a_tensor_that_is_turned():
    def run(T):
        ad = T.autograd.forward_ad
        with ad.dual_level():
            x = ad.make_dual(T.ones(2, 3), T.arange(6.0).view(2, 3))
            x.t_()
            y = T.ones(2, 3)
            row = y[0]
            y.t_()
            row.mul_(x[1, 1])
            return [ad.unpack_dual(z).tangent.contiguous() for z in (x, y, row)]

    check(run)


def test_forward_mode_can_be_switched_off():
    ad = mt.autograd.forward_ad
    with ad.dual_level():
        x = ad.make_dual(mt.ones(2), mt.ones(2))
        with ad._set_fwd_grad_enabled(False):
            assert not ad._is_fwd_grad_enabled()
            y = x * 2
            assert ad.unpack_dual(x).tangent is None
        assert ad._is_fwd_grad_enabled()
        assert ad.unpack_dual(y).tangent is None
        assert ad.unpack_dual(x).tangent is not None


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is dep:DeprecationWarning")  # PyTorch's own
@pytest.mark.parametrize(
    "function",
    [
        lambda T, ad, x: T.add(x, 1.0, out=T.zeros(2)),
        lambda T, ad, x: T.add(T.zeros(2), 1.0, out=x),
        lambda T, ad, x: ad.make_dual(T.zeros(2), x),
    ],
)
def test_what_forward_mode_refuses(function):
    def run(T):
        ad = T.autograd.forward_ad
        with ad.dual_level():
            return function(T, ad, ad.make_dual(T.ones(2), T.ones(2)))

    check(run)


def test_views_of_what_is_made_in_inference_mode():
    def run(T):
        with T.inference_mode():
            made = [T.ones(2, requires_grad=True), T.rand(2), T.randperm(2)]
            inside = made[0].view(2, 1)
        views = [inside, made[0].view(-1), *made[0].split(1)]
        state = [(v.requires_grad, v._is_view(), T.is_inference(v)) for v in views]
        return state, [T.is_inference(x) for x in made]

    check(run)


def test_in_place_comparisons_of_integers():
    def run(T):
        x = T.tensor([1, 0, 2])
        x.logical_and_(T.tensor([1, 1, 0]))
        return x.clone(), x.eq_(0).clone(), x.remainder_(2)

    check(run)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is dep:DeprecationWarning")  # PyTorch's own
def test_views_outside_a_dual_tensor_are_views_of_its_tangent():
    def run(T):
        ad = T.autograd.forward_ad
        primal, tangent = T.arange(5.0)[:4].detach(), T.ones(4)
        with ad.dual_level():
            x = ad.make_dual(primal, tangent)
            wider = ad.unpack_dual(x.as_strided((5,), (1,))).tangent
            return wider, ad.unpack_dual(x).tangent is tangent

    check(run)


def test_storage_of_a_view_is_that_of_its_base():
    for T in (mt, torch):
        x = T.zeros(4)
        assert x[1:].untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        assert x[1:].untyped_storage().nbytes() == 16
