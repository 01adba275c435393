"""Does a smaller model still pay once everything is int8?

Run: python benchmarks/deploy.py [OUT] [--read | --time]. The source and six points of MiniLM-L6's
front on film reviews are cut, exported as ONNX in fp32 and in int8, where requirements-openvino.txt
is installed as OpenVINO in int8, too, and measured: size on disk, wrong answers on all of dev,
answers that agree with PyTorch's, and milliseconds of one text of 64 tokens, all processor threads,
PyTorch and the exports in turns.
Writes assets/recorded/deploy-minilm-l6.json as it goes, and goes on where it was stopped: a shape
that lacks a format is measured anew, in all. --read prints what is on record, --time times again
what lies in OUT.
"""

import os
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, TypeVar

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from bort_engine.data.tasks import MAX_LENGTH, load_task
from bort_engine.encoder.export import PACKAGES, Format, cpu_flags, export
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.lab.deploy_record import RECORDED, TASK, Deployed, Deployment
from bort_engine.runs import records
from bort_engine.runs.provenance import Provenance, n_threads
from bort_engine.search.cut import cut

# The source, and points of the recorded front at epsilon 0.1: the recommended one first.
SHAPES = ("6,12,384,1536", "6,12,336,960", "4,12,384,1152", "4,12,336,640", "3,12,336,448")
SHAPES += ("4,12,216,448", "2,12,192,832")
FORMATS: tuple[Format, ...] = ("onnx", "onnx-int8")
if all(map(find_spec, PACKAGES["openvino-int8"])):
    FORMATS += ("openvino-int8",)
ROUNDS = 60
Name = TypeVar("Name")


def measure(shape: str, out: Path, texts: list[str], labels: np.ndarray) -> list[Deployed]:
    """Return a shape's rows: PyTorch, and each export."""
    from bort_engine.encoder import exporters

    folder = out / shape.replace(",", "-")
    if not (folder / "cut" / "cut.json").is_file():
        cut("minilm-l6", TASK, architecture=Architecture.parse(shape), out=folder / "cut")
    checkpoint = folder / "cut" / "model"
    model, tokenizer = exporters.load(Source.load(str(checkpoint)))
    outputs = {"pytorch": exporters.torch_logits(model, tokenizer, texts)}
    bytes_of = {"pytorch": (checkpoint / "model.safetensors").stat().st_size}
    for format in FORMATS:
        done = export(str(checkpoint), format=format, task=TASK, out=folder / format)
        outputs[format] = exporters.new_process_logits(Path(done.folder), texts)
        bytes_of[format] = done.largest
    ms = timed(folder, FORMATS)
    answers = {name: values.argmax(1) for name, values in outputs.items()}
    return [
        Deployed(
            shape,
            name,
            mb=round(bytes_of[name] / 1e6, 1),
            dev_error=round(float((answer != labels).mean()), 4),
            agrees=round(float((answer == answers["pytorch"]).mean()), 4),
            ms=ms[name],
        )
        for name, answer in answers.items()
    ]


