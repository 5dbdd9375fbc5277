"""Putting the CPU beside Triton's GPU backends, and sending each launch where its tensors are.

Triton asks one process-wide driver, before it looks at any argument, where a kernel shall run. So
`enable` does two things: it registers a driver for the CPU, which Triton chooses where no GPU
driver is active, and it makes `JITFunction.run` (which every `kernel[grid](...)` ends in) look at
the first pointer argument: if that is CPU memory, the kernel runs on the CPU; if not, everything
takes Triton's own way.
"""

from __future__ import annotations

import ast
import contextvars
import copy
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from triton import knobs
from triton.backends import Backend, backends
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase
from triton.compiler import compiler as triton_compiler
from triton.runtime import driver as triton_driver
from triton.runtime.autotuner import Autotuner
from triton.runtime.cache import CacheManager
from triton.runtime.jit import JITCallable, JITFunction

from . import binding, cache, checking
from .backend import TARGET, CPUBackend
from .binding import CHECKED_DEVICE, DEVICE
from .dispatch import run_on_cpu


class CPUEvent:
    """A point in time, with the interface of `torch.cuda.Event`."""

    def __init__(self, enable_timing: bool = False):
        self.time = 0.0

    def record(self) -> None:
        self.time = time.perf_counter()

    def elapsed_time(self, end: CPUEvent) -> float:
        """Milliseconds from this event to `end`."""
        return (end.time - self.time) * 1e3


class CPUInterface:
    """What `triton.testing.do_bench` uses of `torch.cuda`. A launch has run when it returns."""

    Event = CPUEvent

    @staticmethod
    def synchronize() -> None:
        """There is nothing to wait for."""


def do_bench(
    kernel_call: Callable[[], Any], *, quantiles: Sequence[float] = (0.5,), warmup: float = 5.0,
    rep: float = 25.0, **_: Any,
) -> list[float]:  # fmt: skip
    """Time a call: the autotuner's benchmark for the CPU.

    Args:
        quantiles: which quantiles of the measured times to return.
        warmup, rep: for how many milliseconds to call before measuring, and while measuring.

    Returns:
        Milliseconds, one for each quantile.
    """

    def call_for(milliseconds: float) -> list[float]:
        times: list[float] = []
        end = time.perf_counter() + milliseconds * 1e-3
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            kernel_call()
            times.append((time.perf_counter() - start) * 1e3)
        return times

    call_for(warmup)
    times = sorted(call_for(rep))
    return [times[round(quantile * (len(times) - 1))] for quantile in quantiles]


class CPUDriver(DriverBase):
    """Triton's view of the CPU as a device."""

    def __init__(self) -> None:
        super().__init__()
        self.utils = self
        self.launcher_cls = load_launcher

    @classmethod
    def is_active(cls) -> bool:
        """Only where no GPU is: Triton wants exactly one active driver."""
        return not any(b.driver.is_active() for b in backends.values() if b.driver is not cls)

    def get_current_target(self) -> GPUTarget:
        return TARGET

    def get_current_device(self) -> str:
        return DEVICE

    def set_current_device(self, device: Any) -> None:
        """There is only one."""

    def get_current_stream(self, device: Any = None) -> int:
        return 0

    def get_active_torch_device(self) -> Any:
        import torch

        return torch.device("cpu")

    def get_device_interface(self) -> type[CPUInterface]:
        return CPUInterface

    def map_python_to_cpp_type(self, ty: str) -> str:
        if ty.startswith("*"):
            return "void *"
        names = {"u1": "bool", "i1": "bool", "fp16": "double", "bf16": "double", "fp32": "double",
                 "f32": "double", "fp64": "double"}  # fmt: skip
        return names.get(ty) or f"{'u' * ty.startswith('u')}int{ty[1:]}_t"

    def get_benchmarker(self) -> Callable:
        return do_bench

    def get_empty_cache_for_benchmark(self) -> bytearray:
        return bytearray(0)

    def clear_cache(self, cache: bytearray) -> None:
        """Data stay in the caches between calls, as they do in use."""

    # What Triton calls `driver.utils`.

    def get_device_properties(self, device: Any) -> dict[str, int]:
        """Nominal sizes, for host code that derives a GPU's occupancy from them."""
        return {
            "multiprocessor_count": len(os.sched_getaffinity(0)),
            "max_shared_mem": 1 << 30,
            "max_num_regs": 1 << 16,
            "warpSize": TARGET.warp_size,
            "sm_clock_rate": 0,
            "mem_clock_rate": 0,
            "mem_bus_width": 0,
        }

    def load_binary(self, name: str, kernel: bytes, shared: int, device: Any) -> tuple:
        """(module, function, registers, spills, threads); `load_launcher` has done the loading."""
        return True, 0, 16, 0, 1 << 30

    def unload_module(self, module: Any) -> None:
        """A kernel stays loaded for the life of the process."""


