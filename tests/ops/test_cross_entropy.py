"""Cross-entropy and nll_loss in the graph, against torch."""

import pytest
import torch
import torch.nn.functional as F

import minitorch_triton as mt
from minitorch_triton import ops

REDUCTIONS = ["mean", "sum", "none"]


def check(name, x, target, weight=None, second=True, **options):
    ours_x, x64 = mt.from_torch(x).requires_grad_(), x.double().requires_grad_()
    ours = getattr(ops, name)(
        ours_x,
        mt.from_torch(target),
        None if weight is None else mt.from_torch(weight),
        **options,
    )
    t64 = target.double() if target.is_floating_point() else target
    w64 = None if weight is None else weight.double()
    theirs = getattr(F, name)(x64, t64, w64, **options)
    torch.testing.assert_close(
        ours.detach().torch().double(), theirs.detach(), rtol=2e-6, atol=2e-6
    )
    g = torch.randn(theirs.shape)
    (dx,) = mt.autograd.grad(ours, ours_x, mt.from_torch(g), create_graph=second)
    (dx64,) = torch.autograd.grad(theirs, x64, g.double(), create_graph=second)
    torch.testing.assert_close(dx.detach().torch().double(), dx64.detach(), rtol=0, atol=4e-6)
    if second:
        (ddx,) = mt.autograd.grad((dx * dx).sum(), ours_x)
        (ddx64,) = torch.autograd.grad((dx64 * dx64).sum(), x64)
        torch.testing.assert_close(ddx.torch().double(), ddx64, rtol=0, atol=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(6, 5), (2, 5, 3), (5,)], ids=str)
def test_cross_entropy(shape, reduction):
    x = torch.randn(shape)
    target = torch.randint(0, 5, (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    check("cross_entropy", x, target, reduction=reduction)
    check("cross_entropy", x, target, torch.rand(5), reduction=reduction, label_smoothing=0.1)
    if target.dim():
        target.view(-1)[0] = 3
        target.view(-1)[1] = 1
        check("cross_entropy", x, target, torch.rand(5), reduction=reduction, ignore_index=3)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_probabilities(reduction):
    x, q = torch.randn(6, 5), torch.randn(6, 5).softmax(1)
    check("cross_entropy", x, q, torch.rand(5), reduction=reduction, label_smoothing=0.1)
    target = mt.from_torch(q).requires_grad_()
    t64 = q.double().requires_grad_()
    ops.cross_entropy(mt.from_torch(x), target).backward()
    F.cross_entropy(x.double(), t64).backward()
    torch.testing.assert_close(target.grad.torch().double(), t64.grad, rtol=0, atol=4e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nll_loss(reduction):
    x = torch.randn(6, 5).log_softmax(1)
    target = torch.randint(0, 5, (6,))
    check("nll_loss", x, target, second=False, reduction=reduction)
    check("nll_loss", x, target, torch.rand(5), second=False, reduction=reduction)


def test_an_expanded_gradient_of_unreduced_losses():
    x, target = torch.randn(6, 5), torch.randint(0, 5, (6,))
    a, b = mt.from_torch(x).requires_grad_(), x.clone().requires_grad_()
    ops.cross_entropy(a, mt.from_torch(target), reduction="none").sum().backward()
    F.cross_entropy(b, target, reduction="none").sum().backward()
    torch.testing.assert_close(a.grad.torch(), b.grad, rtol=0, atol=1e-6)


def test_everything_ignored_is_nan():
    assert ops.cross_entropy(mt.randn(3, 4), mt.full((3,), -100, dtype=mt.int64)).isnan()


@pytest.mark.parametrize(
    ("x_shape", "target", "options", "error", "message"),
    [
        ((3, 4), [0, 1, 4], {}, IndexError, "Target 4 is out of bounds."),
        ((3, 4), [0, -1, 2], {}, IndexError, "Target -1 is out of bounds."),
        ((3, 4), [0, 1], {}, ValueError,
         r"Expected input batch_size \(3\) to match target batch_size \(2\)"),
        ((3, 4), [0.0, 1.0, 2.0], {}, RuntimeError,
         "expected target dtype to be Long or Byte, but got Float"),
        ((3, 4), [0, 1, 2], {"label_smoothing": 1.5}, RuntimeError,
         "label_smoothing must be between 0.0 and 1.0. Got: 1.5"),
        ((3, 4), [0, 1, 2], {"reduction": "max"}, ValueError,
         "max is not a valid value for reduction"),
    ],
)  # fmt: skip
def test_errors_are_pytorchs(x_shape, target, options, error, message):
    x = torch.randn(x_shape)
    t = torch.tensor(target)
    with pytest.raises(error, match=message):
        F.cross_entropy(x, t, **options)
    with pytest.raises(error, match=message):
        ops.cross_entropy(mt.from_torch(x), mt.from_torch(t), **options)
    # An error leaves nothing behind.
    ops.cross_entropy(mt.randn(3, 4), mt.tensor([0, 1, 2]))
