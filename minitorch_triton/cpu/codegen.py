"""Triton IR text -> the text of a C file.

The stages are `parser` (text to model), `rewrite` (fewer kinds of operations), `schedule` (which
operations share a loop nest) and `emit` (C). The file defines ``body``, the code of one program,
and ends with the macro of ``mt_launch.h`` that makes it a library, with the entry ``mt_entry``.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import emit  # noqa: F401  (fills the registry of operations)
from .emit import check as checks
from .emit import ctypes
from .emit.branches import emit_function_body
from .emit.emitter import Emitter
from .instrument import Site, instrument
from .ir import Function, Pointer, Value
from .parser import parse
from .rewrite import rewrite
from .schedule import NO_ARGUMENTS_OVERLAP, Apart, Overlap, Plan

_PRELUDE = """\
#include <stdbool.h>
#include <stdint.h>
#include "mt_launch.h"
#include "mt_math.h"
#define MT_INFINITY __builtin_inff()
#define MT_NAN __builtin_nanf("")
#define MT_MIN(a, b) ((a) < (b) ? (a) : (b))
#define MT_MAX(a, b) ((a) > (b) ? (a) : (b))
#define MT_OPAQUE(x) __asm__("" : "+r"(x))
#define MT_LANES __attribute__((aligned(64)))
#define MT_SWAP(a, b) do { __typeof__(a) other = (a); (a) = (b); (b) = other; } while (0)
"""


@dataclass(frozen=True)
class CSource:
    """A complete C file for one kernel.

    ``products`` are the kinds of matrix products whose object code (see ``mt_gemm.h``) it needs.
    ``apart`` are the pairs of arguments, by number, that must not overlap in part. Of some of
    them it does not run either if they are the same tensor; see ``mt_launch.h``.
    """

    text: str
    name: str
    products: tuple[str, ...] = ()
    apart: tuple[tuple[int, ...], ...] = ()


def compile_to_c(
    ttir: str,
    check: bool = False,
    overlap: Overlap = NO_ARGUMENTS_OVERLAP,
    plans: list[Plan] | None = None,
) -> CSource:
    """Translates a module of Triton IR, printed with or without locations.

    With ``check`` the kernel looks at its accesses to memory; see `instrument`. ``overlap`` tells
    which of its pointers may overlap. The loop plans of its blocks are added to ``plans`` as they
    are made.

    Raises `ir.UnsupportedOperation`, which names the operation and the kernel's file and line.
    """
    kernel = rewrite(parse(ttir))
    sites = instrument(kernel) if check else []
    em = Emitter(kernel, overlap)
    if plans is not None:
        em.plans = plans
    lines = _body(em, kernel)
    products = tuple(sorted(em.products))
    headers = em.headers | ({"mt_gemm.h"} if products else set())
    same = _same_tensors(em.apart, kernel)
    if sites:
        entry = f"MT_CHECKED_ENTRY(body, {same})"
    elif em.waits:
        entry = f"MT_WAITING_ENTRY(body, {same}, {int(not em.waits_for_values)})"
    else:
        entry = f"MT_ENTRY(body, {same}, 0)"
    text = _file(kernel, lines, headers, sites, entry)
    apart = sorted(tuple(sorted(map(kernel.arguments.index, pair))) for pair in em.apart.or_same)
    return CSource(text, kernel.name, products, tuple(apart))


def _same_tensors(apart: Apart, kernel: Function) -> str:
    """A test in C whether arguments are the same tensor that are taken to be different ones."""

    def equal(pair: frozenset[Value]) -> str:
        a, b = sorted(kernel.arguments.index(value) for value in pair)
        return f"args[{a}] == args[{b}]"

    tests = []
    for pair, unless in apart.items():
        harmless = " && ".join(sorted(map(equal, unless or ())))
        tests.append(f"{equal(pair)} && !({harmless})" if harmless else equal(pair))
    return " || ".join(f"({test})" for test in sorted(tests)) or "0"


def _body(em: Emitter, kernel: Function) -> list[str]:
    em.push()
    for number, argument in enumerate(kernel.arguments):
        name = em.fresh(argument.name)
        em.scalars[argument] = name
        em.line(f"{_declaration(argument.element, name)} = {_argument(argument.element, number)};")
    emit_function_body(em, kernel.blocks)
    lines = em.pop()
    return [_allocation(*array) for array in em.scratch] + lines


def _file(
    kernel: Function, lines: list[str], headers: set[str], sites: list[Site], entry: str
) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    where = f"/* {kernel.name}, {kernel.location} */\n" if kernel.location else ""
    include = "".join(f'#include "{header}"\n' for header in sorted(headers))
    tables = checks.tables(sites, kernel.arguments)
    return (
        f"{where}{_PRELUDE}{include}{tables}\n"
        f"static void body(mt_launch *L) {{\n{body}\n}}\n\n{entry}\n"
    )


def _declaration(element, name: str) -> str:
    type_ = ctypes.variable_type(element)
    return f"{type_}const {name}" if type_.endswith("*") else f"const {type_} {name}"


def _argument(element, number: int) -> str:
    """Reads an argument from its slot: floats arrive as doubles, everything else as int64."""
    slot = f"L->args[{number}]"
    if isinstance(element, Pointer):
        return f"({ctypes.variable_type(element)}){slot}"
    if element.is_float:
        value = f"mt_bits_f64((uint64_t){slot})"
        return ctypes.rounded(element, f"({ctypes.variable_type(element)}){value}")
    return f"({ctypes.variable_type(element)}){slot}"


def _allocation(type_: str, name: str, count: int) -> str:
    return f"{type_} *{name} = MT_SCRATCH({count} * sizeof({type_}));"
