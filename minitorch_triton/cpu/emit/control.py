"""Structured control flow: `for`, `if`, `while`, and what ends their bodies."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import analysis
from ..ir import Block, Op, Tensor, Value
from ..poly import Poly
from . import ctypes
from .dot import product_loop
from .registry import executes

if TYPE_CHECKING:
    from .emitter import Emitter


# In each iteration of a loop that may take long, so that Ctrl-C ends it.
STOP = "if (mt_stopped(L)) return;"
# The same in a loop that another program may have to end.
STOP_WAITING = "if (mt_waits(L)) return;"
# So many iterations without loops inside take a moment, whatever they do; and those on blocks of
# fewer elements are over in nanoseconds, and would take longer for asking.
FEW_ITERATIONS = 1000
FEW_ELEMENTS = 64


def may_take_long(loop: Op) -> bool:
    """Whether a ``for`` may go on for seconds: one that has loops inside, or works on blocks."""
    inner = [op for op in loop.walk() if op is not loop]
    if any(op.name in ("scf.for", "scf.while") for op in inner):
        return True
    low, high, step = (analysis.constant(value) for value in loop.operands[:3])
    if low is not None and high is not None and step and high - low <= FEW_ITERATIONS * step:
        return False
    types = [value.type for op in inner for value in op.results]
    return any(isinstance(type_, Tensor) and type_.size >= FEW_ELEMENTS for type_ in types)


def declare(em: Emitter, value: Value, initial: str | None = None) -> str:
    """A C variable (not a constant) for a scalar that control flow changes."""
    name = em.fresh(value.name)
    start = "" if initial is None else f" = {initial}"
    em.line(f"{ctypes.variable_type(value.element)} {name}{start};")
    em.scalars[value] = name
    return name


def scalar_text(em: Emitter, value: Value) -> str:
    """C expression of a scalar, pointers included."""
    return em.element(value, ())


def assign_scalars(em: Emitter, values: list[Value], names: list[str]) -> None:
    """Assigns all at once: no name changes before every new value is known."""
    texts = [scalar_text(em, value) for value in values]
    pairs = [(n, t, v) for n, t, v in zip(names, texts, values, strict=True) if n != t]
    if len(pairs) > 1:
        pairs = [
            (n, em.define("next", ctypes.variable_type(v.element), t, em.depth), v)
            for n, t, v in pairs
        ]
    for name, text, _ in pairs:
        em.line(f"{name} = {text};")


def run_body(em: Emitter, block: Block, assigned: dict[Value, list[Value]], finish) -> list[str]:
    """Emits a body in a frame of its own; ``finish`` emits what its terminator does."""
    em.push()
    em.on_terminator.append(finish)
    em.emit_block(block, assigned)
    em.on_terminator.pop()
    return em.pop()


@contextmanager
def changing(em: Emitter, names: list[str]):
    """Within a loop's body, what depends on these variables is computed there and not before."""
    declared = {name: em.depths[name] for name in names}
    em.depths.update(dict.fromkeys(names, em.depth + 1))
    yield
    em.depths.update(declared)


@executes("scf.yield", "scf.condition")
def terminate(em: Emitter, op: Op) -> None:
    em.on_terminator[-1](op)


def swap_buffers(em: Emitter, pairs: list[tuple[Value, Value]]) -> None:
    """The blocks written in this iteration become those read in the next."""
    for current, following in pairs:
        a, b = em.arrays[current].name, em.arrays[following].name
        em.line(f"MT_SWAP({a}, {b});")


def following_block(em: Emitter, argument: Value) -> Value:
    """A second buffer for a block that a loop carries."""
    value = Value(f"{argument.name}_next", argument.type)
    em.new_array(value)
    return value


@dataclass
class Carried:
    """What a ``for`` takes from one iteration to the next, and where the body leaves it."""

    scalars: list[tuple[str, Value]] = field(default_factory=list)  # a variable, and its next value
    advances: list[tuple[str, Value]] = field(default_factory=list)  # an offset, and its increment
    buffers: list[tuple[Value, Value]] = field(default_factory=list)  # a block, and the next one
    assigned: dict[Value, list[Value]] = field(default_factory=dict)  # values, and their blocks

    def finish(self, em: Emitter) -> None:
        """Emits the end of an iteration."""
        steps = [em.wide(increment, ()).text() for _, increment in self.advances]
        assign_scalars(em, [v for _, v in self.scalars], [n for n, _ in self.scalars])
        for (name, _), text in zip(self.advances, steps, strict=True):
            em.line(f"{name} += {text};")
        swap_buffers(em, self.buffers)


@executes("scf.for")
def for_(em: Emitter, op: Op) -> None:
    induction, *arguments = op.body.arguments
    initial = op.operands[3:]
    sums = [n for n in range(len(initial)) if analysis.is_product_sum(op, n)]
    zeros = [arguments[n] for n in sums if analysis.is_zero(initial[n])]
    for argument in zeros:
        em.new_array(argument)
    if product_loop(em, op):
        return
    for argument in zeros:
        array = em.arrays[argument]
        em.line(f"memset({array.name}, 0, {argument.type.size} * sizeof *{array.name});")
    low, high, step = (scalar_text(em, v) for v in op.operands[:3])
    carried = Carried()
    for n, argument in enumerate(arguments):
        if not isinstance(argument.type, Tensor):
            carry_scalar(em, op, n, carried)
        elif analysis.advance(op, n) is not None:
            carry_advance(em, op, n, carried)
        elif n in sums:
            for value in (op.body.terminator.operands[n], op.results[n]):
                em.arrays[value] = em.arrays[argument]
        else:
            carry_block(em, op, n, carried)
    counter = em.fresh(induction.name, em.depth + 1)
    em.scalars[induction] = counter
    variables = [em.scalars[v] for v in arguments if v in em.scalars]
    with changing(em, variables + [name for name, _ in carried.advances]):
        lines = run_body(em, op.body, carried.assigned, lambda _: carried.finish(em))
    if may_take_long(op):
        lines.insert(0, STOP)
    type_ = "uint64_t" if "unsigned" in op.words else "int64_t"
    cast = f"(uint{induction.element.bits}_t)" if "unsigned" in op.words else ""
    em.block(
        f"for ({type_} {counter} = {cast}{low}; {counter} < {cast}{high}; "
        f"{counter} += {cast}{step})",
        lines,
    )


