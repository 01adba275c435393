"""Reports of Agora: what is refused, and numbers, words and figures computed by hand."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bort_engine.finetune import report as agora_report
from bort_engine.finetune.report import Arm, Report, against, leakage, n_mistakes, read
from bort_engine.show import agora as agora_figures
from tests.fake_engine import SETS, snapshots, synthetic_report


@pytest.fixture(scope="module")
def report() -> Report:
    return read(synthetic_report())


def small_report() -> dict[str, Any]:
    """The synthetic report with two arms and two texts of each kind: quick to draw."""
    plain = synthetic_report()
    arms = plain["runs"][0]["arms"]
    plain["runs"][0]["arms"] = {name: arms[name] for name in ("agora", "plain")}
    for played in arms["agora"]["rounds"]:
        played["mistakes"], played["made"] = played["mistakes"][:2], played["made"][:2]
    return plain


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the synthetic report with one part replaced, its path like `test.rows.1.low`."""
    plain = deepcopy(synthetic_report())
    *parents, last = path.split(".")
    part: Any = plain
    for key in parents:
        part = part[int(key)] if isinstance(part, list) else part[key]
    part[int(last) if isinstance(part, list) else last] = value
    return plain


def show_all(report: Report) -> None:
    """Ask for everything that a page asks for."""
    agora_figures.title(report)
    agora_figures.origin(report)
    agora_figures.verdict(report)
    agora_figures.facts(report)
    agora_figures.result_table(report)
    agora_figures.result_summary(report)
    agora_figures.result_figure(report).to_json()
    agora_figures.models_table(report)
    if report.checkpoint:
        agora_figures.reload_check(report.checkpoint)
    for seed, arms in report.runs:
        for name, arm in arms.items():
            leaks = leakage(report, name, seed)
            agora_figures.leakage_figure(leaks).to_json()
            agora_figures.leakage_summary(leaks)
            agora_figures.accuracy_figure(report, arm).to_json()
            agora_figures.accuracy_summary(arm)
            agora_figures.effort_figure(report, arm).to_json()
            agora_figures.effort_summary(report, arm)
            agora_figures.rounds_table(report, arm)
            agora_figures.curves(report, arm)
            for played in arm.rounds:
                agora_figures.pruning(played, report.request)
                agora_figures.texts_table(arm, played.number)


# Numbers.


def test_leakage_is_seen_minus_held_back_of_the_best_set_and_then_minus_test(report):
    # Round 1: the best set has 74 and 74; round 2: 79 and 76; the best has 79, and 77.0 on test.
    leaks = leakage(report)
    assert [leak.step for leak in leaks] == ["Round 1", "Round 2", "Test"]
    assert [round(leak.gap, 6) for leak in leaks] == [0.0, 3.0, 2.0]
    assert [leak.test for leak in leaks] == [False, False, True]
    # 1.96 sqrt(0.79 * 0.21 / 100 + 0.76 * 0.24 / 100) = 1.96 sqrt(0.003483) = 0.11567
    assert leaks[1].margin == pytest.approx(11.567, abs=1e-3)
    # 1.96 sqrt(0.79 * 0.21 / 100 + 0.77 * 0.23 / 400) = 1.96 sqrt(0.00210175) = 0.08986
    assert leaks[2].margin == pytest.approx(8.986, abs=1e-3)


def test_leakage_of_a_control_shows_what_copying_dev_does(report):
    # Copied: 80 on the seen half, 74 held back, 74.3 on test.
    assert [round(leak.gap, 6) for leak in leakage(report, "copied")] == [0.0, 6.0, 5.7]


def test_leakage_without_sizes_has_no_margin_and_of_an_unknown_arm_is_empty():
    bare = read(changed("data", {}))
    assert [leak.margin for leak in leakage(bare)][:2] == [None, None]
    assert leakage(bare, "start") == []


def test_each_seed_is_compared_with_its_own_test_accuracy():
    plain = synthetic_report()
    plain["runs"].append({"seed": 7, "arms": deepcopy(plain["runs"][0]["arms"])})
    plain["test"]["rows"][1]["per_seed"] = [0.75, 0.79]
    report = read(plain)
    assert leakage(report, "agora", 0)[-1].gap == pytest.approx(4.0)
    assert leakage(report, "agora", 7)[-1].gap == pytest.approx(0.0)


