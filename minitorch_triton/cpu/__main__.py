"""`python -m minitorch_triton.cpu explain script.py`"""

import argparse
import functools
import sys

from . import checking
from .explain import STAGES, explain

EXAMPLE = """\
example:
  python -m minitorch_triton.cpu explain --kernel softmax softmax.py

Options of explain come before the file; what follows it is the script's own command line.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m minitorch_triton.cpu")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "explain",
        help="run a script, and print how each kernel that it launches becomes machine code",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("script", help="a Python file that launches kernels on CPU tensors")
    command.add_argument("arguments", nargs=argparse.REMAINDER, help="the script's own")
    command.add_argument("--kernel", action="append", help="show only the kernel of this name")
    command.add_argument("--stage", action="append", choices=STAGES, help="show only this stage")
    command.add_argument("--check", action="store_true", help="with the checks of checked mode")
    options = parser.parse_args()
    checking.turn(options.check)
    try:
        complete = explain(
            options.script, options.arguments, kernels=options.kernel or (),
            stages=options.stage or STAGES, write=functools.partial(print, flush=True),
        )  # fmt: skip
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing can be flushed at exit either.
        sys.stdout = None
        return 0
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
