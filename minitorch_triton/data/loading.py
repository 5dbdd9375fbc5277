"""Datasets and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.utils.data

import minitorch_triton as mt

from ..serialization import from_torch, map_tensors, to_torch


class TensorDataset(torch.utils.data.Dataset):
    """Item i is the tuple of every tensor's i-th element along its first dimension."""

    def __init__(self, *tensors: mt.Tensor) -> None:
        if not tensors:
            raise ValueError("TensorDataset needs at least one tensor")
        sizes = [len(tensor) for tensor in tensors]
        if len(set(sizes)) != 1:
            raise AssertionError(f"Size mismatch between tensors: first dimensions {sizes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[mt.Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class DataLoader(torch.utils.data.DataLoader):
    """PyTorch's data loader, with its arguments and defaults, giving this framework's tensors.

    Samplers, worker processes and pinned memory are PyTorch's own; batches are put together on the
    CPU, in the workers if there are any. Order and workers are seeded by `generator` if there is
    one, otherwise by this framework's generator, so by `manual_seed`. `collate_fn` gets the list of
    a batch's samples as the dataset gave them, and returns tensors on the CPU.
    """

    def __init__(
        self,
        dataset: torch.utils.data.Dataset,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        *,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> None:
        if collate_fn is None:
            single_samples = batch_size is None and batch_sampler is None
            collate_fn = _convert_sample if single_samples else _collate
        self._reseeds = generator is None
        super().__init__(
            dataset,
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            num_workers,
            _InTorch(collate_fn),
            pin_memory,
            drop_last,
            timeout,
            worker_init_fn,
            generator=torch.Generator() if generator is None else generator,
            **kwargs,
        )

    def __iter__(self) -> Iterator[Any]:
        if self._reseeds:
            self.generator.manual_seed(int(mt.randint(0, 2**62, (), dtype=mt.int64).item()))
        return (map_tensors(batch, torch.Tensor, from_torch) for batch in super().__iter__())


class _InTorch:
    """A collate function whose result is in PyTorch's tensors: those travel between processes."""

    def __init__(self, collate_fn: Callable[[Any], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, samples: Any) -> Any:
        return map_tensors(self.collate_fn(samples), mt.Tensor, to_torch)


def _collate(samples: list) -> Any:
    return torch.utils.data.default_collate(map_tensors(samples, mt.Tensor, to_torch))


def _convert_sample(sample: Any) -> Any:
    return torch.utils.data.default_convert(map_tensors(sample, mt.Tensor, to_torch))


def batches(
    *tensors: mt.Tensor, batch_size: int, shuffle: bool = False, drop_last: bool = False
) -> Iterator[tuple[mt.Tensor, ...]]:
    """Yield one epoch of batches of tensors that all lie on one device, without leaving it.

    The tensors agree in their first dimension, N. In order, batches are views; shuffled, a
    permutation is drawn on the device from this framework's generator and each batch gathered by
    it. The last batch is smaller where batch_size does not divide N, unless `drop_last`.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size should be a positive integer, but got {batch_size}")
    dataset = TensorDataset(*tensors)
    size = len(dataset)
    order = mt.randperm(size, device=tensors[0].device) if shuffle else None
    stop = size - size % batch_size if drop_last else size
    for start in range(0, stop, batch_size):
        batch = slice(start, start + batch_size)
        yield dataset[batch if order is None else order[batch]]
