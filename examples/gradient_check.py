"""Check operations and their gradients against PyTorch.

python examples/gradient_check.py softmax layer_norm --dtype bfloat16
python examples/gradient_check.py --all
"""

import argparse
import sys

import torch

from minitorch_triton.testing import CASES, LAYOUTS, check_op

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("op", nargs="*", help="names of the table, such as exp, sum or cross_entropy")
parser.add_argument(
    "--dtype", default="float32", choices=("float32", "float64", "bfloat16", "float16")
)
parser.add_argument(
    "--layout", default="contiguous", choices=LAYOUTS, help="of the inputs in memory"
)
parser.add_argument("--seed", type=int, default=0, help="of the inputs and upstream gradients")
parser.add_argument("--all", action="store_true", help="every operation")
options = parser.parse_args()

cases = [c for c in CASES.values() if options.all or c.op in options.op or c.name in options.op]
unknown = set(options.op) - {name for case in cases for name in (case.op, case.name)}
if unknown or not cases:
    known = ", ".join(dict.fromkeys(case.op for case in CASES.values()))
    parser.error(f"{', '.join(unknown) or 'no operation'} is not in the table, which has {known}")

dtype = getattr(torch, options.dtype)
reports = [
    check_op(case, dtype, options.layout, seed=options.seed)
    for case in cases
    if case.deterministic and dtype in case.dtypes
]
print(*reports, sep="\n")
wrong = sum(not report.ok for report in reports)
print(f"{len(reports) - wrong} of {len(reports)} agree with PyTorch")
sys.exit(wrong > 0)