def carry_scalar(em: Emitter, loop: Op, n: int, carried: Carried) -> None:
    argument, result = loop.body.arguments[n + 1], loop.results[n]
    name = declare(em, argument, scalar_text(em, loop.operands[n + 3]))
    carried.scalars.append((name, loop.body.terminator.operands[n]))
    em.scalars[result] = name


def carry_advance(em: Emitter, loop: Op, n: int, carried: Carried) -> None:
    """A block, of pointers mostly, that grows by the same number each time: only a sum is kept."""
    argument, result = loop.body.arguments[n + 1], loop.results[n]
    name = em.fresh(f"{argument.name}_advance")
    em.line(f"int64_t {name} = 0;")
    for value in (argument, result):
        em.advances[value], em.carried[value] = Poly.symbol(name), loop.operands[n + 3]
    carried.advances.append((name, analysis.advance(loop, n)))


def carry_block(em: Emitter, loop: Op, n: int, carried: Carried) -> None:
    argument, result = loop.body.arguments[n + 1], loop.results[n]
    yielded = loop.body.terminator.operands[n]
    em.arrays[result] = em.arrays[argument]
    if analysis.updates_in_place(loop, n):
        carried.assigned[yielded] = [argument]
        return
    following = following_block(em, argument)
    carried.buffers.append((argument, following))
    product = yielded.op in loop.body.ops and yielded.op.name == "tt.dot"
    if product and yielded not in em.arrays:
        em.arrays[yielded] = em.arrays[following]
    else:
        carried.assigned.setdefault(yielded, []).append(following)


@executes("scf.if")
def if_(em: Emitter, op: Op) -> None:
    condition = scalar_text(em, op.operands[0])
    names = {}
    for result in op.results:
        if not isinstance(result.type, Tensor):
            names[result] = declare(em, result)
            del em.scalars[result]
    bodies = []
    for region in op.regions:
        if not region:
            continue
        block = region[0]
        assigned: dict[Value, list[Value]] = {}
        for result, value in zip(op.results, block.terminator.operands, strict=True):
            if isinstance(result.type, Tensor):
                assigned.setdefault(value, []).append(result)

        def finish(terminator: Op) -> None:
            pairs = [
                (v, names[r])
                for r, v in zip(op.results, terminator.operands, strict=True)
                if r in names
            ]
            assign_scalars(em, [v for v, _ in pairs], [n for _, n in pairs])

        bodies.append(run_body(em, block, assigned, finish))
    em.block(f"if ({condition})", bodies[0])
    if len(bodies) > 1 and bodies[1]:
        em.block("else", bodies[1])
    em.scalars |= names


@executes("scf.while")
def while_(em: Emitter, op: Op) -> None:
    before, after = op.regions[0][0], op.regions[1][0]
    names = []
    for argument, initial in zip(before.arguments, op.operands, strict=True):
        if not isinstance(argument.type, Tensor):
            names.append(declare(em, argument, scalar_text(em, initial)))
    results: list[str] = []
    passed = before.terminator.operands[1:]
    to_after: dict[Value, list[Value]] = {}
    for value, argument, result in zip(passed, after.arguments, op.results, strict=True):
        if isinstance(argument.type, Tensor):
            em.new_array(argument)
            em.arrays[result] = em.arrays[argument]
            to_after.setdefault(value, []).append(argument)
        else:
            results.append(declare(em, argument))
            em.scalars[result] = em.scalars[argument]
    buffers = []
    to_before: dict[Value, list[Value]] = {}
    for value, argument in zip(after.terminator.operands, before.arguments, strict=True):
        if isinstance(argument.type, Tensor):
            following = following_block(em, argument)
            buffers.append((argument, following))
            to_before.setdefault(value, []).append(following)

    def leave(terminator: Op) -> None:
        scalars = [v for v in terminator.operands[1:] if not isinstance(v.type, Tensor)]
        condition = scalar_text(em, terminator.operands[0])
        assign_scalars(em, scalars, results)
        em.line(f"if (!{condition}) break;")

    def repeat(terminator: Op) -> None:
        scalars = [v for v in terminator.operands if not isinstance(v.type, Tensor)]
        assign_scalars(em, scalars, names)
        swap_buffers(em, buffers)

    waiting = analysis.may_wait(op)
    if waiting:
        em.line("mt_begin_waiting(L);")
    em.push()
    with changing(em, names + results):
        lines = run_body(em, before, to_after, leave)
        em.waits |= waiting
        em.waits_for_values |= waiting and not analysis.takes_lock(op)
        em.frames[-1].lines += [*lines, STOP_WAITING if waiting else STOP]
        em.block("", run_body(em, after, to_before, repeat))
    em.block("for (;;)", em.pop())
