"""The real data: split so that nothing is learnt from what is tested on, and as their notes say."""

from collections import defaultdict

import pytest

from bort_engine.data.embedded import LOADERS, SENTENCE_END
from bort_engine.data.resources import fetch, general_texts
from bort_engine.data.summary import summary
from bort_engine.data.tasks import TASKS, find_task, load_task, load_test
from tests.data.samples import load_all


@pytest.fixture
def folder(request):
    """The folder with a task's data; without a registry, a reason to skip."""
    try:
        return fetch(LOADERS[request.param][0])
    except ValueError as e:
        pytest.skip(f"the data of {request.param} cannot be had here: {e}")


def of(*names):
    return pytest.mark.parametrize("folder", names, indirect=True)


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


@pytest.mark.parametrize(
    ("folder", "sizes", "majority"),
    [
        ("rotten-tomatoes", (10_100, 1_267, 1_292), ("fresh", 0.547)),
        ("newsgroups", (10_138, 1_128, 7_521), ("misc.forsale", 0.066)),
        ("reuters-r8", (4_874, 545, 2_176), ("earn", 0.550)),
        ("rated-tweets", (3_360, 420, 420), ("", 0.0)),
        ("same-article", (7_408, 924, 924), ("same", 0.503)),
    ],
    indirect=["folder"],
)
def test_sizes_are_those_of_the_note(folder, sizes, majority, request):
    name = request.node.callspec.params["folder"]
    rows = summary(name)
    assert tuple(rows.n_rows.values()) == sizes
    assert find_task(name).note.startswith(f"{sum(sizes):,} ")
    assert (rows.majority, round(rows.majority_share, 3)) == majority
    assert tuple(label for label, _ in rows.classes) == TASKS[name].labels


@of("newsgroups")
def test_newsgroups_keep_their_test_file_and_threads_are_in_train_and_dev(folder):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import ComplementNB

    splits = load_all("newsgroups")
    for split, file in (("train", "train"), ("validation", "train"), ("test", "test")):
        lines = (folder / f"20newsgroups-{file}.tab").read_text().splitlines()
        rows = {tuple(map(str.strip, line.split("\t"))) for line in lines}
        assert {(label, text) for text, label in splits[split]} <= rows
    words = TfidfVectorizer(sublinear_tf=True, min_df=2)
    texts, labels = zip(*splits["train"], strict=True)
    model = ComplementNB(alpha=0.1).fit(words.fit_transform(texts), labels)
    for split, accuracy in (("validation", 0.89), ("test", 0.83)):
        texts, labels = zip(*splits[split], strict=True)
        assert model.score(words.transform(texts), labels) == pytest.approx(accuracy, abs=0.005)
    names = [
        (text, f" {label.replace('.', ' ').replace('-', ' ')} ") for text, label in splits["train"]
    ]
    assert sum(name in f" {text} " for text, name in names) / len(names) == pytest.approx(
        0.03, abs=0.005
    )


@of("rated-tweets")
def test_tweets_have_the_mean_of_their_ratings(folder):
    splits = {**load_task("rated-tweets"), "test": load_test("rated-tweets")}
    ratings = {row["text"]: row["label"] for rows in splits.values() for row in rows}
    assert len(ratings) == 4_200
    # The fourth line of the file, and the third, in which an ampersand was written as &amp;
    assert ratings["LMAO, AMAZING!"] == 2.857142857
    line = next(
        text for text in ratings if text.startswith("We were 17 deep last night & the love")
    )
    assert ratings[line] == 2.873684211
    assert all(-4 <= rating <= 4 for rating in ratings.values())


@of("same-article")
def test_pairs_are_of_one_article_or_two_and_articles_of_one_split(folder):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    homes = defaultdict(set)  # of a sentence; four stand in two articles
    for number, article in enumerate(general_texts()):
        for sentence in SENTENCE_END.split(" ".join(article.split())):
            homes[sentence].add(number)
    splits = {**load_task("same-article"), "test": load_test("same-article")}
    articles = []
    for rows in splits.values():
        pairs = [(homes[row["text"]], homes[row["second"]], row["label"]) for row in rows]
        assert all(bool(first & second) == label for first, second, label in pairs)
        assert sum(label for *_, label in pairs) / len(pairs) == pytest.approx(0.5, abs=0.005)
        articles.append({min(home) for *pair, _ in pairs for home in pair if len(home) == 1})
    assert sum(map(len, articles)) == len(set.union(*articles))
    train, dev = splits["train"], splits["validation"]
    words = TfidfVectorizer(sublinear_tf=True).fit([*train["text"], *train["second"]])

    def similarity(rows):
        product = words.transform(rows["text"]).multiply(words.transform(rows["second"]))
        return product.sum(1).A

    model = LogisticRegression().fit(similarity(train), train["label"])
    assert model.score(similarity(dev), dev["label"]) == pytest.approx(0.57, abs=0.005)
