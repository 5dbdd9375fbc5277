"""Which bytes of this process belong to which tensor, for checked mode.

A kernel sees addresses. The registry here says for each of them in which live storage it lies, and
what is known of that storage's content. It learns of storages in three ways: from the arguments of
a launch (`note`), from functions that allocate, which are wrapped while checking is on
(`replace_while_checking`), and, for an address that is in none of these, by asking Python's garbage
collector for every tensor, so that pointer tables made at any earlier time work.

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
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np


class Memory(NamedTuple):
    """Bytes, and the object whose life is theirs."""

    owner: Any
    address: int
    nbytes: int
    lent: bool = False  # by an allocator, out of a larger buffer


# What memory without content is filled with, by the low bits of the address, some times over.
NO_CONTENT = np.tile(np.array([0xA5, 0x7F, 0xB3, 0x7F, 0xA9, 0x7F, 0xBD, 0xFF], np.uint8), 513)

# How many storages before an address are asked whether it is in them.
NESTED = 8


class StorageRecord(ctypes.Structure):
    """A storage, as kernels know it: `mt_storage` of mt_check.h. It keeps what it points to."""

    _fields_ = [
        ("start", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("unwritten", ctypes.c_void_p),
        ("writers", ctypes.c_void_p),
        ("unit", ctypes.c_int64),
    ]

    unwritten_bytes: np.ndarray
    numbers_of_writers: np.ndarray
    owner: weakref.ref
    lent: bool

    def lose_content(self) -> None:
        """Note that nothing has been written into the memory, and fill it so that this shows."""
        start, size = self.start, self.size
        pattern = NO_CONTENT[start % 8 :]
        filled = min(size, len(NO_CONTENT) - 8)
        ctypes.memmove(start, pattern.ctypes.data, filled)
        while filled < size:
            count = min(filled, size - filled)
            ctypes.memmove(start + filled, start, count)
            filled += count
        if self.unwritten:
            self.unwritten_bytes.fill(1)
        else:
            self.unwritten_bytes = np.ones(size, np.uint8)
            self.unwritten = self.unwritten_bytes.ctypes.data

    def track_writers(self, unit: int) -> None:
        """Have kernels note which program stored last in each `unit` bytes."""
        if self.writers:
            unit = min(unit, self.unit)
        self.numbers_of_writers = np.zeros(self.size // unit + 1, np.uint32)
        self.writers, self.unit = self.numbers_of_writers.ctypes.data, unit

    def serves(self, memory: Memory, fresh: bool) -> bool:
        """Whether this is the record of memory that starts at the same address."""
        owner = self.owner()
        if hasattr(owner, "data_ptr") and owner.data_ptr() != self.start:
            return False  # torch moves a storage that it enlarges
        if fresh or (self.lent and memory.lent):
            return owner is memory.owner
        return self.lent or (not memory.lent and memory.nbytes <= self.size)


# For memory of unknown size: an argument that says no more than its address.
UNBOUNDED = StorageRecord(0, 2**64 - 1)
# For the null pointer, which is what an empty tensor has.
NOTHING = StorageRecord(0, 0)


class Table:
    """The storages that overlap no other, by address, as `mt_start` of mt_check.h."""

    def __init__(self, version: object, records: list[StorageRecord]):
        """``records`` are in the order of their starts; the table holds for that ``version``."""
        self.version = version
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
    """Live storages by their address.

    Other threads, finalizers and signal handlers may come in between any two steps here, and use
    the registry. A lock would be of no help, as the last two may come in between in the very thread
    that holds it. So each step that changes something is one call of C code, on integers, which
    nothing interrupts, and what such a step finds holds whatever was done before it.
    """

    def __init__(self) -> None:
        self.records: dict[int, StorageRecord] = {}
        # In order: the address of a storage, and then a number of its own.
        self.keys: list[int] = []
        self.numbers = itertools.count()
        self.by_place: weakref.WeakValueDictionary[int, StorageRecord]
        self.by_place = weakref.WeakValueDictionary()  # for those that C code points to
        self.version = object()  # another one after each change
        self._table = Table(self.version, [])

    def add(self, memory: Memory, fresh: bool = False) -> StorageRecord | None:
        """The record of a storage, new or not; None for one of no bytes.

        Of two that start at the same address, that one counts which is lent, and else the larger
        one: tensors of slices of one NumPy array know nothing of each other.

        Args:
            fresh: whether the memory has just been allocated; what another object has there, if
                anything, is about to be forgotten.
        """
        for record in self._nearest(memory.address):
            if record.start == memory.address and record.serves(memory, fresh):
                return record
        if memory.nbytes == 0:
            return None
        key = memory.address << 64 | next(self.numbers)
        record = StorageRecord(memory.address, memory.nbytes)
        record.owner = weakref.ref(memory.owner, lambda _: self._remove(key))
        record.lent = memory.lent
        self.by_place[ctypes.addressof(record)] = record
        bisect.insort(self.keys, key)
        self.records[key] = record
        self.version = object()
        return record

    def _remove(self, key: int) -> None:
        if self.records.pop(key, None) is not None:
            self.keys.remove(key)
            self.version = object()

    def record_of(self, address: int) -> StorageRecord:
        """What a kernel gets to know of the storage of an argument."""
        if address == 0:
            return NOTHING
        return self.find(address) or UNBOUNDED

    def find(self, address: int) -> StorageRecord | None:
        """The storage that an address belongs to."""
        return self._known(address) or self._search(address)

    def table(self) -> Table:
        """Those that overlap no other, for C code to look up addresses in."""
        table, version = self._table, self.version
        if table.version is not version:
            records = map(self.records.get, self.keys.copy())
            table = self._table = Table(version, list(filter(None, records)))
        return table

    def _known(self, address: int) -> StorageRecord | None:
        # Where small storages lie inside a larger one, the larger one begins further away.
        found, reached = None, address + 1
        for record in self._nearest(address):
            end = record.start + record.size
            if end >= reached:
                found, reached = record, end
                if record.lent:
                    break
        return found

    def _nearest(self, address: int) -> Iterator[StorageRecord]:
        """Some storages that start at an address or before it, the last one first."""
        after = (address + 1) << 64
        position, keys = -1, list[int]()
        while bisect.bisect_left(keys, after) != position:  # or they have been moved meanwhile
            end = bisect.bisect_left(self.keys, after)
            position = min(end, NESTED)
            keys = self.keys[end - position : end + 1]
        return filter(None, map(self.records.get, reversed(keys[:position])))

    def _search(self, address: int) -> StorageRecord | None:
        """Look at all live objects: the address may come from one that no launch was given."""
        for cls, describe in list(_kinds.items()):
            for obj in instances(cls):
                if (memory := describe(obj)) is not None:
                    self.add(memory)
            if (record := self._known(address)) is not None:
                return record
        return None

    def forget_writers(self) -> None:
        """Forget which programs have stored anything."""
        for record in list(self.records.values()):
            record.writers = None

    def clear(self) -> None:
        for key in self.keys.copy():
            self._remove(key)


registry = Registry()


def instances(cls: type) -> list[Any]:
    """All live objects of a class and of its subclasses.

    They refer to their class, so the garbage collector finds them. It also finds tuples that hold
    the class, and a tuple that another thread is just building must not have further references
    when that goes on. So all this is done in one call of C code, which lets no other thread run.
    """
    referrers = itertools.starmap(gc.get_referrers, [tuple(_with_subclasses(cls))])
    is_instance = functools.partial(type.__instancecheck__, cls)
    return list(filter(is_instance, itertools.chain.from_iterable(referrers)))


def _with_subclasses(cls: type) -> set[type]:
    return {cls}.union(*map(_with_subclasses, type.__subclasses__(cls)))


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


def memory_of_torch(tensor: Any) -> Memory | None:
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


def memory_allocated_by_torch(result: Any, *_: Any, **__: Any) -> Memory | None:
    """The storage of what an allocating function of torch returns; None while torch traces it."""
    torch = sys.modules["torch"]
    if torch.compiler.is_compiling() or not isinstance(result, torch.Tensor):
        return None
    return memory_of_torch(result)


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


class _Allocating:
    """A function whose result is memory that nothing has written yet, in the function's place.

    torch has tables of its functions, and looks this one up in them: it is equal to the function.
    """

    def __init__(self, function: Any, describe: Callable[..., Memory | None]):
        functools.update_wrapper(self, function)
        self.function, self.describe = function, describe

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.function(*args, **kwargs)
        memory = self.describe(result, *args, **kwargs)
        record = registry.add(memory, fresh=True) if memory is not None else None
        if record is not None:
            record.lose_content()
        return result

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __reduce__(self) -> Any:
        return self.function.__reduce__()


def allocates(describe: Callable[..., Memory | None]) -> Callable[[Callable], Callable]:
    """A replacement for a function whose result is memory that nothing has written yet.

    Args:
        describe: tells which memory that is, given the result and the function's arguments.
    """
    return lambda function: _Allocating(function, describe)


def _meet_torch() -> None:
    """Learn of torch's tensors once it has been imported: kernels run without it, too."""
    torch = sys.modules.get("torch")
    if torch is None or torch.Tensor in _kinds:
        return
    register_kind(torch.Tensor, memory_of_torch)
    for name in ("empty", "empty_like", "empty_permuted", "empty_strided"):
        replace_while_checking(torch, name, allocates(memory_allocated_by_torch))
    for name in ("new_empty", "new_empty_strided"):
        replace_while_checking(torch.Tensor, name, allocates(memory_allocated_by_torch))


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
