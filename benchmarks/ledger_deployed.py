"""Is the published "20 times as fast as BERT-large" one of the shape, or one of the runtime?

Run: python benchmarks/ledger_deployed.py [OUT] [--read]. BERT-large and Bort with random weights,
batch 1, all processor threads, in turns: PyTorch in fp32 and, where the processor multiplies it, in
bf16, ONNX Runtime with the int8 weights that `export` writes, and, where requirements-openvino.txt
is installed, OpenVINO in int8. Before its times are taken, each is held against PyTorch's outputs
in fp32. The exports stay in OUT (by default ledger-deployed in the folder for temporary files) for
the next time; making them takes 6.1 GB of memory.
Writes assets/recorded/ledger-deployed.json length by length, and goes on where it was stopped;
--read prints what is on record.
"""

import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from deploy import in_turns, onnx_pass, openvino_pass, token_ids, torch_pass

from bort_engine.encoder.export import PACKAGES, cpu_flags
from bort_engine.encoder.sources import Source, sources
from bort_engine.lab.ledger import (
    BORT,
    DEFAULT,
    DEPLOYED,
    LARGE,
    LENGTHS,
    DeployedLedger,
    Deployment,
    Spread,
    random_model,
)
from bort_engine.runs import records
from bort_engine.runs.provenance import Provenance
from bort_engine.show.lessons.claims import operations

ROUNDS = 30
N_CALIBRATION = 8  # texts: how good the outputs are is checked, and changes no time
MODELS = (LARGE, BORT)
MOST_TOKENS = max(LENGTHS)
# Of the last hidden states from those in fp32, relative (Frobenius norm). Activations in int8 drift
# by 0.24 through BERT-large's 24 layers of random weights; another model's states are 1.4 away.
FARTHEST = 0.5
Pass = tuple[Deployment, Source]
FORMATS: tuple[Deployment, ...] = ("onnx-int8",)
if all(map(find_spec, PACKAGES["openvino-int8"])):
    FORMATS += ("openvino-int8",)


def seeded_model(source: Source) -> Any:
    """Return a model whose random weights are the same each time, so that outputs compare."""
    import torch

    torch.manual_seed(0)
    return random_model(source)


def write_export(source: Source, format: Deployment, folder: Path) -> None:
    from bort_engine.encoder import exporters
    from bort_engine.encoder.build import load_tokenizer

    model = seeded_model(source)
    model.set_attn_implementation("eager")  # as `export` does
    # Any tokenizer will do: its tokens are what the graph is recorded with.
    tokenizer = load_tokenizer(sources["minilm-l6"])
    tokenizer.model_max_length = MOST_TOKENS
    with records.whole_folder(folder) as part:
        if format == "openvino-int8":
            # Ranges of activations are those on random words, as many as are timed.
            words, rng = list(tokenizer.get_vocab()), np.random.default_rng(0)
            texts = [" ".join(rng.choice(words, MOST_TOKENS)) for _ in range(N_CALIBRATION)]
            exporters.write_openvino(part, model, tokenizer, texts)
        else:
            exporters.write_onnx(part, model, tokenizer, ["a text", "another text"], int8=True)


def passes(length: int, out: Path) -> dict[Pass, Callable[[], Any]]:
    """Return a forward pass over so many tokens for each runtime and model."""
    import torch

    ids, runs = token_ids(length), dict[Pass, Callable[[], Any]]()
    for source in MODELS:
        runs["pytorch-fp32", source] = torch_pass(seeded_model(source), ids)
        if "bf16" in cpu_flags():
            half = seeded_model(source).to(torch.bfloat16)
            runs["pytorch-bf16", source] = torch_pass(half, ids)
        runs["onnx-int8", source] = onnx_pass(out / "onnx-int8" / source.name / "model.onnx", ids)
        if "openvino-int8" in FORMATS:
            path = out / "openvino-int8" / source.name / "model.xml"
            runs["openvino-int8", source] = openvino_pass(path, ids)
    return runs


