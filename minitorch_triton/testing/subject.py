"""What is checked: a function of torch's tensors or of ours, called in one way."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

import minitorch_triton as mt
from minitorch_triton.ops.dispatch import Op
from minitorch_triton.ops.pointwise import Elementwise
from minitorch_triton.testing.modules import ModuleCall

TORCH = "torch"
OURS = "minitorch_triton"
FRAMEWORKS = (TORCH, OURS)

_DEPTH = 3
"""How many functions deep a function's source is searched for the framework it uses."""


class Subject:
    """A differentiable function; its arguments and results are torch tensors for the caller.

    Args:
        fn: a function, a ``Function`` class of either framework, a module, or an op.
        framework: "torch" or "minitorch_triton", whose tensors it takes.
        device: where its tensors lie; the caller's are on the CPU.

    Attributes:
        drew: whether the last call of forward drew random numbers of PyTorch's.
    """

    drew = False

    def __init__(self, fn: Callable, framework: str, name: str | None = None, device: Any = "cpu"):
        self.fn = fn
        self.device = torch.device(device)
        self.framework = framework
        self.call: Callable = _function_class(fn).apply if _is_function_class(fn) else fn
        self.name = name or describe(fn)

    def leaf(self, x: torch.Tensor, requires_grad: bool) -> Any:
        """An argument on the memory of ``x``, which is on the device."""
        tensor = mt.from_torch(x) if self.framework == OURS else x.detach()
        return tensor.requires_grad_(requires_grad)

    def forward(self, args: Sequence[Any], **named: Any) -> list:
        """The tensors that the function returns, in the same random state every time."""
        torch.default_generator.manual_seed(0)  # torch.manual_seed takes milliseconds
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(0)
        mt.manual_seed(0)
        before = _random_state()
        args, named = self.by_position(args, named)
        results = self.call(*args, **named)
        self.drew = any(
            not torch.equal(a, b) for a, b in zip(before, _random_state(), strict=False)
        )
        results = results if isinstance(results, (tuple, list)) else (results,)
        kind = mt.Tensor if self.framework == OURS else torch.Tensor
        return [result for result in results if isinstance(result, kind)]

    def takes_names(self) -> bool:
        """Whether arguments can be given by name: to a function, or the ``forward`` of a class."""
        return hasattr(self.fn, "__code__") or _function_class(self.fn) is not None

    def by_position(self, args: Sequence[Any], named: dict[str, Any]) -> tuple[list, dict]:
        """Keyword arguments behind the others, for a ``Function`` class, which takes none."""
        owner = _function_class(self.fn)
        if owner is None or not named:
            return list(args), named
        left, placed = dict(named), list(args)
        for name, parameter in list(self.parameters().items())[len(args) :]:
            if not left:
                break
            placed.append(left.pop(name, parameter.default))
        return placed, left

    def _on(self, y: Any, g: torch.Tensor) -> Any:
        """An upstream gradient where an output is, as a tensor of the framework."""
        g = g.to(y.device)
        return self.leaf(g, False) if self.framework == OURS else g

    def backward(
        self,
        outputs: Sequence[Any],
        inputs: Sequence[Any],
        upstream: Sequence[torch.Tensor | None],
        **options: Any,
    ) -> list:
        """The gradients of the outputs that have one, as tensors of the framework, or None."""
        pairs = [
            (y, g if isinstance(g, mt.Tensor) else self._on(y, g))
            for y, g in zip(outputs, upstream, strict=True)
            if y.requires_grad and g is not None
        ]
        if not pairs:
            return [None] * len(inputs)
        autograd = mt.autograd if self.framework == OURS else torch.autograd
        return list(
            autograd.grad(
                [y for y, _ in pairs],
                inputs,
                [g for _, g in pairs],
                allow_unused=True,
                **options,
            )
        )

    def full_backward(self, outputs: Sequence[Any], upstream: Sequence[torch.Tensor]) -> None:
        """Run backward through the whole graph, to see whether it raises an error; keep it."""
        autograd = mt.autograd if self.framework == OURS else torch.autograd
        given = [self._on(y, g) for y, g in zip(outputs, upstream, strict=True)]
        autograd.backward(list(outputs), given, retain_graph=True)

    def values(self, x: Any) -> torch.Tensor:
        """A tensor of the framework as a torch tensor on the CPU, outside any graph."""
        x = x.detach()
        return (x.torch() if self.framework == OURS else x).cpu()

    def parameters(self) -> dict[str, inspect.Parameter]:
        """The names of the arguments, as far as they can be found out."""
        fn = self.fn
        if isinstance(fn, functools.partial):
            fn = fn.func
        owner = _function_class(fn)
        try:
            if isinstance(fn, ModuleCall):
                return fn.parameters()
            if owner is not None:
                found = list(inspect.signature(owner.forward).parameters.values())
                found = found[1:] if owner.setup_context in _NO_SETUP else found
            elif isinstance(fn, Elementwise):
                kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
                found = [
                    inspect.Parameter(name, kind, default=fn.defaults.get(name, _EMPTY))
                    for name in fn.parameters
                ]
            elif isinstance(fn, Op):
                found = list(inspect.signature(fn.forward).parameters.values())
            else:
                found = list(inspect.signature(fn).parameters.values())
        except (TypeError, ValueError):
            return {}
        return {parameter.name: parameter for parameter in found}

    def name_of(self, number: int) -> str:
        """An argument in words: ``input 0 (x)``."""
        names = list(self.parameters())
        return f"input {number} ({names[number]})" if number < len(names) else f"input {number}"


