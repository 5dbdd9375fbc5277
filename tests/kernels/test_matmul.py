"""The matrix product kernel on torch tensors, against torch."""

import itertools

import pytest
import torch
import triton
import triton.language as tl

from minitorch_triton.kernels.launch import INTERPRETED
from minitorch_triton.kernels.matmul import linear_gradient, matmul, tiling


@triton.jit
def magnitude(x):
    return tl.abs(x)


@triton.jit
def relu_grad(g, y):
    return tl.where(y > 0, g, 0.0)


def randn(*shape, dtype=torch.float32):
    """Values that every dtype of the tests holds exactly enough to compare products."""
    if not dtype.is_floating_point:
        return torch.randint(-9, 9, shape, dtype=dtype)
    return torch.randn(shape, dtype=torch.float64).to(dtype)


def bound(k, dtype):
    """Rounding of a sum of k products of unit variance: sqrt(k) terms of sqrt(k) magnitude."""
    if not dtype.is_floating_point:
        return 0
    compute = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    return 8 * k * compute + 8 * max(k, 1) ** 0.5 * torch.finfo(dtype).eps


def check(c, expected, k):
    assert not c.isnan().any()
    error = (c.double() - expected.double()).abs().max().item() if c.numel() else 0
    assert error <= bound(k, c.dtype), f"error {error} for {c.shape}"


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int32, torch.int64,
          torch.int8]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [(shape, torch.float32) for shape in [(3, 5, 7), (128, 10, 40), (1, 1, 1)]]
    + [((17, 33, 65), dtype) for dtype in DTYPES],
    ids=str,
)
def test_product(shape, dtype):
    if INTERPRETED and dtype == torch.bfloat16:
        pytest.skip("Triton's interpreter multiplies the bits of bfloat16 operands of tl.dot")
    m, n, k = shape
    a, b, c = randn(m, k, dtype=dtype), randn(k, n, dtype=dtype), torch.empty(m, n, dtype=dtype)
    matmul(c, a, b)
    check(c, a.double() @ b.double() if dtype.is_floating_point else a @ b, k)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_transposes_and_strides(transpose_a, transpose_b):
    a = randn(18, 26)[::2, ::2]
    b = randn(13, 11).T.contiguous().T
    c = torch.full((11, 9), float("nan")).T
    matmul(
        c,
        a.T if transpose_a else a,
        b.T if transpose_b else b,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
    )
    check(c, a.double() @ b.double(), 13)


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((4, 5, 6), (4, 6, 3)),
        ((4, 5, 6), (6, 3)),
        ((5, 6), (4, 6, 3)),
        ((2, 3, 5, 6), (2, 3, 6, 4)),
        ((2, 3, 5, 6), (6, 4)),
        ((2, 1, 5, 6), (3, 6, 4)),
        ((2, 1, 5, 6), (1, 3, 6, 4)),
        ((3, 1, 6), (6, 4)),
        ((1, 6), (4, 6, 3)),
        ((0, 5, 6), (6, 4)),
        ((2, 5, 0), (0, 4)),
        ((0, 6), (6, 4)),
    ],
    ids=str,
)
def test_batches(a_shape, b_shape):
    a, b = randn(*a_shape), randn(*b_shape)
    expected = a.double() @ b.double()
    c = torch.full(expected.shape, float("nan"))
    matmul(c, a, b)
    check(c, expected, a_shape[-1])


def test_heads_are_read_in_place():
    q = randn(2, 7, 3, 5).transpose(1, 2)
    k = randn(2, 7, 3, 5).transpose(1, 2)
    c = torch.empty(2, 3, 7, 7)
    matmul(c, q, k, transpose_b=True)
    check(c, q.double() @ k.double().mT, 5)


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((4, 5, 6), (6, 3)),
        ((2, 3, 5, 6), (6, 3)),
        ((2, 3, 5, 6), (3, 6, 4)),
        ((2, 1, 5, 6), (3, 6, 4)),
    ],
    ids=str,
)
def test_gradients_of_broadcast_operands_are_summed_in_the_kernel(a_shape, b_shape):
    a = randn(*a_shape, dtype=torch.float64).requires_grad_()
    b = randn(*b_shape, dtype=torch.float64).requires_grad_()
    out = a @ b
    g = randn(*out.shape, dtype=torch.float64)
    expected = torch.autograd.grad(out, (a, b), g)
    da, db = torch.empty(a_shape, dtype=torch.float64), torch.empty(b_shape, dtype=torch.float64)
    matmul(da, g, b, transpose_b=True)
    matmul(db, a, g, transpose_a=True)
    check(da, expected[0], 8)
    check(db, expected[1], 30)


