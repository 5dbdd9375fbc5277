"""The documents say what is."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
import triton.language as tl

import minitorch_triton as mt
from minitorch_triton.ops import pointwise
from minitorch_triton.testing import cases

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_tables_of_operations_are_up_to_date(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["op_table.py", "--check"])
    runpy.run_path(str(ROOT / "docs" / "op_table.py"), run_name="__main__")


@pytest.mark.skipif(not hasattr(tl, "squeeze"), reason="the page lists the names of Triton 3.9")
def test_the_table_of_the_language_is_up_to_date_and_has_no_empty_row(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["language_table.py", "--check"])
    runpy.run_path(str(ROOT / "docs" / "language_table.py"), run_name="__main__")


DOCUMENTS = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in DOCS.glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    path = ROOT / document
    for link in re.findall(r"\]\(([^)#\s]+)\)", path.read_text()):
        assert "://" in link or (path.parent / link).exists(), f"{document} links to {link}"


def test_pages_and_pictures_are_what_the_build_makes(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["build.py", "--check"])
    monkeypatch.syspath_prepend(str(DOCS))
    runpy.run_path(str(DOCS / "build.py"), run_name="__main__")


def test_the_page_about_pictures_prints_what_trace_prints(capsys):
    table = re.search(r"```text\n(step .*?)```", (DOCS / "pictures.md").read_text(), re.DOTALL)
    w = mt.tensor([0.0, 4.0], requires_grad=True)
    mt.autograd.trace((w * w).sqrt().sum(), names={"w": w})

    def without_times(text):
        return re.sub(r" +\S+ [mu]?s\b", "", text)

    assert without_times(capsys.readouterr().out) == without_times(table.group(1))


def python_blocks(document):
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)


def test_the_code_in_the_readme_runs(tmp_path):
    script = tmp_path / "readme.py"  # Triton reads a kernel's source from its file
    script.write_text("\n".join(python_blocks("README.md")))
    names = runpy.run_path(str(script))
    assert names["loss"].item() < 0.5
    x = names["x"]
    torch.testing.assert_close(x.grad.torch(), 1 / (1 + x.detach().torch().abs()) ** 2)


def test_the_code_of_autograd_in_depth_runs(tmp_path):
    script = tmp_path / "autograd_in_depth.py"
    script.write_text("\n".join(python_blocks("docs/autograd_in_depth.md")))
    runpy.run_path(str(script))


def test_contributing_adds_an_operation(tmp_path, monkeypatch):
    device_functions, row, public_name, case = python_blocks("CONTRIBUTING.md")
    assert len(re.findall(r"^\s*[^\s@]", device_functions + row + public_name, re.MULTILINE)) <= 8
    module = tmp_path / "device_functions.py"  # Triton reads a kernel's source from its file
    module.write_text(f"import triton\nimport triton.language as tl\n\n\n{device_functions}")
    monkeypatch.syspath_prepend(str(tmp_path))
    fn = __import__("device_functions")
    names = {"Elementwise": pointwise.Elementwise, "fn": fn, "Tensor": mt.Tensor}
    exec(row, names)
    monkeypatch.setattr(pointwise, "softsign", names["softsign"], raising=False)
    exec(public_name, {**names, "pointwise": pointwise}, names)
    monkeypatch.setattr(mt.nn.functional, "softsign", names["softsign"], raising=False)

    case = eval(case, {"unary": cases.unary})
    (x,) = case.sample()
    ours, theirs = mt.from_torch(x.clone()).requires_grad_(), x.clone().requires_grad_()
    y, expected = case.call(mt, ours), case.call(torch, theirs)
    torch.testing.assert_close(y.detach().torch(), expected.detach())
    y.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad.torch(), theirs.grad)
