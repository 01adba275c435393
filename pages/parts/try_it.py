"""A checkpoint's ONNX export is tried on a text, in this process, beside its source's."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from textwrap import shorten
from time import perf_counter
from typing import TYPE_CHECKING

import streamlit as st

from bort_engine.data.tasks import find_task, load_task
from bort_engine.encoder import answers
from bort_engine.encoder.answers import Answer
from bort_engine.encoder.export import Format
from bort_engine.encoder.sources import Source
from bort_engine.runs import jobs
from bort_engine.runs.text import literal, one_line
from bort_engine.search.cut import Cut
from bort_engine.show import deploy as words
from pages.parts import exports, form, runs, side_run

if TYPE_CHECKING:
    from bort_engine.encoder.run_onnx import Model

SOURCE = "source_run"  # the part of the address that names the run that prepares the source
GO_ON = "export_the_source"  # asked for here, the source's export follows its cut
KEPT = "What was trained is kept."
OWN, OF_DEV = "Your own text", "A dev text"
N_TEXTS = 10  # of dev that are offered
N_COMPARED = 300  # of dev that a model and its source are compared on, at most
DIFFER = "try_differing"  # the two models whose differences were asked for, in this session


@runs.reporting()
def prepare(command: str, arguments: Sequence[str]) -> None:
    st.session_state[GO_ON] = command == "cut"
    exports.start(command, arguments, SOURCE)


def show(cut: Cut, candidates: list[jobs.Run], preferred: Format) -> None:
    """Answer a text, where one of the checkpoint's exports runs alone; `preferred` goes first."""
    alone = [run for run in candidates if exports.format_of(run) != "safetensors-bf16"]
    alone.sort(key=lambda run: exports.format_of(run) != preferred)
    run = next((run for run in alone if run.status().state == "done"), None)
    if run is None:
        return
    st.markdown("**Try it**")
    with runs.warning():
        texts = asked(cut)
        place = st.container()
        models = {f"This model, {cut.architecture}": run.folder / "model"}
        models |= show_source(cut, exports.format_of(run))
        with place:
            if all(text.strip() for text in texts):
                show_answers(models, texts)
            else:
                st.caption("Type a text to see what it is answered, and how sure the model is.")
        if len(models) == 2:
            show_differing(cut.task, *models.values())


def asked(cut: Cut) -> list[str]:
    """Return the text, or the pair of texts, that is typed or picked; empty ones until then."""
    if form.pick("Text", [OWN, OF_DEV], "try_how", label_visibility="collapsed") == OF_DEV:
        return picked(cut.task)
    with st.form("try", border=False):
        fields = words.fields(cut.task)
        texts = [st.text_area(label, key=f"try_{label}", height=100) for label in fields]
        st.form_submit_button("Answer", icon=":material/play_arrow:")
    return [text or "" for text in texts]


def picked(task: str) -> list[str]:
    """Return one of ten dev texts, shown with its label."""
    rows, _ = dev_texts(task, N_TEXTS)
    titles = [f"{n}: {shorten(row[0], 80, placeholder=' ...')}" for n, row in enumerate(rows, 1)]
    title = st.selectbox("Dev text", titles, key="try_dev")
    *texts, label = rows[titles.index(title)]
    for text in texts:
        st.markdown(literal(" ".join(text.split())[:1000]))
    st.caption(f"On dev it is labelled {literal(label)}.")
    return texts


