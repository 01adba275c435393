"""Work on a Ray cluster: as it is done here, though workers and nodes are lost meanwhile."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from bort_engine.__main__ import main
from bort_engine.runs import cluster
from bort_engine.runs.cluster import Nodes, OnCluster
from bort_engine.runs.events import Cancelled
from bort_engine.runs.workers import Here, Processes
from bort_engine.search.ahead import evaluate_unit
from tests.conftest import without_clocks
from tests.runs.test_workers import ROOT, is_alive, refuse, wait_for

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs requirements-scale.txt")
# Ray leaves files open, and warns that it will no longer hide GPUs, which is done without it.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")
ROOM = {"object_store_memory": 100 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def two_nodes():
    """A cluster of two nodes on this machine, with a processor each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        two = Cluster(True, head_node_args={"num_cpus": 1, **ROOM})
        two.add_node(num_cpus=1, **ROOM)
        yield two
        two.shutdown()


def results(workers, items):
    """Return the results by item, each of which comes once."""
    try:
        for item in items:
            workers.submit(item)
        pairs = [workers.next() for _ in items]
    finally:
        workers.close()
    assert Counter(item for item, _ in pairs) == Counter(items)
    return dict(pairs)


def begin(item, on_progress, stop):
    """Say in the folder of the item that it began, and how often it did before; take a while."""
    folder = Path(item[0])
    n = len(list(folder.glob(f"{item[1]}-*")))
    (folder / f"{item[1]}-{os.getpid()}").touch()
    time.sleep(item[2])
    return n, item[1] ** 2, [os.environ.get(name) for name in ("OMP_NUM_THREADS", "HINT")]


def die_first(item, on_progress, stop):
    n, *others = begin(item, on_progress, stop)
    if item[1] == 2 and n == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return n, *others


def die(item, on_progress, stop):
    os.kill(os.getpid(), signal.SIGKILL)


@needs_ray
def test_work_is_done_as_it_is_here_by_processes_with_their_threads(two_nodes, tmp_path):
    items = [(str(tmp_path), number, 0.3) for number in range(6)]
    there = results(OnCluster(begin, Nodes(two_nodes.address), variables={"HINT": "5"}), items)
    assert {path.name.partition("-")[2] for path in tmp_path.iterdir()} != {str(os.getpid())}
    assert {tuple(hints) for *_, hints in there.values()} == {("1", "5")}
    here = results(Here(begin), items)
    assert {item: r[1] for item, r in there.items()} == {item: r[1] for item, r in here.items()}


@needs_ray
def test_what_a_killed_worker_did_is_done_again(two_nodes, tmp_path, capfd):
    before = signal.getsignal(signal.SIGTERM)
    items = [(str(tmp_path), number, 0.1) for number in range(4)]
    answers = results(OnCluster(die_first, Nodes(two_nodes.address)), items)
    assert {number: n for (_, number, _), (n, *_) in answers.items()} == {0: 0, 1: 0, 2: 1, 3: 0}
    assert capfd.readouterr().out == ""  # where a result in JSON is expected
    assert signal.getsignal(signal.SIGTERM) is before


@needs_ray
def test_what_kills_every_worker_is_one_line(two_nodes):
    with pytest.raises(ChildProcessError, match=r"4 workers .* were lost over the same"):
        results(OnCluster(die, Nodes(two_nodes.address)), [1])


@needs_ray
def test_what_a_lost_node_did_is_done_again(two_nodes, tmp_path):
    items = [(str(tmp_path), number, 3) for number in range(5)]
    third = two_nodes.add_node(num_cpus=1, **ROOM)
    workers = OnCluster(begin, Nodes(two_nodes.address))
    for item in items:
        workers.submit(item)
    wait_for(lambda: len(list(tmp_path.iterdir())) >= 3)  # each node is at work
    two_nodes.remove_node(third, allow_graceful=False)
    pairs = dict(workers.next() for _ in items)
    workers.close()
    assert pairs.keys() == {*items}
    assert sum(n for n, *_ in pairs.values()) == 1


@needs_ray
def test_an_error_is_passed_on(two_nodes):
    with pytest.raises(ValueError, match=r"^7 is refused$"):
        results(OnCluster(refuse, Nodes(two_nodes.address)), [7])


@needs_ray
def test_a_stop_ends_the_workers(two_nodes, tmp_path):
    begun = tmp_path.glob
    workers = OnCluster(begin, Nodes(two_nodes.address), stop=lambda: bool(list(begun("*"))))
    with pytest.raises(Cancelled):
        results(workers, [(str(tmp_path), 1, 600)])
    (path,) = tmp_path.iterdir()
    wait_for(lambda: not is_alive(int(path.name.partition("-")[2])))


@needs_ray
def test_other_code_is_refused(two_nodes, monkeypatch):
    monkeypatch.setattr(cluster, "code_digest", lambda: "0123456789ab")
    with pytest.raises(ValueError, match=r"has other code .* than this process \(01234567"):
        results(OnCluster(refuse, Nodes(two_nodes.address)), [7])


