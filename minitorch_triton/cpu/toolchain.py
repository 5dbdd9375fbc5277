"""The system's C compiler: finding it, naming its version and this processor, compiling with it.

One function does the work, `compile_c`: C text in, the bytes of a shared object out. Everything
that can change those bytes apart from the text (compiler, flags, processor, headers) is in
`fingerprint`, which the kernel cache uses as part of its key.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from triton.runtime.cache import CacheManager

from . import cache
from .temporary import temporary_directory

INCLUDE_DIR = Path(__file__).parent / "include"
PACKAGE_DIR = Path(__file__).parent

# A kernel compiles in well under a second; minutes mean that the compiler is stuck.
TIME_LIMIT_S = 300.0

# -fno-math-errno and -fno-trapping-math change no value: they allow sqrtf to become one
# instruction and comparisons to become masks. -fno-strict-aliasing because one scratch buffer
# holds tiles of different types; -fwrapv because integer arithmetic in Triton wraps around.
FLAGS = (
    "-std=gnu11", "-O3", "-fPIC", "-shared", "-nostartfiles", "-pipe", "-fvisibility=hidden",
    "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing", "-fwrapv", "-fopenmp-simd",
    "-Wno-psabi", "-Wno-unknown-pragmas", "-Werror=implicit-function-declaration",
)  # fmt: skip


class NoCompilerError(RuntimeError):
    """There is no C compiler on this machine."""


class CompileError(RuntimeError):
    """The C compiler failed; the message holds its command and what it printed."""


@functools.lru_cache
def find_compiler() -> tuple[str, ...]:
    """The command that runs the C compiler, as an argument list.

    In this order: the environment variable `CC` (which may hold arguments), `gcc`, `clang`, `cc`,
    and the `ziglang` Python package.

    Raises:
        NoCompilerError: none of them is there.
    """
    try:
        command = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise NoCompilerError(_wrong_CC(str(error))) from None
    if command:
        if shutil.which(command[0]) is None:
            raise NoCompilerError(_wrong_CC(f"{command[0]!r} is not an executable"))
        return tuple(command)
    for name in ("gcc", "clang", "cc"):
        if path := shutil.which(name):
            return (path,)
    if importlib.util.find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "cc")
    raise NoCompilerError(
        "Triton kernels run on a CPU as compiled C, and no C compiler was found. Install one "
        "(`apt install gcc`, or `pip install ziglang`, which needs no root) or name one in CC. To "
        "debug kernels without a compiler, set TRITON_INTERPRET=1 before importing triton."
    )


def _wrong_CC(reason: str) -> str:
    return (
        f"CC is set to {os.environ.get('CC')!r}, which is no C compiler: {reason}. Unset it, or "
        "set it to one (`apt install gcc`). To debug kernels without a compiler, set "
        "TRITON_INTERPRET=1 before importing triton."
    )


def target_flags() -> tuple[str, ...]:
    """The flag that selects this processor's instruction set."""
    return ("-march=native",) if platform.machine() in ("x86_64", "i686") else ("-mcpu=native",)


def workaround_flags() -> tuple[str, ...]:
    """Flags against mistakes of the compiler itself.

    gcc 12.2 distributes ``b[j] = a[j - 1]; a[j] = x[j]`` over two loops in the wrong order. Kernels
    gain nothing from that pass, as their loops are planned before. Clang does not know the flag.
    """
    is_gcc = "Free Software Foundation" in compiler_version()
    return ("-fno-tree-loop-distribution",) if is_gcc else ()


@functools.lru_cache
def processor() -> str:
    """A text that is equal on two machines only if `-march=native` means the same on both."""
    names = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU part", "isa")
    lines = []
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            # The first block describes the first core; on a big machine the file is long.
            if not line.strip():
                break
            if line.split("\t")[0].strip() in names:
                lines.append(" ".join(line.split()))
    return "\n".join([platform.machine(), *lines])


@functools.lru_cache
def compiler_version() -> str:
    """What the compiler says about itself.

    Raises:
        NoCompilerError: there is none, or what ought to be one does not answer.
    """
    command = [*find_compiler(), "--version"]
    try:
        version = _run(command, time_limit=60.0).strip()
    except (CompileError, OSError) as error:
        reason = f"`{shlex.join(command)}` fails ({' '.join(str(error)[:500].split())})"
    else:
        if version:
            return version
        reason = f"`{shlex.join(command)}` prints nothing"
    if os.environ.get("CC"):
        raise NoCompilerError(_wrong_CC(reason))
    raise NoCompilerError(f"the C compiler cannot be used: {reason}")


