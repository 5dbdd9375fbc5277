"""Facts about values that planning and emission both ask for: cost, memory roots, masks.

Nothing here changes anything; every question is answered by walking from a value to its operands.
"""

from __future__ import annotations

from collections.abc import Iterator

from .ir import Block, Op, Tensor, Value
from .views import VIEWS, is_view

# Operations whose result exists only once a loop nest has run.
REDUCTIONS = {"tt.reduce", "tt.scan"}
ATOMICS = {"tt.atomic_rmw", "tt.atomic_cas", "tt.atomic_load", "tt.atomic_store", "tt.atomic_poll"}
EFFECTS = {"tt.store", "tt.assert", "tt.print"} | ATOMICS
WHOLE_BLOCK = {"tt.histogram", "tt.dot", "tt.cat", "mt.sort"}
CONTROL = {"scf.for", "scf.if", "scf.while", "tt.call"}
WRITES = {"tt.store"} | ATOMICS
CHECKS = {"mt.check"}  # of checked mode; see instrument.py
# Views of which no element is more than one of the operand's, seen from many places.
REPETITIONS = {"tt.splat", "tt.broadcast", "tt.expand_dims"}

# Cost of one element in units of about a vectorised float operation; 1 where not named.
_COSTS = {
    "arith.constant": 0,
    "tt.make_range": 0,
    "arith.divf": 4,
    "arith.remf": 20,
    "arith.divsi": 10,
    "arith.divui": 10,
    "arith.remsi": 10,
    "arith.remui": 10,
    "arith.ceildivsi": 10,
    "tt.gather": 4,
    "tt.extern_elementwise": 10,
    "math.sqrt": 4,
    "math.absf": 1,
    "math.absi": 1,
    "math.fma": 1,
}
_INDEX_ARITHMETIC = {
    "arith.addi",
    "arith.subi",
    "arith.muli",
    "arith.extsi",
    "arith.extui",
    "arith.trunci",
    "arith.index_cast",
    "arith.cmpi",
    "arith.andi",
    "tt.addptr",
    "tt.bitcast",
}


def own_cost(op: Op) -> int:
    """Cost of one element of a lazily computed operation, its operands not counted."""
    if op.name in _INDEX_ARITHMETIC or is_view(op):
        return 0
    return _COSTS.get(op.name, 10 if op.name.startswith("math.") else 1)


def may_wait(loop: Op) -> bool:
    """True of a ``while`` that does nothing but look at memory again and again, until another
    program has written there."""
    inner = [op for op in loop.walk() if op is not loop]
    names = {op.name for op in inner}
    if names & ({"tt.store", *CONTROL, *WHOLE_BLOCK} - {"scf.if"}):
        return False
    looks = {op for op in inner if op.name == "tt.load"}
    again = not loop.operands or any(op.attributes.get("isVolatile") for op in looks)
    return bool(names & ATOMICS) or bool(looks) and again


def takes_lock(loop: Op) -> bool:
    """True of a ``while`` that may wait, and only for locks: it ends when the program has written a
    mark where there was another. Whoever holds a lock is running, wherever that program comes."""

    def marks(op: Op) -> bool:
        if op.name == "tt.atomic_cas" and not op.result.element.is_float:
            free, taken = map(constant, op.operands[1:3])
            return free is not None and taken is not None and free != taken
        return op.name == "tt.atomic_rmw" and op.words[0] == "exch"

    return all(marks(op) for op in loop.walk() if op.name in ATOMICS or op.name == "tt.load")


def is_lazy(value: Value) -> bool:
    """True where an element of the block can be computed on demand from its operands."""
    op = value.op
    if op is None:
        return False
    if op.name in REDUCTIONS:
        return is_view(op)
    return op.name not in ATOMICS | WHOLE_BLOCK | CONTROL


def root(pointer: Value, outer: dict[Value, Value]) -> Value | None:
    """The scalar that a pointer's addresses are offsets from; None if there is no single one.

    ``outer`` maps what a loop carries to its initial value.
    """
    while True:
        if pointer in outer:
            pointer = outer[pointer]
            continue
        op = pointer.op
        if op is None:
            return pointer if not isinstance(pointer.type, Tensor) else None
        if op.name in ("tt.addptr", "tt.bitcast") or op.name in VIEWS:
            pointer = op.operands[0]
        elif op.name == "scf.for":
            pointer = op.operands[3 + op.results.index(pointer)]
        elif isinstance(pointer.type, Tensor):
            return None
        else:
            return pointer


