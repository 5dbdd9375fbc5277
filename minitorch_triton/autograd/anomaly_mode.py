"""Anomaly mode: find the line of the forward pass whose backward failed or made a NaN.

While it is on, every node remembers the stack on which it was made, and the engine runs nodes
through :func:`run`.
"""

from __future__ import annotations

import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["detect_anomaly", "set_detect_anomaly"]

_PACKAGE = str(Path(__file__).parents[1])


class _Mode:
    """Whether the mode is on, in all threads, and whether it looks for NaN."""

    enabled = False
    check_nan = True


class _Running(threading.local):
    node: Any = None


mode = _Mode()
_running = _Running()


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return mode.enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode, if it is on, raises where a gradient is NaN."""
    return mode.check_nan


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Turn anomaly mode on or off."""
    mode.enabled, mode.check_nan = enabled, check_nan


class set_detect_anomaly:
    """Turn anomaly mode on or off: at once, and back at the end of the block if it is one.

    Args:
        mode: on or off.
        check_nan: raise where a gradient is NaN.
    """

    def __init__(self, mode: bool, check_nan: bool = True):
        self._previous = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        set_anomaly_enabled(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        set_anomaly_enabled(*self._previous)


class detect_anomaly:
    """The block in which anomaly mode is on; it is slow, and meant for debugging.

    An error in backward is preceded by a warning with the forward call that made the failing node,
    and a NaN in a gradient is an error.

    Args:
        check_nan: raise where a gradient is NaN.
    """

    def __init__(self, check_nan: bool = True):
        self._check_nan = check_nan
        self._previous = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        set_anomaly_enabled(True, self._check_nan)

    def __exit__(self, *exception: object) -> None:
        set_anomaly_enabled(*self._previous)


def remember(node: Any) -> None:
    """Note where in the user's program a node is made, and by which node's backward."""
    node.metadata["traceback_"] = _stack_outside_package()
    if _running.node is not None:
        node.metadata["parent_"] = _running.node


def run(node: Any, grads: list) -> Sequence:
    """``node.apply(grads)``, whose errors and NaN are explained.

    Raises:
        RuntimeError: a gradient is NaN.
    """
    outer, _running.node = _running.node, node
    try:
        results = node.apply(grads)
        if mode.check_nan:
            for number, grad in enumerate(results):
                if grad is not None and grad.detach().isnan().any().item():
                    raise RuntimeError(
                        f"Function '{node.name()}' returned nan values in its {number}th output."
                    )
    except Exception:
        _explain(node)
        raise
    finally:
        _running.node = outer
    return results


def _explain(node: Any) -> None:
    """Warn with the forward call that made a node, and those that led to its being made."""
    stack = node.metadata.get("traceback_")
    if stack is None:
        _warn(
            f"Error detected in {node.name()}. No forward pass information available. Enable "
            "detect anomaly during forward pass for more information."
        )
        return
    _warn(
        f"Error detected in {node.name()}. Traceback of forward call that caused the error:\n"
        + "".join(stack)
    )
    parent = node.metadata.get("parent_")
    while parent is not None:
        stack = parent.metadata.get("traceback_")
        if stack is None:
            _warn(
                f"\n\nPrevious calculation was induced by {parent.name()}. No forward pass "
                "information available. Enable detect anomaly during forward pass for more "
                "information."
            )
            return
        _warn(
            f"\n\nPrevious calculation was induced by {parent.name()}. Traceback of forward call "
            "that induced the previous calculation:\n" + "".join(stack)
        )
        parent = parent.metadata.get("parent_")


def _warn(text: str) -> None:
    """Warn; where warnings are errors, print, so that the error which is explained goes on."""
    try:
        warnings.warn(text, stacklevel=3)
    except Warning:
        print(text, file=sys.stderr)


def _stack_outside_package() -> list[str]:
    """The current stack, without the frames of this package at its end."""
    frames = traceback.walk_stack(None)
    frame: FrameType | None = next(
        (f for f, _ in frames if not f.f_code.co_filename.startswith(_PACKAGE)), None
    )
    return traceback.format_stack(frame)
