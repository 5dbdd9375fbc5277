"""One experiment: arguments with their layouts, forward and backward, and what came out."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

import minitorch_triton as mt
from minitorch_triton.testing.placement import GUARD, memory_of, place, poisoned, values_for
from minitorch_triton.testing.subject import Subject

NAN = math.nan


@dataclass(frozen=True)
class Trial:
    """What a function is given.

    Attributes:
        args: values of the tensors (contiguous), and constants.
        layouts: of each tensor, as of :func:`~.placement.place`; ignored for constants.
        upstream: values of an upstream gradient per output; None to draw them.
        upstream_layout: their layout.
        needs: whether each argument requires a gradient.
        same: every tensor argument is the first one, the same object.
        upstream_values: "random", "ones" or "stalling", of upstream gradients that are drawn.
        seed: of random ones.
        poison: in fresh buffers. guard: around the arguments.
        named: keyword arguments.
    """

    args: tuple[Any, ...]
    layouts: tuple[str, ...]
    needs: tuple[bool, ...]
    upstream: tuple[torch.Tensor | None, ...] | None = None
    upstream_layout: str = "contiguous"
    upstream_values: str = "random"
    same: bool = False
    seed: int = 0
    poison: float = NAN
    guard: float = NAN
    named: tuple[tuple[str, Any], ...] = ()

    @property
    def wanted(self) -> list[int]:
        """The arguments whose gradients are asked for; one for all where all are the same."""
        found = [n for n, need in enumerate(self.needs) if need]
        return found[:1] if self.same else found

    def values(self) -> list[Any]:
        """The arguments as they are: what a layout cannot hold is left out."""
        result = [
            values_for(x, layout) if isinstance(x, torch.Tensor) else x
            for x, layout in zip(self.args, self.layouts, strict=True)
        ]
        if self.same:
            result = [result[0] if isinstance(x, torch.Tensor) else x for x in result]
        return result

    def drawn_upstream(
        self, shapes: list[tuple[int, ...]], dtypes: list[torch.dtype]
    ) -> list[torch.Tensor | None]:
        """Values of the upstream gradients, for outputs of these shapes."""
        if self.upstream is not None:
            return list(self.upstream)
        generator = torch.Generator().manual_seed(1234 + self.seed)
        result = []
        for shape, dtype in zip(shapes, dtypes, strict=True):
            if self.upstream_values == "stalling":
                values = stalling(shape, dtype)
            elif self.upstream_values == "ones":
                values = torch.ones(shape)
            else:
                values = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
                values += 0.25 * values.sign()  # not near 0, where a ratio says nothing
            values = values.to(dtype) if dtype.is_floating_point else values
            result.append(values_for(values, self.upstream_layout))
        return result


STALLING = 64
"""How many ones a stalling sum begins with: so that each lane of a kernel gets one."""


def stalling(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Ones in the first places along long dimensions, then what is lost when it is added to them.

    A sum in ``dtype`` itself stays at what the ones add up to; one in float32 does not.
    """
    first = torch.zeros(shape, dtype=torch.bool)
    for dim, size in enumerate(shape):
        if size > STALLING:
            first.narrow(dim, 0, STALLING).fill_(True)
    eps = torch.finfo(dtype).eps if dtype.is_floating_point else 0.0
    return torch.where(first, 1.0, 0.4 * eps).to(dtype)


@dataclass
class Outcome:
    """What a function did.

    Attributes:
        outputs: their values. linked: which of them require a gradient.
        gradients: one per wanted argument; None if there is none.
        unknown: by how much each element of an expected gradient may be wrong itself (0, if None).
        upstream: the values that were used.
        error: what was raised, in ``stage`` "forward" or "backward".
        overwritten: arguments whose values changed (or "upstream").
        beyond: arguments after or before whose elements memory changed.
        precision: relative, of expected gradients that are differences; 0 if they are exact.
        worst: the largest error that was found in comparing it.
    """

    outputs: list[torch.Tensor] = field(default_factory=list)
    linked: list[bool] = field(default_factory=list)
    gradients: list[torch.Tensor | None] = field(default_factory=list)
    unknown: list[torch.Tensor | None] = field(default_factory=list)
    upstream: list[torch.Tensor | None] = field(default_factory=list)
    error: Exception | None = None
    stage: str = ""
    overwritten: list[int | str] = field(default_factory=list)
    beyond: list[int | str] = field(default_factory=list)
    precision: float = 0.0
    worst: float = 0.0

    def known(self) -> list[bool]:
        """Whether some element of each gradient is known to 1 % of its size, or of 1."""
        return [
            unknown is None or g is None or bool((unknown <= 0.01 * (g.abs() + 1)).any())
            for g, unknown in zip(self.gradients, self.unknown, strict=True)
        ]


