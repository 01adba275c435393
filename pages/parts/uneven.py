"""Shapes whose layers differ, as Explore shows them beside a front: found, said, carded, listed.

They are of the record that ships, or of a run of `layers` that is started here.
"""

from functools import partial

import streamlit as st

from bort_engine.encoder.timing import LatencySettings
from bort_engine.runs import jobs
from bort_engine.runs.text import literal
from bort_engine.search import forecast
from bort_engine.search import layer_result as records_of
from bort_engine.search.evaluate import BriefTraining, Setup
from bort_engine.search.layer_result import Effort, LayersFront
from bort_engine.search.result import Front, Point
from bort_engine.show import front as front_words
from bort_engine.show import uneven as words
from bort_engine.show.budget import Budget
from bort_engine.show.theme import RUNTIMES
from bort_engine.show.uneven import Beside, ShownShape
from bort_engine.training.forecast import to_fetch_mb
from pages.parts import form, point, runs, side_run

LAYERS = runs.beside("layers")
HELP = (
    "Shapes whose layers have heads and neurons of their own, or are left out: measured slices of "
    "the same student, that no other such slice beats."
)


def toggle(front: Front) -> bool:
    """Let such shapes be shown, where a front's points are slices as they are."""
    if front.oracle != "elastic":
        return False
    return st.toggle(words.NAME, key="differ", help=HELP, bind="query-params")


def show_verdict(front: Front, budget: Budget) -> Beside | None:
    """Say whether they do better than what is recommended, which stays as it is, and return them.

    Where there are none, say what is missing, or offer to measure it.
    """
    beside = find(front, budget)
    if beside:
        st.markdown(words.verdict(front, budget, beside))
        table = words.rivals(front, budget, beside)
        if table is not None:
            alt = "What is recommended, and the best shape whose layers differ"
            runs.show_table(table, words.RIVALS, alt)
            st.caption("Both were chosen by the dev rows that they are counted on.")
        if beside.best and beside.best != beside.chosen:
            shape = beside.best.shape
            st.button("Show this one", on_click=point.choose, args=[shape], key="show-uneven")
    return beside


def find(front: Front, budget: Budget) -> Beside | None:
    """Return what there is beside a front, if anything."""
    if front.latency.runtime != "pytorch":
        st.caption(f"{words.NAME}: timed in {RUNTIMES['pytorch']} only; choose that in “Runs as”.")
        return None
    path = records_of.shipped(front.source, front.task, front.provenance.seed)
    if front.origin != "recorded" or not path.is_file():
        run = side_run.show_newest(made_here(front), LAYERS, runs.KEPT, partial(offer, front))
        if run is None:
            return None
        path = run.folder / "layers.json"
    with runs.warning():
        record = runs.opened(path, LayersFront.load)
        if reason := words.unfit(front, record):
            st.caption(literal(reason))
            return None
        asked = st.query_params.get(point.UNEVEN, "")
        beside = Beside.of(front, record, form.source_of(front.source), budget, asked)
        if asked and not beside.chosen:
            st.caption(literal(f"{asked[:80]!r} is none of the shapes whose layers differ here."))
        return beside
    return None


def summary(beside: Beside | None) -> str:
    return words.summary(beside) if beside else ""


def made_here(front: Front) -> list[jobs.Run]:
    """Return the runs of `layers` for a front's source and task, newest first."""
    asked = (front.source, front.task)
    found = [(run, runs.options(run)) for run in jobs.runs(command="layers")]
    return [run for run, named in found if (named["source"], named["--task"]) == asked]


def offer(front: Front) -> None:
    """Offer to measure such shapes as the front was measured, and say how long that takes."""
    at, training = front.latency, front.provenance.training or BriefTraining()
    settings = LatencySettings(at.batch_size, at.sequence_length, at.threads)
    n_shapes = Effort().n_shapes
    with runs.warning():  # a folder may be gone
        source = form.source_of(front.source)
        plan = forecast.layer_stages(source, front.task, n_shapes, training, settings)
        setup = Setup(front.source, front.task, "elastic", training, front.provenance.seed)
        kept = forecast.kept(source, setup)
        plan = [stage for stage in plan if stage.name not in kept]
        asked = (front.task, front.provenance.seed, training)
        options = front_words.student_options(front.source, *asked)
        options |= {"--batch-size": str(at.batch_size), "--threads": str(at.threads)}
        options |= {"--sequence-length": str(at.sequence_length)}
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Measure shapes whose layers differ",
                icon=":material/science:",
                on_click=runs.start_beside,
                args=["layers", options, front.source],
                help=f"Up to {n_shapes} slices of the same student are measured.",
            )
            text = form.length(plan, to_fetch_mb(source, front.task))
            st.caption(f"None is on record here. {text}", width="content")


def show_card(front: Front, other: Point, beside: Beside, x: ShownShape) -> None:
    """The chosen shape: its widths by layer, four numbers against the source, what is shipped."""
    st.subheader(words.NAME, anchor=False)
    st.caption(f"Hidden size {x.shape.hidden_size}; `{x.shape}`, found by {x.found_by}.")
    st.markdown(words.widths(x.shape))
    runs.show_facts(words.facts(front, x))
    st.markdown(words.shipped(x, beside))
    label = f"Back to {other.architecture}"
    st.button(label, icon=":material/undo:", on_click=point.choose, args=[other.architecture])
    with st.expander("Where its numbers come from"):
        st.markdown(words.origin(x, beside))


def show_checkpoint(front: Front, beside: Beside, x: ShownShape) -> None:
    point.show_save(front, words.cut_options(x, beside.record))


def show_points(beside: Beside) -> None:
    """All of them as a table, which is also the way by keyboard."""
    table = words.table(beside)
    runs.show_table(
        table,
        words.FORMATS,
        "All shapes whose layers differ; select a row to see its card",
        key="uneven_table",
        height=min(400, 36 * (len(table) + 1)),
        on_select=partial(point.choose_row, "uneven_table", [x.shape for x in beside.shapes]),
        selection_mode="single-row",
    )
