"""Reductions and scans.

A reduction along the inner loop with one of the usual operations runs in `Lanes`: a fixed number
of accumulators, each for every so-many-th element, combined in a tree at the end. That is what
lets the loop be vectorised, and the order of additions, so the result, is the same on every
machine. Any other reduction is `Running`: one element after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import analysis
from ..ir import Op, Tensor, Value
from ..schedule import Task
from ..views import Index
from . import ctypes
from .debug import assert_
from .registry import executes

if TYPE_CHECKING:
    from .emitter import Emitter

_FLOAT_IDENTITIES = {
    "arith.addf": "0",
    "arith.mulf": "1",
    "arith.maximumf": "-MT_INFINITY",
    "arith.minimumf": "MT_INFINITY",
    "arith.maxnumf": "MT_NAN",
    "arith.minnumf": "MT_NAN",
}
_INTEGER_IDENTITIES = {
    "arith.addi": "0",
    "arith.muli": "1",
    "arith.andi": "-1",
    "arith.ori": "0",
    "arith.xori": "0",
    "arith.maxsi": "INT{bits}_MIN",
    "arith.minsi": "INT{bits}_MAX",
    "arith.maxui": "0",
    "arith.minui": "-1",
}
_IDEMPOTENT = {
    *("arith.maximumf", "arith.minimumf", "arith.maxnumf", "arith.minnumf", "arith.andi"),
    *("arith.ori", "arith.maxsi", "arith.minsi", "arith.maxui", "arith.minui"),
}
_LANE_BYTES = 256


@dataclass(frozen=True)
class LaneKind:
    """Number of lanes, and what each starts from."""

    count: int
    identity: str


def lanes_of(op: Op) -> LaneKind | None:
    """How a reduction runs in lanes; None where it cannot."""
    element = op.operands[0].element
    combiner = analysis.single_combiner(op)
    if element.bits < 32 and not element.is_int or element.bits == 1:
        return None
    identity = _FLOAT_IDENTITIES.get(combiner) or _INTEGER_IDENTITIES.get(combiner)
    if identity is None:
        return None
    return LaneKind(_LANE_BYTES * 8 // element.bits, identity.format(bits=element.bits))


def combine(em: Emitter, op: Op, left: list[str], right: list[str]) -> list[str]:
    """Emits the combine function of a reduction or scan on C atoms."""
    body = op.body
    for argument, text in zip(body.arguments, left + right, strict=True):
        em.scalars[argument] = text
        em.loaded.add(text)
    for inner in body.ops:
        em.homes[inner] = em.depth
        if inner.name == "tt.assert":
            assert_(em, inner)
    results = [em.element(value, ()) for value in body.terminator.operands]
    for inner in body.ops:
        for result in inner.results:
            for frame in em.frames:
                frame.memo.pop((result, ()), None)
    for argument in body.arguments:
        del em.scalars[argument]
    return results


def deliver(em: Emitter, value: Value, index: Index, text: str) -> None:
    """Makes a reduction's result known: to its row, and in memory where others need it."""
    if not isinstance(value.type, Tensor):
        em.scalars[value] = text
        return
    em.frames[em.depths[text]].memo[value, index] = text
    if value in em.arrays:
        array = em.arrays[value]
        em.line(f"{em.place(array, index)} = {ctypes.to_memory(array.element, text)};")


def result_index(task: Task) -> Index:
    return task.index[: task.axis] + task.index[task.axis + 1 :]


class Lanes:
    """A reduction with one of the usual operations along the inner loop."""

    def __init__(self, em: Emitter, task: Task, kind: LaneKind, count: int):
        self.task = task
        self.count = count
        self.type = ctypes.variable_type(task.op.operands[0].element)
        self.name = em.fresh(f"{task.op.result.name}_lanes")
        em.line(f"MT_LANES {self.type} {self.name}[{count}];")
        em.line(f"for (int64_t k = 0; k < {count}; ++k) {self.name}[k] = {kind.identity};")

    def rest(self, em: Emitter, first: str, extent: int, step: str) -> bool:
        """One element of those for which a mask of the stage does not hold; False if none is left
        to the loop over them.

        Mostly all of them are equal (``other`` of a load); then they are dealt with before the
        loop, and once only where that makes no difference.
        """
        op = self.task.op
        element = em.element(op.operands[0], self.task.index)
        depth = em.depth_of(element)
        combiner = analysis.single_combiner(op)
        if depth == em.depth:
            self.step(em)
            return True
        if combiner in ("arith.addf", "arith.addi") and element in ("0.0f", "0.0", "0"):
            return False
        body = em.frames.pop()
        once = combiner in _IDEMPOTENT
        place = f"{self.name}[{0 if once else f'j % {self.count}'}]"
        em.push()
        lane = em.define("lane", self.type, place, em.depth)
        (result,) = combine(em, op, [lane], [element])
        em.line(f"{place} = {result};")
        lines = em.pop()
        if once:
            em.block(f"if ({first} < {extent})", lines)
        else:
            differs = (
                "" if combiner not in ("arith.addf", "arith.addi") else f"if ({element} != 0) "
            )
            em.block(f"{differs}for (int j = {first}; j < {extent}; {step})", lines)
        em.frames.append(body)
        return False

    def step(self, em: Emitter) -> None:
        op = self.task.op
        element = em.element(op.operands[0], self.task.index)
        lane = em.define("lane", self.type, f"{self.name}[k]", em.depth)
        (result,) = combine(em, op, [lane], [element])
        guard = em.frames[em.depth].guard
        em.line(f"{self.name}[k] = {f'{guard} ? {result} : {lane}' if guard else result};")

    def finish(self, em: Emitter) -> None:
        if self.count > 1:
            em.push()
            left = em.define("left", self.type, f"{self.name}[k]", em.depth)
            right = em.define("right", self.type, f"{self.name}[k + width]", em.depth)
            (result,) = combine(em, self.task.op, [left], [right])
            em.line(f"{self.name}[k] = {result};")
            lines = em.pop()
            em.line("#pragma GCC unroll 8")
            em.line(f"for (int64_t width = {self.count // 2}; width > 0; width /= 2)")
            em.block("for (int64_t k = 0; k < width; ++k)", lines)
        result = self.task.op.result
        name = em.define(result.name, self.type, f"{self.name}[0]", em.depth)
        deliver(em, result, result_index(self.task), name)


