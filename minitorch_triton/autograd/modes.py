"""Whether operations are recorded: ``no_grad``, ``enable_grad``, ``inference_mode``."""

from __future__ import annotations

import functools
import inspect
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _State(threading.local):
    grad_enabled = True
    inference = False
    dual_level: Any = None
    """The forward-mode level that is open in this thread."""
    forward_grad_enabled = True
    stashed_level: Any = None
    """The level that waits while forward mode is disabled."""
    saved_tensors_hooks: tuple[tuple[Callable, Callable], ...] = ()
    """The pairs of hooks that are entered; the last one is in force."""
    multithreading = True
    before_write: Callable | None = None
    """Called with a tensor that an in-place operation is about to write to."""
    hooks_disabled: str | None = None
    """Why ``saved_tensors_hooks`` must not be used, if so."""

    @contextmanager
    def without_hooks(self) -> Iterator[None]:
        """What a pack hook computes is neither recorded nor itself packed."""
        hooks, self.saved_tensors_hooks = self.saved_tensors_hooks, ()
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


def is_inference_mode_enabled() -> bool:
    """Whether this thread is in :class:`inference_mode`."""
    return state.inference


class _GradMode:
    """A context manager, and a decorator of functions and generators, that sets the grad mode."""

    def __init__(self, enabled: bool):
        self._enabled = enabled
        self._previous: list[tuple[bool, bool]] = []

    def _set(self) -> None:
        state.grad_enabled = self._enabled and not state.inference

    def _clone(self) -> _GradMode:
        """A mode for one call of a decorated function, which may run in any thread."""
        return _GradMode(self._enabled)

    def __enter__(self) -> None:
        self._previous.append((state.grad_enabled, state.inference))
        self._set()

    def __exit__(self, *exception: object) -> None:
        state.grad_enabled, state.inference = self._previous.pop()

    def __call__(self, function: Callable) -> Callable:
        if inspect.isclass(function):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You "
                "should only decorate functions or methods.",
                FutureWarning,
                stacklevel=2,
            )
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Any:
                iterator = function(*args, **kwargs)
                resume: Callable = functools.partial(next, iterator)
                while True:
                    # The mode holds while the generator runs, not while it waits.
                    with self._clone():
                        try:
                            item = resume()
                        except StopIteration as stop:
                            return stop.value
                    try:
                        resume = functools.partial(iterator.send, (yield item))
                    except GeneratorExit:
                        with self._clone():
                            iterator.close()
                        raise
                    except BaseException as error:
                        resume = functools.partial(iterator.throw, error)

            return generator

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._clone():
                return function(*args, **kwargs)

        return wrapper


class _BareGradMode(_GradMode):
    """A mode without arguments, which also decorates a function without parentheses."""

    def __new__(cls, function: Callable | None = None) -> Any:
        mode = super().__new__(cls)
        if function is None:
            return mode
        mode.__init__()  # type: ignore[misc]
        return mode(function)


class no_grad(_BareGradMode):
    """Operations inside are not recorded: ``with no_grad():`` or ``@no_grad``."""

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_BareGradMode):
    """Operations inside are recorded, also within ``no_grad``, but not in ``inference_mode``."""

    def __init__(self) -> None:
        super().__init__(True)


class set_grad_enabled(_GradMode):
    """Set the mode: at once when called, and until the end of the block as a context manager."""

    def __init__(self, mode: bool):
        super().__init__(mode)
        super().__enter__()

    def __enter__(self) -> None:
        pass

    def __call__(self, function: Callable) -> Callable:
        self.__exit__()
        return super().__call__(function)


class inference_mode(_GradMode):
    """Like ``no_grad``, and what is made inside can never be part of a graph.

    Tensors made inside have no version counter. Outside they can be read, but neither be saved for
    backward nor be written to, nor require a gradient.

    Args:
        mode: False ends the mode for the block. The function itself where this decorates one
            without parentheses.
    """

    def __new__(cls, mode: Any = True) -> Any:
        if isinstance(mode, bool):
            return super().__new__(cls)
        return cls()(mode)

    def __init__(self, mode: bool = True):
        super().__init__(not mode)

    def _set(self) -> None:
        state.inference = not self._enabled
        state.grad_enabled = self._enabled

    def _clone(self) -> _GradMode:
        return inference_mode(not self._enabled)


def is_multithreading_enabled() -> bool:
    """What :class:`set_multithreading_enabled` was last set to in this thread."""
    return state.multithreading


class set_multithreading_enabled:
    """For compatibility: backward runs in the thread that calls it, whatever is set here.

    Set at once when called, and until the end of the block as a context manager.
    """

    def __init__(self, mode: bool):
        self._previous = state.multithreading
        state.multithreading = mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        state.multithreading = self._previous


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
        state.saved_tensors_hooks = (*state.saved_tensors_hooks, self._hooks)

    def __exit__(self, *exception: object) -> None:
        state.saved_tensors_hooks = state.saved_tensors_hooks[:-1]
