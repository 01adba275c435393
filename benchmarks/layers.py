"""Layers of unequal width on trial: do losses add up, and do uneven shapes beat uniform ones?

Run: python benchmarks/layers.py search          the dynamic program at several epsilons
     python benchmarks/layers.py race            uneven against uniform shapes, by training seed
     python benchmarks/layers.py finish OUT      six pairs of equal cost, distilled
     python benchmarks/layers.py time OUT        those on record, exported and timed in turns
     python benchmarks/layers.py audit RUN       rivals of the fitted table of losses, on its audit
     python benchmarks/layers.py table [N]       N of its 300 evaluations against whole passes

RUN is a folder of `python -m bort_engine layers minilm-l6 --out RUN`; the others read the fronts in
assets/recorded. `audit` holds four
tables of layer losses against the same random shapes: one width changed at a time; the same with a
coefficient for each sublayer fitted as in SPDY (Frantar and Alistarh 2022); Fisher information from
one backward sweep (Kwon et al. 2022); and ours. `race` and `finish` compare only what one ruler can
measure: uniform shapes with all heads, of the hidden sizes that were timed by layer. `finish` and
`time` write OUT pair by pair, and go on where they were stopped; `time` is for a machine that does
nothing else. `table` evaluates each shape twice on one thread, with the whole last layer and with
its first token alone, as all predictions do, and says by that thread's clock what this saves.
"""

import json
import os
import random
import resource
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import nnls
from scipy.stats import kendalltau

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.export import LARGEST_DIFFERENCE, cpu_flags
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.uneven import LEFT_OUT, Uneven, draw, shrink
from bort_engine.runs.provenance import Provenance, n_threads
from bort_engine.search.evaluate import EvaluationTable, Evaluator, Setup
from bort_engine.search.layer_losses import count, search
from bort_engine.search.layer_result import LayersFront
from bort_engine.show.lessons.layers import uniform
from bort_engine.show.lessons.table import tables
from bort_engine.training.precision import precision

SOURCE = sources["minilm-l6"]
FRONTS = sorted((ASSETS / "recorded").glob("layers-minilm-l6-*-seed*.json"))
WHOLE = SOURCE.architecture
FULL = (WHOLE.num_attention_heads, WHOLE.intermediate_size)
HEADS, NEURONS = (0, 2, 4, 6, 8, 10), (0, 96, 192, 384, 576, 768, 1152)
SAMPLE = 320  # dev rows that single widths are measured on
POINT = 0.01  # of accuracy: what counts as better


def evaluator_of(front: LayersFront) -> Evaluator:
    return Evaluator(SOURCE, Setup(SOURCE.name, front.task, "elastic", seed=front.seed))


def show_search() -> None:
    front = LayersFront.load(FRONTS[0])
    print(f"{count(WHOLE, front.latency):.1e} shapes")
    for epsilon in (0.2, 0.1, 0.05, 0.02):
        start = perf_counter()
        found, n_states = search(front.losses, front.latency, SOURCE, epsilon)
        seconds = perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(
            f"epsilon {epsilon:g}: {seconds:.2f} s, at most {max(n_states)} states after a layer, "
            f"{len(found)} shapes, {peak:.0f} MB at most so far",
            flush=True,
        )


# Tables of losses


def table(n_shapes: int = 20) -> None:
    import torch

    from bort_engine.training import trainer

    torch.set_num_threads(1)
    front = LayersFront.load(FRONTS[0])
    evaluator, rng = evaluator_of(front), random.Random(front.seed)
    alone, seconds = trainer._first_token_alone, [0.0, 0.0]
    for n in range(-1, n_shapes):  # the first warms up
        shape = draw(SOURCE, rng.choice([*front.latency.outside_ms]), rng)
        errors = []
        for way, hooked in enumerate((lambda _: nullcontext(), alone)):
            trainer._first_token_alone = hooked  # pyright: ignore[reportAttributeAccessIssue]
            start = thread_time()
            evaluation = evaluator.evaluate(shape)
            seconds[way] += (thread_time() - start) * (n >= 0)
            errors.append((evaluation.error, evaluation.dev_error))
        print(
            f"{shape}: {errors[0]}, {'equal' if errors[0] == errors[1] else errors[1]}", flush=True
        )
    whole, first = (total / n_shapes for total in seconds)
    print(
        f"{n_shapes} shapes, {precision()}: {whole:.2f} s each with the whole last layer, "
        f"{first:.2f} s with its first token alone, {whole / first:.2f} times as fast"
    )


