"""Find mistakes in gradients, from the command line.

python -m minitorch_triton.testing my_module:fn --reference torch.nn.functional.softplus
python -m minitorch_triton.testing my_module:fn --inputs "M K" "K N" --reference torch.matmul
python -m minitorch_triton.testing --all --html report.html
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from minitorch_triton.testing.gradients import check_gradients
from minitorch_triton.testing.report import Report, one_line
from minitorch_triton.testing.subject import FRAMEWORKS
from minitorch_triton.testing.table import cases_with_gradient, check_case


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status, 1 if something is wrong."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if bool(args.function) == (args.all or bool(args.op)):
        parser.error("give a function (module:name), or --all, or --op NAME")
    reports = []
    for report in _reports(parser, args):
        reports.append(report)
        print(one_line(report) if report.ok and not args.function else report, flush=True)
        if args.function:
            for note in report.notes():
                print(f"  {note}")
    wrong = sum(not report.ok for report in reports)
    if len(reports) > 1:
        print(f"{len(reports) - wrong} of {len(reports)} are right")
    if args.html:
        from minitorch_triton.testing.html import write_page

        write_page(reports, args.html)
        print(f"wrote {args.html}")
    return int(wrong > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minitorch_triton.testing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("function", nargs="?", help="what to check, as module:name or path/to/file.py:name")
    add("--reference", help="what it should compute, such as torch.nn.functional.softplus")
    add(
        "--inputs",
        nargs="+",
        metavar="SHAPE",
        help='shapes such as "M K" (equal names are equal sizes), "B<C" for whole numbers below C, '
        "or constants such as -1 or mean; guessed if not given",
    )
    add("--framework", choices=FRAMEWORKS, help="whose tensors it takes, if that is not found out")
    add("--dtype", action="append", metavar="DTYPE", help="to try, such as float32; repeatable")
    add("--all", action="store_true", help="check every operation of this package")
    add("--op", action="append", default=[], help="check one operation of this package; repeatable")
    add("--html", metavar="FILE", help="also write the report as one page")
    add("--device", default="cpu", help="where tensors lie, such as cuda")
    add("--seed", type=int, default=0, help="of the random situations")
    return parser


def _reports(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Iterator[Report]:
    if not args.function:
        try:
            cases = cases_with_gradient(args.op)
        except KeyError as unknown:
            parser.error(f"{unknown.args[0]} is not in the table of operations with a gradient")
        for case in cases:
            yield check_case(case, seed=args.seed, device=args.device)
        return
    try:
        fn = find(args.function)
        reference = find(args.reference) if args.reference else None
        dtypes = [_dtype(name) for name in args.dtype] if args.dtype else None
        inputs = [_constant_or_shape(text) for text in args.inputs] if args.inputs else None
        yield check_gradients(
            fn,
            reference,
            inputs,
            framework=args.framework,
            dtypes=dtypes,
            seed=args.seed,
            device=args.device,
        )
    except (ImportError, AttributeError, TypeError, ValueError, OSError) as error:
        parser.error(str(error))


def find(path: str) -> Callable:
    """A function by ``module:name``, ``file.py:name`` or ``package.module.name``.

    Raises:
        ImportError: there is no such module. AttributeError: it has no such name.
    """
    module_name, colon, names = path.partition(":")
    if not colon:
        module_name, _, names = path.rpartition(".")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if module_name.endswith(".py"):
        folder, file = os.path.split(os.path.abspath(module_name))
        if not os.path.exists(module_name):
            raise ImportError(f"there is no file {module_name}")
        sys.path.insert(0, folder)
        module_name = file.removesuffix(".py")
    while True:
        try:
            module: Any = importlib.import_module(module_name)
            break
        except ModuleNotFoundError as error:
            outer, _, inner = module_name.rpartition(".")
            if not outer or error.name != module_name:
                raise
            module_name, names = outer, f"{inner}.{names}"
    return functools.reduce(getattr, names.split("."), module)


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name} is no dtype")
    return found


def _constant_or_shape(text: str) -> Any:
    """A number, a name in quotes or a tuple is a constant; anything else a shape."""
    if text in ("mean", "sum", "none"):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value


if __name__ == "__main__":
    start = time.perf_counter()
    try:
        status = main()
        print(f"{time.perf_counter() - start:.0f} s", flush=True)
    except BrokenPipeError:  # whoever reads, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        status = 1
    sys.exit(status)
