"""In-place writes to tensors that backward needs: they are copied just before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from minitorch_triton.autograd.modes import saved_tensors_hooks, state

_OUTSIDE = (
    "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in which the "
    "graph was originally recorded."
)


class _Handle:
    """What nodes hold for a saved tensor; gone when none needs it any more."""

    __slots__ = ("__weakref__",)


class AllowMutationContext:
    """The saved tensors: as they are, or the copies of those that were overwritten.

    Attributes:
        original: saved tensors whose memory nobody has written to since.
        cloned: copies of the others.
        tid_to_weakhandle: one handle per tensor and version, however often it is saved.
    """

    def __init__(self) -> None:
        self.original: WeakKeyDictionary[_Handle, Any] = WeakKeyDictionary()
        self.cloned: WeakKeyDictionary[_Handle, Any] = WeakKeyDictionary()
        self.tid_to_weakhandle: WeakValueDictionary[tuple, _Handle] = WeakValueDictionary()
        self._by_storage: WeakKeyDictionary[Any, WeakSet[_Handle]] = WeakKeyDictionary()

    def pack(self, tensor: Any) -> _Handle:
        key = (id(tensor.storage), tensor.layout, tensor.offset, tensor._version)
        handle = self.tid_to_weakhandle.get(key)
        if handle is None:
            handle = self.tid_to_weakhandle[key] = _Handle()
            self.original[handle] = tensor
            self._by_storage.setdefault(tensor.storage, WeakSet()).add(handle)
        return handle

    def unpack(self, handle: _Handle) -> Any:
        found = self.cloned.get(handle)
        if found is None:
            found = self.original.get(handle)
        if found is None:
            raise AssertionError(_OUTSIDE)
        return found

    def before_write(self, tensor: Any) -> None:
        """Copy what is saved of the memory that is about to be written to."""
        handles = self._by_storage.pop(tensor.storage, ())
        with state.without_hooks():
            for handle in handles:
                self.cloned[handle] = self.original.pop(handle).clone()

    def clear(self) -> None:
        """Forget everything: backward is over."""
        for kept in (self.original, self.cloned, self.tid_to_weakhandle, self._by_storage):
            kept.clear()


@contextlib.contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[AllowMutationContext]:
    """Saved tensors may be written to inside: backward, also inside, sees them as they were.

    Raises:
        RuntimeError: inside another one.
    """
    if state.before_write is not None:
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    context = AllowMutationContext()
    state.before_write = context.before_write
    try:
        with saved_tensors_hooks(context.pack, context.unpack):
            yield context
    finally:
        state.before_write = None
        context.clear()
