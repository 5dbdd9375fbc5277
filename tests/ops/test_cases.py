"""Every case of the table against PyTorch: values and gradients, in all dtypes and layouts."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import pytest
import torch

import minitorch_triton as mt
from minitorch_triton import nn
from minitorch_triton.ops import promotion
from minitorch_triton.ops.dispatch import Op
from minitorch_triton.testing import CASES, LAYOUTS, Case, check_op
from minitorch_triton.testing.cases import INTEGERS, MATRIX
from minitorch_triton.testing.checks import error, tolerance

COMPARABLE = [case for case in CASES.values() if case.deterministic]
FLOATING = [case for case in COMPARABLE if case.kind != "creation"]
ELEMENTWISE = [case for case in COMPARABLE if case.kind == "elementwise"]
REPRESENTATIVES = ("add", "mul:broadcast", "exp", "where", "clamp")
"""All elementwise functions run in the same kernel, so in some respects a few stand for all: one
that saves nothing, its inputs, its output; three operands of two dtypes; numbers."""

SIZES = ((), (1,), (0, 3), (520, 7))
"""0-d, one element, none, and (stored densely or not) several programs with a ragged last one."""

VIEW_ONLY = ("view", "view_as")
"""Cases whose function by definition refuses some layouts."""

MEMORY_ONLY = ("as_strided",)
"""Cases whose function by definition ignores the layout: it sees memory."""


def stands_for_all(case: Case) -> bool:
    return case.kind != "elementwise" or case.name in REPRESENTATIVES


def by_name(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def check(case: Case, *args: Any, **options: Any) -> None:
    report = check_op(case, *args, **options)
    assert report.ok, str(report)


def public_operations() -> dict[int, list[str]]:
    """The names of every public function that is an operation, by identity.

    In-place forms are left out: the forms that return a new tensor have the cases.
    """
    homes = ("minitorch_triton.ops", "minitorch_triton.factories", "minitorch_triton.nn.functional")
    names: dict[int, list[str]] = {}
    for space in (mt, nn.functional, mt.Tensor):
        for name, value in vars(space).items():
            function = inspect.isfunction(value) and value.__module__.startswith(homes)
            public = not name.startswith("_") and not name.endswith("_")
            if public and (function or isinstance(value, Op)):
                names.setdefault(id(value), []).append(name)
    return names


NO_OPERATIONS = {
    "legacy_reduction",  # translates arguments
    "get_float32_matmul_precision",
    "set_float32_matmul_precision",
    "equal",  # answers with a Python bool, as does allclose
    "allclose",
    "is_contiguous",
    "initial_seed",
    "manual_seed",
    "get_rng_state",
    "set_rng_state",
}


def test_every_public_operation_has_a_case():
    covered = {case.op for case in CASES.values()} | NO_OPERATIONS
    typed_constructors = {name for name in vars(mt) if name.endswith("Tensor")}
    missing = [
        names
        for names in public_operations().values()
        if not covered & set(names) and not typed_constructors & set(names)
    ]
    assert not missing


def test_every_operation_of_the_table_is_described():
    described = {case.op for case in CASES.values() if case.summary}
    assert {case.op for case in CASES.values()} - described == {"getitem"} - described


DEGENERATE = {("batch_norm", "expanded")}
"""With one row repeated every channel is constant, and what is left of it, rounding, is multiplied
by 1 / sqrt(eps)."""


@by_name(COMPARABLE)
def test_float32_in_every_layout(case):
    special = case.name in VIEW_ONLY + MEMORY_ONLY
    for layout in ("contiguous",) if special else LAYOUTS:
        if (case.name, layout) not in DEGENERATE:
            check(case, torch.float32, layout)


@pytest.mark.parametrize("name", VIEW_ONLY)
@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_a_view_of_scattered_elements_is_refused(name, layout):
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        check_op(CASES[name], torch.float32, layout)


@by_name([case for case in ELEMENTWISE if all(g.shape == MATRIX for g in case.inputs)])
def test_float32_in_every_size(case):
    for shape in SIZES:
        for layout in ("contiguous", "sliced"):
            check(case.with_shape(shape), torch.float32, layout)


@by_name([case for case in FLOATING if torch.float64 in case.dtypes])
def test_float64(case):
    check(case, torch.float64)


@by_name([case for case in FLOATING if torch.bfloat16 in case.dtypes])
def test_bfloat16(case):
    check(case, torch.bfloat16)


@by_name([case for case in FLOATING if torch.float16 in case.dtypes and stands_for_all(case)])
def test_float16(case):
    check(case, torch.float16)


@by_name([case for case in FLOATING if case.differentiable and stands_for_all(case)])
def test_upstream_gradients_in_every_layout(case):
    check(case, torch.float32, cotangents=("constant", "transposed", "sliced", "expanded"))


@by_name(COMPARABLE)
def test_result_dtype_and_shape(case):
    tensors = case.sample(torch.float32)
    ours = case.call(mt, *[mt.from_torch(x) for x in tensors])
    theirs = case.call(torch, *tensors)
    many = isinstance(theirs, (tuple, list))
    for y, expected in zip(ours if many else [ours], theirs if many else [theirs], strict=True):
        assert (y.dtype, y.shape) == (expected.dtype, expected.shape)


# Special values

# PyTorch's mean beside a variance is inf or NaN, depending on where an infinite element lies.
DEPENDS_ON_PLACE = {"var_mean", "std_mean"}


@by_name(
    [
        case
        for case in FLOATING
        if any(given.dtype is None for given in case.inputs) and case.name not in DEPENDS_ON_PLACE
    ]
)
@pytest.mark.parametrize("special", [float("nan"), float("inf"), float("-inf")])
def test_special_values_go_through(case, special):
    tensors = case.sample(torch.float32)
    for given, x in zip(case.inputs, tensors, strict=True):
        if given.dtype is None:
            x.view(-1)[x.numel() // 2] = special
    try:
        expected = case.call(torch, *[x.double() if x.is_floating_point() else x for x in tensors])
    except RuntimeError as refused:
        pytest.skip(f"PyTorch refuses such input: {refused}")
    found = case.call(mt, *[mt.from_torch(x) for x in tensors])
    many = isinstance(expected, (tuple, list))
    for y, wanted in zip(found if many else [found], expected if many else [expected], strict=True):
        assert error(y.torch(), wanted) <= tolerance(torch.float32, case.terms, case.condition)


EXTREMES = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.5, 100.0, -100.0, 1e4, -1e4]
EXTREMES += [1e-40, 3e38, -3e38, float("inf"), float("-inf"), float("nan")]


# Of huge quotients PyTorch's vectorised fmod makes NaN; ours and C's is the exact remainder.
# On machines with AVX-512 its gelu overflows half way: gelu(3e38) is inf and gelu(inf) NaN.
LEFT_OUT = {op: {1e-40, 3e38, -3e38} for op in ("remainder", "fmod", "floor_divide")}
LEFT_OUT["gelu"] = {3e38, float("inf")}


@by_name([c for c in ELEMENTWISE if all(g.dtype is None and g.shape == MATRIX for g in c.inputs)])
def test_extremes_are_pytorchs(case):
    """Values and first derivatives of all combinations, in float32 on both sides."""
    values = [value for value in EXTREMES if value not in LEFT_OUT.get(case.op, ())]
    grid = list(itertools.product(values, repeat=len(case.inputs)))
    columns = [torch.tensor(column) for column in zip(*grid, strict=True)]
    ours = [mt.from_torch(x.clone()).requires_grad_(case.differentiable) for x in columns]
    theirs = [x.clone().requires_grad_(case.differentiable) for x in columns]
    y, expected = case.call(mt, *ours), case.call(torch, *theirs)
    same(y.detach().torch(), expected.detach(), columns)
    if not case.differentiable:
        return
    y.backward(mt.ones_like(y))
    expected.backward(torch.ones_like(expected))
    for x, reference in zip(ours, theirs, strict=True):
        same(x.grad.torch(), reference.grad, columns)


def test_gelu_of_huge_numbers():
    x = mt.tensor([3e38, -3e38], requires_grad=True)
    y = mt.nn.functional.gelu(x)
    y.sum().backward()
    assert y.tolist() == [x[0].item(), 0.0]
    assert x.grad.tolist() == [1.0, 0.0]
    assert mt.nn.functional.gelu(mt.tensor(float("inf"))).item() == float("inf")


def same(result: torch.Tensor, expected: torch.Tensor, columns: list) -> None:
    close = torch.isclose(result, expected, rtol=2e-6, atol=1e-37, equal_nan=True)
    places = (~close).nonzero().flatten().tolist()
    found = [
        f"at {tuple(x[i].item() for x in columns)}: {result[i]}, expected {expected[i]}"
        for i in places
    ]
    assert not found, "\n".join(found[:12])


# Dtypes

WHOLE_NUMBERS = ("add", "sub", "mul", "div", "neg", "abs", "pow:scalar", "sum:last", "amax", "max")
WHOLE_NUMBERS += ("floor_divide", "remainder", "clamp:min", "mean", "prod:dim", "cat", "relu")


def whole(case: Case, dtype: torch.dtype) -> list[torch.Tensor]:
    """Inputs from 1 to 5, the first one of both signs where the dtype has them."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randint(1, 6, given.shape, generator=generator) for given in case.inputs]
    if dtype.is_signed and tensors:
        tensors[0] *= torch.randint(0, 2, tensors[0].shape, generator=generator) * 2 - 1
    if dtype == torch.bool:
        tensors = [x > 3 for x in tensors]
    return [
        x.to(given.dtype if given.dtype == torch.bool else dtype)
        for given, x in zip(case.inputs, tensors, strict=True)
    ]


