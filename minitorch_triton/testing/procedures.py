"""What is more than one forward and one backward: second calls, changes in place, create_graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

import minitorch_triton as mt
from minitorch_triton.testing.compare import compare
from minitorch_triton.testing.diagnosis import Diagnosis
from minitorch_triton.testing.lab import Lab, Verdict, agree
from minitorch_triton.testing.placement import poisoned
from minitorch_triton.testing.races import launches, races_in
from minitorch_triton.testing.rules_values import by_message
from minitorch_triton.testing.script import Script
from minitorch_triton.testing.trial import NAN, Outcome, Placed, Trial, run

Procedure = Callable[[Lab, Verdict], Diagnosis | None]


class Session:
    """A forward call whose backward comes later."""

    def __init__(self, lab: Lab, trial: Trial, prepare: Callable[[Any], Any] | None = None):
        self.lab, self.trial = lab, trial
        self.placed = Placed(lab.subject, trial)
        self.inner = list(self.placed.args)
        if prepare is not None:
            for n in trial.wanted:
                self.inner[n] = prepare(self.inner[n])
        self.outputs = lab.subject.forward(self.inner, **dict(trial.named))
        self.leaves = [self.placed.args[n] for n in trial.wanted]

    def upstream(self) -> list:
        shapes = [tuple(y.shape) for y in self.outputs]
        return self.trial.drawn_upstream(shapes, [y.dtype for y in self.outputs])

    def values(self) -> list[torch.Tensor]:
        return [self.lab.subject.values(y).clone() for y in self.outputs]

    def backward(self, **options: Any) -> list[torch.Tensor | None]:
        upstream = [None if g is None else g.clone() for g in self.upstream()]
        found = self.lab.subject.backward(
            self.outputs, self.leaves, upstream, retain_graph=True, **options
        )
        return [None if g is None else self.lab.subject.values(g).clone() for g in found]


def _wrong(verdict: Verdict, gradients: list, right: Outcome | None = None) -> bool:
    """Whether gradients of the verdict's trial are wrong."""
    right = right or verdict.right
    outcome = Outcome(verdict.outcome.outputs, verdict.outcome.linked, gradients)
    found = compare(verdict.trial, outcome, right, verdict.tolerance)
    return any(m.kind == "gradient" for m in found)


def races(lab: Lab, verdict: Verdict) -> Diagnosis | None:
    """Stores of several programs to one address."""
    with launches() as seen:
        lab.run(verdict.trial)
    found = races_in(seen)
    return Diagnosis("race", found[0], _in_checked_mode) if found else None


def _in_checked_mode(script: Script) -> list[str]:
    script.checked = mt.cpu.is_enabled()
    raises = "  # raises" if script.checked else ""
    return [f"y = {script.call()}", f"{script.backward()}{raises}"]


def repeated(lab: Lab, verdict: Verdict) -> Diagnosis | None:
    """The same call a few times."""
    for _ in range(2):
        outcome = lab.run(verdict.trial)
        if outcome.error is not None:
            said = f"the same call fails when it is repeated: {outcome.error}"
            return Diagnosis("stale", said, _repeated)
        pairs = [
            *zip(outcome.outputs, verdict.outcome.outputs, strict=True),
            *zip(outcome.gradients, verdict.outcome.gradients, strict=True),
        ]
        for a, b in pairs:
            if a is not None and b is not None and not agree(a, b, verdict.tolerance, 1.0):
                said = "the same call gives another result when it is repeated"
                return Diagnosis("race", said, _repeated)
    return None


def _repeated(script: Script) -> list[str]:
    return [
        *script.upstream(),
        "for _ in range(3):",
        f"    y = {script.call()}",
        f"    print(y, *{script.gradients()})",
        *script.right(),
    ]


