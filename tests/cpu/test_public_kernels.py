"""The kernels with which people learn Triton, written as they are usually written.

They launch as on a GPU: through grid lambdas, the autotuner, warmup, occupancy arithmetic.
"""

import pytest
import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch._inductor import config as inductor
from torch._inductor.runtime.triton_heuristics import CachingAutotuner

import minitorch_triton.cpu as triton_cpu

# ---- Vector addition -----------------------------------------------------------------------------


@triton.jit
def add_kernel(x_ptr, y_ptr, output_ptr, n_elements, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(output_ptr + offsets, x + y, mask=mask)


@pytest.mark.parametrize("n", [1, 5, 1024, 98432])
def test_vector_addition(n):
    x, y, output = torch.rand(n), torch.rand(n), torch.full((n + 1,), 7.0)
    add_kernel[lambda meta: (triton.cdiv(n, meta["BLOCK_SIZE"]),)](x, y, output, n, BLOCK_SIZE=1024)
    assert torch.equal(output[:n], x + y)
    assert output[n] == 7.0


# ---- Softmax -------------------------------------------------------------------------------------


@triton.jit
def softmax_kernel(output_ptr, input_ptr, input_row_stride, output_row_stride, n_rows, n_cols,
                   BLOCK_SIZE: tl.constexpr, num_stages: tl.constexpr):  # fmt: skip
    for row in tl.range(tl.program_id(0), n_rows, tl.num_programs(0), num_stages=num_stages):
        columns = tl.arange(0, BLOCK_SIZE)
        mask = columns < n_cols
        pointers = input_ptr + row * input_row_stride + columns
        values = tl.load(pointers, mask=mask, other=-float("inf"))
        numerator = tl.exp(values - tl.max(values, axis=0))
        result = numerator / tl.sum(numerator, axis=0)
        tl.store(output_ptr + row * output_row_stride + columns, result, mask=mask)


def test_softmax_with_persistent_programs():
    x = torch.randn(183, 781)
    y = torch.empty_like(x)
    constants = {"BLOCK_SIZE": 1024, "num_stages": 2}
    arguments = (y, x, x.stride(0), y.stride(0), 183, 781)
    # The way to choose the number of programs that Triton's tutorial shows.
    properties = triton.runtime.driver.active.utils.get_device_properties(0)
    kernel = softmax_kernel.warmup(*arguments, **constants, num_warps=8, grid=(1,))
    kernel._init_handles()
    registers = kernel.n_regs * properties["warpSize"] * 8
    occupancy = min(
        properties["max_num_regs"] // registers,
        properties["max_shared_mem"] // kernel.metadata.shared,
    )
    programs = min(properties["multiprocessor_count"] * occupancy, 183)
    kernel[(programs, 1, 1)](*arguments, *constants.values())
    torch.testing.assert_close(y, torch.softmax(x, 1))
    y.zero_()
    softmax_kernel[(7,)](*arguments, BLOCK_SIZE=1024, num_stages=4)
    torch.testing.assert_close(y, torch.softmax(x, 1))


# ---- Matrix product ------------------------------------------------------------------------------


@triton.jit
def leaky_relu(x):
    return tl.where(x >= 0, x, 0.01 * x)


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_SIZE_M": 64, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 32,
                       "GROUP_SIZE_M": 8}, num_stages=3, num_warps=8),
        triton.Config({"BLOCK_SIZE_M": 32, "BLOCK_SIZE_N": 128, "BLOCK_SIZE_K": 16,
                       "GROUP_SIZE_M": 4}, num_stages=4, num_warps=4),
    ],
    key=["M", "N", "K"],
)  # fmt: skip
@triton.jit
def matmul_kernel(a_ptr, b_ptr, c_ptr, M, N, K, stride_am, stride_ak, stride_bk, stride_bn,
                  stride_cm, stride_cn, BLOCK_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr,
                  BLOCK_SIZE_K: tl.constexpr, GROUP_SIZE_M: tl.constexpr,
                  ACTIVATION: tl.constexpr):  # fmt: skip
    pid = tl.program_id(axis=0)
    num_pid_m = tl.cdiv(M, BLOCK_SIZE_M)
    num_pid_n = tl.cdiv(N, BLOCK_SIZE_N)
    num_pid_in_group = GROUP_SIZE_M * num_pid_n
    first_pid_m = (pid // num_pid_in_group) * GROUP_SIZE_M
    group_size_m = min(num_pid_m - first_pid_m, GROUP_SIZE_M)
    pid_m = first_pid_m + ((pid % num_pid_in_group) % group_size_m)
    pid_n = (pid % num_pid_in_group) // group_size_m
    tl.assume(pid_m >= 0)
    tl.assume(stride_am > 0)
    offs_am = (pid_m * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)) % M
    offs_bn = (pid_n * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)) % N
    offs_k = tl.arange(0, BLOCK_SIZE_K)
    a_ptrs = a_ptr + (offs_am[:, None] * stride_am + offs_k[None, :] * stride_ak)
    b_ptrs = b_ptr + (offs_k[:, None] * stride_bk + offs_bn[None, :] * stride_bn)
    accumulator = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), dtype=tl.float32)
    for k in range(tl.cdiv(K, BLOCK_SIZE_K)):
        a = tl.load(a_ptrs, mask=offs_k[None, :] < K - k * BLOCK_SIZE_K, other=0.0)
        b = tl.load(b_ptrs, mask=offs_k[:, None] < K - k * BLOCK_SIZE_K, other=0.0)
        accumulator = tl.dot(a, b, accumulator)
        a_ptrs += BLOCK_SIZE_K * stride_ak
        b_ptrs += BLOCK_SIZE_K * stride_bk
    if ACTIVATION == "leaky_relu":
        accumulator = leaky_relu(accumulator)
    c = accumulator.to(c_ptr.dtype.element_ty)
    offs_cm = pid_m * BLOCK_SIZE_M + tl.arange(0, BLOCK_SIZE_M)
    offs_cn = pid_n * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    c_ptrs = c_ptr + stride_cm * offs_cm[:, None] + stride_cn * offs_cn[None, :]
    tl.store(c_ptrs, c, mask=(offs_cm[:, None] < M) & (offs_cn[None, :] < N))


