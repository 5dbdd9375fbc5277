"""Evidence of mistakes in the formula: factors, signs, the upstream gradient, transposes, sums."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from minitorch_triton.testing.diagnosis import Diagnosis, Suspect, name_of
from minitorch_triton.testing.situations import Situation


def usable(suspect: Suspect) -> bool:
    """Whether there are two tensors of the same shape to compare."""
    m = suspect.mismatch
    return m is not None and m.wrong is not None and m.found is not None and m.found.numel() > 0


def zero(suspect: Suspect) -> Diagnosis | None:
    """The gradient is zero where it should not be."""
    if not usable(suspect) or not suspect.is_gradient:
        return None
    if bool((suspect.found == 0).all()) and not right_at_full_blocks(suspect):
        return Diagnosis("missing", "every element of the gradient is zero")
    return None


def right_at_full_blocks(suspect: Suspect) -> bool:
    """Wrong in ordinary situations, and never where all sizes are powers of two."""
    return suspect.verdict.situation.feature in ("plain", "blocks") and suspect.holds("full")


# A constant factor


def ratio(suspect: Suspect) -> float | None:
    """found / expected where that is the same everywhere, else None."""
    found, expected = suspect.found, suspect.expected
    sure = expected.abs() > 1e-3 * expected.abs().mean()
    if not bool(found.isfinite().all()) or not sure.any():
        return None
    c = float((found[sure] / expected[sure]).median())
    if c == 0 or expected.numel() == 1 and suspect.trial.args is None:
        return None
    return c if suspect.same(found / c, expected) else None


def constant_factor(suspect: Suspect) -> Diagnosis | None:
    """found = c * right: a factor, a sign, or `reduction`."""
    if not usable(suspect):
        return None
    c = ratio(suspect)
    if c is None or suspect.expected.numel() == 1 or abs(c - 1) < 16 * suspect.tolerance:
        return None
    if abs(c + 1) < 1e-3:
        return Diagnosis("sign", "found / right = -1 in every element")
    meaning = _meaning(suspect, abs(c))
    count = _count(suspect)
    evidence = f"found / right = {c:.6g}{meaning} in every element"
    if (
        count > 1
        and (_near(abs(c), count) or _near(abs(c), 1 / count))
        and _mentions_reduction(suspect)
    ):
        return Diagnosis("reduction", f"{evidence}: the mean is confused with another reduction")
    return Diagnosis("factor", evidence)


def partial_factor(suspect: Suspect) -> Diagnosis | None:
    """found = c * right on some elements, and right on the others."""
    if not usable(suspect):
        return None
    wrong = suspect.mismatch.wrong
    count, total = int(wrong.sum()), wrong.numel()
    if count < 4 or count == total:
        return None
    quotient = suspect.found[wrong] / suspect.expected[wrong]
    # Near 0 rounding, and what is added to be safe, says more than a factor.
    large = suspect.expected[wrong].abs() > 1e-3 * suspect.expected.abs().mean()
    if int(large.sum()) < 4 or not bool(quotient[large].isfinite().all()):
        return None
    c = float(quotient[large].median())
    same = (quotient[large] - c).abs() <= 50 * suspect.tolerance * abs(c)
    near_one = abs(c - 1) < max(0.01, 100 * suspect.tolerance)  # lost precision looks like that
    if c == 0 or near_one or float(same.double().mean()) < 0.98:
        return None
    where = _condition(suspect, wrong)
    share = f"{count} of {total} elements{where}, right in the others"
    if abs(c + 1) < 1e-3:
        return Diagnosis("sign", f"found / right = -1 in {share}")
    return Diagnosis("factor", f"found / right = {c:.6g}{_meaning(suspect, abs(c))} in {share}")


def _condition(suspect: Suspect, wrong: torch.Tensor) -> str:
    """Of which values the wrong elements are, if a sign or a limit separates them."""
    given = [(name_of(suspect, n), x) for n, x in suspect.inputs()]
    if suspect.is_gradient and suspect.upstream[0] is not None:
        given.insert(0, ("the upstream gradient", suspect.upstream[0].double()))
    if suspect.output is not None:
        given.append(("the output", suspect.output))
    for name, x in given:
        if x.shape != wrong.shape:
            continue
        for sign, text in ((x < 0, "negative"), (x > 0, "positive")):
            if bool((sign == wrong).all()):
                return f", where {name} is {text}"
        for form, values in ((name, x), (f"|{name}|", x.abs())):
            bad, good = values[wrong], values[~wrong]
            if float(bad.min()) > float(good.max()):
                return f", where {form} is above {float(good.max()):.3g}"
            if float(bad.max()) < float(good.min()):
                return f", where {form} is below {float(good.min()):.3g}"
    return ""


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=2e-3)


def _count(suspect: Suspect) -> int:
    """The number of elements that a mean would divide by."""
    return max((x.numel() for _, x in suspect.inputs()), default=1)


def _meaning(suspect: Suspect, c: float) -> str:
    """What a factor is made of: sizes of the arguments, or a simple fraction."""
    named: dict[str, float] = {}
    for n, x in suspect.inputs():
        named[f"number of elements of input {n}"] = x.numel()
        for d, size in enumerate(x.shape):
            named[f"size {d} of input {n}"] = size
            padded = 1 << max(size - 1, 0).bit_length()
            if padded != size:
                named[f"size {d} of input {n} / the next power of two"] = size / padded
    for name, value in named.items():
        if value in (0, 1):
            continue
        if _near(c, value):
            return f" = {name}"
        if _near(c, 1 / value):
            return f" = 1 / ({name})"
    pairs = [(a, b) for a in named for b in named if named[b] > 1 and named[a] != named[b]]
    for a, b in pairs:
        if _near(c, named[a] / named[b]) and "power" not in a + b:
            return f" = ({a}) / ({b})"
    for below in (2, 3, 4, 5, 6, 8):
        top = round(c * below)
        if top and _near(c, top / below) and math.gcd(top, below) == 1:
            return f" = {top}/{below}"
    return ""


def _mentions_reduction(suspect: Suspect) -> bool:
    """Whether the function's parameters, or its source, speak of a reduction."""
    subject = suspect.lab.subject
    if "reduction" in subject.parameters():
        return True
    code = getattr(subject.fn, "__code__", None)
    words = {"reduction", "mean", "sum", "none", "batchmean"}
    if code is None:
        return bool(getattr(subject.fn, "keywords", {}).get("reduction"))
    constants = {c for c in code.co_consts if isinstance(c, str) and len(c) < 12}
    names = {n for c in code.co_consts if isinstance(c, tuple) for n in c}
    return "reduction" in names or bool(constants & words)


