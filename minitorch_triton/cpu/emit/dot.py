"""Products of blocks, through the micro-kernels of ``mt_gemm.h``.

An operand that is loaded with a stride along each dimension is read where it lies in memory; a
mask that cuts off rows or columns makes the product smaller. Any other operand is first computed
into a block.
"""

from __future__ import annotations

from dataclasses import dataclass
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

ROW, COLUMN = Poly.symbol("r"), Poly.symbol("c")
_KINDS = {"f32": "f32", "f64": "f64", "f16": "f16f32", "bf16": "bf16f32", "i8": "i8i32"}


@dataclass(frozen=True)
class Matrix:
    """A strided matrix in memory, and how many of its rows and columns are not masked off."""

    pointer: str
    row_stride: Poly
    column_stride: Poly
    rows: str
    columns: str


@executes("tt.dot")
def dot(em: Emitter, op: Op) -> None:
    a, b = op.operands[:2]
    element = a.element
    kind = _KINDS.get(element.name)
    if kind is None:
        raise em.unsupported(op, f"a product of {element.name}")
    result = em.arrays[op.result]
    *batch, m, n = op.result.shape
    k = a.shape[-1]
    batch_index = ()
    if batch:
        em.push()
        em.depths["batch"] = em.depth
        em.extents["batch"] = batch[0]
        batch_index = (Poly.symbol("batch"),)
    left = matrix(em, a, batch_index)
    right = matrix(em, b, batch_index)
    if right.columns != str(n):
        right = padded(em, b, batch_index, right)
    inner = left.columns if right.rows == str(k) else right.rows
    if str(k) not in (left.columns, right.rows) and left.columns != right.rows:
        inner = f"MT_MIN({left.columns}, {right.rows})"
    target = f"{result.name} + batch * {m * n}" if batch else result.name
    type_ = ctypes.memory_type(result.element)
    scratch = em.scratch_array(type_, "panels", f"mt_gemm_{kind}_scratch({m}, {n}, {k})")
    em.products.add(kind)
    em.line(
        f"mt_gemm_{kind}({left.rows}, {right.columns}, {inner}, {pass_matrix(left)}, "
        f"{pass_matrix(right)}, {target}, {n}, {scratch});"
    )
    if batch:
        lines = em.pop()
        em.block(f"for (int batch = 0; batch < {batch[0]}; ++batch)", lines)
        del em.extents["batch"]


def pass_matrix(matrix: Matrix) -> str:
    return f"{matrix.pointer}, {matrix.row_stride.text()}, {matrix.column_stride.text()}"


def matrix(em: Emitter, value: Value, batch: Index) -> Matrix:
    """The operand where it lies, or computed into a block."""
    found = in_memory(em, value, batch)
    if found is None:
        copy_block(em, value)
        found = in_memory(em, value, batch)
    return found


def in_memory(em: Emitter, value: Value, batch: Index) -> Matrix | None:
    """The operand as a matrix in memory; None if it is not one."""
    rows, columns = value.shape[-2:]
    em.push()
    for name, extent in (("r", rows), ("c", columns)):
        em.depths[name] = em.depth
        em.extents[name] = extent
    located = locate(em, value, (*batch, ROW, COLUMN))
    em.pop()
    result = None
    if located is not None:
        base, offset, conditions = located
        slopes = offset.slope("r"), offset.slope("c")
        rest = offset.without("r").without("c")
        limits = limits_of(em, conditions, rows, columns)
        plain = all(s is not None and not s.symbols & {"r", "c"} for s in slopes)
        if plain and limits and em.depth_of(base, rest, *slopes) <= em.depth:
            pointer = base if rest.value == 0 else f"{base} + ({rest.text()})"
            result = Matrix(pointer, *slopes, *limits)
    del em.extents["r"], em.extents["c"]
    return result


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
    if value.op is None or value.op.name != "tt.load" or value.element.bits == 1:
        return None
    load = value.op
    if len(load.operands) > 2 and not analysis.is_zero(load.operands[2]):
        return None
    address = em.address(load.operands[0], index)
    mask = load.operands[1] if len(load.operands) > 1 else None
    return address.base, address.offset, em.conditions(mask, index)


def limits_of(em: Emitter, conditions, rows: int, columns: int) -> tuple[str, str] | None:
    """C atoms for the numbers of rows and columns for which all conditions hold."""
    limits = {"r": f"INT64_C({rows})", "c": f"INT64_C({columns})"}
    for condition in sorted(conditions, key=repr):
        if not isinstance(condition, Poly):
            if em.condition_depth(condition) > em.depth:
                return None
            holds = em.element(*condition)
            limits["r"] = f"({holds} ? {limits['r']} : 0)"
            continue
        rest = condition.without("r").without("c")
        if em.depth_of(rest) > em.depth:
            return None
        slopes = {s: condition.slope(s) for s in "rc" if s in condition.symbols}
        if not slopes:
            limits["r"] = f"({rest.text()} < 0 ? {limits['r']} : 0)"
        elif len(slopes) == 1 and next(iter(slopes.values())) == Poly.constant(1):
            (name,) = slopes
            limits[name] = f"MT_MIN({limits[name]}, {(-rest).text()})"
        else:
            return None
    texts = []
    for name, extent in (("r", rows), ("c", columns)):
        full = limits[name] == f"INT64_C({extent})"
        texts.append(
            str(extent) if full else em.local("valid", "int64_t", f"MT_MAX(0, {limits[name]})")
        )
    return texts[0], texts[1]


def copy_block(em: Emitter, value: Value) -> None:
    """Computes a block into memory."""
    from .loops import emit_group

    task = Task(None, 0, value.shape, value, value)
    domain = [e for e in value.shape if e > 1] or [1]
    names = [*(f"i{d}" for d in range(len(domain) - 1)), "j"]
    variables = iter(names)
    task.index = tuple(Poly.symbol(next(variables)) if e > 1 else ZERO for e in value.shape)
    em.new_array(value)
    emit_group(em, Group(tuple(domain[:-1]), [Stage(domain[-1], [task])]))


def padded(em: Emitter, value: Value, batch: Index, masked: Matrix) -> Matrix:
    """The right operand with zeros for its masked columns.

    The micro-kernel takes what lies beyond its columns in the accumulator for padding, but here
    it is part of the block.
    """
    rows, columns = value.shape[-2:]
    type_ = ctypes.memory_type(value.element)
    name = em.scratch_array(type_, "padded", rows * columns)
    pointer, row_stride, column_stride = (
        em.fresh(n) for n in ("right", "row_stride", "column_stride")
    )
    em.line(f"const {type_} *{pointer} = {masked.pointer};")
    em.line(
        f"int64_t {row_stride} = {masked.row_stride.text()}, {column_stride} = {masked.column_stride.text()};"
    )
    em.push()
    em.line(f"for (int64_t r = 0; r < {masked.rows}; ++r)")
    em.line(f"    for (int64_t c = 0; c < {columns}; ++c)")
    em.line(
        f"        {name}[r * {columns} + c] = c < {masked.columns} ? "
        f"{pointer}[r * {row_stride} + c * {column_stride}] : 0;"
    )
    em.line(f"{pointer} = {name}, {row_stride} = {columns}, {column_stride} = 1;")
    em.block(f"if ({masked.columns} < {columns})", em.pop())
    return Matrix(
        pointer, Poly.symbol(row_stride), Poly.symbol(column_stride), masked.rows, str(columns)
    )
