"""The words, table and figure of students beside their teachers, on a made-up table."""

import pytest

from bort_engine.encoder.space import Architecture
from bort_engine.lab.table_record import OnTest, Row, Table, TaskRows
from bort_engine.runs.provenance import Provenance
from bort_engine.show import students

SHAPE, SOURCE = Architecture(3, 12, 384, 768), Architecture(6, 12, 384, 1536)
MADE = Provenance("Synthetic CPU", "made up for the tests", "2000-01-01")


def row(name, seed, loss, shape=SHAPE):
    test = OnTest(0.2 + loss, 0.1, 0.3, loss, loss - 0.01, loss + 0.02, {"accuracy": 0.8 - loss})
    return Row(name, seed, shape, 0.2 + loss, None, {}, 12_000_000, 60.0, 5.0, test)


def rows(**losses):
    """One row a name, with `_` for a space; `labels` stands for ", labels only"."""
    names = {name: name.replace("_labels", ", labels only").replace("_", " ") for name in losses}
    return tuple(
        row(names[name], 0, loss, SOURCE if name == "source" else SHAPE)
        for name, loss in losses.items()
    )


WORSE = rows(source=0.0, student=0.005, words=0.1, quarter=0.03, quarter_labels=0.08)
BETTER = rows(source=0.0, student=0.02, words=0.01, quarter=0.04, quarter_labels=0.05)


def made_up(*tasks):
    return Table("minilm-l6", "minilm-l3", 1, 0.2, 300, tasks, MADE)


FILMS = TaskRows("rotten-tomatoes", "s", "class", 10_000, 1_000, 1_200, 64, 0.02, WORSE)
TWEETS = TaskRows("rated-tweets", "s", "number", 3_000, 400, 420, 40, 0.0, BETTER)


def test_the_verdict_says_what_is_reached_and_where_something_simpler_wins():
    first, second, third = students.verdict(made_up(FILMS, TWEETS))
    assert "on 1 of 2 tasks" in first and "quarter of the encoder on 0" in first
    assert "on rated-tweets TF-IDF, logistic regression" in second
    assert "+1.0 to +5.0 points" in third


def test_without_a_rival_as_good_it_says_that():
    assert "On no task" in students.verdict(made_up(FILMS))[1]


def test_locked_test_splits_are_said():
    assert students.verdict(made_up(TaskRows("rotten-tomatoes", "s"))) == [
        "The test splits are still locked."
    ]


def test_the_source_fine_tuned_again_is_no_rival():
    same = (row("source", 0, 0.0, SOURCE), row("student", 0, 0.0, SOURCE))
    again = row("student, labels only", 0, 0.0, SOURCE)
    task = TaskRows("rotten-tomatoes", "s", n_test=1_200, rows=(*same, again))
    first, second = students.verdict(made_up(task))
    assert "on 0 of 1 tasks (on 1 the front has nothing smaller" in first
    assert "On no task" in second
    assert [trace.y[0] for trace in students.loss_figure(task).data] == ["source, fine-tuned"]
    assert "student, distilled, = source" in students.frame(task)["Model"].tolist()


def test_the_command_makes_the_table_again():
    tasks = (TaskRows("newsgroups?length=128", "s"), TaskRows("rotten-tomatoes", "s"))
    assert students.command(made_up(*tasks)) == (
        "python -m bort_engine table minilm-l6 --tasks 'newsgroups?length=128,rotten-tomatoes' "
        "--smaller minilm-l3 --seeds 1 --epsilon 0.2 --polish 300 --out TABLE"
    )


def test_the_table_and_the_figure_hold_every_model():
    table = students.frame(FILMS)
    assert table["Model"].tolist() == [
        "TF-IDF, logistic regression",
        "quarter, fine-tuned on labels",
        "quarter of the encoder, distilled",
        "student, distilled",
        "source, fine-tuned",
    ]
    student = table[table["Model"] == "student, distilled"].iloc[0]
    assert student["Lost (points)"] == pytest.approx(0.5)
    assert student["95 %"] == "-0.5 to +2.5"
    figure = students.loss_figure(FILMS)
    drawn = {trace.y[0]: trace.x[0] for trace in figure.data}
    assert drawn["student, distilled"] == pytest.approx(0.5) and len(drawn) == 5
    assert "student, distilled +0.5" in students.loss_summary(FILMS)
    assert "which cuts 2% of the texts" in students.task_line(FILMS)
    assert "Pearson's correlation, times 100" in students.task_line(TWEETS)
