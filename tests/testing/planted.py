"""Functions with one mistake each, around Triton kernels, and correct ones beside them.

``PLANTED`` has for each the diagnosis that ought to come first. Where a mistake is one word in a
kernel, the kernel takes it as a ``BUG``, so that few kernels serve many mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

import minitorch_triton as mt
import minitorch_triton.testing

F = torch.nn.functional


@dataclass
class Planted:
    """A function with a mistake of a kind, or without one (kind "")."""

    name: str
    kind: str
    fn: Any
    reference: Callable | None
    inputs: list | None = None


# Elementwise: sigmoid and relu


@triton.jit
def sigmoid_kernel(y_ptr, x_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, i < n, other=0).to(tl.float32)
    tl.store(y_ptr + i, 1 / (1 + tl.exp(-x)), i < n)


@triton.jit
def sigmoid_grad_kernel(dx_ptr, g_ptr, y_ptr, n, BLOCK: tl.constexpr, BUG: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    g = tl.load(g_ptr + i, i < n, other=0).to(tl.float32)
    y = tl.load(y_ptr + i, i < n, other=0).to(tl.float32)
    dx = g * y * (1 - y)
    stored = i < n
    if BUG == "factor (1 - y) forgotten":
        dx = g * y
    elif BUG == "doubled":
        dx = 2 * dx
    elif BUG == "sign":
        dx = -dx
    elif BUG == "no upstream":
        dx = y * (1 - y)
    elif BUG == "upstream twice":
        dx = g * dx
    elif BUG == "first upstream only":
        dx = tl.load(g_ptr).to(tl.float32) * y * (1 - y)
    elif BUG == "float16":
        dx = dx.to(tl.float16).to(tl.float32)
    elif BUG == "bfloat16 factors":
        dx = (g.to(tl.bfloat16) * y.to(tl.bfloat16)).to(tl.float32) * (1 - y)
    elif BUG == "tail masked off":
        stored = i < n // BLOCK * BLOCK
    elif BUG == "positive only":
        stored = stored & (g > 0)
    elif BUG == "off by one":
        stored = i < n - 1
    elif BUG == "one too many":
        stored = i <= n
    tl.store(dx_ptr + i, dx, stored)


def sigmoid(
    bug="",
    grid=lambda n: triton.cdiv(n, 256),
    buffer=torch.empty_like,
    prepare=lambda g: g.contiguous(),
):
    """A sigmoid whose backward has a bug."""

    class Sigmoid(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x = x.contiguous()
            y = torch.empty_like(x)
            sigmoid_kernel[(triton.cdiv(x.numel(), 256),)](y, x, x.numel(), BLOCK=256)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            g = prepare(g)
            dx = buffer(y)
            n = y.numel()
            if grid(n):
                sigmoid_grad_kernel[(grid(n),)](dx, g, y, n, BLOCK=256, BUG=bug)
            return dx

    return Sigmoid


_CACHED: dict = {}


def cached_buffer(y):
    """One buffer for all calls of a shape."""
    return _CACHED.setdefault((y.shape, y.dtype), torch.empty_like(y))


@triton.jit
def relu_kernel(y_ptr, x_ptr, n, BLOCK: tl.constexpr, BUG: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, i < n, other=0)
    y = tl.where(x < 0, 0.0, x)
    if BUG == "NaN swallowed":
        y = tl.where(x > 0, x, 0.0)
    tl.store(y_ptr + i, y, i < n)


@triton.jit
def relu_grad_kernel(dx_ptr, g_ptr, x_ptr, n, BLOCK: tl.constexpr, BUG: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, i < n, other=0)
    g = tl.load(g_ptr + i, i < n, other=0)
    if BUG == "boundary":
        dx = tl.where(x >= 0, g, 0.0)
    else:
        dx = tl.where(x <= 0, 0.0, g)
    tl.store(dx_ptr + i, dx, i < n)


def relu(bug=""):
    class Relu(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            dense = x.contiguous()
            y = dense if bug == "overwrites" else torch.empty_like(dense)
            relu_kernel[(triton.cdiv(x.numel(), 256),)](y, dense, x.numel(), BLOCK=256, BUG=bug)
            if bug == "kept on ctx":
                ctx.x = x
            else:
                ctx.save_for_backward(x if bug == "strides" else dense)
            return y.clone() if bug == "overwrites" else y

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            (x,) = (ctx.x.contiguous(),) if bug == "kept on ctx" else ctx.saved_tensors
            g = g.contiguous()
            dx = torch.empty_like(g)
            relu_grad_kernel[(triton.cdiv(x.numel(), 256),)](
                dx, g, x, x.numel(), BLOCK=256, BUG=bug
            )
            return dx

    return Relu


# Two inputs: product, sum with a bias


def product(bug=""):
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            if bug == "None":
                return g * b, None
            if bug == "one":
                return g * b
            if bug == "exchanged":
                return g * a, g * b
            if bug == "needs":
                return g * b if ctx.needs_input_grad[0] else None, (
                    g * a if ctx.needs_input_grad[0] else None
                )
            return g * b, g * a

    return Product


@triton.jit
def add_bias_kernel(y_ptr, x_ptr, b_ptr, M, N, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * N + j, j < N, other=0)
    b = tl.load(b_ptr + j, j < N, other=0)
    tl.store(y_ptr + row * N + j, x + b, j < N)


@triton.jit
def bias_grad_kernel(db_ptr, g_ptr, M, N, BLOCK: tl.constexpr, BUG: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    g = tl.load(g_ptr + row * N + j, j < N, other=0)
    if BUG == "store":
        tl.store(db_ptr + j, g, j < N)
    elif BUG == "load, add, store":
        tl.store(db_ptr + j, tl.load(db_ptr + j, j < N, other=0) + g, j < N)
    elif BUG == "first row":
        tl.store(db_ptr + j, g, (j < N) & (row == 0))
    else:
        tl.atomic_add(db_ptr + j, g, j < N)


def add_bias(bug="", buffer=torch.zeros):
    class AddBias(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, b):
            x, b = x.contiguous(), b.contiguous()
            y = torch.empty_like(x)
            M, N = x.shape
            add_bias_kernel[(M,)](y, x, b, M, N, BLOCK=triton.next_power_of_2(max(N, 1)))
            return y

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            g = g.contiguous()
            M, N = g.shape
            if bug == "wrong axis":
                return g, g.sum(1)
            if bug == "mean":
                return g, g.mean(0)
            db = buffer(N, dtype=torch.promote_types(g.dtype, torch.float32))
            bias_grad_kernel[(M,)](db, g, M, N, BLOCK=triton.next_power_of_2(max(N, 1)), BUG=bug)
            return g, db.to(g.dtype)

    return AddBias


# Matrix product


def matmul(bug=""):
    class MatMul(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            da, db = g @ b.mT, a.mT @ g
            if bug == "result transposed":
                db = g.mT @ a
            elif bug == "result in the wrong order":
                db = (g.mT @ a).reshape(db.shape)
            elif bug == "operand not transposed":
                da = g @ b.reshape(b.shape[1], b.shape[0])
            elif bug == "TF32":
                da = _tf32(g) @ _tf32(b.mT)
            return da, db

    return MatMul


def _tf32(x):
    """Rounded to 10 bits after the leading one, as a tensor core does."""
    mantissa, exponent = torch.frexp(x)
    return torch.ldexp((mantissa * 2048).round() / 2048, exponent)


# Rows: softmax, layer norm, a sum of squares


@triton.jit
def softmax_kernel(y_ptr, x_ptr, N, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * N + j, j < N, other=-float("inf")).to(tl.float32)
    e = tl.exp(x - tl.max(x))
    tl.store(y_ptr + row * N + j, e / tl.sum(e), j < N)


@triton.jit
def softmax_grad_kernel(dx_ptr, g_ptr, y_ptr, N, BLOCK: tl.constexpr, BUG: tl.constexpr):
    row = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    mask = j < N
    if BUG == "unmasked":
        g = tl.load(g_ptr + row * N + j).to(tl.float32)
        y = tl.load(y_ptr + row * N + j).to(tl.float32)
    else:
        g = tl.load(g_ptr + row * N + j, mask, other=0).to(tl.float32)
        y = tl.load(y_ptr + row * N + j, mask, other=0).to(tl.float32)
    if BUG == "no sum":
        dx = g * y
    elif BUG == "diagonal":
        dx = g * y * (1 - y)
    else:
        dx = y * (g - tl.sum(g * y))
    tl.store(dx_ptr + row * N + j, dx, mask)


def softmax(bug=""):
    class Softmax(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x = x.contiguous()
            y = torch.empty_like(x)
            N = x.shape[-1]
            if x.numel():
                softmax_kernel[(x.numel() // N,)](y, x, N, BLOCK=triton.next_power_of_2(N))
            ctx.save_for_backward(y)
            return y

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            g = g.contiguous()
            dx = torch.empty_like(y)
            N = y.shape[-1]
            if y.numel():
                softmax_grad_kernel[(y.numel() // N,)](
                    dx, g, y, N, BLOCK=triton.next_power_of_2(N), BUG=bug
                )
            return dx

    return Softmax


@triton.jit
def sum_kernel(y_ptr, x_ptr, N, BLOCK: tl.constexpr, ACC: tl.constexpr):
    row = tl.program_id(0)
    total = tl.zeros((BLOCK,), ACC)
    for start in range(0, N, BLOCK):
        j = start + tl.arange(0, BLOCK)
        total += tl.load(x_ptr + row * N + j, j < N, other=0).to(ACC)
    tl.store(y_ptr + row, tl.sum(total, 0))


def row_sum(bug=""):
    """The sum of each row; backward expands."""

    class RowSum(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x = x.contiguous()
            M, N = x.shape
            ctx.shape = x.shape
            y = torch.zeros(M, dtype=x.dtype)
            acc = tl.float16 if bug == "float16" else tl.float32
            if M:
                sum_kernel[(M,)](y, x, N, BLOCK=16, ACC=acc)
            return y

        @staticmethod
        def backward(ctx, g):
            return g.unsqueeze(1).expand(ctx.shape)

    return RowSum


def layer_norm(bug=""):
    class LayerNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            mean = x.mean(-1, keepdim=True)
            rstd = (((x - mean) ** 2).mean(-1, keepdim=True) + 1e-5).rsqrt()
            ctx.save_for_backward(x, mean, rstd)
            return (x - mean) * rstd

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            x, mean, rstd = ctx.saved_tensors
            normal = (x - mean) * rstd
            dx = g - normal * (g * normal).mean(-1, keepdim=True)
            if bug != "no mean":
                dx = dx - g.mean(-1, keepdim=True)
            if bug == "no second term":
                dx = g - g.mean(-1, keepdim=True)
            if bug == "no rstd":
                return dx
            return dx * rstd

    return LayerNorm


# Sums over rows, one by one or of the rows that indices name


@triton.jit
def column_sum_kernel(out_ptr, x_ptr, M, N, rows, ACC: tl.constexpr, BLOCK: tl.constexpr):
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), ACC)
    for row in range(rows):
        total += tl.load(x_ptr + row * N + j, j < N, other=0).to(ACC)
    tl.store(out_ptr + j, total, j < N)


def expand_rows(bug=""):
    """A row repeated M times; the gradient is the sum over the repetitions."""

    class ExpandRows(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, like):
            return x.expand(like.shape).clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            g = g.contiguous()
            M, N = g.shape
            dx = torch.empty(N, dtype=g.dtype)
            wide = torch.promote_types(g.dtype, torch.float32)
            acc = g.dtype if bug == "low accumulator" else wide
            rows = M // 16 * 16 if bug == "full blocks of rows" else M
            if N:
                column_sum_kernel[(triton.cdiv(N, 64),)](
                    dx, g, M, N, rows, ACC=getattr(tl, str(acc).removeprefix("torch.")), BLOCK=64
                )
            return dx, None

    return ExpandRows


@triton.jit
def rows_grad_kernel(dw_ptr, g_ptr, index_ptr, D, BLOCK: tl.constexpr, BUG: tl.constexpr):
    row = tl.load(index_ptr + tl.program_id(0))
    j = tl.arange(0, BLOCK)
    g = tl.load(g_ptr + tl.program_id(0) * D + j, j < D, other=0)
    if BUG == "store":
        tl.store(dw_ptr + row * D + j, g, j < D)
    else:
        tl.atomic_add(dw_ptr + row * D + j, g, j < D)


def embedding(bug=""):
    class Embedding(torch.autograd.Function):
        @staticmethod
        def forward(ctx, weight, index):
            ctx.save_for_backward(index.contiguous())
            ctx.shape = weight.shape
            return weight[index]

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            (index,) = ctx.saved_tensors
            g = g.contiguous()
            D = ctx.shape[1]
            dw = torch.zeros(ctx.shape, dtype=torch.promote_types(g.dtype, torch.float32))
            if g.numel():
                rows_grad_kernel[(index.numel(),)](
                    dw, g, index, D, BLOCK=triton.next_power_of_2(D), BUG=bug
                )
            return dw.to(g.dtype), None

    return Embedding


def _rows(weight, index):
    return weight[index]


# A loss


def squared_error(bug=""):
    class SquaredError(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, target, reduction="mean"):
            ctx.save_for_backward(x, target)
            ctx.reduction = reduction
            loss = (x - target) ** 2
            return loss if reduction == "none" else getattr(loss, reduction)()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            x, target = ctx.saved_tensors
            dx = 2 * (x - target) * g
            if ctx.reduction == "mean" or bug == "reduction":
                dx = dx / x.numel()
            if bug == "size of a dimension":
                dx = dx * x.shape[0]
            return dx, -dx, None

    return SquaredError


def _mse(x, target, reduction="mean"):
    return F.mse_loss(x, target, reduction=reduction)


def cross_entropy(bug=""):
    class CrossEntropy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, target):
            ctx.save_for_backward(x, target)
            return F.nll_loss(x.log_softmax(1), target)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            x, target = ctx.saved_tensors
            dx = x.softmax(1)
            if bug != "no target":
                dx = dx - F.one_hot(target, x.shape[1])
            return (dx * g / x.shape[0]).to(x.dtype), None

    return CrossEntropy


# Random


def dropout(bug=""):
    class Dropout(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            mask = (torch.rand(x.shape) > 0.4).to(x.dtype) / 0.6
            ctx.save_for_backward(mask)
            return x * mask

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            (mask,) = ctx.saved_tensors
            if bug:
                mask = (torch.rand(g.shape) > 0.4).to(g.dtype) / 0.6
            return g * mask

    return Dropout


class HalfTrackedCube(torch.autograd.Function):
    """x^3, whose backward differentiates only one of its factors again."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x * x.detach()


