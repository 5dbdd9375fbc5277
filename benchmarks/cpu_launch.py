"""What a launch costs on the CPU: the time of a call beyond the kernel's own work.

    python -m benchmarks.cpu_launch

Prints the median and the best of repeated measurements, in microseconds, of a kernel of three
tensors that adds four numbers: called as `kernel[grid](...)`, and as a prepared launch. It is this
process's CPU time, which a busy machine disturbs less; the kernel itself runs on one thread.
"""

from __future__ import annotations

import statistics
import time
import timeit
from collections.abc import Callable

import torch
import triton
import triton.language as tl

import minitorch_triton.cpu as triton_cpu

triton_cpu.enable()


@triton.jit
def add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def time_us(function: Callable[[], object], calls: int = 5000, repeats: int = 21) -> list[float]:
    """Median and best time of one call in microseconds."""
    times = timeit.repeat(function, timer=time.process_time, number=calls, repeat=repeats)
    return [value / calls * 1e6 for value in (statistics.median(times), min(times))]


def measure() -> dict[str, list[float]]:
    """Median and best microseconds of one call, by the way of calling."""
    x, y, out = torch.randn(4), torch.randn(4), torch.empty(4)
    grid, values = (1, 1, 1), (x.data_ptr(), y.data_ptr(), out.data_ptr(), 4)
    prepared = triton_cpu.prepare(add_kernel, [x, y, out, 4], {"BLOCK_SIZE": 256})

    def ordinary() -> None:
        add_kernel[grid](x, y, out, 4, BLOCK_SIZE=256)

    def callable_grid() -> None:
        add_kernel[lambda meta: (triton.cdiv(meta["n"], meta["BLOCK_SIZE"]),)](
            x, y, out, 4, BLOCK_SIZE=256
        )

    def launch() -> None:
        prepared.launch(grid, values)

    def eager() -> None:
        torch.add(x, y, out=out)

    ways = {
        "kernel[grid](...)": ordinary,
        "kernel[lambda meta: ...](...)": callable_grid,
        "prepared.launch(grid, values)": launch,
        "torch.add(x, y, out=out), to compare": eager,
    }
    for way in ways.values():
        way()
    return {name: time_us(way) for name, way in ways.items()}


if __name__ == "__main__":
    print(f"torch {torch.__version__}, triton {triton.__version__}")
    print("  median     best")
    for name, (median, best) in measure().items():
        print(f"{median:8.2f} {best:8.2f} us  {name}")