def load_launcher(source: Any, metadata: Any) -> binding.Launcher:
    """The launcher of a kernel that was compiled with `triton.compile`, not by a call."""
    path = cache.entry(metadata.hash).get_file(f"{source.name[:150]}.so")
    if path is None:
        raise cache.BadEntryError(f"the machine code of {metadata.name} is not in the cache")
    return binding.load(path, metadata.hash, source, metadata)


# ---- Routing -------------------------------------------------------------------------------------


def gpu_is_active() -> bool:
    """Whether Triton's active driver is that of a GPU."""
    return not isinstance(triton_driver.active, CPUDriver)


def belongs_to_cpu(args: Iterable[Any]) -> bool:
    """Whether a kernel with these arguments runs on the CPU.

    The device of the first tensor decides. Without a tensor, or with one that does not say where
    it is, it is the CPU where there is no GPU.

    Raises:
        ValueError: the tensor is neither on the CPU nor on a GPU that Triton drives.
    """
    tensor: Any = next(binding.tensors(args), None)
    kind = binding.device_kind(tensor)
    if kind == DEVICE:
        return True
    on_gpu = gpu_is_active()
    if kind == "meta":
        raise ValueError("a kernel cannot run on a tensor on device meta: it has no data")
    if kind is not None and not on_gpu:
        raise ValueError(
            f"a kernel cannot run on a tensor on device {tensor.device}: there is no such GPU"
        )
    return not on_gpu


