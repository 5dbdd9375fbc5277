"""Random tensors and dropout."""

import math

import pytest
import torch

import minitorch_triton as mt
from minitorch_triton import ops


@pytest.fixture(autouse=True)
def seed():
    mt.manual_seed(7)


def test_a_seed_repeats_a_stream():
    first = [mt.rand(5).tolist(), mt.randn(2, 3).tolist(), mt.randint(9, (4,)).tolist()]
    state = mt.get_rng_state()
    following = mt.rand(3).tolist()
    mt.manual_seed(7)
    assert first == [mt.rand(5).tolist(), mt.randn(2, 3).tolist(), mt.randint(9, (4,)).tolist()]
    assert following == mt.rand(3).tolist()
    mt.set_rng_state(state)
    assert following == mt.rand(3).tolist()
    assert mt.initial_seed() == 7
    mt.manual_seed(8)
    assert first[0] != mt.rand(5).tolist()


def test_a_generator_is_a_stream_of_its_own():
    generator = mt.Generator().manual_seed(7)
    expected = mt.rand(4).tolist()
    before = mt.get_rng_state().tolist()
    assert mt.rand(4, generator=generator).tolist() == expected
    assert mt.get_rng_state().tolist() == before
    assert mt.Generator().manual_seed(-1).initial_seed() == 2**64 - 1


def test_creation():
    assert mt.rand(2, 3).shape == (2, 3)
    assert mt.randn((2, 3), requires_grad=True).requires_grad
    assert mt.rand(0).shape == (0,)
    assert mt.randn(()).shape == ()
    assert mt.rand(2, dtype=mt.float64).dtype == mt.float64
    like = mt.zeros(2, 5, dtype=mt.float64)
    for made in (mt.rand_like(like), mt.randn_like(like), mt.randint_like(like, 5)):
        assert made.shape == (2, 5)
        assert made.dtype == mt.float64
    values = mt.randint(3, 5, (100,))
    assert values.dtype == mt.int64
    assert set(values.tolist()) == {3, 4}
    order = mt.randperm(100)
    assert sorted(order.tolist()) == list(range(100))
    assert order.tolist() != list(range(100))
    draws = mt.normal(5.0, 0.1, (1000,))
    assert abs(draws.mean().item() - 5) < 5 * 0.1 / math.sqrt(1000)


def test_in_place():
    x = mt.zeros(30, 20)
    assert x.uniform_(2, 3) is x
    assert x.min() >= 2
    assert x.max() < 3
    x.T.normal_(1, 0.5)
    assert abs(x.mean().item() - 1) < 5 * 0.5 / math.sqrt(600)
    x[:, ::2].random_(5, 7)
    assert set(x[:, ::2].flatten().tolist()) == {5, 6}
    assert abs(mt.zeros(1000).bernoulli_(0.25).mean().item() - 0.25) < 5 * math.sqrt(0.1875 / 1000)
    version = x._version
    x.normal_()
    assert x._version > version
    leaf = mt.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        leaf.uniform_()
    with mt.no_grad():
        leaf.uniform_()


def test_bernoulli():
    p = mt.tensor([0.0, 1.0] * 50)
    assert mt.bernoulli(p).tolist() == p.tolist()


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout(p):
    x = mt.randn(40, 50, requires_grad=True)
    y = ops.dropout(x, p)
    kept = y.detach().torch() != 0
    scale = 1 / (1 - p) if p < 1 else 0
    torch.testing.assert_close(y.detach().torch(), torch.where(kept, x.detach().torch() * scale, 0))
    assert abs(1 - kept.double().mean().item() - p) <= 5 * math.sqrt(p * (1 - p) / 2000)
    y.sum().backward()
    torch.testing.assert_close(x.grad.torch(), kept * torch.tensor(scale, dtype=torch.float32))


def test_dropout_draws_anew_and_keeps_the_order_of_dimensions():
    x = mt.ones(40, 50)
    assert ops.dropout(x, 0.5).tolist() != ops.dropout(x, 0.5).tolist()
    assert ops.dropout(x.T, 0.5).stride() == x.T.stride()
    assert ops.dropout(x[:, ::2], 0.0).tolist() == x[:, ::2].tolist()


def test_second_derivative_of_dropout():
    x = mt.randn(20, requires_grad=True)
    y = ops.dropout(x * x, 0.5)
    (dx,) = mt.autograd.grad(y.sum(), x, create_graph=True)
    (ddx,) = mt.autograd.grad(dx.sum(), x)
    scale = torch.where(y.detach().torch() != 0, 2.0, 0.0)
    torch.testing.assert_close(ddx.torch(), 2 * scale)


def test_errors_are_pytorchs():
    for framework in (torch, mt):
        with pytest.raises(RuntimeError, match="random_ expects 'from' to be less than 'to'"):
            framework.randint(5, 5, (2,))
        with pytest.raises(RuntimeError, match="negative dimension -1"):
            framework.rand(-1)
        with pytest.raises(RuntimeError, match=r"normal expects std >= 0\.0, but found std -1"):
            framework.zeros(2).normal_(0, -1)
        with pytest.raises(NotImplementedError, match="not implemented for"):
            framework.randn(2, dtype=framework.int64)
    with pytest.raises(ValueError, match=r"has to be between 0 and 1, but got 1\.5"):
        ops.dropout(mt.ones(2), 1.5)
