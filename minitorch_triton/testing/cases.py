"""The table of cases: every public operation with sample inputs.

A case's ``call(t, *tensors)`` is one expression that runs on this package (``t`` is
``minitorch_triton``) and on PyTorch (``t`` is ``torch``), which makes PyTorch the oracle. The table
feeds the tests, the benchmarks and the documentation's table of operations; an operation without a
case fails a test.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import torch

MATRIX = (5, 7)
"""The usual shape: odd sizes, so that no block is full."""

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
FLOAT32 = (torch.float32,)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


@dataclass(frozen=True)
class Input:
    """How to draw one argument.

    Attributes:
        shape: of the tensor.
        low, high: the range of the values, in which the operation is defined and differentiable.
        avoid: values (kinks, poles) that the sample keeps a distance of 1/16 from.
        dtype: a fixed dtype; None for the one under test.
        tracked: whether the argument may require a gradient.
    """

    shape: tuple[int, ...] = MATRIX
    low: float = -2.0
    high: float = 2.0
    avoid: tuple[float, ...] = ()
    dtype: torch.dtype | None = None
    tracked: bool = True

    def sample(self, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
        """Random values, drawn in float64 and rounded to the dtype."""
        dtype = self.dtype or dtype
        x = torch.rand(self.shape, generator=generator, dtype=torch.float64)
        x = self.low + (self.high - self.low) * x
        for value in self.avoid:
            distance = x - value
            side = torch.where(distance < 0, -1.0, 1.0)
            x = torch.where(distance.abs() < 1 / 16, value + side / 16, x)
        if dtype == torch.bool:
            return x > (self.low + self.high) / 2
        if not dtype.is_floating_point:
            x = x.floor()
            return (x.abs() if dtype == torch.uint8 else x).to(dtype)
        return x.to(dtype)


@dataclass(frozen=True)
class Case:
    """One way to call one operation.

    Attributes:
        name: the public name, followed by ``:variant`` where an operation has several cases.
        kind: elementwise, loss, reduction, view, creation, copy, matmul, ...
        call: ``call(t, *tensors)`` with ``t`` either this package or ``torch``.
        inputs: how to draw the tensors.
        summary: one line for the table of operations.
        terms: how many terms are added up for one output or gradient element.
        condition: how much the operation amplifies a rounding error of its intermediate results.
        dtypes: of the inputs, for which it is checked.
        differentiable: whether it has a gradient.
        deterministic: whether the values can be compared with PyTorch's.
    """

    name: str
    kind: str
    call: Callable[..., Any]
    inputs: tuple[Input, ...] = (Input(),)
    summary: str = ""
    terms: int = 1
    condition: float = 1.0
    dtypes: tuple[torch.dtype, ...] = FLOATS
    differentiable: bool = True
    deterministic: bool = True

    @property
    def op(self) -> str:
        """The public name of the operation."""
        return self.name.split(":")[0]

    def sample(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[torch.Tensor]:
        """Inputs as torch tensors, the same for the same seed."""
        generator = torch.Generator().manual_seed(zlib.crc32(self.name.encode()) + seed)
        return [given.sample(dtype, generator) for given in self.inputs]

    def with_shape(self, shape: tuple[int, ...]) -> Case:
        """The same case with every input of another shape, for elementwise operations."""
        return replace(self, inputs=tuple(replace(given, shape=shape) for given in self.inputs))


def _function(path: str) -> Callable:
    """The operation at ``path`` of either package, as a function of the package and tensors."""
    find = attrgetter(path)
    return lambda t, *tensors: find(t)(*tensors)


def unary(path: str, summary: str, low: float = -2.0, high: float = 2.0, **options: Any) -> Case:
    """An elementwise function of one tensor; ``avoid`` as in :class:`Input`."""
    given = Input(low=low, high=high, avoid=options.pop("avoid", ()))
    name = path.split(".")[-1]
    return Case(name, "elementwise", _function(path), (given,), summary, **options)


def binary(path: str, summary: str, *inputs: Input, **options: Any) -> Case:
    """An elementwise function of two tensors."""
    name = path.split(".")[-1]
    return Case(
        name, "elementwise", _function(path), inputs or (Input(), Input()), summary, **options
    )


def logical(name: str, summary: str, *inputs: Input, **options: Any) -> Case:
    """An elementwise function without gradient; small whole numbers, so that some are equal."""
    given = inputs or (Input(dtype=torch.int64), Input(dtype=torch.int64))
    dtypes = options.pop("dtypes", FLOAT32)
    return Case(
        name,
        "elementwise",
        _function(name),
        given,
        summary,
        dtypes=dtypes,
        differentiable=False,
        **options,
    )


POSITIVE = Input(low=0.25, high=4.0)
APART_FROM_ZERO = Input(avoid=(0.0,))
DIVISOR = Input(low=0.5, high=2.0)
PROBABILITY = Input(low=0.05, high=0.95)
WHOLE = Input(low=-4, high=4, dtype=torch.int64)
MASK = Input(dtype=torch.bool)

_ELEMENTWISE = [
    binary("add", "a + b"),
    Case("add:alpha", "elementwise", lambda t, a, b: t.add(a, b, alpha=0.5), (Input(), Input())),
    Case("add:scalar", "elementwise", lambda t, x: 1.5 + x),
    Case(
        "add:broadcast", "elementwise", lambda t, a, b: a + b, (Input((5, 1)), Input((7,))), terms=7
    ),
    binary("sub", "a - b"),
    Case("sub:alpha", "elementwise", lambda t, a, b: t.sub(a, b, alpha=0.5), (Input(), Input())),
    Case("sub:scalar", "elementwise", lambda t, x: 1.5 - x),
    binary("mul", "a * b"),
    Case(
        "mul:broadcast",
        "elementwise",
        lambda t, a, b: a * b,
        (Input((3, 1, 7)), Input((5, 1))),
        terms=21,
    ),
    Case("mul:scalar", "elementwise", lambda t, x: x * 0.1),
    Case("mul:same", "elementwise", lambda t, x: x * x),
    binary("div", "a / b", Input(), DIVISOR),
    Case("div:scalar", "elementwise", lambda t, x: 2 / x, (DIVISOR,)),
    binary("floor_divide", "floor(a / b)", Input(low=-9, high=9), DIVISOR, differentiable=False),
    binary("remainder", "a - b * floor(a / b)", Input(low=-9, high=9), DIVISOR, condition=4),
    Case("remainder:scalar", "elementwise", lambda t, x: x % 0.75, condition=4),
    Case(
        "fmod",
        "elementwise",
        lambda t, x: t.fmod(x, 0.75),
        summary="a - b * trunc(a / b)",
        condition=4,
    ),
    unary("neg", "-x"),
    unary("abs", "|x|"),
    unary("sign", "-1, 0 or 1"),
    unary("reciprocal", "1 / x", 0.5, 4.0),
    unary("square", "x^2"),
    binary("pow", "a^b", POSITIVE, Input(), condition=4),
    Case("pow:scalar", "elementwise", lambda t, x: x**3, condition=2),
    Case("pow:square", "elementwise", lambda t, x: x**2),
    Case("pow:base", "elementwise", lambda t, x: 2.5**x, condition=2),
    unary("sqrt", "square root", 0.25, 4.0),
    unary("rsqrt", "1 / sqrt(x)", 0.25, 4.0, condition=2),
    unary("exp", "e^x"),
    unary("expm1", "e^x - 1, exact near 0"),
    unary("log", "natural logarithm", 0.25, 4.0),
    unary("log2", "logarithm to base 2", 0.25, 4.0),
    unary("log1p", "log(1 + x), exact near 0", -0.75, 4.0),
    unary("sin", "sine"),
    unary("cos", "cosine"),
    unary("erf", "error function"),
    unary("relu", "max(x, 0)"),
    unary("nn.functional.leaky_relu", "x if x > 0 else negative_slope * x"),
    Case(
        "threshold",
        "elementwise",
        lambda t, x: t.threshold(x, 0.25, -1.0),
        summary="x if x > threshold else value",
    ),
    unary("tanh", "hyperbolic tangent", condition=4),
    unary("sigmoid", "1 / (1 + e^-x)", condition=2),
    unary("nn.functional.logsigmoid", "log(sigmoid(x))", condition=2),
    unary("nn.functional.silu", "x * sigmoid(x)", condition=2),
    unary("nn.functional.gelu", "x * Phi(x)", condition=2),
    Case(
        "gelu:tanh",
        "elementwise",
        lambda t, x: t.nn.functional.gelu(x, approximate="tanh"),
        condition=2,
    ),
    unary("nn.functional.elu", "x if x > 0 else alpha * (e^x - 1)", condition=2),
    Case("elu:alpha", "elementwise", lambda t, x: t.nn.functional.elu(x, 0.7), condition=2),
    unary("nn.functional.softplus", "log(1 + e^(beta x)) / beta", condition=2),
    Case(
        "softplus:beta",
        "elementwise",
        lambda t, x: t.nn.functional.softplus(x, 3.0, 2.0),
        condition=2,
    ),
    unary("floor", "largest whole number <= x"),
    unary("ceil", "smallest whole number >= x"),
    unary("trunc", "towards 0"),
    unary("round", "to the nearest whole number, halves to even"),
    Case(
        "clamp", "elementwise", lambda t, x: t.clamp(x, -1.0, 0.5), summary="limit x to [min, max]"
    ),
    Case("clamp:min", "elementwise", lambda t, x: t.clamp(x, min=0.25)),
    Case("clamp:max", "elementwise", lambda t, x: x.clamp(max=0.25)),
    Case("clamp:tensor", "elementwise", lambda t, x, low: t.clamp(x, min=low), (Input(), Input())),
    Case(
        "clamp:tensors",
        "elementwise",
        lambda t, x, low, high: t.clamp(x, low, high),
        (Input(), Input(high=1.0), Input(low=-1.0)),
    ),
    binary("atan2", "the angle of (b, a)", Input(avoid=(0.0,)), Input(avoid=(0.0,)), condition=4),
    binary("maximum", "the larger of a and b"),
    binary("minimum", "the smaller of a and b"),
    binary("where", "a where the condition holds, else b", MASK, Input(), Input()),
    Case("where:scalar", "elementwise", lambda t, c, x: t.where(c, x, 0.5), (MASK, Input())),
    Case(
        "masked_fill",
        "elementwise",
        lambda t, x, m: x.masked_fill(m, 0.5),
        (Input(), MASK),
        summary="value where the mask holds, else x",
    ),
    logical("eq", "a == b"),
    logical("ne", "a != b"),
    logical("lt", "a < b"),
    logical("le", "a <= b"),
    logical("gt", "a > b"),
    logical("ge", "a >= b"),
    Case("gt:scalar", "elementwise", lambda t, x: x > 0.5, dtypes=FLOATS, differentiable=False),
    logical("isclose", "whether a and b agree within a tolerance"),
    logical("isin", "whether each element is among others", WHOLE, WHOLE),
    logical("logical_not", "x == 0", WHOLE),
    logical("logical_and", "both nonzero"),
    logical("logical_or", "either nonzero"),
    logical("logical_xor", "one of two nonzero"),
    logical("bitwise_not", "the complement of each bit", WHOLE),
    logical("bitwise_and", "and of each bit"),
    logical("bitwise_or", "or of each bit"),
    logical("bitwise_xor", "exclusive or of each bit"),
    logical("signbit", "whether the sign of x is a minus", Input(), dtypes=FLOATS),
    logical("isnan", "whether x is not a number", Input(), dtypes=FLOATS),
    logical("isinf", "whether x is infinite", Input(), dtypes=FLOATS),
    logical("isfinite", "whether x is a finite number", Input(), dtypes=FLOATS),
]


def losses(name: str, summary: str, *inputs: Input, **named: Any) -> list[Case]:
    """A loss of input and target under each reduction; ``named`` go to the function."""
    condition = named.pop("condition", 2.0)
    mean = named.pop("mean", "mean")

    def case(reduction: str) -> Case:
        def call(t: Any, *tensors: Any) -> Any:
            return getattr(t.nn.functional, name)(*tensors, reduction=reduction, **named)

        marks = "".join(f":{key}" for key in named)
        label = name + marks if reduction == mean else f"{name}{marks}:{reduction}"
        return Case(label, "loss", call, inputs, summary, terms=35, condition=condition)

    return [case(mean), case("none"), case("sum")]


_LOSSES = [
    *losses("mse_loss", "(x - target)^2", Input(), Input()),
    *losses("l1_loss", "|x - target|", Input(), Input()),
    *losses("smooth_l1_loss", "quadratic below beta, linear above", Input(), Input(), beta=0.5),
    *losses("huber_loss", "quadratic below delta, linear above", Input(), Input(), delta=0.5),
    *losses("binary_cross_entropy", "of probabilities", PROBABILITY, PROBABILITY),
    *losses("binary_cross_entropy_with_logits", "of logits", Input(), PROBABILITY),
    *losses("kl_div", "target * (log(target) - x)", Input(), PROBABILITY, mean="batchmean"),
    *losses("kl_div", "", Input(), Input(), mean="batchmean", log_target=True),
    Case(
        "binary_cross_entropy:weight",
        "loss",
        lambda t, x, y, w: t.nn.functional.binary_cross_entropy(x, y, w),
        (PROBABILITY, PROBABILITY, Input((7,), 0.5, 2.0, tracked=False)),
        terms=35,
        condition=4,
    ),
    Case(
        "binary_cross_entropy_with_logits:pos_weight",
        "loss",
        lambda t, x, y, w: t.nn.functional.binary_cross_entropy_with_logits(x, y, pos_weight=w),
        (Input(), PROBABILITY, Input((7,), 0.5, 2.0, tracked=False)),
        terms=35,
        condition=4,
    ),
]

CUBE = Input((3, 5, 7))


def reduction(label: str, call: Callable, summary: str = "", **options: Any) -> Case:
    """A reduction of a (3, 5, 7) tensor."""
    inputs = options.pop("inputs", (CUBE,))
    return Case(
        label, "reduction", call, inputs, summary, terms=options.pop("terms", 105), **options
    )


_REDUCTIONS = [
    reduction("sum", lambda t, x: t.sum(x), "the sum"),
    reduction("sum:last", lambda t, x: x.sum(-1)),
    reduction("sum:first", lambda t, x: x.sum(0, keepdim=True)),
    reduction("sum:middle", lambda t, x: x.sum(1)),
    reduction("sum:outer", lambda t, x: x.sum((0, 2))),
    reduction("sum:long", lambda t, x: x.sum(), inputs=(Input((70001,), 0.0, 1.0),), terms=70001),
    reduction(
        "trace", lambda t, x: t.trace(x), "the sum of a diagonal", inputs=(Input(),), terms=5
    ),
    reduction("mean", lambda t, x: t.mean(x), "the mean"),
    reduction("mean:dim", lambda t, x: x.mean((1, 2), keepdim=True)),
    reduction(
        "prod", lambda t, x: t.prod(x), "the product", inputs=(Input(avoid=(0.0,)),), condition=8
    ),
    reduction("prod:dim", lambda t, x: x.prod(1), inputs=(Input(avoid=(0.0,)),), condition=8),
    reduction(
        "amax", lambda t, x: t.amax(x, (0, 2)), "the largest element; equal ones share the gradient"
    ),
    reduction("amin", lambda t, x: t.amin(x, 1, keepdim=True), "the smallest element"),
    reduction("max", lambda t, x: t.max(x, 1), "the largest element and where it is"),
    reduction("max:all", lambda t, x: x.max()),
    reduction(
        "min", lambda t, x: t.min(x, -1, keepdim=True), "the smallest element and where it is"
    ),
    reduction("min:all", lambda t, x: x.min()),
    reduction(
        "argmax", lambda t, x: t.argmax(x, 1), "where the largest element is", differentiable=False
    ),
    reduction("argmax:all", lambda t, x: x.argmax(), differentiable=False),
    reduction(
        "argmin",
        lambda t, x: t.argmin(x, -1),
        "where the smallest element is",
        differentiable=False,
    ),
    reduction(
        "any",
        lambda t, x: t.any(x > 1.9, 2),
        "whether any element is nonzero",
        differentiable=False,
    ),
    reduction(
        "all",
        lambda t, x: t.all(x > -1.9, 2),
        "whether all elements are nonzero",
        differentiable=False,
    ),
    reduction("var", lambda t, x: t.var(x, 1), "the variance", condition=4),
    reduction("var:all", lambda t, x: x.var(correction=0), condition=4),
    reduction("std", lambda t, x: t.std(x, (0, 2)), "the standard deviation", condition=4),
    reduction(
        "var_mean", lambda t, x: t.var_mean(x, (0, 2)), "the variance and the mean", condition=4
    ),
    reduction(
        "std_mean",
        lambda t, x: t.std_mean(x, 1, keepdim=True),
        "the standard deviation and the mean",
        condition=4,
    ),
    reduction("norm", lambda t, x: t.norm(x), "the norm of order p", condition=2),
    reduction("norm:dim", lambda t, x: x.norm(1, dim=1), condition=2),
    reduction("norm:max", lambda t, x: x.norm(float("inf"), dim=2), condition=2),
    reduction("logsumexp", lambda t, x: t.logsumexp(x, 1), "log of the sum of e^x", condition=2),
    reduction("sum_to_size", lambda t, x: x.sum_to_size(5, 1), "the sum down to a shape"),
]


def view(label: str, call: Callable, summary: str = "", **options: Any) -> Case:
    """A view of a (3, 5, 7) tensor."""
    inputs = options.pop("inputs", (CUBE,))
    return Case(label, "view", call, inputs, summary, **options)


_VIEWS = [
    view("view", lambda t, x: x.view(5, 21), "another shape of the same memory"),
    view("view_as", lambda t, x: x.view_as(t.zeros(21, 5)), "the shape of another tensor"),
    view("reshape", lambda t, x: t.reshape(x, (-1, 15)), "another shape, copied where it must be"),
    view("flatten", lambda t, x: t.flatten(x, 1), "dimensions merged"),
    view("unflatten", lambda t, x: x.unflatten(0, (3, 1)), "a dimension split"),
    view(
        "squeeze",
        lambda t, x: t.squeeze(x, 1),
        "without dimensions of size 1",
        inputs=(Input((5, 1, 7)),),
    ),
    view("unsqueeze", lambda t, x: t.unsqueeze(x, 1), "with a dimension of size 1"),
    view("permute", lambda t, x: t.permute(x, (2, 0, 1)), "dimensions in another order"),
    view("transpose", lambda t, x: t.transpose(x, 0, 2), "two dimensions exchanged"),
    view("movedim", lambda t, x: t.movedim(x, 0, -1), "dimensions moved to other places"),
    view("t", lambda t, x: t.t(x), "a matrix transposed", inputs=(Input(),)),
    view("t:property", lambda t, x: x.T.mT, inputs=(Input(),)),
    view(
        "expand",
        lambda t, x: x.expand(3, 5, 7),
        "repeated without copying",
        inputs=(Input((5, 1)),),
        terms=21,
    ),
    view(
        "expand_as",
        lambda t, x: x.expand_as(t.zeros(5, 7)),
        "repeated to another's shape",
        inputs=(Input((7,)),),
        terms=5,
    ),
    view(
        "broadcast_to",
        lambda t, x: t.broadcast_to(x, (5, 7)),
        "repeated to a shape",
        inputs=(Input((1, 7)),),
        terms=5,
    ),
    view("select", lambda t, x: t.select(x, 1, 2), "one index of a dimension"),
    view("diagonal", lambda t, x: t.diagonal(x, 1, 0, 2), "a diagonal of two dimensions"),
    view("narrow", lambda t, x: t.narrow(x, 2, 1, 4), "a range of a dimension"),
    view("unbind", lambda t, x: t.unbind(x, 1), "the slices along a dimension"),
    view("split", lambda t, x: t.split(x, 2, 1), "pieces of a size"),
    view("split:sizes", lambda t, x: x.split([1, 4], 1)),
    view("split_with_sizes", lambda t, x: x.split_with_sizes([2, 3], 1), "pieces of these sizes"),
    view("unsafe_split", lambda t, x: t.unsafe_split(x, 3, 1), "pieces to be written to"),
    view("unsafe_chunk", lambda t, x: t.unsafe_chunk(x, 3, 2), "pieces to be written to"),
    view(  # what it gives depends on how its argument lies in memory
        "as_strided",
        lambda t, x: x.contiguous().as_strided((2, 3), (0, 1)),
        "any shape and strides",
    ),
    view("chunk", lambda t, x: t.chunk(x, 3, 2), "a number of pieces"),
    view("getitem", lambda t, x: x[1:, ::2, -1], "x[ints, slices, None, ...]"),
    view("getitem:none", lambda t, x: x[..., None, 2:6]),
]


def creation(label: str, call: Callable, summary: str = "", **options: Any) -> Case:
    """A tensor from nothing, or from another's shape."""
    return Case(
        label,
        "creation",
        call,
        options.pop("inputs", ()),
        summary,
        dtypes=FLOAT32,
        differentiable=False,
        **options,
    )


