"""``check_op``: one case of the table against PyTorch in float64, in one dtype and layout.

The error of a result is relative to the expected value and to the typical size of the expected
tensor, whichever is larger, in sum::

    error = max |result - expected| / (|expected| + mean |expected|)

(where a gradient vanishes, so that the oracle's is nothing but rounding, relative to the upstream
gradient instead) and must stay below::

    tolerance = ULPS * eps(dtype) * sqrt(terms) * condition

``eps`` is the dtype's machine epsilon. Result and oracle are each evaluated to a few units in the
last place (ULPS together). A sum of n terms that were rounded independently has a standard error
of sqrt(n) roundings (Higham 2002, Accuracy and Stability of Numerical Algorithms, 2.8).
``condition`` is how much an operation amplifies the rounding of an intermediate result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

import minitorch_triton as mt
from minitorch_triton.testing.cases import Case

ULPS = 8

LAYOUTS = ("contiguous", "transposed", "sliced", "expanded")


def tolerance(dtype: torch.dtype, terms: int = 1, condition: float = 1.0) -> float:
    """The largest error that rounding explains; see the module's text."""
    return ULPS * torch.finfo(dtype).eps * math.sqrt(terms) * condition


def lay_out(x: torch.Tensor, layout: str) -> torch.Tensor:
    """The same values in other memory.

    Args:
        layout: "contiguous"; "transposed", dimensions stored in reverse order; "sliced", every
            second element of a larger tensor, after an offset; "expanded", the first row (sliced)
            repeated along dimension 0, so here the values change.
    """
    if layout == "contiguous" or not x.ndim:
        return x.contiguous()
    if layout == "transposed":
        reverse = tuple(reversed(range(x.ndim)))
        return x.permute(reverse).contiguous().permute(reverse)
    if layout == "expanded":
        return lay_out(x[0], "sliced").expand(x.shape) if x.shape[0] else x
    if layout != "sliced":
        raise ValueError(f"layout is {layout!r}, expected one of {', '.join(LAYOUTS)}")
    wide = x.new_zeros(*x.shape[:-1], 2 * x.shape[-1] + 1)
    wide[..., 1::2] = x
    return wide[..., 1::2]


VANISHED = 1e-12
"""Of the upstream gradient: what a float64 oracle returns in place of an exact 0."""


def error(result: torch.Tensor, expected: torch.Tensor, upstream: float = 0.0) -> float:
    """The error as defined above; infinite where NaN and infinities are not at the same places.

    Args:
        upstream: for a gradient the mean size of the upstream gradient.
    """
    result, expected = result.double(), expected.double()
    finite = expected.isfinite()
    if not torch.equal(result.isfinite(), finite):
        return math.inf
    if not torch.allclose(result[~finite], expected[~finite], equal_nan=True):
        return math.inf
    result, expected = result[finite], expected[finite]
    if not expected.numel():
        return 0.0
    typical = expected.abs().mean().item()
    size = expected.abs() + (typical if typical > VANISHED * upstream else upstream)
    difference = (result - expected).abs()
    return (difference / torch.where(size > 0, size, 1)).max().item()


