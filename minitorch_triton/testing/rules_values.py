"""Evidence of mistakes with values: errors, missing gradients, boundaries, NaN, lost precision."""

from __future__ import annotations

import re

import torch

import minitorch_triton as mt
from minitorch_triton.testing.diagnosis import Diagnosis, Suspect, name_of
from minitorch_triton.testing.rules_formula import usable


def raised(suspect: Suspect) -> Diagnosis | None:
    """An error, in words of what it means."""
    error = suspect.verdict.outcome.error
    if error is None:
        return None
    return by_message(error, suspect.verdict.outcome.stage)


def by_message(error: Exception, stage: str) -> Diagnosis:
    """What an error of an engine or of a checked kernel says."""
    text = str(error)
    first = text.strip().partition("\n")[0]
    said = f"{type(error).__name__} in {stage}: {first}"
    count = re.search(r"incorrect number of gradients \(expected (\d+), got (\d+)\)", text)
    if count:
        expected, got = map(int, count.groups())
        if got < expected:
            return Diagnosis("too few", f"backward returned {got} gradients for {expected} inputs")
        return Diagnosis("error", f"backward returned {got} gradients for {expected} inputs")
    shape = re.search(
        r"invalid gradient at index (\d+) - got \[([\d, ]*)\] but expected shape compatible with "
        r"\[([\d, ]*)\]",
        text,
    )
    if shape:
        given, right = ([int(size) for size in shape[n].split(",") if size.strip()] for n in (2, 3))
        words = f"gradient {shape[1]} has shape {tuple(given)}, its input {tuple(right)}"
        if len(given) >= 2 and sorted(given) == sorted(right):
            return Diagnosis("transposed", words)
        return Diagnosis("broadcast", words)
    if "does not require grad and does not have a grad_fn" in text:
        return Diagnosis("missing", said)
    if isinstance(error, mt.cpu.CheckError):
        lines = [line.strip() for line in text.strip().splitlines()]
        return Diagnosis(CHECKED.get(error.kind, "error"), "; ".join(lines[:4]))
    return Diagnosis("error", said)


CHECKED = {
    "out of bounds": "tail",
    "no storage": "tail",
    "masked-off": "tail",
    "unwritten": "stale",
    "race": "race",
}
"""What the kinds of the checked mode's findings are here."""


def missing(suspect: Suspect) -> Diagnosis | None:
    """No gradient where there should be one."""
    m = suspect.mismatch
    if m is None or m.kind != "gradient" or m.found is not None:
        return None
    linked = suspect.verdict.outcome.linked
    if linked and not any(linked):
        return Diagnosis("missing", "the output does not require a gradient: it left the graph")
    if suspect.verdict.situation.needs is not None:
        only = ", ".join(name_of(suspect, n) for n in suspect.verdict.situation.needs)
        return Diagnosis(
            "missing", f"None where only {only} requires a gradient (needs_input_grad?)"
        )
    return Diagnosis("missing", f"backward returned None for {name_of(suspect, m.number)}")


def needs(suspect: Suspect) -> Diagnosis | None:
    """Wrong only where some inputs require no gradient."""
    if suspect.verdict.situation.feature != "needs" or suspect.mismatch is None:
        return None
    if not suspect.is_gradient or not suspect.holds("plain"):
        return None
    if suspect.mismatch.wrong is None or bool((suspect.found != 0).any()):
        return None
    return Diagnosis(
        "missing", f"zero where {suspect.verdict.situation.label()} (needs_input_grad?)"
    )


def boundary(suspect: Suspect) -> Diagnosis | None:
    """Wrong at particular values of the inputs only."""
    if suspect.verdict.situation.feature != "boundary" or not usable(suspect):
        return None
    if not suspect.holds("plain", "blocks", "full"):
        return None
    m = suspect.mismatch
    inputs = [(n, x) for n, x in suspect.inputs() if x.shape == m.wrong.shape]
    for n, x in inputs:
        bad = x[m.wrong].unique()
        if len(bad) <= 3 and not any((x == v)[~m.wrong].any() for v in bad):
            v = bad[0]
            place = int((x == v).reshape(-1).nonzero()[0])
            got, want = suspect.found.reshape(-1)[place], suspect.expected.reshape(-1)[place]
            text = ", ".join(f"{float(value):g}" for value in bad)
            scale = ""
            if suspect.is_gradient and suspect.upstream[0] is not None:
                g = suspect.upstream[0].double().reshape(-1)
                if g.numel() == m.wrong.numel() and float(g[place]):
                    got, want = got / g[place], want / g[place]
                    scale = " (per unit of upstream gradient)"
            return Diagnosis(
                "boundary",
                f"only where {name_of(suspect, n)} is {text}: found {float(got):.6g}, right "
                f"{float(want):.6g}{scale}",
            )
    if len(inputs) >= 2:
        (a, x), (b, y) = inputs[:2]
        if bool((x == y)[m.wrong].all()):
            return Diagnosis("boundary", f"only where inputs {a} and {b} are equal")
    return Diagnosis(
        "boundary", "right at random values, wrong where some are equal, zero or whole numbers"
    )


