"""A laid-out diagram as a list of rectangles, curves and texts, which SVG and PNG draw alike."""

from __future__ import annotations

from dataclasses import dataclass, field

from minitorch_triton.autograd.drawing import theme
from minitorch_triton.autograd.drawing.diagram import Box, Diagram
from minitorch_triton.autograd.drawing.layout import Layout, Point

MARGIN = 14.0
CAPTION = ("Arrows follow forward;", "backward() runs against them.")
CAPTION_GAP = 12.0


@dataclass
class Rectangle:
    left: float
    top: float
    width: float
    height: float
    style: str
    """Of ``theme.STYLES``."""


@dataclass
class Curve:
    """A Bezier spline that ends in an arrowhead."""

    points: list[Point]


@dataclass
class Text:
    """One line; ``x`` is where it begins, ``y`` its baseline."""

    x: float
    y: float
    content: str
    colour: str
    """A field of ``theme.Palette``."""
    bold: bool = False


@dataclass
class Scene:
    """What to draw, in this order."""

    width: float
    height: float
    rectangles: list[Rectangle] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    labels: list[Text] = field(default_factory=list)
    """Texts that interrupt the line they stand on."""


def compose(diagram: Diagram, layout: Layout) -> Scene:
    """Everything at its place on a page with margins and a caption."""
    caption = max(len(line) for line in CAPTION) * theme.CHARACTER
    inner = max(layout.width, caption)
    height = layout.height + CAPTION_GAP + len(CAPTION) * theme.LINE
    scene = Scene(round(inner + 2 * MARGIN, 1), round(height + 2 * MARGIN, 1))
    shift_x, shift_y = MARGIN + (inner - layout.width) / 2, MARGIN
    for call, (left, top, width, box_height) in layout.frames.items():
        left, top = left + shift_x, top + shift_y
        scene.rectangles.append(Rectangle(left, top, width, box_height, "frame"))
        scene.labels.append(Text(left + 10, top + 4, call.label, "muted"))
    for points in layout.arrows.values():
        scene.curves.append(Curve([(x + shift_x, y + shift_y) for x, y in points]))
    for name, box in diagram.boxes.items():
        left, top, width, box_height = layout.boxes[name]
        _draw(scene, box, left + shift_x, top + shift_y, width, box_height)
    for number, line in enumerate(CAPTION):
        y = shift_y + layout.height + CAPTION_GAP + (number + 0.75) * theme.LINE
        scene.texts.append(Text((scene.width - caption) / 2, y, line, "muted"))
    return scene


def _draw(scene: Scene, box: Box, left: float, top: float, width: float, height: float) -> None:
    style = theme.style(box)
    scene.rectangles.append(Rectangle(left, top, width, height, style.name))
    x, y = left + theme.PADDING, top + theme.PADDING + 0.62 * theme.LINE
    if box.title:
        centred = left + (width - len(box.title) * theme.CHARACTER) / 2
        scene.texts.append(Text(centred, y, box.title, style.ink, bold=True))
        y += theme.LINE
    start = x + theme.columns(box) * theme.CHARACTER
    for key, value in box.rows:
        if key:
            scene.texts.append(Text(x, y, key, style.muted))
        scene.texts.append(Text(start if key else x, y, value, style.ink))
        y += theme.LINE
    if box.alarm:
        scene.texts.append(Text(x, y, box.alarm, style.alarm, bold=True))
