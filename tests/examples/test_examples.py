"""The examples as a person starts them; what takes long in a process of its own."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

import minitorch_triton as mt
from minitorch_triton import data

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(
    path.name
    for path in (ROOT / "examples").glob("*.py")
    if '__name__ == "__main__"' in path.read_text()
)


def run(*command, cwd):
    """Run a Python program; return what it wrote to standard output and to standard error."""
    path = os.pathsep.join([str(ROOT), *sys.path[1:]])
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout, result.stderr


def run_example(name, *arguments, cwd):
    return run(ROOT / "examples" / name, *arguments, cwd=cwd)


@pytest.fixture
def start(monkeypatch, capsys, tmp_path):
    """A function that starts an example here, and returns its exit status and all it printed."""

    def start_example(name, *arguments, cwd=tmp_path):
        path = ROOT / "examples" / name
        monkeypatch.chdir(cwd)
        monkeypatch.syspath_prepend(str(path.parent))
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(path), run_name="__main__")
        captured = capsys.readouterr()
        if isinstance(caught.value.code, str):  # what sys.exit writes to standard error
            return 1, captured.out + caught.value.code
        return caught.value.code, captured.out + captured.err

    return start_example


def test_all_examples_are_found():
    helpers = {"options.py", "pictures.py"}
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == helpers | set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_dry_run(name, tmp_path):
    output, _ = run_example(name, "--dry-run", "--seed", 1, "--device", "cpu", cwd=tmp_path)
    assert output
    assert list(tmp_path.iterdir()) == [], "a dry run writes no file"


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_and_wrong_options(name, start):
    status, output = start(name, "--help")
    assert status == 0
    for option in ("--dry-run", "--seed", "--device"):
        assert option in output
    status, output = start(name, "--device", "tpu")
    assert status == 2
    assert "invalid choice: 'tpu' (choose from auto, cpu, cuda)" in output


def test_autograd_explained_prints_what_pytorch_prints(tmp_path):
    path = ROOT / "examples" / "autograd_explained.py"
    on_pytorch = (
        "import runpy, sys, torch; sys.modules['minitorch_triton'] = torch; "
        f"sys.path.insert(0, {str(path.parent)!r}); sys.argv = ['x', '--device', 'cpu']; "
        f"runpy.run_path({str(path)!r}, run_name='__main__')"
    )
    expected, _ = run("-c", on_pytorch, cwd=tmp_path)
    found, _ = run(path, "--device", "cpu", cwd=tmp_path)
    assert found.splitlines() == expected.splitlines()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which mnist_mlp.py has trained for two epochs, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    output, progress = run_example("mnist_mlp.py", "--epochs", 2, "--device", "cpu", cwd=folder)
    return folder, output, progress


def checkpoint(folder):
    return mt.load(folder / "runs" / "mnist_mlp" / "checkpoint.pt")


def test_mnist_mlp_learns_and_draws(trained):
    folder, output, progress = trained
    accuracy = float(re.search(r"test accuracy (\d+\.\d+)%", output).group(1))
    assert accuracy > 90
    for part in ("epoch 2/2", "8000/8000", "images/s", "loss=", "accuracy=", "test accuracy="):
        assert part in progress
    history = checkpoint(folder)["history"]
    assert len(history) == 2
    assert 100 * history[-1]["test_accuracy"] == pytest.approx(accuracy)
    for name in ("learning_curve.png", "predictions.png"):
        picture = matplotlib.image.imread(folder / "runs" / "mnist_mlp" / name)
        assert min(picture.shape[:2]) > 400
        assert picture.std() > 0.02, "more than an empty page"


def test_resuming_gives_what_an_uninterrupted_run_gives(trained, tmp_path):
    for arguments in (("--epochs", 1), ("--epochs", 2, "--resume")):
        run_example("mnist_mlp.py", *arguments, "--device", "cpu", cwd=tmp_path)
    resumed, uninterrupted = checkpoint(tmp_path), checkpoint(trained[0])
    for name, parameter in uninterrupted["model"].items():
        np.testing.assert_array_equal(resumed["model"][name].numpy(), parameter.numpy())
    assert [record["losses"] for record in resumed["history"]] == [
        record["losses"] for record in uninterrupted["history"]
    ]


def test_pytorch_reads_the_checkpoint(trained):
    state = torch.load(trained[0] / "runs/mnist_mlp/checkpoint.pt", weights_only=True)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
    )
    model.load_state_dict(state["model"])
    torch.optim.SGD(model.parameters(), lr=1).load_state_dict(state["optimizer"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "mnist_mlp: found neither train-images"),
        (["--resume"], "mnist_mlp: there is no checkpoint .*checkpoint.pt"),
        (["--download"], "--download needs --data"),
        (["--epochs", "some"], "argument --epochs: invalid int value: 'some'"),
    ],
)
def test_mnist_mlp_says_what_is_wrong(arguments, message, start):
    status, output = start("mnist_mlp.py", *arguments)
    assert status != 0
    assert re.search(message, output)


@pytest.mark.parametrize("style", ["mnist", "paper", "large", "transparent"])
def test_predict_reads_a_picture(trained, style, tmp_path):
    images, labels = data.mnist_arrays(train=False)
    picture = images[1] / 255
    if style == "large":
        picture = np.kron(np.pad(picture, ((0, 9), (30, 3))), np.ones((7, 7)))
    if style == "paper":
        picture = 0.9 - 0.7 * picture
    if style == "transparent":
        picture = np.stack([0 * picture, 0 * picture, 0 * picture, picture], axis=2)
    else:
        picture = np.stack(3 * [picture], axis=2)
    path = tmp_path / "digit.png"
    matplotlib.image.imsave(path, picture)
    output, _ = run_example("predict.py", path, "--device", "cpu", cwd=trained[0])
    lines = output.splitlines()
    assert lines[-1] == f"It is a {labels[1]}."
    probabilities = [float(line.split()[1].rstrip("%")) for line in lines[-11:-1]]
    assert len(probabilities) == 10
    assert sum(probabilities) == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory: '.*digit.png'"),
        (b"", "digit.png"),
        (b"no picture", "digit.png: not a PNG file"),
        ("blank", "digit.png: no digit to be seen"),
    ],
)
def test_predict_says_what_is_wrong(trained, content, message, start, tmp_path):
    path = tmp_path / "digit.png"
    if content == "blank":
        matplotlib.image.imsave(path, np.full((30, 20, 3), 0.8))
    elif content is not None:
        path.write_bytes(content)
    status, output = start("predict.py", path, cwd=trained[0])
    assert status == 1
    assert re.search(message, output)


def test_predict_refuses_another_checkpoint(start, tmp_path):
    mt.save({"x": mt.ones(1)}, tmp_path / "other.pt")
    status, output = start("predict.py", "--checkpoint", tmp_path / "other.pt")
    assert status == 1
    assert re.search("predict: .*other.pt is no checkpoint of mnist_mlp.py", output)


def test_gradient_check_names_each_operation_and_its_errors(tmp_path):
    command = (
        "gradient_check.py",
        "softmax",
        "add",
        "--dtype",
        "float64",
        "--layout",
        "transposed",
    )
    output, _ = run_example(*command, cwd=tmp_path)
    lines = output.splitlines()
    assert any(line.split()[1] == "softmax" and "float64" in line for line in lines)
    assert re.fullmatch(r"(\d+) of \1 agree with PyTorch", lines[-1])


def test_gradient_check_says_what_the_table_has(start):
    status, output = start("gradient_check.py", "sotfmax")
    assert status == 2
    assert "sotfmax is not in the table, which has" in output
