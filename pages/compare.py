"""Baselines: the FPTAS against other searches at equal budgets; who leads, and how surely."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from bort_engine.data.tasks import TASKS
from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import SearchSpace
from bort_engine.runs import jobs
from bort_engine.runs.text import literal
from bort_engine.search import errors as problem
from bort_engine.search.scores import NAMES, OURS, Race
from bort_engine.show import race as race_report
from bort_engine.show import race_figures
from pages.parts import runs

KEPT = "What was trained is kept; resuming goes on from there."
SAMPLERS = [name for name in NAMES if name != OURS]
ERRORS = {
    "recorded": "replay the record: seconds, not hours",
    "measured": "train here: each architecture once, for all searches",
}
COUNTED = {"trainings": "Trainings", "seconds": "Recorded seconds"}


# What changes the address, and so what is looked at. Only callbacks call these.


def start(budget: int) -> None:
    """Start what the form asks for; what it holds came from a browser and is checked."""
    form = st.session_state
    try:
        source = sources[form["race_source"]]
        wanted = [name for name in SAMPLERS if name in form["samplers"]]
        options = {
            "--task": form["race_task"],
            "--samplers": ",".join(wanted),
            "--seeds": form["race_seeds"],
            "--budget": budget,
            "--errors": form["errors"],
        }
        words = [str(word) for option in options.items() for word in option]
        runs.open_run(jobs.start("race", [source.name, *words]).id)
    except (ValueError, OSError) as e:
        form["problem"] = str(e)


def jump(key: str, covers: dict[float, int], pills: str) -> None:
    """Set the slider to the training after which the chosen epsilon's cover was whole."""
    chosen = st.session_state[pills]
    if chosen in covers:
        st.session_state[key] = covers[chosen]


def forget() -> None:
    """Another seed, or the slider moved by hand: it stands at no epsilon's cover."""
    for key in map(str, st.session_state):
        if key.startswith("cover-"):
            st.session_state[key] = None


@st.cache_resource(max_entries=16, show_spinner=False)
def on_record(source: str, task: str, changed: tuple[tuple[Path, int], ...]) -> bool:
    """Say whether a table of the whole space ships, so that a race can be replayed on it."""
    space = SearchSpace.parse("default", sources[source])
    try:
        return bool(problem.replayable(sources[source], task, space))
    except ValueError:
        return False


@st.cache_resource(max_entries=8, show_spinner=False)
def read(path: Path, changed: int) -> Race:
    """Return a race; it is a value and never changes, so sessions may share it."""
    return Race.load(path)


@st.cache_resource(max_entries=64, show_spinner=False)
def drawn(path: Path, changed: int, score: str, by: str) -> tuple[go.Figure, str]:
    """Return a score's curves and what they say; they depend on the race only."""
    race = read(path, changed)
    figure = race_figures.score_figure(race, score, by)
    return figure, race_figures.score_summary(race, score, by)


@st.cache_resource(max_entries=64, show_spinner=False)
def attainment(path: Path, changed: int, rival: str) -> tuple[go.Figure, str]:
    race = read(path, changed)
    figure = race_figures.attainment_figure(race, rival)
    return figure, race_figures.attainment_summary(race, rival)


def summary(run: jobs.Run) -> str:
    """Say what a run was asked for, and when."""
    asked = {"--task": "rotten-tomatoes", "--budget": "?", "--seeds": "?"} | runs.options(run)
    return (
        f"{runs.asked_at(run)}: {asked['source']} on {asked['--task']}, "
        f"{asked['--budget']} trainings each, {asked['--seeds']} seeds"
    )


