"""Random small kernels, run natively, in checked mode, in Triton's interpreter and in NumPy.

    python -m tests.cpu.fuzz --minutes 60

A kernel is made from a seed: loads with strides, masks and index tensors, arithmetic of all types,
reductions, scans, products, changes of shape, loops, branches, stores in place, atomics. It is
written twice, as a Triton kernel and as NumPy code on float64; every value carries a bound and a
grain, so that what is exact is compared exactly, and the rest within its rounding errors.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]

FLOATS = {"float32": 24, "float64": 53, "float16": 11, "bfloat16": 8}  # bits of the mantissa
INTEGERS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
TORCH = {name: getattr(torch, name) for name in (*FLOATS, *INTEGERS)}


@dataclass(frozen=True)
class Value:
    """A variable of the kernel.

    ``shape``: "" for a scalar, "r" or "c" for a vector along the rows or columns, "rc" for a block.
    ``bound``: no element is greater in magnitude. ``grain``: all elements are multiples of
    ``2**grain``; None if they are rounded, and then ``error`` bounds how much.
    """

    name: str
    dtype: str
    shape: str
    bound: float = 1.0
    grain: int | None = 0
    error: float = 0.0

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def exact(self) -> bool:
        return self.grain is not None


def rounded(value: Value) -> Value:
    """The value as its type holds it."""
    if not value.is_float:
        return value
    bits = FLOATS[value.dtype]
    if value.exact and value.bound < 2.0 ** (bits + value.grain):
        return value
    return replace(value, grain=None, error=value.error + value.bound * 2.0 ** (2 - bits))


# ---- What the NumPy side is made of --------------------------------------------------------------


def wrap(x, dtype):
    return np.asarray(x).astype(np.dtype(dtype)) if dtype in INTEGERS else np.asarray(x)


def quotient(a, b):
    return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)


def remainder(a, b):
    return (a - quotient(a, b) * b).astype(a.dtype)


def cast(x, dtype):
    """A conversion; floats stay float64, but are rounded to the type."""
    x = np.asarray(x)
    if dtype in INTEGERS:
        return (
            np.trunc(x).astype(np.int64).astype(dtype) if x.dtype.kind == "f" else x.astype(dtype)
        )
    x = x.astype(np.float64)
    if dtype == "float64":
        return x
    if dtype == "bfloat16":
        return torch.from_numpy(np.ascontiguousarray(x)).to(torch.bfloat16).double().numpy()
    return x.astype(dtype).astype(np.float64)


def load(memory, offsets, mask, other):
    offsets, mask = np.broadcast_arrays(offsets, mask)
    result = memory[np.where(mask, offsets, 0)]
    return np.where(mask, result, np.asarray(other, result.dtype))


def store(memory, offsets, value, mask):
    offsets, value, mask = np.broadcast_arrays(offsets, value, mask)
    memory[offsets[mask]] = value[mask]


def add_at(memory, offsets, value, mask):
    offsets, value, mask = np.broadcast_arrays(offsets, value, mask)
    np.add.at(memory, offsets[mask], value[mask])


NUMPY = {
    "np": np, "cast": cast, "load": load, "store": store, "add_at": add_at, "wrap": wrap,
    "quotient": quotient, "remainder": remainder,
}  # fmt: skip


# ---- Making a kernel -----------------------------------------------------------------------------


@dataclass
class Tensor:
    """An argument: a strided view of a buffer."""

    name: str
    dtype: str
    role: str  # "in", "inout", "out", "bins"
    offset: int
    strides: tuple[int, int]
    size: int
    value: Value | None = None  # of an output


class Kernel:
    """A random kernel, its NumPy twin, and its arguments."""

    def __init__(self, seed: int):
        self.seed = seed
        self.random = random.Random(seed)
        pick = self.random.choice
        self.BM, self.BN = pick([1, 2, 4, 8, 16]), pick([1, 4, 16, 32, 64])
        self.grid = (pick([1, 1, 2, 3]), pick([1, 1, 2]))
        self.M = max(1, self.grid[0] * self.BM - self.random.randrange(self.BM))
        self.N = max(1, self.grid[1] * self.BN - self.random.randrange(self.BN))
        self.tensors: list[Tensor] = []
        self.triton: list[str] = []
        self.numpy: list[str] = []
        self.indent = 1
        self.count = 0
        self.values: list[Value] = []
        self.used: set[str] = set()
        self.masks = ["inside"]
        self.make()

    # Text

    def line(self, ours: str, theirs: str | None = None) -> None:
        self.triton.append("    " * self.indent + ours)
        self.numpy.append("    " * self.indent + (ours if theirs is None else theirs))

    def fresh(self, prefix: str = "v") -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def let(self, value: Value, ours: str, theirs: str) -> Value:
        """Define a variable; ``value`` says what is known of it."""
        value = rounded(replace(value, name=self.fresh()))
        if value.dtype in INTEGERS:
            theirs = f"wrap({theirs}, '{value.dtype}')"
        elif value.is_float:
            theirs = f"cast({theirs}, '{value.dtype}')"
        self.line(f"{value.name} = {ours}", f"{value.name} = {theirs}")
        self.values.append(value)
        return value

    # Choosing operands

    def pick(self, test=lambda value: True) -> Value:
        """A variable that passes the test; the newest are the likeliest."""
        found = [value for value in self.values if test(value)]
        if not found:
            return self.load()
        value = self.random.choice(found[-6:] if self.random.random() < 0.7 else found)
        self.used.add(value.name)
        return value

    def cast(self, value: Value, dtype: str) -> Value:
        if value.dtype == dtype:
            return value
        if dtype in INTEGERS:
            limit = 2.0 ** (INTEGERS[dtype] - 1) - 1
            if value.is_float and (not value.exact or value.bound > limit):
                return self.full(dtype, value.shape)
            bound, grain = min(value.bound, limit), 0
            result = Value("", dtype, value.shape, bound, grain)
        else:
            result = replace(value, dtype=dtype)
        return self.let(result, f"{value.name}.to(tl.{dtype})", f"cast({value.name}, '{dtype}')")

    def full(self, dtype: str, shape: str) -> Value:
        number = self.random.randrange(-3, 4)
        sizes = ", ".join({"r": "BM", "c": "BN"}[axis] for axis in shape)
        sizes = f"[{sizes}]"
        numpy_type = "float64" if dtype in FLOATS else dtype
        return self.let(
            Value("", dtype, shape, 3.0, 0),
            f"tl.full({sizes}, {number}, tl.{dtype})",
            f"np.full({sizes}, {number}, '{numpy_type}')",
        )

    def expanded(self, value: Value, shape: str) -> str:
        """The variable's text where it meets others in a block of that shape."""
        if shape == "rc" and value.shape == "r":
            return f"{value.name}[:, None]"
        if shape == "rc" and value.shape == "c":
            return f"{value.name}[None, :]"
        return value.name

    def joint(self, *values: Value) -> str:
        """The shape of a combination."""
        axes = {axis for value in values for axis in value.shape}
        return "".join(axis for axis in "rc" if axis in axes)

    # Statements

    def load(self) -> Value:
        """A tensor of the kernel, or a new one; its own block, turned, or at any index."""
        pick = self.random.choice
        sources = [t for t in self.tensors if t.role in ("in", "inout")]
        if not sources or len(sources) < 4 and self.random.random() < 0.4:
            role = "inout" if self.random.random() < 0.3 else "in"
            tensor = self.tensor(pick([*FLOATS, *INTEGERS]), role)
        else:
            tensor = pick(sources)
        mask, offsets = pick(self.masks), self.offsets(tensor)
        theirs = offsets
        if tensor.role == "in" and self.random.random() < 0.25:
            index = self.pick(lambda v: v.dtype in ("int32", "int64") and v.shape == "rc")
            if index.shape == "rc" and index.dtype in ("int32", "int64"):
                name = self.fresh("g")
                size = tensor.size  # the remainder has the sign of the dividend, in NumPy not
                self.line(f"{name} = ({index.name} % {size} + {size}) % {size}",
                          f"{name} = {index.name} % {size}")  # fmt: skip
                offsets = theirs = name
        if mask == "inside" and self.random.random() < 0.2 and tensor.role == "in":
            name = self.fresh("m")
            self.line(f"{name} = inside & ((rows % 3 != 1)[:, None] | (cols % 5 == 2)[None, :])")
            mask = name
            self.masks.append(name)
        other = self.random.randrange(-2, 3)
        bound = 8.0
        return self.let(
            Value("", tensor.dtype, "rc", bound, -2 if tensor.dtype in FLOATS else 0),
            f"tl.load({tensor.name} + {offsets}, mask={mask}, other={other})",
            f"load({tensor.name}, {theirs}, {mask}, {other})",
        )

    def tensor(self, dtype: str, role: str) -> Tensor:
        pick = self.random.choice
        offset = pick([0, 0, 1, 7])
        if role == "bins":
            strides, size = (0, 1), 16
        else:
            width = self.N + pick([0, 0, 1, 5])
            strides = pick([(width, 1), (width, 1), (2 * width, 2), (1, self.M), (1, self.M + 3)])
            size = (self.M - 1) * strides[0] + (self.N - 1) * strides[1] + 1
        new = Tensor(self.fresh("t"), dtype, role, offset, strides, size)
        self.tensors.append(new)
        return new

    def offsets(self, tensor: Tensor) -> str:
        a, b = tensor.strides
        return f"(rows[:, None] * {a} + cols[None, :] * {b})"

    def binary(self) -> None:
        pick = self.random.choice
        a = self.pick()
        b = self.pick(lambda v: v.dtype == a.dtype) if self.random.random() < 0.7 else self.pick()
        b = self.cast(b, a.dtype)
        shape = self.joint(a, b)
        x, y = self.expanded(a, shape), self.expanded(b, shape)
        both = [a.grain, b.grain]
        grain = None if None in both else min(both)
        error = a.error + b.error
        if a.is_float:
            kind = pick(["+", "-", "*", "maximum", "minimum", "/"])
            if kind == "*":
                bound = a.bound * b.bound
                grain = None if None in both else sum(both)
                error = a.error * b.bound + b.error * a.bound + a.error * b.error
            elif kind == "/":
                return self.divided(a, b, x, y, shape)
            else:
                bound = a.bound + b.bound if kind in "+-" else max(a.bound, b.bound)
            if bound > 1e4:
                return None
        else:
            kind = pick(["+", "-", "*", "maximum", "minimum", "&", "|", "^", "//", "%"])
            limit = 2.0 ** (INTEGERS[a.dtype] - 1)
            if kind in ("//", "%"):
                divisor = self.random.randrange(1, 8) * pick([-1, 1])
                name = {"//": "quotient", "%": "remainder"}[kind]
                if a.bound >= limit - 1:
                    return None
                self.let(Value("", a.dtype, a.shape, a.bound), f"{a.name} {kind} {divisor}",
                         f"{name}({a.name}, np.array({divisor}, '{a.dtype}'))")  # fmt: skip
                return None
            bound = {"+": a.bound + b.bound, "-": a.bound + b.bound, "*": a.bound * b.bound}.get(
                kind, 2 * max(a.bound, b.bound) + 1
            )
            bound, grain, error = min(bound, limit), 0, 0.0
        value = Value("", a.dtype, shape, bound, grain, error)
        if kind in ("maximum", "minimum"):
            self.let(value, f"tl.{kind}({x}, {y})", f"np.{kind}({x}, {y})")
        else:
            self.let(value, f"{x} {kind} {y}", f"{x} {kind} {y}")
        return None

    def divided(self, a: Value, b: Value, x: str, y: str, shape: str) -> None:
        if a.dtype not in ("float32", "float64"):
            return
        value = Value("", a.dtype, shape, a.bound, None, a.error + a.bound * b.error)
        self.let(value, f"{x} / (tl.abs({y}) + 1)", f"{x} / (np.abs({y}) + 1)")

    def unary(self) -> None:
        a = self.pick()
        kinds = ["-", "abs"]
        if a.dtype in ("float32", "float64"):
            kinds += ["exp", "sqrt", "log", "sin", "sigmoid", "floor"]
        elif not a.is_float:
            kinds += ["~", "<<", ">>"]
        kind = self.random.choice(kinds)
        if kind in ("-", "abs"):
            if not a.is_float and a.bound >= 2.0 ** (INTEGERS[a.dtype] - 1) - 1:
                return
            call = (
                (f"-{a.name}",) * 2 if kind == "-" else (f"tl.abs({a.name})", f"np.abs({a.name})")
            )
            self.let(a, *call)
        elif kind == "~":
            self.let(replace(a, bound=a.bound + 1), f"~{a.name}", f"~{a.name}")
        elif kind in ("<<", ">>"):
            bits = INTEGERS[a.dtype]
            by = self.random.randrange(min(bits, 6))
            bound = min(a.bound * 2**by, 2.0 ** (bits - 1)) if kind == "<<" else a.bound
            self.let(replace(a, bound=bound), f"{a.name} {kind} {by}", f"{a.name} {kind} {by}")
        elif kind == "floor":
            if a.exact:
                self.let(replace(a, bound=a.bound + 1, grain=max(a.grain, 0)),
                         f"tl.floor({a.name})", f"np.floor({a.name})")  # fmt: skip
        else:
            calls = {
                "exp": (f"tl.exp(-tl.abs({a.name}))", f"np.exp(-np.abs({a.name}))", 1.0, 1.0),
                "sqrt": (f"tl.sqrt(tl.abs({a.name}) + 1)", f"np.sqrt(np.abs({a.name}) + 1)",
                         a.bound + 1, 1.0),
                "log": (f"tl.log(tl.abs({a.name}) + 1)", f"np.log(np.abs({a.name}) + 1)",
                        a.bound + 1, 1.0),
                "sin": (f"tl.sin({a.name})", f"np.sin({a.name})", 1.0, 1.0),
                "sigmoid": (f"tl.sigmoid({a.name})", f"1 / (1 + np.exp(-{a.name}))", 1.0, 1.0),
            }  # fmt: skip
            ours, theirs, bound, slope = calls[kind]
            self.let(Value("", a.dtype, a.shape, bound, None, a.error * slope), ours, theirs)

    def select(self) -> None:
        c = self.pick(lambda v: v.exact)
        a = self.pick()
        b = self.cast(self.pick(), a.dtype)
        if not c.exact:
            return
        shape = self.joint(a, b, c)
        test = f"{self.expanded(c, shape)} {self.random.choice(['<', '<=', '==', '>', '!='])} 1"
        x, y = self.expanded(a, shape), self.expanded(b, shape)
        grain = None if None in (a.grain, b.grain) else min(a.grain, b.grain)
        value = Value("", a.dtype, shape, max(a.bound, b.bound), grain, max(a.error, b.error))
        self.let(value, f"tl.where({test}, {x}, {y})", f"np.where({test}, {x}, {y})")
        # The interpreter takes no mask that comes from a scalar.
        if shape == "rc" and c.shape and self.random.random() < 0.3:
            name = self.fresh("m")
            self.line(f"{name} = inside & ({test})")
            self.masks.append(name)

    def convert(self) -> None:
        self.cast(self.pick(), self.random.choice([*FLOATS, *INTEGERS]))

    def reduce(self) -> None:
        a = self.pick(lambda v: "r" in v.shape or "c" in v.shape)
        if not a.shape:
            return
        a = self.cast(a, a.dtype if a.dtype in ("float64", "int64") else
                      "float32" if a.is_float else "int32")  # fmt: skip
        axis = self.random.randrange(len(a.shape))
        extent = {"r": self.BM, "c": self.BN}[a.shape[axis]]
        rest = a.shape[:axis] + a.shape[axis + 1 :]
        kind = self.random.choice(["sum", "sum", "max", "min", "argmax", "cumsum", "xor_sum"])
        if kind == "sum" or kind == "cumsum":
            bound = a.bound * extent
            if bound > (1e4 if a.is_float else 2.0**31):
                return
            value = Value("", a.dtype, rest if kind == "sum" else a.shape, bound, a.grain,
                          a.error * extent)  # fmt: skip
            self.let(
                value, f"tl.{kind}({a.name}, axis={axis})", f"np.{kind}({a.name}, axis={axis})"
            )
        elif kind == "xor_sum":
            if not a.is_float:
                self.let(Value("", a.dtype, rest, 2 * a.bound + 1),
                         f"tl.xor_sum({a.name}, axis={axis})",
                         f"np.bitwise_xor.reduce({a.name}, axis={axis})")  # fmt: skip
        elif kind == "argmax":
            if a.exact:
                self.let(Value("", "int32", rest, extent), f"tl.argmax({a.name}, axis={axis})",
                         f"np.argmax({a.name}, axis={axis})")  # fmt: skip
        else:
            self.let(replace(a, shape=rest), f"tl.{kind}({a.name}, axis={axis})",
                     f"np.{kind}({a.name}, axis={axis})")  # fmt: skip

    def rearrange(self) -> None:
        a = self.pick(lambda v: v.shape == "rc")
        if a.shape != "rc":
            return
        kind = self.random.choice(["trans", "reshape", "join", "flip"])
        x = a.name
        if kind == "trans":
            self.let(a, f"tl.reshape(tl.trans({x}), (BM, BN))", f"np.reshape({x}.T, (BM, BN))")
        elif kind == "reshape":
            self.let(a, f"tl.trans(tl.reshape({x}, (BN, BM)))", f"np.reshape({x}, (BN, BM)).T")
        elif kind == "flip":
            self.let(a, f"tl.flip({x}, 1)", f"{x}[:, ::-1]")
        elif self.BN > 1:
            name = self.fresh("p")
            self.line(
                f"{name}, {name}b = tl.split(tl.reshape({x}, (BM, BN // 2, 2)))",
                f"{name}, {name}b = np.moveaxis(np.reshape({x}, (BM, BN // 2, 2)), 2, 0)",
            )
            self.let(a, f"tl.reshape(tl.join({name}b, {name}), (BM, BN))",
                     f"np.reshape(np.stack([{name}b, {name}], 2), (BM, BN))")  # fmt: skip

    def product(self) -> None:
        a = self.pick(lambda v: v.shape == "rc")
        b = self.pick(lambda v: v.shape == "rc")
        if a.shape + b.shape != "rcrc" or a.bound * b.bound * self.BN > 1e4:
            return
        narrow = self.random.choice(["float32", "float32", "float16", "float64"])
        a, b = self.cast(a, narrow), self.cast(b, narrow)
        into = "float64" if narrow == "float64" else "float32"
        grain = None if None in (a.grain, b.grain) else a.grain + b.grain
        bound = a.bound * b.bound * self.BN
        error = self.BN * (a.error * b.bound + b.error * a.bound + a.error * b.error)
        name = self.fresh("d")
        self.line(
            f"{name} = tl.dot({a.name}, tl.trans({b.name}), out_dtype=tl.{into}, "
            "input_precision='ieee')",
            f"{name} = {a.name} @ {b.name}.T",
        )
        if bound * self.BM <= 1e5:
            axis = self.random.randrange(2)
            self.let(Value("", into, "r", bound * self.BM, grain, error * self.BM),
                     f"tl.sum({name}, axis={axis})", f"np.sum({name}, axis={axis})")  # fmt: skip

    def loop(self) -> None:
        """A loop that adds to an accumulator what its body computes."""
        if self.indent > 2:
            return
        start = self.pick(lambda v: v.dtype in ("float32", "float64", "int32", "int64"))
        if start.dtype not in ("float32", "float64", "int32", "int64"):
            return
        total, index, trips = self.fresh("a"), self.fresh("k"), self.random.randrange(0, 4)
        start = self.cast(start, start.dtype)
        self.line(f"{total} = {start.name}")
        self.line(f"for {index} in range({'n_' if self.random.random() < 0.5 else ''}{trips}):",
                  f"for {index} in range({trips}):")  # fmt: skip
        self.triton[-1] = self.triton[-1].replace(f"n_{trips}", f"zero + {trips}")
        outside, masks = list(self.values), list(self.masks)
        self.indent += 1
        k = self.let(Value("", "int32", "", 4.0), f"{index} * 1", f"np.int32({index})")
        for _ in range(self.random.randrange(1, 4)):
            self.statement()
        allowed = self.joint(start)
        term = self.pick(lambda v: set(v.shape) <= set(allowed) and v.bound < 1e3)
        if not set(term.shape) <= set(allowed) or term.bound >= 1e3:
            term = k
        term = self.cast(term, start.dtype)
        self.line(
            f"{total} = {total} + {self.expanded(term, start.shape)}",
            f"{total} = wrap({total} + {self.expanded(term, start.shape)}, '{start.dtype}')",
        )
        self.indent -= 1
        self.values, self.masks = outside, masks
        grains = [start.grain, term.grain]
        bound = start.bound + trips * term.bound
        error = start.error + trips * (term.error + bound * 2.0**-22)
        grain = None if None in grains else min(grains)
        self.let(Value("", start.dtype, start.shape, bound, grain, error * (grain is None)),
                 total, total)  # fmt: skip

    def branch(self) -> None:
        if self.indent > 2:
            return
        value = self.pick()
        result = self.fresh("b")
        self.line(f"{result} = {value.name}")
        axis = self.random.randrange(2)
        self.line(f"if tl.program_id({axis}) == {self.random.randrange(2)}:",
                  f"if pid[{axis}] == 0:")  # fmt: skip
        self.numpy[-1] = self.numpy[-1].replace(
            "== 0", self.triton[-1].split(")")[1].strip().rstrip(":")
        )
        outside, masks = list(self.values), list(self.masks)
        self.indent += 1
        for _ in range(self.random.randrange(1, 3)):
            self.statement()
        other = self.pick(lambda v: v.shape == value.shape)
        if other.shape != value.shape:
            other = value
        other = self.cast(other, value.dtype)
        self.line(f"{result} = {other.name}")
        self.indent -= 1
        self.values, self.masks = outside, masks
        grain = None if None in (value.grain, other.grain) else min(value.grain, other.grain)
        self.let(Value("", value.dtype, value.shape, max(value.bound, other.bound), grain,
                       max(value.error, other.error)), result, result)  # fmt: skip

    def in_place(self) -> None:
        """A store into a tensor that is also read."""
        tensors = [t for t in self.tensors if t.role == "inout"]
        value = self.pick(lambda v: v.exact and v.bound <= 8 and v.shape == "rc")
        if not tensors or not value.exact or value.bound > 8 or value.shape != "rc":
            return
        tensor = self.random.choice(tensors)
        if tensor.dtype in FLOATS and (value.grain < -2 or value.bound > 8):
            return
        value = self.cast(value, tensor.dtype)
        mask = self.random.choice(self.masks)
        where = self.offsets(tensor)
        self.line(f"tl.store({tensor.name} + {where}, {value.name}, mask={mask})",
                  f"store({tensor.name}, {where}, {value.name}, {mask})")  # fmt: skip

    def count_up(self) -> None:
        value = self.pick(lambda v: v.dtype == "int32" and v.shape == "rc")
        if value.dtype != "int32" or value.shape != "rc":
            return
        bins = self.tensor("int32", "bins")
        self.line(f"tl.atomic_add({bins.name} + ({value.name} & 15), 1, mask=inside)",
                  f"add_at({bins.name}, {value.name} & 15, np.int32(1), inside)")  # fmt: skip

    def statement(self) -> None:
        kinds = [
            (self.binary, 8), (self.unary, 4), (self.load, 3), (self.select, 3), (self.convert, 2),
            (self.reduce, 4), (self.rearrange, 2), (self.product, 1), (self.loop, 2),
            (self.branch, 1), (self.in_place, 2), (self.count_up, 1),
        ]  # fmt: skip
        statements, weights = zip(*kinds, strict=True)
        self.random.choices(statements, weights)[0]()

    def store(self) -> None:
        """A result that nothing else has used, if there is one."""
        value = self.pick(lambda v: v.name not in self.used)
        dtype = value.dtype
        tensor = self.tensor(dtype, "out")
        tensor.value = value
        mask = self.random.choice(self.masks)
        where = self.offsets(tensor)
        text = {"r": f"{value.name}[:, None]", "c": f"{value.name}[None, :]"}.get(
            value.shape, value.name
        )
        ours = f"tl.broadcast_to({text}, [BM, BN])" if value.shape in ("r", "c") else text
        if value.shape == "":
            ours = f"tl.full([BM, BN], 0, tl.{dtype}) + {text}"
        self.line(f"tl.store({tensor.name} + {where}, {ours}, mask={mask})",
                  f"store({tensor.name}, {where}, {text}, {mask})")  # fmt: skip

    def make(self) -> None:
        self.line("rows = tl.program_id(0) * BM + tl.arange(0, BM)",
                  f"rows = pid[0] * BM + np.arange({self.BM}, dtype='int32')")  # fmt: skip
        self.line("cols = tl.program_id(1) * BN + tl.arange(0, BN)",
                  f"cols = pid[1] * BN + np.arange({self.BN}, dtype='int32')")  # fmt: skip
        self.line("inside = (rows < M)[:, None] & (cols < N)[None, :]")
        self.load()
        self.let(Value("", "int32", "r", 64.0), "rows % 37", "rows % 37")
        self.let(Value("", "int32", "rc", 4096.0), "rows[:, None] * 3 + cols[None, :]",
                 "rows[:, None] * 3 + cols[None, :]")  # fmt: skip
        for _ in range(self.random.randrange(3, 14)):
            self.statement()
            if self.random.random() < 0.15:
                self.store()
        for _ in range(self.random.randrange(2, 6)):
            self.store()

    # Running

    def source(self) -> str:
        """A module with the Triton kernel."""
        names = ", ".join(tensor.name for tensor in self.tensors)
        body = "\n".join(self.triton)
        return (
            "import triton\nimport triton.language as tl\n\n\n@triton.jit\n"
            f"def kernel({names}, M, N, zero, BM: tl.constexpr, BN: tl.constexpr):\n{body}\n"
        )

    def uses(self, dtype: str) -> bool:
        return dtype in self.source() or any(tensor.dtype == dtype for tensor in self.tensors)

    def twin(self) -> str:
        """The same in NumPy, for one program."""
        names = ", ".join(tensor.name for tensor in self.tensors)
        return f"def twin({names}, M, N, BM, BN, pid):\n" + "\n".join(self.numpy) + "\n"

    def buffers(self) -> list[torch.Tensor]:
        """The arguments' memory, the same for every run; a view is from `offset` on."""
        generator = np.random.default_rng(self.seed)
        result = []
        for tensor in self.tensors:
            values = generator.integers(-32, 33, tensor.offset + tensor.size)
            if tensor.role in ("bins", "out"):
                values[:] = 0
            scaled = values / 4 if tensor.dtype in FLOATS else values // 4
            result.append(torch.from_numpy(scaled).to(TORCH[tensor.dtype]))
        return result

    def run_triton(self, directory: str) -> list[torch.Tensor]:
        """All buffers after running the kernel, natively or in the interpreter."""
        path = Path(directory, f"kernel_{self.seed}.py")
        path.write_text(self.source())
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        buffers = self.buffers()
        views = [b[t.offset :] for b, t in zip(buffers, self.tensors, strict=True)]
        module.kernel[self.grid](*views, self.M, self.N, 0, BM=self.BM, BN=self.BN)
        return buffers

    def run_numpy(self) -> list[np.ndarray]:
        namespace = dict(NUMPY)
        exec(self.twin(), namespace)
        buffers = [
            b.double().numpy() if t.dtype in FLOATS else b.numpy()
            for b, t in zip(self.buffers(), self.tensors, strict=True)
        ]
        views = [b[t.offset :] for b, t in zip(buffers, self.tensors, strict=True)]
        with np.errstate(all="ignore"):
            for y in range(self.grid[1]):
                for x in range(self.grid[0]):
                    namespace["twin"](*views, self.M, self.N, self.BM, self.BN, (x, y))
        return buffers

    def difference(self, result: list[torch.Tensor], expected: list[np.ndarray]) -> str:
        """Which tensor is wrong, and how; empty if none is."""
        for tensor, ours, theirs in zip(self.tensors, result, expected, strict=True):
            ours = ours.double().numpy() if tensor.dtype in FLOATS else ours.numpy()
            value = tensor.value
            tolerance = 0.0
            if value is not None and value.is_float and not value.exact:
                bits = FLOATS[tensor.dtype]
                tolerance = 4 * (value.error + value.bound * 2.0 ** (4 - bits))
            apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
            wrong = ~(apart <= tolerance) & ~(np.isnan(ours) & np.isnan(theirs) if
                                              tensor.dtype in FLOATS else False)  # fmt: skip
            if wrong.any():
                at = int(np.argmax(wrong))
                return f"{tensor.name}[{at}] is {ours[at]}, not {theirs[at]} (+- {tolerance:.2g})"
        return ""