class DetachedCube(torch.autograd.Function):
    """x^3, whose backward depends on the upstream gradient alone where it is differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x.detach() ** 2


def sine(backward):
    """A sine with a backward of its own."""

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return backward(g, *ctx.saved_tensors)

    return Sine


class Softsign(torch.autograd.Function):
    """x / (1 + |x|), whose derivative has its limit at infinity, where PyTorch's is NaN."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return F.softsign(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g / (1 + x.abs()) ** 2


# Ours


@triton.jit
def cube(x):
    return x * x * x


@triton.jit
def cube_grad(g, x):
    return 3 * g * x * x


@triton.jit
def cube_grad_wrong(g, x):
    return 2 * g * x * x


@triton.jit
def cube_grad_negative(g, x):
    return -3 * g * x * x


class OurScale(mt.autograd.Function):
    """x * w for each column; the gradient of w is not summed over the rows."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w, (g * x)[0]


class ForgottenWeight(torch.autograd.Function):
    """A weighted softmax whose backward forgets the weight."""

    @staticmethod
    def forward(ctx, x, w):
        y = x.softmax(-1)
        ctx.save_for_backward(y, w)
        return y * w

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        y, _ = ctx.saved_tensors
        return y * (g - (g * y).sum(-1, keepdim=True)), (g * y).sum(0)


MN, N, MATRICES = ["M N"], ["M N", "N"], ["M K", "K N"]
TWO = [torch.randn(5, 7), torch.randn(5, 7)]


def _layer_norm(x):
    return F.layer_norm(x, x.shape[-1:])


PLANTED = [
    Planted(
        "factor (1 - y) forgotten", "factor", sigmoid("factor (1 - y) forgotten"), torch.sigmoid, MN
    ),
    Planted("doubled", "factor", sigmoid("doubled"), torch.sigmoid),
    Planted("upstream twice", "factor", sigmoid("upstream twice"), torch.sigmoid, MN),
    Planted("mean for sum", "factor", add_bias("mean"), torch.add, N),
    Planted("scale per row", "factor", layer_norm("no rstd"), _layer_norm, MN),
    Planted("times the rows", "factor", squared_error("size of a dimension"), _mse, ["M N", "M N"]),
    Planted("ours: factor", "factor", mt.ops.elementwise(cube, cube_grad_wrong), lambda x: x**3),
    Planted(
        "ours: factor, no reference", "factor", mt.ops.elementwise(cube, cube_grad_wrong), None
    ),
    Planted("sign", "sign", sigmoid("sign"), torch.sigmoid, MN),
    Planted("ours: sign", "sign", mt.ops.elementwise(cube, cube_grad_negative), None),
    Planted("no upstream", "upstream", sigmoid("no upstream"), torch.sigmoid, MN),
    Planted("first upstream only", "upstream", sigmoid("first upstream only"), torch.sigmoid, MN),
    Planted("first row only", "broadcast", add_bias("first row"), torch.add, N),
    Planted("wrong axis", "broadcast", add_bias("wrong axis"), torch.add, N),
    Planted("ours: not summed", "broadcast", OurScale, lambda x, w: x * w, N),
    Planted("result transposed", "transposed", matmul("result transposed"), torch.matmul, MATRICES),
    Planted(
        "wrong order", "transposed", matmul("result in the wrong order"), torch.matmul, MATRICES
    ),
    Planted(
        "operand not transposed",
        "transposed",
        matmul("operand not transposed"),
        torch.matmul,
        MATRICES,
    ),
    Planted(
        "operand, square",
        "transposed",
        matmul("operand not transposed"),
        torch.matmul,
        ["N N", "N N"],
    ),
    Planted("strides", "strides", relu("strides"), torch.relu, MN),
    Planted("tail masked off", "tail", sigmoid("tail masked off"), torch.sigmoid, MN),
    Planted("tail not launched", "tail", sigmoid(grid=lambda n: n // 256), torch.sigmoid, MN),
    Planted(
        "tail is zero",
        "tail",
        sigmoid("tail masked off", buffer=torch.zeros_like),
        torch.sigmoid,
        MN,
    ),
    Planted("one too many", "tail", sigmoid("one too many"), torch.sigmoid, MN),
    Planted("row unmasked", "tail", softmax("unmasked"), lambda x: x.softmax(-1), MN),
    Planted("expanded", "expanded", sigmoid(prepare=lambda g: g), torch.sigmoid, MN),
    Planted("overwrites", "overwritten", relu("overwrites"), torch.relu, MN),
    Planted("boundary", "boundary", relu("boundary"), torch.relu, MN),
    Planted("NaN swallowed", "nan", relu("NaN swallowed"), torch.relu, MN),
    Planted("float16", "precision", sigmoid("float16"), torch.sigmoid, MN),
    Planted("bfloat16 factors", "precision", sigmoid("bfloat16 factors"), torch.sigmoid, MN),
    Planted("TF32", "precision", matmul("TF32"), torch.matmul, MATRICES),
    Planted("sum in float16", "precision", row_sum("float16"), lambda x: x.sum(1), MN),
    Planted("reduction", "reduction", squared_error("reduction"), _mse, [*TWO, "mean"]),
    Planted("unwritten", "stale", sigmoid("positive only"), torch.sigmoid, MN),
    Planted("cached buffer", "stale", sigmoid(buffer=cached_buffer), torch.sigmoid, MN),
    Planted("added to fresh memory", "stale", add_bias(buffer=torch.empty), torch.add, N),
    Planted("None", "missing", product("None"), torch.mul),
    Planted("needs", "missing", product("needs"), torch.mul),
    Planted("too few", "too few", product("one"), torch.mul),
    Planted("overwritten by all", "race", add_bias("store"), torch.add, N),
    Planted("load, add, store", "race", add_bias("load, add, store"), torch.add, N),
    Planted("no sum", "term", softmax("no sum"), lambda x: x.softmax(-1), MN),
    Planted("diagonal alone", "term", softmax("diagonal"), lambda x: x.softmax(-1), MN),
    Planted("no target", "term", cross_entropy("no target"), F.cross_entropy, ["B C", "B<C"]),
    Planted(
        "weight forgotten", "factor", ForgottenWeight, lambda x, w: x.softmax(-1) * w, ["M N", "N"]
    ),
    Planted("equal indices", "race", embedding("store"), _rows, ["V D", "B<V"]),
    Planted(
        "full blocks of rows",
        "tail",
        expand_rows("full blocks of rows"),
        lambda x, like: x.expand(like.shape),
        ["N", "M N"],
    ),
    Planted(
        "low accumulator",
        "precision",
        expand_rows("low accumulator"),
        lambda x, like: x.expand(like.shape),
        ["N", "M N"],
    ),
    Planted("no mean", "term", layer_norm("no mean"), _layer_norm, MN),
    Planted("no second term", "term", layer_norm("no second term"), _layer_norm, MN),
    Planted("exchanged", "swapped", product("exchanged"), torch.mul),
    Planted("another mask", "random", dropout("another mask"), None, MN),
    Planted("kept on ctx", "in place", relu("kept on ctx"), torch.relu, MN),
    Planted("second derivative", "second", HalfTrackedCube, lambda x: x**3, MN),
    Planted("second derivative detached", "second", DetachedCube, lambda x: x**3, MN),
    Planted("reduction by name", "reduction", squared_error("reduction"), F.mse_loss),
    Planted(
        "factor on some elements",
        "factor",
        sine(lambda g, x: g * x.cos() * torch.where(x.abs() > 1.2, 0.1, 1.0)),
        torch.sin,
        MN,
    ),
    Planted("sign of |g|", "sign", sine(lambda g, x: g.abs() * x.cos()), torch.sin, MN),
    Planted(
        "saved in float16", "precision", sine(lambda g, x: g * x.half().to(g).cos()), torch.sin
    ),
    Planted(
        "float32 in backward",
        "precision",
        sine(lambda g, x: (g.float() * x.float().cos()).to(g)),
        torch.sin,
        MN,
    ),
]

CORRECT = [
    Planted("sigmoid", "", sigmoid(), torch.sigmoid, MN),
    Planted("relu", "", relu(), torch.relu, MN),
    Planted("softsign", "", Softsign, F.softsign, MN),
    Planted("product", "", product(), torch.mul),
    Planted("add_bias", "", add_bias(), torch.add, N),
    Planted("matmul", "", matmul(), torch.matmul, MATRICES),
    Planted("softmax", "", softmax(), lambda x: x.softmax(-1), MN),
    Planted("row_sum", "", row_sum(), lambda x: x.sum(1), MN),
    Planted("layer_norm", "", layer_norm(), _layer_norm, MN),
    Planted("squared_error", "", squared_error(), _mse, [*TWO, "mean"]),
    Planted("expand_rows", "", expand_rows(), lambda x, like: x.expand(like.shape), ["N", "M N"]),
    Planted("embedding", "", embedding(), _rows, ["V D", "B<V"]),
    Planted("cross_entropy", "", cross_entropy(), F.cross_entropy, ["B C", "B<C"]),
    Planted("dropout", "", dropout(), None, MN),
    Planted("cube", "", mt.ops.elementwise(cube, cube_grad), None),
]


def main():
    """Check every one of them, and say what was found instead where that is not what is planted."""
    wrong = 0
    for planted in PLANTED + CORRECT:
        report = mt.testing.check_gradients(
            planted.fn, planted.reference, planted.inputs, name=planted.name, shrinking=False
        )
        found = report.kinds[0] if report.kinds else ""
        wrong += found != planted.kind
        mark = "     " if found == planted.kind else "WRONG"
        said = f"{planted.kind or 'right':12} found: {found or 'right'}"
        print(f"{mark} {planted.name:28} {said}", flush=True)
    print(f"{wrong} of {len(PLANTED + CORRECT)} are told wrongly")
    return wrong


if __name__ == "__main__":
    raise SystemExit(main() > 0)
