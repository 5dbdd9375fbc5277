"""Every kernel compiles for GPUs, on a machine without one; ``make gpu-compile`` does them all."""

import re
import subprocess
import sys

from minitorch_triton.testing import gpu_compile


def test_one_variant_of_each_kernel_compiles():
    """In a process of its own, because what is only noted there cannot compute afterwards."""
    run = subprocess.run(
        [sys.executable, "-m", "minitorch_triton.testing.gpu_compile", "--one-each"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    kernels = gpu_compile.all_kernels()
    assert {re.search(r"(\w+_kernel)\(", line).group(1) for line in lines[:-1]} == kernels
    assert lines[-1] == f"{len(kernels)} of {len(kernels)} variants compiled"
    assert {line.split()[0] for line in lines[:-1]} == set(gpu_compile.TARGETS)
    assert all(" registers, " in line for line in lines[:-1])


def test_all_kernels_are_found():
    assert {"map_flat_kernel", "matmul_kernel", "adam_kernel"} <= gpu_compile.all_kernels()
