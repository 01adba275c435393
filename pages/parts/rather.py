"""What one could take instead of a point, as Explore shows it: one plot and one table, recorded."""

from functools import partial
from shlex import quote

import streamlit as st

from bort_engine.lab import deploy_record, table_record
from bort_engine.lab.deploy_record import Deployment
from bort_engine.lab.table_record import Table, TaskRows
from bort_engine.runs import records
from bort_engine.runs.text import literal
from bort_engine.search.result import Front
from bort_engine.show import front as front_words
from bort_engine.show import rather as words
from bort_engine.show import rather_figures as figures
from pages.parts import runs

TITLE = "Would you rather take something else?"


def show(front: Front) -> None:
    """Offer what else is on record of a front's source and task; it is read only when opened."""
    if front_words.predicted(front):
        return
    box = st.expander(TITLE, icon=":material/balance:", key="rather", on_change="rerun")
    if not box.open:
        return
    with box, runs.warning():
        table, rows = recorded(front)
        if table and rows:
            show_options(front, table, rows)
        else:
            st.markdown("Nothing is on record of this source and task. This makes and prints it:")
            show_command("table", front.source, "--tasks", front.task, "--out", "TABLE")


def recorded(front: Front) -> tuple[Table | None, TaskRows | None]:
    if not table_record.RECORDED.is_file():
        return None, None
    table = runs.opened(table_record.RECORDED, partial(records.read, kind=Table))
    return table, words.find(table, front.source, front.task)


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
        st.code(f"{cut} --out POINT", language="shell", wrap_lines=True)
    show_command("export", "POINT/model", "--format", "onnx-int8", "--task", front.task)


def show_command(*command: str) -> None:
    line = " ".join(["python -m bort_engine", *map(quote, command)])
    st.code(line, language="shell", wrap_lines=True)
