"""What makes an entry of the cache on disk safe to load, and a cache that fails harmless.

Compiled kernels lie in Triton's cache directory, in files of Triton's form. Nothing in it is read
or loaded that another user could have written, or put in the place of what was written. A shared
object ends with the SHA-256 of its entry's key and of what precedes it (the dynamic loader ignores
such a trailer), so one that is cut short, damaged, or of another kernel is recognised.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import grp
import hashlib
import json
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

import triton
from triton import knobs
from triton.runtime.cache import CacheManager, FileCacheManager, get_cache_manager

from .temporary import temporary_directory

DIGEST_SIZE = hashlib.sha256().digest_size


class BadEntryError(RuntimeError):
    """A cache entry is damaged, or somebody else could have written it."""


class UnusableDirectoryError(BadEntryError):
    """There is no cache directory, or somebody else could put a file into it or one above it."""


# ---- Entries -------------------------------------------------------------------------------------

# Where this thread keeps entries, if not in Triton's cache; whether it looks for none in there.
# Triton's knobs of the kind are for all threads.
_private_directory = contextvars.ContextVar[str | None]("private_directory", default=None)
_recompiling = contextvars.ContextVar("recompiling", default=False)


class Entry(FileCacheManager):
    """The files of one key: Triton's manager of them, to which what is not ours is not there."""

    def __init__(self, key: str, directory: str):
        self.key = key
        self.cache_dir = os.path.join(directory, key)
        self.lock_path = os.path.join(self.cache_dir, "lock")
        os.makedirs(self.cache_dir, exist_ok=True)
        require_trusted(self.cache_dir)

    def get_file(self, filename: str) -> str | None:
        path = self._make_path(filename)
        with contextlib.suppress(OSError):
            if _is_our_file(os.lstat(path)):
                return path
        return None

    def get_group(self, filename: str) -> dict[str, str] | None:
        """The files of a kernel by name, or None if it is to be compiled. They lie in this entry,
        wherever the file of the group says."""
        path = None if is_ignored() else self.get_file(f"__grp__{filename}")
        if path is None:
            return None
        try:
            names = json.loads(Path(path).read_text())["child_paths"]
            files = {name: self.get_file(os.path.basename(name)) for name in names}
        except (OSError, ValueError, LookupError, TypeError):
            return None
        found = {name: file for name, file in files.items() if file is not None}
        return found if len(found) == len(files) else None


def entry(key: str) -> CacheManager:
    """The entry of a hexadecimal key.

    Raises:
        UnusableDirectoryError: no file in the cache directory can be trusted, or there is none.
    """
    directory = _private_directory.get()
    if directory is None:
        if knobs.cache.manager_class is not None:
            return get_cache_manager(key)
        try:
            directory = knobs.cache.dir
        except UnicodeDecodeError as error:
            raise UnusableDirectoryError("TRITON_CACHE_DIR is not UTF-8") from error
        if not directory:
            raise UnusableDirectoryError("TRITON_CACHE_DIR is empty")
    return Entry(key, directory)


def is_ignored() -> bool:
    """Whether kernels are compiled whatever the cache holds."""
    return _recompiling.get() or knobs.compilation.always_compile


@contextlib.contextmanager
def recompiling() -> Iterator[None]:
    """Compile, and write the cache entry, even if there is one."""
    token = _recompiling.set(True)
    try:
        yield
    finally:
        _recompiling.reset(token)


@contextlib.contextmanager
def private_directory() -> Iterator[None]:
    """Compile into an empty directory that only this user can write, gone at the end."""
    with temporary_directory() as directory:
        token = _private_directory.set(directory)
        try:
            yield
        finally:
            _private_directory.reset(token)


# ---- Trust ---------------------------------------------------------------------------------------


def seal(code: bytes, key: str) -> bytes:
    """Append the digest that `check` looks for."""
    return code + hashlib.sha256(key.encode() + code).digest()


def check(path: str, key: str) -> bytes:
    """Read the shared object at `path`, and make sure that it is whole, ours, and of an entry.

    As nobody else can put another file there, links on the way included, what is loaded from the
    path afterwards is what was checked.

    Raises:
        UnusableDirectoryError: no file there can be trusted.
        BadEntryError: this one is damaged, is not to be trusted, or cannot be read.
    """
    try:
        require_trusted(os.path.dirname(path))
        if not _is_our_file(os.lstat(path)):
            raise BadEntryError(f"another user can write {path}, or it is no file")
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadEntryError(f"{path}: {error}") from error
    if seal(data[:-DIGEST_SIZE], key) != data:
        raise BadEntryError(f"{path} is damaged, or belongs to another kernel")
    return data


def require_trusted(directory: str) -> None:
    """Make sure that only this user and root decide what lies in a directory.

    Raises:
        UnusableDirectoryError: another user can change it, or a directory or link on the way to it.
        OSError: it is not there.
    """
    os.stat(directory)  # fails where links lead in a circle
    place = "/"
    rest = [*reversed(Path(directory).absolute().parts)]
    while rest:
        # The place is behind all links, so that ".." is what precedes it.
        following = os.path.normpath(os.path.join(place, rest.pop()))
        info = os.lstat(following)
        if stat.S_ISLNK(info.st_mode) and _is_our(info):
            rest.extend(reversed(Path(os.readlink(following)).parts))
        elif _only_we_can_write(info):
            place = following
        else:
            raise UnusableDirectoryError(
                f"another user can change {following}, which leads to the cache"
            )


def _is_our(info: os.stat_result) -> bool:
    return info.st_uid in (0, os.geteuid())


def _is_our_file(info: os.stat_result) -> bool:
    return stat.S_ISREG(info.st_mode) and _only_we_can_write(info)


def _only_we_can_write(info: os.stat_result) -> bool:
    if not _is_our(info):
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


# ---- Keys ----------------------------------------------------------------------------------------


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
