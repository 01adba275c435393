"""Pieces of work on the nodes of a Ray cluster; this process alone keeps what they return.

A worker is a process with as many threads as it was given processors; it is used again for the next
item. What a worker or a node was doing when it was lost is done again by another. A worker whose
code, packages or weights are others than those here is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bort_engine.runs.checks import check_whole
from bort_engine.runs.events import Progress, Stop, check, never, silent
from bort_engine.runs.provenance import code_digest, versions
from bort_engine.runs.records import cache_dir
from bort_engine.runs.text import one_line
from bort_engine.runs.workers import (
    FEW_KERNELS,
    MOST_WORKERS,
    THREADS,
    Here,
    Item,
    Processes,
    Result,
    Work,
    Workers,
    n_workers,
)

RETRIES = 3  # of an item whose worker or node is lost
# Ray itself would wait for minutes, and then end the process.
CONNECT_S, ANSWER_S = 3.0, 30.0  # to answer at all, and to say what nodes there are
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"  # of gRPC, which Ray speaks
# Run in a process that can be ended while Ray waits in it.
RESOURCES = """
import json, ray, sys
ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False)
print(json.dumps([node["Resources"] for node in ray.nodes() if node["Alive"]]))
"""
Weights = tuple[tuple[str, str], ...]  # path and digest of each file


@dataclass(frozen=True, slots=True)
class Nodes:
    """Which Ray cluster does the work, if one does, and what a worker has there.

    Args:
        cluster: the Ray cluster whose nodes do the work, as HOST:PORT, or auto for the one this
            machine is in; --workers then limits how many work at a time, where it is above 1.
        cpus_per_worker: processors, and threads, of each worker on the cluster.
        gpus_per_worker: GPUs of each worker on the cluster; 0.5 lets two share one.

    Raises:
        ValueError: a value is out of range.
    """

    cluster: str = ""
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        cpus, gpus = self.cpus_per_worker, self.gpus_per_worker
        check_whole("cpus_per_worker", cpus, 1, 256)
        if not (0 <= gpus <= 1 or gpus in range(2, 17)):
            raise ValueError(f"gpus_per_worker is {gpus!r}; allowed: 0 to 1, or 2, 3, ... 16.")
        if not self.cluster and (cpus, gpus) != (1, 0):
            raise ValueError("what each worker has is chosen on a cluster only; add --cluster.")
        if self.cluster and not re.fullmatch(r"auto|[^\s/]+:\d+", self.cluster):
            raise ValueError(f"cluster is {self.cluster[:80]!r}; allowed: auto, or HOST:PORT.")

    def n_workers(self, asked: int, usual: int | None = None) -> int:
        """Return how many pieces of work to do at a time; without a cluster as `workers` says.

        Raises:
            ValueError: the number is out of range, Ray is not installed, or the cluster does not
                answer, or has no room for a worker.
        """
        n = n_workers(asked, usual)
        if not self.cluster:
            return n
        if find_spec("ray") is None:
            raise ValueError("a cluster needs Ray: pip install -r requirements-scale.txt")
        room = self.room(self._resources())
        if not room:
            raise ValueError(f"no node of the cluster {self.cluster} has {self._each}; give less.")
        return min(room, asked if asked > 1 else MOST_WORKERS)

    def room(self, nodes: Iterable[Mapping[str, float]]) -> int:
        """Return for how many workers there is room on nodes with these resources."""
        needs = {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker}
        return sum(
            min(int(node.get(name, 0) / need) for name, need in needs.items() if need)
            for node in nodes
        )

    def team(
        self,
        work: Work[Item, Result],
        n: int,
        on_progress: Progress = silent,
        stop: Stop = never,
        weights: Callable[[], Iterable[Path]] = tuple,
        variables: Mapping[str, str] | None = None,
    ) -> Workers[Item, Result]:
        """Return those who do the work: the cluster's, else n processes, or this one for 1."""
        if self.cluster:
            return OnCluster(work, self, n, weights, variables, stop)
        return Processes(work, n, on_progress, stop) if n > 1 else Here(work, on_progress, stop)

    @property
    def _each(self) -> str:
        gpus = f" and {self.gpus_per_worker:g} GPUs" if self.gpus_per_worker else ""
        return f"{self.cpus_per_worker} CPUs{gpus} for a worker"

    def _resources(self) -> list[dict[str, float]]:
        """Return the resources of each node of the cluster."""
        command = [sys.executable, "-c", RESOURCES, self.cluster]
        try:
            if self.cluster != "auto":
                host, _, port = self.cluster.rpartition(":")
                with socket.create_connection((host, int(port)), CONNECT_S) as connection:
                    connection.sendall(GREETING)
                    if not connection.recv(1):
                        raise ConnectionError("it hangs up")
            done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S)
            if done.returncode == 0:
                return json.loads(done.stdout.splitlines()[-1])
            reason = " ".join(done.stderr.rpartition("Error: ")[2].partition(". ")[0].split())
        except (OSError, OverflowError) as e:  # the latter of a port beyond 65535
            reason = one_line(e)
        except subprocess.TimeoutExpired as e:
            reason = f"no answer within {ANSWER_S:g} s"
            if "InvalidAuthToken" in str(e.stderr):
                reason = "it wants a token: copy it to ~/.ray/auth_token, set RAY_AUTH_MODE=token"
        raise ValueError(
            f"there is no Ray cluster at {self.cluster} with this machine in it ({reason[:300]}). "
            "Start one with `ray start --head`, or join one with `ray start --address HOST:PORT`."
        )


