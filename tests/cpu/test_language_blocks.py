"""Operations on blocks: views, reductions, scans, and what moves elements."""

import pytest
import torch
import triton
import triton.language as tl


@triton.jit
def larger(a, b):
    return tl.maximum(a, b)


@triton.jit
def compose(a, b, c, d):
    """Composition of x -> a*x + b and then x -> c*x + d; associative, not commutative."""
    return a * c, b * c + d


@triton.jit
def load_matrix(x, M: tl.constexpr, N: tl.constexpr):
    return tl.load(x + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :])


@triton.jit
def reduce_matrix(x, out, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr, OP: tl.constexpr):
    v = load_matrix(x, M, N)
    if OP == "sum":
        r = tl.sum(v, AXIS)
    elif OP == "max":
        r = tl.max(v, AXIS)
    elif OP == "min":
        r = tl.min(v, AXIS)
    elif OP == "xor":
        r = tl.xor_sum(v, AXIS)
    elif OP == "argmax":
        r = tl.argmax(v, AXIS)
    elif OP == "argmin":
        r = tl.argmin(v, AXIS)
    else:
        r = tl.reduce(v, AXIS, larger)
    tl.store(out + tl.arange(0, r.shape[0]), r)


REDUCTIONS = {
    "sum": torch.sum,
    "max": torch.amax,
    "min": torch.amin,
    "argmax": torch.argmax,
    "argmin": torch.argmin,
    "custom": torch.amax,
}


@pytest.mark.parametrize("shape", [(4, 64), (64, 4), (8, 128), (2, 2)])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reduction(op, axis, shape):
    x = torch.randn(shape)
    expected = REDUCTIONS[op](x, axis)
    out = torch.zeros(shape[1 - axis], dtype=torch.int32 if "arg" in op else torch.float32)
    reduce_matrix[(1,)](x, out, *shape, AXIS=axis, OP=op)
    # Sums of at most 128 terms of size 1 in another order.
    torch.testing.assert_close(out, expected.to(out.dtype), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float64])
def test_sum_of_other_types(dtype):
    x = torch.randn(8, 32, dtype=torch.float64).mul(100).to(dtype)
    out = torch.zeros(8, dtype=dtype)
    reduce_matrix[(1,)](x, out, 8, 32, AXIS=1, OP="sum")
    torch.testing.assert_close(out, x.sum(1).to(dtype))


def test_xor_sum():
    x = torch.randint(-(2**31), 2**31 - 1, (8, 32), dtype=torch.int32)
    out = torch.zeros(8, dtype=torch.int32)
    reduce_matrix[(1,)](x, out, 8, 32, AXIS=1, OP="xor")
    expected = torch.zeros(8, dtype=torch.int32)
    for column in x.T:
        expected ^= column
    assert torch.equal(out, expected)


def test_maximum_of_infinities_and_nan():
    x = torch.full((4, 16), -float("inf"))
    x[1, 3] = float("nan")
    x[1, 5] = 2.0
    out = torch.zeros(4)
    reduce_matrix[(1,)](x, out, 4, 16, AXIS=1, OP="max")
    # tl.max ignores NaN unless all is NaN.
    assert out[0] == -float("inf") and out[1] == 2.0


@triton.jit
def reduce_all(x, out, M: tl.constexpr, N: tl.constexpr):
    v = load_matrix(x, M, N)
    tl.store(out, tl.sum(v))
    tl.store(out + 1, tl.max(v))


def test_reduction_over_all_axes():
    x = torch.randn(16, 32)
    out = torch.zeros(2)
    reduce_all[(1,)](x, out, 16, 32)
    torch.testing.assert_close(out, torch.stack([x.sum(), x.max()]), rtol=1e-5, atol=1e-5)


@triton.jit
def reduce_cube(x, out, AXIS: tl.constexpr):
    i = tl.arange(0, 4)[:, None, None] * 64 + tl.arange(0, 8)[None, :, None] * 8
    v = tl.load(x + i + tl.arange(0, 8)[None, None, :])
    r = tl.sum(v, AXIS, keep_dims=True) + tl.zeros_like(v)
    tl.store(out + i + tl.arange(0, 8)[None, None, :], r)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_reduction_of_three_dimensions(axis):
    x = torch.randn(4, 8, 8)
    out = torch.zeros(4, 8, 8)
    reduce_cube[(1,)](x, out, AXIS=axis)
    expected = x.sum(axis, keepdim=True).expand(4, 8, 8)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@triton.jit
