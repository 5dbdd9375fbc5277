"""Calls of device functions that stay calls, and what kernels cannot have."""

import inspect

import pytest
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice
from triton.language.extra.hip import libdevice as rocm

from minitorch_triton.cpu.ir import UnsupportedOperation


@triton.jit(noinline=True)
def scaled_copy(source, target, n):
    i = tl.arange(0, 32)
    v = tl.load(source + i)
    tl.store(target + i, v * 2, mask=i < n)
    return tl.sum(v, 0)


@triton.jit
def noinline_kernel(x, out, n):
    total = scaled_copy(x, out, n)
    for t in range(2):
        total += scaled_copy(out, out + 32, n - t)
    tl.store(out + 64, total)


def test_noinline_functions():
    x, out = torch.randn(32), torch.zeros(65)
    noinline_kernel[(1,)](x, out, 20)
    assert torch.equal(out[:20], 2 * x[:20]) and torch.equal(out[32:52], 4 * x[:20])
    torch.testing.assert_close(out[64], x.sum() + 4 * x[:20].sum(), rtol=1e-5, atol=1e-5)
    assert not out[20:32].any() and not out[52:64].any()


@triton.jit
def three_ways(x, t):
    if t > 3:
        return x * 2
    if t == 2:
        return x + 100
    return x - 1


@triton.jit(noinline=True)
def scalar_ways(x, t):
    if t > 3:
        return x * 2
    return x - 1


@triton.jit
def nested_ways(x, y, t):
    """The block after the first `if` is reached in two ways."""
    if t > 1:
        if t == 3:
            return x, y
        y = y + 1
    else:
        if t == 0:
            return y, x
        x = -x
    return x + y, y


@triton.jit
def early_kernel(x, out, t):
    i = tl.arange(0, 32)
    v = tl.load(x + i)
    for k in range(5):
        v = three_ways(v, k)
    s = tl.sum(v)
    if t > 0:
        v = three_ways(v, t)
        s = scalar_ways(s, t)
    tl.store(out + i, v)
    tl.store(out + 96, s)
    a, b = v, v * 2
    for k in range(5):
        a, b = nested_ways(a * 0.5, b, k)
    tl.store(out + 32 + i, a)
    tl.store(out + 64 + i, b)


@pytest.mark.parametrize("t", [0, 2, 5])
def test_early_returns_of_functions_called_in_loops_and_branches(t):
    x, out = torch.randint(-8, 8, (32,)).float(), torch.zeros(97)
    early_kernel[(1,)](x, out, t)
    v = x
    for k in range(5):
        v = three_ways.fn(v, k)
    s = v.sum()
    if t > 0:
        v, s = three_ways.fn(v, t), scalar_ways.fn(s, t)
    a, b = v, v * 2
    for k in range(5):
        a, b = nested_ways.fn(a * 0.5, b, k)
    assert torch.equal(out, torch.cat([v, a, b, s[None]]))  # exact: few bits are used


@triton.jit
def countdown(x, n):
    if n <= 0:
        return x
    return countdown(x, n - 1)


@triton.jit
def even(n):
    if n == 0:
        return n == 0
    return odd(n - 1)


@triton.jit
def odd(n):
    if n == 0:
        return n != 0
    return even(n - 1)


@triton.jit
def recursive_kernel(x):
    tl.store(x, countdown(tl.load(x), 3))


@triton.jit
def mutually_recursive_kernel(x):
    tl.store(x, even(tl.load(x)).to(tl.int32))


def test_recursion_is_refused():
    x = torch.zeros(1, dtype=torch.int32)
    with pytest.raises(UnsupportedOperation, match=r"calls\.py:\d+: .*countdown calls itself"):
        recursive_kernel[(1,)](x)
    with pytest.raises(UnsupportedOperation, match="calls itself"):
        mutually_recursive_kernel[(1,)](x)


@triton.jit
def assembly_kernel(x):
    v = tl.load(x + tl.arange(0, 32))
    w = tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [v], tl.float32, is_pure=True, pack=1)
    tl.store(x + tl.arange(0, 32), w)