@functools.lru_cache
def sources_hash() -> str:
    """Hash of this package's own Python files and C files, in a fixed order."""
    digest = hashlib.sha256()
    for path in sorted([*PACKAGE_DIR.rglob("*.py"), *INCLUDE_DIR.rglob("*.[ch]")]):
        digest.update(str(path.relative_to(PACKAGE_DIR)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def compiler_identity() -> str:
    """The compiler's command and what it says about itself.

    Where there is no compiler, or `CC` is wrong, those of the one that filled the cache last, so
    that what it compiled can be found.

    Raises:
        NoCompilerError: there is none, and there was none.
    """
    try:
        return "\0".join((*find_compiler(), compiler_version()))
    except NoCompilerError:
        if (identity := _remembered_compiler()) is not None:
            return identity
        raise


def remember_compiler() -> None:
    """Note in the cache which compiler fills it."""
    if _remembered_compiler() != compiler_identity():
        _identity_entry().put(compiler_identity(), _IDENTITY_FILE, binary=False)


def _remembered_compiler() -> str | None:
    path = _identity_entry().get_file(_IDENTITY_FILE)
    return None if path is None else Path(path).read_text()


_IDENTITY_FILE = "compiler.txt"


def _identity_entry() -> CacheManager:
    """The cache's entry of who compiled for this package and this processor."""
    key = "\0".join(("compiler", processor(), sources_hash()))
    return cache.entry(hashlib.sha256(key.encode()).hexdigest())


@functools.lru_cache
def fingerprint() -> str:
    """Hash of everything but the C text that can change a compiled kernel."""
    parts = (compiler_identity(), *FLAGS, *target_flags(), processor(), sources_hash())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def compile_c(
    text: str,
    *,
    name: str = "kernel",
    flags: tuple[str, ...] = (),
    objects: Sequence[bytes] = (),
) -> bytes:
    """Compile one C file to a shared object (an object file with the flag -c), return its bytes.

    Args:
        text: the complete C file; it may include the headers of `INCLUDE_DIR`.
        name: base name of the file, which the compiler's messages mention.
        flags: further compiler flags, after the standard ones.
        objects: object files to link with it.

    Raises:
        NoCompilerError: there is no C compiler.
        CompileError: it failed, or took longer than `TIME_LIMIT_S`.
    """
    compiler_version()
    try:
        with temporary_directory() as directory:
            stem = str(Path(directory, name[:100]))
            Path(f"{stem}.c").write_text(text)
            linked = [Path(directory, f"{number}.o") for number in range(len(objects))]
            for path, code in zip(linked, objects, strict=True):
                path.write_bytes(code)
            command = [
                *find_compiler(), *FLAGS, *target_flags(), *workaround_flags(), *flags,
                f"-I{INCLUDE_DIR}", f"{stem}.c", *map(str, linked), "-o", f"{stem}.so", "-lm",
            ]  # fmt: skip
            _run(command, time_limit=TIME_LIMIT_S)
            output = Path(f"{stem}.so")
            code = output.read_bytes() if output.exists() else b""
    except OSError as error:
        # No space in the temporary directory, a compiler that cannot be started, ...
        raise CompileError(f"cannot compile {name}: {error}{_advice(str(error))}") from error
    if not code.startswith(b"\x7fELF"):
        raise CompileError(f"the C compiler wrote no machine code\n{shlex.join(command)}")
    return code


def _advice(message: str) -> str:
    """What to do about files that cannot be written; empty if a failure has another reason."""
    if re.search("no space left|file too large|file size limit|quota exceeded", message, re.I):
        return (
            f"\nThe compiler's files go to {tempfile.gettempdir()}: make room there, or set TMPDIR "
            "to another directory; a limit of the size of files (`ulimit -f`) is also an obstacle"
        )
    return ""


def _run(command: list[str], time_limit: float) -> str:
    """Run a command without a shell and return its standard output.

    The command gets a session of its own, so that it can be ended with all its children (gcc is a
    driver that starts the real compiler) on a time-out or an interrupt. It writes to files in
    memory: the end of a pipe comes only when the last child that holds it has ended, which may be
    a server that a wrapper of the compiler has started.
    """
    with _file_in_memory() as output, _file_in_memory() as messages:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=messages,
            env={**os.environ, "LC_ALL": "C"}, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + time_limit
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise CompileError(f"{shlex.join(command)}\ntook longer than {time_limit} s")
                time.sleep(0.002)  # Popen.wait would look only every 50 ms
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        status = process.returncode
        if status != 0:
            signalled = f" ({signal.strsignal(-status)})" if status < 0 else ""
            message = f"status {status}{signalled}\n{shlex.join(command)}\n{_shown(messages)}"
            raise CompileError(f"the C compiler failed with {message}{_advice(message)}")
        output.seek(0)
        return output.read().decode(errors="replace")


def _file_in_memory() -> BinaryIO:
    return open(os.memfd_create("compiler"), "w+b")


def _shown(messages: BinaryIO, size: int = 8000) -> str:
    """The first so many bytes of a file, if they are text."""
    messages.seek(0)
    data = messages.read(size + 1)
    if b"\0" in data:
        return "(it has printed no text)"
    return data[:size].decode(errors="replace") + "\n..." * (len(data) > size)
