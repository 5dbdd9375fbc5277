"""Memory and its interpretation: ``Storage`` is bytes, ``Layout`` is how a tensor reads them.

A tensor is ``(storage, layout, offset)``. Views share the storage. Layouts are interned: two equal
layouts are one object, so that comparing and hashing them costs an address comparison.
"""

from __future__ import annotations

import math
from weakref import WeakSet, WeakValueDictionary

import torch


class Bin(list):
    """Freed buffers of one size on one device, each with its address."""

    __slots__ = ("device", "size")

    def __init__(self, size: int, device: torch.device):
        super().__init__()
        self.size = size
        self.device = device


class Pool:
    """Freed buffers by size and device, handed out again instead of asking the system for memory.

    A CPU allocation of more than a few KiB costs page faults every time; and a GPU capture needs
    addresses that stay. Reuse is safe at once: CPU launches are synchronous and GPU launches of
    one stream are ordered.
    """

    ALIGNMENT = 64

    def __init__(self, capacity: int = 1 << 30):
        self.capacity = capacity
        self.held = 0
        self._bins: dict[tuple[int, torch.device], Bin] = {}

    def bin(self, nbytes: int, device: torch.device) -> Bin:
        """Where buffers of at least this many bytes come from."""
        size = -(-nbytes // self.ALIGNMENT) * self.ALIGNMENT
        found = self._bins.get((size, device))
        if found is None:
            found = self._bins[size, device] = Bin(size, device)
        return found

    def clear(self) -> None:
        """Return every free buffer to PyTorch's allocator."""
        for free in self._bins.values():
            free.clear()
        self.held = 0


pool = Pool()


_new = object.__new__


class Storage:
    """Bytes on a device, with a version that counts the writes.

    Args:
        buffer: the torch tensor that holds the memory.
        owner: the storage whose memory this one borrows (``Tensor.data``), or None.
        foreign: whether torch tensors outside this package see the memory; writes then count in
            PyTorch's own version counter, so that a write by either framework is seen by both.

    Attributes:
        own_version: writes while nobody outside saw the memory; :attr:`version` counts them all.
            None for memory that was allocated in inference mode: nobody counts.
        size: in bytes, what was asked for; the buffer may be a little larger.
        bin: of the pool, where the buffer goes in the end; None if it did not come from there or
            somebody outside has seen it.
        counted_together: the storages, this one among them, of which a write to one counts for
            all; None if there is no other.
    """

    __slots__ = (
        "__weakref__",
        "address",
        "bin",
        "buffer",
        "counted_together",
        "foreign",
        "own_version",
        "owner",
        "size"
    )  # fmt: skip

    def __init__(
        self,
        buffer: torch.Tensor,
        owner: Storage | None = None,
        foreign: bool = False,
    ):
        self.buffer = buffer
        self.owner = owner
        self.foreign = foreign
        self.size = buffer.nbytes
        self.bin: Bin | None = None
        self.address = buffer.data_ptr()
        self.own_version: int | None = 0
        self.counted_together: WeakSet[Storage] | None = None

    @staticmethod
    def allocate(nbytes: int, device: torch.device) -> Storage:
        """Uninitialised memory from the pool."""
        storage = Storage.take(pool.bin(nbytes, device))
        storage.size = nbytes
        return storage

    @staticmethod
    def take(free: Bin) -> Storage:
        """Uninitialised memory from a bin of the pool; the caller sets ``size``."""
        storage = _new(Storage)  # every operation comes here, and __init__ would double its cost
        try:
            storage.buffer, storage.address = free.pop()
            pool.held -= free.size
        except IndexError:
            storage.buffer = torch.empty(free.size, dtype=torch.uint8, device=free.device)
            storage.address = storage.buffer.data_ptr()
        storage.bin = free
        storage.owner = None
        storage.foreign = False
        storage.own_version = 0
        storage.counted_together = None
        return storage

    @property
    def device(self) -> torch.device:
        return self.buffer.device

    def alias(self) -> Storage:
        """The same memory under another identity and with a version of its own."""
        other = Storage(self.buffer, self.owner or self, self.foreign)
        other.size = self.size
        return other

    def may_share(self, other: Storage) -> bool:
        """Whether the two may have bytes in common: what the pool lent belongs to one alone."""
        return self is other or self.bin is None or other.bin is None

    def is_memory_of(self, other: Storage) -> bool:
        """Whether the other is this one, or either is an :meth:`alias` of what the other is."""
        return (self.owner or self) is (other.owner or other)

    def share(self) -> torch.Tensor:
        """The buffer as a torch tensor, for use outside this package."""
        root = self.owner or self
        for storage in {root, self}:
            if not storage.foreign and storage.own_version is not None:
                # From now on PyTorch's counter is added, whatever it has come to so far.
                storage.own_version -= self.buffer._version
            storage.foreign = True
        root.bin = None
        return self.buffer

    def __call__(self) -> Storage:
        """``x.storage()`` is PyTorch's spelling of ``x.storage``."""
        return self

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return self.address

    def nbytes(self) -> int:
        """The size of the memory."""
        return self.size

    @property
    def version(self) -> int | None:
        if self.foreign and self.own_version is not None:
            return self.own_version + self.buffer._version
        return self.own_version

    def set_version(self, version: int | None) -> None:
        """Go on counting from this version."""
        if version is not None and self.foreign:
            version -= self.buffer._version
        self.own_version = version

    def written(self) -> None:
        """Note that the memory was written to."""
        if self.foreign:
            torch.autograd.graph.increment_version(self.buffer)
        elif self.own_version is not None:
            self.own_version += 1
        if self.counted_together is not None:
            for storage in self.counted_together:
                storage.set_version(self.version)

    def count_with(self, other: Storage) -> None:
        """Go on counting where another storage is; from here on writes to one count for both."""
        self.set_version(other.version)
        if other.counted_together is None:
            other.counted_together = WeakSet((other,))
        other.counted_together.add(self)
        self.counted_together = other.counted_together

    def __del__(self, pool: Pool = pool) -> None:  # when Python ends, the global is gone already
        free = self.bin
        if free is not None and pool.held < pool.capacity:
            pool.held += free.size
            free.append((self.buffer, self.address))


def span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """How many elements of memory lie from the first element to the last, both included."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements; a size of 0 counts as 1, as in PyTorch."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


class Layout:
    """Shape, strides (in elements), dtype and device of a tensor. Make one with :func:`layout`.

    Attributes:
        contiguous: whether the elements lie in row-major order without gaps.
        repeats: whether the elements along some dimension are one and the same, as expanded.
    """

    __slots__ = (
        "__weakref__",
        "contiguous",
        "device",
        "dtype",
        "nbytes",
        "numel",
        "repeats",
        "shape",
        "strides",
    )

    def __init__(
        self,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
    ):
        self.shape = shape
        self.strides = strides
        self.dtype = dtype
        self.device = device
        self.numel = math.prod(shape)
        self.nbytes = self.numel * dtype.itemsize
        self.repeats = any(
            stride == 0 and size > 1 for stride, size in zip(strides, shape, strict=True)
        )
        self.contiguous = self.numel == 0 or all(
            size == 1 or stride == dense
            for size, stride, dense in zip(shape, strides, contiguous_strides(shape), strict=True)
        )

    def __repr__(self) -> str:
        return f"Layout({self.shape}, strides={self.strides}, {self.dtype}, {self.device})"


_layouts: WeakValueDictionary[tuple, Layout] = WeakValueDictionary()


def layout(
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Layout:
    """The one layout with this shape, strides (None: contiguous), dtype and device."""
    key = (shape, strides, dtype, device)
    found = _layouts.get(key)
    if found is None:
        if strides is None:
            found = layout(shape, contiguous_strides(shape), dtype, device)
        else:
            found = Layout(shape, strides, dtype, device)
        _layouts[key] = found
    return found
