"""Emission of C: the emitter, and one place for every operation of Triton IR."""

from . import (
    arith,
    atomics,
    blocks,
    branches,
    check,
    control,
    debug,
    dot,
    formats,
    libdevice,
    memory,
    reduce,
    sort,
)
