"""Checked mode: kernels that look before they read or write.

    MINITORCH_TRITON_CHECK=1 python train.py      everywhere, or
    with triton_cpu.checked():                    for a part of a program
        kernel[grid](...)

A checked kernel is another variant of it, compiled with a check before every access
(`instrument.py`, `emit/check.py`, `include/mt_check.h`). Its launches know all live storages
(`storages.py`), and raise a `CheckError` (`check_error.py`) at the first access that is wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from . import storages
from .check_error import Finding, Site, describe
from .launch import GRID_FORMAT, Library
from .storages import StorageRecord, registry

ENVIRONMENT_VARIABLE = "MINITORCH_TRITON_CHECK"

# Whether kernels are checked.
active = False


# ---- On and off ----------------------------------------------------------------------------------


class _Wish:
    """Somebody wants kernels to be checked, or not to be."""

    def __init__(self, on: bool):
        self.on = on


# All that still hold, of whatever thread; the last one decides.
_wishes = [_Wish(False)]
_switching = threading.RLock()


def _follow_wishes() -> None:
    global active
    with _switching:
        on = _wishes[-1].on
        if on and not active:
            storages.start_watching()
        elif active and not on:
            storages.stop_watching()
        active = on


def turn(on: bool) -> None:
    """Check kernels from here on, or no longer, in the whole process."""
    _wishes[:] = [_Wish(on)]
    _follow_wishes()


@contextlib.contextmanager
def checked(on: bool = True) -> Iterator[None]:
    """Check the kernels that are launched inside, by whatever thread; or with False do not.

    Where several threads do this at the same time, the last one that has entered decides.
    """
    wish = _Wish(on)
    _wishes.append(wish)
    _follow_wishes()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # `turn` has ended it
            _wishes.remove(wish)
        _follow_wishes()


def asked_for() -> bool:
    """Whether the environment asks for checked mode."""
    return os.environ.get(ENVIRONMENT_VARIABLE, "0") not in ("", "0")


# ---- The other side of mt_check.h ----------------------------------------------------------------

FAILED = 2  # MT_CHECK_FAILED


class Checks(ctypes.Structure):
    """`mt_checks`; the rest is what only the kernel uses."""


FIND = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(Checks), ctypes.c_uint64)
TRACK_WRITERS = ctypes.CFUNCTYPE(None, ctypes.POINTER(StorageRecord), ctypes.c_int32)
Checks._fields_ = [
    ("arguments", ctypes.POINTER(ctypes.POINTER(StorageRecord))),
    ("storages", ctypes.c_void_p),
    ("known", ctypes.c_int64),
    ("find", FIND),
    ("track_writers", TRACK_WRITERS),
    ("first_program", ctypes.c_uint32),
    ("several", ctypes.c_int32),
    ("finding", Finding),
    ("rest", ctypes.c_char * 256),
]


class _Launch(threading.local):
    """What a thread's checked launch, while there is one, has to keep and to tell."""

    kept: dict[int, Any] | None = None  # what C code points to, whatever the registry does
    error: BaseException | None = None

    def keep(self, thing: Any) -> None:
        assert self.kept is not None
        self.kept[id(thing)] = thing


_launch = _Launch()


def _handing_on(function: Callable) -> Callable:
    """The function for C code, through which no exception, such as a Ctrl-C's, can pass."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except BaseException as error:
            _launch.error = error
            return None

    return call


@FIND
@_handing_on
def find(checks: Any, address: int) -> int | None:
    """The storage that an address belongs to; from now on the kernel looks itself, first."""
    record, table = registry.find(address), registry.table()
    _launch.keep(table)
    checks[0].storages, checks[0].known = table.pairs.ctypes.data, len(table.records)
    if record is None:
        return None
    _launch.keep(record)
    return ctypes.addressof(record)


@TRACK_WRITERS
@_handing_on
def track_writers(record: Any, unit: int) -> None:
    """Have a storage's writers noted from now on."""
    known = registry.by_place.get(ctypes.addressof(record[0]))
    if known is not None:
        known.track_writers(unit)


class _Numbers:
    """Numbers of programs, never the same for two launches."""

    def __init__(self) -> None:
        self.next = 1

    def take(self, count: int) -> int:
        if self.next + count >= 1 << 32:
            registry.forget_writers()
            self.next = 1
        first, self.next = self.next, self.next + count
        return first


_numbers = _Numbers()

# What is known of a storage's content belongs to one launch at a time, but for those that a signal
# handler or a finalizer makes in the middle of one.
_one_at_a_time = threading.RLock()


def _after_fork() -> None:
    """A child process does not have the threads that may have held the locks."""
    global _one_at_a_time, _switching
    _one_at_a_time, _switching = threading.RLock(), threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def _launching() -> Iterator[None]:
    with _one_at_a_time:
        outer = _launch.kept, _launch.error
        inside = outer[0] is not None
        if inside:
            registry.forget_writers()
        _launch.kept, _launch.error = {}, None
        try:
            yield
        finally:
            _launch.kept, _launch.error = outer
            if inside:
                registry.forget_writers()


class CheckedLibrary(Library):
    """A loaded kernel with checks."""

    def __init__(self, path: str, name: str):
        super().__init__(path, name)
        self.run = self.handle.mt_checked_call
        self.run.argtypes = (ctypes.c_char_p, ctypes.POINTER(Checks))
        self.sites = ctypes.cast(self.handle.mt_sites, ctypes.POINTER(Site))
        self.pointers = ctypes.cast(self.handle.mt_pointers, ctypes.POINTER(ctypes.c_char_p))
        self.call = self.checked_call

    def checked_call(self, block: bytes) -> int:
        """Run the kernel.

        Raises:
            CheckError: an access is wrong.
        """
        x, y, z, *values = struct.unpack(f"<{GRID_FORMAT}{len(block) // 8 - 3}q", block)
        arguments = (ctypes.POINTER(StorageRecord) * len(values))()
        for slot, value in enumerate(values):
            if self.pointers[slot] is not None:
                arguments[slot] = ctypes.pointer(registry.record_of(value % 2**64))
        with _launching():
            checks = Checks(arguments, None, 0, find, track_writers)
            checks.first_program = _numbers.take(max(x, 0) * max(y, 0) * max(z, 0))
            status = self.run(block, ctypes.byref(checks))
            if _launch.error is not None:
                raise _launch.error
            if status == FAILED:
                finding, grid = checks.finding, (x, y, z)
                raise describe(self.name, finding, self.sites, self.pointers, values, grid)
        return status


def open_library(path: str, name: str) -> Library:
    """Load a kernel, with checks or without."""
    library = Library(path, name)
    return CheckedLibrary(path, name) if hasattr(library.handle, "mt_checked_call") else library
