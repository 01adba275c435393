"""Is a text near a mistake worth more than any text? Accuracy by points added, arm by arm.

Run: python benchmarks/agora_curve.py [seeds] [--read] [--elastic] [--out FOLDER]. On two tasks,
with 1,000 labelled rows each, a student of a third of MiniLM-L6's encoder (a slice of the labeller,
or with --elastic of its elastic student) is trained on those rows and on 50 to 3,000 texts of the
unlabelled pool, labelled by the source that was fine-tuned on the same rows. The arms differ in
which texts:

    random         any
    random-even    any, as many of each of the labeller's classes as can be
    near           the nearest to each mistake on dev, all mistakes in turn
    near-disputed  of the 16 nearest, the one on which student and labeller differ most
    balanced       near-disputed, as many of each of the labeller's classes as can be
    weighted       balanced, each point weighted by how reliable the labeller is near it: logistic
                   regression, on dev, of "right" on its confidence and its score on 16 neighbours
    disputed       of the whole pool those on which student and labeller differ most

Each round adds to the arm's points and trains from the start anew, on mistakes of the model before;
"plain" has the labelled rows alone, for as many steps as the last round. All see all of dev. What
counts is measured on rows of the train split that no arm sees (`JUDGED`), never on the test split.
Every training is on file at once and two seeds run side by side, each on one thread; given again it
goes on. Prints every seed's value, and 95 % intervals by a bootstrap over seeds and, within each,
over sentences (10,000 draws).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from scipy.special import softmax

from bort_engine.data.resources import ASSETS
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.finetune.tau import NEAR_DUPLICATE, nearest
from bort_engine.runs import records
from bort_engine.runs.events import Progress, Stop
from bort_engine.runs.provenance import Provenance
from bort_engine.runs.workers import Processes
from bort_engine.training.metrics import divergence
from bort_engine.training.precision import precision

SOURCE, SHAPE = sources["minilm-l6"], Architecture(3, 12, 384, 768)
TASKS = ("rotten-tomatoes", "reuters-r8?length=40")
N_LABELLED, N_JUDGED, TEACHER_STEPS = 1000, 1000, 250
ADDED = (50, 150, 400, 1000, 3000)
MOST_OF_POOL = 0.7  # beyond that the arms have the same points
ARMS = ("random", "near-disputed", "near", "disputed", "balanced", "weighted")
ARMS += ("random-even",)
EPOCHS, BATCH, LEARNING_RATE = 3, 64, 2e-4
CANDIDATES = NEIGHBOURS = 16
ELASTIC = "--elastic" in sys.argv
RECORD = ASSETS / "recorded" / f"curve-agora{'-elastic' * ELASTIC}.json"


@dataclass(slots=True)
class Curve:
    """What one arm's students answer on the judged rows, by the number of points added."""

    task: str
    seed: int
    arm: str
    labeller: float  # its accuracy on the judged rows
    answers: dict[int, list[int]] = field(default_factory=dict)
    labels_right: dict[int, float] = field(default_factory=dict)  # of the points, by the labeller


