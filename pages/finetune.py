"""Fine-tune: train a chosen architecture with Agora, watch it, and take the result home."""

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from bort_engine.data.tasks import TASKS
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture
from bort_engine.finetune.report import NAMES, Arm, ArmName, Report, recorded_reports
from bort_engine.runs import jobs, records
from bort_engine.runs.events import Event
from bort_engine.runs.text import literal
from bort_engine.show import agora as words
from bort_engine.show import agora_figures as figures
from pages.parts import runs

if TYPE_CHECKING:
    import plotly.graph_objects as go

KEPT = "What was trained is kept; resuming goes on from there."
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
CONTROLS = {name: NAMES[name] for name in ("plain", "copied", "random")}
PERCENT = ("Test (%)", "Test, 95 % from", "to (%)", "Dev, seen half (%)", "Dev, held back (%)")
COUNTS = ("Confidence (%)", "Steps", "Training (s)", "Making points (s)", "Points added")
NUMBERS = {
    **dict.fromkeys((*PERCENT, "Parameters (M)", "Encoder (M)"), "%.1f"),
    **dict.fromkeys(COUNTS, "%.0f"),
    "Gap (points)": "%+.1f",
    "Latency (ms)": "%.2f",
}


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


@runs.reporting()
def start(epsilon: float | None) -> None:
    """Start what the form asks for; what it holds came from a browser and is checked."""
    form = st.session_state
    source = sources[form["parent"]]
    options = {
        "--architecture": usable(form["architecture"], source),
        "--task": form["agora_task"],
        "--labelled": form["labelled"],
        "--tau": form["tau"],
        "--points": form["points"],
        "--configs": form["configs"],
        "--initialisation": form["initialisation"],
        "--controls": ",".join(name for name in CONTROLS if name in form["controls"]) or "none",
        "--seeds": form["seeds"],
        "--seed": form["seed"],
    }
    if epsilon is not None:
        options["--epsilon"] = f"{epsilon:g}"
    runs.start_run("agora", source.name, options, "recorded")


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


def load(path: Path) -> Report:
    return records.read(path, Report)


def show_losses(events: list[Event]) -> None:
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
    try:
        report = runs.opened(path, load) if path.is_file() else None
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
    seed, chosen = report.runs[0].seed, None
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(report.runs) > 1:
            seeds = [run.seed for run in report.runs]
            seed = st.selectbox("Seed", seeds, key="shown_seed", width=120)
        arms: dict[ArmName, Arm] = {n: arm for n, arm in report.arms(seed).items() if arm.rounds}
        if len(arms) > 1:
            chosen = st.segmented_control(
                "Trained by",
                list(arms),
                format_func=NAMES.__getitem__,
                default=next(iter(arms)),
                required=True,
                key="shown_arm",
            )
    if not arms:
        st.caption("This seed has no round yet.")
        return
    name = chosen if chosen in arms else next(iter(arms))
    arm, makes_points = arms[name], name == "agora"
    show_accuracy(report, name, seed)
    if makes_points:
        show_points(report, arm)
    else:
        st.caption(
            "A control repeats each of Agora's trainings, with as much data and as many steps, and "
            "makes no points of its own near its mistakes."
        )
    table = words.rounds_table(report, arm)
    runs.show_table(table, NUMBERS, "Every try of every round of this arm", placeholder="")
    if makes_points:
        show_texts(arm)


def show_chart(title: str, figure: "go.Figure", alt: str, caption: str) -> None:
    st.markdown(f"**{title}**")
    st.plotly_chart(figure, key=title, config={"displayModeBar": False}, alt=alt)
    st.caption(caption)


def show_accuracy(report: Report, name: ArmName, seed: int) -> None:
    """Accuracy by config and round, and how far the half that Agora sees is ahead."""
    left, right = st.columns(2)
    arm, leaks = report.arms(seed)[name], words.leakage(report, name, seed)
    with left.container(border=True, height="stretch"):
        show_chart(
            "Accuracy on dev by hyper-parameter config",
            figures.accuracy_figure(report, arm),
            figures.accuracy_summary(report, arm),
            "Filled, solid: the half of dev that Agora sees. Open, dotted: the other half.",
        )
    with right.container(border=True, height="stretch"):
        show_chart(
            "Leakage meter",
            figures.leakage_figure(leaks),
            figures.leakage_summary(leaks),
            words.LEAKAGE,
        )


