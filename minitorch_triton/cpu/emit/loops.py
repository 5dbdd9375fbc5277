"""Loop nests: the loops of a group, and each stage's inner loop, split by its masks.

A mask such as ``base + j < n`` does not become a test per element. The loop runs over the
elements for which all masks of the stage hold, with none tested; a second loop visits the rest,
where masked loads give their ``other`` and masked stores do nothing. If all that the stage does
is such stores, there is no second loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import analysis
from ..ir import Op
from ..poly import Poly
from ..schedule import Group, Stage, Task, reversed_rows
from ..views import ANYWHERE
from . import ctypes
from .reduce import Lanes, Running, lanes_of
from .registry import STATEMENTS

if TYPE_CHECKING:
    from .emitter import Emitter, Frame

J = Poly.symbol("j")


def emit_group(em: Emitter, group: Group) -> None:
    """Loops over the rows around the stages."""
    stages = [stage for stage in group.stages if not em.finished.issuperset(operations(stage))]
    if not stages:
        return
    backwards = {
        task.index[task.axis]
        for stage in group.stages
        for task in stage.tasks
        if reversed_rows(task)
    }
    for variable, extent in group.extents.items():
        em.push()
        em.depths[variable] = em.depth
        em.extents[variable] = extent
    for stage in stages:
        emit_stage(em, group, stage)
    for variable, extent in reversed(group.extents.items()):
        body = em.pop_frame()
        emit_loop(em, counting(variable, extent, Poly.symbol(variable) in backwards), body)
        del em.extents[variable]


def emit_loop(em: Emitter, header: str, body: Frame, *, independent: bool = False) -> None:
    """A loop, with what the compiler has to know of it.

    One with a load that is tested for each element must not be unrolled before it is vectorised.
    Unrolled, the loads become a group, and for all vectors of a group gcc 12 takes the first vector
    of the mask, which is wrong where the mask's elements are narrower than those that are loaded.

    Args:
        independent: no run of the body depends on what another one stores.
    """
    if independent:
        em.line("#pragma GCC ivdep")
    if body.tested:
        em.line("#pragma GCC unroll 1")
    em.block(header, body.lines)


def counting(variable: str, extent: int, backwards: bool) -> str:
    """The head of a loop over all elements, in their order or from the last to the first."""
    if backwards:
        return f"for (int {variable} = {extent - 1}; {variable} >= 0; --{variable})"
    return f"for (int {variable} = 0; {variable} < {extent}; ++{variable})"


def operations(stage: Stage) -> set[Op | None]:
    return {task.op for task in stage.tasks}


def emit_stage(em: Emitter, group: Group, stage: Stage) -> None:
    if stage.extent is None:
        for task in stage.tasks:
            run_task(em, task, None)
        return
    em.depths["j"] = em.depths["k"] = em.depth + 1
    em.extents["j"] = stage.extent
    accumulators = start_reductions(em, stage)
    if has_order(stage) or any(isinstance(a, Running) for a in accumulators.values()):
        ordered_loop(em, stage, accumulators)
    else:
        split_loop(em, group, stage, accumulators)
    for accumulator in accumulators.values():
        accumulator.finish(em)
    del em.extents["j"]


def is_inner_reduction(task: Task) -> bool:
    return task.axis is not None and task.op.name == "tt.reduce" and task.index[task.axis] == J


def start_reductions(em: Emitter, stage: Stage) -> dict[Task, Lanes | Running]:
    """Declares the accumulators of a stage's reductions: all in lanes, or all in order."""
    tasks = [task for task in stage.tasks if is_inner_reduction(task)]
    kinds = [lanes_of(task.op) for task in tasks]
    if has_order(stage) or not all(kinds):
        return {task: Running(em, task) for task in tasks}
    count = min((kind.count for kind in kinds), default=0)
    count = min(count, stage.extent)
    return {t: Lanes(em, t, kind, count) for t, kind in zip(tasks, kinds, strict=True)}


def has_order(stage: Stage) -> bool:
    """True where a task's effect on one element must come before that on the next."""
    return any(
        task.op is not None
        and (task.op.name in analysis.EFFECTS - {"tt.store"} or task.op.name == "tt.scan")
        for task in stage.tasks
    )


