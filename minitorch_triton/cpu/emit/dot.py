"""Products of blocks, through the micro-kernels of ``mt_gemm.h``.

An operand that is loaded with a stride along each dimension is read where it lies in memory; a
mask that cuts off rows or columns makes the product smaller. The rows of the left operand and the
columns of the right one may also lie where a table says: rows modulo their number, rows that are
looked up. Any other operand is first computed into a block.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .. import analysis
from ..ir import Op, Value
from ..poly import Poly
from ..schedule import Group, Stage, Task
from ..views import ZERO, Index, flatten, is_view, source_index
from . import ctypes
from .registry import executes

if TYPE_CHECKING:
    from .emitter import Emitter

_LONG = 1 << 20  # a K from which scratch memory no longer grows
ROW, COLUMN = Poly.symbol("r"), Poly.symbol("c")
_ACCUMULATORS = {
    "f32": "float",
    "f64": "double",
    "f16f32": "float",
    "bf16f32": "float",
    "i8i32": "int32_t",
}
_KINDS = {"f32": "f32", "f64": "f64", "f16": "f16f32", "bf16": "bf16f32", "i8": "i8i32"}


Locator = Callable[[], "tuple[str, Poly, frozenset] | None"]


@dataclass(frozen=True)
class Span:
    """Rows (or columns) from ``first`` up to ``end``, which are C atoms."""

    first: str
    end: str

    @property
    def count(self) -> str:
        return self.end if self.first == "0" else f"{self.end} - {self.first}"

    def common(self, other: Span, full: int) -> Span:
        """What is in both of two spans of at most ``full`` rows."""
        if self == other or other == Span("0", str(full)):
            return self
        if self == Span("0", str(full)):
            return other
        if self.first == other.first:
            return Span(self.first, f"MT_MIN({self.end}, {other.end})")
        first = f"MT_MAX({self.first}, {other.first})"
        return Span(first, f"MT_MAX({first}, MT_MIN({self.end}, {other.end}))")


@dataclass(frozen=True)
class Matrix:
    """A strided matrix in memory, and which of its rows and columns are not masked off.

    With ``table``, the C name of an array of offsets, the rows of a left operand, or the columns of
    a right one, start at those instead.
    """

    pointer: str
    row_stride: Poly
    column_stride: Poly
    rows: Span
    columns: Span
    table: str = ""

    def arguments(self, rows: Span, columns: Span) -> str:
        """Address of the first element within some rows and columns, and the strides, in C."""
        offset = ZERO
        for lines, stride in ((rows, self.row_stride), (columns, self.column_stride)):
            if lines.first != "0":
                offset += Poly.symbol(f"({lines.first})") * stride
        pointer = self.pointer if offset.value == 0 else f"{self.pointer} + ({offset.text()})"
        return f"{pointer}, {self.row_stride.text()}, {self.column_stride.text()}"

    def table_of(self, lines: Span) -> str:
        """The part of the table for some rows (columns), in C."""
        if not self.table:
            return "NULL"
        return self.table if lines.first == "0" else f"{self.table} + ({lines.first})"


@executes("tt.dot")
def dot(em: Emitter, op: Op) -> None:
    a, b, accumulator = op.operands
    kind = kind_of(em, op)
    target = em.arrays[op.result]
    *batch, m, n = op.result.shape
    k = a.shape[-1]
    index: Index = ()
    name = target.name
    if batch:
        em.push()
        em.depths["batch"] = em.depth
        em.extents["batch"] = batch[0]
        index = (Poly.symbol("batch"),)
        name = em.local(
            "product", f"{ctypes.memory_type(target.element)} *", f"{name} + batch*{m * n}"
        )
    left, right = matrix(em, a, index, "r"), matrix(em, b, index, "c")
    inner = left.columns.common(right.rows, k)
    multiply(em, kind, left, right, inner, name, (m, n, k), analysis.is_zero(accumulator))
    if batch:
        lines = em.pop()
        em.block(f"for (int batch = 0; batch < {batch[0]}; ++batch)", lines)
        del em.extents["batch"]


def kind_of(em: Emitter, op: Op) -> str:
    """The product's name in ``mt_gemm.h``, by the type of its operands."""
    element = op.operands[0].element
    if element.name not in _KINDS:
        raise em.unsupported(op, f"a product of {element.name}")
    em.products.add(_KINDS[element.name])
    return _KINDS[element.name]


def multiply(em: Emitter, kind, left, right, inner, target, sizes, overwrite) -> None:
    """``target += left right``; or ``target = left right``, where its old content is of no use."""
    m, n, _ = sizes
    type_ = _ACCUMULATORS[kind]
    whole = Matrix(target, Poly.constant(n), Poly.constant(1), Span("0", str(m)), Span("0", str(n)))
    if overwrite:
        clear_rest(em, type_, whole, left.rows, right.columns)
    call(em, kind, left, right, inner, whole, sizes, overwrite)


