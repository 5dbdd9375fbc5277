"""Calls of kernels on CPU tensors in a few microseconds.

For every combination of argument types that a kernel has been called with, a straight-line Python
function is written: it binds the arguments, finds the variant by what decides it (dtypes,
constants, integers that are 1), and calls it. Whatever it cannot do goes to `binding.general_run`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable
from typing import Any

from triton import knobs
from triton.compiler import CompiledKernel
from triton.runtime.jit import JITFunction

from . import storages
from .binding import (
    bind,
    caches_of,
    described,
    flatten,
    general_run,
    is_descriptor,
    is_plain,
    overlap,
    slot_tensors,
    tensors,
)
from .checking import CheckedLibrary
from .launch import argument_error, grid_error, packer


def call_key(args: tuple, kwargs: dict) -> tuple:
    """What selects a launch function: the types of the arguments, and how they are passed."""
    return (*map(type, args), *kwargs, *map(type, kwargs.values()))


def constant_key(value: Any) -> Any:
    """A dictionary key for a compile-time constant: 1, 1.0 and True differ, and so do 0.0 and -0.0.

    Raises:
        TypeError: the constant cannot be hashed.
    """
    if isinstance(value, tuple):
        return (type(value), *map(constant_key, value))
    if isinstance(value, float):
        return repr(value)
    hash(value)
    return type(value), value


def _key_expression(param: Any, value: Any) -> str:
    """Python code for what, apart from its type, an argument contributes to its variant's key.

    Empty if it is nothing. It is evaluated with the parameter's name bound to the argument.

    Raises:
        TypeError: arguments of this kind are left to `general_run`.
    """
    name = param.name
    if param.is_constexpr:
        constant_key(value)
        return name if isinstance(value, (int, str)) else f"_mt_constant_key({name})"
    if hasattr(value, "data_ptr"):
        return f"{name}.dtype"
    if is_descriptor(value):
        return f"({name}.base.dtype, *{name}.block_shape, _mt_is_plain({name}))"
    if value is None or isinstance(value, (bool, float)):
        return ""
    if type(value) is int:
        # Triton makes a constant of an integer 1, and a type of an integer's magnitude.
        parts = [] if param.do_not_specialize else [f"{name} == 1"]
        if not param.annotation_type:
            parts.append(f"(-0x80000000 <= {name} < 0x80000000) + ({name} < 0x8000000000000000)")
        return ", ".join(parts)
    raise TypeError(f"no launch function for an argument of type {type(value).__name__}")


def _tensor(name: str, value: Any) -> str:
    """Python code for the tensor that an argument is or describes; empty if there is none."""
    if is_descriptor(value):
        return f"{name}.base"
    return name if hasattr(value, "data_ptr") else ""


def _elsewhere(name: str, value: Any) -> str:
    """Python code for whether a tensor is not in CPU memory.

    Raises:
        TypeError: tensors of this kind do not tell.
    """
    if hasattr(value, "is_cpu"):
        return f"not {name}.is_cpu"
    if hasattr(value, "device") and hasattr(value.device, "type"):
        return f"{name}.device.type != 'cpu'"
    raise TypeError(f"no launch function for an argument of type {type(value).__name__}")


# Names of ours start with an underscore and mt, so that no parameter of a kernel has the same.
LAUNCH_TEMPLATE = """
def _mt_launch(_mt_grid, {parameters}):
    if {elsewhere}:
        return None
    _mt_key = ({key})
    _mt_variant = _mt_variants.get(_mt_key)
    if _mt_variant is None:
        return _mt_add(_mt_variants, _mt_key, _mt_grid, {{{bound_args}}}, {{{options}}})
    if _mt_callable(_mt_grid):
        _mt_grid = _mt_grid({{{bound_args}}})
    _mt_compiled, _mt_run = _mt_variant
    try:
        _mt_size = _mt_len(_mt_grid)
        _mt_x = _mt_grid[0]
        _mt_y = _mt_grid[1] if _mt_size > 1 else 1
        _mt_z = 1
        if _mt_size > 2:
            _mt_x, _mt_y, _mt_z = _mt_grid
    except (TypeError, LookupError, ValueError):
        raise _mt_grid_error(_mt_grid) from None
    if _mt_run(_mt_x, _mt_y, _mt_z, {bound_names}):
        return _mt_run_overlapping(_mt_grid, {{{bound_args}}}, {{{options}}})
    return _mt_compiled
