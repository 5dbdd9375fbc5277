"""Text of a Triton IR module -> data model (`ir`), for the syntax of Triton 3.6 to 3.9.

MLIR lets every operation define its own syntax. Nearly all of Triton's share one shape, which
`_generic` reads: operands, bare words, attributes, then types; the few that differ (constants and
structured control flow) have a method each.
"""

from __future__ import annotations

import re

from .ir import (
    Block,
    Element,
    Function,
    Location,
    Op,
    Pointer,
    Scalar,
    Tensor,
    Type,
    UnsupportedOperation,
    Value,
)

_SPACE = re.compile(r"(?:\s|//[^\n]*)*")
_VALUE = re.compile(r"%([\w$.-]+)(?:#(\d+))?")
_WORD = re.compile(r"[A-Za-z_][\w.$]*")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NUMBER = re.compile(r"-?(?:0x[0-9A-Fa-f]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)")
_SYMBOL = re.compile(r"@(?:\"([^\"]*)\"|([\w$.-]+))")
_LABEL = re.compile(r"\^([\w$.-]+)")
_DIMENSION = re.compile(r"(\d+)x")
_RESULTS = re.compile(r"%([\w$.-]+)(?::(\d+))?")

_LOCATION_ALIAS = re.compile(r"^#(loc\d*) = loc\((.*)\)$", re.MULTILINE)
_FILE_LINE = re.compile(r'"((?:[^"\\]|\\.)*)":(\d+):\d+')
_ALIAS_USE = re.compile(r"#(loc\d*)\b")


class ParseError(Exception):
    """Text that is not Triton IR as this parser knows it; names the kernel's line if it can."""


def parse(text: str) -> list[Function]:
    """Functions of a module, from its text with or without locations."""
    return _Parser(text).module()


class _Locations:
    """Resolves ``#loc12`` to the innermost line of the kernel that has one."""

    def __init__(self, text: str):
        self.aliases = dict(_LOCATION_ALIAS.findall(text))
        self.resolved: dict[str, Location | None] = {}

    def resolve(self, text: str) -> Location | None:
        """Location of the text inside ``loc(...)``; of a call chain, the innermost line."""
        direct = _FILE_LINE.search(text)
        if direct:
            return Location(direct[1], int(direct[2]))
        for alias in _ALIAS_USE.findall(text):
            if alias not in self.resolved:
                self.resolved[alias] = self.resolve(self.aliases.get(alias, ""))
            if self.resolved[alias]:
                return self.resolved[alias]
        return None


