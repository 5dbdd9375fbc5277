"""A diagram as text for other programs: Graphviz's DOT, and Mermaid, which web pages draw."""

from __future__ import annotations

from collections.abc import Callable
from xml.sax.saxutils import escape

from minitorch_triton.autograd.drawing import theme
from minitorch_triton.autograd.drawing.diagram import Box, Diagram
from minitorch_triton.autograd.drawing.modules import Call


def dot(diagram: Diagram) -> str:
    """The diagram in Graphviz's language."""
    lines = [
        "digraph {",
        '  node [shape=box, fontname="monospace", fontsize=11, margin="0.12,0.06"];',
        f'  edge [color="{theme.LIGHT.arrow}", arrowsize=0.7];',
    ]

    def opening(call: Call) -> str:
        label = _quoted(call.label)
        return (
            f"subgraph cluster{call.number} {{ label={label}; labeljust=l; "
            f'fontname="monospace"; fontsize=11; style=rounded; color="{theme.LIGHT.frame}";'
        )

    lines += _nested(diagram, opening, "}", _dot_box)
    lines += [f"  {tail} -> {head};" for tail, head in diagram.arrows]
    return "\n".join([*lines, "}"]) + "\n"


def _dot_box(name: str, box: Box) -> str:
    style = theme.style(box)
    colours = theme.LIGHT
    kinds = ["rounded", "filled"]
    if style.dash:
        kinds.append("dotted" if box.kind == "variable" else "dashed")
    rows = [f"<B>{_markup(box.title)}</B>"] if box.title else []
    start = theme.columns(box)
    lines = [f"{key:{start}}{value}" if key else value for key, value in box.rows]
    rows += [_markup(line) + '<BR ALIGN="LEFT"/>' for line in [*lines, box.alarm] if line]
    separator = "<BR/>" if box.title and len(rows) > 1 else ""
    label = rows[0] + separator + "".join(rows[1:])
    return (
        f'{name} [label=<{label}>, style="{",".join(kinds)}", '
        f'fillcolor="{getattr(colours, style.fill)}", color="{getattr(colours, style.line)}", '
        f'fontcolor="{getattr(colours, style.ink)}", penwidth={style.thickness:g}];'
    )


def mermaid(diagram: Diagram) -> str:
    """The diagram in Mermaid's language."""
    lines = ["flowchart TB"]

    def opening(call: Call) -> str:
        title = _mermaid_escaped(call.label)
        return f'subgraph call{call.number}["{title}"]'

    lines += _nested(diagram, opening, "end", _mermaid_box)
    lines += [f"  {tail} --> {head}" for tail, head in diagram.arrows]
    styles = {theme.style(box).name: theme.style(box) for box in diagram.boxes.values()}
    for name, style in styles.items():
        fill = getattr(theme.LIGHT, style.fill)
        dash = f",stroke-dasharray:{' '.join(f'{x:g}' for x in style.dash)}" if style.dash else ""
        lines.append(
            f"  classDef {name} fill:{fill},stroke:{getattr(theme.LIGHT, style.line)},"
            f"color:{getattr(theme.LIGHT, style.ink)},stroke-width:{style.thickness:g}px{dash}"
        )
    return "\n".join(lines) + "\n"


def _mermaid_box(name: str, box: Box) -> str:
    lines = [f"<b>{_mermaid_escaped(box.title)}</b>"] if box.title else []
    rows = [f"{key}: {value}" if key else value for key, value in box.rows]
    lines += [_mermaid_escaped(row) for row in [*rows, box.alarm] if row]
    return f'{name}("{"<br>".join(lines)}"):::{theme.style(box).name}'


def _nested(
    diagram: Diagram, opening: Callable[[Call], str], closing: str, describe: Callable
) -> list[str]:
    """The boxes, each within the frames it lies in."""
    lines: list[str] = []

    def write(prefix: tuple[Call, ...]) -> None:
        inner = dict.fromkeys(
            box.frame[len(prefix)]
            for box in diagram.boxes.values()
            if box.frame[: len(prefix)] == prefix and len(box.frame) > len(prefix)
        )
        indent = "  " * (len(prefix) + 1)
        for name, box in diagram.boxes.items():
            if box.frame == prefix:
                lines.append(indent + describe(name, box))
        for call in inner:
            lines.append(indent + opening(call))
            write((*prefix, call))
            lines.append(indent + closing)

    write(())
    return lines


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _markup(text: str) -> str:
    return escape(text).replace(" ", "&#160;")


def _mermaid_escaped(text: str) -> str:
    """Text within a quoted label, where Mermaid has its own names of special characters."""
    codes = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;"}
    return "".join(codes.get(character, character) for character in text)
