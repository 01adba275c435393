"""The bar that the verbs show in a terminal."""

import sys

from bort_engine.runs.events import bar


def test_each_stage_has_a_bar_that_ends_where_the_stage_does(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for done in (0, 1, 2):
        bar({"stage": "training", "done": done, "total": 2, "detail": f"step {done}"})
    bar({"stage": "measuring", "done": 1, "total": 4})
    bar({"stage": "saving", "done": 1, "total": 1})
    said = capsys.readouterr().err
    assert "training: 100%" in said and "2/2" in said and "step 2" in said
    assert "measuring:  25%" in said and "saving: 100%" in said


def test_without_a_terminal_nothing_is_shown(capsys):
    bar({"stage": "training", "done": 1, "total": 2})
    assert capsys.readouterr().err == ""
