"""What an architecture costs: parameters and operations in closed form, latency through AB^nC.

Every cost comes by the parts of the AB^nC form: A the embeddings, B one encoder layer, C what
follows the encoder. At a fixed hidden size the head count changes neither parameters nor
operations (these models tie the width of query, key and value to it); it does change latency.
"""

from __future__ import annotations

from dataclasses import dataclass

from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture


@dataclass(frozen=True, slots=True)
class PartCounts:
    """A count by part: A, n times B, C, and their sum. `encoder` is the "effective size"."""

    embeddings: int
    encoder: int
    head: int

    @property
    def total(self) -> int:
        return self.embeddings + self.encoder + self.head


def n_parameters(architecture: Architecture, source: Source) -> PartCounts:
    """Count the parameters that transformers' model of this shape has, exactly.

    The head is the pooler and, where the source has one, the masked-language-model head with its
    output matrix tied to the embeddings. A task's classifier is not counted.
    """
    H, I = architecture.hidden_size, architecture.intermediate_size  # noqa: E741
    V = source.vocab_size
    layer = 4 * H * H + 2 * H * I + 9 * H + I
    return PartCounts(
        embeddings=(V + source.max_position_embeddings + source.type_vocab_size + 2) * H,
        encoder=architecture.num_hidden_layers * layer,
        head=source.pooler * (H * H + H) + source.mlm_head * (H * H + 3 * H + V),
    )


def n_operations(
    architecture: Architecture, source: Source, sequence_length: int = 128
) -> PartCounts:
    """Count multiply-accumulates of one forward pass over one sequence of `sequence_length`.

    Matrix products only, as torch.utils.flop_counter counts them (it reports two per
    multiply-accumulate); look-ups, softmax, norms and activations count nothing.
    """
    if sequence_length < 1:
        raise ValueError(f"sequence_length is {sequence_length}; it must be at least 1.")
    H, I, L = architecture.hidden_size, architecture.intermediate_size, sequence_length  # noqa: E741
    layer = 4 * L * H * H + 2 * L * H * I + 2 * L * L * H
    return PartCounts(
        embeddings=0,
        encoder=architecture.num_hidden_layers * layer,
        head=source.pooler * H * H + source.mlm_head * L * (H * H + H * source.vocab_size),
    )
