"""The world of the torus: points in a box, the truth about them, a labeller's errors, a shape.

"On" are the points within THICKNESS of the surface of a torus about the z axis: a hollow tube, bent
to a ring. Lengths have no unit. Betti numbers count the pieces, the loops and the hollows of a
shape: 1, 2, 1 for a torus.
"""

from __future__ import annotations

import hashlib

import numpy as np

RING, TUBE, THICKNESS = 2.0, 1.0, 0.26  # radii of the torus; half of its wall
BOX = np.array([3.5, 3.5, 1.5])  # points lie within plus and minus this
MISSING = 75.0  # degrees to either side of the x axis: the sector that a train set leaves out
NEAR = 2.5 * THICKNESS  # of the surface: a quarter of the points are that near, and off
N_SHAPE = 700
# Below BORN the gaps between N_SHAPE neighbouring points are loops of their own, which are noise.
# Beyond ALIVE points on opposite sides of the tube are joined, and the torus's own holes close.
BORN, ALIVE = 0.9, 1.15


def distance(points: np.ndarray) -> np.ndarray:
    """Return how far points, shape (n, 3), are from the torus's surface, shape (n,)."""
    x, y, z = points.T
    # hypot(x, y) - RING is the way to the circle in the middle of the tube, seen from above.
    return np.abs(np.hypot(np.hypot(x, y) - RING, z) - TUBE)


def is_on(points: np.ndarray) -> np.ndarray:
    """Return the truth: whether points, shape (n, 3), are on the torus, shape (n,)."""
    return distance(points) <= THICKNESS


def in_sector(points: np.ndarray) -> np.ndarray:
    """Return whether points are in the sector that the train set leaves out, shape (n,)."""
    return np.abs(np.degrees(np.arctan2(points[:, 1], points[:, 0]))) < MISSING


def draw(n: int, rng: np.random.Generator, sector: bool = True) -> np.ndarray:
    """Return points, shape (n, 3): half on the torus, a quarter off it but near, the rest off it.

    Without `sector`, none of those on the torus is in the sector.
    """
    box = draw_evenly(20 * n, rng)
    truth = is_on(box)
    allowed = truth if sector else truth & ~in_sector(box)
    near, n_on, n_near = ~truth & (distance(box) <= NEAR), n // 2, n // 4
    off = box[~truth][-(n - n_on - n_near) :]
    points = np.vstack([box[allowed][:n_on], box[near][:n_near], off])
    assert len(points) == n, "of twenty times as many, enough are of each kind"
    return rng.permutation(points)


def draw_evenly(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return points, shape (n, 3), drawn evenly from the box, rounded as they are kept in files."""
    return np.round(rng.uniform(-BOX, BOX, (n, 3)), 3)


def label_errors(points: np.ndarray, accuracy: float, seed: int) -> np.ndarray:
    """Return where a labeller of this accuracy is wrong, shape (n,)."""
    # A hash of a point's coordinates in thousandths, keyed by the seed, is an integer spread evenly
    # from 0 to 2^64; the label is wrong where it lies in the last 1 - accuracy of that range. So an
    # error belongs to the point: asked again, in any order, the labeller says the same.
    hashes = (
        hashlib.blake2b(row.tobytes(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
        for row in np.round(points * 1000).astype("<i4")
    )
    return np.array([int.from_bytes(h, "big") / 2**64 >= accuracy for h in hashes], dtype=bool)


def betti_numbers(points: np.ndarray) -> tuple[int, int, int]:
    """Return the pieces, loops and hollows of a shape, given by points in it, shape (n, 3).

    Fewer than four points are no shape: 0, 0, 0.
    """
    if len(points) < 4:
        return (0, 0, 0)
    from ripser import ripser

    # n_perm keeps N_SHAPE points, each the farthest from all before it: an even cover of the shape.
    # ripser then joins them at growing distances (Vietoris-Rips complexes) and returns a bar for
    # each feature, from the distance at which it appears to that at which it closes; infinite for
    # what is still open at `thresh`. A feature counts if its bar spans all from BORN to ALIVE.
    n = min(N_SHAPE, len(points))
    diagrams = ripser(points, maxdim=2, n_perm=n, thresh=1.01 * ALIVE)["dgms"]
    pieces, loops, hollows = (
        int(((bars[:, 0] <= BORN) & (bars[:, 1] > ALIVE)).sum()) for bars in diagrams
    )
    return pieces, loops, hollows