def _changed(before: torch.Tensor, after: torch.Tensor) -> bool:
    return not torch.equal(before, after)


class Placed:
    """Arguments of a trial in memory, with a copy of what they were."""

    def __init__(self, subject: Subject, trial: Trial, behind: int = GUARD):
        self.args: list[Any] = []
        self.memory: dict[int | str, tuple[torch.Tensor, torch.Tensor]] = {}
        for n, (x, layout) in enumerate(zip(trial.values(), trial.layouts, strict=True)):
            if not isinstance(x, torch.Tensor):
                self.args.append(x)
            elif trial.same and self.args and n > 0:
                self.args.append(self.args[0])
            else:
                placed = place(x.to(subject.device), layout, trial.guard, behind)
                self.memory[n] = (placed, memory_of(placed).clone())
                self.args.append(subject.leaf(placed, trial.needs[n]))

    def add(self, name: str, x: torch.Tensor) -> None:
        self.memory[name] = (x, memory_of(x).clone())

    def audit(self, outcome: Outcome) -> None:
        """Note which memory is not what it was."""
        for name, (placed, before) in self.memory.items():
            if not _changed(before, memory_of(placed)):
                continue
            old = before.view(placed.dtype) if placed.dtype != torch.bool else before
            was = old.as_strided(placed.shape, placed.stride(), placed.storage_offset())
            same = torch.equal(_bits(was), _bits(placed))
            (outcome.beyond if same else outcome.overwritten).append(name)


def _bits(x: torch.Tensor) -> torch.Tensor:
    return x.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)


def run(subject: Subject, trial: Trial, exact: bool = False) -> Outcome:
    """Forward and backward of the function under test.

    Args:
        exact: no memory follows the tensors, for a checked mode.
    """
    outcome = Outcome()
    behind = 0 if exact else GUARD
    with poisoned(trial.poison, exact) as untouched:
        placed = Placed(subject, trial, behind)
        outcome.stage = "forward"
        try:
            outputs = subject.forward(placed.args, **dict(trial.named))
            outcome.outputs = [subject.values(y).clone() for y in outputs]
            outcome.linked = [y.requires_grad for y in outputs]
            outcome.stage = "backward"
            shapes = [tuple(y.shape) for y in outputs]
            upstream = trial.drawn_upstream(shapes, [y.dtype for y in outputs])
            outcome.upstream = upstream
            laid_out = [None if g is None else place(
                g.to(y.device, y.dtype), trial.upstream_layout, trial.guard, behind
            ) for g, y in zip(upstream, outputs, strict=True)]  # fmt: skip
            for number, g in enumerate(laid_out):
                if g is not None:
                    placed.add(f"upstream gradient {number}" if number else "upstream gradient", g)
            inputs = [placed.args[n] for n in trial.wanted]
            gradients = subject.backward(outputs, inputs, laid_out, retain_graph=True)
            outcome.gradients = [
                None if found is None else subject.values(found).clone() for found in gradients
            ]
            outcome.stage = ""
        except Exception as error:
            outcome.error = error
        placed.audit(outcome)
        if not untouched():
            outcome.beyond.append("a buffer that the function made")
    return outcome


