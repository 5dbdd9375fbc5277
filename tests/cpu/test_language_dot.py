"""Products of blocks: types, shapes, masks, accumulators, batches."""

import pytest
import torch
import triton
import triton.language as tl

from minitorch_triton.cpu import checking


@triton.jit
def multiply_blocks(a, b, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    x = tl.load(a + m[:, None] * K + k[None, :])
    y = tl.load(b + k[:, None] * N + n[None, :])
    z = tl.dot(x, y, input_precision="ieee")
    tl.store(out + m[:, None] * N + n[None, :], z.to(out.dtype.element_ty))


@pytest.mark.parametrize("shape", [(16, 16, 16), (64, 32, 128), (2, 4, 8), (1, 16, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_types_and_sizes(dtype, shape):
    m, n, k = shape
    a, b = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
    accumulator = torch.float64 if dtype == torch.float64 else torch.float32
    out = torch.zeros(m, n, dtype=accumulator)
    multiply_blocks[(1,)](a, b, out, m, n, k)
    expected = (a.double() @ b.double()).to(accumulator)
    # K products of size 1 summed in another order.
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=k * 2**-22)


def test_integers():
    a = torch.randint(-128, 127, (16, 32), dtype=torch.int8)
    b = torch.randint(-128, 127, (32, 16), dtype=torch.int8)
    out = torch.zeros(16, 16, dtype=torch.int32)
    multiply_blocks[(1,)](a, b, out, 16, 16, 32)
    assert torch.equal(out, (a.long() @ b.long()).int())


@triton.jit
def matmul(
    a, b, out, M, N, K, sam, sak, sbk, sbn,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, HOW: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    if HOW == "ones":
        acc += 1
    pa = a + m[:, None] * sam + k[None, :] * sak
    pb = b + k[:, None] * sbk + n[None, :] * sbn
    for start in range(0, K, BK):
        left = K - start
        x = tl.load(pa, mask=(m[:, None] < M) & (k[None, :] < left), other=0.0)
        y = tl.load(pb, mask=(k[:, None] < left) & (n[None, :] < N), other=0.0)
        if HOW == "computed":
            x = tl.maximum(x, 0.0)
        if HOW == "plus":
            acc += tl.dot(x, y)
        elif HOW == "scaled":
            acc = tl.dot(x, y, acc * 0.5)
        else:
            acc = tl.dot(x, y, acc)
        pa += BK * sak
        pb += BK * sbk
    if HOW == "row sum":
        acc += tl.sum(acc, 1)[:, None]
    mask = (m[:, None] < M) & (n[None, :] < N)
    tl.store(out + m[:, None] * N + n[None, :], acc, mask=mask)


def expected_product(a, b, how, block_k):
    if how == "computed":
        a = a.clamp(min=0)
    if how == "scaled":
        total = torch.zeros(a.shape[0], b.shape[1])
        for start in range(0, a.shape[1], block_k):
            total = total * 0.5 + a[:, start : start + block_k] @ b[start : start + block_k]
        return total
    product = a @ b
    if how == "ones":
        return product + 1
    return product + product.sum(1, keepdim=True) if how == "row sum" else product


@pytest.mark.parametrize("how", ["accumulate", "plus", "scaled", "ones", "computed", "row sum"])
@pytest.mark.parametrize("shape", [(32, 32, 32), (50, 20, 70)])
def test_loop_over_k(shape, how):
    m, n, k = shape
    a, b = torch.randn(m, k), torch.randn(k, n)
    out = torch.zeros(m, n)
    grid = (triton.cdiv(m, 32), triton.cdiv(n, 32))
    matmul[grid](a, b, out, m, n, k, *a.stride(), *b.stride(), BM=32, BN=32, BK=16, HOW=how)
    expected = expected_product(a, b, how, 16)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("transposed", ["a", "b", "both"])
def test_transposed_operands(transposed):
    a = torch.randn(70, 50).T if transposed in ("a", "both") else torch.randn(50, 70)
    b = torch.randn(20, 70).T if transposed in ("b", "both") else torch.randn(70, 20)
    out = torch.zeros(50, 20)
    strides = *a.stride(), *b.stride()
    matmul[(2, 1)](a, b, out, 50, 20, 70, *strides, BM=32, BN=32, BK=16, HOW="accumulate")
    torch.testing.assert_close(out, a @ b, rtol=1e-4, atol=1e-4)


@triton.jit
def batched(a, b, out, B: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i = tl.arange(0, B)[:, None, None]
    m, n = tl.arange(0, M)[None, :, None], tl.arange(0, N)[None, None, :]
    x = tl.load(a + (i * M + m) * K + tl.arange(0, K)[None, None, :])
    y = tl.load(b + (i * K + tl.arange(0, K)[None, :, None]) * N + n)
    tl.store(out + (i * M + m) * N + n, tl.dot(x, y))


def test_batched_product():
    a, b = torch.randn(4, 16, 32), torch.randn(4, 32, 16)
    out = torch.zeros(4, 16, 16)
    batched[(1,)](a, b, out, 4, 16, 16, 32)
    torch.testing.assert_close(out, a @ b, rtol=1e-4, atol=1e-4)


@triton.jit
def transposed_block(a, out, M: tl.constexpr, K: tl.constexpr):
    m, k = tl.arange(0, M), tl.arange(0, K)
    x = tl.load(a + m[:, None] * K + k[None, :])
    tl.store(out + m[:, None] * M + m[None, :], tl.dot(x, tl.trans(x)))


def test_product_with_its_own_transpose():
    a = torch.randn(32, 16)
    out = torch.zeros(32, 32)
    transposed_block[(1,)](a, out, 32, 16)
    torch.testing.assert_close(out, a @ a.T, rtol=1e-4, atol=1e-4)


@triton.jit
def transposed_results(a, b, out, N: tl.constexpr):
    i = tl.arange(0, N)
    places = i[:, None] * N + i[None, :]
    x = tl.exp(tl.load(a + places))
    y = tl.dot(tl.trans(x), tl.load(b + places))
    tl.store(out + places, tl.dot(y, tl.trans(x)))


def test_what_was_computed_is_read_transposed_where_it_lies():
    a, b, out = torch.randn(32, 32), torch.randn(32, 32), torch.empty(32, 32)
    compiled = transposed_results[(1,)](a, b, out, 32)
    x = a.double().exp()
    torch.testing.assert_close(out, (x.T @ b.double() @ x.T).float(), rtol=1e-5, atol=1e-4)
    assert compiled.asm["c"].count("MT_SCRATCH(1024") == 3, "x and the two products"


@triton.jit
def plain_matmul(a, b, out, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        in_k = start + k < K
        x = tl.load(
            a + m[:, None] * K + (start + k)[None, :], (m[:, None] < M) & in_k[None, :], 0.0
        )
        y = tl.load(
            b + (start + k)[:, None] * N + n[None, :], in_k[:, None] & (n[None, :] < N), 0.0
        )
        acc = tl.dot(x, y, acc)
    mask = (m[:, None] < M) & (n[None, :] < N)
    tl.store(out + m[:, None] * N + n[None, :], acc.to(out.dtype.element_ty), mask=mask)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(32, 32, 16), (50, 20, 70), (5, 70, 0)])
def test_product_that_is_only_stored(shape, dtype):
    m, n, k = shape
    a, b = torch.randn(m, k), torch.randn(k, n)
    out = torch.full((m + 1, n), 7.0, dtype=dtype)
    grid = (triton.cdiv(m, 32), triton.cdiv(n, 32))
    plain_matmul[grid](a, b, out, m, n, k, BM=32, BN=32, BK=16)
    torch.testing.assert_close(out[:m], (a @ b).to(dtype), rtol=1e-3, atol=1e-3)
    assert (out[m] == 7).all()


@triton.jit
def matmul_of_lines(
    a, b, out, rows, M, N, K, t, LISTED: tl.constexpr, EPILOGUE: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Rows and columns modulo their numbers, or rows that a list names; element ``t`` is first."""
    place, k = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, BK)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    if LISTED:
        row = tl.load(rows + place)
    else:
        row = place % M
    listed = row < M
    x = a + t * K + row[:, None] * K + k[None, :]
    y = b + k[:, None] * N + (column % N)[None, :]
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        left = K - start
        u = tl.load(x, mask=listed[:, None] & (k[None, :] < left), other=0.0)
        v = tl.load(y, mask=k[:, None] < left, other=0.0)
        total = tl.dot(u, v, total)
        x += BK
        y += BK * N
    if EPILOGUE:
        total = total * 2 + tl.sum(total, 0)[None, :]
    inside = (place[:, None] < M) & (column[None, :] < N)
    tl.store(out + place[:, None] * N + column[None, :], total, mask=inside)


@pytest.mark.parametrize("epilogue", [False, True])
@pytest.mark.parametrize("listed", [False, True])
def test_rows_and_columns_that_are_looked_up(listed, epilogue):
    m, n, k, block = 50, 20, 70, 32
    a, b, out = torch.randn(m + 3, k), torch.randn(k, n), torch.full((m + 1, n), 7.0)
    rows = torch.arange(64) % m
    if listed:
        rows = torch.randint(0, m + 9, (64,))  # those from m on stand for zeros
    grid = (triton.cdiv(m, block), triton.cdiv(n, block))
    compiled = matmul_of_lines[grid](
        a, b, out, rows.int(), m, n, k, 3, listed, epilogue, block, block, 16
    )
    wide = torch.cat([a[3:], torch.zeros(9, k)])[rows].double() @ b.double()
    if epilogue:
        wide = 2 * wide + wide.view(2, block, n).sum(1).repeat_interleave(block, 0)
    torch.testing.assert_close(out[:m], wide[:m].float(), rtol=1e-4, atol=1e-3)
    assert (out[m] == 7).all()
    body = compiled.asm["c"].split(" body(")[1]
    assert body.count("mt_gemm_f32_at(") == 1
    # Checks stay in the loop; without them it is one call.
    assert ("for (int64_t" in body) == checking.active


@triton.jit
def half_products(a, b, out, n, HOW: tl.constexpr):
    i = tl.arange(0, 32)[:, None] * 32 + tl.arange(0, 32)[None, :]
    x, y = tl.load(a + i), tl.load(b + i)
    acc = tl.zeros((32, 32), tl.float16)
    if HOW == "once":
        acc = tl.dot(x, y, out_dtype=tl.float16)
    elif HOW == "chain":
        acc = tl.dot(tl.dot(x, y, out_dtype=tl.float16), x, out_dtype=tl.float16)
    elif HOW == "summed":
        for _ in range(n):
            acc = tl.dot(x, y, acc, out_dtype=tl.float16)
        acc = tl.dot(acc, x, out_dtype=tl.float16)
    elif HOW == "scaled":
        for _ in range(n):
            acc = tl.dot(x, y, acc, out_dtype=tl.float16) * 0.5
    else:
        for step in range(n):
            if step % 2 == 0:
                acc = tl.dot(x, y, acc, out_dtype=tl.float16)
            else:
                acc = tl.dot(y, x, acc, out_dtype=tl.float16)
    tl.store(out + i, acc.to(tl.float32))


def test_sums_of_products_in_float16():
    # Multiples of 1/8 so small that float16 holds all sums exactly.
    a = torch.randint(-2, 3, (32, 32)) / 4
    b = torch.randint(-2, 3, (32, 32)) / 2
    expected = {
        "once": a @ b,
        "chain": a @ b @ a,
        "summed": 3 * a @ b @ a,
        "scaled": a @ b * (1 / 2 + 1 / 4 + 1 / 8),
        "branches": 2 * a @ b + b @ a,
    }
    for how, result in expected.items():
        out = torch.zeros(32, 32)
        half_products[(1,)](a.half(), b.half(), out, 3, HOW=how)
        assert torch.equal(out, result.half().float()), how


def test_products_in_float16_are_rounded():
    a, b = torch.randn(32, 32).half(), torch.randn(32, 32).half()
    out = torch.zeros(32, 32)
    half_products[(1,)](a, b, out, 0, HOW="once")
    assert torch.equal(out, out.half().float())
    # Half an ulp of float16, of sums below 32.
    torch.testing.assert_close(out, a.float() @ b.float(), rtol=0, atol=2**-7)


@triton.jit
def product_of_uneven_steps(a, b, steps, out, per, BLOCK: tl.constexpr, KIND: tl.constexpr):
    """A loop over K whose pointers advance by a quotient, by its counter, or by what it loads."""
    i = tl.arange(0, BLOCK)
    left = a + i[:, None] * 96 + i[None, :]
    right = b + i[:, None] * BLOCK + i[None, :]
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for n in range(4):
        total += tl.dot(tl.load(left), tl.load(right))
        if KIND == "quotient":
            step = BLOCK // per
        elif KIND == "counter":
            step = n * 4
        else:
            step = tl.load(steps + n)
        left += step
        right += step * BLOCK
    tl.store(out + i[:, None] * BLOCK + i[None, :], total)


@pytest.mark.parametrize(
    ("kind", "offsets"),
    [("quotient", (0, 4, 8, 12)), ("counter", (0, 0, 4, 12)), ("loaded", (0, 3, 4, 11))],
)
def test_product_over_pointers_that_advance_unevenly(kind, offsets):
    a, b, out = torch.randn(16, 96), torch.randn(96, 16), torch.empty(16, 16)
    steps = torch.tensor([3, 1, 7, 0], dtype=torch.int32)
    product_of_uneven_steps[(1,)](a, b, steps, out, 4, BLOCK=16, KIND=kind)
    expected = sum(a[:, k : k + 16] @ b[k : k + 16] for k in offsets)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-4)
