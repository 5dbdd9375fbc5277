"""Softmax and log-softmax in the graph, against torch in float64."""

import pytest
import torch

import minitorch_triton as mt


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(
    ("shape", "dim"), [((5, 7), 1), ((5, 7), 0), ((2, 3, 4), -2), ((4,), 0), ((), 0), ((0, 3), 1)]
)
def test_against_torch(name, shape, dim):
    t = torch.randn(shape)
    x, x64 = mt.from_torch(t).requires_grad_(), t.double().requires_grad_()
    y, y64 = getattr(x, name)(dim), getattr(x64, name)(dim)
    torch.testing.assert_close(y.detach().torch(), y64.float().detach(), rtol=1e-6, atol=1e-6)
    g = torch.randn(shape)
    (dx,) = mt.autograd.grad(y, x, mt.from_torch(g), create_graph=True)
    (dx64,) = torch.autograd.grad(y64, x64, g.double(), create_graph=True)
    torch.testing.assert_close(dx.detach().torch(), dx64.float().detach(), rtol=1e-5, atol=1e-6)
    if t.numel():
        (ddx,) = mt.autograd.grad((dx * dx).sum(), x)
        (ddx64,) = torch.autograd.grad((dx64 * dx64).sum(), x64)
        torch.testing.assert_close(ddx.torch(), ddx64.float(), rtol=1e-4, atol=1e-5)


def test_expanded_gradients_and_strides():
    t = torch.randn(4, 6).T
    x, x64 = mt.from_torch(t).requires_grad_(), t.double().requires_grad_()
    mt.softmax(x, 1)[:, 0].sum().backward()
    torch.softmax(x64, 1)[:, 0].sum().backward()
    torch.testing.assert_close(x.grad.torch(), x64.grad.float(), rtol=1e-5, atol=1e-6)


def test_dtype():
    x = mt.arange(4).softmax(0, dtype=mt.float64)
    torch.testing.assert_close(x.torch(), torch.arange(4).softmax(0, dtype=torch.float64))
    y = mt.randn(3, requires_grad=True)
    mt.softmax(y, 0, dtype=mt.float64).sum().backward()
    assert y.grad.dtype == mt.float32


def test_errors_are_pytorchs():
    for framework in (torch, mt):
        with pytest.raises(IndexError, match=r"expected to be in range of \[-2, 1\], but got 2"):
            framework.softmax(framework.randn(2, 3), 2)
        with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
            framework.softmax(framework.arange(3), 0)
