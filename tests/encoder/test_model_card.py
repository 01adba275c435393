"""A model card holds what was computed by hand, and any text stays in its place."""

import re

from huggingface_hub import ModelCard

from bort_engine.encoder.model_card import Card, Latency, Metric, write_card
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.timing import LatencySettings
from tests.encoder.test_build import FAMILIES

LABELS = ("bad", "middling", "good")
SMALL = Architecture(2, 2, 16, 12)


def card_of(source, architecture=SMALL, **changes):
    values = {
        "title": "Film reviews",
        "labels": LABELS,
        "data": "made up",
        "method": "none",
        "seed": 7,
        "versions": "torch 0",
        "made_on": "2000-01-01",
    }
    return Card(architecture, source, **(values | changes))


def load_card(folder, family="bert", **changes):
    path = folder / "README.md"
    write_card(card_of(FAMILIES[family], **changes), path, size_bytes=2_345_678, positions=40)
    return ModelCard.load(path)


def test_the_card_says_what_was_computed_by_hand_and_survives_any_text(tmp_path):
    # D,A,H,I = 2,2,16,12 of a BERT with 50 words, 40 positions and 2 token types:
    #   embeddings (50 + 40 + 2 + 2) * 16                       = 1,504
    #   a layer    4*16*16 + 2*16*12 + 9*16 + 12 = 1,564; twice = 3,128
    #   pooler     16*16 + 16                                   =   272; in all 4,904
    # 4,4,32,48: 3,008 + 4 * 7,504 + 1,056 = 34,080; 4,904 / 34,080 = 14.4 %.
    # Operations for 10 tokens: 2 * (4*10*256 + 2*10*192 + 2*100*16) + 256 = 34,816.
    card = load_card(
        tmp_path,
        title="A | B\n# C",
        data="first\n\n## a heading | <b>bold</b> `code`",
        metrics=(
            Metric("accuracy", "validation", 0.78125, "share; 95 % interval 0.75 to 0.81"),
            Metric("a|b\nc", "dev: x", 1 / 3),
        ),
        limits=("English only", "short\n- texts"),
        epsilon=0.5,
        latency=Latency(1.2345, LatencySettings(1, 32, 2), "A | CPU", "predicted"),
        licence="Apache-2.0",
        sequence_length=10,
    )
    assert card.data.to_dict() == {
        "language": "en",
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["bort-explorer", "bert"],
        "metrics": ["accuracy", "a|b c"],
    }
    lines = card.text.splitlines()
    for line in (
        r"# A \| B \# C, tiny-bert at 2,2,16,12",
        "| parameters | 4,904 | 34,080 | 14.4 % |",
        "| of these in the encoder's layers | 3,128 | 30,016 | 10.4 % |",
        "| model.safetensors on disk | 2.35 MB |  |  |",
        "Latency: 1.23 ms (predicted) for a batch of 1, 32 tokens each, 2 threads, fp32, on "
        r"A \| CPU.",
        "- **Choice:** From a Pareto front of size, inference cost and error, at epsilon = 0.5.",
        r"- **Data:** first \#\# a heading \| \<b\>bold\</b\> \`code\`",
        "| accuracy | validation | 0.7812 | share; 95 % interval 0.75 to 0.81 |",
        r"| a\|b c | dev\: x | 0.3333 |  |",
        "- English only",
        "- short - texts",
        "Labels: bad, middling, good. It reads at most 40 tokens; longer texts must be truncated.",
        'classify = pipeline("text-classification", model="this-folder")',
    ):
        assert line in lines, line
    assert "| multiply-accumulates for 10 tokens | 34,816 | " in card.text
    tables = [re.sub(r"\\.", "", line).count("|") for line in lines if line.startswith("|")]
    assert tables == [5] * 10
    assert not re.search(r"\{[{%]|None|\n\n\n", card.text)
    assert "It was not read for this card either." in card.text


def test_a_card_without_extras_says_so(tmp_path):
    card = load_card(tmp_path, "distilbert", labels=())
    assert card.data.license == "unknown" and card.data.base_model is None
    for words in ("Nothing was measured.", "- None were stated.", "not chosen from a front"):
        assert words in card.text
    assert "Its latency is not stated." in card.text and "AutoModel.from_pretrained" in card.text
