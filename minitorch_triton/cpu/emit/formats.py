"""Numbers of the microscaling formats, which no type of Triton IR stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Op
from ..views import Index
from .registry import lowers

if TYPE_CHECKING:
    from .emitter import Emitter


@lowers("mt.e2m1_low", "mt.e2m1_high")
def four_bits(em: Emitter, op: Op, index: Index) -> str:
    """One of the two 4-bit floats in a byte."""
    (x,) = em.operands(op, index)
    shift = " >> 4" if op.name == "mt.e2m1_high" else ""
    return f"mt_e2m1_to_f32((uint8_t){x}{shift})"


@lowers("mt.e8m0_to_f32")
def power_of_two(em: Emitter, op: Op, index: Index) -> str:
    (x,) = em.operands(op, index)
    return f"mt_e8m0_to_f32((uint8_t){x})"
