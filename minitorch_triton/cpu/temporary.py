"""Temporary directories. What a killed process left is removed when it is a day old."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import stat
import tempfile
import time

PREFIX = "minitorch_triton_temporary_"

# No compilation takes so long.
STALE_AFTER_S = 86_400.0


def temporary_directory() -> tempfile.TemporaryDirectory:
    """A context manager: a new directory that only this user can read and write."""
    location = tempfile.gettempdir()
    _remove_stale(location)
    return tempfile.TemporaryDirectory(prefix=PREFIX, dir=location)


@functools.lru_cache  # once for each process is enough
def _remove_stale(location: str) -> None:
    # A location that cannot be listed, or another process that is at it, is no reason to fail.
    with contextlib.suppress(OSError):
        for entry in os.scandir(location):
            if entry.name.startswith(PREFIX) and _is_stale(entry.stat(follow_symlinks=False)):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_stale(info: os.stat_result) -> bool:
    age = time.time() - info.st_mtime
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and age > STALE_AFTER_S
