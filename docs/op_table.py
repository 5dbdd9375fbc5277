"""Write the tables of operations, in README.md and docs/operations.md, from the table of cases.

python docs/op_table.py            write both files
python docs/op_table.py --check    only say whether they are up to date
"""

import argparse
import sys
from itertools import groupby
from pathlib import Path

from minitorch_triton.testing.cases import CASES

ROOT = Path(__file__).parents[1]
BEGIN = "<!-- operations: written by docs/op_table.py -->\n"
END = "<!-- end of operations -->\n"


def operations():
    """Each operation once, as (kind, name, summary, differentiable), kinds in the table's order."""
    cases = {}
    for case in CASES.values():
        cases.setdefault(case.op, case)
    kinds = list(dict.fromkeys(case.kind for case in cases.values()))
    rows = [(case.kind, op, case.summary, case.differentiable) for op, case in cases.items()]
    return sorted(rows, key=lambda row: (kinds.index(row[0]), row[1]))


def short_table():
    """One row for each kind of operation; names in italics have no gradient."""
    lines = ["| kind | operations (*in italics:* without gradient) |", "|---|---|"]
    for kind, rows in groupby(operations(), key=lambda row: row[0]):
        names = [name if differentiable else f"*{name}*" for _, name, _, differentiable in rows]
        lines.append(f"| {kind} | {', '.join(names)} |")
    return "\n".join(lines) + "\n"


def long_table():
    """One row for each operation."""
    lines = [
        "# Operations",
        "",
        "Every operation with a case in `minitorch_triton/testing/cases.py`, each of which is",
        "checked against PyTorch, forward and, where it has a gradient, backward.",
    ]
    for kind, rows in groupby(operations(), key=lambda row: row[0]):
        lines += [
            "",
            f"## {kind[0].upper()}{kind[1:]}",
            "",
            "| operation | what it gives | gradient |",
        ]
        lines += ["|---|---|---|"]
        for _, name, summary, differentiable in rows:
            summary = summary.replace("|", r"\|").replace("*", r"\*")
            lines.append(f"| `{name}` | {summary} | {'yes' if differentiable else 'no'} |")
    return "\n".join(lines) + "\n"


def files():
    """What each file with a table should contain, by path."""
    readme = (ROOT / "README.md").read_text()
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return {
        ROOT / "README.md": before + BEGIN + short_table() + END + after,
        ROOT / "docs" / "operations.md": long_table(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    args = parser.parse_args()

    wanted = files()
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text() != text]
    if args.check and stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"out of date: {names}; run python docs/op_table.py")
    for path in stale:
        path.write_text(wanted[path])


if __name__ == "__main__":
    main()
