"""Five minutes: from the front to a point, its training and the race, all on recorded runs."""

from urllib.parse import urlencode

import streamlit as st

from bort_engine.show.lessons import exercises, questions, tour
from bort_engine.show.lessons.exercises import Exercise
from bort_engine.show.lessons.questions import Question
from pages.parts import lesson, runs

TITLE = "Five minutes"
IDEA = (
    "A walk through the whole tool in five stops. All of it is on record: no network, no waiting."
)
STEPS = len(tour.NAMES)
LINKS = {  # by stop: the page, its address, what the link says
    1: ("pages/explore.py", "", "Open this front on Explore", ":material/explore:"),
    2: ("pages/explore.py", "", "Open this point on Explore", ":material/explore:"),
    3: ("pages/finetune.py", "fine-tune", "Open this run on Fine-tune", ":material/school:"),
    4: ("pages/compare.py", "baselines", "Open Baselines", ":material/flag:"),
}
NEXT = {"pruning": "Pruning or choosing", "ledger": "The ledger"}


@st.cache_resource(max_entries=16, show_spinner=False)
def read(step: int, changed: tuple[tuple[str, int], ...]) -> tour.TourStop:
    """Return a stop; it is a value, and stays until a file that ships changes."""
    return tour.stop(step)


@st.cache_resource(max_entries=4, show_spinner=False)
def _asks(changed: tuple[tuple[str, int], ...]) -> tuple[Question, Exercise]:
    front, report = tour.front(), tour.report()
    if not front or not report:
        raise ValueError("no front, or no fine-tuning run, is on record.")
    return questions.path(front), exercises.path(report)


def asks() -> tuple[Question, Exercise]:
    return _asks(tour.changed())


def show_link(step: int, query: dict[str, str]) -> None:
    """Lead to a stop's page; from a page that shows this lesson alone, in a tab of its own."""
    page, address, label, icon = LINKS[step]
    if st.context.is_embedded:
        st.link_button(label, f"./{address}?{urlencode(query)}", icon=icon)
    else:
        st.page_link(page, label=label, icon=icon, query_params=query)


def show_stop(step: int, stop: tour.TourStop) -> None:
    """What a stop says, its numbers, and the way there."""
    with st.container(border=True):
        st.subheader(stop.head, anchor=False)
        st.markdown(stop.text)
        if stop.numbers:
            with st.grid(len(stop.numbers), min_column_width=130):
                for label, text in stop.numbers:
                    st.metric(label, text, border=True, height="stretch")
        if stop.origin:
            lesson.origin("recorded" if step in LINKS else "computed", stop.origin)
        with st.container(horizontal=True, vertical_alignment="center"):
            if step in LINKS:
                show_link(step, stop.query)
            else:
                for name, title in NEXT.items():
                    label = f"Open the lesson “{title}”"
                    st.button(label, on_click=lesson.open_lesson, args=[name])


def show_ways(step: int) -> None:
    """One stop back, one stop on."""
    with st.container(horizontal=True):
        for label, to, icon in (("Back", step - 1, "back"), ("Next", step + 1, "forward")):
            disabled = not 1 <= to <= STEPS
            st.button(
                runs.main_label(label, disabled) if label == "Next" else label,
                icon=f":material/arrow_{icon}:",
                on_click=lesson.apply,
                args=[{"path_step": tour.NAMES[(to - 1) % STEPS]}],
                disabled=disabled,
                key=f"path-{label}",
            )


def show() -> None:
    # Go on where one left for another page, unless the address names a stop.
    left_at = st.session_state.get("path_left_at")
    if left_at and "path_step" not in st.session_state and "path_step" not in st.query_params:
        st.session_state["path_step"] = left_at
    name = st.segmented_control(
        "Stop",
        tour.NAMES,
        default=tour.NAMES[0],
        required=True,
        key="path_step",
        bind="query-params",
        label_visibility="collapsed",
    )
    name = name or tour.NAMES[0]  # an empty value in the address is None
    st.session_state["path_left_at"] = name
    step = tour.NAMES.index(name) + 1
    st.progress(step / STEPS, f"Step {step} of {STEPS}")
    left, right = st.columns([3, 2])
    with left:
        show_stop(step, read(step, tour.changed()))
        show_ways(step)
    with right:
        lesson.picture(tour.diagram(step), tour.summary(step), "path-tool")
        back = "" if st.context.is_embedded else " “Lessons” in the menu leads back to this stop."
        st.caption(
            "Arrows to the right: the way from a model to a smaller one. Arrows up: what puts it "
            f"to the test, and what explains it.{back}"
        )
    lesson.sentences(
        "Bort Explorer takes a trained BERT and finds the smaller networks in it that are worth "
        "having.",
        "You pick one, and Agora trains it into an ordinary model that you can take home.",
        "Every claim on the way is put to the test, and where it fails the page says so.",
        "the front in [\\[OSE\\]](https://arxiv.org/abs/2010.08512), Agora in "
        "[\\[AGORA\\]](https://arxiv.org/abs/2010.07990), both put to use in "
        "[\\[BORT\\]](https://arxiv.org/abs/2010.10499).",
    )
