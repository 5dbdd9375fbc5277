"""Operations replaced by simpler ones, before planning starts.

- A call is replaced by the body of the function: Triton inlines only what has a single block and
  is not marked ``noinline``.
- `tl.sort` and `tl.topk` become the operation ``mt.sort``; Triton's are sorting networks, which
  suit a GPU and are so much code that compiling it takes long.
- A product of blocks in 8-bit or scaled formats becomes a product of float32 blocks.
- A reduction or scan of float16 or bfloat16 becomes one of float32, the result of which is rounded:
  the sum of 1024 ones in bfloat16, one after the other, would be 256. So does a sum of products.
- `tl.map_elementwise` becomes its function's operations on whole blocks, branches selections; so
  do the branches of the combine function of a reduction or scan.
- ``x ^ xor_sum(x)`` over an axis of two elements, with which `tl.flip` exchanges the two,
  becomes the view ``mt.swap``.
- A store of what an `if` results in is moved into its branches, so that the result needs no memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import analysis
from .ir import Block, Element, Function, Op, Scalar, Tensor, Type, UnsupportedOperation, Value

F32 = Scalar("f32")

# What float32 combines 16-bit floats with more exactly than they do themselves, or just as exactly.
_WIDENED = {
    *("arith.addf", "arith.mulf", "arith.maximumf", "arith.minimumf", "arith.maxnumf"),
    "arith.minnumf",
}

# Mangled name of the function behind tl.sort and tl.topk: the type of its block first, whether it
# sorts in descending order last. `keep_sorts_apart` in the backend sees to it that it is called.
SORT_FUNCTION = "triton.language.standard.sort_impl__"
_SORT = re.compile(re.escape(SORT_FUNCTION) + r"(u?).*c(?:constexpr_)?(True|False|\d+)_?$")


def rewrite(functions: list[Function]) -> Function:
    """The kernel of a module, without calls and with the replacements above made in it."""
    by_name = {function.name: function for function in functions}
    kernels = [function for function in functions if function.public]
    if len(kernels) != 1:
        raise UnsupportedOperation(f"a module of {len(kernels)} kernels")
    (kernel,) = kernels
    for block in kernel.blocks:
        _inline_calls(block, by_name, (kernel.name,))
        if block.terminator.name == "tt.return":  # nobody gets what a kernel returns
            for operand in block.terminator.operands:
                operand.uses.remove(block.terminator)
            block.terminator.operands = []
    for block in _blocks(kernel.blocks):
        for op in list(block.ops):
            if op.name in ("tt.dot", "tt.dot_scaled"):
                _product(_Replacement(block, op))
            elif op.name == "scf.for":
                for number, result in enumerate(op.results):
                    if _is_half(result) and analysis.is_product_sum(op, number):
                        _Replacement(block, op).widen_sum(number)
            elif op.name == "tt.map_elementwise":
                _Mapping(block, op).run()
            elif op.name in ("tt.reduce", "tt.scan"):
                for inner in list(op.body.ops):
                    if inner.regions:
                        _Selections(op.body, inner).run()
                if analysis.single_combiner(op) in _WIDENED and _is_half(op.operands[0]):
                    _Replacement(block, op).widen_reduction()
            elif op.name == "arith.xori":
                _exchange(block, op)
            elif op.attributes.get("string", "").startswith("griddepcontrol."):
                op.name = "tt.grid_dependency_wait"  # its name since Triton 3.9
            elif op.name == "scf.if":
                _store_in_branches(block, op)
    return kernel


def _blocks(blocks: list[Block]) -> Iterator[Block]:
    """Blocks and all those inside their operations."""
    for block in blocks:
        yield block
        for op in block.ops:
            for region in op.regions:
                yield from _blocks(region)


# ---- Calls ---------------------------------------------------------------------------------------


def _inline_calls(block: Block, functions: dict[str, Function], callers: tuple[str, ...]) -> None:
    for op in list(block.ops):
        for region in op.regions:
            for nested in region:
                _inline_calls(nested, functions, callers)
        if op.name == "tt.call" and (sort := _SORT.match(op.attributes["symbol"])):
            op.name = "mt.sort"
            op.attributes = {
                "unsigned": sort[1] == "u",
                "descending": sort[2] not in ("0", "False"),
            }
        elif op.name == "tt.call":
            name = op.attributes["symbol"]
            if name in callers:
                raise UnsupportedOperation(f"{name} calls itself", op.location)
            blocks = _instantiate(functions[name], op.operands)
            for inner in blocks:
                _inline_calls(inner, functions, (*callers, name))
            _place_body(block, op, blocks)


def _place_body(block: Block, call: Op, blocks: list[Block]) -> None:
    """Puts a function's body in the place of a call: among the caller's operations if it is a
    single block, else as the region of the call."""
    for operand in call.operands:
        operand.uses.remove(call)
    call.operands = []
    if len(blocks) > 1:
        call.regions = [blocks]
        return
    (body,) = blocks
    returned = body.ops.pop()
    for result, value in zip(call.results, returned.operands, strict=True):
        value.uses.remove(returned)
        _replace_uses(result, value)
    place = block.ops.index(call)
    block.ops[place : place + 1] = body.ops


def _instantiate(function: Function, operands: list[Value]) -> list[Block]:
    """A copy of a function's blocks, with the operands of a call for its arguments."""
    values = dict(zip(function.arguments, operands, strict=True))
    return _copy_blocks(function.blocks, values)


