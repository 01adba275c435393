"""Agora on a torus, round by round: on record, or played here with other settings."""

from dataclasses import asdict
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bort_engine.lab.torus import labeller_right, refusal
from bort_engine.lab.torus_run import (
    LEARNERS,
    MAX_POINTS,
    MAX_SEED,
    MIN_POINTS,
    RECORDED,
    Torus,
    TorusSettings,
)
from bort_engine.runs.text import literal
from bort_engine.show.lessons import exercises, questions, torus
from bort_engine.show.lessons.exercises import Exercise
from bort_engine.show.lessons.questions import Question
from pages.parts import lesson, runs, side_run

TITLE = "Agora on a torus"
IDEA = (
    "A small network learns what it was never shown, by asking a labeller that is often wrong "
    "about new points near its own mistakes."
)
RUN = runs.beside("torus")


USUAL = {"torus_points": 2000, "torus_seed": 0}
GOOD = lesson.Preset(
    "A labeller that errs one time in four",
    USUAL | {"torus_labeller": 0.75, "torus_learner": "network", "torus_round": 3},
    "Move the round from 0 to 3: the missing part of the ring fills in.",
)
BAD = lesson.Preset(
    "A labeller too weak, a learner that guesses",
    USUAL | {"torus_labeller": 0.6, "torus_learner": "guesser", "torus_round": 0},
    "Agora refuses this labeller before any training. Then set it to 0.75: a guesser learns "
    "nothing from any labels.",
)


def asks() -> tuple[Question, Exercise]:
    run = runs.opened(RECORDED["network"], Torus.load)
    return questions.torus(run), exercises.torus(run.settings)


def settings() -> TorusSettings:
    """Return what the form holds. It came from a browser, so it may raise ValueError."""
    names = ("labeller", "points", "learner", "seed")
    labeller, points, learner, seed = (st.session_state[f"torus_{name}"] for name in names)
    # An empty learner in the address is None.
    return TorusSettings(round(labeller, 4), points, learner or "network", seed)


@runs.reporting()
def start() -> None:
    runs.start_beside("torus", {f"--{name}": value for name, value in asdict(settings()).items()})


@st.cache_data(max_entries=256, show_spinner=False)
def judged(form: TorusSettings) -> tuple[int, str]:
    """Return on how many dev points the labeller is right, and Agora's refusal of it, if any."""
    return labeller_right(form), refusal(form)


def bound(key: str) -> Literal["query-params"] | None:
    """Bind a number to the address, unless it holds none: 1e999 there is an infinity, and fails."""
    return "query-params" if st.query_params.get(key, "0").isdigit() else None


def show_form() -> str:
    """The settings of a run to be played here; return why Agora would refuse, if it would."""
    st.markdown("**Run it yourself**")
    left, right = st.columns([3, 2])
    left.slider(
        "Labeller's accuracy",
        0.55,
        0.95,
        0.75,
        0.05,
        key="torus_labeller",
        bind="query-params",
        help="S, the labeller, gives the right label with this probability.",
    )
    with right:
        lesson.pick("Learner", list(LEARNERS), "torus_learner")
    left, right = st.columns(2)
    sizes = (MIN_POINTS, MAX_POINTS, 2000, 100)
    left.number_input("Train points", *sizes, key="torus_points", bind=bound("torus_points"))
    right.number_input("Seed", 0, MAX_SEED, 0, key="torus_seed", bind=bound("torus_seed"))
    n_right, refused = judged(settings())
    st.button(
        "Run it here",
        icon=":material/play_arrow:",
        on_click=start,
        disabled=bool(refused),
        key="torus-start",
    )
    if not refused:
        st.caption(
            f"S is right on {n_right} of {settings().n_dev} dev points, more than 2/3: Agora takes "
            "it. A run takes about half a minute on two cores; you can stop it."
        )
    return refused


def show_rounds(run: Torus, kind: str, below: DeltaGenerator) -> None:
    """A finished run: the round here, its picture below."""
    last, number = len(run.rounds) - 1, 0
    with st.container(border=True):
        if last:
            if st.session_state.get("torus_round", 0) > last:  # another run had more rounds
                st.session_state["torus_round"] = last
            label = "Round (0: before Agora)"
            number = st.slider(label, 0, last, key="torus_round", bind="query-params")
        st.markdown(f"**{literal(torus.round_summary(run, number))}**")
        lesson.origin(kind, literal(torus.origin(run)))
        if run.settings != settings():
            st.caption("Your settings below are others: “Run it here” plays those.")
    with below:
        left, right = st.columns([4, 3])
        with left:
            lesson.picture(
                torus.cloud_figure(run, number),
                torus.cloud_summary(run, number),
                "torus-points",
                lambda: torus.points_table(run, number),
            )
            st.caption(torus.POINTS)
        with right:
            lesson.picture(
                torus.accuracy_figure(run, number),
                torus.accuracy_summary(run),
                "torus-accuracy",
                lambda: torus.table(run),
            )
            shapes = torus.shape_table(run, number)
            runs.show_table(shapes, {}, "Pieces, loops and hollows, round by round", {"": "Which"})
            st.caption(torus.SHAPE)
        st.markdown(literal(torus.run_summary(run)))
        controls = torus.controls_table(run)
        if len(controls):
            st.markdown("**Against points made otherwise**")
            runs.show_table(controls, torus.FORMATS, "Test accuracy by how points were made")
            st.markdown(torus.controls_summary(run))
            st.caption(torus.INSTEAD)


def show() -> None:
    lesson.sentences(
        "Points in space lie **on** a torus (a hollow ring) or **off** it, and the train set has "
        "no point that is on it in one sector.",
        "In each round Agora makes new points near what the best network gets wrong on dev (the "
        "held-out points it may look at), a labeller S labels them, right or wrong, and the "
        "networks are trained again.",
        "Where S is right more often than not, many labels average to the truth and the ring "
        "closes; an S that is not right on more than 2/3 of dev is refused.",
        "de Wynter 2020, [Agora](https://arxiv.org/abs/2010.07990), whose toy this is; its code "
        "was never released, so the points, the noise and the networks are ours.",
    )
    left, right = st.columns([2, 3])
    with left:
        lesson.try_this(GOOD, BAD)
    below, form = st.container(), st.container(border=True)
    with form:  # shown last, but its settings decide what is shown above
        refused = show_form()
    with right:
        if refused:
            st.error(f"**Refused:** {literal(refused)}", icon=":material/block:")
            lesson.origin("computed", "just now: these dev points, this S, Agora's own check")
        runs.show_problem()
        if run := side_run.run_here("torus", Torus.load, "Nothing of it is kept."):
            show_rounds(run, "measured here", below)
            runs.show_close(RUN)
        elif RUN not in st.query_params and not refused:
            recorded = RECORDED[settings().learner]
            if run := side_run.opened(recorded, Torus.load):
                show_rounds(run, "recorded", below)
