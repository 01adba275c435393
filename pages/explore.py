"""Explore: a source model and an epsilon in, a Pareto front out, and one point chosen from it."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from statistics import median
from typing import get_args

import pandas as pd
import streamlit as st

from bort_engine.data.tasks import TASKS
from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture, SearchSpace
from bort_engine.encoder.timing import LatencySettings, Runtime
from bort_engine.runs import jobs, records
from bort_engine.runs.text import literal
from bort_engine.search import errors as oracles
from bort_engine.search import front as extract
from bort_engine.search.evaluate import EvaluationTable
from bort_engine.search.result import Front, Point
from bort_engine.show import front as words
from bort_engine.show import front_figures as figures
from bort_engine.show.theme import RUNTIMES, short
from pages.parts import checkpoint, form, models, rather, runs, side_run, texts

PREDICTED = "glue"  # nothing is trained: errors from published scores, in Bort's own space
PREFER = {"latency": "fast", "size": "small", "error": "accurate"}
EPSILON = (
    "How much larger and slower than any other architecture the nearest one shown may be, and how "
    "much more it may lose of what lies between the source and guessing. Small: a finer front. "
    "Large: a coarser one, sooner."
)
EFFECTIVE = "Leave the embeddings out of the size."
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


# What changes the address, and so what is looked at. Only callbacks call these.


def leave_source() -> None:
    """Another source has other tasks: start from its first one."""
    runs.leave_run()
    st.session_state.pop("task", None)


def choose(architecture: Architecture | None) -> None:
    if architecture is not None:
        st.query_params["point"] = str(architecture)


def choose_clicked() -> None:
    choose(figures.chosen(st.session_state["chart"]))


def choose_row(architectures: list[str]) -> None:
    for row in st.session_state["table"]["selection"]["rows"][:1]:
        if 0 <= row < len(architectures):
            choose(Architecture.parse(architectures[row]))


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


@st.cache_data(max_entries=64, show_spinner=False)
def look_up(source: str, task: str, epsilon: float, runtime: Runtime = "pytorch") -> Front:
    """Return a front that needs no training. Raises ValueError where there is none."""
    if task != PREDICTED:
        if runtime != "pytorch":  # PyTorch's are shipped for one length each, whatever it is
            settings = LatencySettings(runtime=runtime)
            return extract.front(source, task, epsilon, errors="recorded", settings=settings)
        return extract.front(source, task, epsilon, errors="recorded")
    search = extract.Search(space="bort")
    return extract.front(source, epsilon=epsilon, search=search, oracle="glue", latency="recorded")


def show_candidates(run: jobs.Run, events: list[runs.Event]) -> None:
    """The candidates that a run at work has finished, by size and error."""
    rows: dict[Architecture, tuple[float, float]] = {}
    try:
        source = form.source_of(runs.options(run)["source"])
    except ValueError:  # what stands in a file may be anything
        return
    for event in events:
        with suppress(KeyError, ValueError, TypeError):  # what stands in a file may be anything
            candidate = Architecture.parse(event["architecture"])
            size = n_parameters(candidate, source).total
            rows[candidate] = (size / 1e6, 100 * float(event["dev_error"]))
    if source.architecture in rows:
        right = 100 - rows[source.architecture][1]
        st.caption(f"The source itself answers {right:.1f} % right on dev.")
    if not rows:
        st.caption("Each finished candidate will appear below.")
        return
    size, error = "Parameters (M)", "Wrong on dev (%)"
    table = pd.DataFrame(rows.values(), columns=[size, error])
    alt = "Finished candidates by size and error on dev"
    st.scatter_chart(table, x=size, y=error, height=300, alt=alt)


def show_form(source: str, task: str, epsilon: float) -> None:
    """What a front measured on this machine can be asked for."""
    st.markdown(
        f"Train smaller relatives of **{literal(short(source))}** on **{literal(short(task))}** on "
        f"this machine, and search them at epsilon **{epsilon:g}**."
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
        steps = "0 means 300 for the elastic student, 30 for each of the others."
        st.number_input("Training steps", 0, 100_000, 0, key="--steps", help=steps)
        once = "0 means two epochs. It is done once, and kept."
        label = "Training steps of the source"
        st.number_input(label, 0, 100_000, 0, key="--teacher-steps", help=once)
        st.number_input("Seed", 0, 10**6, 0, key="--seed")
    st.form_submit_button(
        "Extract the front",
        type="primary",
        icon=":material/play_arrow:",
        on_click=start,
        args=[source, task, epsilon],
    )


def show_chart(front: Front) -> None:
    """The front in two dimensions, or turned by hand in three."""
    flat, deep = st.tabs(["Front", "3-D"], on_change="rerun", key="tab")
    alt = words.summary(front)
    with flat:
        with st.container(horizontal=True, vertical_alignment="center"):
            views = list(figures.VIEWS)
            view = form.pick("Axes", views, "view", label_visibility="collapsed")
            effective = st.toggle("Encoder only", key="effective", help=EFFECTIVE)
        axes = figures.Axes(view, effective)
        st.plotly_chart(
            figures.scatter(front, axes),
            key="chart",
            on_select=choose_clicked,
            selection_mode="points",
            config={"displaylogo": False},
            alt=alt,
        )
    if deep.open:
        deep.plotly_chart(figures.volume(front, axes), alt=alt)


def show_points(front: Front) -> None:
    """The same points as a table, which is also the way by keyboard."""
    table = words.table(front)
    runs.show_table(
        table,
        words.FORMATS,
        "All points; select a row to see its card",
        key="table",
        height=min(560, 36 * (len(table) + 1)),
        on_select=partial(choose_row, list(table["D,A,H,I"])),
        selection_mode="single-row",
    )
    st.caption(
        "Click a point or tick a row to see its card. By keyboard: arrows, Shift with Space. "
        "Wrong: on dev."
    )


def show_budgets(front: Front) -> None:
    """Name the best point within what a person can afford."""
    columns = st.columns(4)
    limits = {
        name: column.slider(*budget, key=f"most-{name}-{budget.low}-{budget.high}")
        for column, (name, budget) in zip(columns, words.budgets(front).items(), strict=False)
    }
    with columns[3]:
        prefer = form.pick("Then prefer", PREFER, "prefer", "latency")
    best = front.cheapest(prefer, limits["latency"], limits["size"] * 1e6, limits["lost"] / 100)
    if best is None and not front.above_chance:
        st.markdown("No point here is better than guessing, so none can be recommended.")
    elif best is None:
        st.markdown("No point of the front fits these budgets. Widen one of them.")
    else:
        show_choice(front, "Best within these budgets", best)
    if knee := front.knee:
        show_choice(front, "The knee, beyond which each gain costs more", knee)


def show_choice(front: Front, label: str, point: Point) -> None:
    """Name a point, with a button that shows its card."""
    with st.container(horizontal=True, vertical_alignment="center"):
        text = f"{label}: **{point.architecture}** ({words.brief(front, point)})"
        st.markdown(text, width="content")
        st.button("Show it", on_click=choose, args=[point.architecture], key=f"show {label}")


def show_finetune(front: Front, point: Point) -> None:
    """Offer to train the chosen architecture, where its source has weights to start from."""
    try:
        source = form.source_of(front.source)
    except ValueError:  # its folder may be gone
        return
    if not source.weights or not point.architecture.fits_in(source.architecture):
        return
    if st.button("Fine-tune this", icon=":material/school:", type="primary"):
        chosen = {"parent": source.name, "point": str(point.architecture)}
        # Other names than here: what a widget is bound to cannot be set, and goes with its page.
        address = chosen | {"chosen_at": f"{front.epsilon:g}"}
        st.switch_page("pages/finetune.py", query_params=address)


def show_card(front: Front, point: Point) -> None:
    """The chosen point: four numbers against the source, its shape, and why it is on the front."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(str(point.architecture), anchor=False, width="content")
        for name in words.names(front, point):
            st.badge(name, color="orange" if name in words.WARNINGS else "primary")
    against = f", against {words.reference(front)}" * (point != front.source_point)
    st.caption(f"{words.shape(point)}{against}.")
    runs.show_facts(words.facts(front, point))
    st.markdown(words.why(front, point))
    files: dict[str, tuple[str, Callable[[], str]]] = {
        "front": ("front.json", lambda: json.dumps(records.dump(front))),
        "table": ("front.csv", lambda: front.to_frame().to_csv(index=False)),
    }
    if source := sources.get(front.source):
        config = {"model_type": source.model_type} | source.config(point.architecture)
        files = {"config": ("config.json", lambda: json.dumps(config, indent=2))} | files
    with st.container(horizontal=True):
        show_finetune(front, point)
        runs.show_downloads(files)


