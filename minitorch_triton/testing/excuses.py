"""Elements that differ from what is right and are no mistake."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from minitorch_triton.testing.checks import ULPS
from minitorch_triton.testing.compare import Mismatch, size_of
from minitorch_triton.testing.trial import Outcome, Trial, own_memory

if TYPE_CHECKING:
    from minitorch_triton.testing.lab import Verdict

LOW = (torch.float16, torch.bfloat16)

FEW = 0.02
"""Of the elements: so few that are wrong in a low dtype alone are ill-conditioned ones."""

FAR = 1e18
"""Stands for infinity where a limit is asked for; its square is a float32 still."""


# Ill-conditioned elements


def without_ill_conditioned(
    oracle: Any, verdict: Verdict, found: list[Mismatch], dtype: torch.dtype
) -> list[Mismatch]:
    """Excuse elements that rounding moves as far as they are off.

    Args:
        dtype: that limits the precision of the trial.
    """
    trial = verdict.trial
    try:
        neighbours = list(_neighbours(oracle, verdict, dtype))
        parts = _contributions(oracle, trial) if trial.same else 0.0
    except Exception:  # whatever the reference raises: it does not take such arguments
        return found
    # Repeated rows make the same error each: n of them add up to n, not to sqrt(n).
    factor = ULPS * _repetitions(trial) ** 0.5
    kept = []
    for m in found:
        if m.wrong is None or m.found is None:
            kept.append(m)
            continue
        moved = _largest_move(m, trial, neighbours, m.expected)
        size = size_of(m.expected, _mean_size(verdict.right.upstream))
        if m.kind == "gradient":
            size = size + parts
        typical = moved.median() if moved.numel() else 0.0
        allowed = factor * (moved + typical) + verdict.tolerance * size
        excused = (m.found.double() - m.expected).abs() <= allowed  # NaN is not
        wrong = m.wrong & ~excused
        few = dtype in LOW and wrong.double().mean() < FEW and wrong.numel() > 50
        if wrong.any() and not few:
            kept.append(replace(m, wrong=wrong))
    return kept


def without_rounding_noise(
    call: Callable[[Trial], Outcome], verdict: Verdict, found: list[Mismatch], dtype: torch.dtype
) -> list[Mismatch]:
    """Excuse elements that are rounding noise of the function, where there is no reference.

    Terms that cancel leave their rounding, of a size that the result does not tell. Arguments that
    are moved by their own rounding have it redrawn, while a wrong formula moves as little as a
    right one.

    Args:
        call: runs a trial of the function under test.
        dtype: that limits the precision of the trial.
    """
    trial = verdict.trial
    if any(m.wrong is None for m in found):
        return found
    again = call(trial)
    if again.error is not None or any(
        a is not None and b is not None and not torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(again.gradients, verdict.outcome.gradients, strict=True)
    ):
        return found  # it is not the arguments that move it
    neighbours = [call(near) for near in _moved_by_rounding(trial, again.upstream, dtype, NOISY)]
    kept = []
    for m in found:
        moved = _largest_move(m, trial, neighbours, m.found.double())
        allowed = ULPS * (moved + moved.median())
        size = size_of(m.expected, _mean_size(verdict.right.upstream))
        excused = (m.found.double() - m.expected).abs() <= allowed + verdict.tolerance * size
        wrong = m.wrong & ~excused
        if wrong.any():
            kept.append(replace(m, wrong=wrong))
    return kept


NOISY = 8
"""How often rounding noise is redrawn: so that it is not the same by chance every time."""


def _moved_by_rounding(
    trial: Trial, upstream: list, dtype: torch.dtype, count: int
) -> Iterator[Trial]:
    """The trial with arguments and upstream gradients moved by the rounding of a dtype."""
    generator = torch.Generator().manual_seed(99)
    eps = torch.finfo(dtype).eps

    def moved(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or not x.is_floating_point():
            return x
        factor = 1 + 2 * eps * (2 * torch.rand(x.shape, generator=generator) - 1).double()
        return (x.double() * factor).to(x.dtype)

    for _ in range(count):
        yield replace(
            trial,
            args=tuple(moved(x) for x in trial.values()),
            upstream=tuple(moved(g) for g in upstream),
            layouts=tuple(own_memory(layout) for layout in trial.layouts),
            upstream_layout=own_memory(trial.upstream_layout),
        )


def _neighbours(oracle: Any, verdict: Verdict, dtype: torch.dtype) -> Iterator[Outcome]:
    """What is right for arguments moved by their rounding; and what the reference itself gives in
    float32, whose intermediate results are rounded as well."""
    trial = verdict.trial
    generator = torch.Generator().manual_seed(99)
    eps = torch.finfo(dtype).eps

    def moved(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or not x.is_floating_point():
            return x
        return x.double() * (1 + eps * (2 * torch.rand(x.shape, generator=generator) - 1))

    for _ in range(2):
        yield oracle.run(
            replace(
                trial,
                args=tuple(moved(x) for x in trial.values()),
                upstream=tuple(moved(g) for g in verdict.right.upstream),
                # An expanded layout would undo the changes.
                layouts=tuple(own_memory(layout) for layout in trial.layouts),
            )
        )
    if dtype == torch.float32:
        yield oracle.run(replace(trial, upstream=tuple(verdict.right.upstream)), precise=False)


def _largest_move(
    m: Mismatch, trial: Trial, neighbours: list[Outcome], middle: torch.Tensor
) -> torch.Tensor:
    """How far each element of a result is from the same one of some neighbour."""
    number = trial.wanted.index(m.number) if m.kind == "gradient" else m.number
    largest = torch.zeros_like(m.expected, dtype=torch.float64)
    for outcome in neighbours:
        other = (outcome.outputs if m.kind == "output" else outcome.gradients)[number]
        if other is not None and other.shape == largest.shape:
            move = (other.double() - middle).abs().nan_to_num(0.0, 0.0, 0.0)
            largest = torch.maximum(largest, move)
    return largest


def _repetitions(trial: Trial) -> int:
    """How many rows of an argument are one row expanded."""
    expanded = [
        x.shape[0]
        for x, layout in zip(trial.args, trial.layouts, strict=True)
        if layout == "expanded" and isinstance(x, torch.Tensor) and x.ndim
    ]
    return max(expanded, default=1)


def _contributions(oracle: Any, trial: Trial) -> torch.Tensor:
    """Where one tensor is given twice: the sizes of the gradients that are added up."""
    first = next(x for x in trial.args if isinstance(x, torch.Tensor))
    args = tuple(first if isinstance(x, torch.Tensor) else x for x in trial.args)
    apart = oracle.run(replace(trial, args=args, same=False))
    return torch.stack([g.abs() for g in apart.gradients if g is not None]).sum(0)


def _mean_size(upstream: list) -> float:
    sizes = [float(g.double().abs().mean()) for g in upstream if g is not None and g.numel()]
    return max(sizes, default=0.0)


# Infinity and NaN


def in_both(found: list[Mismatch], others: list[Mismatch]) -> list[Mismatch]:
    """What is wrong by two opinions about what is right."""
    places = {m.place: m for m in others}
    kept = []
    for m in found:
        other = places.get(m.place)
        if other is None:
            continue
        if m.wrong is not None and other.wrong is not None:
            m.wrong &= other.wrong
            if not m.wrong.any():
                continue
        kept.append(m)
    return kept


def without_limits(
    oracle: Any, trial: Trial, found: list[Mismatch], tolerance: float
) -> list[Mismatch]:
    """Excuse numbers where the reference gives NaN for lack of precision.

    At infinity, or where exp overflows, a formula may be inf / inf or inf - inf, which a better one
    has a limit for. A number there is no mistake if it agrees with what float64 gives far out, or
    if that says nothing either.
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
        far = oracle.run(replace(trial, args=args))
    except Exception:
        return found
    for m in candidates:
        number = trial.wanted.index(m.number) if m.kind == "gradient" else m.number
        limit = (far.outputs if m.kind == "output" else far.gradients)[number]
        if limit is None or limit.shape != m.found.shape:
            continue
        near = (m.found.double() - limit).abs() <= max(tolerance, 0.02) * (1 + limit.abs())
        near |= limit.isnan() | (m.found == limit.to(m.found.dtype))
        # What grows with that which stands for infinity is infinite.
        near |= m.found.isinf() & (m.found.sign() == limit.sign()) & (limit.abs() > FAR**0.5)
        m.wrong = m.wrong & ~(m.expected.isnan() & near)
    return [m for m in found if m.wrong is None or bool(m.wrong.any())]