def scan_matrix(
    x, out, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr, REVERSE: tl.constexpr
):
    v = load_matrix(x, M, N)
    r = tl.cumsum(v, AXIS, reverse=REVERSE)
    tl.store(out + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :], r)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_scan(axis, reverse):
    x = torch.randn(8, 32)
    out = torch.zeros(8, 32)
    scan_matrix[(1,)](x, out, 8, 32, AXIS=axis, REVERSE=reverse)
    expected = x.flip(axis).cumsum(axis).flip(axis) if reverse else x.cumsum(axis)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@triton.jit
def scan_cube(
    x, out, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, D: tl.constexpr, AXIS: tl.constexpr
):
    i = tl.arange(0, A)[:, None, None, None] * B + tl.arange(0, B)[:, None, None]
    i = (i * C + tl.arange(0, C)[:, None]) * D + tl.arange(0, D)
    tl.store(out + i, tl.cumsum(tl.load(x + i) + 1, AXIS) * 2)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_scan_of_four_dimensions(axis):
    x = torch.randn(2, 4, 2, 8)
    out = torch.zeros(2, 4, 2, 8)
    scan_cube[(1,)](x, out, 2, 4, 2, 8, AXIS=axis)
    torch.testing.assert_close(out, (x + 1).cumsum(axis) * 2, rtol=1e-5, atol=1e-5)


@triton.jit
def scan_compositions(x, y, out, B: tl.constexpr, REVERSE: tl.constexpr):
    i = tl.arange(0, B)
    a, b = tl.associative_scan((tl.load(x + i), tl.load(y + i)), 0, compose, reverse=REVERSE)
    tl.store(out + i, a)
    tl.store(out + B + i, b)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_of_two_operands_that_does_not_commute(reverse):
    x, y = torch.rand(32), torch.randn(32)
    out = torch.zeros(2, 32)
    scan_compositions[(1,)](x, y, out, 32, REVERSE=reverse)
    a, b, expected = None, None, torch.zeros(2, 32)
    order = range(31, -1, -1) if reverse else range(32)
    for i in order:
        a, b = (x[i], y[i]) if a is None else (a * x[i], b * x[i] + y[i])
        expected[0, i], expected[1, i] = a, b
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@triton.jit
def follow(count_a, before_a, last_a, count_b, before_b, last_b):
    """The number of elements so far, the last but one of them, and the last."""
    return count_a + count_b, tl.where(count_b == 1, last_a, before_b), last_b


@triton.jit
def delay(x, out, B: tl.constexpr):
    i = tl.arange(0, B)
    x = tl.load(x + i)
    _, before, _ = tl.associative_scan((x * 0 + 1, x * 0, x), 0, follow)
    tl.store(out + i, before)


def test_scan_that_only_passes_on_what_came_before():
    x = torch.randint(1, 1000, (32,))
    out = torch.zeros_like(x)
    delay[(1,)](x, out, 32)
    assert torch.equal(out[1:], x[:-1]) and out[0] == 0


@triton.jit
def sum_of_ones(rows, columns, prefixes, one):
    x = tl.full((512, 512), one, rows.dtype.element_ty)
    i = tl.arange(0, 512)
    tl.store(rows + i, tl.sum(x, axis=1))
    tl.store(columns + i, tl.sum(x, axis=0))
    tl.store(prefixes + i, tl.cumsum(tl.sum(x, axis=0) / 512, axis=0))


def test_sums_of_bfloat16_do_not_stop_growing():
    rows, columns, prefixes = torch.zeros(3, 512, dtype=torch.bfloat16)
    sum_of_ones[(1,)](rows, columns, prefixes, 1)
    assert (rows == 512).all() and (columns == 512).all()
    assert torch.equal(prefixes, torch.arange(1, 513).bfloat16())


@triton.jit
def larger_magnitude(a, b):
    if tl.abs(a) >= tl.abs(b):
        return a
    else:
        return b


@triton.jit
def growth(a, b):
    f = b * 1.5
    r = a
    if f > a:
        r = f + 1
        if b > 1:
            r = f * 2
    return r


