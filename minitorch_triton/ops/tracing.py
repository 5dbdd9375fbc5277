"""Derivatives of derivatives: a device function as a small program, differentiated in forward mode.

No second rule is written for an elementwise op. Its derivative's device function is run once with
``tl`` and its arguments replaced by expressions, which gives a program of a few primitives. The
derivative of that program is another one: every primitive hands the tangents of its arguments on
(dual numbers), and ``where`` selects between tangents. Reverse mode would multiply the gradient of
the branch not taken by zero, which is NaN where that branch overflows: for an elementwise function
forward mode is the whole Jacobian and has no such products.

A program runs one operation at a time on tensors, in the compute dtype, and is a node of the graph.
"""

from __future__ import annotations

import math
import operator
import types
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl

from minitorch_triton.autograd.modes import no_grad, state
from minitorch_triton.autograd.node import FREED, Node, SavedTensor
from minitorch_triton.kernels import elementwise as fn
from minitorch_triton.kernels import libdevice
from minitorch_triton.ops import dispatch


class _Dtype:
    """The dtype of an expression: some floating-point type."""

    @staticmethod
    def is_floating() -> bool:
        return True


class Expr:
    """A value in a program: a parameter, a Python number or a primitive of other values."""

    __slots__ = ("args", "op")

    dtype = _Dtype()

    def __init__(self, op: str, *args: Any):
        self.op = op
        self.args = args

    def to(self, dtype: Any) -> Expr:
        """A condition as 1 or 0; a float as it is, for all are of one dtype."""
        return _where(self, 1.0, 0.0) if self.op in _CONDITIONS else self

    def __bool__(self) -> bool:
        raise NotImplementedError(
            "a device function whose flow depends on its data cannot be differentiated again"
        )


def _lift(value: Any) -> Expr:
    return value if isinstance(value, Expr) else Expr("number", value)


def _primitive(op: str) -> Callable[..., Any]:
    return lambda *args: Expr(op, *map(_lift, args))


def _where(condition: Any, a: Any, b: Any) -> Any:
    same = isinstance(a, int | float) and isinstance(b, int | float) and a == b
    return _lift(a) if same else Expr("where", *map(_lift, (condition, a, b)))


_OPERATORS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "mod": operator.mod,
    "neg": operator.neg,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}
_CONDITIONS = ("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor")
_FUNCTIONS: tuple[str, ...] = (
    "exp",
    "log",
    "log2",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "erf",
    "abs",
    "floor",
    "ceil",
)
_FUNCTIONS += ("expm1", "log1p", "tanh", "pow", "sigmoid", "maximum", "minimum")

for _name in _OPERATORS:
    _make = _primitive(_name)
    setattr(Expr, f"__{_name}__", lambda *args, make=_make: make(*args))
    if _name not in ("neg", *_CONDITIONS[:6]):
        setattr(Expr, f"__r{_name}__", lambda self, other, make=_make: make(other, self))
Expr.__hash__ = object.__hash__  # type: ignore[method-assign]


class _Language:
    """``triton.language``, and libdevice, on expressions."""

    PropagateNan = tl.PropagateNan

    def __getattr__(self, name: str) -> Any:
        if name == "where":
            return _where
        if name in _FUNCTIONS:
            return _primitive(name)
        raise NotImplementedError(
            f"tl.{name} has no differentiable counterpart, so a derivative that uses it cannot be "
            "differentiated again"
        )

    @property
    def math(self) -> _Language:
        return self


_language = _Language()

_KNOWN = {
    id(getattr(libdevice, name)): _primitive(name) for name in ("expm1", "log1p", "pow", "tanh")
}
_KNOWN |= {
    # Their text has a worse derivative: it overflows, or is not zero at a division by zero.
    id(fn.sigmoid): _primitive("sigmoid"),
    id(fn.floor_divide_float): _primitive("floor_divide"),
    # Its own derivative would not depend on x, and the one after that have no graph.
    id(fn.square_grad): lambda g, x: g * (2 * _language.pow(x, 1)),
}


def _replace(value: Any) -> Any:
    """What a global of a device function becomes in its run on expressions."""
    if value is tl or value is tl.math:
        return _language
    if isinstance(value, tl.constexpr):
        return value.value
    if id(value) in _KNOWN:
        return _KNOWN[id(value)]
    if isinstance(value, triton.runtime.JITFunction) or hasattr(value, "fn"):
        return lambda *args: _on_expressions(value)(*args)
    return value


@cache
def _on_expressions(function: Any) -> Callable:
    """A ``@triton.jit`` function as a Python function of expressions."""
    original = function.fn
    names = {
        name: _replace(value)
        for name, value in original.__globals__.items()
        if name in original.__code__.co_names
    }
    names["__builtins__"] = original.__globals__["__builtins__"]
    return types.FunctionType(
        original.__code__, names, original.__name__, original.__defaults__, original.__closure__
    )


