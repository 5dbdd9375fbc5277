"""The random number kernels: exact properties, and statistics with derived bounds."""

import math

import pytest
import torch

from minitorch_triton.kernels import random as K

N = 20_000


def generator(seed=1234, offset=0):
    return torch.tensor([seed, offset])


def philox(counter, key):
    """Philox 4x32-10 in Python integers, written from the paper."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def test_the_reference_has_the_published_test_vector():
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 3])
@pytest.mark.parametrize("offset", [0, 2**32 - 2])
def test_uniforms_are_philox_of_offset_plus_i(seed, offset):
    y = torch.empty(5)
    state = generator(seed, offset)
    K.uniform(y, state)
    key = [seed & 0xFFFFFFFF, seed >> 32]
    expected = []
    for i in range(offset, offset + 5):
        word = philox([i & 0xFFFFFFFF, i >> 32, 0, 0], key)[0]
        expected.append((word >> 8) / 2**24)
    assert y.tolist() == expected
    assert state.tolist() == [seed, offset + 5]


def test_a_draw_continues_the_one_before():
    whole, parts = torch.empty(100), torch.empty(100)
    K.uniform(whole, generator())
    state = generator()
    K.uniform(parts[:33], state)
    K.uniform(parts[33:], state)
    assert torch.equal(whole, parts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_uniform_distribution(dtype):
    y = torch.empty(N, dtype=dtype)
    K.uniform(y, generator(), -2.0, 3.0)
    assert y.min() >= -2
    assert y.max() <= 3 if dtype.itemsize == 2 else y.max() < 3
    x = (y.double() + 2) / 5
    step = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-11 if dtype == torch.float16 else 0
    # Five standard errors of a mean and of a variance of uniform numbers.
    assert abs(x.mean() - 0.5) < 5 / math.sqrt(12 * N) + step
    assert abs(x.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / N) + step


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_uniform_is_below_one(dtype):
    y = torch.empty(N, dtype=dtype)
    K.uniform(y, generator())
    assert y.max() < 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_normal_distribution(dtype):
    y = torch.empty(N, dtype=dtype)
    K.normal(y, generator(), 1.0, 2.0)
    z = ((y.double() - 1) / 2).sort().values
    assert abs(z.mean()) < 5 / math.sqrt(N)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / N)
    # Kolmogorov and Smirnov: the distance exceeds 2 / sqrt(N) once in 1500 trials.
    distance = (torch.special.ndtr(z) - torch.linspace(0, 1, N, dtype=torch.float64)).abs().max()
    assert distance < 2 / math.sqrt(N) + (0.01 if dtype == torch.bfloat16 else 0)
    assert z.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.float32])
def test_integers(dtype):
    y = torch.empty(N, dtype=dtype)
    K.integers(y, generator(), 3, 10)
    counts = torch.bincount(y.long(), minlength=10)
    assert counts[:3].sum() == 0
    chi_square = ((counts[3:] - N / 7).square() / (N / 7)).sum()
    assert chi_square < 25  # 6 degrees of freedom: once in 3000 trials


def test_integers_of_a_wide_range():
    y = torch.empty(1000, dtype=torch.int64)
    K.integers(y, generator(), -(2**62), 2**62)
    assert (y.abs() > 2**33).double().mean() > 0.99
    assert abs((y > 0).double().mean() - 0.5) < 5 * 0.5 / math.sqrt(1000)


def test_bernoulli():
    p = torch.full((N,), 0.3)
    p[0::100], p[1::100] = 0.0, 1.0
    y = torch.empty(N)
    K.bernoulli(y, p, generator())
    assert (y[0::100] == 0).all()
    assert (y[1::100] == 1).all()
    assert abs(y[2::100].mean() - 0.3) < 5 * math.sqrt(0.21 / (N / 100))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_dropout(p):
    x = torch.randn(N)
    y, mask = torch.empty(N), torch.empty(N, dtype=torch.bool)
    state = generator()
    K.dropout(y, mask, x, state, p)
    expected = torch.where(mask, x / (1 - p), 0) if p < 1 else torch.zeros(N)
    torch.testing.assert_close(y, expected)
    assert abs((~mask).double().mean() - p) <= 5 * math.sqrt(p * (1 - p) / N)
    assert state[1] == N
    if p == 0:
        assert torch.equal(x, y)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 64, 1000])
def test_permutation(n):
    y = torch.full((n,), -1)
    keys = torch.empty(K.permutation_keys(n), dtype=torch.int64)
    K.permutation(y, keys, generator())
    assert torch.equal(y.sort().values, torch.arange(n))


def test_every_permutation_is_as_likely():
    counts = {}
    state, keys, y = (
        generator(),
        torch.empty(4, dtype=torch.int64),
        torch.empty(3, dtype=torch.int64),
    )
    for _ in range(300):
        K.permutation(y, keys, state)
        counts[tuple(y.tolist())] = counts.get(tuple(y.tolist()), 0) + 1
    assert len(counts) == 6
    assert sum((c - 50) ** 2 / 50 for c in counts.values()) < 24  # 5 degrees: once in 5000
