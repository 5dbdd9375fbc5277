"""Where every operation of Triton IR has its one place.

`lowers` registers how one element of a result is computed: a function of the emitter, the
operation and an index, which returns a C expression. `executes` registers an operation that is
emitted as statements: control flow, products, and the tasks of a loop nest.
"""

from __future__ import annotations

from collections.abc import Callable

ELEMENTS: dict[str, Callable] = {}
STATEMENTS: dict[str, Callable] = {}


def lowers(*names: str):
    """Registers ``function(emitter, op, index) -> C expression`` for the operations ``names``."""

    def register(function):
        for name in names:
            ELEMENTS[name] = function
        return function

    return register


def executes(*names: str):
    """Registers ``function(emitter, ...)`` that emits statements for the operations ``names``."""

    def register(function):
        for name in names:
            STATEMENTS[name] = function
        return function

    return register
