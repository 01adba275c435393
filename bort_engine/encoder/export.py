"""The verb `export`: a checkpoint becomes a folder that runs without torch, or has half the size.

What is written is run in a new process, and its outputs are compared with PyTorch's in fp32.
"""

from __future__ import annotations

import copy
import json
import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from bort_engine.data.embedded import SENTENCE_END
from bort_engine.data.resources import general_texts
from bort_engine.data.tasks import find_task, load_task
from bort_engine.encoder.sources import Source
from bort_engine.encoder.uneven import Uneven
from bort_engine.runs import records
from bort_engine.runs.events import Progress, Stop, bar, check, never, silent
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.records import NonNegative, PositiveCount, Share
from bort_engine.runs.text import literal

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Format = Literal["onnx", "onnx-int8", "openvino-int8", "safetensors-bf16"]
# By format: the packages it is made with, beside torch and transformers. OpenVINO's are an extra,
# with bounds in requirements-openvino.txt.
PACKAGES: dict[str, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "onnx-int8": ("onnx", "onnxscript", "onnxruntime"),
    "openvino-int8": ("onnx", "onnxscript", "openvino", "nncf"),
    "safetensors-bf16": ("safetensors",),
}
FILES = {"model.onnx", "model.xml", "model.bin", "model.safetensors", "tokenizer.json"}
FILES |= {"tokenizer_config.json", "config.json", "run.py", "README.md", "export.json"}
FILES |= {"__pycache__"}
N_TEXTS = 100  # that an export is compared on
N_CALIBRATION = 128  # that ranges of activations are taken from
LARGEST_DIFFERENCE = 1e-3  # of a logit of an fp32 export, absolute
# What multiplies int8 and bf16 in hardware, as Linux names it.
CPU_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8", "avx512_bf16", "amx_bf16")

