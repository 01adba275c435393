"""A checkpoint is written in another format, and what was written is read in a new process."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from bort_engine.encoder.build import PLAIN, load_tokenizer, weights_of
from bort_engine.encoder.run_onnx import core
from bort_engine.encoder.sources import Source
from bort_engine.runs.text import one_line

TIMEOUT_S = 600

# A new process runs one of these: it reads a JSON list of texts, and prints their logits.
READ_ALONE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from run import logits
print(json.dumps([logits(text).tolist() for text in json.load(sys.stdin)]))
"""
READ_TRANSFORMERS = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
texts = [text.split("\\t", 1) for text in json.load(sys.stdin)]
with torch.inference_mode():
    rows = [model(**tokenizer(*text, truncation=True, return_tensors="pt")) for text in texts]
print(json.dumps([row.logits[0].tolist() for row in rows]))
"""


def load(checkpoint: Source) -> tuple[Any, Any]:
    """Return the model in fp32, and the tokenizer, which cuts at what the model can read.

    Attention is eager: its graph is the simpler one, and an int8 export of it 4 % faster.

    Raises:
        ValueError: a file is damaged, or lacks weights; the line says which.
    """
    folder = weights_of(checkpoint)
    options = PLAIN | {"output_loading_info": True, "attn_implementation": "eager"}
    tokenizer = load_tokenizer(checkpoint)
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(folder, **options)
        if missing := sorted(report["missing_keys"]):  # they would be drawn at random
            raise ValueError(f"its weights lack {', '.join(missing[:3])}")
    except Exception as e:  # each library raises its own for a damaged file
        raise ValueError(
            f"{checkpoint.name} could not be loaded: {one_line(e)[:200]}; save the model again."
        ) from e
    tokenizer.model_max_length = min(tokenizer.model_max_length, checkpoint.longest_input)
    return model.eval(), tokenizer


def torch_logits(model: Any, tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
    """Return PyTorch's outputs (texts, classes), each text read alone; pairs have a tab."""
    with torch.inference_mode():
        inputs = (
            tokenizer(*text.split("\t", 1), truncation=True, return_tensors="pt") for text in texts
        )
        return np.array([model(**tokens).logits[0].numpy() for tokens in inputs])


def new_process_logits(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """Return the outputs that a new process reads in an export, by its run.py where it has one.

    Raises:
        ValueError: it does not run; the line says why.
    """
    script = READ_ALONE if (folder / "run.py").is_file() else READ_TRANSFORMERS
    # -P keeps the current folder off the module path; -B leaves no __pycache__ in the export.
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-B", "-c", script, str(folder)],
            input=json.dumps(list(texts)),
            env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.SubprocessError as e:
        last = str(getattr(e, "stderr", "") or e).strip().splitlines()[-1][:300]
        raise ValueError(
            f"the export does not run in a new process ({last}); nothing was kept."
        ) from e
    return np.array(json.loads(process.stdout.splitlines()[-1]))


def write_onnx(folder: Path, model: Any, tokenizer: Any, texts: Sequence[str], int8: bool) -> None:
    """Write model.onnx, in fp32 or int8, for any batch size and length, and what run.py needs.

    A few texts are run through the model to record its graph.
    """
    import onnx_ir

    inputs = dict(tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt"))
    graph = onnx_graph(model, inputs, tokenizer.model_max_length, int8)
    onnx_ir.save(graph, folder / "model.onnx")
    _write_reader(folder, model, tokenizer)


def write_openvino(folder: Path, model: Any, tokenizer: Any, texts: Sequence[str]) -> None:
    """Write model.xml and model.bin, for any batch size and length, and what run.py needs.

    Weights and activations are int8; ranges of the activations are those on the texts.
    """
    inputs = dict(tokenizer(list(texts[:2]), padding=True, truncation=True, return_tensors="pt"))
    graph = onnx_graph(model, inputs, tokenizer.model_max_length, int8=False)
    pairs = (text.split("\t", 1) for text in texts)
    samples = [dict(tokenizer(*pair, truncation=True, return_tensors="np")) for pair in pairs]
    quantized = openvino_model(graph, samples)
    import openvino  # type: ignore  # an extra

    openvino.save_model(quantized, folder / "model.xml")
    _write_reader(folder, model, tokenizer)


def openvino_model(graph: Any, samples: Sequence[dict[str, Any]]) -> Any:
    """Return an ONNX graph as an OpenVINO model in int8.

    Args:
        samples: inputs by name, (1, length); the ranges of the activations are those on them.
    """
    import onnx_ir

    with _quiet():
        openvino = core()  # before NNCF, which would report its use
        import nncf  # type: ignore  # an extra

        # Symmetric activations (PERFORMANCE): logits of two film-review models are nearer to
        # PyTorch's than with asymmetric ones (MIXED), 0.08 for 0.09 in the mean. Weights of 7 bits
        # (overflow_fix) cost 0.01 and cannot overflow 16 bits where the processor lacks VNNI.
        ranges = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
        return nncf.quantize(
            openvino.read_model(onnx_ir.to_proto(graph).SerializeToString()),
            nncf.Dataset(samples),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(samples),
            model_type=nncf.ModelType.TRANSFORMER,
            advanced_parameters=ranges,
        )


def _write_reader(folder: Path, model: Any, tokenizer: Any) -> None:
    """Write run.py, and the tokenizer and the labels that it reads."""
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.enable_truncation(tokenizer.model_max_length)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    model.config.to_json_file(folder / "config.json")
    shutil.copyfile(Path(__file__).with_name("run_onnx.py"), folder / "run.py")


def write_bf16(folder: Path, model: Any, tokenizer: Any) -> None:
    """Write a plain transformers folder in bf16; `model` becomes that, too."""
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def onnx_graph(model: Any, inputs: dict[str, Any], most_tokens: int, int8: bool) -> Any:
    """Return a model as an ONNX graph (onnx_ir.Model) for any batch size and length.

    Args:
        inputs: what is run through the model to record it: two sequences or more.
        most_tokens: the largest length.
    """
    from torch.export import Dim
    from transformers.exporters.configs import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter
    from transformers.exporters.quantizers import quantizer_onnxruntime as onnxruntime

    shape = {0: Dim("batch"), 1: Dim("length", max=most_tokens)}
    # A scale for each channel halves the differences. Without VNNI, onnxruntime adds two products
    # in 16 bits: 8-bit weights can overflow them, 7-bit ones (reduce_range) cannot.
    quantization = onnxruntime.OnnxRuntimeDynamicConfig(per_channel=True, reduce_range=True)
    config = OnnxConfig(
        dynamic_shapes=dict.fromkeys(inputs, shape),
        quantizer=onnxruntime.OnnxRuntimeQuantizer(quantization) if int8 else None,
    )
    with _quiet():
        return OnnxExporter().export(model, inputs, config).program


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporters print, and warn of: packages newer than they were tried with.

    Whether they work with these is measured, by the comparison with PyTorch.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
