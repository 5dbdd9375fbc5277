"""Kernels of Triton's tutorials on a CPU against what PyTorch has for them.

    python -m benchmarks.tutorials [--rounds 20] [--filter attention] [--threads 1 2]

Prints PyTorch's time over ours (above 1: ours is faster): the ratio of the medians, in brackets
that of the best times. The kernels are those of tests/cpu/test_public_kernels.py and
tests/cpu/tutorials.py, written as for a GPU.
"""

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
import triton

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cpu"))

import test_public_kernels as kernels
import tutorials

import minitorch_triton.cpu as triton_cpu
from benchmarks.timing import in_turns

SAMPLE_S = 2e-3


def vector_addition():
    n = 1 << 20
    x, y, out = torch.rand(n), torch.rand(n), torch.empty(n)
    ours = kernels.add_kernel[(triton.cdiv(n, 1024),)]
    return lambda: ours(x, y, out, n, BLOCK_SIZE=1024), lambda: torch.add(x, y, out=out)


def fused_softmax():
    x, y = torch.randn(1024, 781), torch.empty(1024, 781)
    ours = kernels.softmax_kernel[(64,)]
    constants = {"BLOCK_SIZE": 1024, "num_stages": 2}
    return lambda: ours(y, x, 781, 781, *x.shape, **constants), lambda: torch.softmax(x, 1, out=y)


def matmul():
    a, b, c = torch.randn(512, 512), torch.randn(512, 512), torch.empty(512, 512)

    def grid(meta):
        return (triton.cdiv(512, meta["BLOCK_SIZE_M"]) * triton.cdiv(512, meta["BLOCK_SIZE_N"]),)

    ours = kernels.matmul_kernel[grid]
    strides = (*a.stride(), *b.stride(), *c.stride())
    return lambda: ours(a, b, c, 512, 512, 512, *strides, ACTIVATION=""), lambda: torch.mm(
        a, b, out=c
    )


def dropout():
    n = 1 << 20
    x, out = torch.randn(n), torch.empty(n)
    ours = kernels.seeded_dropout_kernel[(triton.cdiv(n, 1024),)]
    return lambda: ours(x, out, n, 0.5, 123, BLOCK_SIZE=1024), lambda: F.dropout(x, 0.5)


def layer_norm():
    rows, columns = 512, 1024
    x, w, b = torch.randn(rows, columns), torch.rand(columns), torch.rand(columns)
    y, mean, rstd = torch.empty_like(x), torch.empty(rows), torch.empty(rows)
    ours = kernels.layer_norm_forward[(rows,)]
    return (
        lambda: ours(x, y, w, b, mean, rstd, columns, columns, 1e-5, BLOCK_SIZE=1024),
        lambda: F.layer_norm(x, (columns,), w, b, 1e-5),
    )


def layer_norm_backward():
    rows, columns, groups = 512, 1024, 64
    x, w, b = torch.randn(rows, columns), torch.rand(columns), torch.rand(columns)
    dy, y, mean, rstd = torch.randn_like(x), torch.empty_like(x), *torch.empty(2, rows)
    kernels.layer_norm_forward[(rows,)](
        x, y, w, b, mean, rstd, columns, columns, 1e-5, BLOCK_SIZE=1024
    )
    dx, (dw, db) = torch.empty_like(x), torch.empty(2, groups, columns)
    final_dw, final_db = torch.empty(2, columns)
    locks = torch.empty(2 * groups, dtype=torch.int32)
    first = kernels.layer_norm_backward_dx[(rows,)]
    second = kernels.layer_norm_backward_dwdb[(columns // 128,)]

    def ours():
        locks.zero_()
        first(
            dx, dy, dw, db, x, w, mean, rstd, locks, columns, columns,
            GROUP_SIZE_M=groups, BLOCK_SIZE_N=1024,
        )  # fmt: skip
        second(dw, db, final_dw, final_db, groups, columns, BLOCK_SIZE_M=32, BLOCK_SIZE_N=128)

    forward = torch.native_layer_norm(x, (columns,), w, b, 1e-5)
    backward = torch.ops.aten.native_layer_norm_backward
    return ours, lambda: backward(dy, x, (columns,), *forward[1:], w, b, [True] * 3)


def attention():
    q, k, v = (torch.randn(1, 8, 512, 64) for _ in range(3))
    out, lse = torch.empty_like(q), torch.empty(8, 512)
    ours = kernels.attention_kernel[(512 // 64, 8)]
    arguments = (q, k, v, out, lse, 0.125, *q.stride()[:3], 8, 512)
    constants = {"HEAD_DIM": 64, "BLOCK_M": 64, "BLOCK_N": 64, "STAGE": 1}
    return lambda: ours(*arguments, **constants), lambda: F.scaled_dot_product_attention(q, k, v)


def attention_backward():
    q, k, v = (torch.randn(1, 8, 512, 64, requires_grad=True) for _ in range(3))
    output = F.scaled_dot_product_attention(q, k, v)
    grad, lse = torch.randn_like(output), (q @ k.mT / 8).logsumexp(-1)
    tensors = [t.detach() for t in (q, k, v, output, lse, grad)]
    return (
        lambda: tutorials.attention_backward(*tensors, False),
        lambda: torch.autograd.grad(output, (q, k, v), grad, retain_graph=True),
    )


def grouped_matmul():
    sizes = (1024, 512, 256, 128)
    pairs = [(torch.randn(n, n), torch.randn(n, n)) for n in sizes]
    return lambda: tutorials.grouped_matmul(pairs), lambda: [a @ b for a, b in pairs]


def persistent_matmul():
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    return lambda: tutorials.persistent_matmul(a, b), lambda: a @ b.T


CASES = (
    vector_addition, fused_softmax, matmul, dropout, layer_norm, layer_norm_backward, attention,
    attention_backward, grouped_matmul, persistent_matmul,
)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--filter", default="")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    triton_cpu.enable()
    print(f"PyTorch {torch.__version__}, Triton {triton.__version__}; PyTorch's time over ours")
    for threads in args.threads:
        torch.set_num_threads(threads)
        for case in CASES:
            if args.filter not in case.__name__:
                continue
            torch.manual_seed(0)
            (ours, theirs), (best, best_of_theirs) = in_turns(case(), args.rounds, SAMPLE_S)
            print(
                f"{threads} thread{'s' * (threads > 1)}  {case.__name__:20} {theirs / ours:5.2f} "
                f"({best_of_theirs / best:.2f})  {1e6 * best:9.0f} us",
                flush=True,
            )


if __name__ == "__main__":
    main()
