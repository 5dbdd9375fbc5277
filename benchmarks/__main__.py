"""Time training steps and operations against PyTorch, in one process, interleaved.

What counts is the ratio, PyTorch's time over ours: both sides run in turns, `--repeats` times, and
the median is taken, on a CPU with one thread and with two. The results go to benchmarks/results,
with the machine, the versions and the date.
"""

import argparse
import datetime
import itertools
import platform
from pathlib import Path

import torch
import triton

import minitorch_triton as mt
from benchmarks.timing import in_turns

RESULTS = Path(__file__).parent / "results"
SAMPLE_S = 0.02


def mlp_step(t, sizes, batch, device):
    """A training step of a multilayer perceptron; `t` is this package or PyTorch."""
    t.manual_seed(0)
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [t.nn.Linear(inputs, outputs), t.nn.ReLU()]
    model = t.nn.Sequential(*layers[:-1]).to(device)
    optimizer = t.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loss_fn = t.nn.CrossEntropyLoss()
    x = t.randn(batch, sizes[0], device=device)
    y = t.randint(0, sizes[-1], (batch,), device=device)

    def step():
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def forward_backward(t, function, *shapes, device):
    """An operation and its gradients in all inputs; `function` gets `t` and the tensors."""
    t.manual_seed(0)
    inputs = [t.randn(*shape, device=device).requires_grad_() for shape in shapes]
    upstream = t.ones_like(function(t, *inputs)).detach()

    def run():
        function(t, *inputs).backward(upstream)

    return run


def forward(t, function, *shapes, device):
    """An operation without gradients."""
    t.manual_seed(0)
    inputs = [t.randn(*shape, device=device) for shape in shapes]
    return lambda: function(t, *inputs)


def benchmarks(device):
    """Yield a name and a function that makes the thing to time for either package."""
    for sizes, batch in (
        ((784, 128, 10), 64),
        ((784, 256, 10), 128),
        ((784, 512, 256, 10), 128),
        ((784, 1024, 1024, 10), 512),
    ):
        name = f"training step {'-'.join(map(str, sizes))}, batch {batch}"
        yield name, lambda t, sizes=sizes, batch=batch: mlp_step(t, sizes, batch, device)

    square, long, middle, short = (1024, 1024), (1_000_000,), (100_000,), (1000,)
    operations = {
        "add 1K": (lambda t, a, b: a + b, short, short),
        "exp 1K": (lambda t, x: x.exp(), short),
        "add 100K": (lambda t, a, b: a + b, middle, middle),
        "exp 100K": (lambda t, x: x.exp(), middle),
        "add 1M": (lambda t, a, b: a + b, long, long),
        "exp 1M": (lambda t, x: x.exp(), long),
        "tanh 1M": (lambda t, x: x.tanh(), long),
        "gelu 1M": (lambda t, x: t.nn.functional.gelu(x), long),
        "sum 1024x1024 over rows": (lambda t, x: x.sum(dim=0), square),
        "softmax 1024x1024": (lambda t, x: x.softmax(dim=1), square),
        "cross-entropy 128x10": (
            lambda t, x: t.nn.functional.cross_entropy(x, t.ones(128, dtype=t.int64)),
            (128, 10),
        ),
        "dropout 1M": (lambda t, x: t.nn.functional.dropout(x, 0.5), long),
        "layer norm 1024x1024": (lambda t, x: t.nn.functional.layer_norm(x, (1024,)), square),
        "matmul 1024x1024x1024": (lambda t, a, b: a @ b, square, square),
        "linear 128x784x256": (
            lambda t, x, w, b: t.nn.functional.linear(x, w, b),
            (128, 784),
            (256, 784),
            (256,),
        ),
    }
    for name, (function, *shapes) in operations.items():
        for make in (forward, forward_backward):
            yield (
                f"{name}, {make.__name__.replace('_', ' and ')}",
                lambda t, make=make, function=function, shapes=shapes: make(
                    t, function, *shapes, device=device
                ),
            )


def measure(ours, theirs, repeats, device):
    """Return the median seconds of a call of each, timed in turns."""
    finish = torch.cuda.synchronize if device.type == "cuda" else None
    return in_turns((ours, theirs), repeats, SAMPLE_S, finish)[0]


def machine(device):
    """The lines that say what the numbers were measured on."""
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else processor
    return [
        f"- {datetime.date.today()}, {place}",
        f"- minitorch_triton {mt.__version__}, PyTorch {torch.__version__}, "
        f"Triton {triton.__version__}, Python {platform.python_version()}",
    ]


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--filter", default="", help="only what has this in its name")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    device = torch.device(args.device)

    lines = ["# Times against PyTorch", "", *machine(device), ""]
    print("\n".join(lines))
    for threads in (1, 2) if device.type == "cpu" else (torch.get_num_threads(),):
        torch.set_num_threads(threads)
        head = ["", f"| {threads} threads | ours, µs | PyTorch, µs | PyTorch / ours |"]
        head += ["|---|---:|---:|---:|"]
        print("\n".join(head))
        lines += head
        for name, make in benchmarks(device):
            if args.filter not in name:
                continue
            ours, theirs = measure(make(mt), make(torch), args.repeats, device)
            row = f"| {name} | {1e6 * ours:.1f} | {1e6 * theirs:.1f} | {theirs / ours:.2f} |"
            print(row, flush=True)
            lines.append(row)
    if not args.filter:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{args.device}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