def timed(folder: Path, formats: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """Return the quartiles of a forward pass in milliseconds, by format."""
    from transformers import AutoModelForSequenceClassification

    ids, checkpoint = token_ids(MAX_LENGTH), folder / "cut" / "model"
    runs = {
        "pytorch": torch_pass(AutoModelForSequenceClassification.from_pretrained(checkpoint), ids)
    }
    for format in formats:
        model = folder / format / "model"
        if format == "openvino-int8":
            runs[format] = openvino_pass(model / "model.xml", ids)
        else:
            runs[format] = onnx_pass(model / "model.onnx", ids)
    quartiles = {}
    for name, ms in in_turns(runs, ROUNDS).items():
        low, middle, high = (round(float(q), 3) for q in np.percentile(ms, (25, 50, 75)))
        quartiles[name] = (low, middle, high)
    return quartiles


def torch_pass(model: Any, ids: np.ndarray) -> Callable[[], Any]:
    """Return a forward pass of a model over these tokens, in PyTorch."""
    import torch

    torch.set_num_threads(n_threads())
    model.eval()
    tokens = torch.from_numpy(ids)

    def run() -> Any:
        with torch.inference_mode():
            return model(input_ids=tokens, attention_mask=tokens * 0 + 1)

    return run


def onnx_pass(path: Path, ids: np.ndarray) -> Callable[[], Any]:
    """Return a forward pass of a model.onnx over these tokens, in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = inputs([node.name for node in session.get_inputs()], ids)
    return lambda: session.run(None, feed)


def openvino_pass(path: Path, ids: np.ndarray) -> Callable[[], Any]:
    """Return a forward pass of a model.xml over these tokens, in OpenVINO."""
    sys.modules["openvino_telemetry"] = None  # type: ignore  # as in run_onnx.py
    from openvino import Core  # type: ignore

    model: Any = Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": n_threads()})
    feed = inputs([node.any_name for node in model.inputs], ids)
    return lambda: model(feed)


def inputs(names: Iterable[str], ids: np.ndarray) -> dict[str, np.ndarray]:
    ones, zeros = ids * 0 + 1, ids * 0
    known = {"input_ids": ids, "attention_mask": ones, "token_type_ids": zeros}
    return {name: known[name] for name in names}


def token_ids(length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1000, 30000, (1, length))


def in_turns(runs: Mapping[Name, Callable[[], Any]], rounds: int) -> dict[Name, list[float]]:
    """Return milliseconds by name: each pass after two of its own that do not count.

    Before these a pause: the threads of one runtime spin for a while when it is done, and would
    take the processor from the other.
    """
    times: dict[Name, list[float]] = {name: [] for name in runs}
    rng, names = random.Random(0), list(runs)
    for _ in range(rounds):
        rng.shuffle(names)
        for name in names:
            sleep(0.05)
            runs[name]()
            runs[name]()
            start = perf_counter()
            runs[name]()
            times[name].append(1e3 * (perf_counter() - start))
    return times


def report(found: Deployment) -> None:
    print(f"{found.made}; {found.cpu_flags}; {found.n_dev} dev sentences")
    source = {row.format: row for row in found.rows if row.shape == SHAPES[0]}
    for row in found.rows:
        low, middle, high = row.ms
        ratio = source["pytorch"].ms[1] / middle
        print(
            f"{row.shape:>14} {row.format:<13} {row.mb:6.1f} MB  {100 * row.dev_error:5.2f} % wrong"
            f"  agrees {100 * row.agrees:5.1f} %  {middle:6.2f} ms ({low:.2f} to {high:.2f}), "
            f"{ratio:.1f} times as fast as the source in PyTorch"
        )


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    out = Path(words[0] if words else "deployed")
    dev = load_task(TASK)["validation"]
    texts, labels = [" ".join(text.split()) for text in dev["text"]], np.array(dev["label"])
    packages = ["torch", "transformers", "onnxruntime"]
    packages += ["openvino", "nncf"] if "openvino-int8" in FORMATS else []
    made, rows = Provenance.here(*packages), tuple[Deployed, ...]()
    if RECORDED.is_file():
        found = records.read(RECORDED, Deployment)
        made, rows = found.made, found.rows
    by_shape = {shape: [row for row in rows if row.shape == shape] for shape in SHAPES}

    def write(made: Provenance) -> None:
        rows = tuple(row for rows in by_shape.values() for row in rows)
        records.write(RECORDED, Deployment(made, cpu_flags(), len(labels), rows))

    if "--time" in sys.argv:
        for shape, rows in by_shape.items():
            formats = [row.format for row in rows if row.format != "pytorch"]
            times = timed(out / shape.replace(",", "-"), formats)
            by_shape[shape] = [replace(row, ms=times[row.format]) for row in rows]
        write(made)
    for shape in SHAPES if "--read" not in sys.argv else ():
        if not {row.format for row in by_shape[shape]} >= set(FORMATS):
            by_shape[shape] = measure(shape, out, texts, labels)
            write(Provenance.here(*packages))
            print(f"{shape}: measured", file=sys.stderr, flush=True)
    report(records.read(RECORDED, Deployment))


if __name__ == "__main__":
    main()
