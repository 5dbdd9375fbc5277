"""Matrix products on a CPU against torch.mm: those of the layers of MLPs in a training step.

    python -m benchmarks.cpu_gemm [--types float32 bfloat16] [--threads 1 2] [--filter 784x128]

For a layer with weight W (out, in) these are the forward product x W^T and the gradients g W and
g^T x. Prints PyTorch's time over ours (above 1: ours is faster), once for the operator as a user
calls it (`a @ b`, both allocating their result) and once for the kernel alone (a prepared launch
against `torch.mm(out=)`). The ratio is that of the medians, in brackets that of the best times.
"""

import argparse

import torch

import minitorch_triton as mt
from benchmarks.timing import in_turns
from minitorch_triton.kernels import launch
from minitorch_triton.kernels import matmul as kernels

LAYERS = [  # features in, features out, batch: of the MLPs of `python -m benchmarks`
    (784, 128, 64), (128, 10, 64), (784, 256, 128), (256, 10, 128), (784, 512, 128),
    (512, 256, 128), (784, 1024, 512), (1024, 1024, 512), (1024, 10, 512),
]  # fmt: skip
SAMPLE_S = 5e-4


def products(dtype):
    """Yield a label and the operands of each product."""
    for features, outputs, batch in LAYERS:
        x = torch.randn(batch, features, dtype=dtype)
        weight = torch.randn(outputs, features, dtype=dtype)
        gradient = torch.randn(batch, outputs, dtype=dtype)
        name = f"{features}x{outputs}, batch {batch}"
        yield f"x W^T  {name}", x, weight.T
        yield f"g W    {name}", gradient, weight
        yield f"g^T x  {name}", gradient.T, x
    square = torch.randn(2, 1024, 1024, dtype=dtype)
    yield "1024x1024x1024", square[0], square[1]


def prepared(a, b):
    """A function that launches the kernel alone."""
    result = mt.empty(a.shape[0], b.shape[1], dtype=a.dtype)
    launch.recording.launches = []
    kernels.matmul(result, a, b)
    ((kernel, grid, arguments),) = launch.recording.launches
    launch.recording.launches = None
    block = kernel.pack(*grid, *launch.raw(arguments))
    return lambda: kernel.start(block)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--types", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--filter", default="", help="only what has this in its label")
    parser.add_argument("--rounds", type=int, default=25)
    args = parser.parse_args()
    for name in args.types:
        for threads in args.threads:
            torch.set_num_threads(threads)
            print(f"\n{name}, {threads} threads      GFLOP/s torch, ours   a @ b        kernel")
            for label, a, b in products(getattr(torch, name)):
                if args.filter not in label:
                    continue
                ours = mt.from_torch(a), mt.from_torch(b)
                out = torch.empty(a.shape[0], b.shape[1], dtype=a.dtype)
                with mt.no_grad():
                    medians, best = in_turns(
                        (
                            lambda a=a, b=b: a @ b,
                            lambda ours=ours: ours[0] @ ours[1],
                            lambda a=a, b=b, out=out: torch.mm(a, b, out=out),
                            prepared(*ours),
                        ),
                        args.rounds,
                        SAMPLE_S,
                    )
                work = 2e-9 * a.shape[0] * a.shape[1] * b.shape[1]
                cells = [
                    f"{medians[i] / medians[i + 1]:5.2f} ({best[i] / best[i + 1]:4.2f})"
                    for i in (0, 2)
                ]
                print(
                    f"{label:30} {work / best[2]:6.0f} {work / best[3]:6.0f}   {'   '.join(cells)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