def reduction(suspect: Suspect) -> Diagnosis | None:
    """Right for one value of `reduction`, wrong for another."""
    tried = suspect.with_feature("reduction")
    bad = [v for v in tried if v.status == "wrong"]
    good = [v for v in tried if v.status == "ok"]
    if not bad or not good:
        return None

    def names(verdicts: list) -> str:
        said = [
            v.situation.constant[1] if v.situation.constant else v.situation.named[0][1]
            for v in verdicts
        ]
        return ", ".join(repr(value) for value in dict.fromkeys(said))

    return Diagnosis("reduction", f"right for reduction = {names(good)}, wrong for {names(bad)}")


# The upstream gradient


def upstream_ignored(suspect: Suspect) -> Diagnosis | None:
    """The gradient does not change with the upstream gradient, or only with a part of it."""
    if not usable(suspect) or not suspect.is_gradient:
        return None
    if not bool(suspect.found.isfinite().all()) or not bool(suspect.found.any()):
        return None
    given = suspect.upstream
    plain = {"upstream_layout": "contiguous"}
    changed = tuple(None if g is None else _other(g) for g in given)
    ones = tuple(None if g is None else torch.ones_like(g) for g in given)
    if suspect.same(suspect.again(upstream=changed, **plain), suspect.found):
        if suspect.same(suspect.right(upstream=ones, **plain), suspect.found):
            return Diagnosis(
                "upstream",
                "the gradient is that for an upstream gradient of ones, whatever comes in",
            )
        return Diagnosis("upstream", "the gradient stays the same for another upstream gradient")
    for number, g in enumerate(given):
        if g is None or len(given) < 2:
            continue
        without = tuple(torch.zeros_like(g) if n == number else h for n, h in enumerate(given))
        if suspect.same(suspect.right(upstream=without, **plain), suspect.found):
            return Diagnosis("upstream", f"the upstream gradient of output {number} is ignored")
    first = tuple(None if g is None else _first_kept(g) for g in given)
    if any(g is not None and g.numel() > 1 for g in given) and suspect.same(
        suspect.again(upstream=first, **plain), suspect.found
    ):
        return Diagnosis(
            "upstream", "only the first element of the upstream gradient is used, for all elements"
        )
    return None


