"""Sorting and top-k, products of 8-bit and scaled formats, cache hints."""

import pytest
import torch
import triton
import triton.language as tl


@triton.jit
def sort_rows(x, out, top, R: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i = tl.arange(0, R)[:, None]
    j = tl.arange(0, N)[None, :]
    v = tl.load(x + i * N + j)
    tl.store(out + i * N + j, tl.sort(v))
    tl.store(out + (R + i) * N + j, tl.sort(v, descending=True))
    tl.store(top + i * K + tl.arange(0, K)[None, :], tl.topk(v, K))


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8, torch.int16, torch.int64]
)
def test_sort_and_topk(dtype):
    x = (100 * torch.randn(4, 128)).to(dtype)
    if dtype.is_floating_point:
        x[:, 5], x[:, 6], x[:, 7] = float("inf"), -float("inf"), -0.0
    out, top = torch.zeros(2, 4, 128, dtype=dtype), torch.zeros(4, 8, dtype=dtype)
    sort_rows[(1,)](x, out, top, 4, 128, 8)
    assert torch.equal(out[0], x.sort(1).values)
    assert torch.equal(out[1], x.sort(1, descending=True).values)
    assert torch.equal(top, x.topk(8, 1).values)


def test_sort_puts_nan_last():
    x = torch.randn(1, 64)
    x[0, 3], x[0, 4] = float("nan"), -float("nan")
    out, top = torch.zeros(2, 1, 64), torch.zeros(1, 2)
    sort_rows[(1,)](x, out, top, 1, 64, 2)
    assert out[0, 0, -2:].isnan().all() and torch.equal(out[0, 0, :-2], x.sort().values[0, :-2])


@triton.jit
def argsort_kernel(x, out, B: tl.constexpr, LOG: tl.constexpr):
    """A sorting network over a hypercube that carries the indices along."""
    h = tl.reshape(tl.load(x + tl.arange(0, B)), [2] * LOG)
    ids = tl.reshape(tl.arange(0, B), [2] * LOG)
    for stage in tl.static_range(1, LOG + 1):
        for r in tl.static_range(stage):
            bits = h.to(tl.int32, bitcast=True)
            y = (bits ^ tl.xor_sum(bits, LOG - stage + r, True)).to(tl.float32, bitcast=True)
            other = ids ^ tl.xor_sum(ids, LOG - stage + r, True)
            right = tl.reshape((tl.arange(0, B) >> (stage - 1 - r)) & 1, [2] * LOG)
            flip = tl.reshape((tl.arange(0, B) >> stage) & 1, [2] * LOG)
            exchange = (h > y) != ((flip ^ right) != 0)
            h = tl.where(exchange, y, h)
            ids = tl.where(exchange, other, ids)
    tl.store(out + tl.arange(0, B), tl.reshape(ids, [B]))


def test_sorting_network_with_indices():
    x, out = torch.randn(16), torch.zeros(16, dtype=torch.int32)
    argsort_kernel[(1,)](x, out, 16, 4)
    assert torch.equal(out.long(), x.argsort())


@triton.jit
def multiply_eights(a, b, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :], tl.arange(0, K)
    c = tl.dot(tl.load(a + m * K + k[None, :]), tl.load(b + k[:, None] * N + n))
    tl.store(out + m * N + n, c)


def test_product_of_eight_bit_floats():
    a = torch.randn(16, 32).to(torch.float8_e4m3fn)
    b = torch.randn(32, 16).to(torch.float8_e5m2)
    out = torch.zeros(16, 16)
    multiply_eights[(1,)](a, b, out, 16, 16, 32)
    # Sums of 32 products of size 1 in another order.
    torch.testing.assert_close(out, a.float() @ b.float(), rtol=1e-5, atol=1e-5)


