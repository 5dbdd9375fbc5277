"""Evidence of mistakes with memory: tails, strides, unwritten buffers, races."""

from __future__ import annotations

from dataclasses import replace

import torch

from minitorch_triton.testing import procedures
from minitorch_triton.testing.diagnosis import Diagnosis, Suspect, name_of
from minitorch_triton.testing.lab import OK
from minitorch_triton.testing.placement import memory_of, place
from minitorch_triton.testing.rules_formula import right_at_full_blocks, usable
from minitorch_triton.testing.situations import Situation, build


def overwritten(suspect: Suspect) -> Diagnosis | None:
    """Arguments hold other values after the call."""
    changed = suspect.verdict.outcome.overwritten
    if not changed:
        return None
    names = ", ".join(name_of(suspect, n) if isinstance(n, int) else n for n in changed)
    return Diagnosis("overwritten", f"{names} holds other values after the call than before")


def beyond(suspect: Suspect) -> Diagnosis | None:
    """Memory behind an argument was written, or what lies there changes the result."""
    if suspect.verdict.outcome.beyond:
        names = [
            name_of(suspect, n) if isinstance(n, int) else n for n in suspect.verdict.outcome.beyond
        ]
        return Diagnosis(
            "tail", f"memory outside of {', '.join(names)} was written: a store unmasked"
        )
    if suspect.mismatch is None or suspect.mismatch.wrong is None:
        return None
    layouts = {*suspect.trial.layouts, suspect.trial.upstream_layout}
    if layouts & {"expanded", "constant", "sliced", "transposed"}:
        return None  # what a kernel that ignores strides reads is not the tail
    other = suspect.again(guard=0.0)
    if other is None or suspect.same(other, suspect.found):
        return None
    return Diagnosis(
        "tail",
        "the result changes with the memory behind the end of the arguments: loads unmasked "
        f"(wrong {suspect.where.text})",
    )


def unwritten(suspect: Suspect) -> Diagnosis | None:
    """The result depends on what fresh memory happened to hold."""
    if suspect.mismatch is None or suspect.mismatch.wrong is None:
        return None
    other = suspect.again(poison=0.0)
    if other is None or _equal(other, suspect.found):
        return None
    where = suspect.where
    ends = "" if where.kind == "everywhere" else f", {where.text}"
    full = suspect.holds("full")
    if full and where.kind in ("tail", "last rows", "last columns", "element"):
        return Diagnosis(
            "tail",
            f"never written: {where.text}; nothing is missing where sizes are powers of two",
        )
    nan = suspect.found.isnan() & ~suspect.expected.isnan()
    if full:
        return Diagnosis(
            "tail",
            "memory that nothing has written is part of the result, unless sizes are powers of "
            f"two{ends}",
        )
    held = "parts of it were" if nan.any() and not nan.all() else "it was"
    return Diagnosis(
        "stale",
        f"the result changes with what a fresh buffer holds: {held} read or returned without "
        f"having been written{ends}",
    )


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=0, equal_nan=True)


def tail(suspect: Suspect) -> Diagnosis | None:
    """Only the last elements are wrong, and none where sizes are powers of two."""
    if suspect.mismatch is None or suspect.mismatch.wrong is None:
        return None
    where = suspect.where
    if where.kind not in ("tail", "last rows", "last columns") or not suspect.holds("full"):
        return None
    return Diagnosis(
        "tail", f"{where.text} are wrong, and nothing is where sizes are powers of two"
    )


def tail_by_size(suspect: Suspect) -> Diagnosis | None:
    """Wrong at odd sizes, right at powers of two."""
    if not right_at_full_blocks(suspect):
        return None
    lost = "found is zero" if not suspect.found.any() else "wrong"
    return Diagnosis(
        "tail",
        f"{lost} at sizes {_sizes(suspect)}, right where sizes are powers of two: what lies beyond "
        "the last full block is left out, or what lies beyond the end takes part",
    )


def _sizes(suspect: Suspect) -> str:
    shapes = [tuple(x.shape) for x in suspect.trial.args if isinstance(x, torch.Tensor)]
    return ", ".join(map(str, shapes))


