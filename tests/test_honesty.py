"""All arithmetic on tensor data happens in our kernels: not in PyTorch, NumPy or a cache.

Two independent guards. Under a ``TorchDispatchMode`` nothing but memory and view operations of
PyTorch may run. And with launches that do nothing and fresh memory full of NaN, every result must
be that NaN: a result that survives was not computed by a kernel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import minitorch_triton as mt
from minitorch_triton import nn, optim
from minitorch_triton.cpu import checking
from minitorch_triton.cpu.launch import PreparedKernel
from minitorch_triton.kernels import launch
from minitorch_triton.storage import Storage
from minitorch_triton.testing import CASES, Case

ALLOWED = {
    "aten::empty.memory_format",  # memory
    "aten::as_strided",  # a buffer seen through a tensor's layout
    "aten::view.dtype",
    "aten::detach",
    "aten::alias",
    "aten::lift_fresh",  # a NumPy array's memory as a tensor: an optimizer's table of addresses
    "aten::promote_types",  # of two dtypes, not of data
    "aten::can_cast",
    "aten::_local_scalar_dense",  # x.item(): one number to the host
}
"""Operations of PyTorch that get memory or look at it; none of them computes."""

POISON = 0xFF
"""Of which every floating-point dtype makes NaN, and every integer type -1 or its largest value."""


class Guard(TorchDispatchMode):
    """Collects the operations of PyTorch that run and are not allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        if name not in ALLOWED:
            self.found.add(name)
        return func(*args, **(kwargs or {}))


def tensors_of(case: Case) -> list[mt.Tensor]:
    return [
        mt.from_torch(x).requires_grad_(
            case.differentiable and given.tracked and x.is_floating_point()
        )
        for given, x in zip(case.inputs, case.sample(torch.float32), strict=True)
    ]


def as_tuple(results: Any) -> tuple:
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)


def run(case: Case, inputs: list[mt.Tensor], upstream: Callable) -> tuple[tuple, list, list]:
    """Outputs, upstream gradients and gradients."""
    outputs = as_tuple(case.call(mt, *inputs))
    linked = [y for y in outputs if y.requires_grad]
    leaves = [x for x in inputs if x.requires_grad]
    cotangents = [upstream(y) for y in linked]
    gradients = list(
        mt.autograd.grad(linked, leaves, cotangents, allow_unused=True) if linked else ()
    )
    return outputs, cotangents, gradients


ALL = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@ALL
def test_an_operation_leaves_arithmetic_to_its_kernels(case):
    inputs = tensors_of(case)
    gradients = {}

    def upstream(y: mt.Tensor) -> mt.Tensor:
        return gradients.setdefault(y.shape, mt.from_torch(torch.full(y.shape, 0.5)))

    for attempt in ("first", "replayed"):
        if attempt == "first":
            run(case, inputs, upstream)
        with Guard() as guard:
            run(case, inputs, lambda y: gradients[y.shape])
        assert not guard.found, attempt


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches do nothing, and fresh memory is full of poison."""
    if checking.active:
        pytest.skip("checked mode has launches and a poison of its own")
    take = Storage.take

    def poisoned(free: Any) -> Storage:
        storage = take(free)
        storage.buffer.view(torch.uint8).fill_(POISON)
        return storage

    monkeypatch.setattr(Storage, "take", staticmethod(poisoned))
    for kind in (PreparedKernel, launch._InterpretedKernel):
        monkeypatch.setattr(kind, "start", lambda prepared, block: None)


def is_poison(x: mt.Tensor) -> bool:
    data = x.detach().torch().contiguous().view(-1).view(torch.uint8)
    return bool((data == POISON).all())


def shares_memory(x: mt.Tensor, others: list[mt.Tensor]) -> bool:
    """Whether x only looks at the memory of one of the others, so that nothing was computed."""
    return any(x.storage.address == other.storage.address for other in others)


HOST_READS = {"getitem:mask", "masked_select", "nonzero", "one_hot"}
"""The host reads how many elements there are, or whether they are valid: here it reads poison."""


def check_poison(case: Case) -> None:
    inputs = tensors_of(case)
    outputs, cotangents, gradients = run(
        case, inputs, lambda y: mt.from_torch(torch.full(y.shape, 0.5))
    )
    for y in outputs:
        assert is_poison(y) or (case.kind == "view" and shares_memory(y, inputs))
    for gradient in gradients:
        assert gradient is None or is_poison(gradient) or shares_memory(gradient, cotangents)


@ALL
def test_without_launches_every_result_is_poison(case, nothing_runs):
    if case.name in HOST_READS:
        with contextlib.suppress(RuntimeError, ValueError):
            check_poison(case)
    else:
        check_poison(case)


OPTIMIZERS: dict[str, Callable] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, lr=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.1, amsgrad=True),
}


def training_step(optimizer: str) -> tuple[nn.Module, Callable]:
    mt.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(7, 9), nn.LayerNorm(9), nn.GELU(), nn.Dropout(0.3), nn.Linear(9, 3)
    )
    update = OPTIMIZERS[optimizer](model.parameters())
    x = mt.from_torch(torch.linspace(-1, 1, 35).view(5, 7))
    target = mt.tensor([0, 2, 1, 1, 0])

    def step() -> None:
        update.zero_grad()
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        update.step()

    return model, step


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_step_leaves_arithmetic_to_its_kernels(optimizer):
    _, step = training_step(optimizer)
    step()
    step()
    with Guard() as guard:
        step()
    assert not guard.found


@pytest.fixture
def trained(request: pytest.FixtureRequest) -> Iterator[tuple]:
    """A model that has been trained for a step, so that gradients and optimizer state exist."""
    model, step = training_step(request.param)
    step()
    return model, step


@pytest.mark.parametrize("trained", OPTIMIZERS, indirect=True)
def test_without_launches_a_training_step_changes_no_parameter(trained, nothing_runs):
    model, step = trained
    before = [p.detach().torch().clone() for p in model.parameters()]
    step()
    for p, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(p.detach().torch(), old)
