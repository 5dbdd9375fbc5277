"""The same tensor as several arguments: each operation ends before the next one begins."""

import pytest
import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

import minitorch_triton.cpu as triton_cpu
from minitorch_triton.cpu import binding


@triton.jit
def normalise_and_copy(x, y, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n, other=0.0)
    c = tl.where(i < n, v - tl.sum(v) / n, 0.0)
    tl.store(y + i, c / tl.sum(c * c), mask=i < n)
    tl.store(y + n + i, v, mask=i < n)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_block_is_what_it_was_when_it_was_loaded(in_place):
    x = torch.randn(80)
    v = x[:40].clone()
    out = x if in_place else torch.empty(80)
    normalise_and_copy[(1,)](x, out, 40, BLOCK=64)
    c = v - v.mean()
    torch.testing.assert_close(out, torch.cat([c / (c * c).sum(), v]))


@triton.jit
def transpose(x, y, N: tl.constexpr):
    i, j = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    tl.store(y + i * N + j, tl.trans(tl.load(x + i * N + j)))


@triton.jit
def reverse(x, y, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(y + N - 1 - i, tl.load(x + i))


@triton.jit
def add_first_row(x, y, N: tl.constexpr):
    i, j = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    tl.store(y + i * N + j, tl.load(x + i * N + j) + tl.load(x + j))


@triton.jit
def square(x, y, N: tl.constexpr):
    i, j = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    v = tl.load(x + i * N + j)
    tl.store(y + i * N + j, tl.dot(v, v))


@triton.jit
def square_loop(x, y, n, N: tl.constexpr):
    i, j = tl.arange(0, N)[:, None], tl.arange(0, 16)[None, :]
    sum = tl.zeros((N, N), tl.float32)
    for k in range(0, n, 16):
        left = tl.load(x + i * N + k + j)
        right = tl.load(x + (k + tl.arange(0, 16)[:, None]) * N + tl.arange(0, N)[None, :])
        sum = tl.dot(left, right, sum)
    tl.store(y + i * N + tl.arange(0, N)[None, :], sum)


CASES = {
    transpose: lambda x: x.T,
    reverse: lambda x: x.flatten().flip(0),
    add_first_row: lambda x: x + x[0],
    square: lambda x: x @ x,
}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("kernel", CASES, ids=lambda kernel: kernel.__name__)
def test_in_place(kernel, in_place):
    x = torch.randn(32, 32)
    if kernel is reverse:
        x = x[0].clone()
    expected = CASES[kernel](x).clone()
    out = x if in_place else torch.empty_like(x)
    kernel[(1,)](x, out, N=32)
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("checked", [False, True], ids=["", "checked"])
def test_in_place_however_it_is_launched(checked):
    x, other = torch.randn(2, 32, 32)
    expected = x.T.clone()
    with triton_cpu.checked(checked):
        compiled = transpose.warmup(x, other, N=32, grid=(1,))
        prepared = triton_cpu.prepare(transpose, [x, other], {"N": 32})
        for launch in (
            lambda: transpose[(1,)](x, x, N=32),
            lambda: transpose[(1,)](x, x, N=32),
            lambda: binding.general_run(transpose, (x, x, 32), {}, (1,), warmup=False),
            lambda: compiled[(1, 1, 1)](x, x, 32),
            lambda: prepared.launch((1, 1, 1), (x.data_ptr(), x.data_ptr())),
        ):
            launch()
            assert torch.equal(x, expected)
            expected = expected.T


@pytest.mark.parametrize("in_place", [False, True])
def test_product_in_place(in_place):
    x = torch.randn(32, 32)
    expected = x @ x
    out = x if in_place else torch.empty_like(x)
    square_loop[(1,)](x, out, 32, N=32)
    torch.testing.assert_close(out, expected)


@triton.jit
def increment_listed(x, indices, N: tl.constexpr):
    places = x + tl.load(indices + tl.arange(0, N))
    tl.store(places, tl.load(places) + 1)


def test_places_that_occur_twice_are_loaded_before_the_store():
    x = torch.zeros(4)
    increment_listed[(1,)](x, torch.tensor([0, 1, 1, 3, 1, 0, 3, 1]), N=8)
    assert x.tolist() == [1, 1, 0, 1]


@triton.jit
def scale_in_rows(x, bias, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * n + tl.arange(0, BLOCK)
    mask = tl.arange(0, BLOCK) < n
    v = tl.load(x + i, mask=mask)
    tl.store(out + i, v * tl.sum(tl.where(mask, v, 0.0)), mask=mask)


def test_a_kernel_of_one_place_per_element_has_one_variant():
    x = torch.randn(3, 20)
    expected = x * x.sum(1, keepdim=True)
    compiled = scale_in_rows[(3,)](x, x, x, 20, BLOCK=32)
    torch.testing.assert_close(x, expected)
    assert "ENTRY(body, 0" in compiled.asm["c"]


@triton.jit
def add_and_normalise(x, residual, sum, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * n + tl.arange(0, BLOCK)
    mask = tl.arange(0, BLOCK) < n
    s = tl.load(x + i, mask=mask, other=0.0) + tl.load(residual + i, mask=mask, other=0.0)
    tl.store(sum + i, s, mask=mask)
    tl.store(out + i, s * tl.rsqrt(tl.sum(s * s) / n), mask=mask)


@pytest.mark.parametrize("target", ["new", "x", "residual"])
def test_a_sum_that_overwrites_an_operand_before_it_is_normalised(target):
    x, residual = torch.randn(3, 200), torch.randn(3, 200)
    s = x + residual
    expected = s * s.square().mean(1, keepdim=True).rsqrt()
    total = {"new": torch.empty_like(x), "x": x, "residual": residual}[target]
    out = torch.empty_like(x)
    compiled = add_and_normalise[(3,)](x, residual, total, out, 200, BLOCK=256)
    torch.testing.assert_close(total, s)
    torch.testing.assert_close(out, expected)
    assert "ENTRY(body, 0" in compiled.asm["c"]


@triton.jit
def add_rows(y, y_stride, x, x_stride, b, n, BLOCK: tl.constexpr):
    i, j = tl.arange(0, 4)[:, None], tl.arange(0, BLOCK)[None, :]
    v = tl.load(x + i * x_stride + j, mask=j < n) + tl.load(b + j, mask=j < n)
    tl.store(y + i * y_stride + j, v, mask=j < n)


@pytest.mark.parametrize("strides", [(40, 40), (30, 40), (40, 30)])
def test_the_same_tensor_with_equal_and_with_other_strides(strides):
    memory, b = torch.randn(200), torch.randn(30)
    y, x = (memory.as_strided((4, 30), (stride, 1)) for stride in strides)
    expected = x + b
    add_rows[(1,)](memory, strides[0], memory, strides[1], b, 30, BLOCK=32)
    torch.testing.assert_close(y, expected)


@triton.jit
def increment(x, y, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)


@triton.jit
def double_described(x, y, N: tl.constexpr):
    y.store([0, 0], x.load([0, 0]) * 2)


@pytest.mark.parametrize("distance", [1, 3, -2])
def test_views_that_overlap(distance):
    """Each operation ends before the next one begins also where views overlap in part."""
    for kernel, expected in ((increment, lambda v: v + 1), (transpose, lambda v: v.T)):
        for _ in range(2):  # the first launch goes another way than later ones
            memory = torch.randn(16 * 16 + 8)
            x = memory[4:][: 16 * 16].view(16, 16)
            y = memory[4 + distance :][: 16 * 16].view(16, 16)
            result, size = expected(x.clone()), (256, 256) if kernel is increment else (16,)
            kernel[(1,)](x, y, *size)
            assert torch.equal(y, result)


def test_neighbours_in_one_storage_do_not_overlap():
    x, y = torch.randn(2, 32)
    before = x.clone()
    first = increment[(1,)](x, y, 32, 32)
    assert increment[(1,)](x, y, 32, 32) is first and not first.metadata.arguments_overlap
    assert torch.equal(y, before + 1) and torch.equal(x, before)
    again = increment[(1,)](y, y[1:], 31, 32)
    assert again.metadata.arguments_overlap
    assert increment[(1,)](y, y[1:], 31, 32) is again
    assert increment[(1,)](x, y, 32, 32) is first


def numpy_slices(distance):
    memory = torch.randn(80).numpy()
    return [torch.from_numpy(memory[n : n + 32]) for n in (8, 8 + distance)]


def buffer_slices(distance):
    memory = bytearray(torch.randn(80).numpy().tobytes())
    return [torch.frombuffer(memory, dtype=torch.float32, count=32, offset=4 * n)
            for n in (8, 8 + distance)]  # fmt: skip


@pytest.mark.parametrize("distance", [1, -2, 0, 32])
@pytest.mark.parametrize("slices", [numpy_slices, buffer_slices])
@pytest.mark.parametrize("checked", [False, True], ids=["", "checked"])
def test_slices_of_memory_that_is_not_from_torch(slices, distance, checked):
    """Each is a storage of its own, so that only the addresses show that they overlap."""
    with triton_cpu.checked(checked):
        increment[(1,)](torch.zeros(32), torch.zeros(32), 32, 32)  # now launches are fast ones
        x, y = slices(distance)
        expected = x + 1
        compiled = increment[(1,)](x, y, 32, 32)
        assert torch.equal(y, expected)
        assert compiled.metadata.arguments_overlap == (distance in (1, -2))


@triton.jit
def double_of_table(table, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.load(table).to(tl.pointer_type(tl.float32))
    y = tl.load(table + 1).to(tl.pointer_type(tl.float32))
    tl.store(y + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)


@triton.jit
def double_into_table(x, table, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    y = tl.load(table + 1).to(tl.pointer_type(tl.float32))
    tl.store(y + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)


@triton.jit
def double_into_address(x, address, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    y = address.to(tl.int64).to(tl.pointer_type(tl.float32))
    tl.store(y + i, tl.load(x + i, mask=i < n) * 2, mask=i < n)


@pytest.mark.parametrize("distance", [1, -2, 0])
@pytest.mark.parametrize("kernel", [double_of_table, double_into_table, double_into_address],
                         ids=lambda kernel: kernel.__name__)  # fmt: skip
@pytest.mark.parametrize("checked", [False, True], ids=["", "checked"])
def test_pointers_that_are_no_arguments_may_overlap(kernel, distance, checked):
    memory = torch.randn(64)
    x, y = memory[8:40], memory[8 + distance :][:32]
    expected = 2 * x
    table = torch.tensor([x.data_ptr(), y.data_ptr()])
    args = {
        double_of_table: (table,),
        double_into_table: (x, table),
        double_into_address: (x, y.data_ptr()),
    }
    with triton_cpu.checked(checked):
        kernel[(1,)](*args[kernel], 32, BLOCK=32)
    assert torch.equal(y, expected)


def test_a_statement_that_loaded_pointers_do_not_overlap():
    x, y = torch.randn(2, 32)
    table = torch.tensor([x.data_ptr(), y.data_ptr()])
    careful = double_of_table[(1,)](table, 32, BLOCK=32)
    fused = double_of_table[(1,)](table, 32, BLOCK=32, loaded_pointers_overlap=False)
    assert torch.equal(y, 2 * x)
    assert "MT_SCRATCH(" in careful.asm["c"] and "MT_SCRATCH(" not in fused.asm["c"]
    expected = 2 * x
    table[1] = x.data_ptr()
    double_of_table[(1,)](table, 32, BLOCK=32, loaded_pointers_overlap=False)
    assert torch.equal(x, expected)


def test_descriptors_of_views_that_overlap():
    memory = torch.randn(16 * 16 + 4)
    x, y = memory[:256].view(16, 16), memory[4:].view(16, 16)
    expected = 2 * x
    described = [TensorDescriptor.from_tensor(matrix, [16, 16]) for matrix in (x, y)]
    double_described[(1,)](*described, N=16)
    assert torch.equal(y, expected)