def strides(suspect: Suspect) -> Diagnosis | None:
    """Wrong for an input that is not contiguous, right for the same values stored densely."""
    uneven = [
        (n, layout)
        for n, layout in enumerate(suspect.trial.layouts)
        if layout != "contiguous" and isinstance(suspect.trial.args[n], torch.Tensor)
    ]
    if not uneven or suspect.verdict.outcome.error is not None:
        return None
    dense = suspect.again(layouts=("contiguous",) * len(suspect.trial.layouts))
    if dense is None or not suspect.same(dense, suspect.expected):
        return None
    for n, layout in uneven:
        args = list(suspect.trial.values())
        args[n] = _read_as_dense(args[n], layout, suspect.trial.guard)
        plain = tuple(
            "contiguous" if m == n else lay for m, lay in enumerate(suspect.trial.layouts)
        )
        if suspect.same(suspect.right(args=tuple(args), layouts=plain), suspect.found):
            return Diagnosis(
                "strides",
                f"{name_of(suspect, n)}, {layout}, is read as if its elements lay one after the "
                "other: that gives exactly what was found",
            )
    names = ", ".join(f"{name_of(suspect, n)} {layout}" for n, layout in uneven)
    return Diagnosis(
        "strides", f"wrong with {names}, right with the same values stored contiguously"
    )


def _read_as_dense(x: torch.Tensor, layout: str, guard: float) -> torch.Tensor:
    placed = place(x, layout, guard)
    flat = memory_of(placed).view(x.dtype)[placed.storage_offset() :]
    if flat.numel() < x.numel():
        return x
    return flat[: x.numel()].reshape(x.shape).clone()


def upstream_strides(suspect: Suspect) -> Diagnosis | None:
    """Wrong for an upstream gradient that is not contiguous."""
    layout = suspect.trial.upstream_layout
    if layout == "contiguous" or suspect.verdict.outcome.error is not None:
        return None
    if suspect.mismatch is None or not suspect.is_gradient:
        return None
    upstream = tuple(suspect.upstream)
    dense = suspect.again(upstream=upstream, upstream_layout="contiguous")
    if dense is None or not suspect.same(dense, suspect.expected):
        return None
    read = tuple(
        None if g is None else _read_as_dense(g, layout, suspect.trial.guard) for g in upstream
    )
    proof = suspect.same(suspect.right(upstream=read, upstream_layout="contiguous"), suspect.found)
    how = "; reading its memory as dense gives exactly what was found" if proof else ""
    failing = [
        v.situation.upstream for v in suspect.with_feature("upstream layout") if v.status == "wrong"
    ]
    kinds = ", ".join(dict.fromkeys([layout, *failing]))
    expanded = {"expanded", "constant"} & {layout, *failing}
    kind = "expanded" if expanded else "strides"
    return Diagnosis(
        kind,
        f"wrong where the upstream gradient is {kinds}, right where the same values are "
        f"contiguous{how}",
    )


def race(suspect: Suspect) -> Diagnosis | None:
    """Repetitions differ."""
    if suspect.mismatch is None or suspect.mismatch.found is None:
        return None
    for _ in range(3):
        other = suspect.again()
        if other is not None and not suspect.same(other.nan_to_num(), suspect.found.nan_to_num()):
            return Diagnosis("race", "the same call gives another result when it is repeated")
    return None


def repeated_index(suspect: Suspect) -> Diagnosis | None:
    """Wrong where whole numbers among the arguments repeat, right where all are different."""
    arguments = suspect.lab.arguments
    dtype = suspect.verdict.situation.dtype
    if not usable(suspect) or not suspect.is_gradient:
        return None
    for n in arguments.tensors:
        below = arguments.items[n].below  # type: ignore[union-attr]
        if below is None:
            continue
        sizes = tuple((name, 64 if name == below else 5) for name in arguments.sizes)
        situation = Situation("plain", sizes=sizes, dtype=dtype)
        trial = build(arguments, situation)
        count = trial.args[n].numel()
        if count > 64:
            continue
        order = torch.randperm(64, generator=torch.Generator().manual_seed(0))[:count]
        args = list(trial.args)
        args[n] = order.reshape(args[n].shape).to(args[n].dtype)
        verdict = suspect.lab.judge_trial(situation, replace(trial, args=tuple(args)))
        if verdict.status == OK:
            return Diagnosis(
                "race",
                f"right where all numbers in {name_of(suspect, n)} are different, wrong where some "
                "are equal: what several of them add to one element overwrites one another",
            )
    return None


def checked(suspect: Suspect) -> Diagnosis | None:
    """What the CPU compiler's checked mode says, which watches every load and store."""
    return procedures.checked(suspect.lab, suspect.verdict)
