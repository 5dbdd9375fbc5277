"""PyTorch's name for what :mod:`modes` has, and for how views of something changed are made."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from minitorch_triton.autograd.modes import (
    enable_grad,
    inference_mode,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)


def is_view_replay_enabled() -> bool:
    """Whether a view whose base was changed in place is made again by the functions that made it.

    True: PyTorch can also take such a view by its strides alone (``AsStridedBackward0``), which
    minitorch_triton never does.
    """
    return True


def _force_original_view_tracking(mode: bool) -> AbstractContextManager[None]:
    """PyTorch's switch for :func:`is_view_replay_enabled`; there is nothing to switch here."""
    return nullcontext()


__all__ = [
    "enable_grad",
    "inference_mode",
    "is_view_replay_enabled",
    "no_grad",
    "set_grad_enabled",
    "set_multithreading_enabled",
]
