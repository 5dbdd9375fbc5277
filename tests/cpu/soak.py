"""Memory over many launches and many kernels.

    python -m tests.cpu.soak --launches 100000 --kernels 1000

Prints the resident memory of the process as it goes, and what one launch and one kernel add to it.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import threading
from pathlib import Path

import torch
import triton
import triton.language as tl

import minitorch_triton.cpu as triton_cpu


@triton.jit
def add(x_ptr, y_ptr, out_ptr, n, NUMBER: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n, other=0.0)
    y = tl.load(y_ptr + i, mask=i < n, other=0.0)
    tl.store(out_ptr + i, x + NUMBER * y, mask=i < n)


def resident() -> int:
    """Bytes of memory that the process has in use."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def launches(count: int) -> float:
    """Bytes that a launch adds, each on new tensors; of `count` launches the second half counts."""
    before = 0
    for number in range(count):
        if number == count // 2:
            before = resident()
        n = 1 + number % 5000
        x = torch.ones(n)
        out = torch.empty(n)
        add[(triton.cdiv(n, 1024),)](x, x, out, n, NUMBER=1, BLOCK=1024)
    assert out[-1] == 2
    return (resident() - before) / (count - count // 2)


def kernels(count: int) -> float:
    """Bytes that a kernel adds: its code stays loaded as long as the process lives."""
    x = torch.ones(64)
    before = 0
    for number in range(count):
        if number == count // 2:
            before = resident()
        out = torch.zeros(64)
        add[(1,)](x, x, out, 64, NUMBER=number + 2, BLOCK=64)
        assert out[0] == number + 3
    return (resident() - before) / (count - count // 2)


def threads(count: int, each: int) -> None:
    """Launches from many threads, which together come and go many times."""

    def work() -> None:
        out = torch.empty(3000)
        for _ in range(each):
            add[(3,)](torch.ones(3000), torch.ones(3000), out, 3000, NUMBER=1, BLOCK=1024)
        assert (out == 2).all()

    running = [threading.Thread(target=work) for _ in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--launches", type=int, default=100_000)
    parser.add_argument("--kernels", type=int, default=1000)
    options = parser.parse_args()
    triton_cpu.enable()
    for checked in (False, True):
        with triton_cpu.checked(checked):
            print(f"{'checked' if checked else 'plain'}: {resident() / 2**20:.1f} MiB at first")
            each = launches(options.launches)
            print(f"  {options.launches} launches: {each:+.2f} bytes each", flush=True)
            before = resident()
            for _ in range(20):
                threads(8, options.launches // 1000)
            grown = (resident() - before) / 2**20
            print(f"  from 160 threads: {grown:+.2f} MiB", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        os.environ["TRITON_CACHE_DIR"] = directory
        each = kernels(options.kernels)
        print(f"{options.kernels} kernels: {each / 2**10:+.1f} KiB each, which stay loaded")
    print(f"{resident() / 2**20:.1f} MiB at last")


if __name__ == "__main__":
    main()