def _copy_blocks(blocks: list[Block], values: dict[Value, Value]) -> list[Block]:
    copies = []
    for block in blocks:
        arguments = [Value(argument.name, argument.type) for argument in block.arguments]
        values.update(zip(block.arguments, arguments, strict=True))
        copies.append(Block(block.label, arguments))
    for block, copy in zip(blocks, copies, strict=True):
        copy.ops = [_copy_op(op, values) for op in block.ops]
    return copies


def _copy_op(op: Op, values: dict[Value, Value]) -> Op:
    operands = [values[operand] for operand in op.operands]
    attributes = dict(op.attributes)
    if "successors" in attributes:
        attributes["successors"] = [
            (label, [values[value] for value in passed])
            for label, passed in op.attributes["successors"]
        ]
    copy = Op(op.name, operands, [], attributes, op.words, [], op.location)
    for operand in operands:
        operand.uses.append(copy)
    copy.results = [Value(result.name, result.type, copy) for result in op.results]
    copy.regions = [_copy_blocks(region, values) for region in op.regions]
    values.update(zip(op.results, copy.results, strict=True))
    return copy


def _replace_uses(old: Value, new: Value) -> None:
    for use in old.uses:
        use.operands = [new if operand is old else operand for operand in use.operands]
        if "successors" in use.attributes:
            use.attributes["successors"] = [
                (label, [new if value is old else value for value in passed])
                for label, passed in use.attributes["successors"]
            ]
    new.uses += old.uses
    old.uses = []


# ---- Products, and sums of 16-bit floats ---------------------------------------------------------


def _is_half(value: Value) -> bool:
    return value.element.is_float and value.element.bits == 16


def _product(product: _Replacement) -> None:
    """A product as one of types that there are functions for, with a sum in float32."""
    op = product.op
    if op.name == "tt.dot_scaled":
        product.scaled_product()
    elif op.operands[0].element.name.startswith("f8"):
        product.widen_product()
    if _is_half(op.result):
        product.widen_accumulator()


