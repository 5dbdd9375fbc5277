"""The smallest trial in which a result is still wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from minitorch_triton.testing.compare import Mismatch
from minitorch_triton.testing.diagnosis import Suspect
from minitorch_triton.testing.lab import WRONG, Verdict
from minitorch_triton.testing.situations import Situation, of_rank

SIZES = (1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 64, 65, 100, 129, 257, 513, 1025, 2049, 4097)
TRIALS = 60
"""How many smaller trials are tried."""


def shrink(suspect: Suspect) -> Suspect:
    """Make sizes small, then everything else plain, as long as the same result stays wrong.

    What has a special pattern only where it is large, such as a tail, keeps being wrong when it is
    small; the pattern was looked at before.
    """
    situation = _with_sizes(suspect)
    if situation is None:
        return suspect
    best, smallest, left = suspect, situation, TRIALS
    current = dict(situation.sizes)  # type: ignore[arg-type]
    for name, size in current.copy().items():
        for smaller in SIZES:
            if smaller >= size or left <= 0:
                break
            left -= 1
            candidate = replace(smallest, sizes=tuple({**current, name: smaller}.items()))
            found = _still_wrong(suspect, candidate)
            if found is not None:
                best, smallest = found, candidate
                current[name] = smaller
                break
    for change in (
        {"dtype": torch.float32},
        {"layouts": ()},
        {"upstream": "contiguous"},
        {"values": "random"},
    ):
        if all(getattr(smallest, key) == value for key, value in change.items()):
            continue
        candidate = replace(smallest, **change)
        found = _still_wrong(suspect, candidate)
        if found is not None:
            best, smallest = found, candidate
    return _round_values(_wrong_elements_only(best))


def _wrong_elements_only(suspect: Suspect) -> Suspect:
    """Up to three of the wrong elements by themselves, for a function of each element.

    Special values are drawn at random places, which smaller sizes need not have.
    """
    trial, m = suspect.trial, suspect.mismatch
    if not suspect.lab.elementwise or m is None or m.wrong is None:
        return suspect
    shape = tuple(m.wrong.shape)
    tensors = [x for x in trial.values() if isinstance(x, torch.Tensor)]
    if any(tuple(x.shape) != shape for x in tensors):
        return suspect
    if any(g is None or tuple(g.shape) != shape for g in suspect.upstream):
        return suspect
    places = m.wrong.reshape(-1).nonzero().flatten()[:3]
    form = (1,) * (len(shape) - 1) + (-1,)

    def chosen(x: Any) -> Any:
        return x.reshape(-1)[places].reshape(form) if isinstance(x, torch.Tensor) else x

    candidate = replace(
        trial,
        args=tuple(chosen(x) for x in trial.values()),
        layouts=("contiguous",) * len(trial.args),
        upstream=tuple(chosen(g) for g in suspect.upstream),
        upstream_layout="contiguous",
    )
    verdict = suspect.lab.judge_trial(suspect.verdict.situation, candidate)
    return _same_trouble(suspect, verdict) or suspect


def _with_sizes(suspect: Suspect) -> Situation | None:
    """The situation with its sizes spelt out."""
    from minitorch_triton.testing.arguments import sizes_named

    situation = suspect.verdict.situation
    arguments = suspect.lab.arguments
    if situation.rank is not None:
        arguments = of_rank(arguments, situation.rank)
    if not arguments.sizes:
        return None
    sizes = situation.sizes
    if isinstance(sizes, str):
        sizes = tuple((sizes_named(arguments, sizes) or {}).items())
    return replace(situation, sizes=sizes, feature=situation.feature, seed=situation.seed or 1)


def _still_wrong(suspect: Suspect, situation: Situation) -> Suspect | None:
    verdict = suspect.lab.judge(situation)
    return None if verdict is None else _same_trouble(suspect, verdict)


def _same_trouble(suspect: Suspect, verdict: Verdict) -> Suspect | None:
    if verdict.status != WRONG:
        return None
    if suspect.mismatch is None:
        before, now = suspect.verdict.outcome, verdict.outcome
        alike = type(before.error) is type(now.error) and before.stage == now.stage
        alike &= bool(before.overwritten) == bool(now.overwritten)
        return Suspect(suspect.lab, suspect.verdicts, verdict, None) if alike else None
    for mismatch in verdict.mismatches:
        if mismatch.place == suspect.mismatch.place and (mismatch.found is None) == (
            suspect.mismatch.found is None
        ):
            told = suspect.lab.elementwise or not _vanishes(mismatch)
            if not told and not _vanishes(suspect.mismatch):
                return None
            if mismatch.error < 0.1 * min(suspect.mismatch.error, 1.0):
                return None  # rounding that a small case amplifies, not the mistake
            return Suspect(suspect.lab, suspect.verdicts, verdict, mismatch)
    return None


def _vanishes(mismatch: Mismatch) -> bool:
    """Whether right is 0 everywhere, as for the normalization of one element: it shows nothing."""
    expected = mismatch.expected
    return expected is not None and not bool((expected.abs() > 1e-4).any())


def _round_values(suspect: Suspect) -> Suspect:
    """Values of one or two digits, if the result is still wrong with them."""
    trial = suspect.trial
    if sum(x.numel() for x in trial.args if isinstance(x, torch.Tensor)) > 64:
        return suspect
    rounded = tuple(
        (x.double() * 10).round().div(10).to(x.dtype)
        if isinstance(x, torch.Tensor) and x.is_floating_point()
        else x
        for x in trial.values()
    )
    upstream = tuple(
        None if g is None else (g.double() * 4).round().div(4).to(g.dtype)
        for g in suspect.upstream
    ) if suspect.verdict.right.upstream else None  # fmt: skip
    candidate = replace(trial, args=rounded, upstream=upstream)
    try:
        verdict = suspect.lab.judge_trial(suspect.verdict.situation, candidate)
    except Exception:
        return suspect
    return _same_trouble(suspect, verdict) or suspect