def second_call(lab: Lab, verdict: Verdict) -> Diagnosis | None:
    """A second call between forward and backward of the first; a second backward."""
    other = _moved(verdict.trial)
    with poisoned(NAN):
        first = Session(lab, verdict.trial)
        before = first.values()
        second = Session(lab, other)
        second_before = second.values()
        if any(not _equal(a, b) for a, b in zip(before, first.values(), strict=True)):
            return Diagnosis(
                "stale",
                "a second call changes the output of the first: one buffer",
                _first_output,
            )
        if _wrong(verdict, first.backward()):
            return Diagnosis(
                "stale",
                "after a second forward call the backward of the first call is wrong",
                _first_backward,
            )
        kept = first.backward()
        if _wrong(verdict, kept):
            return Diagnosis(
                "stale", "a second backward through the same graph is wrong", _backward_twice
            )
        second.backward()
        if any(not _equal(a, b) for a, b in zip(second_before, second.values(), strict=True)):
            return Diagnosis("stale", "backward changes the output", _output_of_backward)
        again = first.backward()
        if _wrong(verdict, again):
            return Diagnosis(
                "stale",
                "backward of one call changes what backward of another gives",
                _two_backwards,
            )
        returned = lab.subject.backward(
            first.outputs, first.leaves, first.upstream(), retain_graph=True
        )
        copies = [None if g is None else lab.subject.values(g).clone() for g in returned]
        second.backward()
        for g, copy in zip(returned, copies, strict=True):
            if g is not None and not _equal(lab.subject.values(g), copy):
                return Diagnosis(
                    "stale", "a later backward changes a gradient returned before", _kept_gradients
                )
    return None


def _two_calls(script: Script) -> list[str]:
    return [
        *script.upstream(),
        f"y = {script.call()}",
        f"z = {script.call(script.moved())}  # a second call",
    ]


def _first_output(script: Script) -> list[str]:
    _, first, second = _two_calls(script)
    return [first, "print(y)", second, "print(y)  # has changed"]


def _first_backward(script: Script) -> list[str]:
    return [*_two_calls(script), f"print(*{script.gradients()})", *script.right()]


def _backward_twice(script: Script) -> list[str]:
    once = script.gradients(retain_graph=True)
    return [*_two_calls(script)[:2], once, f"print(*{script.gradients()})", *script.right()]


def _output_of_backward(script: Script) -> list[str]:
    return [*_two_calls(script)[:2], "print(y)", script.gradients(), "print(y)  # has changed"]


def _two_backwards(script: Script) -> list[str]:
    other = script.gradients("z", "-g")
    return [*_two_calls(script), other, f"print(*{script.gradients()})", *script.right()]


def _kept_gradients(script: Script) -> list[str]:
    return [
        *_two_calls(script),
        f"gradients = {script.gradients()}",
        "print(*gradients)",
        script.gradients("z", "-g"),
        "print(*gradients)  # has changed",
        *script.right(),
    ]


def _moved(trial: Trial) -> Trial:
    """The same trial with other values."""
    args = tuple(
        x.flip(list(range(x.ndim))) if isinstance(x, torch.Tensor) and x.is_floating_point() else x
        for x in trial.args
    )
    return replace(trial, args=args, seed=trial.seed + 1)


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.nan_to_num(), b.nan_to_num())


def in_place(lab: Lab, verdict: Verdict) -> Diagnosis | None:
    """An input, then the output, changed in place between forward and backward."""
    for number in verdict.trial.wanted:
        with poisoned(NAN):
            session = Session(lab, verdict.trial, prepare=lambda x: x * 1)
            try:
                session.inner[number].add_(1.5)
                gradients = session.backward()
            except RuntimeError:
                continue
        if _wrong(verdict, gradients):
            return Diagnosis(
                "in place",
                f"input {number} was changed between forward and backward, the gradient is wrong "
                "and nothing is said: keep it with save_for_backward",
                partial(_input_changed, number),
            )
    if len(verdict.right.outputs) != 1:
        return None
    with poisoned(NAN):
        session = Session(lab, verdict.trial, prepare=lambda x: x * 1)
        try:
            session.outputs[0].mul_(2)
            gradients = session.backward()
        except RuntimeError:
            return None
    if _wrong(verdict, [None if g is None else g / 2 for g in gradients]):
        return Diagnosis(
            "in place",
            "the output was changed between forward and backward, the gradient is wrong and "
            "nothing is said: keep it with save_for_backward",
            _output_changed,
        )
    return None


