"""A scene as PNG, drawn by matplotlib, which brings its own letters."""

from __future__ import annotations

import io
from typing import Any

from minitorch_triton.autograd.drawing import theme
from minitorch_triton.autograd.drawing.scene import Curve, Rectangle, Scene, Text

POINTS = 72  # per inch
RESOLUTION = 144
MAX_PIXELS = 20_000
"""Height or width; larger pictures get fewer pixels per inch."""


def render(scene: Scene) -> bytes:
    """The picture in light colours, at two pixels per point.

    Raises:
        ModuleNotFoundError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a PNG picture needs matplotlib: pip install 'minitorch-triton[draw]'"
        ) from None
    dpi = min(RESOLUTION, MAX_PIXELS * POINTS / max(scene.width, scene.height))
    figure = Figure(
        figsize=(scene.width / POINTS, scene.height / POINTS), dpi=dpi, facecolor=theme.LIGHT.paper
    )
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, scene.width), ylim=(scene.height, 0))
    axes.axis("off")
    for rectangle in scene.rectangles:
        if rectangle.style == "frame":
            _rectangle(axes, rectangle)
    for curve in scene.curves:
        _curve(axes, curve)
    for rectangle in scene.rectangles:
        if rectangle.style != "frame":
            _rectangle(axes, rectangle)
    for text in scene.labels:
        _text(axes, text, on_paper=True)
    for text in scene.texts:
        _text(axes, text)
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 4}
    )
    return buffer.getvalue()


def _rectangle(axes: Any, item: Rectangle) -> None:
    from matplotlib.patches import FancyBboxPatch

    style = theme.STYLES[item.style]
    axes.add_patch(
        FancyBboxPatch(
            (item.left, item.top),
            item.width,
            item.height,
            boxstyle=f"round,pad=0,rounding_size={style.radius}",
            facecolor=getattr(theme.LIGHT, style.fill),
            edgecolor=getattr(theme.LIGHT, style.line),
            linewidth=style.thickness,
            linestyle=(0, tuple(d / style.thickness for d in style.dash)) if style.dash else "-",
            capstyle="round",
        )
    )


def _curve(axes: Any, item: Curve) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    *spline, tip = item.points
    codes = [Path.MOVETO, *[Path.CURVE4] * (len(spline) - 1), Path.LINETO]
    axes.add_patch(
        FancyArrowPatch(
            path=Path([*spline, tip], codes),
            arrowstyle="-|>,head_length=3.5,head_width=2",
            color=theme.LIGHT.arrow,
            linewidth=1.2,
            shrinkA=0,
            shrinkB=0,
        )
    )


def _text(axes: Any, item: Text, on_paper: bool = False) -> None:
    axes.text(
        item.x,
        item.y,
        item.content,
        family="DejaVu Sans Mono",
        size=theme.FONT_SIZE,
        weight="bold" if item.bold else "normal",
        color=getattr(theme.LIGHT, item.colour),
        parse_math=False,
        backgroundcolor=theme.LIGHT.paper if on_paper else None,
        bbox={"facecolor": theme.LIGHT.paper, "edgecolor": "none", "pad": 1} if on_paper else None,
    )
