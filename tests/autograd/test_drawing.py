"""Pictures of graphs: what is collected, what is drawn, where it goes, in which formats."""

import json
import sys
import xml.etree.ElementTree as ElementTree

import pytest
import torch

import minitorch_triton as mt
from minitorch_triton import nn
from minitorch_triton.autograd import inspection
from minitorch_triton.autograd.drawing import layout, modules, repetition, shorten, theme
from minitorch_triton.autograd.drawing.diagram import Box, Diagram

FRAMEWORKS = [mt, torch]
ROUNDING = 0.6  # points: Graphviz keeps sides of clusters and pages in whole ones


def textbook(framework):
    a = framework.tensor([2.0, 3.0], requires_grad=True)
    b = framework.tensor([6.0, 4.0], requires_grad=True)
    return a, b, 3 * a**3 - b**2


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        return x + self.fc(self.norm(x)).relu()


class Net(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.layers = nn.ModuleList([Block(4) for _ in range(depth)])
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x).sum()


def titles(picture, kind):
    return [box.title for box in picture.diagram.boxes.values() if box.kind == kind]


def box_titled(picture, title):
    (found,) = [box for box in picture.diagram.boxes.values() if box.title == title]
    return found


def arrows(picture):
    boxes = picture.diagram.boxes
    return {(boxes[tail].title, boxes[head].title) for tail, head in picture.diagram.arrows}


