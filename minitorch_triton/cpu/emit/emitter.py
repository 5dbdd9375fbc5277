"""The emitter: walks the plan of every block and writes C.

Code is written into a stack of `Frame`s, one for each enclosing C block (a body of control flow,
a loop over rows, an inner loop). An element of a lazily computed value is written once, as a
local variable of the outermost frame in which all it depends on is known, and remembered there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..ir import Block, Element, Function, Op, Pointer, Scalar, Tensor, UnsupportedOperation, Value
from ..poly import Poly, literal
from ..schedule import Apart, Group, Overlap, Plan, ScalarStep, WholeStep, plan_block
from ..views import VIEWS, ZERO, Index, flatten, is_view, source_index
from . import ctypes
from .loops import emit_group
from .registry import ELEMENTS, STATEMENTS

if TYPE_CHECKING:
    from .branches import Body

_IDENTIFIER = re.compile(r"\b[A-Za-z_]\w*")  # not the f of 1.0f
_LARGEST_INDEX_FACTOR = 1 << 20


@dataclass(eq=False)
class Frame:
    """One C block being written.

    ``known`` are the conditions that hold throughout the frame, ``refuted`` those of which at
    least one does not; ``inner`` tells the body of an innermost loop. Where ``guard`` is given, a
    C condition, nothing of the kernel's memory may be touched without it; ``guarded`` tells whether
    that can be had. ``tested`` tells that a load in it depends on a condition that
    may differ from one run of the frame to the next.
    """

    lines: list[str] = field(default_factory=list)
    memo: dict = field(default_factory=dict)
    known: frozenset = frozenset()
    refuted: frozenset | None = None
    inner: bool = False
    guard: str = ""
    guarded: bool = True
    tested: bool = False


@dataclass
class Array:
    """A block in memory: the name of its pointer and the dimensions that it keeps."""

    name: str
    element: Element
    shape: tuple[int, ...]
    rows_dropped: int = 0


@dataclass(frozen=True)
class Address:
    """``base + offset``, the offset counted in elements."""

    base: str
    offset: Poly
    pointee: Element


class Emitter:
    """Writes the C body of one kernel.

    ``overlap`` tells which of its pointers may be the same tensor, or overlap; where its arguments
    may not, ``apart`` collects the pairs for which that matters.
    """

    def __init__(self, function: Function, overlap: Overlap):
        self.function = function
        self.overlap = overlap
        self.apart = Apart()
        self.frames: list[Frame] = []
        self.depths: dict[str, int] = {}
        self.extents: dict[str, int] = {}
        self.arrays: dict[Value, Array] = {}
        self.scalars: dict[Value, str] = {}
        self.carried: dict[Value, Value] = {}
        self.advances: dict[Value, Poly] = {}
        self.polys: dict[Value, Poly] = {}  # scalars known as polynomials
        self.homes: dict[Op, int] = {}
        self.loaded: set[str] = set()  # C variables that hold elements of blocks
        self.names: set[str] = set()
        self.finished: set[Op] = set()  # stores that a product has already done
        self.current = function.blocks[0]
        self.block_depth = 0
        self.floor = 0  # no expression is computed further out than this frame
        self.body: Body | None = None  # the function being emitted
        self.on_terminator: list = []
        self.row_only: set[Value] = set()  # kept blocks that one group alone reads
        self.plans: list[Plan] = []  # of every block, in the order of emission
        self.scratch: list[tuple[str, str, int]] = []
        self.products: set[str] = set()  # kinds of products, as mt_gemm.h names them
        self.headers: set[str] = set()  # further ones that the code needs
        self.waits = False  # whether programs may wait for each other
        self.waits_for_values = False  # and not for locks alone

    # Frames and names

    @property
    def depth(self) -> int:
        return len(self.frames) - 1

    def push(
        self,
        known: frozenset = frozenset(),
        refuted: frozenset | None = None,
        inner: bool = False,
    ) -> Frame:
        frame = Frame(known=known, refuted=refuted, inner=inner)
        self.frames.append(frame)
        return frame

    def pop(self) -> list[str]:
        return self.pop_frame().lines

    def pop_frame(self) -> Frame:
        return self.frames.pop()

    def line(self, text: str, depth: int | None = None) -> None:
        self.frames[self.depth if depth is None else depth].lines.append(text)

    def block(self, header: str, lines: list[str]) -> None:
        """``header { lines }`` in the current frame."""
        self.line(f"{header} {{".lstrip())
        self.frames[-1].lines += [f"    {text}" for text in lines]
        self.line("}")

    def fresh(self, hint: str, depth: int | None = None) -> str:
        """A new C name that starts with ``hint``, known from the given frame inwards."""
        base = re.sub(r"\W", "_", hint)
        if not base or base[0].isdigit() or _OF_HEADERS.fullmatch(base):
            base = f"v{base}"
        name, n = base, 1
        while name in self.names or name in _RESERVED:
            name, n = f"{base}_{n}", n + 1
        self.names.add(name)
        self.depths[name] = self.depth if depth is None else depth
        return name

    def depth_of(self, *texts: str | Poly) -> int:
        """The innermost frame that one of the C expressions depends on."""
        depth = 0
        for text in texts:
            words = text.symbols if isinstance(text, Poly) else (text,)
            for word in words:
                for name in _IDENTIFIER.findall(word):
                    depth = max(depth, self.depths.get(name, 0))
        return depth

    def local(self, hint: str, type_: str, text: str, least: int = 0) -> str:
        """Names an expression: a constant of the outermost frame where it can be computed."""
        depth = max(self.depth_of(text), least, self.floor)
        memo = self.frames[depth].memo
        key = (type_, text)
        if key not in memo:
            memo[key] = self.define(hint, type_, text, depth)
        return memo[key]

    def define(self, hint: str, type_: str, text: str, depth: int) -> str:
        """Declares a C constant in the given frame.

        How a truth value was computed is hidden from the loops inside the frame: gcc 12 vectorises
        the mask of a load wrongly where it combines such a comparison with others.
        """
        name = self.fresh(hint, depth)
        if type_ == "bool" and not any(frame.inner for frame in self.frames[: depth + 1]):
            self.line(f"bool {name} = {text}; MT_OPAQUE({name});", depth)
            return name
        pointer = type_.endswith("*")
        declaration = f"{type_}const {name}" if pointer else f"const {type_} {name}"
        self.line(f"{declaration} = {text};", depth)
        return name

    def unsupported(self, op: Op, what: str = "") -> UnsupportedOperation:
        return UnsupportedOperation(what or f"the operation {op.name}", op.location)

    # Elements

    def element(self, value: Value, index: Index) -> str:
        """A C atom (name or literal) that is the element of ``value`` at ``index``."""
        if not isinstance(value.type, Tensor):
            index = ()
        if value in self.scalars:
            return self.scalars[value]
        if is_view(value.op) and value not in self.arrays:
            if value.op.name == "tt.reshape" and value.op.operands[0] in self.arrays:
                return self.reshaped(value, index)
            return self.element(value.op.operands[0], source_index(value.op, index, self.extents))
        key = (value, index)
        for frame in self.frames:
            if key in frame.memo:
                return frame.memo[key]
        hint = value.name
        if value in self.arrays:
            text, least = self.read(value, index), self.read_depth(value, index)
        elif isinstance(value.element, Pointer):
            address = self.address(value, index)
            text, least = self.pointer_text(address), 0
            if text == address.base:
                return text
        elif value.element.is_int and (poly := self.affine(value, index)) is not None:
            text, least = self.integer_text(poly, value.element), 0
            if re.fullmatch(r"-?\d+", text):
                return text
        else:
            text = self.compute(value, index)
            least = self.homes.get(value.op, 0)
            if text in self.depths:
                if isinstance(value.type, Tensor):
                    self.loaded.add(text)
                self.remember(key, text)
                return text
            if _LITERAL.fullmatch(text):
                return text
        name = self.local(hint, ctypes.variable_type(value.element), text, least)
        if isinstance(value.type, Tensor):
            self.loaded.add(name)
        self.remember(key, name)
        return name

    def remember(self, key: tuple[Value, Index], name: str) -> None:
        """What a loop assumes of its masks may be in an element, wherever it is computed: it is
        remembered in the frame of its index."""
        depth = max(self.depths[name], self.depth_of(*key[1]))
        self.frames[depth].memo[key] = name

    def compute(self, value: Value, index: Index) -> str:
        """The C expression of an element, by the operation's entry in the registry."""
        op = value.op
        if op is None:
            raise UnsupportedOperation(f"reading %{value.name} here")
        handler = ELEMENTS.get(op.name)
        if handler is None:
            raise self.unsupported(op)
        if len(op.results) > 1:
            return handler(self, op, index, op.results.index(value))
        return handler(self, op, index)

    def read(self, value: Value, index: Index) -> str:
        array = self.arrays[value]
        return ctypes.from_memory(array.element, self.place(array, index))

    def read_depth(self, value: Value, index: Index) -> int:
        """The outermost frame in which an element of a block in memory can be read: of a block of
        which only the row at hand exists, that of the loop over rows."""
        return max(self.block_depth, self.depth_of(*index[: self.arrays[value].rows_dropped]))

    def reshaped(self, value: Value, index: Index) -> str:
        """An element of a block in memory that is seen under another shape."""
        array = self.arrays[value.op.operands[0]]
        if array.rows_dropped:
            source = source_index(value.op, index, self.extents)
            return self.element(value.op.operands[0], source)
        text = f"{array.name}[{self.offset_text(flatten(index, value.shape))}]"
        text = ctypes.from_memory(array.element, text)
        type_ = ctypes.variable_type(value.element)
        name = self.local(value.name, type_, text, self.block_depth)
        self.loaded.add(name)
        return name

    def place(self, array: Array, index: Index) -> str:
        """The C lvalue of an element of a block in memory."""
        dropped = array.rows_dropped
        position = flatten(index[dropped:], array.shape[dropped:])
        return f"{array.name}[{self.offset_text(position)}]"

    @staticmethod
    def offset_text(offset: Poly) -> str:
        """Text of an index into C memory."""
        if all(m == () or len(m) == 1 and c == 1 for m, c in offset.terms):
            return " + ".join(m[0] if m else str(c) for m, c in reversed(offset.terms)) or "0"
        return offset.text()

    def operands(self, op: Op, index: Index) -> list[str]:
        return [self.element(operand, index) for operand in op.operands]

    # Integers as polynomials

    def poly(self, value: Value, index: Index, wraps: bool = True) -> Poly:
        """The element as a polynomial in C variables.

        Its value is right modulo the element's type; a narrower integer in it has wrapped before
        it was widened, unless ``wraps`` is False: then it is taken not to."""
        if not isinstance(value.type, Tensor):
            index = ()
        poly = self.affine(value, index, wraps)
        if poly is None:
            text = self.element(value, index)
            poly = Poly.constant(int(text)) if re.fullmatch(r"-?\d+", text) else Poly.symbol(text)
        return poly

    def affine(self, value: Value, index: Index, wraps: bool = True) -> Poly | None:
        """The polynomial of an integer that sums and products make; None for any other."""
        if value in self.polys:
            return self.polys[value]
        if value in self.scalars or value in self.arrays:
            return None
        if value in self.advances:
            initial = self.poly(self.carried[value], index, wraps)
            return initial + self.advances[value]
        op = value.op
        if op is None:
            return None
        if is_view(op):
            return self.poly(op.operands[0], source_index(op, index, self.extents), wraps)
        if op.name == "tt.make_range":
            return index[0] + Poly.constant(op.attributes["start"])
        if op.name == "arith.constant":
            text = op.attributes["value"]
            return Poly.constant(text == "true" if text in ("true", "false") else int(text, 0))
        if op.name in ("arith.addi", "arith.subi", "arith.muli") and value.element.bits > 1:
            a, b = (self.poly(operand, index, wraps) for operand in op.operands)
            result = (
                a + b if op.name == "arith.addi" else a - b if op.name == "arith.subi" else a * b
            )
            return result if len(result.terms) <= 12 else None
        if op.name in ("arith.extsi", "arith.index_cast"):
            source = op.operands[0]
            poly = self.poly(source, index, wraps)
            widened = self.fits(poly, source.element.bits) if wraps else self.is_index(poly)
            return poly if source.element.bits > 1 and widened else None
        return None

    def fits(self, poly: Poly, bits: int) -> bool:
        """True for what cannot have wrapped in a type of that many bits."""
        limits = poly.range(self.extents)
        in_range = limits and -(1 << (bits - 1)) <= limits[0] <= limits[1] < 1 << (bits - 1)
        return bool(in_range) or _is_symbol(poly)

    def is_index(self, poly: Poly, data: Container[str] | None = None) -> bool:
        """True for what is taken not to wrap when widened: a single number, or a sum of small
        multiples of loop variables and scalars, and not of ``data``, what was loaded."""
        data = self.loaded if data is None else data
        return all(
            abs(c) <= _LARGEST_INDEX_FACTOR and not any(symbol in data for symbol in m)
            for m, c in poly.terms
        ) or _is_symbol(poly)

    def is_small(self, poly: Poly) -> bool:
        """True for what is taken to be far from the ends of int64, so that two such may be
        subtracted: sums of loop variables, scalars and modest constants, no loaded blocks."""
        return not poly.symbols & self.loaded and all(abs(c) < 1 << 40 for _, c in poly.terms)

    @staticmethod
    def integer_text(poly: Poly, element: Scalar) -> str:
        """C expression of a polynomial that wraps as the type does."""
        if poly.value is not None:
            bits = element.bits
            wrapped = (poly.value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
            return literal(wrapped) if bits > 1 else str(poly.value & 1)
        if _is_symbol(poly):
            return f"({ctypes.variable_type(element)}){poly.terms[0][0][0]}"
        bits = max(element.bits, 32)
        unsigned = f"uint{bits}_t"
        terms = {
            m: (c + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1)) for m, c in poly.terms
        }
        return f"({ctypes.variable_type(element)})({Poly.of(terms).text(unsigned)})"

    def wide(self, value: Value, index: Index, data: Container[str] | None = None) -> Poly:
        """An integer as a 64-bit offset."""
        poly = self.poly(value, index, wraps=False)
        if value.element.bits == 64 or self.is_index(poly, data) or poly.value is not None:
            return poly
        return Poly.symbol(self.element(value, index))

    def offset(self, value: Value, index: Index) -> Poly:
        """An integer that is added to a pointer. A multiple of what was loaded does not wrap
        either; but inside an innermost loop 32 bits are faster to compute than 64."""
        inner = self.depth if self.frames[-1].inner else self.depth + 1
        data = {name for name in self.loaded if self.depths.get(name, 0) >= inner}
        return self.wide(value, index, data)

    # Addresses

    def address(self, value: Value, index: Index) -> Address:
        """Where the pointer ``value`` points at ``index``."""
        if not isinstance(value.type, Tensor):
            index = ()
        pointee = value.element.pointee
        if value in self.scalars:
            return Address(self.scalars[value], ZERO, pointee)
        if value in self.arrays:
            type_ = ctypes.variable_type(value.element)
            least = self.read_depth(value, index)
            name = self.local(value.name, type_, self.read(value, index), least)
            return Address(name, ZERO, pointee)
        if value in self.advances:
            initial = self.address(self.carried[value], index)
            return Address(initial.base, initial.offset + self.advances[value], pointee)
        op = value.op
        if op is None:
            raise UnsupportedOperation(f"the pointer %{value.name} here")
        if is_view(op):
            return self.address(op.operands[0], source_index(op, index, self.extents))
        if op.name == "tt.addptr":
            base = self.address(op.operands[0], index)
            return Address(base.base, base.offset + self.offset(op.operands[1], index), pointee)
        if op.name == "tt.bitcast":
            base = self.address(op.operands[0], index)
            type_ = ctypes.variable_type(value.element)
            if base.pointee.bits != pointee.bits and base.offset.value != 0:
                base = Address(self.pointer_text(base), ZERO, pointee)
            return Address(
                self.local(value.name, type_, f"({type_}){base.base}"), base.offset, pointee
            )
        type_ = ctypes.variable_type(value.element)
        name = self.local(value.name, type_, self.compute(value, index), self.homes.get(op, 0))
        return Address(name, ZERO, pointee)

    def pointer_text(self, address: Address) -> str:
        if address.offset.value == 0:
            return address.base
        return f"{address.base} + ({address.offset.text()})"

    def memory(self, address: Address, depth: int) -> str:
        """The C lvalue at an address that is used in the frame ``depth``; what that frame's loop
        does not change is added to the base before the loop."""
        inner = [s for s in address.offset.symbols if self.depth_of(s) == depth]
        if len(inner) != 1 or inner[0] not in self.extents:
            return f"{address.base}[{self.offset_text(address.offset)}]"
        rest = address.offset.without(inner[0])
        base = address.base
        if rest.value != 0:
            type_ = f"{ctypes.memory_type(address.pointee)} *"
            base = self.local(f"{base}_row", type_, f"{base} + ({rest.text()})")
        return f"{base}[{self.offset_text(address.offset - rest)}]"

    # Conditions

    def conditions(self, mask: Value | None, index: Index) -> frozenset:
        """A mask as a set of conditions that must all hold.

        A condition is a polynomial that must be negative, or (value, index) where it is none.
        """
        if mask is None:
            return frozenset()
        if not isinstance(mask.type, Tensor):
            index = ()
        op = mask.op
        if op is None or mask in self.arrays or mask in self.scalars:
            return frozenset({(mask, index)})
        if is_view(op):
            return self.conditions(op.operands[0], source_index(op, index, self.extents))
        if op.name == "arith.constant" and op.attributes["value"] == "true":
            return frozenset()
        if op.name == "arith.andi":
            return self.conditions(op.operands[0], index) | self.conditions(op.operands[1], index)
        if op.name == "arith.cmpi" and op.words[0] in _ORDER:
            a, b = (self.wide(operand, index) for operand in op.operands)
            if not (self.is_small(a) and self.is_small(b)):
                return frozenset({(mask, index)})
            swap, slack = _ORDER[op.words[0]]
            poly = (b - a if swap else a - b) - Poly.constant(slack)
            if poly.value is not None and poly.value < 0:
                return frozenset()
            return frozenset({poly})
        return frozenset({(mask, index)})

    def decided(self, conditions: frozenset, depth: int) -> str:
        """``true`` or ``false`` where the frame ``depth`` assumes so of the conditions together,
        else nothing."""
        refuted = self.frames[depth].refuted
        if refuted is not None and refuted <= conditions:
            return "false"
        known = frozenset().union(*(frame.known for frame in self.frames[: depth + 1]))
        return "true" if conditions <= known else ""

    def holds(self, conditions: frozenset, depth: int) -> str:
        """C atom that tells, in the frame ``depth``, whether all conditions hold; ``true`` or
        ``false`` where that is known."""
        if decided := self.decided(conditions, depth):
            return decided
        parts: list[str] = []
        for condition in sorted(conditions, key=repr):
            if self.decided(frozenset({condition}), depth) == "true":
                continue
            if isinstance(condition, Poly):
                text = self.local("in", "bool", condition.is_negative_text())
            else:
                text = self.element(*condition)
            if text in ("false", "0"):
                return "false"
            if text not in ("true", "1"):
                parts.append(text)
        if not parts:
            return "true"
        return parts[0] if len(parts) == 1 else self.local("in", "bool", " & ".join(parts))

    def condition_depth(self, condition) -> int:
        return self.depth_of(*([condition] if isinstance(condition, Poly) else condition[1]))

    # Blocks and steps

    def emit_block(self, block: Block, assigned: dict[Value, list[Value]] | None = None) -> None:
        """Writes the steps of a block into the current frame."""
        enclosing, self.block_depth = (self.block_depth, self.current), self.depth
        self.current = block
        for op in block.ops:
            if op.name not in _KNOWN and op.name not in ELEMENTS and op.name not in STATEMENTS:
                raise self.unsupported(op)
            self.homes[op] = self.depth
        arguments = self.function.arguments
        memory = set(self.arrays)
        plan = plan_block(block, self.carried, assigned or {}, memory, arguments, self.overlap)
        self.plans.append(plan)
        self.apart.include(plan.apart)
        self.allocate(plan)
        for step in plan.steps:
            if isinstance(step, ScalarStep):
                self.scalar_step(step.op)
            elif isinstance(step, WholeStep):
                self.statement(step.op)
            else:
                emit_group(self, step)
        self.block_depth, self.current = enclosing

    def scalar_step(self, op: Op) -> None:
        """A scalar operation that must happen here; the others are computed when asked for."""
        if op.name == "tt.load" or is_view(op):
            self.scalars[op.result] = self.element(op.result, ())
        elif op.name in STATEMENTS:
            self.statement(op)

    def statement(self, op: Op) -> None:
        if op.name not in STATEMENTS:
            raise self.unsupported(op)
        STATEMENTS[op.name](self, op)

    def allocate(self, plan: Plan) -> None:
        self.row_only |= {value for value, row_only in plan.arrays.items() if row_only}
        groups = {
            target: step
            for step in plan.steps
            if isinstance(step, Group)
            for stage in step.stages
            for task in stage.tasks
            for target in ([task.target] if task.op is None else task.op.results)
        }
        for value, row_only in plan.arrays.items():
            if value in self.arrays or value.op and value.op.name in ("scf.for", "scf.while"):
                continue
            group = groups.get(value)
            dropped = len(group.outer) if group and row_only else 0
            if dropped and dropped == len([e for e in value.shape if e > 1]):
                continue
            self.new_array(value, self.leading(value.shape, dropped))

    @staticmethod
    def leading(shape: tuple[int, ...], rows: int) -> int:
        """How many leading dimensions hold the ``rows`` loops over rows (without those of 1)."""
        dropped = 0
        while rows:
            rows -= shape[dropped] > 1
            dropped += 1
        return dropped

    def new_array(self, value: Value, rows_dropped: int = 0) -> Array:
        """Memory for a block, for the rest of the program."""
        count = math.prod(value.shape[rows_dropped:])
        name = self.scratch_array(ctypes.memory_type(value.element), f"{value.name}_block", count)
        self.arrays[value] = Array(name, value.element, value.shape, rows_dropped)
        return self.arrays[value]

    def release(self, value: Value) -> None:
        """Takes back the memory of a block that turned out not to need any."""
        name = self.arrays.pop(value).name
        self.scratch = [array for array in self.scratch if array[1] != name]

    def scratch_array(self, type_: str, hint: str, count: int | str) -> str:
        """Name of a C array for the whole program."""
        name = self.fresh(hint, 0)
        self.scratch.append((type_, name, count))
        return name

    def panels(self, type_: str, count: str) -> str:
        """Name of a C array that products, which need it one after the other, have in common."""
        for array in self.scratch:
            if array[::2] == (type_, count):
                return array[1]
        return self.scratch_array(type_, "panels", count)


