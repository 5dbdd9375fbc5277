"""Saving and loading in PyTorch's file format, so that either framework reads the other's files."""

from __future__ import annotations

import copy
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import torch

import minitorch_triton as mt

FileLike = str | os.PathLike[str] | IO[bytes]


def save(obj: Any, f: FileLike) -> None:
    """Write `obj` to `f`, a path or a binary file.

    `obj` is a tensor, a number, a string or None, or dicts, lists and tuples of such. Where `f` is
    a path, a process killed at any moment leaves either the old file or the new one there.
    """
    data = map_tensors(obj, mt.Tensor, to_torch)
    if not isinstance(f, (str, os.PathLike)):
        torch.save(data, f)
        return
    with replacing(f) as file:
        torch.save(data, file)


def load(f: FileLike, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """Return what :func:`save` or `torch.save` has written to `f`, a path or a binary file.

    `map_location` is a device for the tensors, as in `torch.load`. Nothing in the file is executed:
    one that holds more than tensors and plain data raises UnpicklingError. A truncated or otherwise
    damaged file, or one of another kind, raises RuntimeError.
    """
    if not weights_only:
        raise ValueError("weights_only=False would execute code from the file; it is not supported")
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            return load(file, map_location)
    name = getattr(f, "name", "the file")
    _check_archive(f, name)
    try:
        data = torch.load(f, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(
            f"{name}: holds more than tensors and plain data, and is not loaded because that "
            "could execute code from the file"
        ) from error
    return map_tensors(data, torch.Tensor, from_torch)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a new binary file, which takes the place of `path` only when the block has succeeded."""
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def to_torch(tensor: mt.Tensor) -> torch.Tensor:
    """Return a leaf tensor or Parameter of PyTorch that shares memory and requires_grad."""
    shared = tensor.detach().torch()
    if isinstance(tensor, mt.nn.Parameter):
        return torch.nn.Parameter(shared, tensor.requires_grad)
    return shared.requires_grad_(tensor.requires_grad)


def from_torch(tensor: torch.Tensor) -> mt.Tensor:
    """Return a leaf tensor or Parameter of ours that shares memory and requires_grad."""
    shared = mt.from_torch(tensor.detach())
    if isinstance(tensor, torch.nn.Parameter):
        return mt.nn.Parameter(shared, tensor.requires_grad)
    return shared.requires_grad_(tensor.requires_grad)


def map_tensors(data: Any, kind: type, convert: Callable[[Any], Any]) -> Any:
    """Return `data` with each tensor of type `kind` in its dicts, lists and tuples converted."""
    if isinstance(data, kind):
        return convert(data)
    if isinstance(data, dict):
        mapped = copy.copy(data)  # keeps an OrderedDict, and the attributes of a state_dict
        for key, value in data.items():
            mapped[key] = map_tensors(value, kind, convert)
        return mapped
    if isinstance(data, list | tuple):
        values = [map_tensors(value, kind, convert) for value in data]
        return type(data)(*values) if hasattr(data, "_fields") else type(data)(values)
    return data


def _check_archive(file: IO[bytes], name: str) -> None:
    """Raise RuntimeError unless `file` is a complete archive whose records have their checksums."""
    position = file.tell()
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        raise RuntimeError(
            f"{name}: truncated, damaged, or no file of this format, which is that of torch.save: "
            f"{error}"
        ) from error
    if damaged is not None:
        raise RuntimeError(f"{name}: damaged: the record {damaged} has a wrong checksum")
    file.seek(position)