def _other(g: torch.Tensor) -> torch.Tensor:
    """Another upstream gradient, of other signs and sizes."""
    return (-1.7 * g.flip(list(range(g.ndim))) + 0.3).to(g.dtype)


def _first_kept(g: torch.Tensor) -> torch.Tensor:
    other = _other(g).reshape(-1)
    other[0] = g.reshape(-1)[0]
    return other.reshape(g.shape)


def upstream_not_linear(suspect: Suspect) -> str:
    """A remark where backward is not linear in the upstream gradient."""
    if not usable(suspect) or not suspect.is_gradient:
        return ""
    doubled = tuple(None if g is None else 2 * g for g in suspect.upstream)
    found = suspect.again(upstream=doubled, upstream_layout="contiguous")
    once = suspect.again(upstream=tuple(suspect.upstream), upstream_layout="contiguous")
    if found is None or once is None or suspect.same(found, 2 * once):
        return ""
    if suspect.same(found, 4 * once):
        return "twice the upstream gradient gives four times the gradient: it is applied twice"
    return "twice the upstream gradient does not give twice the gradient"


# Transposes, exchanges, sums


def transposed(suspect: Suspect) -> Diagnosis | None:
    """Right after something is transposed."""
    if not usable(suspect):
        return None
    found, expected = suspect.found, suspect.expected
    if expected.ndim >= 2:
        turned = expected.transpose(-1, -2)
        if suspect.same(found.reshape(turned.shape), turned):
            return Diagnosis("transposed", "found is the right result transposed")
    square = _square(suspect)
    for case in [suspect, *([square] if square else [])]:
        for what, value in _transposes(case):
            if case.same(value, case.found):
                if what.startswith("upstream") and case.found.ndim < 2 and case.is_gradient:
                    return Diagnosis(
                        "broadcast",
                        "found is the sum over the wrong dimension of the upstream gradient",
                    )
                return Diagnosis("transposed", f"found is what is right for {what} transposed")
    return None


def _square(suspect: Suspect) -> Suspect | None:
    """The same result where all sizes are equal, so that a transpose goes without an error."""
    names = suspect.lab.arguments.sizes
    if len(names) < 2:
        return None
    sizes = tuple((name, 7) for name in names)
    dtype = suspect.verdict.situation.dtype
    return suspect.other(Situation("plain", sizes=sizes, dtype=dtype))