"""

RUN_TEMPLATE = """
def _mt_run(_mt_x, _mt_y, _mt_z, {parameters}):
    {addresses}
    if {overlap}:
        return True
    try:
        _mt_block = _mt_pack(_mt_x, _mt_y, _mt_z, {slots})
    except _mt_pack_error as _mt_caught:
        raise (
            _mt_grid_error((_mt_x, _mt_y, _mt_z)) or _mt_argument_error([{slots}]) or _mt_caught
        ) from None
    _mt_status = _mt_call(_mt_block)
    if _mt_status:
        _mt_finish(_mt_status, _mt_block)
"""


def _define(source: str, name: str, namespace: dict[str, Any]) -> Callable:
    # The source is made of the kernel's own parameter names, which are identifiers.
    exec(compile(source, f"<{name}>", "exec"), namespace)
    return namespace[name]


def make_launch(
    kernel: JITFunction, bound_args: dict[str, Any], options: dict, check: bool
) -> Callable:
    """Write the launch function for calls like this one.

    `launch(grid, *args, **options)` runs the kernel and returns it compiled, or returns None and
    does nothing if some tensor is not in CPU memory.

    Args:
        bound_args: one such call's argument for each parameter of the kernel.
        options: its further keyword arguments.
        check: whether it is for kernels with checks.

    Raises:
        TypeError: some argument or option is of a kind that only `general_run` handles.
    """
    namespace: dict[str, Any] = {
        "_mt_variants": {}, "_mt_add": functools.partial(add_variant, kernel, check),
        "_mt_run_overlapping": functools.partial(run_overlapping, kernel),
        "_mt_constant_key": constant_key, "_mt_callable": callable, "_mt_len": len,
        "_mt_grid_error": grid_error, "_mt_is_plain": is_plain,
    }  # fmt: skip
    hash(tuple(options.values()))  # they are part of the key; TypeError where they cannot be
    parameters = []
    for param in kernel.signature.parameters.values():
        if param.kind is not param.POSITIONAL_OR_KEYWORD:
            raise TypeError("no launch function for keyword-only and variadic parameters")
        namespace[f"_mt_default_{param.name}"] = param.default
        has_default = param.default is not param.empty
        parameters.append(f"{param.name}=_mt_default_{param.name}" if has_default else param.name)
    pointers = [
        (text, next(tensors((value,))))
        for name, value in bound_args.items()
        if (text := _tensor(name, value))
    ]
    expressions = (_key_expression(p, bound_args[p.name]) for p in kernel.params)
    source = LAUNCH_TEMPLATE.format(
        parameters=", ".join([*parameters, *("*" * bool(options)), *options]),
        elsewhere=" or ".join(_elsewhere(*pointer) for pointer in pointers) or "False",
        key="".join(f"{expression}, " for expression in [*expressions, *options] if expression),
        bound_args=", ".join(f"{name!r}: {name}" for name in bound_args),
        options=", ".join(f"{name!r}: {name}" for name in options),
        bound_names=", ".join(bound_args),
    )
    return _define(source, "_mt_launch", namespace)


def add_variant(kernel, check, variants, key, grid, bound_args, options) -> CompiledKernel:
    """Run the kernel in the general way, and remember its variant for the next time.

    Unless another thread has turned checking on or off meanwhile, and it is not the variant with,
    or without, checks that was asked for.
    """
    compiled = general_run(kernel, (), {**bound_args, **options}, grid, warmup=False)
    if compiled is not None and compiled.metadata.check == check:
        variants[key] = compiled, make_run(compiled, bound_args)
    return compiled


def run_overlapping(kernel, grid, bound_args, options) -> CompiledKernel:
    """Run the variant of a kernel whose arguments overlap."""
    options = {**options, "arguments_overlap": True}
    return run_on_cpu(kernel, (), {**bound_args, **options}, grid, warmup=False)


def make_run(compiled: CompiledKernel, bound_args: dict[str, Any]) -> Callable:
    """The function `run(grid_x, grid_y, grid_z, *args)` that calls one compiled variant.

    It returns True, and does nothing, where arguments overlap that the variant takes to be apart.
    """
    address = "_mt_noted_address({})"
    if not isinstance(compiled.module, CheckedLibrary):
        address = "{}.data_ptr()"
    starts: dict[str, str] = {}  # for each tensor's name, the variable for its address
    slots: list[str] = []
    types: list[str] = []
    names: list[str] = []  # for each slot, the argument that it is of
    owners: list[tuple[str, Any]] = []  # for each slot, the tensor whose address it is
    for name, ty in compiled.src.signature.items():
        if ty == "constexpr":
            continue
        value = bound_args[name]
        tensor = _tensor(name, value)
        if tensor:
            starts[tensor] = f"_mt_start_{len(starts)}"
        slots.append(starts.get(tensor, name))
        if is_descriptor(value):
            slots.append(f"*_mt_described({name})")
        types += [slot for slot, _ in flatten(ty, value)]
        names += [name] * (len(types) - len(names))
        owners += [(tensor, owner) for owner in slot_tensors(ty, value)]
    pairs = [(owners[a], owners[b]) for a, b in compiled.metadata.apart]
    sizes, overlapping = _overlap_test(pairs, starts)
    addresses = [f"{start} = {address.format(tensor)}" for tensor, start in starts.items()]
    library = compiled.module

    def wrong_argument(values: list[Any]) -> OverflowError | TypeError | None:
        return argument_error(library.name, zip(names, types, values, strict=True))

    namespace = {
        "_mt_call": library.call, "_mt_finish": library.finish,
        "_mt_pack_error": struct.error, "_mt_grid_error": grid_error,
        "_mt_noted_address": storages.noted_address, "_mt_overlap": overlap,
        "_mt_argument_error": wrong_argument,
        "_mt_described": described, "_mt_pack": packer(types),
    }  # fmt: skip
    source = RUN_TEMPLATE.format(
        parameters=", ".join(bound_args), slots=", ".join(slots),
        addresses="; ".join([*addresses, *sizes]) or "pass", overlap=overlapping,
    )  # fmt: skip
    return _define(source, "_mt_run", namespace)


def _overlap_test(
    pairs: Iterable[tuple[tuple[str, Any], tuple[str, Any]]], starts: dict[str, str]
) -> tuple[list[str], str]:
    """Python statements, and an expression that is true after them if a pair of tensors overlaps.

    What `overlap` says counts; it is asked only where the storage of the tensor that starts first
    could reach the other, which costs less to know.

    Args:
        pairs: for each tensor its name in the code, and the tensor; "" and None are no tensor.
        starts: for each name the variable for the tensor's address.
    """
    sizes: dict[str, str] = {}
    tests = []
    for (a, tensor), (b, other) in pairs:
        if tensor is None or other is None:
            continue
        test = f"_mt_overlap({a}, {b})"
        if hasattr(tensor, "untyped_storage") and hasattr(other, "untyped_storage"):
            for name in (a, b):
                sizes.setdefault(name, f"_mt_size_{len(sizes)}")
            x, y = starts[a], starts[b]
            near = f"{y} - {x} < {sizes[a]} if {x} < {y} else {x} - {y} < {sizes[b]}"
            test = f"({near}) and {x} != {y} and {test}"
        tests.append(test)
    statements = [f"{size} = {name}.untyped_storage().nbytes()" for name, size in sizes.items()]
    return statements, " or ".join(tests) or "False"


def run_on_cpu(kernel: JITFunction, args: tuple, kwargs: dict, grid: Any, warmup: bool) -> Any:
    """Run a kernel whose arguments are in CPU memory, and see to it that the next call is fast."""
    runtime = knobs.runtime
    observed = kernel.pre_run_hooks or runtime.debug or has_launch_hooks()
    if not warmup and not observed:
        caches = caches_of(kernel)
        launchers = caches.launchers
        key = call_key(args, kwargs)
        if key not in launchers:
            bound_args, _, options = bind(kernel, args, kwargs)
            try:
                launchers[key] = make_launch(kernel, bound_args, options, caches[3].check)
            except TypeError:
                launchers[key] = None
        launch = launchers[key]
        if launch is not None:
            compiled = launch(grid, *args, **kwargs)
            if compiled is not None:
                return compiled
    return general_run(kernel, args, kwargs, grid, warmup)


def has_launch_hooks() -> bool:
    """Whether somebody listens to kernel launches. An unused hook is an empty chain, or None."""
    runtime = knobs.runtime
    return bool(
        getattr(runtime.launch_enter_hook, "calls", runtime.launch_enter_hook)
        or getattr(runtime.launch_exit_hook, "calls", runtime.launch_exit_hook)
    )