@st.cache_data(max_entries=4, ttl=600, show_spinner="Reading the dev texts")
def dev_texts(task: str, most: int) -> tuple[list[tuple[str, ...]], int]:
    """Return dev texts, or pairs, spread over all there are, each with its label; and how many.

    No torch comes with them: `datasets` imports it only where tensors are asked for.
    """
    try:
        of, dev = find_task(task), load_task(task)["validation"]
    except OSError as e:
        raise ValueError(one_line(e)) from e
    names = ("text", "second", "label") if of.is_pair else ("text", "label")
    n = min(most, len(dev))
    rows = dev.select([at * len(dev) // n for at in range(n)])[:]
    labels = [of.labels[label] if of.labels else f"{label:g}" for label in rows["label"]]
    return list(zip(*(rows[name] for name in names[:-1]), labels, strict=True)), len(dev)


def show_source(cut: Cut, format: str) -> dict[str, Path]:
    """Return the folder of the source's export, by its name; else show how it comes to be."""
    run = runs.find(st.query_params[runs.beside("cut")], "cut")
    source = form.source_of(cut.source)
    if source.architecture == cut.architecture:
        return {}
    request = source_request(run, cut, source)
    cuts = [run for run in jobs.runs(command="cut") if run.request.arguments == request]
    done = side_run.show_newest(cuts, SOURCE, KEPT, lambda: offer("cut", request))
    if done is None:
        return {}
    checkpoint = done.folder / "model"
    export = exports.request(checkpoint, format, cut.task)

    def go_on() -> None:
        if st.session_state.pop(GO_ON, False):
            exports.start("export", export, SOURCE)
            st.rerun()
        offer("export", export)

    candidates = [run for run in exports.of(checkpoint) if exports.format_of(run) == format]
    run = side_run.show_newest(candidates, SOURCE, KEPT, go_on)
    return {f"The source, {source.architecture}": run.folder / "model"} if run else {}


def offer(command: str, arguments: Sequence[str]) -> None:
    st.button(
        "Prepare the source beside it",
        icon=":material/compare:",
        on_click=prepare,
        args=[command, arguments],
        help="The fine-tuned source is saved and exported as this model was: about a minute.",
    )


def source_request(run: jobs.Run, cut: Cut, source: Source) -> tuple[str, ...]:
    """Return the arguments of the cut that gives the source itself, all else as in a cut's run."""
    options = run.request.arguments[1:]
    request = dict(zip(options[::2], options[1::2], strict=False))
    request |= {"--architecture": str(source.architecture), "--polish": "0"}
    return (cut.source, *chain.from_iterable(request.items()))


@st.cache_resource(max_entries=2, show_spinner="Reading the export")
def opened(folder: Path, changed: int) -> "Model":
    return answers.load(folder)


def read(folder: Path) -> tuple["Model", dict[tuple[str, ...], Answer]]:
    """Return the model in a folder, and what it has answered so far."""
    path = folder / "model.onnx"
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return opened(folder, changed), given(folder, changed)


@st.cache_resource(max_entries=8, show_spinner=False)
def given(folder: Path, changed: int) -> dict[tuple[str, ...], Answer]:
    """Return a model's answers to dev texts; who asks it adds to them, so that none is lost."""
    return {}


def show_answers(models: dict[str, Path], texts: list[str]) -> None:
    """What each model says of a text, with the probability of every class, and how long it took."""
    answered = {name: answers.answer(read(folder)[0], texts) for name, folder in models.items()}
    for column, (name, answer) in zip(st.columns(2), answered.items(), strict=False):
        column.metric(
            name,
            literal(answer.label),
            words.answer_line(answer),
            delta_color="off",
            delta_arrow="off",
            border=True,
        )
    ours = next(iter(answered.values()))
    notes = ["Time: of this answer, by onnxruntime in the app's own process, tokens included."]
    if ours.is_cut:
        notes.insert(0, f"Only the beginning is read: {ours.most_tokens} tokens at most.")
    if ours.shares and len({answer.label for answer in answered.values()}) > 1:
        notes.insert(0, "The two disagree.")
    st.caption(" ".join(notes))
    if ours.shares:
        table = words.shares_table(answered)
        runs.show_table(
            table,
            dict.fromkeys(table.columns[1:], "%.1f"),
            "Probability of each class, by model",
            height=min(320, 36 * (len(table) + 1)),
        )


def find_differing(ours: Path, source: Path) -> None:
    st.session_state[DIFFER] = ours, source


def try_row(key: str, task: str, rows: list[words.Compared]) -> None:
    """Put the ticked text into the field, where it is answered."""
    for row in st.session_state[key]["selection"]["rows"][:1]:
        if 0 <= row < len(rows):
            if st.session_state.get("try_how") != OWN:
                st.session_state["try_how"] = OWN
            for label, text in zip(words.fields(task), rows[row].texts, strict=True):
                st.session_state[f"try_{label}"] = text


def show_differing(task: str, ours: Path, source: Path) -> None:
    """The dev texts that a model and its source judge differently, once they were asked for."""
    if st.session_state.get(DIFFER) != (ours, source):
        st.button(
            "Find texts they judge differently",
            icon=":material/difference:",
            on_click=find_differing,
            args=[ours, source],
            help=f"Both read {N_COMPARED} dev texts at most: some seconds.",
        )
        return
    texts, n_dev = dev_texts(task, N_COMPARED)
    compared = compare(texts, ours, source)
    rows = words.differing(compared)
    st.markdown(f"**Judged differently**  \n{words.differing_line(compared, n_dev)}")
    if not rows:
        return
    table, key = words.differing_table(rows), f"{DIFFER} {ours} {source}"
    runs.show_table(
        table,
        {"Source (%)": "%.1f", "This model (%)": "%.1f", "Difference": "%+.2f"},
        "Dev texts that this model and its source judge differently; select one to try it",
        {name: st.column_config.TextColumn(width="large") for name in words.fields(task)},
        key=key,
        height=min(360, 36 * (len(table) + 1)),
        on_select=partial(try_row, key, task, rows),
        selection_mode="single-row",
    )
    st.caption("Tick a row to try its text above. Label: what it is labelled on dev.")


def compare(texts: list[tuple[str, ...]], ours: Path, source: Path) -> list[words.Compared]:
    """Return what both models answer to each text, the last of which is its label.

    What was answered before is not asked again: a click elsewhere ends this run of the script, and
    the next run goes on from there.
    """
    pairs = [(tuple(parts), label) for *parts, label in texts if all(map(str.strip, parts))]
    models = [read(ours), read(source)]
    todo = [(*model, parts) for parts, _ in pairs for model in models if parts not in model[1]]
    start = perf_counter()
    with st.empty():
        for done, (model, known, parts) in enumerate(todo):
            if done % 10 == 0:
                left = (perf_counter() - start) / max(1, done) * (len(todo) - done)
                line = f"{done} of {len(todo)} answers" + f", about {left:.0f} s left" * bool(done)
                st.progress(done / len(todo), line)
            known[parts] = answers.answer(model, parts, n_times=1)
        st.empty()
    return [words.Compared(p, label, *(known[p] for _, known in models)) for p, label in pairs]
