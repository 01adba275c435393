"""Does a smaller model still pay once everything is int8?

Run: python benchmarks/deploy.py [OUT] [TASK] [--read | --time]. MiniLM-L6 and points of its front
on a task (film reviews or reuters-r8?length=128) are cut, exported as ONNX in fp32 and in int8,
where requirements-openvino.txt is installed as OpenVINO in int8, too, and measured: size on disk,
wrong answers on all of dev, answers that agree with PyTorch's, and milliseconds of one text as long
as the task's are read, all processor threads, PyTorch and the exports in turns.
Writes assets/recorded/deploy-minilm-l6-TASK.json as it goes, and goes on where it was stopped: a
shape that lacks a format is measured anew, in all. --read prints what is on record, --time times
again what lies in OUT.
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

from bort_engine.data.tasks import load_task
from bort_engine.encoder.export import PACKAGES, Format, cpu_flags, export
from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.lab.deploy_record import Deployed, Deployment, path_of
from bort_engine.runs import records
from bort_engine.runs.provenance import Provenance, n_threads
from bort_engine.search.cut import cut

SOURCE = "minilm-l6"
# By task: the source, and points of a front. Of film reviews' at epsilon 0.1 (recommended is
# 4,12,336,704); of the other's at 0.2 the recommended one and the best with a quarter of the
# encoder, polished as `table` does.
SHAPES = {
    "rotten-tomatoes": (
        *("6,12,384,1536", "6,12,384,1216", "5,12,288,896", "4,12,336,704", "4,12,288,576"),
        *("5,6,192,384", "2,6,144,640"),
    ),
    "reuters-r8?length=128": ("6,12,384,1536", "5,12,216,896", "2,12,288,768"),
}
FORMATS: tuple[Format, ...] = ("onnx", "onnx-int8")
if all(map(find_spec, PACKAGES["openvino-int8"])):
    FORMATS += ("openvino-int8",)
POLISH = {"rotten-tomatoes": 0, "reuters-r8?length=128": 300}
ROUNDS = 60
Name = TypeVar("Name")


def measure(
    shape: str, folder: Path, task: str, texts: list[str], labels: np.ndarray
) -> tuple[list[Deployed], int]:
    """Return a shape's rows, PyTorch and each export, and how many tokens were timed."""
    from bort_engine.encoder import exporters

    if not (folder / "cut" / "cut.json").is_file():
        polish = 0 if shape == SHAPES[task][0] else POLISH[task]
        architecture = Architecture.parse(shape)
        cut(SOURCE, task, architecture=architecture, polish=polish, out=folder / "cut")
    checkpoint = folder / "cut" / "model"
    model, tokenizer = exporters.load(Source.load(str(checkpoint)))
    outputs = {"pytorch": exporters.torch_logits(model, tokenizer, texts)}
    bytes_of = {"pytorch": (checkpoint / "model.safetensors").stat().st_size}
    for format in FORMATS:
        done = export(str(checkpoint), format=format, task=task, out=folder / format)
        outputs[format] = exporters.new_process_logits(Path(done.folder), texts)
        bytes_of[format] = done.largest
    ms = timed(folder, FORMATS, tokenizer.model_max_length)
    answers = {name: values.argmax(1) for name, values in outputs.items()}
    rows = [
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
    return rows, tokenizer.model_max_length


def timed(
    folder: Path, formats: Iterable[str], n_tokens: int
) -> dict[str, tuple[float, float, float]]:
    """Return the quartiles of a forward pass in milliseconds, by format."""
    from transformers import AutoModelForSequenceClassification

    ids, checkpoint = token_ids(n_tokens), folder / "cut" / "model"
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
    print(f"{found.made}; {found.cpu_flags}; {found.task}: {found.n_dev} dev texts, ", end="")
    print(f"{found.n_tokens} tokens")
    source_ms = found.rows[0].ms[1]
    for row in found.rows:
        low, middle, high = row.ms
        ratio = source_ms / middle
        print(
            f"{row.shape:>14} {row.format:<13} {row.mb:6.1f} MB  {100 * row.dev_error:5.2f} % wrong"
            f"  agrees {100 * row.agrees:5.1f} %  {middle:6.2f} ms ({low:.2f} to {high:.2f}), "
            f"{ratio:.1f} times as fast as the source in PyTorch"
        )


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    out, task = [*words, *("deployed", "rotten-tomatoes")[len(words) :]][:2]
    path, shapes = path_of(SOURCE, task), SHAPES[task]
    packages = ["torch", "transformers", "onnxruntime"]
    packages += ["openvino", "nncf"] if "openvino-int8" in FORMATS else []
    found = records.read(path, Deployment) if path.is_file() else None
    known = found.rows if found else ()
    by_shape = {shape: [row for row in known if row.shape == shape] for shape in shapes}

    def write(n_dev: int, n_tokens: int) -> None:
        rows = tuple(row for rows in by_shape.values() for row in rows)
        made = Provenance.here(*packages)
        head = (SOURCE, task, POLISH[task], n_tokens, made)
        records.write(path, Deployment(*head, cpu_flags(), n_dev, rows))

    if "--time" in sys.argv and found:
        for shape, rows in by_shape.items():
            formats = [row.format for row in rows if row.format != "pytorch"]
            times = timed(Path(out, shape.replace(",", "-")), formats, found.n_tokens)
            by_shape[shape] = [replace(row, ms=times[row.format]) for row in rows]
        write(found.n_dev, found.n_tokens)
    for shape in shapes if "--read" not in sys.argv else ():
        if not {row.format for row in by_shape[shape]} >= set(FORMATS):
            dev = load_task(task)["validation"]
            texts, labels = [" ".join(text.split()) for text in dev["text"]], np.array(dev["label"])
            by_shape[shape], n_tokens = measure(
                shape, Path(out, shape.replace(",", "-")), task, texts, labels
            )
            write(len(labels), n_tokens)
            print(f"{shape}: measured", file=sys.stderr, flush=True)
    report(records.read(path, Deployment))


if __name__ == "__main__":
    main()
