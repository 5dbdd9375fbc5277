"""Functions of the C headers as NumPy functions, for the tests."""

from __future__ import annotations

import ctypes
import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minitorch_triton.cpu import toolchain

C_TYPES = {
    "f32": ("float", np.float32),
    "f64": ("double", np.float64),
    "i8": ("int8_t", np.int8),
    "i16": ("int16_t", np.int16),
    "i32": ("int32_t", np.int32),
    "i64": ("int64_t", np.int64),
    "u8": ("uint8_t", np.uint8),
    "u16": ("uint16_t", np.uint16),
    "u32": ("uint32_t", np.uint32),
    "u64": ("uint64_t", np.uint64),
}
X86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="what is vectorised is stated for x86-64 alone"
)
Signature = tuple[str, ...]  # the argument types, then the result type


def loop(name: str, signature: Signature) -> str:
    """A C function, on one line, that applies `mt_<name>` to every element of its arrays."""
    *arguments, result = (C_TYPES[t][0] for t in signature)
    names = "abc"[: len(arguments)]
    parameters = "".join(
        f"const {t} *restrict {n}, " for t, n in zip(arguments, names, strict=True)
    )
    call = f"mt_{name}({', '.join(f'{n}[i]' for n in names)})"
    return (
        f'__attribute__((visibility("default"))) void loop_{name}(int64_t n, {parameters}'
        f"{result} *restrict out) {{ for (int64_t i = 0; i < n; i++) out[i] = {call}; }}"
    )


def source(signatures: dict[str, Signature]) -> str:
    return "\n".join(
        ['#include "mt_math.h"', *(loop(name, s) for name, s in signatures.items()), ""]
    )


def compile_functions(
    signatures: dict[str, Signature], directory: Path
) -> tuple[dict[str, Callable], set[str]]:
    """NumPy functions that apply `mt_<name>` element by element, by their names; and the names
    of those whose loop the compiler does not report as vectorised."""
    text, binary = directory / "functions.c", directory / "functions.so"
    text.write_text(source(signatures))
    clang = "clang" in toolchain.compiler_version()
    # gcc merges functions that turn out equal, and then reports only one of them.
    report = ("-Rpass=loop-vectorize",) if clang else ("-fopt-info-vec-optimized", "-fno-ipa-icf")
    command = [
        *toolchain.find_compiler(), *toolchain.FLAGS, *toolchain.target_flags(), *report,
        f"-I{toolchain.INCLUDE_DIR}", str(text), "-o", str(binary), "-lm",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    reported = re.findall(r"functions\.c:(\d+):.*(?:loop vectorized|vectorized loop)", run.stderr)
    lines = set(map(int, reported))
    scalar = {name for number, name in enumerate(signatures, start=2) if number not in lines}
    library = ctypes.CDLL(str(binary))

    def wrap(name: str, signature: Signature) -> Callable:
        function = getattr(library, f"loop_{name}")
        *argument_types, result_type = (C_TYPES[t][1] for t in signature)

        def apply(*arrays: np.ndarray) -> np.ndarray:
            arrays = [
                np.ascontiguousarray(x, dtype=t)
                for x, t in zip(arrays, argument_types, strict=True)
            ]
            assert len({x.shape for x in arrays}) == 1
            out = np.empty(arrays[0].shape, result_type)
            pointers = [ctypes.c_void_p(x.ctypes.data) for x in (*arrays, out)]
            function(ctypes.c_int64(out.size), *pointers)
            return out

        return apply

    return {name: wrap(name, signature) for name, signature in signatures.items()}, scalar
