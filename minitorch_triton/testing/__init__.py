"""Check operations against PyTorch: the table of cases, and ``check_op``, ``check_gradients``."""

from minitorch_triton.testing.cases import CASES, Case, Input
from minitorch_triton.testing.checks import LAYOUTS, Report, check_gradients, check_op, tolerance

__all__ = [
    "CASES",
    "LAYOUTS",
    "Case",
    "Input",
    "Report",
    "check_gradients",
    "check_op",
    "tolerance",
]
