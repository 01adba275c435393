"""A race in words and tables: who leads, how surely, and where the numbers come from.

Sentences follow from the numbers alone, and say where the FPTAS does not lead as plainly as where
it does. Values that read alike are called level. Texts of the record may say anything: whoever
shows them escapes them, as `to_html` does.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bort_engine.search.scores import GOALS, NAMES, OURS, Curves, Race
from bort_engine.show import race_figures
from bort_engine.show.race_figures import BUDGETS, SCORES, VIEWS, at_seconds, scores

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

RECORDED = (
    Path(__file__).parents[2] / "assets" / "recorded" / ("race-minilm-l6-rotten-tomatoes.json")
)
LOOKS = (16, 32, 64)  # trainings after which the verdict compares, besides the end
DIGITS = {"hypervolume": 2, "epsilon": 3}  # shown, and so compared
CALLED = NAMES | {
    OURS: "the FPTAS",
    "random": "random search",
    "local": "local search",
    "brute": "brute force",
}
MEASURES = {"hypervolume": "hypervolume", "epsilon": "achieved epsilon"}
UNITS = {"trainings": "Trainings", "seconds": "Recorded seconds"}
NEVER = "not within the budget"
FORMATS = {
    "Hypervolume (%)": "%.2f",
    "Quartiles from": "%.2f",
    "to (%)": "%.2f",
    "Achieved epsilon": "%.3f",
    "Trainings to 0.2": "%.1f",
    "Trainings to 0.1": "%.1f",
    "Seconds to 0.2": "%.0f",
    "Seconds to 0.1": "%.0f",
    "Seconds in all": "%.0f",
    "Of the true front": "%.0f",
    "Seconds": "%.0f",
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
    said = [Finding("In short", _in_short(race))]
    if len(race.searchers) == 1:
        return said
    for score, name in MEASURES.items():
        standings = [
            f"after {_trainings(n)} {standing(_after(race, score, n), score)}" for n in looks(race)
        ]
        least = ", lower is better" if score == "epsilon" else ", as a share of the truth's"
        said.append(Finding(f"{name.capitalize()}{least}", f"{'; '.join(standings)}."))
    said += [_price(race, goal, "trainings") for goal in sorted(GOALS, reverse=True)]
    said += [_how_surely(race, score) for score in MEASURES]
    said.append(Finding("By recorded seconds", _by_seconds(race)))
    if by_seconds(race) is not None:
        said += [_price(race, goal, "seconds") for goal in sorted(GOALS, reverse=True)]
    return [*said, Finding("What it speaks for", _speaks_for(race))]


def looks(race: Race) -> list[int]:
    """Return after how many trainings the searchers are compared; the last is the budget."""
    return [*(n for n in LOOKS if n < race.budget), race.budget]


def standing(medians: Mapping[str, float], score: str) -> str:
    """Say who leads and where the FPTAS stands, by values that are rounded as they are shown."""
    sign = -1 if score == "epsilon" else 1
    ranked = sorted(set(medians.values()), key=lambda value: -sign * value)
    first, *rest = [[name for name in medians if medians[name] == value] for value in ranked]
    best, ours = _value(ranked[0], score), _value(medians[OURS], score)
    if not rest:
        return f"all are level at {best}"
    if first == [OURS]:
        second = _value(ranked[1], score)
        return f"the FPTAS leads with {best}, before {_names(rest[0])} with {second}"
    if OURS in first:
        others = _names([name for name in first if name != OURS])
        return f"the FPTAS is level with {others} in the lead at {best}"
    ahead = sum(sign * value > sign * medians[OURS] for value in medians.values())
    lead = "leads" if len(first) == 1 else "are level in the lead"
    return (
        f"{_names(first)} {lead} with {best} and the FPTAS is behind with {ours}, "
        f"number {ahead + 1} of {len(medians)}"
    )


def _value(value: float, score: str) -> str:
    return f"{value:.2f}\N{NO-BREAK SPACE}%" if score == "hypervolume" else f"{value:.3f}"


def _after(race: Race, score: str, trainings: int) -> dict[str, float]:
    """Return each searcher's median score after so many trainings, rounded as it is shown."""
    return {
        name: round(float(np.median(scores(curves, score)[:, trainings - 1])), DIGITS[score])
        for name, curves in race.curves.items()
    }