# What is collected


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nodes_come_after_their_inputs(framework):
    a, b, q = textbook(framework)
    graph = inspection.collect([q])
    assert len(graph.nodes) == 6
    place = {node: number for number, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        for edge in graph.inputs[node]:
            assert edge is None or place[edge[0]] < place[node]
    leaves = [inspection.leaf(node) for node in graph.nodes]
    assert [id(leaf) for leaf in leaves if leaf is not None] == [id(a), id(b)]


def test_a_graph_of_ten_thousand_operations_is_no_recursion():
    y = x = torch.ones((), requires_grad=True)
    for _ in range(10_000):
        y = y + x
    assert len(inspection.collect([y]).nodes) == 10_001
    (step,) = [box for box in mt.autograd.draw(y).diagram.boxes.values() if box.rows[0][0] == ""]
    assert (step.title, step.rows[0][1]) == ("AddBackward0", "9998 times, each:")
    picture = mt.autograd.draw(y, names={"x": x}, max_boxes=20, repeats=False)
    rest = box_titled(picture, "not shown")
    assert rest.rows == [("operations", "9,980")]
    assert len(titles(picture, "operation")) == 20
    assert picture.svg()


# What is drawn


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_variables_and_operations(framework):
    a, b, q = textbook(framework)
    q.backward(framework.ones_like(q))
    picture = mt.autograd.draw(q, names={"a": a, "b": b, "q": q, "other": 3, "_": a})
    assert sorted(titles(picture, "variable")) == ["a", "b", "q"]
    assert sorted(titles(picture, "operation")) == [
        "MulBackward0",
        "PowBackward0",
        "PowBackward0",
        "SubBackward0",
    ]
    assert arrows(picture) == {
        ("a", "PowBackward0"),
        ("b", "PowBackward0"),
        ("PowBackward0", "MulBackward0"),
        ("PowBackward0", "SubBackward0"),
        ("MulBackward0", "SubBackward0"),
        ("SubBackward0", "q"),
    }
    assert box_titled(picture, "a").rows == [
        ("data", "[2, 3]"),
        ("requires_grad", "True"),
        ("grad", "[36, 81]"),
        ("is_leaf", "True"),
    ]
    assert box_titled(picture, "q").rows[2:] == [("grad", "None"), ("is_leaf", "False")]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_saved_tensors_on_request(framework):
    a, _, q = textbook(framework)
    (power, _) = [
        box
        for box in mt.autograd.draw(q, saved=True).diagram.boxes.values()
        if box.title == "PowBackward0"
    ]
    assert [value for key, value in power.rows if key.startswith("saved")] == ["[2, 3]"]
    q.sum().backward()
    power = box_titled(mt.autograd.draw(a.exp(), saved=True), "ExpBackward0")
    assert power.rows[1][0].startswith("saved ")
    assert power.rows[1][1] == "[7.389, 20.09]"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_a_function_saves(framework):
    class Product(framework.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx, gradient):
            x, y = ctx.saved_tensors
            return gradient * y, gradient * x

    x = framework.tensor([2.0, 3.0], requires_grad=True)
    y = Product.apply(x, framework.tensor([4.0, 5.0]))
    rows = box_titled(mt.autograd.draw(y, saved=True), "ProductBackward").rows
    assert rows == [("output", "(2,)"), ("saved 0", "[2, 3]"), ("saved 1", "[4, 5]")]


def test_nodes_of_recorded_backward_have_their_names():
    x = mt.tensor([0.5, 2.0], requires_grad=True)
    (g,) = mt.autograd.grad(x.sin().sum(), x, create_graph=True)
    assert g.grad_fn.name() == "SinBackwardBackward0"
    assert titles(mt.autograd.draw(g), "operation") == ["SinBackwardBackward0"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_freed_saved_tensors_are_said_to_be_freed(framework):
    x = framework.ones(3, requires_grad=True)
    y = x.exp()
    y.sum().backward()
    assert box_titled(mt.autograd.draw(y, saved=True), "ExpBackward0").rows[1][1] == "freed"


def test_several_roots_and_named_variables_between():
    x = mt.ones(2, requires_grad=True)
    y = x.exp()
    z, w = y.sum(), y * 2
    picture = mt.autograd.draw([z, w], names={"y": y, "z": z, "w": w, "x": x})
    assert {("ExpBackward0", "y"), ("y", "SumBackward0"), ("y", "MulBackward0")} <= arrows(picture)
    assert ("ExpBackward0", "SumBackward0") not in arrows(picture)


def test_a_leaf_alone_is_drawn():
    x = mt.tensor([1.0, 2.0])
    (box,) = mt.autograd.draw(x, names={"x": x}).diagram.boxes.values()
    assert box.kind == "variable" and box.title == "x"
    assert dict(box.rows)["requires_grad"] == "False"
    x.requires_grad_()
    assert len(mt.autograd.draw([x, x.exp()], names={"x": x}).diagram.boxes) == 3


def test_large_variables_show_their_shape():
    x = mt.ones(20, 3, dtype=mt.float64, requires_grad=True)
    boxes = mt.autograd.draw(x.sum(), names={"x": x})
    assert box_titled(boxes, "x").rows[0] == ("shape", "(20, 3) float64")


# Modules


def test_modules_fold():
    net = Net(1)
    x = mt.ones(5, 3)
    picture = mt.autograd.draw(net(x), net)
    assert titles(picture, "module") == ["embed", "layers.0", "head"]
    assert box_titled(picture, "head").rows == [
        ("", "Linear"),
        ("weight", "(2, 4)"),
        ("bias", "(2,)"),
        ("output", "(5, 2)"),
    ]
    opened = mt.autograd.draw(net(x), net, depth=2)
    assert titles(opened, "module") == ["embed", "layers.0.norm", "layers.0.fc", "head"]
    assert [call.name for call in box_titled(opened, "layers.0.fc").frame] == ["layers.0"]
    whole = mt.autograd.draw(net(x), net, depth=None)
    assert titles(whole, "module") == []
    assert [call.name for call in box_titled(whole, "layers.0.fc.bias").frame] == [
        "layers.0",
        "layers.0.fc",
    ]


def test_fifty_equal_layers_are_one_box():
    net = Net(50)
    picture = mt.autograd.draw(net(mt.ones(5, 3)), net)
    assert titles(picture, "module") == ["embed", "layers.0 … layers.49", "head"]
    box = box_titled(picture, "layers.0 … layers.49")
    assert box.rows[0] == ("", "50 times Block, each:")
    assert dict(box.rows)["operations"] == "4"  # the sum at the end of the block included
    assert arrows(picture) == {
        ("embed", "layers.0 … layers.49"),
        ("layers.0 … layers.49", "head"),
        ("head", "SumBackward0"),
        ("SumBackward0", ""),
    }


class Residual(nn.Module):
    """Adds to what comes in what a layer makes of it, outside of that layer."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x) * 0.5
        return x


def test_layers_with_a_sum_after_each_are_drawn_once():
    net = Residual([nn.Linear(4, 4) for _ in range(50)])
    start = mt.ones(2, 4, requires_grad=True) * 2
    y = net(start).sum()
    for picture in (mt.autograd.draw(y, net), mt.autograd.draw(y)):
        inside = [box for box in picture.diagram.boxes.values() if box.frame]
        assert {call.label for box in inside for call in box.frame} == {"50 times in a row"}
        assert [box.title for box in inside if box.kind == "operation"][-2:] == [
            "MulBackward0",
            "AddBackward0",
        ]
        placed = layout.place(picture.diagram)
        assert placed.height < 1000
    parameters = [box.rows for box in inside if box.kind == "variable"]
    assert parameters == [[("shape", "(4, 4)")], [("shape", "(4,)")]], "drawn without the model"
    few = Residual([nn.Linear(4, 4) for _ in range(4)])
    y = few(start).sum()
    assert len(titles(mt.autograd.draw(y, few), "module")) == 4
    assert titles(mt.autograd.draw(y, few, repeats=True), "module") == ["layers.0 … layers.3"]


def test_a_sequential_has_no_operations_of_its_own():
    net = Residual([nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in range(4)])
    picture = mt.autograd.draw(net(mt.ones(2, 4)), net)
    assert titles(picture, "operation").count("MulBackward0") == 4
    assert dict(box_titled(picture, "layers.2").rows)["operations"] == "3"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("abc", []),
        ("aa", []),
        ("xaaa", [(1, 1, 3)]),
        ("abababx", [(0, 2, 3)]),
        ("aaabaaabaaab", [(0, 4, 3)]),  # of what begins here, the one that covers most
        ("abcabcabxyzxyzxyz", [(8, 3, 3)]),
    ],
)
def test_repetition(text, parts):
    found = repetition.find(text)
    assert [(repeat.start, repeat.length, repeat.times) for repeat in found] == parts


def test_a_module_called_twice_has_two_boxes():
    net = nn.ModuleDict({"fc": nn.Linear(3, 3)})
    y = net["fc"](net["fc"](mt.ones(2, 3)).relu())
    picture = mt.autograd.draw(y, net)
    assert titles(picture, "module") == ["fc", "fc (call 2)"]
    assert {("fc", "ReluBackward0"), ("ReluBackward0", "fc (call 2)")} <= arrows(picture)
    assert {"fc.weight", "fc.bias"} <= set(titles(picture, "variable")), "used by both"


def test_modules_of_pytorch_fold():
    layer = torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    net = torch.nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    picture = mt.autograd.draw(net(torch.ones(2, 3, 4)).sum(), net)
    assert titles(picture, "module") == ["layers.0", "layers.1 … layers.3"]


def test_shared_parameters_decide_nothing():
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = one.weight
    net = nn.Sequential(one, other)
    graph = inspection.collect([net(mt.ones(2, 3))])
    names = {call.name for path in modules.calls_of(graph, net).values() for call in path}
    assert names == {"0", "1"}, "told by the biases"


# What is wrong is marked


def test_where_a_gradient_becomes_nan_or_zero_is_marked():
    w = mt.tensor([0.0, 4.0], requires_grad=True)
    z = (w * w).sqrt().sum()
    trace = mt.autograd.trace(z, quiet=True)
    picture = mt.autograd.draw(z, names={"w": w}, trace=trace)
    square, root = box_titled(picture, "MulBackward0"), box_titled(picture, "SqrtBackward0")
    assert (square.alarm, square.level, square.origin) == ("gradient gets NaN here", "error", True)
    assert (root.alarm, root.level, root.origin) == ("gradient gets inf here", "error", True)
    assert box_titled(picture, "w").alarm == "gradient has NaN"
    assert box_titled(picture, "SumBackward0").alarm == ""

    w = mt.tensor([-1.0, -4.0], requires_grad=True)
    z = (w * 2).relu().sum()
    picture = mt.autograd.draw(z, names={"w": w}, trace=mt.autograd.trace(z, quiet=True))
    assert box_titled(picture, "ReluBackward0").alarm == "a gradient becomes zero here"
    assert box_titled(picture, "MulBackward0").alarm == "gradient is zero"
    assert box_titled(picture, "w").level == "warning"
    assert picture.svg() and picture.dot() and picture.mermaid()


def test_a_broken_parameter_stands_out_of_its_layers():
    net = Net(9)
    with mt.no_grad():
        net.layers[4].fc.bias.fill_(mt.nan)
    loss = net(mt.ones(5, 3))
    picture = mt.autograd.draw(loss, net, trace=mt.autograd.trace(loss, quiet=True))
    boxes = [box for box in picture.diagram.boxes.values() if box.kind == "module"]
    assert [box.title for box in boxes][1:3] == ["layers.0 … layers.3", "layers.4"]
    assert boxes[3].title.startswith("layers.5 … ")
    assert boxes[2].alarm == "layers.4.fc.bias has NaN" and boxes[2].origin


# Layout


def overlap(one, other):
    left, top, width, height = one
    x, y, w, h = other
    return left < x + w and x < left + width and top < y + h and y < top + height


def distance_to_side(point, rectangle):
    (x, y), (left, top, width, height) = point, rectangle
    return abs(max(left - x, x - left - width, top - y, y - top - height))


def test_no_two_boxes_overlap_and_arrows_lead_from_one_to_the_other():
    net = Net(2)
    diagram = mt.autograd.draw(net(mt.ones(5, 3)), net, depth=None).diagram
    placed = layout.place(diagram)
    rectangles = list(placed.boxes.items())
    assert placed.boxes.keys() == diagram.boxes.keys()
    for number, (_, one) in enumerate(rectangles):
        assert not any(overlap(one, other) for _, other in rectangles[:number])
        assert one[0] >= 0 and one[0] + one[2] <= placed.width + ROUNDING
        assert one[1] >= 0 and one[1] + one[3] <= placed.height + ROUNDING
    for (tail, head), points in placed.arrows.items():
        assert distance_to_side(points[0], placed.boxes[tail]) <= ROUNDING
        assert distance_to_side(points[-1], placed.boxes[head]) <= ROUNDING
        assert points[0][1] < points[-1][1], "downwards"
    for name, box in diagram.boxes.items():
        left, top, width, height = placed.boxes[name]
        for call in box.frame:
            x, y, w, h = placed.frames[call]
            assert x < left and y < top and left + width < x + w and top + height < y + h


def test_a_long_picture_runs_straight_down():
    y = mt.ones(2, 3)
    for step in range(40):
        one, other = (mt.ones(3 + step, 4 + step, requires_grad=True) for _ in range(2))
        y = y @ one + y @ other
    diagram = mt.autograd.draw(y).diagram
    assert len(diagram.boxes) > 150
    assert layout.place(diagram).width < 1200


def test_text_fits_its_box():
    box = Box("operation", "M" * 30, [("key", "value"), ("", "no key")])
    width, height = theme.size(box)
    assert width >= 30 * theme.CHARACTER + 2 * theme.PADDING
    assert height >= 3 * theme.LINE


def chain(length, uses):
    diagram = Diagram({"x": Box("variable", "x")})
    for step in range(length):
        diagram.boxes[f"n{step}"] = Box("operation", "Add")
        if step:
            diagram.arrows[f"n{step - 1}", f"n{step}"] = None
        if step in uses:
            diagram.arrows["x", f"n{step}"] = None
    return diagram


def test_a_variable_used_everywhere_is_referred_to():
    diagram = chain(100, uses=range(100))
    shorten.shorten(diagram)
    references = [box for box in diagram.boxes.values() if box.kind == "reference"]
    assert {box.title for box in references} == {"↑ x"}
    assert sum(1 for tail, _ in diagram.arrows if tail == "x") == 3
    assert len(references) == 97
    assert layout.place(diagram).height > 100


def test_few_long_arrows_stay():
    diagram = chain(100, uses=(0, 50, 99))
    expected = list(diagram.arrows)
    shorten.shorten(diagram)
    assert list(diagram.arrows) == expected


# Formats


def test_svg_is_well_formed_and_says_everything():
    a, b, q = textbook(mt)
    svg = mt.autograd.draw(q, names={"a": a, "<b & c>": b}).svg()
    root = ElementTree.fromstring(svg)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a", "<b & c>", "MulBackward0", "requires_grad", "[2, 3]"} <= set(texts)
    assert "prefers-color-scheme: dark" in svg
    assert mt.autograd.draw(q)._repr_svg_().startswith("<svg")


def test_the_same_graph_gives_the_same_picture():
    def picture():
        mt.manual_seed(0)
        net = Net(2)
        return mt.autograd.draw(net(mt.ones(5, 3)), net, depth=2)

    assert picture().svg() == picture().svg()


def test_dot_is_read_by_graphviz():
    from pygraphviz import AGraph

    net = Net(1)
    picture = mt.autograd.draw(net(mt.ones(5, 3)), net, depth=None)
    drawn = json.loads(AGraph(string=picture.dot()).draw(format="json0", prog="dot"))
    names = {item["name"] for item in drawn["objects"]}
    assert picture.diagram.boxes.keys() <= names
    assert sum(name.startswith("cluster") for name in names) == 5
    assert len(drawn["edges"]) == len(picture.diagram.arrows)


def test_mermaid():
    a, _, q = textbook(mt)
    lines = mt.autograd.draw(q, names={'a "1" #2': a}).mermaid().splitlines()
    assert lines[0] == "flowchart TB"
    assert lines[1] == (
        '  n0("<b>a #quot;1#quot; #35;2</b><br>data: [2, 3]<br>requires_grad: True<br>'
        'grad: None<br>is_leaf: True"):::variable'
    )
    assert lines[2] == '  n1("<b>PowBackward0</b><br>output: (2,)"):::operation'
    assert "  n0 --> n1" in lines
    net = Net(1)
    framed = mt.autograd.draw(net(mt.ones(1, 3)), net, depth=None).mermaid().splitlines()
    assert '  subgraph call1["embed: Linear"]' in framed
    assert sum(line.strip() == "end" for line in framed) == 5


def test_save_goes_by_the_ending(tmp_path):
    _, _, q = textbook(mt)
    picture = mt.autograd.draw(q)
    for name, start in (
        ("g.svg", b"<svg"),
        ("g.png", b"\x89PNG"),
        ("g.dot", b"digraph"),
        ("g.mmd", b"flowchart"),
    ):
        path = picture.save(tmp_path / name)
        assert path.read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"'g\.jpg': its name must end in one of \.svg"):
        picture.save(tmp_path / "g.jpg")


# Errors


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3.0,), {}, TypeError, "expects a tensor or a sequence of tensors, but got float"),
        (([torch.ones(1), "x"],), {}, TypeError, "but got str at index 1"),
        (([],), {}, ValueError, "got no tensor"),
        ((torch.ones(1), 3), {}, TypeError, "model to be a module, but got int"),
        ((torch.ones(1),), {"depth": 0}, ValueError, "depth to be at least 1, but got 0"),
        ((torch.ones(1),), {"max_boxes": 0}, ValueError, "max_boxes to be at least 1"),
    ],
)
def test_bad_arguments(arguments, options, error, message):
    with pytest.raises(error, match=message):
        mt.autograd.draw(*arguments, **options)


@pytest.mark.parametrize(("module", "form"), [("pygraphviz", "svg"), ("matplotlib.figure", "png")])
def test_a_missing_extra_is_named(monkeypatch, module, form):
    monkeypatch.setitem(sys.modules, module, None)
    picture = mt.autograd.draw(torch.ones(1))
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'minitorch-triton\[draw\]'"):
        getattr(picture, form)()
    assert picture.dot() and picture.mermaid(), "these need nothing"