@triton.jit
def combine_with_branches(x, out, n, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i, mask=i < n, other=0.0)
    grown = tl.associative_scan(v, 0, growth)
    tl.store(out + i, grown, mask=i < n)
    tl.store(out + n, tl.reduce(v, 0, larger_magnitude))
    # That a number is written 0.0f has nothing to do with the variable f above.
    tl.store(out + n + 1, tl.sum(tl.where(i == 2, grown, 0.0)))
    return v


def test_combine_functions_with_branches():
    x = torch.tensor([0.1, 0.7, -3.0, 0.5, 2.0, 1.5, 9.0])
    out = torch.zeros(9)
    combine_with_branches[(1,)](x, out, 7, 8)
    expected = torch.tensor([0.1, 2.05, 2.05, 2.05, 6.0, 6.0, 27.0, 9.0, 2.05])
    torch.testing.assert_close(out, expected)


@triton.jit
def names_of_c(x, out, linux, int64_t, NULL, _Bool, mt_launch, MT_SWAP, B: tl.constexpr):
    memcpy = tl.load(x + tl.arange(0, B))
    for float in range(2):
        memcpy = tl.cumsum(memcpy * linux, 0) + float + int64_t + NULL + _Bool
    tl.store(out + tl.arange(0, B), memcpy + mt_launch + MT_SWAP)


def test_names_that_mean_something_in_c():
    x, out = torch.randn(16), torch.empty(16)
    names_of_c[(1,)](x, out, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, B=16)
    expected = ((x * 0.5).cumsum(0) + 6) * 0.5
    torch.testing.assert_close(out, expected.cumsum(0) + 7 + 9)