@pytest.mark.parametrize("activation", ["", "leaky_relu"])
@pytest.mark.parametrize("shape", [(128, 128, 128), (77, 130, 45)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_matrix_product(dtype, shape, activation):
    M, N, K = shape
    a, b = torch.randn(M, K).to(dtype), torch.randn(N, K).to(dtype).t()
    c = torch.empty(M, N, dtype=dtype)
    matmul_kernel[
        lambda meta: (triton.cdiv(M, meta["BLOCK_SIZE_M"]) * triton.cdiv(N, meta["BLOCK_SIZE_N"]),)
    ](a, b, c, M, N, K, *a.stride(), *b.stride(), *c.stride(), ACTIVATION=activation)
    expected = a.double() @ b.double()
    if activation:
        expected = F.leaky_relu(expected, 0.01)
    # The sum of K products, each rounded to float32, and the result rounded to dtype.
    bound = K * torch.finfo(torch.float32).eps * (a.double().abs() @ b.double().abs())
    bound += torch.finfo(dtype).eps * expected.abs()
    assert ((c.double() - expected).abs() <= bound).all()


# ---- Dropout -------------------------------------------------------------------------------------


@triton.jit
def seeded_dropout_kernel(x_ptr, output_ptr, n_elements, p, seed, BLOCK_SIZE: tl.constexpr):
    offsets = tl.program_id(axis=0) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    mask = offsets < n_elements
    x = tl.load(x_ptr + offsets, mask=mask)
    random = tl.rand(seed, offsets)
    tl.store(output_ptr + offsets, tl.where(random > p, x / (1 - p), 0.0), mask=mask)


def test_dropout_depends_on_the_seed_alone():
    n = 100_000
    x = torch.ones(n)

    def dropout(seed, block):
        output = torch.empty(n)
        seeded_dropout_kernel[(triton.cdiv(n, block),)](x, output, n, 0.5, seed, BLOCK_SIZE=block)
        return output

    first = dropout(123, 1024)
    assert torch.equal(first, dropout(123, 64))
    assert not torch.equal(first, dropout(512, 1024))
    assert set(first.tolist()) == {0.0, 2.0}
    # Five standard deviations of a fair coin thrown n times.
    assert abs(first.count_nonzero().item() - n / 2) < 5 * (n / 4) ** 0.5


# ---- Layer normalisation -------------------------------------------------------------------------


@triton.jit
def layer_norm_forward(X, Y, W, B, Mean, Rstd, stride, N, eps, BLOCK_SIZE: tl.constexpr):
    row = tl.program_id(0)
    Y += row * stride
    X += row * stride
    total = tl.zeros([BLOCK_SIZE], dtype=tl.float32)
    for start in range(0, N, BLOCK_SIZE):
        cols = start + tl.arange(0, BLOCK_SIZE)
        total += tl.load(X + cols, mask=cols < N, other=0.0).to(tl.float32)
    mean = tl.sum(total, axis=0) / N
    squares = tl.zeros([BLOCK_SIZE], dtype=tl.float32)
    for start in range(0, N, BLOCK_SIZE):
        cols = start + tl.arange(0, BLOCK_SIZE)
        x = tl.load(X + cols, mask=cols < N, other=0.0).to(tl.float32)
        x = tl.where(cols < N, x - mean, 0.0)
        squares += x * x
    rstd = 1 / tl.sqrt(tl.sum(squares, axis=0) / N + eps)
    tl.store(Mean + row, mean)
    tl.store(Rstd + row, rstd)
    for start in range(0, N, BLOCK_SIZE):
        cols = start + tl.arange(0, BLOCK_SIZE)
        mask = cols < N
        w = tl.load(W + cols, mask=mask)
        b = tl.load(B + cols, mask=mask)
        x = tl.load(X + cols, mask=mask, other=0.0).to(tl.float32)
        tl.store(Y + cols, (x - mean) * rstd * w + b, mask=mask)


@triton.jit
def layer_norm_backward_dx(DX, DY, DW, DB, X, W, Mean, Rstd, Lock, stride, N,
                           GROUP_SIZE_M: tl.constexpr, BLOCK_SIZE_N: tl.constexpr):  # fmt: skip
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK_SIZE_N)
    mask = cols < N
    X += row * stride
    DY += row * stride
    DX += row * stride
    lock_id = row % GROUP_SIZE_M
    Lock += lock_id
    Count = Lock + GROUP_SIZE_M
    DW = DW + lock_id * N + cols
    DB = DB + lock_id * N + cols
    x = tl.load(X + cols, mask=mask, other=0).to(tl.float32)
    dy = tl.load(DY + cols, mask=mask, other=0).to(tl.float32)
    w = tl.load(W + cols, mask=mask).to(tl.float32)
    mean = tl.load(Mean + row)
    rstd = tl.load(Rstd + row)
    xhat = tl.where(mask, (x - mean) * rstd, 0.0)
    wdy = tl.where(mask, w * dy, 0.0)
    c1 = tl.sum(xhat * wdy, axis=0) / N
    c2 = tl.sum(wdy, axis=0) / N
    tl.store(DX + cols, (wdy - (xhat * c1 + c2)) * rstd, mask=mask)
    partial_dw = (dy * xhat).to(w.dtype)
    partial_db = (dy).to(w.dtype)
    while tl.atomic_cas(Lock, 0, 1) == 1:
        pass
    if tl.load(Count) == 0:
        tl.atomic_xchg(Count, 1)
    else:
        partial_dw += tl.load(DW, mask=mask)
        partial_db += tl.load(DB, mask=mask)
    tl.store(DW, partial_dw, mask=mask)
    tl.store(DB, partial_db, mask=mask)
    tl.debug_barrier()
    tl.atomic_xchg(Lock, 0)


@triton.jit
def layer_norm_backward_dwdb(DW, DB, FINAL_DW, FINAL_DB, M, N, BLOCK_SIZE_M: tl.constexpr,
                             BLOCK_SIZE_N: tl.constexpr):  # fmt: skip
    cols = tl.program_id(0) * BLOCK_SIZE_N + tl.arange(0, BLOCK_SIZE_N)
    dw = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), dtype=tl.float32)
    db = tl.zeros((BLOCK_SIZE_M, BLOCK_SIZE_N), dtype=tl.float32)
    for start in range(0, M, BLOCK_SIZE_M):
        rows = start + tl.arange(0, BLOCK_SIZE_M)
        mask = (rows[:, None] < M) & (cols[None, :] < N)
        offsets = rows[:, None] * N + cols[None, :]
        dw += tl.load(DW + offsets, mask=mask, other=0.0)
        db += tl.load(DB + offsets, mask=mask, other=0.0)
    tl.store(FINAL_DW + cols, tl.sum(dw, axis=0), mask=cols < N)
    tl.store(FINAL_DB + cols, tl.sum(db, axis=0), mask=cols < N)


