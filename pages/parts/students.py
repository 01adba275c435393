"""Students beside their teachers, task by task: the recorded table, or that of a run."""

from pathlib import Path

import streamlit as st

from bort_engine.lab import table_record
from bort_engine.lab.table_record import Table
from bort_engine.runs import records
from bort_engine.runs.text import literal
from bort_engine.show import students
from bort_engine.show.theme import count, short
from pages.parts import form, runs


def read(path: Path) -> Table:
    return records.read(path, Table)


def show() -> None:
    """Show the recorded table; nothing where there is none."""
    path = table_record.RECORDED
    if not path.is_file():
        return
    st.subheader("Students against their teachers", anchor=False)
    with runs.warning():
        show_table(runs.opened(path, read))


def show_table(table: Table) -> None:
    with st.container(border=True):
        short_of_it, *more = students.verdict(table)
        st.markdown(f"**{literal(short_of_it)}**  \n{literal(' '.join(more))}")
    names = {task.task: literal(short(task.task)) for task in table.tasks}
    chosen = form.pick("Task", names, "students_task", addressed=True)
    task = next(task for task in table.tasks if task.task == chosen)
    if task.problem:
        st.warning(literal(task.problem))
        return
    runs.show_chart(
        "What is lost to the source on test",
        students.loss_figure(task),
        students.loss_summary(task),
        f"{literal(students.task_line(task))} Bars: 95 % over other texts, paired; "
        f"{count(table.seeds, 'elastic student')}, a mark each. Green: within a point.",
    )
    with st.expander("All figures", icon=":material/table:"):
        runs.show_table(
            students.frame(task), students.FORMATS, "Every model of the task", placeholder=""
        )
        st.caption(
            "Time to make: of a student with its teacher's and the elastic student's training, not "
            "the front's evaluations; other work ran beside some. Test was opened when all models "
            "of a seed were there; points and strengths were chosen on dev. Made on "
            f"{literal(str(table.made))}, by"
        )
        st.code(students.command(table), language=None, wrap_lines=True)
