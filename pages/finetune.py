"""Fine-tune: train a chosen architecture with Agora, watch it, and take the result home."""

from dataclasses import replace
from typing import get_args

import streamlit as st

from bort_engine.encoder.sources import Source
from bort_engine.encoder.space import Architecture
from bort_engine.finetune import forecast
from bort_engine.finetune.plan import Control, Plan, Request
from bort_engine.finetune.report import NAMES, recorded_reports
from bort_engine.runs import jobs
from bort_engine.show import agora as words
from bort_engine.training.forecast import to_fetch_mb
from bort_engine.training.teacher import FEWEST
from pages.parts import agora, checkpoint, form, runs

RECORD = "recorded"  # the part of the address that names the recorded run that is looked at

TAU = {
    "auto": "auto: pool where there is one, else tokens",
    "pool": "pool: the nearest unlabelled sentences",
    "tokens": "tokens: the text itself, some words swapped",
}
CONFIGS = {
    "auto": "auto: quick, or gentle after distillation on the task",
    "quick": "quick: four configs",
    "gentle": "gentle: four configs at a tenth of quick's rates",
    "bort": "bort: the hundreds of configs published for Bort; days, not minutes",
}
INITIALISATION = {
    "inherit": "the sliced source as it is",
    "general": "the sliced source, distilled on general text",
    "task": "the sliced source, distilled on the task's text",
    "elastic": "a slice of the elastic student, trained with all others",
}
POLISH = 300  # steps, as `table` takes
FIELDS = ("labelled", "tau", "points", "configs", "initialisation", "seeds", "seed")  # as options
CONTROLS: dict[Control, str] = {name: NAMES[name] for name in get_args(Control)}


# What changes the address, and so what is looked at. Only callbacks call these.


def change_source() -> None:
    """Another source has other shapes, and was not chosen at that epsilon."""
    runs.leave_run("point")
    runs.leave_run("chosen_at")
    st.session_state.pop("architecture", None)


def change_architecture() -> None:
    st.query_params["point"] = st.session_state["architecture"][:60]
    runs.leave_run("chosen_at")


def usable(text: str, source: Source) -> Architecture:
    """Read an architecture whose weights can be sliced from the source.

    Raises:
        ValueError: it is no architecture, or larger than the source somewhere.
    """
    architecture = Architecture.parse(text)
    for name in Architecture.__slots__:
        value, limit = getattr(architecture, name), getattr(source.architecture, name)
        if value > limit:
            raise ValueError(
                f"{name} {value} is beyond {source.name}'s {limit}, and the student inherits its "
                f"weights; give at most {limit}."
            )
    return architecture


