"""Where boxes and arrows go: Graphviz's layered layout, from the wheels of pygraphviz."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from minitorch_triton.autograd.drawing import theme
from minitorch_triton.autograd.drawing.diagram import Diagram
from minitorch_triton.autograd.drawing.modules import Call

POINTS = 72  # per inch, in which Graphviz measures boxes

MAX_ORDERED = 40
"""With more boxes arguments have no fixed order, which would move each row to the right of the one
before."""

Point = tuple[float, float]
Rectangle = tuple[float, float, float, float]
"""Left, top, width, height; the origin is at the top left."""


@dataclass
class Layout:
    """Places of everything in a diagram, in points.

    Attributes:
        boxes: the rectangle of each box.
        arrows: the Bezier points of each arrow, its tip last.
        frames: the rectangle of each open call.
    """

    width: float
    height: float
    boxes: dict[str, Rectangle] = field(default_factory=dict)
    arrows: dict[tuple[str, str], list[Point]] = field(default_factory=dict)
    frames: dict[Call, Rectangle] = field(default_factory=dict)


def place(diagram: Diagram) -> Layout:
    """Lay a diagram out from top to bottom.

    Raises:
        ModuleNotFoundError: pygraphviz is missing.
    """
    try:
        from pygraphviz import AGraph
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a picture needs pygraphviz to lay the graph out: pip install "
            "'minitorch-triton[draw]' (the .dot() and .mermaid() texts need nothing)"
        ) from None
    graph = AGraph(directed=True, strict=True, nodesep=0.25, ranksep=0.33)
    if len(diagram.boxes) <= MAX_ORDERED:
        graph.graph_attr["ordering"] = "in"  # arguments from left to right, as in the source
    frames: dict[Call, AGraph] = {}
    for name, box in diagram.boxes.items():
        parent = graph
        for call in box.frame:
            if call not in frames:
                frames[call] = parent.add_subgraph(name=f"cluster{call.number}", margin=14)
            parent = frames[call]
        width, height = theme.size(box)
        parent.add_node(
            name,
            label="",
            shape="box",
            fixedsize=True,
            width=width / POINTS,
            height=height / POINTS,
        )
    for tail, head in diagram.arrows:
        # The way from operation to operation is to run straight down, variables beside it.
        weight = 1 if diagram.boxes[tail].kind in ("variable", "reference") else 4
        graph.add_edge(tail, head, arrowsize=0.7, weight=weight)
    return _read(json.loads(graph.draw(format="json0", prog="dot")), frames)


def _read(drawn: dict, frames: dict[Call, object]) -> Layout:
    """Graphviz's coordinates, turned upside down."""
    _, _, width, height = _numbers(drawn["bb"])
    layout = Layout(width, height)
    calls = {f"cluster{call.number}": call for call in frames}
    names = {}
    for item in drawn.get("objects", []):
        if item["name"] in calls:
            left, bottom, right, top = _numbers(item["bb"])
            layout.frames[calls[item["name"]]] = (left, height - top, right - left, top - bottom)
        elif "pos" in item:
            names[item["_gvid"]] = item["name"]
            x, y = _numbers(item["pos"])
            w, h = float(item["width"]) * POINTS, float(item["height"]) * POINTS
            layout.boxes[item["name"]] = (x - w / 2, height - y - h / 2, w, h)
    for edge in drawn.get("edges", []):
        tip, *points = edge["pos"].removeprefix("e,").split()
        path = [_numbers(point) for point in [*points, tip]]
        key = names[edge["tail"]], names[edge["head"]]
        layout.arrows[key] = [(x, height - y) for x, y in path]
    return layout


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]
