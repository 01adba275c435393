"""A front measured on this machine: asked for in a form, watched, and checked afterwards."""

from contextlib import suppress
from statistics import median
from typing import get_args

import streamlit as st

from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.encoder.timing import LatencySettings, Runtime
from bort_engine.runs import jobs
from bort_engine.runs.text import literal
from bort_engine.search import errors as oracles
from bort_engine.search import forecast
from bort_engine.search.evaluate import BriefTraining, EvaluationTable, Setup
from bort_engine.search.result import Front, Search
from bort_engine.show.theme import RUNTIMES, short
from bort_engine.training.forecast import ELASTIC, TEACHER_STAGES, to_fetch_mb
from pages.parts import form, runs

INT8 = (
    "Sizes and errors stay those of fp32; `export` says what int8 costs a model. Where it is timed "
    "on this machine for the first time, some 90 short models are exported: 5 minutes, or more in "
    "OpenVINO, which needs requirements-openvino.txt."
)
ORACLES = {
    "elastic": "elastic: slices of one student, all trained together",
    "brief": "brief: each trained for a moment, from the source's weights",
    "scratch": "scratch: each trained for a moment, from random weights",
}
SELECT = {
    "cover": "cover: every cell is covered, with the promise",
    "stride": "stride: every 8th by size, as published",
    "exhaustive": "exhaustive: every architecture",
}
PREPARING = (*TEACHER_STAGES, ELASTIC)  # what a slice of the elastic student needs


@runs.reporting()
def start(source: str, task: str, epsilon: float) -> None:
    """Start what the form asks for; what it holds came from a browser and is checked."""
    fields = st.session_state
    origin = form.source_of(source)
    space = SearchSpace.parse(fields["--space"], origin)
    if fields["--oracle"] != "scratch":
        space.within(origin)
    options = {"--task": task, "--epsilon": f"{epsilon:g}"}
    # The form's widgets have the command's options for their keys.
    options |= {key: fields[key] for key in map(str, fields) if key.startswith("--")}
    options["--lazy"] = "on" if fields["--lazy"] else "off"
    runs.start_run("front", source, options, "point")
    fields["measure_here"] = False  # close the form: the run is behind it


def show_form(source: str, task: str, epsilon: float) -> None:
    """What a front measured on this machine can be asked for."""
    st.markdown(
        f"Train smaller relatives of **{literal(short(source))}** on **{literal(short(task))}** on "
        f"this machine, and search them at epsilon **{epsilon:g}**. What is trained is kept for "
        "later fronts."
    )
    left, right = st.columns(2)
    left.number_input("Latency: batch size", 1, 1024, 1, key="--batch-size")
    read = "0 means as many as are read of a text."
    right.number_input("Latency: tokens", 0, 512, 0, key="--sequence-length", help=read)
    with st.expander("Advanced", icon=":material/tune:"):
        grids = (
            "`default` (which is `fine` for the elastic student), `fine`, `bort`, or a grid: "
            "`D=1-6 A=2,12 H=96,384 I=192,1536`."
        )
        st.text_input("Search space", "default", key="--space", help=grids)
        form.select(st, "Selection", SELECT, "--selection")
        titles = {name: RUNTIMES[name] for name in get_args(Runtime)}
        form.select(st, "Latency: runs as", titles, "--runtime", help=INT8)
        st.checkbox("Only what is not covered yet (lazy)", True, key="--lazy")
        form.select(st, "How errors are made", ORACLES, "--oracle")
        steps = "0 means 500 for the elastic student, 30 for each of the others."
        st.number_input("Training steps", 0, 100_000, 0, key="--steps", help=steps)
        once = "0 means two epochs. It is done once, and kept."
        label = "Training steps of the source"
        st.number_input(label, 0, 100_000, 0, key="--teacher-steps", help=once)
        st.number_input("Seed", 0, 10**6, 0, key="--seed")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.form_submit_button(
            runs.main_label("Extract the front"),
            icon=":material/play_arrow:",
            on_click=start,
            args=[source, task, epsilon],
        )
        with runs.warning():  # a folder may be gone
            text = length(source, task, epsilon)
            st.caption(f"{text} Other settings may change that.", width="content")


