"""Whether a run says something of what is measured, or only that this machine has too few CPUs for it.

A row that keeps more processes busy than there are CPUs for is `n/a (needs N)`; one that has its CPUs and does not keep its
rate `ends at N/s`. That is found out by short runs before the rounds: a row that is starved is not run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# Above this share of the CPUs that they have, those that share them would measure each other.
BUSY_SHARE = 0.95
KEPT_SHARE = 0.97
SEEN_SHARE = 0.999
PROBES = 3


@dataclass
class Shared:
    """Processes that share CPUs in a run."""

    # CPU time of all of them.
    busy_seconds: float
    # How many CPUs they have between them.
    cpus: int
    # How many CPUs this machine would need so that nobody shares one.
    needs: int


def starved(seconds: float, *places: Shared) -> str | None:
    """Why the run was starved of CPUs, if it was."""
    for place in places:
        if place.busy_seconds / seconds > BUSY_SHARE * place.cpus:
            return f"n/a (needs {place.needs})"
    return None


def judge(rate: float, kept: float, sent: int, seen: int | None) -> str | None:
    """Why a run at a rate that had its CPUs says nothing about latency, if so. `kept` is the rate that came of it."""
    if kept < rate * KEPT_SHARE:
        return f"ends at {kept:,.0f}/s"
    if seen is not None and seen < sent * SEEN_SHARE:
        return f"ends below: {seen} of {sent} arrived"
    return None


def probe(run: Callable[[], str | None]) -> str | None:
    """What to say instead of running a row: nothing as soon as one of a few short runs is well."""
    reasons = []
    for _ in range(PROBES):
        reason = run()
        if reason is None:
            return None
        reasons.append(reason)
    # The first one has warmed everything up, too.
    return reasons[1]