_CREATION = [
    creation("zeros", lambda t: t.zeros(5, 7), "filled with 0"),
    creation("ones", lambda t: t.ones(5, 7, dtype=t.int64), "filled with 1"),
    creation("full", lambda t: t.full((5, 7), 2.5), "filled with a value"),
    creation("empty", lambda t: t.empty(5, 7), "uninitialised", deterministic=False),
    creation(
        "empty_strided",
        lambda t: t.empty_strided((5, 7), (1, 5)),
        "uninitialised, with these strides",
        deterministic=False,
    ),
    creation("arange", lambda t: t.arange(3, 40, 3), "start, start + step, ..."),
    creation("arange:float", lambda t: t.arange(0.5, 2.0, 0.25)),
    creation("linspace", lambda t: t.linspace(-1, 2, 13), "evenly spaced"),
    creation("eye", lambda t: t.eye(5, 7), "ones on the diagonal"),
    creation("zeros_like", lambda t, x: t.zeros_like(x), "0 in the form of x", inputs=(Input(),)),
    creation("ones_like", lambda t, x: t.ones_like(x), "1 in the form of x", inputs=(Input(),)),
    creation(
        "full_like", lambda t, x: t.full_like(x, 2.5), "a value in the form of x", inputs=(Input(),)
    ),
    creation(
        "empty_like",
        lambda t, x: t.empty_like(x),
        "uninitialised, in the form of x",
        inputs=(Input(),),
        deterministic=False,
    ),
    Case("clone", "copy", lambda t, x: t.clone(x), summary="a copy"),
    Case(
        "contiguous",
        "copy",
        lambda t, x: x.T.contiguous(),
        summary="a row-major copy where x is not",
    ),
    Case(
        "to", "copy", lambda t, x: x.to(t.float64), summary="in another dtype or on another device"
    ),
    Case(
        "to:half", "copy", lambda t, x: x.to(t.bfloat16), dtypes=(torch.float32,), condition=2**15
    ),
    Case(
        "cat",
        "copy",
        lambda t, a, b: t.cat([a, b], 1),
        (Input((5, 3)), Input()),
        summary="one after the other",
    ),
    Case(
        "stack",
        "copy",
        lambda t, a, b: t.stack([a, b], 1),
        (Input(), Input()),
        summary="along a new dimension",
    ),
    Case("fill_", "in place", lambda t, x: (x * 2).fill_(2.5), summary="every element set"),
    Case("zero_", "in place", lambda t, x: (x * 2).zero_(), summary="every element 0"),
    Case(
        "copy_",
        "in place",
        lambda t, x, y: (x * 2).copy_(y),
        (Input(), Input((7,))),
        summary="overwritten",
        terms=5,
    ),
    Case(
        "setitem",
        "in place",
        lambda t, x, y: _assign(x * 2, y),
        (Input(), Input((2, 7))),
        summary="x[index] = value",
    ),
]


