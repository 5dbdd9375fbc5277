"""Where trials are run and judged: the function under test beside its oracle."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from minitorch_triton.testing.arguments import Arguments
from minitorch_triton.testing.checks import ULPS
from minitorch_triton.testing.compare import (
    Mismatch,
    compare,
    size_of,
    terms_of,
    tolerance_of,
    wrong_elements,
)
from minitorch_triton.testing.situations import Situation, build
from minitorch_triton.testing.subject import Subject
from minitorch_triton.testing.trial import (
    Differences,
    Outcome,
    Reference,
    TooLargeError,
    Trial,
    run,
)

OK, WRONG, REFUSED, SKIPPED = "ok", "wrong", "refused", "skipped"


@dataclass
class Verdict:
    """A trial, and what is to be said about it.

    Attributes:
        status: "ok", "wrong", "refused" (the function raised an error where it may), "skipped" (the
            oracle does not take such arguments).
        reason: why it was refused or skipped.
    """

    situation: Situation
    trial: Trial
    outcome: Outcome = field(default_factory=Outcome)
    right: Outcome = field(default_factory=Outcome)
    mismatches: list[Mismatch] = field(default_factory=list)
    tolerance: float = 0.0
    status: str = OK
    reason: str = ""


MAY_REFUSE = ("size", "dtype", "long", "mixture", "input layout", "same", "extreme", "nan",
    "reduction")  # fmt: skip
"""Features of situations that a function may refuse with an error."""


LOW = (torch.float16, torch.bfloat16)
FEW = 0.02
"""Of the elements: so few that are wrong in a low dtype alone are ill-conditioned ones."""


FAR = 1e18
"""Stands for infinity where a limit is asked for; its square is a float32 still."""


class Lab:
    """Runs trials of one function.

    Args:
        subject: the function under test.
        reference: the right answer, or None to differentiate the subject by differences.
        arguments: what it is called with.
        condition: how much it amplifies the rounding of intermediate results.
        terms: the longest reduction, if known.

    Attributes:
        elementwise: whether the function works on each element for itself.
    """

    elementwise = False

    def __init__(
        self,
        subject: Subject,
        reference: Subject | None,
        arguments: Arguments,
        condition: float = 1.0,
        terms: int | None = None,
    ):
        self.subject = subject
        self.oracle: Any = Reference(reference) if reference else Differences(subject)
        self.arguments = arguments
        self.condition = condition
        self.terms = terms

    @property
    def exact(self) -> bool:
        return self.oracle.exact

    def run(self, trial: Trial) -> Outcome:
        return run(self.subject, trial)

    def right(self, trial: Trial) -> Outcome:
        return self.oracle.run(trial)

    def judge(self, situation: Situation) -> Verdict | None:
        """Run a situation; None where it does not apply."""
        trial = build(self.arguments, situation)
        return None if trial is None else self.judge_trial(situation, trial)

    def judge_trial(self, situation: Situation, trial: Trial) -> Verdict:
        """Run a trial and compare it with what is right."""
        verdict = Verdict(situation, trial)
        special = situation.feature in ("nan", "extreme")
        try:
            if special:
                verdict.right = self.oracle.run(trial, precise=False)
            else:
                verdict.right = self.right(trial)
        except Exception as error:
            verdict.status = SKIPPED
            verdict.reason = f"{type(error).__name__}: {error}"
            if isinstance(error, TooLargeError) or self.exact:
                return verdict
        if situation.sizes == "empty":
            killed = dies(lambda: self.run(trial))
            if killed:
                verdict.status = REFUSED
                verdict.reason = f"the process dies of {killed}: a kernel follows a null pointer"
                return verdict
        verdict.outcome = outcome = self.run(trial)
        if outcome.error is not None:
            if verdict.status == SKIPPED:  # differences are of the function itself
                verdict.outcome = outcome
            optional = situation.feature in MAY_REFUSE
            if outcome.stage == "backward" and situation.feature in (
                "size",
                "input layout",
                "same",
                "reduction",
            ):
                optional = False
            verdict.status = REFUSED if optional else WRONG
            verdict.reason = f"{type(outcome.error).__name__}: {outcome.error}"
            return verdict
        if verdict.status == SKIPPED:
            return verdict
        terms = self.terms or terms_of(trial, verdict.right)
        dtype = _coarsest(trial)
        verdict.tolerance = tolerance_of(dtype, terms, self.condition)
        found = compare(trial, outcome, verdict.right, verdict.tolerance, special)
        if found and special:
            # PyTorch's vectorised functions err at infinity and NaN: its others are asked as well.
            second = self.oracle.run(trial, strided=True)
            opinion = compare(trial, outcome, second, verdict.tolerance, special)
            places = {mismatch.place: mismatch for mismatch in opinion}
            found = [m for m in found if m.place in places and _both(m, places[m.place])]
            if situation.feature == "extreme":
                found = self._without_limits(trial, found, verdict.tolerance)
        if situation.values in ("nan", "inf") and not self.elementwise:
            # What a NaN does to the gradient of its neighbours is nobody's promise; that it comes
            # out of forward is.
            found = [mismatch for mismatch in found if mismatch.kind == "output"]
        if found and self.exact and situation.feature not in ("nan", "extreme", "boundary"):
            found = self._without_ill_conditioned(trial, verdict, found, dtype)
        verdict.mismatches = found
        if found or outcome.overwritten or outcome.beyond:
            verdict.status = WRONG
        return verdict

    def _without_ill_conditioned(
        self, trial: Trial, verdict: Verdict, found: list[Mismatch], dtype: torch.dtype
    ) -> list[Mismatch]:
        """Excuse elements that change as much when the arguments change by their rounding."""
        generator = torch.Generator().manual_seed(99)
        eps = torch.finfo(dtype).eps
        moved = []

        def rounded(x: Any) -> Any:
            if not isinstance(x, torch.Tensor) or not x.is_floating_point():
                return x
            return x.double() * (1 + eps * (2 * torch.rand(x.shape, generator=generator) - 1))

        for _ in range(2):
            args = tuple(rounded(x) for x in trial.values())
            upstream = tuple(rounded(g) for g in verdict.right.upstream)
            dense = ("contiguous",) * len(args)  # an expanded layout would undo the changes
            try:
                moved.append(
                    self.right(replace(trial, args=args, layouts=dense, upstream=upstream))
                )
            except Exception:
                return found
        # Repeated rows make the same error each: n of them add up to n, not to sqrt(n).
        repeated = [
            x.shape[0]
            for x, layout in zip(trial.args, trial.layouts, strict=True)
            if layout == "expanded" and isinstance(x, torch.Tensor) and x.ndim
        ]
        factor = ULPS * max(repeated, default=1) ** 0.5
        parts = self._contributions(trial) if trial.same else None
        kept = []
        for mismatch in found:
            if mismatch.wrong is None or mismatch.found is None:
                kept.append(mismatch)
                continue
            number = mismatch.number
            if mismatch.kind == "gradient":
                number = trial.wanted.index(number)
            shift = torch.zeros_like(mismatch.expected).double()
            for other in moved:
                values = other.outputs if mismatch.kind == "output" else other.gradients
                if values[number] is not None and values[number].shape == shift.shape:
                    shift = torch.maximum(shift, (values[number] - mismatch.expected).abs())
            shift = factor * (shift + (shift.median() if shift.numel() else 0))
            size = size_of(mismatch.expected, _mean_size(verdict.right.upstream))
            difference = (mismatch.found.double() - mismatch.expected).abs()
            if parts is not None and mismatch.kind == "gradient":
                size = size + parts
            excused = difference <= shift + verdict.tolerance * size
            wrong = mismatch.wrong & ~excused
            few = dtype in LOW and wrong.double().mean() < FEW and wrong.numel() > 50
            if wrong.any() and not few:
                kept.append(replace(mismatch, wrong=wrong))
        return kept

    def _without_limits(
        self, trial: Trial, found: list[Mismatch], tolerance: float
    ) -> list[Mismatch]:
        """Excuse numbers where the reference gives NaN for lack of precision.

        At infinity, or where exp overflows, a formula may be inf / inf or inf - inf, which a better
        one has a limit for. A number there is no mistake if it agrees with what float64 gives far
        out, or if that says nothing either.
        """
        candidates = [
            m
            for m in found
            if m.wrong is not None and bool((m.wrong & m.expected.isnan() & ~m.found.isnan()).any())
        ]
        if not candidates:
            return found
        args = tuple(
            x.double().nan_to_num(math.nan, FAR, -FAR)
            if isinstance(x, torch.Tensor) and x.is_floating_point()
            else x
            for x in trial.args
        )
        try:
            far = self.oracle.run(replace(trial, args=args))
        except Exception:
            return found
        for m in candidates:
            number = trial.wanted.index(m.number) if m.kind == "gradient" else m.number
            limit = (far.outputs if m.kind == "output" else far.gradients)[number]
            if limit is None or limit.shape != m.found.shape:
                continue
            near = (m.found.double() - limit).abs() <= max(tolerance, 0.02) * (1 + limit.abs())
            near |= limit.isnan() | (m.found == limit.to(m.found.dtype))
            excused = m.expected.isnan() & near
            m.wrong = m.wrong & ~excused
        return [m for m in found if m.wrong is None or bool(m.wrong.any())]

    def _contributions(self, trial: Trial) -> torch.Tensor:
        """Where one tensor is given twice: the sizes of the gradients that are added up."""
        first = next(x for x in trial.args if isinstance(x, torch.Tensor))
        args = tuple(first if isinstance(x, torch.Tensor) else x for x in trial.args)
        apart = self.right(replace(trial, args=args, same=False))
        return torch.stack([g.abs() for g in apart.gradients if g is not None]).sum(0)


def _both(a: Mismatch, b: Mismatch) -> bool:
    """Whether two oracles agree that some element is wrong."""
    if a.wrong is None or b.wrong is None:
        return True
    a.wrong &= b.wrong
    return bool(a.wrong.any())


def dies(call: Callable[[], Any]) -> str:
    """The signal that a call ends the process with, tried in a copy of the process; "" if none.

    A tensor without elements has the address 0, which a kernel must not touch. Processes that use
    a GPU cannot be copied; there nothing is tried.
    """
    if torch.cuda.is_initialized():
        return ""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            os.close(2)
            call()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else ""


def _mean_size(upstream: list) -> float:
    sizes = [float(g.double().abs().mean()) for g in upstream if g is not None and g.numel()]
    return max(sizes, default=0.0)


def _coarsest(trial: Trial) -> torch.dtype:
    """The dtype that limits the precision."""
    floating = [
        x.dtype for x in trial.args if isinstance(x, torch.Tensor) and x.is_floating_point()
    ]
    return max(floating, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)


def agree(
    a: torch.Tensor | None, b: torch.Tensor | None, tolerance: float, upstream: float = 0.0
) -> bool:
    """Whether two results are the same but for rounding."""
    if a is None or b is None or a.shape != b.shape:
        return False
    return not bool(wrong_elements(a, b, tolerance, upstream)[0].any())
