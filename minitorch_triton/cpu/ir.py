"""Data model of Triton IR: types, values, operations, blocks, functions.

The model keeps what the text of a module says and nothing else. `rewrite` replaces a few operations
by simpler ones; every later stage reads the model and none writes to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Scalar:
    """A number: ``i1`` ... ``i64``, ``index`` or a float type, by its name in MLIR."""

    name: str

    @property
    def bits(self) -> int:
        if self.name == "index":
            return 64
        if self.name.startswith("f8"):
            return 8
        return int(self.name.lstrip("bfi"))

    @property
    def is_float(self) -> bool:
        return self.name[0] in "bf"

    @property
    def is_int(self) -> bool:
        return not self.is_float


@dataclass(frozen=True)
class Pointer:
    """The address of a number (or of another pointer)."""

    pointee: Scalar | Pointer

    bits = 64
    is_float = False
    is_int = False


Element = Scalar | Pointer


@dataclass(frozen=True)
class Tensor:
    """A block of numbers or pointers of a fixed shape."""

    shape: tuple[int, ...]
    element: Element

    @property
    def size(self) -> int:
        return math.prod(self.shape)


Type = Scalar | Pointer | Tensor


def shape_of(type_: Type) -> tuple[int, ...]:
    """The shape of a type; a scalar's is ()."""
    return type_.shape if isinstance(type_, Tensor) else ()


def element_of(type_: Type) -> Element:
    """The type of one element; a scalar's is the type itself."""
    return type_.element if isinstance(type_, Tensor) else type_


@dataclass(eq=False)
class Value:
    """A result of an operation or an argument of a block; compared by identity.

    ``op`` is the defining operation, None for a block argument.
    """

    name: str
    type: Type
    op: Op | None = None
    uses: list[Op] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.type)

    @property
    def element(self) -> Element:
        return element_of(self.type)

    def __repr__(self) -> str:
        return f"%{self.name}"


@dataclass(frozen=True)
class Location:
    """A line of the kernel's Python source."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(eq=False)
class Op:
    """One operation.

    ``words`` are the bare keywords of its text (the predicate of a comparison, the kind of an
    atomic, the axis letter of a program id), ``attributes`` its named ones.
    """

    name: str
    operands: list[Value]
    results: list[Value]
    attributes: dict[str, object]
    words: list[str]
    regions: list[list[Block]]
    location: Location | None = None

    @property
    def result(self) -> Value:
        return self.results[0]

    @property
    def body(self) -> Block:
        """The single block of the first region."""
        return self.regions[0][0]

    def walk(self) -> Iterator[Op]:
        """This operation and all those inside it."""
        yield self
        for region in self.regions:
            for block in region:
                for op in block.ops:
                    yield from op.walk()


@dataclass(eq=False)
class Block:
    """A straight run of operations; the last one ends it (yield, return, branch)."""

    label: str
    arguments: list[Value]
    ops: list[Op] = field(default_factory=list)

    @property
    def terminator(self) -> Op:
        return self.ops[-1]


@dataclass(eq=False)
class Function:
    """A kernel (``public``) or a device function that was not inlined."""

    name: str
    arguments: list[Value]
    result_types: list[Type]
    blocks: list[Block]
    public: bool
    location: Location | None = None


class UnsupportedOperation(Exception):
    """Triton IR that this compiler cannot translate; names the operation and the source line."""

    def __init__(self, what: str, location: Location | None = None):
        where = f"{location}: " if location else ""
        super().__init__(f"{where}not supported on the CPU: {what}")
        self.location = location
