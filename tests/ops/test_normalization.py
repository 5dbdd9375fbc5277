"""Normalizations in the graph, against torch in float64."""

import pytest
import torch
import torch.nn.functional as F

import minitorch_triton as mt
from minitorch_triton import ops


def pair(*shape, positive=False):
    t = torch.rand(shape) + 0.5 if positive else torch.randn(shape)
    return mt.from_torch(t).requires_grad_(), t.double().requires_grad_()


def compare(ours, theirs, inputs, references, second=False):
    close = torch.testing.assert_close
    close(ours.detach().torch().double(), theirs.detach(), rtol=0, atol=5e-6)
    g = torch.randn(theirs.shape)
    grads = mt.autograd.grad(ours, inputs, mt.from_torch(g), create_graph=second)
    wanted = torch.autograd.grad(theirs, references, g.double(), create_graph=second)
    for actual, reference in zip(grads, wanted, strict=True):
        close(actual.detach().torch().double(), reference.detach(), rtol=1e-5, atol=2e-5)
    if second:
        (again,) = mt.autograd.grad((grads[0] * grads[0]).sum(), inputs[:1])
        (again64,) = torch.autograd.grad((wanted[0] * wanted[0]).sum(), references[:1])
        close(again.torch().double(), again64, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("shape", "normalized"), [((6, 10), (10,)), ((2, 3, 4), (3, 4)), ((5,), (5,))], ids=str
)
def test_layer_norm(shape, normalized):
    (x, x64), (w, w64), (b, b64) = pair(*shape), pair(*normalized), pair(*normalized)
    compare(
        ops.layer_norm(x, normalized, w, b),
        F.layer_norm(x64, normalized, w64, b64),
        (x, w, b),
        (x64, w64, b64),
        second=True,
    )
    compare(ops.layer_norm(x, normalized), F.layer_norm(x64, normalized), (x,), (x64,))


def test_layer_norm_of_strided_tensors():
    (x, x64), (w, w64) = pair(4, 10, 6), pair(10)
    ours, theirs = ops.layer_norm(x.mT, [10], w), F.layer_norm(x64.mT, [10], w64)
    compare(ours.mT, theirs.mT, (x, w), (x64, w64))


def test_an_expanded_upstream_gradient():
    (x, x64), (b, b64) = pair(6, 10), pair(10)
    compare(
        ops.layer_norm(x, [10], None, b).sum(),
        F.layer_norm(x64, [10], None, b64).sum(),
        (x, b),
        (x64, b64),
    )


def test_rms_norm():
    (x, x64), (w, w64) = pair(6, 10), pair(10)
    compare(
        ops.rms_norm(x, [10], w, 1e-6),
        F.rms_norm(x64, [10], w64, 1e-6),
        (x, w),
        (x64, w64),
        second=True,
    )


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(shape, training):
    (x, x64), (w, w64), (b, b64) = pair(*shape), pair(4), pair(4)
    mean, var = torch.randn(4), torch.rand(4) + 0.5
    mean64, var64 = mean.double(), var.double()
    ours = ops.batch_norm(x, mt.from_torch(mean), mt.from_torch(var), w, b, training, 0.3, 1e-5)
    theirs = F.batch_norm(x64, mean64, var64, w64, b64, training, 0.3, 1e-5)
    compare(ours, theirs, (x, w, b), (x64, w64, b64), second=training)
    torch.testing.assert_close(mean.double(), mean64, rtol=0, atol=1e-6)
    torch.testing.assert_close(var.double(), var64, rtol=0, atol=1e-6)


def test_running_statistics_are_updated_in_every_call_and_seen_by_torch():
    mean, var = torch.zeros(3), torch.ones(3)
    a, b = mt.from_torch(mean), mt.from_torch(var)
    before = mean._version
    for momentum in (1.0, 0.5, 0.25):
        x = torch.randn(5, 3)
        expected = (1 - momentum) * mean + momentum * x.mean(0)
        ops.batch_norm(mt.from_torch(x), a, b, training=True, momentum=momentum)
        torch.testing.assert_close(mean, expected)
    assert mean._version > before


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("layer_norm", ((2, 3), [4]), RuntimeError,
         r"Given normalized_shape=\[4\], expected input with shape \[\*, 4\], but got input"),
        ("layer_norm", ((2, 3), []), RuntimeError,
         "Expected normalized_shape to be at least 1-dimensional"),
        ("batch_norm", ((1, 3), None, None, None, None, True), ValueError,
         "Expected more than 1 value per channel when training, got input size"),
        ("batch_norm", ((2, 3), None, None), RuntimeError,
         "running_mean must be defined in evaluation mode"),
    ],
)  # fmt: skip
def test_errors_are_pytorchs(name, arguments, error, message):
    shape, *rest = arguments
    for framework, functions in ((torch, F), (mt, ops)):
        with pytest.raises(error, match=message):
            getattr(functions, name)(framework.randn(*shape), *rest)