def show_points(report: Report, arm: Arm) -> None:
    """What Agora's rounds did: the mistakes, the points made near them, the configs that left."""
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        show_chart(
            "Mistakes left, and points made",
            figures.effort_figure(report, arm),
            figures.effort_summary(report, arm),
            "A round's points are made near the mistakes of the round before it. Not kept: the "
            "labeller was unsure.",
        )
    with right.container(border=True, height="stretch"):
        st.markdown("**Which configs left**")
        sentences = (words.pruning(attempt, report.request) for attempt in arm.rounds)
        st.markdown("\n".join(f"- {text}" for text in sentences if text) or "Nothing yet.")
        st.caption(
            "The worst config goes, and with it all that begin as it does, for the longest stretch "
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
    texts = words.texts_table(arm, number if number in numbers else numbers[0])
    if not len(texts):
        st.caption("This round's mistakes are listed once it has ended.")
        return
    wide = st.column_config.TextColumn(width=330)
    runs.show_table(
        texts,
        NUMBERS,
        "Failing dev texts with the points made near each",
        {"Failing dev text": wide, "Point made near it": wide},
        height=360,
        placeholder="",
    )
    if not any(texts["Point made near it"]):
        st.caption("No points were made near these: no later round has ended.")


def show_result(report: Report) -> None:
    """The student beside the source, plain fine-tuning and the controls; then what it costs."""
    if facts := words.facts(report):
        runs.show_facts(facts)
        st.caption("Small figures: against the source.")
    with st.container(border=True):
        st.markdown("**What the test split shows**")
        st.markdown(words.verdict(report) or "It was not scored in this run.")
    if report.test:
        show_chart(
            "Each way of training",
            figures.result_figure(report),
            figures.result_summary(report),
            "Filled: test, with its 95 % interval. Open: the two halves of dev. Agora sees one.",
        )
        table = words.result_table(report)
        runs.show_table(table, NUMBERS, "Each way of training, on test and dev", placeholder="")
    if report.models:
        table = words.models_table(report)
        runs.show_table(table, NUMBERS, "What the source and the student cost")
    if checkpoint := report.checkpoint:
        icon = ":material/gpp_maybe:" if checkpoint.problems else ":material/verified:"
        st.markdown(f"{icon} {words.reload_check(checkpoint)}")


def show_downloads(path: Path) -> None:
    """Offer the report and what lies beside it."""
    model, initial, name = path.parent / "model", path.parent / "start", path.parent.name
    card = model / "README.md"
    files = {
        "checkpoint": (model / "config.json", f"{name}.zip", lambda: runs.packed(model)),
        "student before Agora": (
            initial / "config.json",
            f"{name}-start.zip",
            lambda: runs.packed(initial),
        ),
        "model card": (card, "README.md", card.read_bytes),
        "report": (path, "report.json", path.read_bytes),
    }
    there = {what: (file, make) for what, (proof, file, make) in files.items() if proof.is_file()}
    runs.show_downloads(there, primary="checkpoint")


def show_done(report: Report, badge: str, path: Path) -> None:
    """A whole report: what came out, then how."""
    st.markdown(
        f":primary-badge[{badge}] **{words.title(report)}**  \n"
        f":small[{words.origin(report, badge)}]"
    )
    show_result(report)
    show_downloads(path)
    if report.begun:
        show_rounds(report)


def show_run(run: jobs.Run) -> None:
    """A run in whatever state it is, as far as it went."""
    status, path = run.status(), run.folder / "report.json"
    if not status.over:
        runs.show_live(run, show_losses)
        show_rounds_so_far(run)
        return
    is_done = status.state == "done"
    if is_done:
        runs.show_close()
    else:
        runs.show_ended(run, status, KEPT)
        if not path.is_file():
            return
    try:
        report = runs.opened(path, load)
    except ValueError as e:
        st.warning(literal(e), icon=":material/warning:")
        return
    if is_done:
        show_done(report, "Measured", path)
    elif report.begun:
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
            "labels; the worst configs leave."
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
            for name in recorded_reports():
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
run_id, record = st.query_params.get(runs.RUN), st.query_params.get("recorded")
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
            "Hyper-parameter configs", list(CONFIGS), format_func=CONFIGS.__getitem__, key="configs"
        )
        columns[1].selectbox(
            "The student starts from",
            list(INITIALISATION),
            format_func=INITIALISATION.__getitem__,
            key="initialisation",
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
        path = recorded_reports().get(record)
        if path is None:
            raise ValueError(f"There is no recorded run {record[:60]!r}.")
        show_done(runs.opened(path, load), "Recorded", path)
        st.caption("Its sentences are numbered here: they are their authors' and not shipped.")
    else:
        show_empty()
except ValueError as e:
    st.warning(literal(e), icon=":material/warning:")
    if run_id:
        runs.show_close()

runs.show_earlier("agora", summary, "recorded")