def nan(suspect: Suspect) -> Diagnosis | None:
    """NaN goes in and does not come out."""
    if suspect.verdict.situation.feature != "nan" or not usable(suspect):
        return None
    swallowed = suspect.mismatch.expected.isnan() & ~suspect.mismatch.found.isnan()
    if not swallowed.any():
        return Diagnosis("nan", "NaN spreads to elements that do not depend on it")
    value = suspect.found[swallowed][0]
    return Diagnosis("nan", f"where NaN should come out, {float(value):g} does")


def extreme(suspect: Suspect) -> Diagnosis | None:
    """Overflow, or infinities that are lost."""
    if suspect.verdict.situation.feature != "extreme" or not usable(suspect):
        return None
    if not suspect.holds("plain", "blocks"):
        return None
    bad = suspect.mismatch.wrong.reshape(-1).nonzero()[0]
    got = float(suspect.found.reshape(-1)[bad])
    want = float(suspect.expected.reshape(-1)[bad])
    at = [
        f"{float(x.reshape(-1)[bad]):g}"
        for _, x in suspect.inputs()
        if x.shape == suspect.expected.shape
    ]
    return Diagnosis("extreme", f"at ({', '.join(at)}): found {got:g}, right {want:g}")


def same(suspect: Suspect) -> Diagnosis | None:
    """f(x, x) alone is wrong."""
    if suspect.verdict.situation.feature != "same" or not suspect.holds("plain"):
        return None
    return Diagnosis("same", "right for different tensors, wrong for one tensor in every place")


# Precision

SMALL = 0.05
"""Errors below this share of a result may be lost precision; larger ones are mistakes."""


def precision(suspect: Suspect) -> Diagnosis | None:
    """The error is small: rounding, of the result, of the operands, or of partial sums."""
    if not usable(suspect):
        return None
    stalling = suspect.verdict.situation.values.startswith("stalling")
    if not suspect.mismatch.error < SMALL and not stalling:
        if suspect.verdict.situation.feature in ("long", "dtype"):
            return _accumulated(suspect)
        return None
    if suspect.verdict.situation.feature not in (
        "plain",
        "blocks",
        "full",
        "long",
        "dtype",
        "mixture",
    ):
        return None
    dtype = suspect.mismatch.found.dtype
    error = suspect.mismatch.error / torch.finfo(dtype).eps
    said = f"the error is {error:.0f} units of {_name(dtype)}'s precision"
    if stalling:
        return Diagnosis(
            "precision",
            f"{said}: small values are lost in a long sum that begins with ones: partial sums are "
            f"kept in {_name(dtype)}",
        )
    for low in (torch.bfloat16, torch.float16, torch.float32):
        if torch.finfo(low).eps <= torch.finfo(dtype).eps:
            continue
        if bool((suspect.found == suspect.found.to(low).double()).all()):
            return Diagnosis("precision", f"{said}: every element was rounded to {_name(low)}")
    if dtype in (torch.float32, torch.float64):
        before = float((suspect.expected - suspect.found).abs().mean())
        numbers = [n for n, _ in suspect.inputs()]
        for name, bits in (("TF32 (or float16)", 10), ("bfloat16", 7), ("float32", 23)):
            if 2.0**-bits <= torch.finfo(dtype).eps:
                continue
            for chosen in (None, *numbers):
                rounded = _operands_rounded(suspect, bits, chosen)
                if rounded is None:
                    continue
                if float((rounded - suspect.found).abs().mean()) < 0.1 * before:
                    what = "the operands were"
                    if chosen is not None:
                        what = f"{name_of(suspect, chosen)} was"
                    return Diagnosis("precision", f"{said}: {what} rounded to {name}")
    smooth = _smooth(suspect)
    if smooth is not None and smooth > 0.9:
        return None  # the error is a function of the input: an approximation, not rounding
    return Diagnosis("precision", said + _growth(suspect))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _operands_rounded(suspect: Suspect, bits: int, only: int | None) -> torch.Tensor | None:
    """What is right for arguments that are rounded to some bits after the leading one.

    Args:
        only: round this argument; None for all of them and the upstream gradient.
    """

    def rounded(x: torch.Tensor) -> torch.Tensor:
        mantissa, exponent = torch.frexp(x.double())
        scale = 2.0 ** (bits + 1)
        return torch.ldexp((mantissa * scale).round() / scale, exponent)

    args = tuple(
        rounded(x)
        if isinstance(x, torch.Tensor) and x.is_floating_point() and only in (None, n)
        else x
        for n, x in enumerate(suspect.trial.values())
    )
    upstream = tuple(rounded(g) if g is not None and only is None else g for g in suspect.upstream)
    return suspect.right(args=args, upstream=upstream)


