"""Baselines: the FPTAS against other searches, and students against their teachers."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from bort_engine.runs import jobs
from bort_engine.runs.text import literal
from bort_engine.search import errors as oracles
from bort_engine.search.race import SAMPLERS as DEFAULTS
from bort_engine.search.scores import NAMES, OURS, Race
from bort_engine.show import race as race_report
from bort_engine.show import race_figures
from bort_engine.show.race_page import to_html
from pages.parts import form, runs, students

SAMPLERS = [name for name in NAMES if name != OURS]
ERRORS = {
    "recorded": "replay the record: seconds, not hours",
    "measured": "measure here: each architecture once, for all searches",
}
CAPTIONS = (
    "The share of the truth's hypervolume: higher is better. The axis stretches towards 100 %.",
    "By how much the worst missed is missed: a share of its size, of its latency, or of the way "
    "from the source's error to guessing's. Lower is better. Dashed: 0.1, 0.2.",
)
# By name in the address.
VIEWS = dict(zip(("costs", "size", "latency"), race_figures.VIEWS, strict=True))
PARTS = {"replay": "Evaluation by evaluation", "seeds": "What seeds attain"}
SECONDS_EACH = 1  # one forward pass over dev on two cores, rounded up


@runs.reporting()
def start(budget: int) -> None:
    """Start what the form asks for; what it holds came from a browser and is checked."""
    fields = st.session_state
    options = {
        "--task": fields["race_task"],
        "--samplers": ",".join(name for name in SAMPLERS if name in fields["samplers"]),
        "--seeds": fields["race_seeds"],
        "--budget": budget,
        "--errors": fields["errors"],
    }
    runs.start_run("race", fields["race_source"], options)


def jump(key: str, covers: dict[float, int], pills: str) -> None:
    """Set the slider to the evaluation after which the chosen epsilon's cover was whole."""
    if st.session_state[pills] in covers:
        st.session_state[key] = covers[st.session_state[pills]]


def forget() -> None:
    """Another seed, or the slider moved by hand: it stands at no epsilon's cover."""
    for key in map(str, st.session_state):
        if key.startswith("cover-"):
            st.session_state[key] = None


@st.cache_resource(max_entries=16, show_spinner=False)
def missing(source: str, task: str, changed: tuple[tuple[Path, int], ...]) -> str:
    """Say why no race can be replayed: no table of the whole space ships. Else say nothing."""
    try:
        origin = form.source_of(source)
        space = oracles.searched("default", "elastic", origin)
        oracles.replayable(origin, task, space)
    except ValueError as e:
        return str(e).partition(";")[0].removesuffix(".")
    return ""


def show_trained(events: list[runs.Event]) -> None:
    """Draw the error of each architecture that a run has trained so far."""
    values = [event.get("dev_error") for event in events if "architecture" in event]
    errors = [100 * value for value in values if isinstance(value, int | float)]
    if errors:
        x, y = "Evaluation", "Wrong on dev (%)"
        trained = pd.DataFrame({x: range(1, len(errors) + 1), y: errors})
        alt = f"Errors of the {len(errors)} architectures trained so far"
        st.scatter_chart(trained, x=x, y=y, height=240, alt=alt)


def show_findings(findings: Sequence[race_report.Finding]) -> None:
    """What the numbers say beyond the verdict, folded."""
    with st.expander("All findings", icon=":material/fact_check:"):
        half = (len(findings) + 1) // 2
        for column, some in zip(st.columns(2), (findings[:half], findings[half:]), strict=True):
            lines = [f"- **{literal(x.head)}:** {literal(x.text)}" for x in some]
            column.markdown("\n".join(lines))


def show_curves(race: Race) -> None:
    """The two scores against the budget, side by side."""
    by = form.pick("Budget counted in", race_report.HEADS, "counted", addressed=True)
    for column, score, caption in zip(st.columns(2), race_figures.SCORES, CAPTIONS, strict=True):
        with column.container(border=True, height="stretch"):
            runs.show_chart(
                score.label,
                race_figures.score_figure(race, score, by),
                race_figures.score_summary(race, score, by),
                f"{caption} Line: median over seeds. Band: quartiles.",
            )