class _Replacement:
    """Puts operations before one of a block, and changes that one."""

    def __init__(self, block: Block, op: Op):
        self.block = block
        self.op = op

    def new(self, name: str, operands: list[Value], type_: Type, **attributes) -> Value:
        op = Op(name, operands, [], attributes, [], [], self.op.location)
        op.results = [Value(self.op.result.name, type_, op)]
        for operand in operands:
            operand.uses.append(op)
        self.block.ops.insert(self.block.ops.index(self.op), op)
        return op.result

    def become(self, name: str, operands: list[Value]) -> None:
        """Makes another operation, with other operands, of the one to replace."""
        for operand in self.op.operands:
            operand.uses.remove(self.op)
        for operand in operands:
            operand.uses.append(self.op)
        self.op.name, self.op.operands = name, operands

    def elementwise(self, name: str, value: Value, element: Scalar = F32) -> Value:
        return self.new(name, [value], Tensor(value.shape, element))

    def widen_product(self) -> None:
        """A product of 8-bit floats, every one of which float32 holds exactly."""
        a, b, accumulator = self.op.operands
        self.become("tt.dot", [self.widened(a), self.widened(b), accumulator])

    def widened(self, value: Value) -> Value:
        narrow = value.element.is_float and value.element.bits < 32
        return self.elementwise("tt.fp_to_fp", value) if narrow else value

    def widen_reduction(self) -> None:
        """A reduction or scan of one operand with one operation, computed in float32."""
        op = self.op
        self.become(op.name, [self.elementwise("arith.extf", op.operands[0])])
        for value in (*op.body.arguments, op.body.ops[0].result):
            value.type = F32
        self.round_result(0)

    def widen_accumulator(self) -> None:
        """A product that is added to 16-bit floats, computed in float32."""
        a, b, accumulator = self.op.operands
        self.become("tt.dot", [a, b, self.widened_sum(accumulator)])
        self.round_result(0)

    def widen_sum(self, number: int) -> None:
        """A loop that adds products to 16-bit floats; they are rounded once, after it."""
        loop = self.op
        operands = list(loop.operands)
        operands[number + 3] = self.widened_sum(operands[number + 3])
        self.become(loop.name, operands)
        wide = operands[number + 3].type
        loop.body.arguments[number + 1].type = wide
        loop.body.terminator.operands[number].type = wide
        self.round_result(number)

    def widened_sum(self, value: Value) -> Value:
        if analysis.is_zero(value):
            return self.new("arith.constant", [], Tensor(value.shape, F32), value="0.0")
        return self.elementwise("arith.extf", value)

    def round_result(self, number: int) -> None:
        """Makes a result float32; what used it gets it rounded to its old type."""
        op, rounded = self.op, self.op.results[number]
        wide = Tensor(rounded.shape, F32) if isinstance(rounded.type, Tensor) else F32
        result = Value(rounded.name, wide, op)
        op.results[number] = result
        rounded.op = Op("arith.truncf", [result], [rounded], {}, [], [], op.location)
        result.uses.append(rounded.op)
        self.block.ops.insert(self.block.ops.index(op) + 1, rounded.op)

    def scaled_product(self) -> None:
        """A product of blocks in microscaling formats: groups of elements along K share a scale.

        Source: OCP Microscaling Formats (MX) Specification 1.0, sections 5 and 6.
        """
        attributes, operands = self.op.attributes, iter(self.op.operands)
        a, a_scale = next(operands), next(operands) if attributes["lhs_scaled"] else None
        b, b_scale = next(operands), next(operands) if attributes["rhs_scaled"] else None
        accumulator = next(operands)
        a = self.unpacked(a, attributes["lhs"], axis=1 if attributes.get("lhs_k_pack", True) else 0)
        b = self.unpacked(b, attributes["rhs"], axis=0 if attributes.get("rhs_k_pack", True) else 1)
        if a_scale is not None:
            a = self.new("arith.mulf", [a, self.scales(a_scale, a.shape)], a.type)
        if b_scale is not None:
            scales = self.scales(b_scale, b.shape[::-1])
            scales = self.new("tt.trans", [scales], b.type, order=[1, 0])
            b = self.new("arith.mulf", [b, scales], b.type)
        self.become("tt.dot", [a, b, accumulator])

    def unpacked(self, value: Value, kind: str, axis: int) -> Value:
        """A matrix as float32; 4-bit numbers are packed in pairs along ``axis``, low bits first."""
        if kind != "e2m1":
            return self.widened(value)
        rows, columns = value.shape
        low, high = (self.elementwise(f"mt.e2m1_{half}", value) for half in ("low", "high"))
        pairs = self.new("tt.join", [low, high], Tensor((rows, columns, 2), F32))
        if axis == 1:
            return self.new("tt.reshape", [pairs], Tensor((rows, 2 * columns), F32))
        pairs = self.new("tt.trans", [pairs], Tensor((rows, 2, columns), F32), order=[0, 2, 1])
        return self.new("tt.reshape", [pairs], Tensor((2 * rows, columns), F32))

    def scales(self, value: Value, shape: tuple[int, ...]) -> Value:
        """A scale for each element; the given ones are powers of two, or 8-bit floats."""
        name = "tt.fp_to_fp" if value.element.is_float else "mt.e8m0_to_f32"
        scales = self.elementwise(name, value)
        rows, groups = value.shape
        size = shape[1] // groups
        scales = self.new("tt.expand_dims", [scales], Tensor((rows, groups, 1), F32), axis=2)
        scales = self.new("tt.broadcast", [scales], Tensor((rows, groups, size), F32))
        return self.new("tt.reshape", [scales], Tensor(shape, F32))


