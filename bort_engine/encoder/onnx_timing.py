"""Short stacks of layers as `export` writes them in int8, ready to be timed by ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from bort_engine.encoder.exporters import onnx_graph
from bort_engine.encoder.sources import Source
from bort_engine.encoder.timing import LatencySettings, TimedShape, inputs_of, stacked

if TYPE_CHECKING:
    import torch

N_WORDS = 1000  # as few as `inputs_of` can draw from: a row is looked up in any table as fast


class OnnxStack:
    """A model of a shape in int8, for any batch size and length, as `export` writes it."""

    def __init__(
        self, shape: TimedShape, source: Source, weights: torch.Tensor, settings: LatencySettings
    ) -> None:
        import onnx_ir
        import onnxruntime

        source = replace(source, vocab_size=min(source.vocab_size, N_WORDS))
        model = stacked(shape, source, weights, attn_implementation="eager")
        # Two sequences of two tokens or more: torch takes a size of 1 for a constant.
        example = inputs_of(source, replace(settings, batch_size=2, sequence_length=8))
        graph = onnx_graph(model, example, source.longest_input, int8=True)
        data = onnx_ir.to_proto(graph).SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        # Threads that wait spin for a while, and would disturb whatever is timed next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )
        inputs = inputs_of(source, settings)
        self._feed = {node.name: inputs[node.name].numpy() for node in self._session.get_inputs()}

    def time_ms(self, number: int = 1) -> float:
        start = perf_counter()
        for _ in range(number):
            self._session.run(None, self._feed)
        return (perf_counter() - start) * 1e3 / number
