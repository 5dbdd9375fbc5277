"""The situations that a function is put into: sizes, dtypes, layouts, values; and mixtures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from triton import knobs

from minitorch_triton.testing.arguments import Argument, Arguments, sizes_named
from minitorch_triton.testing.excuses import LOW
from minitorch_triton.testing.trial import STALLING, Trial, stalling

INPUT_LAYOUTS = ("transposed", "sliced", "offset", "expanded")
UPSTREAM_LAYOUTS = ("expanded", "constant", "transposed", "sliced", "offset")

BOUNDARIES = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 6.0, -6.0, -0.0, 1.5, 4.0)
"""Where functions in use have kinks: relu, clamp, hardtanh, relu6, hardswish, rounding, ties."""

EXTREMES = (100.0, -100.0, 1e4, -1e4, 0.5, -0.5)

PLAIN = ("plain", "blocks", "full")
"""Features of situations in which nothing is out of the ordinary."""


@dataclass(frozen=True)
class Situation:
    """How arguments are drawn.

    Attributes:
        feature: what is special about it: "plain", "blocks" (several, with a ragged last one),
            "full" (sizes are powers of two), "size", "long", "dtype", "input layout", "upstream
            layout", "boundary", "extreme", "nan", "needs", "same", "reduction", "mixture".
        sizes: as of :func:`~.arguments.sizes_named`, or the sizes themselves.
        layouts: of the arguments that are not contiguous, as pairs.
        needs: the arguments that require a gradient, if not all.
        values: "random"; "boundary", "extreme", "nan" or "inf" at random places; "stalling", what
            a long sum in a low dtype loses, or "stalling upstream", with such upstream gradients.
        rank: another number of dimensions, for elementwise functions.
        named: keyword arguments. constant: another value for an argument that is no tensor.
    """

    feature: str
    sizes: str | tuple[tuple[str, int], ...] = "primes"
    dtype: torch.dtype = torch.float32
    layouts: tuple[tuple[int, str], ...] = ()
    upstream: str = "contiguous"
    values: str = "random"
    needs: tuple[int, ...] | None = None
    same: bool = False
    rank: int | None = None
    seed: int = 1
    named: tuple[tuple[str, Any], ...] = ()
    constant: tuple[int, Any] | None = None

    def label(self) -> str:
        """In words."""
        parts = [f"{self.sizes} sizes" if isinstance(self.sizes, str) else "chosen sizes"]
        parts.append(str(self.dtype).removeprefix("torch."))
        parts += [f"input {n} {layout}" for n, layout in self.layouts]
        if self.rank is not None:
            parts.append(f"{self.rank}-d")
        if self.upstream != "contiguous":
            parts.append(f"{self.upstream} upstream gradient")
        if self.values != "random":
            parts.append(f"{self.values} values")
        if self.needs is not None:
            parts.append(f"only {_listed(self.needs)} require a gradient")
        if self.same:
            parts.append("the same tensor in every place")
        parts += [f"{name}={value!r}" for name, value in self.named]
        if self.constant:
            parts.append(f"argument {self.constant[0]} = {self.constant[1]!r}")
        return ", ".join(parts)


def _listed(numbers: tuple[int, ...]) -> str:
    return "inputs " + ", ".join(map(str, numbers)) if numbers else "no inputs"


def of_rank(arguments: Arguments, rank: int) -> Arguments:
    """The same arguments with another number of dimensions each."""
    names = ("a", "b", "c", "d")[:rank]
    items = tuple(
        replace(item, dims=names, sample=None) if isinstance(item, Argument) else item
        for item in arguments.items
    )
    return Arguments(items, dict(zip(names, (5, 7, 3, 2), strict=False)))


def build(arguments: Arguments, situation: Situation) -> Trial | None:
    """The trial of a situation, None where it does not apply to such arguments."""
    if situation.rank is not None:
        arguments = of_rank(arguments, situation.rank)
    if isinstance(situation.sizes, str):
        sizes = sizes_named(arguments, situation.sizes) if arguments.sizes else {}
        if sizes is None:
            return None
    else:
        sizes = dict(situation.sizes)
    args = arguments.draw(
        sizes, situation.dtype, 0 if situation.sizes == "sample" else situation.seed
    )
    if situation.values.startswith("stalling"):
        args = _stalling(arguments, args, situation)
    elif situation.values != "random":
        args = _special(arguments, args, situation)
    if situation.constant is not None:
        args[situation.constant[0]] = situation.constant[1]
    layouts = ["contiguous"] * len(args)
    for n, layout in situation.layouts:
        layouts[n] = layout
    tracked = arguments.tracked if situation.needs is None else situation.needs
    if situation.same and len({args[n].shape for n in arguments.tensors}) > 1:
        return None
    return Trial(
        tuple(args),
        tuple(layouts),
        tuple(n in tracked for n in range(len(args))),
        upstream_layout=situation.upstream,
        upstream_values={"stalling": "ones", "stalling upstream": "stalling"}.get(
            situation.values, "random"
        ),
        same=situation.same,
        seed=situation.seed,
        named=situation.named,
    )


def _special(arguments: Arguments, args: list[Any], situation: Situation) -> list[Any]:
    """Arguments with special values at random places, ties among them."""
    generator = torch.Generator().manual_seed(situation.seed)
    result = list(args)
    for n in arguments.tensors:
        item, x = arguments.items[n], args[n]
        if not item.floating or not x.numel():  # type: ignore[union-attr]
            continue
        choices = {
            "boundary": BOUNDARIES,
            "extreme": EXTREMES,
            "nan": (math.nan,),
            "inf": (math.inf, -math.inf),
        }[situation.values]
        inside = [v for v in choices if item.low < 0 or item.low <= v <= item.high]  # type: ignore[union-attr]
        if not inside:
            continue
        values = torch.tensor(inside, dtype=x.dtype)
        if situation.values in ("boundary", "extreme"):
            result[n] = values[torch.randint(len(inside), x.shape, generator=generator)]
        else:
            flat = x.clone().reshape(-1)
            count = max(1, flat.numel() // 16)
            places = torch.randperm(flat.numel(), generator=generator)[:count]
            flat[places] = values[torch.arange(count) % len(inside)]
            result[n] = flat.reshape(x.shape)
    return result


def _stalling(arguments: Arguments, args: list[Any], situation: Situation) -> list[Any]:
    """Ones, but for the first long argument, whose values a sum in a low dtype loses.

    One factor of a product alone: small times small would be too little to be missed.
    """
    result = list(args)
    long = situation.values == "stalling"
    for n in arguments.tensors:
        item, x = arguments.items[n], args[n]
        if not item.floating or not item.low <= 0 <= 1 <= item.high or 1 in item.avoid:  # type: ignore[union-attr]
            continue
        result[n] = torch.ones_like(x)
        if long and max(x.shape, default=0) > STALLING and 0 not in item.avoid:  # type: ignore[union-attr]
            result[n] = stalling(tuple(x.shape), x.dtype)
            long = False
    return result


def usual(
    arguments: Arguments, dtype: torch.dtype, exact: bool, elementwise: bool
) -> Iterator[Situation]:
    """The fixed list of situations, from plain to special.

    Args:
        exact: the oracle is a reference, so large sizes and special values can be judged.
        elementwise: the function is elementwise.
    """
    plain = Situation("plain", dtype=dtype)
    if any(getattr(item, "sample", None) is not None for item in arguments.items):
        yield replace(plain, sizes="sample", seed=0)
    if not arguments.sizes:
        yield replace(plain, sizes="sample")
    yield plain
    large = exact or elementwise
    yield replace(plain, feature="blocks", sizes="blocks" if large else "medium")
    yield replace(plain, feature="full", sizes="full" if large else "primes")
    yield replace(plain, feature="size", sizes="one")
    yield replace(plain, feature="size", sizes="empty")
    if elementwise:
        for rank in (0, 1, 3):
            yield replace(plain, feature="size", rank=rank)
    yield from _layouts(arguments, plain)
    for layout in UPSTREAM_LAYOUTS:
        yield replace(plain, feature="upstream layout", upstream=layout)
    tracked = arguments.tracked
    if len(tracked) > 1:
        for n in tracked:
            yield replace(plain, feature="needs", needs=(n,))
        for n in tracked:
            yield replace(plain, feature="needs", needs=tuple(m for m in tracked if m != n))
    if len(arguments.tensors) > 1 and _exchangeable(arguments):
        yield replace(plain, feature="same", same=True)
    if exact:
        yield replace(plain, feature="boundary", values="boundary")
        yield replace(plain, feature="boundary", values="boundary", seed=2)
        yield replace(plain, feature="nan", values="nan")
        yield replace(plain, feature="extreme", values="inf")
    yield replace(plain, feature="extreme", values="extreme")


def _exchangeable(arguments: Arguments) -> bool:
    """Whether every tensor argument may have the values of every other."""
    items = [arguments.items[n] for n in arguments.tensors]
    domains = {(item.low, item.high, item.avoid, item.floating) for item in items}  # type: ignore[union-attr]
    return len(domains) == 1 and arguments.items[arguments.tensors[0]].floating  # type: ignore[union-attr]


def of_dtypes(
    arguments: Arguments, dtype: torch.dtype, dtypes: tuple[torch.dtype, ...], exact: bool
) -> Iterator[Situation]:
    """Other dtypes, and long reductions in each of them."""
    for other in dtypes:
        if other != dtype:
            yield Situation("dtype", dtype=other)
            if exact:
                yield Situation("dtype", dtype=other, sizes="blocks")
    if exact:
        for other, name in itertools.product(dtypes, arguments.sizes):
            if other != torch.float64 or other == dtype:
                long = Situation("long", dtype=other, sizes=f"long:{name}")
                yield long
                if other in LOW:
                    yield replace(long, values="stalling")
                    yield replace(long, values="stalling upstream")


def _layouts(arguments: Arguments, plain: Situation) -> Iterator[Situation]:
    for n in arguments.tensors:
        dims = arguments.items[n].dims  # type: ignore[union-attr]
        for layout in INPUT_LAYOUTS:
            if dims and (layout != "transposed" or len(dims) > 1):
                yield replace(plain, feature="input layout", layouts=((n, layout),))


def mixtures(
    arguments: Arguments, dtypes: tuple[torch.dtype, ...], count: int, seed: int
) -> list[Situation]:
    """Random situations that are special in several ways at once, drawn by Hypothesis.

    Without Hypothesis installed there are none.
    """
    try:
        import hypothesis
        from hypothesis import configuration
        from hypothesis import strategies as st
    except ImportError:
        return []

    size = st.sampled_from([1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33])
    sizes = st.tuples(*[st.tuples(st.just(name), size) for name in arguments.sizes])
    layout = st.sampled_from(["contiguous", *INPUT_LAYOUTS])
    layouts = st.tuples(*[st.tuples(st.just(n), layout) for n in arguments.tensors])
    strategy = st.builds(
        Situation,
        st.just("mixture"),
        sizes=sizes,
        dtype=st.sampled_from(dtypes),
        layouts=layouts.map(lambda pairs: tuple(p for p in pairs if p[1] != "contiguous")),
        upstream=st.sampled_from(["contiguous", *UPSTREAM_LAYOUTS]),
        seed=st.integers(1, 1000),
    )
    found: list[Situation] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def collect(situation: Situation) -> None:
        if situation.upstream in ("expanded", "constant"):
            # Equal rows under equal upstream gradients: a normalization then divides 0 by almost 0.
            layouts = tuple(pair for pair in situation.layouts if pair[1] != "expanded")
            situation = replace(situation, layouts=layouts)
        found.append(situation)

    # Hypothesis would leave a folder where the program was started. It keeps what it has read from
    # the source of the program's modules, which takes seconds, so the folder is no temporary one.
    before = getattr(configuration.storage_directory(intent_to_write=False), "home_directory", None)
    configuration.set_hypothesis_home_dir(Path(knobs.cache.dir, "hypothesis"))
    try:
        collect()
    finally:
        configuration.set_hypothesis_home_dir(before)
    return found
