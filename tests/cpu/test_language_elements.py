"""Operations on single elements: arithmetic, comparisons, conversions, functions, by type."""

import pytest
import torch
import triton
import triton.language as tl

N = 100  # not a multiple of a block or a vector

INTEGERS = [torch.int8, torch.int16, torch.int32, torch.int64]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def sample(dtype):
    """Numbers of both signs, with the largest and smallest of an integer type among them."""
    if dtype.is_floating_point:
        return torch.randn(N, dtype=torch.float64).mul(3).to(dtype)
    info = torch.iinfo(dtype)
    values = torch.randint(info.min, info.max, (N,), dtype=dtype)
    values[:4] = torch.tensor([info.min, info.max, 0, -1], dtype=dtype)
    return values


@triton.jit
def binary(a, b, out, n, OP: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    x = tl.load(a + i, mask=mask, other=1)
    y = tl.load(b + i, mask=mask, other=1)
    if OP == "add":
        z = x + y
    elif OP == "sub":
        z = x - y
    elif OP == "mul":
        z = x * y
    elif OP == "div":
        z = x / y
    elif OP == "floordiv":
        z = x // y
    elif OP == "mod":
        z = x % y
    elif OP == "and":
        z = x & y
    elif OP == "or":
        z = x | y
    elif OP == "xor":
        z = x ^ y
    elif OP == "max":
        z = tl.maximum(x, y)
    elif OP == "min":
        z = tl.minimum(x, y)
    elif OP == "lt":
        z = x < y
    elif OP == "le":
        z = x <= y
    elif OP == "eq":
        z = x == y
    elif OP == "ne":
        z = x != y
    else:
        z = tl.where(x > y, x, y)
    tl.store(out + i, z.to(out.dtype.element_ty), mask=mask)


def run_binary(op, a, b, dtype=None):
    out = torch.full((N + 8,), 7, dtype=dtype or a.dtype)
    binary[(2,)](a, b, out, N, OP=op, BLOCK=64)
    assert (out[N:] == torch.tensor(7).to(out.dtype)).all(), "a masked store wrote"
    return out[:N]


ARITHMETIC = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "max": torch.maximum,
    "min": torch.minimum,
    "where": lambda a, b: torch.where(a > b, a, b),
}


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@pytest.mark.parametrize("op", ARITHMETIC)
def test_arithmetic_is_that_of_the_type(op, dtype):
    """Integers wrap; narrow floats round each result to nearest even."""
    a, b = sample(dtype), sample(dtype).flip(0)
    torch.testing.assert_close(run_binary(op, a, b), ARITHMETIC[op](a, b), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", ["and", "or", "xor"])
def test_bits(op, dtype):
    a, b = sample(dtype), sample(dtype).flip(0)
    expected = getattr(torch, f"bitwise_{op}")(a, b)
    assert torch.equal(run_binary(op, a, b), expected)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_division_truncates(dtype):
    """As in C, and as Triton defines // and % of signed numbers."""
    a, b = sample(dtype), sample(dtype).flip(0)
    b = torch.where((b == 0) | (b == -1), torch.tensor(3, dtype=dtype), b)
    quotient = torch.div(a, b, rounding_mode="trunc")
    assert torch.equal(run_binary("floordiv", a, b), quotient)
    assert torch.equal(run_binary("mod", a, b), a - quotient * b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_division(dtype):
    a, b = sample(dtype), sample(dtype).flip(0)
    torch.testing.assert_close(run_binary("div", a, b), a / b, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("op", ["lt", "le", "eq", "ne"])
def test_comparisons_give_booleans(op, dtype):
    a, b = sample(dtype), sample(dtype).flip(0)
    b[::3] = a[::3]
    if dtype.is_floating_point:
        a[5] = float("nan")
    expected = getattr(torch, op)(a, b)
    assert torch.equal(run_binary(op, a, b, torch.bool), expected)


@triton.jit
def convert(a, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(a + i, mask=i < n)
    tl.store(out + i, x.to(out.dtype.element_ty), mask=i < n)


@pytest.mark.parametrize("target", [torch.bool, *INTEGERS, *FLOATS])
@pytest.mark.parametrize("source", [torch.bool, *INTEGERS, *FLOATS])
def test_conversions(source, target):
    if source == torch.bool:
        a = torch.arange(N) % 3 == 0
    else:
        a = sample(source)
    if source.is_floating_point and not target.is_floating_point and target != torch.bool:
        a = a.clamp(-100, 100)
    out = torch.zeros(N, dtype=target)
    convert[(2,)](a, out, N, BLOCK=64)
    torch.testing.assert_close(out, a.to(target), rtol=0, atol=0, equal_nan=True)


def test_half_precision_overflows_to_infinity_and_keeps_denormals():
    a = torch.tensor([65519.0, 65520.0, -1e9, 6e-8, 2.9e-8, 1e-40, float("nan")])
    out = torch.zeros(7, dtype=torch.float16)
    convert[(1,)](a, out, 7, BLOCK=8)
    torch.testing.assert_close(out, a.to(torch.float16), rtol=0, atol=0, equal_nan=True)
    back = torch.zeros(7)
    convert[(1,)](out, back, 7, BLOCK=8)
    torch.testing.assert_close(back, out.float(), rtol=0, atol=0, equal_nan=True)


@triton.jit
def unary(a, out, n, OP: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(a + i, mask=i < n)
    if OP == "exp":
        y = tl.exp(x)
    elif OP == "exp2":
        y = tl.exp2(x)
    elif OP == "log":
        y = tl.log(x)
    elif OP == "log2":
        y = tl.log2(x)
    elif OP == "sin":
        y = tl.sin(x)
    elif OP == "cos":
        y = tl.cos(x)
    elif OP == "sqrt":
        y = tl.sqrt(x)
    elif OP == "rsqrt":
        y = tl.rsqrt(x)
    elif OP == "erf":
        y = tl.erf(x)
    elif OP == "abs":
        y = tl.abs(x)
    elif OP == "floor":
        y = tl.floor(x)
    elif OP == "ceil":
        y = tl.ceil(x)
    elif OP == "sigmoid":
        y = tl.sigmoid(x)
    elif OP == "clamp":
        y = tl.clamp(x, -1.0, 0.5)
    else:
        y = tl.fma(x, x, -x)
    tl.store(out + i, y, mask=i < n)


FUNCTIONS = {
    "exp": torch.exp,
    "exp2": torch.exp2,
    "log": torch.log,
    "log2": torch.log2,
    "sin": torch.sin,
    "cos": torch.cos,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "erf": torch.erf,
    "abs": torch.abs,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "sigmoid": torch.sigmoid,
    "clamp": lambda x: x.clamp(-1.0, 0.5),
    "fma": lambda x: (x.double() * x.double() - x.double()).to(x.dtype),
}


@pytest.mark.parametrize("op", FUNCTIONS)
def test_functions_of_float32(op):
    """Within 4 units in the last place of torch in float64 (test_math.py has the exact bounds)."""
    x = sample(torch.float32)
    x[:3] = torch.tensor([float("inf"), -float("inf"), 0.0])
    out = torch.zeros(N)
    unary[(2,)](x, out, N, OP=op, BLOCK=64)
    expected = FUNCTIONS[op](x.double()).float()
    torch.testing.assert_close(out, expected, rtol=4 * 2**-24, atol=1e-7, equal_nan=True)


@triton.jit
def philox(out, seed, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    a, b, c, d = tl.randint4x(seed, i)
    tl.store(out + i * 4 + 0, a, mask=i < n)
    tl.store(out + i * 4 + 1, b, mask=i < n)
    tl.store(out + i * 4 + 2, c, mask=i < n)
    tl.store(out + i * 4 + 3, d, mask=i < n)


def philox_4x32_10(counter, seed):
    """Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011), in Python integers."""
    c = [counter, 0, 0, 0]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c[0], 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * c[2], 1 << 32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def test_philox_is_the_published_generator():
    out = torch.zeros((N, 4), dtype=torch.int32)
    philox[(2,)](out, 1234567, N, BLOCK=64)
    expected = torch.tensor([philox_4x32_10(i, 1234567) for i in range(N)])
    assert torch.equal(out.long() & 0xFFFFFFFF, expected)


@triton.jit
def random_numbers(uniform, normal, seed, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(uniform + i, tl.rand(seed, i), mask=i < n)
    tl.store(normal + i, tl.randn(seed, i), mask=i < n)


def test_random_numbers_have_their_distribution():
    n = 1 << 16
    uniform, normal = torch.zeros(n), torch.zeros(n)
    random_numbers[(n // 1024,)](uniform, normal, 7, n, BLOCK=1024)
    assert uniform.min() >= 0 and uniform.max() < 1
    # Five standard errors of the mean.
    assert abs(uniform.mean() - 0.5) < 5 * (1 / 12 / n) ** 0.5
    assert abs(normal.mean()) < 5 / n**0.5 and abs(normal.std() - 1) < 5 / n**0.5


@triton.jit
def less_than(x, out):
    a, b = tl.load(x), tl.load(x + 1)
    tl.store(out, a < b)
    tl.store(out + 1, a <= b)
    tl.store(out + 2, a + 1 > b)


@pytest.mark.parametrize("a", [-(2**63), -1, 0, 2**63 - 2])
@pytest.mark.parametrize("b", [-(2**63), 0, 2**63 - 1])
def test_scalars_at_the_ends_of_int64_compare(a, b):
    out = torch.zeros(3, dtype=torch.bool)
    less_than[(1,)](torch.tensor([a, b]), out)
    assert out.tolist() == [a < b, a <= b, a + 1 > b]


@triton.jit
def widened_products(out, a, small, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out, (a * a).to(tl.int64))
    tl.store(out + 1 + i, (i * a * a).to(tl.int64))
    byte = i.to(tl.int8) * tl.load(small)
    tl.store(out + 1 + BLOCK + i, byte.to(tl.int64))
    tl.store(out + 1 + 2 * BLOCK + i, (byte.to(tl.int16) * 300).to(tl.int32))
    tl.store(out + 1 + 3 * BLOCK + i, tl.where(i * a * a < 1000, 1, 0))


def test_integers_wrap_before_they_are_widened():
    a, block = 70000, 64
    out = torch.zeros(1 + 4 * block, dtype=torch.int64)
    widened_products[(1,)](out, a, torch.tensor([100], dtype=torch.int8), BLOCK=block)
    i = torch.arange(block, dtype=torch.int32)
    product = i * a * a
    byte = i.to(torch.int8) * torch.tensor(100, dtype=torch.int8)
    expected = [i.new_tensor([a]) ** 2, product, byte, byte.short() * 300, product < 1000]
    assert torch.equal(out, torch.cat([part.long() for part in expected]))