def test_a_lead_without_an_interval_of_its_own_is_put_together_and_marked():
    plain = synthetic_report()
    del plain["test"]["rows"][1]["against_random"]
    lead = against(read(plain), "random")
    assert lead is not None and lead.rough
    # 77.0 - 75.7 = 1.3; each interval reaches 4 points: sqrt(4^2 + 4^2) = 5.657
    assert lead.difference == pytest.approx(0.013)
    assert lead.low == pytest.approx(0.013 - 0.05657, abs=1e-5)
    assert lead.high == pytest.approx(0.013 + 0.05657, abs=1e-5)
    assert str(lead) == "+1.3 points (95 % interval about -4.4 to +7.0)"
    assert "“About” marks" in agora_figures.verdict(read(plain))


def test_mistakes_are_counted_from_the_list_and_else_from_accuracy(report):
    agora, plain = report.arms()["agora"], report.arms()["plain"]
    assert [n_mistakes(report, r) for r in agora.rounds] == [26, 21]
    assert not plain.rounds[0].mistakes
    assert [n_mistakes(report, r) for r in plain.rounds] == [27, 26]  # of 100: 73 and 74 right


def test_the_last_counting_try_of_a_round_is_shown():
    plain = changed("runs.0.arms.agora.rounds.0.counts", False)
    rounds = plain["runs"][0]["arms"]["agora"]["rounds"]
    again = deepcopy(synthetic_report()["runs"][0]["arms"]["agora"]["rounds"][0])
    again |= {"attempt": 2, "accuracies": [0.75, 0.71, 0.70]}
    rounds.insert(1, again)
    report = read(plain)
    arm = report.arms()["agora"]
    assert [(r.number, r.attempt) for r in arm.counted] == [(1, 2), (2, 1)]
    names = list(agora_figures.rounds_table(report, arm)["Round"])
    assert names == ["1 (dropped)", "1, try 2", "2"]
    assert "Try 1 of round 1 did not count" in agora_figures.pruning(arm.rounds[0], report.request)


def test_the_losses_are_those_of_the_last_training_alone():
    one = {"stage": "Agora, round 1", "detail": "set 1", "arm": "agora", "seed": 0}
    two = one | {"detail": "set 2"}
    events = [one | {"done": n, "loss": 0.7} for n in (1, 2)]
    events += [two | {"done": 0}, two | {"done": 1, "loss": 0.6}, two | {"done": 2, "loss": None}]
    events += [two | {"done": 3, "loss": 0.5}, two | {"done": 4, "loss": "x"}]
    table = agora_report.losses(events)
    assert list(table["Step"]) == [1, 3] and list(table["Loss (nats)"]) == [0.6, 0.5]
    assert agora_report.losses([]).empty


# Words.


def test_a_set_is_named_by_what_tells_it_from_the_others(report):
    names = [agora_figures.set_name(theta, report.request) for theta in report.request.theta]
    assert names == [
        "learning rate 0.0001, weight decay 0.01",
        "learning rate 5e-5, weight decay 0.01",
        "learning rate 5e-5, weight decay 0.1",
    ]
    assert agora_figures.set_name((1e-4, "x"), report.request) == (
        "learning rate 0.0001, weight decay x"
    )


def test_pruning_names_the_worst_set_and_those_that_share_its_beginning(report):
    first, second = report.arms()["agora"].rounds
    assert agora_figures.pruning(first, report.request) == (
        "Left Theta after round 1: **learning rate 5e-5, weight decay 0.1** — the worst set; and "
        "**learning rate 5e-5, weight decay 0.01**, which shares its first element."
    )
    assert agora_figures.pruning(second, report.request).endswith(
        "weight decay 0.01** — the last set."
    )