# ---- Comparing -----------------------------------------------------------------------------------


class Interpreter:
    """Another process, in which kernels run in Triton's interpreter."""

    def __init__(self, directory: str):
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cpu.fuzz", "--serve", directory],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "TRITON_INTERPRET": "1"},
        )  # fmt: skip

    def run(self, seed: int) -> list[torch.Tensor] | str:
        """The buffers, or what went wrong."""
        self.process.stdin.write(f"{seed}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if answer != "done":
            return answer or "the interpreter has ended"
        return torch.load(Path(self.directory, "result.pt"))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(directory: str) -> None:
    for line in sys.stdin:
        try:
            torch.save(Kernel(int(line)).run_triton(directory), Path(directory, "result.pt"))
            print("done", flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {error}".replace("\n", " ")[:300], flush=True)


def compare(seed: int, directory: str, interpreter: Interpreter | None = None) -> list[str]:
    """What is wrong with the kernel of a seed: a line for each way to run it that is."""
    import minitorch_triton.cpu as triton_cpu

    kernel = Kernel(seed)
    expected = kernel.run_numpy()
    problems = []
    for checked in (False, True):
        name = "checked" if checked else "native"
        try:
            with triton_cpu.checked(checked):
                result = kernel.run_triton(directory)
        except Exception as error:
            problems.append(f"{name}: {type(error).__name__}: {str(error)[:2000]}")
            continue
        if different := kernel.difference(result, expected):
            problems.append(f"{name}: {different}")
    # The interpreter keeps bfloat16 as unsigned integers, and computes with those.
    if interpreter is not None and not kernel.uses("bfloat16"):
        result = interpreter.run(seed)
        different = result if isinstance(result, str) else kernel.difference(result, expected)
        if different:
            problems.append(f"interpreter: {different}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="of the first kernel; else a random one")
    parser.add_argument("--kernels", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--show", action="store_true", help="print each kernel and its twin")
    parser.add_argument("--serve", metavar="DIRECTORY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    import minitorch_triton.cpu as triton_cpu

    triton_cpu.enable()
    first = options.seed if options.seed is not None else int(time.time()) * 1000
    end = time.monotonic() + 60 * options.minutes
    count = failures = 0
    with tempfile.TemporaryDirectory() as directory:
        os.environ["TRITON_CACHE_DIR"] = directory  # the kernels are of no further use
        interpreter = Interpreter(directory)
        for seed in range(first, first + options.kernels):
            if time.monotonic() > end:
                break
            if options.show:
                kernel = Kernel(seed)
                print(f"{kernel.source()}\n{kernel.twin()}", kernel.grid, kernel.M, kernel.N)
            try:
                problems = compare(seed, directory, interpreter)
            except Exception:
                problems = [f"the twin: {traceback.format_exc()}"]
            count += 1
            if problems:
                failures += 1
                print(f"--seed {seed} --kernels 1 --show\n  " + "\n  ".join(problems), flush=True)
        interpreter.close()
    print(f"{count} kernels from seed {first} on, {failures} of them wrong")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