def compare_whole(case: Case, dtype: torch.dtype) -> None:
    tensors = whole(case, dtype)
    try:
        expected = case.call(torch, *tensors)
    except (RuntimeError, NotImplementedError) as refused:
        with pytest.raises(type(refused)):
            case.call(mt, *[mt.from_torch(x) for x in tensors])
        return
    found = case.call(mt, *[mt.from_torch(x) for x in tensors])
    many = isinstance(expected, (tuple, list))
    for y, wanted in zip(found if many else [found], expected if many else [expected], strict=True):
        assert y.dtype == wanted.dtype
        torch.testing.assert_close(y.torch(), wanted, rtol=1e-6, atol=0, equal_nan=True)


@by_name([case for case in FLOATING if case.kind in ("elementwise", "reduction", "copy")])
def test_int64(case):
    compare_whole(case, torch.int64)


@pytest.mark.parametrize("name", WHOLE_NUMBERS)
@pytest.mark.parametrize("dtype", INTEGERS[1:], ids=str)
def test_small_integers_and_bool(name, dtype):
    compare_whole(CASES[name], dtype)


ALL_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, *INTEGERS)


def test_promotion_of_every_combination():
    """Tensors with dimensions, 0-d tensors and Python numbers in both places."""
    numbers = (True, 2, 1.5)
    operands = [torch.ones(shape, dtype=dtype) for dtype in ALL_DTYPES for shape in ((2,), ())]
    for a, b in itertools.product(operands, [*operands, *numbers]):
        tensors = [x for x in (a, b) if isinstance(x, torch.Tensor)]
        kinds = [type(x) for x in (a, b) if not isinstance(x, torch.Tensor)]
        assert promotion.result_type(tensors, kinds) == torch.result_type(a, b), (a, b)


