"""How long "10 tasks x 3 seeds" would take on many workers: python benchmarks/scaling.py

A simulation: units of work with recorded seconds, scheduled over what each has to wait for. Only
film reviews are on record in all parts, so ten tasks are ten times that one. By task: T. By seed:
the elastic student, the evaluations of a front at epsilon 0.1 as the search asks for them, the
chosen point polished, and Agora on it with its labeller and two controls. `SOURCES` says where
the seconds are from. A worker is a machine as they were taken on; two kinds are mixed.

Nothing is counted for starting a worker, sending files to it, loading a model, drawing a front, or
opening the test split; the latencies are calibrated once. While a worker evaluates for a front,
others take the rest of what the search asks for at once (search/ahead.py); its next batch waits for
the slowest. Of what could be begun, what has the longest way to the end goes first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache, partial
from heapq import heappop, heappush
from math import inf

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.latency import LatencySettings
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import SearchSpace
from bort_engine.search.candidates import calibration_for
from bort_engine.search.errors import Oracle, shipped
from bort_engine.search.evaluate import Shape
from bort_engine.search.front import search_front
from bort_engine.search.result import Search
from bort_engine.training.forecast import ELASTIC_RECIPE

TASK, N_TASKS, SEEDS, EPSILON = "rotten-tomatoes", 10, (0, 1, 2), 0.1
WORKERS = (1, 2, 4, 16, 64)
GAIN = 1.05  # doubling the workers is worth while if it is this much faster
SOURCES = """\
T, and evaluations, each by its shape and seed: minilm-l6-rotten-tomatoes-elastic-seed*.jsonl, AMD
  EPYC, two threads for T, two workers of one thread for the others, bf16, 2026-11-27
elastic student, and 300 steps of polishing: differences of rows in table-minilm-l6.json, film
  reviews, seed 1 (the point with a quarter of the encoder), which stand for all seeds, the
  student's times 500 / 300; AMD EPYC, beside other work, bf16, 2026-11-27
latencies, calibrated: minilm-l6-fine.json, AMD EPYC, two threads, 2026-11-26
Agora: agora-minilm-l6-rotten-tomatoes-few.json, 3,12,384,768 with 1,000 labels, its three seeds;
  Intel Xeon, two threads, 2026-11-22; one seed's labeller stands for the three"""


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of work for one worker, and the names of what has to be done before it."""

    kind: str
    seconds: float
    after: tuple[str, ...] = ()


Plan = dict[str, Unit]  # by name; what comes before a unit stands before it


def followers(plan: Plan) -> dict[str, list[str]]:
    """Return by unit what waits for it."""
    waiting: dict[str, list[str]] = {name: [] for name in plan}
    for name, unit in plan.items():
        for before in unit.after:
            waiting[before].append(name)
    return waiting


def tails(plan: Plan) -> dict[str, float]:
    """Return by unit the seconds from its start to the end of the longest way from it."""
    tail = dict.fromkeys(plan, 0.0)
    for name in reversed(plan):
        tail[name] += plan[name].seconds
        for before in plan[name].after:
            tail[before] = max(tail[before], tail[name])
    return tail


def makespan(plan: Plan, workers: float) -> float:
    """Return the seconds of a list schedule: of what is ready, the longest way goes first."""
    tail, waiting = tails(plan), followers(plan)
    missing = {name: len(unit.after) for name, unit in plan.items()}
    ready: list[tuple[float, str]] = []
    for name, n in missing.items():
        if not n:
            heappush(ready, (-tail[name], name))
    now, running = 0.0, list[tuple[float, str]]()
    while ready or running:
        while ready and len(running) < workers:
            name = heappop(ready)[1]
            heappush(running, (now + plan[name].seconds, name))
        now, name = heappop(running)
        for follower in waiting[name]:
            missing[follower] -= 1
            if not missing[follower]:
                heappush(ready, (-tail[follower], follower))
    return now


def longest_way(plan: Plan) -> list[Unit]:
    """Return the units of the critical path, first to last."""
    tail, waiting, way = tails(plan), followers(plan), list[Unit]()
    names = [name for name, unit in plan.items() if not unit.after]
    while names:
        name = max(names, key=tail.__getitem__)
        way.append(plan[name])
        names = waiting[name]
    return way


class Asked(Oracle):
    """An oracle that keeps the seconds of what it is asked for at once."""

    batches: list[list[float]]

    def errors(self, architectures: Iterable[Shape]) -> Iterator[float]:
        architectures = [*architectures]
        self.batches.append([self.evaluations[a].seconds for a in architectures])
        return super().errors(architectures)


@cache
def batches(seed: int) -> list[list[float]]:
    """Return the seconds of each batch of evaluations, as the search asks for them on record."""
    source, known = sources["minilm-l6"], shipped("minilm-l6", TASK, seed)
    calibration = calibration_for(
        source, SearchSpace.fine(source), LatencySettings(1, 64, 2), "recorded"
    )
    oracle = Asked(**{field.name: getattr(known, field.name) for field in fields(known)})
    oracle.batches = []
    search_front(source, SearchSpace.fine(source), EPSILON, Search(), calibration, oracle, seed)
    return oracle.batches


def recorded() -> tuple[float, float, float, float, list[dict]]:
    """Return the seconds of T, of the student, of polishing, and of calibrating; Agora's record."""
    table = json.loads((ASSETS / "recorded" / "table-minilm-l6.json").read_text())
    rows = next(task["rows"] for task in table["tasks"] if task["task"] == TASK)
    seconds = {(row["name"], row["seed"]): row["seconds"] for row in rows}
    # The recommended point of seed 1 is the source: T and the elastic student, and nothing more.
    student = (seconds["student", 1] - seconds["source", 0]) * ELASTIC_RECIPE.steps / 300
    polish = seconds["quarter", 1] - seconds["student", 1]
    calibration = json.loads((ASSETS / "calibrations" / "minilm-l6-fine.json").read_text())
    record = ASSETS / "recorded" / "agora-minilm-l6-rotten-tomatoes-few.json"
    agora = json.loads(record.read_text())
    runs = [run["arms"] | {"labeller": agora["labeller"]} for run in agora["runs"]]
    teacher = shipped("minilm-l6", TASK).teacher
    assert teacher is not None
    return teacher.seconds, student, polish, calibration["seconds"], runs


