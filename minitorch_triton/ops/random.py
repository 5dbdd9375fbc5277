"""Random tensors and dropout; the numbers come from Philox kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from minitorch_triton.kernels import random as kernels
from minitorch_triton.ops import creation, dispatch, pointwise
from minitorch_triton.ops.dispatch import Number, Op, Planned, empty_as
from minitorch_triton.ops.promotion import compute_type
from minitorch_triton.ops.views import given_size
from minitorch_triton.storage import Layout, contiguous_strides, layout

DEFAULT_SEED = 67280421310721
"""Every generator starts from this seed, as PyTorch's do."""


class Generator:
    """A stream of random numbers: a seed and an offset, in a buffer on the device."""

    def __init__(self, device: Any = "cpu"):
        self.device = creation.resolve_device(device)
        self._memory = torch.tensor([DEFAULT_SEED, 0], device=self.device)
        self.state = dispatch.Tensor.from_torch_memory(self._memory)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of a seed from its beginning."""
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError(f"Overflow when unpacking long: seed {seed} has more than 64 bits")
        wrapped = (seed + 2**63) % 2**64 - 2**63
        self._memory.copy_(torch.tensor([wrapped, 0]))
        return self

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return int(self._memory[0]) % 2**64

    def get_state(self) -> Any:
        """The state as 16 bytes, uint8 on the CPU."""
        return dispatch.Tensor.from_torch_memory(self._memory.cpu().clone().view(torch.uint8))

    def set_state(self, new_state: Any) -> Generator:
        """Go on where :meth:`get_state` was called."""
        if new_state.dtype != torch.uint8 or new_state.numel() != 16:
            raise RuntimeError(
                "RNG state must be a torch.ByteTensor of 16 elements, got "
                f"{new_state.numel()} of {new_state.dtype}"
            )
        self._memory.copy_(new_state.torch().clone().view(torch.int64))
        return self


_generators: dict[torch.device, Generator] = {}
_seed = DEFAULT_SEED


def default_generator(device: Any = "cpu") -> Generator:
    """The generator that a device's random tensors come from."""
    device = creation.resolve_device(device)
    generator = _generators.get(device)
    if generator is None:
        generator = _generators[device] = Generator(device).manual_seed(_seed)
    return generator


def manual_seed(seed: int) -> Generator:
    """Restart the default generators of all devices from a seed."""
    global _seed
    _seed = int(seed)
    for generator in _generators.values():
        generator.manual_seed(_seed)
    return default_generator()


def initial_seed() -> int:
    """The seed of the CPU's default generator."""
    return default_generator().initial_seed()


def get_rng_state() -> Any:
    """The state of the CPU's default generator, uint8."""
    return default_generator().get_state()


def set_rng_state(new_state: Any) -> None:
    """Set the state of the CPU's default generator."""
    default_generator().set_state(new_state)


def _state(generator: Generator | None, device: torch.device) -> Any:
    if generator is None:
        generator = default_generator(device)
    elif generator.device != device:
        raise RuntimeError(
            f"Expected a '{device}' device type for generator but found '{generator.device}'"
        )
    return generator.state


def _uniform(form: Layout, state: Any, low: float, high: float) -> Any:
    y = empty_as(form)
    kernels.uniform(y, state, low, high)
    return y


def _normal(form: Layout, state: Any, mean: float, std: float) -> Any:
    y = empty_as(form)
    kernels.normal(y, state, mean, std)
    return y


def _integers(form: Layout, state: Any, low: int, high: int) -> Any:
    y = empty_as(form)
    kernels.integers(y, state, low, high)
    return y


def _permutation(form: Layout, state: Any) -> Any:
    y = empty_as(form)
    keys = dispatch.empty((kernels.permutation_keys(form.numel),), torch.int64, form.device)
    kernels.permutation(y, keys, state)
    return y


def _bernoulli(p: Any, state: Any) -> Any:
    form = p.layout
    y = dispatch.empty(form.shape, form.dtype, form.device)
    kernels.bernoulli(y, creation.contiguous(p), state)
    return y


_planned_uniform, _planned_normal = Planned(_uniform), Planned(_normal)
_planned_integers, _planned_permutation = Planned(_integers), Planned(_permutation)
_planned_bernoulli = Planned(_bernoulli)