def clear_rest(em: Emitter, type_: str, target: Matrix, rows: Span, columns: Span) -> None:
    """Clears what a product will not overwrite, which writes only some rows and columns."""
    if (rows, columns) == (target.rows, target.columns):
        return
    spans = (target.rows, target.columns, rows, columns)
    bounds = ", ".join(f"{span.first}, {span.end}" for span in spans)
    strides = f"{target.row_stride.text()}, {target.column_stride.text()}"
    em.line(f"mt_gemm_clear_rest({target.pointer}, sizeof({type_}), {strides}, {bounds});")


def call(em: Emitter, kind, left, right, inner, target, sizes, overwrite) -> None:
    """Calls the function of ``mt_gemm.h`` for a product of at most ``sizes`` (M, N, K)."""
    type_ = _ACCUMULATORS[kind]
    tables = bool(left.table or right.table)
    m, n, k = sizes
    size = f"MT_GEMM_AT_SCRATCH({type_}, {m}, {n}, {k})"
    if not tables:
        size = f"MT_GEMM_SCRATCH({type_}, {m}, {k})"
    scratch = em.panels(type_, size)
    rows, columns = left.rows, right.columns
    sources = [left.arguments(rows, inner), right.arguments(inner, columns)]
    if tables:
        sources = [
            f"{sources[0]}, {left.table_of(rows)}", f"{sources[1]}, {right.table_of(columns)}"
        ]  # fmt: skip
    em.line(
        f"mt_gemm_{kind}{'_at' * tables}({rows.count}, {columns.count}, {inner.count}, "
        f"{', '.join(sources)}, {target.arguments(rows, columns)}, {int(not overwrite)}, "
        f"{scratch});"
    )


def matrix(em: Emitter, value: Value, batch: Index, free: str) -> Matrix:
    """The operand where it lies, or computed into a block."""
    found = in_memory(em, value, batch, free)
    if found is None:
        copy_block(em, value)
        found = in_memory(em, value, batch, free)
    return found


def in_memory(em: Emitter, value: Value, batch: Index, free: str, along: str = "") -> Matrix | None:
    """The operand as a matrix in memory; None if it is not one."""
    return strided(em, value.shape, lambda: locate(em, value, (*batch, ROW, COLUMN)), free, along)


def strided(
    em: Emitter, shape: tuple[int, ...], find: Locator, free: str = "", along: str = ""
) -> Matrix | None:
    """What ``find`` locates as a matrix in memory; None if it is not one.

    ``free`` is "r" or "c" where the rows (columns) may be anywhere. ``along`` is "r" or "c" where
    iteration ``t`` of a loop continues the matrix in that direction: then the matrix is that of all
    iterations, and its limit in that direction is "" where no mask sets one.
    """
    extents = dict(zip("rc", shape[-2:], strict=True))
    order = "cr" if free == "c" else "rc"
    for name in order:
        em.push()
        em.depths[name] = em.depth
        em.extents[name] = extents[name]
    located = find()
    within, per_line = em.pop(), em.pop()
    del em.extents["r"], em.extents["c"]
    if located is None or within or per_line and not free:
        return None
    base, offset, conditions = located
    strides = {name: offset.slope(name) for name in order}
    rest = offset.without(order[1])
    table = ""
    looked_up = per_line_part(em, rest)
    own = frozenset(c for c in conditions if is_per_line(em, c, order))
    even = looked_up == Poly.symbol(order[0]) * (strides[order[0]] or ZERO)
    if free and (own or not even):
        table = line_table(em, free, extents[free], per_line, looked_up, own)
        if not table:
            return None
        rest, conditions, strides[free] = rest - looked_up, conditions - own, ZERO
    else:
        rest = rest.without(order[0])
    slopes = strides["r"], strides["c"]
    if any(slope is None or slope.symbols & {"r", "c", "t"} for slope in slopes):
        return None
    if along:
        slope = strides[along]
        if rest.slope("t") != slope.scaled(extents[along]):
            return None
        rest = rest.without("t")
    limits = limits_of(em, conditions, extents, along)
    if limits is None or em.depth_of(base, rest, *slopes) > em.depth:
        return None
    pointer = base if rest.value == 0 else f"{base} + ({rest.text()})"
    return Matrix(pointer, *slopes, limits["r"], limits["c"], table)


def per_line_part(em: Emitter, offset: Poly) -> Poly:
    """The terms of an offset that change from row (column) to row and not along a loop over K."""
    return Poly.of({m: c for m, c in offset.terms if "t" not in m and em.depth_of(*m) > em.depth})