class OnCluster(Workers[Item, Result]):
    """Workers on the nodes of a Ray cluster, which is joined when there is something to do.

    Args:
        work: what it tells of its progress is not heard, and a stop ends it at once.
        weights: returns the files that it reads; they must be the same on each node.
        variables: of the environment, that workers have as well.
    """

    def __init__(
        self,
        work: Work[Item, Result],
        nodes: Nodes,
        n: int = MOST_WORKERS,
        weights: Callable[[], Iterable[Path]] = tuple,
        variables: Mapping[str, str] | None = None,
        stop: Stop = never,
    ) -> None:
        super().__init__(work, n, stop=stop)
        self._nodes, self._weights, self._variables = nodes, weights, variables or {}
        self._waiting: dict[Any, Item] = {}  # by what Ray calls the result that is to come
        self._ray: Any = None

    def submit(self, item: Item) -> None:
        if self._ray is None:
            self._join()
        payload = pickle.dumps((self.work, item))
        self._waiting[self._do.remote(*self._expected, payload)] = item

    def next(self) -> tuple[Item, Result]:
        ray, done = self._ray, []
        while not done:
            done, _ = ray.wait([*self._waiting], timeout=0.5)
            check(self._stop)
            alive = (node["Resources"] for node in ray.nodes() if node["Alive"])
            if not done and not self._nodes.room(alive):
                raise ChildProcessError(f"no node is left that has {self._nodes._each}.")
        item = self._waiting.pop(done[0])
        try:
            return item, ray.get(done[0])
        except ray.exceptions.RayTaskError as e:
            if "failed to import on the worker" in str(e.cause):
                raise ValueError(
                    "a worker on the cluster does not find this code; install it there, or keep it "
                    f"in {Path.cwd()} on each machine."
                ) from e
            raise e.cause from e
        except ray.exceptions.RayError as e:
            raise ChildProcessError(
                f"{1 + RETRIES} workers on the cluster were lost over the same piece of work, most "
                "often because memory ran out; what was made is kept."
            ) from e

    def close(self) -> None:
        if self._ray:
            self._ray.shutdown()  # this ends the workers, in the middle of what they do

    def _join(self) -> None:
        weights = tuple((str(path.absolute()), _digest(path)) for path in self._weights())
        self._expected = code_digest(), versions(), weights
        self._ray = ray = import_module("ray")
        on_sigterm = signal.getsignal(signal.SIGTERM)
        variables = {
            THREADS: str(self._nodes.cpus_per_worker),
            "BORT_CACHE": str(cache_dir().absolute()),
            "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000"),  # see __main__
            **FEW_KERNELS,
            **self._variables,
        }
        if not self._nodes.gpus_per_worker:
            variables["CUDA_VISIBLE_DEVICES"] = ""
        ray.init(
            self._nodes.cluster,
            logging_level="ERROR",
            log_to_driver=False,
            runtime_env={"env_vars": variables},
        )
        # Ray tells of lost workers on stdout, where a result may be expected.
        ray._private.worker._worker_logs_enabled = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own ends the process
        self._do = ray.remote(
            num_cpus=self._nodes.cpus_per_worker,
            num_gpus=self._nodes.gpus_per_worker,
            max_retries=RETRIES,
            max_calls=0,  # a worker stays, with a GPU as well
        )(_do)


def _do(code: str, packages: str, weights: Weights, payload: bytes) -> Any:
    _check_same(code, packages, weights)
    work, item = pickle.loads(payload)  # of the same code: that was checked
    return work(item, silent, never)


@cache
def _check_same(code: str, packages: str, weights: Weights) -> None:
    """Raise a ValueError unless this worker has this code, these packages and these weights."""
    if code != code_digest() or packages != versions():
        raise ValueError(
            f"a worker on {platform.node()} has other code (digest {code_digest()[:10]}, "
            f"{versions()}) than this process ({code[:10]}, {packages}); install the same there."
        )
    for path, digest in weights:
        if digest != _digest(Path(path)):
            raise ValueError(
                f"a worker on {platform.node()} has other weights than this process, or none, in "
                f"{path}; let all nodes share the cache folder (BORT_CACHE)."
            )


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