# ---- Functions of elements -----------------------------------------------------------------------

_MAPPED = (
    "arith.", "math.", "tt.extern_elementwise", "tt.bitcast", "tt.fp_to_fp", "tt.mulhiui",
    "tt.clampf", "tt.precise_",
)  # fmt: skip


class _Selections(_Replacement):
    """A function of single numbers without its branches: both ways are computed, and of the
    results one is selected."""

    shape: tuple[int, ...] = ()  # of the blocks that stand for its numbers
    where = "a combine function"

    def __init__(self, block: Block, op: Op):
        super().__init__(block, op)
        self.values: dict[Value, Value] = {}

    def run(self) -> None:
        """Replaces the operation, an ``if`` or the call of a function that has some."""
        for result, value in zip(self.op.results, self.branching(self.op), strict=True):
            _replace_uses(result, value)
        self.remove()

    def remove(self) -> None:
        for operand in self.op.operands:
            operand.uses.remove(self.op)
        self.block.ops.remove(self.op)

    def type_of(self, element: Element) -> Type:
        return Tensor(self.shape, element) if self.shape else element

    def at(self, value: Value) -> Value:
        """What stands for a number of the function."""
        if value not in self.values:
            if not self.shape:
                return value
            self.values[value] = self.new("tt.splat", [value], self.type_of(value.element))
        return self.values[value]

    def evaluate(self, blocks: list[Block], block: Block) -> list[Value]:
        """What the function of these blocks returns, from one of them on."""
        for op in block.ops[:-1]:
            if op.name in ("scf.if", "tt.call"):
                self.values.update(zip(op.results, self.branching(op), strict=True))
            elif op.regions or not op.name.startswith(_MAPPED):
                raise UnsupportedOperation(f"{op.name} in {self.where}", op.location)
            else:
                self.evaluate_op(op)
        end = block.terminator
        if "successors" not in end.attributes:
            return [self.at(value) for value in end.operands]
        ways = []
        for label, passed in end.attributes["successors"]:
            (target,) = (block for block in blocks if block.label == label)
            given = [self.at(value) for value in passed]
            self.values.update(zip(target.arguments, given, strict=True))
            ways.append(self.evaluate(blocks, target))
        return ways[0] if len(ways) == 1 else self.selected(end.operands[0], *ways)

    def branching(self, op: Op) -> list[Value]:
        """The results of an ``if`` or a call."""
        ways = [self.evaluate(region, region[0]) for region in op.regions if region]
        return ways[0] if len(ways) == 1 else self.selected(op.operands[0], *ways)

    def selected(self, condition: Value, ways: list[Value], others: list[Value]) -> list[Value]:
        condition = self.at(condition)
        return [
            yes if yes is no else self.new("arith.select", [condition, yes, no], yes.type)
            for yes, no in zip(ways, others, strict=True)
        ]

    def evaluate_op(self, op: Op) -> None:
        operands = [self.at(operand) for operand in op.operands]
        types = [self.type_of(result.element) for result in op.results]
        first = self.new(op.name, operands, types[0], **op.attributes)
        first.op.words = op.words
        first.op.results += [Value(first.name, type_, first.op) for type_ in types[1:]]
        self.values.update(zip(op.results, first.op.results, strict=True))


