"""From tensors to the tables that the kernels of ``kernels/optimizers.py`` work through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from minitorch_triton.kernels.optimizers import block_size, table_rows
from minitorch_triton.ops.dispatch import empty_as
from minitorch_triton.ops.pointwise import is_dense
from minitorch_triton.tensor import Tensor, from_numpy


def table(tensors: Sequence[Sequence[Tensor]]) -> Tensor:
    """A table on the device for tensors of one dtype; those of one row are stored alike."""
    first = tensors[0][0]
    rows = table_rows(
        [[tensor.data_ptr() for tensor in row] for row in tensors],
        [row[0].numel() for row in tensors],
        first.element_size(),
        block_size(first.device),
    )
    return from_numpy(rows).to(first.device)


class Batch:
    """Parameters of one dtype and device that one launch updates.

    Attributes:
        table: the parameters, gradients and state, see ``kernels/optimizers.py``.
        dtype: of all of them.
        key: what the optimizer told its parameters apart by.
        states: the state dictionary of each parameter.
    """

    def __init__(
        self,
        key: Any,
        members: Sequence[tuple[Tensor, Tensor, dict[str, Any], Sequence[Tensor]]],
    ):
        self.key = key
        self.dtype = members[0][0].dtype
        self.states = [state for _, _, state, _ in members]
        self.lasting = True
        self._copies: list[tuple[Tensor, Tensor]] = []
        self._storages = []
        rows = []
        for param, grad, _, tensors in members:
            target = self._dense(param)
            rows.append((target, self._alike(grad, target), *tensors))
            self._storages += [tensor.storage for tensor in (target, *tensors)]
        self._rows = rows  # keeps copies alive until the launch
        self.table = table(rows)

    def _dense(self, param: Tensor) -> Tensor:
        """The parameter, or a copy that is written back if its memory has gaps."""
        if is_dense(param.layout):
            return param
        copy = param.detach().contiguous()
        self._copies.append((param, copy))
        self.lasting = False
        return copy

    def _alike(self, grad: Tensor, param: Tensor) -> Tensor:
        """The gradient, or a copy if it is not stored as its parameter is."""
        if grad.layout.strides == param.layout.strides:
            return grad
        self.lasting = False
        return empty_as(param.layout).copy_(grad)

    def finish(self) -> None:
        """Note after the launch what it has written."""
        for storage in self._storages:
            storage.written()
        for param, copy in self._copies:
            param.detach().copy_(copy)


def by_type(tensors: Iterable[Tensor]) -> dict[tuple[torch.device, torch.dtype], list[Tensor]]:
    """Tensors by device and dtype: each list can share a table."""
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    return groups
