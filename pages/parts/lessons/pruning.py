"""The lesson on pruning: zeros in the same shape, or another shape."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from bort_engine.algorithms.fptas import ERROR_FLOOR, TOLERANCE
from bort_engine.lab import toy
from bort_engine.show.lessons import exercises, questions, toy_figures
from bort_engine.show.lessons.exercises import Exercise
from bort_engine.show.lessons.questions import Question
from bort_engine.show.lessons.toy_figures import percent
from pages.parts import lesson, runs

TITLE = "Pruning or choosing"
IDEA = (
    "A network T that is too large can be made smaller in two ways: set single weights to zero and "
    "keep the shape (*pruning*), or choose a smaller shape, as the FPTAS does: it trains some of "
    "the shapes inside T and picks one."
)
SLIDERS = {
    "dead_units": ("Dead hidden units", "Of each block of T: their weights have faded away."),
    "dead_outputs": ("Dead outputs", "Of each block of T: their weights have faded away."),
    "units": ("Working hidden units", "Of each block of T."),
    "outputs": ("Working outputs", "Of each block of T. The next block reads the first three."),
    "blocks": ("Blocks n", "How often the block is repeated."),
    "draw": ("Draw", "Another draw of T's random weights."),
}


@st.cache_data(max_entries=64, show_spinner=False)
def compare(T: toy.Toy) -> toy.Comparison:
    return toy.compare(T)


@st.cache_data(max_entries=64, show_spinner=False)
def draws(T: toy.Toy) -> pd.DataFrame:
    return toy_figures.draws(toy.every_draw(T))


def state(T: toy.Toy) -> dict[str, int]:
    return {f"pruning_{name}": getattr(T, name) for name in SLIDERS}


ARTICLE = toy.Toy()
FULL = toy.Toy(units=4, dead_units=0, outputs=3, dead_outputs=0, draw=3)
GOOD = lesson.Preset(
    "The article's network",
    state(ARTICLE),
    "In each block a hidden unit and two outputs are dead. A network of little more than half the "
    "size gives the same answers.",
)
BAD = lesson.Preset(
    "Every unit works",
    state(FULL),
    "Nothing to spare. Whatever is smaller errs, and the best W is that of a tiny network that "
    "errs a lot.",
)


def asks() -> tuple[Question, Exercise]:
    return questions.pruning(compare(ARTICLE)), exercises.pruning()


def choose() -> toy.Toy:
    """Let T be put together: first what the lesson is about, then the rest."""
    numbers: dict[str, int] = {}
    columns = [*st.columns(2), *st.columns(4)]
    for column, (name, (label, note)) in zip(columns, SLIDERS.items(), strict=True):
        limits, key = (*toy.LIMITS[name], getattr(ARTICLE, name)), f"pruning_{name}"
        numbers[name] = column.slider(label, *limits, help=note, key=key, bind="query-params")
    return toy.Toy(**numbers)


def show() -> None:
    top, side = st.columns([5, 3])
    with side:
        lesson.try_this(GOOD, BAD)
    with top, st.container(border=True):
        chosen = choose()
    comparison = compare(chosen)
    lesson.picture(
        toy_figures.figure(comparison),
        toy_figures.summary(comparison),
        "pruning-or-choosing",
        lambda: toy_figures.to_frame(comparison),
    )
    st.caption(
        "Read from top to bottom. A shape (n,a,b,c,d): n blocks, each of two layers; one makes a "
        "hidden units of b inputs, the other d outputs of c = a hidden units. A block reads the "
        "first b outputs of the block before it; those that are missing are wires at 0. An idle "
        "unit never moves, or nothing reads it. Each unit but the inputs also has a bias: a "
        "parameter, not drawn. Neither drawn nor counted: the read-out C, which makes answers of "
        "the last outputs."
    )
    show_numbers(comparison)
    show_draws(draws(replace(chosen, draw=0)))
    show_words(comparison)


def show_numbers(comparison: toy.Comparison) -> None:
    """The three networks beside each other, and what the FPTAS took."""
    T, _, chosen = (network.shape for network in comparison.networks)
    extraction, promise = comparison.extraction, comparison.promise
    with st.container(horizontal=True):
        for label, count, of_T in (
            ("Parameters stored", chosen.n_parameters, T.n_parameters),
            ("Multiplications", chosen.n_operations, T.n_operations),
        ):
            change = f"{100 * count / of_T - 100:.0f} % against T" if count != of_T else None
            st.metric(label, f"{count} of {of_T}", change, delta_color="inverse")
        st.metric("Error of the choice", percent(comparison.errors[2]))
        st.metric(
            "Shapes trained", f"{len(extraction.evaluated):,} of {len(extraction.measured):,}"
        )
        st.metric(
            "Achieved epsilon",
            f"{promise.achieved:.3f}",
            help=f"Promised: {toy.EPSILON:g}. For each shape, a trained one is at most 1 + epsilon "
            "times as large and as much work, and errs at most epsilon more, where 1 is 100 %.",
        )
    runs.show_table(toy_figures.to_frame(comparison), {}, "The three networks' sizes and errors")
    lesson.origin("made up", "T's weights: random numbers, and the dead units put in.")
    lesson.origin("computed", "sizes and multiplications, for one input, of dense layers.")
    lesson.origin(
        "measured here",
        f"errors: squared difference to T's answers on {toy.SAMPLES} fresh inputs, relative to "
        "their variance. 100 %: no better than T's average answer.",
    )


def show_draws(table: pd.DataFrame) -> None:
    """In how many draws the promise is kept."""
    kept = (table["Promise"] == "kept").sum()
    st.markdown(
        f"**Over all {len(table)} draws of such a T, the promise is kept in {kept} and broken in "
        f"{len(table) - kept}.** It holds wherever no shape errs more, by over "
        f"{percent(TOLERANCE)}, than one that it contains. Here shapes inherit T's weights and are "
        "not trained again, so larger ones can."
    )
    runs.show_table(table, {"Achieved epsilon": "%.3f"}, "What becomes of the promise by draw")


def show_words(comparison: toy.Comparison) -> None:
    """The lesson, with the numbers of this state."""
    T, pruned, chosen = comparison.networks
    stored, work = T.n_stored, T.shape.n_operations
    n_shapes = len(comparison.extraction.measured)
    best = f"a shape that it did not train, {comparison.best.key}, has a better W"
    if comparison.best == comparison.chosen:
        best = f"no other of the {n_shapes:,} shapes has a better W (all were measured afterwards)"
    lesson.sentences(
        "**Pruning** sets the smallest weights and biases to zero until the network would err more "
        f"than the choice (or than {percent(ERROR_FLOOR)}): **{pruned.n_zero} zeros among {stored} "
        f"parameters**, but the shape stays, so dense layers still store {stored} and multiply "
        f"{work} times, and only a sparse format gains.",
        f"**Choosing** takes another shape: **{chosen.n_stored} parameters and "
        f"{chosen.shape.n_operations} multiplications** are all there is, with an error of "
        f"{percent(comparison.errors[2])}.",
        "The FPTAS takes the best W, the share of parameters saved times the share of "
        f"multiplications saved, over the error, and {best}: a bargain where T has units to "
        "spare, and a bad one where each of them works.",
        "this is the toy of the article on Bort, for "
        "[\\[OSE\\]](https://arxiv.org/abs/2010.08512): layers of 4x3 and 4x4, repeated twice, "
        "have 72 parameters, their optimal subarchitecture 40 (published). There it is counted; "
        "here it also runs.",
    )