def is_per_line(em: Emitter, condition, order: str) -> bool:
    """True for a condition that holds for all or none of a row (column), but is no limit."""
    if not isinstance(condition, Poly):
        names = frozenset().union(*(position.symbols for position in condition[1]))
        return order[0] in names and order[1] not in names
    deep = {s for s in condition.symbols if em.depth_of(s) > em.depth}
    return bool(deep - {"r", "c", "t"}) and not deep & {order[1], "t"}


def line_table(
    em: Emitter, name: str, extent: int, lines: list[str], offset: Poly, conditions: frozenset
) -> str:
    """Name of an array of the offsets of all rows (columns), filled here."""
    em.push()
    em.depths[name] = em.depth
    em.extents[name] = extent
    em.frames[-1].lines += lines
    holds = em.holds(conditions, em.depth)
    lines = em.pop()
    del em.extents[name]
    text = offset.text() if holds == "true" else f"{holds} ? {offset.text()} : MT_GEMM_NOWHERE"
    if any(re.search(r"\bt\b", line) for line in [*lines, text]):
        return ""
    table = em.scratch_array("int64_t", "lines", extent)
    em.block(
        f"for (int {name} = 0; {name} < {extent}; ++{name})", [*lines, f"{table}[{name}] = {text};"]
    )
    return table


def locate(em: Emitter, value: Value, index: Index):
    """(base, offset, conditions) of an element of a block that is in memory, else None."""
    while True:
        if value in em.arrays:
            array = em.arrays[value]
            dropped = array.rows_dropped
            return array.name, flatten(index[dropped:], array.shape[dropped:]), frozenset()
        if not is_view(value.op):
            break
        index = source_index(value.op, index, em.extents)
        value = value.op.operands[0]
    load = value.op
    if load is None or load.name != "tt.load" or value.element.bits == 1:
        return None
    if len(load.operands) > 2 and not analysis.is_zero(load.operands[2]):
        return None
    address = em.address(load.operands[0], index)
    mask = load.operands[1] if len(load.operands) > 1 else None
    return address.base, address.offset, em.conditions(mask, index)


def limits_of(
    em: Emitter, conditions, extents: dict[str, int], along: str
) -> dict[str, Span] | None:
    """The rows and columns for which all conditions hold; None where they do not form a
    rectangle. In the direction of a loop the end is "" where no condition sets one."""
    firsts = dict.fromkeys(extents, "0")
    ends = {name: f"INT64_C({extent})" for name, extent in extents.items()}
    bounded = dict.fromkeys(extents, False)
    if along:
        ends[along] = "INT64_MAX"
    for condition in sorted(conditions, key=repr):
        if not isinstance(condition, Poly):
            if em.condition_depth(condition) > em.depth:
                return None
            name, limit = "r" if along != "r" else "c", f"({em.element(*condition)} ? {{}} : 0)"
        else:
            rest = condition.without("r").without("c").without("t")
            slopes = {s: condition.slope(s) for s in "rct" if s in condition.symbols}
            per_trip = slopes.pop("t", Poly.constant(0))
            if em.depth_of(rest) > em.depth or len(slopes) > 1:
                return None
            name = next(iter(slopes), "r" if along != "r" else "c")
            slope = slopes[name].value if slopes else 0
            if per_trip.value != (slope * extents[name] if name == along else 0):
                return None
            if slope == -1:
                # Rows from one on; along a loop only where that is no condition at all.
                if rest.value is None or rest.value >= 0:
                    if name == along:
                        return None
                    firsts[name] = f"MT_MAX({firsts[name]}, {(rest + Poly.constant(1)).text()})"
                continue
            if slope == 0:
                limit = f"({rest.text()} < 0 ? {{}} : 0)"
            elif slope == 1:
                limit = f"MT_MIN({{}}, {(-rest).text()})"
            else:
                return None
        ends[name] = limit.format(ends[name])
        bounded[name] = True
    return {
        name: span(em, firsts[name], ends[name], extent)
        if bounded[name] or firsts[name] != "0"
        else Span("0", "" if name == along else str(extent))
        for name, extent in extents.items()
    }


def span(em: Emitter, first: str, end: str, extent: int) -> Span:
    """A span of at most ``extent`` rows, with names for its bounds."""
    if first != "0":
        first = em.local("first", "int64_t", f"MT_MIN({first}, {extent})")
    return Span(first, em.local("valid", "int64_t", f"MT_MAX({first}, {end})"))


def copy_block(em: Emitter, value: Value) -> None:
    """Computes a block into memory."""
    from .loops import emit_group

    task = Task(None, 0, value.shape, value, value)
    domain = [e for e in value.shape if e > 1] or [1]
    variables = iter([*(f"i{d}" for d in range(len(domain) - 1)), "j"])
    task.index = tuple(Poly.symbol(next(variables)) if e > 1 else ZERO for e in value.shape)
    em.new_array(value)
    emit_group(em, Group(tuple(domain[:-1]), [Stage(domain[-1], [task])]))


