"""What a function is called with: shapes with symbols for sizes, from samples or from guesses."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

import minitorch_triton as mt
from minitorch_triton.testing.cases import Input


@dataclass(frozen=True)
class Argument:
    """A tensor argument.

    Attributes:
        dims: a symbol's name, or a fixed size, for each dimension.
        low, high, avoid: of the values, as in :class:`~minitorch_triton.testing.cases.Input`.
        dtype: a fixed dtype; None for the one under test.
        tracked: whether it may require a gradient.
        below: for whole numbers, the symbol whose size they stay below.
        sample: the user's own values, used at the user's own sizes.
    """

    dims: tuple[str | int, ...]
    low: float = -2.0
    high: float = 2.0
    avoid: tuple[float, ...] = ()
    dtype: torch.dtype | None = None
    tracked: bool = True
    below: str | None = None
    sample: torch.Tensor | None = field(default=None, compare=False)

    @property
    def floating(self) -> bool:
        return self.dtype is None or self.dtype.is_floating_point

    def shape(self, sizes: dict[str, int]) -> tuple[int, ...]:
        return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.dims)

    def draw(
        self, sizes: dict[str, int], dtype: torch.dtype, generator: torch.Generator
    ) -> torch.Tensor:
        """Random values."""
        high = sizes[self.below] if self.below else self.high
        low = 0 if self.below else self.low
        given = Input(self.shape(sizes), low, high, self.avoid, self.dtype)
        return given.sample(dtype, generator)


@dataclass(frozen=True)
class Constant:
    """An argument that is no tensor."""

    value: Any


@dataclass(frozen=True)
class Arguments:
    """All arguments, and the sizes that their symbols have in the sample."""

    items: tuple[Argument | Constant, ...]
    sizes: dict[str, int]

    @property
    def tensors(self) -> list[int]:
        return [n for n, item in enumerate(self.items) if isinstance(item, Argument)]

    @property
    def tracked(self) -> list[int]:
        return [n for n in self.tensors if self.items[n].floating and self.items[n].tracked]  # type: ignore[union-attr]

    def fixed(self, names: Collection[str] | None = None) -> Arguments:
        """The same with the sample's sizes only, for a function that takes no others.

        Args:
            names: the symbols whose sizes are fixed; None for all.
        """
        fixed = {n: size for n, size in self.sizes.items() if names is None or n in names}

        def settle(item: Argument) -> Argument:
            dims = tuple(fixed.get(d, d) if isinstance(d, str) else d for d in item.dims)
            item = replace(item, dims=dims)
            if item.below not in fixed:
                return item
            return replace(item, below=None, low=0.0, high=float(fixed[item.below]))

        items = tuple(settle(i) if isinstance(i, Argument) else i for i in self.items)
        return Arguments(items, {n: s for n, s in self.sizes.items() if n not in fixed})

    def with_parameters(self, parameters: Sequence[Any]) -> Arguments:
        """The same, followed by tensors of fixed sizes."""
        return Arguments((*self.items, *_from_text(parameters).items), self.sizes)

    def draw(self, sizes: dict[str, int], dtype: torch.dtype, seed: int) -> list[Any]:
        """Values for all arguments, the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        drawn = []
        for item in self.items:
            if isinstance(item, Constant):
                drawn.append(item.value)
            elif item.sample is not None and sizes == self.sizes and seed == 0:
                sample = item.sample
                drawn.append(sample.to(dtype) if item.dtype is None else sample)
            else:
                drawn.append(item.draw(sizes, dtype, generator))
        return drawn


def dtype_of(inputs: Sequence[Any] | None) -> torch.dtype:
    """The dtype under test: that of the first floating-point sample, else float32."""
    for value in inputs or ():
        dtype = getattr(value, "dtype", None)
        if isinstance(dtype, torch.dtype) and dtype.is_floating_point:
            return dtype
    return torch.float32


