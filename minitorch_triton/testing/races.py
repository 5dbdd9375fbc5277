"""Stores that several programs of a launch make to one address, found in a kernel's Triton IR.

If the address of a store depends on the program's number along no axis of the grid that has more
than one program, all those programs write to the same place, and what is kept is chance, unless
all write the same. Dependencies are followed through every operation and loop, generously, so that
what is reported is a race indeed.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from triton.runtime.jit import JITFunction

_AXES = {"x": 0, "y": 1, "z": 2}
_VALUE = re.compile(r"%[\w$.-]+")
_LOCATION = re.compile(r" loc\((?:[^()]|\([^()]*\))*\)")


def racing_stores(ir: str, grid: tuple[int, ...]) -> list[str]:
    """The pointer arguments that are stored to by several programs at the same address.

    Args:
        ir: a kernel in Triton IR. grid: its number of programs along each axis.
    """
    lines = [_LOCATION.sub("", line).strip() for line in ir.splitlines()]
    axes = {axis for axis, size in enumerate(grid) if size > 1}
    depends, sources = _dependencies(lines)
    found = []
    guards: list[set[str]] = []
    for line in lines:
        if line.startswith("}") and guards:
            guards.pop()
        if line.endswith("{"):
            guards.append(set(_VALUE.findall(line)))
        if not line.startswith("tt.store"):
            continue
        operands = _VALUE.findall(line.partition(":")[0])
        address, value, mask = operands[0], operands[1], operands[2:]
        chosen = [address, *mask, *[name for guard in guards for name in guard]]
        decided = set().union(*[depends[name] for name in chosen])
        open_axes = axes - decided
        pointers = {name for name in sources[address] if name.startswith("ptr:")}
        read_back = bool(pointers & sources[value])
        if open_axes and (read_back or depends[value] & open_axes):
            found += [name.removeprefix("ptr:%") for name in sorted(pointers)]
    return list(dict.fromkeys(found))


def _dependencies(lines: list[str]) -> tuple[dict, dict]:
    """For each value the axes and the pointer arguments that it depends on."""
    depends: dict[str, set[int]] = defaultdict(set)
    sources: dict[str, set[str]] = defaultdict(set)
    edges: list[tuple[list[str], list[str]]] = []
    regions: list[list[str]] = []
    for line in lines:
        if "tt.func" in line:
            for name, kind in re.findall(r"(%[\w$.-]+): (!tt\.ptr|\w+)", line):
                if kind == "!tt.ptr":
                    sources[name].add(f"ptr:{name}")
            regions.append([])
            continue
        left, equals, right = line.partition(" = ")
        results = _VALUE.findall(left) if equals and left.startswith("%") else []
        operands = _VALUE.findall(right if results else line)
        axis = re.search(r"tt\.get_program_id (\w)", line)
        if axis:
            for name in results:
                depends[name].add(_AXES[axis.group(1)])
        results = [name.split(":")[0] for name in results]
        if line.startswith("}"):
            inner = regions.pop() if regions else []
            if line.endswith("{"):
                regions.append(inner)
        elif line.endswith("{"):
            # A loop or a branch: its results and arguments depend on all that enters and leaves.
            regions.append([*results, *operands])
            results = [*results, *operands]
        elif ".yield" in line and regions:
            results = regions[-1]
        edges.append((results, operands))
    changed = True
    while changed:
        changed = False
        for results, operands in edges:
            axes = set().union(*[depends[_base(name)] for name in operands])
            pointers = set().union(*[sources[_base(name)] for name in operands])
            for name in results:
                base = _base(name)
                if not axes <= depends[base] or not pointers <= sources[base]:
                    depends[base] |= axes
                    sources[base] |= pointers
                    changed = True
    return depends, sources


def _base(name: str) -> str:
    return name.partition("#")[0]


@contextlib.contextmanager
def launches() -> Iterator[list[tuple[str, str, tuple[int, ...]]]]:
    """Collects (kernel, Triton IR, grid) of every launch inside."""
    seen: list[tuple[str, str, tuple[int, ...]]] = []
    original = JITFunction.run

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        compiled = original(self, *args, grid=grid, warmup=warmup, **kwargs)
        ir = getattr(compiled, "asm", {}).get("ttir") if compiled is not None else None
        size = grid
        if callable(grid):
            try:
                size = grid({**dict(zip(self.arg_names, args, strict=False)), **kwargs})
            except Exception:
                size = None
        if ir and size is not None:
            size = size if isinstance(size, (tuple, list)) else (size,)
            seen.append((self.__name__, ir, tuple(size)))
        return compiled

    JITFunction.run = run
    try:
        yield seen
    finally:
        JITFunction.run = original


def races_in(seen: list[tuple[str, str, tuple[int, ...]]]) -> list[str]:
    """One sentence for each kernel with a racing store."""
    found = {}
    for kernel, ir, grid in seen:
        for pointer in racing_stores(ir, grid):
            found[kernel, pointer] = (
                f"the {'x'.join(map(str, grid))} programs of {kernel} store to the same addresses "
                f"of {pointer}, without an atomic operation"
            )
    return list(found.values())