def test_an_expanded_upstream_gradient():
    a, g = randn(5, 6), torch.ones(()).expand(5, 4)
    db = torch.empty(6, 4)
    matmul(db, a, g, transpose_a=True)
    check(db, a.double().T @ g.double(), 5)


@pytest.mark.parametrize("bias_shape", [(11,), (9, 1), (9, 11), (1, 1), ()], ids=str)
def test_bias_and_activation(bias_shape):
    a, b, bias = randn(9, 13), randn(13, 11), randn(*bias_shape)
    c, pre = torch.empty(9, 11), torch.empty(9, 11)
    matmul(c, a, b, bias=bias, alpha=0.5, beta=-2.0, activation=magnitude, pre_activation=pre)
    expected = 0.5 * (a.double() @ b.double()) - 2 * bias.double()
    check(pre, expected, 13)
    check(c, pre.double().abs(), 13)


def test_bias_of_a_stack():
    a, b, bias, c = randn(2, 3, 4), randn(4, 5), randn(5), torch.empty(2, 3, 5)
    matmul(c, a, b, bias=bias)
    check(c, a.double() @ b.double() + bias.double(), 4)


def test_an_empty_sum_leaves_the_bias():
    c, bias = torch.full((3, 4), float("nan")), randn(4)
    matmul(c, torch.empty(3, 0), torch.empty(0, 4), bias=bias)
    assert torch.equal(c, bias.expand(3, 4))


@pytest.mark.parametrize("g_layout", ["rows", "columns", "expanded"])
@pytest.mark.parametrize("shape", [(37, 10), (2, 19, 10), (5, 131)], ids=str)
def test_linear_gradient(shape, g_layout):
    n = shape[-1]
    g = randn(n, *shape[:-1]).movedim(0, -1) if g_layout == "columns" else randn(*shape)
    if g_layout == "expanded":
        g = randn(1).expand(shape)
    if len(shape) > 2:
        g = g.contiguous()
    y, before = randn(*shape), g.clone()
    d, db = torch.full(shape, float("nan")), torch.full((n,), float("nan"))
    linear_gradient(g, d=d, row_sum=db, derivative=relu_grad, saved=y)
    assert torch.equal(d, torch.where(y > 0, g, 0))
    check(db, d.double().reshape(-1, n).sum(0), 37)
    linear_gradient(g, row_sum=db)
    check(db, g.double().reshape(-1, n).sum(0), 37)
    assert torch.equal(g, before)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("plain", [True, False])
def test_tiles_cover_the_result_and_fit_their_blocks(packed, plain):
    for m, n in itertools.product((1, 10, 64, 128, 784, 1000, 4096), repeat=2):
        tiles = tiling(m, n, torch.float32, True, packed, plain)
        assert 0 < tiles.tile_m <= tiles.block_m
        assert 0 < tiles.tile_n <= tiles.block_n
        assert tiles.block_k * max(tiles.block_m, tiles.block_n) <= tl.TRITON_MAX_TENSOR_NUMEL


def test_nan_goes_through():
    a, b, c = randn(4, 5), randn(5, 6), torch.empty(4, 6)
    a[1, 2] = float("nan")
    matmul(c, a, b)
    assert c[1].isnan().all()
    assert not c[[0, 2, 3]].isnan().any()


def test_batches_that_do_not_fold_are_refused():
    a, b = randn(2, 1, 2, 1, 2, 1, 4, 5), randn(1, 2, 1, 2, 1, 2, 5, 4)
    with pytest.raises(ValueError, match="do not fold"):
        matmul(torch.empty(2, 2, 2, 2, 2, 2, 4, 4), a, b)
