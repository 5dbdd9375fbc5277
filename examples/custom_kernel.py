"""Bring your own Triton kernels: into the graph, into a model, and into PyTorch's graph."""

import statistics
import time

import torch
import triton
import triton.language as tl
from options import example_parser

import minitorch_triton as mt
from minitorch_triton import nn, optim

# 1. An activation: one function and its derivative, elementwise, with a run-time parameter.


@triton.jit
def softplus(x, beta):
    z = beta * x
    return (tl.maximum(z, 0) + tl.log(1 + tl.exp(-tl.abs(z)))) / beta


@triton.jit
def softplus_grad(g, x, beta):  # g is the upstream gradient; x and beta are kept for this
    return g / (1 + tl.exp(-beta * x))


softplus_op = mt.ops.elementwise(softplus, softplus_grad)


class Softplus(nn.Module):
    def __init__(self, beta):
        super().__init__()
        self.beta = beta

    def forward(self, x):
        return softplus_op(x, self.beta)


# 2. A fused operation: the residual sum of a transformer, normalised by its root mean square.
#    y = h * rstd * weight, h = x + residual, rstd = 1 / sqrt(mean(h**2) + eps)
#    B. Zhang, R. Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019.


@triton.jit
def add_rms_norm_kernel(
    y_ptr, h_ptr, rstd_ptr, x_ptr, residual_ptr, weight_ptr, N, eps, BLOCK_SIZE_N: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK_SIZE_N)
    mask = columns < N
    x = tl.load(x_ptr + row * N + columns, mask, other=0)
    h = x + tl.load(residual_ptr + row * N + columns, mask, other=0)
    rstd = tl.rsqrt(tl.sum(h * h) / N + eps)
    weight = tl.load(weight_ptr + columns, mask, other=0)
    tl.store(y_ptr + row * N + columns, h * rstd * weight, mask)
    tl.store(h_ptr + row * N + columns, h, mask)
    tl.store(rstd_ptr + row, rstd)


@triton.jit
def add_rms_norm_grad_kernel(
    dh_ptr, dw_ptr, gy_ptr, gh_ptr, h_ptr, rstd_ptr, weight_ptr, N, BLOCK_SIZE_N: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK_SIZE_N)
    mask = columns < N
    gy = tl.load(gy_ptr + row * N + columns, mask, other=0)
    h = tl.load(h_ptr + row * N + columns, mask, other=0)
    rstd = tl.load(rstd_ptr + row)
    g = gy * tl.load(weight_ptr + columns, mask, other=0)
    dh = rstd * (g - h * (tl.sum(g * h) / N * rstd * rstd))
    dh += tl.load(gh_ptr + row * N + columns, mask, other=0)
    tl.store(dh_ptr + row * N + columns, dh, mask)
    tl.store(dw_ptr + row * N + columns, gy * h * rstd, mask)  # to be summed over rows


def add_rms_norm_forward(x, residual, weight, eps=1e-6):
    x, residual, weight = x.contiguous(), residual.contiguous(), weight.contiguous()
    n = x.shape[-1]
    y, h, rstd = mt.empty_like(x), mt.empty_like(x), mt.empty(x.shape[:-1], device=x.device)
    add_rms_norm_kernel[(rstd.numel(),)](
        y, h, rstd, x, residual, weight, n, eps, BLOCK_SIZE_N=triton.next_power_of_2(n)
    )
    return y, h, rstd


def add_rms_norm_backward(needs, g_y, g_h, h, rstd, weight):
    g_y = mt.zeros_like(h) if g_y is None else g_y.contiguous()
    g_h = mt.zeros_like(h) if g_h is None else g_h.contiguous()
    n = h.shape[-1]
    dh, dw = mt.empty_like(h), mt.empty_like(h)
    add_rms_norm_grad_kernel[(rstd.numel(),)](
        dh, dw, g_y, g_h, h, rstd, weight, n, BLOCK_SIZE_N=triton.next_power_of_2(n)
    )
    return dh, dh, dw.reshape(-1, n).sum(dim=0)


def add_rms_norm_decompose(x, residual, weight, eps=1e-6):
    h = x + residual
    rstd = ((h * h).mean(dim=-1) + eps).rsqrt()
    return h * rstd.unsqueeze(-1) * weight, h, rstd.detach()


