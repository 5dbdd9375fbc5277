"""Initial values: their distribution, and the arguments PyTorch refuses."""

import math

import pytest
import torch

import minitorch_triton as mt
from minitorch_triton import nn

N = 100_000


def sample(shape, fill):
    mt.manual_seed(1)
    x = mt.empty(*shape)
    assert fill(x) is x
    return x.torch().double()


def check_uniform(x, bound):
    """Mean and variance within 5 standard errors, and within the bounds but near them."""
    n = x.numel()
    assert x.abs().max() <= bound * (1 + 2**-22)
    assert x.abs().max() > bound * (1 - 20 / n)
    assert abs(x.mean()) < 5 * bound / math.sqrt(3 * n)
    # The fourth moment of a uniform distribution is 9/5 of the squared variance.
    assert abs(x.var() / (bound**2 / 3) - 1) < 5 * math.sqrt(0.8 / n)


def check_normal(x, std, mean=0.0):
    n = x.numel()
    assert abs(x.mean() - mean) < 5 * std / math.sqrt(n)
    assert abs(x.var() / std**2 - 1) < 5 * math.sqrt(2 / n)
    assert abs(((x - mean) / std).pow(3).mean()) < 5 * math.sqrt(15 / n)


SHAPE = (250, 400)


def test_uniform():
    check_uniform(sample((N,), lambda x: nn.init.uniform_(x, -2.0, 2.0)), 2.0)


def test_normal():
    check_normal(sample((N,), lambda x: nn.init.normal_(x, 1.0, 3.0)), 3.0, 1.0)


def test_xavier():
    std = 2 * math.sqrt(2 / 650)
    check_uniform(sample(SHAPE, lambda x: nn.init.xavier_uniform_(x, 2.0)), std * math.sqrt(3))
    check_normal(sample(SHAPE, lambda x: nn.init.xavier_normal_(x, 2.0)), std)


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 400), ("fan_out", 250)])
def test_kaiming(mode, fan):
    std = math.sqrt(2 / (1 + 0.25)) / math.sqrt(fan)
    uniform = sample(SHAPE, lambda x: nn.init.kaiming_uniform_(x, a=0.5, mode=mode))
    check_uniform(uniform, std * math.sqrt(3))
    check_normal(sample(SHAPE, lambda x: nn.init.kaiming_normal_(x, a=0.5, mode=mode)), std)
    relu = sample(SHAPE, lambda x: nn.init.kaiming_normal_(x, mode=mode, nonlinearity="relu"))
    check_normal(relu, math.sqrt(2 / fan))


@pytest.mark.parametrize(("a", "b"), [(-2.0, 2.0), (2.0, 4.0), (-1.0, 0.5)])
def test_truncated_normal(a, b):
    x = sample((N,), lambda x: nn.init.trunc_normal_(x, 0.5, 1.5, a, b))
    assert x.min() >= a
    assert x.max() <= b
    # The distribution function of a truncated normal, at three points, within 5 standard errors.

    def below(value):
        return 0.5 * (1 + math.erf((value - 0.5) / 1.5 / math.sqrt(2)))

    for part in (0.25, 0.5, 0.75):
        point = a + part * (b - a)
        p = (below(point) - below(a)) / (below(b) - below(a))
        assert abs((x < point).double().mean() - p) < 5 * math.sqrt(p * (1 - p) / N)


def test_constants():
    assert sample((3,), lambda x: nn.init.constant_(x, 2.5)).tolist() == [2.5] * 3
    assert sample((2,), nn.init.ones_).tolist() == [1.0, 1.0]
    assert sample((2,), nn.init.zeros_).tolist() == [0.0, 0.0]
    assert torch.equal(sample((2, 3), nn.init.eye_), torch.eye(2, 3).double())


def test_defaults_of_layers():
    mt.manual_seed(0)
    linear = nn.Linear(400, 250)
    check_uniform(linear.weight.detach().torch().double(), 1 / 20)
    bias = linear.bias.detach().torch().double()
    assert bias.abs().max() <= 1 / 20
    assert abs(bias.var() / (1 / 20**2 / 3) - 1) < 5 * math.sqrt(0.8 / 250)
    check_normal(nn.Embedding(250, 400).weight.detach().torch().double(), 1.0)
    for layer in (nn.LayerNorm(3), nn.BatchNorm1d(3)):
        assert layer.weight.tolist() == [1.0] * 3
        assert layer.bias.tolist() == [0.0] * 3


def test_seed():
    mt.manual_seed(5)
    first = nn.Linear(3, 2).weight.tolist()
    second = nn.Linear(3, 2).weight.tolist()
    mt.manual_seed(5)
    assert nn.Linear(3, 2).weight.tolist() == first != second


def test_parameters_stay_leaves():
    p = nn.Parameter(mt.zeros(4, 4))
    nn.init.xavier_uniform_(p)
    assert p.is_leaf
    assert p.requires_grad


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.nn.init.kaiming_uniform_(t.ones(3)),
        lambda t: t.nn.init.xavier_normal_(t.ones(3)),
        lambda t: t.nn.init.kaiming_normal_(t.ones(3, 3), mode="fan"),
        lambda t: t.nn.init.calculate_gain("swish"),
        lambda t: t.nn.init.calculate_gain("leaky_relu", "a"),
        lambda t: t.nn.init.eye_(t.ones(3)),
    ],
)
def test_errors(call):
    with pytest.raises(ValueError) as expected:  # noqa: PT011 (the message is compared)
        call(torch)
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        call(mt)
    assert str(raised.value) == str(expected.value)


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains(name):
    assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)


def test_empty_tensors():
    with pytest.warns(UserWarning, match="zero-element tensors is a no-op"):
        nn.Linear(0, 3)