def _assign(x: Any, y: Any) -> Any:
    x[1:5:2] = y
    return x


LEFT = Input((5, 33))
RIGHT = Input((33, 7))


def product(label: str, call: Callable, *inputs: Input, summary: str = "", terms: int = 33) -> Case:
    """A matrix product over 33 terms."""
    return Case(label, "product", call, inputs, summary, terms=terms, condition=2)


_PRODUCTS = [
    product("matmul", lambda t, a, b: t.matmul(a, b), LEFT, RIGHT, summary="a @ b"),
    product("matmul:vectors", lambda t, a, b: a @ b, Input((33,)), Input((33,))),
    product("matmul:vector", lambda t, a, b: a @ b, Input((33,)), RIGHT),
    product("matmul:transposed", lambda t, a, b: a.t() @ b.t(), Input((33, 5)), Input((7, 33))),
    product(
        "matmul:batch",
        lambda t, a, b: a @ b,
        Input((2, 1, 5, 33)),
        Input((3, 33, 7)),
        terms=100,
    ),
    product("matmul:folded", lambda t, a, b: a @ b, Input((3, 5, 33)), RIGHT),
    product("mm", lambda t, a, b: t.mm(a, b), LEFT, RIGHT, summary="of two matrices"),
    product(
        "bmm",
        lambda t, a, b: t.bmm(a, b),
        Input((3, 5, 33)),
        Input((3, 33, 7)),
        summary="of stacks of matrices",
    ),
    product("mv", lambda t, a, b: t.mv(a, b), LEFT, Input((33,)), summary="of matrix and vector"),
    product(
        "dot", lambda t, a, b: t.dot(a, b), Input((33,)), Input((33,)), summary="of two vectors"
    ),
    product(
        "outer",
        lambda t, a, b: t.outer(a, b),
        Input((33,)),
        Input((7,)),
        summary="each element of one vector times each of another",
    ),
    product(
        "addmm",
        lambda t, c, a, b: t.addmm(c, a, b, beta=0.5, alpha=2.0),
        Input((7,)),
        LEFT,
        RIGHT,
        summary="beta c + alpha a @ b",
    ),
    product(
        "baddbmm",
        lambda t, c, a, b: t.baddbmm(c, a, b),
        Input((5, 7)),
        Input((3, 5, 33)),
        Input((3, 33, 7)),
        summary="the same of stacks",
    ),
    product(
        "linear",
        lambda t, x, w, b: t.nn.functional.linear(x, w, b),
        Input((3, 5, 33)),
        Input((7, 33)),
        Input((7,)),
        summary="x @ w.T + b in one kernel",
    ),
    product(
        "linear:no_bias",
        lambda t, x, w: t.nn.functional.linear(x, w),
        LEFT,
        Input((7, 33)),
    ),
]