def _input_changed(number: int, script: Script) -> list[str]:
    names = ["z" if n == number else name for n, name in enumerate(script.names)]
    return [
        *script.upstream(),
        f"z = {script.names[number]} * 1",
        f"y = {script.call(names)}",
        "z.add_(1.5)",
        f"print(*{script.gradients()})",
        *script.right(),
    ]


def _output_changed(script: Script) -> list[str]:
    doubled = [None if g is None else 2 * g for g in script.verdict.right.gradients]
    return [
        *script.upstream(),
        f"y = {script.call()}",
        "y.mul_(2)",
        f"print(*{script.gradients()})",
        *script.right(doubled),
    ]


def without_gradient(lab: Lab, verdict: Verdict) -> Diagnosis | None:
    """A call in which nothing requires a gradient."""
    trial = replace(verdict.trial, needs=tuple(False for _ in verdict.trial.needs))
    with poisoned(NAN):
        try:
            values = Session(lab, trial).values()
        except Exception as error:
            return Diagnosis(
                "error",
                f"without a gradient required: {type(error).__name__}: {error}",
                _detached,
            )
    for a, b in zip(values, verdict.outcome.outputs, strict=True):
        if not agree(a, b, verdict.tolerance, 1.0):
            return Diagnosis(
                "formula", "the output is another where no input requires a gradient", _detached
            )
    return None


def _detached(script: Script) -> list[str]:
    names = [
        f"{name}.detach()" if isinstance(x, torch.Tensor) else name
        for name, x in zip(script.names, script.trial.args, strict=True)
    ]
    return [f"print({script.call(names)})", *script.right(script.verdict.right.outputs)]


def create_graph(lab: Lab, verdict: Verdict) -> Diagnosis | None:
    """The gradient of a gradient, where the function offers one."""
    try:
        with poisoned(NAN):
            session = Session(lab, verdict.trial)
            firsts = lab.subject.backward(
                session.outputs, session.leaves, session.upstream(), create_graph=True
            )
            values = [None if g is None else lab.subject.values(g).clone() for g in firsts]
    except Exception:
        return None  # it says that it has none
    if _wrong(verdict, values):
        return Diagnosis(
            "second", "under create_graph=True the first gradient is another", _under_create_graph
        )
    if not lab.exact:
        return None
    oracle = lab.oracle.subject
    precise = replace(
        verdict.trial,
        args=tuple(
            x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
            for x in verdict.trial.args
        ),
    )
    if oracle.drew:  # in float64 it would draw others
        precise = verdict.trial
    try:
        ours = _seconds(lab.subject, session, session.upstream())
    except Exception:
        return None
    if ours is None:
        return None
    connected, found = ours
    try:
        expected_session = Session(_oracle_lab(lab, oracle), precise)
        upstream = [None if g is None else g.double() for g in session.upstream()]
        theirs = _seconds(oracle, expected_session, upstream, connected)
    except Exception:
        return None
    if theirs is None:
        return None
    limit = 64 * verdict.tolerance
    wanted = verdict.trial.wanted
    for n, (a, b) in enumerate(zip(found, theirs[1], strict=True)):
        if b is None:
            continue
        a = torch.zeros_like(b) if a is None else a
        if not agree(a, b, limit, 1.0):
            what = f"input {wanted[n]}" if n < len(wanted) else "the upstream gradient"
            return Diagnosis(
                "second",
                f"the gradient of the gradient is wrong for {what}, and nothing is said: mark "
                "backward with once_differentiable if it has none",
                partial(_second, connected, n, b),
            )
    return None


