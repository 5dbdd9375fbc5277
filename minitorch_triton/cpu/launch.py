"""Loading a compiled kernel and calling it: threads, argument slots, prepared launches.

A call goes through ctypes, which releases the GIL, and hands over one block of 8-byte slots:
the grid, then the arguments. `include/mt_launch.c` is the other side.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import math
import operator
import os
import re
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# struct formats of one 8-byte slot, by Triton's name of the argument's type. A narrow integer is
# padded, so that struct refuses a value that does not fit.
SLOT_FORMATS = {
    "i1": "?7x", "u1": "?7x", "i8": "b7x", "u8": "B7x", "i16": "h6x", "u16": "H6x",
    "i32": "i4x", "u32": "I4x", "i64": "q", "u64": "Q",
    "fp16": "d", "bf16": "d", "fp32": "d", "f32": "d", "fp64": "d",
}  # fmt: skip

GRID_FORMAT = 3 * SLOT_FORMATS["i32"]

SIGNALLED = 3
BAD_GRID = 4
SAME_TENSORS = 6
STATUS_MESSAGES = {
    1: "a device_assert failed in kernel {name}; standard error tells which",
    5: "a program of kernel {name} waits in a while loop for another one, and none can end that: "
    "checked mode runs programs one after the other",
}


class KernelError(RuntimeError):
    """A kernel ended with an error, such as a failed `tl.device_assert`."""


def grid_error(grid: Any) -> TypeError | ValueError | None:
    """What is wrong with a grid, which should be one to three integers; None if nothing is."""
    try:
        size = len(grid)
        numbers = [operator.index(number) for number in grid]
    except TypeError:
        return TypeError(f"a grid is a tuple of one to three integers, but this one is {grid!r}")
    if not 1 <= size <= 3:
        return ValueError(f"a grid has one to three dimensions, but {grid!r} has {size}")
    if not all(0 <= number < 1 << 31 for number in numbers):
        return ValueError(f"the sizes of a grid are from 0 to 2**31 - 1, but this one is {grid!r}")
    if math.prod(numbers) >= 1 << 63:
        return ValueError(f"the grid {grid!r} has 2**63 programs or more")
    return None


class Runtime(ctypes.Structure):
    """`mt_runtime` of mt_launch.c: what a loaded kernel needs from this process."""

    _fields_ = [
        ("parallel", ctypes.c_void_p),
        ("max_threads", ctypes.c_void_p),
        ("thread_number", ctypes.c_void_p),
        ("enter_thread", ctypes.CFUNCTYPE(None)),
        ("serial", ctypes.c_int32),
        ("lock_interpreter", ctypes.c_void_p),
        ("unlock_interpreter", ctypes.c_void_p),
        ("handle_signals", ctypes.c_void_p),
        ("take_exception", ctypes.c_void_p),
        ("raised", ctypes.c_void_p * 3),
    ]


def _openmp_candidates() -> Iterable[str]:
    """Paths of OpenMP libraries: first what this process (that is, torch) has loaded already.

    A second thread pool beside torch's would make both slow.
    """
    with open("/proc/self/maps") as file:
        paths = sorted({line.split(maxsplit=5)[-1].strip() for line in file if ".so" in line})
    yield from (path for path in paths if re.search(r"/lib(gomp|iomp5|omp)\b[^/]*\.so", path))
    if name := ctypes.util.find_library("gomp"):
        yield name


@functools.cache
def runtime() -> Runtime:
    """The process's `mt_runtime`. Without any OpenMP library, kernels run on one thread."""
    result = Runtime()
    for path in _openmp_candidates():
        try:
            library = ctypes.CDLL(path)
            parallel, max_threads = library.GOMP_parallel, library.omp_get_max_threads
            thread_number = library.omp_get_thread_num
        except (OSError, AttributeError):
            continue
        result.parallel = ctypes.cast(parallel, ctypes.c_void_p).value
        result.max_threads = ctypes.cast(max_threads, ctypes.c_void_p).value
        result.thread_number = ctypes.cast(thread_number, ctypes.c_void_p).value
        result.enter_thread = ctypes.CFUNCTYPE(None)(
            functools.partial(_follow_torch, library.omp_set_num_threads, max_threads)
        )
        break
    result.serial = _forked
    for field, function in (
        ("lock_interpreter", ctypes.pythonapi.PyGILState_Ensure),
        ("unlock_interpreter", ctypes.pythonapi.PyGILState_Release),
        ("handle_signals", ctypes.pythonapi.PyErr_CheckSignals),
        ("take_exception", ctypes.pythonapi.PyErr_Fetch),
    ):
        setattr(result, field, ctypes.cast(function, ctypes.c_void_p).value)
    return result


def _raised_by_handler() -> BaseException:
    """The exception of a signal handler that ended a launch."""
    restore = ctypes.pythonapi.PyErr_Restore
    restore.argtypes, restore.restype = (ctypes.c_void_p,) * 3, None
    raised = tuple(runtime().raised)
    runtime().raised[:] = (None, None, None)
    try:
        restore(*raised)
    except BaseException as error:
        return error
    raise AssertionError("a launch was ended by a signal, but no handler raised an exception")


