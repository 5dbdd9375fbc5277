"""Every test in this folder runs kernels natively on the CPU."""

import pytest
import torch

import minitorch_triton.cpu as triton_cpu
from minitorch_triton.cpu import toolchain

triton_cpu.enable()


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers in every run."""
    torch.manual_seed(0)


@pytest.fixture
def forget_compiler():
    """Call it to look for the compiler anew; that is also done before and after the test."""

    def forget():
        for function in (
            toolchain.find_compiler, toolchain.compiler_version, toolchain.fingerprint,
        ):  # fmt: skip
            function.cache_clear()

    forget()
    yield forget
    forget()
