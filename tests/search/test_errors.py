"""The oracles: who answers, from what, and what is refused."""

import pytest

from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.search.errors import glue, recorded_tasks, replayable, shipped
from bort_engine.search.scale import Scale

MINILM = sources["minilm-l6"]


def test_a_shipped_table_answers_for_what_it_holds():
    oracle = shipped("minilm-l6", "rotten-tomatoes", 1, "brief")
    T = oracle.evaluate(MINILM.architecture)
    assert (oracle.seed, oracle.origin, oracle.name) == (1, "recorded", "brief")
    assert T.error == oracle.floor and T.dev_error == oracle.teacher.dev_error
    assert oracle.scale == Scale.of(oracle.teacher) and oracle.r(MINILM.architecture) == 0
    smaller = Architecture(1, 12, 384, 1536)
    lost = oracle.evaluate(smaller).dev_error - T.dev_error
    assert list(oracle.errors([smaller])) == [lost / oracle.scale.span]
    outside = Architecture(1, 1, 8, 8)
    assert oracle.available([MINILM.architecture, outside]) == [MINILM.architecture]


def test_a_guesser_is_one_within_two_standard_errors_of_chance():
    oracle = shipped("minilm-l6", "rotten-tomatoes")
    chance, n = oracle.teacher.chance_error, oracle.teacher.n_dev
    border = chance - 2 * (chance * (1 - chance) / n) ** 0.5
    verdicts = [oracle.at_chance(error) for error in (border + 1e-9, border - 1e-9, None)]
    assert verdicts == [True, False, False]


def test_predicted_errors_come_from_published_scores_and_have_no_dev_error():
    oracle = glue(sources["bert-large-uncased"])
    small, large = (
        oracle.evaluate(a) for a in (Architecture(2, 4, 512, 256), Architecture(12, 16, 1024, 3072))
    )
    assert small.error > large.error > 0.19  # BERT-large itself scores 80.5
    assert small.dev_error is None and oracle.origin == "predicted"
    assert oracle.r(sources["bert-large-uncased"].architecture) == 0
    assert oracle.scale.points(oracle.r(small.architecture)) == pytest.approx(
        100 * (small.error - oracle.scale.source_error)
    )


def test_whole_tables_are_those_of_both_training_seeds():
    tables = replayable(MINILM, "rotten-tomatoes", SearchSpace.of(MINILM), "brief")
    assert [table.seed for table in tables] == [0, 1]
    assert ("minilm-l6", "rotten-tomatoes") in recorded_tasks()


@pytest.mark.parametrize(
    ("source", "seed", "oracle"),
    [("bort", 0, "brief"), ("minilm-l6", 7, "brief"), ("minilm-l6", 0, "scratch")],
)
def test_what_is_not_on_record_is_one_clear_line(source, seed, oracle):
    with pytest.raises(ValueError, match=rf"evaluations of '{source}' .*seed {seed} .*{oracle}"):
        shipped(source, "rotten-tomatoes", seed, oracle)
