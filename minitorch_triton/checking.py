"""What checked mode of the CPU compiler has to know of this framework.

Kernels in checked mode look up which tensor an address belongs to (``cpu/storages.py``). Here they
learn of :class:`Storage`, and while checking is on every op allocates and launches anew: a plan
would start kernels that were compiled without checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from minitorch_triton.cpu import storages
from minitorch_triton.cpu.storages import Memory
from minitorch_triton.kernels import launch
from minitorch_triton.ops.dispatch import Planned
from minitorch_triton.storage import Storage
from minitorch_triton.tensor import Tensor


def memory_of(storage: Storage) -> Memory | None:
    """A storage's memory: its own if it came from the pool, else that of the torch tensor."""
    if storage.bin is None:
        return storages.memory_of_torch(storage.buffer)
    if storage.device.type != "cpu":
        return None
    return Memory(storage, storage.address, storage.buffer.numel(), lent=True)


def memory_allocated(storage: Storage, nbytes: int, device: torch.device) -> Memory | None:
    """The same for a new storage, as much of it as was asked for: the pool rounds up."""
    return Memory(storage, storage.address, nbytes, lent=True) if device.type == "cpu" else None


def made_known(init: Callable) -> Callable:
    """``Storage.__init__``, which takes memory that is somewhere else."""

    def init_and_note(self: Storage, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        storages.note([self])

    return init_and_note


storages.register_kind(Storage, memory_of)
storages.register_kind(Tensor, lambda tensor: memory_of(tensor.storage))
storages.replace_while_checking(Storage, "allocate", storages.allocates(memory_allocated))
storages.replace_while_checking(Storage, "__init__", made_known)
storages.replace_while_checking(Planned, "call", lambda call: Planned.run)

_prepared_with_checks: dict[tuple, Any] = {}
storages.replace_while_checking(launch, "_prepared", lambda prepared: _prepared_with_checks)
