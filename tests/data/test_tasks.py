"""Real data, split by film; the user's own files, every mistake named; the test split locked."""

import csv
import json
import os
import re
from collections import Counter
from functools import partial
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bort_engine.data import tasks
from bort_engine.data.tasks import TASKS, find_task, load_task, load_test

ENDINGS = ("csv", "jsonl", "parquet")
# On a busy machine; each example has a path of its own, as files are known by path and time.
unhurried = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
GOOD = [(f"text {n}", ("no", "yes")[n % 2]) for n in range(100)]


def write(path, rows, columns=("text", "label")):
    """Write rows as the path's ending says."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *rows])
    elif path.suffix == ".jsonl":
        path.write_text(
            "".join(json.dumps(dict(zip(columns, r, strict=True))) + "\n" for r in rows)
        )
    else:
        values = zip(*rows, strict=True) if rows else [[] for _ in columns]
        pq.write_table(pa.table(dict(zip(columns, map(list, values), strict=True))), path)
    return str(path)


def write_folder(folder, train=GOOD, dev=(("a", "no"),), test=(("b", "yes"),), ending="csv"):
    for name, rows in (("train", train), ("dev", dev), ("test", test)):
        write(folder / f"{name}.{ending}", rows)
    return str(folder)


def load_all(name):
    """All three splits as lists of (text, label in words)."""
    labels = find_task(name).labels
    splits = {**load_task(name), "test": load_test(name)}
    return {
        split: [(text, labels[n]) for text, n in zip(rows["text"], rows["label"], strict=True)]
        for split, rows in splits.items()
    }


def test_the_corpus_is_split_by_film_and_holds_every_clean_sentence_once(embedded):
    import pandas as pd

    splits = load_task("rotten-tomatoes")
    assert sorted(splits) == ["train", "validation"]  # the test split is not handed out
    assert splits["train"].column_names == ["text", "label"]
    splits = load_all("rotten-tomatoes")
    sizes = {name: len(rows) for name, rows in splits.items()}
    assert sizes == {"train": 10_100, "validation": 1_267, "test": 1_292}
    texts = [text for rows in splits.values() for text, _ in rows]
    assert len(set(texts)) == len(texts)
    assert all(len(text.split()) >= 3 for text in texts)
    table = pd.read_csv(embedded / "rotten_tomatoes_corpus_full.csv.bz2").dropna()
    columns = zip(table["text"], table["movie_name"], table["category"], strict=True)
    origin = {text: (film, label) for text, film, label in columns}
    assert all(origin[text][1] == label for rows in splits.values() for text, label in rows)
    films = [{origin[text][0] for text, _ in rows} for rows in splits.values()]
    assert sum(map(len, films)) == len(set.union(*films)) == 507


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_is_split_80_10_10_the_same_way_each_time(tmp_path, ending):
    name = write(tmp_path / f"reviews.{ending}", [*GOOD, GOOD[3], ("  ", "no")])
    task = find_task(name)
    assert (task.name, task.title, task.labels) == (name, f"reviews.{ending}", ("no", "yes"))
    assert task.note == (
        f"100 texts from reviews.{ending} (80 train, 10 validation, 10 test), split 80/10/10 by a "
        "shuffle with seed 0; 1 empty and 1 repeated ones dropped; at most 64 tokens are read"
    )
    splits = load_all(name)
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [80, 10, 10]
    assert sorted(row for rows in splits.values() for row in rows) == sorted(GOOD)
    # numpy.random.default_rng(0).permutation(100) begins with 82, 36, 20.
    assert [text for text, _ in splits["train"][:3]] == ["text 82", "text 36", "text 20"]
    assert load_task(name)["train"].column_names == ["text", "label"]
    assert [path.name for path in tmp_path.iterdir()] == [f"reviews.{ending}"]


@pytest.mark.parametrize("dev", ["dev", "validation"])
def test_a_folder_keeps_its_splits_and_a_repeated_text_stays_where_it_is_not_learnt(tmp_path, dev):
    write_folder(
        tmp_path,
        dev=[("a", "no"), ("text 1", "no"), ("both", "yes")],
        test=[("both", "no"), ("text 0", "yes"), ("both", "yes")],
    )
    (tmp_path / "dev.csv").rename(tmp_path / f"{dev}.csv")
    (tmp_path / "README.md").write_text("not a split")
    splits = load_all(str(tmp_path))
    assert splits["test"] == [("both", "no"), ("text 0", "yes")]
    assert splits["validation"] == [("a", "no"), ("text 1", "no")]
    assert splits["train"] == GOOD[2:]
    assert "98 train, 2 validation, 2 test), split by file; 0 empty and 4 repeated" in (
        find_task(str(tmp_path)).note
    )


@pytest.mark.parametrize("ending", ENDINGS)
@unhurried
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=40),
    labels=st.lists(st.sampled_from(["no", "yes"]), min_size=40, max_size=40),
)
def test_any_texts_come_back_once_each_with_their_labels(tmp_path, ending, texts, labels):
    rows = [*zip(texts, labels, strict=False), *GOOD]
    splits = load_all(write(tmp_path / f"{uuid4()}.{ending}", rows))
    expected = {text: label for text, label in reversed(rows) if text.strip()}  # the first stays
    assert Counter(row for split in splits.values() for row in split) == Counter(expected.items())
    assert abs(len(splits["train"]) - 0.8 * len(expected)) < 1
    assert abs(len(splits["test"]) - 0.1 * len(expected)) <= 1


@unhurried
@given(
    labels=st.sampled_from(
        [st.integers(-(10**17), 10**17), st.text().map(lambda text: f"é{text}".strip())]
    ).flatmap(partial(st.lists, min_size=2, max_size=100, unique=True))
)
def test_labels_are_numbered_in_order_and_come_back(tmp_path, labels):
    train = [(f"text {n}", labels[n % len(labels)]) for n in range(100)]
    folder = tmp_path / str(uuid4())
    folder.mkdir()
    name = write_folder(folder, train, [("a", labels[0])], [("b", labels[-1])], "jsonl")
    assert find_task(name).labels == tuple(map(str, sorted(labels)))
    splits = load_all(name)
    assert splits["train"] == [(text, str(label)) for text, label in train]
    assert splits["validation"] + splits["test"] == [("a", str(labels[0])), ("b", str(labels[-1]))]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((10, 9), ("9", "10")),
        ((1.0, 0.0), ("0", "1")),  # integers once a row of them was empty
        ((" b ", "a"), ("a", "b")),
        (("10", "9", "x"), ("10", "9", "x")),
        (("\ud800", "a"), ("?", "a")),  # half of a surrogate pair, which only JSON can hold
    ],
)
def test_labels_may_be_strings_or_integers(tmp_path, labels, expected):
    rows = [(f"text {n}", labels[n % len(labels)]) for n in range(100)]
    assert find_task(write(tmp_path / "a.jsonl", rows)).labels == expected


@pytest.mark.parametrize("ending", ENDINGS)
def test_odd_texts_survive_and_endless_ones_are_cut(tmp_path, ending):
    odd = ["a\0b\x07", 'say "hi",\r\nthen', "\ufeffmark", "NA", "\U0001f600" * 100_000]
    rows = [*((text, "no") for text in odd), *GOOD]
    splits = load_all(write(tmp_path / f"a.{ending}", rows))
    texts = {text for rows in splits.values() for text, _ in rows}
    assert texts == {text[:20_000] for text in odd} | {text for text, _ in GOOD}


def test_a_byte_order_mark_spaces_in_the_heading_and_other_columns_do_no_harm(tmp_path):
    path = tmp_path / "a.CSV"
    lines = [f"{n},{label}, {text}\r\n" for n, (text, label) in enumerate(GOOD)]
    path.write_bytes(("\ufeffid, label , text\r\n" + "\r\n".join(lines)).encode())
    assert find_task(str(path)).labels == ("no", "yes")
    assert " text 82" in load_task(str(path))["train"]["text"][:]


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    read, calls = tasks._read, []
    monkeypatch.setattr(tasks, "_read", lambda path: calls.append(path.name) or read(path))
    name = write(tmp_path / "a.csv", GOOD)
    first = find_task(name)
    load_task(name)
    assert find_task(name) == first and calls == ["a.csv"]
    write(tmp_path / "a.csv", [*GOOD[1:], ("text 0", "yes")])
    os.utime(name, ns=(1, 1))
    second = find_task(name)
    assert second.digest != first.digest and calls == ["a.csv", "a.csv"]


def test_the_digest_is_of_what_trains_and_validates(tmp_path):
    def digest(name, **changes):
        (tmp_path / name).mkdir()
        return find_task(write_folder(tmp_path / name, **changes)).digest

    first = digest("a")
    assert digest("b") == digest("c", test=[("other", "no")]) == first
    assert first != digest("d", dev=[("a", "yes")]) != digest("e", train=GOOD[1:]) != first
    assert find_task("rotten-tomatoes").digest == ""


def test_a_built_in_name_wins_over_a_file_and_a_relative_path_is_resolved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "rotten-tomatoes").mkdir()
    assert find_task("rotten-tomatoes") is TASKS["rotten-tomatoes"]
    write(tmp_path / "a.csv", GOOD)
    for name in ("a.csv", "./a.csv", "~/a.csv"):
        assert find_task(name).name == str((tmp_path / "a.csv").resolve())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tsv", b"", r"a.tsv has the ending '.tsv'; allowed: .csv, .jsonl, .parquet. Convert"),
        ("a.csv", b"", r"a.csv has the columns none; it needs text and label. Rename"),
        ("a.jsonl", b" \n", r"a.jsonl has the columns none; it needs text and label"),
        ("a.csv", b"text;label\n", r"has the columns 'text;label'; it needs text and label"),
        ("a.jsonl", b'{"sentence": 1, "y": 2}', r"has the columns 'sentence', 'y'; it needs text"),
        ("a.csv", b"text,label\ncaf\xe9,1\n", r"is not UTF-8 at byte 14 \(0xe9\); save it as"),
        (
            "a.jsonl",
            b'\xef\xbb\xbf{"text": "a", "label": 1}\n\xff',
            r"is not UTF-8 at byte 29 \(0xff\)",
        ),
        (
            "a.csv",
            b"text,label\na,1\nb,c,1\n",
            r"line 3 is damaged \(3 cells where the first line has 2\); put texts with commas",
        ),
        ("a.csv", b'text,label\n"a,1\nb,1\n', r"line 3 is damaged \(unexpected end of data\)"),
        ("a.csv", b"text,label\n" + b"x" * 200_000, r"line 2 is damaged \(field larger than"),
        (
            "a.jsonl",
            b'{"text": "a", "label": 1}\n\n{"text": "b" "label": 1}\n',
            r"line 3 is damaged \(Expecting ',' delimiter at character 14\); write one JSON",
        ),
        ("a.jsonl", b"[1]\n", r"line 1 is damaged \(a list, not an object\)"),
        ("a.jsonl", b"[" * 10**6, r"line 1 is damaged \(.*recursion"),
        ("a.parquet", b"PAR1 or not", r"a.parquet is damaged \(Parquet magic bytes not found.*\);"),
        ("a.csv", [*GOOD, ("a", "")], r"line 102 has no label; give each row one, or delete"),
        ("a.jsonl", [*GOOD, ("a", float("nan"))], r"line 101 has no label; give"),
        ("a.parquet", [*GOOD, ("a", None)], r"row 101 has no label; give"),
        ("a.jsonl", [("a", 0.5)], r"line 1: label is 0.5 \(float\); allowed: a string or an int"),
        ("a.parquet", [(b"a", 1)], r"row 1: text is b'a' \(bytes\); it must be a string"),
        ("a.csv", GOOD[:60], r"has 48 train, 6 validation, 6 test texts \(0 empty and 0 repeated"),
        ("a.csv", [("same", "no")] * 100, r"\(0 empty and 99 repeated ones dropped\); at least 50"),
        ("a.csv", [(t, "no") for t, _ in GOOD], r"has the label 'no' only in its train split"),
        (
            "a.csv",
            [(f"text {n}", n / 7) for n in range(200)],
            r"has 160 labels, such as .*; at most 100 are allowed. Numbers to predict \(regress",
        ),
    ],
)
def test_a_mistake_in_a_file_is_named_in_one_line(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else write(path, content)
    with pytest.raises(ValueError, match=words) as refusal:
        find_task(str(path))
    assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)


def test_a_mistake_in_a_folder_is_named(tmp_path):
    def check_refusal(words):
        with pytest.raises(ValueError, match=words):
            find_task(str(tmp_path))

    write_folder(tmp_path, dev=[])
    check_refusal(r"has 100 train, 0 validation, 1 test texts .* and 1 in each other split")
    write_folder(tmp_path, dev=[("a", "maybe")])
    check_refusal(r"label 'maybe' in its validation split but not in train, which has 'no', 'yes';")
    write(tmp_path / "validation.jsonl", GOOD)
    check_refusal(r"the validation split, and has dev.csv and validation.jsonl; give one, named")
    (tmp_path / "validation.jsonl").unlink()
    (tmp_path / "test.csv").rename(tmp_path / "test.tsv")
    check_refusal(r"the test split, and has none; give one, named test, with one of the endings")


@pytest.mark.parametrize("name", ["nope", "/dev/null", "", "x" * 5000, "a\0b"])
def test_what_is_not_there_is_refused(name):
    words = rf"{re.escape(repr(name[:300]))} is not known; .*tomatoes, or the path of a file \(.csv"
    with pytest.raises(ValueError, match=words):
        find_task(name)


def test_what_is_too_large_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.touch()
    os.truncate(path, 612_000_000)  # a hole: no disk is used
    with pytest.raises(ValueError, match=r"a.csv has 612 MB; allowed: 500 MB and 1,000,000 rows"):
        find_task(str(path))
    parquet = write(tmp_path / "a.parquet", [(f"{n} " + "x" * 1000, "no") for n in range(10_000)])
    monkeypatch.setattr(tasks, "MOST_ROWS", 99)
    with pytest.raises(ValueError, match=r"has more than 99 rows; allowed: 500 MB and 99 rows"):
        find_task(write(path, GOOD))
    monkeypatch.setattr(tasks, "MOST_BYTES", os.path.getsize(parquet))
    with pytest.raises(ValueError, match=r"a.parquet has \d+ MB when unpacked; allowed: "):
        find_task(parquet)
