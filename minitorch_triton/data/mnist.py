"""The MNIST database of handwritten digits by Y. LeCun, C. Cortes and C. J. C. Burges.

The package carries 10,000 of its digits (see `mnist_sample/LICENSE`), which is what :func:`mnist`
reads by default; :func:`download_mnist` fetches all 70,000.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import minitorch_triton as mt

from ..serialization import replacing
from .idx import read_idx

MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
"""Mean and standard deviation of the 60,000 training images' pixels on a scale from 0 to 1."""

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

_SAMPLE = Path(__file__).parent / "mnist_sample"
_SHA256 = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


def mnist_arrays(
    root: str | os.PathLike[str] | None = None, train: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return MNIST's images, uint8 (N, 28, 28) with ink at 255, and labels, int64 (N,).

    `root` is a folder with the four files under their standard names, compressed or not; None means
    the digits in this package: 8,000 to train on and 2,000 to test on, all from MNIST's training
    set. A missing file raises FileNotFoundError, a damaged or unfitting one ValueError.
    """
    root = _SAMPLE if root is None else Path(root)
    part = "train" if train else "t10k"
    images_path = _find(root, f"{part}-images-idx3-ubyte")
    labels_path = _find(root, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_path), read_idx(labels_path)

    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise ValueError(
            f"{images_path}: {images.dtype} elements of shape {images.shape}, expected uint8 "
            "images of shape (N, 28, 28)"
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{labels_path}: {labels.dtype} elements of shape {labels.shape}, expected one uint8 "
            f"label for each of the {len(images)} images in {images_path.name}"
        )
    if labels.size and labels.max() > 9:
        raise ValueError(f"{labels_path}: holds the label {labels.max()}, expected 0 to 9")
    return images, labels.astype(np.int64)


def mnist(
    root: str | os.PathLike[str] | None = None,
    train: bool = True,
    device: torch.device | str = "cpu",
) -> tuple[mt.Tensor, mt.Tensor]:
    """Return MNIST's images, float32 (N, 28, 28), and labels, int64 (N,), on `device`.

    Pixels are normalised by MNIST_MEAN and MNIST_STD. `root`, `train` and the errors are those of
    :func:`mnist_arrays`.
    """
    images, labels = mnist_arrays(root, train)
    pixels = mt.from_numpy(images).to(device)
    normalised = pixels * (1 / 255 / MNIST_STD) - MNIST_MEAN / MNIST_STD
    return normalised, mt.from_numpy(labels).to(device)


def download_mnist(root: str | os.PathLike[str], mirrors: Sequence[str] = MIRRORS) -> None:
    """Fetch MNIST's four files into the folder `root`, skipping those that are already right.

    Each file is written under its own name only after its SHA-256 has been checked. When no mirror
    gives a file, ConnectionError says what each of them answered.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    for stem, sha256 in _SHA256.items():
        name = f"{stem}.gz"
        path = root / name
        if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            continue
        content = _fetch(name, sha256, mirrors, root)
        with replacing(path) as file:
            file.write(content)


def _fetch(name: str, sha256: str, mirrors: Sequence[str], root: Path) -> bytes:
    answers = []
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(mirror + name, timeout=30) as response:
                content = response.read()
        except (OSError, http.client.HTTPException) as error:
            answers.append(f"{mirror}{name}: {error}")
            continue
        found = hashlib.sha256(content).hexdigest()
        if found == sha256:
            return content
        answers.append(f"{mirror}{name}: SHA-256 {found}, expected {sha256}")
    raise ConnectionError(
        f"could not download {name}:\n  "
        + "\n  ".join(answers)
        + f"\nPut MNIST's four files into {root} by hand, or use the 10,000 digits that come with "
        "the package."
    )


def _find(root: Path, name: str) -> Path:
    for path in (root / name, root / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"found neither {name} nor {name}.gz in {root}")
