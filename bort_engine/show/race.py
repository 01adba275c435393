"""A race in words and tables: who leads, how surely, and where the numbers come from.

Sentences follow from the numbers alone. A better median is a lead only if the seeds bear it out
(`ahead`); else the two are level. Texts of a record are untrusted: whoever shows them escapes them,
as `race_page` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bort_engine.data.resources import ASSETS
from bort_engine.search.evaluate import OracleName
from bort_engine.search.scores import GOALS, NAMES, OURS, Curves, Names, Race
from bort_engine.show.race_figures import (
    HYPERVOLUME,
    PERCENTILES,
    SCORES,
    Score,
    scores_at,
    spent,
    true_front,
)
from bort_engine.show.theme import count, listed, short

if TYPE_CHECKING:
    import pandas as pd

RECORDED = ASSETS / "recorded" / "race-minilm-l6-rotten-tomatoes.json"
LOOKS = (16, 32, 64)  # evaluations after which the verdict compares, besides the end
LEVEL = 0.05  # of the sign test: seeds that are parted less surely do not part two searchers
FEW = 6  # seeds, of which not even all alike pass it: 2 * 0.5**5 is 0.0625
IN_TEXT = Names(NAMES)
IN_TEXT |= {
    OURS: "the FPTAS",
    "random": "random search",
    "local": "local search",
    "brute": "brute force",
    "surface": "the surface alone",
    "gp": "the Gaussian process",
    "fptas-no-surface": "the FPTAS without its surface",
    "grid": "random by cell",
    "stride": "the paper's stride",
}
MADE: dict[OracleName, str] = {
    "elastic": "on slices of one elastic student",
    "brief": "by a brief training of each, from slices of the source",
    "scratch": "by a brief training of each, from random weights",
}
HEADS = {"evaluations": "Evaluations", "seconds": "Recorded seconds"}
FORMATS = {
    **dict.fromkeys(("Hypervolume (%)", "Quartiles from", "to (%)"), "%.2f"),
    "Achieved epsilon": "%.3f",
    **dict.fromkeys(("Evaluations to 0.2", "Evaluations to 0.1"), "%.1f"),
    **dict.fromkeys(("Seconds to 0.2", "Seconds to 0.1", "Seconds in all", "Seconds"), "%.0f"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence or a few about one question, as plain text."""

    head: str
    text: str

    def __str__(self) -> str:
        return f"{self.head}: {self.text}"


def verdict(race: Race) -> list[Finding]:
    """Return what a race shows, from its numbers alone; medians are over seeds."""
    if len(race.searchers) == 1:
        alone = "only the FPTAS took part, so there is nothing to compare it with."
        return [Finding("In short", alone)]
    findings = [_in_short(race)]
    for score in SCORES:
        standings = [
            f"after {count(n, 'evaluation')} {standing(at(race, score, n), score)}"
            for n in looks(race.budget)
        ]
        scale = ", as a share of the truth's" if score == HYPERVOLUME else ", lower is better"
        findings.append(Finding(f"{score.name.capitalize()}{scale}", f"{'; '.join(standings)}."))
    findings += _prices(race, "evaluations")
    findings += [_seed_by_seed(race, score) for score in SCORES]
    return [*findings, *_by_seconds(race), _scope(race)]


def looks(budget: int) -> list[int]:
    """Return after how many evaluations the searchers are compared; the last is the budget."""
    return [*(n for n in LOOKS if n < budget), budget]


def at(race: Race, score: Score, budget: float, by: str = "evaluations") -> dict[str, np.ndarray]:
    """Return each searcher's scores after so many evaluations or seconds, shape (seeds,)."""
    return {name: scores_at(curves, score, by, budget) for name, curves in race.curves.items()}