def routed_run(self: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
    """Takes the place of `JITFunction.run`."""
    caches = self.device_caches.get(CHECKED_DEVICE if checking.active else DEVICE)
    if caches is not None and not warmup:
        # The usual case. It is spelt out because each microsecond counts in it.
        launch = caches.launchers.get((*map(type, args), *kwargs, *map(type, kwargs.values())))
        runtime = knobs.runtime
        enter, leave = runtime.launch_enter_hook, runtime.launch_exit_hook
        observed = (
            getattr(enter, "calls", enter) or getattr(leave, "calls", leave)
            or self.pre_run_hooks or runtime.debug
        )  # fmt: skip
        if launch is not None and not observed:
            if self.used_global_vals:
                binding.check_globals(self)
            compiled = launch(grid, *args, **kwargs)
            if compiled is not None:
                return compiled
    if belongs_to_cpu((*args, *kwargs.values())):
        return run_on_cpu(self, args, kwargs, grid, warmup)
    return _triton["run"](self, *args, grid=grid, warmup=warmup, **kwargs)


# Whether the autotuner is measuring a kernel on the CPU.
_tuning_on_cpu = contextvars.ContextVar("tuning_on_cpu", default=False)


class _BenchmarkOfDevice:
    """Takes the place of `Autotuner.do_bench`: what measures time where the tensors are."""

    def __get__(self, tuner: Autotuner | None, owner: type) -> Any:
        if tuner is None:
            return self
        if tuner._do_bench is not None:
            return tuner._do_bench
        return do_bench if _tuning_on_cpu.get() else triton_driver.active.get_benchmarker()

    def __set__(self, tuner: Autotuner, value: Callable) -> None:
        tuner._do_bench = value


def routed_tuner_run(self: Autotuner, *args: Any, **kwargs: Any) -> Any:
    """Takes the place of `Autotuner.run`: the CPU has its own best configurations."""
    tuner = self
    on_cpu = belongs_to_cpu((*args, *kwargs.values()))
    if on_cpu and gpu_is_active():
        tuner = self.__dict__.get("cpu_twin")
        if tuner is None:
            tuner = self.cpu_twin = copy.copy(self)
            # Triton's key of timings on disk names the active driver, which is the GPU's.
            tuner.cache, tuner.cache_results = {}, False
    token = _tuning_on_cpu.set(on_cpu)
    try:
        return _triton["tune"](tuner, *args, **kwargs)
    finally:
        _tuning_on_cpu.reset(token)
        if tuner is not self:
            self.best_config = tuner.best_config


# Whether this thread's latest key is of a kernel for the CPU. Triton asks for a kernel's key, then
# for the manager of its files.
_caching_for_cpu = contextvars.ContextVar("caching_for_cpu", default=False)


def routed_cache_key(source: Any, backend: Any, options: Any, env_vars: Any) -> str:
    """Takes the place of `get_cache_key`."""
    on_cpu = isinstance(backend, CPUBackend)
    _caching_for_cpu.set(on_cpu)
    if not on_cpu:
        return _triton["key"](source, backend, options, env_vars=env_vars)
    if knobs.compilation.store_binary_only:
        # Triton would store no machine code but a GPU's. This is for good, as other threads may
        # be compiling; setting the attribute would also set the variable of the environment.
        vars(knobs.compilation)["store_binary_only"] = False
    return cache.key(source, backend, options, env_vars)


def routed_cache_manager(key: str) -> CacheManager:
    """Takes the place of `get_cache_manager` where Triton compiles kernels."""
    return cache.entry(key) if _caching_for_cpu.get() else _triton["manager"](key)


# One thread at a time parses a kernel's source: CPython (gh-106905) counts the depth of the tree
# that it makes for all threads together, and fails where they come in between each other.
_parsing = threading.RLock()


def _renew_lock() -> None:
    """A child process does not have the thread that may have held it."""
    global _parsing
    _parsing = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


def routed_parse(self: JITCallable) -> ast.AST:
    """Takes the place of `JITCallable.parse`."""
    with _parsing:
        return _triton["parse"](self)


class _FilterOfTracebacks:
    """Takes the place of `filter_traceback`, which calls itself through its global name for the
    cause and again for the context of an error: here each error has its turn once. Otherwise a
    recursive kernel, which has a long chain of causes, would keep it busy forever."""

    def __init__(self, original: Callable):
        self.original = original
        self.seen: set[int] = set()

    def __call__(self, error: BaseException) -> None:
        if id(error) in self.seen:
            return
        first = not self.seen
        self.seen.add(id(error))
        try:
            self.original(error)
        finally:
            if first:
                self.seen = set()


# ---- Switching on and off ------------------------------------------------------------------------


def refuse_free_threading() -> None:
    """Kernels, their caches and Triton itself rely on Python's global lock.

    Raises:
        RuntimeError: Python runs without it.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise RuntimeError(
            "minitorch_triton does not support free-threaded Python: set PYTHON_GIL=1, or use a "
            "Python with the global interpreter lock"
        )


# Triton's own functions, while ours are in their place.
_triton: dict[str, Any] = {}

# The module, which `triton.runtime` hides behind an object of the same name.
_driver_module = sys.modules[type(triton_driver).__module__]
_create_driver = _driver_module._create_driver


def create_driver_while_disabled() -> DriverBase:
    """Takes the place of `_create_driver` after `disable`: a kernel is launched.

    Raises:
        RuntimeError: there is no GPU.
    """
    try:
        return _create_driver()
    except RuntimeError as error:
        raise RuntimeError(
            "a kernel cannot run: native execution on the CPU is off, and Triton finds no GPU. "
            "Call minitorch_triton.cpu.enable()"
        ) from error


def enable(check: bool | None = None) -> None:
    """Run `kernel[grid](...)` natively on CPU tensors from here on, in the whole process.

    Args:
        check: whether kernels look at each access to memory before they make it, and raise a
            `CheckError` if it is wrong; None leaves that as it is, which at first is as the
            environment variable `MINITORCH_TRITON_CHECK` says. See also `checked`.

    Kernels on GPU tensors are left as they are. With `TRITON_INTERPRET=1` in the environment this
    does nothing: then Triton's interpreter runs every kernel, and none is compiled. Calling it
    again does nothing either.

    Raises:
        RuntimeError: Python runs without its global lock.
    """
    if knobs.runtime.interpret:
        return
    refuse_free_threading()
    if check is not None or not is_enabled():
        checking.turn(checking.active or checking.asked_for() if check is None else check)
    if is_enabled():
        return
    _triton.update(
        run=JITFunction.run, tune=Autotuner.run, key=triton_compiler.get_cache_key,
        manager=triton_compiler.get_cache_manager, parse=JITCallable.parse,
        do_bench=Autotuner.__dict__["do_bench"], filter=triton_compiler.filter_traceback,
    )  # fmt: skip
    backends["cpu"] = Backend(CPUBackend, CPUDriver)
    JITFunction.run = routed_run
    JITCallable.parse = routed_parse
    Autotuner.run = routed_tuner_run
    Autotuner.do_bench = _BenchmarkOfDevice()
    triton_compiler.get_cache_key = routed_cache_key
    triton_compiler.get_cache_manager = routed_cache_manager
    triton_compiler.filter_traceback = _FilterOfTracebacks(triton_compiler.filter_traceback)
    _driver_module._create_driver = _create_driver


def disable() -> None:
    """Undo `enable`; where there is no GPU, a launch says so."""
    if not is_enabled():
        return
    checking.turn(False)
    del backends["cpu"]
    JITFunction.run, Autotuner.run = _triton["run"], _triton["tune"]
    JITCallable.parse = _triton["parse"]
    Autotuner.do_bench = _triton["do_bench"]
    triton_compiler.get_cache_key = _triton["key"]
    triton_compiler.get_cache_manager = _triton["manager"]
    triton_compiler.filter_traceback = _triton["filter"]
    if isinstance(triton_driver._active, CPUDriver):
        triton_driver._active = None
    if isinstance(triton_driver._default, CPUDriver):
        triton_driver._default = None
    _driver_module._create_driver = create_driver_while_disabled
    _triton.clear()


def is_enabled() -> bool:
    """Whether kernels run natively on CPU tensors."""
    return bool(_triton)
