"""A race in words and tables: who leads, how surely, and where the numbers come from.

Sentences follow from the numbers alone; values that are equal in the digits shown are level. Texts
of a record are untrusted: whoever shows them escapes them, as `race_page` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bort_engine.data.resources import ASSETS
from bort_engine.search.evaluate import OracleName
from bort_engine.search.scores import GOALS, NAMES, OURS, Curves, Race
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
IN_TEXT = NAMES | {
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
            f"after {count(n, 'evaluation')} {standing(medians(race, score, n), score)}"
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


def medians(race: Race, score: Score, budget: float, by: str = "evaluations") -> dict[str, float]:
    """Return each searcher's median after so many evaluations or seconds, rounded as shown."""
    return {
        name: round(float(np.median(scores_at(curves, score, by, budget))), score.digits)
        for name, curves in race.curves.items()
    }


def _ranked(values: Mapping[str, float], score: Score) -> list[list[str]]:
    """Group the searchers by their values, the best first."""
    order = sorted(set(values.values()), reverse=score.sign > 0)
    return [[name for name in values if values[name] == value] for value in order]


def standing(values: Mapping[str, float], score: Score) -> str:
    """Say who leads and where the FPTAS stands, by values that are rounded as they are shown."""
    first, *others = _ranked(values, score)
    best, ours = score.text(values[first[0]]), score.text(values[OURS])
    if not others:
        return f"all are level at {best}"
    if first == [OURS]:
        second = others[0]
        return (
            f"the FPTAS leads with {best}, before {_names(second)} with "
            f"{score.text(values[second[0]])}"
        )
    if OURS in first:
        return f"the FPTAS is level with {_rivals(first)} in the lead at {best}"
    n_ahead = sum(score.sign * (value - values[OURS]) > 0 for value in values.values())
    lead = "leads" if len(first) == 1 else "are level in the lead"
    return (
        f"{_names(first)} {lead} with {best} and the FPTAS is behind with {ours}, "
        f"number {n_ahead + 1} of {len(values)}"
    )


def _in_short(race: Race) -> Finding:
    places = []
    for score in SCORES:
        first = _ranked(medians(race, score, race.budget), score)[0]
        if first == [OURS]:
            places.append(f"leads in {score.name}")
        else:
            word = "level with" if OURS in first else "behind"
            places.append(f"is {word} {_rivals(first)} in {score.name}")
    text = f"after {count(race.budget, 'evaluation')} each, the FPTAS {' and '.join(places)}."
    return Finding("In short", text)


def needed(curves: Curves, goal: float, by: str) -> float | None:
    """Return the median evaluations or seconds until the achieved epsilon is below a goal.

    None where half of the seeds or more need more than the budget.
    """
    reached = np.where(curves.epsilon < goal, spent(curves, by), np.inf).min(axis=1)
    median = float(np.median(reached))
    return median if math.isfinite(median) else None


def _prices(race: Race, by: str) -> list[Finding]:
    """Say for each goal what it took each searcher to get below it, the cheapest first."""
    findings = []
    for goal in sorted(GOALS, reverse=True):
        prices = {name: needed(curves, goal, by) for name, curves in race.curves.items()}
        reached = {name: n for name, n in prices.items() if n is not None}
        texts = {name: f"{n:,.0f}" if by == "seconds" else f"{n:g}" for name, n in reached.items()}
        order = sorted(reached, key=lambda name: (reached[name], name != OURS))
        parts = [f"{IN_TEXT[name]} {texts[name]}" for name in order]
        if never := [name for name in prices if name not in reached]:
            parts.append(f"{_names(never)} not within the budget")
        text = f"nobody gets there within the budget of {count(race.budget, 'evaluation')}."
        if order:
            least = _names([name for name in order if texts[name] == texts[order[0]]])
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
        f"in {score.name}, {standing(medians(race, score, end, 'seconds'), score)}"
        for score in SCORES
    )
    text = f"after {end:,.0f} s of training, the most that every search spent, {parts}."
    return [Finding(head, text), *_prices(race, "seconds")]


def _scope(race: Race) -> Finding:
    text = (
        f"one source, one task, {_space(race)}; {count(race.seeds, 'seed')} of each sampler on the "
        f"errors of {count(len(race.errors), 'training seed')}. The FPTAS draws nothing at random, "
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
        f"{timed if latency.origin == 'recorded' else 'measured here'}",
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
