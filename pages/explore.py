"""Explore: a source model, a task and a budget in; a recommended smaller model, and the front."""

from functools import partial

import streamlit as st

from bort_engine.data.tasks import TASKS
from bort_engine.encoder.timing import Runtime
from bort_engine.runs.text import literal
from bort_engine.search.result import Front
from bort_engine.show import budget as budgets
from bort_engine.show import front as words
from bort_engine.show.theme import short
from pages.parts import budget as budget_fields
from pages.parts import (
    chart,
    checkpoint,
    form,
    measure,
    models,
    rather,
    recorded,
    runs,
    texts,
    uneven,
)
from pages.parts import point as chosen

KEPT = "explore"  # what the address said that no widget is bound to, when the page was left
BOUND = {"source", "epsilon", "lose", "ms", "size", "promise", "effective", "differ"}
EPSILON = (
    "How much larger and slower than any other architecture the nearest one shown may be, and how "
    "much more it may lose of what lies between the source and guessing. Small: a finer front. "
    "Large: a coarser one, sooner."
)


# What changes the address, and so what is looked at. Only callbacks call these.


def leave_source() -> None:
    """Another source has other tasks: start from its first one."""
    runs.leave_run()
    runs.leave_run("task")
    st.session_state.pop("task", None)


def change_task() -> None:
    runs.leave_run()
    st.query_params["task"] = st.session_state["task"]


st.markdown(
    "Pick a pretrained model and what you can afford: see which smaller network in it to take, and "
    "what you give up."
)
if st.session_state.pop("left", False) and not st.query_params.keys() - BOUND:
    st.query_params.update(st.session_state.get(KEPT, {}))  # back by way of the menu
on_record = recorded.tasks(runs.tables())
fold = st.container(key="fold")
with st.container(border=True, key="form"):
    columns = st.columns([3, 4, 3, 6], vertical_alignment="bottom")
    source_name = form.pick_source(columns[0], "source", leave_source)
    tasks = [recorded.PREDICTED] if source_name.startswith("bert-large") else []
    titles = form.tasks()
    tasks += sorted(titles, key=lambda name: (source_name, name) not in on_record)
    titles[recorded.PREDICTED] = "GLUE average, predicted"
    form.say_unknown("task", tasks)
    if (asked := st.query_params.get("task")) in tasks:
        st.session_state.setdefault("task", asked)
    task = columns[1].selectbox(
        "Task", tasks, format_func=titles.__getitem__, key="task", on_change=change_task
    )
    epsilon = columns[2].slider(
        "Epsilon",
        *(recorded.EPSILONS[0], recorded.EPSILONS[-1], recorded.EPSILON, recorded.STEP),
        key="epsilon",
        bind="query-params",
        on_change=runs.leave_run,
        help=EPSILON,
    )
    buttons = columns[3].container(horizontal=True)  # side by side on a narrow screen, too
    own = buttons.popover(
        "Your own",
        icon=":material/upload_file:",
        width="stretch",
        key="own",
        on_change="rerun",
        help="A model or texts of yours",
    )
    if own.open:  # read only then
        with own:
            st.markdown("**Text of yours**")
            texts.show("task")
            st.markdown("**A model of yours**")
            models.show("source")
    box = buttons.popover(
        "Measure it here",
        icon=":material/science:",
        width="stretch",
        key="measure_here",
        on_change="rerun",
    )
    measured_task = next(iter(TASKS)) if task == recorded.PREDICTED else task
    with box, st.form("measure", border=False):
        measure.show_form(source_name, measured_task, epsilon)
        if box.open:  # a mistake in it is told where it can be seen
            runs.show_problem()
    second = st.container(horizontal=True, vertical_alignment="bottom")
    runtime: Runtime = "pytorch"
    if (source_name, task) in on_record:
        runtime = form.select(
            second,
            "Runs as",
            titles_of := words.runtimes(source_name),
            **form.in_address("runtime", titles_of, runs.leave_run),
            width=190,
        )

runs.show_problem()

# The run that is looked at, if any; its id comes from the address and is not trusted.
front, run, run_id = None, None, st.query_params.get(runs.RUN)
is_done = False
with runs.warning(closing=bool(run_id)):
    if run_id:
        run = runs.find(run_id, "front")
        status, path = run.status(), run.folder / "front.json"
        is_done = status.state == "done"
        # There is a front already while the rest of its space is checked, and once that is stopped.
        if is_done or path.is_file():
            front = runs.opened(path, Front.load)
        if not status.over:
            runs.show_live(run, None if front else partial(measure.show_candidates, run))
        elif not is_done:
            runs.show_ended(run, status)
            if front is None:
                measure.show_candidates(run, run.metrics(last=2000))
    elif task == recorded.PREDICTED or (source_name, task) in on_record:
        front = recorded.look_up(source_name, task, epsilon, runtime)
    else:
        st.info(
            f"**Nothing is on record for {source_name} on this task yet.** Press “Measure it here” "
            f"to make a front on this machine. {measure.length(source_name, task, epsilon)} "
            + "".join(f"For a first look: {n} on “{titles[t]}”." for n, t in on_record[:1]),
            icon=":material/explore:",
        )

if front is not None:
    with second:
        budget = budget_fields.pick(front)
    budget_fields.show_fold(
        fold, f"Change {literal(short(source_name))}, {titles[task]} or the budget"
    )
    best = budget.best(front)
    recommended = best or front.source_point
    if best is None and front.above_chance:
        best = budget.nearest(front)
    point = chosen.find(front, best)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(budgets.recommendation(front, budget), anchor=False, width="stretch")
        if best and point != best:
            st.button("Show it", on_click=chosen.choose, args=[best.architecture])
        icon = ":material/warning:" if front.guarantee.n_uncovered else ":material/verified:"
        with st.popover(words.badge(front), icon=icon, type="tertiary"):
            st.markdown(f"**{words.title(front)}**  \n{words.origin(front)}")
        if is_done:
            runs.show_close()
    left, right = st.columns([7, 5])
    with left:
        beside = chart.show(front, point, recommended, budget)
    with right, st.container(border=True):
        if beside and beside.chosen:
            uneven.show_card(front, point, beside, beside.chosen)
        else:
            chosen.show_card(front, point, recommended)
    st.markdown(words.deployed(front))
    if run and is_done:
        measure.show_runtimes(front, run)
    if beside and beside.chosen:
        uneven.show_checkpoint(front, beside, beside.chosen)
    else:
        chosen.show_pair(front, point)
        chosen.show_checkpoint(front, point)
    checkpoint.show()
    box = st.expander("All points", icon=":material/table:", key="points", on_change="rerun")
    if box.open:  # tables and code are slow to load in a browser
        with box:
            chart.show_points(front, recommended)
            if beside:
                uneven.show_points(beside)
    rather.show(front)
    title, icon = "What is promised, and how it was checked", ":material/verified:"
    box = st.expander(title, icon=icon, key="promised", on_change="rerun")
    if box.open:
        with box:
            st.markdown(words.promise(front))
            if run and is_done:
                measure.show_check(front, run)

runs.show_earlier("front", "{source_name} on {task_name}, epsilon {--epsilon}", "point")
st.session_state[KEPT] = {k: v for k, v in st.query_params.items() if k not in BOUND}