def _in_short(race: Race) -> str:
    if len(race.searchers) == 1:
        return "only the FPTAS took part, so there is nothing to compare it with."
    said = []
    for score, name in MEASURES.items():
        medians = _after(race, score, race.budget)
        best = (min if score == "epsilon" else max)(medians.values())
        leaders = [one for one, value in medians.items() if value == best]
        others = [one for one in leaders if one != OURS]
        if leaders == [OURS]:
            said.append(f"leads in {name}")
        elif OURS in leaders:
            said.append(f"is level with {_names(others)} in {name}")
        else:
            said.append(f"does not lead in {name} ({_names(others)} {_verb(others)})")
    return f"after {_trainings(race.budget)} each, the FPTAS {' and '.join(said)}."


def needed(curves: Curves, goal: float, by: str) -> float | None:
    """Return the median trainings or seconds until the achieved epsilon is below a goal.

    None where half of the seeds or more need more than the budget.
    """
    if by == "trainings":
        return curves.trainings_to(goal)
    below = curves.epsilon < goal
    first = below.argmax(axis=1)
    spent = np.where(below.any(axis=1), curves.seconds[np.arange(len(first)), first], np.inf)
    median = float(np.median(spent))
    return median if math.isfinite(median) else None


def _price(race: Race, goal: float, by: str) -> Finding:
    """Say what it took each searcher to get below a goal, the cheapest first."""
    price = {name: needed(curves, goal, by) for name, curves in race.curves.items()}
    reached = {name: n for name, n in price.items() if n is not None}
    head = f"{UNITS[by]} until the achieved epsilon is below {goal:g}"
    if not reached:
        return Finding(head, f"nobody gets there within the budget of {_trainings(race.budget)}.")
    order = sorted(reached, key=lambda name: (reached[name], name != OURS))
    shown = {name: f"{n:,.0f}" if by == "seconds" else f"{n:g}" for name, n in reached.items()}
    said = [f"{CALLED[name]} {shown[name]}" for name in order]
    if never := [name for name in price if name not in reached]:
        said.append(f"{_names(never)} {NEVER}")
    least = [name for name in order if shown[name] == shown[order[0]]]
    others = [name for name in least if name != OURS]
    if least == [OURS]:
        place = "the FPTAS needs least"
    elif OURS in least:
        place = f"the FPTAS needs least, and so {_verb(others)} {_names(others)}"
    else:
        place = f"the FPTAS does not need least: {_names(others)} {_verb(others)}"
    return Finding(head, f"{', '.join(said)}; {place}.")


def ahead(race: Race, rival: str, score: str) -> tuple[int, int, int]:
    """Return in how many of a rival's seeds the FPTAS ends ahead, level and behind.

    A seed is held against the FPTAS on the same training seed's errors.
    """
    sign = -1 if score == "epsilon" else 1
    ours, theirs = (scores(race.curves[name], score)[:, -1] for name in (OURS, rival))
    lead = sign * (np.resize(ours, len(theirs)) - theirs)
    won, lost = int((lead > 1e-9).sum()), int((lead < -1e-9).sum())
    return won, len(theirs) - won - lost, lost


def _how_surely(race: Race, score: str) -> Finding:
    said = []
    for rival in race.searchers:
        if rival == OURS:
            continue
        won, level, lost = ahead(race, rival, score)
        counts = {"ahead of": won, "level with": level, "behind": lost}
        first, *more = sorted((word for word in counts if counts[word]), key=lambda w: -counts[w])
        others = ", ".join(f"{word.split()[0]} in {counts[word]}" for word in more)
        said.append(
            f"{first} {CALLED[rival]} in {counts[first]} of {won + level + lost} seeds"
            + (f" ({others})" if others else "")
        )
    head = f"Seed by seed, in {MEASURES[score]}"
    return Finding(head, f"at the end the FPTAS is {', '.join(said)}.")


def by_seconds(race: Race) -> float | None:
    """Return the most recorded seconds that every search had spent; None where that means nothing.

    It does not where no seconds are on record, or one search's first training outlasts another.
    """
    start = max(float(curves.seconds[:, 0].max()) for curves in race.curves.values())
    end = min(float(curves.seconds[:, -1].min()) for curves in race.curves.values())
    return end if end > 0 and start <= end else None


def _by_seconds(race: Race) -> str:
    seconds = by_seconds(race)
    if seconds is None:
        return "the trainings' seconds are not on record, or too uneven to compare."
    said = []
    for score, name in MEASURES.items():
        now = {
            one: round(
                float(np.median(at_seconds(curves, score, np.array([seconds])))), DIGITS[score]
            )
            for one, curves in race.curves.items()
        }
        said.append(f"in {name}, {standing(now, score)}")
    return (
        f"after {seconds:,.0f} s of training, the most that every search spent, {'; '.join(said)}."
    )


