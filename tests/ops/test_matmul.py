"""Matrix products in the graph, against torch in float64."""

import pytest
import torch
import torch.nn.functional as F

import minitorch_triton as mt
from minitorch_triton.ops import linear, pointwise
from minitorch_triton.ops.products import fuses

SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 5)),
    ((4, 3), (3,)),
    ((4, 3), (3, 5)),
    ((2, 4, 3), (3,)),
    ((2, 4, 3), (3, 5)),
    ((3,), (2, 3, 5)),
    ((2, 4, 3), (2, 3, 5)),
    ((2, 1, 4, 3), (5, 3, 2)),
    ((0, 3), (3, 2)),
    ((4, 0), (0, 2)),
]


def pair(*shape, transposed=False):
    t = torch.randn(*shape[:-2], *shape[:-3:-1]).mT if transposed else torch.randn(shape)
    return mt.from_torch(t).requires_grad_(), t.double().requires_grad_()


def close(actual, expected, k=16):
    assert tuple(actual.shape) == tuple(expected.shape)
    atol = 16 * max(k, 1) * torch.finfo(torch.float32).eps
    torch.testing.assert_close(
        actual.detach().torch().double(), expected.detach(), rtol=0, atol=atol
    )


def compare(ours, theirs, inputs, references):
    close(ours, theirs)
    g = torch.randn(theirs.shape)
    grads = mt.autograd.grad(ours, inputs, mt.from_torch(g))
    for actual, wanted in zip(
        grads, torch.autograd.grad(theirs, references, g.double()), strict=True
    ):
        close(actual, wanted)


@pytest.mark.parametrize(("a_shape", "b_shape"), SHAPES, ids=str)
def test_matmul(a_shape, b_shape):
    (a, a64), (b, b64) = pair(*a_shape), pair(*b_shape)
    compare(a @ b, a64 @ b64, (a, b), (a64, b64))


def test_transposed_operands_and_results():
    (a, a64), (b, b64) = pair(4, 3, transposed=True), pair(3, 5, transposed=True)
    compare((a @ b).T, (a64 @ b64).T, (a, b), (a64, b64))
    compare(b.T @ a.T, b64.T @ a64.T, (a, b), (a64, b64))


def test_batches_that_do_not_fold():
    (a, a64), (b, b64) = pair(2, 1, 2, 1, 2, 1, 3, 4), pair(1, 2, 1, 2, 1, 2, 4, 3)
    compare(a @ b, a64 @ b64, (a, b), (a64, b64))


def test_names_of_nodes():
    a, b = mt.randn(2, 3, requires_grad=True), mt.randn(3, 4)
    assert type((a @ b).grad_fn).__name__ == "MmBackward0"
    assert type(mt.bmm(a[None], b[None]).grad_fn).__name__ == "BmmBackward0"
    assert type(mt.addmm(mt.randn(4), a, b).grad_fn).__name__ == "AddmmBackward0"


@pytest.mark.parametrize("bias_shape", [(5,), (4, 1), (4, 5)])
def test_addmm(bias_shape):
    (i, i64), (a, a64), (b, b64) = pair(*bias_shape), pair(4, 3), pair(3, 5)
    ours = mt.addmm(i, a, b, beta=0.5, alpha=-2)
    compare(ours, torch.addmm(i64, a64, b64, beta=0.5, alpha=-2), (i, a, b), (i64, a64, b64))


def test_addmm_with_beta_zero_does_not_read_its_input():
    nan = mt.full((5,), float("nan"))
    assert not mt.addmm(nan, mt.ones(4, 3), mt.ones(3, 5), beta=0).isnan().any()