def _is_symbol(poly: Poly) -> bool:
    return len(poly.terms) == 1 and poly.terms[0][1] == 1 and len(poly.terms[0][0]) == 1


# Operations that need no entry in the registry: addresses, which `Emitter.address` takes apart,
# views, and what has no meaning for a single thread, or where a launch ends before the next begins.
_KNOWN = {
    *("tt.addptr", *VIEWS, "gpu.barrier", "ttg.barrier", "llvm.intr.assume"),
    *("tt.grid_dependency_wait", "tt.grid_dependency_launch_dependents"),
}
_LITERAL = re.compile(r"true|false|-?\d+(\.\d*)?(e[+-]?\d+)?f?|-?MT_INFINITY|MT_NAN")
_ORDER = {"slt": (False, 0), "sle": (False, 1), "sgt": (True, 0), "sge": (True, 1)}
# C keywords, the loop variables and other names of emitted code, C functions, types and macros.
_TAKEN = (
    "auto break case char const continue default do double else enum extern float for goto if "
    "inline int long register restrict return short signed sizeof static struct switch typedef "
    "union unsigned void volatile while bool true false asm typeof L args main i0 i1 i2 i3 i4 "
    "i5 i6 i7 i8 j b k r c t batch width expected desired body INFINITY NAN exp log sin cos tan "
    "sqrt pow floor ceil round abs y0 y1 yn j0 j1 jn gamma memcpy memset printf fprintf fflush "
    "stderr size_t int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t INT64_C "
    "UINT64_C INT64_MAX NULL linux unix"
)
_RESERVED = frozenset(_TAKEN.split())
# The names of this package's headers, and those that C keeps for itself, such as _Bool.
_OF_HEADERS = re.compile(r"(mt|MT)_\w*|_[A-Z_]\w*")
