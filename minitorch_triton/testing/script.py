"""A script of a few lines in which a mistake is seen."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import minitorch_triton as mt
from minitorch_triton.ops.dispatch import Op
from minitorch_triton.testing.compare import Mismatch, wrong_elements
from minitorch_triton.testing.diagnosis import Diagnosis
from minitorch_triton.testing.lab import Lab, Verdict
from minitorch_triton.testing.modules import ModuleCall
from minitorch_triton.testing.subject import OURS, describe
from minitorch_triton.testing.trial import NAN

LITERAL = 24
"""Tensors of so many elements are spelt out."""

FEW, ALL = 6, 17
"""How many digits are shown: a few, or so many that no other float64 has the same."""

SMALL = 1e-3
"""An error below is not seen in a few digits, which are not exactly the values of the trial."""


def digits_of(mismatch: Mismatch) -> int:
    """How many digits show it."""
    return ALL if mismatch.error < SMALL else FEW


def reproduction(
    lab: Lab, verdict: Verdict, mismatch: Mismatch | None, diagnosis: Diagnosis
) -> list[str]:
    """The script.

    Args:
        verdict: the trial in which the mistake is seen, the smaller the better.
        mismatch: the wrong result; None if the call fails otherwise.
        diagnosis: its ``steps`` are followed, if it has some.
    """
    script = Script(lab, verdict)
    if diagnosis.steps is not None:
        steps = diagnosis.steps(script)
    elif verdict.outcome.error is not None:
        steps = _until_the_error(script)
    elif mismatch is None:
        steps = _what_is_overwritten(script)
    else:
        script.digits = digits_of(mismatch)
        script.surround(mismatch)
        steps = _wrong_result(script, mismatch)
    return [*script.imports(), *script.arguments(), *script.inside(steps)]


def _until_the_error(script: Script) -> list[str]:
    forward = f"y = {script.call()}"
    if script.verdict.outcome.stage == "forward":
        return [f"{forward}  # raises"]
    return [forward, f"{script.backward()}  # raises"]


def _what_is_overwritten(script: Script) -> list[str]:
    given = script.verdict.right.upstream
    steps = [*script.upstream(), f"y = {script.call()}", script.backward("g")]
    for name in script.verdict.outcome.overwritten:
        if isinstance(name, int):
            before, name = script.trial.values()[name], f"x{name}"
        else:
            number = name.removeprefix("upstream gradient").strip()
            before = given[int(number or 0)]
            name = script.of_output("g", int(number or 0))
        steps += [f"print({name})", *_comment("was", before)]
    return steps


def _wrong_result(script: Script, mismatch: Mismatch) -> list[str]:
    if mismatch.kind == "output":
        steps = [f"y = {script.call()}"]
        shown = script.output(mismatch.number)
    else:
        steps = [f"y = {script.call()}", script.backward()]
        shown = f"{script.names[mismatch.number]}.grad"
    if mismatch.error < SMALL and mismatch.found is not None:
        shown += ".tolist()"  # all digits
    return [*steps, f"print({shown})", *_comment("right", mismatch.expected, script.digits)]


class Script:
    """The names and expressions that scripts are put together from.

    Args:
        verdict: the trial that the script repeats.

    Attributes:
        names: of the arguments, as expressions: ``x0``, or a constant.
        digits: of the values that are spelt out.
        guarded: whether NaN lies behind the arguments. poisoned, checked: whether fresh buffers
            hold NaN, and whether kernels run in the checked mode.
    """

    digits = FEW
    guarded = poisoned = checked = False

    def __init__(self, lab: Lab, verdict: Verdict):
        self.lab = lab
        self.subject = lab.subject
        self.verdict = verdict
        self.trial = verdict.trial
        self.ours = lab.subject.framework == OURS
        self.package = "mt" if self.ours else "torch"
        self.names = [
            ("x0" if self.trial.same else f"x{n}") if isinstance(x, torch.Tensor) else repr(x)
            for n, x in enumerate(self.trial.args)
        ]
        # A repetition of what was found in the checked mode has no result to compare.
        self.linked = verdict.outcome.linked or verdict.right.linked

    def imports(self) -> list[str]:
        lines = ["import torch"]
        if self.ours or self.poisoned or self.checked:
            lines.append("import minitorch_triton as mt")
        elif self.subject.device.type == "cpu":
            lines.append("import minitorch_triton  # runs Triton kernels on CPU tensors")
        if self.poisoned or hasattr(self.subject.fn, "in_script"):
            lines.append("import minitorch_triton.testing")
        return [*lines, *import_of(self.subject.fn)]

    def arguments(self) -> list[str]:
        """A line for each tensor."""
        lines: dict[str, str] = {}
        for n, (x, layout) in enumerate(zip(self.trial.values(), self.trial.layouts, strict=True)):
            if isinstance(x, torch.Tensor):
                tracked = ".requires_grad_()" if self.trial.needs[n] else ""
                name = self.names[n]
                lines.setdefault(name, f"{name} = {self._tensor(x, layout)}{tracked}")
        seed = [f"{self.package}.manual_seed(0)"] if self._is_random() else []
        return [*lines.values(), *seed]

    def _is_random(self) -> bool:
        """Whether the function draws random numbers, which every trial begins with the same."""
        package = mt if self.ours else torch
        package.manual_seed(0)
        before = package.get_rng_state()
        self.lab.run(self.trial)
        return not bool((before == package.get_rng_state()).all())

    def inside(self, steps: list[str]) -> list[str]:
        """The steps, in the modes that they need."""
        heads = []
        if self.poisoned:
            heads.append('with mt.testing.poisoned(float("nan")):  # in fresh buffers')
        if self.checked:
            heads.append("with mt.cpu.checked():")
        for head in reversed(heads):
            steps = [head, *[f"    {step}" for step in steps]]
        return steps

    def surround(self, mismatch: Mismatch) -> None:
        """Ask for NaN behind arguments and in fresh buffers, if it is only seen with them."""

        def shows(guard: float = NAN, poison: float = NAN) -> bool:
            outcome = self.lab.run(replace(self.trial, guard=guard, poison=poison))
            values = outcome.outputs if mismatch.kind == "output" else outcome.gradients
            number = mismatch.number
            if mismatch.kind == "gradient":
                number = self.trial.wanted.index(number)
            found = values[number] if number < len(values) else None
            expected = mismatch.expected
            if found is None or expected is None or found.shape != expected.shape:
                return True
            return bool(wrong_elements(found, expected, self.verdict.tolerance)[0].any())

        if shows(guard=0.0, poison=0.0):
            return
        self.guarded = not shows(guard=0.0)
        self.poisoned = not shows(poison=0.0)

    def call(self, names: Sequence[str] | None = None) -> str:
        """The call of the function, with other arguments if they are given."""
        names = list(self.names if names is None else names)
        given, named = self.subject.by_position(names, dict(self.trial.named))
        given = [*names, *map(repr, given[len(names) :])]
        text = ", ".join([*given, *[f"{key}={value!r}" for key, value in named.items()]])
        fn = self.subject.fn
        if hasattr(fn, "in_script"):
            return fn.in_script(text)
        is_class = self.subject.call is not fn or inspect.ismethod(fn)
        return f"{_plain_name(fn)}{'.apply' if is_class else ''}({text})"

    def output(self, number: int) -> str:
        """An output of ``y``."""
        return self.of_output("y", number)

    def of_output(self, name: str, number: int) -> str:
        """What belongs to an output, out of a tuple if there are several."""
        return name if len(self.linked) < 2 else f"{name}[{number}]"

    @property
    def _linked(self) -> list[int]:
        return [n for n, linked in enumerate(self.linked) if linked]

    def upstream(self) -> list[str]:
        """A line that makes ``g``, the upstream gradients of all outputs."""
        given = [None if g is None else self._upstream(g) for g in self.verdict.right.upstream]
        return [f"g = {given[0]}" if len(given) == 1 else f"g = [{', '.join(map(str, given))}]"]

    def backward(self, upstream: str = "") -> str:
        """A line that runs backward from ``y``.

        Args:
            upstream: the name of the upstream gradients; written out if there is none.
        """
        given = self.verdict.right.upstream
        if not given or any(n < len(given) and given[n] is None for n in self._linked):
            return f"{self.output(0)}.sum().backward()"
        values = [
            self.of_output(upstream, n) if upstream else self._upstream(given[n])
            for n in self._linked
        ]
        outputs = [self.output(n) for n in self._linked]
        if len(self.linked) == 1:
            return f"y.backward({values[0]})"
        return f"{self.package}.autograd.backward([{', '.join(outputs)}], [{', '.join(values)}])"

    def gradients(self, y: str = "y", g: str = "g", **options: bool) -> str:
        """The gradients for all arguments that require one, as an expression."""
        wanted = ", ".join(self.names[n] for n in self.trial.wanted)
        if len(self.linked) > 1:
            y, g = (f"[{', '.join(f'{v}[{n}]' for n in self._linked)}]" for v in (y, g))
        said = "".join(f", {name}={value}" for name, value in options.items())
        return f"{self.package}.autograd.grad({y}, [{wanted}], {g}{said})"

    def moved(self) -> list[str]:
        """Other arguments of the same shapes."""
        return [
            f"{name}.flip({tuple(range(x.ndim))})"
            if isinstance(x, torch.Tensor) and x.is_floating_point() and x.ndim
            else name
            for name, x in zip(self.names, self.trial.args, strict=True)
        ]

    def right(self, value: Any = None) -> list[str]:
        """A comment: the right gradients, or another right value."""
        return _comment("right", self.verdict.right.gradients if value is None else value)

    def _upstream(self, g: torch.Tensor) -> str:
        return self._tensor(g, self.trial.upstream_layout)

    def _tensor(self, x: torch.Tensor, layout: str) -> str:
        text = laid_out(x, layout, self.guarded, self.digits)
        return f"mt.from_torch({text})" if self.ours else text


# Values


def _comment(label: str, value: Any, digits: int = FEW) -> list[str]:
    """A comment with one tensor or several, unless they are too large to read."""
    values = [v for v in (value if isinstance(value, list) else [value]) if v is not None]
    if not values or sum(v.numel() for v in values) > LITERAL:
        return []
    spelt = [literal(v.double() if v.is_floating_point() else v, digits) for v in values]
    return [f"# {label}: {', '.join(spelt)}"]


def literal(x: torch.Tensor, digits: int = FEW) -> str:
    """The values as nested lists, the numbers with so many digits as tell them from others."""
    digits = min(digits, ENOUGH.get(x.dtype, digits))

    def spell(value: Any) -> str:
        if isinstance(value, list):
            return "[" + ", ".join(spell(v) for v in value) + "]"
        if not isinstance(value, float):
            return repr(value)
        text = f"{value:.{digits}g}"
        if text.lstrip("-").isdigit():
            return f"{text}.0"
        named = {"nan": "float('nan')", "inf": "float('inf')", "-inf": "-float('inf')"}
        return named.get(text, text)

    return spell(x.tolist())


ENOUGH = {torch.float16: 5, torch.bfloat16: 4, torch.float32: 9}


def expression(x: torch.Tensor, digits: int = FEW) -> str:
    """An expression for a tensor: its values, or random ones of its kind where it is large."""
    shape = tuple(x.shape)
    dtype = "" if x.dtype in (torch.float32, torch.int64, torch.bool) else f", dtype={x.dtype}"
    if not x.numel():
        return f"torch.zeros({shape}{dtype or f', dtype={x.dtype}'})"
    if x.numel() <= LITERAL or (x.numel() <= 20 * LITERAL and _is_special(x)):
        return f"torch.tensor({literal(x, digits)}{dtype})"
    if not x.is_floating_point():
        return f"torch.randint({int(x.max()) + 1}, {shape}{dtype})"
    if bool((x == x.reshape(-1)[0]).all()):
        return f"torch.full({shape}, {float(x.reshape(-1)[0]):g}{dtype})"
    return _two_values(x, dtype) or f"(4 * torch.rand({shape}{dtype}) - 2)"


def _is_special(x: torch.Tensor) -> bool:
    """Whether floating-point values are of a few kinds: random ones would not show the mistake."""
    if not x.is_floating_point():
        return False
    return not bool(x.isfinite().all()) or 2 * x.unique().numel() < x.numel()


def _two_values(x: torch.Tensor, dtype: str) -> str:
    """An expression for a tensor that begins with one value and goes on with another."""
    flat = x.reshape(-1)
    first, last = flat[0], flat[-1]
    count = int((flat == first).sum())
    if first == last or not bool((flat[:count] == first).all() and (flat[count:] == last).all()):
        return ""
    values = f"[{float(first):g}] * {count} + [{float(last):g}] * {flat.numel() - count}"
    return f"torch.tensor({values}{dtype}).reshape({tuple(x.shape)})"


def laid_out(x: torch.Tensor, layout: str, guarded: bool = False, digits: int = FEW) -> str:
    """An expression for a tensor in a layout of :func:`~.placement.place`.

    Args:
        guarded: NaN lies behind the last element, where a layout leaves that open.
    """
    shape = tuple(x.shape)
    text = expression(x, digits)
    if layout == "transposed" and x.ndim > 1:
        turned = tuple(reversed(range(x.ndim)))
        return f"{text}.permute({turned}).contiguous().permute({turned})"
    if layout == "sliced" and x.ndim:
        return f"torch.repeat_interleave({text}, 2, -1)[..., ::2]"
    if layout == "expanded" and x.ndim and x.shape[0] > 1:
        return f"{expression(x[:1].clone(), digits)}.expand({shape})"
    if layout == "constant" and x.numel():
        return f"{expression(x.reshape(-1)[0].clone(), digits)}.expand({shape})"
    dtype = "" if x.dtype == torch.float32 else f", dtype={x.dtype}"
    before = f"torch.zeros(1{dtype}), " if layout == "offset" else ""
    behind = ""
    if guarded and x.is_floating_point():
        behind = f", torch.full((1024,), float('nan'){dtype})"
    if not before and not behind:
        return text
    start = "1" if before else ""
    end = (x.numel() + len(start)) if behind else ""
    return f"torch.cat([{before}{text}.flatten(){behind}])[{start}:{end}].view({shape})"


# Names


def import_of(fn: Any) -> list[str]:
    """The line that brings a function into a script, or says what belongs there."""
    if isinstance(fn, ModuleCall):
        return [f"module = ...  # the {fn.__name__} that was checked"]
    if hasattr(fn, "in_script") or (isinstance(fn, Op) and _name_of_op(fn) != fn.name):
        return []
    target = getattr(fn, "__self__", fn) if inspect.ismethod(fn) else fn
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", "")
    if module and name.isidentifier() and module != "__main__":
        return [f"from {module} import {name}"]
    where = ""
    code = getattr(target, "__code__", None)
    if code is not None:
        where = f" of {Path(code.co_filename).name}, line {code.co_firstlineno}"
    return [f"{_plain_name(fn)} = ...  # the function that was checked{where}"]


def _name_of_op(op: Op) -> str:
    """The public name of one of our operations, else its own."""
    for prefix, space in (("mt", mt), ("mt.nn.functional", mt.nn.functional)):
        for name, value in vars(space).items():
            if value is op:
                return f"{prefix}.{name}"
    return op.name


def _plain_name(fn: Any) -> str:
    if isinstance(fn, Op):
        return _name_of_op(fn)
    name = describe(fn)
    return name if name.isidentifier() else "fn"