class _Mapping(_Selections):
    """`tl.map_elementwise`: a function of single numbers, applied to blocks; with ``pack``, to so
    many neighbours at a time."""

    where = "tl.map_elementwise"

    def run(self) -> None:
        op, pack = self.op, self.op.attributes["pack"]
        blocks = op.regions[0]
        parts = [part for operand in op.operands for part in self.split(operand, pack)]
        self.shape = parts[0].shape
        self.values.update(zip(blocks[0].arguments, parts, strict=True))
        returned = self.evaluate(blocks, blocks[0])
        for number, result in enumerate(op.results):
            joined = self.join(returned[number * pack : (number + 1) * pack], result.type)
            _replace_uses(result, joined)
        self.remove()

    def split(self, value: Value, count: int) -> list[Value]:
        """Every ``count``-th element of a block, for each of the starts."""
        if count == 1:
            return [value]
        *rows, last = value.shape
        half = Tensor((*rows, last // 2), value.element)
        pairs = self.new("tt.reshape", [value], Tensor((*half.shape, 2), value.element))
        even = self.new("tt.split", [pairs], half)
        odd = Value(even.name, half, even.op)
        even.op.results.append(odd)
        halves = (self.split(part, count // 2) for part in (even, odd))
        return [part for pair in zip(*halves, strict=True) for part in pair]

    def join(self, parts: list[Value], type_: Type) -> Value:
        """The block of which ``parts`` are every so-many-th elements."""
        if len(parts) == 1:
            return parts[0]
        *rows, last = type_.shape
        half = Tensor((*rows, last // 2), type_.element)
        even, odd = (self.join(parts[start::2], half) for start in range(2))
        pairs = self.new("tt.join", [even, odd], Tensor((*half.shape, 2), type_.element))
        return self.new("tt.reshape", [pairs], type_)


# ---- Branches ------------------------------------------------------------------------------------


def _store_in_branches(block: Block, branch: Op) -> None:
    """Moves stores of a branch's results into its bodies, as long as nothing that touches memory
    comes between."""
    place = block.ops.index(branch)
    for store in block.ops[place + 1 :]:
        if store.name == "tt.store" and store.operands[1].op is branch:
            pointer, value, *mask = store.operands
            addresses = _between(block, branch, [pointer, *mask])
            if addresses is None or value.uses != [store] or not isinstance(value.type, Tensor):
                return
            for op in addresses:
                block.ops.remove(op)
            block.ops[place:place] = addresses
            place += len(addresses)
            _store_in_each(branch, store)
            block.ops.remove(store)
        elif not analysis.is_silent(store) or store.name == "tt.load":
            return


def _between(block: Block, branch: Op, values: list[Value]) -> list[Op] | None:
    """The operations after ``branch`` that compute ``values``; None if it is one of them."""
    after = block.ops[block.ops.index(branch) + 1 :]
    needed: set[Op] = set()
    pending = [value.op for value in values]
    while pending:
        op = pending.pop()
        if op is branch:
            return None
        if op in after and op not in needed:
            needed.add(op)
            pending += [operand.op for operand in op.operands]
    return [op for op in after if op in needed]


def _store_in_each(branch: Op, store: Op) -> None:
    """Puts a copy of a store at the end of both bodies, in place of the result that it stores."""
    result = store.operands[1]
    number = branch.results.index(result)
    for (body,) in branch.regions:
        value = body.terminator.operands.pop(number)
        value.uses.remove(body.terminator)
        operands = [value if operand is result else operand for operand in store.operands]
        copy = Op(store.name, operands, [], dict(store.attributes), store.words, [], store.location)
        for operand in operands:
            operand.uses.append(copy)
        body.ops.insert(len(body.ops) - 1, copy)
    branch.results.remove(result)
    for operand in store.operands:
        operand.uses.remove(store)


# ---- Exchanges -----------------------------------------------------------------------------------


def _exchange(block: Block, op: Op) -> None:
    """``x ^ (x0 ^ x1)`` along an axis of two elements is the other one of the two."""
    for source, sum_ in (op.operands, op.operands[::-1]):
        axis = _axis_of_xor_sum(sum_, source)
        if axis is not None and source.shape[axis] == 2:
            _Replacement(block, op).become("mt.swap", [source])
            op.attributes["axis"] = axis
            _remove_unused(block, sum_)
            return


def _remove_unused(block: Block, value: Value) -> None:
    """Removes what computes a value that nothing uses any more."""
    op = value.op
    if value.uses or op not in block.ops:
        return
    block.ops.remove(op)
    for operand in op.operands:
        operand.uses.remove(op)
        if operand.op is not None and operand.op.name in ("tt.expand_dims", "tt.reduce"):
            _remove_unused(block, operand)


def _axis_of_xor_sum(value: Value, source: Value) -> int | None:
    """The axis over which ``value`` is the broadcast exclusive or of ``source``."""
    broadcast = value.op
    if broadcast is None or broadcast.name != "tt.broadcast":
        return None
    expanded = broadcast.operands[0].op
    if expanded is None or expanded.name != "tt.expand_dims":
        return None
    reduction = expanded.operands[0].op
    if reduction is None or reduction.name != "tt.reduce" or reduction.operands != [source]:
        return None
    axis = reduction.attributes["axis"]
    combiner = reduction.body.ops[0]
    direct = combiner.name == "arith.xori" and len(reduction.body.ops) == 2
    return axis if direct and expanded.attributes["axis"] == axis else None