@triton.jit
def multiply_scaled(
    a, a_scale, b, b_scale, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
    A_FORMAT: tl.constexpr, B_FORMAT: tl.constexpr, A_PACK: tl.constexpr, B_PACK: tl.constexpr,
):  # fmt: skip
    m, n, groups = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K // 32)
    ka, kb = tl.arange(0, K // A_PACK), tl.arange(0, K // B_PACK)
    left = tl.load(a + m[:, None] * (K // A_PACK) + ka[None, :])
    right = tl.load(b + kb[:, None] * N + n[None, :])
    right_scale = tl.load(b_scale + n[:, None] * (K // 32) + groups[None, :])
    if a_scale is None:
        c = tl.dot_scaled(left, None, A_FORMAT, right, right_scale, B_FORMAT)
    else:
        left_scale = tl.load(a_scale + m[:, None] * (K // 32) + groups[None, :])
        c = tl.dot_scaled(left, left_scale, A_FORMAT, right, right_scale, B_FORMAT)
    tl.store(out + m[:, None] * N + n[None, :], c)


FOUR_BITS = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def powers(scale):
    return torch.exp2(scale.float() - 127).repeat_interleave(32, 1)


@pytest.mark.parametrize("formats", [("e4m3", "e5m2"), ("e2m1", "e2m1"), ("bf16", "e2m1")])
def test_scaled_product(formats):
    m, n, k = 16, 32, 64
    eights = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2, "bf16": torch.bfloat16}
    a_scale = torch.randint(120, 134, (m, k // 32), dtype=torch.uint8)
    b_scale = torch.randint(120, 134, (n, k // 32), dtype=torch.uint8)
    if formats[0] == "e2m1":
        a = torch.randint(0, 256, (m, k // 2), dtype=torch.uint8)
        left = FOUR_BITS[torch.stack([a & 15, a >> 4], 2).reshape(m, k).long()]
    else:
        a = torch.randn(m, k).to(eights[formats[0]])
        left = a.float()
    if formats[1] == "e2m1":
        b = torch.randint(0, 256, (k // 2, n), dtype=torch.uint8)
        right = FOUR_BITS[torch.stack([b & 15, b >> 4], 1).reshape(k, n).long()]
    else:
        b = torch.randn(k, n).to(eights[formats[1]])
        right = b.float()
    if formats[0] == "bf16":
        a_scale = None
    else:
        left = left * powers(a_scale)
    out = torch.zeros(m, n)
    packs = [2 if kind == "e2m1" else 1 for kind in formats]
    multiply_scaled[(1,)](a, a_scale, b, b_scale, out, m, n, k, *formats, *packs)
    expected = left.double() @ (right * powers(b_scale).T).double()
    bound = left.abs().double() @ (right * powers(b_scale).T).abs().double()
    assert ((out - expected).abs() <= 64 * 2**-24 * bound).all()  # 64 roundings of float32


@triton.jit
def hinted_copy(x, out, n, BLOCK: tl.constexpr):
    tl.extra.cuda.gdc_wait()
    tl.assume(n > 0)
    i = tl.max_contiguous(tl.multiple_of(tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), 8), 8)
    i = tl.max_constancy(i, 1)
    v = tl.load(
        x + i, i < n, 0.0, cache_modifier=".cg", eviction_policy="evict_last", volatile=True
    )
    v += tl.load(x + i, i < n, 0.0, cache_modifier=".ca", eviction_policy="evict_first")
    tl.debug_barrier()
    tl.extra.cuda.gdc_launch_dependents()
    tl.store(out + i, v, i < n, cache_modifier=".cs", eviction_policy="evict_first")
    tl.atomic_add(out + n, 1.0, sem="acquire", scope="sys")
    tl.atomic_xchg(out + n + 1, 3.0, sem="release", scope="cta")
    tl.atomic_add(out + n + 2, 1.0, sem="relaxed", scope="gpu")


def test_hints_orders_and_scopes_are_accepted():
    x, out = torch.randn(100), torch.zeros(103)
    hinted_copy[(4,)](x, out, 100, BLOCK=32, num_stages=5, num_warps=2, num_ctas=1)
    assert torch.equal(out, torch.cat([2 * x, torch.tensor([4.0, 3.0, 4.0])]))
