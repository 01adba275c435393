"""The ledger: every claim of the article, published, recomputed, and timed here if you like."""

from pathlib import Path

import plotly.graph_objects as go
import streamlit as st

from bort_engine.lab.ledger import LENGTHS, RECORDED, Ledger
from bort_engine.runs import jobs
from bort_engine.runs.text import literal
from bort_engine.show.lessons import claims
from pages.parts import lesson, runs

TITLE = "The ledger"
IDEA = "What the article claims of Bort, what its shape counts to, and what a clock says."
RUN = "ledger_run"  # the run that is looked at, in the address
KEPT = "Nothing is kept of half a run, as it would compare nothing: resuming times all of it."
NUMBERS = {
    "Operations (billions)": "%.2f",
    "Median (ms)": "%.1f",
    "Quartiles from": "%.1f",
    "to (ms)": "%.1f",
}


# What changes the address, and so what is looked at. Only callbacks call these.


def start() -> None:
    try:
        lengths = ",".join(map(str, LENGTHS))
        look_at(jobs.start("ledger", ["--lengths", lengths]).id)
    except (ValueError, OSError) as e:
        st.session_state["problem"] = str(e)


def look_at(run_id: str) -> None:
    st.query_params[RUN] = run_id


def leave() -> None:
    st.query_params.pop(RUN, None)


def show_close() -> None:
    st.button("Close this run", icon=":material/close:", on_click=leave)


@st.cache_resource(max_entries=16, show_spinner=False)
def read(path: Path, changed: int) -> Ledger:
    """Return a ledger; it is a value and never changes, so sessions may share it."""
    return Ledger.load(path)


@st.cache_resource(max_entries=64, show_spinner=False)
def drawn(path: Path | None, changed: int, length: int) -> go.Figure:
    return claims.figure(read(path, changed) if path else None, length)


def show_run(run: jobs.Run, status: jobs.Status) -> None:
    """Show a run that has nothing to look at: at work, failed or stopped."""
    if not status.over:
        runs.show_live(run)
        return
    if status.state == "failed":
        said = literal(status.message)
        st.error(f"**This run failed.** {said}  \n{KEPT}", icon=":material/error:")
    else:
        st.info(f"**This run was stopped.** {KEPT}", icon=":material/pause_circle:")
    with st.container(horizontal=True):
        st.button("Resume", icon=":material/restart_alt:", on_click=runs.resume, args=[run])
        show_close()


def looked_at() -> tuple[Path, int, bool] | None:
    """Return the file of times to show, when it changed, and whether it was made here.

    The run that the address names is untrusted; whatever else it is, it is shown by the way.
    """
    path, here = RECORDED, False
    if run_id := st.query_params.get(RUN):
        try:
            run = runs.find(run_id, "ledger")
            status = run.status()
            if status.state == "done":
                path, here = run.folder / "ledger.json", True
            else:
                show_run(run, status)
        except ValueError as e:
            st.warning(literal(str(e)), icon=":material/warning:")
            show_close()
    if not path.is_file() and not here:
        return None
    try:
        changed = path.stat().st_mtime_ns
        read(path, changed)
    except (ValueError, OSError) as e:
        st.warning(literal(str(e)), icon=":material/warning:")
        if here:
            show_close()
        return None
    return path, changed, here


def show_origins(ledger: Ledger | None, here: bool) -> None:
    """Say where the three kinds of numbers come from."""
    lesson.origin("published", "by Amazon in 2020; each row of the table says where.")
    lesson.origin("computed", "parameters and operations in closed form, exact for these shapes.")
    if ledger:
        where = literal(f"{ledger.device}, {ledger.made_on}; {ledger.versions}")
        lesson.origin(
            "measured here" if here else "recorded",
            f"on {where}. Batch 1, fp32, threads: {ledger.threads}, {ledger.rounds} rounds in "
            "turns; random weights, since time does not depend on their values.",
        )
    else:
        st.caption("No times are on record here: press “Time it here”.")


def show_timing(looking: bool) -> None:
    """Offer to time the models on this machine, or to leave what was timed."""
    with st.container(border=True):
        st.markdown("**Time it here**")
        st.caption(
            "Four networks in turns, each with random weights: some minutes on two cores, and "
            "2.3 GB of memory."
        )
        with st.container(horizontal=True):
            st.button("Time it here", icon=":material/timer:", on_click=start, key="ledger_start")
            if looking:
                st.button("Back to the recorded times", on_click=leave, key="ledger_leave")
            else:
                done = (r for r in jobs.runs(command="ledger") if r.status().state == "done")
                if last := next(done, None):
                    st.button("Show the last run", on_click=look_at, args=[last.id])


def show() -> None:
    runs.show_problem()
    found = looked_at()
    path, changed, here = found or (None, 0, False)
    ledger = read(path, changed) if path else None
    length = st.select_slider(
        "Sequence length: how many tokens are read at once",
        claims.lengths(ledger),
        claims.GOOD,
        key="ledger_length",
        bind="query-params",
    )
    left, right = st.columns([5, 3])
    with left:
        lesson.picture(
            drawn(path, changed, length),
            claims.summary(ledger, length),
            "ledger-claims",
            lambda: claims.table(ledger, length),
        )
        st.caption(
            "Right is smaller or faster. Dotted: what was published. Open marks: hidden size H and "
            "intermediate size I swapped. Only the two speeds move with the length."
        )
        show_origins(ledger, here)
    with right:
        bad = claims.farthest(ledger)
        lesson.try_this(
            *(
                lesson.Preset(f"{n} tokens", {"ledger_length": n}, claims.preset_says(ledger, n))
                for n in (claims.GOOD, bad)
            )
        )
        show_timing(here)
    lesson.sentences(
        *claims.sentences(ledger, length),
        "sizes in the abstract of [\\[BORT\\]](https://arxiv.org/abs/2010.10499); speeds and "
        "scores in the [README](https://github.com/alexa/bort#readme) of its code.",
    )
    st.subheader("Claim by claim", anchor=False)
    st.dataframe(
        claims.table(ledger, length),
        hide_index=True,
        height="content",
        column_config={
            "Timed": st.column_config.TextColumn(width=150),
            "Link": st.column_config.LinkColumn(display_text="open"),
        },
        alt="Every claim: published, recomputed, timed, and where it was published",
    )
    st.caption(
        "Scores are as published and never ours: Bort's weights are not on this machine. "
        "By operations: how many times fewer multiplications and additions."
    )
    if ledger and length in ledger.lengths:
        st.markdown(f"**One forward pass over {length} tokens**")
        st.dataframe(
            claims.times_table(ledger, length),
            hide_index=True,
            column_config={
                name: st.column_config.NumberColumn(format=form) for name, form in NUMBERS.items()
            },
            alt="Milliseconds of each network",
        )
