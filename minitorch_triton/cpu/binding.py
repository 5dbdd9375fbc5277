"""From a kernel and its arguments to a compiled variant, and from there to a call.

Triton compiles a kernel once for every combination of argument types and constants. `general_run`
finds the variant that a call needs in Triton's own way, hooks and all; `dispatch` does the same
for the usual call, faster; `prepare` does it once for many calls.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import shlex
import struct
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import triton
from triton import knobs
from triton._C.libtriton import native_specialize_impl
from triton.backends import backends
from triton.compiler import ASTSource, CompiledKernel
from triton.compiler import compile as triton_compile
from triton.compiler.errors import CompilationError
from triton.runtime.jit import JITFunction, compute_cache_key, create_function_from_signature

from . import cache, checking, storages
from .backend import TARGET, CPUBackend, announce
from .ir import Location, UnsupportedOperation
from .launch import Library, PreparedKernel, argument_error, grid_error, packer
from .toolchain import PACKAGE_DIR, CompileError, find_compiler

# The CPU's keys among a kernel's per-device caches, without and with checks; GPUs have numbers.
DEVICE = "cpu"
CHECKED_DEVICE = "cpu, checked"

# What reading a damaged cache entry, or a directory that cannot be written, may raise.
CACHE_ERRORS = (cache.BadEntryError, OSError, ValueError, LookupError, TypeError, StopIteration)


class Caches(tuple):
    """What Triton keeps for a kernel on one device, and next to it the launch functions.

    Clearing `kernel.device_caches`, as Triton's users do to force a compilation, clears both.
    """

    launchers: dict[tuple, Callable | None]


def caches_key(check: bool) -> str:
    """The key of the caches for kernels with checks, or without."""
    return CHECKED_DEVICE if check else DEVICE


def caches_of(kernel: JITFunction) -> Caches:
    """The kernel's caches for the CPU."""
    if DEVICE not in backends:
        raise RuntimeError(
            "call minitorch_triton.cpu.enable() first; with TRITON_INTERPRET=1 there is no native "
            "execution"
        )
    check = checking.active
    key = caches_key(check)
    caches = kernel.device_caches.get(key)
    if caches is None:
        backend = CPUBackend(TARGET)
        # Another thread may turn checking on or off before a kernel is compiled for these caches.
        backend.check = check
        binder = create_function_from_signature(kernel.signature, kernel.params, backend)
        caches = Caches(({}, {}, TARGET, backend, binder))
        caches.launchers = {}
        kernel.device_caches[key] = caches
        # What Triton's create_binder sets for JITFunction._do_compile.
        kernel.CompiledKernel, kernel.compile = CompiledKernel, triton_compile
        kernel.ASTSource = ASTSource
    return caches


# ---- Arguments -----------------------------------------------------------------------------------


def bind(kernel: JITFunction, args: tuple, kwargs: dict[str, Any]) -> tuple[dict, list, dict]:
    """Triton's binding of a call's arguments: those of each parameter by name, what decides the
    variant, and the options.

    Raises:
        TypeError: they do not fit the parameters, or one is of a kind that no kernel takes.
    """
    *_, binder = caches_of(kernel)
    try:
        return binder(*args, **kwargs)
    except (TypeError, LookupError, OverflowError) as error:
        # The function that Triton writes for a kernel has the same name for all.
        message = str(error).replace("dynamic_func()", f"{kernel.__name__}()")
        raise TypeError(_wrong_argument(kernel, args, kwargs) or message) from error


def _wrong_argument(kernel: JITFunction, args: tuple, kwargs: dict[str, Any]) -> str | None:
    """What is wrong with the first argument that Triton has no type for; None if that is none."""
    for param, value in zip(kernel.params, args, strict=False):
        kwargs = {param.name: value, **kwargs}
    for param in kernel.params:
        if param.is_constexpr or param.name not in kwargs:
            continue
        value = kwargs[param.name]
        try:
            native_specialize_impl(CPUBackend, value, param.is_const, False, False)
        except (TypeError, LookupError, OverflowError):
            return f"{kernel.__name__}() got {_what_is_wrong(value, param.name)}"
    return None


def _what_is_wrong(value: Any, name: str) -> str:
    kind = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
    if isinstance(value, int):
        return f"{value} for {name}, which does not fit into 64 bits"
    if hasattr(value, "data_ptr") and "complex" in str(value.dtype):
        return (
            f"a tensor of {value.dtype} for {name}: Triton has no complex numbers; "
            "torch.view_as_real shows their parts as a dimension of two"
        )
    if hasattr(value, "data_ptr"):
        return f"a tensor of {value.dtype} for {name}, which Triton has no type for"
    if hasattr(value, "__array_interface__") and value.ndim > 0:
        return f"a {kind} for {name}: pass torch.from_numpy of it, which shares its memory"
    if hasattr(value, "item"):
        return f"a {kind} for {name}: pass its item(), which is a number of Python's"
    return f"a {kind} for {name}: kernels take tensors, numbers, and tuples of them"


