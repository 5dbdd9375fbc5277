"""Whether results are right: elements that are wrong, by how much, and where they lie."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from minitorch_triton.testing.checks import ULPS, VANISHED
from minitorch_triton.testing.trial import Outcome, Trial


def tolerance_of(dtype: torch.dtype, terms: int, condition: float = 1.0) -> float:
    """The largest error that rounding explains.

    Results are rounded to their dtype a few times (ULPS), and sums of ``terms`` are accumulated in
    float32, or float64 for float64, which adds sqrt(terms) roundings (see ``checks``)::

        ULPS * condition * (eps(dtype) + sqrt(terms) * eps(accumulator))
    """
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    accumulated = math.sqrt(terms) * torch.finfo(wide).eps
    return ULPS * condition * (torch.finfo(dtype).eps + accumulated)


@dataclass
class Mismatch:
    """A result that is wrong.

    Attributes:
        kind: "output" or "gradient". number: of the output, or of the argument.
        found, expected: None for a gradient that is missing.
        wrong: which elements.
        error: the largest, relative to the expected element and the tensor's typical size.
        problem: what else is wrong, in words: a shape, a missing gradient.
    """

    kind: str
    number: int
    found: torch.Tensor | None
    expected: torch.Tensor | None
    wrong: torch.Tensor | None = None
    error: float = math.inf
    problem: str = ""

    @property
    def place(self) -> tuple[str, int]:
        return self.kind, self.number


def size_of(expected: torch.Tensor, upstream: float = 0.0) -> torch.Tensor:
    """What an element's error is relative to."""
    finite = expected[expected.isfinite()]
    typical = float(finite.abs().mean()) if finite.numel() else 0.0
    floor = typical if typical > VANISHED * max(upstream, 1e-300) else (upstream or 1.0)
    return expected.abs().nan_to_num(0.0, 0.0, 0.0) + floor


def wrong_elements(
    found: torch.Tensor,
    expected: torch.Tensor,
    tolerance: float,
    upstream: float = 0.0,
    unknown: torch.Tensor | None = None,
) -> tuple[torch.Tensor, float]:
    """Which elements differ by more than the tolerance, and the largest error.

    Args:
        unknown: by how much the expected elements may be wrong: so much is no error.
    """
    # Below the smallest normal number, products become 0.
    tiny = torch.finfo(found.dtype).tiny if found.is_floating_point() else 0.0
    found, expected = found.double(), expected.double()
    same = (found == expected) | (found.isnan() & expected.isnan())
    both = found.isfinite() & expected.isfinite()
    error = torch.where(
        both,
        ((found - expected).abs() - tiny).clamp(min=0) / size_of(expected, upstream),
        torch.full_like(found, math.inf),
    )
    error = torch.where(same, torch.zeros_like(error), error)
    if unknown is not None:
        decided = (found - expected).abs() > tolerance * size_of(expected, upstream) + unknown
        decided |= ~both & unknown.isfinite()
        error = torch.where(decided, error, torch.zeros_like(error))
    return error > tolerance, float(error.max()) if error.numel() else 0.0


def compare(
    trial: Trial, outcome: Outcome, right: Outcome, tolerance: float, only_special: bool = False
) -> list[Mismatch]:
    """All results that are wrong.

    Args:
        only_special: look only at what is NaN or infinite, and at gross errors: values at which
            rounding is amplified beyond bounds.
    """
    found: list[Mismatch] = []
    if len(outcome.outputs) != len(right.outputs):
        problem = f"{len(outcome.outputs)} outputs, expected {len(right.outputs)}"
        return [Mismatch("output", 0, None, None, problem=problem)]
    limit = max(tolerance, 0.02) if only_special else tolerance
    for n, (y, expected) in enumerate(zip(outcome.outputs, right.outputs, strict=True)):
        if y.shape != expected.shape:
            problem = f"shape {tuple(y.shape)}, expected {tuple(expected.shape)}"
            found.append(Mismatch("output", n, y, expected, problem=problem))
            continue
        wrong, error = wrong_elements(y, expected, limit)
        outcome.worst = max(outcome.worst, error)
        if wrong.any():
            found.append(Mismatch("output", n, y, expected, wrong, error))
    sizes = [
        float(g.double().abs().nan_to_num(0, 0, 0).mean())
        for g in right.upstream
        if g is not None and g.numel()
    ]
    upstream = max(sizes, default=0.0)
    limit = max(limit, right.precision)
    for n, ours, theirs, unknown in zip(
        trial.wanted, outcome.gradients, right.gradients, right.unknown, strict=True
    ):
        if theirs is None or ours is None:
            expected_zero = theirs is None or not bool((theirs != 0).any())
            if ours is None and not expected_zero:
                found.append(Mismatch("gradient", n, None, theirs, problem="None"))
            elif ours is not None and theirs is None and bool((ours != 0).any()):
                wrong = ours != 0
                found.append(Mismatch("gradient", n, ours, torch.zeros_like(ours).double(), wrong))
            continue
        if ours.shape != theirs.shape:
            problem = f"shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
            found.append(Mismatch("gradient", n, ours, theirs, problem=problem))
            continue
        wrong, error = wrong_elements(ours, theirs, limit, upstream, unknown)
        outcome.worst = max(outcome.worst, error)
        if wrong.any():
            found.append(Mismatch("gradient", n, ours, theirs, wrong, error))
    return found