def _form(size: Sequence[int], dtype: torch.dtype, device: Any) -> Layout:
    for extent in size:
        if extent < 0:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {extent}: {list(size)}"
            )
    device = creation.resolve_device(device)
    return layout(tuple(size), None, creation.check_dtype(dtype), device)


def _drawn(
    planned: Planned,
    form: Layout,
    generator: Generator | None,
    requires_grad: bool,
    *parameters: float,
) -> Any:
    y = planned.call((form, _state(generator, form.device), *parameters))[0]
    return creation.with_grad(y, requires_grad)


def _float_form(name: str, size: Sequence[int], dtype: torch.dtype | None, device: Any) -> Layout:
    dtype = dtype or torch.get_default_dtype()
    if not dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{pointwise.type_name(dtype)}'")
    return _form(size, dtype, device)


def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: torch.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """Uniform numbers in [0, 1)."""
    form = _float_form("uniform", given_size(sizes, size), dtype, device)
    return _drawn(_planned_uniform, form, generator, requires_grad, 0.0, 1.0)


def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: torch.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """Normal numbers of mean 0 and variance 1."""
    form = _float_form("normal", given_size(sizes, size), dtype, device)
    return _drawn(_planned_normal, form, generator, requires_grad, 0.0, 1.0)


def randint(
    low: Any = None,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: torch.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """Integers of [low, high): ``randint(high, size)`` or ``randint(low, high, size)``."""
    if size is None and isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    elif low is None:
        low = 0
    if size is None:
        raise TypeError("randint() missing required argument 'size'")
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    form = _form(size, dtype or torch.int64, device)
    return _drawn(_planned_integers, form, generator, requires_grad, int(low), int(high))


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: torch.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """A random permutation of 0 ... n - 1, int64 by default."""
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    form = _form((n,), dtype or torch.int64, device)
    return _drawn(_planned_permutation, form, generator, requires_grad)


def _like(x: Any, options: dict[str, Any]) -> dict[str, Any]:
    options.pop("memory_format", None)
    return {"dtype": x.dtype, "device": x.device} | {
        key: value for key, value in options.items() if value is not None
    }


def rand_like(input: Any, **options: Any) -> Any:
    """:func:`rand` in the shape, dtype and device of a tensor."""
    return rand(tuple(input.shape), **_like(input, options))


def randn_like(input: Any, **options: Any) -> Any:
    """:func:`randn` in the shape, dtype and device of a tensor."""
    return randn(tuple(input.shape), **_like(input, options))


def randint_like(input: Any, low: int, high: int | None = None, **options: Any) -> Any:
    """:func:`randint` in the shape, dtype and device of a tensor."""
    if high is None:
        low, high = 0, low
    return randint(low, high, tuple(input.shape), **_like(input, options))


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: torch.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """Normal numbers: of a mean, a standard deviation and a size, or of tensors of the first two,
    which broadcast."""
    if size is None:
        given = [value for value in (mean, std) if isinstance(value, dispatch.Tensor)]
        if not given:
            raise TypeError("normal() missing required argument: 'size'")
        shape = pointwise.broadcast_shapes(*[tuple(tensor.shape) for tensor in given])
        drawn = randn(shape, generator=generator, dtype=given[0].dtype, device=given[0].device)
        return drawn * std + mean
    _check_std(std)
    form = _float_form("normal", size, dtype, device)
    return _drawn(_planned_normal, form, generator, requires_grad, float(mean), float(std))


def _check_std(std: float) -> None:
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")


def bernoulli(input: Any, p: Any = None, *, generator: Generator | None = None) -> Any:
    """1 with the probability that each element of ``input`` says, or with ``p``, else 0."""
    if p is not None:
        return bernoulli_(creation.clone(input.detach()), p, generator=generator)
    if not input.dtype.is_floating_point:
        raise NotImplementedError(
            f"\"bernoulli_tensor_cpu_p_\" not implemented for '{pointwise.type_name(input.dtype)}'"
        )
    if input.device.type == "cpu" and not pointwise.logical_and(input >= 0, input <= 1).all():
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    drawn = _planned_bernoulli.call((input, _state(generator, input.device)))[0]
    return creation.with_grad(drawn, False)


# In place


class RandomFill(Op):
    """Overwrite a tensor with random numbers; the gradient of what was there is zero.

    Args:
        name: of the node.
        fill: launcher of ``(y, state, *parameters)`` for a contiguous y.
    """

    composed = True

    def __init__(self, name: str, fill: Any):
        self.fill = fill
        super().__init__(name)

    def forward(self, x: Any, state: Any, a: float, b: float) -> None:
        if x.layout.contiguous:
            self.fill(x, state, a, b)
            return
        drawn = dispatch.empty(x.shape, x.dtype, x.device)
        self.fill(drawn, state, a, b)
        creation.copy_into(x, drawn)

    def backward(self, needs: tuple[bool, ...], g: Any) -> Any:
        return (creation.zeros_as(g.layout),)


_uniform_fill = RandomFill("Uniform", kernels.uniform)
_normal_fill = RandomFill("Normal", kernels.normal)
_integer_fill = RandomFill("Random", kernels.integers)


def _filled(op: RandomFill, x: Any, generator: Generator | None, a: float, b: float) -> Any:
    args = [x, _state(generator, x.device), a, b]
    return pointwise.write_inplace(op, op.plan_forward, x, args)


def uniform_(x: Any, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Any:
    """Overwrite with uniform numbers in [a, b)."""
    if a > b:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}"
        )
    return _filled(_uniform_fill, x, generator, float(a), float(b))


