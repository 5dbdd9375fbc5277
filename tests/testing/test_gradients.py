"""The gradient tool finds planted mistakes, says of which kind they are, and alarms nobody else."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import planted
import pytest
import torch
from planted import CORRECT, PLANTED, Planted

import minitorch_triton as mt
from minitorch_triton import storage
from minitorch_triton.cpu import checking
from minitorch_triton.testing import KINDS, check_gradients
from minitorch_triton.testing.__main__ import main
from minitorch_triton.testing.races import racing_stores
from minitorch_triton.testing.situations import mixtures
from minitorch_triton.testing.subject import framework_of
from minitorch_triton.testing.table import cases_with_gradient, check_case

pytestmark = pytest.mark.skipif(
    checking.active, reason="the tool turns checks on itself; they would find mistakes first"
)

BY_NAME = {case.name: case for case in PLANTED + CORRECT}

ONE_EACH = list({case.kind: case for case in reversed(PLANTED)}.values())
"""The first of each kind; ``python tests/testing/planted.py`` checks all of them."""


def check(case: Planted, **options):
    options.setdefault("shrinking", False)
    return check_gradients(case.fn, case.reference, case.inputs, name=case.name, **options)


@pytest.mark.parametrize("case", ONE_EACH, ids=lambda case: case.name)
def test_a_planted_mistake_is_told_by_its_kind(case):
    report = check(case)
    assert not report
    assert report.kinds[0] == case.kind, str(report)


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("second derivative detached", "the gradient of the gradient is wrong for input 0"),
        ("reduction by name", "right for reduction = 'mean', wrong for 'sum', 'none'"),
        ("factor on some elements", r"found / right = 0.1 in \d+ of 17621 elements, where \|input"),
        ("sign of |g|", "in 8732 of 17621 elements, where the upstream gradient is negative"),
        ("saved in float16", "was rounded to TF32 \\(or float16\\)"),
        ("diagonal alone", "each element depends on its own upstream gradient alone"),
        ("no target", r"only the element that input 1 \(target\) names is wrong"),
        ("weight forgotten", r"stays the same for another input 1 \(w\), .* proportional"),
        ("equal indices", r"right where all numbers in input 1 \(index\) are different"),
        ("full blocks of rows", "wrong at sizes .* right where sizes are powers of two"),
        ("low accumulator", "small values are lost in a long sum .* kept in (b?)float16"),
        ("float32 in backward", "every element was rounded to float32"),
    ],
)
def test_mistakes_of_only_some_situations_or_elements(name, evidence):
    report = check(BY_NAME[name])
    assert report.kinds[0] == BY_NAME[name].kind, str(report)
    assert re.search(evidence, report.failures[0].diagnosis.evidence), str(report)


def test_every_kind_is_planted():
    assert set(KINDS) - {case.kind for case in PLANTED} == {"extreme", "same", "error", "formula"}


@pytest.mark.parametrize("name", ["sigmoid", "product", "squared_error", "softsign", "cube"])
def test_no_false_alarm(name):
    report = check(BY_NAME[name], dtypes=[torch.float32])
    assert report, str(report)


@pytest.mark.parametrize("name", ["add:broadcast", "amax"])
def test_no_false_alarm_on_operations(name):
    (case,) = cases_with_gradient([name])
    report = check_case(case, dtypes=[torch.float32])
    assert report, str(report)


class SavedMask(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        mask = (torch.rand_like(x) > 0.5) * 2
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0]


class LeakyRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, wrong):
        ctx.save_for_backward(x)
        ctx.wrong = wrong
        return torch.where(x > 0, x, 0.1 * x)

    @staticmethod
    def backward(ctx, g):
        return torch.where(ctx.saved_tensors[0] > 0, g, 0.1 * ctx.wrong * g), None


RIGHT = {
    "relu": torch.relu,
    "clamp": lambda x: torch.clamp(x, -1, 1),
    "hardsigmoid": torch.nn.functional.hardsigmoid,
    "softmax": lambda x: torch.softmax(x, -1),
    "layer_norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    "normalize": lambda x: torch.nn.functional.normalize(x, dim=-1),
    "cosine_similarity": torch.nn.functional.cosine_similarity,
    "prod of rows": lambda x: x.prod(-1),
    "saved random mask": SavedMask,
}


@pytest.mark.parametrize("name", RIGHT)
def test_no_false_alarm_without_a_reference(name):
    report = check_gradients(
        RIGHT[name], framework="torch", dtypes=[torch.float32, torch.float64], name=name
    )
    assert report, str(report)


@pytest.mark.parametrize(("wrong", "right"), [(1.0, True), (1.0001, False)])
def test_beside_a_kink_gradients_are_checked_without_a_reference(wrong, right):
    report = check_gradients(LeakyRelu, inputs=[torch.randn(5, 7), wrong], shrinking=False)
    assert report.ok == right, str(report)


class Softplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.nn.functional.softplus(x)

    @staticmethod
    def backward(ctx, g):
        e = ctx.saved_tensors[0].exp()
        return g * e / (1 + e)


def test_nan_at_large_values_is_seen_without_a_reference():
    report = check_gradients(Softplus, dtypes=[torch.float32], shrinking=False)
    assert report.kinds == ["extreme"]
    assert "at (100): found nan" in report.failures[0].diagnosis.evidence


def test_a_reference_draws_the_random_numbers_of_the_function():
    report = check_gradients(SavedMask, lambda x: SavedMask.apply(x))
    assert report, str(report)


# What a report tells


@pytest.fixture(scope="module")
def tail():
    """The report on a kernel that leaves the last elements out."""
    return check(BY_NAME["tail masked off"], shrinking=True)


def test_the_report_tells_where_and_how_to_see_it(tail):
    text = str(tail)
    assert "gradient of input 0 (x): tail beyond the last full block" in text
    assert "the last 213 elements, from element 17408 on" in text
    assert re.search(r"\.+#+\n +\(# wrong, \. right\)\n", text), "a map of the wrong elements"
    assert "tolerance 1.9e-06 = 8 * eps(float32) * (1 + sqrt(1 terms))" in text
    assert tail.failures[0].small.trial.args[0].shape == (1, 1)
    assert len(text.splitlines()) < 40


def test_the_reproduction_runs(capsys):
    report = check(BY_NAME["ours: not summed"], shrinking=True)
    lines = [line.strip() for line in str(report).splitlines()]
    script = lines[lines.index("import torch") :]
    assert "from planted import OurScale" in script
    exec("\n".join(script), {})
    printed = capsys.readouterr().out
    right = next(line for line in script if line.startswith("# right"))
    found = [float(x) for x in re.findall(r"-?\d+\.\d*", printed)]
    assert found != [float(x) for x in re.findall(r"-?\d+\.?\d*", right)]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cached buffer", "print(*gradients)  # has changed"),
        ("kept on ctx", "z.add_(1.5)"),
        ("second derivative", "create_graph=True"),
        ("load, add, store", "with mt.cpu.checked():"),
        ("added to fresh memory", 'with mt.testing.poisoned(float("nan")):'),
    ],
)
def test_findings_of_several_calls_have_scripts_that_show_them(name, shown, capsys):
    report = check(BY_NAME[name], shrinking=True)
    lines = [line[6:] for line in str(report).splitlines()]
    script = lines[lines.index("import torch") :]
    script = script[: script.index("") if "" in script else None]
    assert any(shown in line for line in script), str(report)
    script = [line for line in script if "# the function that was checked" not in line]
    names = {script_name(report): report.lab.subject.fn}
    if name == "load, add, store":
        with pytest.raises(mt.cpu.CheckError):
            exec("\n".join(script), names)
        return
    exec("\n".join(script), names)
    shown = numbers(capsys.readouterr().out)
    (right,) = [numbers(line) for line in script if line.lstrip().startswith("# right")]
    assert shown[-len(right) :] != pytest.approx(right, abs=1e-3)


def test_scripts_of_random_functions_are_seeded():
    report = check(BY_NAME["another mask"], shrinking=True)
    assert "      torch.manual_seed(0)\n      y = Dropout.apply(x0)" in str(report)


def script_name(report):
    return report.lab.subject.fn.__name__


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d*(?:e[-+]\d+)?", text)]


def test_the_reproduction_of_a_boundary_holds_the_value():
    text = str(check(BY_NAME["boundary"], shrinking=True))
    assert "only where input 0 (x) is 0: found 1, right" in text
    assert re.search(r"x0 = torch.tensor\(\[\[-?0.0(, -?0.0)*\]\]\).requires_grad_", text), text


def test_inputs_are_told_by_name_and_factors_by_what_they_are():
    text = str(check(BY_NAME["factor (1 - y) forgotten"]))
    assert "found / right = 1 / (1 - y): a factor 1 - y is missing" in text
    assert "size 0 of input 0" in str(check(BY_NAME["mean for sum"]))


# How it finds out what it is given


def test_the_framework_is_found_out():
    torch_function, ours = planted.sigmoid(), planted.OurScale
    assert (
        framework_of(torch_function) == framework_of(lambda x: torch_function.apply(x)) == "torch"
    )
    assert framework_of(ours) == framework_of(lambda x: mt.relu(x)) == "minitorch_triton"
    assert framework_of(torch.nn.Linear(2, 2)) == "torch"
    assert framework_of(lambda x: x * x) is None


def test_a_function_that_cannot_be_called_is_an_error():
    with pytest.raises(TypeError, match=r"no way was found to call .*; say what it takes"):
        check_gradients(planted.layer_norm(), lambda x, y, z: x)
    with pytest.raises(ValueError, match="framework is 'jax', expected one of torch"):
        check_gradients(planted.sigmoid(), torch.sigmoid, framework="jax")


def test_constants_and_whole_numbers():
    report = check_gradients(
        mt.nn.functional.cross_entropy,
        torch.nn.functional.cross_entropy,
        ["B C", "B<C"],
        dtypes=[torch.float32],
    )
    assert report, str(report)


class RowScale(torch.autograd.Function):
    """Rows times numbers, whose gradient is forgotten."""

    @staticmethod
    def forward(ctx, x, s):
        ctx.save_for_backward(s)
        return x * s[:, None]

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0][:, None], None


def test_a_guess_is_of_floating_point_numbers_where_they_are_taken():
    report = check_gradients(
        RowScale, lambda x, s: x * s[:, None], dtypes=[torch.float32], shrinking=False
    )
    assert report.kinds == ["missing"]
    assert report.failures[0].name == "gradient of input 1 (s)"
    assert not report.unchecked()


def test_the_report_names_what_was_not_checked():
    def rows(w, index):
        return torch.nn.functional.embedding(index, w)

    report = check_gradients(rows, rows, framework="torch", dtypes=[torch.float32])
    assert report, str(report)
    told = str(report).splitlines()[1].strip()
    assert told.startswith("not checked: gradient of input 1 (index) (it holds whole numbers, a gu")


def scale_layer(package):
    """A module whose weight's gradient is twice what it should be."""

    class Scale(package.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return g * w, 2 * (g * x).reshape(-1, 3).sum(0)

    class Layer(package.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = package.nn.Parameter(package.ones(3))

        def forward(self, x):
            return Scale.apply(x, self.w)

    return Layer()


@pytest.mark.parametrize("package", [torch, mt], ids=["torch", "ours"])
def test_parameters_of_a_module_are_checked(package):
    layer = scale_layer(package)
    report = check_gradients(layer, None, [torch.ones(4, 3)], dtypes=[torch.float32])
    assert report.kinds == ["factor"]
    assert report.failures[0].name == "gradient of input 1 (parameter w)"
    assert "ModuleCall(module, 1)(x0, x1)" in str(report)
    assert layer.w.grad is None
    assert layer.w.tolist() == [1, 1, 1]


def test_parameters_that_a_reference_does_not_take_are_named():
    report = check_gradients(
        scale_layer(torch), lambda x: x * 1.0, [torch.ones(4, 3)], dtypes=[torch.float32]
    )
    assert "not checked: gradients of the parameters w" in str(report)


def test_a_module_against_a_module():
    report = check_gradients(
        mt.nn.Linear(3, 2), torch.nn.Linear(3, 2), [torch.ones(4, 3)], dtypes=[torch.float32]
    )
    assert report, str(report)
    assert not report.unchecked()


def test_random_situations_are_the_same_for_the_same_seed(tail):
    arguments = tail.lab.arguments
    first, second, third = (mixtures(arguments, (torch.float32,), 5, seed) for seed in (0, 0, 1))
    assert first == second != third


RACE = """
tt.func public @k(%out: !tt.ptr<f32>, %x: !tt.ptr<f32>) {
  %p = tt.get_program_id x : i32
  %a = tt.addptr %x, %p : !tt.ptr<f32>, i32
  %v = tt.load %a : !tt.ptr<f32>
  tt.store %ADDRESS, %VALUE : !tt.ptr<f32>
  tt.return
}
"""


@pytest.mark.parametrize(
    ("address", "value", "grid", "racing"),
    [
        ("out", "v", (4, 1, 1), ["out"]),
        ("out", "v", (1, 1, 1), []),  # one program only
        ("a", "v", (4, 1, 1), []),  # each writes to its own place
        ("out", "x", (4, 1, 1), []),  # all write the same
    ],
)
def test_stores_of_several_programs_to_one_address(address, value, grid, racing):
    ir = RACE.replace("ADDRESS", address).replace("VALUE", value)
    assert racing_stores(ir, grid) == racing


# Command line and pytest


def test_command_line(capsys, tmp_path):
    page = tmp_path / "report.html"
    status = main(["planted:OurScale", "--reference", "torch.mul", "--inputs", "M N", "N",
                   "--dtype", "float32", "--html", str(page)])  # fmt: skip
    assert status == 1
    output = capsys.readouterr().out
    assert "WRONG OurScale" in output
    assert "broadcast not summed" in output
    text = page.read_text()
    assert text.count("<svg") >= 2
    assert "0 of 1 functions are right" in text
    assert main(["--op", "relu"]) == 0
    assert capsys.readouterr().out.startswith("ok    relu: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a function"),
        (["--op", "rleu"], "rleu is not in the table of operations"),
        (["nowhere:f"], "No module named 'nowhere'"),
        (["planted:nothing"], "has no attribute 'nothing'"),
    ],
)
def test_command_line_says_what_is_wrong(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


TEST_OF_A_USER = """
import torch
import planted

def test_right(assert_gradients):
    assert_gradients(planted.product(), torch.mul, dtypes=[torch.float32])

def test_wrong(assert_gradients):
    assert_gradients(planted.product("None"), torch.mul, dtypes=[torch.float32])
"""


def test_the_fixture_and_junit(tmp_path):
    (tmp_path / "test_mine.py").write_text(TEST_OF_A_USER)
    junit = tmp_path / "junit.xml"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "minitorch_triton_pytest", "-q", "-W", "error",
         "--rootdir", tmp_path, "-c", "/dev/null", "--junit-xml", junit, tmp_path / "test_mine.py"],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert "1 failed, 1 passed" in result.stdout, result.stdout + result.stderr
    text = junit.read_text()
    assert 'name="diagnosis" value="gradient missing"' in text
    assert "backward returned None for input 1 (b)" in text


def test_a_reader_that_has_seen_enough_ends_it_quietly():
    code = (
        "import os, runpy, sys; "
        "read, write = os.pipe(); os.dup2(write, 1); os.close(read); os.close(write); "
        "sys.argv[1:] = ['--op', 'relu', '--dtype', 'float32']; "
        "runpy.run_module('minitorch_triton.testing', run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (1, "")


def test_a_tensor_may_outlive_the_package(monkeypatch):
    x = mt.ones(3)
    raised = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    monkeypatch.setattr(storage, "pool", None)  # as modules' globals are when Python ends
    del x
    assert not raised


def test_the_plugin_is_light():
    code = "import sys, minitorch_triton_pytest; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == "False", result.stderr