def choose_moment(race: Race) -> tuple[int, int, dict[float, int]]:
    """Let a seed and an evaluation be chosen; return them, and the FPTAS's covers in that seed."""
    columns = st.columns([1, 3, 4], vertical_alignment="bottom")
    seed = columns[0].selectbox(
        "Seed",
        range(race.seeds),
        key=f"race_seed-{race.seeds}",
        on_change=forget,
        bind="query-params",
    )
    covers = race_report.covers(race, seed)
    pills, key = f"cover-{race.table(seed)}-{race.budget}", f"evaluations-{race.budget}"
    if covers:
        columns[1].pills(
            "The FPTAS's cover is whole for epsilon",
            list(covers),
            format_func=lambda epsilon: f"{epsilon:g}",
            key=pills,
            on_change=jump,
            args=[key, covers, pills],
            help="Sets the slider to the evaluation after which it was.",
        )
    evaluations = race.budget
    if race.budget > 1:
        st.session_state.setdefault(key, race.budget)
        evaluations = columns[2].slider(
            "Evaluations", 1, race.budget, key=key, on_change=forget, bind="query-params"
        )
    return seed, evaluations, covers


@st.fragment
def show_replay(race: Race) -> None:
    """The race step by step: a seed, an evaluation, the fronts there, and who has what."""
    seed, evaluations, covers = choose_moment(race)
    left, right = st.columns([4, 3])
    with left:
        choice = form.pick("Axes", VIEWS, "race_view", addressed=True, label_visibility="collapsed")
        view = VIEWS[choice]
        st.plotly_chart(
            runs.legible(race_figures.front_figure(race, view, seed, evaluations)),
            key="fronts",
            config={"displaylogo": False},
            alt=race_figures.front_summary(race, seed, evaluations),
        )
        st.caption(
            "What each search would return now. Grey rings: the true front, which nothing measured "
            "beats in size, latency and error at once. Click a name to hide or show its points."
        )
    with right:
        st.markdown(f"**After {evaluations} of {race.budget} evaluations, seed {seed}**")
        moment = race_report.moment(race, seed, evaluations)
        runs.show_table(moment, race_report.FORMATS, "What each search has by then")
        whole = [epsilon for epsilon, n in covers.items() if n <= evaluations]
        if whole:
            st.caption(
                f"The FPTAS's cover is whole down to epsilon {min(whole):g}. It keeps that promise "
                "as far as larger architectures err less; what it achieved is in the table."
            )


def show_attainment(race: Race) -> None:
    """What a quarter, half and three quarters of a sampler's seeds attain, beside the FPTAS."""
    rivals = [name for name in race.searchers if name != OURS] or [OURS]
    titles = {name: NAMES[name] for name in rivals}
    rival = form.pick("The FPTAS beside", titles, "rival", addressed=True)
    st.plotly_chart(
        runs.legible(race_figures.attainment_figure(race, rival)),
        key="attainment",
        config={"displayModeBar": False},
        alt=race_figures.attainment_summary(race, rival),
    )
    st.caption(
        "Right of and above a line, half of the seeds found something at least as quick and as "
        "accurate with their whole budget; the band is a quarter to three quarters of them."
    )


