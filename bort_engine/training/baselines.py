"""What a sensible user would try first: a linear model on words, or on a frozen encoder's vectors.

Both read a text's features and fit scikit-learn's logistic regression (ridge regression, where
labels are numbers); how strongly it is regularised is chosen on dev.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bort_engine.training import metrics
from bort_engine.training.vectors import Vectors

if TYPE_CHECKING:
    from datasets import Dataset

    from bort_engine.encoder.sources import Source

STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # C of a logistic regression; a ridge's alpha is 1 / C


class Features(Protocol):
    """Turns a split's texts, or pairs of them, into a matrix (rows, features)."""

    def fit(self, train: Dataset) -> None: ...

    def of(self, split: Dataset) -> Any: ...


class Words:
    """TF-IDF of the words and pairs of words in the whole text, however long it is.

    Of a pair of texts: what both weigh alike and what they do not, |a - b| and a * b.
    """

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.terms: Any = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)

    def fit(self, train: Dataset) -> None:
        self.terms.fit([text for texts in _texts(train) for text in texts])

    def of(self, split: Dataset) -> Any:
        from scipy.sparse import hstack

        first, *others = (self.terms.transform(texts) for texts in _texts(split))
        if not others:
            return first
        return hstack([abs(first - others[0]), first.multiply(others[0])]).tocsr()


class FrozenVectors:
    """The source's sentence vectors; of a pair of texts u, v, |u - v| and u * v."""

    def __init__(self, vectors: Vectors, source: Source) -> None:
        self.vectors, self.source = vectors, source

    def fit(self, train: Dataset) -> None:
        """Nothing is to be learnt."""

    def of(self, split: Dataset) -> np.ndarray:
        u, *others = (self.vectors.cached(texts, self.source) for texts in _texts(split))
        if not others:
            return u
        v = others[0]
        return np.hstack([u, v, abs(u - v), u * v])


def _texts(split: Dataset) -> list[list[str]]:
    """Return a split's texts, and those that stand beside them where they are pairs."""
    return [list(split[name]) for name in ("text", "second") if name in split.column_names]


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear model on features. `seconds` is what fitting took, the features' included."""

    features: Features
    model: Any
    n_outputs: int
    seconds: float

    @classmethod
    def fit(cls, features: Features, train: Dataset, dev: Dataset, n_outputs: int) -> Linear:
        """Fit one model a strength and return the best on dev.

        Args:
            n_outputs: classes, or 1 where labels are numbers.
        """
        start = perf_counter()
        features.fit(train)
        rows, labels = features.of(train), np.array(train["label"])
        dev_rows, dev_labels = features.of(dev), np.array(dev["label"])
        models = [_regression(strength, n_outputs).fit(rows, labels) for strength in STRENGTHS]
        errors = [metrics.error(dev_labels, _outputs(m, dev_rows, n_outputs)) for m in models]
        best = models[int(np.argmin(errors))]
        return cls(features, best, n_outputs, round(perf_counter() - start, 1))

    def outputs(self, split: Dataset) -> np.ndarray:
        """Return log-probabilities (n, classes), or numbers (n, 1)."""
        return _outputs(self.model, self.features.of(split), self.n_outputs)

    @property
    def n_parameters(self) -> int:
        """Weights of the linear model alone."""
        return int(self.model.coef_.size + np.size(self.model.intercept_))


def _regression(strength: float, n_outputs: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    if n_outputs == 1:
        return Ridge(alpha=1 / strength)
    return LogisticRegression(C=strength, max_iter=1000)


def _outputs(model: Any, rows: Any, n_outputs: int) -> np.ndarray:
    if n_outputs == 1:
        return model.predict(rows)[:, None]
    outputs = np.full((rows.shape[0], n_outputs), -1e9)  # of a class that train lacks
    outputs[:, model.classes_] = model.predict_log_proba(rows)
    return outputs