def _follow_torch(set_threads: Callable[[int], None], max_threads: Callable[[], int]) -> None:
    """Give the calling thread torch's number of threads, which OpenMP keeps for each thread."""
    if torch := sys.modules.get("torch"):
        threads = torch.get_num_threads()
        if max_threads() != threads:
            set_threads(threads)


# Whether this process is a forked child. OpenMP's threads, which torch may have started before any
# kernel ran, did not come along, and waiting for them would never end.
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True
    if runtime.cache_info().currsize:
        runtime().serial = True


os.register_at_fork(after_in_child=_after_fork)


class Library:
    """A loaded kernel. `call(block)` runs it; `block` is what `pack` returns."""

    def __init__(self, path: str, name: str):
        self.name = name
        self.handle = ctypes.CDLL(path)
        self.handle.mt_attach(ctypes.byref(runtime()))
        self.call = self.handle.mt_call  # ctypes passes bytes as they are, and expects an int
        self.address = ctypes.cast(self.handle.mt_entry, ctypes.c_void_p).value
        # Compiles the version for arguments that overlap; `finish` replaces it by what it gave.
        self.for_overlaps: Callable[[], Library] | Library | None = None

    def finish(self, status: int, block: bytes) -> None:
        """What there is to do after a call that has returned a status other than 0.

        Raises:
            BaseException: the kernel has ended with an error; see `error`.
        """
        if status != SAME_TENSORS:
            raise self.error(status, struct.unpack_from(GRID_FORMAT, block))
        if not isinstance(self.for_overlaps, Library):
            assert self.for_overlaps is not None
            self.for_overlaps = self.for_overlaps()
        if status := self.for_overlaps.call(block):
            self.for_overlaps.finish(status, block)

    def error(self, status: int, grid: Sequence[int]) -> BaseException:
        """The exception for a status other than 0 of a launch with this grid."""
        if status == BAD_GRID and (wrong := grid_error(grid)) is not None:
            return wrong
        if status == SIGNALLED:
            return _raised_by_handler()
        message = STATUS_MESSAGES.get(status, "kernel {name} failed with status {status}")
        return KernelError(message.format(name=self.name, status=status))


def slot_format(ty: str) -> str:
    """The struct format of one argument of Triton type `ty`, for example "*fp32" or "i32"."""
    return "q" if ty.startswith("*") else SLOT_FORMATS[ty]


def argument_error(
    kernel: str, slots: Iterable[tuple[str, str, Any]]
) -> OverflowError | TypeError | None:
    """What is wrong with the values of a call; None if nothing is.

    Args:
        kernel: its name.
        slots: of each value the argument's name and Triton type, and the value.
    """
    for name, ty, value in slots:
        try:
            struct.pack(slot_format(ty), value)
        except struct.error:
            kind = OverflowError if isinstance(value, int) else TypeError
            return kind(f"{kernel}() got {value!r} for {name}, which does not fit its type {ty}")
    return None


def packer(types: Sequence[str]) -> Callable[..., bytes]:
    """A function `pack(grid_x, grid_y, grid_z, *values)` for arguments of these Triton types."""
    return struct.Struct("<" + GRID_FORMAT + "".join(map(slot_format, types))).pack


class PreparedKernel:
    """A compiled kernel bound to its argument types, to be launched with raw numbers."""

    __slots__ = ("_call", "_library", "compiled", "pack", "types")

    def __init__(self, library: Library, types: Sequence[str], compiled: Any):
        self._library = library
        self._call = library.call
        self.pack = packer(types)
        self.types = tuple(types)
        self.compiled = compiled

    def launch(self, grid: tuple[int, int, int], values: Sequence[int | float]) -> None:
        """Run the kernel and wait for it.

        Args:
            grid: number of programs along x, y, z.
            values: one number for each run-time argument, in the kernel's order: the address for
                a pointer. They are not checked against the memory they point to.

        Raises:
            struct.error: a value does not fit its argument's type, or a size of the grid int32, or
                there are too many or few.
            ValueError: a size of the grid is negative.
            KernelError: a `tl.device_assert` failed.
        """
        self.start(self.pack(*grid, *values))

    def packers(self, count: int) -> tuple[Callable[..., bytes], Callable[..., bytes]]:
        """``pack`` in two: for the grid and the first ``count`` values, and for the others.

        The second's result, appended to the first's, is what ``pack`` makes of them all. Whoever
        starts a kernel often packs only once what never changes.
        """
        others = struct.Struct("<" + "".join(map(slot_format, self.types[count:])))
        return packer(self.types[:count]), others.pack

    def start(self, block: bytes) -> None:
        """:meth:`launch` with what ``pack(*grid, *values)`` has made of the numbers."""
        if status := self._call(block):
            self._library.finish(status, block)
