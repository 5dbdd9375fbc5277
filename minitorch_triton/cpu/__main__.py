"""`python -m minitorch_triton.cpu explain module:kernel name=value ...`"""

import argparse
import sys

from . import checking
from .explain import STAGES, explain

EXAMPLE = """\
example:
  python -m minitorch_triton.cpu explain kernels.py:add_kernel \\
      x_ptr='*fp32' y_ptr='*fp32' output_ptr='*fp32' n_elements=i32 BLOCK_SIZE=1024

Give each parameter its type (i1 i8 ... i64, u8 ... u64, fp16, bf16, fp32, fp64, with a leading *
for a pointer) or, for a compile-time constant, its value: a Python literal, tl.float32, or
module:function. Defaults and annotations apply to those left out.
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m minitorch_triton.cpu",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "explain",
        help="print every stage from Python to machine code",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("kernel", help="module:kernel or file.py:kernel")
    command.add_argument("arguments", nargs="*", metavar="name=value", help="its parameters")
    command.add_argument("--stage", action="append", choices=STAGES, help="show only this stage")
    command.add_argument("--check", action="store_true", help="with the checks of checked mode")
    options = parser.parse_args()
    checking.turn(options.check)
    try:
        for text in explain(options.kernel, options.arguments, tuple(options.stage or STAGES)):
            print(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing can be flushed at exit either.
        sys.stdout = None
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
