"""Where trials are run and judged: the function under test beside its oracle."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from minitorch_triton.testing.arguments import Arguments
from minitorch_triton.testing.compare import (
    Mismatch,
    compare,
    terms_of,
    tolerance_of,
    wrong_elements,
)
from minitorch_triton.testing.excuses import (
    in_both,
    without_ill_conditioned,
    without_limits,
    without_rounding_noise,
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
        layered: whether it is a module of several layers.
    """

    elementwise = layered = False

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
            verdict.right = self.oracle.run(trial, precise=not special)
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
        verdict.outcome = self.run(trial)
        raised = verdict.outcome.error
        if raised is not None:
            verdict.status = REFUSED if _may_refuse(situation, verdict.outcome.stage) else WRONG
            verdict.reason = f"{type(raised).__name__}: {raised}"
        elif verdict.status != SKIPPED:
            verdict.mismatches = self._mismatches(verdict, special)
            if verdict.mismatches or verdict.outcome.overwritten or verdict.outcome.beyond:
                verdict.status = WRONG
        return verdict

    def _mismatches(self, verdict: Verdict, special: bool) -> list[Mismatch]:
        """What is wrong in a trial that ran, but for what there are excuses for.

        Args:
            special: there is NaN, infinity or what overflows among the values.
        """
        situation, trial, outcome = verdict.situation, verdict.trial, verdict.outcome
        terms = self.terms or terms_of(trial, verdict.right)
        dtype = _coarsest(trial)
        verdict.tolerance = tolerance_of(dtype, terms, self.condition)
        found = compare(trial, outcome, verdict.right, verdict.tolerance, special)
        if special and not self.exact:
            return self._nan_of_numbers(verdict, found)
        if found and special:
            # PyTorch's vectorised functions err at infinity and NaN: its others are asked as well.
            second = self.oracle.run(trial, strided=True)
            found = in_both(found, compare(trial, outcome, second, verdict.tolerance, special))
            if situation.feature == "extreme":
                found = without_limits(self.oracle, trial, found, verdict.tolerance)
        if situation.values in ("nan", "inf") and not self.elementwise:
            # What a NaN does to the gradient of its neighbours is nobody's promise; that it comes
            # out of forward is.
            found = [mismatch for mismatch in found if mismatch.kind == "output"]
        if situation.values.startswith("stalling"):
            # The small values are only meant to be added up, many at once.
            longest = max(x.numel() for x in trial.args if isinstance(x, torch.Tensor))
            found = [m for m in found if m.wrong is not None and 64 * m.wrong.numel() < longest]
            if self.layered:  # what is rounded between layers stalls nothing, and is off as well
                found = []
        # At a kink neighbours are as far off as a mistake would be. In several layers terms cancel
        # there, as in the derivative of a tanh of large numbers.
        excusable = self.layered or situation.feature != "boundary"
        if found and self.exact and not special and excusable:
            found = without_ill_conditioned(self.oracle, verdict, found, dtype)
        elif found and not self.exact:
            found = without_rounding_noise(self.run, verdict, found, dtype)
        return found

    def _nan_of_numbers(self, verdict: Verdict, found: list[Mismatch]) -> list[Mismatch]:
        """Gradients that are NaN where outputs and differences are numbers.

        Of large values differences tell no more.
        """
        outputs = [*verdict.outcome.outputs, *verdict.right.outputs]
        kept = []
        for m in found:
            if m.kind != "gradient" or m.wrong is None or m.found is None:
                continue
            wrong = m.wrong & m.found.isnan()
            for y in outputs:
                wrong = wrong & (y.isfinite() if self.elementwise else bool(y.isfinite().all()))
            if wrong.any():
                kept.append(replace(m, wrong=wrong))
        return kept


def _may_refuse(situation: Situation, stage: str) -> bool:
    """Whether a function may raise an error: what forward took, backward has to take mostly."""
    if stage == "backward" and situation.feature in ("size", "input layout", "same", "reduction"):
        return False
    return situation.feature in MAY_REFUSE


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
