"""Gradient clipping and parameter vectors against PyTorch's."""

import math

import numpy as np
import pytest
import torch

import minitorch_triton as mt
from minitorch_triton import nn
from minitorch_triton.cpu.launch import PreparedKernel

SHAPES = [(3,), (70, 5), (), (5000,)]


def parameters(dtypes=(torch.float32,), shapes=SHAPES):
    """The same parameters with gradients here and in PyTorch; the last has none."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = [], []
    for i, shape in enumerate(shapes):
        grad = torch.randn(shape, generator=generator).to(dtypes[i % len(dtypes)])
        theirs.append(torch.nn.Parameter(torch.zeros_like(grad)))
        theirs[-1].grad = grad
        ours.append(nn.Parameter(mt.from_torch(torch.zeros_like(grad))))
        ours[-1].grad = mt.from_torch(grad.clone())
    return [*ours, nn.Parameter(mt.ones(2))], [*theirs, torch.nn.Parameter(torch.ones(2))]


def check(ours, theirs, **tolerance):
    for p, q in zip(ours[:-1], theirs[:-1], strict=True):
        torch.testing.assert_close(p.grad.torch(), q.grad, **tolerance)
    assert ours[-1].grad is None


# Sums of 5,000 terms, added pairwise, and a power.
TOLERANCE = {"rtol": 64 * 2**-24, "atol": 0.0}


@pytest.mark.parametrize("norm_type", [1, 2, 2.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.1, 1e5])
def test_clip_grad_norm(norm_type, max_norm):
    ours, theirs = parameters()
    total = nn.utils.clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    torch.testing.assert_close(total.torch(), expected, **TOLERANCE)
    check(ours, theirs, **TOLERANCE)


def test_several_dtypes():
    ours, theirs = parameters((torch.float32, torch.float64))
    total = nn.utils.clip_grad_norm_(ours, 0.1)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 0.1)
    torch.testing.assert_close(total.torch(), expected.double(), **TOLERANCE)
    check(ours, theirs, **TOLERANCE)


def test_few_launches(monkeypatch):
    ours, _ = parameters()
    nn.utils.clip_grad_norm_(ours, 1.0)
    started = []
    start = PreparedKernel.start
    monkeypatch.setattr(PreparedKernel, "start", lambda *args: (started.append(args), start(*args)))
    nn.utils.clip_grad_norm_(ours, 1.0)
    assert len(started) == 3


def test_gradients_with_gaps_and_transposed():
    ours, theirs = parameters(shapes=[(6, 4), (4, 6)])
    memory = torch.randn(6, 8)
    theirs[0].grad, ours[0].grad = memory.clone()[:, ::2], mt.from_torch(memory.clone()[:, ::2])
    theirs[1].grad, ours[1].grad = memory[:, :4].t(), mt.from_torch(memory.clone()[:, :4].t())
    total = nn.utils.clip_grad_norm_(iter(ours), 0.5)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    torch.testing.assert_close(total.torch(), expected, **TOLERANCE)
    check(ours, theirs, **TOLERANCE)


def test_clip_grad_value():
    ours, theirs = parameters()
    nn.utils.clip_grad_value_(ours, 0.3)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    check(ours, theirs, rtol=0.0, atol=0.0)


def test_one_tensor_and_nothing():
    ours, theirs = parameters()
    nn.utils.clip_grad_norm_(ours[1], 0.1)
    torch.nn.utils.clip_grad_norm_(theirs[1], 0.1)
    check(ours, theirs, **TOLERANCE)
    assert nn.utils.clip_grad_norm_(ours[-1:], 1.0).item() == 0.0
    with pytest.warns(UserWarning, match="empty generator"):
        nn.utils.clip_grad_norm_((p for p in []), 1.0)


def test_not_finite():
    ours, _ = parameters()
    ours[0].grad = mt.tensor([1.0, math.nan, 2.0])
    before = ours[1].grad.numpy().copy()
    with pytest.raises(RuntimeError, match=r"The total norm of order 2.0 for gradients from"):
        nn.utils.clip_grad_norm_(ours, 1.0, error_if_nonfinite=True)
    assert np.array_equal(ours[1].grad.numpy(), before)
    assert math.isnan(nn.utils.clip_grad_norm_(ours, 1.0).item())
    assert np.isnan(ours[1].grad.numpy()).all()
    with pytest.raises(ValueError, match="norm_type must be positive"):
        nn.utils.clip_grad_norm_(ours, 1.0, norm_type=0)


def test_vectors():
    ours, theirs = parameters()
    vector = nn.utils.parameters_to_vector(ours)
    expected = torch.nn.utils.parameters_to_vector(theirs)
    assert np.array_equal(vector.detach().numpy(), expected.detach().numpy())
    numbers = torch.arange(expected.numel(), dtype=torch.float32)
    nn.utils.vector_to_parameters(mt.from_torch(numbers), ours)
    torch.nn.utils.vector_to_parameters(numbers, theirs)
    for p, q in zip(ours, theirs, strict=True):
        assert np.array_equal(p.detach().numpy(), q.detach().numpy())
    with pytest.raises(TypeError, match=r"expected torch.Tensor, but got: list"):
        nn.utils.vector_to_parameters([1.0], ours)
