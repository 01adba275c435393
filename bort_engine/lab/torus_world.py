"""The world of the torus: points in a box, the truth about them, a labeller's errors, a shape.

"On" are the points within THICKNESS of the surface of a torus about the z axis: a hollow tube, bent
to a ring. Lengths have no unit.

Betti numbers count a shape's pieces, its loops and its hollows: 1, 2, 1 for a torus. N_SHAPE of the
shape's points are taken, each the farthest from all before it, and ripser follows what appears and
closes as ever farther points are joined (Vietoris-Rips complexes). A feature counts if it is there
once points up to BORN apart are joined, and still there when points up to ALIVE apart are. Below
BORN the gaps between points are loops of their own; beyond ALIVE the torus's own holes close.
"""

from __future__ import annotations

import hashlib

import numpy as np

from bort_engine.lab.torus_run import Betti

RING, TUBE, THICKNESS = 2.0, 1.0, 0.26  # radii of the torus; half of its wall
BOX = np.array([3.5, 3.5, 1.5])  # points lie within plus and minus this
MISSING = 75.0  # degrees to either side of the x axis: the sector that a train set leaves out
NEAR = 2.5 * THICKNESS  # of the surface: a quarter of the points are that near, and off
N_SHAPE = 700
BORN, ALIVE = 0.9, 1.15


def distance(points: np.ndarray) -> np.ndarray:
    """Return how far points, shape (n, 3), are from the torus's surface, shape (n,)."""
    x, y, z = points.T
    return np.abs(np.hypot(np.hypot(x, y) - RING, z) - TUBE)


def on(points: np.ndarray) -> np.ndarray:
    """Return the truth: whether points, shape (n, 3), are on the torus, shape (n,)."""
    return distance(points) <= THICKNESS


def in_sector(points: np.ndarray) -> np.ndarray:
    """Return whether points are in the sector of the torus that D leaves out."""
    return np.abs(np.degrees(np.arctan2(points[:, 1], points[:, 0]))) < MISSING


def draw(n: int, rng: np.random.Generator, sector: bool = True) -> np.ndarray:
    """Return points, shape (n, 3): half on the torus, a quarter off it but near, the rest off it.

    Without `sector`, none of those on the torus is in the sector.
    """
    box = even(20 * n, rng)
    truth = on(box)
    wanted = truth if sector else truth & ~in_sector(box)
    near, n_on, n_near = ~truth & (distance(box) <= NEAR), n // 2, n // 4
    off = box[~truth][-(n - n_on - n_near) :]
    points = np.vstack([box[wanted][:n_on], box[near][:n_near], off])
    assert len(points) == n, "of twenty times as many, enough are of each kind"
    return rng.permutation(points)


def even(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return points, shape (n, 3), drawn evenly from the box, rounded as they are kept in files."""
    return np.round(rng.uniform(-BOX, BOX, (n, 3)), 3)


def errs(points: np.ndarray, labeller: float, seed: int) -> np.ndarray:
    """Return where S is wrong, shape (n,); asked again about a point, it says the same."""
    hashes = (
        hashlib.blake2b(row.tobytes(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
        for row in np.round(points * 1000).astype("<i4")
    )
    return np.array([int.from_bytes(h, "big") / 2**64 >= labeller for h in hashes], dtype=bool)


def betti(points: np.ndarray) -> Betti:
    """Return the pieces, loops and hollows of a shape, given by points in it, shape (n, 3).

    Fewer than four points are no shape: 0, 0, 0.
    """
    if len(points) < 4:
        return (0, 0, 0)
    from ripser import ripser

    n = min(N_SHAPE, len(points))
    bars = ripser(points, maxdim=2, n_perm=n, thresh=1.01 * ALIVE)["dgms"]
    pieces, loops, hollows = (int(((b[:, 0] <= BORN) & (b[:, 1] > ALIVE)).sum()) for b in bars)
    return pieces, loops, hollows