def candidates(inputs: Sequence[Any]) -> list[Arguments]:
    """Readings of sample arguments, the one with the most freedom first.

    Equal sizes may be equal by chance. So sizes are first taken to belong together if they are
    equal and equally far from the last dimension, and only then if they are equal.

    Args:
        inputs: tensors of either framework, ``Input``, shapes as text ("M K", "B<C"), constants.
    """
    if any(_is_shape(value) for value in inputs):
        return [_from_text(inputs)]
    readings = [_from_samples(inputs, by_place=True), _from_samples(inputs, by_place=False)]
    readings = readings if readings[0] != readings[1] else readings[:1]
    return [*readings, readings[0].fixed()]


def of_module(inputs: Sequence[Any], parameters: Sequence[Any]) -> list[Arguments]:
    """Readings of sample arguments of a module, followed by its parameters.

    Sizes that its parameters have are fixed, as they are for the module.
    """
    if any(_is_shape(value) for value in inputs):
        return [_from_text([*inputs, *parameters])]
    reading = _from_samples([*inputs, *parameters], by_place=True)
    dims = {dim for item in reading.items[len(inputs) :] for dim in item.dims}  # type: ignore[union-attr]
    return [reading.fixed({dim for dim in dims if isinstance(dim, str)}), reading.fixed()]


