"""How pictures look: colours, letters and distances, the same in every format that has them."""

from __future__ import annotations

from dataclasses import dataclass

from minitorch_triton.autograd.drawing.diagram import Box

FONT = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
FONT_SIZE = 11.0
CHARACTER = 0.602 * FONT_SIZE
"""Width of a character: that of the widest of the fonts, so that text never leaves its box."""
LINE = 15.0
PADDING = 9.0
GAP = 2
"""Characters between the keys and the values of a box."""


@dataclass(frozen=True)
class Palette:
    """The colours of one picture."""

    paper: str
    ink: str
    muted: str
    arrow: str
    frame: str
    operation: str
    on_operation: str
    muted_on_operation: str
    module: str
    error: str
    warning: str
    error_fill: str
    warning_fill: str


LIGHT = Palette(
    paper="#ffffff",
    ink="#1f2328",
    muted="#59636e",
    arrow="#818b98",
    frame="#c8ceda",
    operation="#6b3fa0",
    on_operation="#ffffff",
    muted_on_operation="#d9c9ee",
    module="#efe8f8",
    error="#cf222e",
    warning="#8a5d00",
    error_fill="#cf222e",
    warning_fill="#8a5d00",
)
DARK = Palette(
    paper="#0d1117",
    ink="#e6edf3",
    muted="#9198a1",
    arrow="#7d8590",
    frame="#3d444d",
    operation="#7c52b8",
    on_operation="#ffffff",
    muted_on_operation="#dccff0",
    module="#241b36",
    error="#f85149",
    warning="#d29922",
    error_fill="#b62324",
    warning_fill="#845306",
)


@dataclass(frozen=True)
class Style:
    """How one kind of box is drawn; all colours are names of :class:`Palette`'s fields."""

    name: str
    fill: str
    line: str
    ink: str = "ink"
    muted: str = "muted"
    alarm: str = "ink"
    dash: tuple[float, ...] = ()
    thickness: float = 1.2
    radius: float = 5.0


def _on_fill(name: str, fill: str, line: str, muted: str, thickness: float = 1.2) -> Style:
    """A box filled with a strong colour, with light text."""
    ink = "on_operation"
    return Style(name, fill, line, ink=ink, muted=muted, alarm=ink, thickness=thickness)


def _styles() -> dict[str, Style]:
    """Each kind of box as it is, and with what an alarm does to it."""
    dots, dashes = (1.5, 3.0), (6.0, 3.0)
    styles = [
        Style("frame", "paper", "frame", radius=8.0, thickness=1.0),
        Style("variable", "paper", "ink", dash=dots),
        _on_fill("operation", "operation", "operation", "muted_on_operation"),
        Style("module", "module", "operation"),
        Style("rest", "paper", "muted", dash=dashes),
        Style("reference", "paper", "frame", ink="muted"),
    ]
    for colour in ("error", "warning"):
        styles += [
            Style(f"variable-{colour}", "paper", colour, alarm=colour, dash=dots, thickness=2.5),
            _on_fill(f"operation-{colour}", "operation", colour, "muted_on_operation", 3.0),
            Style(f"module-{colour}", "module", colour, alarm=colour, thickness=3.0),
            Style(f"rest-{colour}", "paper", colour, alarm=colour, dash=dashes, thickness=2.5),
        ]
        styles += [
            _on_fill(f"{kind}-{colour}-origin", f"{colour}_fill", colour, "on_operation")
            for kind in ("operation", "module", "rest")
        ]
    return {style.name: style for style in styles}


STYLES = _styles()


def style(box: Box) -> Style:
    """The style of a box: by its kind and its alarm."""
    parts = [box.kind, box.level, "origin" if box.origin else ""]
    return STYLES["-".join(part for part in parts if part)]


def columns(box: Box) -> int:
    """Where the values of a box begin, in characters."""
    keys = [len(key) for key, _ in box.rows if key]
    return max(keys) + GAP if keys else 0


def size(box: Box) -> tuple[float, float]:
    """Width and height that hold a box's text."""
    start = columns(box)
    widths = [len(box.title)] + [(start if key else 0) + len(value) for key, value in box.rows]
    widths.append(len(box.alarm))
    count = bool(box.title) + len(box.rows) + bool(box.alarm)
    height = count * LINE + 2 * PADDING - 5
    return round(max(widths) * CHARACTER + 2 * PADDING, 1), round(height, 1)
