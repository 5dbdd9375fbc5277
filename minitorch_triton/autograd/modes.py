"""Whether operations are recorded: ``no_grad``, ``enable_grad``, ``set_grad_enabled``."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _State(threading.local):
    grad_enabled = True
    dual_level: Any = None
    """The forward-mode level that is open in this thread."""
    saved_tensors_hooks: tuple[Callable, Callable] | None = None
    before_write: Callable | None = None
    """Called with a tensor that an in-place operation is about to write to."""
    hooks_disabled: str | None = None
    """Why ``saved_tensors_hooks`` must not be used, if so."""

    @contextmanager
    def without_hooks(self) -> Iterator[None]:
        """What a pack hook computes is neither recorded nor itself packed."""
        hooks, self.saved_tensors_hooks = self.saved_tensors_hooks, None
        recorded, self.grad_enabled = self.grad_enabled, False
        try:
            yield
        finally:
            self.saved_tensors_hooks = hooks
            self.grad_enabled = recorded


state = _State()


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded."""
    return state.grad_enabled


class _GradMode:
    """A context manager, and a decorator of functions and generators, that sets the grad mode."""

    def __init__(self, enabled: bool):
        self._enabled = enabled
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(state.grad_enabled)
        state.grad_enabled = self._enabled

    def __exit__(self, *exception: object) -> None:
        state.grad_enabled = self._previous.pop()

    def __call__(self, function: Callable) -> Callable:
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Any:
                iterator = function(*args, **kwargs)
                response = None
                while True:
                    with _GradMode(self._enabled):
                        try:
                            item = iterator.send(response)
                        except StopIteration as stop:
                            return stop.value
                    response = yield item

            return generator

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with _GradMode(self._enabled):
                return function(*args, **kwargs)

        return wrapper


class no_grad(_GradMode):
    """Operations inside are not recorded: ``with no_grad():`` or ``@no_grad``."""

    def __new__(cls, function: Callable | None = None) -> Any:
        mode = super().__new__(cls)
        if function is None:
            return mode
        mode.__init__()  # type: ignore[misc]
        return mode(function)

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_GradMode):
    """Operations inside are recorded, also within ``no_grad``."""

    def __new__(cls, function: Callable | None = None) -> Any:
        mode = super().__new__(cls)
        if function is None:
            return mode
        mode.__init__()  # type: ignore[misc]
        return mode(function)

    def __init__(self) -> None:
        super().__init__(True)


class set_grad_enabled(_GradMode):
    """Set the mode: at once when called, and until the end of the block as a context manager."""

    def __init__(self, mode: bool):
        super().__init__(mode)
        self._previous.append(state.grad_enabled)
        state.grad_enabled = mode

    def __enter__(self) -> None:
        pass

    def __call__(self, function: Callable) -> Callable:
        state.grad_enabled = self._previous.pop()
        return super().__call__(function)


class saved_tensors_hooks:
    """Tensors saved for backward inside go through ``pack``; backward gets them by ``unpack``."""

    def __init__(self, pack_hook: Callable, unpack_hook: Callable):
        for hook in (pack_hook, unpack_hook):
            if not callable(hook):
                raise TypeError(f"saved_tensors_hooks expects functions, got {hook!r}")
        self._hooks = (pack_hook, unpack_hook)

    def __enter__(self) -> None:
        if state.hooks_disabled is not None:
            raise RuntimeError(state.hooks_disabled)
        self._previous = state.saved_tensors_hooks
        state.saved_tensors_hooks = self._hooks

    def __exit__(self, *exception: object) -> None:
        state.saved_tensors_hooks = self._previous
