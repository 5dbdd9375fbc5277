"""What a check found, as text."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

import torch

from minitorch_triton.testing.arguments import Argument
from minitorch_triton.testing.checks import ULPS
from minitorch_triton.testing.compare import Mismatch, locate, picture, terms_of
from minitorch_triton.testing.diagnosis import Diagnosis, Suspect, name_of
from minitorch_triton.testing.lab import OK, REFUSED, WRONG, Lab, Verdict
from minitorch_triton.testing.modules import parameters_of
from minitorch_triton.testing.script import digits_of, reproduction


@dataclass
class Failure:
    """Something that is wrong.

    Attributes:
        what: "gradient", "output", "call", or the name of a procedure.
        verdict: where it was seen.
        diagnoses: the most likely first.
        mismatch: the wrong result, as seen. smallest: after shrinking.
        subject_name: of the argument or output.
    """

    what: str
    verdict: Verdict
    diagnoses: list[Diagnosis]
    mismatch: Mismatch | None = None
    small: Verdict | None = None
    smallest: Mismatch | None = None
    name: str = ""

    @property
    def diagnosis(self) -> Diagnosis:
        """The most likely one."""
        return self.diagnoses[0]


def failure_of(suspect: Suspect, small: Suspect, diagnoses: list[Diagnosis]) -> Failure:
    """Tell a suspect, and the smallest trial of its kind."""
    m = suspect.mismatch
    name = ""
    if m is not None:
        name = (
            f"gradient of {name_of(suspect, m.number)}"
            if m.kind == "gradient"
            else f"output {m.number}"
        )
    return Failure(
        m.kind if m else "call", suspect.verdict, diagnoses, m, small.verdict, small.mismatch, name
    )


@dataclass
class Report:
    """What :func:`check_gradients` found. It is true where everything is right.

    Attributes:
        name: of the function. dtype: that most situations use.
        guessed: whether nobody said what the function takes.
        verdicts: of all situations. procedures: what else was tried.
        failures: what is wrong. seconds: how long it took.
    """

    name: str
    lab: Lab
    dtype: torch.dtype
    guessed: bool = False
    verdicts: list[Verdict] = field(default_factory=list)
    procedures: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures

    def __bool__(self) -> bool:
        return self.ok

    @property
    def kinds(self) -> list[str]:
        """The first diagnosis of each failure, by its short name."""
        return [failure.diagnosis.kind for failure in self.failures]

    def counts(self) -> dict[str, int]:
        """How many situations ended how."""
        found: dict[str, int] = {}
        for verdict in self.verdicts:
            found[verdict.status] = found.get(verdict.status, 0) + 1
        return found

    def notes(self) -> list[str]:
        """What is no mistake but worth knowing: what was refused, and why."""
        told: dict[str, str] = {}
        for verdict in self.verdicts:
            if verdict.status == REFUSED:
                first = verdict.reason.strip().partition("\n")[0]
                told.setdefault(first[:160], verdict.situation.label())
        return [f"refused: {label}: {reason}" for reason, label in told.items()]

    def unchecked(self) -> list[str]:
        """The tensors whose gradient nothing was held against, and why, in words."""
        arguments = self.lab.arguments
        checked = {
            n
            for verdict in self.verdicts
            if verdict.status in (OK, WRONG) and verdict.outcome.error is None
            for n, known in zip(verdict.trial.wanted, verdict.right.known(), strict=True)
            if known
        }
        told = []
        for n in arguments.tensors:
            if n in checked:
                continue
            item = arguments.items[n]
            why = "no situation in which it could be judged"
            if isinstance(item, Argument) and not item.floating:
                why = "it holds whole numbers" if item.dtype != torch.bool else "it is boolean"
                if self.guessed:
                    why += ", a guess: inputs= takes others"
            elif n not in arguments.tracked:
                why = "it was given as one that requires none"
            told.append(f"gradient of {self.lab.subject.name_of(n)} ({why})")
        left = ", ".join(parameters_of(self.lab.subject.fn))
        if left:
            told.append(
                f"gradients of the parameters {left} (they are without a reference, or with a "
                "module of the same parameters)"
            )
        return told

    def loosest(self) -> Verdict | None:
        """The situation with the largest tolerance in the usual dtype."""
        judged = [v for v in self.verdicts if v.tolerance and v.situation.dtype == self.dtype]
        return max(judged, key=lambda v: v.tolerance, default=None)

    def __str__(self) -> str:
        return "\n".join(text_of(self))


def one_line(report: Report) -> str:
    """The verdict alone."""
    counts = report.counts()
    checked = counts.get(OK, 0) + counts.get("wrong", 0)
    against = "a reference" if report.lab.exact else "differences"
    verdict = "ok   " if report.ok else "WRONG"
    said = f"{checked} situations against {against}"
    if counts.get(REFUSED):
        said += f", {counts[REFUSED]} refused"
    return f"{verdict} {report.name}: {said}, {report.seconds:.1f} s; {_tolerance(report)}"


def text_of(report: Report) -> list[str]:
    """The report in lines."""
    lines = [one_line(report)]
    if report.unchecked():
        lines += textwrap.wrap(
            f"not checked: {'; '.join(report.unchecked())}",
            100,
            initial_indent="  ",
            subsequent_indent=" " * 15,
        )
    for failure in report.failures:
        lines += ["", *_failure_lines(report, failure)]
    return lines


def _tolerance(report: Report) -> str:
    verdict = report.loosest()
    if verdict is None:
        return "nothing could be judged"
    dtype = report.dtype
    terms = report.lab.terms or terms_of(verdict.trial, verdict.right)
    name = str(dtype).removeprefix("torch.")
    condition = f" * {report.lab.condition:g}" if report.lab.condition != 1 else ""
    text = (
        f"tolerance {verdict.tolerance:.1e} = {ULPS} * eps({name}) * (1 + sqrt({terms} terms))"
        f"{condition}"
    )
    if verdict.right.precision > verdict.tolerance:
        text = f"tolerance {verdict.right.precision:.1e}, the precision of differences"
    return text


def _failure_lines(report: Report, failure: Failure) -> list[str]:
    first, *others = failure.diagnoses
    lines = [f"  {failure.name or failure.what}: {first.title}"]
    lines += _wrapped("evidence", first.evidence)
    for other in others:
        lines += _wrapped("or", f"{other.title}: {other.evidence}")
    seen = failure.mismatch
    if seen is not None and seen.wrong is not None:
        where = f"{locate(seen.wrong).text}; shape {tuple(seen.wrong.shape)}"
        if seen.error != float("inf"):
            where += f", error up to {seen.error:.2g}"
        lines += _wrapped("where", where)
        if locate(seen.wrong).kind != "everywhere":
            lines += _map(seen.wrong)
    lines += _wrapped("seen with", failure.verdict.situation.label())
    if failure.smallest is not None and failure.smallest.found is not None:
        lines += _numbers(failure.smallest)
    if failure.small is not None:
        lines.append("    to see it:")
        script = reproduction(report.lab, failure.small, failure.smallest, first)
        lines += [f"      {line}" for line in script]
    return lines


def _map(wrong: torch.Tensor) -> list[str]:
    rows = picture(wrong)
    if rows:
        rows.append("(# wrong, . right" + (", + wrong in part)" if "+" in "".join(rows) else ")"))
    return [f"              {row}" for row in rows]


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=f"    {label:10}", subsequent_indent=" " * 14)


def _numbers(mismatch: Mismatch) -> list[str]:
    """Some wrong elements of the smallest case beside the right ones."""
    if mismatch.wrong is None:
        return []
    places = mismatch.wrong.reshape(-1).nonzero().flatten().tolist()[:4]
    digits = 10 if digits_of(mismatch) > 6 else 6
    found = [f"{float(mismatch.found.reshape(-1)[i]):.{digits}g}" for i in places]
    right = [f"{float(mismatch.expected.reshape(-1)[i]):.{digits}g}" for i in places]
    more = ", ..." if int(mismatch.wrong.sum()) > len(places) else ""
    first = tuple(int(i) for i in mismatch.wrong.nonzero()[0]) if mismatch.wrong.ndim else ()
    return [
        f"    {'smallest':10}shape {tuple(mismatch.wrong.shape)}, wrong from {first} on: found "
        f"{', '.join(found)}{more}; right {', '.join(right)}{more}"
    ]
