"""Evaluations side by side: the search's answers are those of one that evaluates alone."""

from dataclasses import replace

import numpy as np
import pytest

from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import SearchSpace
from bort_engine.runs.events import never, silent
from bort_engine.runs.workers import Here
from bort_engine.search import errors as oracles
from bort_engine.search import front
from bort_engine.search.ahead import Ahead, evaluate_unit
from bort_engine.search.errors import recorded, shipped
from bort_engine.search.evaluate import EvaluationTable, Evaluator, Header, Setup
from bort_engine.search.forecast import REST
from bort_engine.search.front import search_front
from bort_engine.search.result import Search
from tests.conftest import synthetic_calibration

SOURCE = sources["minilm-l6"]
SPACE = SearchSpace.fine(SOURCE)
CALIBRATION = synthetic_calibration(SOURCE, SPACE)


class Disorderly(Here):
    """Any of what was submitted ends first, as it may where several are at work."""

    rng = np.random.default_rng(0)

    def next(self):
        self._items.rotate(self.rng.integers(len(self._items)))
        return super().next()


def oracle(n, monkeypatch):
    """Return an oracle of n workers whose evaluations are those of the shipped table."""
    answers = shipped("minilm-l6", "rotten-tomatoes")
    setup = Setup("minilm-l6", "rotten-tomatoes", "elastic")
    monkeypatch.setattr(Evaluator, "prepare", lambda self: None)
    table = EvaluationTable(None, Header(setup, answers.teacher, answers.made))
    result = recorded(table)
    workers = Disorderly(lambda unit, on_progress, stop: unit[-1] and answers.evaluate(unit[-1]))
    workers.n = n
    result.ahead = Ahead(workers, Evaluator(SOURCE, setup), table)
    result.evaluate_new = result.ahead.evaluate
    return result


@pytest.mark.parametrize("search", [Search(), Search(selection="stride"), Search(lazy=False)])
def test_several_workers_find_what_one_finds(search, monkeypatch):
    fronts = []
    for n in (1, 2, 5):
        answers = oracle(n, monkeypatch)
        result = search_front(SOURCE, SPACE, 0.2, search, CALIBRATION, answers)
        fronts.append([(p.architecture, p.r, p.role, p.pareto) for p in result.points])
        assert result.provenance.workers == n
        assert len(answers.evaluations) == len(result.points)  # nothing was evaluated in vain
    assert fronts[0] == fronts[1] == fronts[2]


def test_all_stay_at_work_while_the_front_is_drawn_again(monkeypatch):
    answers, at_work = oracle(2, monkeypatch), []

    def note(event):
        if event["stage"] == REST and "architecture" in event:
            at_work.append(len(answers.ahead._busy))

    monkeypatch.setattr(front, "REDRAW_EVERY_S", -1)  # after each evaluation
    monkeypatch.setattr(oracles, "measured", lambda *_: answers)
    answers.on_progress = note
    search = Search(space="D=1-6 A=12 H=96,384 I=192,1536", spot_checks=0, closer=0, check_all=True)
    whole = front.front(SOURCE, "rotten-tomatoes", 0.5, search=search, latency="recorded")
    assert len(whole.points) == 24 and len(at_work) > 10
    assert whole.provenance.workers == 2
    assert at_work[:-1].count(1) >= len(at_work) - 2  # beside the one that was asked for


def test_a_worker_that_reads_other_files_refuses():
    setup = Evaluator(SOURCE, Setup("minilm-l6", "rotten-tomatoes", "elastic")).setup
    unit = (SOURCE, replace(setup, source_digest="of another"), SOURCE.architecture)
    with pytest.raises(ValueError, match="the weights of minilm-l6 are others in a worker"):
        evaluate_unit(unit, silent, never)
