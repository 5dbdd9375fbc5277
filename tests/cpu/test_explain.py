"""`python -m minitorch_triton.cpu explain`: every stage of what a script compiles."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import triton.language as tl

from minitorch_triton.cpu import checking
from minitorch_triton.cpu.explain import explain

ROOT = Path(__file__).parents[2]

# Kernels with functions and tuples as arguments, under the autotuner and heuristics.
SCRIPT = """
import sys
import torch, triton, triton.language as tl

@triton.jit
def twice(v):
    return v * 2

@triton.autotune([triton.Config({}, num_warps=warps) for warps in (1, 2)], key=["n"])
@triton.heuristics({"EVEN": lambda arguments: arguments["n"] % 2 == 0})
@triton.jit
def mapped(pointers, n, FN: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr = 32):
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(pointers[1] + j, FN(tl.load(pointers[0] + j, mask=j < n)), mask=j < n)

@triton.jit
def inner(x):
    return tl.load(x) + undefined

@triton.jit
def broken_python(x):
    tl.store(x, inner(x))

@triton.jit
def broken_operation(x):
    v = tl.load(x) + 1
    tl.store(x, tl.inline_asm_elementwise("mov $0, $1;", "=r,r", [v], tl.float32, True, 1))

x, out = torch.ones(40), torch.zeros(40)
mapped[(2,)]((x, out), 40, FN=twice)
print("the script:", out.sum().item(), *sys.argv[1:])
for name in sys.argv[1:]:
    globals()[name][(1,)](x)
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("script.py").write_text(SCRIPT)
    return "script.py"


def test_every_stage_from_the_command_line(script):
    output = subprocess.run(
        [sys.executable, "-m", "minitorch_triton.cpu", "explain", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
        check=True,
    ).stdout  # fmt: skip
    # Once, although the autotuner tried two variants.
    titles = re.findall(r"^(?:####|the|==== \w+).*$", output, re.MULTILINE)
    kernel, *stages, printed = titles
    assert kernel == (
        "######## mapped(pointers: ('*fp32', '*fp32'), n: i32, FN=twice, EVEN=True, BLOCK=32)"
    )
    assert [title.split()[1] for title in stages] == ["Python", "Triton", "Loop", "C", "Machine"]
    assert printed == "the script: 80.0"
    for text in ("def mapped", "tt.load", "tt.store (script.py:14)", "MT_ENTRY"):
        assert text in output
    assert "loc(" not in output


@pytest.mark.parametrize(
    ("kernel", "stages", "error"),
    [
        ("broken_python", ["Python"], "def inner(x):\n    return tl.load(x) + undefined\n"),
        (
            "broken_operation",
            ["Python", "Triton"],
            "script.py:27: not supported on the CPU: the operation tt.elementwise_inline_asm\n"
            '    tl.store(x, tl.inline_asm_elementwise("mov $0, $1;"',
        ),
    ],
    ids=["in Python", "of an operation"],
)
def test_a_kernel_that_fails_shows_how_far_it_came(script, kernel, stages, error, capsys):
    assert not explain(script, [kernel], kernels=[kernel])
    printed = capsys.readouterr().out
    assert "mapped(" not in printed and f"######## {kernel}(x: *fp32)" in printed
    titles = re.findall(r"^==== (\w+)", printed, re.MULTILINE)
    assert titles == [*stages, "Error"]
    assert error in printed


def test_one_stage_of_one_kernel(script):
    pieces = []
    assert explain(script, kernels=["mapped"], stages=["plan"], write=pieces.append)
    assert len(pieces) == 2 and pieces[1].startswith("==== Loop plan")
    pieces.clear()
    assert explain(script, kernels=["no_such_kernel"], write=pieces.append)
    assert not pieces


def test_errors_that_are_the_scripts_own_go_through(script):
    with pytest.raises(KeyError, match="no_such_kernel"):
        explain(script, ["no_such_kernel"], kernels=["none"])
    with pytest.raises(ValueError, match=r"no file kernels.py:add"):
        explain("kernels.py:add")


@pytest.mark.skipif(not hasattr(tl, "squeeze"), reason="the page shows the names of Triton 3.9")
@pytest.mark.skipif(checking.active, reason="the page shows a kernel without checks")
def test_the_page_shows_what_explain_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "cpu.md").read_text()
    code = next(c for c in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "softmax" in c)
    Path("softmax.py").write_text(code)
    pieces = []
    assert explain("softmax.py", write=pieces.append)
    printed = dict(piece.split("\n", 1) for piece in pieces[1:])
    (ir,) = re.findall(r"```mlir\n(.*?)```", page, re.DOTALL)
    assert printed["==== Triton IR, simplified"] == ir
    (plan,) = re.findall(r"```\n(statement: .*?)```", page, re.DOTALL)
    # The lines of Triton's own files differ from release to release.
    plans = (printed["==== Loop plan, one for each block of the IR"], plan)
    ours, shown = (re.sub(r"standard\.py:\d+", "standard.py", text) for text in plans)
    assert ours == shown
    (loops,) = re.findall(r"```c\n(.*?)```", page, re.DOTALL)
    assert loops in printed["==== C"]
