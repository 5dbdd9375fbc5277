"""Compile every kernel for GPUs, on a machine that needs none: ``make gpu-compile``.

What is compiled is what a GPU would be asked for: the table of cases and training steps run with a
launch that only notes kernel, argument types and constants, with a GPU's block sizes. Each distinct
variant is compiled for every target. A kernel of ``minitorch_triton.kernels`` that was never asked
for is an error, so that none can be forgotten.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import minitorch_triton as mt
from minitorch_triton import kernels, nn, optim
from minitorch_triton.cpu import checking
from minitorch_triton.kernels import launch
from minitorch_triton.storage import Storage
from minitorch_triton.testing.cases import CASES
from minitorch_triton.testing.checks import lay_out

TARGETS = {
    "sm_75": GPUTarget("cuda", 75, 32),
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}

DTYPES = (torch.float32, torch.bfloat16, torch.float64)

POINTER = {
    torch.float64: "*fp64",
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.int16: "*i16",
    torch.int8: "*i8",
    torch.uint8: "*u8",
    torch.bool: "*i1",
}


@dataclass(frozen=True)
class Variant:
    """A kernel with the types of its run-time arguments and the values of its constants."""

    kernel: Any
    types: tuple[str | None, ...]
    constants: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        return self.kernel.fn.__name__

    def __str__(self) -> str:
        pointers = [kind for kind in self.types if kind and kind.startswith("*")]
        values = [f"{name}={_short(value)}" for name, value in self.constants]
        return f"{self.name}({', '.join(pointers)}; {', '.join(values)})"

    def fits(self, target: GPUTarget) -> bool:
        """Whether the target has the arithmetic: bfloat16 came to NVIDIA with sm_80."""
        return not (target.backend == "cuda" and target.arch < 80 and "*bf16" in self.types)

    def compile(self, target: GPUTarget) -> Any:
        """Triton's compiled kernel; pointers are taken to be aligned, as fresh memory is."""
        signature, constants, attributes = {}, {}, {}
        given = dict(self.constants)
        for position, parameter in enumerate(self.kernel.params):
            kind = self.types[position] if position < len(self.types) else None
            if kind is None:
                signature[parameter.name] = "constexpr"
                constants[(position,)] = given.get(parameter.name)
                continue
            signature[parameter.name] = kind
            if kind.startswith("*"):
                attributes[(position,)] = [["tt.divisibility", 16]]
        source = ASTSource(self.kernel, signature, constants, attributes)
        return triton.compile(source, target=target)


def _short(value: Any) -> str:
    return value.fn.__name__ if hasattr(value, "fn") else str(value)


class _Noted(launch.KernelOfSlots):
    """A prepared kernel that does nothing."""

    def start(self, slots: tuple) -> None: ...


class Recorder:
    """Notes what would be launched on a GPU, and launches nothing.

    Planned launches are kept by the operations, so a process that has recorded cannot compute.
    """

    def __init__(self) -> None:
        self.variants: dict[Variant, None] = {}

    def prepare(self, kernel: Any, args: Sequence, constants: dict[str, Any]) -> _Noted:
        types: list = []
        for parameter, arg in zip(kernel.params, args, strict=False):
            if arg is None:
                types.append(None)
            elif hasattr(arg, "data_ptr"):
                types.append(POINTER[arg.dtype])
            else:
                types.append(parameter.annotation_type)
        self.variants[Variant(kernel, tuple(types), tuple(constants.items()))] = None
        return _Noted()

    def install(self) -> None:
        """From here on launches are noted, with a GPU's block sizes, and none is checked."""
        checking.turn(False)
        launch._prepare = self.prepare  # type: ignore[assignment]
        for module in kernel_modules():
            if hasattr(module, "is_cpu"):
                module.is_cpu = lambda buffer: False
        take = Storage.take

        def take_ones(free: Any) -> Storage:
            # Where the host reads a count that no kernel has written, it finds a small one.
            storage = take(free)
            storage.buffer.view(torch.int64).fill_(1)
            return storage

        Storage.take = staticmethod(take_ones)  # type: ignore[method-assign]


def kernel_modules() -> Iterator[Any]:
    """The modules of ``minitorch_triton.kernels``."""
    for found in pkgutil.iter_modules(kernels.__path__):
        yield importlib.import_module(f"{kernels.__name__}.{found.name}")


