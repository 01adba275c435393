"""A BERT that torch exported to ONNX becomes a plain transformers folder.

The exporter names embeddings, norms and biases as torch does, behind the prefix of the modules that
held the encoder. The weight of a linear layer has no name ("onnx::MatMul_470"): the exporter writes
x W^T + b as a product with the transposed weight and a sum, so the bias that is added to a product
says whose weight it is. Numbers in these names follow the order of export, and mean nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertModel
from transformers.initialization import no_init_weights

from bort_engine.encoder.checkpoint import os_errors
from bort_engine.encoder.sources import Source
from bort_engine.runs.records import whole_folder
from bort_engine.runs.text import one_line

_WORDS = "embeddings.word_embeddings.weight"


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the weights in an ONNX file by the names and in the shapes of `BertModel`.

    Initializers outside the encoder, such as a head's, are left out.

    Raises:
        ValueError: the file is not ONNX, or has no BERT's embeddings.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path).graph
    except DecodeError as e:
        raise ValueError(f"it is not ONNX: {one_line(e)}") from e
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    words = next((name for name in arrays if name.endswith(_WORDS)), None)
    if words is None:
        raise ValueError(f"it has no {_WORDS}")
    prefix = words.removesuffix(_WORDS)
    products = {
        node.output[0]: arrays[node.input[1]]
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in arrays
    }
    for node in graph.node:
        if node.op_type == "Add":
            # The two may come in either order. Sums that are no linear layer's have other inputs.
            for product, bias in (node.input, reversed(node.input)):
                if product in products and bias.endswith(".bias"):
                    arrays[f"{bias.removesuffix('bias')}weight"] = products[product].T
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix) and name.endswith((".weight", ".bias"))  # others are constants
    }


def transformers_folder(path: Path, source: Source, tokenizer_files: Sequence[Path]) -> Path:
    """Return the folder, beside an ONNX file, that transformers opens; written at the first call.

    It holds config.json, model.safetensors (fp32) and copies of the tokenizer's files, and appears
    whole or not at all. An exporter drops a pooler that its model's output does not need. Then the
    pooler that is written has the identity as its weight, and passes on tanh of the first token's
    state: classifiers are trained on top of it, and no draw of random numbers decides them.

    Raises:
        ValueError: the file is not torch's export of a BERT of the source's shape.
    """
    folder = path.parent / "transformers"
    if folder.is_dir():
        return folder
    with no_init_weights():  # all of them are loaded below
        model = BertModel(BertConfig(**source.config()))
    size = source.architecture.hidden_size
    pooler = {"pooler.dense.weight": np.eye(size), "pooler.dense.bias": np.zeros(size)}
    try:
        weights = pooler | read_weights(path)
        expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
        shapes = {name: array.shape for name, array in weights.items()}
        if wrong := sorted({name for name, _ in expected.items() ^ shapes.items()}):
            raise ValueError(f"absent, of another shape or not a BERT's: {', '.join(wrong[:3])}")
    except ValueError as e:
        raise ValueError(
            f"{path} does not hold a BERT of shape {source.architecture} as torch exports it "
            f"({e}); delete {path.parent}, and it is fetched again."
        ) from e
    model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    with whole_folder(folder) as part, os_errors():
        model.save_pretrained(part)
        for file in tokenizer_files:
            shutil.copy(file, part)
    return folder
