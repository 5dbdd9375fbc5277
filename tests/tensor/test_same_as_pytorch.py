"""Creation, attributes, views, indexing, operators, printing: line by line as PyTorch."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from same import check

import minitorch_triton as mt

VALUES = {
    "tensor": lambda T: T.tensor([[1.0, 2.0], [3.0, 4.0]]),
    "tensor int": lambda T: T.tensor([1, 2, 3]),
    "tensor bool": lambda T: T.tensor([True, False]),
    "tensor scalar": lambda T: T.tensor(3.5),
    "tensor mixed": lambda T: T.tensor([1, 2.5]),
    "tensor dtype": lambda T: T.tensor([1, 2], dtype=T.float64),
    "tensor numpy": lambda T: T.tensor(np.arange(6).reshape(2, 3)),
    "tensor empty": lambda T: T.tensor([]),
    "tensor grad": lambda T: T.tensor([1.0], requires_grad=True),
    "zeros": lambda T: T.zeros(2, 3),
    "zeros tuple": lambda T: T.zeros((2, 3), dtype=T.int32),
    "ones": lambda T: T.ones(2, 3, requires_grad=True),
    "full": lambda T: T.full((2, 2), 7),
    "full float": lambda T: T.full((2,), 1.5),
    "full bool": lambda T: T.full((2,), True),
    "arange": lambda T: T.arange(5),
    "arange range": lambda T: T.arange(2, 9, 3),
    "arange float": lambda T: T.arange(0, 1, 0.1),
    "arange down": lambda T: T.arange(5, 0, -2),
    "arange dtype": lambda T: T.arange(3, dtype=T.float32),
    "linspace": lambda T: T.linspace(-1, 1, 7),
    "linspace one": lambda T: T.linspace(2, 5, 1),
    "eye": lambda T: T.eye(3),
    "eye rectangle": lambda T: T.eye(2, 4),
    "zeros_like": lambda T: T.zeros_like(T.tensor([1, 2])),
    "ones_like": lambda T: T.ones_like(T.zeros(2, 2), dtype=T.int64),
    "full_like": lambda T: T.full_like(T.zeros(2, 2), 3),
    "FloatTensor": lambda T: T.FloatTensor([1, 2]),
    "types": lambda T: [isinstance(T.ones(2), kind) for kind in (T.FloatTensor, T.DoubleTensor)],
    "types of types": lambda T: (T.LongTensor().dtype, T.LongTensor.dtype, T.IntTensor().shape),
    "to a type": lambda T: (T.ones(2).type(T.DoubleTensor), T.ones(2).type("torch.IntTensor")),
    "LongTensor": lambda T: T.LongTensor([1, 2]),
    "new_zeros": lambda T: T.tensor([1, 2]).new_zeros(2, 2),
    "new_ones": lambda T: T.tensor([1.0]).new_ones((3,)),
    "new_tensor": lambda T: T.tensor([1.0]).new_tensor([1, 2]),
    "from_numpy": lambda T: T.from_numpy(np.arange(6.0).reshape(2, 3).T),
    "size": lambda T: (T.zeros(2, 3).size(), T.zeros(2, 3).size(-1), T.zeros(2, 3).shape),
    "dims": lambda T: (T.zeros(2, 3).dim(), T.zeros(2, 3).ndim, T.zeros(2, 3).numel()),
    "contiguous": lambda T: (T.zeros(2, 3).T.is_contiguous(), T.zeros(2, 3).T.contiguous()),
    "item": lambda T: (T.tensor(2).item(), T.tensor([2.5]).item(), T.tensor(True).item()),
    "tolist": lambda T: (T.tensor([[1, 2], [3, 4]]).tolist(), T.tensor(1.5).tolist()),
    "len": lambda T: len(T.zeros(4, 2)),
    "iteration": lambda T: [row.sum().item() for row in T.ones(3, 2)],
    "bool": lambda T: (bool(T.tensor(0.0)), bool(T.tensor([1]))),
    "float int": lambda T: (float(T.tensor(2)), int(T.tensor(2.9))),
    "index": lambda T: [10, 20, 30][T.tensor(1)],
    "contains": lambda T: (2 in T.tensor([1, 2]), 5 in T.tensor([1, 2])),
    "hash": lambda T: (lambda t: hash(t) == hash(t))(T.zeros(1)),
    "is none": lambda T: T.zeros(2) == None,  # noqa: E711
    "numpy": lambda T: T.tensor([[1.0, 2.0]]).numpy(),
    "asarray": lambda T: np.asarray(T.tensor([1, 2])),
    "to dtype": lambda T: T.tensor([1.7, -1.7]).to(T.int64),
    "to half": lambda T: T.tensor([1.0]).half(),
    "long": lambda T: T.tensor([1.0]).long(),
    "to bool": lambda T: T.tensor([0.0, 0.5, math.nan]).bool(),
    "type": lambda T: (T.tensor([1.0]).type(), T.tensor([1]).type()),
    "type_as": lambda T: T.tensor([1]).type_as(T.tensor([1.0])),
    "deepcopy": lambda T: copy.deepcopy(T.tensor([1.0], requires_grad=True)),
    "pickle": lambda T: pickle.loads(pickle.dumps(T.tensor([[1.0, 2.0]], requires_grad=True))),
    "format": lambda T: (f"{T.tensor(3)}", f"{T.tensor(2.5):.2f}", f"{T.tensor([1.0])}"),
    "NumPy's names": lambda T: (T.ones(2, 3).sum(axis=0), T.ones(2, 3).mean(1, keepdims=True)),
    "where alone": lambda T: T.where(T.tensor([[True, False], [False, True]])),
    "outer": lambda T: T.outer(T.arange(3.0), T.arange(2.0)),
    # Views
    "movedim": lambda T: T.movedim(T.arange(24).reshape(2, 3, 4), 0, -1),
    "movedim two": lambda T: T.arange(24).reshape(2, 3, 4).movedim((0, 1), (2, 0)),
    "swapaxes": lambda T: T.swapaxes(T.arange(6).reshape(2, 3), 0, 1),
    "reshape": lambda T: T.arange(6).reshape(2, 3),
    "reshape -1": lambda T: T.arange(6).reshape(-1, 2),
    "reshape strided": lambda T: T.arange(6).reshape(2, 3).T.reshape(6),
    "view": lambda T: T.arange(6).view(3, 2),
    "view strided": lambda T: T.zeros(4, 6)[:, ::2].view(2, 2, 3),
    "view ones": lambda T: T.zeros(2, 1, 3).view(1, 2, 3, 1),
    "view scalar": lambda T: T.zeros(1).view(()),
    "transpose": lambda T: T.arange(6).view(2, 3).transpose(0, 1),
    "transpose -1": lambda T: T.zeros(2, 3, 4).transpose(-1, 0),
    "T": lambda T: T.arange(6).view(2, 3).T,
    "t": lambda T: T.arange(6).view(2, 3).t(),
    "mT": lambda T: T.zeros(2, 3, 4).mT,
    "permute": lambda T: T.zeros(2, 3, 4).permute(2, 0, 1),
    "permute tuple": lambda T: T.zeros(2, 3, 4).permute((2, 0, -2)),
    "squeeze": lambda T: T.zeros(1, 2, 1).squeeze(),
    "squeeze dim": lambda T: T.zeros(1, 2, 1).squeeze(0),
    "squeeze no-op": lambda T: T.zeros(1, 2, 1).squeeze(1),
    "unsqueeze": lambda T: T.zeros(2, 3).unsqueeze(1),
    "unsqueeze -1": lambda T: T.zeros(2, 3).unsqueeze(-1),
    "expand": lambda T: T.arange(3).expand(2, 3),
    "expand -1": lambda T: T.zeros(2, 1).expand(-1, 4),
    "expand_as": lambda T: T.zeros(1, 3).expand_as(T.zeros(2, 3)),
    "flatten": lambda T: T.zeros(2, 3, 4).flatten(),
    "flatten dims": lambda T: T.zeros(2, 3, 4).flatten(1),
    "flatten scalar": lambda T: T.tensor(1.0).flatten(),
    "unflatten": lambda T: T.zeros(6, 2).unflatten(0, (2, 3)),
    "narrow": lambda T: T.arange(6).narrow(0, 1, 3),
    "select": lambda T: T.arange(6).view(2, 3).select(1, 2),
    "chunk": lambda T: T.arange(7).chunk(3),
    "split": lambda T: T.arange(7).split(3),
    "split sizes": lambda T: T.arange(7).split([2, 5]),
    "unbind": lambda T: T.arange(6).view(2, 3).unbind(1),
    "cat": lambda T: T.cat([T.zeros(2, 3), T.ones(1, 3)]),
    "cat dim": lambda T: T.cat((T.zeros(2, 3), T.ones(2, 1)), dim=-1),
    "cat types": lambda T: T.cat([T.zeros(2), T.tensor([1, 2])]),
    "stack": lambda T: T.stack([T.zeros(2), T.ones(2)], 1),
    # Indexing
    "x[0]": lambda T: T.arange(6).view(2, 3)[0],
    "x[-1]": lambda T: T.arange(6).view(2, 3)[-1],
    "x[0, 1]": lambda T: T.arange(6).view(2, 3)[0, 1],
    "x[:, 1]": lambda T: T.arange(6).view(2, 3)[:, 1],
    "x[1:]": lambda T: T.arange(6)[1:],
    "x[::2]": lambda T: T.arange(7)[::2],
    "x[-3:-1]": lambda T: T.arange(7)[-3:-1],
    "x[5:2]": lambda T: T.arange(7)[5:2],
    "x[100:]": lambda T: T.arange(7)[100:],
    "x[None]": lambda T: T.arange(3)[None],
    "x[:, None]": lambda T: T.arange(3)[:, None],
    "x[..., 0]": lambda T: T.zeros(2, 3, 4)[..., 0],
    "x[0, ...]": lambda T: T.zeros(2, 3, 4)[0, ...],
    "x[...]": lambda T: T.arange(3)[...],
    "x[tensor int]": lambda T: T.arange(6)[T.tensor([0, 5, 2])],
    "x[list]": lambda T: T.arange(6)[[0, 5, 2]],
    "x[mask]": lambda T: T.arange(6)[T.arange(6) > 2],
    "x[rows, cols]": lambda T: T.arange(6).view(2, 3)[T.tensor([0, 1]), T.tensor([2, 0])],
    "x[:, idx]": lambda T: T.arange(6).view(2, 3)[:, T.tensor([2, 0])],
    "x[idx2d]": lambda T: T.arange(6)[T.tensor([[0, 1], [2, 3]])],
    "x[np]": lambda T: T.arange(6)[np.array([1, 2])],
    "x[0-d tensor]": lambda T: T.arange(6)[T.tensor(2)],
    # Arithmetic
    "add": lambda T: T.tensor([1.0, 2.0]) + T.tensor([[1.0], [2.0]]),
    "add alpha": lambda T: T.add(T.tensor([1.0]), T.tensor([2.0]), alpha=3),
    "radd": lambda T: 2 + T.tensor([1, 2]),
    "rsub": lambda T: 1 - T.tensor([1.0, 2.0]),
    "rdiv": lambda T: 1 / T.tensor([1, 2]),
    "int div": lambda T: T.tensor([7, -7]) / 2,
    "floordiv": lambda T: T.tensor([7, -7]) // 2,
    "floordiv float": lambda T: T.tensor([7.5, -7.5]) // 2,
    "rfloordiv": lambda T: 7 // T.tensor([2, -2]),
    "mod": lambda T: T.tensor([7, -7]) % 3,
    "mod float": lambda T: T.tensor([7.5, -7.5]) % 2.0,
    "mod negative": lambda T: T.tensor([7, -7]) % -3,
    "fmod": lambda T: T.fmod(T.tensor([7.5, -7.5]), 2.0),
    "pow": lambda T: T.tensor([1.0, 2.0, -3.0]) ** 3,
    "pow half": lambda T: T.tensor([4.0, 9.0]) ** 0.5,
    "pow int": lambda T: T.tensor([2, 3, -2]) ** 3,
    "pow tensor": lambda T: T.tensor([2.0, 3.0]) ** T.tensor([3.0, 0.0]),
    "rpow": lambda T: 2 ** T.tensor([1.0, 3.0]),
    "rpow int": lambda T: 2 ** T.tensor([1, 3]),
    "neg": lambda T: -T.tensor([1, -2]),
    "abs": lambda T: abs(T.tensor([1.5, -2.0])),
    "invert": lambda T: (~T.tensor([True, False]), ~T.tensor([1, -5])),
    "and or": lambda T: (T.tensor([1, 6]) & 3, T.tensor([True]) | T.tensor([False])),
    "compare": lambda T: (
        T.tensor([1, 2]) > 1,
        T.tensor([1.0]) == T.tensor([1]),
        T.tensor([2]) >= 2,
    ),
    "bool plus": lambda T: T.tensor([True]) + T.tensor([True]),
    "bool times float": lambda T: T.tensor([True, False]) * 2.5,
    "uint8 plus": lambda T: T.tensor([200], dtype=T.uint8) + 100,
    "int plus float": lambda T: T.tensor([1]) + 1.5,
    "half plus float": lambda T: T.tensor([1.0], dtype=T.float16) + T.tensor([1.0]),
    "half times 0-d": lambda T: T.tensor([1.0], dtype=T.float16) * T.tensor(2.0),
    "int times 0-d": lambda T: T.tensor([3]) * T.tensor(2.0, dtype=T.float64),
    "bf16 half": lambda T: T.ones(1, dtype=T.bfloat16) + T.ones(1, dtype=T.float16),
    "transposed sum": lambda T: T.arange(6.0).view(2, 3).T + 1,
    "exp int": lambda T: T.exp(T.tensor([0, 1])),
    "clamp": lambda T: T.tensor([-2.0, 0.5, 2.0]).clamp(-1, 1),
    "clamp min": lambda T: T.tensor([-2.0, 0.5]).clamp(min=0),
    "where": lambda T: T.where(T.tensor([True, False]), T.tensor([1.0, 2.0]), T.tensor([3.0, 4.0])),
    "where scalar": lambda T: T.where(T.tensor([True, False]), 1.0, 0.0),
    "masked_fill": lambda T: T.tensor([1.0, 2.0]).masked_fill(T.tensor([True, False]), -1),
    "maximum": lambda T: T.maximum(T.tensor([1.0, math.nan]), T.tensor([2.0, 1.0])),
    "round": lambda T: T.tensor([0.5, 1.5, -0.5, 2.4]).round(),
    "sign": lambda T: T.sign(T.tensor([-2.0, 0.0, 3.0])),
    "isnan": lambda T: T.isnan(T.tensor([1.0, math.nan])),
    # Reductions
    "sum": lambda T: T.arange(6).view(2, 3).sum(),
    "sum dim": lambda T: T.arange(6.0).view(2, 3).sum(0),
    "sum keepdim": lambda T: T.arange(6.0).view(2, 3).sum(-1, keepdim=True),
    "sum dims": lambda T: T.ones(2, 3, 4).sum((0, 2)),
    "sum bool": lambda T: T.tensor([True, True]).sum(),
    "sum dtype": lambda T: T.tensor([1, 2]).sum(dtype=T.float32),
    "sum empty": lambda T: T.zeros(0, 3).sum(0),
    "mean": lambda T: T.arange(6.0).view(2, 3).mean(),
    "mean dim": lambda T: T.arange(6.0).view(2, 3).mean(1),
    "mean empty": lambda T: T.zeros(0).mean(),
    "prod": lambda T: T.tensor([1.0, 2.0, 3.0]).prod(),
    "prod dim": lambda T: T.arange(1, 7).view(2, 3).prod(0),
    "max": lambda T: T.tensor([1.0, 5.0, 2.0]).max(),
    "max dim values": lambda T: T.tensor([[1.0, 5.0], [7.0, 2.0]]).max(1).values,
    "max dim": lambda T: tuple(T.tensor([[1.0, 5.0], [7.0, 2.0]]).max(dim=0)),
    "min dim keepdim": lambda T: tuple(T.tensor([[1, 5], [7, 2]]).min(1, keepdim=True)),
    "amax": lambda T: T.tensor([[1.0, 5.0], [7.0, 2.0]]).amax(0),
    "argmax": lambda T: T.tensor([[1.0, 5.0], [7.0, 2.0]]).argmax(),
    "argmax dim": lambda T: T.tensor([[1.0, 5.0], [7.0, 2.0]]).argmax(1),
    "argmin": lambda T: T.tensor([3.0, 1.0, 1.0]).argmin(),
    "any all": lambda T: (T.tensor([0, 1]).any(), T.tensor([0, 1]).all(), T.zeros(0).all()),
    "any dim": lambda T: T.tensor([[0, 1], [0, 0]]).any(1),
    "var": lambda T: T.arange(6.0).var(),
    "var dim": lambda T: T.arange(6.0).view(2, 3).var(1, unbiased=False),
    "std": lambda T: T.arange(6.0).view(2, 3).std(0),
    "norm": lambda T: T.tensor([3.0, 4.0]).norm(),
    "norm 1": lambda T: T.norm(T.tensor([3.0, -4.0]), 1),
    "logsumexp": lambda T: T.logsumexp(T.tensor([[1000.0, 1000.0], [-math.inf, 0.0]]), 1),
    "matmul": lambda T: T.arange(6.0).view(2, 3) @ T.arange(6.0).view(3, 2),
    "softmax": lambda T: T.softmax(T.tensor([[1.0, 2.0]]), dim=1),
    # In place
    "add_": lambda T: T.tensor([1.0, 2.0]).add_(1),
    "+=": lambda T: (lambda t: (t.__iadd__(1), t)[1])(T.tensor([1.0, 2.0])),
    "mul_ int": lambda T: T.tensor([1, 2]).mul_(3),
    "zero_": lambda T: T.ones(2).zero_(),
    "fill_": lambda T: T.ones(2, 2).T.fill_(3),
    "copy_": lambda T: T.zeros(2, 2).copy_(T.tensor([1, 2])),
    "clamp_": lambda T: T.tensor([-3.0, 3.0]).clamp_(-1, 1),
    "add_ self transposed": lambda T: (lambda t: t.add_(t.T))(T.arange(4.0).view(2, 2)),
}


@pytest.mark.parametrize("name", VALUES)
def test_value(name):
    check(VALUES[name])


def _assign(index, value):
    def run(T):
        x = T.zeros(3, 4)
        x[index] = value(T) if callable(value) else value
        return x

    return run


ASSIGNMENTS = {
    "int": _assign(1, 5),
    "slice": _assign((slice(None), slice(1, 3)), 2.5),
    "row": _assign(0, lambda T: T.arange(4)),
    "column": _assign((slice(None), 1), lambda T: T.tensor([1.0, 2.0, 3.0])),
    "element": _assign((1, 2), 7),
    "list": _assign(0, [1.0, 2.0, 3.0, 4.0]),
    "ellipsis": _assign(..., 1),
}


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_assignment(name):
    check(ASSIGNMENTS[name])


def test_assignment_by_mask_and_integers():
    def mask(T):
        x = T.arange(6.0)
        x[x > 2] = -1
        return x

    def integers(T):
        x = T.zeros(4)
        x[T.tensor([0, 2])] = T.tensor([1.0, 2.0])
        return x

    check(mask)
    check(integers)


ERRORS = {
    "to no type": (lambda T: T.ones(2).type("torch.FooTensor"), True),
    "bitwise float": (lambda T: T.ones(2) & T.ones(2), False),
    "movedim count": (lambda T: T.zeros(2, 3).movedim((0, 1), (1,)), True),
    "movedim twice": (lambda T: T.zeros(2, 3).movedim((0, 0), (1, 0)), True),
    "outer of a matrix": (lambda T: T.outer(T.ones(2, 2), T.ones(2)), True),
    "grad of int": (lambda T: T.tensor([1], requires_grad=True), True),
    "requires_grad_ of int": (lambda T: T.tensor([1]).requires_grad_(), False),
    "broadcast": (lambda T: T.zeros(2, 3) + T.zeros(4), True),
    "view size": (lambda T: T.zeros(6).view(4), True),
    "view stride": (lambda T: T.zeros(2, 3).T.view(6), True),
    "reshape two -1": (lambda T: T.zeros(6).reshape(-1, -1), True),
    "dim range": (lambda T: T.zeros(2).sum(3), True),
    "dim twice": (lambda T: T.zeros(2, 2).sum((0, 0)), False),
    "item": (lambda T: T.zeros(2).item(), True),
    "bool": (lambda T: bool(T.zeros(2)), True),
    "bool empty": (lambda T: bool(T.zeros(0)), True),
    "iterate 0-d": (lambda T: list(T.tensor(1.0)), True),
    "len 0-d": (lambda T: len(T.tensor(1.0)), True),
    "index range": (lambda T: T.zeros(2)[5], True),
    "too many indices": (lambda T: T.zeros(2)[0, 0], True),
    "negative step": (lambda T: T.zeros(4)[::-1], True),
    "mean of int": (lambda T: T.tensor([1, 2]).mean(), True),
    "numpy of grad": (lambda T: T.ones(1, requires_grad=True).numpy(), True),
    "max of empty": (lambda T: T.zeros(0).max(), False),
    "argmax of empty": (lambda T: T.zeros(0).argmax(), False),
    "cat shapes": (lambda T: T.cat([T.zeros(2, 3), T.zeros(2, 2)]), True),
    "cat none": (lambda T: T.cat([]), False),
    "stack shapes": (lambda T: T.stack([T.zeros(2), T.zeros(3)]), True),
    "expand": (lambda T: T.zeros(2).expand(3), True),
    "expand fewer": (lambda T: T.zeros(2, 2).expand(2), False),
    "permute": (lambda T: T.zeros(2, 2).permute(0), False),
    "permute twice": (lambda T: T.zeros(2, 2).permute(0, 0), True),
    "t of 3-d": (lambda T: T.zeros(2, 2, 2).t(), True),
    "arange step 0": (lambda T: T.arange(0, 5, 0), True),
    "arange sign": (lambda T: T.arange(0, 5, -1), True),
    "in-place shape": (lambda T: T.zeros(3).add_(T.zeros(2, 3)), True),
    "in-place dtype": (lambda T: T.tensor([1]).add_(1.5), True),
    "in-place expanded": (lambda T: T.zeros(1).expand(3).add_(1), True),
    "negative int power": (lambda T: T.tensor([2]) ** -1, True),
    "add string": (lambda T: T.zeros(1) + "a", False),
    "invert float": (lambda T: ~T.zeros(1), False),
    "clamp without bounds": (lambda T: T.zeros(1).clamp(), False),
    "negative size": (lambda T: T.zeros(-1), False),
    "matmul": (lambda T: T.zeros(2, 3) @ T.zeros(2, 3), True),
    "deepcopy": (lambda T: copy.deepcopy(T.ones(1, requires_grad=True) * 2), False),
    "index float": (lambda T: T.zeros(3)[1.5], False),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name):
    function, message = ERRORS[name]
    check(function, message=message)


REPRESENTATIONS = [
    lambda T: T.tensor([1.0, 2.0, 3.0]),
    lambda T: T.tensor([[1.5, -2.25], [1e-8, 1e8]]),
    lambda T: T.arange(2000.0),
    lambda T: T.tensor([1, 2]),
    lambda T: T.tensor(True),
    lambda T: T.tensor([]),
    lambda T: T.zeros(0, 3),
    lambda T: T.ones(2, dtype=T.float64),
    lambda T: T.ones(2, requires_grad=True),
    lambda T: T.ones(2, requires_grad=True) * 2,
    lambda T: (T.ones(2, requires_grad=True) * 2).sum(),
    lambda T: (T.ones(30, requires_grad=True) * 1.123456).exp(),
    lambda T: T.tensor([float("nan"), float("inf")]),
    lambda T: T.ones(2, 2).T,
]


@pytest.mark.parametrize("number", range(len(REPRESENTATIONS)))
def test_printing(number):
    make = REPRESENTATIONS[number]
    assert repr(make(mt)) == repr(make(torch))
    assert str(make(mt)) == str(make(torch))


def test_format():
    assert f"{mt.tensor(1.23456):.2f}" == f"{torch.tensor(1.23456):.2f}"


class TestSharing:
    """Memory is shared with NumPy and PyTorch where PyTorch's functions of that name share it."""

    def test_from_numpy(self):
        array = np.zeros(3, np.float32)
        x = mt.from_numpy(array)
        array[0] = 5
        assert x[0].item() == 5
        x[1] = 7
        assert array[1] == 7
        assert x.data_ptr() == array.ctypes.data

    def test_tensor_copies(self):
        array = np.zeros(3, np.float32)
        x = mt.tensor(array)
        array[0] = 5
        assert x[0].item() == 0

    def test_torch_both_ways(self):
        source = torch.zeros(2, 3)
        x = mt.from_torch(source.T)
        assert x.shape == (3, 2)
        assert x.stride() == (1, 3)
        x.add_(1)
        assert source.sum() == 6
        assert x.torch().data_ptr() == source.data_ptr()
        own = mt.zeros(4)
        seen = own.torch()
        own[2] = 3
        assert seen[2] == 3

    def test_our_write_is_seen_by_pytorch(self):
        weight = torch.ones(3, requires_grad=True)
        squared = weight * 1
        loss = (squared * squared).sum()
        mt.from_torch(squared.detach()).mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()

    def test_write_of_pytorch_is_seen_by_us(self):
        source = torch.ones(3)
        x = mt.from_torch(source)
        w = mt.ones(3, requires_grad=True)
        loss = (w * x).sum()
        source.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()

    def test_dlpack(self):
        x = mt.arange(4)
        assert torch.from_dlpack(x).data_ptr() == x.data_ptr()
        assert np.from_dlpack(x).tolist() == [0, 1, 2, 3]
        array = np.arange(3.0)
        assert mt.from_dlpack(array).data_ptr() == array.ctypes.data

    def test_views_share(self):
        x = mt.zeros(2, 3)
        x.T[0, 1] = 4
        assert x[1, 0].item() == 4
        assert x.view(-1).data_ptr() == x.data_ptr()
        assert x.detach().data_ptr() == x.data_ptr()

    def test_kernel_takes_our_tensors(self):
        import triton
        import triton.language as tl

        @triton.jit
        def double(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
            i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
            tl.store(y_ptr + i, tl.load(x_ptr + i, mask=i < n) * 2, mask=i < n)

        x, y = mt.arange(100.0), mt.empty(100)
        double[(2,)](x, y, 100, BLOCK=64)
        assert (y == x * 2).all()


NAMES = {
    "size keyword": lambda T: (T.zeros(size=(2, 3)), T.ones(size=(2,)), T.rand(size=(2,)).shape),
    "randint keywords": lambda T: T.randint(high=3, size=(2, 2)).shape,
    "normal of tensors": lambda T: T.normal(T.zeros(3), T.ones(3)).shape,
    "like keeps order": lambda T: (
        T.zeros_like(T.zeros(2, 3).T),
        T.ones_like(T.zeros(2, 3)[:, ::2]),
    ),
    "equal": lambda T: (T.equal(T.ones(2), T.ones(2)), T.equal(T.ones(2), T.ones(3))),
    "isclose": lambda T: T.isclose(
        T.tensor([1.0, T.inf, T.nan, 0.0]), T.tensor([1.0 + 1e-7, T.inf, T.nan, 1e-3])
    ),
    "allclose": lambda T: T.allclose(T.tensor([1.0]), T.tensor([1.0 + 1e-7])),
    "isclose of ints": lambda T: T.isclose(T.tensor([1, 2]), T.tensor([1, 3])),
    "constants": lambda T: (T.pi, T.e, T.inf, T.finfo(T.float32).eps, T.iinfo(T.int8).max),
    "predicates": lambda T: (T.is_tensor(T.ones(1)), T.is_tensor(1), T.numel(T.ones(2, 3))),
    "short": lambda T: (T.tensor([1.7]).short(), T.tensor([1.7]).char(), T.tensor([1.7]).byte()),
    "bernoulli range": lambda T: T.bernoulli(T.tensor([2.0])),
    "int of several": lambda T: int(T.ones(2)),
    "format of several": lambda T: f"{T.ones(2):.2f}",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_real_scripts(name):
    check(NAMES[name])


def test_offsets_past_2_31_elements():
    memory = torch.empty(2**31 + 64, dtype=torch.uint8)  # pages that nobody touches cost nothing
    x = mt.from_torch(memory)
    far = x[2**31 - 32 :: 32]
    far.fill_(7)
    assert memory[2**31 - 32 :: 32].tolist() == [7, 7, 7]
    apart = x[:: 2**30]
    apart.copy_(mt.tensor([1, 2, 3], dtype=mt.uint8))
    assert memory[:: 2**30].tolist() == [1, 2, 3]
    assert far.tolist() == [7, 3, 7]  # the last of apart is the middle one
    assert (apart + far).tolist() == [8, 5, 10]
    assert apart.sum().item() == 6
    assert apart.max().item() == 3
    assert apart.reshape(3, 1).expand(3, 2).contiguous().tolist() == [[1, 1], [2, 2], [3, 3]]
    assert x[mt.tensor([2**31, 2**30])].tolist() == [3, 2]
    x[mt.tensor([2**31])] = 9
    assert memory[2**31].item() == 9