@pytest.mark.parametrize("left", ALL_DTYPES, ids=str)
def test_add_of_every_pair_of_dtypes(left):
    a = torch.tensor([1, 0, 1, 5]).to(left)
    for right in ALL_DTYPES:
        b = torch.tensor([1, 1, 0, 3]).to(right)
        y, expected = mt.from_torch(a) + mt.from_torch(b), a + b
        assert y.dtype == expected.dtype
        assert torch.equal(y.torch(), expected), (left, right)


@pytest.mark.parametrize("number", [True, 3, 0.1, -1.5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int32])
def test_python_numbers_keep_their_value(dtype, number):
    x = torch.tensor([1, 0, 2]).to(dtype)
    for ours, theirs in [
        (mt.from_torch(x) * number, x * number),
        (number - mt.from_torch(x), number - x if number is not True else 1 - x),
        (mt.from_torch(x) > number, x > number),
    ]:
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours.torch(), theirs)


# In place


def inplace_methods() -> list[str]:
    random = ("uniform_", "normal_", "random_", "bernoulli_")
    no_values = ("requires_grad_", "detach_", "share_memory_")
    without_gradient = ("resize_", "resize_as_", "set_")
    # PyTorch passes their gradient on, as if nothing had been written.
    logical = ("logical_not_", "logical_and_", "logical_or_", "logical_xor_")
    names = [name for name in dir(mt.Tensor) if name.endswith("_") and not name.startswith("_")]
    return [name for name in names if name not in random + no_values + without_gradient + logical]