def length(source: str, task: str, epsilon: float) -> str:
    """Say about how long a front with the usual settings takes here, and what is fetched first.

    Raises:
        ValueError: the source or the task cannot be read (any more).
    """
    origin = form.source_of(source)
    space = oracles.searched("default", "elastic", origin)
    usual = (Search(), BriefTraining(), LatencySettings())
    kept = forecast.kept(origin, Setup(source, task, "elastic"))
    stages = forecast.stages(origin, task, epsilon, "elastic", space, *usual, kept=kept)
    return form.length(stages, to_fetch_mb(origin, task))


def preparation(front: Front) -> str:
    """Say about how long a front's source and elastic student take here; "" where both are kept."""
    origin, task = form.source_of(front.source), front.task
    training = front.provenance.training or BriefTraining()
    setup = Setup(front.source, task, "elastic", training, front.provenance.seed)
    stages = forecast.stages(
        origin,
        task,
        front.epsilon,
        "elastic",
        oracles.searched("default", "elastic", origin),
        Search(),
        training,
        LatencySettings(),
        kept=forecast.kept(origin, setup),
    )
    stages = [stage for stage in stages if stage.name in PREPARING]
    if not stages:
        return ""
    text = form.length(stages, to_fetch_mb(origin, task))
    return f"The source and its elastic student are trained here first, once. {text}"


def show_candidates(run: jobs.Run, events: list[runs.Event]) -> None:
    """The candidates that a run at work has finished, by size and error."""
    rows: dict[Architecture, tuple[float, float | None, float]] = {}
    try:
        source = form.source_of(runs.options(run)["source"])
    except ValueError:  # what stands in a file may be anything
        return
    for event in events:
        with suppress(KeyError, ValueError, TypeError):  # what stands in a file may be anything
            candidate = Architecture.parse(event["architecture"])
            size = n_parameters(candidate, source).total
            rows[candidate] = (size / 1e6, event.get("latency_ms"), 100 * float(event["dev_error"]))
    if source.architecture in rows:
        right = 100 - rows[source.architecture][-1]
        st.caption(f"The source itself answers {right:.1f} % right on dev.")
    if not rows:
        if not run.status().over:
            st.caption("Each finished candidate will appear below.")
        return
    import pandas as pd

    columns = size, ms, error = "Parameters (M)", "Latency (ms)", "Wrong on dev (%)"
    table = pd.DataFrame(rows.values(), columns=columns)
    x = size if None in [row[1] for row in rows.values()] else ms
    # The numbers as they are: an axis from zero would push all points into a corner.
    encoding = {
        axis: {"field": name, "type": "quantitative", "scale": {"zero": False}}
        for axis, name in (("x", x), ("y", error), ("size", size))
    }
    spec = {"mark": {"type": "point", "filled": True, "tooltip": True}, "encoding": encoding}
    alt = f"{len(table)} finished candidates by {x.lower()} and error on dev"
    st.vega_lite_chart(table, spec, height=300, alt=alt)


def show_check(front: Front, run: jobs.Run) -> None:
    """Offer to measure what the search left out, where a measurement takes no training."""
    n_left = front.space_size - front.guarantee.n_evaluated
    if front.oracle != "elastic" or n_left <= 0:
        return
    with runs.warning():
        table = EvaluationTable(run.folder / "evaluations.jsonl")
        seconds = n_left * median(e.seconds for e in table.evaluations.values())
        st.button(
            f"Measure the {n_left:,} others too, about {max(1, round(seconds / 60))} min",
            icon=":material/fact_check:",
            on_click=runs.resume,
            args=[run, "--check-all", "on"],
            help="The front stays here meanwhile. A stop keeps what was measured.",
        )


def show_runtimes(front: Front, run: jobs.Run) -> None:
    """Offer to draw a run's front again with the latencies of another runtime."""
    others = [name for name in get_args(Runtime) if name != front.latency.runtime]
    with st.container(horizontal=True, vertical_alignment="center"):
        for name in others:
            st.button(
                f"As {RUNTIMES[name]}",
                icon=":material/timer:",
                on_click=runs.resume,
                args=[run, "--runtime", name],
                help="The front is searched again with that runtime's latencies. What was trained "
                "and evaluated is kept. " + INT8 * (name != "pytorch"),
                key=f"runtime-{name}",
            )