def show_checkpoint(front: Front, point: Point) -> None:
    """Offer to save the point as a checkpoint, which is made here, and then to take it home."""
    options = words.cut_options(front, point)
    if not options:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        steps = "It alone is distilled from the source for so many steps more; 200 take a minute."
        polish = st.number_input(
            "Polish (steps)", 0, 10_000, 0, 100, key="polish", help=steps, width=150
        )
        st.button(
            "Save this as a checkpoint",
            icon=":material/save:",
            on_click=side_run.start,
            args=["cut", options | {"--polish": str(polish)}, front.source],
        )
    if front.origin == "recorded":
        st.caption("The source and its elastic student are trained here first, once: minutes.")
    with st.expander("As a command", icon=":material/terminal:"):
        st.code(words.cut_command(front, point), language="shell")


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


st.markdown(
    "Pick a pretrained model and an **epsilon**: see its smaller relatives that nothing beats in "
    "size, speed and accuracy at once."
)
on_record = oracles.recorded_tasks()
with st.container(border=True):
    columns = st.columns([3, 4, 4, 3], vertical_alignment="bottom")
    source_name = form.pick_source(columns[0], "source", leave_source)
    tasks = [PREDICTED] if source_name.startswith("bert-large") else []
    titles = form.tasks()
    tasks += sorted(titles, key=lambda name: (source_name, name) not in on_record)
    titles[PREDICTED] = "GLUE average, predicted"
    task = columns[1].selectbox(
        "Task", tasks, format_func=titles.__getitem__, key="task", on_change=runs.leave_run
    )
    epsilon = columns[2].slider(
        "Epsilon",
        *(0.05, 1.0, 0.1, 0.05),
        key="epsilon",
        bind="query-params",
        on_change=runs.leave_run,
        help=EPSILON,
    )
    box = columns[3].popover(
        "Measure it here",
        icon=":material/science:",
        width="stretch",
        key="measure_here",
        on_change="rerun",
    )
    with box, st.form("measure", border=False):
        show_form(source_name, next(iter(TASKS)) if task == PREDICTED else task, epsilon)
    runtime: Runtime = "pytorch"
    if (source_name, task) in on_record:
        runtime = form.pick(
            "Runs as",
            words.runtimes(source_name),
            "runtime",
            bind="query-params",
            on_change=runs.leave_run,
        )
