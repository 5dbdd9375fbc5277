"""Where tensors lie in memory: layouts with guards around them, and poison in fresh buffers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from minitorch_triton.storage import Storage

LAYOUTS = ("contiguous", "transposed", "sliced", "offset", "expanded", "constant")

GUARD = 1024
"""Elements of guard behind every tensor, and in front of those that start at an offset."""

_EMPTY = {
    "aten::empty.memory_format",
    "aten::empty_strided",
    "aten::empty_like",
    "aten::new_empty",
    "aten::new_empty_strided",
}


def values_for(x: torch.Tensor, layout: str) -> torch.Tensor:
    """The values that a layout can hold: expanded ones repeat their first row or element."""
    if layout == "constant" and x.numel():
        return x.reshape(-1)[:1].expand(x.numel()).reshape(x.shape).contiguous()
    if layout == "expanded" and x.ndim and x.numel():
        return x[:1].expand(x.shape).contiguous()
    return x


def place(x: torch.Tensor, layout: str, guard: float, behind: int = GUARD) -> torch.Tensor:
    """The same values in memory of a layout, with ``guard`` wherever no element lies.

    Args:
        behind: elements of guard after the last one.
        layout: "contiguous"; "transposed", dimensions stored in reverse order; "sliced", every
            second element of a larger tensor; "offset", dense but one element after an aligned
            address; "expanded", the first row with stride 0; "constant", one element with stride 0.
    """
    shape = list(x.shape)
    offset = 0
    strides = _dense(shape)
    if layout == "transposed":
        strides = list(reversed(_dense(list(reversed(shape)))))
    elif layout == "sliced":
        strides = [2 * stride for stride in strides]
        offset = GUARD + 1
    elif layout == "offset":
        offset = GUARD + 1
    elif layout == "expanded" and shape:
        strides = [0, *_dense(shape[1:])]
    elif layout == "constant":
        strides = [0] * len(shape)
    elif layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}, expected one of {', '.join(LAYOUTS)}")
    extent = 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True) if size)
    memory = x.new_full((offset + extent + behind,), _guard_of(x.dtype, guard))
    placed = memory.as_strided(shape, strides, offset)
    if 0 in strides:
        inner = [0 if stride == 0 else slice(None) for stride in strides]
        placed[tuple(inner)] = x[tuple(inner)] if x.numel() else placed[tuple(inner)]
    else:
        placed.copy_(x)
    return placed


def _dense(shape: list[int]) -> list[int]:
    return [math.prod(max(size, 1) for size in shape[d + 1 :]) for d in range(len(shape))]


def _guard_of(dtype: torch.dtype, guard: float) -> float:
    return guard if dtype.is_floating_point else 0


def memory_of(x: torch.Tensor) -> torch.Tensor:
    """All the memory that a placed tensor lies in, as bytes."""
    return torch.empty(0, dtype=torch.uint8, device=x.device).set_(x.untyped_storage())


class _Poison(TorchDispatchMode):
    """Fresh buffers of torch are full of poison, and followed by more of it."""

    def __init__(self, value: float, fresh: list[torch.Tensor]):
        super().__init__()
        self.value = value
        self.fresh = fresh

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip torch._dynamo would import it, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.name() not in _EMPTY or not result.dtype.is_floating_point:
            return result
        if result.layout != torch.strided:
            return result
        extent = sum(
            (size - 1) * step for size, step in zip(result.shape, result.stride(), strict=True)
        )
        memory = torch.full(
            (max(extent + 1, 1) + GUARD,), self.value, dtype=result.dtype, device=result.device
        )
        self.fresh.append(memory[max(extent + 1, 1) :])
        return memory.as_strided(result.shape, result.stride())


def _is_untouched(guard: torch.Tensor, value: float) -> bool:
    if guard.dtype == torch.uint8:
        return bool((guard == _byte(value)).all())
    return bool((guard.isnan() if math.isnan(value) else guard == value).all())


def _byte(value: float) -> int:
    return 0xFF if math.isnan(value) else 0


@contextlib.contextmanager
def poisoned(value: float, exact: bool = False) -> Iterator[Callable[[], bool]]:
    """Fresh buffers of both frameworks hold ``value`` inside, NaN or 0, and so does what follows.

    What a function reads without having written it shows then.

    Args:
        value: of floating-point buffers; others hold bytes of ones, or of zeros.
        exact: leave fresh buffers as they are: a checked mode watches them itself.

    Returns:
        A function that tells whether the memory that follows is still as it was.
    """
    if exact:
        yield lambda: True
        return
    original = Storage.__dict__["take"]
    take = Storage.take
    fresh: list[torch.Tensor] = []

    def poisoned_take(free: Any) -> Storage:
        storage = take(free)
        storage.buffer = torch.full(
            (free.size + 8 * GUARD,), _byte(value), dtype=torch.uint8, device=free.device
        )
        fresh.append(storage.buffer[free.size :])
        storage.address = storage.buffer.data_ptr()
        return storage

    Storage.take = staticmethod(poisoned_take)  # type: ignore[method-assign]
    try:
        with _Poison(value, fresh):
            yield lambda: all(_is_untouched(guard, value) for guard in fresh)
    finally:
        Storage.take = original  # type: ignore[method-assign]
