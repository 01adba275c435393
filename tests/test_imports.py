"""Who may import whom; and what an import of the engine may not drag in."""

import ast
import json
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import bort_engine

ROOT = Path(__file__).parent.parent
ENGINE = {
    ".".join(path.relative_to(ROOT / "bort_engine").with_suffix("").parts): path
    for path in (ROOT / "bort_engine").rglob("*.py")
}
SHOWN = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]
HEAVY = {"torch", "transformers", "datasets", "optuna", "plotly", "streamlit", "pandas", "sklearn"}

# Public names that the package defines itself.
THE_PACKAGES_OWN = {*bort_engine.__all__, "__version__"} - bort_engine._HOME.keys()

# Packages from the ground up: a module may import its own package and those named here.
BELOW: dict[str, set[str]] = {
    "runs": set(),
    "algorithms": {"runs"},
    "data": {"runs"},
    "encoder": {"runs", "data"},
    "training": {"runs", "data", "encoder", "algorithms"},
    "search": {"runs", "data", "encoder", "algorithms", "training"},
    "finetune": {"runs", "data", "encoder", "algorithms", "training"},
    "lab": {"runs", "data", "encoder", "algorithms", "training", "search", "finetune"},
    "show": {"runs", "data", "encoder", "algorithms", "training", "search", "finetune", "lab"},
}


@cache
def imports(path: Path) -> frozenset[str]:
    """Return the full names a file imports, anywhere but under `if TYPE_CHECKING`."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name} imports relatively; write bort_engine out"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return frozenset(found)


def outside(path: Path) -> set[str]:
    """Return the top-level packages a file imports."""
    return {name.partition(".")[0] for name in imports(path)}


def ours(path: Path) -> set[str]:
    """Return the engine's modules a file imports, a public name by the module that has it."""
    found = set()
    for name in imports(path):
        if not name.startswith("bort_engine."):
            continue
        module = name.removeprefix("bort_engine.")
        while module and module not in ENGINE:
            module = bort_engine._HOME.get(module, module.rpartition(".")[0])
        found.add(module)
    return found - {""}


def loaded_after(statements: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after these statements."""
    script = f"{statements}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_importing_the_engine_pulls_in_nothing_heavy():
    assert not loaded_after("import bort_engine") & (HEAVY | {"numpy", "scipy", "moocore"})


def test_spaces_costs_and_the_fptas_pull_in_nothing_heavy():
    below = ("encoder.space", "encoder.costs", "search.result", "search.predictor")
    modules = "bort_engine." + ", bort_engine.".join(below)
    assert not loaded_after(f"import {modules}") & HEAVY


def test_what_the_app_imports_brings_no_torch_into_its_process():
    modules = sorted({module for path in SHOWN for module in ours(path)})
    statements = "\n".join(f"import bort_engine.{module}" for module in modules)
    assert not loaded_after(statements) & {"torch", "transformers", "datasets", "optuna"}


@pytest.mark.parametrize("module", ENGINE)
def test_a_module_knows_only_those_below_it(module):
    package, _, name = module.partition(".")
    if not name:
        pytest.skip("the face and the command line put the others together")
    allowed = BELOW[package] | {package}
    assert {other.partition(".")[0] for other in ours(ENGINE[module])} <= allowed


def test_every_rule_names_a_package_that_is_there_and_every_package_has_one():
    packages = {module.partition(".")[0] for module in ENGINE if "." in module}
    assert BELOW.keys() == packages
    assert set().union(*BELOW.values()) <= packages


def test_imports_go_in_no_circles():
    graph = {module: ours(path) & ENGINE.keys() for module, path in ENGINE.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert set(order) == ENGINE.keys()


ALGORITHMS = [module for module in ENGINE if module.startswith("algorithms.")]


@pytest.mark.parametrize("module", ALGORITHMS)
def test_the_algorithms_know_nothing_of_networks_or_text(module):
    assert not outside(ENGINE[module]) & (HEAVY | {"tokenizers", "accelerate"})


@pytest.mark.parametrize("module", ENGINE)
def test_the_engine_never_imports_the_app(module):
    assert not outside(ENGINE[module]) & {"streamlit", "app", "pages"}


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.stem)
def test_the_app_imports_the_engine_and_third_parties_only(path):
    assert not outside(path) & {"app", "tests", "benchmarks"}
    assert not outside(path) & {"torch", "transformers", "datasets", "optuna"}


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.stem)
def test_pages_share_what_is_in_parts_and_nothing_else(path):
    shared = {name for name in imports(path) if name.startswith("pages")}
    assert all(name.startswith("pages.parts.") for name in shared)
    assert not shared or path.parent.name in ("pages", "parts", "lessons")


@pytest.mark.parametrize("module", ENGINE)
def test_only_the_command_line_knows_of_the_lessons(module):
    lessons = {name for name in ours(ENGINE[module]) if name.startswith("show.lessons")}
    assert not lessons or module.startswith("show.lessons") or module == "__main__"


def test_every_public_name_resolves_and_has_a_home():
    assert bort_engine._HOME.keys() <= set(bort_engine.__all__)
    assert all(hasattr(bort_engine, name) for name in THE_PACKAGES_OWN)
    for name, module in bort_engine._HOME.items():
        home = import_module(f"bort_engine.{module}")
        assert getattr(bort_engine, name) is getattr(home, name)
        assert name in dir(bort_engine)


def test_a_name_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(AttributeError, match=r"no attribute 'fronts'; it has \['Architecture', "):
        _ = bort_engine.fronts
