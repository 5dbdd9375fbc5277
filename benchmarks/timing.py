"""How the benchmarks measure: functions take turns in one process."""

import statistics
import time
from collections.abc import Callable, Sequence


def in_turns(
    functions: Sequence[Callable[[], object]],
    rounds: int,
    sample_s: float,
    finish: Callable[[], object] | None = None,
) -> tuple[list[float], list[float]]:
    """Time functions against each other.

    Args:
        functions: what to time, each after the other in every round.
        rounds: samples of each function.
        sample_s: how long a sample lasts, in seconds; at least one call.
        finish: called at the end of each sample: waits for what the calls have only started.

    Returns:
        The medians and the minima of the seconds of one call. From the minima other processes of
        the machine take less away.
    """

    def seconds(function: Callable[[], object], calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        if finish is not None:
            finish()
        return (time.perf_counter() - start) / calls

    calls = []
    for function in functions:
        seconds(function, 3)
        calls.append(max(1, round(sample_s / seconds(function, 3))))
    times = [
        [seconds(function, n) for function, n in zip(functions, calls, strict=True)]
        for _ in range(rounds)
    ]
    columns = list(zip(*times, strict=True))
    return [statistics.median(column) for column in columns], [min(column) for column in columns]
