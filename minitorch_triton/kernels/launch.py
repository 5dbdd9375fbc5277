"""The one place where a Triton kernel is started.

Launchers call :func:`launch` with buffers: anything that has ``shape``, ``stride()``, ``dtype``,
``device`` and ``data_ptr()``. Behind it a kernel is *prepared* once for each combination of
argument types and constants, and started many times: ``prepared.start(prepared.pack(x, y, z,
*numbers))`` takes three numbers of programs and the run-time arguments that are not None, as
numbers (in the interpreter buffers); ``packers`` gives ``pack`` in two parts. While a
:class:`Recording` is open, every launch is noted, so that an op can be replayed later with other
pointers and without running its launcher again (see ``ops/dispatch.py``).
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any

import triton
import triton.language as tl
from triton import knobs

INTERPRETED = knobs.runtime.interpret
"""Whether kernels run in Triton's interpreter (``TRITON_INTERPRET=1``), a debugging tool."""


def jit(fn: Callable, *, loaded_pointers_overlap: bool = True) -> Any:
    """``triton.jit`` for the framework's kernels: one variant serves every size.

    Run-time numbers without an annotation become int64, and no value is specialised, because
    Triton would otherwise compile a variant for each of "is 1", "divisible by 16" and "int32".

    Args:
        loaded_pointers_overlap: whether pointers that the kernel loads may overlap in part, see
            docs/cpu.md.
    """
    numbers = []
    for name, parameter in inspect.signature(fn).parameters.items():
        if "constexpr" in str(parameter.annotation) or name.endswith("_ptr"):
            continue
        numbers.append(name)
        fn.__annotations__.setdefault(name, tl.int64)
    kernel = triton.jit(fn, do_not_specialize=numbers)
    kernel.loaded_pointers_overlap = loaded_pointers_overlap
    return kernel


def is_cpu(buffer: Any) -> bool:
    """Whether a buffer lies in host memory: block sizes differ from a GPU's."""
    return buffer.device.type == "cpu"


class Recording(threading.local):
    """The launches of the op that this thread is recording: ``(prepared, grid, arguments)``."""

    launches: list[tuple[Any, tuple, Sequence]] | None = None


recording = Recording()


class KernelOfSlots:
    """A prepared kernel that is started with its slots as they are."""

    def pack(self, *slots: Any) -> tuple:
        return slots

    def packers(self, count: int) -> tuple[Callable, Callable]:
        return self.pack, self.pack


class _GPUKernel(KernelOfSlots):
    """A compiled GPU kernel; started with raw pointers in place of tensors."""

    def __init__(self, kernel: Any, args: Sequence, constexprs: dict[str, Any]):
        self._compiled = kernel.warmup(*args, grid=(1,), **constexprs)
        self._absent = [position for position, arg in enumerate(args) if arg is None]
        names = [parameter.name for parameter in kernel.params]
        self._constants = [constexprs[name] for name in names[len(args) :]]

    def start(self, slots: tuple) -> None:
        values = list(slots[3:])
        for position in self._absent:
            values.insert(position, None)
        self._compiled[slots[:3]](*values, *self._constants)


class _InterpretedKernel(KernelOfSlots):
    """A kernel in Triton's interpreter, which works on torch tensors, not on raw pointers."""

    def __init__(self, kernel: Any, args: Sequence, constexprs: dict[str, Any]):
        names = [name for name in kernel.arg_names if name not in constexprs]
        self._names = [name for name, arg in zip(names, args, strict=False) if arg is not None]
        absent = {name: None for name, arg in zip(names, args, strict=False) if arg is None}
        self._kernel, self._constexprs = kernel, {**absent, **constexprs}

    def start(self, slots: tuple) -> None:
        named = {
            name: value.torch() if hasattr(value, "torch") else value
            for name, value in zip(self._names, slots[3:], strict=True)
        }
        self._kernel[slots[:3]](**named, **self._constexprs)


_prepared: dict[tuple, Any] = {}


def _type_key(arg: Any) -> Any:
    """What a compiled variant depends on of one argument."""
    if hasattr(arg, "data_ptr"):
        if is_cpu(arg):
            return arg.dtype
        return arg.dtype, arg.device, arg.data_ptr() % 16 == 0
    return type(arg)


def _prepare(kernel: Any, args: Sequence, constexprs: dict[str, Any]) -> Any:
    # The function: Triton works out its own hash of a kernel anew each time.
    key = (kernel.fn, *map(_type_key, args), *constexprs.values())
    prepared = _prepared.get(key)
    if prepared is None:
        if INTERPRETED:
            prepared = _InterpretedKernel(kernel, args, constexprs)
        elif is_cpu(next(arg for arg in args if hasattr(arg, "data_ptr"))):
            from minitorch_triton import cpu

            overlap = getattr(kernel, "loaded_pointers_overlap", True)
            prepared = cpu.prepare(kernel, args, constexprs, loaded_pointers_overlap=overlap)
        else:
            prepared = _GPUKernel(kernel, args, constexprs)
        _prepared[key] = prepared
    return prepared


def overlap_error() -> RuntimeError:
    """PyTorch's error for a tensor that overlaps one that is written to."""
    return RuntimeError(
        "unsupported operation: some elements of the input tensor and the written-to tensor "
        "refer to a single memory location. Please clone() the tensor before performing the "
        "operation."
    )


def variants() -> int:
    """How many kernel variants this process has prepared."""
    return len(_prepared)


def launch(kernel: Any, grid: tuple[int, ...], *args: Any, **constexprs: Any) -> None:
    """Launch a kernel on buffers and numbers; the constants go by keyword.

    Args:
        kernel: a function decorated with :func:`jit` (or ``triton.jit``).
        grid: up to three numbers of programs; an empty grid launches nothing.
        args: the run-time arguments in the kernel's order: buffers, None for an absent one,
            ints, floats.
        constexprs: every ``tl.constexpr`` parameter.
    """
    if 0 in grid:
        return
    prepared = _prepare(kernel, args, constexprs)
    grid = (*grid, 1, 1)[:3]
    present = [arg for arg in args if arg is not None]
    if recording.launches is not None:
        recording.launches.append((prepared, grid, present))
    prepared.start(prepared.pack(*grid, *(present if INTERPRETED else raw(present))))


def raw(args: Sequence) -> list:
    """The arguments as numbers: a buffer's address, ints and floats as they are."""
    return [arg.data_ptr() if hasattr(arg, "data_ptr") else arg for arg in args]
