"""``check_gradients``: put a function into many situations and say what is wrong with it."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

import minitorch_triton as mt
from minitorch_triton.ops.dispatch import Op
from minitorch_triton.ops.pointwise import Elementwise
from minitorch_triton.testing import procedures
from minitorch_triton.testing.arguments import (
    Arguments,
    Constant,
    candidates,
    dtype_of,
    guesses,
    of_module,
    sizes_named,
)
from minitorch_triton.testing.checks import ULPS
from minitorch_triton.testing.diagnose import diagnose, suspects
from minitorch_triton.testing.diagnosis import Diagnosis
from minitorch_triton.testing.lab import OK, REFUSED, SKIPPED, WRONG, Lab, Verdict
from minitorch_triton.testing.modules import ModuleCall, layers_of, parameters_of, same_parameters
from minitorch_triton.testing.report import Failure, Report, failure_of
from minitorch_triton.testing.shrink import shrink
from minitorch_triton.testing.situations import Situation, mixtures, of_dtypes, usual
from minitorch_triton.testing.subject import (
    OURS,
    TORCH,
    Subject,
    describe,
    find_subject,
    framework_of,
)

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

MIXTURES = 16
"""How many random situations are added to the fixed ones."""

MAX_FAILURES = 4


def check_gradients(
    fn: Callable,
    reference: Callable | None = None,
    inputs: Sequence[Any] | None = None,
    *,
    framework: str | None = None,
    dtypes: Sequence[torch.dtype] | None = None,
    condition: float = 1.0,
    terms: int | None = None,
    seed: int = 0,
    name: str | None = None,
    shrinking: bool = True,
    device: Any = None,
) -> Report:
    """Find out whether the gradients of a function are right, and if not, what is wrong.

    Args:
        fn: an op or a module of this package, a function of its tensors, a ``Function`` class, or
            the same of PyTorch's: a ``torch.autograd.Function`` or a function of torch tensors. A
            module's parameters are checked like further inputs.
        reference: what it should compute, a function of torch tensors. Outputs and gradients are
            held against it in float64. Without one, gradients are held against differences of fn
            itself, in float64. That of a module is a module with the same parameters; with any
            other, only the gradients of its inputs are checked, which the report says.
        inputs: samples of the arguments: tensors; ``Input``; shapes as text such as "M K" and
            "B<C" (whole numbers below C); what is no tensor is passed on as it is. Further sizes
            are drawn: those that are equal in the sample stay equal. None to guess.
        framework: "torch" or "minitorch_triton", whose tensors fn takes; None to find out.
        dtypes: to try; by default the sample's, and float16, bfloat16, float64 as far as fn takes
            them.
        condition: how much fn amplifies the rounding of intermediate results; for a module times
            the number of its layers, each of which adds rounding.
        terms: how many terms its longest sum has, if known; see :func:`~.compare.tolerance_of`.
        seed: of the random situations.
        name: for the report.
        shrinking: look for the smallest case of each failure, which may take as long as finding it.
        device: where fn's tensors lie; by default that of the samples, else the CPU.

    Returns:
        The report; it is false if something is wrong, and prints the verdict.

    Raises:
        TypeError: fn, or the reference, cannot be called with such inputs at all.
    """
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of unusual sizes, which are meant to be
        return _check(
            fn,
            reference,
            inputs,
            framework,
            dtypes,
            condition,
            terms,
            seed,
            name,
            shrinking,
            device,
        )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Small kernels on one thread: starting others takes longer than they would save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check(
    fn: Callable,
    reference: Callable | None,
    inputs: Sequence[Any] | None,
    framework: str | None,
    dtypes: Sequence[torch.dtype] | None,
    condition: float,
    terms: int | None,
    seed: int,
    name: str | None,
    shrinking: bool,
    device: Any,
) -> Report:
    start = time.perf_counter()
    device = device or next(
        (value.device for value in inputs or () if isinstance(value, (torch.Tensor, mt.Tensor))),
        "cpu",
    )
    lab, dtype = _prepare(fn, reference, inputs, framework, condition, terms, name, device)
    if dtypes is None:
        dtypes = tuple(dict.fromkeys((dtype, *DTYPES)))
    elif dtype not in dtypes:
        dtype = dtypes[0]
    lab.elementwise = _is_elementwise(lab, dtype)
    report = Report(name or lab.subject.name, lab, dtype, guessed=inputs is None)
    verdicts = report.verdicts
    if lab.elementwise and lab.terms is None:
        lab.terms = 1
    for situation in usual(lab.arguments, dtype, lab.exact, lab.elementwise):
        _judge(lab, verdicts, situation)
    # What is wrong already is wrong in more dtypes as well: that takes time and says little.
    if not any(v.status == WRONG for v in verdicts):
        for situation in of_dtypes(lab.arguments, dtype, tuple(dtypes), lab.exact):
            _judge(lab, verdicts, situation)
        usable = _accepted(verdicts, dtype)
        for situation in mixtures(lab.arguments, usable, MIXTURES, seed):
            _judge(lab, verdicts, situation)
    for situation in _reductions(lab, dtype):
        _judge(lab, verdicts, situation)
    _forgive_float64(lab, report, dtype)
    report.failures = _failures(lab, report, shrinking)
    report.seconds = time.perf_counter() - start
    return report


def _judge(lab: Lab, verdicts: list[Verdict], situation: Situation) -> None:
    verdict = lab.judge(situation)
    if verdict is not None:
        verdicts.append(verdict)


def _prepare(
    fn: Callable,
    reference: Callable | None,
    inputs: Sequence[Any] | None,
    framework: str | None,
    condition: float,
    terms: int | None,
    name: str | None,
    device: Any,
) -> tuple[Lab, torch.dtype]:
    """Find out how the function is to be called.

    Raises:
        TypeError: it cannot be called in any of the ways that were tried.
    """
    parameters = list(parameters_of(fn).values())
    dtype = dtype_of([*(inputs or ()), *parameters])
    framework = framework or framework_of(fn, inputs)
    guessed = _guessed(fn, framework) if inputs is None else []
    readings: list[tuple[Callable, Callable | None, Arguments]] = [
        (fn, reference, r) for r in guessed or candidates(inputs or ())
    ]
    if parameters and (reference is None or same_parameters(fn, reference)):
        with_parameters = (
            [r.with_parameters(parameters) for r in guessed]
            if inputs is None
            else of_module(inputs, parameters)
        )
        for reading in reversed(with_parameters):
            count = len(reading.items) - len(parameters)
            other = None if reference is None else ModuleCall(reference, count)
            readings.insert(0, (ModuleCall(fn, count), other, reading))
    condition *= layers_of(fn)
    errors = []
    fallback = None
    for fn, reference, reading in readings:
        sizes = sizes_named(reading, "primes") or {}
        drawn = reading.draw(sizes, dtype, 1)
        try:
            subject = find_subject(fn, drawn, framework, name, device)
        except TypeError as error:
            errors.append(str(error))
            continue
        oracle = _reference_subject(reference)
        lab = Lab(subject, oracle, reading, condition, terms)
        lab.layered = layers_of(fn) > 1
        verdict = lab.judge(
            Situation("plain", sizes="primes" if reading.sizes else "sample", dtype=dtype)
        )
        if verdict is None or verdict.status == SKIPPED:
            errors.append("" if verdict is None else f"the reference: {verdict.reason}")
            continue
        outcome = verdict.outcome
        fails = outcome.error is not None and outcome.stage == "forward"
        if not fails and not (inputs is None and _forward_differs(verdict)):
            return lab, dtype
        errors.append(verdict.reason)
        if fallback is None and (inputs is not None or not fails):
            fallback = lab
    if fallback is not None:
        return fallback, dtype
    told = "\n  ".join(dict.fromkeys(error for error in errors if error))
    hint = "" if inputs is not None else "; say what it takes with inputs="
    raise TypeError(f"no way was found to call {name or describe(fn)}{hint}:\n  {told}")


def _forward_differs(verdict: Verdict) -> bool:
    return any(m.kind == "output" for m in verdict.mismatches)


def _reference_subject(reference: Callable | None) -> Subject | None:
    if reference is None:
        return None
    module = getattr(reference, "module", reference)
    ours = isinstance(module, (Op, mt.nn.Module)) or (
        isinstance(reference, type) and issubclass(reference, mt.autograd.Function)
    )
    return Subject(reference, OURS if ours else TORCH)


def _guessed(fn: Callable, framework: str | None) -> list[Arguments]:
    """Arguments for a function of which only the number of its parameters is known."""
    subject = Subject(fn, framework or TORCH)
    parameters = [
        p for p in subject.parameters().values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]  # fmt: skip
    count = len(parameters) or 1
    found = [reading for n in range(count, 0, -1) for reading in guesses(n)]
    return [*found, *guesses(count + 1)]


def _is_elementwise(lab: Lab, dtype: torch.dtype) -> bool:
    """Whether the oracle works on each element for itself."""
    arguments = lab.arguments
    if isinstance(lab.subject.fn, Elementwise):
        return True
    items = [arguments.items[n] for n in arguments.tensors]
    if isinstance(lab.subject.fn, ModuleCall):
        return False  # whatever it computes, it takes parameters of its own sizes only
    if not items or any(item.dims != items[0].dims for item in items) or not items[0].dims:  # type: ignore[union-attr]
        return False
    from minitorch_triton.testing.situations import build

    trial = build(arguments, Situation("plain", dtype=torch.float64))
    if trial is None:
        return False
    x = trial.args[arguments.tensors[0]]
    chosen = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    moved = list(trial.args)
    for n in arguments.tensors:
        if moved[n].is_floating_point():
            moved[n] = torch.where(chosen, moved[n] * 0.9, moved[n])
    subject = lab.oracle.subject
    try:
        results = []
        for args in (trial.args, moved):
            leaves = [
                subject.leaf(a.to(subject.device, copy=True), False)
                if isinstance(a, torch.Tensor)
                else a
                for a in args
            ]
            results.append([subject.values(y) for y in subject.forward(leaves)])
    except Exception:
        return False
    return all(
        y.shape == x.shape and torch.equal(y[~chosen], z[~chosen])
        for y, z in zip(*results, strict=True)
    )


def _accepted(verdicts: list[Verdict], dtype: torch.dtype) -> tuple[torch.dtype, ...]:
    """The dtypes that the function took."""
    found = [v.situation.dtype for v in verdicts if v.status == OK]
    return tuple(dict.fromkeys([dtype, *[d for d in found if d != torch.float64]]))


REDUCTIONS = ("mean", "sum", "none")


def _reductions(lab: Lab, dtype: torch.dtype) -> list[Situation]:
    """Every value of an argument that says how a loss is reduced."""
    found = []
    for n, item in enumerate(lab.arguments.items):
        if isinstance(item, Constant) and item.value in (*REDUCTIONS, "batchmean"):
            found = [Situation("reduction", dtype=dtype, constant=(n, r)) for r in REDUCTIONS]
    parameter = lab.subject.parameters().get("reduction")
    by_name = parameter is not None and parameter.kind is not parameter.POSITIONAL_ONLY
    by_name = by_name and lab.subject.takes_names() and lab.exact
    if not found and by_name and "reduction" in lab.oracle.subject.parameters():
        found = [Situation("reduction", dtype=dtype, named=(("reduction", r),)) for r in REDUCTIONS]
    return found


def _forgive_float64(lab: Lab, report: Report, dtype: torch.dtype) -> None:
    """A function of float32, also for float64, is worth a remark, no more.

    Not so where forward is precise and backward alone is not, as far as a reference shows it:
    differences are hardly more precise than float32 themselves.
    """
    if dtype == torch.float64:
        return
    for verdict in report.verdicts:
        if verdict.situation.dtype != torch.float64 or verdict.status != WRONG:
            continue
        errors = [m.error for m in verdict.mismatches]
        both = any(m.kind == "output" for m in verdict.mismatches)
        forgiven = 1e-4 if both else 0.0 if lab.exact else ULPS * torch.finfo(torch.float32).eps
        if max(errors, default=1.0) < forgiven and verdict.outcome.error is None:
            verdict.status = REFUSED
            verdict.reason = "precision lost: float64 is computed in a lower precision"


def _failures(lab: Lab, report: Report, shrinking: bool) -> list[Failure]:
    """What is wrong, told once each."""
    failures: list[Failure] = []
    explained: set[str] = set()
    base = _base(report.verdicts)
    racing = (
        procedures.races(lab, base) if base is not None and base.outcome.error is None else None
    )
    for suspect in suspects(lab, report.verdicts):
        if len(failures) == MAX_FAILURES:
            break
        found = diagnose(suspect)
        if racing is not None:
            found = [racing, *[d for d in found if d.kind != "race"]]
        if not found or (suspect.mismatch is not None and found[0].kind in explained):
            continue
        if failures and suspect.verdict.situation.feature not in ("plain", "blocks", "full"):
            continue  # special situations say little more where plain ones are wrong already
        explained.add(found[0].kind)
        small = shrink(suspect) if shrinking else suspect
        failures.append(failure_of(suspect, small, found))
    if racing is not None and not failures:
        failures.append(_of_procedure(lab, procedures.races, "call", base, racing))
    if failures or base is None:
        return failures
    for what, procedure in procedures.PROCEDURES.items():
        if procedure is procedures.races:
            continue
        try:
            diagnosis = procedure(lab, base)
        except Exception as error:
            diagnosis = Diagnosis("error", f"under {what}: {type(error).__name__}: {error}")
        report.procedures.append(what)
        if diagnosis is not None:
            failures.append(_of_procedure(lab, procedure, what, base, diagnosis))
    return failures


def _of_procedure(
    lab: Lab, procedure: procedures.Procedure, what: str, base: Verdict, diagnosis: Diagnosis
) -> Failure:
    """A failure of a procedure, with the smallest trial in which it has the same diagnosis."""
    for size in (2, 3, 4):
        sizes = tuple((name, size) for name in lab.arguments.sizes)
        verdict = lab.judge(Situation("plain", sizes=sizes, dtype=base.situation.dtype))
        if verdict is None or verdict.status != OK:
            continue
        try:
            found = procedure(lab, verdict)
        except Exception:
            continue
        if found is not None and found.kind == diagnosis.kind:
            return Failure(what, base, [found], small=verdict)
    return Failure(what, base, [diagnosis], small=base)


def _base(verdicts: list[Verdict]) -> Verdict | None:
    """A plain trial for what is more than one call: preferably one in which all is right."""
    judged = [v for v in verdicts if v.status in (OK, WRONG) and v.right.outputs]
    for feature in ("plain", "blocks"):
        for verdict in judged:
            if verdict.situation.feature == feature:
                return verdict
    return None
