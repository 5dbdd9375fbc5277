"""Run the same lines in PyTorch and here, and compare what comes out, errors included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_triton as mt


def outcome(function: Callable, module: Any) -> Any:
    """What a function of the module returns, or its exception."""
    try:
        return function(module)
    except Exception as error:
        return error


def leaf(T: Any, *shape: int) -> Any:
    """1/3, 2/3, ... or 1.5, as a leaf that requires a gradient."""
    values = T.arange(1.0, T.zeros(shape).numel() + 1).view(shape) / 3 if shape else T.tensor(1.5)
    return values.detach().clone().requires_grad_()


def assert_same(ours: Any, theirs: Any, where: str = "result") -> None:
    """Compare values, dtypes, shapes, strides and graph attributes of two outcomes."""
    if isinstance(theirs, Exception):
        if not isinstance(ours, Exception):
            pytest.fail(f"{where}: PyTorch raises {theirs!r}, we return {ours!r}")
        assert isinstance(ours, type(theirs)), f"{where}: {ours!r} instead of {theirs!r}"
        return
    if isinstance(ours, Exception):
        raise ours
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, mt.Tensor), f"{where}: {type(ours)}"
        assert ours.dtype == theirs.dtype, f"{where}: dtype {ours.dtype}, not {theirs.dtype}"
        assert ours.shape == theirs.shape, f"{where}: shape {ours.shape}, not {theirs.shape}"
        assert ours.stride() == theirs.stride(), (
            f"{where}: strides {ours.stride()}, not {theirs.stride()}"
        )
        assert ours.requires_grad == theirs.requires_grad, f"{where}: requires_grad"
        assert ours.is_leaf == theirs.is_leaf, f"{where}: is_leaf"
        torch.testing.assert_close(ours.detach().torch(), theirs.detach(), equal_nan=True)
        return
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs), where
        for index, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(our, their, f"{where}[{index}]")
        return
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key in theirs:
            assert_same(ours[key], theirs[key], f"{where}[{key!r}]")
        return
    if isinstance(theirs, np.ndarray):
        np.testing.assert_allclose(ours, theirs)
        return
    if isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-6, nan_ok=True), where
        return
    assert ours == theirs, f"{where}: {ours!r} instead of {theirs!r}"


def check(function: Callable, *, message: bool = False) -> None:
    """Assert that a function of the module gives the same with PyTorch and with us.

    Args:
        function: gets ``torch`` or ``minitorch_triton``.
        message: whether an exception's text must be PyTorch's too.
    """
    ours, theirs = outcome(function, mt), outcome(function, torch)
    assert_same(ours, theirs)
    if message and isinstance(theirs, Exception):
        assert str(ours).split("\n")[0] == str(theirs).split("\n")[0]