def trained(events: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row for each architecture that a run has trained so far."""
    errors = [event.get("error") for event in events if "architecture" in event]
    known = [error for error in errors if isinstance(error, int | float)]
    return pd.DataFrame({"Training": range(1, len(known) + 1), "Surrogate error ê (nats)": known})


@st.fragment(run_every="1s")
def show_live(run: jobs.Run) -> None:
    """Show what a run is at; when it ends, draw the page anew."""
    status = run.status()
    if status.over:
        st.rerun()
    with st.container(border=True):
        runs.show_head(run, status)
        if run.stopping:
            st.caption("Finishing the training at hand, then stopping. What was trained is kept.")
        elif status.detail:
            st.caption(f"Now: {literal(status.detail)}.")
        done = trained(run.metrics(last=2000))
        if len(done):
            st.scatter_chart(
                done,
                x="Training",
                y="Surrogate error ê (nats)",
                height=240,
                alt=f"Errors of the {len(done)} architectures trained so far",
            )
        st.caption(runs.CLOSE_LATER)


def show_verdict(race: Race) -> None:
    """What the numbers say, the short of it first."""
    short, *more = race_report.verdict(race)
    with st.container(border=True):
        st.markdown(f"**{literal(f'{short.head}: {short.text}')}**")
        half = (len(more) + 1) // 2
        for column, some in zip(st.columns(2), (more[:half], more[half:]), strict=True):
            lines = [f"- **{literal(x.head)}:** {literal(x.text)}" for x in some]
            column.markdown("\n".join(lines))


def show_curves(path: Path, changed: int) -> None:
    """The two scores against the budget, side by side."""
    by = st.segmented_control(
        "Budget counted in",
        list(COUNTED),
        format_func=COUNTED.__getitem__,
        default="trainings",
        required=True,
        key="counted",
    )
    said = {
        "hypervolume": "How much of the truth's hypervolume is found: higher is better. The axis "
        "stretches towards 100 %.",
        "epsilon": "By which factor, minus one, something true is still missed: lower is better. "
        "Dashed: 0.1 and 0.2.",
    }
    for column, (score, caption) in zip(st.columns(2), said.items(), strict=True):
        with column.container(border=True, height="stretch"):
            st.markdown(f"**{race_figures.SCORES[score]}**")
            figure, alt = drawn(path, changed, score, by)
            st.plotly_chart(figure, key=score, config={"displayModeBar": False}, alt=alt)
            st.caption(f"{caption} Line: median over seeds. Band: quartiles.")


def choose_moment(race: Race) -> tuple[int, int, dict[float, int]]:
    """Let a seed and a training be chosen; return them, and the FPTAS's covers in that seed."""
    columns = st.columns([1, 3, 4], vertical_alignment="bottom")
    seed = columns[0].selectbox(
        "Seed", range(race.seeds), key=f"race_seed-{race.seeds}", on_change=forget
    )
    covers = race_report.covers(race, seed)
    pills = f"cover-{race.table(seed)}-{race.budget}"
    key = f"trainings-{race.budget}"
    with columns[1]:
        if covers:
            st.pills(
                "The FPTAS's cover is whole for epsilon",
                list(covers),
                format_func=lambda epsilon: f"{epsilon:g}",
                key=pills,
                on_change=jump,
                args=[key, covers, pills],
                help="Sets the slider to the training after which it was.",
            )
    trainings = race.budget
    if race.budget > 1:
        st.session_state.setdefault(key, race.budget)
        trainings = columns[2].slider("Trainings", 1, race.budget, key=key, on_change=forget)
    return seed, trainings, covers


@st.fragment
def show_replay(path: Path, changed: int) -> None:
    """The race training by training: a seed, a training, the fronts there, and who has what."""
    race = read(path, changed)
    seed, trainings, covers = choose_moment(race)
    left, right = st.columns([4, 3])
    with left:
        view = st.segmented_control(
            "Axes",
            list(race_figures.VIEWS),
            default="Size / latency",
            required=True,
            label_visibility="collapsed",
            key="race_view",
        )
        st.plotly_chart(
            race_figures.front_figure(race, view, seed, trainings),
            key="fronts",
            config={"displaylogo": False},
            alt=race_figures.front_summary(race, seed, trainings),
        )
        st.caption(
            "What each search would return now. Grey rings: the true front, which nothing measured "
            "beats in size, latency and error at once. A name in the legend hides or shows its "
            "points."
        )
    with right:
        st.markdown(f"**After {trainings} of {race.budget} trainings, seed {seed}**")
        show_table(race_report.moment(race, seed, trainings), "What each search has by then")
        whole = [epsilon for epsilon, n in covers.items() if n <= trainings]
        if whole:
            st.caption(
                f"The FPTAS's cover is whole down to epsilon {min(whole):g}. It keeps that promise "
                "as far as larger architectures err less; what it achieved is in the table."
            )


def show_attainment(race: Race, path: Path, changed: int) -> None:
    """What a quarter, half and three quarters of a sampler's seeds find, beside the FPTAS."""
    rivals = [name for name in race.searchers if name != OURS] or [OURS]
    rival = st.segmented_control(
        "The FPTAS beside",
        rivals,
        format_func=NAMES.__getitem__,
        default=rivals[0],
        required=True,
        key=f"rival-{'-'.join(rivals)}",
    )
    figure, alt = attainment(path, changed, rival)
    st.plotly_chart(figure, key="attainment", config={"displayModeBar": False}, alt=alt)
    st.caption(
        "Right of and above a line, half of the seeds found something at least as quick and as "
        "accurate with their whole budget; the band is a quarter to three quarters of them."
    )


def show_table(table: pd.DataFrame, alt: str) -> None:
    columns = {
        name: st.column_config.NumberColumn(format=pattern)
        for name, pattern in race_report.FORMATS.items()
        if name in table
    }
    st.dataframe(
        table, hide_index=True, column_config=columns, placeholder="not in budget", alt=alt
    )


def show_downloads(race: Race) -> None:
    """Offer the long table and the report; each is made only when it is asked for."""
    files = {
        "table": ("race.csv", lambda: race_report.to_frame(race).to_csv(index=False), "text/csv"),
        "report": ("race.html", partial(race_report.to_html, race), "text/html"),
    }
    with st.container(horizontal=True):
        for what, (name, data, kind) in files.items():
            st.download_button(
                f"Download {what}",
                data,
                name,
                kind,
                icon=":material/download:",
                on_click="ignore",
            )


def show_race(path: Path) -> None:
    """A race that is over, from its file. Raises ValueError where that is damaged."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError as e:
        raise ValueError(f"{path} is missing; start a new race.") from e
    race = read(path, changed)
    made = race_report.provenance(race)
    st.markdown(
        f":primary-badge[{race_report.badge(race)}] "
        f"**{literal(race_report.title(race))}**  \n"
        f":small[{literal(race_report.origin(race))}]"
    )
    show_verdict(race)
    st.subheader("Scores against the budget", anchor=False)
    show_curves(path, changed)
    tabs = ["Training by training", "What seeds attain"]
    replay, bands = st.tabs(tabs, on_change="rerun", key="race_tab")
    with replay:
        if replay.open:
            show_replay(path, changed)
    with bands:
        if bands.open:
            show_attainment(race, path, changed)
    st.subheader("In numbers", anchor=False)
    show_table(race_report.table(race), "Each search's scores at the end, and what the goals took")
    st.caption(f"Medians over seeds, errors {race_report.badge(race).lower()}.")
    show_downloads(race)
    with st.expander("Where the numbers come from", icon=":material/fingerprint:"):
        st.markdown("\n".join(f"- **{k}:** {literal(text)}" for k, text in made.items()))


def show_run(run: jobs.Run) -> None:
    """A run in whatever state it is."""
    status = run.status()
    if not status.over:
        show_live(run)
    elif status.state == "done":
        runs.show_close()
        try:
            show_race(run.folder / "race.json")
        except ValueError as e:
            st.warning(literal(str(e)), icon=":material/warning:")
    else:
        runs.show_ended(run, status, KEPT)


def show_empty() -> None:
    """Nothing is looked at: say what happens here, how long it takes, and where to begin."""
    with st.container(border=True):
        st.subheader("What happens here", anchor=False)
        steps = st.columns(3)
        steps[0].markdown(
            ":material/balance: **Equal budgets.** The FPTAS and every sampler may train the same "
            "number of architectures, and all begin with the source. A repeated one is free."
        )
        steps[1].markdown(
            ":material/visibility: **A known truth.** Where the whole space is on record, each "
            "search is replayed on it, and held against the best there is."
        )
        steps[2].markdown(
            ":material/gavel: **A plain verdict.** Who leads after how many trainings, in how many "
            "seeds; and where the FPTAS does not."
        )
        st.caption(
            "No race ships with this version, nor a table to replay one on. One that is trained "
            "here takes about 20 s for each architecture on two cores. You can watch, stop and go "
            "on later."
        )
        st.page_link(
            "pages/explore.py", label="See the fronts on Explore", icon=":material/explore:"
        )


st.markdown(
    "Does the **FPTAS** earn its keep? It races random search, TPE, NSGA-II and local search: the "
    "same space, the same errors, the same number of trainings."
)
run_id = st.query_params.get("run")
opening = race_report.RECORDED
looking = bool(run_id) or opening.is_file()
box = (
    st.expander("Start another race", icon=":material/play_circle:")
    if looking
    else st.container(border=True)
)
with box:
    columns = st.columns([3, 4, 4], vertical_alignment="bottom")
    source_name = columns[0].selectbox(
        "Source model",
        [name for name, source in sources.items() if source.weights],
        key="race_source",
        bind="query-params",
    )
    task = columns[1].selectbox(
        "Task", list(TASKS), format_func=lambda name: TASKS[name].title, key="race_task"
    )
    tables = tuple((path, path.stat().st_mtime_ns) for path in problem.tables())
    whole = on_record(source_name, task, tables)
    errors = columns[2].selectbox(
        "Errors come from",
        list(ERRORS),
        index=0 if whole else 1,
        format_func=ERRORS.__getitem__,
        key="errors",
    )
    columns = st.columns([6, 2, 2], vertical_alignment="bottom")
    samplers = columns[0].multiselect(
        "Against",
        SAMPLERS,
        default=[name for name in SAMPLERS if name != "brute"],
        format_func=NAMES.__getitem__,
        key="samplers",
        help="The FPTAS always takes part.",
    )
    size = len(SearchSpace.parse("default", sources[source_name]))
    usual_seeds, usual_budget = (20, 64) if whole else (1, 16)  # trained here, they take hours
    seeds = columns[1].number_input("Seeds of each sampler", 1, 1000, usual_seeds, key="race_seeds")
    usual_budget = min(usual_budget, size)
    budget = columns[2].number_input(
        "Trainings each", 1, size, usual_budget, key=f"race_budget-{size}", help="The budget."
    )
    said = ""
    if errors == "recorded" and not whole:
        said = (
            f"No table of all {size} architectures of {source_name} ships for this task; choose "
            "to train here."
        )
    elif not samplers:
        said = "Choose at least one search that the FPTAS is held against."
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Start",
            icon=":material/play_arrow:",
            type="primary",
            on_click=start,
            args=[budget],
            disabled=bool(said),
            key="start",
        )
        if said:
            st.markdown(f":red[:material/error: {literal(said)}]", width="content")
        elif errors == "measured":
            most = min(size, (1 + len(samplers) * seeds) * budget)
            minutes = math.ceil(most * 20 / 60)
            took = f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"
            st.caption(
                f"At most {most} trainings, each shared by all searches: about {took} on two "
                "cores. Stopped, it can go on later.",
                width="content",
            )

runs.show_problem()

# The run that is looked at, if any; its id comes from the address and is not trusted.
try:
    if run_id:
        show_run(runs.find(run_id, "race"))
    elif opening.is_file():
        show_race(opening)
    else:
        show_empty()
except ValueError as e:
    st.warning(literal(str(e)), icon=":material/warning:")
    if run_id:
        runs.show_close()

runs.show_earlier("race", summary)
