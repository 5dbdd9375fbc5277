from collections import namedtuple

import numpy as np
import pytest
import torch

import minitorch_triton as mt
from minitorch_triton.data import DataLoader, Dataset, TensorDataset, batches

N = 23


@pytest.fixture
def tensors():
    return mt.arange(N * 2, dtype=mt.float32).reshape(N, 2), mt.arange(N)


def values(epoch):
    return [[tensor.tolist() for tensor in batch] for batch in epoch]


def test_tensor_dataset(tensors):
    dataset = TensorDataset(*tensors)
    assert len(dataset) == N
    x, y = dataset[3]
    assert (x.tolist(), y.item()) == ([6.0, 7.0], 3)
    with pytest.raises(AssertionError, match=r"Size mismatch between tensors: .*\[23, 22\]"):
        TensorDataset(tensors[0], tensors[1][1:])
    with pytest.raises(ValueError, match="at least one tensor"):
        TensorDataset()


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (5, 0), (5, 2), (23, 0), (50, 0)])
def test_data_loader_gives_what_pytorch_gives(tensors, batch_size, drop_last, num_workers):
    arguments = {"batch_size": batch_size, "drop_last": drop_last, "shuffle": True}
    ours = DataLoader(
        TensorDataset(*tensors),
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(7),
        **arguments,
    )
    theirs = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*(tensor.torch() for tensor in tensors)),
        generator=torch.Generator().manual_seed(7),
        **arguments,
    )
    assert len(ours) == len(theirs)
    for _ in range(2):
        epoch = list(ours)
        assert all(isinstance(tensor, mt.Tensor) for batch in epoch for tensor in batch)
        assert values(epoch) == values(theirs)


def test_data_loader_is_seeded_by_manual_seed(tensors):
    loader = DataLoader(TensorDataset(*tensors), batch_size=4, shuffle=True)
    mt.manual_seed(3)
    first, second = values(loader), values(loader)
    assert first != second
    mt.manual_seed(3)
    assert values(loader) == first
    assert sorted(index for _, labels in first for index in labels) == list(range(N))


Sample = namedtuple("Sample", ["name", "value"])


class Records(Dataset):
    """Samples as data sets come: arrays, numbers and text in dicts and named tuples."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        named = Sample(name=f"item {index}", value=index)
        return {"x": mt.full((3,), float(index)), "array": np.full(2, index), "named": named}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_data_loader_collates_structures(num_workers):
    first, second = DataLoader(Records(), batch_size=2, num_workers=num_workers)
    assert first["x"].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert second["array"].tolist() == [[2, 2], [3, 3]]
    assert second["named"].value.tolist() == [2, 3]
    assert second["named"].name == ("item 2", "item 3")
    assert isinstance(second["named"].value, mt.Tensor)


def test_data_loader_without_batches(tensors):
    samples = list(DataLoader(TensorDataset(*tensors), batch_size=None))
    assert [y.item() for _, y in samples] == list(range(N))


def test_data_loader_with_a_collate_function(tensors):
    def collate(samples):
        assert all(isinstance(x, mt.Tensor) for x, _ in samples)
        return mt.stack([x for x, _ in samples]).sum(dim=0)

    loader = DataLoader(TensorDataset(*tensors), batch_size=2, collate_fn=collate)
    assert next(iter(loader)).tolist() == [2.0, 4.0]


def test_data_loader_with_wrong_arguments(tensors):
    dataset = TensorDataset(*tensors)
    with pytest.raises(ValueError, match="batch_size should be a positive integer value"):
        DataLoader(dataset, batch_size=0)
    with pytest.raises(ValueError, match="num_workers option should be non-negative"):
        DataLoader(dataset, num_workers=-1)
    with pytest.raises(TypeError, match="shufle"):
        DataLoader(dataset, shufle=True)


@pytest.mark.parametrize("batch_size", [1, 5, 23, 50])
def test_batches_in_order(tensors, batch_size):
    loader = DataLoader(TensorDataset(*tensors), batch_size=batch_size)
    assert values(batches(*tensors, batch_size=batch_size)) == values(loader)


def test_batches_in_order_share_memory(tensors):
    (x, _), *_ = batches(*tensors, batch_size=5)
    assert x.data_ptr() == tensors[0].data_ptr()


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [5, 5, 5, 5, 3]), (True, [5, 5, 5, 5])])
def test_batches_shuffled(tensors, drop_last, sizes):
    def epoch():
        return list(batches(*tensors, batch_size=5, shuffle=True, drop_last=drop_last))

    mt.manual_seed(1)
    first, second = epoch(), epoch()
    assert [len(labels) for _, labels in first] == sizes
    order = [index for _, labels in first for index in labels.tolist()]
    assert len(set(order)) == sum(sizes)
    assert order != sorted(order)
    assert [row for x, _ in first for row in x.tolist()] == [[2 * i, 2 * i + 1] for i in order]
    assert values(first) != values(second)
    mt.manual_seed(1)
    assert values(epoch()) == values(first)


def test_batches_with_wrong_arguments(tensors):
    with pytest.raises(ValueError, match="positive integer, but got 0"):
        next(batches(*tensors, batch_size=0))
    with pytest.raises(AssertionError, match="Size mismatch"):
        next(batches(tensors[0], tensors[1][:3], batch_size=2))