def ordered_loop(em: Emitter, stage: Stage, accumulators) -> None:
    em.push(inner=True)
    for task in stage.tasks:
        run_task(em, task, accumulators.get(task))
    body = em.pop_frame()
    backwards = any(task.op and task.op.attributes.get("reverse") for task in stage.tasks)
    emit_loop(em, counting("j", stage.extent, backwards), body)


def split_loop(em: Emitter, group: Group, stage: Stage, accumulators: dict[Task, Lanes]) -> None:
    extent = stage.extent
    conditions = splitting_conditions(em, stage)
    low, high = bounds(em, conditions, extent)
    if accumulators:
        lanes_loop(em, stage, accumulators, conditions, low, high)
    else:
        em.push(conditions, inner=True)
        for task in stage.tasks:
            run_task(em, task, None)
        body = em.pop_frame()
        emit_loop(em, f"for (int j = {low}; j < {high}; ++j)", body, independent=True)
    rest = [task for task in stage.tasks if needs_rest(em, group, stage, task, conditions)]
    if conditions and rest:
        skipped = {task.target for task in stage.tasks if task.op is None and task not in rest}
        unwritten = {value: em.arrays.pop(value) for value in skipped & em.arrays.keys()}
        rest_loop(em, rest, accumulators, conditions, low, high, extent)
        em.arrays |= unwritten


def rest_loop(em, tasks, accumulators, conditions, low, high, extent) -> None:
    """The elements for which some condition does not hold: before ``low`` and from ``high`` on."""
    first = high if low == "0" else em.local("first", "int", f"{low} > 0 ? 0 : {high}")
    step = "++j" if low == "0" else f"j = j + 1 == {low} ? {high} : j + 1"
    em.push(refuted=conditions, inner=True)
    in_lanes = False
    for task in tasks:
        if task in accumulators:
            in_lanes |= accumulators[task].rest(em, first, extent, step)
        else:
            run_task(em, task, None)
    body = em.pop_frame()
    if in_lanes:
        lanes = next(iter(accumulators.values())).count
        body.lines.insert(0, f"const int64_t k = j % {lanes};")
    if body.lines:
        emit_loop(em, f"for (int j = {first}; j < {extent}; {step})", body)


def lanes_loop(em, stage, accumulators, conditions, low, high) -> None:
    """Blocks of as many elements as there are lanes, each added to an accumulator of its own."""
    lanes = next(iter(accumulators.values())).count
    em.push(conditions, inner=True)
    for task in stage.tasks:
        run_task(em, task, accumulators.get(task))
    body = em.pop_frame()
    body.lines.insert(0, "const int64_t j = b + k;")
    em.push()
    emit_loop(em, f"for (int64_t k = 0; k < {lanes}; ++k)", body, independent=True)
    block = em.pop()
    if low == "0" and high == str(stage.extent):
        em.block(f"for (int64_t b = 0; b < {high}; b += {lanes})", block)
        return
    # The test for a last, shorter block is not in the loop, so that the lanes stay in registers.
    masked = masked_body(em, stage, accumulators, conditions, high) if low == "0" else None
    em.push()
    em.line(f"int64_t b = {low};")
    em.block(f"for (; b + {lanes} <= {high}; b += {lanes})", block)
    if masked is None:
        emit_loop(em, f"for (int64_t k = 0; k < {high} - b; ++k)", body, independent=True)
    else:
        em.push()
        emit_loop(em, f"for (int64_t k = 0; k < {lanes}; ++k)", masked, independent=True)
        em.block(f"if (b < {high})", em.pop())
    em.block("", em.pop())


def masked_body(em, stage, accumulators, conditions, high) -> Frame | None:
    """The body for a last, shorter block: a full one, where lanes beyond the end leave memory
    alone. None where some mask is tested in the loop besides."""
    frame = em.push(conditions, inner=True)
    frame.guard = em.fresh("left", em.depth)
    for task in stage.tasks:
        run_task(em, task, accumulators.get(task))
    em.pop()
    frame.lines[:0] = [
        "const int64_t j = b + k;",
        f"const bool {frame.guard} = (int)k < {high} - (int)b;",
    ]
    return frame if frame.guarded else None


