"""See how automatic differentiation works, step by step, in what it prints and draws.

docs/autograd.md shows it all on one page.
"""

from pathlib import Path

from options import example_parser

import minitorch_triton as mt

pictures = None  # the folder to draw graphs into, if any


def title(text):
    print(f"\n{text}\n{'-' * len(text)}")


def show(expression, value):
    print(f"{expression:32} {value!s}")


def show_error(expression, action):
    try:
        action()
    except RuntimeError as error:
        show(expression, f"RuntimeError: {str(error).split('. ')[0].strip('.')}")
    else:
        raise AssertionError(f"{expression} should have failed")


def picture(name, tensors, **names):
    """Draw the graph behind tensors; variables are called as their keywords are."""
    if pictures is not None:
        mt.autograd.draw(tensors, names=names).save(pictures / f"{name}.svg")


def leaves(device):
    title("1. Leaves: the tensors that you make, and whose gradients you want")
    x = mt.tensor([2.0, 3.0], device=device)
    w = mt.tensor([6.0, 4.0], device=device, requires_grad=True)
    y = w * x
    show("x.requires_grad, x.is_leaf", (x.requires_grad, x.is_leaf))
    show("w.requires_grad, w.is_leaf", (w.requires_grad, w.is_leaf))
    show("y.requires_grad, y.is_leaf", (y.requires_grad, y.is_leaf))
    show("y.detach().is_leaf", y.detach().is_leaf)
    picture("leaves", y, w=w, y=y)
    show_error("integers cannot require it", lambda: mt.tensor([1, 2], requires_grad=True))


def graph(device):
    title("2. The graph: each result remembers the operation that made it")
    a = mt.tensor([2.0, 3.0], device=device, requires_grad=True)
    b = mt.tensor([6.0, 4.0], device=device, requires_grad=True)
    q = 3 * a**3 - b**2
    show("q = 3 * a**3 - b**2", q)
    show("a.grad_fn", a.grad_fn)
    node, depth = q.grad_fn, 0
    while node is not None:
        show(
            "  " * depth + ("q.grad_fn" if depth == 0 else "next_functions[0][0]"),
            type(node).__name__,
        )
        node, depth = node.next_functions[0][0] if node.next_functions else None, depth + 1
    picture("graph", q, a=a, b=b, q=q)
    return a, b, q


def backward(a, b, q):
    title("3. Backward: the chain rule, from the result to the leaves")
    show_error("q.backward()", q.backward)
    print("q has two elements: say with which weights their gradients are to be summed.")
    q.backward(gradient=mt.ones_like(q))
    show("a.grad", a.grad)
    show("9 * a**2, computed by hand", 9 * a.detach() ** 2)
    show("b.grad", b.grad)
    show("-2 * b, computed by hand", -2 * b.detach())
    picture("backward", q, a=a, b=b, q=q)
    show_error("again", lambda: q.sum().backward())
    print("The graph is freed once it was used; the next forward pass builds a new one.")


def accumulation(device):
    title("4. Gradients add up until you clear them")
    x = mt.tensor(3.0, device=device, requires_grad=True)
    y = x**2
    y.backward(retain_graph=True)
    show("x.grad after y.backward()", x.grad)
    y.backward()
    show("after a second y.backward()", x.grad)
    x.grad = None
    (x**2).backward()
    show("cleared, then once more", x.grad)


def vector_jacobian_product(device):
    title("5. An external gradient v gives v times the Jacobian, without the Jacobian")
    x = mt.tensor([1.0, 2.0, 3.0], device=device, requires_grad=True)
    v = mt.tensor([0.1, 1.0, 10.0], device=device)

    def f(x):
        return x * x.sum()

    y = f(x)
    y.backward(v)
    show("v @ J, by y.backward(v)", x.grad)
    rows = [mt.autograd.grad(f(x)[i], x)[0] for i in range(3)]
    jacobian = mt.stack(rows)
    show("J, row by row from grad()", jacobian.tolist())
    show("v @ J, by hand", v @ jacobian)
    show_error("v of a wrong shape", lambda: f(x).backward(v[:2]))


def no_grad(device):
    title("6. no_grad: compute without a graph")
    w = mt.tensor([1.0, 2.0], device=device, requires_grad=True)
    with mt.no_grad():
        show("(w * 2).requires_grad inside", (w * 2).requires_grad)
        w -= 0.5
    show("(w * 2).requires_grad outside", (w * 2).requires_grad)
    show("w, changed in no_grad", w)

    def update():
        nonlocal w
        w -= 0.5

    show_error("w -= 0.5 outside", update)


def dynamic_graph(device):
    title("7. The graph is what has run: Python's own if and while may decide")
    x = mt.tensor(1.5, device=device, requires_grad=True)
    y, doublings = x, 0
    while y < 10:
        y, doublings = 2 * y, doublings + 1
    y.backward()
    picture("dynamic_graph", y, x=x, y=y)
    show("doublings until 10 is passed", doublings)
    show("dy/dx", x.grad)


class Cube(mt.autograd.Function):
    """x**3 with a gradient rule of our own."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * 3 * x**2


def own_function(device):
    title("8. Your own operation: a forward and its vector-Jacobian product")
    x = mt.tensor([1.0, -2.0], device=device, requires_grad=True)
    y = Cube.apply(x)
    show("type(y.grad_fn).__name__", type(y.grad_fn).__name__)
    y.sum().backward()
    show("x.grad", x.grad)
    picture("own_function", y, x=x, y=y)


def main():
    global pictures
    parser = example_parser(__doc__)
    parser.add_argument("--pictures", type=Path, help="folder to draw the graphs into, as SVG")
    args = parser.parse_args()
    pictures = args.pictures
    mt.manual_seed(args.seed)
    leaves(args.device)
    backward(*graph(args.device))
    accumulation(args.device)
    vector_jacobian_product(args.device)
    no_grad(args.device)
    dynamic_graph(args.device)
    own_function(args.device)


if __name__ == "__main__":
    main()