@pytest.mark.parametrize(
    ("pruned", "prefix", "ending"),
    [
        ([SETS[2]], 0, "** — the worst set; no other shares its first element."),
        (
            [SETS[2], SETS[1], SETS[0]],
            2,
            "weight decay 0.01** and **learning rate 0.0001, weight decay 0.01**, which share its "
            "first 2 elements.",
        ),
        ([], 0, ""),
    ],
)
def test_pruning_in_other_cases(pruned, prefix, ending):
    plain = changed("runs.0.arms.agora.rounds.0.pruned", pruned)
    plain["runs"][0]["arms"]["agora"]["rounds"][0]["prefix"] = prefix
    report = read(plain)
    said = agora_figures.pruning(report.arms()["agora"].rounds[0], report.request)
    assert said.endswith(ending) and bool(said) == bool(pruned)


def test_of_very_many_sets_a_few_are_named_and_drawn():
    sets = [[round(1e-5 * k, 9), 0.1] for k in range(1, 41)]
    played = {"theta": sets, "accuracies": [0.5 + 0.01 * k for k in range(40)], "pruned": sets}
    plain = changed("runs.0.arms.agora.rounds", [played | {"number": 1, "prefix": 1}])
    plain["request"]["theta"] = sets
    report = read(plain)
    arm = report.arms()["agora"]
    assert "and 31 others, which share its first element." in agora_figures.pruning(
        arm.rounds[0], report.request
    )
    drawn = agora_figures.accuracy_figure(report, arm).data
    assert len(drawn) == 2 * agora_figures.MOST_SETS
    assert drawn[-1].name == "learning rate 0.0004" and drawn[0].name == "learning rate 0.00033"


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.01, 0.031, 0.05), "- A gain over plain fine-tuning is **shown**: +3.1 points (95 % "
         "interval +1.0 to +5.0)."),
        ((-0.01, 0.01, 0.03), "- A difference from plain fine-tuning is **not shown**: +1.0 points "
         "(95 % interval -1.0 to +3.0), which includes 0."),
        ((0.0, 0.01, 0.02), "**not shown**"),
        ((-0.05, -0.03, -0.01), "- It is **worse** than plain fine-tuning: -3.0 points (95 % "
         "interval -5.0 to -1.0)."),
    ],
)  # fmt: skip
def test_the_verdict_says_what_is_shown_and_what_is_not(gain, said):
    low, difference, high = gain
    lead = {"low": low, "difference": difference, "high": high}
    assert said in agora_figures.verdict(read(changed("test.rows.1.against_plain", lead)))


def test_the_verdict_puts_the_student_beside_its_source(report):
    assert agora_figures.verdict(report).splitlines()[0] == (
        "- Agora's student is right on **77.0 %** of the 400 test sentences (95 % interval 73.0 to "
        "81.0); the fine-tuned source on 79.1 %, 2.1 points more, at 1.5 times the parameters and "
        "2.5 times the latency (measured)."
    )
    assert "It is one seed" in agora_figures.verdict(report)
    two = read(changed("test.rows.1.per_seed", [0.76, 0.78]))
    assert "Over 2 seeds it was 76.0 to 78.0 %." in agora_figures.verdict(two)
    assert agora_figures.verdict(read(changed("test", None))) == ""


def test_a_latency_that_is_not_said_to_be_measured_is_called_predicted():
    report = read(changed("models.1.latency_how", "a guess"))
    assert [fact.label for fact in agora_figures.facts(report)][-1] == "Latency, predicted"
    assert "times the latency (predicted)" in agora_figures.verdict(report)
    assert list(agora_figures.models_table(report)["Latency is"]) == ["measured", "predicted"]


def test_the_facts_are_the_students_against_the_source(report):
    told = [(fact.text, fact.delta) for fact in agora_figures.facts(report)]
    # 15.6 / 22.7 = 0.687; 3.55 / 10.6 = 0.335; 4.8 / 12 = 0.4
    assert told == [
        ("77.0 %", "-2.1 points"),
        ("15.6 M", "-31 %"),
        ("3.5 M", "-67 %"),
        ("4.80 ms", "-60 %"),
    ]


