"""Linear models on words and on frozen vectors: by hand, on pairs, on numbers."""

import numpy as np
import pytest
from datasets import Dataset

from bort_engine.training import metrics
from bort_engine.training.baselines import FrozenVectors, Linear, Words


def rows(labels, texts, second=None):
    columns = {"text": texts, "label": labels} | ({"second": second} if second else {})
    return Dataset.from_dict(columns)


FILMS = ["a fine film", "a dull film", "fine work", "dull work", "so fine", "so dull"] * 10


def test_words_tell_classes_apart():
    data = rows([0, 1] * 30, FILMS)
    model = Linear.fit(Words(), data, data, 3)
    outputs = model.outputs(rows([0, 1], ["what a fine thing", "dull"]))
    assert outputs.argmax(1).tolist() == [0, 1]
    assert outputs.shape == (2, 3) and (outputs[:, 2] < -1e8).all()  # a class without rows
    assert np.exp(outputs[:, :2]).sum(1) == pytest.approx([1, 1])


def test_words_of_a_pair_are_what_both_have_and_what_one_has():
    words = Words()
    pair = rows([0], ["red car"], ["red house"])
    words.terms.set_params(min_df=1, ngram_range=(1, 1))
    words.fit(pair)
    different, common = np.split(words.of(pair).toarray()[0], 2)
    names = list(words.terms.get_feature_names_out())  # car, house, red
    # "red" is in both texts, so that its weight is 1; the others' is ln(3/2) + 1; unit length.
    rare = np.log(1.5) + 1
    length = np.hypot(1, rare)
    expected = {"car": rare / length, "house": rare / length, "red": 0.0}
    assert different == pytest.approx([expected[name] for name in names])
    assert common == pytest.approx([0, 0, 1 / length**2])


def test_numbers_follow_words():
    labels = [1.0, -1.0] * 30
    data = rows(labels, FILMS)
    model = Linear.fit(Words(), data, data, 1)
    outputs = model.outputs(data)
    assert outputs.shape == (60, 1) and metrics.error(np.array(labels), outputs) < 0.01


class Lengths:
    """Stands in for an encoder: a text's number of words, and 1."""

    def cached(self, texts, source):
        return np.array([[len(text.split()), 1.0] for text in texts])


def test_vectors_of_a_pair_stand_beside_their_difference_and_product():
    features = FrozenVectors(Lengths(), None)
    pair = rows([0], ["one two three"], ["one"])
    assert features.of(pair).tolist() == [[3, 1, 1, 1, 2, 0, 3, 1]]
    assert features.of(rows([0], ["one two"])).tolist() == [[2, 1]]


def test_the_strength_is_the_best_on_dev():
    train = rows([0, 1] * 30, ["one", "one two"] * 30)
    dev = rows([0, 1] * 5, ["one", "one two"] * 5)
    model = Linear.fit(FrozenVectors(Lengths(), None), train, dev, 2)
    assert metrics.error(np.array(dev["label"]), model.outputs(dev)) == 0
    assert model.n_parameters == 3
