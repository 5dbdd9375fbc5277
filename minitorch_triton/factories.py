"""Tensors from nothing: ``zeros``, ``ones``, ``full``, ``empty`` and their ``*_like`` forms."""

from __future__ import annotations

from typing import Any

import torch

from minitorch_triton.ops import creation
from minitorch_triton.ops.views import given_size, shape_arguments
from minitorch_triton.storage import layout, span
from minitorch_triton.tensor import Tensor, tensor


def empty(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """An uninitialised tensor."""
    return creation.make(given_size(sizes, size), None, dtype, device, requires_grad)


def zeros(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Zeros."""
    return creation.make(given_size(sizes, size), 0, dtype, device, requires_grad)


def ones(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones."""
    return creation.make(given_size(sizes, size), 1, dtype, device, requires_grad)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor with every element ``fill_value``, whose type decides the dtype."""
    if dtype is None and not isinstance(fill_value, float):
        dtype = torch.bool if isinstance(fill_value, bool) else torch.int64
    return creation.make(shape_arguments((size,)), fill_value, dtype, device, requires_grad)


def _like(
    x: Tensor, fill: Any, dtype: Any, device: Any, requires_grad: bool, memory_format: Any
) -> Tensor:
    form = creation.form_like(x.layout, dtype, device)
    if memory_format is torch.contiguous_format:
        form = layout(form.shape, None, form.dtype, form.device)
    y = creation.empty_as(form) if fill is None else creation.full_as(form, fill)
    return creation.with_grad(y, requires_grad)


def empty_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """An uninitialised tensor of the input's shape, dtype and device."""
    return _like(input, None, dtype, device, requires_grad, memory_format)


def zeros_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Zeros of the input's shape, dtype and device."""
    return _like(input, 0, dtype, device, requires_grad, memory_format)


def ones_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Ones of the input's shape, dtype and device."""
    return _like(input, 1, dtype, device, requires_grad, memory_format)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A filled tensor of the input's shape, dtype and device."""
    return _like(input, fill_value, dtype, device, requires_grad, memory_format)


def empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """An uninitialised tensor of the given shape and strides (in elements)."""
    shape, strides = shape_arguments((size,)), shape_arguments((stride,))
    memory = creation.make((span(shape, strides),), None, dtype, device, False)
    return creation.with_grad(memory.as_strided(shape, strides).detach(), requires_grad)


class _TensorType(type):
    """The type of the tensors of a dtype on the CPU; calling it makes one."""

    dtype: torch.dtype

    def __call__(cls, *args: Any) -> Tensor:
        if len(args) == 1 and not isinstance(args[0], (int, torch.Size)):
            return tensor(args[0], dtype=cls.dtype)
        return empty(*args or (0,), dtype=cls.dtype)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and instance.dtype == cls.dtype and not instance.is_cuda


def _typed(dtype: torch.dtype, name: str) -> Any:
    doc = f"A {dtype} tensor of the given data, or uninitialised of the given sizes."
    return _TensorType(name, (), {"dtype": dtype, "__doc__": doc, "__module__": __name__})


FloatTensor = _typed(torch.float32, "FloatTensor")
DoubleTensor = _typed(torch.float64, "DoubleTensor")
HalfTensor = _typed(torch.float16, "HalfTensor")
BFloat16Tensor = _typed(torch.bfloat16, "BFloat16Tensor")
LongTensor = _typed(torch.int64, "LongTensor")
IntTensor = _typed(torch.int32, "IntTensor")
ShortTensor = _typed(torch.int16, "ShortTensor")
CharTensor = _typed(torch.int8, "CharTensor")
ByteTensor = _typed(torch.uint8, "ByteTensor")
BoolTensor = _typed(torch.bool, "BoolTensor")