ARITHMETIC = ("add_", "sub_", "mul_", "div_", "copy_", "fmod_", "remainder_")
COMPARISONS = ("eq_", "ne_", "lt_", "le_", "gt_", "ge_")
ARGUMENTS = dict.fromkeys(ARITHMETIC + COMPARISONS, (torch.linspace(0.5, 2, 7),))
ARGUMENTS |= dict.fromkeys(("transpose_", "swapaxes_", "swapdims_"), (0, 1))
ARGUMENTS |= {"unsqueeze_": (1,), "as_strided_": ((7, 5), (1, 7))}
ARGUMENTS |= {"pow_": (3,), "fill_": (2.5,), "clamp_": (0.3, 0.9)}
ARGUMENTS |= {"masked_fill_": (torch.arange(7) % 2 == 0, 0.5)}


@pytest.mark.parametrize("name", inplace_methods())
def test_in_place_methods(name):
    """Values, version and gradient of x.method_() on a tensor that is no leaf."""
    x = torch.linspace(0.2, 0.9, 35, dtype=torch.float64).view(5, 7)
    arguments = ARGUMENTS.get(name, ())
    theirs = x.clone().requires_grad_()
    expected = getattr(theirs * 1, name)(*arguments)
    expected.backward(torch.ones_like(expected))
    ours = mt.from_torch(x.clone()).requires_grad_()
    moved = ours * 1
    version = moved._version
    given = [mt.from_torch(a) if isinstance(a, torch.Tensor) else a for a in arguments]
    y = getattr(moved, name)(*given)
    assert y is moved
    assert moved._version > version
    assert error(y.detach().torch(), expected.detach()) <= tolerance(torch.float64)
    y.backward(mt.ones_like(y))
    assert error(ours.grad.torch(), theirs.grad) <= tolerance(torch.float64)


@pytest.mark.parametrize("p", [2, 3])
def test_a_norm_of_halves_does_not_overflow(p):
    x = torch.linspace(-200, 200, 600).half().requires_grad_()
    ours = mt.from_torch(x.detach().clone()).requires_grad_()
    expected = x.double().norm(p)
    y = ours.norm(p)
    assert y.dtype == torch.float16
    assert error(y.detach().torch(), expected.detach()) <= tolerance(torch.float16, 600)
    y.backward()
    expected.backward()
    assert error(ours.grad.torch(), x.grad) <= tolerance(torch.float16, 600)