add_rms_norm = mt.ops.structured(
    add_rms_norm_forward,
    add_rms_norm_backward,
    decompose=add_rms_norm_decompose,
    outputs=("y", "h", "rstd"),
    non_differentiable=("rstd",),
)


# 3. The same as an autograd.Function, as one would write it for PyTorch.


class AddRMSNorm(mt.autograd.Function):
    @staticmethod
    def forward(ctx, x, residual, weight):
        y, h, rstd = add_rms_norm_forward(x, residual, weight)
        ctx.save_for_backward(h, rstd, weight)
        ctx.mark_non_differentiable(rstd)
        return y, h, rstd

    @staticmethod
    def backward(ctx, g_y, g_h, _):
        return add_rms_norm_backward(ctx.needs_input_grad, g_y, g_h, *ctx.saved_tensors)


def check(name, op, reference, *inputs):
    """Compare outputs and gradients with PyTorch's, for one random upstream gradient."""
    ours = [x.clone().requires_grad_() for x in inputs]
    theirs = [x.torch().clone().requires_grad_() for x in inputs]
    pairs = []
    for found, expected in zip(as_tuple(op(*ours)), as_tuple(reference(*theirs)), strict=True):
        pairs.append((found.detach().torch(), expected.detach()))
        if found.requires_grad:
            g = mt.randn_like(found)
            found.backward(g, retain_graph=True)
            expected.backward(g.torch(), retain_graph=True)
    pairs += [(x.grad.torch(), reference.grad) for x, reference in zip(ours, theirs, strict=True)]
    worst = max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)
    print(f"  {name:32} largest relative difference to torch.autograd: {worst:.0e}")
    assert worst < inputs[0].shape[-1] * 2**-23  # a sum of n terms is rounded n times


def as_tuple(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


def benchmark(name, op, *inputs):
    """Print the median time of forward and backward."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    times = []
    for _ in range(30):
        start = time.perf_counter()
        y, h, _ = op(*inputs)
        (y + h).backward(y.detach())
        if y.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    print(f"  {name:32} {1e6 * statistics.median(times):8.0f} microseconds")


def train(model, x, y, steps):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loss_fn = nn.MSELoss()
    for step in range(steps):
        loss = loss_fn(model(x), y)
        if step in (0, steps - 1):
            print(f"  loss after {step:3} steps: {loss.item():.4f}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main():
    args = example_parser(__doc__).parse_args()
    mt.manual_seed(args.seed)
    rows, columns = (8, 40) if args.dry_run else (256, 1000)
    x, residual = (mt.randn(rows, columns, device=args.device) for _ in range(2))
    weight = mt.rand(columns, device=args.device)

    print("Checked:")
    check(
        "softplus, beta = 2",
        lambda x: softplus_op(x, 2.0),
        lambda x: torch.nn.functional.softplus(x, 2.0),
        x,
    )
    check("add_rms_norm", add_rms_norm, add_rms_norm_decompose, x, residual, weight)
    check("AddRMSNorm.apply", AddRMSNorm.apply, add_rms_norm_decompose, x, residual, weight)

    print(f"Timed, forward and backward of {rows} x {columns}:")
    benchmark("our operations, one by one", add_rms_norm_decompose, x, residual, weight)
    benchmark("one kernel each way", add_rms_norm, x, residual, weight)
    torch_inputs = [tensor.torch() for tensor in (x, residual, weight)]
    benchmark("PyTorch, one by one", add_rms_norm_decompose, *torch_inputs)

    print("In a model:")
    model = nn.Sequential(nn.Linear(columns, 32), Softplus(beta=2.0), nn.Linear(32, 1))
    train(model.to(args.device), x, x.sum(dim=1, keepdim=True) / columns**0.5, steps=20)

    print("In PyTorch's own graph:")
    t = residual.torch().clone().requires_grad_()
    y, _, _ = add_rms_norm.as_torch()(t, t.detach(), weight.torch())
    y.sum().backward()
    print(f"  {type(y.grad_fn).__name__}, gradient of shape {tuple(t.grad.shape)}")


if __name__ == "__main__":
    main()
