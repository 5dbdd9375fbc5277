"""Show how a kernel becomes machine code: every stage of the compiler, as text."""

from __future__ import annotations

import ast
import importlib
import inspect
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import triton
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from . import toolchain
from .backend import TARGET
from .codegen import compile_to_c
from .driver import enable
from .launch import SLOT_FORMATS
from .schedule import Group, Plan, ScalarStep, Step

STAGES = ("source", "ttir", "plan", "c", "so")


def find_kernel(name: str) -> JITFunction:
    """The kernel called `module:function` or `path/to/file.py:function`.

    Raises:
        ValueError: there is no such kernel.
    """
    module_name, _, function_name = name.rpartition(":")
    if not module_name:
        raise ValueError(f"{name!r} should be module:kernel or file.py:kernel")
    if module_name.endswith(".py"):
        # Where a script's own imports look, too.
        sys.path.insert(0, str(Path(module_name).resolve().parent))
        if not Path(module_name).is_file():
            raise ValueError(f"there is no file {module_name}")
        module = importlib.import_module(Path(module_name).stem)
    else:
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise  # something that the module imports
            raise ValueError(f"there is no module {module_name}") from error
    kernel = getattr(module, function_name, None)
    # Below the autotuner and the heuristics.
    while kernel is not None and not isinstance(kernel, JITFunction):
        kernel = getattr(kernel, "fn", None)
    if kernel is None:
        raise ValueError(f"{module_name} has no @triton.jit function {function_name!r}")
    return kernel


def is_type(text: str) -> bool:
    """Whether the text names the type of a run-time argument, such as "i32" or "*fp32"."""
    return text.removeprefix("*") in SLOT_FORMATS or text.startswith("*fp8")


def parse_arguments(kernel: JITFunction, words: list[str]) -> tuple[dict, dict]:
    """Read `name=type` and `name=constant` words.

    Returns:
        Triton's signature, a type or "constexpr" for each parameter, and the constants by name.

    Raises:
        ValueError: a parameter or a type is unknown, or a parameter lacks a value.
    """
    given = dict(word.partition("=")[::2] for word in words)
    if unknown := given.keys() - set(kernel.arg_names):
        raise ValueError(f"{kernel.__name__} has no parameter {', '.join(sorted(unknown))}")
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    for param in kernel.params:
        text = given.get(param.name)
        if text is not None and is_type(text) and not param.is_constexpr:
            signature[param.name] = text
        elif text is not None:
            constants[param.name] = constant = _constant(text)
            if isinstance(constant, str) and not param.is_constexpr:
                known = ", ".join(SLOT_FORMATS)
                raise ValueError(
                    f"{param.name}={text}: unknown type; write one of {known}, with a leading * "
                    "for a pointer"
                )
        elif param.has_default:
            constants[param.name] = param.default
        elif param.annotation_type:
            signature[param.name] = param.annotation_type
        else:
            example = "64" if param.is_constexpr else "i32, or *fp32 for a pointer"
            raise ValueError(f"say what {param.name} is: {param.name}={example}")
        signature.setdefault(param.name, "constexpr")
    return signature, constants


def _constant(text: str) -> Any:
    """A Python literal, a name of triton.language, a kernel, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    if text.startswith("tl."):
        return getattr(triton.language, text.removeprefix("tl."))
    return find_kernel(text) if ":" in text else text


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
    return f"({op.location})" if op.location else ""


def describe_plan(plan: Plan) -> str:
    """The loop plan of one block, a line for each step."""
    lines = [line for step in plan.steps for line in _describe_step(step)]
    for value, one_row in plan.arrays.items():
        shape = "x".join(map(str, value.shape))
        lines.append(f"in memory: {value.name}, {shape}" + ", one row at a time" * one_row)
    return "\n".join(lines)


def disassemble(code: bytes) -> str:
    """The machine code of a shared object as text, if `objdump` is installed."""
    if shutil.which("objdump") is None:
        return "(install binutils to see the machine code)"
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(code)
        file.flush()
        syntax = ["-M", "intel"] if platform.machine() == "x86_64" else []
        command = ["objdump", "-d", "-j", ".text", "--no-show-raw-insn", *syntax, file.name]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return listing.partition("\n\n")[2].strip()


def explain(name: str, words: list[str], stages: tuple[str, ...] = STAGES) -> Iterator[str]:
    """Yield the stages of a kernel, each as a title line and its text.

    Args:
        name: `module:kernel` or `file.py:kernel`.
        words: `parameter=type` for run-time arguments, `parameter=value` for constants.
        stages: which to show, of `STAGES`.

    Raises:
        ValueError: the kernel or a parameter is not there.
    """
    enable()
    kernel = find_kernel(name)
    signature, constants = parse_arguments(kernel, words)
    source = ASTSource(kernel, signature, {(kernel.arg_names.index(n),): v
                                           for n, v in constants.items()})  # fmt: skip
    compiled = triton.compile(source, target=TARGET)
    if "source" in stages:
        yield f"==== Python ({kernel.__module__}.{kernel.__name__})"
        yield inspect.getsource(kernel.fn)
    if "ttir" in stages:
        yield "==== Triton IR, simplified"
        yield compiled.asm["ttir"]
    if "plan" in stages:
        yield "==== Loop plan, one for each block of the IR"
        plans = compile_to_c(compiled.asm["ttir"], compiled.metadata.check).plans
        yield "\n\n".join(map(describe_plan, plans))
    if "c" in stages:
        yield "==== C"
        yield compiled.asm["c"]
    if "so" in stages:
        code = compiled.asm["so"]
        compiler = toolchain.compiler_version().splitlines()[0]
        yield f"==== Machine code ({len(code)} bytes, {compiler})"
        yield disassemble(code)
