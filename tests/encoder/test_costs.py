"""Costs against published counts, counts by hand, and the real transformers models."""

import random
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from bort_engine.encoder.costs import PartCounts, n_operations, n_parameters
from bort_engine.encoder.sources import FAMILIES, Source, sources
from bort_engine.encoder.space import Architecture

BORT = sources["bort"]
HAND = Source("hand", "bert", Architecture(2, 1, 2, 3), 5, 4, 1)

# Counted from the released checkpoints; Bort from its released shape.
PUBLISHED = {
    "bert-base-uncased": 109_482_240,
    "bert-base-cased": 108_310_272,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "distilbert-base-uncased": 66_362_880,
    "tinybert-4": 14_350_248,
    "bert-tiny": 4_385_920,
    "bert-mini": 11_170_560,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
    "minilm-l6": 22_713_216,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_equal_the_published_model_to_the_last_unit(name):
    source = sources[name]
    assert n_parameters(source.architecture, source).total == PUBLISHED[name]


# Bort with H and I exchanged, a pooler and a language-model head has the article's 56 million.
SWAPPED = replace(BORT, architecture=Architecture(4, 8, 768, 1024), pooler=True, mlm_head=True)


@pytest.mark.parametrize(
    ("source", "embeddings", "encoder", "head", "total"),
    [
        (sources["bert-large-uncased"], 31_782_912, 302_309_376, 1_049_600, 335_141_888),
        (BORT, 51_997_696, 23_108_608, 0, 75_106_304),
        (SWAPPED, 38_998_272, 15_760_384, 1_232_985, 55_991_641),
        (
            HAND,
            (5 + 4 + 1) * 2 + 4,  # three tables of width 2, and a norm's 2 + 2
            2 * (4 * (2 * 2 + 2) + (2 * 3 + 3) + (3 * 2 + 2) + 2 * 4),  # QKVO, up, down, norms
            2 * 2 + 2,
            24 + 98 + 6,
        ),
    ],
    ids=["bert-large", "bort", "bort, H and I exchanged", "by hand"],
)
def test_parameters_by_part(source, embeddings, encoder, head, total):
    counts = n_parameters(source.architecture, source)
    assert counts == PartCounts(embeddings, encoder, head)
    assert counts.total == total


def test_operations_of_a_model_small_enough_to_count_by_hand():
    # 7 tokens: four 2x2 products and 2x3, 3x2 a token; scores and their use are 7 x 7 x 2 each
    layer = 7 * (4 * 2 * 2 + 2 * 2 * 3) + 2 * 7 * 7 * 2
    assert n_operations(HAND.architecture, HAND, 7) == PartCounts(0, 2 * layer, 2 * 2)
    with pytest.raises(ValueError, match=r"sequence_length is 0; it must be at least 1"):
        n_operations(HAND.architecture, HAND, 0)


def random_source(number: int) -> Source:
    rng = random.Random(number)
    family, heads = FAMILIES[number % 3], rng.randint(1, 4)
    width = heads * 2 * rng.randint(1, 12)
    return Source(
        f"{number} {family}",
        family,
        Architecture(rng.randint(1, 5), heads, width, rng.randint(1, 90)),
        vocab_size=rng.randint(5, 300),
        max_position_embeddings=rng.randint(16, 40),
        type_vocab_size=0 if family == "distilbert" else rng.randint(1, 3),
        pooler=family != "distilbert" and rng.random() < 0.5,
    )


MASKED = Source("masked", "bert", Architecture(4, 2, 64, 64), 100, pooler=False, mlm_head=True)


@pytest.mark.parametrize("source", [*map(random_source, range(15)), MASKED], ids=str)
def test_counts_equal_the_real_transformers_model(source):
    # On the meta device, without memory; attention is written out, so that it is counted.
    config = AutoConfig.for_model(source.model_type, **source.config(), attn_implementation="eager")
    pooler = {} if source.model_type == "distilbert" else {"add_pooling_layer": source.pooler}
    with torch.device("meta"):
        if source.mlm_head:
            model = AutoModelForMaskedLM.from_config(config)
        else:
            model = AutoModel.from_config(config, **pooler)
    parameters = sum(p.numel() for p in model.parameters())
    assert n_parameters(source.architecture, source).total == parameters

    length = 3 + parameters % 11
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=torch.zeros(1, length, dtype=torch.long, device="meta"))
    operations = n_operations(source.architecture, source, length).total
    assert 2 * operations == counter.get_total_flops()