def add_agora(plan: Plan, name: str, arms: dict, chosen: tuple[str, ...]) -> None:
    """Add Agora's rounds and its controls'. A round needs the one before, and new points."""
    plan[f"{name} labeller"] = Unit("labeller", arms["labeller"]["seconds"])
    after = (*chosen, f"{name} labeller")
    for n_round in range(len(arms["agora"]["rounds"])):
        ends = []
        for arm in ("agora", "plain", "random"):
            if n_round == 0 and arm != "agora":  # the first round is the same, and trained once
                continue
            for n, fit in enumerate(arms[arm]["rounds"][n_round]["fits"]):
                unit = f"{name} {arm} {n_round}.{n}"
                plan[unit] = Unit("Agora" if arm == "agora" else "control", fit["seconds"], after)
                ends += [unit] if arm == "agora" else []
        after = tuple(ends)
        if n_round == 0:  # points are on record as one sum over all rounds
            unit = f"{name} points"
            plan[unit] = Unit("Agora", arms["agora"]["seconds_generating"], after)
            after = (unit,)


def whole_plan() -> Plan:
    """Return the plan of ten tasks and three seeds."""
    teacher, student, polish, calibrating, runs = recorded()
    plan = {"latencies": Unit("latencies", calibrating)}
    for task in range(N_TASKS):
        plan[f"{task} T"] = Unit("T", teacher)
        for seed in SEEDS:
            name = f"{task}.{seed}"
            plan[f"{name} student"] = Unit("student", student, (f"{task} T",))
            after = (f"{name} student", "latencies")
            for n_batch, batch in enumerate(batches(seed)):
                for n, seconds in enumerate(batch):
                    plan[f"{name} {n_batch}.{n}"] = Unit("evaluation", seconds, after)
                after = tuple(f"{name} {n_batch}.{n}" for n in range(len(batch)))
            plan[f"{name} polish"] = Unit("polishing", polish, after)
            add_agora(plan, name, runs[seed], after)
    return plan


def total(units: Iterable[Unit]) -> dict[str, float]:
    """Return the seconds by kind."""
    seconds: dict[str, float] = {}
    for unit in units:
        seconds[unit.kind] = seconds.get(unit.kind, 0.0) + unit.seconds
    return seconds


def main() -> None:
    plan = whole_plan()
    seconds = cache(partial(makespan, plan))
    print("workers  makespan  speed-up  efficiency")
    for n in WORKERS:
        up = seconds(1) / seconds(n)
        print(f"{n:7}  {seconds(n) / 60:4.1f} min  {up:8.1f}  {up / n:9.0%}")
    n = 1
    while seconds(n) > GAIN * seconds(2 * n):
        n *= 2
    print(f"doubling pays until {n} workers ({seconds(n) / 60:.1f} min); any number of them takes")
    print(f"{seconds(inf) / 60:.1f} min, since on the longest way one thing waits for the other:")
    for kind, share in total(longest_way(plan)).items():
        print(f"  {kind:<11} {share:6.0f} s")
    print("all work:")
    for kind, share in total(plan.values()).items():
        print(f"  {kind:<11} {share:6.0f} s")
    print(SOURCES)


if __name__ == "__main__":
    main()