def normal_(
    x: Any, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Any:
    """Overwrite with normal numbers."""
    _check_std(std)
    return _filled(_normal_fill, x, generator, float(mean), float(std))


def random_(
    x: Any, low: int = 0, high: int | None = None, *, generator: Generator | None = None
) -> Any:
    """Overwrite with integers of [low, high), or [0, low) where only one bound is given; without
    any, up to the largest integer that the dtype holds exactly."""
    if high is None:
        if low:
            low, high = 0, low
        elif x.dtype.is_floating_point:
            high = 2 ** kernels.MANTISSA_BITS[x.dtype] + 1
        else:
            high = 2 if x.dtype == torch.bool else torch.iinfo(x.dtype).max
    return _filled(_integer_fill, x, generator, int(low), int(high))


def bernoulli_(x: Any, p: Any = 0.5, *, generator: Generator | None = None) -> Any:
    """Overwrite with 1 with probability ``p`` (a number or a tensor), else 0."""
    if not isinstance(p, dispatch.Tensor):
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
        form = layout(tuple(x.shape), None, torch.float32, x.device)
        p = creation.full_as(form, float(p))
    return x.copy_(bernoulli(p.expand(x.shape), generator=generator))


# Dropout


class Dropout(Op):
    """Zero elements with probability p, and multiply the others by 1 / (1 - p)."""

    outputs = ("y", "mask")

    def forward(self, x: Any, state: Any, p: float) -> Any:
        form = x.layout
        if not pointwise.is_dense(form):
            x = creation.contiguous(x)
            form = layout(form.shape, contiguous_strides(form.shape), form.dtype, form.device)
        y = empty_as(form)
        mask = empty_as(layout(form.shape, form.strides, torch.bool, form.device))
        kernels.dropout(y, mask, x, state, p)
        return y, mask

    def backward(self, needs: tuple[bool, ...], g: Any, mask: Any, p: float) -> Any:
        dx = dispatch.empty(g.shape, g.dtype, g.device)
        scale = Number(kernels.dropout_scale(p))
        pointwise.apply_map(kernels.dropout_grad, dx, [g, mask, scale], compute_type(g.dtype))
        return (dx,)

    def recorded_backward(self, node: Any, grads: list, saved: list) -> Sequence:
        mask, p = saved
        kept = grads[0] * kernels.dropout_scale(p)
        return (pointwise.where(mask, kept, 0.0).to(grads[0].dtype), None)


_dropout = Dropout("NativeDropout")


def dropout(input: Any, p: float = 0.5) -> Any:
    """Zero elements with probability ``p``, and scale the others so that the mean stays.

    Raises:
        ValueError: ``p`` is no probability.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return _dropout(input, default_generator(input.device).state, float(p))
