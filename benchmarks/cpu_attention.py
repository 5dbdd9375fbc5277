"""Flash attention, forward and backward, as Triton kernels on the CPU against PyTorch eager.

    python benchmarks/cpu_attention.py

The kernels are those that a kernel author writes for a GPU (Dao et al., FlashAttention, 2022,
https://arxiv.org/abs/2205.14135); PyTorch's side is `scaled_dot_product_attention`. Both run on
one thread, in turns; what is printed is the median and the best CPU time in microseconds.
"""

from __future__ import annotations

import statistics
import time

import torch
import triton
import triton.language as tl

import minitorch_triton.cpu as triton_cpu

triton_cpu.enable()

HEADS, LENGTH, HEAD_DIM = 8, 512, 64
BLOCK_SIZE = 128


@triton.jit
def rows_of(ptr, head, start, N, D: tl.constexpr, BLOCK: tl.constexpr):
    """Pointers to BLOCK rows of one head of a contiguous (heads, N, D)."""
    rows = start + tl.arange(0, BLOCK)
    return ptr + (head * N + rows[:, None]) * D + tl.arange(0, D)[None, :]


@triton.jit
def attention_kernel(q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, scale, N,
                     D: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """out = softmax(q k^T scale) v for BLOCK queries; lse is the logarithm of the softmax's sum."""
    start, head = tl.program_id(0) * BLOCK, tl.program_id(1)
    q = tl.load(rows_of(q_ptr, head, start, N, D, BLOCK))
    largest = tl.full((BLOCK,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    out = tl.zeros((BLOCK, D), tl.float32)
    for other in range(0, N, BLOCK):
        k = tl.load(rows_of(k_ptr, head, other, N, D, BLOCK))
        scores = tl.dot(q, tl.trans(k)) * scale
        new_largest = tl.maximum(largest, tl.max(scores, 1))
        p = tl.exp(scores - new_largest[:, None])
        shrink = tl.exp(largest - new_largest)
        total = total * shrink + tl.sum(p, 1)
        out = out * shrink[:, None]
        out = tl.dot(p, tl.load(rows_of(v_ptr, head, other, N, D, BLOCK)), out)
        largest = new_largest
    tl.store(rows_of(out_ptr, head, start, N, D, BLOCK), out / total[:, None])
    tl.store(lse_ptr + head * N + start + tl.arange(0, BLOCK), largest + tl.log(total))


@triton.jit
def attention_dq_kernel(dq_ptr, delta_ptr, g_ptr, q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, scale, N,
                        D: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """The gradient of BLOCK queries; delta = sum(g * out) of each is kept for the other kernel."""
    start, head = tl.program_id(0) * BLOCK, tl.program_id(1)
    rows = head * N + start + tl.arange(0, BLOCK)
    q = tl.load(rows_of(q_ptr, head, start, N, D, BLOCK))
    g = tl.load(rows_of(g_ptr, head, start, N, D, BLOCK))
    delta = tl.sum(g * tl.load(rows_of(out_ptr, head, start, N, D, BLOCK)), 1)
    lse = tl.load(lse_ptr + rows)
    dq = tl.zeros((BLOCK, D), tl.float32)
    for other in range(0, N, BLOCK):
        k = tl.load(rows_of(k_ptr, head, other, N, D, BLOCK))
        v = tl.load(rows_of(v_ptr, head, other, N, D, BLOCK))
        p = tl.exp(tl.dot(q, tl.trans(k)) * scale - lse[:, None])
        ds = p * (tl.dot(g, tl.trans(v)) - delta[:, None]) * scale
        dq = tl.dot(ds, k, dq)
    tl.store(rows_of(dq_ptr, head, start, N, D, BLOCK), dq)
    tl.store(delta_ptr + rows, delta)


@triton.jit
def attention_dkv_kernel(dk_ptr, dv_ptr, delta_ptr, g_ptr, q_ptr, k_ptr, v_ptr, lse_ptr, scale, N,
                         D: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """The gradients of BLOCK keys and values."""
    start, head = tl.program_id(0) * BLOCK, tl.program_id(1)
    k = tl.load(rows_of(k_ptr, head, start, N, D, BLOCK))
    v = tl.load(rows_of(v_ptr, head, start, N, D, BLOCK))
    dk = tl.zeros((BLOCK, D), tl.float32)
    dv = tl.zeros((BLOCK, D), tl.float32)
    for other in range(0, N, BLOCK):
        rows = head * N + other + tl.arange(0, BLOCK)
        q = tl.load(rows_of(q_ptr, head, other, N, D, BLOCK))
        g = tl.load(rows_of(g_ptr, head, other, N, D, BLOCK))
        lse, delta = tl.load(lse_ptr + rows), tl.load(delta_ptr + rows)
        p = tl.exp(tl.dot(k, tl.trans(q)) * scale - lse[None, :])
        dv = tl.dot(p, g, dv)
        ds = p * (tl.dot(v, tl.trans(g)) - delta[None, :]) * scale
        dk = tl.dot(ds, q, dk)
    tl.store(rows_of(dk_ptr, head, start, N, D, BLOCK), dk)
    tl.store(rows_of(dv_ptr, head, start, N, D, BLOCK), dv)


def attention(q, k, v):
    """The output, and what the backward pass needs besides."""
    out, lse = torch.empty_like(q), torch.empty(q.shape[:2])
    grid = (q.shape[1] // BLOCK_SIZE, q.shape[0])
    attention_kernel[grid](
        q, k, v, out, lse, q.shape[2] ** -0.5, q.shape[1], D=q.shape[2], BLOCK=BLOCK_SIZE
    )
    return out, lse


def attention_backward(g, q, k, v, out, lse):
    """The gradients of q, k and v for the upstream gradient g."""
    dq, dk, dv = (torch.empty_like(x) for x in (q, k, v))
    delta = torch.empty_like(lse)
    grid, scale = (q.shape[1] // BLOCK_SIZE, q.shape[0]), q.shape[2] ** -0.5
    sizes = {"N": q.shape[1], "D": q.shape[2], "BLOCK": BLOCK_SIZE}
    attention_dq_kernel[grid](dq, delta, g, q, k, v, out, lse, scale, **sizes)
    attention_dkv_kernel[grid](dk, dv, delta, g, q, k, v, lse, scale, **sizes)
    return dq, dk, dv


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    q, k, v, g = (torch.randn(HEADS, LENGTH, HEAD_DIM) for _ in range(4))
    # Four dimensions, without which PyTorch would not take its own flash attention.
    leaves = [x[None].clone().requires_grad_() for x in (q, k, v)]
    eager = torch.nn.functional.scaled_dot_product_attention

    def ours():
        return attention_backward(g, q, k, v, *attention(q, k, v))

    def theirs():
        return torch.autograd.grad(eager(*leaves), leaves, g[None])

    for gradient, expected in zip(ours(), theirs(), strict=True):
        torch.testing.assert_close(gradient[None], expected, atol=1e-5, rtol=1e-4)
    sides = {
        "forward": (lambda: attention(q, k, v), lambda: eager(q[None], k[None], v[None])),
        "forward and backward": (ours, theirs),
    }
    print(f"attention, {HEADS} heads x {LENGTH} x {HEAD_DIM}, float32, 1 thread; median (best), µs")
    for name, functions in sides.items():
        times: list[list[float]] = [[], []]
        for _ in range(15):
            for function, column in zip(functions, times, strict=True):
                start = time.process_time()
                function()
                column.append(1e6 * (time.process_time() - start))
        (a, b), (best_a, best_b) = map(statistics.median, times), map(min, times)
        print(
            f"{name}: ours {a:.0f} ({best_a:.0f}), PyTorch {b:.0f} ({best_b:.0f}), "
            f"PyTorch / ours {b / a:.2f} ({best_b / best_a:.2f})"
        )


if __name__ == "__main__":
    main()