class World:
    """A task's rows for one seed: labelled, pool, judged and dev, the labeller and its labels."""

    def __init__(self, task: str, seed: int, stop: Stop) -> None:
        from bort_engine.encoder.build import inherit, load_source
        from bort_engine.training.teacher import Teacher
        from bort_engine.training.vectors import Vectors

        self.T = T = Teacher.prepare(
            SOURCE, task, steps=TEACHER_STEPS, n_labelled=N_LABELLED, seed=seed, stop=stop
        )
        train, dev = T.splits["train"], T.splits["validation"]
        n = len(train)
        texts = [*train["text"], *dev["text"]]
        vectors = Vectors(load_source(SOURCE), T.tokenizer).cached(texts, SOURCE)
        self.vectors, self.dev_vectors = vectors[:n], vectors[n:]
        self.truth = np.array(train["label"])
        others = np.setdiff1d(np.arange(n), T.labelled)
        others = np.random.default_rng([seed, 2]).permutation(others)
        self.labelled, self.judged = T.labelled, others[:N_JUDGED]
        known = np.concatenate([self.vectors[[*self.labelled, *self.judged]], self.dev_vectors])
        rest = others[N_JUDGED:]
        self.pool = rest[nearest(self.vectors[rest], known) < NEAR_DUPLICATE]
        self.soft = softmax(T.train_logits, axis=1)
        self.n_classes = self.soft.shape[1]
        self.labeller = float((self.soft.argmax(1) == self.truth)[self.judged].mean())
        self.seed, self.stop = seed, stop
        self.initial = inherit(T.model, SHAPE, SOURCE, T.importance)
        if ELASTIC:
            from bort_engine.training.elastic import Elastic

            self.initial = Elastic.prepare(SOURCE, T, seed=seed, stop=stop).cut(SHAPE)

    def student(self, points: np.ndarray, weights: np.ndarray, steps: int = 0) -> Any:
        """Train on the labelled rows and on these rows of the pool, with the labeller's labels."""
        import copy

        from bort_engine.training.trainer import Recipe, train, without_dropout

        # Cross-entropy is linear in the label: a point of weight w is one whose shares sum to w.
        labels = {row: np.eye(self.n_classes)[self.truth[row]] for row in self.labelled.tolist()}
        labels |= {row: self.soft[row] * w for row, w in zip(points.tolist(), weights, strict=True)}
        rows = [self.T.train_data[row] | {"labels": y.tolist()} for row, y in labels.items()]
        recipe = Recipe(steps, EPOCHS, BATCH, LEARNING_RATE)
        model = without_dropout(copy.deepcopy(self.initial))
        return train(model, rows, self.T.tokenizer, recipe, seed=self.seed, stop=self.stop)

    def logits(self, model: Any, rows: np.ndarray) -> np.ndarray:
        from bort_engine.training.trainer import predict

        data = self.T.train_data
        return predict(model, [data[row] for row in rows.tolist()], self.T.tokenizer)

    def wrong_on_dev(self, model: Any) -> np.ndarray:
        from bort_engine.training.trainer import predict

        guesses = predict(model, self.T.dev_data, self.T.tokenizer).argmax(1)
        return np.flatnonzero(guesses != self.T.dev_labels)

    def reliability(self, rows: np.ndarray) -> np.ndarray:
        """Return how likely S is right on rows of the train split, fitted on dev."""
        from sklearn.linear_model import LogisticRegression

        right = self.T.dev_logits.argmax(1) == self.T.dev_labels
        closeness = self.dev_vectors @ self.dev_vectors.T
        np.fill_diagonal(closeness, -2)  # none is its own neighbour
        features = _features(softmax(self.T.dev_logits, axis=1), closeness, right)
        model = LogisticRegression().fit(features, right)
        closeness = self.vectors[rows] @ self.dev_vectors.T
        return model.predict_proba(_features(self.soft[rows], closeness, right))[:, 1]

    def pick(self, arm: str, n: int, taken: np.ndarray, model: Any) -> np.ndarray:
        """Return up to n rows of the pool that an arm adds to those it has taken."""
        free = np.setdiff1d(self.pool, taken)
        n = min(n, len(free))
        if arm == "random":
            order = np.random.default_rng([self.seed, 3]).permutation(self.pool)
            return order[~np.isin(order, taken)][:n]
        if arm == "random-even":
            return self._evenly(np.random.default_rng([self.seed, 3]).permutation(free), n, taken)
        gap = np.zeros(len(self.soft))
        if arm != "near":
            gap[free] = divergence(self.T.train_logits[free], self.logits(model, free))
        if arm == "disputed":
            return free[np.argsort(-gap[free])[:n]]
        wrong = self.wrong_on_dev(model)
        wrong = np.random.default_rng([self.seed, len(taken)]).permutation(wrong)
        closeness = self.vectors[free] @ self.dev_vectors[wrong].T
        candidates = 1 if arm == "near" else CANDIDATES
        classes = self.soft.argmax(1) if arm in ("balanced", "weighted") else None
        return _by_mistake(free, closeness, gap, n, candidates, classes)

    def _evenly(self, free: np.ndarray, n: int, taken: np.ndarray) -> np.ndarray:
        """Return n of these rows, each time the first of a class that has fewest so far."""
        classes = self.soft.argmax(1)
        counts = np.bincount(classes[taken], minlength=self.n_classes)
        queues = {k: list(free[classes[free] == k]) for k in range(self.n_classes)}
        picks: list[int] = []
        while len(picks) < n:
            k = min((k for k in queues if queues[k]), key=lambda k: counts[k])
            picks.append(int(queues[k].pop(0)))
            counts[k] += 1
        return np.array(picks, dtype=int)


