"""``x[index]`` and ``x[index] = value``."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from minitorch_triton.ops import creation, dispatch, views

_ADVANCED = (list, np.ndarray)


def _items(index: Any) -> tuple:
    if isinstance(index, tuple):
        return index
    if isinstance(index, list) and len(index) < 32 and any(map(_is_compound, index)):
        warnings.warn(
            "Using a non-tuple sequence for multidimensional indexing is deprecated and will be "
            "changed in pytorch 2.9; use x[tuple(seq)] instead of x[seq]. In pytorch 2.9 this will "
            "be interpreted as tensor index, x[torch.tensor(seq)], which will result either in an "
            "error or a different result",
            stacklevel=3,
        )
        return tuple(index)
    return (index,)


def _is_compound(item: Any) -> bool:
    """Whether an item of a list makes it mean a tuple, as in PyTorch."""
    if item is None or item is Ellipsis:
        return True
    return isinstance(item, (slice, list, tuple, dispatch.Tensor))


def _is_advanced(item: Any) -> bool:
    if isinstance(item, dispatch.Tensor):
        return True
    return isinstance(item, (*_ADVANCED, bool, range))


def _check(item: Any) -> None:
    if item is None or item is Ellipsis or isinstance(item, slice) or hasattr(item, "__index__"):
        return
    if isinstance(item, str):
        raise TypeError("new(): invalid data type 'str'")
    raise IndexError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
        f"indices (got {type(item).__name__})"
    )


def _split(x: Any, items: tuple) -> tuple[Any, list]:
    """A view by the basic items, and for each of its dimensions an index tensor or None."""
    from minitorch_triton.tensor import as_tensor

    basic: list = []
    tensors: list = []
    for item in items:
        if _is_advanced(item):
            empty = isinstance(item, list) and not item
            indices = as_tensor(item, torch.int64 if empty else None, x.device)
            dims = indices.ndim if str(indices.dtype) in ("torch.bool", "torch.uint8") else 1
            if dims == 0:
                basic.append(None)
            else:
                basic += [slice(None)] * dims
            tensors.append((indices, max(dims, 1)))
        else:
            _check(item)
            basic.append(item)
            if item is Ellipsis or not hasattr(item, "__index__"):
                tensors.append((None, item))
    used = sum(1 for item in basic if item is not None and item is not Ellipsis)
    indices_per_dim: list = []
    for indices, what in tensors:
        if indices is not None:
            indices_per_dim += [indices] + [SPANNED] * (what - 1)
        elif what is Ellipsis:
            indices_per_dim += [None] * (x.ndim - used)
        else:
            indices_per_dim.append(None)
    full = all(item is Ellipsis or item == slice(None) for item in basic)
    viewed = x if full else views.index_view(x, views.as_index(tuple(basic)))
    indices_per_dim += [None] * (viewed.ndim - len(indices_per_dim))
    return viewed, [item for item in indices_per_dim if item is not SPANNED]


SPANNED = object()
"""Stands for the further dimensions of a boolean mask."""


def getitem(x: Any, index: Any) -> Any:
    """The indexed elements: a view for ints, slices, None and Ellipsis, else a copy."""
    items = _items(index)
    if not any(_is_advanced(item) for item in items):
        for item in items:
            _check(item)
        return views.index_view(x, views.as_index(items))
    from minitorch_triton.ops import indexing

    viewed, indices = _split(x, items)
    return indexing.index(viewed, indices)


def setitem(x: Any, index: Any, value: Any) -> None:
    """Overwrite the indexed elements with ``value``, broadcast and cast."""
    items = _items(index)
    if not any(_is_advanced(item) for item in items):
        for item in items:
            _check(item)
        target = views.index_view(x, views.as_index(items))
        if isinstance(value, dispatch.Tensor):
            while value.ndim > target.ndim and value.shape[0] == 1:
                value = value.squeeze(0)
            target.copy_(value)
        elif isinstance(value, (int, float)):
            creation.fill_(target, value)
        else:
            raise TypeError(f"can't assign a {type(value).__name__} to a {x.type()}")
        return
    from minitorch_triton.ops import indexing

    viewed, indices = _split(x, items)
    indexing.index_put_(viewed, indices, value)
