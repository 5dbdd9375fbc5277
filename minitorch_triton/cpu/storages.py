"""Which bytes of this process belong to which tensor, for checked mode.

A kernel sees addresses. The registry here says for each of them in which live storage it lies, and
what is known of that storage's content. It learns of storages in three ways: from the arguments of
a launch (`note`), from functions that allocate, which are wrapped while checking is on
(`replace_while_checking`), and, for an address that is in none of these, by looking at every object
that Python's garbage collector knows, so that pointer tables made at any earlier time work.

Which objects own memory is said by `register_kind`: torch's tensors do, and those of whoever has an
allocator of his own.
"""

from __future__ import annotations

import bisect
import ctypes
import functools
import gc
import itertools
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np


class Memory(NamedTuple):
    """Bytes, and the object whose life is theirs."""

    owner: Any
    address: int
    nbytes: int
    lent: bool = False  # by an allocator, out of a larger buffer


class StorageRecord(ctypes.Structure):
    """`mt_storage` of mt_check.h."""

    _fields_ = [
        ("start", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("unwritten", ctypes.c_void_p),
        ("writers", ctypes.c_void_p),
        ("unit", ctypes.c_int64),
    ]


# What memory without content is filled with, by the low bits of the address.
NO_CONTENT = np.array([0xA5, 0x7F, 0xB3, 0x7F, 0xA9, 0x7F, 0xBD, 0xFF], np.uint8)

# How many storages before an address are asked whether it is in them.
NESTED = 8

# For memory of unknown size: an argument that says no more than its address.
UNBOUNDED = StorageRecord(0, 2**64 - 1, None, None, 0)
# For the null pointer, which is what an empty tensor has.
NOTHING = StorageRecord(0, 0, None, None, 0)


class Entry:
    """A live storage, with its shadows."""

    def __init__(self, memory: Memory, on_death: Callable):
        self.owner = weakref.ref(memory.owner, on_death)
        self.lent = memory.lent
        self.record = StorageRecord(memory.address, memory.nbytes, None, None, 0)
        self.shadows: dict[str, np.ndarray] = {}

    def lose_content(self) -> None:
        """Note that nothing has been written into the memory, and fill it so that this shows."""
        start, size = self.record.start, self.record.size
        memory = np.frombuffer((ctypes.c_char * size).from_address(start), np.uint8)
        memory[:] = np.resize(np.roll(NO_CONTENT, -(start % 8)), size)
        self._shadow("unwritten", np.ones(size, np.uint8))

    def track_writers(self, unit: int) -> None:
        """Have kernels note which program stored last in each `unit` bytes."""
        if self.record.writers:
            unit = min(unit, self.record.unit)
        self._shadow("writers", np.zeros(self.record.size // unit + 1, np.uint32))
        self.record.unit = unit

    def _shadow(self, name: str, array: np.ndarray) -> None:
        self.shadows[name] = array
        setattr(self.record, name, array.ctypes.data)

    def serves(self, memory: Memory) -> bool:
        """Whether this is the entry for memory that starts at the same address."""
        owner = self.owner()
        if hasattr(owner, "data_ptr") and owner.data_ptr() != self.record.start:
            return False  # torch moves a storage that it enlarges
        if self.lent:
            return owner is memory.owner or not memory.lent
        return not memory.lent and memory.nbytes <= self.record.size


class Table:
    """The storages that overlap no other, by address, as `mt_start` of mt_check.h."""

    def __init__(self, records: list[StorageRecord]):
        """``records`` are in the order of their starts."""
        self.records = []
        reached = 0
        for record, after in itertools.zip_longest(records, records[1:], fillvalue=NOTHING):
            end = record.start + record.size
            if reached <= record.start and (after is NOTHING or end <= after.start):
                self.records.append(record)
            reached = max(reached, end)
        pairs = [(record.start, ctypes.addressof(record)) for record in self.records]
        self.pairs = np.array(pairs, np.uint64)


class Registry:
    """Live storages by their address."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.starts: list[int] = []
        self._table: Table | None = None

    def add(self, memory: Memory) -> Entry | None:
        """The entry of a storage, new or not; None for one of no bytes.

        Of two that start at the same address, that one counts which is lent, and else the larger
        one: tensors of slices of one NumPy array know nothing of each other.
        """
        entry = self.entries.get(memory.address)
        if entry is not None and entry.serves(memory):
            return entry
        if memory.nbytes == 0:
            return None
        address = memory.address
        entry = Entry(memory, lambda reference: self._remove(address, reference))
        # Each start has an entry at any moment, as other threads may look.
        known = address in self.entries
        self.entries[address] = entry
        self._table = None
        if not known:
            bisect.insort(self.starts, address)
        return entry

    def _remove(self, address: int, reference: weakref.ref) -> None:
        entry = self.entries.get(address)
        if entry is not None and entry.owner is reference:
            del self.starts[bisect.bisect_left(self.starts, address)]
            del self.entries[address]
            self._table = None

    def record_of(self, address: int) -> StorageRecord:
        """What a kernel gets to know of the storage of an argument."""
        entry = self.find(address) if address else None
        if entry is not None:
            return entry.record
        return UNBOUNDED if address else NOTHING

    def find(self, address: int) -> Entry | None:
        """The storage that an address belongs to."""
        return self._known(address) or self._search(address)

    def table(self) -> Table:
        """Those that overlap no other, for C code to look up addresses in."""
        table = self._table
        if table is None:
            entries = list(map(self.entries.get, list(self.starts)))
            table = self._table = Table([entry.record for entry in entries if entry is not None])
        return table

    def _known(self, address: int) -> Entry | None:
        # Where small storages lie inside a larger one, the larger one begins further away.
        nearest = bisect.bisect_right(self.starts, address)
        found = None
        for start in reversed(self.starts[max(nearest - NESTED, 0) : nearest]):
            entry = self.entries[start]
            end = start + entry.record.size
            if address < end and (found is None or end >= found.record.start + found.record.size):
                found = entry
            if found is not None and found.lent:
                break
        return found

    def _search(self, address: int) -> Entry | None:
        """Look at all live objects: the address may come from one that no launch was given."""
        for obj in gc.get_objects():
            describe = kind_of(type(obj))
            if describe is not None and (memory := describe(obj)) is not None:
                self.add(memory)
        return self._known(address)

    def clear(self) -> None:
        self.starts.clear()
        self.entries.clear()
        self._table = None


registry = Registry()


# ---- What owns memory ----------------------------------------------------------------------------

_kinds: dict[type, Callable[[Any], Memory | None]] = {}


def register_kind(cls: type, describe: Callable[[Any], Memory | None]) -> None:
    """Objects of this class own memory; `describe` tells which, None for memory elsewhere."""
    _kinds[cls] = describe
    kind_of.cache_clear()


@functools.lru_cache(maxsize=4096)
def kind_of(cls: type) -> Callable[[Any], Memory | None] | None:
    """What tells the memory of objects of a class."""
    for base in cls.__mro__:
        if base in _kinds:
            return _kinds[base]
    return None


def memory_of_torch(tensor: Any, *_: Any, **__: Any) -> Memory | None:
    """The storage of a torch tensor in host memory.

    None for a tensor that only stands for one, as those do with which torch.compile traces.
    """
    if tensor.device.type != "cpu" or tensor.layout != sys.modules["torch"].strided:
        return None
    try:
        storage = tensor.untyped_storage()
        if storage.device.type != "cpu":
            return None  # a fake tensor's storage is on "meta"
        return Memory(storage, storage.data_ptr(), storage.nbytes())
    except RuntimeError:  # a wrapper's storage has no address
        return None


def note(tensors: Iterable[Any]) -> None:
    """Make the storages of a launch's arguments known, or that no more than an address is."""
    _meet_torch()
    for tensor in tensors:
        describe = kind_of(type(tensor))
        memory = describe(tensor) if describe is not None else None
        if memory is not None:
            registry.add(memory)


def noted_address(tensor: Any) -> int:
    """The address of an argument whose storage is made known."""
    note((tensor,))
    return tensor.data_ptr()


# ---- While checking is on ------------------------------------------------------------------------


class _Replacement:
    """An attribute that is another one while checking is on."""

    def __init__(self, owner: Any, name: str, replacement: Callable[[Any], Any]):
        self.owner, self.name, self.replacement = owner, name, replacement

    def apply(self) -> None:
        self.original = vars(self.owner).get(self.name, getattr(self.owner, self.name))
        setattr(self.owner, self.name, self.replacement(getattr(self.owner, self.name)))

    def undo(self) -> None:
        setattr(self.owner, self.name, self.original)


_replacements: list[_Replacement] = []
_watching = False


def replace_while_checking(owner: Any, name: str, replacement: Callable[[Any], Any]) -> None:
    """While checking is on, `owner.name` is `replacement(what it is otherwise)`."""
    new = _Replacement(owner, name, replacement)
    _replacements.append(new)
    if _watching:
        new.apply()


def allocates(describe: Callable[..., Memory | None]) -> Callable[[Callable], Callable]:
    """A replacement for a function whose result is memory that nothing has written yet.

    Args:
        describe: tells which memory that is, given the result and the function's arguments.
    """

    def replacement(function: Callable) -> Callable:
        def allocate(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            memory = describe(result, *args, **kwargs)
            entry = registry.add(memory) if memory is not None else None
            if entry is not None:
                entry.lose_content()
            return result

        return allocate

    return replacement


def _meet_torch() -> None:
    """Learn of torch's tensors once it has been imported: kernels run without it, too."""
    torch = sys.modules.get("torch")
    if torch is None or torch.Tensor in _kinds:
        return
    register_kind(torch.Tensor, memory_of_torch)
    for name in ("empty", "empty_like", "empty_permuted", "empty_strided"):
        replace_while_checking(torch, name, allocates(memory_of_torch))
    for name in ("new_empty", "new_empty_strided"):
        replace_while_checking(torch.Tensor, name, allocates(memory_of_torch))


def start_watching() -> None:
    """Put the replacements in place."""
    global _watching
    _meet_torch()
    for replacement in _replacements:
        replacement.apply()
    _watching = True


def stop_watching() -> None:
    """Undo `start_watching`, and forget all storages: nobody tells what is written from here on."""
    global _watching
    _watching = False
    for replacement in reversed(_replacements):
        replacement.undo()
    registry.clear()
