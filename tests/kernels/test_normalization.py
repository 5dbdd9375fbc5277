"""The normalization kernels on torch tensors, against torch in float64."""

import pytest
import torch
import torch.nn.functional as F

from minitorch_triton.kernels import normalization as K

NAN = float("nan")


def nans(*shape, dtype=torch.float32):
    return torch.full(shape, NAN, dtype=dtype)


def bits(number):
    """A float64 as the int64 with the same bits."""
    return torch.tensor(number, dtype=torch.float64).view(torch.int64).item()


def close(actual, expected, factor=32):
    eps = torch.finfo(actual.dtype).eps
    size = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=factor * eps * size)


def doubles(*tensors):
    return [None if t is None else t.detach().double().requires_grad_() for t in tensors]


# The combinations are chosen, not all taken: each is a kernel to compile.
@pytest.mark.parametrize(
    ("shape", "n_dims", "affine", "center"),
    [
        ((37, 10), 1, True, True),
        ((2, 3, 4, 5), 2, True, False),
        ((6,), 1, False, True),
        ((3, 5000), 1, True, True),
        ((200, 3), 1, False, False),
    ],
    ids=str,
)
def test_layer_and_rms_norm(shape, n_dims, affine, center):
    x = torch.randn(shape)
    normalized = shape[len(shape) - n_dims :]
    weight = torch.randn(normalized) if affine else None
    bias = torch.randn(normalized) if affine and center else None
    n = torch.Size(normalized).numel()
    m = x.numel() // n
    y, stats = nans(*shape), nans(2, m)
    K.layer_norm(y, stats, x, weight, bias, n_dims=n_dims, center=center, eps=1e-5)

    x64, w64, b64 = doubles(x, weight, bias)
    if center:
        expected = F.layer_norm(x64, normalized, w64, b64)
    else:
        expected = F.rms_norm(x64, normalized, w64, 1e-5)
    close(y, expected.detach())

    for g in (torch.randn(shape), torch.ones(()).expand(shape)):
        dx = nans(*shape)
        dw = nans(*normalized) if affine else None
        db = nans(*normalized) if affine and center else None
        K.layer_norm_backward(dx, dw, db, None, g, stats, x, weight, n_dims=n_dims, center=center)
        inputs = [t for t in (x64, w64, b64) if t is not None]
        wanted = torch.autograd.grad(expected, inputs, g.double(), retain_graph=True)
        for actual, reference in zip(
            [t for t in (dx, dw, db) if t is not None], wanted, strict=True
        ):
            close(actual, reference, factor=32 * max(n, m) ** 0.5)


def test_groups_of_rows_add_up(monkeypatch):
    monkeypatch.setattr(K, "weight_gradient_groups", lambda x, n_dims=1: 5)
    x, g, weight = torch.randn(33, 12), torch.randn(33, 12), torch.randn(12)
    y, stats = nans(33, 12), nans(2, 33)
    K.layer_norm(y, stats, x, weight)
    dw, db, partial = nans(12), nans(12), nans(2, 5, 12)
    K.layer_norm_backward(None, dw, db, partial, g, stats, x, weight)
    xhat = F.layer_norm(x.double(), (12,))
    close(dw, (g * xhat).sum(0))
    close(db, g.double().sum(0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_layer_norm_dtypes(dtype):
    x, weight = torch.randn(4, 9).to(dtype), torch.randn(9).to(dtype)
    stats = nans(2, 4, dtype=torch.promote_types(dtype, torch.float32))
    y = nans(4, 9, dtype=dtype)
    K.layer_norm(y, stats, x, weight)
    close(y, F.layer_norm(x.double(), (9,), weight.double()), factor=2)


def test_layer_norm_strides():
    x, g = torch.randn(5, 14)[:, 3:11], torch.randn(8, 5).T
    y, stats, dx = nans(5, 8), nans(2, 5), nans(5, 8)
    K.layer_norm(y, stats, x)
    (x64,) = doubles(x)
    expected = F.layer_norm(x64, (8,))
    close(y, expected.detach())
    K.layer_norm_backward(dx, None, None, None, g, stats, x)
    close(dx, torch.autograd.grad(expected, x64, g.double())[0])


LAYOUTS = {
    "rows": lambda: torch.randn(19, 6),
    "transposed": lambda: torch.randn(6, 19).T,
    "one": lambda: torch.randn(7, 1),
    "stack": lambda: torch.randn(4, 3, 7),
    "images": lambda: torch.randn(2, 3, 4, 5),
    "wide": lambda: torch.randn(5, 300),
}


@pytest.mark.parametrize(
    ("layout", "affine", "mode"),
    [
        ("rows", True, "train_running"),
        ("transposed", True, "eval"),
        ("one", False, "eval"),
        ("stack", False, "train"),
        ("images", True, "train_running"),
        ("wide", True, "train"),
    ],
)
def test_batch_norm(layout, affine, mode):
    x = LAYOUTS[layout]()
    c = x.shape[1]
    weight, bias = (torch.randn(c), torch.randn(c)) if affine else (None, None)
    mean, var = (torch.randn(c), torch.rand(c) + 0.5) if mode != "train" else (None, None)
    training = mode != "eval"
    x64, w64, b64 = doubles(x, weight, bias)
    mean64, var64 = [t if t is None else t.double() for t in (mean, var)]
    expected = F.batch_norm(x64, mean64, var64, w64, b64, training, 0.3)
    y, stats = nans(*x.shape), nans(2, c)
    K.batch_norm(y, stats, x, weight, bias, mean, var, training=training, momentum=bits(0.3))
    close(y, expected.detach())
    if mean is not None:
        close(mean, mean64)
        close(var, var64)

    for g in (torch.randn(x.shape), torch.ones(()).expand(x.shape)):
        dx = nans(*x.shape)
        dw, db = (nans(c), nans(c)) if affine else (None, None)
        K.batch_norm_backward(dx, dw, db, g, stats, x, weight, training=training)
        inputs = [t for t in (x64, w64, b64) if t is not None]
        wanted = torch.autograd.grad(expected, inputs, g.double(), retain_graph=True)
        for actual, reference in zip(
            [t for t in (dx, dw, db) if t is not None], wanted, strict=True
        ):
            close(actual, reference, factor=200)


def test_nan_goes_through():
    x = torch.randn(4, 3)
    x[1, 2] = NAN
    y, stats = torch.zeros(4, 3), nans(2, 4)
    K.layer_norm(y, stats, x)
    assert y.isnan().any(1).tolist() == [False, True, False, False]
    y, stats = torch.zeros(4, 3), nans(2, 3)
    K.batch_norm(y, stats, x, momentum=bits(0.1))
    assert y.isnan().any(0).tolist() == [False, False, True]