def _features(shares: np.ndarray, closeness: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return S's log odds on its first choice, and its score on the nearest rows of dev."""
    best = shares.max(1).clip(1e-6, 1 - 1e-6)
    neighbours = np.argsort(-closeness, axis=1)[:, :NEIGHBOURS]
    return np.stack([np.log(best / (1 - best)), right[neighbours].mean(1)], axis=1)


def _by_mistake(
    free: np.ndarray,
    closeness: np.ndarray,
    gap: np.ndarray,
    n: int,
    candidates: int,
    classes: np.ndarray | None,
) -> np.ndarray:
    """Pick one row a mistake, all mistakes in turn until there are n: of the nearest `candidates`
    that are free the most disputed, of a class that has fewest picks so far where those count."""
    is_free = np.ones(len(free), dtype=bool)
    nearest_first = np.argsort(-closeness, axis=0)
    counts = np.zeros(1 if classes is None else classes.max() + 1, dtype=int)
    picks: list[int] = []
    while len(picks) < n:
        for order in nearest_first.T:
            near = order[is_free[order]][:candidates]
            if len(picks) == n or not len(near):
                break
            if classes is not None:
                of_class = counts[classes[free[near]]]
                near = near[of_class == of_class.min()]
            best = near[gap[free[near]].argmax()]
            is_free[best] = False
            picks.append(int(free[best]))
            if classes is not None:
                counts[classes[picks[-1]]] += 1
    return np.array(picks, dtype=int)


def measure(unit: tuple[str, int, str], on_progress: Progress, stop: Stop) -> str:
    """Play all arms of one task and seed, each round on file once it is trained."""
    task, seed, out = unit
    world: list[World] = []

    def get_world() -> World:
        if not world:
            world.append(World(task, seed, stop))
        return world[0]

    none = np.empty(0, dtype=int)
    base: list[Any] = []

    def get_base() -> Any:
        if not base:
            base.append(get_world().student(none, none))
        return base[0]

    for arm in ("plain", *ARMS):
        path = Path(out) / f"{task.partition('?')[0]}-{seed}-{arm}.json"
        if path.is_file():
            continue
        w = get_world()
        curve = Curve(task, seed, arm, w.labeller)
        curve.answers[0] = w.logits(get_base(), w.judged).argmax(1).tolist()
        taken, model = none, get_base()
        added = [n for n in ADDED if n <= MOST_OF_POOL * len(w.pool)]
        for n in added[-1:] if arm == "plain" else added:
            on_progress({"stage": f"{task} {seed} {arm}", "done": n, "total": added[-1]})
            if arm == "plain":
                model = w.student(none, none, -(-EPOCHS * (N_LABELLED + n) // BATCH))
            else:
                taken = np.concatenate([taken, w.pick(arm, n - len(taken), taken, model)])
                reliable = w.reliability(taken) if arm == "weighted" else np.ones(len(taken))
                model = w.student(taken, reliable)
                curve.labels_right[n] = float((w.soft[taken].argmax(1) == w.truth[taken]).mean())
            curve.answers[n] = w.logits(model, w.judged).argmax(1).tolist()
        records.write(path, curve)
        truth = w.truth[w.judged].tolist()
        records.write(path.with_name(f"truth-{task.partition('?')[0]}-{seed}.json"), truth)
    return f"{task} {seed}"


@dataclass(frozen=True, slots=True)
class Gain:
    """An arm with so many points against another arm, on the judged rows of every seed.

    `gained` are rows that only the first has right, `lost` those that only the other has; accuracy
    and balanced accuracy (the mean over classes) are the first arm's.
    """

    task: str
    arm: str
    against: str
    added: int
    accuracy: tuple[float, ...]
    balanced: tuple[float, ...]
    gained: tuple[int, ...]
    lost: tuple[int, ...]

    def points(self) -> np.ndarray:
        """Return each seed's gain, in points of accuracy."""
        return 100 * (np.array(self.gained) - np.array(self.lost)) / N_JUDGED

    def balanced_gain(self, other: Gain) -> tuple[float, float, float]:
        """Return the gain in the mean over classes, with its 95 % interval over seeds (t)."""
        from scipy.stats import t

        gains = 100 * (np.array(self.balanced) - np.array(other.balanced))
        mean, n = float(gains.mean()), len(gains)
        half = float(t.ppf(0.975, n - 1) * gains.std(ddof=1) / np.sqrt(n))
        return mean, mean - half, mean + half

    def interval(self) -> tuple[float, float]:
        """Return the gain's 95 % interval over seeds, and over sentences within each."""
        rng, n_seeds = np.random.default_rng(0), len(self.gained)
        shares = np.array([self.gained, self.lost]).T / N_JUDGED
        shares = np.column_stack([shares, 1 - shares.sum(1)])
        drawn = rng.integers(n_seeds, size=(10_000, n_seeds))
        counts = rng.multinomial(N_JUDGED, shares[drawn])  # (draws, seeds, three)
        means = (100 * (counts[..., 0] - counts[..., 1]) / N_JUDGED).mean(1)
        low, high = np.percentile(means, (2.5, 97.5))
        return float(low), float(high)


@dataclass(slots=True)
class Campaign:
    """All gains, and by task the labeller's accuracy on the judged rows of each seed."""

    made: Provenance
    labeller: dict[str, tuple[float, ...]]
    gains: tuple[Gain, ...]
    schema: int = 1

    AGAIN = "delete it and run this again"


def gains(folder: Path, seeds: int) -> Iterator[tuple[Gain, tuple[float, ...]]]:
    """Give every arm against random, and random against plain, with the labeller's accuracies."""
    from sklearn.metrics import balanced_accuracy_score

    for task in TASKS:
        stem = task.partition("?")[0]
        truths = [
            np.array(records.read(folder / f"truth-{stem}-{seed}.json", list[int]))
            for seed in range(seeds)
        ]
        curves = {
            arm: [records.read(folder / f"{stem}-{k}-{arm}.json", Curve) for k in range(seeds)]
            for arm in ("plain", *ARMS)
        }
        labeller = tuple(round(curve.labeller, 4) for curve in curves["random"])
        for added in curves["random"][0].answers:
            pairs = [(arm, "random") for arm in ARMS[1:]] + [("random", "plain")]
            for arm, against in pairs if added else [("plain", "plain")]:
                ours = [np.array(curve.answers[added]) for curve in curves[arm]]
                # Plain has the labelled rows alone: for as many steps at the end only.
                theirs = [
                    np.array(curve.answers.get(added, curve.answers[0]))
                    for curve in curves[against]
                ]
                right = [a == y for a, y in zip(ours, truths, strict=True)]
                other = [a == y for a, y in zip(theirs, truths, strict=True)]
                both = list(zip(right, other, strict=True))
                balanced = map(balanced_accuracy_score, truths, ours)
                gain = Gain(
                    task,
                    arm,
                    against,
                    added,
                    accuracy=tuple(round(float(r.mean()), 4) for r in right),
                    balanced=tuple(round(float(b), 4) for b in balanced),
                    gained=tuple(int((r & ~o).sum()) for r, o in both),
                    lost=tuple(int((~r & o).sum()) for r, o in both),
                )
                yield gain, labeller


def report(found: Campaign) -> None:
    print(found.made)
    of = {(gain.task, gain.arm, gain.added): gain for gain in found.gains}
    for task, labeller in found.labeller.items():
        print(f"{task}: the labeller {_seeds(labeller)}")
        for gain in found.gains:
            if gain.task == task:
                low, high = gain.interval()
                ahead = f"{gain.points().mean():+.2f} points ({low:+.2f} to {high:+.2f})"
                ahead += f" against {gain.against}, by seed {np.round(gain.points(), 1).tolist()}"
                other = of.get((task, gain.against, gain.added), of[task, "plain", 0])
                mean, low, high = gain.balanced_gain(other)
                ahead += f"; in the mean over classes {mean:+.2f} ({low:+.2f} to {high:+.2f})"
                print(
                    f"  {gain.added:>4} {gain.arm:<14} {_seeds(gain.accuracy)}, in the mean over "
                    f"classes {100 * np.mean(gain.balanced):.1f}; {ahead * (gain.added > 0)}"
                )


def _seeds(shares: Sequence[float]) -> str:
    return f"{100 * np.mean(shares):.1f} % right {[round(100 * share, 1) for share in shares]}"


def main() -> None:
    words = sys.argv[1:]
    seeds = int(words[0]) if words and words[0].isdigit() else 8
    if "--read" not in words:
        out = Path(words[words.index("--out") + 1] if "--out" in words else "runs/agora-curve")
        out.mkdir(parents=True, exist_ok=True)
        units = [(task, seed, str(out)) for seed in range(seeds) for task in TASKS]

        def tell(event: dict[str, Any]) -> None:
            print(event["stage"], event["done"], file=sys.stderr, flush=True)

        for _, finished in Processes(measure, 2, tell).each(units):
            print(f"{finished}: finished", file=sys.stderr, flush=True)
        every = list(gains(out, seeds))
        labeller = {gain.task: accuracies for gain, accuracies in every}
        made = Provenance.here("torch", "transformers", precision=precision())
        found = Campaign(made, labeller, tuple(gain for gain, _ in every))
        records.write(RECORD, found)
    report(records.read(RECORD, Campaign))


if __name__ == "__main__":
    main()
