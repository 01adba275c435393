"""Lessons: each idea of the papers with one thing to move, computed by the engine as you look.

The address names the lesson by its id. A page that embeds it (`embed=true`) shows that one alone.
"""

from types import ModuleType

import streamlit as st

from bort_engine.runs.text import literal
from pages.parts import guess
from pages.parts import lesson as frame
from pages.parts.lessons import choosing, cost, dial, layers, ledger, path, pruning, torus

LESSONS: dict[str, ModuleType] = {
    "path": path,
    "pruning": pruning,
    "cost": cost,
    "dial": dial,
    "choosing": choosing,
    "layers": layers,
    "torus": torus,
    "ledger": ledger,
}
FIRST = "path"

asked = st.query_params.get("lesson") or FIRST
name = asked if asked in LESSONS else FIRST
if not st.context.is_embedded:
    st.session_state["lesson"] = name
    st.segmented_control(
        "Lesson",
        list(LESSONS),
        required=True,
        format_func=lambda key: LESSONS[key].TITLE,
        key="lesson",
        on_change=lambda: frame.open_lesson(st.session_state["lesson"]),
        label_visibility="collapsed",
    )
if asked != name:
    line = f"There is no lesson {asked[:60]!r}; there are {', '.join(LESSONS)}. This is the first."
    st.warning(literal(line), icon=":material/warning:")
lesson = LESSONS[name]
st.header(lesson.TITLE, anchor=False)
st.markdown(lesson.IDEA)
try:
    question, exercise = lesson.asks()
except (ValueError, OSError):  # a record is missing or damaged: what is shown says which
    question = exercise = None
if question is None or guess.ask(name, question):
    lesson.show()
    if exercise:
        guess.check(name, exercise)
    st.caption(
        "The address of this page holds all that you set here, but for the exercise: copy it to "
        "come back, or share."
    )
