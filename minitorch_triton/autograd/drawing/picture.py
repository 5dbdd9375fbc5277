"""``draw`` and the picture it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from minitorch_triton.autograd import inspection
from minitorch_triton.autograd.drawing import layout, modules, png, scene, svg, text
from minitorch_triton.autograd.drawing.diagram import Diagram, build_diagram
from minitorch_triton.autograd.drawing.shorten import shorten
from minitorch_triton.autograd.tracing import Trace


class Picture:
    """A picture of a graph; a notebook shows it by itself.

    Attributes:
        diagram: what it shows: boxes and arrows.
    """

    def __init__(self, diagram: Diagram):
        self.diagram = diagram

    @cached_property
    def _scene(self) -> scene.Scene:
        return scene.compose(self.diagram, layout.place(self.diagram))

    def svg(self) -> str:
        """The picture as SVG; needs the extra ``draw``."""
        return svg.render(self._scene, f"A graph of {len(self.diagram.boxes)} boxes")

    def png(self) -> bytes:
        """The picture as PNG; needs the extra ``draw``."""
        return png.render(self._scene)

    def dot(self) -> str:
        """The graph in Graphviz's language."""
        return text.dot(self.diagram)

    def mermaid(self) -> str:
        """The graph in Mermaid's language, which GitHub draws in a ```` ```mermaid ```` block."""
        return text.mermaid(self.diagram)

    def save(self, path: str | Path) -> Path:
        """Write the picture; the name's ending says how: .svg, .png, .dot (.gv) or .mmd.

        Raises:
            ValueError: another ending.
        """
        path = Path(path)
        writers: dict[str, Callable[[], str | bytes]] = {
            ".svg": self.svg,
            ".png": self.png,
            ".dot": self.dot,
            ".gv": self.dot,
            ".mmd": self.mermaid,
            ".mermaid": self.mermaid,
        }
        writer = writers.get(path.suffix.lower())
        if writer is None:
            raise ValueError(
                f"cannot save a picture as {path.name!r}: its name must end in one of "
                f"{', '.join(writers)}"
            )
        content = writer()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"<Picture of {len(self.diagram.boxes)} boxes, {len(self.diagram.arrows)} arrows>"


def draw(
    tensors: Any,
    model: Any = None,
    *,
    names: Mapping[str, Any] | None = None,
    saved: bool = False,
    trace: Trace | None = None,
    depth: int | None = 1,
    details: bool | None = None,
    repeats: bool | None = None,
    max_boxes: int = 300,
) -> Picture:
    """Draw the graph behind ``tensors``, which may be PyTorch's as well.

    A dotted outline is a variable (a leaf, one of ``tensors``, or one in ``names``), a purple box
    an operation. Arrows point the way the data went; ``backward()`` runs against them.

    >>> a = mt.tensor([2.0, 3.0], requires_grad=True)
    >>> q = 3 * a**3
    >>> mt.autograd.draw(q, names={"a": a, "q": q}).save("q.svg")

    Args:
        tensors: one tensor or several.
        model: the module whose forward made the graph: its operations fold into one box for each
            call of a module.
        names: tensors to show, and what to call them; ``names=locals()`` takes all there are.
        saved: whether operations show what they keep for backward.
        trace: what :func:`trace` returned for these tensors: the gradients' norms are shown, and
            where a gradient became NaN, infinite or zero is marked.
        depth: how many levels of modules to open: 1 shows the model's own modules as boxes, 2 what
            is in them, None every operation, framed by module.
        details: whether variables show all of data, requires_grad, grad and is_leaf; by default
            where there are few.
        repeats: whether equal parts in a row, such as layers, are drawn once, in a frame that says
            how many there are; by default modules are, and operations where there are many.
        max_boxes: with more operations and modules than so many, those farthest from ``tensors``
            are left out, and counted.

    Raises:
        TypeError: ``tensors`` are no tensors, or ``model`` is no module.
        ValueError: ``depth`` or ``max_boxes`` is less than 1.
        ModuleNotFoundError: from the picture's methods, where an extra is missing.
    """
    roots = inspection.as_tensors(tensors, "draw")
    known = inspection.named_tensors(model, names, "draw")
    for option, value in (("depth", depth), ("max_boxes", max_boxes)):
        if value is not None and value < 1:
            raise ValueError(f"draw() expects {option} to be at least 1, but got {value}")
    graph = inspection.collect(roots)
    diagram = build_diagram(
        graph,
        {} if model is None else modules.calls_of(graph, model),
        known,
        trace=trace,
        saved=saved,
        depth=depth,
        details=details,
        repeats=repeats,
        max_boxes=max_boxes,
    )
    shorten(diagram)
    return Picture(diagram)
