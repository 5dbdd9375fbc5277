"""Make what the documents show: tables, pages with what examples print, and every picture.

python docs/build.py             write all of it; trains a model for the pictures of the README
python docs/build.py --quick     all but what takes a training run
python docs/build.py --check     write nothing; fail if what --quick writes is out of date

The documents' pictures are: the graphs that examples/autograd_explained.py draws, those that the
code in docs/pictures.md draws, and what examples/mnist_mlp.py draws of its training.
"""

import argparse
import ast
import contextlib
import io
import re
import runpy
import sys
import tempfile
import textwrap
from pathlib import Path

import op_table

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
IMAGES = ROOT / "docs" / "images"
TRAINING = ("learning_curve.png", "predictions.png")


def run(script, *arguments, cwd=ROOT):
    """Run a Python program, in this process for the time of its imports; return what it prints."""
    printed = io.StringIO()
    before = sys.argv, sys.path
    sys.argv, sys.path = [str(script), *map(str, arguments)], [str(script.parent), *sys.path]
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(printed):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv, sys.path = before
    return printed.getvalue()


# The page that explains autograd


def autograd_page():
    """docs/autograd.md and its pictures: the example's code, what it prints and what it draws."""
    with tempfile.TemporaryDirectory() as folder:
        printed = run(EXAMPLES / "autograd_explained.py", "--device", "cpu", "--pictures", folder)
        drawn = {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.svg"))}
    outputs = re.split(r"^(\d+\. .*)\n-+\n", printed, flags=re.MULTILINE)
    outputs = dict(zip(outputs[1::2], outputs[2::2], strict=True))
    source = (EXAMPLES / "autograd_explained.py").read_text()
    lines = [
        "<!-- written by docs/build.py -->",
        "",
        "# Autograd explained",
        "",
        "Each section is a function of",
        "[`examples/autograd_explained.py`](../examples/autograd_explained.py), what it prints,",
        "and the graph that it makes. `show(text, value)` prints both; `show_error(text, action)`",
        "prints the error in which the action ends. On PyTorch all of it prints the same.",
        "[Pictures of the graph](pictures.md) tells how to draw your own.",
    ]
    for title, code, names in sections(source):
        lines += ["", f"## {title}", "", "```python", code, "```", ""]
        lines += ["```text", outputs[title].strip(), "```"]
        for name in names:
            lines += ["", f"![The graph](images/autograd/{name}.svg)"]
    files = {ROOT / "docs" / "autograd.md": ("\n".join(lines) + "\n").encode()}
    files |= {IMAGES / "autograd" / name: content for name, content in drawn.items()}
    return files


def sections(source):
    """(title, code, names of the pictures) of each function that begins with a title.

    The code is without the calls of `title` and `picture`, and with the class before the function.
    """
    lines = source.splitlines()
    before = ""
    for node in ast.parse(source).body:
        text = lines[node.lineno - 1 : node.end_lineno]
        titles, pictures = calls_of("title", node), calls_of("picture", node)
        if isinstance(node, ast.ClassDef):
            before = "\n".join(text) + "\n\n\n"
        elif isinstance(node, ast.FunctionDef) and titles:
            hidden = {call.lineno - node.lineno for call in titles + pictures} | {0}
            code = [line for number, line in enumerate(text) if number not in hidden]
            names = [call.args[0].value for call in pictures]
            yield titles[0].args[0].value, before + textwrap.dedent("\n".join(code)), names
            before = ""


def calls_of(name, node):
    """The calls of a function within a part of the program."""
    return [
        part
        for part in ast.walk(node)
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == name
    ]


# The page about pictures


def pictures_page():
    """The pictures that the code in docs/pictures.md saves."""
    page = (ROOT / "docs" / "pictures.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "pictures.py"
        script.write_text(code)
        (Path(folder) / "images" / "pictures").mkdir(parents=True)
        run(script, cwd=folder)
        return {
            ROOT / "docs" / path.relative_to(folder): path.read_bytes()
            for path in sorted(Path(folder).glob("images/pictures/*"))
        }


# The README's pictures of a training run


def training_pictures():
    """What the MNIST example draws of ten epochs."""
    with tempfile.TemporaryDirectory() as folder:
        run(EXAMPLES / "mnist_mlp.py", "--device", "cpu", "--out", folder)
        return {IMAGES / name: (Path(folder) / name).read_bytes() for name in TRAINING}


def quick_files():
    """All files that are made without training, by path."""
    tables = {path: text.encode() for path, text in op_table.files().items()}
    return tables | autograd_page() | pictures_page()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quick", action="store_true", help="leave out what takes a training run")
    group.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    args = parser.parse_args()

    files = quick_files()
    if args.check:
        stale = [path for path, content in files.items() if not is_written(path, content)]
        made = {IMAGES / name for name in TRAINING} | files.keys()
        orphans = [path for path in IMAGES.rglob("*.*") if path not in made]
        if stale or orphans:
            names = ", ".join(str(path.relative_to(ROOT)) for path in stale + orphans)
            sys.exit(f"out of date, or not made by the build: {names}; run python docs/build.py")
        return
    if not args.quick:
        files |= training_pictures()
    for path, content in files.items():
        if not is_written(path, content):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            print(f"wrote {path.relative_to(ROOT)}")


def is_written(path, content):
    return path.exists() and path.read_bytes() == content


if __name__ == "__main__":
    main()