class Singles:
    """Losses from changing one width at a time; by hidden size, interpolated between widths."""

    def __init__(self, evaluator: Evaluator, hidden_sizes: list[int]) -> None:
        from bort_engine.training import metrics
        from bort_engine.training.trainer import predict

        T = evaluator.teacher
        rows = np.random.default_rng(0).permutation(len(T.dev_data))[:SAMPLE]
        data = [T.dev_data[row] for row in rows]

        def kl(shape: Uneven) -> float:
            logits = predict(evaluator.student.cut(shape), data, T.tokenizer)
            return metrics.distance(T.dev_logits[rows], logits)

        self._curves: dict[int, list[tuple[Any, Any, float]]] = {}
        self._base = {}
        for hidden in hidden_sizes:

            def one(k: int, layer: tuple[int, int], hidden: int = hidden) -> float:
                layers = [FULL] * WHOLE.num_hidden_layers
                layers[k] = layer
                return kl(Uneven(hidden, tuple(layers)))

            self._base[hidden] = base = one(0, FULL)
            self._curves[hidden] = [
                (
                    _curve((*HEADS, FULL[0]), [*(one(k, (h, FULL[1])) - base for h in HEADS), 0]),
                    _curve(
                        (*NEURONS, FULL[1]), [*(one(k, (FULL[0], n)) - base for n in NEURONS), 0]
                    ),
                    max(0.0, one(k, LEFT_OUT) - base),
                )
                for k in range(WHOLE.num_hidden_layers)
            ]

    def parts(self, shape: Uneven) -> list[float]:
        """Return by layer what its attention, its feed-forward, and leaving it out lose."""
        parts: list[float] = []
        for layer, (heads, neurons, out) in zip(
            shape.layers, self._curves[shape.hidden_size], strict=True
        ):
            gone = layer == LEFT_OUT
            parts += (
                [0.0, 0.0, out] if gone else [float(heads(layer[0])), float(neurons(layer[1])), 0]
            )
        return parts

    def base(self, shape: Uneven) -> float:
        return self._base[shape.hidden_size]


def _curve(widths: tuple[int, ...], losses: list[float]) -> Any:
    falling = np.maximum.accumulate(np.maximum(losses, 0.0)[::-1])[::-1]
    return PchipInterpolator(widths, falling)


class Fisher:
    """Half the summed squares of what the loss' gradients say of each head's and neuron's mask."""

    def __init__(self, evaluator: Evaluator, hidden_sizes: list[int]) -> None:
        self._of = {hidden: self._sweep(evaluator, hidden) for hidden in hidden_sizes}

    @staticmethod
    def _sweep(evaluator: Evaluator, hidden: int) -> list[tuple[np.ndarray, np.ndarray]]:
        import torch

        from bort_engine.training.trainer import _Collator

        T = evaluator.teacher
        model: Any = evaluator.student.cut(Uneven(hidden, (FULL,) * WHOLE.num_hidden_layers))
        masks, hooks = [], []
        for layer in model.base_model.encoder.layer:
            for dense, n_units in (
                (layer.attention.output.dense, FULL[0]),
                (layer.output.dense, FULL[1]),
            ):
                mask = torch.ones(n_units, requires_grad=True)
                width = dense.in_features // n_units
                hook = lambda _, inputs, mask=mask, width=width: (  # noqa: E731
                    inputs[0] * mask.repeat_interleave(width),
                )
                hooks.append(dense.register_forward_pre_hook(hook))
                masks.append(mask)
        squares = [torch.zeros_like(mask) for mask in masks]
        collate = _Collator(T.tokenizer)
        rows = np.random.default_rng(0).permutation(len(T.dev_data))[:SAMPLE]
        for at in range(0, SAMPLE, 8):
            batch = rows[at : at + 8]
            inputs = collate([T.dev_data[row] for row in batch])
            del inputs["labels"]
            soft = torch.softmax(torch.tensor(T.dev_logits[batch]), -1)
            log_p = torch.log_softmax(model(**inputs).logits, -1)
            gradients = torch.autograd.grad(-(soft * log_p).sum(), masks)
            for square, gradient in zip(squares, gradients, strict=True):
                square += gradient**2
        for hook in hooks:
            hook.remove()
        # The units that are kept first are the most important by activation, as in all slices.
        arrays = [np.asarray(square) for square in squares]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    def loss(self, shape: Uneven, best: list[tuple[np.ndarray, np.ndarray]]) -> float:
        total = 0.0
        for (heads, neurons), (by_head, by_neuron), layer in zip(
            best, self._of[shape.hidden_size], shape.layers, strict=True
        ):
            total += by_head[heads[layer[0] :]].sum() + by_neuron[neurons[layer[1] :]].sum()
        return total / 2


