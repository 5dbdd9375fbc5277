"""Functions of several basic blocks, which is what a `return` inside an `if` becomes, and calls
of such functions.

Every block is written inside the C block of its immediate dominator, after a label; so whatever
it may use is in scope, and branches are `goto`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir import Block, Op, Tensor, Value
from .control import assign_scalars, declare
from .registry import executes

if TYPE_CHECKING:
    from .emitter import Emitter


@dataclass(frozen=True)
class Body:
    """The function being emitted: its basic blocks and their labels in C, by their labels, what
    gets the values that it returns, and the label after it; none if it is the kernel."""

    blocks: dict[str, tuple[str, Block]]
    results: Sequence[Value] = ()
    end: str = ""


def immediate_dominators(blocks: list[Block]) -> dict[Block, Block | None]:
    """Of every block: the closest other one that is on each way to it."""
    by_label = {block.label: block for block in blocks}
    sources: dict[Block, list[Block]] = {block: [] for block in blocks}
    for block in blocks:
        for label, _ in block.terminator.attributes.get("successors", ()):
            sources[by_label[label]].append(block)
    dominators = {block: set(blocks) for block in blocks}
    dominators[blocks[0]] = {blocks[0]}
    changed = True
    while changed:
        changed = False
        for block in blocks[1:]:
            common = set.intersection(*(dominators[s] for s in sources[block])) | {block}
            changed |= common != dominators[block]
            dominators[block] = common
    return {
        block: max(dominators[block] - {block}, key=lambda b: len(dominators[b]), default=None)
        for block in blocks
    }


def emit_function_body(
    em: Emitter, blocks: list[Block], results: Sequence[Value] = (), end: str = ""
) -> None:
    """``results`` get what the function returns; control goes on at the label ``end``."""
    enclosing = em.body
    em.body = Body({b.label: (em.fresh(f"block_{b.label}"), b) for b in blocks}, results, end)
    for block in blocks[1:]:
        for argument in block.arguments:
            if isinstance(argument.type, Tensor):
                em.new_array(argument)
            else:
                declare(em, argument)
    parents = immediate_dominators(blocks) if len(blocks) > 1 else {blocks[0]: None}
    emit_tree(em, blocks[0], parents)
    em.body = enclosing


def emit_tree(em: Emitter, block: Block, parents: dict[Block, Block | None]) -> None:
    """A block, then those that it dominates."""
    assigned: dict[Value, list[Value]] = {}
    pairs: list[tuple[Value, Value]] = []
    for label, values in block.terminator.attributes.get("successors", ()):
        _, target = em.body.blocks[label]
        pairs.extend(zip(values, target.arguments, strict=True))
    if block.terminator.name == "tt.return":
        pairs.extend(zip(block.terminator.operands, em.body.results, strict=True))
    for value, target in pairs:
        if isinstance(value.type, Tensor):
            assigned.setdefault(value, []).append(target)
    em.emit_block(block, assigned)
    for child in [b for b, parent in parents.items() if parent is block]:
        em.push()
        enclosing, em.floor = em.floor, em.depth
        emit_tree(em, child, parents)
        em.floor = enclosing
        lines = em.pop()
        em.block(f"{em.body.blocks[child.label][0]}:", lines)


def jump(em: Emitter, successor: tuple[str, list[Value]]) -> None:
    label, values = successor
    name, block = em.body.blocks[label]
    deliver(em, values, block.arguments)
    em.line(f"goto {name};")


def deliver(em: Emitter, values: list[Value], targets: Sequence[Value]) -> None:
    """Assigns scalars to the variables declared for ``targets``."""
    pairs = [
        (value, em.scalars[target])
        for value, target in zip(values, targets, strict=True)
        if not isinstance(value.type, Tensor)
    ]
    assign_scalars(em, [v for v, _ in pairs], [n for _, n in pairs])


@executes("cf.br")
def branch(em: Emitter, op: Op) -> None:
    jump(em, op.attributes["successors"][0])


@executes("cf.cond_br")
def conditional_branch(em: Emitter, op: Op) -> None:
    condition = em.element(op.operands[0], ())
    yes, no = op.attributes["successors"]
    em.push()
    jump(em, yes)
    em.block(f"if ({condition})", em.pop())
    em.push()
    jump(em, no)
    em.block("else", em.pop())


@executes("tt.return")
def return_(em: Emitter, op: Op) -> None:
    deliver(em, op.operands, em.body.results)
    if em.body.end:
        em.line(f"goto {em.body.end};")
    elif len(em.body.blocks) > 1:
        em.line("return;")


@executes("tt.call")
def call(em: Emitter, op: Op) -> None:
    """A function with several blocks, written in the place of its call."""
    scalars = [result for result in op.results if not isinstance(result.type, Tensor)]
    for result in scalars:
        declare(em, result)
    end = em.fresh("end_of_call")
    em.push()
    emit_function_body(em, op.regions[0], op.results, end)
    em.block("", em.pop())
    em.line(f"{end}: ;")
