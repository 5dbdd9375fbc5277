"""Loop planning: which operations of a block share which loop nest.

Only some operations need loops of their own making: those with effects, reductions and scans, and
blocks kept in memory. Everything else is computed element by element inside the loops of whoever
asks for it (`analysis.is_lazy`). The plan of a block is a list of steps in program order:

- a `Scalar` operation, one statement;
- a `Group`: loops over the leading dimensions ("rows") around a sequence of `Stage`s, each one
  inner loop (or one statement per row). Softmax over rows is one group of three stages: the
  maximum, the exponentials and their sum, the quotient and the store;
- a `Whole` operation: control flow, products and what else works on complete blocks.

A lazily computed block is kept in memory (a `Keep` task) where computing it again would cost more
than reading it back, or where memory that it was loaded from changes before it is used. Which
blocks those are turns out while planning, so planning is repeated until nothing is added.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field

from . import analysis
from .ir import Block, Op, Tensor, Value
from .poly import Poly
from .views import ANYWHERE, ZERO, Index, is_view, source_index

RECOMPUTE_COST = 3  # keep a block that several loops use and that costs more than this
LOOP_COST = 1  # the same for one that a loop's body uses again and again
FUNCTION_COST = 10  # what an exponential costs
# So many rows make it worth while to compute a function of each in loops of its own, unless more
# elements than the L1 cache holds are read again for it.
APART_ROWS = 16
APART_ELEMENTS = 8192


@dataclass(eq=False)
class Task:
    """Something a loop nest is made for.

    ``op`` is the operation, or None to store ``value`` into the array ``target`` (a kept block,
    or one that a loop carries). ``shape`` is the domain; ``index`` the element of it that the
    loops are at.
    """

    op: Op | None
    position: int
    shape: tuple[int, ...]
    value: Value | None = None
    target: Value | None = None
    index: Index = ()
    loads: dict[tuple[Op, Index], None] = field(default_factory=dict)
    reads: set[Value] = field(default_factory=set)  # blocks in memory that it reads

    @property
    def operands(self) -> list[Value]:
        return [self.value] if self.op is None else self.op.operands

    @property
    def axis(self) -> int | None:
        """The axis of a reduction or scan."""
        return (
            self.op.attributes["axis"] if self.op and self.op.name in analysis.REDUCTIONS else None
        )


@dataclass(eq=False)
class Stage:
    """One inner loop of ``extent`` elements, or one statement per row where it is None."""

    extent: int | None
    tasks: list[Task] = field(default_factory=list)


@dataclass(eq=False)
class Group:
    """Loops over ``outer`` around ``stages``."""

    outer: tuple[int, ...]
    stages: list[Stage] = field(default_factory=list)

    @property
    def extents(self) -> dict[str, int]:
        return {f"i{d}": extent for d, extent in enumerate(self.outer)}

    @property
    def block(self) -> tuple[int, ...]:
        """Shape of the largest block that it goes through."""
        return (*self.outer, max(stage.extent or 1 for stage in self.stages))


@dataclass(eq=False)
class ScalarStep:
    op: Op


@dataclass(eq=False)
class WholeStep:
    op: Op


Step = ScalarStep | WholeStep | Group
Pair = frozenset[Value]


class Apart(dict[Pair, frozenset[Pair] | None]):
    """The pairs of a kernel's pointers that must not be the same tensor for its code to be right.

    A pair may be the same tensor after all where each of the pairs of scalars is equal that it
    maps to, such as the strides of two views; None: never.

    ``or_same`` are the pairs that must be the same tensor or have no memory in common.
    """

    def __init__(self) -> None:
        self.or_same: set[Pair] = set()

    def require(self, pair: Pair, unless: frozenset[Pair] | None = None) -> None:
        known = self.get(pair, frozenset())
        self[pair] = None if unless is None or known is None else known | unless
        self.or_same.add(pair)

    def include(self, other: Apart) -> None:
        for pair, unless in other.items():
            self.require(pair, unless)
        self.or_same |= other.or_same


@dataclass(frozen=True)
class Overlap:
    """Which of a kernel's pointers may overlap in part.

    ``arguments``: two of its arguments; if not, `Apart` tells whether they may be the same tensor.
    ``loaded``: any two others, such as two from a table; if not, they may still be equal.
    """

    arguments: bool = False
    loaded: bool = True


NO_ARGUMENTS_OVERLAP = Overlap()


@dataclass
class Plan:
    """Steps of one block; ``arrays`` are the blocks that live in memory, and whether only one
    row of each is needed at a time. ``apart`` is what the plan takes for granted."""

    steps: list[Step]
    arrays: dict[Value, bool]
    apart: Apart = field(default_factory=Apart)


def plan_block(
    block: Block,
    carried: dict[Value, Value],
    assigned: dict[Value, list[Value]],
    memory: set[Value],
    arguments: Container[Value] | None = None,
    overlap: Overlap = NO_ARGUMENTS_OVERLAP,
) -> Plan:
    """Plans a block.

    ``carried`` maps what enclosing loops advance to its initial value; ``assigned`` maps operands
    of the terminator to the arrays they go to; ``memory`` are the blocks that are in memory when
    this one starts. ``arguments`` (None: whatever no operation computes) are taken to be different
    tensors, unless ``overlap`` says otherwise.
    """
    keep: set[Value] = set()
    while True:
        planner = _Planner(block, carried, assigned, keep, memory, arguments, overlap)
        plan = planner.run()
        if not planner.missing:
            return plan
        keep |= planner.still_missing()


def apart_is_cheaper(shape: tuple[int, ...], ops: Iterable[Op]) -> bool:
    """True where what these operations compute for each row of a block costs less in a loop over
    vectors of rows, although the block must be there for a second loop nest then."""
    if shape[-2] < APART_ROWS or math.prod(shape) > APART_ELEMENTS:
        return False
    functions = (op for op in ops if analysis.own_cost(op) >= FUNCTION_COST)
    return any(not op.results[0].element.is_int for op in functions)


def reversed_rows(task: Task) -> bool:
    """True for a scan from the last row to the first."""
    if task.op is None or not task.op.attributes.get("reverse"):
        return False
    return task.index[task.axis] != Poly.symbol("j")


class _Planner:
    def __init__(self, block, carried, assigned, keep, memory, arguments, overlap):
        self.block = block
        self.memory = memory
        self.carried = dict(carried)
        self.assigned = assigned
        self.keep = keep
        self.arguments = arguments
        self.overlap = overlap
        self.apart = Apart()
        self.missing: dict[Value, None] = {}  # a set with an order
        self.steps: list[Step] = []
        self.group: Group | None = None
        self.late: set[Value] = set()  # scalars computed after the open group
        self.position = {op: n for n, op in enumerate(block.ops)}
        self.writes: list[tuple[Op, int]] = []
        self.indices: dict[Op, Index] = {}  # of the tasks that write
        # Where each block in memory is produced: its group, stage and the index it is stored at.
        self.produced: dict[Value, tuple[Group | None, Stage | None, Index | None]] = {}
        self.row_only: dict[Value, bool] = {}
        self.first_use: dict[Value, tuple[object, Index]] = {}
        self.costs: dict[Value, int] = {}
        self.early = self.functions_of_rows()

    def run(self) -> Plan:
        for op in self.block.ops:
            self.visit(op)
        groups = [step for step in self.steps if isinstance(step, Group)]
        local = {value for group in groups for value in self.local_blocks(group)}
        arrays = {v: row_only for v, row_only in self.row_only.items() if v not in local}
        return Plan(self.steps, arrays, self.apart)

    def local_blocks(self, group: Group) -> Iterator[Value]:
        """Kept blocks each element of which is used only in the loop that computes it."""
        for stage in group.stages:
            for task in stage.tasks:
                kept = task.op is None and task.target is task.value and self.row_only[task.value]
                others = [t for s in group.stages if s is not stage for t in s.tasks]
                if kept and not any(task.value in other.reads for other in others):
                    yield task.value

    def functions_of_rows(self) -> dict[Op, list[Value]]:
        """The kept blocks that are a function of what a reduction gives, by that reduction.

        They are computed right after it: further down they would cut a loop nest in two.
        """
        found: dict[Op, list[Value]] = {}
        results = [value for op in self.block.ops for value in op.results]
        for value in (value for value in results if value in self.keep):
            ops = list(self.computed([value], ()))
            given = [op for op in ops if op.name == "tt.load"]
            for operand in (operand for op in ops for operand in op.operands):
                if not isinstance(operand.type, Tensor) or not analysis.is_lazy(operand):
                    given.append(operand.op)
            given = [op for op in given if op in self.position]
            last = max(given, key=self.position.__getitem__, default=None)
            if last is None or last.name != "tt.reduce" or last.results[0].shape != value.shape:
                continue
            if apart_is_cheaper(last.operands[0].shape, ops):
                found.setdefault(last, []).append(value)
        return found

    # One operation

    def visit(self, op: Op) -> None:
        shaped = any(isinstance(v.type, Tensor) for v in op.operands + op.results)
        if op.name in analysis.CONTROL | analysis.WHOLE_BLOCK | analysis.CHECKS:
            self.whole(op)
        elif op is self.block.terminator:
            self.terminate(op)
        elif not shaped:
            self.scalar(op)
        elif op.name in analysis.EFFECTS or op.name in analysis.REDUCTIONS and not is_view(op):
            self.task(op)
        else:
            for result in op.results:
                if result in self.keep and not self.is_early(result):
                    self.keep_block(result, op)
                elif not isinstance(result.type, Tensor):
                    self.scalar(op)
        for value in self.early.get(op, ()):
            self.keep_block(value, op)

    def is_early(self, value: Value) -> bool:
        return any(value in values for values in self.early.values())

    def keep_block(self, value: Value, after: Op) -> None:
        self.add(Task(None, self.position[after], value.shape, value, value))

    def scalar(self, op: Op) -> None:
        """A scalar operation joins the steps before an open group, or, if it needs a result of the
        group, those after it."""
        late = self.group and any(self.in_group(v) or v in self.late for v in op.operands)
        if op.name in analysis.EFFECTS or self.reads_group(op) or late and op.name == "tt.load":
            self.close()
        if op.name in analysis.WRITES:
            self.writes.append((op, self.position[op]))
        step = ScalarStep(op)
        if self.group and late:
            self.late.update(op.results)
        if self.group and not late:
            self.steps.insert(self.steps.index(self.group), step)
        else:
            self.steps.append(step)

    def reads_group(self, op: Op) -> bool:
        """True for a scalar read from a block, or from memory that the open group may write."""
        if op.name in ("tt.unsplat", "tt.reduce"):
            return True
        if op.name != "tt.load" or self.group is None:
            return False
        return any(self.of_group(w) and self.may_alias(op, w) for w, _ in self.writes)

    def in_group(self, value: Value) -> bool:
        """True where a scalar is computed by the open group (a reduction of a whole block)."""
        return value in self.produced and self.produced[value][0] is self.group

    def task(self, op: Op) -> None:
        shape = next(v.shape for v in op.operands if isinstance(v.type, Tensor))
        self.add(Task(op, self.position[op], shape))
        if op.name in analysis.WRITES:
            self.writes.append((op, self.position[op]))

    def terminate(self, op: Op) -> None:
        for value in op.operands:
            for target in self.assigned.get(value, ()):
                self.add(Task(None, self.position[op], value.shape, value, target))
        self.close()
        self.steps.append(WholeStep(op))

    def whole(self, op: Op) -> None:
        position = self.position[op]
        self.assign_first(op)
        self.close()
        used = op.operands[:2] if op.name == "tt.dot" else op.operands
        used = [*used, *analysis.used_from_outside(op)]
        inside = list(analysis.writes(op))
        advanced = analysis.advanced_blocks(op)
        for value in used:
            if isinstance(value.type, Tensor):
                again = value not in op.operands or value in advanced.values()
                self.use_whole(value, op, position, inside, again)
        self.close()
        self.steps.append(WholeStep(op))
        self.writes += [(write, position) for write in inside]
        self.carried |= advanced  # computed again wherever they are used
        for result in op.results:
            if isinstance(result.type, Tensor) and result not in advanced:
                self.produced[result] = (None, None, None)
                if op.name != "scf.for":
                    self.row_only[result] = False

    def assign_first(self, op: Op) -> None:
        """Stores the initial values of the blocks that a loop carries or a product adds to."""
        if op.name == "tt.dot":
            accumulator = op.operands[2]
            given = analysis.is_zero(accumulator) or analysis.accumulates_in_place(self.block, op)
            pairs = [] if given else [(accumulator, op.result)]
        elif op.name in ("scf.for", "scf.while"):
            pairs = analysis.carried_blocks(op)
        else:
            return
        for initial, target in pairs:
            self.add(Task(None, self.position[op], initial.shape, initial, target))

    def use_whole(self, value: Value, op: Op, position: int, inside: list[Op], again: bool) -> None:
        """An operation that works on complete blocks uses ``value``, perhaps again and again."""
        in_place = op.name == "tt.dot" and analysis.is_matrix_load(value)
        source = value
        if op.name == "tt.dot":  # it reads a transposed block as that lies
            while source not in self.keep and source.op and source.op.name == "tt.trans":
                source = source.op.operands[0]
        lazy = source not in self.keep and analysis.is_lazy(source)
        if op.name in analysis.WHOLE_BLOCK and lazy and not in_place:
            self.require(source)
            return
        task = Task(None, position, value.shape, value)
        index = tuple(Poly.symbol(f"w{d}") for d in range(len(value.shape)))
        self.trace(task, value, index, op, None, whole=again, inside=inside)

    def require(self, value: Value) -> None:
        if value not in self.keep and analysis.is_lazy(value):
            self.missing[value] = None

    def require_dear(self, values: list[Value]) -> None:
        """Keeps blocks that cost more than reading them back."""
        for value in values:
            if value.op in self.position and self.cost(value) > RECOMPUTE_COST:
                self.require(value)

    # Placing a task

    def close(self) -> None:
        self.group = None
        self.late = set()

    def add(self, task: Task) -> None:
        domain = [e for d, e in enumerate(task.shape) if e > 1 or d == task.axis] or [1]
        row_axis = task.axis is not None
        group = self.group
        if group and self.fits(task, domain, row_axis):
            return
        self.close()
        self.group = Group(tuple(domain[:-1]))
        self.steps.append(self.group)
        self.set_index(task, domain, domain[-1])
        self.place(task, Stage(domain[-1]))

    def fits(self, task: Task, domain: list[int], row_axis: bool) -> bool:
        """Places the task in the open group if it may run row by row with what is there."""
        group = self.group
        if group.outer and tuple(domain) == group.outer and not row_axis:
            if apart_is_cheaper(group.block, self.computed(task.operands, self.produced)):
                return False
            extent = None
        elif tuple(domain[:-1]) == group.outer:
            extent = domain[-1]
        else:
            return False
        self.set_index(task, domain, extent)
        if reversed_rows(task) or any(reversed_rows(t) for t in group.stages[-1].tasks):
            return False
        needs = self.needs(task)
        if needs == "group":
            return False
        last = group.stages[-1]
        if extent is None and needs != "stage" and last.extent is not None:
            row = Stage(None)
            group.stages.insert(len(group.stages) - 1, row)
            self.place(task, row)
            return True
        scans = any(t.op and t.op.name == "tt.scan" for t in [task, *last.tasks])
        same = last.extent == extent and needs != "stage" and not scans
        self.place(task, last if same else Stage(extent))
        return True

    def set_index(self, task: Task, domain: list[int], extent: int | None) -> None:
        names = [f"i{d}" for d in range(len(domain))]
        if extent is not None:
            names[-1] = "j"
        variables = iter(names)
        task.index = tuple(
            Poly.symbol(next(variables)) if e > 1 or d == task.axis else ZERO
            for d, e in enumerate(task.shape)
        )

    def place(self, task: Task, stage: Stage) -> None:
        if stage not in self.group.stages:
            self.group.stages.append(stage)
        stage.tasks.append(task)
        if task.op and task.op.name in analysis.WRITES:
            self.indices[task.op] = task.index
        for value in task.operands:
            self.trace(task, value, task.index, stage, self.group)
        results = task.op.results if task.op else [task.target]
        for result in results:
            index: Index | None = task.index
            if task.axis is not None and task.op.name == "tt.reduce":
                inner = task.index[task.axis] == Poly.symbol("j")
                index = task.index[: task.axis] + task.index[task.axis + 1 :] if inner else None
            elif task.axis is not None and not self.scans_rows_in_turn(task):
                index = None
            self.produced[result] = (self.group, stage, index)
            if isinstance(result.type, Tensor):
                one = task.axis is not None and task.shape[task.axis] == 1  # no row to speak of
                row_only = index is not None and task.target is task.value and not one
                self.row_only.setdefault(result, row_only)

    def scans_rows_in_turn(self, task: Task) -> bool:
        """True where a scan's element follows, in the order of the loops, on that before it in the
        same row or in the row just done. Then nothing but a row has to be kept."""
        inner = [Poly.symbol("j")]
        if self.group.outer:
            inner.append(Poly.symbol(f"i{len(self.group.outer) - 1}"))
        return task.index[task.axis] in inner and not task.op.attributes.get("reverse")

    # What a task needs

    def needs(self, task: Task) -> str:
        """``"group"``/``"stage"`` where the task needs a complete block/row of the open group."""
        answer = ""
        last = self.group.stages[-1]
        extents = self.extents(task)
        pending = [(v, task.index if v.shape else ()) for v in task.operands]
        seen = set()
        loads = []
        while pending:
            value, index = pending.pop()
            if (value, index) in seen or value in self.missing:
                continue
            seen.add((value, index))
            if value in self.late:
                return "group"
            if value in self.produced:
                group, stage, stored = self.produced[value]
                if group is not self.group:
                    continue
                if stored is None:
                    return "group"
                if index != stored:
                    rows = [
                        (a, b) for a, b in zip(index, stored, strict=True) if b != Poly.symbol("j")
                    ]
                    if any(a != b for a, b in rows):
                        return "group"
                    answer = "stage"
                elif stage is last and not self.elementwise(value, index):
                    answer = "stage"
                continue
            if value.op and value.op.name == "tt.load":
                loads.append((value.op, index))
            pending += self.operands_at(value, index, extents)
        if task.op and task.op.name in analysis.WRITES and self.disturbs_loads(task):
            if self.group.outer:
                return "group"
            answer = "stage"
        own = [(w, p) for w, p in self.writes if self.of_group(w)]
        for write, position in own:
            accesses = [(ld, i) for ld, i in loads if self.position.get(ld, -1) > position]
            if task.op and task.op.name in analysis.WRITES:
                accesses.append((task.op, task.index))
            if any(self.conflict(op, i, write, self.indices[write]) for op, i in accesses):
                return "group"
        return answer

    def disturbs_loads(self, write: Task) -> bool:
        """True where the open group loads other elements of the memory that ``write`` changes."""
        return any(
            self.conflict(load, index, write.op, write.index)
            for stage in self.group.stages
            for task in stage.tasks
            for load, index in task.loads
        )

    def elementwise(self, value: Value, index: Index) -> bool:
        """True where the stored element can be used in the very loop that stores it."""
        op = value.op
        return "j" in {s for p in index for s in p.symbols} and (
            op is None or op.name != "tt.reduce"
        )

    def of_group(self, write: Op) -> bool:
        return any(t.op is write for stage in self.group.stages for t in stage.tasks)

    def operands_at(self, value: Value, index: Index, extents) -> list[tuple[Value, Index]]:
        """The elements that one element of a lazily computed block is computed from."""
        if value in self.carried:
            initial = self.carried[value]
            return [(initial, index)] if initial is not None else []
        op = value.op
        if op is None or not isinstance(value.type, Tensor) or not analysis.is_lazy(value):
            return []
        if op.name == "mt.swap":
            self.require_dear(op.operands)  # two elements of each are used
        if is_view(op):
            source = source_index(op, index, extents)
            divided = any("/" in symbol for position in source for symbol in position.symbols)
            if divided and not analysis.is_address(op.operands[0]):
                self.require(op.operands[0])
            return [(op.operands[0], source)]
        if op.name == "tt.join":
            return [(operand, index[:-1]) for operand in op.operands]
        if op.name == "tt.split":
            return [(op.operands[0], (*index, Poly.constant(op.results.index(value))))]
        if op.name == "tt.gather":
            self.require(op.operands[0])
            return [(op.operands[0], (ANYWHERE,) * len(index)), (op.operands[1], index)]
        return [(operand, index) for operand in op.operands if isinstance(operand.type, Tensor)]

    def extents(self, task: Task) -> dict[str, int]:
        extents = {}
        for position, extent in zip(task.index, task.shape, strict=False):
            for symbol in position.symbols:
                extents[symbol] = extent
        return extents

    def trace(self, task, value, index, stage, group, whole=False, inside=()) -> None:
        """Follows what computing ``task`` demands; notes what has to be kept in memory for it."""
        extents = self.extents(task)
        variables = {v for v, e in extents.items() if e > 1}
        pending = [(value, index)]
        seen = set()
        while pending:
            value, index = pending.pop()
            if (value, index) in seen or not isinstance(value.type, Tensor):
                continue
            seen.add((value, index))
            if value in self.memory or value in self.produced:
                task.reads.add(value)
            if value in self.memory or value in self.missing:
                continue
            if value in self.produced:
                if self.produced[value][0] is not group or group is None:
                    self.row_only[value] = False
                continue
            op = value.op
            if op is None or not analysis.is_lazy(value):
                if value in self.carried:
                    pending += self.operands_at(value, index, extents)
                continue
            if op not in self.position:
                pass
            elif self.worth_keeping(value, index, variables, stage, group, whole):
                self.require(value)
                continue
            if op.name == "tt.load":
                task.loads[op, index] = None
                if op in self.position and self.overwritten(op, index, task, inside):
                    self.require(value)
                    continue
            pending += self.operands_at(value, index, extents)

    def worth_keeping(self, value, index, variables, stage, group, whole) -> bool:
        if value.op.name in analysis.REPETITIONS:
            return False  # rather what it repeats
        cost = self.cost(value)
        if whole:  # of an index, only what is dear about it
            return cost > LOOP_COST and analysis.own_cost(value.op) > 0
        used = {s for p in index for s in p.symbols}
        if group is None or cost <= RECOMPUTE_COST:
            return False
        if "j" not in used:
            if group.outer and apart_is_cheaper(group.block, [value.op]):
                return True
            stage = group  # computed once per row, for all stages
        if variables - used and "j" in used:
            return True
        use = (stage, index)
        return self.first_use.setdefault(value, use) != use

    def still_missing(self) -> set[Value]:
        """The missing blocks that are still dear once those before them are kept."""
        kept: set[Value] = set()
        for value in sorted(self.missing, key=lambda value: self.position.get(value.op, -1)):
            if not self.computed_from(value, kept) or self.cost_given(value, kept) > RECOMPUTE_COST:
                kept.add(value)
        return kept

    def computed_from(self, value: Value, kept: set[Value]) -> bool:
        """True for a block whose computation reads one of these."""
        pending, seen = list(value.op.operands), set()
        while pending:
            current = pending.pop()
            if current in kept:
                return True
            if current not in seen and current not in self.keep and analysis.is_lazy(current):
                seen.add(current)
                pending += current.op.operands
        return False

    def cost(self, value: Value) -> int:
        """Cost of one element, all operands that are not in memory included (each once); or a part
        of it, once that is more than there is to compare it with."""
        if value not in self.costs:
            self.costs[value] = self.cost_given(value, set())
        return self.costs[value]

    def cost_given(self, value: Value, kept: set[Value]) -> int:
        """``cost``, once these other blocks are in memory, too."""
        total = 0
        for op in self.computed([value], kept):
            total += analysis.own_cost(op)
            if total > max(RECOMPUTE_COST, LOOP_COST):
                break
        return total

    def computed(self, values: list[Value], known: Container[Value]) -> Iterator[Op]:
        """The operations that elements of these are computed with, each once: back to what is
        kept in memory, or ``known``."""
        pending, seen = list(values), set()
        while pending:
            value = pending.pop()
            if value in seen or value in known or not isinstance(value.type, Tensor):
                continue
            if analysis.is_lazy(value):
                seen.add(value)
                yield value.op
                pending += [v for v in value.op.operands if v not in self.keep]

    # Memory

    def overwritten(self, load: Op, index: Index, task: Task, inside) -> bool:
        """True where memory that ``load`` reads may change between its place and the task."""
        start = self.position[load]
        writes = [w for w, p in self.writes if start < p < task.position] + list(inside)
        if any(self.may_alias(load, write) for write in writes):
            return True
        writing = task.op and task.op.name in analysis.WRITES
        return bool(writing) and self.conflict(load, index, task.op, task.index)

    def conflict(self, op: Op, index: Index, write: Op, write_index: Index) -> bool:
        """True where what ``op`` reads or writes at ``index`` may be memory that ``write`` changes
        for another element of its block than that at ``write_index``."""
        if index == write_index and write.name not in analysis.ATOMICS:
            equal = self.same_places(op, write)
            if equal is not None and self.alias_harmlessly(op, write, equal):
                return False
        return self.may_alias(op, write)

    def same_places(self, a: Op, b: Op) -> frozenset[Pair] | None:
        """The pairs of scalars that must be equal for each element of one operation to have its
        place, for both the same if their tensors are the same; None where they may not even so."""
        mine, theirs = a.operands[0], b.operands[0]
        equal = analysis.same_offsets(mine, theirs)
        return equal if analysis.are_distinct(theirs, self.carried) else None

    def roots(self, a: Op, b: Op) -> tuple[Value | None, Value | None]:
        mine, theirs = (analysis.root(op.operands[0], self.carried) for op in (a, b))
        return mine, theirs

    def alias_harmlessly(self, a: Op, b: Op, equal: frozenset[Pair]) -> bool:
        """True where two operations, whose places are the same if ``equal`` are and their tensors
        are, touch the same memory only at the same places."""
        mine, theirs = self.roots(a, b)
        if mine is theirs:
            return not equal
        if not self.is_argument(mine) or not self.is_argument(theirs):
            return not equal and not self.overlap.loaded
        if self.overlap.arguments:
            return False
        if not equal:
            self.apart.or_same.add(frozenset((mine, theirs)))
            return True
        if not all(self.is_argument(v) for pair in equal for v in pair):
            return False
        self.apart.require(frozenset((mine, theirs)), unless=equal)
        return True

    def may_alias(self, a: Op, b: Op) -> bool:
        """True where two operations may touch the same memory."""
        mine, theirs = self.roots(a, b)
        if mine is theirs or not self.is_argument(mine) or not self.is_argument(theirs):
            return True
        if self.same_places(a, b) == frozenset() or analysis.ATOMICS & {a.name, b.name}:
            return True  # in place, which is usual; and other threads change what atomics guard
        if not self.overlap.arguments:
            self.apart.require(frozenset((mine, theirs)))
        return self.overlap.arguments

    def is_argument(self, pointer: Value | None) -> bool:
        if pointer is None or pointer.op is not None:
            return False
        return self.arguments is None or pointer in self.arguments