LOGITS = Input((5, 7), -3.0, 3.0)
CLASSES = Input((5,), 0, 7, dtype=torch.int64)
WEIGHT = Input((7,), 0.5, 2.0, tracked=False)
SHARES = Input((5, 7), 0.0, 0.3)


def classification(label: str, call: Callable, *inputs: Input, summary: str = "") -> Case:
    """A loss of scores per class."""
    return Case(label, "loss", call, inputs, summary, terms=35, condition=2)


def _cross_entropy(**options: Any) -> Callable:
    return lambda t, x, y, *weight: t.nn.functional.cross_entropy(x, y, *weight, **options)


_CLASSIFICATION = [
    Case(
        "softmax",
        "softmax",
        lambda t, x: t.softmax(x, -1),
        (LOGITS,),
        "e^x / sum(e^x)",
        terms=7,
        condition=2,
    ),
    Case("softmax:first", "softmax", lambda t, x: x.softmax(0), (LOGITS,), terms=7, condition=2),
    Case("softmax:middle", "softmax", lambda t, x: x.softmax(1), (CUBE,), terms=7, condition=2),
    Case(
        "softmin",
        "softmax",
        lambda t, x: t.nn.functional.softmin(x, 1),
        (LOGITS,),
        "softmax of -x",
        terms=7,
        condition=2,
    ),
    Case(
        "log_softmax",
        "softmax",
        lambda t, x: t.log_softmax(x, 1),
        (LOGITS,),
        "log of softmax",
        terms=7,
        condition=2,
    ),
    classification(
        "cross_entropy",
        _cross_entropy(),
        LOGITS,
        CLASSES,
        summary="fused with log_softmax; class indices or probabilities",
    ),
    classification("cross_entropy:none", _cross_entropy(reduction="none"), LOGITS, CLASSES),
    classification("cross_entropy:sum", _cross_entropy(reduction="sum"), LOGITS, CLASSES),
    classification(
        "cross_entropy:weight", _cross_entropy(label_smoothing=0.1), LOGITS, CLASSES, WEIGHT
    ),
    classification("cross_entropy:ignore", _cross_entropy(ignore_index=3), LOGITS, CLASSES),
    classification("cross_entropy:probabilities", _cross_entropy(), LOGITS, SHARES),
    classification(
        "cross_entropy:images",
        _cross_entropy(),
        Input((3, 7, 5)),
        Input((3, 5), 0, 7, dtype=torch.int64),
    ),
    classification(
        "nll_loss",
        lambda t, x, y: t.nn.functional.nll_loss(x, y),
        LOGITS,
        CLASSES,
        summary="of log-probabilities",
    ),
    classification(
        "nll_loss:weight",
        lambda t, x, y, w: t.nn.functional.nll_loss(x, y, w, ignore_index=3),
        LOGITS,
        CLASSES,
        WEIGHT,
    ),
]

