"""What one could take instead of a point, as Explore shows it: one plot and one table.

They are of the record that ships, or of a run of `table` that is started here, with any ready model
beside the source.
"""

from functools import partial
from shlex import quote

import streamlit as st

from bort_engine.encoder.sources import Source
from bort_engine.lab import deploy_record, table_record
from bort_engine.lab.deploy_record import Deployment
from bort_engine.lab.table_record import Table, TaskRows
from bort_engine.runs import jobs, records
from bort_engine.runs.text import literal
from bort_engine.search.result import Front
from bort_engine.show import front as front_words
from bort_engine.show import rather as words
from bort_engine.show import rather_figures as figures
from pages.parts import runs, side_run, students

TABLE = runs.beside("table")
KEPT = "The models that were made are kept; resuming goes on from there."
WORK = (
    "The source and that model are fine-tuned, an elastic student gives a front, and two of its "
    "points are polished: tens of minutes on two cores. The test split stays locked."
)
TITLE = "Would you rather take something else?"


def show(front: Front) -> None:
    """Offer what else is on record of a front's source and task; it is read only when opened."""
    if front_words.predicted(front):
        return
    box = st.expander(TITLE, icon=":material/balance:", key="rather", on_change="rerun")
    if not box.open:
        return
    with box:
        above = st.container()  # filled last: whether a run is done is known below
        run = show_runs(front)
        path = run.folder / "table.json" if run else table_record.RECORDED
        with above, runs.warning():
            table = runs.opened(path, students.read) if path.is_file() else None
            rows = words.find(table, front.source, front.task) if table else None
            if table and rows:
                show_options(front, table, rows)
            else:
                st.markdown("Nothing is on record of this source and task.")


def references(front: Front) -> dict[str, float]:
    """Return the recorded errors of what takes no fine-tuning, by name; none of other tasks."""
    if not table_record.RECORDED.is_file() or front_words.predicted(front):
        return {}
    with runs.warning():
        table = runs.opened(table_record.RECORDED, students.read)
        rows = words.find(table, front.source, front.task)
        return words.references(rows) if rows else {}
    return {}


def show_runs(front: Front) -> jobs.Run | None:
    """Show the newest run of `table` for a front, or offer one; return it once it is done."""
    asked = (front.source, "--tasks", front.task)
    found = [run for run in jobs.runs(command="table") if run.request.arguments[:3] == asked]
    offer = partial(show_offer, front)
    run = side_run.show_newest(found, TABLE, KEPT, offer)
    if run:
        offer()  # perhaps of another model
    return run


def show_offer(front: Front) -> None:
    """Offer to measure all of this on this machine, with a ready model that a person names."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Beside a model of yours (a folder, or a name on the Hugging Face hub)",
            table_record.SMALLER,
            key="rather_smaller",
            help="It is fine-tuned on the task as the source is. BERT, RoBERTa and DistilBERT "
            "families, weights as safetensors.",
        ).strip()
        st.button("Measure all of this here", on_click=start, args=[front, name], help=WORK)


@runs.reporting()
def start(front: Front, smaller: str) -> None:
    Source.load(smaller)  # a mistake is told before anything starts
    options = {"--tasks": front.task, "--smaller": smaller, "--seeds": 1, "--test": "off"}
    runs.start_run("table", front.source, options, name=TABLE)


def deployed(table: Table, rows: TaskRows) -> Deployment | None:
    """Return the exports on record of a task, if any."""
    path = deploy_record.path_of(table.source, rows.task)
    if not path.is_file():
        return None
    deployment = runs.opened(path, partial(records.read, kind=Deployment))
    return deployment if deployment.task == rows.task else None


def show_options(front: Front, table: Table, rows: TaskRows) -> None:
    deployment = deployed(table, rows)
    options = words.of_table(table, rows)
    options += words.of_deployment(table, rows, deployment) if deployment else []
    verdict = words.verdict(options)
    st.markdown(literal(verdict))
    if rows.task != front.task:
        st.caption(f"On record is {literal(rows.task)}.")
    runs.show_chart(
        f"{words.ERRORS[rows.kind]} on dev, against latency",
        figures.figure(options, rows.kind),
        verdict,
        literal(figures.caption(table, rows, deployment, options)),
    )
    runs.show_table(words.frame(options, rows.kind), words.FORMATS, "All models", placeholder="")
    if deployment is None:
        show_int8(front)


def show_int8(front: Front) -> None:
    """Say how a point of the front is exported in int8, of which nothing is on record."""
    st.caption("Nothing in int8 is on record here. This exports a point, and says what it costs:")
    if cut := front_words.cut_command(front, front.recommended):
        st.code(f"{cut} --out POINT", language=None, wrap_lines=True)
    export = "python -m bort_engine export POINT/model --format onnx-int8 --task"
    st.code(f"{export} {quote(front.task)}", language=None, wrap_lines=True)