CARD = """---
{{ card_data }}
---

{{ heading }}, exported as {{ export.format }}

{% if runtime -%}
An {{ "ONNX" if runtime == "onnxruntime" else "OpenVINO" }} model for any batch size and length, \
in {{ "int8" if "int8" in export.format else "fp32" }}.
{%- if export.calibration %}
Activations are int8, too: their ranges are those on {{ calibration }}.
{%- endif %}

    pip install {{ runtime }} tokenizers numpy
    python run.py "A sentence to read."
{%- else -%}
A plain transformers folder, in bf16.

    from transformers import pipeline
    classify = pipeline("text-classification", model="this-folder")
    print(classify("A sentence to read.", truncation=True))
{%- endif %}

Labels: {{ labels }}. At most {{ limit }} tokens are read; what is longer is cut.

In a new process {{ parity }}.
The largest file has {{ "{:,}".format(export.largest) }} bytes, the checkpoint's weights
{{ "{:,}".format(export.source_bytes) }}. `export.json` has the record.

Made on {{ export.made.made_on }} with {{ export.made.versions }}, on {{ export.made.machine }}\
{{ " (" + export.cpu_flags + ")" if export.cpu_flags }}.
"""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an export's outputs are from PyTorch's in fp32, on `n` texts, each read alone.

    `max_difference` is a logit's, absolute. `same_labels` is None where a number is predicted.
    """

    texts: str
    n: PositiveCount
    max_difference: NonNegative
    same_labels: Share | None

    def __str__(self) -> str:
        labels = "" if self.same_labels is None else f", {self.same_labels:.0%} of labels are equal"
        return (
            f"its outputs differ from PyTorch's in fp32 by at most {self.max_difference:.2g} on "
            f"{self.n} {self.texts}{labels}"
        )


@dataclass(frozen=True, slots=True)
class Export:
    """A checkpoint in another format, in `folder`.

    `size_bytes` is by file, `source_bytes` the size of the checkpoint's weights. `cpu_flags` are
    those of CPU_FLAGS that the processor has; empty where the system does not tell. `calibration`
    says which texts the ranges of the activations are from; empty where these stay fp32 or bf16.
    """

    format: Format
    source: str
    folder: str
    size_bytes: dict[str, PositiveCount]
    source_bytes: PositiveCount
    parity: Parity
    cpu_flags: str
    command: str
    made: Provenance
    calibration: str = ""
    schema: Literal[1] = 1

    AGAIN: ClassVar[str] = "delete it and run `export` again to make one"

    @property
    def largest(self) -> int:
        return max(self.size_bytes.values())

    def __str__(self) -> str:
        return (
            f"{self.folder}: {self.largest / 1e6:.1f} MB, the checkpoint's weights "
            f"{self.source_bytes / 1e6:.1f} MB\nin a new process {self.parity}"
        )


def export(
    source: str,
    *,
    format: Format = "onnx-int8",
    task: str | None = None,
    out: str | Path,
    on_progress: Progress = bar,
    stop: Stop = never,
) -> Export:
    """Write a checkpoint in another format, in `model/`, and compare it with PyTorch.

    An ONNX folder comes with a run.py that needs onnxruntime, tokenizers and numpy only; that of an
    OpenVINO folder has openvino for onnxruntime.

    Args:
        source: the folder of a checkpoint, as `cut` and `agora` make it.
        format: onnx is fp32; onnx-int8 has int8 weights; openvino-int8 has int8 weights and
            activations, and needs requirements-openvino.txt; safetensors-bf16 is a transformers
            folder.
        task: whose dev texts the two are compared on, and whose training texts calibrate
            openvino-int8; by default, sentences of Wikipedia.
        out: the folder that `model/` is written to; an earlier export in it is replaced.

    Raises:
        ValueError: a mistake in the arguments, in one line; or what was written does not run, or
            is fp32 and not as PyTorch. Nothing of it is kept.
        OSError: the disk is full, or the folder cannot be written; an earlier export stays.
        Cancelled: `stop()` became true.
    """
    checkpoint, folder = _find_checkpoint(source), Path(out).resolve() / "model"
    _check_request(format, checkpoint, folder)
    texts, what = _texts(task, on_progress)
    calibration, calibration_name = [], ""
    if format == "openvino-int8":
        calibration, name = _texts(task, on_progress, for_calibration=True)
        calibration_name = f"{len(calibration)} {name}"
    from bort_engine.encoder import exporters
    from bort_engine.encoder.checkpoint import os_errors

    def tell(done: int, detail: str) -> None:
        check(stop)
        on_progress({"stage": "exporting", "done": done, "total": 3, "detail": detail})

    tell(0, "reading the checkpoint")
    model, tokenizer = exporters.load(checkpoint)
    expected = exporters.torch_logits(model, tokenizer, texts)
    with records.whole_folder(folder) as part, os_errors():
        tell(1, f"writing {format}")
        if format == "safetensors-bf16":
            exporters.write_bf16(part, model, tokenizer)
        elif format == "openvino-int8":
            exporters.write_openvino(part, model, tokenizer, calibration)
        else:
            exporters.write_onnx(part, model, tokenizer, texts[:2], int8=format == "onnx-int8")
        size_bytes = {path.name: path.stat().st_size for path in sorted(part.iterdir())}
        tell(2, "running it in a new process")
        parity = _compare(expected, exporters.new_process_logits(part, texts), what)
        if format == "onnx":
            _check_parity(parity)
        command = ["python", "-m", "bort_engine", "export", source, "--format", format]
        command += ["--task", task] if task else []
        result = Export(
            format,
            str(checkpoint.weights),
            str(folder),
            size_bytes,
            Path(str(checkpoint.weights), "model.safetensors").stat().st_size,
            parity,
            cpu_flags(),
            shlex.join([*command, "--out", str(out)]),
            Provenance.here("torch", "transformers", *PACKAGES[format]),
            calibration_name,
        )
        _write_card(result, part / "README.md", model.config, tokenizer.model_max_length)
        records.write(part / "export.json", result)
        for path in part.iterdir():  # safetensors leaves its file to the owner alone
            path.chmod(part.stat().st_mode & 0o666)
        if folder.exists():  # an earlier export makes room, now that this one is whole
            shutil.rmtree(folder)
    on_progress({"stage": "exporting", "done": 3, "total": 3})
    return result


def write_uneven(
    padded: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    shape: Uneven,
    source: Source,
    task: str,
    folder: Path,
    on_progress: Progress = silent,
) -> Parity:
    """Write an uneven model as ONNX in fp32, in its true widths, and compare it with PyTorch.

    Args:
        padded: the same model as a plain transformers one, under a classification head.
        task: whose dev texts the two are compared on.
        folder: what is written, with run.py; an earlier export in it is replaced.

    Raises:
        ValueError: what was written does not run, or is not as PyTorch. Nothing of it is kept.
    """
    from bort_engine.encoder import exporters
    from bort_engine.encoder.build_uneven import unpadded
    from bort_engine.encoder.checkpoint import os_errors

    texts, what = _texts(task, on_progress)
    model, tokenizer = copy.deepcopy(padded), copy.deepcopy(tokenizer)
    if labels := find_task(task).labels:
        model.config.id2label = dict(enumerate(labels))
    model.set_attn_implementation("eager")
    expected = exporters.torch_logits(model, tokenizer, texts)
    uneven = unpadded(model, shape, source)
    with records.whole_folder(folder) as part, os_errors():
        exporters.write_onnx(part, uneven, tokenizer, texts[:2], int8=False)
        parity = _compare(expected, exporters.new_process_logits(part, texts), what)
        _check_parity(parity)
        clear(folder)  # an earlier export makes room, now that this one is whole
    return parity


def check_uneven(folder: Path) -> None:
    """Raise a ValueError where `write_uneven` could not write to this folder."""
    _check_packages("onnx")
    if folder.exists() and not _is_uneven(folder):
        raise ValueError(
            f"{folder} exists and is no export that could be replaced; choose another --out."
        )


def clear(folder: Path) -> None:
    """Remove what `write_uneven` wrote to a folder, and nothing else."""
    if _is_uneven(folder):
        shutil.rmtree(folder)


def _is_uneven(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return {"model.onnx", "run.py"} <= names <= FILES


def _check_parity(parity: Parity) -> None:
    if parity.max_difference > LARGEST_DIFFERENCE:
        raise ValueError(
            f"the ONNX model is not the checkpoint: {parity}; at most {LARGEST_DIFFERENCE:g} "
            "is allowed, so nothing was kept. Install the versions in requirements.txt."
        )


def _find_checkpoint(name: str) -> Source:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {name[:200]!r}; give a checkpoint's, such as RUN/model, where RUN "
            "is a run folder of `cut` or `agora`."
        )
    source = Source.load(str(folder.resolve()))  # which says what a folder lacks
    kind = str((json.loads((folder / "config.json").read_text()).get("architectures") or [None])[0])
    if not kind.endswith("ForSequenceClassification"):
        raise ValueError(
            f"{folder} has the architecture {kind}; allowed: one for sequence classification, as "
            "`cut` and `agora` save it."
        )
    if not (folder / "tokenizer.json").is_file():
        raise ValueError(f"{folder} has no tokenizer.json; save its tokenizer there, too.")
    return source


def _check_request(format: str, checkpoint: Source, folder: Path) -> None:
    if format not in PACKAGES:
        raise ValueError(f"format is {format!r}; allowed: {', '.join(get_args(Format))}.")
    _check_packages(format)
    if folder.exists():
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
        if names - FILES or "export.json" not in names or str(folder) == checkpoint.weights:
            raise ValueError(
                f"{folder} exists and is no export that could be replaced (it holds "
                f"{', '.join(sorted(names - FILES or names)[:3])}); choose another --out."
            )


def _check_packages(format: str) -> None:
    """Raise a ValueError, which names them, where packages that a format is made with lack."""
    if missing := [name for name in PACKAGES[format] if find_spec(name) is None]:
        raise ValueError(f"{format} needs more packages: pip install {' '.join(missing)}")


def _texts(
    task: str | None, on_progress: Progress, for_calibration: bool = False
) -> tuple[list[str], str]:
    """Return texts to compare on, spread over all there are, or others to calibrate on.

    With them comes what they are.
    """
    if task is None:
        articles = general_texts(on_progress)[for_calibration::2]
        texts = [SENTENCE_END.split(text)[0] for text in articles]
        what = "sentences of Wikipedia"
    else:
        split, what = ("train", "training") if for_calibration else ("validation", "dev")
        rows, names = load_task(task, on_progress)[split], ("text", "second")
        columns = [rows[name] for name in names[: 1 + find_task(task).is_pair]]
        texts = ["\t".join(" ".join(t.split()) for t in row) for row in zip(*columns, strict=True)]
        what = f"{what} texts of {task}"
    n = N_CALIBRATION if for_calibration else N_TEXTS
    return texts[:: max(len(texts) // n, 1)][:n], what


def _compare(expected: np.ndarray, outputs: np.ndarray, texts: str) -> Parity:
    if not np.isfinite(outputs).all():
        raise ValueError("the export's outputs are not numbers; nothing was kept.")
    same = float(np.mean(outputs.argmax(1) == expected.argmax(1)))
    difference = round(float(np.abs(outputs - expected).max()), 9)
    return Parity(texts, len(expected), difference, same if expected.shape[1] > 1 else None)


def cpu_flags() -> str:
    """Return those of CPU_FLAGS that this processor has; nothing where the system does not tell."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return ""
    return " ".join(flag for flag in CPU_FLAGS if flag in words)


def _write_card(export: Export, path: Path, config: Any, limit: int) -> None:
    """Write the model card, with heading, licence and base model of the checkpoint's."""
    from huggingface_hub import ModelCard, ModelCardData

    heading, stated = f"# A {config.model_type} model", dict[str, Any]()
    with suppress(Exception):  # where there is no card, or one that the hub cannot read
        card = ModelCard.load(Path(export.source, "README.md"))
        stated = card.data.to_dict()
        heading = next(line for line in card.text.splitlines() if line.startswith("# "))
    family, labels = export.format.split("-")[0], config.id2label.values()
    runtime = {"onnx": "onnxruntime", "openvino": "openvino"}.get(family)
    ModelCard.from_template(
        ModelCardData(
            license=stated.get("license"),
            base_model=stated.get("base_model"),
            library_name=family if runtime else "transformers",
            pipeline_tag="text-classification",
            tags=["bort-explorer", config.model_type, export.format],
        ),
        template_str=CARD,
        export=export,
        runtime=runtime,
        calibration=literal(export.calibration),
        heading=heading,
        parity=literal(export.parity),
        labels=", ".join(map(literal, labels)) if len(labels) > 1 else "none, it predicts a number",
        limit=limit,
    ).save(path)