PER_FEATURE = Input((7,), 0.5, 2.0)
SHIFT = Input((7,))
RUNNING_MEAN = Input((7,), -0.5, 0.5, tracked=False)
RUNNING_VAR = Input((7,), 0.5, 2.0, tracked=False)


def normalization(label: str, call: Callable, *inputs: Input, summary: str = "") -> Case:
    """A normalization, whose gradient is a difference of means."""
    return Case(label, "normalization", call, inputs, summary, terms=15, condition=8)


_NORMALIZATION = [
    normalization(
        "layer_norm",
        lambda t, x, w, b: t.nn.functional.layer_norm(x, (7,), w, b),
        CUBE,
        PER_FEATURE,
        SHIFT,
        summary="of each row",
    ),
    normalization("layer_norm:plain", lambda t, x: t.nn.functional.layer_norm(x, (5, 7)), CUBE),
    Case(
        "layer_norm:rows",
        "normalization",
        lambda t, x, w, b: t.nn.functional.layer_norm(x, (7,), w, b),
        (Input((300, 7)), PER_FEATURE, SHIFT),
        terms=300,
        condition=8,
    ),
    normalization(
        "batch_norm",
        lambda t, x, w, b: t.nn.functional.batch_norm(x, None, None, w, b, training=True),
        Input((15, 7)),
        PER_FEATURE,
        SHIFT,
        summary="of each channel",
    ),
    normalization(
        "batch_norm:evaluation",
        lambda t, x, m, v, w, b: t.nn.functional.batch_norm(x, m, v, w, b),
        Input((15, 7)),
        RUNNING_MEAN,
        RUNNING_VAR,
        PER_FEATURE,
        SHIFT,
    ),
]

