"""How a kernel reports a bad value: a small buffer on the device, read by the host on a CPU."""

from __future__ import annotations

from typing import Any

import torch

from minitorch_triton.ops import dispatch


class Status:
    """Two int64 on a device: a bad value, and what is wrong with it (0: nothing is).

    A kernel that meets a value out of range reads no memory there and stores the value. On a CPU
    the launch has ended when the op looks. A GPU's op does not look, because it would have to wait
    for the device.
    """

    def __init__(self, device: torch.device):
        self._memory = torch.zeros(2, dtype=torch.int64, device=device)
        self.buffer = dispatch.Tensor.from_torch_memory(self._memory)
        on_cpu = device.type == "cpu"
        self._numbers: Any = memoryview(self._memory.numpy()) if on_cpu else None  # type: ignore[arg-type]

    def take(self) -> tuple[int, int] | None:
        """What was reported since the last time: the value and its code; None on a GPU."""
        if self._numbers is None or self._numbers[1] == 0:
            return None
        value, code = self._numbers[0], self._numbers[1]
        self._numbers[0] = self._numbers[1] = 0
        return value, code

    def check(self, exception: type[Exception], message: str, **details: Any) -> None:
        """Raise if something was reported; ``{value}`` in the message becomes the value."""
        reported = self.take()
        if reported is not None:
            raise exception(message.format(value=reported[0], **details))


_statuses: dict[torch.device, Status] = {}


def status_of(device: torch.device) -> Status:
    """The status buffer of a device."""
    status = _statuses.get(device)
    if status is None:
        status = _statuses[device] = Status(device)
    return status