# Tangents: None stands for zero, so that no product with zero is ever formed.


def _partials(op: str, args: Sequence[Any], y: Any) -> Sequence[Any]:
    """The derivative of a primitive by each argument; None for zero."""
    a = args[0]
    b = args[1] if len(args) > 1 else a
    language = _language
    match op:
        case "add":
            return 1, 1
        case "sub":
            return 1, -1
        case "mul":
            return b, a
        case "truediv":
            return 1 / b, -y / b
        case "mod":
            return 1, (y - a) / b
        case "neg":
            return (-1,)
        case "exp":
            return (y,)
        case "expm1":
            return (y + 1,)
        case "log":
            return (1 / a,)
        case "log2":
            return (1 / (a * math.log(2)),)
        case "log1p":
            return (1 / (a + 1),)
        case "sqrt":
            return (0.5 / y,)
        case "rsqrt":
            return (-0.5 * y * y * y,)
        case "sin":
            return (language.cos(a),)
        case "cos":
            return (-language.sin(a),)
        case "tanh":
            return (1 - y * y,)
        case "sigmoid":
            return ((1 - y) * y,)
        case "erf":
            return (2 / math.sqrt(math.pi) * language.exp(-a * a),)
        case "abs":
            return ((a > 0).to(a.dtype) - (a < 0).to(a.dtype),)
        case "pow":
            return (
                _where(b == 0, 0.0, b * language.pow(a, b - 1)),
                _where((a == 0) & (b >= 0), 0.0, y * language.log(a)),
            )
        case "maximum":
            return (a >= b).to(a.dtype), (a < b).to(a.dtype)
        case "minimum":
            return (a <= b).to(a.dtype), (a > b).to(a.dtype)
    return (None,) * len(args)


def _product(a: Any, b: Any) -> Any:
    """``a * b``, without the multiplication by 1 or -1."""
    for one, other in ((a, b), (b, a)):
        if isinstance(one, int) and one in (1, -1):
            return other if one == 1 else -other
    return a * b


