"""Micro-kernels of mt_gemm.h against torch.mm on one thread: the products of MLP training steps.

    python benchmarks/cpu_gemm.py [f32|f64|bf16f32|f16f32]

Prints GFLOP/s of both and the ratio (above 1: ours is faster). The two alternate in one process,
and of each the lower quartile is taken: what other processes take away falls on both alike.
"""

import ctypes
import sys
import tempfile
import time
from pathlib import Path

import torch

from minitorch_triton.cpu import toolchain

LAYERS = [  # features in, features out, batch
    (784, 128, 64), (784, 256, 128), (784, 512, 128), (512, 256, 128), (256, 10, 128),
    (128, 10, 64), (784, 1024, 512), (1024, 1024, 512), (1024, 10, 512), (1024, 1024, 1024),
]  # fmt: skip
TYPES = {
    "f32": ("float", "float", torch.float32), "f64": ("double", "double", torch.float64),
    "bf16f32": ("uint16_t", "float", torch.bfloat16),
    "f16f32": ("uint16_t", "float", torch.float16),
}  # fmt: skip
SOURCE = """
#define MT_GEMM_{define}
#include "mt_gemm.h"
__attribute__((visibility("default"))) void product(
    int64_t M, int64_t N, int64_t K, {operand} *A, int64_t a_rs, int64_t a_cs,
    {operand} *B, int64_t b_rs, int64_t b_cs, {result} *C, {result} *scratch) {{
  mt_gemm_{name}_set(M, N, K, A, a_rs, a_cs, B, b_rs, b_cs, C, N, scratch);
}}
"""


def compile_product(name: str):
    operand, result, _ = TYPES[name]
    text = SOURCE.format(define=name.upper(), name=name, operand=operand, result=result)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "product.so")
        path.write_bytes(toolchain.compile_c(text, name="product"))
        function = ctypes.CDLL(str(path)).product
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    function.restype = None
    function.argtypes = [
        *[size] * 3, pointer, size, size, pointer, size, size, pointer, pointer
    ]  # fmt: skip
    return function


def lower_quartiles(functions, repeats: int) -> list[float]:
    """Seconds of each function; they take turns."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, own in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            own.append(time.perf_counter() - start)
    return [sorted(own[1:])[len(own) // 4] for own in times]


def main(name: str = "f32") -> None:
    torch.set_num_threads(1)
    _, _, dtype = TYPES[name]
    product = compile_product(name)
    accumulator = torch.promote_types(dtype, torch.float32)
    scratch = torch.empty(1 << 20, dtype=accumulator)
    print(f"{name}, one thread; GFLOP/s of torch.mm, ours, ratio")
    for features, outputs, batch in LAYERS:
        x = torch.randn(batch, features).to(dtype)
        weight = torch.randn(outputs, features).to(dtype)
        gradient = torch.randn(batch, outputs).to(dtype)
        work = 2 * features * outputs * batch
        cells = []
        for label, a, b in (("y", x, weight.T), ("dx", gradient, weight), ("dw", gradient.T, x)):
            (m, k), n = a.shape, b.shape[1]
            c = torch.empty(m, n, dtype=accumulator)
            expected = torch.empty(m, n, dtype=dtype)
            arguments = (m, n, k, a.data_ptr(), *a.stride(), b.data_ptr(), *b.stride(),
                         c.data_ptr(), scratch.data_ptr())  # fmt: skip
            theirs, ours = lower_quartiles(
                (lambda a=a, b=b, out=expected: torch.mm(a, b, out=out),
                 lambda arguments=arguments: product(*arguments)),
                max(9, min(400, int(3e9 / work))),
            )  # fmt: skip
            cells.append(
                f"{label} {work / theirs / 1e9:4.0f} {work / ours / 1e9:4.0f} {theirs / ours:5.2f}"
            )
        print(f"{features:5} x {outputs:4}, batch {batch:4}:  {'   '.join(cells)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