@triton.jit
def transpose_and_reshape(x, out, M: tl.constexpr, N: tl.constexpr):
    v = tl.exp(load_matrix(x, M, N))
    t = tl.trans(v)
    tl.store(out + tl.arange(0, M * N), tl.reshape(t, (M * N,)))
    u = tl.reshape(v, (2, M // 2, N)).permute(2, 0, 1)
    tl.store(out + M * N + tl.arange(0, M * N), tl.reshape(u, (M * N,)))


def test_transpose_permute_and_reshape():
    x = torch.randn(8, 16)
    out = torch.zeros(2, 128)
    transpose_and_reshape[(1,)](x, out, 8, 16)
    y = x.exp()
    expected = torch.stack([y.T.flatten(), y.reshape(2, 4, 16).permute(2, 0, 1).flatten()])
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


@triton.jit
def move(x, out, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i)
    a, b = tl.split(tl.reshape(v, (B // 2, 2)))
    tl.store(out + i, tl.interleave(b, a))
    tl.store(out + B + i, tl.cat(a, b, can_reorder=True))
    tl.store(out + 2 * B + i, tl.reshape(tl.join(a, b), (B,)))
    tl.store(out + 3 * B + i, tl.flip(v, 0))
    tl.store(out + 4 * B + i, tl.sort(v))
    tl.store(out + 5 * B + i, tl.gather(v, (i * 7) % B, 0))


@pytest.mark.filterwarnings("ignore:tl.cat")
def test_moving_elements():
    x = torch.randn(64)
    out = torch.zeros(6, 64)
    move[(1,)](x, out, 64)
    pairs = x.reshape(32, 2)
    assert torch.equal(out[0], pairs.flip(1).flatten())
    assert torch.equal(out[1].sort().values, x.sort().values)
    assert torch.equal(out[2], x)
    assert torch.equal(out[3], x.flip(0))
    assert torch.equal(out[4], x.sort().values)
    assert torch.equal(out[5], x[torch.arange(64) * 7 % 64])


@triton.jit
def gather_rows(x, where, out, M: tl.constexpr, N: tl.constexpr):
    v = load_matrix(x, M, N) * 2
    i = load_matrix(where, M, N)
    tl.store(out + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :], tl.gather(v, i, 1))


def test_gather_along_an_axis():
    x = torch.randn(8, 16)
    where = torch.randint(0, 16, (8, 16), dtype=torch.int32)
    out = torch.zeros(8, 16)
    gather_rows[(1,)](x, where, out, 8, 16)
    assert torch.equal(out, (2 * x).gather(1, where.long()))


@triton.jit
def gather_again_and_again(x, out, n, B: tl.constexpr):
    i = tl.arange(0, B)
    v = tl.load(x + i, mask=i < n, other=-1.0)
    total = tl.zeros((B,), tl.float32)
    for k in range(3):
        total += tl.gather(v, (i + k) % B, 0)
    tl.store(out + i, total)


def test_gather_in_a_loop_of_what_was_loaded_before_it():
    x, out = torch.rand(32), torch.empty(32)
    gather_again_and_again[(1,)](x, out, 20, 32)
    v = torch.where(torch.arange(32) < 20, x, -1.0)
    torch.testing.assert_close(out, v + v.roll(-1) + v.roll(-2))


@triton.jit
def count(x, out, B: tl.constexpr, BINS: tl.constexpr):
    v = tl.load(x + tl.arange(0, B))
    tl.store(out + tl.arange(0, BINS), tl.histogram(v, BINS))


def test_histogram():
    x = torch.randint(0, 16, (256,), dtype=torch.int32)
    out = torch.zeros(16, dtype=torch.int32)
    count[(1,)](x, out, 256, 16)
    assert torch.equal(out.long(), torch.bincount(x, minlength=16))


@triton.jit
def outer_product(x, y, out, M: tl.constexpr, N: tl.constexpr):
    a = tl.exp(tl.load(x + tl.arange(0, M)))
    b = tl.exp(tl.load(y + tl.arange(0, N)))
    v = a[:, None] * b[None, :]
    w = v / tl.sum(v, 1)[:, None] + tl.sum(v, 0)[None, :]
    tl.store(out + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :], w)


def test_broadcast_of_what_two_axes_reduce():
    x, y = torch.randn(8), torch.randn(16)
    out = torch.zeros(8, 16)
    outer_product[(1,)](x, y, out, 8, 16)
    v = x.exp()[:, None] * y.exp()
    expected = v / v.sum(1, keepdim=True) + v.sum(0)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@triton.jit
def several_reductions(x, y, out, n, BLOCK: tl.constexpr):
    """Sums of two types, and an argmax, of rows that a mask cuts; two depend on the column."""
    j = tl.arange(0, BLOCK)
    a = tl.load(x + j, mask=j < n, other=0.0)
    b = tl.load(y + j, mask=j < n, other=0.0)
    total = tl.sum(a + j, 0)
    weighted = tl.sum(a * 2 + j, 0)
    other_type = tl.sum(b + j, 0)
    tl.store(out, total.to(tl.float64))
    tl.store(out + 1, weighted.to(tl.float64))
    tl.store(out + 2, other_type)
    tl.store(out + 3, (tl.sum(a, 0) + tl.argmax(a, 0)).to(tl.float64))


@pytest.mark.parametrize("n", [3, 64, 100, 128])
def test_several_reductions_in_one_loop(n):
    x, y = torch.rand(n), torch.rand(n, dtype=torch.float64)
    out = torch.zeros(4, dtype=torch.float64)
    several_reductions[(1,)](x, y, out, n, BLOCK=128)
    columns = 127 * 64
    s = x.double().sum()
    expected = [s + columns, 2 * s + columns, y.sum() + columns, s + x.argmax()]
    torch.testing.assert_close(out, torch.stack(expected), rtol=1e-6, atol=1e-5)


@triton.jit
def hadamard_kernel(x, out, N: tl.constexpr, LOG: tl.constexpr):
    """Each step splits the elements into pairs, and keeps a block of which it reads two elements
    at fixed places of a row."""
    v = tl.load(x + tl.arange(0, N))
    for step in tl.static_range(LOG):
        pairs = tl.permute(tl.reshape(v, (N // 2 ** (step + 1), 2, 2**step)), (0, 2, 1))
        a, b = tl.split(pairs)
        v = tl.reshape(tl.permute(tl.join(a + b, a - b), (0, 2, 1)), (N,))
    tl.store(out + tl.arange(0, N), v)


def test_fast_hadamard_transform():
    x = torch.randint(-8, 8, (16,)).float()
    out = torch.zeros(16)
    hadamard_kernel[(1,)](x, out, 16, 4)
    matrix = torch.ones(1, 1)
    for _ in range(4):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    assert torch.equal(out, matrix @ x)
