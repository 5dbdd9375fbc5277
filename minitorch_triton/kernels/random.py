"""Random numbers: Philox 4x32-10, a counter-based generator, drawn wherever they are needed.

Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011
(https://doi.org/10.1145/2063384.2063405). A generator is a buffer ``state`` of two int64 on the
device: seed and offset. Element i of a draw uses the counter ``offset + i`` alone, whatever the
block size, so the same seed gives the same integers and uniforms on every device; afterwards the
offset moves on by the number of elements.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from minitorch_triton.kernels.launch import is_cpu, jit, launch
from minitorch_triton.kernels.layout import compute_type


@triton.jit
def draw(state_ptr, i):
    """Four independent uint32 for each element number i."""
    seed = tl.load(state_ptr)
    counter = tl.load(state_ptr + 1) + i
    low = counter.to(tl.uint32)
    high = (counter >> 32).to(tl.uint32)
    zero = low * 0
    return tl.philox(seed, low, high, zero, zero)


@triton.jit
def wide(high, low):
    """Two uint32 as one uint64."""
    return (high.to(tl.uint64) << 32) | low.to(tl.uint64)


@triton.jit
def to_uniform(a, b, BITS: tl.constexpr):
    """Random bits as a number in [0, 1): as many as the result's type holds exactly, so that 1
    never comes out by rounding."""
    if BITS > 32:
        u = (wide(a, b) >> (64 - BITS)).to(tl.float64) * (1.0 / (1 << BITS))
    else:
        u = (a >> (32 - BITS)).to(tl.float32) * (1.0 / (1 << BITS))
    return u


@triton.jit
def to_normal(a, b, c, d, DOUBLE: tl.constexpr):
    """A standard normal number: Box and Muller, 1958 (https://doi.org/10.1214/aoms/1177706645)."""
    if DOUBLE:
        u = 1 - to_uniform(a, b, 53)
        turn = to_uniform(c, d, 53)
    else:
        u = (a.to(tl.float32) + 1) * (1.0 / (1 << 32))
        turn = to_uniform(c, d, 24)
    return tl.sqrt(-2 * tl.log(u)) * tl.cos(turn * 6.283185307179586)


@jit
def advance_kernel(state_ptr, n):
    """Move a generator past n elements."""
    tl.store(state_ptr + 1, tl.load(state_ptr + 1) + n)


@jit
def uniform_kernel(
    y_ptr,  # (n,)
    state_ptr,  # (2,)
    n,
    low: tl.float64,
    high: tl.float64,
    BITS: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    a, b, _, _ = draw(state_ptr, i)
    u = to_uniform(a, b, BITS)
    low = tl.full((), low, u.dtype)
    high = tl.full((), high, u.dtype)
    tl.store(y_ptr + i, low + (high - low) * u, mask=i < n)


@jit
def normal_kernel(
    y_ptr,  # (n,)
    state_ptr,  # (2,)
    n,
    mean: tl.float64,
    std: tl.float64,
    DOUBLE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    a, b, c, d = draw(state_ptr, i)
    z = to_normal(a, b, c, d, DOUBLE)
    tl.store(y_ptr + i, tl.full((), mean, z.dtype) + tl.full((), std, z.dtype) * z, mask=i < n)


@jit
def integers_kernel(
    y_ptr,  # (n,)
    state_ptr,  # (2,)
    n,
    low,
    high,
    BLOCK_SIZE: tl.constexpr,
):
    """64 random bits modulo the range: its bias is below range / 2**64."""
    i = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    a, b, _, _ = draw(state_ptr, i)
    span = tl.full((), high - low, tl.int64).to(tl.uint64)
    tl.store(y_ptr + i, low + (wide(a, b) % span).to(tl.int64), mask=i < n)


@jit
def bernoulli_kernel(
    y_ptr,  # (n,)
    p_ptr,  # (n,)
    state_ptr,  # (2,)
    n,
    BLOCK_SIZE: tl.constexpr,
):
    """1 with probability p, otherwise 0; exact for p = 0 and p = 1."""
    i = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    a, b, _, _ = draw(state_ptr, i)
    p = tl.load(p_ptr + i, mask=i < n, other=0)
    tl.store(y_ptr + i, (to_uniform(a, b, 24) < p).to(tl.int32), mask=i < n)


@jit
def dropout_kernel(
    y_ptr,  # (n,)
    mask_ptr,  # (n,)
    x_ptr,  # (n,)
    state_ptr,  # (2,)
    n,
    p: tl.float64,
    scale: tl.float64,
    COMPUTE_TYPE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    a, b, _, _ = draw(state_ptr, i)
    kept = to_uniform(a, b, 24) >= tl.full((), p, tl.float32)
    x = tl.load(x_ptr + i, mask=i < n, other=0).to(COMPUTE_TYPE)
    tl.store(y_ptr + i, tl.where(kept, x * tl.full((), scale, COMPUTE_TYPE), 0), mask=i < n)
    tl.store(mask_ptr + i, kept, mask=i < n)


@triton.jit
def dropout_grad(g, mask, scale):
    """The elementwise gradient of dropout."""
    return tl.where(mask != 0, g * scale, 0.0)


@jit
def sort_keys_kernel(
    keys_ptr,  # (padded,)
    state_ptr,  # (2,)
    n,
    padded,
    index_bits,
    BLOCK_SIZE: tl.constexpr,
):
    """Random bits above, the element's number below; padding sorts behind everything."""
    i = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    a, b, _, _ = draw(state_ptr, i)
    bits = (wide(a, b) >> 1).to(tl.int64)
    key = ((bits >> index_bits) << index_bits) | i
    tl.store(keys_ptr + i, tl.where(i < n, key, 0x7FFFFFFFFFFFFFFF), mask=i < padded)


@jit
def compare_exchange_kernel(
    keys_ptr,  # (2 * pairs,)
    pairs,
    run_bits,
    distance_bits,
    BLOCK_SIZE: tl.constexpr,
):
    """One stage of Batcher's bitonic sorting network (1968): order pairs that lie
    2**distance_bits apart, upwards and downwards in turn in runs of 2**run_bits elements."""
    i = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    one = tl.full((), 1, tl.int64)
    distance = one << distance_bits
    first = ((i >> distance_bits) << (distance_bits + 1)) + (i & (distance - 1))
    a = tl.load(keys_ptr + first, mask=i < pairs, other=0)
    b = tl.load(keys_ptr + first + distance, mask=i < pairs, other=0)
    upwards = ((first >> run_bits) & 1) == 0
    smaller = tl.minimum(a, b)
    larger = tl.maximum(a, b)
    tl.store(keys_ptr + first, tl.where(upwards, smaller, larger), mask=i < pairs)
    tl.store(keys_ptr + first + distance, tl.where(upwards, larger, smaller), mask=i < pairs)


@jit
def key_numbers_kernel(
    y_ptr,  # (n,)
    keys_ptr,  # (padded,)
    n,
    index_bits,
    BLOCK_SIZE: tl.constexpr,
):
    i = tl.program_id(0).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    key = tl.load(keys_ptr + i, mask=i < n, other=0)
    one = tl.full((), 1, tl.int64)
    tl.store(y_ptr + i, key & ((one << index_bits) - 1), mask=i < n)


def _blocks(buffer: Any, n: int) -> tuple[tuple[int], int]:
    block = 4096 if is_cpu(buffer) else 1024
    return (triton.cdiv(n, block),), block


def _count(buffer: Any) -> int:
    n = 1
    for size in buffer.shape:
        n *= size
    return n


MANTISSA_BITS = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}


def uniform(y: Any, state: Any, low: float = 0.0, high: float = 1.0) -> None:
    """Fill ``y`` (floating-point, contiguous) from the uniform distribution on [low, high)."""
    n = _count(y)
    grid, block = _blocks(y, n)
    launch(
        uniform_kernel, grid, y, state, n, low, high, BITS=MANTISSA_BITS[y.dtype], BLOCK_SIZE=block
    )
    launch(advance_kernel, (1,), state, n)


def normal(y: Any, state: Any, mean: float = 0.0, std: float = 1.0) -> None:
    """Fill ``y`` (floating-point, contiguous) from the normal distribution."""
    n = _count(y)
    grid, block = _blocks(y, n)
    launch(
        normal_kernel,
        grid,
        y,
        state,
        n,
        mean,
        std,
        DOUBLE=y.dtype == torch.float64,
        BLOCK_SIZE=block,
    )
    launch(advance_kernel, (1,), state, n)


def integers(y: Any, state: Any, low: int, high: int) -> None:
    """Fill ``y`` (any dtype, contiguous) with integers of [low, high)."""
    n = _count(y)
    grid, block = _blocks(y, n)
    launch(integers_kernel, grid, y, state, n, low, high, BLOCK_SIZE=block)
    launch(advance_kernel, (1,), state, n)


def bernoulli(y: Any, p: Any, state: Any) -> None:
    """Fill ``y`` (any dtype, contiguous) with 1 where a uniform number is below ``p``, else 0.

    Args:
        p: probabilities, of ``y``'s shape, contiguous.
    """
    n = _count(y)
    grid, block = _blocks(y, n)
    launch(bernoulli_kernel, grid, y, p, state, n, BLOCK_SIZE=block)
    launch(advance_kernel, (1,), state, n)


def dropout_scale(p: float) -> float:
    """What the kept elements are multiplied by."""
    return 1 / (1 - p) if p < 1 else 0.0


def dropout(y: Any, mask: Any, x: Any, state: Any, p: float) -> None:
    """Zero elements of ``x`` with probability ``p`` and multiply the others by 1 / (1 - p).

    Srivastava et al., 2014 (https://jmlr.org/papers/v15/srivastava14a.html). Exact for p = 0
    (everything is kept as it is) and p = 1 (everything is 0).

    Args:
        y: of ``x``'s shape and strides, written.
        mask: bool, likewise: what was kept.
        x: dense: its elements fill their memory without gaps.
    """
    n = _count(y)
    grid, block = _blocks(y, n)
    launch(
        dropout_kernel,
        grid,
        y,
        mask,
        x,
        state,
        n,
        p,
        dropout_scale(p),
        COMPUTE_TYPE=compute_type(x.dtype),
        BLOCK_SIZE=block,
    )
    launch(advance_kernel, (1,), state, n)


def permutation_keys(n: int) -> int:
    """How many int64 of scratch :func:`permutation` needs."""
    return triton.next_power_of_2(max(n, 1))


def permutation(y: Any, keys: Any, state: Any) -> None:
    """Fill ``y`` (integers, contiguous) with a random permutation of 0 ... n - 1.

    Every element gets a random key, and the keys are sorted; equal keys (63 bits less those that
    number the elements) keep their order.

    Args:
        keys: (:func:`permutation_keys` of n,) int64, scratch.
    """
    n = _count(y)
    padded = permutation_keys(n)
    index_bits = padded.bit_length() - 1
    grid, block = _blocks(y, padded)
    launch(sort_keys_kernel, grid, keys, state, n, padded, index_bits, BLOCK_SIZE=block)
    pairs = padded // 2
    pair_grid, _ = _blocks(y, pairs)
    for run_bits in range(1, index_bits + 1):
        for distance_bits in range(run_bits - 1, -1, -1):
            launch(
                compare_exchange_kernel,
                pair_grid,
                keys,
                pairs,
                run_bits,
                distance_bits,
                BLOCK_SIZE=block,
            )
    launch(key_numbers_kernel, _blocks(y, n)[0], y, keys, n, index_bits, BLOCK_SIZE=block)
    launch(advance_kernel, (1,), state, n)
