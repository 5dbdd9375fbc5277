"""Data: MNIST in IDX files, datasets, and two ways to batches.

The convenient way is PyTorch's, :class:`DataLoader` over a :class:`Dataset`; the quick way,
:func:`batches`, keeps the whole data set on the device and gathers each batch there.
"""

from torch.utils.data import Dataset

from .idx import read_idx
from .loading import DataLoader, TensorDataset, batches
from .mnist import MNIST_MEAN, MNIST_STD, download_mnist, mnist, mnist_arrays

__all__ = [
    "MNIST_MEAN",
    "MNIST_STD",
    "DataLoader",
    "Dataset",
    "TensorDataset",
    "batches",
    "download_mnist",
    "mnist",
    "mnist_arrays",
    "read_idx",
]
