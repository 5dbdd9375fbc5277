"""Write docs/language.md: every public name of `triton.language`, and the tests that use it.

python docs/language_table.py            write the file
python docs/language_table.py --check    only say whether it is up to date
"""

import argparse
import ast
import sys
from pathlib import Path
from types import ModuleType

import triton.language as tl

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "language.md"

# Names that a kernel cannot use natively, or that are no part of a kernel's code.
REFUSED = {
    "inline_asm_elementwise": "an error that names the line: assembly of a GPU",
    "float8e4b15": "Triton's error that names the line: the type has no conversions here",
}
GONE = {  # of Triton 3.6, no longer in 3.9
    "advance": "block pointers, in Triton 3.6",
    "make_block_ptr": "block pointers, in Triton 3.6; Triton 3.9 has tensor descriptors instead",
}
PYTHON_SIDE = {
    "PropagateNan": "argument of `maximum`, `minimum`, `clamp`",
    "TRITON_MAX_TENSOR_NUMEL": "the largest number of elements of a block",
    "block_type": "class of the types of blocks",
    "const": "annotation of a pointer that is only read",
    "constexpr": "annotation of a compile-time constant",
    "constexpr_type": "class of the types of constants",
    "core": "module",
    "dtype": "class of the types of numbers",
    "extra": "module: `extra.libdevice`",
    "math": "module: the functions that stand here under their own names",
    "pi32_t": "the type of a pointer to int32",
    "pointer_type": "class of the types of pointers",
    "random": "module",
    "slice": "class of the slices of a tuple",
    "standard": "module",
    "str_to_ty": "a type by its name, for the compiler's use",
    "target_info": "module: asks which GPU a kernel is compiled for",
    "tensor": "class of blocks",
    "tensor_descriptor": "class of tensor descriptors",
    "tensor_descriptor_type": "class of their types",
    "tuple": "class of tuples",
    "tuple_type": "class of their types",
    "void": "the type of no value",
}


def names_in(function: ast.FunctionDef) -> set[str]:
    """Names N of the attributes ``tl.N`` and ``tl.math.N`` in a function."""
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found |= {node.attr} if node.value.id == "tl" else set()
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "tl.math":
            found.add(node.attr)
    return found


def words_in(function: ast.FunctionDef) -> set[str]:
    return {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}


def uses() -> dict[str, str]:
    """Of each name: a test that runs a kernel with it, by preference one of the language."""
    table: dict[str, str] = {}
    paths = (ROOT / "tests" / "cpu").glob("test_*.py")
    for path in sorted(paths, key=lambda path: ("test_language" not in path.name, path.name)):
        functions = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)]
        by_name = {function.name: function for function in functions}
        for function in functions:
            if not function.name.startswith("test_"):
                continue
            reached, pending = set(), [function.name]
            while pending:
                name = pending.pop()
                if name in by_name and name not in reached:
                    reached.add(name)
                    pending += words_in(by_name[name])
            kernels = [by_name[name] for name in reached if by_name[name].decorator_list]
            for name in sorted(set().union(*map(names_in, kernels))):
                table.setdefault(name, f"`{function.name}` in `{path.name}`")
    return table


def public_names() -> list[str]:
    """The names of Triton 3.9 and those that only 3.6 has.

    Which modules are attributes of another depends on what has been imported: only those of the
    table count.
    """
    names = set(GONE) | {"core", "extra", "math", "random", "standard", "target_info"}
    for name, value in vars(tl).items():
        if not name.startswith("_") and not isinstance(value, ModuleType):
            names.add(name)
    return sorted(names, key=str.lower)


def rows():
    """(name, state, where) of every public name."""
    tests = uses()
    for name in public_names():
        if name in REFUSED:
            yield name, "refused", REFUSED[name]
        elif name in PYTHON_SIDE:
            yield name, "has no code of its own", PYTHON_SIDE[name]
        else:
            where = tests.get(name, "")
            note = f" ({GONE[name]})" if name in GONE else ""
            yield name, "runs" if where else "", where + note


def page():
    lines = [
        "# The language on a CPU",
        "",
        "Every public name of `triton.language` (Triton 3.9), its state in native execution, and a",
        "test of `tests/cpu` that runs a kernel with it. `docs/language_table.py` makes this page",
        "from the tests. Functions of `tl.extra.libdevice` all run, also ROCm's.",
        "",
        "| name | state | test, or why |",
        "|---|---|---|",
    ]
    lines += [f"| `{name}` | {state} | {where} |" for name, state, where in rows()]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    args = parser.parse_args()
    empty = [name for name, state, _ in rows() if not state]
    if empty:
        sys.exit(f"no test uses {', '.join(empty)}")
    if not args.check:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        sys.exit("out of date: docs/language.md; run python docs/language_table.py")


if __name__ == "__main__":
    main()