def leaves(args: Iterable[Any]) -> Iterator[Any]:
    """The arguments, with those in tuples in the place of the tuples."""
    for arg in args:
        if isinstance(arg, tuple):
            yield from leaves(arg)
        else:
            yield arg


def tensors(args: Iterable[Any]) -> Iterator[Any]:
    """The objects among the arguments that hold an address, in order."""
    for arg in leaves(args):
        if hasattr(arg, "data_ptr"):
            yield arg
        elif is_descriptor(arg):
            yield arg.base


def is_descriptor(value: Any) -> bool:
    """Whether an argument is a `TensorDescriptor` made on the host."""
    return hasattr(value, "base") and hasattr(value, "block_shape")


def device_kind(tensor: Any) -> str | None:
    """The kind of device a tensor is on, such as "cpu" or "cuda"; None if it does not say."""
    device = getattr(tensor, "device", None)
    if device is None:
        return None
    return getattr(device, "type", None) or str(device).split(":")[0]


def flatten(ty: Any, value: Any) -> Iterator[tuple[str, Any]]:
    """The (type, number) pairs that a parameter contributes to the kernel's argument slots.

    Args:
        ty: Triton's signature of the parameter: "*fp32", "i32", ..., "constexpr", or a tuple.
        value: the argument.
    """
    if ty == "constexpr":
        return
    if isinstance(ty, tuple):
        for inner_ty, inner_value in zip(ty, value, strict=True):
            yield from flatten(inner_ty, inner_value)
    elif ty.startswith("*"):
        yield ty, value if isinstance(value, int) else value.data_ptr()
    elif ty.startswith("tensordesc"):
        yield from _flatten_descriptor(value)
    else:
        yield ty, value


def slot_tensors(ty: Any, value: Any) -> Iterator[Any]:
    """For each slot that `flatten` gives, the tensor whose address it is, or None."""
    if isinstance(ty, tuple):
        for inner_ty, inner_value in zip(ty, value, strict=True):
            yield from slot_tensors(inner_ty, inner_value)
        return
    for number, _ in enumerate(flatten(ty, value)):
        yield next(tensors((value,)), None) if number == 0 else None


def overlap(a: Any, b: Any) -> bool:
    """Whether two tensors that start at different addresses lie in the same memory in part. Of
    objects that do not tell their shape that is not known, and taken not to be so."""
    if not hasattr(a, "is_contiguous") or not hasattr(b, "is_contiguous"):
        return False
    start, other = a.data_ptr(), b.data_ptr()
    if start == other:
        return False
    return other < start + _extent(a) if start < other else start < other + _extent(b)


def _extent(tensor: Any) -> int:
    """The number of bytes from a tensor's first element to the end of its last."""
    if tensor.is_contiguous():
        return tensor.nbytes
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return 0 if 0 in tensor.shape else (last + 1) * tensor.element_size()


def arguments_overlap(compiled: CompiledKernel, values: Iterable[Any]) -> bool:
    """Whether arguments overlap that the variant takes to be the same tensor or apart."""
    pairs = compiled.metadata.apart
    if not pairs:
        return False
    signature = compiled.src.signature.values()
    slots = [s for pair in zip(signature, values, strict=True) for s in slot_tensors(*pair)]
    return any(
        slots[a] is not None and slots[b] is not None and overlap(slots[a], slots[b])
        for a, b in pairs
    )


def _flatten_descriptor(descriptor: Any) -> Iterator[tuple[str, Any]]:
    """A descriptor as the kernel gets it: its address, what Triton's pass makes of the rest, and
    its sizes and strides once more."""
    rank = len(descriptor.shape)
    types = ["i64"] * (2 * rank) + ["i1"] * len(flags(descriptor)) + ["i32"] * rank + ["i64"] * rank
    yield "*i8", descriptor.base.data_ptr()
    yield from zip(types, described(descriptor), strict=True)


def described(descriptor: Any) -> tuple:
    """A descriptor's numbers in the kernel's argument slots, which follow its address."""
    sizes_and_strides = (*descriptor.shape, *descriptor.strides)
    return (*sizes_and_strides, *flags(descriptor), *sizes_and_strides)


