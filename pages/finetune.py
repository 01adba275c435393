"""Fine-tune: train a chosen architecture with Agora, watch it, and take the result home."""

from pathlib import Path

import pandas as pd
import streamlit as st

from bort_engine.data.tasks import TASKS
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture
from bort_engine.finetune import report as agora_report
from bort_engine.finetune.report import Arm, Report
from bort_engine.runs import jobs
from bort_engine.runs.text import literal
from bort_engine.show import agora as agora_figures
from pages.parts import runs

KEPT = "What was trained is kept; resuming goes on from there."
TAU = {
    "auto": "auto: pool where there is one, else tokens",
    "pool": "pool: the nearest unlabelled sentences",
    "tokens": "tokens: the text itself, some words swapped",
}
THETA = {
    "auto": "auto: quick, or gentle after distillation on the task",
    "quick": "quick: four sets",
    "gentle": "gentle: four sets at a tenth of quick's rates",
    "bort": "bort: the hundreds of sets published for Bort; days, not minutes",
}
START = {
    "inherit": "the sliced source as it is",
    "general": "the sliced source, distilled on general text",
    "task": "the sliced source, distilled on the task's text",
}
CONTROLS = {name: agora_report.NAMES[name] for name in ("plain", "copied", "random")}
NUMBERS = {
    "Test (%)": "%.1f",
    "Test, 95 % from": "%.1f",
    "to (%)": "%.1f",
    "Dev, seen half (%)": "%.1f",
    "Dev, held back (%)": "%.1f",
    "Gap (points)": "%+.1f",
    "Confidence (%)": "%.0f",
    "Steps": "%.0f",
    "Training (s)": "%.0f",
    "Making points (s)": "%.0f",
    "Points added": "%.0f",
    "Parameters (M)": "%.1f",
    "Encoder (M)": "%.1f",
    "Latency (ms)": "%.2f",
}
WIDE = ("Failing dev text", "Point made near it")


# What changes the address, and so what is looked at. Only callbacks call these.


def change_source() -> None:
    """Another source has other shapes, and was not chosen at that epsilon."""
    for name in ("point", "chosen_at"):
        st.query_params.pop(name, None)
    st.session_state.pop("architecture", None)


def change_architecture() -> None:
    st.query_params["point"] = st.session_state["architecture"][:60]
    st.query_params.pop("chosen_at", None)


def open_record(name: str) -> None:
    st.query_params["recorded"] = name


def leave_record() -> None:
    st.query_params.pop("recorded", None)


def usable(text: str, source: Source) -> Architecture:
    """Read an architecture whose weights can be sliced from the source.

    Raises:
        ValueError: it is no architecture, or larger than the source somewhere.
    """
    architecture = Architecture.parse(text)
    for name in Architecture.__slots__:
        mine, limit = getattr(architecture, name), getattr(source.architecture, name)
        if mine > limit:
            raise ValueError(
                f"{name} {mine} is beyond {source.name}'s {limit}, and the student inherits its "
                f"weights; give at most {limit}."
            )
    return architecture