def _speaks_for(race: Race) -> str:
    tables = len(race.errors)
    seeds = f"{race.seeds} seed{'s' * (race.seeds > 1)} of each sampler"
    trained = f"{tables} training seed{'s' * (tables > 1)}"
    return (
        f"one source, one task, {_space(race)}; {seeds} on the errors of {trained}. The FPTAS "
        "draws nothing at random, so its quartiles span the training seeds alone. Seconds are "
        "those of the trainings; what the searches themselves take to think is left out."
    )


def _space(race: Race) -> str:
    """Say what the truth is: the whole space, or what was measured of it."""
    n, known = len(race.points), sum(error is not None for error in race.errors[0])
    if known == n:
        return f"a space of {n} architectures, all measured"
    return f"{known} measured architectures of {n}, which are taken for the truth"


def _names(names: Sequence[str]) -> str:
    *first, last = [CALLED[name] for name in names]
    return f"{', '.join(first)} and {last}" if first else last


def _verb(names: Sequence[str]) -> str:
    return "does" if len(names) == 1 else "do"


def _trainings(n: int) -> str:
    return f"{n} training{'s' * (n > 1)}"


# Where it comes from.


def title(race: Race) -> str:
    return (
        f"{race.source} on {race.task}: {_trainings(race.budget)} each, "
        f"{race.seeds} seed{'s' * (race.seeds > 1)}"
    )


def badge(race: Race) -> str:
    return "Recorded" if race.origin == "recorded" else "Measured"


def origin(race: Race) -> str:
    """Say in a sentence or two where and when the numbers were made, as plain text."""
    told = provenance(race)
    return f"Errors {told['Errors']}. Latency: {told['Latency']}."


def provenance(race: Race) -> dict[str, str]:
    """Return what is known of where the numbers come from, as plain text by topic."""
    made, latency = race.provenance, race.latency
    teacher, training = made.teacher, made.training
    source = f"{100 * (1 - teacher.dev_error):.1f} % right on dev, error {teacher.error} nats"
    numbers = ", ".join(map(str, made.training_seeds))
    told = {
        "Errors": f"{badge(race).lower()} on {made.made}",
        "Each training": f"{training.steps} steps of {training.train_batch_size} "
        f"sentences, training seeds {numbers}",
        "Source": f"{race.source} on {race.task}: {source}",
        "Latency": f"batch {latency.batch_size}, {latency.sequence_length} tokens, "
        f"{latency.threads} threads, {latency.device}"
        + (
            f", recorded {latency.made_on}, {latency.versions}"
            if latency.origin == "recorded"
            else ", measured here"
        ),
        "Size": "all parameters, exact" if race.size == "total" else "encoder parameters, exact",
        "Truth": _space(race),
    }
    return {topic: text[:500] for topic, text in told.items()}


def covers(race: Race, seed: int) -> dict[float, int]:
    """Return by epsilon after how many trainings the FPTAS had its cover, on a seed's errors."""
    if not race.finished:
        return {}
    return {
        epsilon: n
        for epsilon, n in race.finished[race.table(seed) % len(race.finished)].items()
        if isinstance(epsilon, int | float) and type(n) is int and 1 <= n <= race.budget
    }


# Tables.


def table(race: Race) -> pd.DataFrame:
    """Return one row a searcher: its scores at the end, and what the goals took."""
    import pandas as pd

    rows = []
    for name, curves in race.curves.items():
        low, median, high = np.percentile(scores(curves, "hypervolume")[:, -1], [25, 50, 75])
        row = {
            "Search": NAMES[name],
            "Seeds": len(curves.epsilon),
            "Hypervolume (%)": float(median),
            "Quartiles from": float(low),
            "to (%)": float(high),
            "Achieved epsilon": float(np.median(curves.epsilon[:, -1])),
        }
        for goal in sorted(GOALS, reverse=True):
            for by in BUDGETS:
                price = needed(curves, goal, by)
                row[f"{by.capitalize()} to {goal:g}"] = math.nan if price is None else price
        rows.append(row | {"Seconds in all": float(np.median(curves.seconds[:, -1]))})
    return pd.DataFrame(rows)


