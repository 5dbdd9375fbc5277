"""The softmax kernels on torch tensors, against torch in float64."""

import pytest
import torch

from minitorch_triton.kernels.softmax import softmax, softmax_backward

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
REFERENCE = {False: torch.softmax, True: torch.log_softmax}
LAYOUTS = {
    "rows": (lambda: torch.randn(37, 10), 1),
    "columns": (lambda: torch.randn(10, 37), 0),
    "middle": (lambda: torch.randn(3, 7, 5), 1),
    "transposed": (lambda: torch.randn(6, 33).T, 1),
    "strided": (lambda: torch.randn(20, 30)[::2, ::3], -1),
    "vector": (lambda: torch.randn(5), 0),
    "number": (lambda: torch.randn(()), 0),
    "long": (lambda: torch.randn(3, 9001), 1),
    "long_columns": (lambda: torch.randn(4500, 3), 0),
    "empty": (lambda: torch.randn(0, 5), 1),
    "no_columns": (lambda: torch.randn(5, 0), 1),
}

# Every layout is tested with one of the two functions.
SECOND_HALF = list(LAYOUTS)[1::2]


def check(actual, expected, dtype):
    # Each result is a few roundings of float32 away, relative to terms of magnitude up to 10.
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(actual.double(), expected, rtol=4 * eps, atol=40 * eps)


@pytest.mark.parametrize(
    ("layout", "log", "dtype"),
    [(layout, layout in SECOND_HALF, torch.float32) for layout in LAYOUTS]
    + [("rows", True, torch.float64), ("long", False, torch.float64)],
)
def test_forward_and_backward(layout, dtype, log):
    make, dim = LAYOUTS[layout]
    x = make().to(dtype)
    y = torch.full(x.shape, float("nan"), dtype=dtype)
    softmax(y, x, dim, log=log)
    x64 = x.double().requires_grad_()
    expected = REFERENCE[log](x64, dim)
    check(y, expected.detach(), dtype)

    for g in (torch.randn(x.shape).to(dtype), torch.ones((), dtype=dtype).expand(x.shape)):
        dx = torch.full(x.shape, float("nan"), dtype=dtype)
        softmax_backward(dx, g, y, dim, log=log)
        (expected_dx,) = torch.autograd.grad(expected, x64, g.double(), retain_graph=True)
        n = x.shape[dim] if x.dim() else 1
        check(dx, expected_dx, dtype) if n < 100 else torch.testing.assert_close(
            dx.double(), expected_dx, rtol=0, atol=4 * n * torch.finfo(dtype).eps
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types(dtype):
    x, y = torch.randn(5, 11).to(dtype), torch.empty(5, 11, dtype=dtype)
    softmax(y, x, 1)
    check(y, x.double().softmax(1), dtype)
    g, dx = torch.randn(5, 11).to(dtype), torch.empty(5, 11, dtype=dtype)
    softmax_backward(dx, g, y, 1)
    y64, g64 = y.double(), g.double()
    check(dx, y64 * (g64 - (g64 * y64).sum(1, keepdim=True)), dtype)


def test_another_dtype_for_the_result():
    x = torch.randn(4, 5)
    y = torch.empty(4, 5, dtype=torch.float64)
    softmax(y, x, 1)
    torch.testing.assert_close(y, torch.softmax(x, 1, dtype=torch.float64))
    i = torch.arange(6)
    z = torch.empty(6)
    softmax(z, i, 0, log=True)
    torch.testing.assert_close(z, torch.log_softmax(i, 0, dtype=torch.float32))


@pytest.mark.parametrize("n", [5, 5000])
@pytest.mark.parametrize("log", [False, True])
def test_extremes(n, log):
    inf, nan = float("inf"), float("nan")
    x = torch.zeros(7, n)
    x[0, :2] = torch.tensor([1e4, -1e4])
    x[1] = -inf
    x[2, : n - 1] = -inf
    x[3, 1] = inf
    x[4, 2] = nan
    x[5] = 3e38
    y = torch.empty(7, n)
    softmax(y, x, 1, log=log)
    torch.testing.assert_close(y, REFERENCE[log](x, 1), equal_nan=True)