own = st.expander(
    "Your own model", icon=":material/model_training:", key="own_model", on_change="rerun"
)
if own.open:
    with own:
        models.show("source")
own = st.expander("Your own text", icon=":material/upload_file:", key="own_text", on_change="rerun")
if own.open:  # read only then
    with own:
        texts.show("task")

runs.show_problem()

# The run that is looked at, if any; its id comes from the address and is not trusted.
front, run, run_id = None, None, st.query_params.get(runs.RUN)
is_done = False
with runs.warning(closing=bool(run_id)):
    if run_id:
        run = runs.find(run_id, "front")
        status, path = run.status(), run.folder / "front.json"
        is_done = status.state == "done"
        # There is a front already while the rest of its space is checked, and once that is stopped.
        if is_done or path.is_file():
            front = runs.opened(path, Front.load)
        if not status.over:
            runs.show_live(run, None if front else partial(show_candidates, run))
        elif not is_done:
            runs.show_ended(run, status)
    elif task == PREDICTED or (source_name, task) in on_record:
        front = look_up(source_name, task, epsilon, runtime)
    else:
        st.info(
            f"**Nothing is on record for {source_name} on this task yet.** Press “Measure it here” "
            "to make a front on this machine. "
            + "".join(f"For a first look, pick {name}." for name, _ in on_record[:1]),
            icon=":material/explore:",
        )

if front is not None:
    colour = "violet" if words.predicted(front) else "primary"
    runs.show_title(words.badge(front), words.title(front), words.origin(front), colour)
    if is_done:
        runs.show_close()
    left, right = st.columns([4, 3])
    with left:
        show_chart(front)
    with right:
        show_points(front)
    with st.container(border=True):
        show_budgets(front)
        st.markdown(words.deployed(front))
    point = front.recommended
    if point == front.source_point and front.knee:
        point = front.knee
    if text := st.query_params.get("point"):
        try:
            point = front[Architecture.parse(text)]
        except ValueError as e:
            st.caption(f"{literal(e)} Here is another one.")
    with st.container(border=True):
        show_card(front, point)
        show_checkpoint(front, point)
    checkpoint.show()
    rather.show(front)
    with st.expander("What is promised, and how it was checked", icon=":material/verified:"):
        st.markdown(words.promise(front))
        if run and is_done:
            show_check(front, run)

runs.show_earlier("front", "{source_name} on {task_name}, epsilon {--epsilon}", "point")