INDEX = Input((4,), 0, 5, dtype=torch.int64)
INDICES = Input((4, 7), 0, 5, dtype=torch.int64)


def indexing(label: str, call: Callable, *inputs: Input, summary: str = "", **options: Any) -> Case:
    """Elements picked by a tensor of indices or by a mask."""
    return Case(label, "indexing", call, inputs, summary, terms=28, **options)


_INDEXING = [
    indexing("getitem:tensor", lambda t, x, i: x[i], Input(), INDEX),
    indexing("getitem:pairs", lambda t, x, i: x[i, i], Input(), INDEX),
    indexing("getitem:mask", lambda t, x, m: x[m], Input(), MASK),
    indexing(
        "index_select",
        lambda t, x, i: t.index_select(x, 0, i),
        Input(),
        INDEX,
        summary="slices by number",
    ),
    indexing(
        "gather",
        lambda t, x, i: t.gather(x, 0, i),
        Input(),
        INDICES,
        summary="one element for each index",
    ),
    indexing(
        "scatter",
        lambda t, x, i, y: t.scatter(x, 1, i, y),
        Input(),
        Input((5, 1), 0, 7, dtype=torch.int64),
        Input((5, 1)),
        summary="elements written where the indices say",
    ),
    indexing(
        "scatter_add",
        lambda t, x, i, y: t.scatter_add(x, 0, i, y),
        Input(),
        INDICES,
        Input((4, 7)),
        summary="elements added where the indices say",
    ),
    indexing(
        "masked_select",
        lambda t, x, m: t.masked_select(x, m),
        Input(),
        MASK,
        summary="elements where a mask holds",
    ),
    indexing(
        "nonzero",
        lambda t, m: t.nonzero(m),
        MASK,
        summary="where the elements are not 0",
        differentiable=False,
        dtypes=FLOAT32,
    ),
    indexing(
        "embedding",
        lambda t, i, w: t.nn.functional.embedding(i, w),
        INDEX,
        Input(),
        summary="rows of a table",
    ),
    indexing(
        "one_hot",
        lambda t, i: t.nn.functional.one_hot(i, 5),
        INDEX,
        summary="1 at each index, else 0",
        differentiable=False,
        dtypes=FLOAT32,
    ),
]


