"""The order in which diagnoses are tried: what says most comes first."""

from __future__ import annotations

from minitorch_triton.testing import rules_formula as formula
from minitorch_triton.testing import rules_memory as memory
from minitorch_triton.testing import rules_values as values
from minitorch_triton.testing.diagnosis import Diagnosis, Rule, Suspect
from minitorch_triton.testing.lab import WRONG, Lab, Verdict
from minitorch_triton.testing.situations import PLAIN

ALWAYS: tuple[Rule, ...] = (values.raised, memory.overwritten, values.missing, values.needs)

IN_PLAIN: tuple[Rule, ...] = (
    formula.zero,
    memory.beyond,
    memory.race,
    memory.unwritten,
    values.random_mask,
    formula.reduction,
    formula.upstream_ignored,
    formula.constant_factor,
    memory.tail,
    values.precision,
    memory.tail_by_size,
    formula.transposed,
    formula.swapped,
    formula.broadcast,
    memory.repeated_index,
    formula.partial_factor,
    formula.varying_factor,
    formula.named_by_index,
    formula.missing_term,
)
"""For a result that is wrong where nothing is out of the ordinary."""

LAST: tuple[Rule, ...] = (
    formula.argument_ignored,
    formula.only_its_own,
    memory.checked,
    formula.whole_formula,
)
"""For one that nothing else explains."""

BY_FEATURE: dict[str, tuple[Rule, ...]] = {
    "input layout": (memory.strides, memory.beyond),
    "upstream layout": (memory.upstream_strides, memory.beyond),
    "boundary": (values.boundary,),
    "nan": (values.nan,),
    "extreme": (values.extreme,),
    "same": (values.same,),
    "reduction": (formula.reduction,),
    "long": (memory.beyond, memory.unwritten, values.precision),
    "dtype": (memory.beyond, memory.unwritten, values.precision),
    "mixture": (memory.upstream_strides, memory.strides, memory.beyond, values.precision),
}
"""For a result that is only wrong where the situation is special."""


def diagnose(suspect: Suspect) -> list[Diagnosis]:
    """All diagnoses with evidence, the most telling first."""
    feature = suspect.verdict.situation.feature
    special = [*ALWAYS, *BY_FEATURE.get(feature, ())]
    found: list[Diagnosis] = []
    for rule in [*special, *IN_PLAIN, *LAST]:
        if found and (rule in LAST or (feature in BY_FEATURE and rule in IN_PLAIN)):
            break
        try:
            diagnosis = rule(suspect)
        except RuntimeError:  # of linear algebra, say, on numbers that a mistake has made
            continue
        if diagnosis is not None and diagnosis.kind not in {d.kind for d in found}:
            found.append(diagnosis)
        if found and (suspect.mismatch is None or len(found) == 3):
            break
    return found


def suspects(lab: Lab, verdicts: list[Verdict]) -> list[Suspect]:
    """For each result that is wrong somewhere, where to look at it: one suspect each.

    Of the situations in which a result is wrong the plainest counts, and among plain ones the one
    with several blocks, on which patterns show best.
    """
    order = {"blocks": 0, "plain": 1, "full": 2}
    wrong = [v for v in verdicts if v.status == WRONG]
    wrong.sort(key=lambda v: order.get(v.situation.feature, 3))
    found: dict[tuple, Suspect] = {}
    for verdict in wrong:
        if not verdict.mismatches:
            found.setdefault(("call", _mark(verdict)), Suspect(lab, verdicts, verdict, None))
        for mismatch in verdict.mismatches:
            found.setdefault(mismatch.place, Suspect(lab, verdicts, verdict, mismatch))

    # Errors and overwritten inputs explain what else is wrong; outputs explain gradients.
    def rank(item: tuple) -> tuple:
        place, suspect = item
        plain = suspect.verdict.situation.feature in PLAIN
        return (not plain, place[0] == "gradient", place[0] == "output")

    return [suspect for _, suspect in sorted(found.items(), key=rank)]


def _mark(verdict: Verdict) -> str:
    outcome = verdict.outcome
    if outcome.error is not None:
        return f"{outcome.stage}: {type(outcome.error).__name__}"
    return f"memory: {outcome.overwritten} {outcome.beyond}"
