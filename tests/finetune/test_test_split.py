"""The judge: intervals that are paired, and a test split that nothing else opens."""

import ast
from pathlib import Path

import numpy as np
import pytest

from bort_engine.finetune.test_split import compare

ROOT = Path(__file__).parents[2]


def test_accuracies_and_differences_by_hand():
    right = {
        "agora": np.array([[1, 1, 1, 0], [1, 1, 0, 0]], dtype=bool),
        "plain": np.array([[1, 0, 1, 0], [0, 0, 0, 0]], dtype=bool),
    }
    rows = compare(right, "agora", ["plain"])
    assert rows["agora"]["accuracy"] == pytest.approx(5 / 8)
    assert rows["agora"]["per_seed"] == [0.75, 0.5] and rows["plain"]["per_seed"] == [0.5, 0]
    assert rows["agora"]["against_plain"]["difference"] == pytest.approx(3 / 8)
    assert "against_plain" not in rows["plain"]


def test_the_interval_is_the_paired_one():
    """Two arms that differ on the same 30 of 1,000 sentences: far narrower than two unpaired."""
    rng = np.random.default_rng(0)
    plain = rng.random(1000) < 0.7
    agora = plain.copy()
    agora[np.flatnonzero(~plain)[:30]] = True
    rows = compare({"agora": agora[None], "plain": plain[None]}, "agora", ["plain"])
    gap = rows["agora"]["against_plain"]
    assert gap["difference"] == pytest.approx(0.03)
    # A binomial of 1,000 at 0.03 has a standard error of 0.0054; unpaired it would be 0.02.
    assert gap["low"] == pytest.approx(0.03 - 1.96 * 0.0054, abs=0.003)
    assert gap["high"] == pytest.approx(0.03 + 1.96 * 0.0054, abs=0.003)
    assert rows["plain"]["high"] - rows["plain"]["low"] == pytest.approx(
        2 * 1.96 * (0.7 * 0.3 / 1000) ** 0.5, rel=0.15
    )


def test_only_the_judge_opens_the_test_split():
    """A reader can check by eye; this fails when somebody else starts to."""
    users = set()
    for path in [*ROOT.glob("bort_engine/**/*.py"), *ROOT.glob("pages/**/*.py"), ROOT / "app.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node, "id", None) or getattr(node, "attr", None)
            names = [alias.name for alias in getattr(node, "names", []) if hasattr(alias, "name")]
            if "load_test" in (name, *names):
                users.add(path.name)
    assert users == {"test_split.py"}
    callers = {
        path.name
        for path in ROOT.glob("bort_engine/**/*.py")
        if "score_test(" in path.read_text() and path.name != "test_split.py"
    }
    assert callers == {"agora.py"}
    assert (ROOT / "bort_engine" / "finetune" / "agora.py").read_text().count("score_test(") == 1
