"""Check operations and their gradients against PyTorch."""

import sys

import torch
from options import example_parser

from minitorch_triton.testing import CASES, LAYOUTS, check_op


def main():
    parser = example_parser(__doc__)
    parser.add_argument("op", nargs="*", help="names of the table; without any, all of it")
    dtypes = ("float32", "float64", "bfloat16", "float16")
    parser.add_argument("--dtype", default="float32", choices=dtypes)
    parser.add_argument("--layout", default="contiguous", choices=LAYOUTS, help="of the inputs")
    args = parser.parse_args()
    if args.dry_run and not args.op:
        args.op = ["exp", "sum", "matmul"]

    cases = [c for c in CASES.values() if not args.op or c.op in args.op or c.name in args.op]
    unknown = set(args.op) - {name for case in cases for name in (case.op, case.name)}
    if unknown:
        known = ", ".join(dict.fromkeys(case.op for case in CASES.values()))
        parser.error(f"{', '.join(sorted(unknown))} is not in the table, which has {known}")

    wrong = checked = 0
    for case in cases:
        dtype = getattr(torch, args.dtype)
        if case.deterministic and dtype in case.dtypes:
            report = check_op(case, dtype, args.layout, seed=args.seed, device=args.device)
            print(report, flush=True)
            checked += 1
            wrong += not report.ok
    print(f"{checked - wrong} of {checked} agree with PyTorch")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
