"""The lesson on size, work and time: where they sit in a network, and whether AB^nC holds."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from bort_engine.encoder.latency import Calibration
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture
from bort_engine.runs.text import literal
from bort_engine.show.lessons import abnc, anatomy, exercises, questions
from bort_engine.show.lessons.exercises import Exercise
from bort_engine.show.lessons.questions import Question
from pages.parts import lesson, runs

TITLE = "Size, work, time"
IDEA = (
    "A BERT is three things in a row: **A** looks words up, **Bⁿ** is a stack of n equal layers, "
    "**C** sums up. Where do its parameters, its operations and its milliseconds sit?"
)
SHAPE = ("cost_D", "cost_A", "cost_H", "cost_I")
ICONS = {
    "pass": ":green[:material/check_circle:] **Pass.**",
    "warn": ":orange[:material/warning:] **Warn.**",
    "fail": ":red[:material/cancel:] **Fail.**",
    "unknown": ":gray[:material/help:] **Not known.**",
}


def asks() -> tuple[Question, Exercise]:
    return questions.cost(), exercises.cost()


def state(source: str, shape: Architecture, length: int = 128) -> dict[str, str | int]:
    """Return a state of the widgets."""
    numbers = (getattr(shape, field) for field in Architecture.__slots__)
    return {"cost_source": source, "cost_L": length} | dict(zip(SHAPE, numbers, strict=True))


GOOD = lesson.Preset(
    "BERT-large, 12 of its 24 layers",
    state("bert-large-uncased", Architecture(12, 16, 1024, 3072)),
    "The layers fill most of all three bars (I is 3072, as it was timed). Then take layers away: "
    "when does A take over?",
)
BAD = lesson.Preset(
    "Bort as released",
    state("bort", sources["bort"].architecture),
    f"Few layers and {sources['bort'].vocab_size:,} word pieces: most parameters are embeddings, "
    "which do no work at all.",
)


def follow() -> None:
    """Another source: start from its own shape."""
    if source := sources.get(st.session_state["cost_source"]):
        lesson.apply({key: state("", source.architecture)[key] for key in SHAPE})


@st.cache_resource(max_entries=32, show_spinner=False)
def calibration_of(name: str) -> Calibration | None:
    return anatomy.calibration_of(sources[name])


@st.cache_resource(max_entries=4, show_spinner=False)
def checked(records: tuple[tuple[Path, int], ...]) -> list[tuple[list[abnc.Check], str]]:
    """Return what each table of errors says of the order, and where it is from."""
    fullest = abnc.fullest([path for path, _ in records])
    return [(abnc.check_errors(record), str(record.header.made)) for record in fullest]


def choose() -> tuple[Source, Architecture, int]:
    """Let a source, a shape and a length be chosen; what comes from an address is checked."""
    columns = st.columns([2, 3])
    name = columns[0].selectbox(
        "Source model", list(sources), key="cost_source", bind="query-params", on_change=follow
    )
    start = sources[name].architecture
    depth = columns[1].slider(
        "Depth D (layers)",
        min(anatomy.DEPTHS),
        max(anatomy.DEPTHS),
        start.num_hidden_layers,
        key="cost_D",
        bind="query-params",
    )

    cells = iter(st.columns(4))

    def slide(label: str, options: Sequence[int], default: int, key: str) -> int:
        return next(cells).select_slider(label, options, default, key=key, bind="query-params")

    width = slide("Hidden size H", anatomy.HIDDEN, start.hidden_size, "cost_H")
    inner = slide("Intermediate size I", anatomy.INTERMEDIATE, start.intermediate_size, "cost_I")
    fitting = anatomy.heads_for(width)
    most = max(n for n in fitting if n <= start.num_attention_heads)
    heads = slide("Heads A (they divide H)", fitting, most, "cost_A")
    length = slide("Sequence length (tokens)", anatomy.LENGTHS, 128, "cost_L")
    return sources[name], Architecture(depth, heads, width, inner), length


def show() -> None:
    top, side = st.columns([5, 3])
    with side:
        lesson.try_this(GOOD, BAD)
    with top, st.container(border=True):
        try:
            source, shape, length = choose()
        except ValueError as e:
            st.warning(literal(e), icon=":material/warning:")
            return
    calibration = calibration_of(source.name)
    splits = anatomy.costs("Moved", shape, source, length, calibration)
    show_picture(splits, source, calibration)
    bort = sources["bort"]
    released = anatomy.costs("", bort.architecture, bort, length, None).parameters
    lesson.sentences(
        f"With {shape.num_hidden_layers} layers of width {shape.hidden_size}, "
        f"**{anatomy.percent(splits.parameters.layers)}** of the parameters and "
        f"**{anatomy.percent(splits.operations.layers)}** of the operations sit in Bⁿ.",
        "Embeddings are a table in which words are looked up: they weigh much and compute nothing, "
        "so the *effective size* counts Bⁿ alone: "
        f"here {anatomy.short(splits.parameters.amounts[1])} of "
        f"{anatomy.short(splits.parameters.total)} parameters.",
        "Each step in depth adds one more B, so size and work grow in a straight line, and time "
        "very nearly: a few timed layers tell the time of every depth.",
        "AB^nC is the form, and the condition, of the approximation in "
        "[\\[OSE\\]](https://arxiv.org/abs/2010.08512). Of Bort as "
        f"[\\[BORT\\]](https://arxiv.org/abs/2010.10499) released it, "
        f"{anatomy.percent(released.shares[0])} of {anatomy.short(released.total)} parameters are "
        "embeddings (computed).",
    )
    show_heads(splits, source, calibration)
    show_property(splits, source)


def show_picture(
    splits: anatomy.CostSplits, source: Source, calibration: Calibration | None
) -> None:
    """The source's and the shape's costs by part, and where the numbers are from."""
    start = source.architecture
    shapes = (anatomy.costs("Source", start, source, splits.length, calibration), splits)
    settings = ""
    if calibration:
        at = calibration.settings
        settings = f"batch {at.batch_size}, {at.sequence_length} tokens, {at.threads} threads"
    lesson.picture(
        anatomy.figure(shapes, settings),
        anatomy.summary(shapes),
        "size-work-time",
        lambda: anatomy.to_frame(shapes),
    )
    st.caption(
        f"Source: the model as it is, {start} (layers D, heads A, hidden size H, intermediate "
        f"size I). Moved: {splits.architecture}. k, M, G: thousand, million, thousand million. "
        "Patterns tell the parts apart as colours do."
    )
    lesson.origin("computed", "parameters and operations, in closed form.")
    if calibration:
        lesson.origin("recorded", literal(anatomy.timing(calibration)))


def show_heads(splits: anatomy.CostSplits, source: Source, calibration: Calibration | None) -> None:
    """The same shape with other head counts: nothing moves."""
    shape = splits.architecture
    st.subheader("Heads are free", anchor=False)
    st.markdown(
        f"Heads share the hidden size: {shape.num_attention_heads} heads of "
        f"{shape.head_width} units each here. However it is split, "
        "the matrices stay as they are, so size and operations do not move. What is learned may: "
        "free is not without effect."
    )
    runs.show_table(
        abnc.by_heads(shape, source, splits.length, calibration),
        {"Parameters": "localized", "Operations": "localized", "One layer (ms)": "%.3f"},
        "Parameters, operations and a layer's time of the same shape with each head count",
        placeholder="not recorded",
    )
    missing = "Time: not recorded for this source."
    st.caption(abnc.heads_say(calibration) if calibration else missing)


def show_property(splits: anatomy.CostSplits, source: Source) -> None:
    """The AB^nC property in plain words; a damaged record is one line."""
    st.subheader("Does the AB^nC property hold?", anchor=False)
    st.markdown(
        "The search trains a few networks and vouches for the rest. That is sound where the layers "
        "dominate the costs, larger networks err less, and training is tame."
    )
    where = f"for {splits.architecture}; time as above."
    show_checks(abnc.check_shares(splits, source), "computed", where)
    if source.name != abnc.MEASURED:
        st.caption(
            f"Errors and gradients were not measured for {source.name}. What follows is of "
            f"{abnc.MEASURED}."
        )
    try:
        tables = checked(runs.tables())
        for checks, where in tables:
            show_checks(checks, "recorded", where)
        if not tables:
            st.caption(f"Errors: no table of {abnc.MEASURED} is on record.")
        gradients = abnc.read_gradients()
    except (ValueError, OSError) as e:
        st.warning(literal(e), icon=":material/warning:")
        return
    where = str(gradients.provenance) if gradients else "nothing yet."
    show_checks([abnc.check_gradients(gradients)], "recorded", where)
    if gradients:
        with st.expander("Gradients, training by training", icon=":material/table:"):
            runs.show_table(abnc.to_frame(gradients), {}, "Gradient norms by training")
            st.caption(
                f"Norms of the gradient of all weights at each step, before the trainer clips it "
                f"to {gradients.clipped_at:g}."
            )
    st.caption(abnc.RULES)


def show_checks(checks: list[abnc.Check], kind: str, detail: str) -> None:
    lines = [f"- {ICONS[c.verdict]} **{c.name}:** {literal(c.says)}" for c in checks]
    st.markdown("\n".join(lines))
    lesson.origin(kind, literal(detail))
