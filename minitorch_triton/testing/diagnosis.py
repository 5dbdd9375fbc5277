"""The list of diagnoses, and what a rule has at hand to find evidence for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from minitorch_triton.testing.compare import Mismatch, Where, locate
from minitorch_triton.testing.lab import OK, WRONG, Lab, Verdict, agree
from minitorch_triton.testing.situations import Situation
from minitorch_triton.testing.trial import Outcome, Trial

if TYPE_CHECKING:
    from minitorch_triton.testing.script import Script

KINDS = {
    "factor": "factor wrong",
    "sign": "sign wrong",
    "upstream": "upstream gradient ignored or assumed one",
    "broadcast": "broadcast not summed",
    "transposed": "transposed",
    "strides": "strides ignored",
    "tail": "tail beyond the last full block unmasked or missing",
    "expanded": "expanded gradient read as dense",
    "overwritten": "input overwritten",
    "boundary": "wrong at the boundary",
    "nan": "NaN swallowed",
    "precision": "precision lost",
    "reduction": "`reduction` ignored",
    "stale": "stale buffer or unwritten memory",
    "missing": "gradient missing",
    "too few": "too few gradients",
    "race": "race between programs",
    # Beyond what is easily mistaken: what else a gradient can be.
    "term": "a term is missing",
    "swapped": "gradients of two inputs exchanged",
    "random": "other random numbers in backward than in forward",
    "extreme": "wrong at large or infinite values",
    "in place": "in-place change goes unnoticed",
    "second": "second derivative wrong",
    "same": "wrong where one tensor is given twice",
    "error": "raises an error",
    "formula": "formula wrong",
}
"""Every diagnosis by its short name."""


@dataclass
class Diagnosis:
    """A kind of mistake, with the evidence for it.

    Attributes:
        steps: the lines of a script that shows it, where one call of forward and backward does not.
    """

    kind: str
    evidence: str
    steps: Callable[[Script], list[str]] | None = None

    @property
    def title(self) -> str:
        return KINDS[self.kind]


class Suspect:
    """A wrong result, and ways to ask further questions about it.

    Attributes:
        verdict: the trial in which it was seen. mismatch: the wrong result, None if the trial
            failed otherwise.
        verdicts: of all situations.
    """

    def __init__(
        self, lab: Lab, verdicts: list[Verdict], verdict: Verdict, mismatch: Mismatch | None
    ):
        self.lab = lab
        self.verdicts = verdicts
        self.verdict = verdict
        self.mismatch = mismatch
        self.trial = verdict.trial
        self.tolerance = 4 * max(verdict.tolerance, verdict.right.precision)
        self._memory: dict[str, Any] = {}

    @property
    def found(self) -> torch.Tensor:
        return self.mismatch.found.double()

    @property
    def expected(self) -> torch.Tensor:
        return self.mismatch.expected.double()

    @property
    def is_gradient(self) -> bool:
        return self.mismatch.kind == "gradient"

    @property
    def where(self) -> Where:
        return locate(self.mismatch.wrong)

    @property
    def upstream(self) -> list[torch.Tensor | None]:
        return self.verdict.right.upstream

    @property
    def output(self) -> torch.Tensor | None:
        """The right first output."""
        return self.verdict.right.outputs[0].double() if self.verdict.right.outputs else None

    def inputs(self) -> list[tuple[int, torch.Tensor]]:
        """The floating-point arguments with their numbers."""
        return [
            (n, x.double())
            for n, x in enumerate(self.trial.values())
            if isinstance(x, torch.Tensor) and x.is_floating_point()
        ]

    def pick(self, trial: Trial, outcome: Outcome) -> torch.Tensor | None:
        """The result that this is about, out of another outcome."""
        if outcome.error is not None:
            return None
        if not self.is_gradient:
            values, number = outcome.outputs, self.mismatch.number
        elif self.mismatch.number in trial.wanted:
            values, number = outcome.gradients, trial.wanted.index(self.mismatch.number)
        else:
            return None
        found = values[number] if number < len(values) else None
        return None if found is None else found.double()

    def again(self, **changes: Any) -> torch.Tensor | None:
        """What the function gives under changes to the trial."""
        trial = replace(self.trial, **changes)
        return self.pick(trial, self.lab.run(trial))

    def right(self, **changes: Any) -> torch.Tensor | None:
        """What would be right under changes to the trial; None if the oracle does not say."""
        trial = replace(self.trial, **changes)
        try:
            return self.pick(trial, self.lab.right(trial))
        except Exception:
            return None

    def same(self, a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
        """Whether two results agree but for rounding."""
        size = max(
            [float(g.abs().double().mean()) for g in self.upstream if g is not None and g.numel()],
            default=0.0,
        )
        return agree(a, b, self.tolerance, size)

    def other(self, situation: Situation) -> Suspect | None:
        """The same result in another situation, if it is wrong there too."""
        verdict = self.lab.judge(situation)
        if verdict is None or verdict.status != WRONG:
            return None
        for mismatch in verdict.mismatches:
            if mismatch.place == self.mismatch.place:
                return Suspect(self.lab, self.verdicts, verdict, mismatch)
        return None

    def with_feature(self, *features: str) -> list[Verdict]:
        return [v for v in self.verdicts if v.situation.feature in features]

    def wrong_here(self, verdict: Verdict) -> bool:
        """Whether the same result was wrong in another trial."""
        return any(m.place == self.mismatch.place for m in verdict.mismatches)

    def holds(self, *features: str) -> bool:
        """Whether such situations were judged, and the same result was right in all of them."""
        judged = [v for v in self.with_feature(*features) if v.status in (OK, WRONG)]
        return bool(judged) and not any(self.wrong_here(v) or v.reason for v in judged)

    def remember(self, key: str, compute: Callable[[], Any]) -> Any:
        if key not in self._memory:
            self._memory[key] = compute()
        return self._memory[key]


def name_of(suspect: Suspect, number: int) -> str:
    """An argument in words."""
    return suspect.lab.subject.name_of(number)


Rule = Callable[[Suspect], Diagnosis | None]