def all_kernels() -> set[str]:
    """The names of all kernels, which by convention end in ``_kernel``."""
    return {
        name
        for module in kernel_modules()
        for name, value in vars(module).items()
        if name.endswith("_kernel") and hasattr(value, "params")
    }


OPTIMIZERS: tuple[Callable, ...] = (
    lambda parameters: optim.SGD(parameters, lr=0.1),
    lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
    lambda parameters: optim.Adam(parameters, lr=0.1),
    lambda parameters: optim.AdamW(parameters, lr=0.1, amsgrad=True),
)


def run_cases(dtype: torch.dtype) -> None:
    """Every case forward and backward, stored densely and not."""
    for case in CASES.values():
        for layout in ("contiguous", "sliced"):
            inputs = [mt.from_torch(lay_out(x, layout)) for x in case.sample(dtype)]
            for given, x in zip(case.inputs, inputs, strict=True):
                x.requires_grad_(case.differentiable and given.tracked and x.is_floating_point())
            try:
                results = case.call(mt, *inputs)
            except RuntimeError:
                # A view that this layout does not allow, or a check of values not computed.
                continue
            outputs = results if isinstance(results, (tuple, list)) else [results]
            for y in outputs:
                if y.requires_grad:
                    y.backward(mt.from_torch(torch.ones(y.shape, dtype=y.dtype)), retain_graph=True)


def run_training(dtype: torch.dtype) -> None:
    """A step with every kind of optimizer and of gradient clipping."""
    for make in OPTIMIZERS:
        model = nn.Sequential(nn.Linear(200, 300), nn.ReLU(), nn.Linear(300, 10)).to(dtype)
        update = make(model.parameters())
        x = mt.zeros(128, 200, dtype=dtype)
        for _ in range(2):
            nn.functional.cross_entropy(model(x), mt.zeros(128, dtype=torch.int64)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            nn.utils.clip_grad_value_(model.parameters(), 1.0)
            update.step()


def record(dtypes: Sequence[torch.dtype] = DTYPES) -> list[Variant]:
    """The variants that the cases and training steps ask a GPU for.

    Raises:
        RuntimeError: a kernel is in none of them.
    """
    recorder = Recorder()
    recorder.install()
    for dtype in dtypes:
        run_cases(dtype)
        run_training(dtype)
    missing = all_kernels() - {variant.name for variant in recorder.variants}
    if missing:
        raise RuntimeError(
            f"no case or training step launches {', '.join(sorted(missing))}: add a case to "
            "minitorch_triton/testing/cases.py"
        )
    return list(recorder.variants)


def resources(compiled: Any) -> str:
    """Registers, and bytes or registers spilled, from what the compiler left behind."""
    if "amdgcn" in compiled.asm:
        counts = dict(re.findall(r"\.([vs]gpr(?:_spill)?_count):\s*(\d+)", compiled.asm["amdgcn"]))
        spilled = int(counts["vgpr_spill_count"]) + int(counts["sgpr_spill_count"])
        return f"{counts['vgpr_count']} registers, {spilled} spilled"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = subprocess.run(
            [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    found = dict(re.findall(r"\b(REG|STACK):(\d+)", usage))
    return f"{found['REG']} registers, {found['STACK']} bytes of stack"


def report(variant: Variant, name: str) -> str:
    """Compile for one target; one line about it."""
    return f"{name:6}  {resources(variant.compile(TARGETS[name])):34}  {variant}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compile every kernel for GPUs; none is needed.")
    parser.add_argument("--target", choices=TARGETS, action="append", help="default: all")
    parser.add_argument(
        "--one-each", action="store_true", help="one variant per kernel, for one target in turn"
    )
    options = parser.parse_args(arguments)
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    names = options.target or list(TARGETS)
    if options.one_each:
        each = {variant.name: variant for variant in record((torch.float32,))}
        jobs = [(v, names[i % len(names)]) for i, v in enumerate(each.values())]
    else:
        jobs = [(v, name) for v in record() for name in names if v.fits(TARGETS[name])]
    failed = 0
    for variant, name in jobs:
        try:
            print(report(variant, name), flush=True)
        except Exception as error:
            failed += 1
            print(f"{name:6}  FAILED  {variant}\n        {error}", flush=True)
    print(f"{len(jobs) - failed} of {len(jobs)} variants compiled")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
