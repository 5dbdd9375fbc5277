"""The cases of the table of operations as functions for ``check_gradients``."""

from __future__ import annotations

from typing import Any

import torch

import minitorch_triton as mt
from minitorch_triton.testing.cases import CASES, Case
from minitorch_triton.testing.gradients import check_gradients
from minitorch_triton.testing.report import Report


def cases_with_gradient(names: list[str] | None = None) -> list[Case]:
    """Those that have a gradient; of some operations or cases only.

    Raises:
        KeyError: a name is neither an operation nor a case of the table.
    """
    chosen = [c for c in CASES.values() if not names or c.op in names or c.name in names]
    unknown = set(names or ()) - {name for case in chosen for name in (case.op, case.name)}
    if unknown:
        raise KeyError(", ".join(sorted(unknown)))
    return [case for case in chosen if case.differentiable]


class CaseFunction:
    """A case as a function of tensors, which a reproduction can name.

    Args:
        case: of the table. package: this package, or ``torch``.
    """

    def __init__(self, case: Case, package: Any):
        self.case, self.package = case, package
        self.__name__ = case.name

    def __call__(self, *tensors: Any) -> Any:
        return self.case.call(self.package, *tensors)

    def in_script(self, arguments: str) -> str:
        """The call as an expression."""
        return f"mt.testing.CASES[{self.case.name!r}].call(mt, {arguments})"


REPRESENTATIVES = ("add", "mul:broadcast", "exp", "where", "clamp")
"""All elementwise functions run in the same kernel, so for dtypes other than float32 a few stand
for all."""


def check_case(case: Case, **options: Any) -> Report:
    """Examine one case; against PyTorch, or where its values are random against differences."""
    alike = case.kind == "elementwise" and case.name not in REPRESENTATIVES
    options.setdefault("dtypes", case.dtypes[:1] if alike else case.dtypes)
    return check_gradients(
        CaseFunction(case, mt),
        CaseFunction(case, torch) if case.deterministic else None,
        case.inputs,
        framework="minitorch_triton",
        condition=case.condition,
        name=case.name,
        **options,
    )
