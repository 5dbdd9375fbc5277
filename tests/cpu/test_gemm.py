"""The matrix product micro-kernels of mt_gemm.h, called directly, against torch in float64."""

import contextlib
import ctypes
import functools
import itertools

import pytest
import torch

from minitorch_triton.cpu import toolchain

TYPES = {  # name in mt_gemm.h: (C types of operand and accumulator, their torch dtypes)
    "f32": ("float", "float", torch.float32, torch.float32),
    "f64": ("double", "double", torch.float64, torch.float64),
    "bf16f32": ("uint16_t", "float", torch.bfloat16, torch.float32),
    "f16f32": ("uint16_t", "float", torch.float16, torch.float32),
    "i8i32": ("int8_t", "int32_t", torch.int8, torch.int32),
}
SOURCE = """
#define MT_GEMM_{define}
#include "mt_gemm_template.h"
#define EXPORT __attribute__((visibility("default")))
EXPORT int64_t scratch_size(int64_t M, int64_t K) {{
  return MT_GEMM_SCRATCH({accumulator}, M, K);
}}
EXPORT void product(
    int64_t M, int64_t N, int64_t K, const {operand} *A, int64_t a_rs, int64_t a_cs,
    const {operand} *B, int64_t b_rs, int64_t b_cs, {accumulator} *C, int64_t c_rs, int64_t c_cs,
    int add, {accumulator} *scratch) {{
  mt_gemm_{name}(M, N, K, A, a_rs, a_cs, B, b_rs, b_cs, C, c_rs, c_cs, add, scratch);
}}
EXPORT int64_t scratch_size_at(int64_t M, int64_t N, int64_t K) {{
  return MT_GEMM_AT_SCRATCH({accumulator}, M, N, K);
}}
EXPORT void product_at(
    int64_t M, int64_t N, int64_t K, const {operand} *A, int64_t a_cs, const int64_t *a_at,
    const {operand} *B, int64_t b_rs, const int64_t *b_at, {accumulator} *C, int64_t c_rs,
    int64_t c_cs, int add, {accumulator} *scratch) {{
  mt_gemm_{name}_at(M, N, K, A, 0, a_cs, a_at, B, b_rs, 0, b_at, C, c_rs, c_cs, add, scratch);
}}
"""
GUARD = 77


def source(name):
    operand, accumulator, *_ = TYPES[name]
    return SOURCE.format(define=name.upper(), name=name, operand=operand, accumulator=accumulator)


@functools.cache
def library(directory, name, flags=()):
    path = directory / f"{name}{''.join(flags)}.so"
    path.write_bytes(toolchain.compile_c(source(name), name=f"gemm_{name}", flags=flags))
    lib = ctypes.CDLL(str(path))
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    lib.scratch_size.restype = size
    lib.scratch_size.argtypes = [size] * 2
    matrix = [pointer, size, size]
    lib.product.restype = None
    lib.product.argtypes = [*[size] * 3, *matrix, *matrix, *matrix, ctypes.c_int, pointer]
    lib.scratch_size_at.restype = size
    lib.scratch_size_at.argtypes = [size] * 3
    lines = [pointer, size, pointer]
    lib.product_at.restype = None
    lib.product_at.argtypes = [*[size] * 3, *lines, *lines, *matrix, ctypes.c_int, pointer]
    return lib


