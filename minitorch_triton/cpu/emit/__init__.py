"""Emission of C: the emitter, and one place for every operation of Triton IR."""

from . import arith, blocks, branches, check, control, debug, dot, memory, reduce