@needs_ray
def test_other_weights_are_refused(two_nodes, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    workers = OnCluster(begin, Nodes(two_nodes.address), weights=lambda: [path])
    assert results(workers, [(str(tmp_path), 1, 0)])
    monkeypatch.setattr(cluster, "_digest", lambda path: "of others")
    with pytest.raises(ValueError, match="has other weights than this process, or none, in"):
        results(OnCluster(refuse, Nodes(two_nodes.address), weights=lambda: [path]), [7])


@needs_ray
@pytest.mark.timeout(900)  # T is trained, and three workers load torch
def test_evaluations_are_to_the_last_digit_those_of_local_workers(two_nodes, quick_evaluator):
    evaluator = quick_evaluator
    shapes = [replace(evaluator.source.architecture, num_hidden_layers=n) for n in (1, 2)]
    units = [(evaluator.source, evaluator.setup, shape) for shape in shapes]
    there = results(
        OnCluster(evaluate_unit, Nodes(two_nodes.address), weights=evaluator.weights), units
    )
    here = results(Processes(evaluate_unit, 1), units)
    assert {u: (e.error, e.dev_error) for u, e in there.items()} == {
        u: (e.error, e.dev_error) for u, e in here.items()
    }


@needs_ray
def test_there_is_room_for_as_many_as_have_what_they_need(two_nodes):
    nodes = Nodes(two_nodes.address)
    assert nodes.n_workers(0) == nodes.n_workers(1) == nodes.n_workers(200) == 2
    with pytest.raises(ValueError, match=r"no node of the cluster .* has 64 CPUs for a worker"):
        Nodes(two_nodes.address, cpus_per_worker=64).n_workers(0)
    assert Nodes("auto", 2, 0.5).room([{"CPU": 9, "GPU": 1}, {"CPU": 9}, {"CPU": 3, "GPU": 4}]) == 3


@needs_ray
@pytest.mark.timeout(900)
def test_a_table_on_two_nodes_has_the_rows_of_one_process_though_a_node_is_lost(
    two_nodes, small_table, tmp_path
):
    third = two_nodes.add_node(num_cpus=1, **ROOM)
    lost = []

    def lose(event):
        if not lost and event.get("detail", "").endswith("words, seed 0: done"):
            lost.append(two_nodes.remove_node(third, allow_graceful=False))

    there = small_table(tmp_path / "there", nodes=Nodes(two_nodes.address), on_progress=lose)
    assert lost
    here = small_table(tmp_path / "here", workers=1)
    assert without_clocks(there) == without_clocks(here)


@pytest.fixture
def silent_port():
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:{silent}", "timed out"),
        ("127.0.0.1:1", "[Errno 111] Connection refused"),
        ("no.such.host.invalid:1", "[Errno -"),
    ],
)
def test_an_address_where_no_cluster_answers_is_one_line(
    address, reason, silent_port, monkeypatch, capsys
):
    monkeypatch.setattr(cluster, "find_spec", bool)  # as if Ray were there: it is not asked
    monkeypatch.setattr(cluster.subprocess, "run", None)
    address = address.format(silent=silent_port)
    assert main(["table", "minilm-l6", "--cluster", address, "--out", "never"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"there is no Ray cluster at {address} with this machine in it ({reason}" in line


@needs_ray
def test_where_ray_itself_gets_no_answer_is_one_line(two_nodes, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_S", 0.1)  # Ray itself waits for minutes
    with pytest.raises(ValueError, match=r"no answer within 0.1 s"):
        Nodes(two_nodes.address).n_workers(0)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--cluster", "somewhere"], "cluster is 'somewhere'; allowed: auto, or HOST:PORT"),
        (["--cluster", "ray://h:1"], "cluster is 'ray://h:1'; allowed: auto, or HOST:PORT"),
        (["--cluster", "auto", "--workers", "10000"], "workers is 10000; allowed: 0 to 256"),
        (["--cluster", "auto", "--cpus-per-worker", "0"], "cpus_per_worker is 0; allowed: 1"),
        (["--cluster", "auto", "--gpus-per-worker", "nan"], "gpus_per_worker is nan; allowed: 0"),
        (["--gpus-per-worker", "1"], "chosen on a cluster only; add --cluster"),
    ],
)
def test_mistakes_are_one_line(words, text, capsys):
    assert main(["front", "minilm-l6", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert text in line


def test_without_ray_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    assert main(["layers", "minilm-l6", "--cluster", "auto"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "pip install -r requirements-scale.txt" in line


@needs_ray
def test_workers_end_after_their_parent_was_killed(two_nodes, tmp_path):
    code = (
        "from bort_engine.runs.cluster import Nodes, OnCluster\n"
        "from tests.runs.test_cluster import begin\n"
        f"workers = OnCluster(begin, Nodes({two_nodes.address!r}))\n"
        f"workers.submit(({str(tmp_path)!r}, 1, 600))\n"
        "workers.next()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=ROOT)
    wait_for(lambda: list(tmp_path.iterdir()))
    parent.send_signal(signal.SIGKILL)
    parent.wait(20)
    (path,) = tmp_path.iterdir()
    wait_for(lambda: not is_alive(int(path.name.partition("-")[2])))
