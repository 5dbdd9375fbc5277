"""Every operation with each input, the output, or a view of it changed before backward.

What comes out is PyTorch's error or PyTorch's gradient. Where PyTorch refuses because it saved what
we did not need, the gradient is that of the unchanged values.
"""

from __future__ import annotations

import pytest
import torch

import minitorch_triton as mt
from minitorch_triton.testing import CASES
from minitorch_triton.testing.checks import error, tolerance

DIFFERENTIABLE = [
    case
    for case in CASES.values()
    if case.deterministic and case.differentiable and torch.float64 in case.dtypes
]


MODIFIED = "one of the variables needed for gradient computation has been modified by an inplace"

ON_A_COPY = ("cross_entropy", "div", "kl_div", "l1_loss", "matmul")
"""Operations that in PyTorch consist of several, which save an intermediate result of their own;
ours is one kernel and saves its input, so that there may be an error where PyTorch has none."""


def whole(x):
    return x


def view(x):
    return x[:1] if x.ndim and x.shape[0] else x.view(x.shape)


def outcome(t, case, target, select):
    """The gradients of the inputs, or the error, with a target changed in place.

    Args:
        target: the number of an input, -1 - the number of an output, or None for none.
    """
    leaves, inputs = [], []
    for x, given in zip(case.sample(torch.float64), case.inputs, strict=True):
        x = t.as_tensor(x.clone())
        if x.dtype.is_floating_point and given.tracked:
            leaves.append(x.requires_grad_())
            x = x * 1
        inputs.append(x)
    results = case.call(t, *inputs)
    results = results if isinstance(results, (tuple, list)) else [results]
    try:
        if target is not None:
            changed = select(inputs[target] if target >= 0 else results[-1 - target])
            changed.logical_not_() if changed.dtype == torch.bool else changed.add_(1)
        outputs = [y for y in results if y.requires_grad]
        generator = torch.Generator().manual_seed(0)
        cotangents = [
            t.as_tensor(torch.randn(tuple(y.shape), generator=generator, dtype=torch.float64))
            for y in outputs
        ]
        return t.autograd.grad(outputs, leaves, cotangents, materialize_grads=True)
    except RuntimeError as refused:
        return str(refused)


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=[case.name for case in DIFFERENTIABLE])
def test_pytorchs_error_or_gradient(case):
    limit = tolerance(torch.float64, case.terms, 8 * case.condition)
    unchanged = outcome(torch, case, None, whole)
    targets = [n for n, given in enumerate(case.inputs) if given.dtype != torch.bool]
    for target in [*targets, -1]:
        for select in (whole, view):
            ours = outcome(mt, case, target, select)
            theirs = outcome(torch, case, target, select)
            where = f"target {target}, {select.__name__}"
            if isinstance(ours, str):
                refused = theirs if isinstance(theirs, str) else MODIFIED
                assert isinstance(theirs, str) or case.op in ON_A_COPY, f"{where}: {ours}"
                assert ours[: len(MODIFIED)] == refused[: len(MODIFIED)], where
                continue
            wanted = unchanged if isinstance(theirs, str) else theirs
            for y, expected in zip(ours, wanted, strict=True):
                assert error(y.torch(), expected, upstream=1.0) <= limit, where


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_integers_and_bools_stay_out_of_the_graph(dtype):
    """Also after fill_ and masked_fill_ with a tensor, where PyTorch's claim a gradient."""
    source = mt.tensor(3.0, requires_grad=True)
    for write in (
        lambda z: z.__setitem__(0, source),
        lambda z: z.__setitem__(mt.tensor([0, 2]), source),
        lambda z: z.copy_(source.expand(3)),
        lambda z: z.fill_(source),
        lambda z: z.masked_fill_(mt.tensor([True, False, True]), source),
    ):
        z = mt.zeros(3, dtype=dtype)
        write(z)
        assert z[0].item() == (3 if dtype == torch.int64 else True)
        assert not z.requires_grad and z.grad_fn is None


def test_the_error_names_what_wrote_through_a_view():
    y = mt.ones(3, requires_grad=True) * 1
    y[0] = 0
    z = y.sin()
    y[1] = 1
    with pytest.raises(RuntimeError, match="which is output 0 of CopySlices, is at version 2"):
        z.sum().backward()