def check_outputs(runs: dict[Pass, Callable[[], Any]]) -> None:
    """Exit where a runtime's last hidden states are not those of PyTorch in fp32."""
    for (runtime, source), run in runs.items():
        expected = np.asarray(runs[DEFAULT, source]()[0])
        output = run()[0]
        states = output if isinstance(output, np.ndarray) else output.float().numpy()
        distance = np.linalg.norm(states - expected) / np.linalg.norm(expected)
        print(f"{runtime} {source.name}: outputs {distance:.3f} from fp32", file=sys.stderr)
        if not distance <= FARTHEST:
            sys.exit(f"{runtime} does not compute {source.name}; delete OUT to export it anew")


def measure(length: int, out: Path) -> dict[Deployment, dict[str, tuple[float, ...]]]:
    """Return milliseconds by runtime and model, one a round."""
    runs = passes(length, out)
    check_outputs(runs)
    times: dict[Deployment, dict[str, tuple[float, ...]]] = {}
    for (runtime, source), ms in in_turns(runs, ROUNDS).items():
        times.setdefault(runtime, {})[source.name] = tuple(round(value, 3) for value in ms)
    return times


def resumed(made: Provenance) -> DeployedLedger | None:
    """Return what is on record, if anything; exit where it was made elsewhere."""
    if not DEPLOYED.is_file():
        return None
    record = DeployedLedger.load(DEPLOYED)
    before = record.provenance
    if (before.machine, before.versions) != (made.machine, made.versions):
        sys.exit(f"{DEPLOYED} was made on {before}; delete it and run this again")
    return record


def with_length(
    record: DeployedLedger | None,
    length: int,
    times: dict[Deployment, dict[str, tuple[float, ...]]],
    made: Provenance,
) -> DeployedLedger:
    times_ms: dict[Deployment, dict[str, dict[int, tuple[float, ...]]]] = {}
    for runtime, by_model in times.items():
        before = record.times_ms[runtime] if record else {name: {} for name in by_model}
        times_ms[runtime] = {name: before[name] | {length: ms} for name, ms in by_model.items()}
    return DeployedLedger(times_ms=times_ms, cpu_flags=cpu_flags(), provenance=made)


def report(record: DeployedLedger) -> None:
    print(f"{record.provenance}; {record.cpu_flags}; medians (quartiles)")
    for length in record.lengths:
        times = operations(LARGE, BORT, length)
        rounds = record.ms(DEFAULT, BORT.name, length).n
        print(f"\n{length} tokens, {rounds} rounds; by operations {times:.1f} times")
        for runtime in record.times_ms:
            large, bort = (text(record.ms(runtime, s.name, length), " ms") for s in MODELS)
            ratio = text(record.ratio(runtime, runtime, length), " times")
            print(f"{runtime:<13} BERT-large {large}, Bort {bort}: {ratio}")
        best = record.best(length)
        print(f"BERT-large in {DEFAULT}, Bort in {best}: ", end="")
        print(text(record.ratio(DEFAULT, best, length), " times"), end="; ")
        gain = text(record.gain(best, length), " times")
        print(f"BERT-large itself, {DEFAULT} against {best}: {gain}")


def text(spread: Spread, unit: str) -> str:
    return f"{spread.median:.2f}{unit} ({spread.low:.2f} to {spread.high:.2f})"


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    out = Path(words[0]) if words else Path(tempfile.gettempdir(), "ledger-deployed")
    if "--read" in sys.argv:
        return report(DeployedLedger.load(DEPLOYED))
    packages = dict.fromkeys(name for format in FORMATS for name in PACKAGES[format])
    made = Provenance.here("torch", "transformers", *packages)
    record = resumed(made)
    for format, source in product(FORMATS, MODELS):
        folder = out / format / source.name
        if not folder.is_dir():
            print(f"exporting {source.name} as {format}", file=sys.stderr, flush=True)
            # In a process of its own, whose memory is given back.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                pool.submit(write_export, source, format, folder).result()
    for length in LENGTHS:
        if record is None or length not in record.lengths:
            record = with_length(record, length, measure(length, out), made)
            records.write(DEPLOYED, record)
            print(f"{length} tokens: measured", file=sys.stderr, flush=True)
    if record:
        report(record)


if __name__ == "__main__":
    main()