class Reference:
    """The right answer from a function of torch tensors, computed in float64 on the same values."""

    exact = True

    def __init__(self, subject: Subject):
        self.subject = subject

    def run(self, trial: Trial, precise: bool = True, strided: bool = False) -> Outcome:
        """Outputs and gradients.

        Args:
            precise: in float64; else in the trial's own dtypes, for what overflows.
            strided: on every second element of memory, so that PyTorch does not vectorise.

        What draws random numbers draws them in the trial's own dtypes and layouts: PyTorch's depend
        on both.

        Raises:
            Exception: whatever the reference raises: it does not take such arguments.
        """
        outcome = self._run(trial, precise, strided)
        if self.subject.drew and not strided:
            outcome = self._run(trial, False, False, laid_out=True)
        return outcome

    def _run(self, trial: Trial, precise: bool, strided: bool, laid_out: bool = False) -> Outcome:
        leaves: list[Any] = []
        for n, x in enumerate(trial.values()):
            if not isinstance(x, torch.Tensor):
                leaves.append(x)
            elif trial.same and leaves:
                leaves.append(leaves[0])
            else:
                x = x.double() if precise and x.is_floating_point() else x.clone()
                x = place(x, "sliced", 0.0) if strided else x
                x = place(x, own_memory(trial.layouts[n]), 0.0) if laid_out else x
                leaves.append(self.subject.leaf(x, trial.needs[n]))
        outputs = self.subject.forward(leaves, **dict(trial.named))
        shapes = [tuple(y.shape) for y in outputs]
        upstream = trial.drawn_upstream(shapes, [_drawn_dtype(trial)] * len(outputs))
        wanted = [leaves[n] for n in trial.wanted]
        given = [
            g.to(y.dtype) if y.requires_grad and g is not None else None
            for g, y in zip(upstream, outputs, strict=True)
        ]
        if strided:
            given = [None if g is None else place(g, "sliced", 0.0) for g in given]
        gradients = self.subject.backward(outputs, wanted, given, retain_graph=True)
        values = [None if g is None else self.subject.values(g) for g in gradients]
        return Outcome(
            [self.subject.values(y) for y in outputs],
            [y.requires_grad for y in outputs],
            values,
            [None] * len(values),
            upstream,
        )


def own_memory(layout: str) -> str:
    """The layout, or a dense one where several elements would share memory."""
    return "contiguous" if layout in ("expanded", "constant") else layout


def _drawn_dtype(trial: Trial) -> torch.dtype:
    """Upstream gradients are rounded to the dtype under test, also for the reference."""
    for x in trial.args:
        if isinstance(x, torch.Tensor) and x.is_floating_point():
            return x.dtype
    return torch.float32


EVALUATIONS = 3000
"""How many elements are moved one by one before differences are given up as too slow."""


class TooLargeError(Exception):
    """There are too many elements to differentiate by differences."""


class Differences:
    """The right gradient from central differences of the function itself, in float64.

    With a step h the difference is wrong by O(h^2) and by eps/h; h = eps^(1/3) balances both at
    eps^(2/3). A function that computes in float32 even on float64 tensors gets float32's step; it
    is noticed by its rounded results for values that float32 does not hold. How far a difference
    may be off is estimated from a second one, with h/2: see :func:`_differences`.

    What draws random numbers is evaluated in the dtype under test: PyTorch draws others in float64.
    """

    exact = False

    def __init__(self, subject: Subject):
        self.subject = subject

    def run(self, trial: Trial, precise: bool = True) -> Outcome:
        """Outputs in float64, and gradients.

        Raises:
            TooLargeError: see :data:`EVALUATIONS`.
            Exception: whatever the function raises.
        """
        with contextlib.nullcontext() if not precise else mt.no_grad(), torch.no_grad():
            return self._run(trial)

    def _run(self, trial: Trial) -> Outcome:
        given = trial.values()
        dtype = torch.float64
        floats = [x for x in given if isinstance(x, torch.Tensor) and x.is_floating_point()]

        def evaluate(moved: dict[int, torch.Tensor]) -> list[torch.Tensor]:
            args = []
            for n, x in enumerate(given):
                if isinstance(x, torch.Tensor):
                    source = moved.get(0 if trial.same else n, given[0] if trial.same else x)
                    x = source.to(dtype) if x.is_floating_point() else x
                    # In the trial's layout: what is random may follow the order in memory.
                    layout = own_memory(trial.layouts[n])
                    placed = place(x.to(self.subject.device), layout, 0.0)
                    args.append(self.subject.leaf(placed, False))
                else:
                    args.append(x)
            outputs = self.subject.forward(args, **dict(trial.named))
            return [self.subject.values(y).double() for y in outputs]

        try:
            base = evaluate({})
            if self.subject.drew and floats:
                dtype = floats[0].dtype
                base = evaluate({})
        except Exception:
            dtype = floats[0].dtype if floats else torch.float32
            base = evaluate({})
        eps = torch.finfo(dtype).eps
        if dtype == torch.float64 and _rounds(evaluate, given):
            eps = torch.finfo(torch.float32).eps
        step = eps ** (1 / 3)
        shapes = [tuple(y.shape) for y in base]
        upstream = trial.drawn_upstream(shapes, [_drawn_dtype(trial)] * len(base))
        weights = [torch.zeros(()) if g is None else g.double() for g in upstream]
        outcome = Outcome(base, [True] * len(base), upstream=upstream)
        outcome.precision = 100 * eps ** (2 / 3)
        for n in trial.wanted:
            x = given[n].double()
            gradient, unknown = _differences(evaluate, n, x, base, weights, step, eps)
            outcome.gradients.append(gradient)
            outcome.unknown.append(unknown)
        return outcome