def _transposes(suspect: Suspect) -> Iterator[tuple[str, torch.Tensor | None]]:
    """Right results for arguments of which one was read transposed."""
    args = suspect.trial.values()
    for n, x in suspect.inputs():
        if x.ndim >= 2 and x.shape[-1] > 1 and x.shape[-2] > 1:
            moved = list(args)
            moved[n] = _reread(args[n])
            layouts = ("contiguous",) * len(args)
            yield name_of(suspect, n), suspect.right(args=tuple(moved), layouts=layouts)
    for n, g in enumerate(suspect.upstream):
        if g is not None and g.ndim >= 2 and suspect.is_gradient:
            upstream = list(suspect.upstream)
            upstream[n] = _reread(g)
            yield (
                "upstream gradient",
                suspect.right(upstream=tuple(upstream), upstream_layout="contiguous"),
            )


def _reread(x: torch.Tensor) -> torch.Tensor:
    """A matrix whose memory was taken for that of its transpose."""
    shape = (*x.shape[:-2], x.shape[-1], x.shape[-2])
    return x.contiguous().reshape(shape).transpose(-1, -2).contiguous()


def swapped(suspect: Suspect) -> Diagnosis | None:
    """The gradient of another input."""
    if not usable(suspect) or not suspect.is_gradient:
        return None
    wanted = suspect.trial.wanted
    for n, other in zip(wanted, suspect.verdict.right.gradients, strict=True):
        if (
            n != suspect.mismatch.number
            and other is not None
            and suspect.same(suspect.found, other.double())
        ):
            return Diagnosis("swapped", f"found is the gradient of {name_of(suspect, n)}")
    return None


LINES = 70
"""How many rows of an upstream gradient are followed one by one."""


def broadcast(suspect: Suspect) -> Diagnosis | None:
    """A gradient that is summed over rows, but holds the contributions of some of them only."""
    if not usable(suspect) or not suspect.is_gradient:
        return None
    small = suspect.other(Situation("plain", dtype=suspect.verdict.situation.dtype))
    for case in [suspect, *([small] if small else [])]:
        found = _partial_sum(case)
        if found is not None:
            return found
    return None


def _partial_sum(suspect: Suspect) -> Diagnosis | None:
    g = suspect.upstream[0]
    if g is None or g.ndim == 0:
        return None
    for dim in range(g.ndim):
        length = g.shape[dim]
        if length < 2 or length > LINES:
            continue
        parts = []
        for line in range(length):
            one = torch.zeros_like(g)
            one.select(dim, line).copy_(g.select(dim, line))
            upstream = (
                one,
                *[None if h is None else torch.zeros_like(h) for h in suspect.upstream[1:]],
            )
            part = suspect.right(upstream=upstream, upstream_layout="contiguous")
            if part is None:
                return None
            parts.append(part)
        spread = sum(bool((part.abs() > 0).double().mean() > 0.5) for part in parts)
        if spread < 2:
            continue  # each line has elements of its own: nothing is summed over this dimension
        total = torch.stack(parts).sum(0)
        if suspect.same(total / length, suspect.found):
            continue  # a mean, which is a factor
        for count in range(1, length):
            for text, some in (("last", parts[-count:]), ("first", parts[:count])):
                if suspect.same(torch.stack(some).sum(0), suspect.found):
                    which = f"the {text} one" if count == 1 else f"the {text} {count}"
                    return Diagnosis(
                        "broadcast",
                        f"the gradient is a sum over {length} slices (dimension {dim} of the "
                        f"output), but only {which} arrived",
                    )
    return None


# Factors that vary, and terms


def varying_factor(suspect: Suspect) -> Diagnosis | None:
    """found / right is a simple function of the inputs, the output or the upstream gradient."""
    if not usable(suspect):
        return None
    found, expected = suspect.found, suspect.expected
    sure = (expected.abs() > 1e-2 * expected.abs().mean()) & (
        found.abs() > 1e-6 * found.abs().mean()
    )
    if not bool(found.isfinite().all()) or int(sure.sum()) < 4:
        return None
    quotient = found[sure] / expected[sure]
    for text, value in _quantities(suspect):
        value = value[sure]
        usual = value.abs() > 1e-3
        if int(usual.sum()) < 4 or float(value[usual].std()) < 1e-3 * float(
            value[usual].abs().mean()
        ):
            continue
        for form, power in ((text, 1), (f"1 / ({text})", -1)):
            c = quotient[usual] * value[usual] ** -power
            middle = float(c.median())
            near = (c - middle).abs() <= 50 * suspect.tolerance * abs(middle) + 1e-9
            if middle and float(near.double().mean()) > 0.98:
                number = "" if _near(middle, 1) else f"{middle:.4g} * "
                lost = "missing" if power < 0 else "too much"
                return Diagnosis(
                    "factor", f"found / right = {number}{form}: a factor {text} is {lost}"
                )
    return None


