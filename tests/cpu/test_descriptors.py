"""Tensor descriptors that are made on the host and passed to a kernel."""

import pytest
import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

import minitorch_triton.cpu as triton_cpu
from minitorch_triton.cpu import checking

ROUNDS_TO_TF32 = "round_f32_to_tf32" in TensorDescriptor.__dataclass_fields__


@triton.jit
def double_kernel(source, target, BLOCK_M: tl.constexpr):
    row = tl.program_id(0) * BLOCK_M
    target.store([row, 0], source.load([row, 0]) * 2)


@triton.jit
def double_first_kernel(blocks, BLOCK_M: tl.constexpr):
    row = tl.program_id(0) * BLOCK_M
    blocks[1].store([row, 0], blocks[0].load([row, 0]) * 2)


@triton.jit
def window_kernel(source, target, row, column):
    target.store([0, 0], source.load([row, column]))


@triton.jit
def product_kernel(a, b, c, row, column, inner, K: tl.constexpr, STEP: tl.constexpr):
    """Elements [row:, column:] of a b: products of windows that may lie outside."""
    BLOCK_M: tl.constexpr = a.block_shape[0]
    BLOCK_N: tl.constexpr = b.block_shape[1]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for k in range(0, K, STEP):
        total = tl.dot(a.load([row, inner + k]), b.load([inner + k, column]), total)
    c.store([row, column], total)


def windowed(x, row, column, rows, columns):
    """x[row : row + rows, column : column + columns], zeros where that is outside."""
    padded = F.pad(x, (64, 64, 64, 64))
    return padded[64 + row : 64 + row + rows, 64 + column : 64 + column + columns]


def test_blocks_are_copied():
    x, out = torch.randn(50, 40), torch.zeros(50, 40)
    blocks = [TensorDescriptor.from_tensor(tensor, [16, 64]) for tensor in (x, out)]
    for _ in range(2):
        double_kernel[(4,)](*blocks, BLOCK_M=16)
        assert torch.equal(out, x * 2)
        out.zero_()


@pytest.mark.parametrize("padding", ["zero", "nan"])
def test_descriptors_in_a_tuple(padding):
    x, out = torch.randn(50, 40), torch.zeros(60, 64)
    blocks = [TensorDescriptor.from_tensor(tensor, [16, 64], padding) for tensor in (x, out)]
    double_first_kernel[(4,)](tuple(blocks), BLOCK_M=16)
    outside = float("nan") if padding == "nan" else 0.0
    expected = torch.full((60, 64), outside)
    expected[:50, :40] = x * 2
    assert torch.equal(out.nan_to_num(7), expected.nan_to_num(7))


@pytest.mark.parametrize(
    ("row", "column"), [(0, 0), (-3, 5), (30, -9), (-16, 0), (40, 60), (-70, 2)]
)
def test_windows_that_are_partly_outside(row, column):
    x, out = torch.randn(40, 52), torch.zeros(16, 32)
    target = TensorDescriptor.from_tensor(out, [16, 32])
    plain = TensorDescriptor.from_tensor(x, [16, 32])
    with_nan = TensorDescriptor.from_tensor(x, [16, 32], "nan")
    for _ in range(2):  # The second time each has a launch function.
        window_kernel[(1,)](plain, target, row, column)
        assert torch.equal(out, windowed(x, max(row, -64), column, 16, 32))
        window_kernel[(1,)](with_nan, target, row, column)
        inside = windowed(torch.ones_like(x), max(row, -64), column, 16, 32) > 0
        assert torch.equal(out.isnan(), ~inside)
        assert torch.equal(out[inside], windowed(x, max(row, -64), column, 16, 32)[inside])


@pytest.mark.skipif(not ROUNDS_TO_TF32, reason="this Triton's descriptors have no such flag")
def test_rounding_to_tf32():
    x, out = torch.randn(16, 32), torch.zeros(16, 32)
    source = TensorDescriptor.from_tensor(x, [16, 32], round_f32_to_tf32=True)
    window_kernel[(1,)](source, TensorDescriptor.from_tensor(out, [16, 32]), 0, 0)
    bits = x.view(torch.int32)
    rounded = (bits + 0xFFF + (bits >> 13 & 1)) & ~0x1FFF
    assert torch.equal(out, rounded.view(torch.float32))


@pytest.mark.parametrize("step", [16, 64], ids=["loop", "single"])
@pytest.mark.parametrize(
    ("row", "column", "inner"),
    [(0, 0, 0), (-3, 5, 0), (25, -9, 0), (0, 30, -5), (-2, -2, -2), (99, 0, 0)],
)
def test_products_of_windows(row, column, inner, step):
    a, b, c = torch.randn(37, 44), torch.randn(44, 52), torch.full((40, 52), 7.0)
    expected = c.clone()
    product = windowed(a, row, inner, 16, 64) @ windowed(b, inner, column, 64, 32)
    rows, columns = slice(max(row, 0), max(row + 16, 0)), slice(max(column, 0), column + 32)
    inside = expected[rows, columns]
    inside.copy_(product[max(-row, 0) :, max(-column, 0) :][: len(inside), : inside.shape[1]])
    blocks = ((a, [16, step]), (b, [step, 32]), (c, [16, 32]))
    descriptors = [TensorDescriptor.from_tensor(*block) for block in blocks]
    product_kernel[(1,)](*descriptors, row, column, inner, K=64, STEP=step)
    torch.testing.assert_close(c, expected, rtol=1e-5, atol=1e-4)


def test_a_launch_after_the_first_is_quick_to_prepare():
    x, out = torch.randn(16, 64), torch.zeros(16, 64)
    blocks = [TensorDescriptor.from_tensor(tensor, [16, 64]) for tensor in (x, out)]
    first = double_kernel[(1,)](*blocks, BLOCK_M=16)
    assert first.metadata.plain_descriptors
    assert double_kernel[(1,)](*blocks, BLOCK_M=16) is first
    with triton_cpu.checked(not checking.active):
        assert double_kernel[(1,)](*blocks, BLOCK_M=16) is not first