def moment(race: Race, seed: int, trainings: int) -> pd.DataFrame:
    """Return one row a searcher: what it trained last and what it had then."""
    import pandas as pd

    truth, rows = set(race_figures.true_front(race, seed)), []
    for name, curves in race.curves.items():
        trace, own = race.trace(name, seed), seed % len(race.traces[name])
        rows.append(
            {
                "Search": NAMES[name],
                "Achieved epsilon": float(curves.epsilon[own, trainings - 1]),
                "Hypervolume (%)": float(100 * curves.hypervolume[own, trainings - 1]),
                "Of the true front": len(truth.intersection(trace[:trainings])),
                "Just trained": str(race.points[trace[trainings - 1]].architecture),
                "Seconds": float(curves.seconds[own, trainings - 1]),
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
            columns = {
                "searcher": name,
                "seed": seed,
                "trainings": np.arange(1, len(trace) + 1),
                "architecture": shapes[list(trace)],
                "seconds": curves.seconds[seed],
                "hypervolume": curves.hypervolume[seed],
                "achieved_epsilon": curves.epsilon[seed],
            }
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


# The report that can be taken home.

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1e2a2f; background: #fff;
  max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
th, td {{ padding: 0.3rem 0.7rem; border-bottom: 1px solid #d9ddd8; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
figure {{ margin: 1.5rem 0; }} dt {{ font-weight: 600; }} dd {{ margin: 0 0 0.5rem 1rem; }}
</style></head><body>
<h1>{title}</h1>
<p>{badge} errors. The FPTAS of Bort Explorer against other searches, at equal budgets.</p>
<h2>What it shows</h2><ul>{verdict}</ul>
<h2>In numbers</h2>{table}
<p>Medians over seeds. A dash: not within the budget.</p>
<h2>In figures</h2>{figures}
<h2>Where the numbers come from</h2><dl>{provenance}</dl>
</body></html>
"""


def to_html(race: Race) -> str:
    """Return one stand-alone page: verdict, numbers, figures and provenance; all text escaped."""
    drawn = [
        _figure(number, figure, heading, said)
        for number, (heading, figure, said) in enumerate(_figures(race))
    ]
    facts = provenance(race) | {"Race": f"{race.provenance.seconds} s"}
    return PAGE.format(
        title=html.escape(title(race)),
        badge=badge(race),
        verdict="".join(
            f"<li><b>{html.escape(one.head)}:</b> {html.escape(one.text)}</li>"
            for one in verdict(race)
        ),
        table=_html_table(table(race)),
        figures="".join(drawn),
        provenance="".join(
            f"<dt>{html.escape(topic)}</dt><dd>{html.escape(text)}</dd>"
            for topic, text in facts.items()
        ),
    )


def _figures(race: Race) -> Iterator[tuple[str, go.Figure, str]]:
    """Yield each figure with its heading and its message in words."""
    for by in BUDGETS:
        for score, label in SCORES.items():
            figure = race_figures.score_figure(race, score, by)
            yield (
                f"{label}, by {UNITS[by].lower()}",
                figure,
                race_figures.score_summary(race, score, by),
            )
    for view in VIEWS:
        figure = race_figures.front_figure(race, view, 0, race.budget)
        said = race_figures.front_summary(race, 0, race.budget)
        yield f"Fronts at the end, seed 0: {view}", figure, said
    for rival in race.searchers[1:] or (OURS,):
        figure = race_figures.attainment_figure(race, rival)
        said = race_figures.attainment_summary(race, rival)
        yield f"Attained at the end: {NAMES[rival]} and the FPTAS", figure, said


def _figure(number: int, figure: go.Figure, heading: str, said: str) -> str:
    drawing = figure.update_layout(template="plotly_white").to_html(
        config={"displaylogo": False},
        include_plotlyjs=number == 0,
        full_html=False,
        div_id=f"figure-{number}",
    )
    return (
        f"<h3>{html.escape(heading)}</h3><figure>{drawing}"
        f"<figcaption>{html.escape(said)}</figcaption></figure>"
    )


def _html_table(frame: pd.DataFrame) -> str:
    def cell(name: str, value: Any) -> str:
        if isinstance(value, float):
            return "-" if math.isnan(value) else FORMATS[name] % value
        return str(value)

    head = "".join(f"<th>{html.escape(name)}</th>" for name in frame)
    rows = [
        "".join(f"<td>{html.escape(cell(name, row[name]))}</td>" for name in frame)
        for row in frame.to_dict("records")
    ]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
