"""The user's own files: every text comes back, every mistake is named."""

import gzip
import os
from collections import Counter
from functools import partial
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bort_engine.data import files
from bort_engine.data.files import columns
from bort_engine.data.tasks import find_task, load_task, load_test
from tests.data.samples import GOOD, load_all, write, write_folder

ENDINGS = ("csv", "tsv", "jsonl", "csv.gz", "tsv.gz", "jsonl.gz", "parquet")
PAIRS = [(f"text {n}", f"pair {n}", "12"[n % 2]) for n in range(100)]
# On a busy machine; each example has a path of its own, as files are known by path and time.
unhurried = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_is_split_80_10_10_the_same_way_each_time(tmp_path, ending):
    name = write(tmp_path / f"reviews.{ending}", [*GOOD, GOOD[3], ("  ", "no")])
    task = find_task(name)
    assert (task.name, task.title, task.labels) == (name, f"reviews.{ending}", ("no", "yes"))
    assert task.note == (
        f"100 texts from reviews.{ending} (80 train, 10 validation, 10 test), split 80/10/10 by a "
        "shuffle with seed 0; 1 empty and 1 repeated ones dropped"
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


def test_the_digest_is_of_what_trains_and_validates(tmp_path):
    def digest(name, query="?second=b", **changes):
        (tmp_path / name).mkdir()
        names = ("text", "b", "label")
        rows = {"train": PAIRS, "dev": [("c", "d", "1")], "test": [("e", "f", "2")]} | changes
        return find_task(write_folder(tmp_path / name, **rows, columns=names) + query).digest

    digests = [
        digest("first"),
        digest("dev label", dev=[("c", "d", "2")]),
        digest("fewer", train=PAIRS[1:]),
        digest("second text", dev=[("c", "x", "1")]),
        digest("numbers", query="?second=b&kind=number"),
        digest("no pairs", query=""),
    ]
    assert len(set(digests)) == len(digests)
    assert digest("again") == digest("test", test=[("other", "f", "2")]) == digests[0]
    assert find_task("rotten-tomatoes").digest == ""


@pytest.mark.parametrize("ending", ENDINGS)
def test_numbers_to_predict_are_read_as_they_are(tmp_path, ending):
    numbers = [n / 7 - 3 for n in range(100)]
    rows = [(f"text {n}", number) for n, number in enumerate(numbers)]
    name = write(tmp_path / f"a.{ending}", rows) + "?kind=number"
    splits = {**load_task(name), "test": load_test(name)}
    assert sorted(label for split in splits.values() for label in split["label"]) == numbers
    assert splits["train"][0] == {"text": "text 82", "label": 82 / 7 - 3}


def test_a_pair_is_repeated_where_both_texts_are_and_empty_where_one_is(tmp_path):
    rows = [*PAIRS, ("text 0", "pair 1", "1"), PAIRS[5], ("text 7", " ", "1"), ("", "text 7", "1")]
    name = write(tmp_path / "a.csv", rows, ("text", "b", "label")) + "?second=b"
    assert find_task(name).note == (
        "101 pairs of texts from a.csv (80 train, 10 validation, 11 test), split 80/10/10 by a "
        "shuffle with seed 0; 2 empty and 1 repeated ones dropped"
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.TXT", b"", r"a.TXT has the ending '.txt'; allowed: .csv, .tsv, .*, .parquet. Convert"),
        ("a.txt.gz", b"", r"a.txt.gz has the ending '.gz'; allowed: .*.csv.gz"),
        ("a.csv", b"", r"a.csv has the columns none; it needs text and label. Rename"),
        ("a.jsonl", b" \n", r"a.jsonl has the columns none; it needs text and label"),
        ("a.csv", b"text;label\n", r"has semicolons where commas belong: 'text;label'; save it wi"),
        ("a.tsv", b"text;label\n", r"has the columns 'text;label'; it needs text and label"),
        ("a.tsv", b"text\tlabel\na\n", r"line 2 is damaged \(1 cells .*; put texts with tabs, quo"),
        ("a.csv.gz", b"text,label", r"a.csv.gz is damaged \(Not a gzipped file .*; compress it ag"),
        ("a.csv.gz", gzip.compress(b"text,label")[:-1], r"is damaged \(Compressed file ended bef"),
        ("a.csv.gz", gzip.compress(b"text,label\n\xff"), r"is not UTF-8 at byte 11 \(0xff\)"),
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
            r"has 160 labels, such as .*; at most 100 are allowed. Numbers to .*\?kind=number",
        ),
        ("a.csv?text=t", b"text,label\n", r"the columns 'text', 'label'; it needs t and label"),
        ("a.csv?second=b", b"text,label\n", r"'text', 'label'; it needs text and b and label"),
        ("a.csv", b"text,label, text\n", r"has 2 columns named 'text'; rename all but one"),
        ("a.jsonl", b'{"text": "", "label": 1, "label": 2}', r"has 2 columns named 'label'"),
        ("a.csv?kind=number", b'text,label\na,"1,5"', r"line 2: label is 1,5 \(str\); allow"),
        ("a.csv?kind=number", b"text,label\na,inf", r"label is inf \(str\); allowed: a number"),
        ("a.jsonl?kind=number", b'{"text": "a", "label": 1e400}', r"label is inf \(float\); all"),
        ("a.jsonl?kind=number", b'{"text": "a", "label": [1]}', r"label is \[1\] \(list\); all"),
        (
            "a.csv?kind=number",
            [(t, "7") for t, _ in GOOD],
            r"has the label '7.0' only in its",
        ),
    ],
)
def test_a_mistake_in_a_file_is_named_in_one_line(tmp_path, name, content, words):
    name, _, query = name.partition("?")
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else write(path, content)
    with pytest.raises(ValueError, match=words) as refusal:
        find_task(f"{path}?{query}" if query else str(path))
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
    (tmp_path / "test.csv").rename(tmp_path / "test.txt")
    check_refusal(r"the test split, and has none; give one, named test, with one of the endings")


