"""Lessons: each idea of the papers with one thing to move, computed by the engine as you look."""

from types import ModuleType

import streamlit as st

from pages.parts import form
from pages.parts.lessons import choosing, cost, dial, ledger, path, pruning, torus

LESSONS: dict[str, ModuleType] = {
    "path": path,
    "pruning": pruning,
    "cost": cost,
    "dial": dial,
    "choosing": choosing,
    "torus": torus,
    "ledger": ledger,
}

titles = {name: lesson.TITLE for name, lesson in LESSONS.items()}
name = form.pick("Lesson", titles, "lesson", bind="query-params", label_visibility="collapsed")
lesson = LESSONS[name]
st.header(lesson.TITLE, anchor=False)
st.markdown(lesson.IDEA)
lesson.show()
st.caption("The address of this page holds all that you set here: copy it to come back, or share.")
