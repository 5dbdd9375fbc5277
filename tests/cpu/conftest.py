"""Every test in this folder runs kernels natively on the CPU."""

import pytest
import torch

import minitorch_triton.cpu as triton_cpu

triton_cpu.enable()


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers in every run."""
    torch.manual_seed(0)