def _from_samples(inputs: Sequence[Any], by_place: bool) -> Arguments:
    names: dict[Any, str] = {}
    sizes: dict[str, int] = {}
    items: list[Argument | Constant] = []
    prepared = [_sample_of(value) for value in inputs]

    def symbol(size: int, place: int) -> str | int:
        if size <= 1:
            return size
        key = (size, place) if by_place else size
        if key not in names:
            names[key] = "abcdefghijklmnopqrstuvwxyz"[len(names) % 26] + "'" * (len(names) // 26)
            sizes[names[key]] = size
        return names[key]

    for given in prepared:
        if not isinstance(given, (torch.Tensor, Input)):
            items.append(Constant(given))
            continue
        shape = tuple(given.shape)
        dims = tuple(symbol(size, len(shape) - d) for d, size in enumerate(shape))
        if isinstance(given, Input):
            items.append(
                Argument(
                    dims, given.low, given.high, given.avoid, given.dtype, given.tracked,
                    below=_bound(given.high, given.dtype, sizes),
                )
            )  # fmt: skip
            continue
        whole = not given.dtype.is_floating_point
        top = float(given.max()) + 1 if given.numel() and given.dtype != torch.bool else 1.0
        below = _bound(top, given.dtype if whole else None, sizes, exact=False)
        low, high = _range(given)
        dtype = given.dtype if whole else None
        items.append(
            Argument(dims, low, high, dtype=dtype, below=below, sample=given, tracked=not whole)
        )
    return Arguments(tuple(items), sizes)


def _sample_of(value: Any) -> Any:
    if isinstance(value, mt.Tensor):
        value = value.detach().torch()
    return value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value


def _range(x: torch.Tensor) -> tuple[float, float]:
    """Where further values come from: the sample's own range, or the whole usual one."""
    if not x.numel() or x.dtype == torch.bool:
        return -2.0, 2.0
    finite = x.double()[x.isfinite()] if x.is_floating_point() else x.double()
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (-2.0, 2.0)
    if not x.is_floating_point():
        return low, high + 1
    if low >= 0:  # a domain, such as that of a logarithm
        return (low, high) if high > low else (low, low + 1)
    return min(low, -2.0), max(high, 2.0)


def _bound(
    high: float, dtype: torch.dtype | None, sizes: dict[str, int], exact: bool = True
) -> str | None:
    """The symbol that whole numbers below ``high`` are indices of."""
    if dtype is None or dtype.is_floating_point or dtype == torch.bool:
        return None
    fitting = [
        (size, name) for name, size in sizes.items() if (size == high if exact else size >= high)
    ]
    return min(fitting)[1] if fitting else None


_SHAPE = re.compile(r"\s*(([A-Z]\w*|\d+)([\s,]+|(?<=\d)x(?=\d)|$))*(<\s*([A-Z]\w*|\d+))?\s*")


def _is_shape(value: Any) -> bool:
    """Whether this is a shape as text, and no name such as "mean"."""
    return isinstance(value, str) and _SHAPE.fullmatch(value.replace("<", " <")) is not None


def _from_text(texts: Sequence[Any]) -> Arguments:
    """Shapes such as "M K"; "B<C" holds whole numbers below C; a number is a fixed size.

    Names of sizes begin with a capital letter. Anything else is a constant; a tensor among them
    keeps its shape.
    """
    samples = iter((5, 7, 3, 11, 13, 17))
    sizes: dict[str, int] = {}

    def dim(word: str) -> str | int:
        if word.isdigit():
            return int(word)
        if word not in sizes:
            sizes[word] = next(samples)
        return word

    items: list[Argument | Constant] = []
    for text in texts:
        if isinstance(text, (torch.Tensor, mt.Tensor)):
            given = _sample_of(text)
            fixed = None if given.dtype.is_floating_point else given.dtype
            items.append(Argument(tuple(given.shape), *_range(given), dtype=fixed, sample=given))
            continue
        if not _is_shape(text):
            items.append(Constant(text))
            continue
        shape, _, bound = text.partition("<")
        shape = re.sub(r"(?<=\d)x(?=\d)", " ", shape)
        dims = tuple(dim(word) for word in re.split(r"[\s,]+", shape) if word)
        below = dim(bound.strip()) if bound else None
        if isinstance(below, int):
            items.append(Argument(dims, 0, below, dtype=torch.int64, tracked=False))
        elif below:
            items.append(Argument(dims, dtype=torch.int64, tracked=False, below=below))
        else:
            items.append(Argument(dims))
    return Arguments(tuple(items), sizes)


GUESSES = {
    1: (["M N"], ["N"], ["B M N"]),
    2: (["M N", "M N"], ["M N", "N"], ["M K", "K N"], ["M N", "M"], ["M K", "N K"], ["N", "N"],
        ["M N", "M<N"], ["M N", "K<M"]),
    3: (["M N", "M N", "M N"], ["M N", "N", "N"], ["M K", "N K", "N"], ["M K", "K N", "N"],
        ["M N", "M N", "N"], ["M N", "M", "M"], ["M N", "N", "M"], ["M N", "M", "N"]),
    4: (["M N", "M N", "N", "N"], ["M N"] * 4, ["M N", "N", "N", "N"]),
}  # fmt: skip
"""Shapes that a function of so many tensors is likely to take. Whole numbers, whose gradient cannot
be checked, come last: they are tried where it takes no floating-point numbers."""


def guesses(count: int) -> list[Arguments]:
    """Arguments to try for a function of ``count`` tensors."""
    return [_from_text(texts) for texts in GUESSES.get(count, (["M N"] * count,))]


def sizes_named(arguments: Arguments, kind: str) -> dict[str, int] | None:
    """Sizes of all symbols.

    Args:
        kind: "sample", the user's; "primes", small; "one"; "empty"; "blocks", several blocks with
            a ragged last one; "full", powers of two; "long:a", symbol a long, the others small.

    Returns:
        None where there is no symbol to give a size to.
    """
    names = list(arguments.sizes)
    if kind == "sample":
        return dict(arguments.sizes)
    if not names:
        return None
    if kind.startswith("long:"):
        return {name: 4099 if name == kind[5:] else 3 for name in names}
    one = len(names) == 1
    from_last = {
        "primes": (7, 5, 3, 11, 2, 13),
        "one": (1,) * 6,
        "empty": (0,) * 6,
        "blocks": (10007,) if one else (263, 67, 5, 3, 2, 3),
        "medium": (2003,) if one else (67, 19, 5, 3, 2, 3),
        "full": (8192,) if one else (256, 64, 16, 16, 2, 2),
    }[kind]
    several = [dim for item in arguments.items if isinstance(item, Argument) for dim in item.dims]
    if one and len(several) > len(arguments.tensors):  # a square: one symbol, many elements
        from_last = {"blocks": (131,), "full": (128,), "medium": (37,)}.get(kind, from_last)
    if kind == "empty":
        return {name: 0 if name == names[0] else 7 for name in names}
    cycle = itertools.cycle(from_last)
    return {name: next(cycle) for name in reversed(names)}
