"""Emission of C: the emitter, and one place for every operation of Triton IR."""

from . import arith, blocks, branches, control, debug, dot, memory, reduce
