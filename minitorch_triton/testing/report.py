"""What a check found, as text."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import minitorch_triton as mt
from minitorch_triton.ops.dispatch import Op
from minitorch_triton.testing.checks import ULPS
from minitorch_triton.testing.compare import Mismatch, locate, picture, terms_of
from minitorch_triton.testing.diagnosis import Diagnosis, Suspect, name_of
from minitorch_triton.testing.lab import OK, REFUSED, Lab, Verdict
from minitorch_triton.testing.subject import OURS, describe
from minitorch_triton.testing.trial import Trial

LITERAL = 24
"""Tensors of so many elements are spelt out in a reproduction."""


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
        verdicts: of all situations. procedures: what else was tried.
        failures: what is wrong. seconds: how long it took.
    """

    name: str
    lab: Lab
    dtype: torch.dtype
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
            lines += [f"              {row}" for row in picture(seen.wrong)]
    lines += _wrapped("seen with", failure.verdict.situation.label())
    if failure.smallest is not None and failure.smallest.found is not None:
        lines += _numbers(failure.smallest)
    if failure.small is not None:
        lines.append("    to see it:")
        script = reproduction(report.lab, failure.small.trial, failure)
        lines += [f"      {line}" for line in script]
    return lines


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=f"    {label:10}", subsequent_indent=" " * 14)


def _numbers(mismatch: Mismatch) -> list[str]:
    """Some wrong elements of the smallest case beside the right ones."""
    if mismatch.wrong is None:
        return []
    places = mismatch.wrong.reshape(-1).nonzero().flatten().tolist()[:4]
    found = [f"{float(mismatch.found.reshape(-1)[i]):.6g}" for i in places]
    right = [f"{float(mismatch.expected.reshape(-1)[i]):.6g}" for i in places]
    more = ", ..." if int(mismatch.wrong.sum()) > len(places) else ""
    first = tuple(int(i) for i in mismatch.wrong.nonzero()[0]) if mismatch.wrong.ndim else ()
    return [
        f"    {'smallest':10}shape {tuple(mismatch.wrong.shape)}, wrong from {first} on: found "
        f"{', '.join(found)}{more}; right {', '.join(right)}{more}"
    ]


# A script that shows it


def reproduction(lab: Lab, trial: Trial, failure: Failure | None = None) -> list[str]:
    """A script of a few lines in which the mistake is seen."""
    ours = lab.subject.framework == OURS
    lines = ["import torch"]
    if ours:
        lines.append("import minitorch_triton as mt")
    lines += _import_of(lab.subject.fn)
    names = []
    for n, (x, layout) in enumerate(zip(trial.values(), trial.layouts, strict=True)):
        if not isinstance(x, torch.Tensor):
            names.append(repr(x))
            continue
        if trial.same and n > 0:
            names.append(names[0])
            continue
        name = f"x{n}"
        names.append(name)
        text = _laid_out(_expression(x), x, layout)
        text = f"mt.from_torch({text})" if ours else text
        lines.append(f"{name} = {text}{'.requires_grad_()' if trial.needs[n] else ''}")
    given, named = lab.subject.by_position(names, dict(trial.named))
    given = [*names, *map(repr, given[len(names) :])]
    call = ", ".join([*given, *[f"{key}={value!r}" for key, value in named.items()]])
    if hasattr(lab.subject.fn, "in_script"):
        lines.append(f"y = {lab.subject.fn.in_script(call)}")
    else:
        lines.append(f"y = {_name_in_script(lab.subject)}({call})")
    m = failure.smallest if failure else None
    if (
        failure is not None
        and failure.small is not None
        and failure.small.outcome.error is not None
    ):
        if failure.small.outcome.stage == "forward":
            return [*lines[:-1], f"{lines[-1]}  # raises"]
        return [*lines, "y.sum().backward()  # raises"]
    if m is not None and m.kind == "output":
        return [*lines, "print(y)", *_right(m)]
    if m is None:
        changed = failure.small.outcome.overwritten if failure and failure.small else []
        said = [f"print(x{n})  # changed" for n in changed if isinstance(n, int)]
        return [*lines, "y.sum().backward()", *said]
    upstream = failure.small.right.upstream if failure and failure.small else []
    if len(upstream) == 1 and upstream[0] is not None:
        g = upstream[0]
        text = _laid_out(_expression(g), g, trial.upstream_layout)
        lines.append(f"y.backward({f'mt.from_torch({text})' if ours else text})")
    else:
        package = "mt" if ours else "torch"
        parts = []
        for k, g in enumerate(upstream):
            if g is not None and failure.small.right.linked[k]:
                text = _laid_out(_expression(g), g, trial.upstream_layout)
                parts.append((f"y[{k}]", f"mt.from_torch({text})" if ours else text))
        outputs, values = ", ".join(p for p, _ in parts), ", ".join(v for _, v in parts)
        lines.append(f"{package}.autograd.backward([{outputs}], [{values}])")
    return [*lines, f"print({names[m.number]}.grad)", *_right(m)]


