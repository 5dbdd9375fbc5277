"""The report of many functions as one HTML page with pictures, which needs no other file."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterator, Sequence

import torch

from minitorch_triton.testing.compare import locate
from minitorch_triton.testing.lab import OK, WRONG, Verdict
from minitorch_triton.testing.report import Failure, Report, text_of

STYLE = """
:root { --ok: #2f7d4f; --wrong: #c0392b; --refused: #b9a44c; --skipped: #d5d5d5; --ink: #222; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); margin: 2rem auto; max-width: 72rem;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } .lead { color: #555; margin-top: 0; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .25rem .6rem; text-align: left;
  border-bottom: 1px solid #eee; vertical-align: middle; } th { color: #777; font-weight: 500; }
td.name { font-family: ui-monospace, monospace; font-size: 13px; } .ok { color: var(--ok); }
.wrong { color: var(--wrong); font-weight: 600; } pre { background: #f7f7f5; padding: .8rem;
  overflow-x: auto; font-size: 12.5px; line-height: 1.4; } svg { display: block; }
section { border-left: 3px solid var(--wrong); padding-left: 1rem; margin: 2rem 0; }
.pictures { display: flex; gap: 2rem; flex-wrap: wrap; align-items: end; }
figcaption { color: #777; font-size: 12px; } figure { margin: .5rem 0; }
.legend span { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
"""


def write_page(reports: Sequence[Report], path: str | os.PathLike) -> None:
    """Write the page.

    Args:
        reports: of ``check_gradients``. path: of the file.
    """
    with open(path, "w", encoding="utf-8") as file:
        file.write(page(reports))


def page(reports: Sequence[Report]) -> str:
    """The page as text."""
    wrong = [report for report in reports if not report.ok]
    verdict = f"{len(reports) - len(wrong)} of {len(reports)} functions are right"
    rows = "\n".join(_row(number, report) for number, report in enumerate(reports))
    details = "\n".join(_details(reports.index(report), report) for report in wrong)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Gradients</title><style>{STYLE}</style>
<h1>Gradients: {verdict}</h1>
<p class="lead">Each cell is a situation: sizes, layouts, dtypes, special values. Each dot is the
error of one, on a logarithmic scale; the line is the tolerance.
<span class="legend"><span style="background:var(--ok)"></span>right
<span style="background:var(--wrong)"></span>wrong
<span style="background:var(--refused)"></span>refused with an error
<span style="background:var(--skipped)"></span>does not apply</span></p>
{details}
<table><tr><th>function<th>verdict<th>situations<th>error / tolerance<th>derivative<th>seconds</tr>
{rows}
</table>
</html>
"""


def _row(number: int, report: Report) -> str:
    kinds = ", ".join(failure.diagnosis.title for failure in report.failures)
    verdict = '<span class="ok">right</span>' if report.ok else (
        f'<a class="wrong" href="#f{number}">{html.escape(kinds)}</a>'
    )  # fmt: skip
    return (
        f'<tr><td class="name">{html.escape(report.name)}<td>{verdict}<td>{_cells(report)}'
        f"<td>{_errors(report)}<td>{_curve(report)}<td>{report.seconds:.1f}</tr>"
    )


def _details(number: int, report: Report) -> str:
    text = html.escape("\n".join(text_of(report)))
    pictures = "".join(
        f"<figure>{_map(failure)}<figcaption>{html.escape(failure.name)}: "
        f"{html.escape(failure.diagnosis.title)}</figcaption></figure>"
        for failure in report.failures
        if failure.mismatch is not None
        and failure.mismatch.wrong is not None
        and not bool(failure.mismatch.wrong.all())
    )
    return (
        f'<section id="f{number}"><h2>{html.escape(report.name)}</h2>'
        f'<div class="pictures">{pictures}</div><pre>{text}</pre></section>'
    )


# Pictures


def _svg(width: float, height: float, parts: Iterator[str] | Sequence[str]) -> str:
    inside = "".join(parts)
    box = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return f"<svg {box}>{inside}</svg>"


def _cells(report: Report) -> str:
    """A square for each situation, coloured by how it ended."""
    side, across = 7, 32
    rows = -(-max(len(report.verdicts), 1) // across)

    def squares() -> Iterator[str]:
        for n, verdict in enumerate(report.verdicts):
            x, y = n % across * (side + 1), n // across * (side + 1)
            label = html.escape(
                f"{verdict.situation.label()}: {verdict.status} {verdict.reason}"[:200]
            )
            yield (
                f'<rect x="{x}" y="{y}" width="{side}" height="{side}" '
                f'fill="var(--{verdict.status})"><title>{label}</title></rect>'
            )

    return _svg(across * (side + 1), rows * (side + 1), squares())


LOW, HIGH = -4.0, 3.0
"""The decades of error / tolerance that are drawn."""


def _errors(report: Report) -> str:
    """A dot for the error of each situation, in units of the tolerance."""
    width, height = 160, 22

    def place(share: float) -> float:
        decade = math.log10(min(max(share, 10**LOW), 10**HIGH))
        return 4 + (width - 8) * (decade - LOW) / (HIGH - LOW)

    def marks() -> Iterator[str]:
        yield f'<line x1="0" x2="{width}" y1="{height - 4}" y2="{height - 4}" stroke="#ccc"/>'
        line = place(1.0)
        yield f'<line x1="{line:.1f}" x2="{line:.1f}" y1="0" y2="{height}" stroke="#222"/>'
        for n, verdict in enumerate(report.verdicts):
            if verdict.status not in (OK, WRONG) or not verdict.tolerance:
                continue
            limit = max(verdict.tolerance, verdict.right.precision)
            share = (
                verdict.outcome.worst / limit if math.isfinite(verdict.outcome.worst) else 10**HIGH
            )
            y = 4 + 5 * (n % 3)
            yield (
                f'<circle cx="{place(share):.1f}" cy="{y}" r="2" fill="var(--{verdict.status})" '
                f'fill-opacity=".6"/>'
            )

    return _svg(width, height, marks())


def _curve(report: Report) -> str:
    """The derivative of an elementwise function of one tensor: found (dots) over right (line)."""
    found = _points(report)
    if found is None:
        return ""
    x, derivative, right = found
    width, height = 90, 36
    low, high = float(right.min()), float(right.max())
    middle, half = (low + high) / 2, max((high - low) / 2 * 1.3, 0.1)

    def at(a: float, b: float) -> tuple[float, float]:
        across = (a - float(x[0])) / max(float(x[-1] - x[0]), 1e-9)
        up = min(max((b - middle) / half, -1.2), 1.2)
        return 2 + (width - 4) * across, height / 2 - up * (height / 2 - 3)

    line = " ".join(f"{p:.1f},{q:.1f}" for p, q in map(at, x.tolist(), right.tolist()))
    dots = [
        f'<circle cx="{p:.1f}" cy="{q:.1f}" r="1.3" fill="var(--{OK if report.ok else WRONG})"/>'
        for p, q in map(at, x.tolist()[::4], derivative.tolist()[::4])
    ]
    return _svg(width, height, [f'<polyline points="{line}" fill="none" stroke="#999"/>', *dots])


def _points(report: Report) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """Inputs in order, and the derivative at them as found and as is right."""
    if not report.lab.elementwise or len(report.lab.arguments.tensors) != 1:
        return None
    for verdict in report.verdicts:
        if (
            verdict.situation.feature not in ("blocks", "plain")
            or verdict.outcome.error is not None
        ):
            continue
        values = _derivative(report, verdict)
        if values is not None:
            return values
    return None


def _derivative(
    report: Report, verdict: Verdict
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    x = verdict.trial.args[report.lab.arguments.tensors[0]].double().reshape(-1)
    upstream = verdict.right.upstream
    gradients = [*verdict.outcome.gradients, *verdict.right.gradients]
    if len(gradients) != 2 or not upstream or upstream[0] is None:
        return None
    g = upstream[0].double().reshape(-1)
    if any(d is None or d.numel() != x.numel() for d in gradients) or g.numel() != x.numel():
        return None
    found, right = (d.double().reshape(-1) / g for d in gradients)
    order = x.argsort()
    order = order[:: max(1, len(order) // 160)]
    if not bool(right[order].isfinite().all()):
        return None
    return x[order], found[order].nan_to_num(0.0), right[order]


def _map(failure: Failure) -> str:
    """The wrong elements of a result."""
    wrong = failure.mismatch.wrong
    table = wrong.reshape(-1, wrong.shape[-1]) if wrong.ndim else wrong.reshape(1, 1)
    if table.shape[0] == 1 and table.shape[1] > 64:  # a long vector in lines of text
        flat = table.reshape(-1)
        side = math.ceil(math.sqrt(flat.numel()))
        padded = torch.zeros(side * side, dtype=torch.bool)
        padded[: flat.numel()] = flat
        table = padded.reshape(side, side)
    rows, columns = (min(size, limit) for size, limit in zip(table.shape, (24, 64), strict=True))
    side = 8

    def squares() -> Iterator[str]:
        for i in range(rows):
            for j in range(columns):
                part = table[
                    i * table.shape[0] // rows : max((i + 1) * table.shape[0] // rows, 1),
                    j * table.shape[1] // columns : max((j + 1) * table.shape[1] // columns, 1),
                ]
                share = float(part.double().mean()) if part.numel() else 0.0
                fill = f"rgb(192 57 43 / {0.25 + 0.75 * share:.2f})" if share else "#e8efe9"
                yield (
                    f'<rect x="{j * side}" y="{i * side}" width="{side - 1}" height="{side - 1}" '
                    f'fill="{fill}"/>'
                )
        yield f"<title>{html.escape(locate(wrong).text)}</title>"

    return _svg(columns * side, rows * side, squares())