def product_loop(em: Emitter, loop: Op) -> bool:
    """Emits a loop over K that does nothing but add products as one product over the whole K.

    Returns False, having emitted nothing, where the loop is not of that kind.
    """
    block = loop.body
    products = [op for op in block.ops if op.name == "tt.dot"]
    if len(products) != 1 or not analysis.accumulates_in_place(block, products[0]):
        return False
    (product,) = products
    a, b, accumulator = product.operands
    number = block.arguments.index(accumulator) - 1
    quiet = all(
        op in (product, block.terminator) or analysis.is_silent(op) and not op.regions
        for op in block.ops
    )
    if not quiet or len(product.result.shape) != 2 or "unsigned" in loop.words:
        return False
    steps = {p: analysis.advance(loop, p) for p in range(len(loop.results)) if p != number}
    for position, value in steps.items():
        if loop.results[position].uses or value is None or not analysis.is_invariant(loop, value):
            return False
    low, high, step = (em.poly(operand, ()) for operand in loop.operands[:3])
    if step.value is None or step.value <= 0:
        return False
    m, n = product.result.shape
    k = a.shape[-1]
    increments = {position: em.wide(value, ()) for position, value in steps.items()}
    em.depths["t"] = em.depth + 1
    for op in block.ops:
        em.homes[op] = em.depth + 1
    trip = Poly.symbol("t")
    em.polys[block.arguments[0]] = low + trip * step
    for position, increment in increments.items():
        argument = block.arguments[position + 1]
        em.carried[argument] = loop.operands[position + 3]
        em.advances[argument] = trip * increment
    left, right = in_memory(em, a, (), "r", "c"), in_memory(em, b, (), "c", "r")
    if left is None or right is None:
        for argument in block.arguments:
            em.polys.pop(argument, None)
            em.advances.pop(argument, None)
            em.carried.pop(argument, None)
        return False
    length = (high - low).text()
    whole = f"MT_MAX(0, ({length} + {step.value - 1})/{step.value}*{k})"
    inner = em.local("inner", "int64_t", whole)
    for limit in sorted({left.columns.end, right.rows.end} - {""}):
        inner = em.local("inner", "int64_t", f"MT_MIN({inner}, {limit})")
    zero = analysis.is_zero(loop.operands[number + 3])
    kind = kind_of(em, product)
    store = only_store(em, loop, number)
    output = output_matrix(em, store, product) if zero and store else None
    if output:
        left = replace(left, rows=left.rows.common(output.rows, m))
        right = replace(right, columns=right.columns.common(output.columns, n))
        clear_rest(em, _ACCUMULATORS[kind], output, left.rows, right.columns)
        call(em, kind, left, right, Span("0", inner), output, (m, n, _LONG), True)
        em.finished.add(store)
        em.release(accumulator)
        return True
    target = em.arrays[accumulator].name
    multiply(em, kind, left, right, Span("0", inner), target, (m, n, _LONG), zero)
    em.arrays[loop.results[number]] = em.arrays[accumulator]
    return True


def only_store(em: Emitter, loop: Op, number: int) -> Op | None:
    """The store that is the only use of a loop's result and follows the loop with nothing that
    touches memory between them."""
    result = loop.results[number]
    ops = em.current.ops
    if len(result.uses) != 1 or result.uses[0] not in ops:
        return None
    (store,) = result.uses
    between = ops[ops.index(loop) + 1 : ops.index(store)]
    quiet = all(analysis.is_silent(op) and op.name != "tt.load" for op in between)
    return store if store.name == "tt.store" and store.operands[1] is result and quiet else None


def output_matrix(em: Emitter, store: Op, product: Op) -> Matrix | None:
    """Where a store of a product goes, if the product may be computed right there: a matrix in
    memory that neither operand is loaded from."""
    pointer, mask = store.operands[0], (store.operands[2:] or [None])[0]
    target = analysis.root(pointer, em.carried)
    sources = [load_root(em, operand) for operand in product.operands[:2]]
    if target is None or target in sources or None in sources or em.overlap.arguments:
        return None
    if any(root not in em.function.arguments for root in (target, *sources)):
        return None
    for source in sources:
        em.apart.require(frozenset((target, source)))

    def find():
        address = em.address(pointer, (ROW, COLUMN))
        return address.base, address.offset, em.conditions(mask, (ROW, COLUMN))

    return strided(em, product.result.shape, find)


def load_root(em: Emitter, value: Value) -> Value | None:
    while is_view(value.op):
        value = value.op.operands[0]
    if value.op is None or value.op.name != "tt.load":
        return None
    return analysis.root(value.op.operands[0], em.carried)