def test_layer_normalisation_forward_and_backward():
    M, N, groups = 151, 387, 32
    x = torch.randn(M, N, requires_grad=True)
    w, b = torch.rand(N, requires_grad=True), torch.rand(N, requires_grad=True)
    expected = F.layer_norm(x, (N,), w, b, 1e-5)
    dy = torch.randn(M, N)
    expected.backward(dy)
    X, W, B = x.detach(), w.detach(), b.detach()

    y, mean, rstd = torch.empty(M, N), torch.empty(M), torch.empty(M)
    layer_norm_forward[(M,)](X, y, W, B, mean, rstd, N, N, 1e-5, BLOCK_SIZE=256, num_warps=4)
    torch.testing.assert_close(y, expected.detach())

    locks = torch.zeros(2 * groups, dtype=torch.int32)
    dx, dw, db = torch.empty(M, N), torch.zeros(groups, N), torch.zeros(groups, N)
    layer_norm_backward_dx[(M,)](
        dx, dy, dw, db, X, W, mean, rstd, locks, N, N, GROUP_SIZE_M=groups, BLOCK_SIZE_N=512
    )
    torch.testing.assert_close(dx, x.grad, atol=1e-5, rtol=1e-5)
    final_dw, final_db = torch.empty(N), torch.empty(N)
    layer_norm_backward_dwdb[lambda meta: (triton.cdiv(N, meta["BLOCK_SIZE_N"]),)](
        dw, db, final_dw, final_db, groups, N, BLOCK_SIZE_M=32, BLOCK_SIZE_N=128
    )
    # Sums of M terms of order 1 in another order: a few eps times M.
    torch.testing.assert_close(final_dw, w.grad, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(final_db, b.grad, atol=2e-5, rtol=1e-5)


# ---- Attention -----------------------------------------------------------------------------------


@triton.jit
def attention_inner(acc, l_i, m_i, q, K, V, start_m, qk_scale, stride, BLOCK_M: tl.constexpr,
                    HEAD_DIM: tl.constexpr, BLOCK_N: tl.constexpr, STAGE: tl.constexpr,
                    offs_m: tl.constexpr, offs_n: tl.constexpr, N_CTX):  # fmt: skip
    if STAGE == 1:
        lo, hi = 0, start_m * BLOCK_M
    elif STAGE == 2:
        lo, hi = start_m * BLOCK_M, (start_m + 1) * BLOCK_M
        lo = tl.multiple_of(lo, BLOCK_M)
    else:
        lo, hi = 0, N_CTX
    offs_d = tl.arange(0, HEAD_DIM)
    for start_n in tl.range(lo, hi, BLOCK_N):
        start_n = tl.multiple_of(start_n, BLOCK_N)
        k = tl.load(K + offs_d[:, None] + (start_n + offs_n)[None, :] * stride)
        qk = tl.dot(q, k)
        if STAGE == 2:
            mask = offs_m[:, None] >= (start_n + offs_n[None, :])
            qk = qk * qk_scale + tl.where(mask, 0, -1.0e6)
            m_ij = tl.maximum(m_i, tl.max(qk, 1))
            qk -= m_ij[:, None]
        else:
            m_ij = tl.maximum(m_i, tl.max(qk, 1) * qk_scale)
            qk = qk * qk_scale - m_ij[:, None]
        p = tl.math.exp2(qk)
        alpha = tl.math.exp2(m_i - m_ij)
        l_ij = tl.sum(p, 1)
        acc = acc * alpha[:, None]
        v = tl.load(V + (start_n + offs_n)[:, None] * stride + offs_d[None, :])
        acc = tl.dot(p.to(v.dtype), v, acc)
        l_i = l_i * alpha + l_ij
        m_i = m_ij
    return acc, l_i, m_i


@triton.jit
def attention_kernel(Q, K, V, Out, M, sm_scale, stride_z, stride_h, stride_m, H, N_CTX,
                     HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
                     STAGE: tl.constexpr):  # fmt: skip
    start_m = tl.program_id(0)
    off_hz = tl.program_id(1)
    offset = (off_hz // H).to(tl.int64) * stride_z + (off_hz % H).to(tl.int64) * stride_h
    offs_m = start_m * BLOCK_M + tl.arange(0, BLOCK_M)
    offs_n = tl.arange(0, BLOCK_N)
    offs_d = tl.arange(0, HEAD_DIM)
    m_i = tl.zeros([BLOCK_M], dtype=tl.float32) - float("inf")
    l_i = tl.zeros([BLOCK_M], dtype=tl.float32)
    acc = tl.zeros([BLOCK_M, HEAD_DIM], dtype=tl.float32)
    qk_scale = sm_scale * 1.44269504
    rows = offset + offs_m[:, None] * stride_m + offs_d[None, :]
    q = tl.load(Q + rows)
    if STAGE & 1:
        acc, l_i, m_i = attention_inner(
            acc, l_i, m_i, q, K + offset, V + offset, start_m, qk_scale, stride_m, BLOCK_M,
            HEAD_DIM, BLOCK_N, 4 - STAGE, offs_m, offs_n, N_CTX)  # fmt: skip
    if STAGE & 2:
        acc, l_i, m_i = attention_inner(
            acc, l_i, m_i, q, K + offset, V + offset, start_m, qk_scale, stride_m, BLOCK_M,
            HEAD_DIM, BLOCK_N, 2, offs_m, offs_n, N_CTX)  # fmt: skip
    m_i += tl.math.log2(l_i)
    acc = acc / l_i[:, None]
    tl.store(M + off_hz * N_CTX + offs_m, m_i)
    tl.store(Out + rows, acc.to(Out.dtype.element_ty))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 4e-3)])