def same_offsets(a: Value, b: Value) -> frozenset[frozenset[Value]] | None:
    """The pairs of scalars that must be equal for two pointers to be equal but for the scalars
    that they are offsets from; None where they may differ even so."""
    if a is b:
        return frozenset()
    x, y = a.op, b.op
    followed = [op is not None and (op.name == "tt.addptr" or op.name in VIEWS) for op in (x, y)]
    if not any(followed):
        roots = not isinstance(a.type, Tensor) and not isinstance(b.type, Tensor)
        return frozenset() if roots and a.element.pointee.bits == b.element.pointee.bits else None
    if not all(followed) or a.shape != b.shape or not _alike(x, y):
        return None
    offsets = zip(x.operands[1:], y.operands[1:], strict=True)
    found = [same_offsets(x.operands[0], y.operands[0]), *(_same_index(*pair) for pair in offsets)]
    return None if None in found else frozenset().union(*found)


def _same_index(a: Value, b: Value) -> frozenset[frozenset[Value]] | None:
    """The pairs of scalars that must be equal for two indices to be; None where that is unknown."""
    if a is b:
        return frozenset()
    if a.type != b.type:
        return None
    x, y = a.op, b.op
    if x is None and y is None:
        return None if isinstance(a.type, Tensor) else frozenset({frozenset({a, b})})
    if x is None or y is None or not _alike(x, y) or not _is_index_arithmetic(x):
        return None
    found = [_same_index(*pair) for pair in zip(x.operands, y.operands, strict=True)]
    return None if None in found else frozenset().union(*found)


def _alike(x: Op, y: Op) -> bool:
    """True where two operations compute the same of equal operands."""
    return (x.name, x.words, x.attributes) == (y.name, y.words, y.attributes) and len(
        x.operands
    ) == len(y.operands)


def _is_index_arithmetic(op: Op) -> bool:
    return op.name in _INDEX_ARITHMETIC or op.name in VIEWS or op.name.startswith("arith.")


def are_distinct(pointers: Value, outer: dict[Value, Value]) -> bool:
    """True where no two elements of a block of pointers point to the same place, strides taken
    not to be 0: sums and products of ranges and scalars that differ along every dimension."""
    long = {d for d, extent in enumerate(pointers.shape) if extent > 1}
    return bool(long) and long <= _dimensions(pointers, outer)


def _dimensions(value: Value, outer: dict[Value, Value]) -> set[int]:
    """The dimensions along which an index differs from element to element."""
    value = outer.get(value, value)
    op = value.op
    if op is None or not isinstance(value.type, Tensor):
        return set()
    if op.name == "tt.make_range":
        return {0}
    if op.name in _INJECTIVE:
        return set().union(*(_dimensions(operand, outer) for operand in op.operands))
    if op.name not in ("tt.broadcast", "tt.expand_dims", "tt.trans"):
        return set()
    source = _dimensions(op.operands[0], outer)
    if op.name == "tt.expand_dims":
        return {d + (d >= op.attributes["axis"]) for d in source}
    if op.name == "tt.trans":
        order: list[int] = op.attributes["order"]
        return {d for d, old in enumerate(order) if old in source}
    return source


_INJECTIVE = {"tt.addptr", "tt.bitcast", "arith.addi", "arith.subi", "arith.muli", "arith.extsi"}


def used_from_outside(op: Op) -> list[Value]:
    """Values that the regions of ``op`` use and that are defined outside it, in order of use."""
    inside: set[Value] = set()
    used: dict[Value, None] = {}
    for region in op.regions:
        for block in region:
            _collect(block, inside, used)
    return list(used)


def _collect(block: Block, inside: set[Value], used: dict[Value, None]) -> None:
    inside.update(block.arguments)
    for op in block.ops:
        for operand in op.operands:
            if operand not in inside:
                used[operand] = None
        for region in op.regions:
            for nested in region:
                _collect(nested, inside, used)
        inside.update(op.results)


def advance(loop: Op, number: int) -> Value | None:
    """The scalar that a loop adds to its carried block ``number`` each time; None if it does not.

    Such a block is its initial value plus one number, whatever the initial value is.
    """
    argument = loop.body.arguments[number + 1]
    step = loop.body.terminator.operands[number].op
    if not isinstance(argument.type, Tensor) or argument.element.is_float:
        return None
    if step is None or step.name not in ("tt.addptr", "arith.addi") or step not in loop.body.ops:
        return None
    if step.operands[0] is not argument:
        return None
    return uniform(step.operands[1])


def is_invariant(loop: Op, value: Value) -> bool:
    """True for a number that is the same in every iteration of a loop: made of nothing that the
    loop counts, carries or loads."""
    if value.op is None or value.op not in loop.body.ops:
        return value not in loop.body.arguments
    arithmetic = value.op.name.startswith("arith.")
    return arithmetic and all(is_invariant(loop, operand) for operand in value.op.operands)