def flags(descriptor: Any) -> tuple[bool, ...]:
    """Whether a descriptor pads with NaN, and whether it rounds what it loads to TF32."""
    # Triton 3.6 has no such field, and then no such parameter of the kernel.
    rounds = getattr(descriptor, "round_f32_to_tf32", None)
    pads_with_nan = descriptor.padding == "nan"
    return (pads_with_nan,) if rounds is None else (pads_with_nan, rounds)


def is_plain(descriptor: Any) -> bool:
    """Whether a descriptor loads elements as they are, from rows without gaps, and zeros from
    outside its tensor."""
    return not any(flags(descriptor)) and descriptor.strides[-1] == 1


class Launcher:
    """Calls a library in the way that Triton's `CompiledKernel` calls its launcher."""

    def __init__(self, library: Library, signature: dict[Any, Any]):
        self.library = library
        self.signature = signature

    def __call__(self, grid_x, grid_y, grid_z, stream, function, kernel_metadata, launch_metadata,
                 enter_hook, exit_hook, *args) -> None:  # fmt: skip
        slots = [
            (name, *slot)
            for (name, ty), arg in zip(self.signature.items(), args, strict=False)
            for slot in flatten(ty, arg)
        ]
        pack = packer([ty for _, ty, _ in slots])
        if checking.active:
            storages.note(tensors(args))
        if enter_hook is not None:
            enter_hook(launch_metadata)
        try:
            block = pack(grid_x, grid_y, grid_z, *(value for *_, value in slots))
        except struct.error as error:
            raise argument_error(self.library.name, slots) or error from None
        if status := self.library.call(block):
            self.library.finish(status, block)
        if exit_hook is not None:
            exit_hook(launch_metadata)


# ---- Compiling a variant -------------------------------------------------------------------------


def load(path: str, key: str, source: Any, metadata: Any) -> Launcher:
    """Load the machine code of a kernel from Triton's cache.

    Args:
        key: Triton's key of the kernel.
        source: what Triton compiled.
        metadata: what Triton knows of the result.

    Raises:
        cache.BadEntryError: it is damaged, of another kernel, or not to be trusted.
    """
    cache.check(path, key)
    if metadata.hash != key:
        raise cache.BadEntryError(f"what is known of {path} belongs to another kernel")
    try:
        library = checking.open_library(path, metadata.name)
    except (OSError, AttributeError) as error:
        raise cache.BadEntryError(str(error)) from error
    library.for_overlaps = functools.partial(compile_for_overlaps, source, metadata)
    return Launcher(library, source.signature)


def attach(compiled: CompiledKernel) -> None:
    """Load a compiled kernel and fill in what Triton fills in when a GPU loads one."""
    path = next(p for name, p in compiled.metadata_group.items() if name.endswith(".so"))
    files, key = compiled.metadata_group, compiled.hash
    knobs.runtime.kernel_load_start_hook(None, None, compiled.name, files, key)
    launcher = load(path, key, compiled.src, compiled.metadata)
    compiled.module = launcher.library
    compiled.function = launcher.library.address
    # Nominal: host code written for a GPU divides by it to work out occupancy.
    compiled.n_regs, compiled.n_spills, compiled.n_max_threads = 16, 0, 1 << 30
    compiled._run = launcher
    library = launcher.library
    knobs.runtime.kernel_load_end_hook(library, library.address, compiled.name, files, key)


def compile_variant(kernel, key, signature, constexprs, options, attrs, warmup) -> Any:
    """Compile, or find in Triton's disk cache, one variant of a kernel, and load it."""
    announce("kernel", (kernel, signature, constexprs))
    device = caches_key(options.check)
    try:
        return compile_and_load(
            lambda: kernel._do_compile(key, signature, device, constexprs, options, attrs, warmup)
        )
    except CompilationError as error:
        _refuse_recursion(kernel, error)
        raise


def compile_for_overlaps(source: Any, metadata: Any) -> Library:
    """The version of a compiled kernel for arguments that overlap, or are the same tensor."""
    options = {**metadata._asdict(), "arguments_overlap": True}
    return compile_and_load(lambda: triton_compile(source, TARGET, options)).module