def _random_state() -> list[torch.Tensor]:
    """Of PyTorch's generators."""
    states = [torch.default_generator.get_state()]
    if torch.cuda.is_initialized():
        states += torch.cuda.get_rng_state_all()
    return states


_EMPTY = inspect.Parameter.empty

_NO_SETUP = (None, torch.autograd.Function.setup_context)


def _is_function_class(fn: Any) -> bool:
    return isinstance(fn, type) and issubclass(fn, (torch.autograd.Function, mt.autograd.Function))


def _function_class(fn: Any) -> Any:
    """The ``Function`` class behind a class or its ``apply``, else None."""
    owner = getattr(fn, "__self__", fn)
    return owner if _is_function_class(owner) else None


def describe(fn: Any) -> str:
    """A short name of a function."""
    if isinstance(fn, functools.partial):
        return describe(fn.func)
    owner = _function_class(fn)
    if owner is not None:
        return owner.__name__
    if isinstance(fn, Op):
        return fn.name
    return getattr(fn, "__name__", type(fn).__name__)


def framework_of(fn: Callable, inputs: Sequence[Any] | None = None) -> str | None:
    """Whose tensors a function takes, from what it is or what its source names.

    Returns:
        "torch", "minitorch_triton", or None if nothing tells.
    """
    for value in inputs or ():
        if isinstance(value, mt.Tensor):
            return OURS
    if isinstance(fn, functools.partial):
        return framework_of(fn.func, inputs)
    owner = _function_class(fn)
    if owner is not None:
        return OURS if issubclass(owner, mt.autograd.Function) else TORCH
    if isinstance(fn, (Op, mt.nn.Module)):
        return OURS
    if isinstance(fn, torch.nn.Module):
        return TORCH
    found = _frameworks_named(fn, _DEPTH, set())
    if len(found) == 1:
        return found.pop()
    if any(isinstance(value, torch.Tensor) for value in inputs or ()):
        return TORCH
    return None


def _frameworks_named(fn: Any, depth: int, seen: set[int]) -> set[str]:
    """The frameworks that a function's globals and closure lead to."""
    fn = inspect.unwrap(fn) if callable(fn) else fn
    fn = getattr(fn, "__func__", fn)
    module = (getattr(fn, "__module__", "") or "").partition(".")[0]
    if isinstance(fn, Op) or _is_function_class(fn) or isinstance(fn, mt.nn.Module):
        return {framework_of(fn)}
    if not hasattr(fn, "__code__"):
        return {TORCH} if module in ("torch", "_VariableFunctions") else set()
    if module in (TORCH, OURS):
        return {module}
    if depth == 0 or id(fn) in seen:
        return set()
    seen.add(id(fn))
    named = [fn.__globals__.get(name) for name in _names(fn.__code__)]
    for cell in fn.__closure__ or ():
        try:
            named.append(cell.cell_contents)
        except ValueError:  # not yet assigned
            continue
    found: set[str] = set()
    for value in named:
        if inspect.ismodule(value):
            # `torch` alone says little: ours take its dtypes. What is called on it would.
            if value.__name__.partition(".")[0] == OURS:
                found.add(OURS)
        elif callable(value):
            found |= _frameworks_named(value, depth - 1, seen)
    return found


def _names(code: Any) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if inspect.iscode(constant):
            names |= _names(constant)
    return names


def find_subject(
    fn: Callable,
    inputs: Sequence[torch.Tensor | Any],
    framework: str | None = None,
    name: str | None = None,
    device: Any = "cpu",
) -> Subject:
    """Decide by what ``fn`` is, then by its source, then by trying which tensors it takes.

    Args:
        inputs: sample arguments as torch tensors and constants.

    Raises:
        ValueError: ``framework`` is unknown.
        TypeError: fn can be called with neither framework's tensors; the message tells both errors.
    """
    if framework is not None and framework not in FRAMEWORKS:
        raise ValueError(f"framework is {framework!r}, expected one of {', '.join(FRAMEWORKS)}")
    framework = framework or framework_of(fn)
    if framework is not None:
        return Subject(fn, framework, name, device)
    errors = []
    for candidate in (TORCH, OURS):
        subject = Subject(fn, candidate, name, device)
        args = [
            subject.leaf(x.to(subject.device, copy=True), x.is_floating_point())
            if isinstance(x, torch.Tensor)
            else x
            for x in inputs
        ]
        try:
            if subject.forward(args):
                return subject
            errors.append(f"with tensors of {candidate}: it returned no tensor of {candidate}")
        except Exception as error:
            errors.append(f"with tensors of {candidate}: {type(error).__name__}: {error}")
    raise TypeError(f"{describe(fn)} could not be called\n  " + "\n  ".join(errors))