class _Parser:
    def __init__(self, text: str):
        self.text = text
        self.position = 0
        self.locations = _Locations(text)
        self.scopes: list[dict[str, list[Value]]] = [{}]

    # Scanning

    def skip(self) -> None:
        self.position = _SPACE.match(self.text, self.position).end()

    def at(self, token: str) -> bool:
        self.skip()
        return self.text.startswith(token, self.position)

    def accept(self, token: str) -> bool:
        if self.at(token):
            self.position += len(token)
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.accept(token):
            raise self.error(f"expected {token!r}")

    def match(self, pattern: re.Pattern) -> re.Match | None:
        self.skip()
        found = pattern.match(self.text, self.position)
        if found:
            self.position = found.end()
        return found

    def need(self, pattern: re.Pattern, what: str) -> re.Match:
        found = self.match(pattern)
        if not found:
            raise self.error(f"expected {what}")
        return found

    def error(self, message: str) -> ParseError:
        line = self.text.count("\n", 0, self.position) + 1
        rest = self.text[self.position : self.position + 60].split("\n")[0]
        location = self.location_of_line()
        where = f"{location}: " if location else ""
        return ParseError(f"{where}Triton IR, line {line}: {message} at {rest!r}")

    def unsupported(self, what: str) -> UnsupportedOperation:
        return UnsupportedOperation(what, self.location_of_line())

    def location_of_line(self) -> Location | None:
        """The first location in what is left of the current line of text."""
        _, found, rest = self.text[self.position :].partition("\n")[0].partition("loc(")
        return self.locations.resolve(rest) if found else None

    def balanced(self) -> str:
        """The text of one bracketed group, brackets included."""
        self.skip()
        start, depth = self.position, 0
        while True:
            quoted = _STRING.match(self.text, self.position)
            if quoted:
                self.position = quoted.end()
                continue
            character = self.text[self.position]
            self.position += 1
            if character in "([{<":
                depth += 1
            elif character in ")]}" or character == ">" and self.text[self.position - 2] != "-":
                depth -= 1
                if depth == 0:
                    return self.text[start : self.position]

    def location(self) -> Location | None:
        if self.at("loc("):
            self.position += len("loc")
            return self.locations.resolve(self.balanced())
        return None

    # Names

    def define(self, name: str, values: list[Value]) -> None:
        self.scopes[-1][name] = values

    def use(self) -> Value:
        found = self.need(_VALUE, "a value")
        for scope in reversed(self.scopes):
            if found[1] in scope:
                return scope[found[1]][int(found[2] or 0)]
        raise self.error(f"unknown value %{found[1]}")

    def uses(self) -> list[Value]:
        values = [self.use()]
        while self.accept(","):
            values.append(self.use())
        return values

    # Types

    def type(self) -> Type:
        if self.accept("tensor<"):
            shape = []
            while found := self.match(_DIMENSION):
                shape.append(int(found[1]))
            element = self.element()
            if self.accept(","):
                raise self.error("a tensor with a layout is not Triton IR but its GPU form")
            self.expect(">")
            return Tensor(tuple(shape), element)
        return self.element()

    def element(self) -> Element:
        if self.accept("!tt.ptr<"):
            pointee = self.type()
            if self.accept(","):
                self.match(_STRING) or self.need(_NUMBER, "an address space")
            self.expect(">")
            if isinstance(pointee, Tensor):
                raise self.unsupported("a block pointer that was not rewritten")
            return Pointer(pointee)
        name = (
            self.need(_WORD, "a type")[0] if not self.at("!") else self.text[self.position :][:40]
        )
        if not re.fullmatch(r"i\d+|index|bf16|f\d+|f8E\w+", name):
            raise self.unsupported(f"the type {name}")
        return Scalar(name)

    def types(self) -> list[Type]:
        """``T``, ``T, U``, ``()`` or ``(T, U)``."""
        if self.accept("("):
            if self.accept(")"):
                return []
            types = self.types()
            self.expect(")")
            return types
        types = [self.type()]
        while self.accept(","):
            types.append(self.type())
        return types

    # Attributes

    def attribute(self) -> object:
        if self.at("array<"):
            self.position += len("array")
            return [int(n) for n in re.findall(r"-?\b\d+\b", self.balanced().partition(":")[2])]
        if self.at("dense<"):
            self.position += len("dense")
            value = self.balanced()[1:-1]
            if self.accept(":"):
                self.type()
            return value
        if self.accept("#"):  # an attribute of a dialect, such as a load's cache policy
            word = self.need(_WORD, "an attribute")[0]
            return word + (self.balanced() if self.at("<") else "")
        if self.at("[") or self.at("{") or self.at("<"):
            return self.balanced()
        if found := self.match(_STRING):
            return found[1]
        if found := self.match(_NUMBER):
            text = found[0]
            value: object = (
                text if text.startswith("0x") else float(text) if "." in text else int(text)
            )
            if self.accept(":"):
                self.type()
            return value
        word = self.need(_WORD, "an attribute")[0]
        return {"true": True, "false": False}.get(word, word)

    def dictionary(self, close: str) -> dict[str, object]:
        entries: dict[str, object] = {}
        while not self.accept(close):
            name = self.need(_WORD, "an attribute's name")[0]
            entries[name] = self.attribute() if self.accept("=") else True
            self.accept(",")
        return entries

    # Structure

    def module(self) -> list[Function]:
        while not self.at("module"):
            if not self.match(re.compile(r"#[^\n]*\n")):
                raise self.error("expected a module")
        self.expect("module")
        if self.accept("attributes"):
            self.balanced()
        self.expect("{")
        functions = []
        while not self.accept("}"):
            functions.append(self.function())
        return functions

    def function(self) -> Function:
        self.expect("tt.func")
        public = self.accept("public")
        self.accept("private")
        found = self.need(_SYMBOL, "a function's name")
        name = found[1] or found[2]
        self.scopes.append({})
        arguments = self.arguments()
        result_types = self.types() if self.accept("->") else []
        if self.accept("attributes"):
            self.balanced()
        blocks = self.region()
        self.scopes.pop()
        return Function(name, arguments, result_types, blocks, public, self.location())

    def arguments(self) -> list[Value]:
        """``(%a: T {attributes} loc(...), ...)``, defined in the current scope."""
        values: list[Value] = []
        self.expect("(")
        while not self.accept(")"):
            name = self.need(_VALUE, "an argument")[1]
            self.expect(":")
            value = Value(name, self.type())
            if self.at("{"):
                self.balanced()
            self.location()
            self.define(name, [value])
            values.append(value)
            self.accept(",")
        return values

    def region(self, arguments: list[Value] = ()) -> list[Block]:
        """``{ ... }``; ``arguments`` are those that the operation's header has defined."""
        self.expect("{")
        self.scopes.append({})
        blocks = [Block("", list(arguments))]
        while not self.accept("}"):
            if found := self.match(_LABEL):
                block = Block(found[1], self.arguments() if self.at("(") else [])
                self.expect(":")
                if len(blocks) == 1 and not blocks[0].ops and not arguments:
                    blocks = []
                blocks.append(block)
            else:
                blocks[-1].ops.append(self.operation())
        self.scopes.pop()
        return blocks

    def control_region(self, arguments: list[Value] = ()) -> list[Block]:
        """A region of structured control flow; a yield of nothing is not written out."""
        blocks = self.region(arguments)
        ops = blocks[0].ops
        if not ops or ops[-1].name not in ("scf.yield", "scf.condition"):
            ops.append(Op("scf.yield", [], [], {}, [], []))
        return blocks

    def operation(self) -> Op:
        names: list[tuple[str, int]] = []
        while found := self.match(_RESULTS):
            names.append((found[1], int(found[2] or 1)))
            if not self.accept(","):
                self.expect("=")
        quoted = self.match(_STRING)
        name = quoted[1] if quoted else self.need(_WORD, "an operation")[0]
        op = Op(name, [], [], {}, [], [])
        special = {
            "arith.constant": self.constant,
            "scf.for": self.for_,
            "scf.if": self.if_,
            "scf.while": self.while_,
            "tt.dot_scaled": self.dot_scaled,
        }
        result_types = special.get(name, self.generic)(op)
        op.location = self.location()
        for operand in op.operands:
            operand.uses.append(op)
        for result_name, count in names:
            mine, result_types = result_types[:count], result_types[count:]
            values = [Value(result_name, type_, op) for type_ in mine]
            self.define(result_name, values)
            op.results += values
        return op

    def generic(self, op: Op) -> list[Type]:
        """Everything up to the types, in any order: operands, words, attributes, regions."""
        self.scopes.append({})
        while not self.ended() and not self.at(":") and not self.at("->"):
            if self.at("%"):
                op.operands.append(self.use())
            elif self.accept("<{"):
                op.attributes |= self.dictionary("}>")
            elif self.accept("({"):
                self.position -= 1
                op.regions.append(self.region())
                while self.accept(","):
                    op.regions.append(self.region())
                self.expect(")")
            elif self.accept("{"):
                op.attributes |= self.dictionary("}")
            elif found := self.match(_STRING):
                op.attributes["string"] = found[1]
            elif found := self.match(_SYMBOL):
                op.attributes["symbol"] = found[1] or found[2]
            elif found := self.match(_LABEL):
                op.attributes.setdefault("successors", []).append(self.successor(found[1], op))
            elif found := self.match(_WORD):
                if self.accept("="):
                    op.attributes[found[0]] = self.attribute()
                else:
                    op.words.append(found[0])
            elif not any(self.accept(mark) for mark in ",()[]"):
                raise self.error(f"cannot read {op.name}")
        self.scopes.pop()
        return self.result_types(op)

    def successor(self, label: str, op: Op) -> tuple[str, list[Value]]:
        """``^bb1`` or ``^bb1(%a, %b : T, U)`` of a branch."""
        values: list[Value] = []
        if self.accept("("):
            values = self.uses()
            self.expect(":")
            self.types()
            self.expect(")")
        op.operands += values
        return label, values

    def ended(self) -> bool:
        """True where an operation without types ends: at a location or the end of its line."""
        here = re.compile(r"[ \t]*").match(self.text, self.position).end()
        return self.text.startswith("loc(", here) or self.text[here] in "\n}"

    def result_types(self, op: Op) -> list[Type]:
        """Reads the types and works out those of the results."""
        if self.accept("->"):  # no operands, and the types of the results are written out
            return self.types()
        if not self.accept(":"):
            return []
        if self.at("%"):  # tt.print: operands follow the first colon
            op.operands += self.uses()
            self.expect(":")
        types = self.types()
        while self.accept("*") or self.accept(","):
            types += self.types()
        if self.accept("->") or self.accept("to"):
            return self.types() * (2 if op.name == "tt.split" else 1)
        last = types[-1] if types else None
        if op.name in ("arith.cmpi", "arith.cmpf"):
            shaped = isinstance(last, Tensor)
            return [Tensor(last.shape, Scalar("i1")) if shaped else Scalar("i1")]
        if op.name == "tt.load":
            shaped = isinstance(types[0], Tensor)
            pointer = types[0].element if shaped else types[0]
            return [Tensor(types[0].shape, pointer.pointee) if shaped else pointer.pointee]
        if op.name == "arith.select":
            return [last]
        return [types[0]] * 2 if op.name.endswith("_extended") else types[:1]

    def constant(self, op: Op) -> list[Type]:
        if self.at("{"):
            self.balanced()
        value = self.attribute_literal()
        op.attributes["value"] = value
        if value in ("true", "false") and not self.at(":"):
            return [Scalar("i1")]
        self.expect(":")
        return [self.type()]

    def attribute_literal(self) -> str:
        """The literal of a constant as text; a dense one without its ``dense<>``."""
        if self.at("dense<"):
            self.position += len("dense")
            return self.balanced()[1:-1]
        found = self.match(_NUMBER) or self.need(_WORD, "a constant")
        return found[0]

    def dot_scaled(self, op: Op) -> list[Type]:
        """``%a scale %sa, %b scale %sb, %c lhs = e4m3 rhs = bf16``; a scale may be left out."""
        for side in ("lhs", "rhs"):
            op.operands.append(self.use())
            op.attributes[f"{side}_scaled"] = self.accept("scale")
            if op.attributes[f"{side}_scaled"]:
                op.operands.append(self.use())
            self.expect(",")
        return self.generic(op)

    def for_(self, op: Op) -> list[Type]:
        self.scopes.append({})
        if self.accept("unsigned"):
            op.words.append("unsigned")
        induction_name = self.need(_VALUE, "an induction variable")[1]
        self.expect("=")
        op.operands.append(self.use())
        self.expect("to")
        op.operands.append(self.use())
        self.expect("step")
        op.operands.append(self.use())
        carried: list[str] = []
        types: list[Type] = []
        if self.accept("iter_args("):
            while not self.accept(")"):
                carried.append(self.need(_VALUE, "an argument")[1])
                self.expect("=")
                op.operands.append(self.use())
                self.accept(",")
            self.expect("->")
            types = self.types()
        type_ = self.type() if self.accept(":") else Scalar("index")
        arguments = [Value(induction_name, type_)]
        arguments += [Value(name, t) for name, t in zip(carried, types, strict=True)]
        for value in arguments:
            self.define(value.name, [value])
        op.regions.append(self.control_region(arguments))
        self.scopes.pop()
        if self.accept("{"):
            op.attributes |= self.dictionary("}")
        return types

    def if_(self, op: Op) -> list[Type]:
        op.operands.append(self.use())
        types = self.types() if self.accept("->") else []
        op.regions.append(self.control_region())
        op.regions.append(self.control_region() if self.accept("else") else [])
        return types

    def while_(self, op: Op) -> list[Type]:
        self.scopes.append({})
        carried: list[str] = []
        if self.accept("("):
            while not self.accept(")"):
                carried.append(self.need(_VALUE, "an argument")[1])
                self.expect("=")
                op.operands.append(self.use())
                self.accept(",")
        self.expect(":")
        before_types = self.types()
        self.expect("->")
        types = self.types()
        arguments = [Value(n, t) for n, t in zip(carried, before_types, strict=True)]
        for value in arguments:
            self.define(value.name, [value])
        op.regions.append(self.control_region(arguments))
        self.scopes.pop()
        self.expect("do")
        op.regions.append(self.control_region())
        if self.accept("attributes"):
            self.balanced()
        return types