@pytest.fixture(autouse=True)
def one_thread():
    """The references are too small to be worth waking threads for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("gemm")


@contextlib.contextmanager
def scratch_memory(size, dtype):
    """The address of scratch memory; a write beyond it fails."""
    memory = torch.full((size + 64,), GUARD, dtype=dtype)
    start = -memory.data_ptr() % 64 // memory.element_size()
    scratch = memory[start:]
    yield scratch.data_ptr()
    assert (scratch[size:] == GUARD).all(), "wrote beyond its scratch memory"


def product(lib, a, b, c, add=False):
    """Run the product on torch tensors."""
    (m, k), n = a.shape, b.shape[1]
    with scratch_memory(lib.scratch_size(m, k), c.dtype) as scratch:
        lib.product(m, n, k, a.data_ptr(), *a.stride(), b.data_ptr(), *b.stride(),
                    c.data_ptr(), *c.stride(), add, scratch)  # fmt: skip


def product_of_lines(lib, a, rows, b, columns, c, add):
    """The product of these rows of a and columns of b; -1 stands for zeros."""

    def places(numbers, stride):
        return torch.where(numbers < 0, torch.iinfo(torch.int64).min, numbers * stride)

    k, m, n = a.shape[1], len(rows), len(columns)
    a_at, b_at = places(rows, a.stride(0)), places(columns, b.stride(1))
    with scratch_memory(lib.scratch_size_at(m, n, k), c.dtype) as scratch:
        lib.product_at(m, n, k, a.data_ptr(), a.stride(1), a_at.data_ptr(), b.data_ptr(),
                       b.stride(0), b_at.data_ptr(), c.data_ptr(), *c.stride(), add,
                       scratch)  # fmt: skip


def random_matrix(rows, columns, dtype, layout):
    """Row-major, column-major, neither, with a row that is broadcast, or rows far apart."""
    shape = {
        "apart": (rows, columns + 1021),
        "rows": (rows, columns), "columns": (columns, rows), "strided": (2 * rows, 3 * columns),
        "broadcast": (1, columns),
    }[layout]  # fmt: skip
    if dtype.is_floating_point:
        x = torch.randn(shape, dtype=torch.float64).to(dtype)
    else:
        x = torch.randint(-128, 128, shape, dtype=dtype)
    if layout == "columns":
        return x.T
    if layout == "strided":
        return x[::2, ::3]
    if layout == "apart":
        return x[:, :columns]
    return x.expand(rows, columns)


def check(name, lib, m, n, k, a_layout, b_layout, padding):
    *_, dtype, accumulator = TYPES[name]
    a, b = random_matrix(m, k, dtype, a_layout), random_matrix(k, n, dtype, b_layout)
    expected = a.double() @ b.double()
    # A row and columns beyond C must stay as they are.
    c = torch.full((m + 1, n + padding), GUARD, dtype=accumulator)
    outside = torch.ones_like(c, dtype=torch.bool)
    outside[:m, :n] = False
    # Each of k products and sums rounds once: |error| <= k u sum |a b|, at first order.
    unit = torch.finfo(accumulator).eps / 2 if accumulator.is_floating_point else 0.0
    bound = (k + 1) * unit * (a.double().abs() @ b.double().abs() + GUARD)
    for add, transposed in ((True, False), (False, False), (True, True)):
        c.fill_(GUARD)
        to = c.T.contiguous().T if transposed else c
        product(lib, a, b, to[:m, :n], add)
        assert ((to[:m, :n].double() - expected - add * GUARD).abs() <= bound).all()
        assert (to[outside] == GUARD).all()


SHAPES = [(1, 1, 1), (6, 16, 8), (5, 10, 33), (64, 128, 784), (13, 17, 500), (128, 10, 256),
          (7, 1, 40), (1, 40, 40), (300, 33, 20), (2, 50, 3), (100, 72, 512), (11, 23, 17),
]  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_layouts(directory, name):
    lib = library(directory, name)
    layouts = ("rows", "columns", "strided", "broadcast")
    shapes = SHAPES if name == "f32" else SHAPES[1::3]
    for shape, a_layout, b_layout in itertools.product(shapes, layouts, layouts):
        check(name, lib, *shape, a_layout, b_layout, padding=sum(shape) % 3)


@pytest.mark.parametrize("name", TYPES)
def test_rows_too_far_apart_to_be_read_in_place(directory, name):
    lib = library(directory, name)
    for n in (64, 150):
        check(name, lib, 33, n, 240, "rows", "apart", padding=0)
        check(name, lib, 5, n, 240, "apart", "apart", padding=0)


@pytest.mark.parametrize("name", ["f32", "i8i32"])
def test_every_small_size(directory, name):
    lib = library(directory, name)
    for m, n, k in itertools.product(range(1, 20), (1, 8, 9, 16, 17, 35), (1, 9)):
        check(name, lib, m, n, k, "rows", "columns", padding=1)
        check(name, lib, m, n, k, "columns", "rows", padding=1)


@pytest.mark.parametrize("name", TYPES)
def test_without_avx(directory, name):
    if toolchain.target_flags() != ("-march=native",):
        pytest.skip("only x86 has more than one width of vectors here")
    lib = library(directory, name, ("-mno-avx",))
    for shape, a_layout, b_layout in itertools.product(
        SHAPES[1:6], ("rows", "columns"), ("rows", "columns")
    ):
        check(name, lib, *shape, a_layout, b_layout, padding=2)


def test_avx512_compiles():
    if toolchain.target_flags() != ("-march=native",):
        pytest.skip("AVX-512 is a part of x86")
    for name in TYPES:
        assert toolchain.compile_c(source(name), flags=("-march=skylake-avx512",))


@pytest.mark.parametrize("name", ["bf16f32", "f16f32"])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_every_half_is_converted_exactly(directory, name, layout):
    *_, dtype, _ = TYPES[name]
    every = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    lib = library(directory, name)
    one, c = torch.ones(1, 1, dtype=dtype), torch.empty(256, 256)
    for values in (every.view(256, 256), every.view(256, 256).T):
        # Each as an operand on the left and on the right of a product with the identity.
        a = values if layout == "rows" else values.T
        finite = torch.where(a.isfinite(), a, torch.zeros_like(a))
        for left, right in ((finite, torch.eye(256, dtype=dtype)),
                            (torch.eye(256, dtype=dtype), finite)):  # fmt: skip
            product(lib, left, right, c)
            assert torch.equal(c, finite.float())
        line = torch.empty(256, 1)
        for column in range(256):
            product(lib, a[:, column : column + 1], one, line)
            assert torch.equal(line.nan_to_num(), a[:, column : column + 1].float().nan_to_num())
            assert torch.equal(line.isnan(), a[:, column : column + 1].isnan())


def test_what_lies_beside_an_operand_does_not_matter(directory):
    lib = library(directory, "f32")
    for m, n, k in SHAPES:
        a = torch.full((m + 1, k + 1), float("nan"))
        b = torch.full((k + 1, n + 1), float("nan"))
        a[:m, :k], b[:k, :n] = torch.randn(m, k), torch.randn(k, n)
        for left, right in itertools.product(
            (a[:m, :k], a.T.contiguous().T[:m, :k]), (b[:k, :n], b.T.contiguous().T[:k, :n])
        ):
            c = torch.empty(m, n)
            product(lib, left, right, c)
            bound = (k + 1) * torch.finfo(torch.float32).eps * (left.abs() @ right.abs())
            assert ((c - left.double() @ right.double()).abs() <= bound).all()


@pytest.mark.parametrize("name", TYPES)
def test_rows_and_columns_anywhere(directory, name):
    *_, dtype, accumulator = TYPES[name]
    lib = library(directory, name)
    m, n, k = 37, 50, 300  # deeper than one copy
    shuffled = torch.randperm(m), torch.randint(-1, n, (n,))
    modulo = (torch.arange(m) + 5) % m, (torch.arange(n) + 9) % n
    even = torch.arange(m), torch.arange(n).flip(0)
    for layouts in (("rows", "rows"), ("columns", "columns")):
        a, b = random_matrix(m, k, dtype, layouts[0]), random_matrix(k, n, dtype, layouts[1])
        for (rows, columns), add in itertools.product((shuffled, modulo, even), (False, True)):
            x = torch.where((rows < 0)[:, None], 0, a[rows].double())
            y = torch.where(columns < 0, 0, b[:, columns].double())
            c = torch.full((m, n), GUARD, dtype=accumulator)
            product_of_lines(lib, a, rows, b, columns, c, add)
            unit = torch.finfo(accumulator).eps / 2 if accumulator.is_floating_point else 0.0
            bound = (k + 1) * unit * (x.abs() @ y.abs() + GUARD)
            assert ((c.double() - x @ y - add * GUARD).abs() <= bound).all()


def test_integers_wrap(directory):
    lib = library(directory, "i8i32")
    k = 2**17 + 1
    a, c = torch.full((1, k), -128, dtype=torch.int8), torch.empty(1, 1, dtype=torch.int32)
    product(lib, a, a.T, c)
    assert c.item() == (k * 128 * 128 + 2**31) % 2**32 - 2**31


@pytest.mark.parametrize("add", [False, True])
def test_empty(directory, add):
    lib = library(directory, "f32")
    c = torch.full((3, 5), 7.0)
    product(lib, torch.empty(3, 0), torch.empty(0, 5), c, add)
    assert (c == (7.0 if add else 0.0)).all()
    product(lib, torch.empty(0, 2), torch.empty(2, 5), c[:0], add)
    product(lib, torch.empty(3, 2), torch.empty(2, 0), c[:, :0], add)