@pytest.mark.parametrize("ending", ENDINGS)
def test_columns_of_a_file_and_of_a_folder(tmp_path, ending):
    names = ("id", "Text, long", "y")
    rows = [(text, text, label) for text, label in GOOD]
    assert columns(write(tmp_path / f"a.{ending}", rows, names)) == names
    write_folder(tmp_path, rows, rows, rows, ending, columns=names)
    assert columns(tmp_path) == names


def test_the_ending_of_a_split_may_be_of_a_packed_file(tmp_path):
    write_folder(tmp_path, ending="tsv.gz")
    assert load_all(str(tmp_path))["train"] == GOOD


def test_what_is_too_large_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.touch()
    os.truncate(path, 612_000_000)  # a hole: no disk is used
    with pytest.raises(ValueError, match=r"a.csv has 612 MB; allowed: 500 MB and 1,000,000 rows"):
        find_task(str(path))
    parquet = write(tmp_path / "a.parquet", [(f"{n} " + "x" * 1000, "no") for n in range(10_000)])
    monkeypatch.setattr(files, "MOST_ROWS", 99)
    with pytest.raises(ValueError, match=r"has more than 99 rows; allowed: 500 MB and 99 rows"):
        find_task(write(path, GOOD))
    monkeypatch.setattr(files, "MOST_BYTES", os.path.getsize(parquet))
    with pytest.raises(ValueError, match=r"a.parquet has \d+ MB when unpacked; allowed: "):
        find_task(parquet)
    # Its end is missing, which is not noticed: no more is read than is allowed.
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(b" " * 10**7)[:-99])
    monkeypatch.setattr(files, "MOST_BYTES", 5_000_000)
    with pytest.raises(ValueError, match=r"a.jsonl.gz has over 5 MB when unpacked; allowed: 5 MB"):
        find_task(str(packed))