@triton.jit
def assembly_of_no_result_kernel(x, out):
    for _ in range(2):
        v = tl.load(x)
        if v > 0:
            w = tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [v], tl.float32, False, 1)
            tl.store(out, w)


@triton.jit
def assembly_of_no_operand_kernel(out):
    tl.store(out, tl.inline_asm_elementwise("mov.u32 $0, 1;", "=r", [], tl.int32, False, 1))


def line_of(kernel, text):
    """The line in this file of the first line of a kernel that contains ``text``."""
    lines, start = inspect.getsourcelines(kernel.fn)
    return next(start + n for n, line in enumerate(lines) if text in line)


@pytest.mark.parametrize(
    "kernel", [assembly_kernel, assembly_of_no_result_kernel, assembly_of_no_operand_kernel]
)
def test_inline_assembly_is_refused_with_its_line(kernel):
    arguments = [torch.ones(32)] * len(kernel.arg_names)
    where = rf"calls\.py:{line_of(kernel, 'inline_asm')}: .*tt\.elementwise_inline_asm"
    with pytest.raises(UnsupportedOperation, match=where):
        kernel[(1,)](*arguments)


@tl.core.extern
def xpu_exp(x, _semantic=None):
    return tl.core.extern_elementwise(
        "",
        "",
        [x],
        {(tl.core.dtype("fp32"),): ("__xpu_exp_f32", tl.core.dtype("fp32"))},
        is_pure=True,
        _semantic=_semantic,
    )


@triton.jit
def foreign_kernel(x):
    tl.store(x, xpu_exp(tl.load(x)))


def test_an_unknown_external_function_is_refused_with_its_line():
    where = rf"calls\.py:{line_of(foreign_kernel, 'xpu_exp')}: .*__xpu_exp_f32"
    with pytest.raises(UnsupportedOperation, match=where):
        foreign_kernel[(1,)](torch.ones(1))


