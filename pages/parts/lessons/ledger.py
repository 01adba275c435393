"""The ledger: every claim of the article, published, recomputed, and timed here if you like."""

import streamlit as st

from bort_engine.lab.ledger import (
    BORT,
    DEFAULT,
    DEPLOYED,
    LENGTHS,
    RECORDED,
    DeployedLedger,
    Ledger,
)
from bort_engine.runs import jobs
from bort_engine.runs.text import literal
from bort_engine.show.lessons import claims, exercises, questions
from bort_engine.show.lessons.exercises import Exercise
from bort_engine.show.lessons.questions import Question
from pages.parts import lesson, runs, side_run

TITLE = "The ledger"
IDEA = "What the article claims of Bort, what its shape counts to, and what a clock says."
KEPT = "Nothing is kept of half a run, as it would compare nothing: resuming times all of it."
RUN = runs.beside("ledger")
FORMATS = {
    "Operations (billions)": "%.2f",
    "Median (ms)": "%.1f",
    "Quartiles from": "%.1f",
    "to (ms)": "%.1f",
}


def asks() -> tuple[Question, Exercise]:
    shipped = runs.opened(RECORDED, Ledger.load) if RECORDED.is_file() else None
    return questions.ledger(shipped), exercises.ledger()


def show_origins(ledger: Ledger | None, kind: str) -> None:
    """Say where the three kinds of numbers come from."""
    lesson.origin("published", "by Amazon in 2020; each row of the table says where.")
    lesson.origin("computed", "parameters and operations in closed form, exact for these shapes.")
    if ledger:
        lesson.origin(
            kind,
            f"on {literal(ledger.provenance)}. Batch 1, fp32, threads: {ledger.threads}, "
            f"{ledger.rounds} rounds in turns; random weights, since time does not depend on their "
            "values.",
        )
    else:
        st.caption("No times are on record here: press “Time it here”.")


def show_timing(here: bool) -> None:
    """Offer to time the models on this machine, or to leave what was timed."""
    with st.container(border=True):
        st.markdown("**Time it here**")
        st.caption(
            "Four networks in turns, each with random weights: some minutes on two cores, and "
            "2.3 GB of memory."
        )
        with st.container(horizontal=True):
            st.button(
                "Time it here",
                icon=":material/timer:",
                on_click=runs.start_beside,
                args=["ledger", {"--lengths": ",".join(map(str, LENGTHS))}],
                key="ledger_start",
            )
            done = (r for r in jobs.runs(command="ledger") if r.status().state == "done")
            if here:
                runs.show_close(RUN)
            elif last := next(done, None):
                show_last = {"args": [last.id], "kwargs": {"name": RUN}}
                st.button("Show the last run", on_click=runs.open_run, **show_last)


def show_deployed(length: int) -> None:
    """Show both models in the runtimes they can be deployed in, where that is on record."""
    deployed = side_run.opened(DEPLOYED, DeployedLedger.load) if DEPLOYED.is_file() else None
    if not deployed or length not in deployed.lengths:
        return
    st.subheader("As deployed", anchor=False)
    st.markdown(claims.deployed_sentence(deployed, length))
    runs.show_table(
        claims.deployed_table(deployed, length),
        {},
        "BERT-large and Bort by runtime: milliseconds, and how many times as fast Bort is",
        height="content",
    )
    st.caption(
        "Medians and quartiles. The last two columns: how many times as fast Bort in the row's "
        "runtime is as BERT-large in the same one, and in PyTorch in fp32. What bf16 and int8 "
        "cost in accuracy is not measured here."
    )
    rounds = deployed.ms(DEFAULT, BORT.name, length).n
    flags = f" ({deployed.cpu_flags})" if deployed.cpu_flags else ""
    lesson.origin(
        "recorded",
        f"on {literal(deployed.provenance)}{literal(flags)}. Batch 1, random weights, all threads, "
        f"{rounds} rounds in turns; int8 as `export` writes it.",
    )


def show() -> None:
    runs.show_problem()
    timed_here = side_run.run_here("ledger", Ledger.load, KEPT)
    shipped = side_run.opened(RECORDED, Ledger.load) if RECORDED.is_file() else None
    ledger = timed_here or shipped
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
            claims.figure(ledger, length),
            claims.summary(ledger, length),
            "ledger-claims",
            lambda: claims.table(ledger, length),
        )
        st.caption(
            "Right is smaller or faster. Dotted: what was published. Open marks: hidden size H and "
            "intermediate size I swapped. Only the two speeds move with the length."
        )
        show_origins(ledger, "measured here" if timed_here else "recorded")
    with right:
        good, bad = (
            lesson.Preset(f"{n} tokens", {"ledger_length": n}, claims.preset_summary(ledger, n))
            for n in (claims.GOOD, claims.farthest(ledger))
        )
        lesson.try_this(good, bad)
        show_timing(bool(timed_here))
    lesson.sentences(
        *claims.sentences(ledger, length),
        "sizes in the abstract of [\\[BORT\\]](https://arxiv.org/abs/2010.10499); speeds and "
        "scores in the [README](https://github.com/alexa/bort#readme) of its code.",
    )
    st.subheader("Claim by claim", anchor=False)
    runs.show_table(
        claims.table(ledger, length),
        {},
        "Every claim: published, recomputed, timed, and where it was published",
        {
            "Timed": st.column_config.TextColumn(width=150),
            "Link": st.column_config.LinkColumn(display_text="open"),
        },
        height="content",
    )
    st.caption(
        f"Of the space that was searched for Bort, Bort is {claims.found()} from published GLUE "
        "scores. Scores are as published and never ours: Bort's weights are not on this machine. "
        "By operations: how many times fewer multiplications and additions."
    )
    if ledger and length in ledger.lengths:
        st.markdown(f"**One forward pass over {length} tokens**")
        runs.show_table(claims.times_table(ledger, length), FORMATS, "Milliseconds of each network")
    show_deployed(length)
