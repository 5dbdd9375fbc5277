"""Indexing by tensors, gather, scatter and embedding, against torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import minitorch_triton as mt
from minitorch_triton import ops
from minitorch_triton.ops.indexing import index_put_

I = torch.tensor([[2, 0], [-1, 2]])
J = torch.tensor([1, 3])
ROWS = torch.tensor([True, False, True])
INDICES = {
    "rows": (I,),
    "columns": (slice(None), J),
    "behind_an_ellipsis": (..., J),
    "neighbours": (I, J),
    "apart": (I, slice(None), J),
    "with_slices": (slice(1, None), J, slice(None, None, 2)),
    "with_an_int": (1, J),
    "with_none": (None, J[:1]),
    "mask": (ROWS,),
    "wide_mask": (torch.arange(12).reshape(3, 4) % 5 < 2,),
    "mask_and_index": (ROWS, J),
    "empty": (torch.empty(0, dtype=torch.int64),),
    "no_hit": (torch.zeros(3, dtype=torch.bool),),
    "list": ([0, 2],),
}


def ours(index):
    return tuple(mt.from_torch(i) if isinstance(i, torch.Tensor) else i for i in index)


@pytest.mark.parametrize("name", INDICES)
def test_reading(name):
    t = torch.randn(3, 4, 5)
    x, x64 = mt.from_torch(t).requires_grad_(), t.double().requires_grad_()
    y, y64 = x[ours(INDICES[name])], x64[INDICES[name]]
    assert y.shape == y64.shape
    assert torch.equal(y.detach().torch(), y64.detach().float())
    g = torch.randn(y64.shape)
    (dx,) = mt.autograd.grad(y, x, mt.from_torch(g))
    (dx64,) = torch.autograd.grad(y64, x64, g.double())
    torch.testing.assert_close(dx.torch(), dx64.float())


@pytest.mark.parametrize("name", INDICES)
@pytest.mark.parametrize("transposed", [False, True])
def test_writing(name, transposed):
    t = torch.randn(3, 5, 4).mT if transposed else torch.randn(3, 4, 5)
    index = INDICES[name]
    values = torch.randn(t[index].shape[-1:]) if t[index].dim() else torch.randn(())
    x, expected = mt.from_torch(t.clone()), t.clone()
    x[ours(index)] = mt.from_torch(values)
    expected[index] = values
    assert torch.equal(x.torch(), expected)
    x[ours(index)] = 7
    expected[index] = 7
    assert torch.equal(x.torch(), expected)


def test_writing_is_differentiable():
    t, v = torch.randn(4, 3), torch.randn(2, 3)
    index = torch.tensor([3, 1])
    results = []
    for framework, wrap in ((mt, mt.from_torch), (torch, lambda z: z)):
        x, value = wrap(t.clone()).requires_grad_(), wrap(v.clone()).requires_grad_()
        y = x * 2
        y[wrap(index)] = value * 3
        y.square().sum().backward() if framework is torch else (y * y).sum().backward()
        results.append([x.grad.tolist(), value.grad.tolist()])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(torch.tensor(actual), torch.tensor(expected))


def test_accumulating_puts_add_up():
    x = mt.zeros(3)
    index_put_(x, [mt.tensor([1, 1, 2])], mt.tensor([1.0, 2.0, 3.0]), accumulate=True)
    assert x.tolist() == [0, 3, 3]


def test_second_derivative():
    x = mt.randn(4, requires_grad=True)
    y = (x * x * x)[mt.tensor([1, 1, 3])]
    (dx,) = mt.autograd.grad(y.sum(), x, create_graph=True)
    (ddx,) = mt.autograd.grad(dx.sum(), x)
    t = x.detach().torch()
    torch.testing.assert_close(ddx.torch(), 6 * t * torch.tensor([0.0, 2.0, 0.0, 1.0]))


def test_index_select_gather_and_masked_select():
    t = torch.randn(3, 4)
    x = mt.from_torch(t)
    assert torch.equal(x.index_select(1, mt.from_torch(J)).torch(), t.index_select(1, J))
    g = torch.tensor([[3, 0], [1, 1]])
    a, b = mt.from_torch(t.clone()).requires_grad_(), t.clone().requires_grad_()
    y, z = a.gather(1, mt.from_torch(g)), b.gather(1, g)
    assert torch.equal(y.detach().torch(), z.detach())
    w = torch.randn(2, 2)
    y.backward(mt.from_torch(w))
    z.backward(w)
    torch.testing.assert_close(a.grad.torch(), b.grad)
    mask = t > 0
    assert torch.equal(x.masked_select(mt.from_torch(mask)).torch(), t[mask])
    assert torch.equal(x.masked_select(x[0] > 0).torch(), t.masked_select(t[0] > 0))
    assert torch.equal(mt.nonzero(x > 0).torch(), mask.nonzero())


@pytest.mark.parametrize("name", ["scatter", "scatter_add"])
@pytest.mark.parametrize("dim", [0, 1])
def test_scatter(name, dim):
    t, source = torch.randn(4, 5), torch.randn(3, 3)
    index = torch.tensor([[0, 1, 2], [2, 0, 1], [3, 3, 0]])
    index = index.T.contiguous() if dim == 1 else index
    a, c = mt.from_torch(t.clone()).requires_grad_(), mt.from_torch(source.clone()).requires_grad_()
    b, d = t.clone().requires_grad_(), source.clone().requires_grad_()
    y = getattr(mt, name)(a, dim, mt.from_torch(index), c)
    z = getattr(torch, name)(b, dim, index, d)
    torch.testing.assert_close(y.detach().torch(), z.detach())
    g = torch.randn(4, 5)
    y.backward(mt.from_torch(g))
    z.backward(g)
    torch.testing.assert_close(a.grad.torch(), b.grad)
    torch.testing.assert_close(c.grad.torch(), d.grad)


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_embedding(padding_idx):
    weight = torch.randn(6, 4)
    index = torch.tensor([[0, 2, 5], [2, 2, 1]])
    a, b = mt.from_torch(weight.clone()).requires_grad_(), weight.clone().requires_grad_()
    y, z = ops.embedding(mt.from_torch(index), a, padding_idx), F.embedding(index, b, padding_idx)
    assert torch.equal(y.detach().torch(), z.detach())
    g = torch.randn(2, 3, 4)
    y.backward(mt.from_torch(g))
    z.backward(g)
    torch.testing.assert_close(a.grad.torch(), b.grad)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t, e: t.zeros(3, 4)[t.tensor([0, 3])], IndexError,
         "index 3 is out of bounds for dimension 0 with size 3"),
        (lambda t, e: t.zeros(3, 4)[:, t.tensor([0, -5])], IndexError,
         "index -5 is out of bounds for dimension 0 with size 4"),
        (lambda t, e: t.zeros(3)[t.tensor([0.5])], IndexError, "tensors used as indices must be"),
        (lambda t, e: t.zeros(3)[t.tensor([True, False])], IndexError,
         r"The shape of the mask \[2\] at index 0 does not match the shape of the indexed tensor "
         r"\[3\] at index 0"),
        (lambda t, e: t.zeros(3, 4)[t.tensor([0, 1]), t.tensor([0, 1, 2])], IndexError,
         "shape mismatch: indexing tensors could not be broadcast together with shapes"),
        (lambda t, e: t.index_select(t.zeros(3), 0, t.tensor([3])), IndexError,
         "index out of range in self"),
        (lambda t, e: t.gather(t.zeros(3), 0, t.tensor([3])), RuntimeError,
         "index 3 is out of bounds for dimension 0 with size 3"),
        (lambda t, e: t.gather(t.zeros(3, 2), 0, t.tensor([3])), RuntimeError,
         "Index tensor must have the same number of dimensions as input tensor"),
        (lambda t, e: e(t.tensor([0, 3]), t.zeros(3, 2)), IndexError, "index out of range in self"),
        (lambda t, e: e(t.tensor([0.5]), t.zeros(3, 2)), RuntimeError,
         "Expected tensor for argument #1 'indices' to have one of the following scalar types"),
    ],
)  # fmt: skip
def test_errors_are_pytorchs(call, error, message):
    for framework, embedding in ((torch, F.embedding), (mt, ops.embedding)):
        with pytest.raises(error, match=message):
            call(framework, embedding)


@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.nn.functional.embedding(T.tensor([-1]), T.ones(5, 3)),
        lambda T: T.ones(3, 2).index_select(0, T.tensor([-1])),
        lambda T: T.gather(T.ones(3, 2), 0, T.tensor([[-1, 0]])),
    ],
)
def test_numbers_that_count_from_the_end_are_refused(call):
    for module in (torch, mt):
        with pytest.raises((IndexError, RuntimeError), match=r"out of (range|bounds)"):
            call(module)


def dense(T):
    y = T.arange(0, 12, dtype=T.float64)
    return y, y.reshape(3, 4)


SAME_MEMORY = {
    "shifted": lambda T, y, m: (y, T.arange(1, 12), y[:11]),
    "reversed": lambda T, y, m: (y, T.arange(11, -1, -1), y),
    "mask": lambda T, y, m: (y, y > 0, y[:-1]),
    "transposed": lambda T, y, m: (y[:9].view(3, 3), T.tensor([2, 1, 0]), y[:9].view(3, 3).t()),
    "one_element": lambda T, y, m: (y, T.tensor([3]), y[:1]),
    "number_under_a_mask": lambda T, y, m: (y, y > 2, y[1]),
    "other_rows": lambda T, y, m: (m[:2], T.tensor([0, 1]), m[2]),
    "other_columns": lambda T, y, m: (m, (slice(None), T.tensor([0, 1])), m[:, 2:]),
    "empty": lambda T, y, m: (y, T.zeros(0, dtype=T.int64), y[:0]),
}


@pytest.mark.parametrize("name", SAME_MEMORY)
def test_writing_from_the_same_memory(name):
    outcomes = []
    for T in (mt, torch):
        y, m = dense(T)
        target, index, value = SAME_MEMORY[name](T, y, m)
        try:
            target[index] = value
            outcomes.append(y.tolist())
        except RuntimeError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def test_writing_from_strided_memory_reads_it_first():
    y = mt.arange(0, 12, dtype=mt.float64)
    expected = y.torch().clone()
    y[::2][mt.tensor([1, 2, 3, 4, 5])] = y[::2][:5]
    expected[::2][1:] = expected[::2][:5].clone()
    assert torch.equal(y.torch(), expected)


def test_an_index_in_the_written_memory_is_refused():
    for T in (mt, torch):
        y = T.arange(0, 6)
        with pytest.raises(RuntimeError, match="refer to a single memory location"):
            y[y] = 5


@pytest.mark.parametrize(
    "write",
    [
        lambda x, y: x.add_(y),
        lambda x, y: x.copy_(y),
        lambda x, y: x.__setitem__([0, 2], y[:2]),
    ],
    ids=["add_", "copy_", "setitem"],
)
def test_slices_of_one_array_overlap_though_each_has_a_storage(write):
    array = np.arange(9, dtype=np.float32)
    x = mt.from_numpy(array[1:])
    with pytest.raises(RuntimeError, match="refer to a single memory location"):
        write(x, mt.from_numpy(array[:-1]))
    assert array.tolist() == list(range(9))
    neighbours = array[:4], array[4:8]
    expected = torch.from_numpy(neighbours[0].copy())
    write(expected, torch.from_numpy(neighbours[1]))
    write(*map(mt.from_numpy, neighbours))
    assert neighbours[0].tolist() == expected.tolist()


def test_many_halves_at_one_place_are_summed_in_float32():
    index = mt.zeros(600, 1, dtype=torch.int64)
    x = mt.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    x.gather(0, index).sum().backward()
    assert float(x.grad) == 600
    y = mt.zeros(1, 1, dtype=torch.bfloat16)
    ones = mt.ones(600, 1, dtype=torch.bfloat16)
    assert float(mt.scatter_add(y, 0, index, ones)) == 600
