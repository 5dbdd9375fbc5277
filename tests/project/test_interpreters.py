"""A process's main interpreter runs the package, no other does."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SCRIPT = """
try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters
try:
    failure = _interpreters.run_string(_interpreters.create(), "import minitorch_triton")
except Exception as error:
    failure = error
print(failure)
"""


def test_a_sub_interpreter_is_refused():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert "does not support sub-interpreters; use processes" in done.stdout, done.stderr
