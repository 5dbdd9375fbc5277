"""The indexing kernels on torch tensors, against torch."""

import pytest
import torch

from minitorch_triton.kernels import indexing as K


def status():
    return torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize(("outer", "size", "inner"), [(1, 7, 5), (3, 4, 1), (2, 9, 1500)])
def test_gather_rows(outer, size, inner, dtype):
    x = torch.randn(outer, size, inner).to(dtype)
    index = torch.randint(0, size, (11,))
    y, report = torch.empty(outer, 11, inner, dtype=dtype), status()
    K.gather(y, x, index, report, (outer, 11, inner), size, x.stride(), (0, 1, 0))
    assert torch.equal(y, x[:, index])
    assert report.tolist() == [0, 0]


def test_gather_elements():
    x, index = torch.randn(4, 6, 5), torch.randint(0, 6, (4, 3, 5), dtype=torch.int32)
    y = torch.empty(4, 3, 5)
    K.gather(y, x, index, status(), (4, 3, 5), 6, x.stride(), index.stride())
    assert torch.equal(y, x.gather(1, index.long()))


@pytest.mark.parametrize("wrong", [7, -8, 2**40])
def test_an_index_out_of_range_is_reported(wrong):
    x, index = torch.randn(7, 5), torch.tensor([1, wrong, 3, 99])
    y, report = torch.zeros(4, 5), status()
    K.gather(y, x, index, report, (1, 4, 5), 7, (0, 5, 1), (0, 1, 0))
    assert report.tolist() == [wrong, 1]
    assert y.isnan().any(1).tolist() == [False, True, False, True]
    before, report = x.clone(), status()
    K.scatter(x, index[1:2], y, report, (1, 1, 5), 7, (0, 5, 1), (0, 1, 0), (0, 5, 1), add=True)
    assert report.tolist() == [wrong, 1]
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize(("outer", "size", "inner"), [(1, 7, 5), (3, 4, 1), (2, 9, 1500)])
def test_scatter_adds(outer, size, inner, dtype):
    x = torch.zeros(outer, size, inner, dtype=dtype)
    index = torch.randint(0, size, (23,))
    value = torch.randn(outer, 23, inner).mul(10).to(dtype)
    expected = x.index_add(1, index, value)
    strides = x.stride(), (0, 1, 0), value.stride()
    K.scatter(x, index, value, status(), (outer, 23, inner), size, *strides, add=True)
    torch.testing.assert_close(x, expected)


def test_scatter_adds_expanded_values_and_skips():
    x, index = torch.zeros(5, 3), torch.tensor([0, 4, 4, 2, 1])
    value = torch.ones(()).expand(5, 3)
    strides = (0, 3, 1), (0, 1, 0), (0, *value.stride())
    K.scatter(x, index, value, None, (1, 5, 3), 5, *strides, add=True, skipped=2)
    assert x[:, 0].tolist() == [1, 1, 0, 0, 2]


def test_scatter_writes_the_last():
    x, index, value = torch.zeros(4), torch.tensor([2, 2, 0]), torch.tensor([1.0, 2.0, 3.0])
    K.scatter(x, index, value, None, (1, 3, 1), 4, (0, 1, 0), (0, 1, 0), (0, 1, 0), add=False)
    assert x.tolist() == [3, 0, 2, 0]


def test_ravel():
    i, j = torch.tensor([0, -1, 2]), torch.tensor([3, 1, -4])
    linear, report = torch.empty(3, dtype=torch.int64), status()
    K.ravel(linear, [i, j], report, [3, 4], [4, 1])
    assert linear.tolist() == [3, 9, 8]
    j[1] = 5
    K.ravel(linear, [i, j], report, [3, 4], [4, 1])
    assert linear[1] < 0
    assert report.tolist() == [5, 2]


@pytest.mark.parametrize("shape", [(5,), (3, 4), (10, 2, 500), (4096,), (0, 3)], ids=str)
def test_nonzero(shape):
    mask = torch.rand(shape) > 0.6
    counts = torch.empty(K.count_programs(mask.numel()), dtype=torch.int64)
    K.count(counts, mask)
    assert counts.sum() == mask.sum()
    y = torch.empty(len(shape), int(counts.sum()), dtype=torch.int64)
    K.nonzero(y, counts, mask)
    assert torch.equal(y.T, mask.nonzero())