def random(label: str, call: Callable, summary: str, *inputs: Input, **options: Any) -> Case:
    """Random numbers, which differ from PyTorch's."""
    return Case(
        label,
        "random",
        call,
        inputs,
        summary,
        dtypes=FLOAT32,
        deterministic=False,
        differentiable=options.get("differentiable", False),
    )


_RANDOM = [
    random("rand", lambda t: t.rand(5, 7), "uniform in [0, 1)"),
    random("randn", lambda t: t.randn(5, 7), "standard normal"),
    random("randint", lambda t: t.randint(3, 9, (5, 7)), "whole numbers"),
    random("randperm", lambda t: t.randperm(13), "a permutation"),
    random("normal", lambda t: t.normal(1.0, 2.0, (5, 7)), "normal of a mean and deviation"),
    random("bernoulli", lambda t, p: t.bernoulli(p), "1 with a probability", PROBABILITY),
    random("rand_like", lambda t, x: t.rand_like(x), "rand in the form of x", Input()),
    random("randn_like", lambda t, x: t.randn_like(x), "randn in the form of x", Input()),
    random("randint_like", lambda t, x: t.randint_like(x, 9), "randint in the form of x", Input()),
    random("uniform_", lambda t, x: (x * 2).uniform_(-1, 1), "overwritten, uniform", Input()),
    random("normal_", lambda t, x: (x * 2).normal_(1, 2), "overwritten, normal", Input()),
    random("random_", lambda t, x: (x * 2).random_(3, 9), "overwritten, whole numbers", Input()),
    random("bernoulli_", lambda t, x: (x * 2).bernoulli_(0.3), "overwritten, 0 or 1", Input()),
    random(
        "dropout",
        lambda t, x: t.nn.functional.dropout(x, 0.4),
        "elements zeroed with a probability, the others scaled",
        Input(),
        differentiable=True,
    ),
]


def _table(cases: Sequence[Case]) -> dict[str, Case]:
    table = {case.name: case for case in cases}
    assert len(table) == len(cases), "two cases have the same name"
    return table


CASES: dict[str, Case] = _table(
    [
        *_ELEMENTWISE,
        *_LOSSES,
        *_CLASSIFICATION,
        *_REDUCTIONS,
        *_PRODUCTS,
        *_NORMALIZATION,
        *_VIEWS,
        *_INDEXING,
        *_CREATION,
        *_RANDOM,
    ]
)
