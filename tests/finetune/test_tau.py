"""tau for text: what is near, what is new, and what the labeller is sure enough of."""

from dataclasses import replace

import numpy as np
import pytest
from transformers import AutoConfig, AutoModelForMaskedLM, set_seed

from bort_engine.algorithms.agora import Mistake, RoundId
from bort_engine.encoder.sources import sources
from bort_engine.finetune.tau import (
    Pool,
    Vectors,
    labels_of,
    most_disputed,
    nearest,
    remembered,
    without_repeats,
)
from bort_engine.training.word_swap import mask_tau, tokens_tau

AT = RoundId(2, 1)


class ByHand:
    """Sentence vectors on a circle: "at 30" lies at 30 degrees."""

    def of(self, texts):
        angles = np.radians([float(text.split()[-1]) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def mistakes(*texts):
    return [Mistake(k, text, 0, 1) for k, text in enumerate(texts)]


def at(*angles):
    return [f"at {angle}" for angle in angles]


def pool(angles, known=()):
    return Pool(at(*angles), ByHand().of(at(*angles)), ByHand().of(at(*known)))


def test_a_pool_gives_the_nearest_that_are_free_every_mistake_in_turn():
    # From 20 the order is 30, 0, 60, 90; from 70 it is 60, 90, 30. First 20 takes 30, then 70
    # takes 60; then 20 takes 0, and 70 takes 90.
    taken = set()
    tau = pool([0, 30, 60, 90, 180]).tau(ByHand(), taken)
    assert tau(mistakes("at 20", "at 70"), 2, AT) == [at(30, 0), at(60, 90)]
    taken |= {"at 30"}
    assert tau(mistakes("at 20"), 2, AT) == [at(0, 60)]


def test_a_pool_that_is_used_up_gives_what_there_is():
    assert pool([0, 90]).tau(ByHand(), set())(mistakes("at 1", "at 2"), 3, AT) == [at(0), at(90)]


def test_a_pool_leaves_out_what_nearly_repeats_a_known_text():
    """Cosine 0.95 is 18.2 degrees."""
    assert pool([0, 10, 30, 200], known=[15]).texts == at(200)
    assert pool([0, 40, 200], known=[20]).texts == at(0, 40, 200)


def test_nearest_by_hand():
    cosines = nearest(ByHand().of(at(0, 90)), ByHand().of(at(60, 180)))
    np.testing.assert_allclose(cosines, [0.5, np.cos(np.radians(30))], atol=1e-6)
    assert nearest(ByHand().of(at(0)), np.empty((0, 2))).tolist() == [-1]


def test_of_the_candidates_the_most_disputed_stay():
    counts = []

    def tau(near, m, where):
        counts.append(m)
        return [["a", "b", "c", "d"], ["e", "f"]]

    gap = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.2, "e": 0.3, "f": 0.4}
    chosen = most_disputed(tau, lambda texts: np.array([gap[t] for t in texts]), 2)
    assert chosen(mistakes("x", "y"), 2, AT) == [["b", "c"], ["f", "e"]] and counts == [4]


def test_a_run_that_goes_on_is_given_the_same_points_and_they_stay_taken(tmp_path):
    answers = iter([[["a", "b"]], [["c"]], [["d"]]])
    before, after = set(), set()
    tau = remembered(lambda *_: next(answers), tmp_path, before)
    given = [tau(mistakes("x"), 2, RoundId(number, 1)) for number in (2, 3)]
    again = remembered(lambda *_: next(answers), tmp_path, after)
    assert [again(mistakes("x"), 2, RoundId(number, 1)) for number in (2, 3)] == given
    assert before == after == {"a", "b", "c"}
    assert again(mistakes("x"), 2, RoundId(3, 2)) == [["d"]]


def test_repeats_of_known_texts_of_each_other_and_of_those_taken_are_dropped():
    taken = set()
    tau = without_repeats(
        lambda near, m, where: [at(0, 5, 50), at(52, 120)], ByHand(), ByHand().of(at(125)), taken
    )
    # 5 repeats 0; 52 repeats 50; 120 repeats the known 125.
    assert tau(mistakes("p", "q"), 3, AT) == [at(0, 50), []]
    taken |= {"at 45"}
    assert tau(mistakes("p", "q"), 3, AT) == [at(0), []]


def test_labels_soft_and_hard_and_declined():
    logits = np.log([[0.5, 0.5], [0.1, 0.9]])
    assert labels_of(logits, 0.8, soft=True) == [None, pytest.approx((0.1, 0.9))]
    assert labels_of(logits, 0, soft=False) == [(1.0, 0.0), (0.0, 1.0)]


@pytest.fixture(scope="module")
def minilm(embedded):
    from bort_engine.encoder.build import load_source, load_tokenizer

    return load_source(sources["minilm-l6"]), load_tokenizer(sources["minilm-l6"])


SENTENCES = ("a truly wonderful film about love", "the plot is dull and the actors are bored")


def test_a_fifth_of_the_words_is_swapped_at_a_time_by_neighbours_or_by_a_language_model(
    minilm, tmp_path
):
    model, tokenizer = minilm
    source = sources["minilm-l6"]
    set_seed(0)
    shape = {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 24}
    config = AutoConfig.for_model("bert", vocab_size=30522, num_hidden_layers=1, **shape)
    AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
    with_head = replace(source, name="tiny", weights=str(tmp_path))
    for tau in (tokens_tau(model, tokenizer, seed=0), mask_tau(with_head, tokenizer, seed=0)):
        near = tau(mistakes(*SENTENCES), 4, AT)
        for text, variants in zip(SENTENCES, near, strict=True):
            assert 1 <= len(variants) == len(set(variants)) <= 4
            for variant in variants:
                pairs = list(zip(text.split(), variant.split(), strict=True))
                swapped = [new for old, new in pairs if old != new]
                assert len(swapped) == round(0.2 * len(pairs)) and "".join(swapped).isalpha()
        assert tau(mistakes(*SENTENCES), 4, AT) == near
        assert tau(mistakes(*SENTENCES), 4, RoundId(2, 2)) != near
    with pytest.raises(ValueError, match=r"tau is mask, but minilm-l6 has no masked-language-m"):
        mask_tau(source, tokenizer, seed=0)


def test_sentence_vectors_are_unit_length_in_order_and_near_where_the_meaning_is(minilm):
    texts = ["a wonderful film", "x", "a great movie", "the tax form is due on friday"]
    vectors = Vectors(*minilm).of(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(Vectors(*minilm).of(texts[2:3])[0], vectors[2], atol=0.02)
    assert vectors[0] @ vectors[2] > 0.6 > 0.3 > vectors[0] @ vectors[3]