def _right(mismatch: Mismatch) -> list[str]:
    expected = mismatch.expected
    if expected is None or expected.numel() > LITERAL:
        return []
    return [f"# right: {_literal(expected.float())}"]


def _literal(x: torch.Tensor) -> str:
    def spell(value: Any) -> Any:
        if isinstance(value, list):
            return "[" + ", ".join(spell(v) for v in value) + "]"
        text = f"{value:.6g}" if isinstance(value, float) else repr(value)
        if isinstance(value, float) and text.lstrip("-").isdigit():
            text += ".0"
        return {"nan": "float('nan')", "inf": "float('inf')", "-inf": "-float('inf')"}.get(
            text, text
        )

    return spell(x.tolist())


def _expression(x: torch.Tensor) -> str:
    """An expression for a tensor's values."""
    dtype = "" if x.dtype in (torch.float32, torch.int64, torch.bool) else f", dtype={x.dtype}"
    special = x.numel() <= 20 * LITERAL and x.is_floating_point() and _is_special(x)
    if x.numel() == 0 or (x.numel() > LITERAL and not special):
        shape = tuple(x.shape)
        if x.numel() and x.dtype.is_floating_point:
            if bool((x == spread(x)).all()):
                low, high = _ends(x)
                return f"torch.linspace({low:g}, {high:g}, {x.numel()}{dtype}).reshape({shape})"
            return f"(4 * torch.rand({shape}{dtype}) - 2)"
        if x.numel():
            return f"torch.randint({int(x.max()) + 1}, {shape}{dtype})"
        return f"torch.zeros({shape}{dtype or f', dtype={x.dtype}'})"
    exact = x.double() if x.dtype.is_floating_point else x
    return f"torch.tensor({_literal(exact)}{dtype})"


def _is_special(x: torch.Tensor) -> bool:
    """Whether values are of a few kinds, or not finite: random ones would not show the mistake."""
    return not bool(x.isfinite().all()) or 2 * x.unique().numel() < x.numel()


def _ends(x: torch.Tensor) -> tuple[float, float]:
    return float(x.reshape(-1)[0]), float(x.reshape(-1)[-1])


def spread(x: torch.Tensor, low: float | None = None, high: float | None = None) -> torch.Tensor:
    """Evenly spaced values in the form of x, which a script can name."""
    first, last = _ends(x) if low is None or high is None else (low, high)
    return torch.linspace(first, last, x.numel(), dtype=x.dtype).reshape(x.shape)


def _laid_out(text: str, x: torch.Tensor, layout: str) -> str:
    shape = tuple(x.shape)
    if layout == "transposed" and x.ndim > 1:
        turned = tuple(reversed(range(x.ndim)))
        return f"{text}.permute({turned}).contiguous().permute({turned})"
    if layout == "sliced" and x.ndim:
        return f"torch.repeat_interleave({text}, 2, -1)[..., ::2]"
    if layout == "offset":
        return f"torch.cat([torch.zeros(1), {text}.flatten()])[1:].view({shape})"
    if layout == "expanded" and x.ndim and x.shape[0] > 1:
        return f"{_expression(x[:1].clone())}.expand({shape})"
    if layout == "constant" and x.numel():
        return f"{_expression(x.reshape(-1)[0].clone())}.expand({shape})"
    return text


def _import_of(fn: Any) -> list[str]:
    if hasattr(fn, "in_script"):
        return ["import minitorch_triton.testing"]
    if isinstance(fn, Op) and _name_of_op(fn) != fn.name:
        return []
    target = getattr(fn, "__self__", fn) if inspect.ismethod(fn) else fn
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", "")
    if module and name.isidentifier() and module != "__main__":
        return [f"from {module} import {name}"]
    where = ""
    code = getattr(target, "__code__", None)
    if code is not None:
        where = f" of {Path(code.co_filename).name}, line {code.co_firstlineno}"
    return [f"{_plain_name(fn)} = ...  # the function that was checked{where}"]


def _name_of_op(op: Op) -> str:
    """The public name of one of our operations, else its own."""
    for prefix, space in (("mt", mt), ("mt.nn.functional", mt.nn.functional)):
        for name, value in vars(space).items():
            if value is op:
                return f"{prefix}.{name}"
    return op.name


def _plain_name(fn: Any) -> str:
    if isinstance(fn, Op):
        return _name_of_op(fn)
    name = describe(fn)
    return name if name.isidentifier() else "fn"


def _name_in_script(subject: Any) -> str:
    name = _plain_name(subject.fn)
    return (
        f"{name}.apply" if subject.call is not subject.fn or inspect.ismethod(subject.fn) else name
    )
