import gzip
import hashlib
import http.server
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import minitorch_triton as mt
from minitorch_triton.data import MNIST_MEAN, MNIST_STD, download_mnist, mnist, mnist_arrays

SAMPLE = Path(mt.data.__file__).parent / "mnist_sample"
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@pytest.mark.parametrize(("train", "size"), [(True, 8000), (False, 2000)])
def test_the_digits_in_the_package(train, size):
    images, labels = mnist_arrays(train=train)
    assert images.shape == (size, 28, 28)
    assert images.dtype == np.uint8
    assert labels.shape == (size,)
    assert labels.dtype == np.int64
    assert set(labels) == set(range(10))
    assert 0.12 < images.mean() / 255 < 0.14


def test_the_parts_share_no_digit():
    train, test = (mnist_arrays(train=part)[0].reshape(-1, 784) for part in (True, False))
    assert not {row.tobytes() for row in train} & {row.tobytes() for row in test}


def test_tensors_are_normalised():
    arrays, labels = mnist_arrays(train=False)
    x, y = mnist(train=False)
    assert x.dtype == mt.float32
    assert y.dtype == mt.int64
    expected = (arrays / 255 - MNIST_MEAN) / MNIST_STD
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(y.numpy(), labels)


def copy_sample(folder, decompress=False):
    for name in FILES:
        content = (SAMPLE / f"{name}.gz").read_bytes()
        if decompress:
            (folder / name).write_bytes(gzip.decompress(content))
        else:
            (folder / f"{name}.gz").write_bytes(content)


@pytest.mark.parametrize("decompress", [False, True])
def test_a_folder_compressed_or_not(tmp_path, decompress):
    copy_sample(tmp_path, decompress)
    for found, expected in zip(mnist_arrays(tmp_path), mnist_arrays(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_folder_without_the_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"found neither train-images.* nor .*\.gz in "):
        mnist_arrays(tmp_path)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (FILES[1], FILES[0], r"train-images.*shape \(8000,\), expected uint8 images"),
        (FILES[0], FILES[1], r"train-labels.*shape \(8000, 28, 28\), expected one uint8 label"),
        (FILES[3], FILES[1], r"train-labels.*shape \(2000,\), expected one uint8 label for each"),
    ],
)
def test_files_that_do_not_fit_together(tmp_path, source, target, message):
    copy_sample(tmp_path)
    (tmp_path / f"{target}.gz").write_bytes((SAMPLE / f"{source}.gz").read_bytes())
    with pytest.raises(ValueError, match=message):
        mnist_arrays(tmp_path)


def test_a_label_out_of_range(tmp_path):
    copy_sample(tmp_path, decompress=True)
    path = tmp_path / FILES[1]
    content = bytearray(path.read_bytes())
    content[100] = 10
    path.write_bytes(content)
    with pytest.raises(ValueError, match="holds the label 10, expected 0 to 9"):
        mnist_arrays(tmp_path)


@contextmanager
def serving(folder):
    """Serve a folder over HTTP and give its address."""
    handler = partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def sample_is_expected(monkeypatch):
    """Let the package's digits have the checksums that the whole of MNIST has."""
    sums = {
        name: hashlib.sha256((SAMPLE / f"{name}.gz").read_bytes()).hexdigest() for name in FILES
    }
    monkeypatch.setitem(download_mnist.__globals__, "_SHA256", sums)


@pytest.mark.usefixtures("sample_is_expected")
def test_download_goes_on_to_the_next_mirror(tmp_path):
    served, damaged, target = tmp_path / "served", tmp_path / "damaged", tmp_path / "a" / "target"
    for folder in (served, damaged):
        folder.mkdir()
        copy_sample(folder)
    (damaged / f"{FILES[0]}.gz").write_bytes(b"<html>captive portal</html>")
    (damaged / f"{FILES[1]}.gz").unlink()
    with serving(damaged) as first, serving(served) as second:
        download_mnist(target, mirrors=(first, second))
    assert sorted(path.name for path in target.iterdir()) == sorted(f"{x}.gz" for x in FILES)
    assert len(mnist_arrays(target)[0]) == 8000
    download_mnist(target, mirrors=())  # everything is there: no mirror is asked


@pytest.mark.usefixtures("sample_is_expected")
def test_download_says_why_it_cannot(tmp_path):
    served, target = tmp_path / "served", tmp_path / "target"
    served.mkdir()
    (served / f"{FILES[0]}.gz").write_bytes(b"something else")
    with (
        serving(served) as mirror,
        serving(tmp_path) as empty_mirror,
        pytest.raises(ConnectionError) as caught,
    ):
        download_mnist(target, mirrors=(mirror, empty_mirror))
    message = str(caught.value)
    assert f"could not download {FILES[0]}.gz" in message
    assert f"{mirror}{FILES[0]}.gz: SHA-256 " in message
    assert f"{empty_mirror}{FILES[0]}.gz: HTTP Error 404" in message
    assert list(target.iterdir()) == []
