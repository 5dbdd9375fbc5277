"""Operations on complete blocks other than products: concatenation and histograms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Op
from . import ctypes
from .registry import executes

if TYPE_CHECKING:
    from .emitter import Emitter


@executes("tt.cat")
def cat(em: Emitter, op: Op) -> None:
    target = em.arrays[op.result]
    start = 0
    for operand in op.operands:
        source, count = em.arrays[operand], operand.type.size
        em.line(f"memcpy({target.name} + {start}, {source.name}, {count} * sizeof *{source.name});")
        start += count


@executes("tt.histogram")
def histogram(em: Emitter, op: Op) -> None:
    """Counts the numbers in [0, bins); others are left out."""
    target, source = em.arrays[op.result], em.arrays[op.operands[0]]
    bins, count = op.result.type.size, op.operands[0].type.size
    mask = f" && {em.arrays[op.operands[1]].name}[j]" if len(op.operands) > 1 else ""
    type_ = ctypes.memory_type(op.operands[0].element).replace("int", "uint", 1)
    em.line(f"memset({target.name}, 0, {bins} * sizeof *{target.name});")
    em.line(f"for (int j = 0; j < {count}; ++j)")
    em.line(f"    if (({type_}){source.name}[j] < {bins}{mask}) ++{target.name}[{source.name}[j]];")
