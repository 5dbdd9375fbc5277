"""Find mistakes in gradients: of kernels, functions and operations, ours, yours and PyTorch's.

``check_gradients`` examines one function and says what is wrong; ``check_op`` compares one case of
the table of operations with PyTorch; ``python -m minitorch_triton.testing`` does either from the
command line, and the fixture ``assert_gradients`` in pytest.
"""

from minitorch_triton.testing.cases import CASES, Case, Input
from minitorch_triton.testing.checks import LAYOUTS, OpReport, check_op, tolerance
from minitorch_triton.testing.diagnosis import KINDS, Diagnosis
from minitorch_triton.testing.gradients import check_gradients
from minitorch_triton.testing.modules import ModuleCall
from minitorch_triton.testing.placement import poisoned
from minitorch_triton.testing.report import Failure, Report

__all__ = [
    "CASES",
    "KINDS",
    "LAYOUTS",
    "Case",
    "Diagnosis",
    "Failure",
    "Input",
    "ModuleCall",
    "OpReport",
    "Report",
    "check_gradients",
    "check_op",
    "poisoned",
    "tolerance",
]
