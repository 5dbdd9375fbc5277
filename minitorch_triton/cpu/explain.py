"""Show how kernels become machine code: run a script, and print every stage of what it compiles."""

from __future__ import annotations

import inspect
import linecache
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import triton
from triton import knobs
from triton.compiler.errors import CompilationError
from triton.runtime.jit import JITFunction

from . import backend, toolchain
from .driver import enable
from .schedule import Group, Plan, ScalarStep, Step

STAGES = ("source", "ttir", "plan", "c", "so")


def explain(
    script: str, arguments: Sequence[str] = (), *, kernels: Sequence[str] = (),
    stages: Sequence[str] = STAGES, write: Callable[[str], Any] = print,
) -> bool:  # fmt: skip
    """Run a Python file as a script, and write the stages of every kernel that it compiles for the
    CPU, by launches, warm-ups or `prepare`: those that are in the cache as well, but what gives the
    same Triton IR once.

    Args:
        script: path of the file.
        arguments: its command line.
        kernels: names of the kernels to show; all if there are none.
        stages: which to show, of `STAGES`.
        write: called with each piece of text.

    Returns:
        Whether all went well. Where a kernel could not be compiled, the stages that it reached are
        followed by the error, and the script has ended there.

    Raises:
        ValueError: there is no such file, or kernels are not compiled but interpreted.
    """
    if not Path(script).is_file():
        raise ValueError(f"there is no file {script}")
    if knobs.runtime.interpret:
        raise ValueError("with TRITON_INTERPRET=1 kernels are interpreted; unset it")
    enable()
    report = Report(kernels, stages, write)
    argv, path = sys.argv, list(sys.path)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    backend.followers.append(report)
    try:
        with knobs.compilation.scope():
            knobs.compilation.always_compile = True
            runpy.run_path(script, run_name="__main__")
    except Exception as error:
        if not report.compiling:
            raise
        report.fail(error)
        return False
    finally:
        backend.followers.remove(report)
        sys.argv, sys.path[:] = argv, path
    return True


class Report:
    """Follows compilations, and writes their stages as they are reached."""

    def __init__(
        self, kernels: Sequence[str], stages: Sequence[str], write: Callable[[str], Any]
    ) -> None:
        self.kernels, self.stages, self.write = kernels, stages, write
        self.compiling: tuple[JITFunction, dict, dict] | None = None
        self.begun = self.silent = False
        self.seen: set[tuple[str, str]] = set()

    def __call__(self, stage: str, result: Any) -> None:
        if stage == "kernel":
            self.compiling, self.begun, self.silent = result, False, False
        elif self.compiling is None:
            return  # not by a launch but by triton.compile
        elif stage == "ttir":
            name = self.compiling[0].__name__
            self.silent = (name, result) in self.seen or name not in (self.kernels or [name])
            self.seen.add((name, result))
            self.begin()
            self.section("ttir", "Triton IR, simplified", result, without_locations)
        elif stage == "plan":
            plans = "\n\n".join(map(describe_plan, result))
            self.section("plan", "Loop plan, one for each block of the IR", plans)
        elif stage == "c":
            self.section("c", "C", result)
        elif stage == "so":
            compiler = toolchain.compiler_version().splitlines()[0]
            title = f"Machine code ({len(result)} bytes, {compiler})"
            self.section("so", title, result, disassemble)
            self.compiling = None

    def begin(self) -> None:
        """Write which kernel it is, and its source."""
        assert self.compiling is not None
        self.begun = True
        if not self.silent:
            self.write(f"######## {call_text(*self.compiling)}\n")
        self.section("source", "Python", self.compiling[0].fn, inspect.getsource)

    def section(
        self, stage: str, title: str, content: Any, text: Callable[[Any], str] = str
    ) -> None:
        """Write one stage, if it is wanted."""
        if stage in self.stages and not self.silent and content:
            self.write(f"==== {title}\n{text(content).strip()}\n")

    def fail(self, error: BaseException) -> None:
        """Write why the kernel in hand was not compiled to the end."""
        if not self.begun:
            self.begin()
        self.write(f"==== Error\n{error_text(error)}")


# The parentheses of a source location are up to three deep.
_LOCATION = re.compile(r" loc\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)")


def without_locations(ttir: str) -> str:
    """Triton IR without source locations, which the loop plan shows."""
    lines = [line for line in ttir.splitlines() if not line.startswith("#loc")]
    return _LOCATION.sub("", "\n".join(lines))


def error_text(error: BaseException) -> str:
    """An error and what caused it, with the line of the kernel where that is known."""
    lines = [f"{type(error).__name__}: {error}"]
    location = getattr(error, "location", None)
    if location is not None:
        lines.append(f"    {linecache.getline(location.file, location.line).strip()}")
    # Triton's errors name the call of a function; what is wrong in the function is their cause.
    if isinstance(error.__cause__, CompilationError):
        lines.append(error_text(error.__cause__))
    return "\n".join(lines)


def call_text(kernel: JITFunction, signature: dict[str, Any], constants: dict) -> str:
    """A variant of a kernel as a call: `add(x: *fp32, n: i32, BLOCK=64)`."""

    def parameter(number: int, name: str, ty: Any) -> str:
        if ty != "constexpr":
            return f"{name}: {ty}"
        value = constants.get((number,))
        return f"{name}={getattr(value, '__name__', None) or repr(value)}"

    texts = [parameter(n, name, ty) for n, (name, ty) in enumerate(signature.items())]
    return f"{kernel.__name__}({', '.join(texts)})"


# Where Triton is installed; its files are named from there on.
_TRITON = Path(triton.__file__).parents[1]


def _describe_step(step: Step) -> Iterator[str]:
    if not isinstance(step, Group):
        kind = "statement" if isinstance(step, ScalarStep) else "whole block"
        yield f"{kind}: {step.op.name} {_place(step.op)}"
        return
    loops = ", ".join(f"{name} < {extent}" for name, extent in step.extents.items())
    yield f"loops {loops or '(none)'}:"
    for stage in step.stages:
        yield f"  {'once' if stage.extent is None else f'loop j < {stage.extent}'}:"
        for task in stage.tasks:
            if task.op is not None:
                yield f"    {task.op.name} {_place(task.op)}"
            elif task.value is not None:
                yield f"    compute {task.value.name} into memory"


def _place(op: Any) -> str:
    return f"({op.location})".replace(f"({_TRITON}{os.sep}", "(") if op.location else ""


def describe_plan(plan: Plan) -> str:
    """The loop plan of one block, a line for each step."""
    lines = [line for step in plan.steps for line in _describe_step(step)]
    for value, one_row in plan.arrays.items():
        shape = "x".join(map(str, value.shape))
        lines.append(f"in memory: {value.name}, {shape}" + ", one row at a time" * one_row)
    return "\n".join(lines)


# The functions that a kernel's C file defines; others are the same in every kernel.
_OWN_FUNCTION = re.compile(r"\w+ <(body|mt_programs_of_body|mt_checked_body)\b")


def disassemble(code: bytes) -> str:
    """The machine code of a kernel's shared object as text, if `objdump` is installed."""
    if shutil.which("objdump") is None:
        return "(install binutils to see the machine code)"
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(code)
        file.flush()
        syntax = ["-M", "intel"] if platform.machine() == "x86_64" else []
        command = ["objdump", "-d", "-j", ".text", "--no-show-raw-insn", *syntax, file.name]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return "\n\n".join(part for part in listing.split("\n\n") if _OWN_FUNCTION.match(part.strip()))
