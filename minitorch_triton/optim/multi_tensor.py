"""From tensors to the tables that the kernels of ``kernels/optimizers.py`` work through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from minitorch_triton.kernels.optimizers import block_size, refuse_overlaps, table_rows
from minitorch_triton.ops.dispatch import empty_as
from minitorch_triton.ops.pointwise import is_dense
from minitorch_triton.tensor import Tensor, from_numpy

_MAX_COLUMNS = 16


def _rows(tensors: Sequence[Sequence[Tensor]]) -> np.ndarray:
    """The rows of a table for tensors of one dtype and device; those of one entry are alike."""
    first = tensors[0][0]
    return table_rows(
        [[tensor.data_ptr() for tensor in row] for row in tensors],
        [row[0].numel() for row in tensors],
        first.element_size(),
        block_size(first.device),
    )


def table(tensors: Sequence[Sequence[Tensor]]) -> Tensor:
    """A table on the device for tensors of one dtype; those of one entry are stored alike."""
    return from_numpy(_rows(tensors)).to(tensors[0][0].device)


class Batch:
    """Parameters of one dtype and device that one launch updates.

    Attributes:
        table: the parameters, gradients and state, see ``kernels/optimizers.py``.
        dtype: of all of them.
        fresh: whether the optimizer's state is made for this launch, and holds zeros.
        key: what the optimizer told its parameters apart by.
        states: the state dictionary of each parameter.
    """

    def __init__(
        self,
        fresh: bool,
        key: Any,
        members: Sequence[tuple[int, Tensor, Tensor, dict[str, Any], Sequence[Tensor]]],
    ):
        """Members are: number among the gradients, parameter, gradient, state, state's tensors."""
        self.fresh = fresh
        self.key = key
        self.dtype = members[0][1].dtype
        self.states = [state for _, _, _, state, _ in members]
        self.lasting = True
        self._copies: list[tuple[Tensor, Tensor]] = []
        self._copied_gradients: list[Tensor] = []  # alive until the launch; the others may go
        self._storages = []
        tensors = []
        for _, param, grad, _, columns in members:
            target = self._dense(param)
            tensors.append((target, self._alike(grad, target), *columns))
            self._storages += [tensor.storage for tensor in (target, *columns)]
        self._rows = _rows(tensors)
        self.table = from_numpy(self._rows).to(tensors[0][0].device)

        # Which gradient each row belongs to, and how far into it.
        self._numbers = [number for number, *_ in members]
        block = block_size(self.table.device)
        blocks = [-(-target.numel() // block) for target, *_ in tensors]
        self._owner = np.repeat(np.arange(len(members)), blocks)
        begins = np.array([grad.address for _, grad, *_ in tensors])
        self._offset = self._rows[:, 1] - begins[self._owner]
        self._columns: dict[tuple[int, ...], np.ndarray] = {}

    def move_gradients(self, addresses: Sequence[int]) -> None:
        """Work on gradients at other addresses; everything else is where it was.

        Raises:
            RuntimeError: one overlaps its parameter in part.
        """
        # Memory goes round: after a few steps the same addresses come again.
        key = tuple(addresses)
        column = self._columns.get(key)
        if column is None:
            begins = np.array([addresses[number] for number in self._numbers])
            column = begins[self._owner] + self._offset
            rows = self._rows.copy()
            rows[:, 1] = column
            refuse_overlaps(rows, self.dtype.itemsize)
            if len(self._columns) == _MAX_COLUMNS:
                self._columns.clear()
            self._columns[key] = column
        self._rows[:, 1] = column
        if self.table.is_cuda:  # on the CPU the table is these rows
            self.table.copy_(from_numpy(self._rows))

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
        if grad.shape != param.shape:
            raise RuntimeError(
                f"a gradient of size {list(grad.shape)} does not fit a parameter of size "
                f"{list(param.shape)}"
            )
        if grad.layout.strides == param.layout.strides and grad.dtype == param.dtype:
            return grad
        self.lasting = False
        copy = empty_as(param.layout).copy_(grad)
        self._copied_gradients.append(copy)
        return copy

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