def compile_and_load(triton_compiles: Callable[[], Any]) -> Any:
    """Have Triton compile a kernel, or find it in its cache on disk, and load it.

    A damaged cache entry is compiled again and replaced; where the cache cannot be written, or
    other users could write it, the kernel is compiled in a temporary directory.
    """

    def attempt() -> Any:
        try:
            compiled = triton_compiles()
        except CACHE_ERRORS as error:
            _let_go_of_unfinished_kernels(error)
            raise
        if isinstance(compiled, CompiledKernel):
            attach(compiled)
        return compiled

    reason: Exception
    try:
        return attempt()
    except cache.UnusableDirectoryError as error:
        reason = error
    except CACHE_ERRORS:
        try:
            with cache.recompiling():
                return attempt()
        except CACHE_ERRORS as error:
            reason = error
    with cache.private_directory():
        try:
            compiled = attempt()
        except cache.UnusableDirectoryError:
            raise
        except cache.BadEntryError as error:
            raise CompileError(
                f"what `{shlex.join(find_compiler())}` compiles cannot be loaded: {error}"
            ) from error
    warnings.warn(
        f"Triton's cache is of no use, so every process compiles its kernels again: {reason}",
        RuntimeWarning, stacklevel=_level_of_caller(),
    )  # fmt: skip
    return compiled


def _level_of_caller() -> int:
    """The `stacklevel` of a warning for the line of the user's that had a kernel launched: the
    innermost outside of this package, Triton, and the functions that `dispatch` writes."""
    own = f"{PACKAGE_DIR.parent}{os.sep}", f"{Path(triton.__file__).parent}{os.sep}", "<_mt_"
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own):
        level, frame = level + 1, frame.f_back
    return level


def _refuse_recursion(kernel: JITFunction, error: CompilationError) -> None:
    """Say so where Triton's front end stumbles over a function that calls itself.

    It looks up what the function returns, in a table that knows only complete functions; or, where
    a constant argument makes each call another variant, it compiles on until Python's stack ends.
    """
    innermost: Any = error
    while isinstance(innermost.__cause__, CompilationError):
        innermost = innermost.__cause__
    reason = innermost.error_message or repr(innermost.__cause__)
    if (missing := re.match(r"KeyError\('(?:.*\.)?(\w+?)__", reason)) is not None:
        name = missing[1]
    elif reason.startswith("RecursionError") and innermost.src:
        name = innermost.src.partition("def ")[2].partition("(")[0]
    else:
        return
    function = kernel.fn.__globals__.get(name)
    location = None
    if isinstance(function, JITFunction):
        location = Location(function.fn.__code__.co_filename, function.starting_line_number)
    raise UnsupportedOperation(
        f"{name} calls itself, directly or through another function", location
    ) from error


