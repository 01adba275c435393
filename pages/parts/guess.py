"""A lesson's question, asked before it tells, and its exercise, checked after it has told.

A guess is kept in the address as LESSON_guess: a number, the id of a choice, or `skip`. It is kept
for the session as well, so that whoever comes back from another page is not asked again.
"""

from typing import Any

import streamlit as st

from bort_engine.show.lessons.exercises import Exercise
from bort_engine.show.lessons.questions import Choice, Number, Question
from pages.parts import lesson, runs

SKIP = "skip"


# What changes the guess. Only callbacks call these.


def give(key: str, text: str) -> None:
    st.query_params[key] = st.session_state[f"{key}_given"] = text


def take_back(key: str) -> None:
    st.query_params.pop(key, None)
    st.session_state.pop(f"{key}_given", None)


def control(answer: Number | Choice, key: str) -> Any:
    """Let a guess be set; None where nothing is chosen yet."""
    if isinstance(answer, Choice):
        names = answer.texts.__getitem__
        return st.radio(answer.label, list(answer.texts), None, names, key=key)
    low, high, step = float(answer.low), float(answer.high), float(answer.step)
    middle = low + step * round((high - low) / step / 2)
    return st.slider(answer.label, low, high, middle, step, "%g", key=key)


def ask(name: str, question: Question) -> bool:
    """Ask a lesson's question, or show its answer beside the guess; is the rest to be shown?"""
    key = f"{name}_guess"
    answer: Any = question.answer  # its own name() takes its own values
    if kept := st.session_state.get(f"{key}_given"):
        st.query_params.setdefault(key, kept)
    text = st.query_params.get(key, "")
    if text == SKIP:
        st.button("Guess first", on_click=take_back, args=[key], type="tertiary")
        return True
    guess = answer.parse(text)  # None of what is no guess: an address is untrusted
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader("What do you expect?", anchor=False)
            if guess is not None:
                st.button("Guess again", on_click=take_back, args=[key], type="tertiary")
        st.markdown(question.text)
        if guess is not None:
            said, true = answer.name(guess), answer.name(answer.answer)
            st.markdown(f"You said **{said}**; {question.how}: **{true}**. {question.because}")
            lesson.origin(*question.origin)
            return True
        value = control(answer, f"{key}_set")
        with st.container(horizontal=True, vertical_alignment="center"):
            unset = value is None
            given = "" if unset else value if isinstance(value, str) else f"{value:g}"
            st.button(
                runs.main_label("Show the answer", unset),
                on_click=give,
                args=[key, given],
                disabled=unset,
            )
            st.button("Skip the question", on_click=give, args=[key, SKIP], type="tertiary")
    return False


def check(name: str, exercise: Exercise) -> None:
    """Pose a lesson's exercise, check what is answered, and fold the solution away."""
    answer = exercise.answer
    with st.container(border=True):
        st.subheader("Exercise", anchor=False)
        st.markdown(exercise.text)
        value = st.number_input(
            answer.label,
            value=None,
            step=float(answer.step),
            format=f"%.{answer.decimals}f",
            key=f"{name}_exercise",
            width=260,
        )
        if answer.tolerance:
            st.caption(f"Right is what is off by at most {answer.tolerance:.2g}.")
        if value is not None and answer.right(value):
            st.success(f"Right: {answer.name(answer.answer)}.", icon=":material/check_circle:")
        elif value is not None:
            st.warning(f"Not yet. {exercise.hint}", icon=":material/lightbulb:")
        with st.expander("Solution", icon=":material/key:"):
            st.markdown(exercise.solution)
