"""The judge: intervals that are paired, and a test split that nothing else opens."""

from pathlib import Path

import numpy as np
import pytest

from bort_engine.finetune.test_split import compare_arms

ROOT = Path(__file__).parents[2]


def test_accuracies_and_leads_by_hand():
    right = {
        "agora": np.array([[1, 1, 1, 0], [1, 1, 0, 0]], dtype=bool),
        "plain": np.array([[1, 0, 1, 0], [0, 0, 0, 0]], dtype=bool),
    }
    agora, plain = compare_arms(right)
    assert (agora.arm, agora.accuracy, agora.per_seed) == ("agora", 5 / 8, (0.75, 0.5))
    assert (plain.arm, plain.accuracy, plain.per_seed) == ("plain", 2 / 8, (0.5, 0.0))
    assert agora.against["plain"].difference == 3 / 8 and plain.against == {}


def test_the_interval_is_the_paired_one():
    """Two arms that differ on the same 30 of 1,000 sentences: far narrower than two unpaired."""
    plain = np.random.default_rng(0).random(1000) < 0.7
    agora = plain.copy()
    agora[np.flatnonzero(~plain)[:30]] = True
    rows = compare_arms({"agora": agora[None], "plain": plain[None]})
    lead = rows[0].against["plain"]
    assert lead.difference == pytest.approx(0.03)
    # A binomial of 1,000 at 0.03 has a standard error of 0.0054; unpaired it would be 0.02.
    assert lead.low == pytest.approx(0.03 - 1.96 * 0.0054, abs=0.003)
    assert lead.high == pytest.approx(0.03 + 1.96 * 0.0054, abs=0.003)
    assert rows[1].high - rows[1].low == pytest.approx(
        2 * 1.96 * (0.7 * 0.3 / 1000) ** 0.5, rel=0.15
    )


def test_only_the_judge_opens_the_test_split():
    """A reader can check by eye; this fails when somebody else starts to."""

    def users(name):
        modules = [*ROOT.glob("bort_engine/**/*.py"), *ROOT.glob("pages/**/*.py"), ROOT / "app.py"]
        texts = {str(path.relative_to(ROOT)): path.read_text() for path in modules}
        return {path: text.count(f"{name}(") for path, text in texts.items() if name in text}

    judges = {"bort_engine/finetune/test_split.py": 1, "bort_engine/lab/table.py": 1}
    assert users("load_test") == {"bort_engine/data/tasks.py": 1} | judges
    judge = {"bort_engine/finetune/test_split.py": 1, "bort_engine/finetune/agora.py": 1}
    assert users("score_test") == judge