def ahead(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Do the seeds bear out that the first, shape (seeds,), is less than the second?

    In all seeds, or in so many of those that differ that a sign test rejects chance. Seed k of both
    saw the same errors; what has one search for each training seed is repeated to line up.
    """
    from scipy.stats import binomtest

    n = max(len(ours), len(theirs))
    ours, theirs = np.resize(ours, n), np.resize(theirs, n)
    wins, losses = int((ours < theirs).sum()), int((ours > theirs).sum())
    if wins <= losses:
        return False
    return wins == n or bool(binomtest(wins, wins + losses).pvalue < LEVEL)


def leaders(costs: Mapping[str, np.ndarray]) -> list[str]:
    """Return who has the least median, and who is level with it, by costs of shape (seeds,)."""
    medians = {name: float(np.median(values)) for name, values in costs.items()}
    order = sorted(medians, key=lambda name: medians[name])
    best = order[0]
    return [
        name
        for name in order
        if medians[name] == medians[best] or not ahead(costs[best], costs[name])
    ]


def _placed(values: Mapping[str, np.ndarray], score: Score) -> tuple[list[str], list[str]]:
    """Return who leads, and who of them is ahead of the FPTAS, unless it is among them.

    What the digits shown do not tell apart is equal.
    """
    costs = {name: np.round(-score.sign * x, score.digits) for name, x in values.items()}
    first = leaders(costs)
    known = [] if OURS in first else [name for name in first if ahead(costs[name], costs[OURS])]
    return first, known


def standing(values: Mapping[str, np.ndarray], score: Score) -> str:
    """Say who leads and where the FPTAS stands, by each searcher's scores, shape (seeds,)."""
    medians = {name: float(np.median(x)) for name, x in values.items()}
    first, ahead_of_ours = _placed(values, score)
    listing = listed([f"{IN_TEXT[name]} ({score.text(medians[name])})" for name in first])
    if len(first) == len(values):
        return f"all are level: {listing}"
    text = f"{listing} {'leads' if len(first) == 1 else 'are level in the lead'}"
    if ahead_of_ours:
        return f"{text}, the FPTAS ({score.text(medians[OURS])}) is behind {_names(ahead_of_ours)}"
    if first != [OURS]:
        return text
    second = max(medians.keys() - first, key=lambda name: score.sign * medians[name])
    return f"{text}, before {IN_TEXT[second]} ({score.text(medians[second])})"


def _in_short(race: Race) -> Finding:
    places: dict[str, list[str]] = {}
    for score in SCORES:
        first, ahead_of_ours = _placed(at(race, score, race.budget), score)
        place = "leads" if first == [OURS] else f"is level with {_rivals(first)}"
        if ahead_of_ours:
            place = f"is behind {_names(ahead_of_ours)}"
        places.setdefault(place, []).append(score.name)
    parts = " and ".join(f"{place} in {listed(names)}" for place, names in places.items())
    text = f"after {count(race.budget, 'evaluation')} each, the FPTAS {parts}."
    if race.seeds < FEW:
        text += f" {count(race.seeds, 'seed').capitalize()} of each: too few to be sure."
    return Finding("In short", text)


def reached(curves: Curves, goal: float, by: str) -> np.ndarray:
    """Return each seed's evaluations or seconds until the achieved epsilon is below a goal.

    Infinite where it needs more than the budget; shape (seeds,).
    """
    return np.where(curves.epsilon < goal, spent(curves, by), np.inf).min(axis=1)


def needed(curves: Curves, goal: float, by: str) -> float | None:
    """Return the median of `reached`, None where half of the seeds or more need more."""
    median = float(np.median(reached(curves, goal, by)))
    return median if math.isfinite(median) else None


def _prices(race: Race, by: str) -> list[Finding]:
    """Say for each goal what it took each searcher to get below it, the cheapest first."""
    findings = []
    for goal in sorted(GOALS, reverse=True):
        prices = {name: needed(curves, goal, by) for name, curves in race.curves.items()}
        known = {name: n for name, n in prices.items() if n is not None}
        texts = {name: f"{n:,.0f}" if by == "seconds" else f"{n:g}" for name, n in known.items()}
        order = sorted(known, key=lambda name: (known[name], name != OURS))
        parts = [f"{IN_TEXT[name]} {texts[name]}" for name in order]
        if never := [name for name in prices if name not in known]:
            parts.append(f"{_names(never)} not within the budget")
        text = f"nobody gets there within the budget of {count(race.budget, 'evaluation')}."
        if order:
            costs = {name: reached(race.curves[name], goal, by).round() for name in order}
            least = _names(leaders(costs))
            text = f"{', '.join(parts)}; least: {least}."
        head = f"{HEADS[by]} until the achieved epsilon is below {goal:g}"
        findings.append(Finding(head, text))
    return findings


def _seed_by_seed(race: Race, score: Score) -> Finding:
    """Count in how many of a rival's seeds the FPTAS ends ahead, level and behind.

    A seed is held against the FPTAS on the same training seed's errors.
    """
    ends = {name: score.of(curves)[:, -1] for name, curves in race.curves.items()}
    ours = ends.pop(OURS)
    parts = []
    for rival, theirs in ends.items():
        # Ours has one search for each training seed: repeated, it lines up with the rival's seeds.
        lead = score.sign * (np.resize(ours, len(theirs)) - theirs)
        outcomes = {"ahead": lead > 1e-9, "level": abs(lead) <= 1e-9, "behind": lead < -1e-9}
        words = ", ".join(f"{word} in {x.sum()}" for word, x in outcomes.items() if x.any())
        parts.append(f"against {IN_TEXT[rival]} {words}")
    return Finding(f"The FPTAS seed by seed, in {score.name}", f"{'; '.join(parts)}.")


def _by_seconds(race: Race) -> list[Finding]:
    """Compare after the most recorded seconds that every search had spent.

    That means nothing where no seconds are on record, or one search's first evaluation outlasts
    another.
    """
    head = "By recorded seconds"
    start = max(curves.seconds[:, 0].max() for curves in race.curves.values())
    end = min(curves.seconds[:, -1].min() for curves in race.curves.values())
    if end <= 0 or start > end:
        text = "the evaluations' seconds are not on record, or too uneven to compare."
        return [Finding(head, text)]
    parts = "; ".join(
        f"in {score.name}, {standing(at(race, score, end, 'seconds'), score)}" for score in SCORES
    )
    text = f"after {end:,.0f} s of training, the most that every search spent, {parts}."
    return [Finding(head, text), *_prices(race, "seconds")]


def _scope(race: Race) -> Finding:
    text = (
        f"one source, one task, {_space(race)}; {count(race.seeds, 'seed')} of each sampler on the "
        f"errors of {count(len(race.errors), 'training seed')}. Level: the seeds do not say who is "
        f"ahead (sign test at {100 * LEVEL:g} %). The FPTAS draws nothing at random, "
        "so its quartiles span the training seeds alone. Optuna's samplers and local search do not "
        "use that costs are known before any evaluation; the others do. Seconds are those of the "
        "evaluations; what the searches themselves take to think is left out."
    )
    return Finding("What it speaks for", text)


def _space(race: Race) -> str:
    """Say what the truth is: the whole space, or what was measured of it."""
    n, known = len(race.points), sum(error is not None for error in race.errors[0])
    if known == n:
        return f"a space of {n} architectures, all measured"
    return f"{known} measured architectures of {n}, which are taken for the truth"


def _names(names: Sequence[str]) -> str:
    return listed([IN_TEXT[name] for name in names])


def _rivals(names: Sequence[str]) -> str:
    return _names([name for name in names if name != OURS])


def title(race: Race) -> str:
    length = f"{count(race.budget, 'evaluation')} each, {count(race.seeds, 'seed')}"
    return f"{short(race.source)} on {short(race.task)}: {length}"


def origin(race: Race) -> str:
    """Say in a sentence or two where and when the numbers were made, as plain text."""
    facts = provenance(race)
    return f"Errors {facts['Errors']}. Latency: {facts['Latency']}."


def provenance(race: Race) -> dict[str, str]:
    """Return where the numbers come from, as plain text by topic."""
    record, latency, teacher = race.provenance, race.latency, race.provenance.teacher
    timed = f"recorded {latency.made_on}, {latency.versions}"
    facts = {
        "Errors": f"{race.origin} on {record.made}",
        "Errors made": f"{MADE.get(race.oracle, race.oracle)}, {record.training.steps} steps of "
        f"{record.training.train_batch_size} sentences, training seeds "
        f"{', '.join(map(str, record.training_seeds))}",
        "Source": f"{short(race.source)} on {short(race.task)}: "
        f"{100 * teacher.dev_error:.1f} % wrong on dev; "
        f"guessing: {100 * teacher.chance_error:.1f} %",
        "Epsilon": f"0.1 is 10 % in size, 10 % in latency and {race.scale.points(0.1):.1f} points "
        "of wrong answers on dev",
        "Latency": f"batch {latency.batch_size}, {latency.sequence_length} tokens, "
        f"{count(latency.threads, 'thread')}, {latency.device}, "
        f"{timed if latency.origin == 'recorded' else 'measured'}",
        "Size": "all parameters, exact" if race.size == "total" else "encoder parameters, exact",
        "Truth": _space(race),
        "Race": f"{record.seconds:g} s",
    }
    return {topic: text[:500] for topic, text in facts.items()}


def covers(race: Race, seed: int) -> dict[float, int]:
    """Return by epsilon after how many evaluations the FPTAS had its cover, on a seed's errors."""
    finished = race.finished[race.table(seed)]
    return {epsilon: n for epsilon, n in finished.items() if n <= race.budget}


def table(race: Race) -> pd.DataFrame:
    """Return one row a searcher: its scores at the end, and what the goals took."""
    import pandas as pd

    rows = []
    for name, curves in race.curves.items():
        low, median, high = np.percentile(HYPERVOLUME.of(curves)[:, -1], PERCENTILES)
        row = {
            "Search": NAMES[name],
            "Seeds": len(curves.epsilon),
            "Hypervolume (%)": median,
            "Quartiles from": low,
            "to (%)": high,
            "Achieved epsilon": np.median(curves.epsilon[:, -1]),
        }
        for goal in sorted(GOALS, reverse=True):
            for by in HEADS:
                row[f"{by.capitalize()} to {goal:g}"] = needed(curves, goal, by)
        rows.append(row | {"Seconds in all": np.median(curves.seconds[:, -1])})
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(FORMATS.keys() & frame.columns, float))  # None becomes NaN