def test_a_checkpoint_that_failed_its_check_says_so():
    said = "does not open as it was saved: logits differ by 0.3"
    failed = {"ok": False, "said": said, "problems": ["logits differ by 0.3"]}
    checkpoint = read(changed("checkpoint", failed)).checkpoint
    assert checkpoint is not None
    assert agora_figures.reload_check(checkpoint) == (
        "**The saved checkpoint did not pass its check:** logits differ by 0.3."
    )


# Tables and figures.


def test_the_texts_of_a_round_stand_beside_the_points_made_near_them(report):
    arm = report.arms()["agora"]
    table = agora_figures.texts_table(arm, 1)
    assert len(table) == 26 * 4  # every mistake of round 1 got four points
    row = table.iloc[7]
    assert row["Failing dev text"].startswith("synthetic sentence 1:")
    assert (row["Labeller says"], row["Confidence (%)"], row["Kept"]) == (
        "fresh",
        pytest.approx(55.0),
        "no",
    )
    last = agora_figures.texts_table(arm, 2)
    assert len(last) == 21 and not any(last["Point made near it"])
    assert agora_figures.texts_table(arm, 9).empty


def test_the_tables_are_in_percent_and_points(report):
    rounds = agora_figures.rounds_table(report, report.arms()["agora"])
    assert list(rounds["Gap (points)"].round(6)) == [0.0, 3.0]
    assert list(rounds["Points made"]) == [0, 104] and list(rounds["Points kept"]) == [0, 78]
    assert "Points made" not in agora_figures.rounds_table(report, report.arms()["random"])
    result = agora_figures.result_table(report).set_index("Trained by")
    assert result["Test (%)"]["Agora"] == 77.0
    assert result["Agora is ahead by (points)"]["Plain fine-tuning"] == "+3.0 (+1.0 to +5.0)"
    assert result["Agora is ahead by (points)"]["Agora"] == ""
    assert result["Training (s)"]["Source, fine-tuned"] == 41.0


def test_every_set_and_arm_has_a_colour_and_a_symbol_of_its_own(report):
    drawn = agora_figures.accuracy_figure(report, report.arms()["agora"]).data
    filled, held = drawn[::2], drawn[1::2]
    assert len({(t.line.color, t.marker.symbol) for t in filled}) == 3
    assert [t.marker.symbol + "-open" for t in filled] == [t.marker.symbol for t in held]
    assert list(filled[0].y) == [74.0, 79.0] and list(held[0].y) == [74.0, 76.0]
    arms = [t for t in agora_figures.result_figure(report).data if t.error_x.array]
    assert len({(t.marker.color, t.marker.symbol) for t in arms}) == len(arms) == 5


def test_units_stand_on_every_axis_and_texts_hold_no_tags(report):
    arm = report.arms()["agora"]
    figure = agora_figures.accuracy_figure(report, arm)
    assert figure.layout.yaxis.title.text == "Right on dev (%)"
    leaks = agora_figures.leakage_figure(leakage(report))
    assert leaks.layout.yaxis.title.text == "Gap (points of accuracy)"
    hostile = read(changed("request.theta_names", ["<b>rate</b>", "%{x}"]))
    drawn = agora_figures.accuracy_figure(hostile, hostile.arms()["agora"]).data
    assert not any("<b>" in t.name or "{" in t.name for t in drawn)
    assert "\\<b\\>rate" in agora_figures.pruning(arm.rounds[0], hostile.request)


