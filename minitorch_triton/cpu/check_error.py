"""What checked mode finds, as an exception that tells all that is known of it."""

from __future__ import annotations

import ast
import ctypes
import functools
import linecache
import math
from collections.abc import Sequence

from .launch import KernelError
from .storages import StorageRecord


class CheckError(KernelError):
    """A kernel has accessed memory in a way that it must not.

    Attributes:
        kind: "out of bounds", "no storage", "unwritten", "race" or "masked-off".
        kernel: the kernel's name.
        file, line: the access in the kernel's source.
        access: "load", "store" or "atomic".
        argument: the name of the pointer argument that the address is an offset from; None where
            it is an offset from a pointer that the kernel has loaded or computed.
        offset: of the first wrong lane from that argument, in elements; from the start of the
            storage where there is no argument; None where there is neither.
        address: of the first wrong lane.
        size: bytes of the storage that the access should have stayed in; None if there is none.
        program: the program's number along x, y, z.
        lanes: indices in the access's block of the first and of the last wrong lane.
        count: how many lanes are wrong.
        mask: the access's mask as the kernel's source has it, "computed" where it is not there;
            None if it has none.
    """

    kind: str
    kernel: str
    file: str
    line: int
    access: str
    argument: str | None
    offset: int | None
    address: int
    size: int | None
    program: tuple[int, ...]
    lanes: tuple[tuple[int, ...], tuple[int, ...]]
    count: int
    mask: str | None


class Site(ctypes.Structure):
    """`mt_site` of mt_check.h."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("type", ctypes.c_char_p),
        ("shape", ctypes.c_char_p),
        ("line", ctypes.c_int32),
        ("access", ctypes.c_int32),
        ("argument", ctypes.c_int32),
        ("bytes", ctypes.c_int32),
        ("masked", ctypes.c_int32),
        ("extent", ctypes.c_int64),
    ]


class Finding(ctypes.Structure):
    """`mt_finding` of mt_check.h."""

    _fields_ = [
        ("site", ctypes.POINTER(Site)),
        ("storage", ctypes.POINTER(StorageRecord)),
        ("address", ctypes.c_uint64),
        ("first", ctypes.c_int64),
        ("last", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("kind", ctypes.c_int32),
        ("pid", ctypes.c_int32 * 3),
        ("other", ctypes.c_uint32),
        ("source", ctypes.c_int32),
    ]


# By `mt_access` and `mt_kind`.
ACCESSES = ("load", "store", "atomic", "atomic", "store")
KINDS = ("", "out of bounds", "no storage", "unwritten", "race", "masked-off")

HEADLINES = {
    "out of bounds": "{access} outside its buffer",
    "no storage": "{access} where no tensor is",
    "unwritten": "{access} of memory that nothing has written",
    "race": "{access} over what another program stored in the same launch",
    "masked-off": "store of a lane that a load's mask leaves out, and that has no other=",
}


def describe(
    kernel: str,
    finding: Finding,
    sites: Sequence[Site],
    pointers: Sequence[bytes | None],
    values: Sequence[int],
    grid: tuple[int, ...],
) -> CheckError:
    """The exception for a finding.

    Args:
        sites: the kernel's accesses.
        pointers: the name of the pointer in each argument slot; None for other arguments.
        values: the arguments of the launch, by slot.
        grid: the launch's.
    """
    site = finding.site[0]
    file, line = site.file.decode(), site.line
    kind, access = KINDS[finding.kind], ACCESSES[site.access]
    program = tuple(finding.pid)
    shape = [int(extent) for extent in site.shape.decode().split("x") if extent]
    lanes = unravel(finding.first, shape), unravel(finding.last, shape)
    storage = finding.storage[0] if finding.storage else None

    argument, offset = None, None
    if site.argument >= 0:
        argument = pointers[site.argument].decode()
        offset = (finding.address - values[site.argument] % 2**64) // site.bytes
    elif storage is not None:
        offset = (finding.address - storage.start) // site.bytes

    mask = mask_at(file, line, access, argument) or "computed" if site.masked else None
    place = hex(finding.address) if offset is None else f"{argument or 'its storage'} + {offset}"
    rows = [
        f"{kernel}: {HEADLINES[kind].format(access=access)}",
        f"  {file}:{line}: {linecache.getline(file, line).strip()}",
        f"  program {program}, {lanes_text(finding.count, lanes, shape)}, from {place} on",
        f"  mask: {mask}" if mask else "  no mask",
    ]
    if storage is not None:
        begin = values[site.argument] % 2**64 - storage.start if argument is not None else 0
        start = f"; {argument} points to byte {begin} of it" if begin else ""
        rows.append(
            f"  buffer: {storage.size} bytes, {storage.size // site.bytes} elements of "
            f"{site.type.decode()}{start}; lane at byte {finding.address - storage.start}"
        )
    if kind == "race":
        other = unravel(finding.other, grid[::-1])[::-1]
        rows.append(f"  program {other} has stored another value there")
    if kind == "masked-off" and finding.source >= 0:
        rows.append(f"  the lane comes from the load in line {sites[finding.source].line}")

    error = CheckError("\n".join(rows))
    error.kind, error.kernel, error.file, error.line = kind, kernel, file, line
    error.access, error.argument, error.offset = access, argument, offset
    error.address, error.size = finding.address, None if storage is None else storage.size
    error.program, error.lanes, error.count, error.mask = program, lanes, finding.count, mask
    return error


def unravel(position: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The index of an element at a row-major position."""
    index = []
    for extent in reversed(shape):
        position, remainder = divmod(position, extent)
        index.append(remainder)
    return tuple(reversed(index))


def lanes_text(count: int, lanes: tuple, shape: Sequence[int]) -> str:
    if not shape:
        return "a scalar"
    first, last = (str(lane[0]) if len(lane) == 1 else str(lane) for lane in lanes)
    which = f"lane {first}" if count == 1 else f"{count} lanes, {first} to {last},"
    return f"{which} of {math.prod(shape)}" if len(shape) == 1 else f"{which} of {tuple(shape)}"


@functools.lru_cache(maxsize=256)
def mask_at(file: str, line: int, access: str, argument: str | None) -> str | None:
    """The mask of an access in a line of a kernel, as Python code; None if it is not found."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return None
    masks = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.lineno <= line <= node.end_lineno:
            continue
        name = getattr(node.func, "attr", "")
        if not name.startswith(access):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        mask = given.get("mask") or given.get("boundary_check")
        position = 1 if access == "load" else 2
        if mask is None and len(node.args) > position:
            mask = node.args[position]
        if mask is not None:
            about = argument is not None and node.args and argument in ast.unparse(node.args[0])
            masks.append((not about, ast.unparse(mask)))
    return min(masks)[1] if masks else None