def test_attention(causal, dtype, tolerance):
    Z, H, N_CTX, D = 2, 2, 256, 64
    q, k, v = (torch.randn(Z, H, N_CTX, D).to(dtype) for _ in range(3))
    output, m = torch.empty_like(q), torch.empty(Z * H, N_CTX)
    attention_kernel[(N_CTX // 64, Z * H)](
        q, k, v, output, m, 0.125, q.stride(0), q.stride(1), q.stride(2), H, N_CTX,
        HEAD_DIM=D, BLOCK_M=64, BLOCK_N=32, STAGE=3 if causal else 1,
    )  # fmt: skip
    expected = F.scaled_dot_product_attention(
        q.double(), k.double(), v.double(), is_causal=causal, scale=0.125
    )
    torch.testing.assert_close(output.double(), expected, atol=tolerance, rtol=tolerance)


# ---- What torch.compile writes -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, while it traces
def test_kernels_that_torch_compile_writes(monkeypatch, tmp_path):
    """A reduction that stays in a block, one that loops, a scan, indices of the largest."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    def compute(x, y):
        return torch.softmax(x.sin() + y, 1), x.var(), x.cumsum(0), x.argmax(1)

    launched = set()
    run_kernel = CachingAutotuner.run

    def run(self, *args, **kwargs):
        launched.add(self.fn.__name__.split("_")[1])
        return run_kernel(self, *args, **kwargs)

    monkeypatch.setattr(CachingAutotuner, "run", run)
    x, y = torch.randn(33, 700), torch.randn(700)
    with inductor.patch(cpu_backend="triton", compile_threads=1):
        results = torch.compile(compute)(x, y)
    assert launched >= {"per", "red"}  # persistent and looping
    for result, expected in zip(results, compute(x, y), strict=True):
        torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-5)
    assert triton_cpu.is_enabled()
