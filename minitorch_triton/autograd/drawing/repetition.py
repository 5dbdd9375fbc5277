"""Where a sequence repeats itself: the layers of a model, the steps of a loop."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

MIN_TIMES = 3
"""So many equal parts in a row are drawn once."""
MAX_LENGTH = 100
"""Parts of more items than so many are not looked for."""


@dataclass(frozen=True)
class Repeat:
    """``times`` equal parts in a row, each of ``length`` items, from item ``start`` on."""

    start: int
    length: int
    times: int

    @property
    def end(self) -> int:
        return self.start + self.length * self.times


def find(items: Sequence[Hashable]) -> list[Repeat]:
    """Repeats that do not overlap; where several begin, the one that covers most counts."""
    numbers: dict[Hashable, int] = {}
    sequence = [numbers.setdefault(item, len(numbers)) for item in items]
    found: list[Repeat] = []
    start = 0
    while start < len(sequence):
        best = max(_beginning_at(sequence, start), key=lambda repeat: repeat.end, default=None)
        if best is None:
            start += 1
        else:
            found.append(best)
            start = best.end
    return found


def _beginning_at(sequence: Sequence[int], start: int) -> list[Repeat]:
    """The repeats that begin at an item, those of shorter parts first."""
    found = []
    for length in range(1, min(MAX_LENGTH, (len(sequence) - start) // MIN_TIMES) + 1):
        same = start
        while same + length < len(sequence) and sequence[same] == sequence[same + length]:
            same += 1
        times = (same - start) // length + 1
        if times >= MIN_TIMES:
            found.append(Repeat(start, length, times))
    return found