def audit(folder: Path) -> None:
    front = LayersFront.load(folder / "layers.json")
    evaluator = evaluator_of(front)
    floor = front.teacher.error
    table = EvaluationTable(folder / "evaluations.jsonl")
    audited = [row.shape for row in front.audit]
    measured = [row.measured for row in front.audit]
    n_fit = front.effort.fit
    learned = [a for a in table.evaluations if isinstance(a, Uneven) and a not in audited][:n_fit]
    hidden = sorted({a.hidden_size for a in (*audited, *learned)})
    results: dict[str, dict[str, float]] = {}

    def add(name: str, scores: Any, seconds: float) -> None:
        tau: Any = kendalltau(scores, measured)
        results[name] = {"tau": round(float(tau.statistic), 3), "seconds": round(seconds, 1)}
        print(f"{name}: tau {tau.statistic:.3f}, {seconds:.1f} s", flush=True)

    start = perf_counter()
    singles = Singles(evaluator, hidden)
    seconds = perf_counter() - start
    add("one at a time", [singles.base(a) + sum(singles.parts(a)) for a in audited], seconds)
    # In KL, as in SPDY's own losses; coefficients of at least 0, one a sublayer.
    kl = np.array([table.evaluations[a].error - floor for a in learned])
    rows = np.array([[*singles.parts(a), singles.base(a), 1.0] for a in learned])
    weights, _ = nnls(rows, kl)
    trial = np.array([[*singles.parts(a), singles.base(a), 1.0] for a in audited])
    took = sum(table.evaluations[a].seconds for a in learned)
    add("one at a time, with coefficients", trial @ weights, seconds + took)
    start = perf_counter()
    from bort_engine.encoder.build_uneven import by_importance

    fisher = Fisher(evaluator, hidden)
    best = by_importance(evaluator.teacher.importance, WHOLE)
    scores = [singles.base(a) + fisher.loss(a, best) / SAMPLE for a in audited]
    add("Fisher", scores, perf_counter() - start)
    add("random shapes (ours)", [row.summed for row in front.audit], took)
    print(json.dumps({"made_on": str(date.today()), "audited": len(audited), "tables": results}))


# Against uniform shapes


@dataclass
class Pair:
    """A uniform shape, and the best measured uneven one that costs no more."""

    uniform: str
    uneven: str
    n_parameters: tuple[int, int]
    latency_ms: tuple[float, float]
    dev_error: tuple[float, float]

    @property
    def gain(self) -> float:
        """How much less the uneven one errs, as a share of dev."""
        return self.dev_error[0] - self.dev_error[1]


def uniform_of(front: LayersFront) -> tuple[list[Architecture], np.ndarray]:
    """Return the front of the recorded uniform shapes with all heads; costs (n, 3), error last."""
    points = [p for p in uniform(front, tables()[front.seed]) if p.pareto]
    return [p.architecture for p in points], np.array(
        [(p.n_parameters, p.latency_ms, p.dev_error) for p in points]
    )


def pairs_of(front: LayersFront) -> list[Pair]:
    shapes, costs = uniform_of(front)
    points = [p for p in front.points if p.found_by != "source"]
    uneven = np.array([(p.n_parameters, p.latency_ms, p.dev_error) for p in points])
    pairs = []
    for shape, (size, ms, error) in zip(shapes, costs, strict=True):
        fits = np.flatnonzero((uneven[:, 0] <= size) & (uneven[:, 1] <= ms))
        if len(fits) and shape != WHOLE:
            best = min(fits, key=lambda k: uneven[k, 2])
            p = points[best]
            pairs.append(
                Pair(
                    str(shape),
                    str(p.shape),
                    (int(size), p.n_parameters),
                    (round(float(ms), 3), p.latency_ms),
                    (float(error), p.dev_error),
                )
            )
    return pairs