def _sum(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _tangent(y: Expr, parameter: Expr, tangents: dict[Expr, Any]) -> Any:
    """The derivative of an expression by a parameter; None for zero."""
    if y in tangents:
        return tangents[y]
    found: Any = None
    if y is parameter:
        found = 1
    elif y.op == "where":
        condition, a, b = y.args
        da, db = (_tangent(arg, parameter, tangents) for arg in (a, b))
        if da is not None or db is not None:
            found = _where(condition, 0.0 if da is None else da, 0.0 if db is None else db)
    elif y.op not in ("parameter", "number", *_CONDITIONS):
        inner = [_tangent(arg, parameter, tangents) for arg in y.args]
        if any(tangent is not None for tangent in inner):
            for partial, tangent in zip(_partials(y.op, y.args, y), inner, strict=True):
                if partial is not None and tangent is not None:
                    found = _sum(found, _product(partial, tangent))
    tangents[y] = found
    return found


class Program:
    """A function of tensors and numbers in primitives.

    Attributes:
        name: of the device function that it came from.
        parameters: its arguments as expressions.
        result: its value.
        used: for each parameter whether the result depends on it.
    """

    def __init__(self, name: str, parameters: Sequence[Expr], result: Any):
        self.name = name
        self.parameters = parameters
        self.result = _lift(result)
        reached = {self.result}
        stack = [self.result]
        while stack:
            y = stack.pop()
            inner = [arg for arg in y.args if isinstance(arg, Expr) and arg not in reached]
            reached.update(inner)
            stack += inner
        self.used = [parameter in reached for parameter in parameters]
        self._products: dict[int, Program] = {}

    def product(self, number: int) -> Program:
        """The gradient of one parameter, as a program of the upstream gradient and all of them."""
        if number not in self._products:
            upstream = Expr("parameter")
            tangent = _tangent(self.result, self.parameters[number], {})
            result = 0.0 if tangent is None else _product(upstream, tangent)
            self._products[number] = Program(self.name, (upstream, *self.parameters), result)
        return self._products[number]

    def run(self, args: Sequence[Any], compute: torch.dtype) -> Any:
        """The value for tensors (in the compute dtype) and Python numbers."""
        values: dict[Expr, Any] = dict(zip(self.parameters, args, strict=True))
        return _evaluate(self.result, values, compute)

    def __call__(self, args: Sequence[Any], compute: torch.dtype, shape: Sequence[int]) -> Any:
        """The value as a tensor of a shape, in the graph where an argument is."""
        for parameter, arg in zip(self.parameters, args, strict=True):
            if self.result is parameter:
                return arg
        tensors = [arg for arg in args if isinstance(arg, dispatch.Tensor)]
        with no_grad():
            y = self.run([_in_compute_dtype(arg, compute) for arg in args], compute)
            if not isinstance(y, dispatch.Tensor):
                y = tensors[0].new_full(shape, y, dtype=compute)
            elif y.shape != shape:
                y = y.expand(shape).clone()
        args = [arg if used else None for arg, used in zip(args, self.used, strict=True)]
        if state.grad_enabled and any(
            isinstance(arg, dispatch.Tensor) and arg.requires_grad for arg in args
        ):
            y.rebase(ProgramNode(self, args, compute, y.layout), 0)
        return y


def _in_compute_dtype(arg: Any, compute: torch.dtype) -> Any:
    if isinstance(arg, dispatch.Tensor) and arg.dtype != torch.bool:
        return arg.to(compute)
    return arg


def _evaluate(y: Expr, values: dict[Expr, Any], compute: torch.dtype) -> Any:
    if y in values:
        return values[y]
    if y.op == "number":
        return y.args[0]
    args = [_evaluate(arg, values, compute) for arg in y.args]
    if y.op == "where":
        value = _select(args[0], args[1], args[2], compute)
    elif y.op in _OPERATORS:
        value = _operate(y.op, args)
    else:
        value = _apply(y.op, args)
    values[y] = value
    return value


def _operate(op: str, args: list) -> Any:
    if op in ("and", "or", "xor"):
        # A condition on numbers is a Python bool.
        for one, other in (args, reversed(args)):
            if isinstance(one, bool) and isinstance(other, dispatch.Tensor):
                if op == "xor":
                    return ~other if one else other
                return other if one == (op == "and") else one
    if op == "truediv" and not any(isinstance(arg, dispatch.Tensor) for arg in args):
        return args[0] / args[1] if args[1] else math.copysign(math.inf, args[1]) * args[0]
    if op == "mod":
        from minitorch_triton.ops.pointwise import fmod

        return fmod(*args) if isinstance(args[0], dispatch.Tensor) else math.fmod(*args)
    function: Any = _OPERATORS[op]
    return function(*args)


def _apply(op: str, args: list) -> Any:
    from minitorch_triton.ops import pointwise

    if any(isinstance(arg, dispatch.Tensor) for arg in args):
        if op == "pow" and isinstance(args[1], int) and args[1] == 1:
            return args[0] * 1  # many times faster, and the same
        return getattr(pointwise, op)(*args)
    # A function of numbers: a few roundings of a float64 do no harm.
    return getattr(torch, op)(
        *[torch.tensor(float(arg), dtype=torch.float64) for arg in args]
    ).item()


def _select(condition: Any, a: Any, b: Any, compute: torch.dtype) -> Any:
    from minitorch_triton.ops.pointwise import where

    if isinstance(condition, bool):
        return a if condition else b
    if not isinstance(a, dispatch.Tensor) and not isinstance(b, dispatch.Tensor):
        a = condition.new_full((), a, dtype=compute)
    return where(condition, a, b)


class ProgramNode(Node):
    """A program in the graph."""

    __slots__ = ("args", "compute", "places", "program")

    def __init__(self, program: Program, args: Sequence[Any], compute: torch.dtype, form: Any):
        self.places = [n for n, arg in enumerate(args) if isinstance(arg, dispatch.Tensor)]
        edges = [args[n].grad_edge() if args[n].requires_grad else None for n in self.places]
        super().__init__(edges, (form,))
        self.program = program
        self.compute = compute
        self.args: list | None = [
            SavedTensor(arg) if isinstance(arg, dispatch.Tensor) else arg for arg in args
        ]

    def name(self) -> str:
        # What computes sigmoid_grad is SigmoidBackward; this is the node of that.
        name = self.program.name.replace("_grad", "_backward")
        return "".join(map(str.capitalize, name.split("_"))) + "Backward0"

    def apply(self, grads: list) -> Sequence:
        if self.args is None:
            raise RuntimeError(FREED)
        args = [arg.unpack(self) if isinstance(arg, SavedTensor) else arg for arg in self.args]
        shape = grads[0].shape
        results: list = []
        for place, edge in zip(self.places, self.next_edges, strict=True):
            if edge is None:
                results.append(None)
                continue
            program = self.program.product(place)
            results.append(program([grads[0], *args], self.compute, shape))
        return results

    def release(self) -> None:
        self.args = None


@cache
def trace(function: Any) -> Program:
    """A ``@triton.jit`` device function as a program.

    Raises:
        NotImplementedError: it uses something of ``tl`` that has no differentiable counterpart.
    """
    parameters = tuple(Expr("parameter") for _ in function.arg_names)
    return Program(function.__name__, parameters, _replace(function)(*parameters))
