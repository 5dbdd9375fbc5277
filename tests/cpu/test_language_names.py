"""Names of `triton.language` that no other test has a reason to use."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.language.core import _aggregate as aggregate

newer = pytest.mark.skipif(not hasattr(tl, "squeeze"), reason="Triton 3.6 lacks these names")


@triton.jit
def bits_of_atomics(x, N: tl.constexpr):
    tl.static_assert(N == 4)
    tl.static_print("N is", N)
    i = tl.arange(0, N)
    tl.atomic_and(x + i, 6)
    tl.atomic_or(x + N + i, 6)
    tl.atomic_xor(x + 2 * N + i, 6)
    tl.atomic_min(x + 3 * N + i, 13)


def test_atomics_on_bits():
    x = torch.arange(16, dtype=torch.int32)
    bits_of_atomics[(1,)](x, 4)
    v = torch.arange(4)
    expected = torch.cat([v & 6, (v + 4) | 6, (v + 8) ^ 6, (v + 12).clamp(max=13)])
    assert torch.equal(x.long(), expected)


@triton.jit
def arithmetic_names(x, out, n, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i)
    tl.store(out + i, tl.mul(tl.add(v, 1.0), tl.sub(v, 2.0)))
    tl.store(out + B + i, tl.div_rn(v, 3.0) + tl.sqrt_rn(tl.abs(v)))
    tl.store(out + 2 * B + i, tl.cast(v, tl.uint8).to(tl.float32))
    tl.store(out + 3 * B + i, tl.cast(v, tl.float16).to(tl.bfloat16).to(tl.float32))
    tl.store(out + 4 * B + i, tl.cumprod(v, 0))
    tl.store(out + 5 * B + i, tl.softmax(v, 0))
    m = tl.expand_dims(tl.broadcast_to(tl.view(v, (1, B)), (2, B)), 2)
    tl.store(out + 6 * B + tl.arange(0, 2 * B), tl.ravel(m))
    a, b = tl.broadcast(v[:, None], v[None, :])
    tl.store(out + 8 * B + i, tl.sum(a * b, 1))
    tl.store(out + 9 * B + i, tl.where(tl.reduce_or(v > 5, 0), 1.0, 0.0) + v * 0)
    k = 0
    while tl.condition(k < n, disable_licm=True):
        k += 2
    tl.store(out + 10 * B, k.to(tl.float32))
    j, c = tl.swizzle2d(n // 3, n % 3, 4, 3, 2)
    tl.store(out + 10 * B + 1, (j * 10 + c).to(tl.float32))
    tl.store(out + 10 * B + 2, tl.cast(tl.full((), 65537, tl.int32), tl.uint16).to(tl.float32))
    tl.store(out + 10 * B + 3, (tl.full((), -1, tl.int64).to(tl.uint64) >> 60).to(tl.float32))


@pytest.mark.filterwarnings("ignore:view is deprecated")
def test_functions_for_operators():
    x, out = torch.arange(8.0), torch.zeros(11, 8)
    arithmetic_names[(1,)](x, out, 5, 8)
    rows = [
        (x + 1) * (x - 2), x / 3 + x.sqrt(), x, x, x.cumprod(0), x.softmax(0), x, x, x * x.sum(),
        torch.ones(8),
    ]  # fmt: skip
    torch.testing.assert_close(out[:10], torch.stack(rows), rtol=1e-6, atol=1e-7)
    # Place 5 of a 4 x 3 matrix is row 1, column 2 of its first group of two rows, column by column.
    assert out[10, :4].tolist() == [6, 12, 1, 15]


@triton.jit
def random_names(ints, floats, seed, n, B: tl.constexpr):
    i = tl.arange(0, B)
    zero = i.to(tl.uint32) * 0
    seed = seed.to(tl.uint64)
    a, _b, _c, _d = tl.philox(seed, i.to(tl.uint32), zero, zero, zero)
    tl.store(ints + i, a.to(tl.int32, bitcast=True))
    low, high = (seed & 0xFFFFFFFF).to(tl.uint32), (seed >> 32).to(tl.uint32)
    e, _f, _g, _h = tl.philox_impl(i.to(tl.uint32), zero, zero, zero, low, high)
    tl.store(ints + B + i, e.to(tl.int32, bitcast=True))
    tl.store(ints + 2 * B + i, tl.randint(seed, i).to(tl.int32, bitcast=True))
    u, v, _w, _x = tl.rand4x(seed, i)
    tl.store(floats + i, u)
    tl.store(floats + B + i, tl.uint_to_uniform_float(a))
    p, _q, _r, _s = tl.randn4x(seed, i)
    tl.store(floats + 2 * B + i, p)
    y, _z = tl.pair_uniform_to_normal(u, v)
    tl.store(floats + 3 * B + i, y)


def test_names_of_random_numbers():
    ints, floats = torch.zeros(3, 64, dtype=torch.int32), torch.zeros(4, 64)
    random_names[(1,)](ints, floats, 2**33 + 5, 64, 64)
    assert torch.equal(ints[0], ints[1]) and torch.equal(ints[0], ints[2])
    assert torch.equal(floats[0], floats[1]) and torch.equal(floats[2], floats[3])
    words = ints[0].numpy().astype(np.int64)
    uniform = np.where(words < 0, -words - 1, words) * 4.6566127342e-10
    np.testing.assert_allclose(floats[0], uniform, rtol=1e-6)


@triton.jit
def merge_and_describe(x, out, B: tl.constexpr):
    source = tl.make_tensor_descriptor(x, [B], [1], [B])
    target = tl.make_tensor_descriptor(out, [B], [1], [B])
    v = tl.load_tensor_descriptor(source, [0])
    tl.store_tensor_descriptor(target, [0], tl.bitonic_merge(v))


def test_bitonic_merge():
    x = torch.cat([torch.randn(8).sort().values, torch.randn(8).sort(descending=True).values])
    out = torch.zeros(16)
    merge_and_describe[(1,)](x, out, 16)
    assert torch.equal(out, x.sort().values)


@triton.jit
def eight_bits(x, out, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i)
    tl.store(out + i, v.to(tl.float8e4nv).to(tl.float32))
    tl.store(out + B + i, v.to(tl.float8e5).to(tl.float32))
    tl.store(out + 2 * B + i, v.to(tl.float8e4b8).to(tl.float32))
    tl.store(out + 3 * B + i, v.to(tl.float8e5b16).to(tl.float32))


def test_eight_bit_floats():
    x, out = torch.randn(32), torch.zeros(4, 32)
    eight_bits[(1,)](x, out, 32)
    types = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)
    assert torch.equal(out, torch.stack([x.to(dtype).float() for dtype in types]))


@triton.jit
def old_eight_bits(x):
    tl.store(x, tl.load(x).to(tl.float8e4b15).to(tl.float32))


def test_a_type_without_conversions_is_refused_with_its_line():
    with pytest.raises(triton.CompilationError, match="float8e4b15"):
        old_eight_bits[(1,)](torch.zeros(1, dtype=torch.float16))


@aggregate
class Span:
    start: tl.tensor
    length: tl.tensor

    @triton.constexpr_function
    def __init__(self, start, length):
        self.start = start
        self.length = length

    @triton.jit
    def end(self):
        return self.start + self.length


@triton.jit
def longer(span):
    return Span(span.start, span.length * 2)


@triton.jit
def aggregates_kernel(x, out):
    span = Span(tl.load(x), tl.load(x + 1))
    for _ in range(2):
        span = longer(span)
    tl.store(out, span.end())


def test_aggregates_as_arguments_and_results():
    out = torch.zeros(1, dtype=torch.int32)
    aggregates_kernel[(1,)](torch.tensor([3, 4], dtype=torch.int32), out)
    assert out.item() == 3 + 16


@triton.jit
def newer_names(x, out, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i)
    tl.store(out + i, tl.squeeze(tl.unsqueeze(v, 1), 1) + tl.to_tensor(1))
    tl.store(out + B + i, tl.expect_zero(v, i < 0))
    span = tl.aggregate_replace(Span(i, i), length=i * 3)
    tl.store(out + 2 * B + i, span.end())


@newer
def test_names_of_newer_triton():
    x, out = torch.randn(8), torch.zeros(3, 8)
    newer_names[(1,)](x, out, 8)
    assert torch.equal(out, torch.stack([x + 1, x, torch.arange(8) * 4.0]))


@triton.jit
def block_pointers(x, out, M, N, BM: tl.constexpr, BN: tl.constexpr):
    source = tl.make_block_ptr(x, (M, N), (N, 1), (0, 0), (BM, BN), (1, 0))
    target = tl.make_block_ptr(out, (M, N), (N, 1), (0, 0), (BM, BN), (1, 0))
    for _ in range(0, N, BN):
        v = tl.load(source, boundary_check=(0, 1), padding_option="zero")
        tl.store(target, v * 2, boundary_check=(0, 1))
        source = tl.advance(source, (0, BN))
        target = tl.advance(target, (0, BN))


def test_block_pointers():
    x, out = torch.randn(20, 40), torch.zeros(20, 40)
    if hasattr(tl, "advance"):
        block_pointers[(1,)](x, out, 20, 40, 32, 16)
        assert torch.equal(out, 2 * x)
    else:
        with pytest.raises(triton.CompilationError, match="tensor descriptor"):
            block_pointers[(1,)](x, out, 20, 40, 32, 16)