# Damage.


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("labeller.dev_seen", 1.7, r"^labeller\.dev_seen is 1\.7; it must be within 0 and 1\.$"),
        ("labeller.dev_seen", "high", "must be a number"),
        ("labeller.dev_seen", True, "must be a number"),
        ("data.n_test", -1, r"data\.n_test is -1; it must be within 0 and"),
        ("data.n_test", 2.5, "must be an integer"),
        ("runs.0.arms.agora.rounds.0.accuracies", [0.5] * 4, "at most 3 numbers, one for each"),
        ("runs.0.arms.agora.rounds.1.accuracies", [float("nan")], "within 0 and 1"),
        ("runs.0.arms.agora.rounds.0.accuracies", [None], "without gaps"),
        ("runs.0.arms.agora.rounds.0.theta", [[]], "a list of 1 to 32 values"),
        ("runs.0.arms.agora", [1], r"arms\.agora is a list; it must be an object"),
        ("runs.0.arms", {"magic": {}}, "arm is magic; it must be one of agora, plain"),
        ("runs.0.arms.agora.rounds.1.made.0.points.0.kept", "yes", "true or false"),
        ("test.rows.0.low", 0.9, r"within its interval, 0\.9 to"),
        ("test.rows.0.accuracy", None, "within 0 and 1"),
        ("test.rows.1.against_plain.difference", 0.9, "within its interval"),
        ("test.rows.1.against_plain.low", None, "given with its interval"),
        ("models.1.n_encoder_parameters", 10**9, "at most n_parameters"),
        ("models.0.latency_ms", 10**400, "within 0 and"),
        ("provenance.machine", {}, "provenance.machine is a dict; it must be text"),
        ("schema", 2, "only 1 is known"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_that_says_where(path, value, said):
    with pytest.raises(ValueError, match=said) as e:
        read(changed(path, value))
    assert "\n" not in str(e.value)


def test_missing_parts_mean_not_yet():
    empty = read({"schema": 1})
    assert not empty.begun and empty.rows == () and empty.arms() == {}
    show_all(empty)
    for report in [deepcopy(one) for one, _, _ in snapshots(small_report())]:
        show_all(read(report))
    arm = Arm()
    assert arm.counted == [] and agora_figures.texts_table(arm, 1).empty


def test_a_file_that_is_no_report_is_one_line(tmp_path):
    path = tmp_path / "report.json"
    for text in (b"", b"{", b"\xff", b"[" * 100_000, b'{"schema": 1, "runs": NaN}', b"null"):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=r"report\.json: the report cannot be shown: ") as e:
            agora_report.load(path)
        assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match="cannot be shown"):
        agora_report.load(tmp_path)
    path.write_text(json.dumps(synthetic_report()))
    assert agora_report.load(path) == read(synthetic_report())


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(agora_report, "MOST_BYTES", 10)
    (tmp_path / "report.json").write_text(json.dumps(synthetic_report()))
    with pytest.raises(ValueError, match="it is larger than"):
        agora_report.load(tmp_path / "report.json")


def test_only_reports_of_agora_are_recorded_examples(tmp_path, monkeypatch):
    monkeypatch.setattr(agora_report, "RECORDED", tmp_path)
    for name in ("agora-b.json", "agora-a.json", "minilm-l6.jsonl", "other.json"):
        (tmp_path / name).write_text("{}")
    assert list(agora_report.recorded()) == ["agora-a", "agora-b"]


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([10**400, -(10**20), 1e308, float("nan"), float("inf"), -0.0, 0.5, 1.0]),
    st.text(st.characters(exclude_categories=()), max_size=8),
    st.sampled_from(["\ud800", "<b>", "%{x}", "$x$ ![](x)", "agora", "\x00"]),
    st.lists(
        st.one_of(st.integers(-2, 2), st.floats(), st.none(), st.text(max_size=3)), max_size=4
    ),
    st.dictionaries(st.sampled_from(["seed", "arms", "text", "low"]), st.integers(), max_size=2),
)


def every_path(part: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(part, dict):
        return [p for k, v in part.items() for p in ((*path, k), *every_path(v, (*path, k)))]
    if isinstance(part, list):  # the first two of a list stand for all
        pairs = list(enumerate(part))[:2]
        return [p for k, v in pairs for p in ((*path, k), *every_path(v, (*path, k)))]
    return []


PATHS = every_path(small_report())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PATHS), ODD), min_size=1, max_size=3))
def test_a_mutated_report_is_a_value_that_can_be_shown_or_one_value_error(mutations):
    plain = small_report()
    for path, value in mutations:
        part: Any = plain
        try:
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier mutation took the place away
    try:
        report = read(plain)
    except ValueError as e:
        assert "\n" not in str(e)
        return
    show_all(report)
    json.dumps(agora_figures.title(report)).encode()
