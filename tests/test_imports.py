"""Who may import whom; and what an import of the engine may not drag in."""

import ast
import json
import re
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
WORK = {"torch", "transformers", "datasets", "optuna"}
HEAVY = WORK | {"plotly", "streamlit", "pandas", "sklearn"}
ROOTS = {"__init__", "__main__", "options"}  # modules of no package: they put the others together
LESSONS = {module for module in ENGINE if module.startswith("show.lessons.")}

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
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name} imports relatively; write bort_engine out"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return frozenset(names)


def outside(path: Path) -> set[str]:
    """Return the top-level packages a file imports."""
    return {name.partition(".")[0] for name in imports(path)}


def ours(path: Path) -> set[str]:
    """Return the engine's modules a file imports, a public name by the module that has it."""
    modules = set()
    for name in imports(path):
        if not name.startswith("bort_engine."):
            continue
        module = name.removeprefix("bort_engine.")
        while module and module not in ENGINE:
            module = bort_engine._HOME.get(module, module.rpartition(".")[0])
        modules.add(module)
    return modules - {""}


def loaded_after(statements: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after these statements."""
    script = f"{statements}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


APP = "\n".join(sorted({f"import bort_engine.{name}" for path in SHOWN for name in ours(path)}))
HELP = """
from bort_engine.__main__ import VERBS, main
for words in [[], *([name] for name in VERBS)]:
    assert main([*words, '--help']) == 0
"""


@pytest.mark.parametrize(
    ("statements", "forbidden"),
    [
        ("import bort_engine", HEAVY | {"numpy", "scipy", "moocore", "pydantic", "psutil"}),
        ("import bort_engine.search.result, bort_engine.search.predictor", HEAVY),
        (HELP, HEAVY),
        (APP, WORK),
    ],
    ids=["the package", "the search's base", "the help of every command", "the app"],
)
def test_imports_pull_in_nothing_heavy(statements, forbidden):
    assert not loaded_after(statements) & forbidden


def test_a_module_knows_only_those_below_it():
    for module, path in ENGINE.items():
        package, _, inside = module.partition(".")
        known = {other.partition(".")[0] for other in ours(path)}
        assert not inside or known <= BELOW[package] | {package}, module


def test_every_rule_names_a_package_that_is_there_and_every_package_has_one():
    packages = {module.partition(".")[0] for module in ENGINE if "." in module}
    assert BELOW.keys() == packages
    assert set().union(*BELOW.values()) <= packages
    assert {module for module in ENGINE if "." not in module} == ROOTS
    assert {module.rpartition(".")[0] for module in LESSONS} == {"show.lessons"}


def test_imports_go_in_no_circles():
    graph = {module: ours(path) & ENGINE.keys() for module, path in ENGINE.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert set(order) == ENGINE.keys()


def test_the_algorithms_know_no_networks_and_the_engine_no_app():
    for module, path in ENGINE.items():
        assert not outside(path) & {"streamlit", "app", "pages"}, module
        if module.startswith("algorithms."):
            assert not outside(path) & (HEAVY | {"tokenizers", "accelerate"}), module


def test_the_app_imports_the_engine_third_parties_and_its_own_parts_only():
    of_server = {"pages.parts.guard.Guard", "pages.parts.warm.lifespan"}
    for path in SHOWN:
        assert not outside(path) & {"app", "tests", "benchmarks"}, path
        assert not outside(path) & WORK, path
        shared = {name for name in imports(path) if name.startswith("pages")}
        assert all(name.startswith("pages.parts.") for name in shared), path
        assert shared <= of_server or path != ROOT / "app.py", path


def test_only_the_app_knows_of_the_lessons():
    others = [module for module in ENGINE if module not in LESSONS]
    assert not [module for module in others if ours(ENGINE[module]) & LESSONS]


def test_every_public_name_resolves_and_has_a_home():
    assert bort_engine._HOME.keys() == set(bort_engine.__all__) <= set(dir(bort_engine))
    for name, module in bort_engine._HOME.items():
        home = import_module(f"bort_engine.{module}")
        assert getattr(bort_engine, name) is getattr(home, name)


def test_a_name_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(AttributeError, match=r"no attribute 'fronts'; it has \['Architecture', "):
        _ = bort_engine.fronts


PROSE = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]


def test_what_the_prose_imports_is_there():
    lines = [line for path in PROSE for line in path.read_text().splitlines() if " import " in line]
    names = [line.split()[1::2] for line in lines if line.startswith("from bort_engine")]
    assert len(names) >= 3
    for module, name in names:
        assert hasattr(import_module(module), name), (module, name)


@pytest.mark.parametrize("path", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_the_prose_links_to_is_there(path):
    text = path.read_text()
    for name in re.findall(r"\[([A-Z]+)\](?![:(])", text):
        assert f"\n[{name}]: https://" in text, name
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        file, _, heading = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        if heading:
            lines = target.read_text().splitlines()
            titles = [line.lstrip("# ").lower() for line in lines if line.startswith("#")]
            assert heading in [re.sub(r"[^\w -]", "", t).replace(" ", "-") for t in titles], link