def _quantities(suspect: Suspect) -> Iterator[tuple[str, torch.Tensor]]:
    """What a formula may have been multiplied by."""
    shape = suspect.expected.shape
    sources = []
    if suspect.is_gradient and suspect.output is not None:
        sources.append(("y", suspect.output))
        if suspect.upstream[0] is not None:
            sources.append(("g", suspect.upstream[0].double()))
    names = list(suspect.lab.subject.parameters())
    for n, x in suspect.inputs():
        name = names[n] if n < len(names) and not names[n].startswith("args") else f"input {n}"
        sources.append((name, x))
    for name, x in sources:
        try:
            x = x.expand(shape)
        except RuntimeError:
            continue
        yield name, x
        yield f"1 - {name}", 1 - x
        yield f"1 + {name}", 1 + x
        yield f"{name}^2", x * x
        yield f"1 - {name}^2", 1 - x * x
        yield f"1 + {name}^2", 1 + x * x
        yield f"|{name}|", x.abs()
        yield f"exp({name})", x.exp()
        yield f"sigmoid({name})", x.sigmoid()
        yield f"1 - sigmoid({name})", 1 - x.sigmoid()
    for d in range(len(shape)):  # the same along one dimension: a scale per row
        if shape[d] < 4 or suspect.expected.ndim < 2:
            continue
        quotient = suspect.found / suspect.expected
        yield (
            f"scale per slice along dimension {d}",
            quotient.median(dim=d, keepdim=True).values.expand(shape),
        )


def missing_term(suspect: Suspect) -> Diagnosis | None:
    """found - right is, along one dimension, a combination of 1, the input and the output."""
    if not usable(suspect) or not suspect.is_gradient:
        return None
    expected, found = suspect.expected, suspect.found
    if not bool(found.isfinite().all()):
        return None
    difference = found - expected
    x = dict(suspect.inputs()).get(suspect.mismatch.number)
    sources = [("1", torch.ones_like(expected))]
    if suspect.output is not None and suspect.output.shape == expected.shape:
        sources += [("y", suspect.output), ("exp(y)", suspect.output.exp())]
    if x is not None and x.shape == expected.shape:
        sources.append(("x", x))
    # One source alone first, which says more than a mixture; a mixture needs longer rows.
    sets = [[source] for source in sources] + [[sources[0], source] for source in sources[1:]]
    sources = [(name, values) for name, values in sources if bool(values.isfinite().all())]
    for dim in reversed(range(expected.ndim)):
        length = expected.shape[dim]
        rows = expected.numel() // max(length, 1)
        for chosen in sets:
            if length < 3 + len(chosen) or rows < 1:
                continue
            basis = torch.stack([b.movedim(dim, -1).reshape(rows, length) for _, b in chosen], -1)
            target = difference.movedim(dim, -1).reshape(rows, length, 1)
            fit = basis @ torch.linalg.lstsq(basis, target).solution
            left = float((target - fit).abs().max())
            if left <= 50 * suspect.tolerance * float(expected.abs().mean() + target.abs().mean()):
                text = " and ".join(name for name, _ in chosen)
                constant = "constant" if text == "1" else f"a multiple of {text}"
                return Diagnosis(
                    "term",
                    f"found - right is {constant} along dimension {dim}: a term that is summed "
                    f"over dimension {dim} is missing or wrong",
                )
    return None


