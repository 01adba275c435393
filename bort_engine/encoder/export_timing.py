"""Short stacks of layers as `export` writes them in int8, ready to be timed in their runtime."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from bort_engine.encoder.exporters import onnx_graph, openvino_model
from bort_engine.encoder.run_onnx import core
from bort_engine.encoder.sources import Source
from bort_engine.encoder.timing import LatencySettings, TimedShape, inputs_of, stacked

if TYPE_CHECKING:
    import torch

N_WORDS = 1000  # as few as `inputs_of` can draw from: a row is looked up in any table as fast


class ExportedStack:
    """A model of a shape in int8, for any batch size and length, as `export` writes it."""

    def __init__(
        self, shape: TimedShape, source: Source, weights: torch.Tensor, settings: LatencySettings
    ) -> None:
        int8 = settings.runtime == "onnx-int8"  # OpenVINO quantizes what is in fp32
        source = replace(source, vocab_size=min(source.vocab_size, N_WORDS))
        model = stacked(shape, source, weights, attn_implementation="eager")
        # Two sequences of two tokens or more: torch takes a size of 1 for a constant.
        example = inputs_of(source, replace(settings, batch_size=2, sequence_length=8))
        graph = onnx_graph(model, example, source.longest_input, int8)
        inputs = {name: values.numpy() for name, values in inputs_of(source, settings).items()}
        open_session = _onnx if int8 else _openvino
        self._run, names = open_session(graph, inputs, settings.threads)
        self._feed = {name: inputs[name] for name in names}

    def time_ms(self, number: int = 1) -> float:
        start = perf_counter()
        for _ in range(number):
            self._run(self._feed)
        return (perf_counter() - start) * 1e3 / number


def _onnx(graph: Any, inputs: dict[str, Any], threads: int) -> tuple[Any, list[str]]:
    """Return what runs a graph in ONNX Runtime, and the names of its inputs."""
    import onnx_ir
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that wait spin for a while, and would disturb whatever is timed next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        onnx_ir.to_proto(graph).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [node.name for node in session.get_inputs()]
    return lambda feed: session.run(None, feed), names


def _openvino(graph: Any, inputs: dict[str, Any], threads: int) -> tuple[Any, list[str]]:
    """Return what runs a graph in int8 in OpenVINO, and the names of its inputs.

    What is timed is also what it is calibrated on: which ranges come out changes no time.
    """
    model = openvino_model(graph, [inputs])
    compiled = core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads})
    return compiled, [node.any_name for node in compiled.inputs]
