"""What an operation costs in Python, counted in calls rather than seconds."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

import minitorch_triton as mt
from minitorch_triton import nn
from minitorch_triton.cpu import checking
from minitorch_triton.testing import CASES

pytestmark = pytest.mark.skipif(
    checking.active, reason="checked mode launches kernels the long way, which has no budget"
)

CALLS_OF_AN_OP = 40


def python_calls(function: Callable, *args: Any) -> int:
    """How many Python functions a call of ``function`` calls."""
    count = 0

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
    return count


SINGLE_OPS = ("add", "add:broadcast", "mul", "exp", "where", "sum:last", "mean", "matmul")
SINGLE_OPS += ("softmax", "cross_entropy", "linear", "layer_norm", "dropout", "mse_loss", "view")
SINGLE_OPS += ("transpose", "getitem", "embedding", "clone", "cat")


@pytest.mark.parametrize("name", SINGLE_OPS)
def test_calls_of_an_operation_that_is_replayed(name):
    case = CASES[name]
    inputs = [
        mt.from_torch(x).requires_grad_(case.differentiable and x.is_floating_point())
        for x in case.sample(torch.float32)
    ]
    case.call(mt, *inputs)
    # One of the calls is the case's own expression.
    assert python_calls(case.call, mt, *inputs) - 1 <= CALLS_OF_AN_OP


CALLS_OF_AN_ELEMENTWISE_OP = 9


def test_an_elementwise_operation_without_a_graph_makes_few_calls():
    x, y = mt.ones(5, 7), mt.ones(5, 7)
    for op in (lambda: x + y, x.exp, lambda: mt.exp(x)):
        op()
        # One of the calls may be the lambda, and one frees the result's memory.
        assert python_calls(op) <= CALLS_OF_AN_ELEMENTWISE_OP


def test_attributes_are_kept_where_python_is_fast():
    """Not in a dictionary, and without a method of ours at each access."""
    made = [mt.ones(2) for _ in range(40)]
    leaf = mt.ones(2, requires_grad=True)
    parameter = nn.Parameter(made.pop())
    (leaf * parameter).sum().backward()
    for x in (leaf, parameter, leaf.exp(), leaf.view(2, 1)):
        assert not any(isinstance(part, dict) for part in gc.get_referents(x))
        assert type(x).__setattr__ is object.__setattr__
        assert type(x).__delattr__ is object.__delattr__
    assert type(leaf.exp().grad_fn).__getattribute__ is object.__getattribute__
    assert not hasattr(type(leaf.exp().grad_fn), "__getattr__")


CALLS_OF_A_NODE = 12


def test_a_node_of_the_graph_makes_few_calls():
    x = mt.ones(5, 7, requires_grad=True)

    def chain(length: int) -> int:
        y = x
        for _ in range(length):
            y = y.exp()
        return python_calls(mt.autograd.grad, y, x, mt.ones(5, 7))

    chain(2)
    assert chain(20) - chain(10) <= 10 * CALLS_OF_A_NODE


def test_a_graph_of_100_000_nodes_works_and_is_freed():
    def descend(leaf: mt.Tensor, depth: int) -> None:
        y = leaf
        for _ in range(depth):
            y = y * 1.0
        y.backward(mt.ones(3))
        assert leaf.grad.tolist() == [1.0, 1.0, 1.0]

    descend(mt.ones(3, requires_grad=True), 10)
    gc.collect()
    before = len(gc.get_objects())
    descend(mt.ones(3, requires_grad=True), 100_000)
    gc.collect()
    assert len(gc.get_objects()) - before <= 10


def test_a_graph_of_100_000_nodes_is_freed_without_backward():
    y = leaf = mt.ones(3, requires_grad=True)
    for _ in range(100_000):
        y = y + leaf
    del y
    assert leaf.grad is None


CALLS_OF_A_TRAINING_STEP = 250


def test_a_training_step_makes_few_calls():
    """A step of the usual MLP: 4 operations forward, as many nodes back, and the update."""
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    update = mt.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, target = mt.ones(5, 16), mt.zeros(5, dtype=mt.int64)

    def step() -> None:
        update.zero_grad()
        nn.functional.cross_entropy(model(x), target).backward()
        update.step()

    for _ in range(3):
        step()
    assert python_calls(step) <= CALLS_OF_A_TRAINING_STEP
