"""What makes a cached shared object safe to load, and a cache that fails harmless.

Compiled kernels live in Triton's cache directory. A shared object there ends with the SHA-256 of
what precedes it (the dynamic loader ignores such a trailer), so one that is cut short or damaged
is recognised; and it is loaded only if no other user could have written it.
"""

from __future__ import annotations

import contextlib
import functools
import grp
import hashlib
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import triton
from triton import knobs

DIGEST_SIZE = hashlib.sha256().digest_size


class BadEntryError(RuntimeError):
    """A cache entry is damaged, or somebody else could have written it."""


class UntrustedDirectoryError(BadEntryError):
    """Somebody else could put a file into the cache directory, or into one above it."""


def seal(code: bytes) -> bytes:
    """Append the digest that `check` looks for."""
    return code + hashlib.sha256(code).digest()


def check(path: str) -> bytes:
    """Read the shared object at `path`, and make sure that it is whole and ours.

    Raises:
        UntrustedDirectoryError: no file there can be trusted.
        BadEntryError: this one is damaged, is not to be trusted, or cannot be read.
    """
    real = os.path.realpath(path)
    try:
        if not is_trusted_directory(os.path.dirname(real)):
            raise UntrustedDirectoryError(
                f"another user can put files into {os.path.dirname(path)} or a directory above it"
            )
        if not _only_ours(os.lstat(real)):
            raise BadEntryError(f"another user can write {path}")
        data = Path(real).read_bytes()
    except OSError as error:
        raise BadEntryError(f"{path}: {error}") from error
    if hashlib.sha256(data[:-DIGEST_SIZE]).digest() != data[-DIGEST_SIZE:]:
        raise BadEntryError(f"{path} is damaged")
    return data


@functools.lru_cache(maxsize=4096)
def is_trusted_directory(path: str) -> bool:
    """Whether only this user and root can change a directory (no link), or put another there."""
    parent = os.path.dirname(path)
    return _only_ours(os.lstat(path)) and (parent == path or is_trusted_directory(parent))


def _only_ours(info: os.stat_result) -> bool:
    if info.st_uid not in (0, os.geteuid()):
        return False
    # In a sticky directory, such as /tmp, only the owner of an entry can replace it.
    if stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX:
        return True
    if info.st_mode & stat.S_IWOTH:
        return False
    return not info.st_mode & stat.S_IWGRP or _is_own_group(info.st_gid)


@functools.lru_cache
def _is_own_group(gid: int) -> bool:
    """Whether the group is root's, or one that holds nobody but this user."""
    if gid == 0:
        return True
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


@functools.lru_cache
def triton_version() -> str:
    """A key of the installed Triton: its version, and size and time of each of its files.

    Triton's own key reads and hashes all of libtriton, a second of every process's life.
    """
    root = Path(triton.__file__).parent
    parts = [triton.__version__]
    for folder, pattern in (("_C", "*.so"), ("compiler", "*.py"), ("language", "**/*.py"),
                            ("runtime", "*.py")):  # fmt: skip
        for path in sorted((root / folder).glob(pattern)):
            info = path.stat()
            parts.append(f"{path.relative_to(root)} {info.st_size} {info.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def key(src, backend, options, env_vars) -> str:
    """The cache key of a kernel for the CPU; takes the place of Triton's `get_cache_key`."""
    parts = triton_version(), src.hash(), backend.hash(), options.hash(), sorted(env_vars.items())
    return "-".join(map(str, parts))


@contextlib.contextmanager
def recompiling() -> Iterator[None]:
    """Compile, and write the cache entry, even if there is one."""
    with knobs.compilation.scope():
        knobs.compilation.always_compile = True
        knobs.compilation.store_binary_only = False
        yield


@contextlib.contextmanager
def private_directory() -> Iterator[None]:
    """Compile into an empty directory that only this user can write, gone at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="minitorch_triton_cache_") as directory,
        knobs.cache.scope(),
    ):
        knobs.cache.dir = directory
        knobs.cache.manager_class = None
        yield