def moment(race: Race, seed: int, evaluations: int) -> pd.DataFrame:
    """Return one row a searcher: what it trained last and what it had then."""
    import pandas as pd

    truth, rows, last = set(true_front(race, seed)), [], evaluations - 1
    for name, curves in race.curves.items():
        trace, row = race.trace(name, seed), seed % len(race.traces[name])
        rows.append(
            {
                "Search": NAMES[name],
                "Achieved epsilon": curves.epsilon[row, last],
                "Hypervolume (%)": HYPERVOLUME.of(curves)[row, last],
                "Of the true front": len(truth.intersection(trace[:evaluations])),
                "Just trained": str(race.points[trace[last]].architecture),
                "Seconds": curves.seconds[row, last],
            }
        )
    return pd.DataFrame(rows)


def to_frame(race: Race) -> pd.DataFrame:
    """Return one row a searcher, seed and training, units in the column names."""
    import pandas as pd

    shapes = np.array([str(point.architecture) for point in race.points])
    parts = []
    for name, curves in race.curves.items():
        for seed, trace in enumerate(race.traces[name]):
            part = {
                "searcher": name,
                "seed": seed,
                "evaluations": np.arange(1, len(trace) + 1),
                "architecture": shapes[list(trace)],
                "seconds": curves.seconds[seed],
                "hypervolume": curves.hypervolume[seed],
                "achieved_epsilon": curves.epsilon[seed],
            }
            parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)