def _under_create_graph(script: Script) -> list[str]:
    return [
        *script.upstream(),
        f"y = {script.call()}",
        f"print(*{script.gradients(create_graph=True)})",
        *script.right(),
    ]


def _second(chosen: list[int], number: int, right: torch.Tensor, script: Script) -> list[str]:
    """The gradient of a weighted sum of first gradients, as `_seconds` computes it."""
    wanted = script.trial.wanted
    given = [n for n, g in enumerate(script.verdict.right.upstream) if g is not None]
    inner = (
        script.names[wanted[number]]
        if number < len(wanted)
        else script.of_output("g", given[number - len(wanted)])
    )
    sizes = [tuple(script.trial.args[wanted[n]].shape) for n in chosen]
    weights = [
        f"torch.linspace({WEIGHTS[0]}, {WEIGHTS[1]}, {math.prod(size)}).reshape({size})"
        for size in sizes
    ]
    if script.ours:
        weights = [f"mt.from_torch({weight})" for weight in weights]
    tracked = [f"{script.of_output('g', n)}.requires_grad_()" for n in given]
    firsts = ", ".join(f"firsts[{n}]" for n in chosen)
    return [
        *script.upstream(),
        *tracked,
        f"y = {script.call()}",
        f"firsts = {script.gradients(create_graph=True)}",
        f"weights = [{', '.join(weights)}]",
        f"print({script.package}.autograd.grad([{firsts}], {inner}, weights, allow_unused=True))",
        *script.right(right),
    ]


def _oracle_lab(lab: Lab, oracle: Any) -> Lab:
    return Lab(oracle, oracle, lab.arguments)


WEIGHTS = (0.5, -1.0)
"""Of the elements of first gradients in their sum: evenly spaced from the one to the other."""


def _seconds(
    subject: Any, session: Session, upstream: list, chosen: list[int] | None = None
) -> tuple[list[int], list] | None:
    """The gradient of a weighted sum of the first gradients.

    The upstream gradient requires one as well, as it does behind any function that is not linear:
    a backward that only detached its inputs would otherwise seem to have no second derivative.

    Args:
        chosen: which first gradients are in the sum; by default those that belong to the graph.

    Returns:
        Which were chosen, and gradients of the sum for the inputs and the upstream gradients; None
        if no first gradient belongs to the graph.
    """
    given = [None if g is None else subject.leaf(g.clone(), True) for g in upstream]
    firsts = subject.backward(session.outputs, session.leaves, given, create_graph=True)
    linked = [n for n, g in enumerate(firsts) if g is not None and g.requires_grad]
    if chosen is None:
        chosen = linked
    weights = [
        None
        if g is None
        else torch.linspace(*WEIGHTS, math.prod(g.shape), dtype=torch.float64).reshape(g.shape)
        for g in firsts
    ]
    both = [n for n in chosen if n in linked]
    if not both:
        return None
    sums, scales = [firsts[n] for n in both], [weights[n].to(firsts[n].dtype) for n in both]
    # The error of once_differentiable is raised in a full backward alone.
    subject.full_backward(sums, scales)
    inputs = [*session.leaves, *[g for g in given if g is not None]]
    found = subject.backward(sums, inputs, scales, retain_graph=True)
    return chosen, [None if g is None else subject.values(g) for g in found]


def checked(lab: Lab, verdict: Verdict) -> Diagnosis | None:
    """The CPU compiler's checked mode, which sees every load and store."""
    if torch.cuda.is_initialized() or not mt.cpu.is_enabled():
        return None
    with mt.cpu.checked():
        outcome = run(lab.subject, verdict.trial, exact=True)
    if outcome.error is None:
        return None
    return replace(by_message(outcome.error, outcome.stage), steps=_in_checked_mode)


PROCEDURES: dict[str, Procedure] = {
    "stores of several programs": races,
    "the checked mode": checked,
    "repetition": repeated,
    "a second call": second_call,
    "no gradient required": without_gradient,
    "a change in place": in_place,
    "create_graph": create_graph,
}
"""By what they try."""
