"""The longer kernels of Triton's tutorials against PyTorch."""

import pytest
import torch
import tutorials


@pytest.mark.parametrize("causal", [False, True])
def test_attention_backward(causal):
    q, k, v = (torch.randn(2, 2, 128, 32, requires_grad=True) for _ in range(3))
    output = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    grad = torch.randn_like(output)
    expected = torch.autograd.grad(output, (q, k, v), grad)
    scores = q @ k.mT / 32**0.5
    if causal:
        scores = scores.masked_fill(torch.ones(128, 128).triu(1).bool(), -float("inf"))
    tensors = [t.detach() for t in (q, k, v, output, scores.logsumexp(-1), grad)]
    # Sums of 128 terms of order 1 in float32, in another order.
    for mine, theirs in zip(tutorials.attention_backward(*tensors, causal), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-5)


def test_grouped_matmul_through_a_pointer_table():
    sizes = [(70, 40, 90), (64, 64, 64), (5, 100, 130)]
    pairs = [(torch.randn(m, k), torch.randn(k, n)) for m, k, n in sizes]
    for mine, (a, b) in zip(tutorials.grouped_matmul(pairs), pairs, strict=True):
        torch.testing.assert_close(mine, a @ b, rtol=1e-5, atol=1e-4)


def test_persistent_matmul_with_descriptors():
    a, b = torch.randn(100, 72), torch.randn(136, 72)
    c = tutorials.persistent_matmul(a, b, block=(32, 64, 32))
    torch.testing.assert_close(c, a @ b.T, rtol=1e-5, atol=1e-4)