def terms_of(trial: Trial, right: Outcome) -> int:
    """An upper bound of how many terms are added up for one element of a result."""
    tensors = [x for x in trial.args if isinstance(x, torch.Tensor)]
    return max([x.numel() for x in [*tensors, *right.outputs]] or [1]) or 1


# Where


@dataclass(frozen=True)
class Where:
    """Where the wrong elements of a tensor lie.

    Attributes:
        kind: "everywhere", "tail" (the last ones, from ``start`` on), "last rows", "last columns",
            "row", "column", "element", "scattered".
        text: in words. start: the first wrong element, row or column.
    """

    kind: str
    text: str
    start: int = 0


def locate(wrong: torch.Tensor) -> Where:
    """Describe where the wrong elements are."""
    count, total = int(wrong.sum()), wrong.numel()
    share = f"{count} of {total} elements"
    if total and count >= 0.98 * total or total == 1:
        return Where("everywhere", f"everywhere ({share})" if total > 1 else "its one element")
    flat = wrong.reshape(-1)
    first = int(flat.nonzero()[0])
    if wrong.ndim >= 2:
        table = wrong.reshape(-1, wrong.shape[-1])
        rows, columns = table.any(dim=1), table.any(dim=0)
        where = _stripe(rows, columns, table, share)
        if where is not None and (where.kind != "last rows" or first % table.shape[1] == 0):
            return where
    if count == 1:
        index = tuple(int(i) for i in wrong.nonzero()[0])
        last = ", the last one" if first == total - 1 else ""
        return Where("element", f"one element, {index}{last}", first)
    if count > 0.9 * (total - first) and first > 0:
        return Where("tail", f"the last {total - first} elements, from element {first} on", first)
    return Where("scattered", f"scattered, {share}", first)


def _stripe(
    rows: torch.Tensor, columns: torch.Tensor, table: torch.Tensor, share: str
) -> Where | None:
    """Whole rows or columns that are wrong."""
    height, width = table.shape
    for name, lines, across, length in (
        ("column", columns, rows, width),
        ("row", rows, columns, height),
    ):
        bad = lines.nonzero().flatten().tolist()
        filled = (table[:, lines] if name == "column" else table[lines]).double().mean()
        if len(bad) == length or filled < 0.9 or across.double().mean() < 0.9:
            continue
        last = bad[-1] == length - 1 and bad == list(range(bad[0], length))
        if last and bad[0] > 0:
            text = f"the last {name}" if len(bad) == 1 else f"the last {len(bad)} {name}s"
            return Where(f"last {name}s", f"{text}, from {name} {bad[0]} on ({share})", bad[0])
        if len(bad) == 1:
            return Where(name, f"{name} {bad[0]} ({share})", bad[0])
        listed = ", ".join(map(str, bad[:6])) + (", ..." if len(bad) > 6 else "")
        return Where("scattered", f"{name}s {listed} ({share})", bad[0])
    return None


def picture(wrong: torch.Tensor, width: int = 48, height: int = 8) -> list[str]:
    """A small map: ``#`` where elements are wrong, ``+`` where some are, ``.`` where none is."""
    if wrong.numel() <= 1 or bool(wrong.all()):
        return []
    table = wrong.reshape(-1, wrong.shape[-1]) if wrong.ndim > 1 else wrong.reshape(1, -1)
    rows = _cells(table.shape[0], height)
    columns = _cells(table.shape[1], width)
    return ["".join(_mark(table[r0:r1, c0:c1]) for c0, c1 in columns) for r0, r1 in rows]


def _mark(cell: torch.Tensor) -> str:
    if bool(cell.all()):
        return "#"
    return "+" if bool(cell.any()) else "."


def _cells(length: int, cells: int) -> list[tuple[int, int]]:
    """The ranges that a dimension is drawn in; the last element has a cell of its own."""
    if length <= cells:
        return [(i, i + 1) for i in range(length)]
    edges = [round(i * (length - 1) / (cells - 1)) for i in range(cells)] + [length]
    return list(itertools.pairwise(edges))
