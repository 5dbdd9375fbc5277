"""Find mistakes in the backward of a PyTorch function around Triton kernels."""

import torch
import triton
import triton.language as tl
from options import example_parser

from minitorch_triton.testing import check_gradients


@triton.jit
def sigmoid_kernel(y_ptr, x_ptr, n, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    x = tl.load(x_ptr + offsets, mask=offsets < n, other=0).to(tl.float32)
    tl.store(y_ptr + offsets, 1 / (1 + tl.exp(-x)), mask=offsets < n)


@triton.jit
def sigmoid_grad_kernel(dx_ptr, g_ptr, y_ptr, n, BLOCK_SIZE: tl.constexpr, LAST: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < (n if LAST else n // BLOCK_SIZE * BLOCK_SIZE)  # without LAST: a mistake
    g = tl.load(g_ptr + offsets, mask=mask, other=0).to(tl.float32)
    y = tl.load(y_ptr + offsets, mask=mask, other=0).to(tl.float32)
    tl.store(dx_ptr + offsets, g * y * (1 - y), mask=mask)


class Sigmoid(torch.autograd.Function):
    """Without mistake; the classes below have one each."""

    last_block = True

    @staticmethod
    def upstream(g):
        return g.contiguous()

    @classmethod
    def forward(cls, ctx, x):
        x = x.contiguous()
        y = torch.empty_like(x)
        sigmoid_kernel[(triton.cdiv(x.numel(), 256),)](y, x, x.numel(), BLOCK_SIZE=256)
        ctx.save_for_backward(y)
        ctx.cls = cls
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        g = ctx.cls.upstream(g)
        dx = torch.empty_like(y)
        sigmoid_grad_kernel[(triton.cdiv(y.numel(), 256),)](
            dx, g, y, y.numel(), BLOCK_SIZE=256, LAST=ctx.cls.last_block
        )
        return dx


class LastBlockForgotten(Sigmoid):
    last_block = False


class StridesForgotten(Sigmoid):
    @staticmethod
    def upstream(g):
        return g  # after y.sum(), this is one number with stride 0


def main():
    parser = example_parser(__doc__)
    args = parser.parse_args()
    functions = [Sigmoid, LastBlockForgotten, StridesForgotten]
    for function in functions[:1] if args.dry_run else functions:
        report = check_gradients(
            function, torch.sigmoid, ["M N"], seed=args.seed, device=args.device
        )
        print(report, end="\n\n")


if __name__ == "__main__":
    main()