@dataclass
class OpReport:
    """What a check found.

    Attributes:
        name, dtype, shapes, strides: what was checked: the operation and its inputs.
        forward: the worst error of the outputs.
        backward: the worst error of the gradients, None where nothing has one.
        tolerance: what both are held against.
        problems: anything else that is wrong, in words.
    """

    name: str
    dtype: torch.dtype
    shapes: list[tuple[int, ...]]
    strides: list[tuple[int, ...]]
    tolerance: float
    forward: float = 0.0
    backward: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether both errors are within the tolerance and there are no problems."""
        errors = [self.forward, self.backward or 0.0]
        return not self.problems and all(found <= self.tolerance for found in errors)

    def __str__(self) -> str:
        backward = "   none" if self.backward is None else f"{self.backward:7.1e}"
        inputs = ", ".join(
            f"{tuple(shape)}/{tuple(stride)}"
            for shape, stride in zip(self.shapes, self.strides, strict=True)
        )
        verdict = "ok" if self.ok else "WRONG"
        lines = [
            f"{verdict:5} {self.name:24} {str(self.dtype).removeprefix('torch.'):8} "
            f"forward {self.forward:7.1e}  backward {backward}  (<= {self.tolerance:.1e})  "
            f"shape/stride {inputs or '()'}"
        ]
        return "\n".join([*lines, *[f"      {problem}" for problem in self.problems]])


def _tensors(results: Any) -> list:
    return list(results) if isinstance(results, (tuple, list)) else [results]


def _as_torch(x: mt.Tensor) -> torch.Tensor:
    return x.detach().torch()


def _bytes(x: torch.Tensor) -> torch.Tensor:
    """The elements as bytes, in which NaN equals itself and -0 differs from 0."""
    return x.clone(memory_format=torch.contiguous_format).view(-1).view(torch.uint8)


def _cotangent(y: torch.Tensor, layout: str, generator: torch.Generator) -> torch.Tensor:
    values = torch.rand(y.shape, generator=generator, dtype=torch.float64) * 2 - 1
    if layout == "constant":
        return torch.full((), 0.75, dtype=y.dtype).expand(y.shape)
    return lay_out(values.to(y.dtype), layout)


def _check(
    fn: Callable,
    reference: Callable,
    inputs: Sequence[mt.Tensor],
    tracked: Sequence[bool],
    cotangents: Sequence[str],
    name: str,
    terms: int,
    condition: float,
    seed: int,
) -> OpReport:
    floating = [x.dtype for x in inputs if x.is_floating_point()]
    dtype = min(floating, key=lambda found: -torch.finfo(found).eps, default=torch.float32)
    report = OpReport(
        name,
        dtype,
        [tuple(x.shape) for x in inputs],
        [x.stride() for x in inputs],
        tolerance(dtype, terms, condition),
    )
    before = [_as_torch(x).clone() for x in inputs]
    leaves = [x.detach() for x in inputs]
    for leaf, needed in zip(leaves, tracked, strict=True):
        leaf.requires_grad_(needed)
    outputs = _tensors(fn(*leaves))
    _against_torch(report, reference, leaves, outputs, cotangents, seed)
    for number, (x, old) in enumerate(zip(inputs, before, strict=True)):
        if not torch.equal(_bytes(_as_torch(x)), _bytes(old)):
            report.problems.append(f"input {number} was changed")
    return report


def _against_torch(
    report: OpReport,
    reference: Callable,
    leaves: Sequence[mt.Tensor],
    outputs: Sequence[mt.Tensor],
    cotangents: Sequence[str],
    seed: int,
) -> None:
    oracle_leaves = []
    for leaf in leaves:
        x = _as_torch(leaf)
        if x.dtype.is_floating_point:
            x = x.double().detach().requires_grad_(leaf.requires_grad)
        oracle_leaves.append(x)
    expected = _tensors(reference(*oracle_leaves))
    if len(outputs) != len(expected):
        report.problems.append(f"{len(outputs)} outputs, expected {len(expected)}")
        return
    for number, (y, wanted) in enumerate(zip(outputs, expected, strict=True)):
        if y.shape != wanted.shape:
            report.problems.append(
                f"output {number} has shape {tuple(y.shape)}, expected {tuple(wanted.shape)}"
            )
            return
        if y.requires_grad != wanted.requires_grad:
            report.problems.append(f"output {number}: requires_grad is {y.requires_grad}")
            return
        report.forward = max(report.forward, error(_as_torch(y), wanted.detach()))
    linked = [number for number, y in enumerate(outputs) if y.requires_grad]
    wanted_leaves = [number for number, leaf in enumerate(leaves) if leaf.requires_grad]
    if not linked or not wanted_leaves:
        return
    report.backward = 0.0
    generator = torch.Generator().manual_seed(seed)
    for layout in cotangents:
        upstream = [_cotangent(_as_torch(outputs[n]), layout, generator) for n in linked]
        found = mt.autograd.grad(
            [outputs[n] for n in linked],
            [leaves[n] for n in wanted_leaves],
            [mt.from_torch(g) for g in upstream],
            retain_graph=True,
            allow_unused=True,
        )
        correct = torch.autograd.grad(
            [expected[n] for n in linked],
            [oracle_leaves[n] for n in wanted_leaves],
            [g.to(expected[n].dtype) for g, n in zip(upstream, linked, strict=True)],
            retain_graph=True,
            allow_unused=True,
        )
        size = max(g.double().abs().mean().nan_to_num().item() for g in upstream)
        for number, ours, theirs in zip(wanted_leaves, found, correct, strict=True):
            what = f"gradient {number} ({layout} cotangent)"
            _compare_gradient(report, what, leaves[number], ours, theirs, size)


def _compare_gradient(
    report: OpReport, what: str, leaf: mt.Tensor, ours: Any, theirs: Any, upstream: float
) -> None:
    if ours is None or theirs is None:
        if ours is not theirs:
            report.problems.append(f"{what} is {'missing' if ours is None else 'superfluous'}")
        return
    if ours.shape != leaf.shape or ours.dtype != leaf.dtype:
        report.problems.append(
            f"{what} is {ours.dtype} {tuple(ours.shape)}, expected {leaf.dtype} {tuple(leaf.shape)}"
        )
        return
    report.backward = max(report.backward or 0.0, error(_as_torch(ours), theirs, upstream))


def check_op(
    case: Case,
    dtype: torch.dtype = torch.float32,
    layout: str = "contiguous",
    cotangents: Sequence[str] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> OpReport:
    """Run one case forward and backward, and compare with PyTorch.

    Args:
        case: of the table ``minitorch_triton.testing.cases.CASES``.
        dtype: of the inputs that the case leaves open.
        layout: of the inputs, as of :func:`lay_out`.
        cotangents: layouts of the upstream gradients; by default that of the inputs.
        seed: of the inputs.
        device: that both sides compute on.

    Raises:
        ValueError: the case's values are random, so there is nothing to compare them with.
    """
    if not case.deterministic:
        raise ValueError(f"{case.name} has no values to compare: it is random or uninitialised")
    inputs = [mt.from_torch(lay_out(x.to(device), layout)) for x in case.sample(dtype, seed)]
    tracked = [
        case.differentiable and given.tracked and x.is_floating_point()
        for given, x in zip(case.inputs, inputs, strict=True)
    ]
    report = _check(
        lambda *tensors: case.call(mt, *tensors),
        lambda *tensors: case.call(torch, *tensors),
        inputs,
        tracked,
        cotangents or (layout,),
        case.name,
        case.terms,
        case.condition,
        seed,
    )
    report.dtype = dtype
    return report
