"""The user's own text: a file is handed over, its columns are named, and what it holds is shown."""

from typing import Any

import streamlit as st

from bort_engine.data import uploads
from bort_engine.data.columns import Columns, Kind
from bort_engine.data.files import READERS, columns
from bort_engine.data.summary import TaskSummary, summary
from bort_engine.runs.text import literal
from pages.parts import form, runs

NONE = "(none)"
KINDS: dict[str, Kind] = {"a class": "class", "a number": "number"}
ENDINGS = [ending.removeprefix(".") for ending in READERS]


@runs.reporting()
def keep(key: str) -> None:
    """Keep what was handed over; its name and content came from a browser and are checked."""
    file = st.session_state[key]
    if file is not None:
        upload = uploads.keep(file.name, file.getvalue())
        st.session_state["own_file"] = str(upload.path)


@runs.reporting()
def use(upload: uploads.Upload, chosen: Columns, key: str) -> None:
    """Make a task of the file, and choose it in the form's widget `key`."""
    st.session_state[key] = uploads.choose(upload, chosen).task
    runs.leave_run()


@runs.reporting()
def forget(upload: uploads.Upload) -> None:
    uploads.forget(upload)
    st.session_state.pop("own_file", None)


@st.cache_data(max_entries=8, show_spinner="Reading the file")
def read(task: str, changed: int) -> TaskSummary:
    return summary(task)


def show(key: str) -> None:
    """Let a file be handed over or picked, looked at, and made the task of the widget `key`."""
    st.file_uploader(
        "A file with one text a row, and its label",
        type=ENDINGS,
        key="own_upload",
        on_change=keep,
        args=["own_upload"],
        help="It stays on this machine, in the cache, until you delete it here.",
    )
    kept = {str(upload.path): upload for upload in uploads.uploads()}
    if not kept:
        st.caption("Nothing is kept yet. 60 rows or more; every row is used once.")
        return
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    names = {path: literal(upload.path.name) for path, upload in kept.items()}
    path = form.select(left, "File", names, "own_file")
    upload = kept[path]
    right.button("Delete it", icon=":material/delete:", on_click=forget, args=[upload])
    with runs.warning():
        chosen = choose_columns(upload)
        asked = uploads.Upload(upload.path, chosen)
        show_summary(read(asked.task, upload.path.stat().st_mtime_ns), chosen)
        st.button(
            runs.main_label("Use it"),
            icon=":material/check:",
            on_click=use,
            args=[upload, chosen, key],
        )


def choose_columns(upload: uploads.Upload) -> Columns:
    """Let it be said which column is what. Raises ValueError where the file has none."""
    names = list(columns(upload.path))
    known = upload.columns or Columns()
    kept = upload.path.parent.name  # widgets of another file are others

    def pick(place: Any, label: str, options: list[str], value: str, default: int) -> str:
        index = options.index(value) if value in options else default
        key = f"own_{label}_{kept}"
        return place.selectbox(label, options, index, key=key, format_func=literal)

    places = st.columns(4)
    text = pick(places[0], "Text", names, known.text_column, 0)
    second = pick(places[1], "Second text", [NONE, *names], known.second_column, 0)
    label = pick(places[2], "Label", names, known.label_column, len(names) - 1)
    kind = places[3].selectbox("The label is", list(KINDS), key=f"own_kind_{kept}")
    return Columns(text, "" if second == NONE else second, label, KINDS[kind])


def show_summary(of: TaskSummary, chosen: Columns) -> None:
    """What is in the file: rows, classes or numbers, lengths, what was dropped, ten examples."""
    rows = ", ".join(f"{n:,} {split}" for split, n in of.n_rows.items())
    lines = [f"**{sum(of.n_rows.values()):,} rows**: {rows}; test stays locked until the end."]
    if of.classes:
        lines.append(
            f"**{len(of.classes)} classes**; who always says “{literal(of.majority)}” is right on "
            f"{100 * of.majority_share:.1f} % of dev."
        )
    else:
        low, middle, high = of.quartiles
        lines.append(f"**Numbers**: quartiles {low:g}, {middle:g} and {high:g}.")
    lines.append(
        f"**Length**: {of.median_words:.0f} words in the median, 95 % have at most "
        f"{of.p95_words:.0f}."
    )
    st.markdown("  \n".join(lines))
    notes = []
    if of.n_empty or of.n_repeated:
        notes.append(f"{of.n_empty:,} empty and {of.n_repeated:,} repeated texts are left out.")
    if of.n_conflicting:
        notes.append(f"{of.n_conflicting:,} texts have several labels and keep the first.")
    if of.rare_classes:
        some = ", ".join(map(literal, of.rare_classes[:5]))
        notes.append(f"Classes of fewer than 10 rows are hardly learnt: {some}.")
    if notes:
        st.caption(" ".join(notes))
    import pandas as pd

    left, right = st.columns([3, 5])
    if of.classes:
        counts = pd.DataFrame(of.classes, columns=["Class", "Rows to train on"])
        left.dataframe(counts, hide_index=True, height=240, alt="Rows by class")
    examples = pd.DataFrame(of.examples).rename(columns=str.capitalize)
    if not chosen.second_column:
        examples = examples.drop(columns="Second")
    right.dataframe(examples, hide_index=True, height=240, alt="Ten rows to train on")
