"""The cross-entropy kernels on torch tensors, against torch in float64."""

import pytest
import torch
import torch.nn.functional as F

from minitorch_triton.kernels.cross_entropy import (
    cross_entropy,
    cross_entropy_backward,
    programs,
)


def forward(x, target, weight=None, logits=True, **options):
    compute = torch.promote_types(x.dtype, torch.float32)
    rows = x.numel() // x.shape[min(1, x.dim() - 1)]
    shape = () if options["reduction"] != "none" else x.select(min(1, x.dim() - 1), 0).shape
    nan = float("nan")
    loss = torch.full(shape, nan, dtype=x.dtype)
    denominator = torch.full((1,), nan, dtype=compute)
    stats = torch.full((rows, 2), nan, dtype=compute) if logits else None
    parts = programs(x)
    partial = None
    if options["reduction"] != "none" and parts > 1:
        partial = torch.full((2, parts), nan, dtype=compute)
    status = torch.zeros(2, dtype=torch.int64)
    cross_entropy(loss, denominator, partial, stats, status, x, target, weight, **options)
    return loss, denominator, stats, status


def check(x, target, weight=None, logits=True, **options):
    loss, denominator, stats, status = forward(x, target, weight, logits, **options)
    assert status.tolist() == [0, 0]
    x64 = x.double().requires_grad_()
    probabilities = target.is_floating_point()
    t64 = target.double().requires_grad_() if probabilities else target
    reference = F.cross_entropy if logits else F.nll_loss
    expected = reference(x64, t64, None if weight is None else weight.double(), **options)
    eps = torch.finfo(x.dtype).eps
    size = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(loss.double(), expected, rtol=0, atol=32 * eps * size)

    for expanded in (False, True):
        g = torch.randn(loss.shape, dtype=x.dtype)
        if expanded:
            g = torch.ones((), dtype=x.dtype).expand(loss.shape)
        dx = torch.full(x.shape, float("nan"), dtype=x.dtype)
        dtarget = torch.full_like(dx, float("nan")) if probabilities else None
        cross_entropy_backward(dx, dtarget, g, denominator, stats, x, target, weight, **options)
        wanted = torch.autograd.grad(
            expected, (x64, t64) if probabilities else x64, g.double(), retain_graph=True
        )
        torch.testing.assert_close(dx.double(), wanted[0], rtol=0, atol=32 * eps)
        if probabilities:
            torch.testing.assert_close(dtarget.double(), wanted[1], rtol=8 * eps, atol=64 * eps)


# The combinations are chosen, not all taken: each is a kernel to compile.
@pytest.mark.parametrize(
    ("shape", "reduction", "smoothing", "weighted"),
    [
        ((13, 10), "mean", 0.0, False),
        ((13, 10), "mean", 0.1, True),
        ((13, 10), "none", 0.0, True),
        ((7,), "mean", 0.0, False),
        ((3, 5, 4), "sum", 0.0, True),
        ((2, 3, 4, 5), "none", 0.1, False),
    ],
    ids=str,
)
def test_class_indices(shape, reduction, smoothing, weighted):
    x = torch.randn(shape)
    c = shape[min(1, len(shape) - 1)]
    target = torch.randint(0, c, (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    if target.dim():
        target.view(-1)[1] = -100
        target.view(-1)[2] = 2
    weight = torch.rand(c) + 0.5 if weighted else None
    check(x, target, weight, reduction=reduction, label_smoothing=smoothing)
    ignored = int(target.view(-1)[-1])
    if (target != -100).all() and (target != ignored).any():
        check(x, target, weight, reduction=reduction, ignore_index=ignored)


@pytest.mark.parametrize(
    ("shape", "reduction", "smoothing", "weighted"),
    [
        ((13, 10), "mean", 0.0, False),
        ((7,), "sum", 0.2, False),
        ((2, 3, 4), "none", 0.2, True),
    ],
    ids=str,
)
def test_class_probabilities(shape, reduction, smoothing, weighted):
    x = torch.randn(shape)
    dim = min(1, len(shape) - 1)
    target = torch.randn(shape).softmax(dim)
    weight = torch.rand(shape[dim]) + 0.5 if weighted else None
    check(x, target, weight, reduction=reduction, label_smoothing=smoothing)


@pytest.mark.parametrize(
    ("shape", "reduction"), [((13, 10), "mean"), ((7,), "sum"), ((2, 3, 4), "none")], ids=str
)
def test_nll_loss(shape, reduction):
    dim = min(1, len(shape) - 1)
    x = torch.randn(shape).log_softmax(dim)
    c = shape[dim]
    target = torch.randint(0, c, (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    for weight in (None, torch.rand(c)):
        check(x, target, weight, logits=False, reduction=reduction)
        if (target != c - 1).any():
            check(x, target, weight, logits=False, reduction=reduction, ignore_index=c - 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(dtype):
    check(torch.randn(6, 5).to(dtype), torch.randint(0, 5, (6,)), reduction="mean")


def test_many_rows_and_long_rows():
    rows, columns = torch.randint(0, 5000, (3,)), torch.randint(0, 10, (2500,))
    check(torch.randn(3, 5000), rows, reduction="none", label_smoothing=0.1)
    check(torch.randn(2500, 10), columns, reduction="mean")
    check(torch.randn(2, 4500), torch.randn(2, 4500).softmax(1), reduction="sum")


def test_strides():
    x, target = torch.randn(10, 26).T[::2], torch.randint(0, 10, (26,))[::2]
    check(x, target, torch.rand(20)[::2], reduction="mean")


def test_large_logits_lose_nothing():
    x = torch.tensor([[1e4, 1e4 - 1, 0.0]])
    loss, *_ = forward(x, torch.tensor([1]), reduction="mean")
    torch.testing.assert_close(loss, F.cross_entropy(x, torch.tensor([1])), rtol=1e-6, atol=0)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_nothing_left_to_average(reduction):
    for x, target in [
        (torch.randn(4, 3), torch.full((4,), -100)),
        (torch.randn(0, 3), torch.empty(0, dtype=torch.int64)),
    ]:
        loss, denominator, stats, _ = forward(x, target, reduction=reduction)
        expected = F.cross_entropy(x, target, reduction=reduction)
        torch.testing.assert_close(loss, expected, equal_nan=True)
        dx = torch.full_like(x, float("nan"))
        g = torch.ones_like(loss)
        cross_entropy_backward(dx, None, g, denominator, stats, x, target, reduction=reduction)
        assert torch.equal(dx, torch.zeros_like(x))


@pytest.mark.parametrize(
    ("wrong", "logits"), [(-1, True), (5, True), (123456789012, False), (-(2**62), False)]
)
def test_a_target_out_of_range_is_reported(wrong, logits):
    x, target = torch.randn(4, 5), torch.tensor([0, wrong, 2, 77])
    loss, *_, status = forward(x, target, logits=logits, reduction="mean")
    assert status.tolist() == [wrong, 1]
    assert loss.isnan()
    loss, *_, status = forward(x, torch.tensor([0, 1, 2, -100]), reduction="mean")
    assert status.tolist() == [0, 0]


def test_nan_goes_through():
    x = torch.randn(3, 4)
    x[1, 2] = float("nan")
    loss, *_ = forward(x, torch.tensor([0, 1, 2]), reduction="none")
    assert loss.isnan().tolist() == [False, True, False]
