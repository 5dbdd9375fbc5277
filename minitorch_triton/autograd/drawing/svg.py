"""A scene as SVG, in light colours or in dark ones, as the reader's system prefers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from minitorch_triton.autograd.drawing import theme
from minitorch_triton.autograd.drawing.scene import Curve, Rectangle, Scene, Text
from minitorch_triton.autograd.drawing.theme import Palette, Style

CLASS = "autograd-graph"
"""Around every rule, because a notebook's page applies a picture's rules to the whole page."""

ARROWHEAD = (
    '<defs><marker id="autograd-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
    'markerHeight="6" orient="auto"><path class="head" d="M0 0.5 L8 4 L0 7.5 z"/></marker></defs>'
)


def render(scene: Scene, title: str) -> str:
    """The picture as an SVG document."""
    width, height = _number(scene.width), _number(scene.height)
    styles = [theme.STYLES[name] for name in sorted({item.style for item in scene.rectangles})]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{CLASS}" role="img" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{escape(title)}</title>",
        "<style>",
        *_rules(styles),
        *_colours(theme.LIGHT, styles),
        "@media (prefers-color-scheme: dark) {",
        *_colours(theme.DARK, styles),
        "}",
        "</style>",
        ARROWHEAD,
        f'<rect class="paper" width="{width}" height="{height}" rx="6"/>',
        *[_rectangle(item) for item in scene.rectangles if item.style == "frame"],
        *[_curve(item) for item in scene.curves],
        *[_rectangle(item) for item in scene.rectangles if item.style != "frame"],
        *[_text(item, "label ") for item in scene.labels],
        *[_text(item) for item in scene.texts],
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _rules(styles: Sequence[Style]) -> Iterable[str]:
    yield (f".{CLASS} text {{ font: {theme.FONT_SIZE:g}px {theme.FONT}; white-space: pre; }}")
    yield f".{CLASS} .bold {{ font-weight: bold; }}"
    yield f".{CLASS} .label {{ stroke-width: 5; paint-order: stroke; stroke-linejoin: round; }}"
    yield f".{CLASS} .curve {{ fill: none; stroke-width: 1.2; }}"
    for style in styles:
        dash = f" stroke-dasharray: {' '.join(f'{x:g}' for x in style.dash)};" if style.dash else ""
        cap = " stroke-linecap: round;" if style.dash else ""
        yield f".{CLASS} .{style.name} {{ stroke-width: {style.thickness:g};{dash}{cap} }}"


def _colours(palette: Palette, styles: Sequence[Style]) -> Iterable[str]:
    def colour(name: str) -> str:
        return getattr(palette, name)

    yield f".{CLASS} .paper {{ fill: {palette.paper}; }}"
    yield f".{CLASS} .curve {{ stroke: {palette.arrow}; }}"
    yield f".{CLASS} .head {{ fill: {palette.arrow}; }}"
    yield f".{CLASS} .label {{ stroke: {palette.paper}; }}"
    for name in ("ink", "muted", "on_operation", "muted_on_operation", "error", "warning"):
        yield f".{CLASS} .text-{name.replace('_', '-')} {{ fill: {colour(name)}; }}"
    for style in styles:
        fill, line = colour(style.fill), colour(style.line)
        yield f".{CLASS} .{style.name} {{ fill: {fill}; stroke: {line}; }}"


def _rectangle(item: Rectangle) -> str:
    radius = theme.STYLES[item.style].radius
    return (
        f'<rect class={quoteattr(item.style)} x="{_number(item.left)}" y="{_number(item.top)}" '
        f'width="{_number(item.width)}" height="{_number(item.height)}" rx="{radius:g}"/>'
    )


def _curve(item: Curve) -> str:
    start, *rest = [f"{_number(x)} {_number(y)}" for x, y in item.points]
    spline, tip = rest[:-1], rest[-1]
    path = f"M{start} C{' '.join(spline)} L{tip}"
    return f'<path class="curve" marker-end="url(#autograd-arrow)" d="{path}"/>'


def _text(item: Text, extra: str = "") -> str:
    classes = f"{extra}text-{item.colour.replace('_', '-')}{' bold' if item.bold else ''}"
    return (
        f'<text class="{classes}" x="{_number(item.x)}" y="{_number(item.y)}">'
        f"{escape(item.content)}</text>"
    )


def _number(value: float) -> str:
    return f"{round(value, 1):g}" if value < 1e5 else f"{value:.1f}"