class Running:
    """A reduction with any combine function and any number of operands, in order."""

    def __init__(self, em: Emitter, task: Task):
        self.task = task
        self.types = [ctypes.variable_type(v.element) for v in task.op.operands]
        self.names = [em.fresh(f"{v.name}_so_far") for v in task.op.results]
        for type_, name in zip(self.types, self.names, strict=True):
            em.line(f"{type_} {name} = 0;")

    def step(self, em: Emitter) -> None:
        elements = em.operands(self.task.op, self.task.index)
        accumulate(em, self.task.op, "j == 0", self.names, elements)

    def finish(self, em: Emitter) -> None:
        index = result_index(self.task)
        for result, type_, name in zip(self.task.op.results, self.types, self.names, strict=True):
            deliver(em, result, index, em.define(result.name, type_, name, em.depth))


def accumulate(em: Emitter, op: Op, first: str, places: list[str], elements: list[str]) -> None:
    """``place = first ? element : combine(place, element)`` for each operand."""
    em.push()
    types = [ctypes.variable_type(v.element) for v in op.operands]
    before = [em.define("before", t, p, em.depth) for t, p in zip(types, places, strict=True)]
    results = combine(em, op, before, elements)
    for place, result in zip(places, results, strict=True):
        em.line(f"{place} = {result};")
    lines = em.pop()
    starts = " ".join(f"{p} = {e};" for p, e in zip(places, elements, strict=True))
    em.line(f"if ({first}) {{ {starts} }}")
    em.block("else", lines)


@executes("tt.reduce")
def reduce_rows(em: Emitter, op: Op, task: Task) -> None:
    """A reduction along a loop over rows: into a block in memory."""
    (row,) = task.index[task.axis].symbols
    index = result_index(task)
    elements = em.operands(op, task.index)
    into_memory(em, op, f"{row} == 0", [index] * len(op.results), index, elements)


@executes("tt.scan")
def scan(em: Emitter, op: Op, task: Task) -> None:
    """One step of a scan, along the inner loop or a loop over rows."""
    (variable,) = task.index[task.axis].symbols
    backwards = op.attributes.get("reverse", False)
    first = f"{variable} == {task.shape[task.axis] - 1 if backwards else 0}"
    elements = em.operands(op, task.index)
    previous = list(task.index)
    previous[task.axis] = previous[task.axis] + type(previous[0]).constant(1 if backwards else -1)
    into_memory(em, op, first, [tuple(previous)] * len(op.results), task.index, elements)


def into_memory(
    em: Emitter, op: Op, first: str, sources: list[Index], index: Index, elements
) -> None:
    """``block[index] = first ? element : combine(block[source], element)`` for each operand."""
    em.frames[em.depth].guarded = False  # a lane beyond the end would take its element twice
    arrays = [em.arrays[result] for result in op.results]
    em.push()
    before = [
        em.define(
            "before",
            ctypes.variable_type(a.element),
            ctypes.from_memory(a.element, em.place(a, s)),
            em.depth,
        )
        for a, s in zip(arrays, sources, strict=True)
    ]
    results = combine(em, op, before, elements)
    for array, result in zip(arrays, results, strict=True):
        em.line(f"{em.place(array, index)} = {ctypes.to_memory(array.element, result)};")
    lines = em.pop()
    starts = " ".join(
        f"{em.place(a, index)} = {ctypes.to_memory(a.element, e)};"
        for a, e in zip(arrays, elements, strict=True)
    )
    em.line(f"if ({first}) {{ {starts} }}")
    em.block("else", lines)