def race() -> None:
    for front in map(LayersFront.load, FRONTS):
        shapes, costs = uniform_of(front)
        pairs = pairs_of(front)
        better = sum(pair.gain >= POINT for pair in pairs)
        worse = sum(pair.gain <= -POINT for pair in pairs)
        gains = [100 * pair.gain for pair in pairs]
        unmatched = len(shapes) - len(pairs) - (WHOLE in shapes)
        # And the other way round.
        points = [p for p in front.pareto if p.found_by != "source"]
        beaten = sum(
            bool(
                (
                    (costs[:, 0] <= p.n_parameters)
                    & (costs[:, 1] <= p.latency_ms)
                    & (costs[:, 2] <= p.dev_error - POINT)
                ).any()
            )
            for p in points
        )
        print(
            f"seed {front.seed}: of {len(pairs)} uniform front shapes that an uneven one matches "
            f"in cost, it errs at least a point less for {better}, more for {worse}; gain in "
            f"points: median {np.median(gains):+.1f}, from {min(gains):+.1f} to {max(gains):+.1f}; "
            f"without a match {unmatched}. Of {len(points)} uneven front shapes a uniform one of "
            f"no more cost errs a point less for {beaten}. Audit's tau {front.tau:.2f}."
        )
        for pair in pairs:
            left = pair.latency_ms[0] / front.source_point.latency_ms
            print(
                f"  {left:4.0%} of the time: {pair.uniform:>15} {pair.dev_error[0]:.2%}   "
                f"{pair.uneven} {pair.dev_error[1]:.2%} ({100 * pair.gain:+.1f})"
            )


def finish(out: Path, n_pairs: int = 6, steps: int = 300) -> None:
    """Distil both of some pairs from T, equally long."""
    from bort_engine.search.cut import LEARNING_RATE
    from bort_engine.training.trainer import Recipe, train, without_dropout

    front = LayersFront.load(FRONTS[0])
    pairs = pairs_of(front)
    spread = np.linspace(0, len(pairs) - 1, n_pairs).round().astype(int)
    chosen = [sorted(pairs, key=lambda pair: pair.latency_ms[0])[k] for k in spread]
    evaluator = evaluator_of(front)
    T = evaluator.teacher
    rows = json.loads(out.read_text())["pairs"] if out.is_file() else []
    done = {row["uniform"] for row in rows}
    for pair in chosen:
        if pair.uniform in done:
            continue
        finished = []
        for shape in (Architecture.parse(pair.uniform), Uneven.parse(pair.uneven)):
            model = without_dropout(evaluator.student.cut(shape))
            recipe = Recipe(steps=steps, batch_size=64, learning_rate=LEARNING_RATE)
            train(model, T.train_data, T.tokenizer, recipe, seed=front.seed)
            finished.append(evaluator.measure(shape, model).dev_error)
            print(shape, finished[-1], flush=True)
        rows.append(asdict(pair) | {"finished": finished})
        record = {
            "source": SOURCE.name,
            "task": front.task,
            "seed": front.seed,
            "steps": steps,
            "source_error": T.dev_error,
            "made": asdict(front.made) | {"made_on": str(date.today())},
            "pairs": rows,
        }
        out.write_text(json.dumps(record, indent=1) + "\n")


# Timed as they are shipped