def show_race(path: Path) -> None:
    """A race that is over, from its file. Raises ValueError where that is damaged."""
    race = runs.opened(path, Race.load)
    title, origin = race_report.title(race), race_report.origin(race)
    runs.show_title(literal(race.origin.capitalize()), literal(title), literal(origin))
    short, *more = race_report.verdict(race)
    st.markdown(f"**{literal(short)}**")
    show_curves(race)
    if more:
        show_findings(more)
    if form.pick("Show", PARTS, "part", addressed=True, label_visibility="collapsed") == "replay":
        show_replay(race)
    else:
        show_attainment(race)
    st.subheader("In numbers", anchor=False)
    runs.show_table(
        race_report.table(race),
        race_report.FORMATS,
        "Each search's scores at the end, and what the goals took",
        placeholder="not in budget",
    )
    st.caption(f"Medians over seeds, errors {race.origin}.")
    as_csv = "race.csv", lambda: race_report.to_frame(race).to_csv(index=False)
    runs.show_downloads({"table": as_csv, "report": ("race.html", partial(to_html, race))})
    with st.expander("Where the numbers come from", icon=":material/fingerprint:"):
        facts = race_report.provenance(race).items()
        st.markdown("\n".join(f"- **{topic}:** {literal(text)}" for topic, text in facts))


def show_run(run: jobs.Run) -> None:
    """A run in whatever state it is."""
    status = run.status()
    if not status.over:
        runs.show_live(run, show_trained)
    elif status.state == "done":
        runs.show_close()
        with runs.warning():
            show_race(run.folder / "race.json")
    else:
        runs.show_ended(run, status)


def show_empty() -> None:
    """Nothing is looked at: say what happens here, how long it takes, and where to begin."""
    st.info(
        "**No race ships with this version.** The FPTAS and every sampler may measure the same "
        "number of architectures, beginning with the source. Measured here, each takes about "
        f"{SECONDS_EACH} s on two cores; where a whole space is on record, searches are replayed.",
        icon=":material/balance:",
    )
    st.page_link("pages/explore.py", label="See the fronts on Explore", icon=":material/explore:")


st.markdown(
    "Does the **FPTAS** earn its keep? It races random search, TPE, NSGA-II, local search, a "
    "Gaussian process and its own parts: the same space, the same errors, the same number of "
    "evaluations."
)
run_id = st.query_params.get(runs.RUN)
recorded = race_report.RECORDED
with form.place("Start another race", folded=bool(run_id) or recorded.is_file()):
    columns = st.columns([3, 4, 4], vertical_alignment="bottom")
    source = form.pick_source(columns[0], "race_source")
    task = form.pick_task(columns[1], "race_task")
    reason = missing(source, task, runs.tables())
    errors = form.select(columns[2], "Errors come from", ERRORS, "errors", index=1 if reason else 0)
    samplers = st.pills(
        "Against",
        SAMPLERS,
        selection_mode="multi",
        default=DEFAULTS,
        format_func=NAMES.__getitem__,
        key="samplers",
        help="The FPTAS always takes part.",
        wrap=True,
    )
    columns = st.columns(2)
    size = len(oracles.searched("default", "elastic", form.source_of(source)))
    n_seeds, n_evaluations = (1, 16) if reason else (20, 64)  # trained here, they take longer
    seeds = columns[0].number_input("Seeds of each sampler", 1, 1000, n_seeds, key="race_seeds")
    n_evaluations = min(n_evaluations, size)
    budget = columns[1].number_input(
        "Evaluations each", 1, size, n_evaluations, key=f"race_budget-{size}", help="The budget."
    )
    refusal = f"{reason}; choose to train here." if reason and errors == "recorded" else ""
    if not samplers:
        refusal = "Choose at least one search that the FPTAS is held against."
    note = ""
    if errors == "measured":
        most = min(size, (1 + len(samplers) * seeds) * budget)
        note = (
            f"At most {most} evaluations, each shared by all searches: about "
            f"{math.ceil(most * SECONDS_EACH / 60)} min on two cores, and once some minutes for "
            "the source and its elastic student. It can go on later."
        )
    form.show_start(start, budget, refusal, note)

runs.show_problem()

# The run that is looked at, if any; its id comes from the address and is not trusted.
with runs.warning(closing=bool(run_id)):
    if run_id:
        show_run(runs.find(run_id, "race"))
    elif recorded.is_file():
        show_race(recorded)
    else:
        show_empty()

if not run_id:
    students.show()

SUMMARY = "{source_name} on {task_name}, {--budget} evaluations each, {--seeds} seeds"
runs.show_earlier("race", SUMMARY)
