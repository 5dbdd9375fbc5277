"""What the wheel holds."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory):
    """The names of the files in a wheel built from a copy of the project."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "minitorch_triton", source / "minitorch_triton", ignore=ignored)
    for name in ("LICENSE", "README.md", "pyproject.toml", "minitorch_triton_pytest.py"):
        shutil.copy(ROOT / name, source)
    for link in ("kernels", "nn", "optim"):
        (source / link).symlink_to(ROOT.joinpath(link).readlink())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        + ["--disable-pip-version-check", "--wheel-dir", folder, source],
        check=True,
        timeout=300,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_claims_one_name_and_that_of_the_pytest_plugin(wheel_names):
    tops = {name.split("/")[0] for name in wheel_names}
    names = {top for top in tops if not top.endswith(".dist-info")}
    assert names == {"minitorch_triton", "minitorch_triton_pytest.py"}


def test_wheel_carries_everything_in_the_package(wheel_names):
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "minitorch_triton").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "minitorch_triton/py.typed" in files
    assert "minitorch_triton/data/mnist_sample/train-images-idx3-ubyte.gz" in files
    assert files <= wheel_names


@pytest.mark.parametrize("link", ["kernels", "nn", "optim"])
def test_links_at_the_root_are_relative_and_lead_into_the_package(link):
    assert ROOT.joinpath(link).readlink() == Path("minitorch_triton", link)
    assert ROOT.joinpath(link, "__init__.py").is_file()