def suggested(source: Source) -> str:
    """Return half the layers and half the intermediate size of a source."""
    a = source.architecture
    n_layers, width = max(1, a.num_hidden_layers // 2), max(1, a.intermediate_size // 2)
    return str(replace(a, num_hidden_layers=n_layers, intermediate_size=width))


@runs.reporting()
def start(epsilon: float | None) -> None:
    """Start what the form asks for; what it holds came from a browser and is checked."""
    fields = st.session_state
    source = form.source_of(fields["parent"])
    controls = ",".join(name for name in CONTROLS if name in fields["controls"])
    options = {
        "--architecture": usable(fields["architecture"], source),
        "--task": fields["agora_task"],
        "--controls": controls or "none",
    } | {f"--{name}": fields[name] for name in FIELDS}
    if epsilon is not None:
        options["--epsilon"] = f"{epsilon:g}"
    runs.start_run("agora", fields["parent"], options, RECORD)


def length(source: Source) -> str:
    """Say about how long what the form asks for takes here, and what is fetched first.

    Raises:
        ValueError: it asks for what cannot be.
    """
    fields = st.session_state
    if 0 < fields["labelled"] < FEWEST:
        raise ValueError(
            f"{fields['labelled']} labelled sentences are too few; give at least {FEWEST}, or 0 "
            "for all."
        )
    names = ("labelled", "tau", "points", "configs", "initialisation", "seeds")
    settings = {name: fields[name] for name in names}
    if settings["tau"] == "pool" and not settings["labelled"]:
        settings["tau"] = "auto"  # the engine says why that cannot be
    controls: tuple[Control, ...] = tuple(name for name in CONTROLS if name in fields["controls"])
    plan = Plan(controls=controls, **settings)
    task, shape = fields["agora_task"], fields["architecture"]
    request = Request.of(shape, source, task, plan, None)
    return form.length(forecast.stages(request), to_fetch_mb(source, task))


def chosen_epsilon() -> float | None:
    """Return the epsilon of the front that the architecture was chosen from, if there is one."""
    try:
        epsilon = float(st.query_params.get("chosen_at", ""))
    except ValueError:
        return None
    return epsilon if 0 < epsilon <= 1 else None


def show_losses(events: list[runs.Event]) -> None:
    """Draw the loss of the training at work; while one begins, an empty chart, so nothing jumps."""
    losses = words.losses(events)
    if len(losses) or (events and "arm" in events[-1]):
        st.line_chart(
            losses,
            x="Step",
            y="Loss (nats)",
            height=200,
            alt=f"Loss of this training over {len(losses)} reported steps",
        )


@st.fragment(run_every="3s")
def show_rounds_so_far(run: jobs.Run) -> None:
    """Show the rounds of a run at work; rarer than its head, for trainings need the processor."""
    path = run.folder / "report.json"
    with runs.warning():
        report = agora.opened(path) if path.is_file() else None
        if report is None or not report.begun:
            st.caption("Each round will appear below once its first training is done.")
        else:
            agora.show_rounds(report)


def show_run(run: jobs.Run) -> None:
    """A run in whatever state it is, as far as it went."""
    status, path = run.status(), run.folder / "report.json"
    if not status.over:
        runs.show_live(run, show_losses)
        show_rounds_so_far(run)
        return
    with runs.warning():
        if status.state == "done":
            runs.show_close()
            agora.show_done(path, "Measured")
            return
        runs.show_ended(run, status)
        if status.refused:
            show_next(run)
        if path.is_file() and (report := agora.opened(path)).begun:
            agora.show_rounds(report)


def show_next(run: jobs.Run) -> None:
    """Offer what can be done where the labeller is too weak for Agora."""
    asked = runs.options(run)
    source = asked["source"]
    named = {k: v for k, v in asked.items() if k.startswith("--") and v != "?"}
    with st.container(horizontal=True):
        if named.get("--labelled", "0") != "0":
            st.button(
                "Start again with all labels",
                icon=":material/label:",
                on_click=runs.reporting()(runs.start_run),
                args=["agora", source, named | {"--labelled": "0"}, RECORD],
            )
        offer_distil(source, asked["--architecture"], asked["--task"], "distil-run")


def offer_distil(source: str, architecture: str, task: str, key: str) -> None:
    """Offer what needs no labeller; `checkpoint` shows it at the end of the page."""
    options = {"--architecture": architecture, "--task": task, "--polish": POLISH}
    st.button(
        "Distil it instead",
        icon=":material/content_cut:",
        on_click=runs.start_beside,
        args=["cut", options, source],
        key=key,
        help="No points are made: it becomes a slice of the elastic student, and imitates the "
        "source on the task's texts for 300 steps. All labels are used.",
    )


def show_empty() -> None:
    """Nothing is looked at: say what happens here, how long it takes, and where to begin."""
    with st.container(border=True):
        st.header("What happens here", anchor=False)
        steps = st.columns(3)
        steps[0].markdown(
            ":material/school: **A labeller and a student.** The source is fine-tuned on the "
            "labelled sentences; the student is a smaller copy of it."
        )
        steps[1].markdown(
            ":material/loop: **Rounds.** The student is trained once for each set of "
            "hyper-parameters. Near each of its mistakes new points are made, which the labeller "
            "labels; the worst configs leave."
        )
        steps[2].markdown(
            ":material/rule: **An honest end.** The test split is scored once, beside controls "
            "that got as much data and as many steps without Agora's choice."
        )
        st.caption(
            "You can watch, stop, go on later, and download an ordinary checkpoint at the end."
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            for name in recorded_reports():
                st.button(
                    "Look at a recorded run",
                    icon=":material/history_edu:",
                    on_click=runs.open_run,
                    args=[name],
                    kwargs={"name": RECORD},
                    key=f"record-{name}",
                    help=f"{name}, as it ran on another machine.",
                )
            st.page_link(
                "pages/explore.py", label="Choose a point on Explore", icon=":material/explore:"
            )


st.markdown(
    "Train a smaller architecture with **Agora**: a student that learns from points made near its "
    "own mistakes, and labelled by its source."
)
run_id, record = st.query_params.get(runs.RUN), st.query_params.get(RECORD)
with form.place("Fine-tune another one", folded=bool(run_id or record)):
    columns = st.columns([3, 3, 4], vertical_alignment="bottom")
    source = form.source_of(form.pick_source(columns[0], "parent", change_source))
    shape = columns[1].text_input(
        "Architecture (D,A,H,I)",
        st.query_params.get("point", "")[:60] or suggested(source),
        key="architecture",
        on_change=change_architecture,
        help="Layers, heads, hidden size, intermediate size; none may exceed the source's, "
        f"{source.architecture}.",
    )
    form.pick_task(columns[2], "agora_task", st.query_params.get("task"))
    columns = st.columns([3, 4, 3], vertical_alignment="bottom")
    columns[0].number_input(
        "Labelled sentences",
        0,
        1_000_000,
        1000,
        100,
        key="labelled",
        help="How many of the training sentences keep their labels; 0 means all. The others are "
        f"the unlabelled pool that points can come from. At least {FEWEST}; and enough that the "
        "source, trained on them, is right on more than 2/3 of dev, in the mean over classes: that "
        "is checked first.",
    )
    form.select(columns[1], "Points near a mistake come from", TAU, "tau")
    columns[2].number_input("Points made per mistake", 1, 64, 8, key="points")
    with st.expander("Advanced", icon=":material/tune:"):
        columns = st.columns(2)
        form.select(columns[0], "Hyper-parameter configs", CONFIGS, "configs")
        form.select(columns[1], "The student starts from", INITIALISATION, "initialisation")
        st.pills(
            "Controls of equal data and equal steps",
            list(CONTROLS),
            selection_mode="multi",
            default=["plain", "random"],
            format_func=CONTROLS.__getitem__,
            key="controls",
            help="Without them nobody can tell whether Agora did anything. Each takes about as "
            "long as Agora itself.",
            wrap=True,
        )
        columns = st.columns(2)
        columns[0].number_input("Seeds: repeat the whole run", 1, 20, 1, key="seeds")
        columns[1].number_input("First seed", 0, 10**6, 0, key="seed")
    refusal, note, epsilon, is_usable = "", "", chosen_epsilon(), False
    try:
        is_usable = bool(usable(shape, source))
        note = length(source)
    except ValueError as e:
        refusal = str(e)
    note += f" Chosen from a front at epsilon {epsilon:g}." if epsilon is not None else ""
    form.show_start(start, epsilon, refusal, note)
    if refusal and is_usable:  # too few labels, or labels that are numbers
        offer_distil(source.name, shape, st.session_state["agora_task"], "distil")

runs.show_problem()

# The run or record that is looked at, if any; both names come from the address, untrusted.
with runs.warning(closing=bool(run_id)):
    if run_id:
        show_run(runs.find(run_id, "agora"))
    elif record:
        st.button(
            "Close the recorded run",
            icon=":material/close:",
            on_click=runs.leave_run,
            args=[RECORD],
        )
        path = recorded_reports().get(record)
        if path is None:
            raise ValueError(f"There is no recorded run {record[:60]!r}.")
        agora.show_done(path, "Recorded")
        st.caption("Its sentences are numbered here: they are their authors' and not shipped.")
    else:
        show_empty()

checkpoint.show()
runs.show_earlier("agora", "{--architecture} from {source_name} on {task_name}", RECORD)
