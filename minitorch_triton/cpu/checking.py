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
import os
import struct
import threading
from collections.abc import Iterator
from typing import Any

from . import storages
from .check_error import Finding, Site, describe
from .launch import GRID_FORMAT, Library
from .storages import StorageRecord, Table, registry

ENVIRONMENT_VARIABLE = "MINITORCH_TRITON_CHECK"

# Whether kernels are checked; see `turn`.
active = False


# ---- On and off ----------------------------------------------------------------------------------


def turn(on: bool) -> None:
    """Check kernels from here on, or no longer, in the whole process."""
    global active
    if on and not active:
        storages.start_watching()
    elif active and not on:
        storages.stop_watching()
    active = on


@contextlib.contextmanager
def checked(on: bool = True) -> Iterator[None]:
    """Check the kernels that are launched inside, by whatever thread; or with False do not."""
    before = active
    turn(on)
    try:
        yield
    finally:
        turn(before)


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

# What the launch that is running looks storages up in.
_table: Table | None = None


@FIND
def find(checks: Any, address: int) -> int | None:
    """The storage that an address belongs to; from now on the kernel looks itself, first."""
    global _table
    entry = registry.find(address)
    _table = registry.table()
    checks[0].storages, checks[0].known = _table.pairs.ctypes.data, len(_table.records)
    return None if entry is None else ctypes.addressof(entry.record)


@TRACK_WRITERS
def track_writers(record: Any, unit: int) -> None:
    """Have a storage's writers noted from now on."""
    entry = registry.find(record[0].start)
    if entry is not None:
        entry.track_writers(unit)


class _Numbers:
    """Numbers of programs, never the same for two launches."""

    def __init__(self) -> None:
        self.next = 1

    def take(self, count: int) -> int:
        if self.next + count >= 1 << 32:
            for entry in registry.entries.values():
                entry.record.writers = None
            self.next = 1
        first, self.next = self.next, self.next + count
        return first


_numbers = _Numbers()

# What is known of a storage's content belongs to one launch at a time.
_one_at_a_time = threading.Lock()


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
        with _one_at_a_time:
            checks = Checks(arguments, None, 0, find, track_writers)
            checks.first_program = _numbers.take(max(x, 0) * max(y, 0) * max(z, 0))
            status = self.run(block, ctypes.byref(checks))
        if status == FAILED:
            raise describe(self.name, checks.finding, self.sites, self.pointers, values, (x, y, z))
        return status


def open_library(path: str, name: str) -> Library:
    """Load a kernel, with checks or without."""
    library = Library(path, name)
    return CheckedLibrary(path, name) if hasattr(library.handle, "mt_checked_call") else library