def uniform(value: Value) -> Value | None:
    """The scalar that every element of a block is equal to: of a splat, or a constant block."""
    op = value.op
    while op is not None and op.name in ("tt.broadcast", "tt.expand_dims", "tt.reshape"):
        value, op = op.operands[0], op.operands[0].op
    if op is not None and op.name == "tt.splat":
        return op.operands[0]
    return value if op is not None and op.name == "arith.constant" else None


def constant(value: Value) -> int | None:
    """The number that an integer is known to be, None if it is not."""
    op = value.op
    return int(op.attributes["value"]) if op is not None and op.name == "arith.constant" else None


def is_silent(op: Op) -> bool:
    """True for an operation that only computes its results from its operands."""
    return op.name not in EFFECTS | CONTROL | WHOLE_BLOCK | REDUCTIONS | CHECKS


def is_zero(value: Value) -> bool:
    """True for a constant block of zeros."""
    op = value.op
    while op is not None and op.name in ("tt.splat", "tt.broadcast"):
        op = op.operands[0].op
    if op is None or op.name != "arith.constant":
        return False
    text = op.attributes["value"]
    if text in ("true", "false"):
        return text == "false"
    return not text.startswith("0x") and float(text) == 0


def is_matrix_load(value: Value) -> bool:
    """True for a block that may be loaded from places that are the sum of an offset for each row
    and one for each column, zeros elsewhere."""
    while is_view(value.op):
        value = value.op.operands[0]
    op = value.op
    return (
        op is not None
        and op.name == "tt.load"
        and all(is_address(operand, lookups=True) for operand in op.operands[:2])
        and (len(op.operands) < 3 or is_zero(op.operands[2]))
    )


def is_address(value: Value, lookups: bool = False) -> bool:
    """True where only index arithmetic leads from scalars and ranges to the block.

    With ``lookups`` also where what is dear, such as a remainder or an index that is loaded, is
    so for the elements of one dimension only.
    """
    pending = [value]
    while pending:
        current = pending.pop()
        if not isinstance(current.type, Tensor) or current.op is None:
            continue
        narrow = lookups and sum(extent > 1 for extent in current.shape) <= 1
        if not is_lazy(current) or own_cost(current.op) and not narrow:
            return False
        pending += current.op.operands
    return True


def accumulates_in_place(body: Block, product: Op) -> bool:
    """True where a product adds to a block that the loop carries for nothing else."""
    accumulator = product.operands[2]
    return (
        accumulator in body.arguments
        and accumulator.uses == [product]
        and body.terminator.name == "scf.yield"
        and body.terminator.operands[body.arguments.index(accumulator) - 1] is product.result
    )


def advanced_blocks(loop: Op) -> dict[Value, Value]:
    """For each result of a loop that is a block to which it adds a scalar each time, the initial
    value."""
    if loop.name != "scf.for":
        return {}
    pairs = zip(loop.results, loop.operands[3:], strict=True)
    return {result: v for n, (result, v) in enumerate(pairs) if advance(loop, n) is not None}


def carried_blocks(loop: Op) -> list[tuple[Value, Value]]:
    """(initial value, argument) of the blocks that a loop carries in memory."""
    if loop.name == "scf.while":
        pairs = zip(loop.operands, loop.body.arguments, strict=True)
        return [(v, a) for v, a in pairs if isinstance(v.type, Tensor)]
    return [
        (initial, argument)
        for n, (initial, argument) in enumerate(
            zip(loop.operands[3:], loop.body.arguments[1:], strict=True)
        )
        if isinstance(initial.type, Tensor)
        and advance(loop, n) is None
        and not (is_zero(initial) and is_product_sum(loop, n))
    ]


def is_product_sum(loop: Op, number: int) -> bool:
    """True where a loop carries a block for nothing but adding products to it."""
    product = loop.body.terminator.operands[number].op
    return (
        product is not None
        and product.name == "tt.dot"
        and product.operands[2] is loop.body.arguments[number + 1]
        and accumulates_in_place(loop.body, product)
    )


def updates_in_place(loop: Op, number: int) -> bool:
    """True where a loop uses a block that it carries for nothing but computing each element of the
    next iteration's block from its own: that may take its place."""
    value = loop.body.terminator.operands[number]
    return (
        value.op is not None
        and value.op.name.startswith(("arith.", "math."))
        and loop.body.arguments[number + 1].uses == [value.op]
        and value.uses == [loop.body.terminator]
    )


def writes(op: Op) -> Iterator[Op]:
    """The operations at or inside ``op`` that write to memory."""
    return (inner for inner in op.walk() if inner.name in WRITES)


def single_combiner(op: Op) -> str | None:
    """Name of the operation that a reduction or scan of one operand combines with, if only one."""
    body = op.body
    if len(op.operands) != 1 or len(body.ops) != 2:
        return None
    inner = body.ops[0]
    if set(inner.operands) != set(body.arguments) or body.terminator.operands != inner.results:
        return None
    return inner.name