def _let_go_of_unfinished_kernels(error: BaseException) -> None:
    """Give a kernel whose constructor failed the attribute that `CompiledKernel.__del__` reads.

    Without it Triton 3.9 raises again when Python collects the object, at any later moment.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        unfinished = frame.f_locals.get("self")
        if isinstance(unfinished, CompiledKernel):
            unfinished.module = None


def check_devices(kernel: JITFunction, bound_args: dict[str, Any]) -> None:
    """Refuse to run a kernel on the CPU with tensors elsewhere: it would read wild addresses."""
    for name, value in bound_args.items():
        for tensor in tensors((value,)):
            if device_kind(tensor) not in (DEVICE, None):
                raise ValueError(
                    f"{kernel.__name__} runs on the CPU, where its first tensor is, but {name} is "
                    f"on device {tensor.device}"
                )


def check_globals(kernel: JITFunction) -> None:
    """Refuse to run a kernel after a global variable that was compiled into it has changed."""
    for (name, _), (value, variables) in kernel.used_global_vals.items():
        now = variables.get(name, inspect.Parameter.empty)
        if now is not value and now != value:
            raise RuntimeError(
                f"Global variable {name} has changed since we compiled this kernel, "
                f"from {value} to {now}"
            )


# ---- Launching, the general way ------------------------------------------------------------------


def grid_of(grid: Any, bound_args: dict[str, Any]) -> tuple[int, int, int]:
    """The grid as three numbers; a callable grid gets the arguments.

    Raises:
        TypeError: it is no tuple of integers.
        ValueError: it has more than three, or they are negative or too large.
    """
    if callable(grid):
        grid = grid(bound_args)
    if (error := grid_error(grid)) is not None:
        raise error
    return (*grid, 1, 1)[:3]


def general_run(kernel: JITFunction, args: tuple, kwargs: dict, grid: Any, warmup: bool) -> Any:
    """`JITFunction.run` for arguments in CPU memory."""
    options = dict(kwargs)
    options["debug"] = kwargs.get("debug", kernel.debug) or knobs.runtime.debug
    for hook in kernel.pre_run_hooks:
        hook(*args, **options)
    descriptors = list(filter(is_descriptor, leaves((*args, *kwargs.values()))))
    if descriptors and all(map(is_plain, descriptors)):
        options["plain_descriptors"] = True
    return _run_variant(kernel, args, options, grid, warmup)


def _run_variant(kernel: JITFunction, args: tuple, options: dict, grid: Any, warmup: bool) -> Any:
    caches = caches_of(kernel)
    kernel_cache, _, _, backend, _ = caches
    bound_args, specialization, extra = bind(kernel, args, options)
    # Without Triton's memory of keys, in which the constants 0.0 and -0.0 are the same.
    key = compute_cache_key({}, specialization, extra)
    compiled = kernel_cache.get(key)
    if compiled is None:
        packed = kernel._pack_args(backend, options, bound_args, specialization, extra)
        parsed_options, signature, constexprs, attrs = packed
        compiled = compile_variant(
            kernel, key, signature, constexprs, parsed_options, attrs, warmup
        )
        if compiled is None:
            return None
    check_globals(kernel)
    if warmup:
        return compiled
    check_devices(kernel, bound_args)
    if not isinstance(compiled, CompiledKernel):
        # Triton's asynchronous compilation gives a promise of a kernel.
        compiled = compiled.result()
    if compiled._run is None:
        attach(compiled)
    if arguments_overlap(compiled, bound_args.values()):
        return _run_variant(kernel, args, {**options, "arguments_overlap": True}, grid, warmup)

    launch_grid = grid_of(grid, bound_args)
    runtime = knobs.runtime
    metadata = compiled.launch_metadata(launch_grid, 0, *bound_args.values())
    compiled.run(
        *launch_grid, 0, compiled.function, compiled.packed_metadata, metadata,
        runtime.launch_enter_hook, runtime.launch_exit_hook, *bound_args.values(),
    )  # fmt: skip
    return compiled


# ---- Prepared launches ---------------------------------------------------------------------------


def prepare(
    kernel: JITFunction, args: Sequence[Any], constexprs: dict[str, Any], **options: Any
) -> PreparedKernel:
    """Compile a kernel for these types of arguments, to be launched often with little ado.

    Integers are run-time values, whatever they are: unlike `kernel[grid](...)`, this makes no
    constant of an integer 1. Their type is the parameter's annotation, or else int32 if the given
    value fits into it and int64 if not.

    Args:
        kernel: a function under `triton.jit`.
        args: the arguments that are not in `constexprs`, in the order of the parameters: objects
            with `data_ptr()` and `dtype`, integers, floats, booleans, or None, which is a constant
            and has no value at launch.
        constexprs: the compile-time constants by name; defaults apply to those left out.
        options: Triton's launch options, such as `num_warps` or `debug`.

    Returns:
        A `PreparedKernel`; its `launch(grid, values)` runs the kernel.

    Raises:
        TypeError: the arguments do not fit the kernel's parameters.
    """
    remaining = iter(args)
    bound_args: dict[str, Any] = {}
    specialization = []
    for param in kernel.params:
        if param.name in constexprs:
            value = constexprs[param.name]
        elif param.is_constexpr and param.has_default:
            value = param.default
        else:
            value = next(remaining, inspect.Parameter.empty)
            if value is inspect.Parameter.empty:
                raise TypeError(f"{kernel.__name__} needs a value for {param.name}")
        bound_args[param.name] = value
        constant = param.is_constexpr or param.name in constexprs or value is None
        specialization.append(("constexpr", value) if constant else (_type_of(param, value), None))
    too_many = next(remaining, inspect.Parameter.empty) is not inspect.Parameter.empty
    if too_many or not constexprs.keys() <= bound_args.keys():
        raise TypeError(f"{kernel.__name__} takes {', '.join(kernel.arg_names)}")

    kernel_cache, _, _, backend, _ = caches_of(kernel)
    options["debug"] = options.get("debug", kernel.debug) or knobs.runtime.debug
    key = compute_cache_key({}, specialization, options)
    compiled = kernel_cache.get(key)
    if compiled is None:
        parsed, signature, constants, attrs = kernel._pack_args(
            backend, options, bound_args, specialization, options
        )
        compiled = compile_variant(kernel, key, signature, constants, parsed, attrs, warmup=False)
    check_globals(kernel)
    types = [
        ty
        for pair in zip(compiled.src.signature.values(), bound_args.values(), strict=True)
        for ty, _ in flatten(*pair)
    ]
    return PreparedKernel(compiled.module, types, compiled)


def _type_of(param: Any, value: Any) -> Any:
    """Triton's name of the type that an argument has in the kernel."""
    if param.annotation_type:
        return param.annotation_type
    return native_specialize_impl(CPUBackend, value, param.is_const, False, False)[0]