@triton.jit
def rare_floats(x, y, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a, b = tl.load(x + i), tl.load(y + i)
    tl.store(out + i, libdevice.add_rz(a, b))
    tl.store(out + n + i, libdevice.mul_rd(a, b))
    tl.store(out + 2 * n + i, libdevice.div_ru(a, b))
    tl.store(out + 3 * n + i, libdevice.div_rn(a, b))
    tl.store(out + 4 * n + i, libdevice.erfinv(a * 0.25))
    tl.store(out + 5 * n + i, libdevice.normcdf(a))
    tl.store(out + 6 * n + i, libdevice.erfcx(a))
    tl.store(out + 7 * n + i, libdevice.cyl_bessel_i0(a))
    tl.store(out + 8 * n + i, libdevice.rhypot(a, b))
    tl.store(out + 9 * n + i, libdevice.norm3d(a, b, a))
    tl.store(out + 10 * n + i, libdevice.nextafter(a, b))
    tl.store(out + 11 * n + i, libdevice.fast_expf(a))
    tl.store(out + 12 * n + i, libdevice.float2int_rd(a).to(tl.float32))
    tl.store(out + 13 * n + i, libdevice.int_as_float(libdevice.float_as_int(a)))
    tl.store(out + 14 * n + i, libdevice.normcdfinv(libdevice.normcdf(a)))


def test_rare_functions_of_libdevice():
    n = 64
    x, y = torch.randn(n), torch.randn(n)
    out = torch.zeros(15, n)
    rare_floats[(1,)](x, y, out, n, BLOCK=n)
    a, b = x.double(), y.double()  # sums and products of float32 are exact enough in float64
    exact = torch.stack([a + b, a * b, a / b])
    rounded = exact.float().double()
    # 0: toward zero; 1: down; 2: up; and no farther than one place from the nearest.
    assert (out[0].double().abs() <= exact[0].abs()).all()
    assert (out[1].double() <= exact[1]).all()
    assert (out[2].double() >= exact[2]).all()
    spacing = torch.nextafter(rounded.float(), torch.tensor(float("inf"))) - rounded
    assert ((out[:3] - rounded).abs() <= spacing.abs()).all()
    assert torch.equal(out[3], x / y)
    expected = {
        4: torch.erfinv(a / 4),
        5: torch.special.ndtr(a),
        6: torch.special.erfcx(a),
        7: torch.special.i0(a),
        8: 1 / torch.hypot(a, b),
        9: (2 * a * a + b * b).sqrt(),
        11: a.exp(),
        12: a.floor(),
        13: a,
    }
    for row, value in expected.items():
        # Computed in float64 and rounded once; exp has an error below 1 ulp more.
        torch.testing.assert_close(out[row], value.float(), rtol=3e-7, atol=0)
    assert torch.equal(out[10], torch.nextafter(x, y))
    # The inverse of a value rounded to float32: the error is ulp / density.
    torch.testing.assert_close(out[14], x, rtol=1e-5, atol=1e-4)


@triton.jit
def rare_integers(x, y, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a, b = tl.load(x + i), tl.load(y + i)
    tl.store(out + i, libdevice.clz(a))
    tl.store(out + n + i, libdevice.popc(a))
    tl.store(out + 2 * n + i, libdevice.ffs(a))
    tl.store(out + 3 * n + i, libdevice.brev(a))
    tl.store(out + 4 * n + i, libdevice.mulhi(a, b))
    tl.store(out + 5 * n + i, libdevice.byte_perm(a, b, 0x7531))
    tl.store(out + 6 * n + i, libdevice.hadd(a, b))
    tl.store(out + 7 * n + i, libdevice.sad(a, b, a.to(tl.uint32)))
    tl.store(out + 8 * n + i, libdevice.mul24(a, b))


def wrapped(value):
    return (value + 2**31) % 2**32 - 2**31


def low_24(value):
    return (value + 2**23) % 2**24 - 2**23


def test_integer_functions_of_libdevice():
    n = 64
    x, y = (torch.randint(-(2**31), 2**31, (n,), dtype=torch.int32) for _ in range(2))
    x[:3] = torch.tensor([0, 1, -1])
    out = torch.zeros(9, n, dtype=torch.int32)
    rare_integers[(1,)](x, y, out, n, BLOCK=n)
    for k, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        u, w = a % 2**32, b % 2**32
        odd_bytes = [(u >> 8) & 255, u >> 24, (w >> 8) & 255, w >> 24]
        expected = [
            32 - u.bit_length(),
            u.bit_count(),
            (u & -u).bit_length(),
            wrapped(int(f"{u:032b}"[::-1], 2)),
            (a * b) >> 32,
            wrapped(int.from_bytes(bytes(odd_bytes), "little")),
            (a + b) >> 1,
            wrapped(a + abs(a - b)),
            wrapped(low_24(a) * low_24(b)),
        ]
        assert out[:, k].tolist() == expected


@triton.jit
def functions_of_rocm(x, k, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    a, b = tl.load(x + i), tl.load(k + i)
    tl.store(out + i, rocm.pow(a, b))
    tl.store(out + n + i, rocm.pow(tl.abs(a), a))
    tl.store(out + 2 * n + i, rocm.llrint(a).to(tl.float64))
    tl.store(out + 3 * n + i, rocm.cyl_bessel_i0(a))
    tl.store(out + 4 * n + i, rocm.isnan(a).to(tl.float64))
    tl.store(out + 5 * n + i, rocm.abs(b))
    tl.store(out + 6 * n + i, rocm.fast_dividef(a, 3.0))
    tl.store(out + 7 * n + i, rocm.erf(a.to(tl.float64)))


def test_functions_of_the_libdevice_of_rocm():
    n = 32
    x, k = torch.randn(n) * 3, torch.randint(-4, 5, (n,), dtype=torch.int32)
    out = torch.zeros(8, n, dtype=torch.float64)
    functions_of_rocm[(1,)](x, k, out, n, BLOCK=n)
    a = x.double()
    expected = [
        a**k, a.abs() ** a, a.round(), torch.special.i0(a), torch.zeros(n), k.abs(), a / 3,
        torch.erf(a),
    ]  # fmt: skip
    for row, value in zip(out, expected, strict=True):
        # float32: powers have an error of up to 2 ulp.
        torch.testing.assert_close(row, value.double(), rtol=3e-7, atol=0)