def argument_ignored(suspect: Suspect) -> Diagnosis | None:
    """The right gradient depends on an argument that what was found does not depend on."""
    if not usable(suspect) or not suspect.is_gradient:
        return None
    for n, x in suspect.inputs():
        doubled, other = (
            tuple(value.to(a.dtype) if m == n else a for m, a in enumerate(suspect.trial.values()))
            for value in (2 * x, 0.7 * x + 0.1)
        )
        plain = {"layouts": ("contiguous",) * len(doubled), "upstream": tuple(suspect.upstream)}
        right = suspect.right(args=other, **plain)
        if right is None or suspect.same(right, suspect.expected):
            continue
        if not suspect.same(suspect.again(args=other, **plain), suspect.found):
            continue
        said = f"the gradient stays the same for another {name_of(suspect, n)}"
        if suspect.same(suspect.right(args=doubled, **plain), 2 * suspect.expected):
            return Diagnosis("factor", f"{said}, which it ought to be proportional to")
        return Diagnosis("term", f"{said}, the right one does not")
    return None


def only_its_own(suspect: Suspect) -> Diagnosis | None:
    """An element of the gradient depends on one element of the upstream gradient, not on several.

    So it is where only the diagonal of the Jacobian is multiplied.
    """
    if not usable(suspect) or not suspect.is_gradient or suspect.upstream[0] is None:
        return None
    g = suspect.upstream[0]
    if g.shape != suspect.expected.shape or len(suspect.upstream) > 1:
        return None
    chosen = torch.rand(g.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    plain = {"upstream": (torch.where(chosen, _other(g), g),), "upstream_layout": "contiguous"}
    found, right = suspect.again(**plain), suspect.right(**plain)
    if found is None or right is None or not (~chosen).any():
        return None
    if not suspect.same(found[~chosen], suspect.found[~chosen]):
        return None
    if suspect.same(right[~chosen], suspect.expected[~chosen]):
        return None
    return Diagnosis(
        "term",
        "each element depends on its own upstream gradient alone, the right ones on that of others "
        "as well: a term that is summed is missing",
    )


def named_by_index(suspect: Suspect) -> Diagnosis | None:
    """Wrong only in the elements that whole numbers among the arguments name, one for each row."""
    if not usable(suspect) or suspect.expected.ndim != 2:
        return None
    wrong = suspect.mismatch.wrong
    for n, index in enumerate(suspect.trial.values()):
        if not isinstance(index, torch.Tensor) or index.dtype not in (torch.int32, torch.int64):
            continue
        if tuple(index.shape) != (wrong.shape[0],) or not index.numel():
            continue
        if int(index.min()) < 0 or int(index.max()) >= wrong.shape[1]:
            continue
        named = torch.zeros_like(wrong).scatter_(1, index.long().unsqueeze(1), True)
        if not bool((wrong & ~named).any()) and bool(wrong.any(dim=1).double().mean() > 0.9):
            return Diagnosis(
                "term",
                f"in each row only the element that {name_of(suspect, n)} names is wrong: its term "
                "is missing or wrong",
            )
    return None


def whole_formula(suspect: Suspect) -> Diagnosis | None:
    """Nothing better was found."""
    if suspect.mismatch is None:
        return None
    if not usable(suspect):
        return Diagnosis("formula", suspect.mismatch.problem)
    remark = upstream_not_linear(suspect)
    quotient = suspect.found / suspect.expected
    quotient = quotient[quotient.isfinite() & suspect.mismatch.wrong]
    spread = ""
    if quotient.numel():
        low, high = float(quotient.quantile(0.1)), float(quotient.quantile(0.9))
        spread = f"found / right varies, mostly from {low:.3g} to {high:.3g}"
    text = "; ".join(part for part in (spread, remark) if part) or "found is not right"
    return Diagnosis("formula", f"{text}, {suspect.where.text}")