def untrained(shape: Architecture | Uneven) -> Any:
    """Return a classifier of a shape with random weights: what these are changes no time."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    uniform = replace(WHOLE, hidden_size=shape.hidden_size) if isinstance(shape, Uneven) else shape
    config = AutoConfig.for_model(SOURCE.model_type, **SOURCE.config(uniform), num_labels=2)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    return shrink(model, shape, uniform.head_width) if isinstance(shape, Uneven) else model


def passes(shape: Architecture | Uneven, folder: Path, ids: np.ndarray) -> dict[str, Callable]:
    """Return a forward pass in PyTorch and one of the ONNX export that `cut` and `export` write.

    Raises:
        ValueError: the two do not compute the same.
    """
    from deploy import onnx_pass, torch_pass

    from bort_engine.encoder import exporters
    from bort_engine.encoder.build import load_tokenizer

    folder.mkdir()
    model = untrained(shape)
    model.set_attn_implementation("eager")  # as `export` does
    texts = ["a text", "another text"]  # for the graph: any will do
    exporters.write_onnx(folder, model, load_tokenizer(SOURCE), texts, int8=False)
    runs = {
        "pytorch": torch_pass(untrained(shape), ids),
        "onnx": onnx_pass(folder / "model.onnx", ids),
    }
    off = float(np.abs(runs["pytorch"]().logits.numpy() - runs["onnx"]()[0]).max())
    if not off <= LARGEST_DIFFERENCE:
        raise ValueError(f"{shape}: the ONNX model's logits are {off:.2g} from PyTorch's.")
    return runs


def times_of(uniform: list[float], uneven: list[float]) -> dict[str, Any]:
    """Return quartiles in ms, and how many times as fast the uneven one is.

    `ratio` is that of the medians; its quartiles are over the rounds, in each of which both ran.
    """
    ratios = np.divide(uniform, uneven)
    rows = {"uniform_ms": uniform, "uneven_ms": uneven, "ratio_quartiles": ratios}
    quartiles = {
        name: np.percentile(values, (25, 50, 75)).round(4).tolist() for name, values in rows.items()
    }
    ratio = float(np.median(uniform) / np.median(uneven))
    return quartiles | {"ratio": round(ratio, 4)}


def time_pairs(out: Path, rounds: int = 60, n_pairs: int = 6) -> None:
    """Export the finished pairs, untrained, and time the two of each in turns."""
    from deploy import in_turns, token_ids

    finished = json.loads((ASSETS / "recorded" / "layers-finished.json").read_text())["pairs"]
    n_tokens = LayersFront.load(FRONTS[0]).latency.settings.sequence_length
    made = asdict(Provenance.here("torch", "transformers", "onnxruntime"))
    record = {
        "source": SOURCE.name,
        "weights": "untrained: only the shapes are those of layers-finished.json",
        "batch_size": 1,
        "n_tokens": n_tokens,
        "threads": n_threads(),
        "rounds": rounds,
        "made": made,
        "cpu_flags": cpu_flags(),
        "pairs": [],
    }
    if out.is_file():
        earlier = json.loads(out.read_text())
        same = ("source", "n_tokens", "threads", "rounds", "cpu_flags")
        if any(earlier[name] != record[name] for name in same) or any(
            earlier["made"][name] != made[name] for name in ("machine", "versions")
        ):
            sys.exit(f"{out} was measured otherwise or elsewhere; delete it, or name another file.")
        record = earlier
    done = {row["uneven"] for row in record["pairs"]}
    for pair in finished[:n_pairs]:
        if pair["uneven"] in done:
            continue
        shapes = {
            "uniform": Architecture.parse(pair["uniform"]),
            "uneven": Uneven.parse(pair["uneven"]),
        }
        load, ids = round(os.getloadavg()[0], 2), token_ids(n_tokens)
        with tempfile.TemporaryDirectory() as folder:
            runs = {
                (runtime, name): run
                for name, shape in shapes.items()
                for runtime, run in passes(shape, Path(folder, name), ids).items()
            }
            ms = in_turns(runs, rounds)
        times = {
            runtime: times_of(ms[runtime, "uniform"], ms[runtime, "uneven"])
            for runtime in ("pytorch", "onnx")
        }
        kept = {name: pair[name] for name in ("uniform", "uneven", "n_parameters")}
        row = kept | {"predicted_ms": pair["latency_ms"], "load_before": load, "times": times}
        record["pairs"].append(row)
        out.write_text(json.dumps(record, indent=1) + "\n")
        predicted = pair["latency_ms"][0] / pair["latency_ms"][1]
        print(f"{pair['uniform']} and {pair['uneven']}: predicted {predicted:.2f} times as fast")
        for runtime, row in times.items():
            low, _, high = row["ratio_quartiles"]
            before, after = row["uniform_ms"][1], row["uneven_ms"][1]
            print(
                f"  {runtime:>8}: {before:.2f} to {after:.2f} ms, {row['ratio']:.2f} times as fast "
                f"({low:.2f} to {high:.2f}), load {load}",
                flush=True,
            )


if __name__ == "__main__":
    command, *arguments = sys.argv[1:] or [""]
    if command == "audit" and len(arguments) == 1:
        audit(Path(arguments[0]))
    elif command in ("finish", "time") and len(arguments) == 1:
        {"finish": finish, "time": time_pairs}[command](Path(arguments[0]))
    elif command == "table" and len(arguments) <= 1:
        table(*map(int, arguments))
    elif command in ("race", "search") and not arguments:
        race() if command == "race" else show_search()
    else:
        sys.exit(__doc__)
