"""Functions of several basic blocks, which is what a `return` inside an `if` becomes.

Every block is written inside the C block of its immediate dominator, after a label; so whatever
it may use is in scope, and branches are `goto`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Block, Op, Tensor, Value
from .control import assign_scalars, declare
from .registry import executes

if TYPE_CHECKING:
    from .emitter import Emitter


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


def emit_function_body(em: Emitter, blocks: list[Block]) -> None:
    em.blocks = {block.label: block for block in blocks}
    for block in blocks[1:]:
        for argument in block.arguments:
            if isinstance(argument.type, Tensor):
                em.new_array(argument)
            else:
                declare(em, argument)
    parents = immediate_dominators(blocks) if len(blocks) > 1 else {blocks[0]: None}
    emit_tree(em, blocks[0], parents)


def emit_tree(em: Emitter, block: Block, parents: dict[Block, Block | None]) -> None:
    """A block, then those that it dominates."""
    assigned: dict[Value, list[Value]] = {}
    for label, values in block.terminator.attributes.get("successors", ()):
        for value, argument in zip(values, em.blocks[label].arguments, strict=True):
            if isinstance(value.type, Tensor):
                assigned.setdefault(value, []).append(argument)
    em.emit_block(block, assigned)
    for child in [b for b, parent in parents.items() if parent is block]:
        em.push()
        enclosing, em.floor = em.floor, em.depth
        emit_tree(em, child, parents)
        em.floor = enclosing
        lines = em.pop()
        em.block(f"block_{child.label}:", lines)


def jump(em: Emitter, successor: tuple[str, list[Value]]) -> None:
    label, values = successor
    arguments = em.blocks[label].arguments
    pairs = [
        (value, em.scalars[argument])
        for value, argument in zip(values, arguments, strict=True)
        if not isinstance(value.type, Tensor)
    ]
    assign_scalars(em, [v for v, _ in pairs], [n for _, n in pairs])
    em.line(f"goto block_{label};")


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
    if len(em.blocks) > 1:
        em.line("return;")
