"""A run of Agora on the torus in words: what was asked, what a round did, what came of it."""

from __future__ import annotations

from bort_engine.lab.torus_run import BETTI, GAIN, RECORDED, Betti, Torus
from bort_engine.lab.torus_world import ALIVE, BORN, RING, TUBE

FILES = {"network": RECORDED / "torus.json", "guesser": RECORDED / "torus-guesser.json"}
POINTS = (
    "Drag to turn. Dots and light squares: points of the box that the model calls on. Crosses: "
    "mistakes on dev. Diamonds: points made for this round, near the mistakes of the one before; "
    f"filled where S says on. Lengths have no unit: the ring's radius is {RING:g}, the tube's "
    f"{TUBE:g}."
)
SHAPE = (
    "Betti numbers of what the model calls on. A torus is 1 piece with 2 loops (around the tube, "
    "along the ring) and 1 hollow (the inside of the tube). They are counted on points drawn "
    f"evenly from the whole box: what is there once points up to {BORN:g} apart are joined, and "
    f"still there at {ALIVE:g}."
)


def title(run: Torus) -> str:
    """Say what was asked."""
    asked = run.asked
    return (
        f"labeller {asked.labeller:g}, {asked.points:,} points, {asked.learner}, seed {asked.seed}"
    )


def where(run: Torus) -> str:
    """Say where, when and with what a run was made, and how long it took."""
    made = run.provenance
    return (
        f"{made.get('machine') or 'an unnamed machine'}, {made.get('made_on') or 'undated'}; "
        f"{made.get('versions') or 'versions unknown'}; {run.scores[0].cpu_seconds:.0f} s of "
        "processor time"
    )


def shape_said(numbers: Betti) -> str:
    """Say a shape's numbers in words."""
    singular = ("piece", "loop", "hollow")
    words = [f"{n} {one}{'s' * (n != 1)}" for n, one in zip(numbers, singular, strict=True)]
    return f"{words[0]}, {words[1]} and {words[2]}"


def round_said(run: Torus, number: int) -> str:
    """Say in plain words what a round is, and what came of it."""
    one = run.rounds[number]
    began = f"Round {number}: "
    if number == 0:
        began += f"before Agora, trained on the {one.n_train:,} given points only. "
    else:
        began += (
            f"{one.n_made:,} new points near {len(run.rounds[number - 1].mistakes)} mistakes, "
            f"{100 * (one.labels_right or 0):.1f} % of them labelled rightly. "
        )
    return (
        f"{began}Right on {100 * one.test:.1f} % of the test points; what it calls on has "
        f"{shape_said(one.betti)}."
    )


def verdict(run: Torus) -> str:
    """Say what came of a whole run, good or bad."""
    first, last = run.rounds[0], run.rounds[-1]
    closed = "as a torus has" if last.betti == BETTI else "unlike a torus"
    return (
        f"From round 0 to round {len(run.rounds) - 1}, test accuracy went from "
        f"{100 * first.test:.1f} to {100 * last.test:.1f} % ({100 * (last.test - first.test):+.1f} "
        f"points), and the shape from {shape_said(first.betti)} to {shape_said(last.betti)}, "
        f"{closed}."
    )


def seeds_said(run: Torus) -> str:
    """Say in how many of a run's seeds it worked; empty where there is only one."""
    n = len(run.scores)
    if n == 1:
        return ""
    gained = sum(score.gained for score in run.scores)
    closed = sum(score.closed for score in run.scores)
    both = sum(score.gained and score.closed for score in run.scores)
    return (
        f"It is not always so: of {n} seeds played alike ({run.scores[0].seed} to "
        f"{run.scores[-1].seed}), {gained} gained at least {100 * GAIN:.0f} points, {closed} ended "
        f"with the shape of a torus, and {both} did both."
        if both < n
        else f"It held in all of the {n} seeds played alike ({run.scores[0].seed} to "
        f"{run.scores[-1].seed}): a gain of at least {100 * GAIN:.0f} points, and the shape of a "
        "torus at the end."
    )
