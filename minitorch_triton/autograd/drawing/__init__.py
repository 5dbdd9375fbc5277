"""Pictures of the graph: ``draw(loss)``, in the form that textbooks use.

collect.py walks the graph, modules.py finds the modules in it, diagram.py decides on boxes and what
stands in them, layout.py where they go; scene.py, svg.py, png.py and text.py draw.
"""

from minitorch_triton.autograd.drawing.picture import Picture, draw

__all__ = ["Picture", "draw"]
