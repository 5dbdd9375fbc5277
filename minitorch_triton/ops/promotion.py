"""Type promotion: which dtype an operation computes in and returns, as in PyTorch.

Tensors with dimensions outrank 0-d tensors, which outrank Python numbers; a lower rank only counts
where it is of a higher kind (bool < integer < floating point).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_HALF = (torch.float16, torch.bfloat16)


def _kind(dtype: torch.dtype) -> int:
    if dtype.is_floating_point:
        return 2
    return 0 if dtype == torch.bool else 1


def _number_dtype(kind: type) -> torch.dtype:
    if issubclass(kind, bool):
        return torch.bool
    return torch.int64 if issubclass(kind, int) else torch.get_default_dtype()


def result_type(tensors: Sequence[Any], numbers: Sequence[type] = ()) -> torch.dtype:
    """The common dtype of tensors and of Python numbers given by their types."""
    ranks: list[torch.dtype | None] = [None, None, None]
    for tensor in tensors:
        rank = 0 if tensor.shape else 1
        present = ranks[rank]
        ranks[rank] = (
            tensor.dtype if present is None else torch.promote_types(present, tensor.dtype)
        )
    for kind in numbers:
        dtype = _number_dtype(kind)
        present = ranks[2]
        ranks[2] = dtype if present is None else torch.promote_types(present, dtype)
    result = None
    for dtype in ranks:
        if dtype is None:
            continue
        if result is None or _kind(dtype) > _kind(result):
            result = dtype
    assert result is not None
    return result


def as_floating(dtype: torch.dtype) -> torch.dtype:
    """The dtype of a function whose result is a real number: integers become the default float."""
    return dtype if dtype.is_floating_point else torch.get_default_dtype()


def compute_type(dtype: torch.dtype) -> torch.dtype:
    """What kernels compute in: float32 for half types, int32 for bool, else the dtype itself."""
    if dtype in _HALF:
        return torch.float32
    return torch.int32 if dtype == torch.bool else dtype