@pytest.mark.parametrize("shape", [(6, 7), (2, 3, 7), (7,), (0, 7)], ids=str)
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear(shape, with_bias):
    (x, x64), (w, w64), (b, b64) = pair(*shape), pair(5, 7), pair(5)
    inputs, references = [x, w], [x64, w64]
    if with_bias:
        inputs, references = [x, w, b], [x64, w64, b64]
    compare(linear(*inputs), F.linear(*references), inputs, references)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("relu", torch.relu), ("gelu_erf", F.gelu), ("tanh", torch.tanh)],
)
@pytest.mark.parametrize("expanded", [False, True])
def test_linear_with_activation(name, reference, expanded):
    activation = getattr(pointwise, name)
    assert fuses(activation)
    (x, x64), (w, w64), (b, b64) = pair(6, 7), pair(5, 7), pair(5)
    ours, theirs = linear(x, w, b, activation), reference(F.linear(x64, w64, b64))
    if expanded:
        ours, theirs = ours.sum(), theirs.sum()
    compare(ours, theirs, (x, w, b), (x64, w64, b64))


def test_only_the_gradients_that_are_needed():
    (w, w64), (b, b64) = pair(5, 7), pair(5)
    x = torch.randn(6, 7)
    ours, theirs = linear(mt.from_torch(x), w, b), F.linear(x.double(), w64, b64)
    compare(ours, theirs, (b,), (b64,))


@pytest.mark.parametrize("activation", [None, pointwise.tanh])
def test_second_derivative(activation):
    (x, x64), (w, w64), (b, b64) = pair(3, 4), pair(2, 4), pair(2)
    ours = linear(x, w, b, activation)
    theirs = F.linear(x64, w64, b64)
    theirs = theirs if activation is None else theirs.tanh()
    (dx,) = mt.autograd.grad((ours * ours).sum(), x, create_graph=True)
    (dx64,) = torch.autograd.grad((theirs * theirs).sum(), x64, create_graph=True)
    compare(dx, dx64, (x, w, b), (x64, w64, b64))


def test_integers_and_dtypes():
    i = torch.randint(-9, 9, (3, 4))
    assert (mt.from_torch(i) @ mt.from_torch(i.T)).tolist() == (i @ i.T).tolist()
    h = torch.randn(3, 4).bfloat16()
    ours = (mt.from_torch(h) @ mt.from_torch(h.T)).torch()
    torch.testing.assert_close(ours, h @ h.T)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.randn(2, 3) @ t.randn(4, 5), RuntimeError,
         r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x5\)"),
        (lambda t: t.mm(t.randn(3), t.randn(3, 2)), RuntimeError, "self must be a matrix"),
        (lambda t: t.mm(t.randn(2, 3), t.randn(3)), RuntimeError, "mat2 must be a matrix"),
        (lambda t: t.bmm(t.randn(2, 3), t.randn(3, 2)), RuntimeError, "batch1 must be a 3D tensor"),
        (lambda t: t.bmm(t.randn(2, 3, 4), t.randn(2, 5, 4)), RuntimeError,
         r"first two dimensions of batch2 tensor to be: \[2, 4\] but got: \[2, 5\]"),
        (lambda t: t.randn(3) @ t.randn(4), RuntimeError,
         r"inconsistent tensor size, expected tensor \[3\] and src \[4\]"),
        (lambda t: t.randn(2, 3) @ t.randn(4), RuntimeError, "size mismatch, got input"),
        (lambda t: t.randn(()) @ t.randn(4), RuntimeError,
         "both arguments to matmul need to be at least 1D, but they are 0D and 1D"),
        (lambda t: t.randn(2, 3, 4) @ t.randn(3, 4, 2), RuntimeError,
         r"The size of tensor a \(2\) must match the size of tensor b \(3\)"),
        (lambda t: t.randn(2, 3) @ t.randn(3, 2).double(), RuntimeError, "to have the same dtype"),
    ],
)  # fmt: skip
def test_errors_are_pytorchs(call, error, message):
    for framework in (torch, mt):
        with pytest.raises(error, match=message):
            call(framework)


def test_float32_matmul_precision():
    assert mt.get_float32_matmul_precision() == "highest"
    with pytest.raises(RuntimeError, match="invalid"):
        mt.set_float32_matmul_precision("low")
    mt.set_float32_matmul_precision("high")
    try:
        assert mt.get_float32_matmul_precision() == "high"
    finally:
        mt.set_float32_matmul_precision("highest")
