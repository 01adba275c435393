"""The rows of the embedded tasks, from the packages that they come in (resources.py)."""

from __future__ import annotations

import html
import re
import tarfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bort_engine.data.resources import fetch, general_texts
from bort_engine.data.splits import SPLIT_SEED, SPLITS, Row, Tables, hold_out, shuffle_split

LEAST_WORDS = 6  # of a sentence in a pair
N_NEAR = 20  # articles among which one with enough sentences is looked for
# After two characters and a full stop, which spares initials and U.S., before a capital letter.
SENTENCE_END = re.compile(r"""(?<=[a-z0-9)"'’%]{2}[.!?])\s+(?=[A-Z"'(])""")  # noqa: RUF001


def rotten_tomatoes() -> Tables:
    """Read the corpus: no plots, no empty, short (under 3 words) or repeated sentences."""
    import pandas as pd

    folder = fetch("rotten-tomatoes")
    table: Any = pd.read_csv(folder / "rotten_tomatoes_corpus_full.csv.bz2").dropna()
    table = table[table["category"] != "plot"]
    table = table[table["text"].str.split().str.len() >= 3].drop_duplicates("text")
    films = np.array(sorted(table["movie_name"].unique()))
    films = films[np.random.default_rng(SPLIT_SEED).permutation(len(films))]
    # A film goes where the share of sentences up to and with its own falls: 80, 90 or 100 %.
    share = table["movie_name"].value_counts()[films].cumsum() / len(table)
    split = table["movie_name"].map(pd.cut(share, [0, 0.8, 0.9, 1], labels=list(SPLITS)))
    rows = table.assign(second="")[["text", "second", "category"]]
    return {name: list(rows[split == name].itertuples(index=False, name=None)) for name in SPLITS}


def train_and_test_files(stem: str) -> Tables:
    """Read Orange's two files of a task: three lines of heading, then a class, a tab and a text.

    Dev is a tenth of the train file, drawn at random.
    """
    folder = fetch("newsgroups-and-reuters")
    tables: Tables = {}
    for split in ("train", "test"):
        lines = (folder / f"{stem}-{split}.tab").read_text("utf-8").splitlines()[3:]
        pairs = (line.split("\t") for line in lines if line)
        tables[split] = [(text.strip(), "", label) for label, text in pairs]
    tables["train"], tables["validation"] = hold_out(tables["train"])
    return {split: tables[split] for split in SPLITS}


def rated_tweets() -> Tables:
    """Read each tweet with the mean of its ratings, out of the archive that the package holds."""
    path = fetch("rated-tweets") / "hutto_ICWSM_2014.tar.gz"
    with tarfile.open(path) as archive:
        file: Any = archive.extractfile("hutto_ICWSM_2014/tweets_GroundTruth.txt")
        lines = file.read().decode().splitlines()
    rows = (line.split("\t") for line in lines)
    return shuffle_split([(html.unescape(text), "", float(mean)) for _, mean, text in rows])


def same_article() -> Tables:
    """Make pairs of sentences: of one Wikipedia introduction, or of it and the nearest other one.

    Articles are split first. Each gives one pair, in turn of itself and with a sentence of the
    nearest article of its split, by the cosine of TF-IDF vectors. Both kinds are drawn at the same
    places of an introduction, since what stands first tells an article's first sentence.
    """
    from sklearn import config_context
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    articles = [
        [
            text
            for text in SENTENCE_END.split(" ".join(article.split()))
            if len(text.split()) >= LEAST_WORDS
        ]
        for article in general_texts()
    ]
    rng, tables = np.random.default_rng(SPLIT_SEED), {}
    for split, group in shuffle_split([texts for texts in articles if len(texts) > 1]).items():
        terms = TfidfVectorizer(stop_words="english", sublinear_tf=True, min_df=2)
        vectors = terms.fit_transform(" ".join(texts) for texts in group)
        index = NearestNeighbors(n_neighbors=N_NEAR, metric="cosine").fit(vectors)
        rows: list[Row] = []
        # 64 MiB of distances at a time: 1.3 s, where all at once take 6.5 s and 1 GB.
        with config_context(working_memory=64):
            nearest = index.kneighbors(return_distance=False)
        for at, near in enumerate(nearest):
            first, second = sorted(rng.choice(len(group[at]), 2, replace=False))
            others = [other for other in near if len(group[other]) > second]
            if at % 2:
                rows.append((group[at][first], group[at][second], "same"))
            elif others:
                rows.append((group[at][first], group[others[0]][second], "different"))
        tables[split] = rows
    return tables


# By task: the resource that it is read from, and what reads it.
LOADERS: dict[str, tuple[str, Callable[[], Tables]]] = {
    "rotten-tomatoes": ("rotten-tomatoes", rotten_tomatoes),
    "newsgroups": ("newsgroups-and-reuters", partial(train_and_test_files, "20newsgroups")),
    "reuters-r8": ("newsgroups-and-reuters", partial(train_and_test_files, "reuters-r8")),
    "rated-tweets": ("rated-tweets", rated_tweets),
    "same-article": ("wikipedia-introductions", same_article),
}
