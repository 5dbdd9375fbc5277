"""Arrows that would cross much of a picture end in a reference instead: ``↑ x``.

A variable that every one of a hundred steps uses would have an arrow to each, past all the others:
nobody can follow those, and the layout takes minutes over them.
"""

from __future__ import annotations

from minitorch_triton.autograd.drawing.diagram import Box, Diagram

LONG = 3
"""Rows that an arrow may always pass."""
MAX_LONG = 4
"""So many longer arrows may start at one box; with more, all of them end in references."""
MAX_TOTAL = 1000
"""Rows that the longer arrows of a picture may pass in all."""


def shorten(diagram: Diagram) -> None:
    """Replace arrows by references where they are many and long."""
    rows = _rows(diagram)
    span = {(tail, head): rows[head] - rows[tail] for tail, head in diagram.arrows}
    long: dict[str, list[tuple[str, str]]] = {}
    for arrow, length in span.items():
        if length > LONG:
            long.setdefault(arrow[0], []).append(arrow)
    broken = [arrow for arrows in long.values() if len(arrows) > MAX_LONG for arrow in arrows]
    others = [arrow for arrows in long.values() if len(arrows) <= MAX_LONG for arrow in arrows]
    others.sort(key=lambda arrow: span[arrow])
    total = 0
    for arrow in others:
        total += span[arrow]
        if total > MAX_TOTAL:
            broken.append(arrow)
    for number, name in enumerate(dict.fromkeys(tail for tail, _ in broken), 1):
        box = diagram.boxes[name]
        if box.kind != "variable" or not box.title:
            box.title = f"{box.title} #{number}".strip()
    references = {arrow: "r".join(arrow) for arrow in broken}
    for (tail, head), name in references.items():
        title = f"↑ {diagram.boxes[tail].title}"
        diagram.boxes[name] = Box("reference", title, frame=diagram.boxes[head].frame)
    diagram.arrows = {
        (references.get((tail, head), tail), head): None for tail, head in diagram.arrows
    }


def _rows(diagram: Diagram) -> dict[str, int]:
    """For each box the row in which it is drawn: the length of the longest way to it."""
    waiting = dict.fromkeys(diagram.boxes, 0)
    following: dict[str, list[str]] = {name: [] for name in diagram.boxes}
    for tail, head in diagram.arrows:
        waiting[head] += 1
        following[tail].append(head)
    rows = dict.fromkeys(diagram.boxes, 0)
    ready = [name for name, count in waiting.items() if count == 0]
    while ready:
        name = ready.pop()
        for head in following[name]:
            rows[head] = max(rows[head], rows[name] + 1)
            waiting[head] -= 1
            if waiting[head] == 0:
                ready.append(head)
    # What has no input is drawn right above its first user.
    entered = {head for _, head in diagram.arrows}
    for name, heads in following.items():
        if name not in entered and heads:
            rows[name] = min(rows[head] for head in heads) - 1
    return rows