def _smooth(suspect: Suspect) -> float | None:
    """How much the error per upstream gradient of neighbouring input values is the same."""
    x = dict(suspect.inputs()).get(suspect.mismatch.number if suspect.is_gradient else 0)
    if x is None or x.shape != suspect.expected.shape or x.numel() < 20:
        return None
    error = suspect.found - suspect.expected
    if suspect.is_gradient and suspect.upstream[0] is not None:
        g = suspect.upstream[0].double()
        if g.shape != error.shape:
            return None
        error = error / g
    ordered = error.reshape(-1)[x.reshape(-1).argsort()]
    ordered = ordered - ordered.mean()
    return float((ordered[1:] * ordered[:-1]).sum() / (ordered * ordered).sum().clamp(min=1e-300))


def _growth(suspect: Suspect) -> str:
    """How the error grows with the length of the sum, if there is one."""
    if suspect.lab.elementwise or suspect.lab.terms == 1:
        return ": computed or saved in a low precision"
    place = suspect.mismatch.place
    dtype = suspect.verdict.situation.dtype
    errors: dict[int, float] = {}
    for verdict in suspect.verdicts:
        if verdict.situation.dtype != dtype or verdict.situation.feature not in (
            "plain",
            "blocks",
            "long",
        ):
            continue
        error = next((m.error for m in verdict.mismatches if m.place == place), 0.0)
        size = max(x.numel() for x in verdict.trial.args if isinstance(x, torch.Tensor))
        errors[size] = max(errors.get(size, 0.0), error)
    worst = max(errors, key=lambda size: errors[size], default=0)
    if worst > min(errors, default=0) and errors[worst] > 0:
        return f", most for {worst} elements: partial sums are kept in a low precision"
    return ""


def _accumulated(suspect: Suspect) -> Diagnosis | None:
    """Long sums in a low dtype stall."""
    situation = suspect.verdict.situation
    if situation.dtype not in (torch.float16, torch.bfloat16):
        return None
    wide = [
        v for v in suspect.verdicts
        if v.situation.sizes == situation.sizes and v.situation.dtype == torch.float32
    ]  # fmt: skip
    if not wide or any(suspect.wrong_here(v) for v in wide):
        return None
    one = suspect.lab.elementwise or suspect.lab.terms == 1
    how = "computed or saved in" if one else "partial sums are kept in"
    return Diagnosis(
        "precision",
        f"right in float32, wrong in {_name(situation.dtype)} by {suspect.mismatch.error:.2g}: "
        f"{how} the low precision",
    )


def random_mask(suspect: Suspect) -> Diagnosis | None:
    """Found and right consist of the same numbers, zero among them, at different places."""
    if not usable(suspect) or not suspect.is_gradient or suspect.upstream[0] is None:
        return None
    g = suspect.upstream[0].double()
    if g.shape != suspect.expected.shape or g.numel() < 8:
        return None
    found, expected = suspect.found / g, suspect.expected / g
    kept_found, kept_expected = found.abs() > 1e-6, expected.abs() > 1e-6
    if (
        not bool((kept_found != kept_expected).any())
        or not kept_found.any()
        or not kept_expected.any()
    ):
        return None
    values = torch.cat([found[kept_found], expected[kept_expected]])
    if float(values.max() - values.min()) > 1e-2 * float(values.abs().mean()):
        return None
    if kept_found.all() or kept_expected.all():
        return None
    drops = f"{int((~kept_expected).sum())} and {int((~kept_found).sum())} of {g.numel()}"
    return Diagnosis(
        "random", f"forward and backward zero different elements ({drops}): another mask is drawn"
    )
