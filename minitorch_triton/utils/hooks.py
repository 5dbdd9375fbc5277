"""Handles of hooks, and marks on them."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook out again.

    Also a context manager that removes the hook at its end. It does not keep the hooks alive.

    Args:
        hooks_dict: the hooks by id, an ``OrderedDict``.
        extra_dict: a dictionary, or several, that lose the same id.
    """

    _ids = itertools.count()

    def __init__(self, hooks_dict: MutableMapping, *, extra_dict: Any = None):
        self.id: int = next(self._ids)
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        extra = [extra_dict] if isinstance(extra_dict, dict) else extra_dict or []
        self.extra_dict_ref = tuple(weakref.ref(other) for other in extra)

    def remove(self) -> None:
        """Take the hook out; again is no error."""
        for reference in (self.hooks_dict_ref, *self.extra_dict_ref):
            hooks = reference()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self) -> tuple:
        return self.hooks_dict_ref(), self.id, tuple(ref() for ref in self.extra_dict_ref)

    def __setstate__(self, state: tuple) -> None:
        hooks, self.id, extra = state
        self.hooks_dict_ref = weakref.ref(OrderedDict() if hooks is None else hooks)
        self.extra_dict_ref = tuple(weakref.ref(other) for other in extra if other is not None)
        # Ids given out from here on must not be this one.
        RemovableHandle._ids = itertools.count(max(next(self._ids), self.id + 1))

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register(
    hooks: OrderedDict[int, Callable],
    hook: Callable,
    *,
    prepend: bool = False,
    marks: Sequence[OrderedDict] = (),
) -> RemovableHandle:
    """Add a hook to others.

    Args:
        hooks: where it goes.
        prepend: make it the first.
        marks: dictionaries that get the hook's id as a key, and lose it with the hook.
    """
    handle = RemovableHandle(hooks, extra_dict=list(marks))
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    for mark in marks:
        mark[handle.id] = True
    return handle


def unserializable_hook(hook: Callable) -> Callable:
    """Mark a hook as one that is knowingly left out when its tensor is saved."""
    hook.__torch_unserializable__ = True  # type: ignore[attr-defined]
    return hook