def suggested(source: Source) -> str:
    """Return half the layers and half the intermediate size of a source."""
    own = source.architecture
    halves = (max(1, own.num_hidden_layers // 2), max(1, own.intermediate_size // 2))
    return str(Architecture(halves[0], own.num_attention_heads, own.hidden_size, halves[1]))


def start(epsilon: float | None) -> None:
    """Start what the form asks for; what it holds came from a browser and is checked."""
    form = st.session_state
    try:
        source = sources[form["parent"]]
        wanted = [name for name in CONTROLS if name in form["controls"]]
        options = {
            "--architecture": usable(form["architecture"], source),
            "--task": form["agora_task"],
            "--labelled": form["labelled"],
            "--tau": form["tau"],
            "--points": form["points"],
            "--theta": form["theta"],
            "--start": form["begin"],
            "--controls": ",".join(wanted) or "none",
            "--seeds": form["seeds"],
            "--seed": form["seed"],
        }
        if epsilon is not None:
            options["--epsilon"] = f"{epsilon:g}"
        words = [str(word) for option in options.items() for word in option]
        runs.open_run(jobs.start("agora", [source.name, *words]).id, "recorded")
    except (ValueError, OSError) as e:
        form["problem"] = str(e)


def chosen_epsilon() -> float | None:
    """Return the epsilon of the front that the architecture was chosen from, if the address has it.

    What is no epsilon is left out.
    """
    try:
        epsilon = float(st.query_params.get("chosen_at", ""))
    except ValueError:
        return None
    return epsilon if 0 < epsilon <= 1 else None


def summary(run: jobs.Run) -> str:
    """Say what a run was asked for, and when."""
    asked = {"--task": "rotten-tomatoes", "--architecture": "?"} | runs.options(run)
    return (
        f"{runs.asked_at(run)}: {asked['--architecture']} from {asked['source']} "
        f"on {asked['--task']}"
    )


@st.cache_resource(max_entries=8, show_spinner=False)
def read(path: str, changed: int) -> Report:
    """Return a report; it is a value and never changes, so sessions may share it."""
    return agora_report.load(Path(path))


def report_of(path: Path) -> Report | None:
    """Return a report as it stands, None before its first training. Raises ValueError."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        return None
    return read(str(path), changed)


@st.fragment(run_every="1s")
def show_live(run: jobs.Run) -> None:
    """Show what a run is at; when it ends, draw the page anew."""
    status = run.status()
    if status.over:
        st.rerun()
    with st.container(border=True):
        runs.show_head(run, status)
        if run.stopping:
            st.caption("Finishing the step at hand, then stopping. What was trained is kept.")
        elif status.detail:
            st.caption(f"Now: {literal(status.detail)}.")
        events = run.metrics(last=1000)
        curve = agora_report.losses(events)
        if len(curve) or "arm" in (events or [{}])[-1]:  # kept while a training begins: no jumps
            st.line_chart(
                curve,
                x="Step",
                y="Loss (nats)",
                height=200,
                alt=f"Loss of this training over {len(curve)} reported steps",
            )
        st.caption(runs.CLOSE_LATER)


@st.fragment(run_every="3s")
def show_rounds_so_far(run: jobs.Run) -> None:
    """Show the rounds of a run at work; rarer than its head, for trainings need the processor."""
    try:
        report = report_of(run.folder / "report.json")
    except ValueError as e:
        st.warning(literal(e), icon=":material/warning:")
        return
    if report is None or not report.begun:
        st.caption("Each round will appear below once its first training is done.")
    else:
        show_rounds(report)


def show_rounds(report: Report) -> None:
    """The rounds of one arm: accuracy, leakage, mistakes and points, what was pruned, the texts."""
    st.subheader("Round by round", anchor=False)
    seed, arm_name = report.runs[0][0], "agora"
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(report.runs) > 1:
            seeds = [number for number, _ in report.runs]
            seed = st.selectbox("Seed", seeds, key="shown_seed", width=120)
        arms = {name: arm for name, arm in report.arms(seed).items() if arm.rounds}
        if len(arms) > 1:
            arm_name = st.segmented_control(
                "Trained by",
                list(arms),
                format_func=agora_report.NAMES.__getitem__,
                default=next(iter(arms)),
                required=True,
                key="shown_arm",
            )
    arm = arms.get(arm_name) or next(iter(arms.values()), None)
    if arm is None:
        st.caption("This seed has no round yet.")
        return
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        st.markdown("**Accuracy on dev by hyper-parameter set**")
        st.plotly_chart(
            agora_figures.accuracy_figure(report, arm),
            key="accuracy",
            config={"displayModeBar": False},
            alt=agora_figures.accuracy_summary(arm),
        )
        st.caption("Filled, solid: the half of dev that Agora sees. Open, dotted: the other half.")
    leaks = agora_report.leakage(report, arm_name, seed)
    with right.container(border=True, height="stretch"):
        st.markdown("**Leakage meter**")
        st.plotly_chart(
            agora_figures.leakage_figure(leaks),
            key="leakage",
            config={"displayModeBar": False},
            alt=agora_figures.leakage_summary(leaks),
        )
        st.caption(agora_figures.LEAKAGE)
    if agora_figures.made_any(arm) or arm_name == "agora":
        show_points(report, arm)
    else:
        st.caption(
            "A control repeats each of Agora's trainings, with as much data and as many steps, and "
            "makes no points of its own near its mistakes."
        )
    show_table(agora_figures.rounds_table(report, arm), "Every try of every round of this arm")
    if agora_figures.made_any(arm) or arm_name == "agora":
        show_texts(arm)


def show_points(report: Report, arm: Arm) -> None:
    """What Agora's rounds did: the mistakes, the points made near them, the sets that left."""
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        st.markdown("**Mistakes left, and points made**")
        st.plotly_chart(
            agora_figures.effort_figure(report, arm),
            key="effort",
            config={"displayModeBar": False},
            alt=agora_figures.effort_summary(report, arm),
        )
        st.caption(
            "A round's points are made near the mistakes of the round before it. Not kept: the "
            "labeller was unsure, or the point nearly repeats another."
        )
    with right.container(border=True, height="stretch"):
        st.markdown("**What left Theta, the hyper-parameter sets**")
        said = [words for r in arm.rounds if (words := agora_figures.pruning(r, report.request))]
        st.markdown("\n".join(f"- {words}" for words in said) or "Nothing yet.")
        st.caption(
            "The worst set goes, and with it all that begin as it does, for the longest stretch "
            "that any does."
        )


def show_texts(arm: Arm) -> None:
    """The dev texts that a round failed, and the points then made near each."""
    numbers = [played.number for played in arm.counted]
    if not numbers:
        return
    number = st.segmented_control(
        "Dev texts that failed in round",
        numbers,
        default=numbers[0],
        required=True,
        key="shown_round",
    )
    texts = agora_figures.texts_table(arm, number if number in numbers else numbers[0])
    if not len(texts):
        st.caption("This round's mistakes are listed once it has ended.")
        return
    show_table(texts, "Failing dev texts with the points made near each", height=360)
    if not any(texts["Point made near it"]):
        st.caption("No points were made near these: no later round has ended.")


def show_table(table: pd.DataFrame, alt: str, height: int | None = None) -> None:
    columns = {
        name: st.column_config.NumberColumn(format=pattern)
        for name, pattern in NUMBERS.items()
        if name in table
    }
    columns |= {name: st.column_config.TextColumn(width=330) for name in WIDE if name in table}
    st.dataframe(
        table,
        hide_index=True,
        height=height or min(400, 36 * (len(table) + 1)),
        column_config=columns,
        placeholder="",
        alt=alt,
    )


def show_result(report: Report) -> None:
    """The student beside the source, plain fine-tuning and the controls; then what it costs."""
    if facts := agora_figures.facts(report):
        with st.grid(4, min_column_width=150):
            for fact in facts:
                st.metric(
                    fact.label,
                    fact.text,
                    fact.delta,
                    delta_color="normal" if fact.more_is_better else "inverse",
                    border=True,
                    height="stretch",
                )
        st.caption("Small figures: against the source.")
    with st.container(border=True):
        st.markdown("**What the test split shows**")
        st.markdown(agora_figures.verdict(report) or "It was not scored in this run.")
    if report.rows:
        st.plotly_chart(
            agora_figures.result_figure(report),
            key="result",
            config={"displayModeBar": False},
            alt=agora_figures.result_summary(report),
        )
        st.caption(
            "Filled: test, with its 95 % interval. Open: the two halves of dev. Agora sees one."
        )
        show_table(agora_figures.result_table(report), "Each way of training, on test and dev")
    if report.models:
        show_table(agora_figures.models_table(report), "What the source and the student cost")
    if report.checkpoint:
        icon = ":material/verified:" if report.checkpoint.ok else ":material/gpp_maybe:"
        st.markdown(f"{icon} {agora_figures.reload_check(report.checkpoint)}")


def show_downloads(report: Path) -> None:
    """Offer the report and what lies beside it; each file is read only when it is asked for."""
    model, start = report.parent / "model", report.parent / "start"
    card, name = model / "README.md", report.parent.name
    files = {
        "checkpoint": (f"{name}.zip", lambda: runs.packed(model), "application/zip"),
        "student before Agora": (
            f"{name}-start.zip",
            lambda: runs.packed(start),
            "application/zip",
        ),
        "model card": ("README.md", lambda: card.read_bytes(), "text/markdown"),
        "report": ("report.json", lambda: report.read_bytes(), "application/json"),
    }
    there = {
        "checkpoint": model / "config.json",
        "student before Agora": start / "config.json",
        "model card": card,
        "report": report,
    }
    with st.container(horizontal=True):
        for what, (name, data, kind) in files.items():
            if there[what].is_file():
                st.download_button(
                    f"Download {what}",
                    data,
                    name,
                    kind,
                    icon=":material/download:",
                    type="primary" if what == "checkpoint" else "secondary",
                    on_click="ignore",
                )


def show_done(report: Report, badge: str, path: Path) -> None:
    """A whole report: what came out, then how."""
    st.markdown(
        f":primary-badge[{badge}] **{agora_figures.title(report)}**  \n"
        f":small[{agora_figures.origin(report, badge)}]"
    )
    show_result(report)
    show_downloads(path)
    if report.begun:
        show_rounds(report)


def show_run(run: jobs.Run) -> None:
    """A run in whatever state it is, as far as it went."""
    status, path = run.status(), run.folder / "report.json"
    if not status.over:
        show_live(run)
        show_rounds_so_far(run)
        return
    if status.state == "done":
        runs.show_close()
    else:
        runs.show_ended(run, status, KEPT)
    try:
        report = report_of(path)
        if status.state == "done" and report is None:
            raise ValueError(f"{path} is missing; start a new run.")
    except ValueError as e:
        st.warning(literal(str(e)), icon=":material/warning:")
        return
    if report and status.state == "done":
        show_done(report, "Measured", path)
    elif report and report.begun:
        show_rounds(report)


def show_empty() -> None:
    """Nothing is looked at: say what happens here, how long it takes, and where to begin."""
    with st.container(border=True):
        st.subheader("What happens here", anchor=False)
        steps = st.columns(3)
        steps[0].markdown(
            ":material/school: **A labeller and a student.** The source is fine-tuned on the "
            "labelled sentences; the student is a smaller copy of it."
        )
        steps[1].markdown(
            ":material/loop: **Rounds.** The student is trained once for each set of "
            "hyper-parameters. Near each of its mistakes new points are made, which the labeller "
            "labels; the worst sets leave."
        )
        steps[2].markdown(
            ":material/rule: **An honest end.** The test split is scored once, beside controls "
            "that got as much data and as many steps without Agora's choice."
        )
        st.caption(
            "It takes about 11 minutes on two cores for 1,000 labelled sentences. You can watch, "
            "stop, go on later, and download an ordinary checkpoint at the end."
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            for name in agora_report.recorded():
                st.button(
                    "Look at a recorded run",
                    icon=":material/history_edu:",
                    on_click=open_record,
                    args=[name],
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
run_id, record = st.query_params.get("run"), st.query_params.get("recorded")
looking = bool(run_id or record)
box = (
    st.expander("Fine-tune another one", icon=":material/play_circle:")
    if looking
    else st.container(border=True)
)
with box:
    columns = st.columns([3, 3, 4], vertical_alignment="bottom")
    source_name = columns[0].selectbox(
        "Source model",
        [name for name, source in sources.items() if source.weights],
        key="parent",
        bind="query-params",
        on_change=change_source,
    )
    source = sources[source_name]
    shape = columns[1].text_input(
        "Architecture (D,A,H,I)",
        st.query_params.get("point", "")[:60] or suggested(source),
        key="architecture",
        on_change=change_architecture,
        help="Layers, heads, hidden size, intermediate size; none may exceed the source's, "
        f"{source.architecture}.",
    )
    columns[2].selectbox(
        "Task", list(TASKS), format_func=lambda name: TASKS[name].title, key="agora_task"
    )
    columns = st.columns([3, 4, 3], vertical_alignment="bottom")
    columns[0].number_input(
        "Labelled sentences",
        0,
        1_000_000,
        1000,
        100,
        key="labelled",
        help="How many of the training sentences keep their labels; 0 means all. The others are "
        "the unlabelled pool that points can come from.",
    )
    columns[1].selectbox(
        "Points near a mistake come from",
        list(TAU),
        format_func=TAU.__getitem__,
        key="tau",
    )
    columns[2].number_input("Points made per mistake", 1, 64, 8, key="points")
    with st.expander("Advanced", icon=":material/tune:"):
        columns = st.columns(2)
        columns[0].selectbox(
            "Hyper-parameter sets (Theta)", list(THETA), format_func=THETA.__getitem__, key="theta"
        )
        columns[1].selectbox(
            "The student starts from", list(START), format_func=START.__getitem__, key="begin"
        )
        st.multiselect(
            "Controls of equal data and equal steps",
            list(CONTROLS),
            default=["plain", "random"],
            format_func=CONTROLS.__getitem__,
            key="controls",
            help="Without them nobody can tell whether Agora did anything. Each takes about as "
            "long as Agora itself.",
        )
        columns = st.columns(2)
        columns[0].number_input("Seeds: repeat the whole run", 1, 20, 1, key="seeds")
        columns[1].number_input("First seed", 0, 10**6, 0, key="seed")
    problem, epsilon = "", chosen_epsilon()
    try:
        usable(shape, source)
    except ValueError as e:
        problem = str(e)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Start",
            icon=":material/play_arrow:",
            type="primary",
            on_click=start,
            args=[epsilon],
            disabled=bool(problem),
            key="start",
        )
        if problem:
            st.markdown(f":red[:material/error: {literal(problem)}]", width="content")
        elif epsilon is not None:
            st.caption(f"Chosen from a front at epsilon {epsilon:g}.", width="content")

runs.show_problem()

# The run or record that is looked at, if any; both names come from the address, untrusted.
try:
    if run_id:
        show_run(runs.find(run_id, "agora"))
    elif record:
        st.button("Close the recorded run", icon=":material/close:", on_click=leave_record)
        path = agora_report.recorded().get(record)
        if path is None:
            raise ValueError(f"There is no recorded run {record[:60]!r}.")
        show_done(agora_report.load(path), "Recorded", path)
        st.caption("Its sentences are numbered here: they are their authors' and not shipped.")
    else:
        show_empty()
except ValueError as e:
    st.warning(literal(str(e)), icon=":material/warning:")
    if run_id:
        runs.show_close()

runs.show_earlier("agora", summary, "recorded")
