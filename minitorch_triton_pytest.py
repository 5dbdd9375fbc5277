"""The pytest plugin: the fixture ``assert_gradients``.

pytest loads this module in every project where the package is installed. That is why it stands
beside the package, whose import takes seconds: nothing else is loaded until a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def assert_gradients(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``assert_gradients(fn, reference=None, inputs=None, ...)`` fails where gradients are wrong.

    The arguments are those of ``minitorch_triton.testing.check_gradients``, whose report it
    returns. A JUnit report (``--junit-xml``) gets the verdict, the tolerance and the diagnoses.
    """
    from minitorch_triton.testing import check_gradients

    # What record_property does, but for its warning that JUnit's newest schema knows no properties
    # of a single test.
    recorded = request.node.user_properties

    def check(
        fn: Callable, reference: Callable | None = None, inputs: Any = None, **options: Any
    ) -> Any:
        __tracebackhide__ = True
        report = check_gradients(fn, reference, inputs, **options)
        first = str(report).partition("\n")[0]
        recorded.append((f"gradients of {report.name}", first))
        recorded.extend(("not checked", name) for name in report.unchecked())
        for failure in report.failures:
            recorded.append(("diagnosis", failure.diagnosis.title))
            recorded.append(("evidence", failure.diagnosis.evidence))
        if not report:
            pytest.fail(str(report), pytrace=False)
        return report

    return check