def _rounds(evaluate: Callable, given: list[Any]) -> bool:
    """Whether a function's results are rounded to float32 where its arguments are not."""
    between = {
        n: x.double() * (1 + 1e-9)
        for n, x in enumerate(given)
        if isinstance(x, torch.Tensor) and x.is_floating_point()
    }
    results = [y[y.isfinite()] for y in evaluate(between)]
    rounded = all(torch.equal(y, y.float().double()) for y in results)
    # Whole numbers, as of round and sign, are no sign of rounding.
    return rounded and any(bool((y != y.bfloat16().double()).any()) for y in results)


def _differences(
    evaluate: Callable,
    n: int,
    x: torch.Tensor,
    base: list[torch.Tensor],
    weights: list[torch.Tensor],
    step: float,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient with respect to argument n, and by how much it may be wrong.

    Let D(h) be the central difference and B(h) the right minus the left one. Of a smooth function
    D(h) - D(h/2) and B(h) - 2 B(h/2) are O(h^2) and O(h^3). Of one whose slope jumps by J at a
    distance d from x, D is wrong by J (1 - d/h) / 2, at most twice the sum of their sizes: for
    d = 0, J / 2 of J; for d = h/3, J / 3 of J / 6; beyond d = h/2, just the first. Rounding adds
    eps times the terms that are summed, over h.
    """
    if x.numel() == 0:
        return x.clone(), x.clone()
    rows = _independent_rows(evaluate, n, x, base, step)
    columns = x.numel() // rows
    if columns > EVALUATIONS:
        raise TooLargeError(f"{x.numel()} elements are too many for differences")
    flat = x.reshape(rows, columns)
    gradient, unknown = torch.zeros_like(flat), torch.zeros_like(flat)
    scale = step * max(1.0, float(x.abs().mean()))

    def side(column: int, width: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The one-sided difference, and the size of its rounding."""
        moved = flat.clone()
        moved[:, column] += width
        total, size = flat.new_zeros(rows), flat.new_zeros(rows)
        for y, y0, g in zip(evaluate({n: moved.reshape(x.shape)}), base, weights, strict=True):
            total += (g * (y - y0)).reshape(rows, -1).sum(dim=1)
            terms = torch.where(y == y0, 0.0, (g * y0).abs())
            size += terms.reshape(rows, -1).sum(dim=1)
        return total / width, eps * size / abs(width)

    for column in range(columns):
        (right, rounding), (left, _) = side(column, scale), side(column, -scale)
        (near_right, _), (near_left, _) = side(column, scale / 2), side(column, -scale / 2)
        central, near = (right + left) / 2, (near_right + near_left) / 2
        bend, near_bend = right - left, near_right - near_left
        gradient[:, column] = central
        estimate = (central - near).abs() + (bend - 2 * near_bend).abs()
        unknown[:, column] = 2 * estimate + rounding
    return gradient.reshape(x.shape), unknown.reshape(x.shape)


def _independent_rows(
    evaluate: Callable, n: int, x: torch.Tensor, base: list[torch.Tensor], step: float
) -> int:
    """Into how many parts x falls that only matter to the same part of each output.

    All elements if the function is elementwise, the rows if it works on rows, else 1: so many
    elements can be moved at once.
    """
    for rows in (x.numel(), x.shape[0] if x.ndim else 1):
        if rows <= 1 or any(y.numel() % rows or y.numel() == 0 for y in base):
            continue
        generator = torch.Generator().manual_seed(0)
        independent = True
        for _ in range(2):
            chosen = torch.rand(rows, generator=generator) < 0.5
            moved = x.reshape(rows, -1) + 100 * step * chosen.double().unsqueeze(1)
            found = evaluate({n: moved.reshape(x.shape)})
            for y, y0 in zip(found, base, strict=True):
                rest = ~chosen
                independent &= torch.equal(
                    y.reshape(rows, -1)[rest].nan_to_num(), y0.reshape(rows, -1)[rest].nan_to_num()
                )
        if independent:
            return rows
    return 1
