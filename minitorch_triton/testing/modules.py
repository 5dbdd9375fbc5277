"""A module as a function of its inputs and of its parameters, so that both are checked."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch

import minitorch_triton as mt

MODULES = (torch.nn.Module, mt.nn.Module)


def parameters_of(fn: Any) -> dict[str, Any]:
    """The parameters of a module that require a gradient; none of anything else."""
    if not isinstance(fn, MODULES):
        return {}
    return {name: p for name, p in fn.named_parameters() if p.requires_grad}


def same_parameters(a: Any, b: Any) -> bool:
    """Whether two modules have parameters of the same names and shapes, in the same order."""
    one, other = ([(n, tuple(p.shape)) for n, p in parameters_of(m).items()] for m in (a, b))
    return one == other


def layers_of(fn: Any) -> int:
    """How many modules without further ones it has, each of which rounds; 1 for anything else."""
    module = fn.module if isinstance(fn, ModuleCall) else fn
    if not isinstance(module, MODULES):
        return 1
    return sum(not any(True for _ in part.children()) for part in module.modules())


class ModuleCall:
    """Calls a module with parameters of the caller's: ``ModuleCall(module, 1)(x, weight, bias)``.

    What else the module holds, buffers and frozen parameters, takes the dtype of the given
    parameters if it had that of the module's own, as after ``module.to(dtype)``. The module itself
    stays as it is.

    Args:
        module: of either framework.
        count: how many inputs it is called with; its parameters follow them.
    """

    def __init__(self, module: Any, count: int):
        self.module = module
        self.count = count
        self.names = list(parameters_of(module))
        self.__name__ = type(module).__name__

    def __call__(self, *args: Any) -> Any:
        inputs, given = args[: self.count], args[self.count :]
        if len(given) != len(self.names):
            raise TypeError(f"{len(self.names)} parameters have to follow {self.count} inputs")
        # A module's own parameters are contiguous, which its kernels may rely on.
        members = {
            name: p.contiguous() for name, p in zip(self.names, given, strict=True)
        } | self._others(given[0].dtype)
        if isinstance(self.module, torch.nn.Module):
            return torch.func.functional_call(self.module, members, tuple(inputs))
        with _exchanged(self.module, members):
            return self.module(*inputs)

    def _others(self, dtype: torch.dtype) -> dict[str, Any]:
        """Copies of what is not given, in the dtype that belongs to the given parameters."""
        own = {p.dtype for p in parameters_of(self.module).values()}
        members = [*self.module.named_parameters(), *self.module.named_buffers()]
        return {
            name: value.detach().to(dtype) if value.dtype in own else value.detach().clone()
            for name, value in members
            if name not in self.names
        }

    def parameters(self) -> dict[str, inspect.Parameter]:
        """The names of all arguments."""
        kind = inspect.Parameter.POSITIONAL_ONLY
        taken = list(inspect.signature(self.module.forward).parameters)[: self.count]
        taken += [f"argument {n}" for n in range(len(taken), self.count)]
        names = [*taken, *(f"parameter {name}" for name in self.names)]
        return {name: inspect.Parameter(f"p{n}", kind) for n, name in enumerate(names)}

    def in_script(self, arguments: str) -> str:
        """The call as an expression."""
        return f"minitorch_triton.testing.ModuleCall(module, {self.count})({arguments})"


@contextlib.contextmanager
def _exchanged(module: mt.nn.Module, members: dict[str, Any]) -> Iterator[None]:
    """Other tensors in the place of a module's parameters and buffers, shared ones everywhere."""
    own = dict([*module.named_parameters(), *module.named_buffers()])
    new = {id(own[name]): value for name, value in members.items()}
    tables = [t for part in module.modules() for t in (part._parameters, part._buffers)]
    before = [dict(table) for table in tables]
    try:
        for table in tables:
            table.update({name: new.get(id(value), value) for name, value in table.items()})
        yield
    finally:
        for table, content in zip(tables, before, strict=True):
            table.update(content)