def run_task(em: Emitter, task: Task, accumulator) -> None:
    if task.op in em.finished:
        return
    if task.op is None:
        if task.target not in em.arrays:  # one number per row: its variable will do
            em.element(task.value, task.index)
            return
        array = em.arrays[task.target]
        if task.target is task.value:  # to be computed, not read
            del em.arrays[task.target]
        elif task.target in task.reads:  # in place, which lanes beyond the end would do twice
            em.frames[em.depth].guarded = False
        text = ctypes.to_memory(array.element, em.element(task.value, task.index))
        em.arrays[task.target] = array
        em.line(f"{em.place(array, task.index)} = {text};")
    elif accumulator is not None:
        accumulator.step(em)
    else:
        STATEMENTS[task.op.name](em, task.op, task)


def mask_of(task: Task):
    """The mask of a store, if the task is one."""
    if task.op is None or task.op.name != "tt.store" or len(task.op.operands) < 3:
        return None
    return task.op.operands[2]


def splitting_conditions(em: Emitter, stage: Stage) -> frozenset:
    """Conditions of the stage's masks that bound ``j`` or do not depend on it."""
    em.push()
    found: set = set()
    for task in stage.tasks:
        for load, index in task.loads:
            if len(load.operands) > 1 and ANYWHERE not in index:
                found |= em.conditions(load.operands[1], index)
        if mask_of(task) is not None:
            found |= em.conditions(mask_of(task), task.index)
    em.pop()
    return frozenset(c for c in found if em.condition_depth(c) < em.depth + 1 or bounds_j(em, c))


def bounds_j(em: Emitter, condition) -> bool:
    if not isinstance(condition, Poly):
        return False
    slope = condition.slope("j")
    if slope is None or slope.value not in (1, -1):
        return False
    return em.depth_of(condition.without("j")) <= em.depth


def bounds(em: Emitter, conditions: frozenset, extent: int) -> tuple[str, str]:
    """C atoms of the range of ``j`` in which all conditions hold."""
    if not conditions:
        return "0", str(extent)
    low, high = "0", f"INT64_C({extent})"
    for condition in sorted(conditions, key=repr):
        slope = condition.slope("j").value if isinstance(condition, Poly) else 0
        if slope == 1:
            high = f"MT_MIN({high}, {(-condition.without('j')).text()})"
        elif slope == -1:
            low = f"MT_MAX({low}, {(condition.without('j') + Poly.constant(1)).text()})"
        else:
            holds = em.holds(frozenset({condition}), em.depth)
            high = f"({holds} ? {high} : 0)"
    if low != "0":
        low = em.local("low", "int", f"MT_MIN({low}, INT64_C({extent}))")
        high = f"MT_MAX({low}, {high})"
    else:
        high = f"MT_MAX(0, {high})"
    return low, em.local("high", "int", high)


def needs_rest(em: Emitter, group: Group, stage: Stage, task: Task, conditions) -> bool:
    """True where a task has something to do for elements at which some condition does not hold."""
    if task.op is None:
        return task.target not in em.row_only or any(
            reader_has_rest(em, group, other, task, conditions) for other in group.stages
        )
    if mask_of(task) is None:
        return True
    em.push()
    mine = em.conditions(mask_of(task), task.index)
    em.pop()
    return not conditions <= mine


def reader_has_rest(em: Emitter, group: Group, reader: Stage, kept: Task, conditions) -> bool:
    """True where ``reader`` reads elements of a kept row at which some condition does not hold."""
    readers = [task for task in reader.tasks if kept.target in task.reads]
    if kept in reader.tasks:
        changes = any(task.op and task.op.name in analysis.WRITES for task in reader.tasks)
        return changes and any(needs_rest(em, group, reader, t, conditions) for t in readers)
    if not readers:
        return False
    if reader.extent is None:
        return True
    if splitting_conditions(em, reader) != conditions:
        return True
    return any(needs_rest(em, group, reader, task, conditions) for task in readers)
