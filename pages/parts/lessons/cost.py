"""The lesson on size, work and time: where they sit in a network, and whether AB^nC holds."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from bort_engine.encoder.latency import Calibration
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture
from bort_engine.runs.text import literal
from bort_engine.search import errors as problem
from bort_engine.show.lessons import abnc, anatomy
from pages.parts import lesson

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
def tables(changed: tuple[tuple[Path, int], ...]) -> list[abnc.Table]:
    return abnc.read_tables([path for path, _ in changed])


def choose() -> tuple[Source, Architecture, int]:
    """Let a source, a shape and a length be chosen; what comes from an address is checked."""
    columns = st.columns([2, 3])
    name = columns[0].selectbox(
        "Source model", list(sources), key="cost_source", bind="query-params", on_change=follow
    )
    own = sources[name].architecture
    depth = columns[1].slider(
        "Depth D (layers)",
        min(anatomy.DEPTHS),
        max(anatomy.DEPTHS),
        own.num_hidden_layers,
        key="cost_D",
        bind="query-params",
    )
    columns = st.columns(4)

    def pick(column: int, label: str, options: Sequence[int], default: int, key: str) -> int:
        return columns[column].select_slider(label, options, default, key=key, bind="query-params")

    H = pick(0, "Hidden size H", anatomy.HIDDEN, own.hidden_size, "cost_H")
    wide = anatomy.INTERMEDIATE
    I = pick(1, "Intermediate size I", wide, own.intermediate_size, "cost_I")  # noqa: E741
    heads = anatomy.heads_for(H)
    few = max(a for a in heads if a <= own.num_attention_heads)
    A = pick(2, "Heads A (they divide H)", heads, few, "cost_A")
    length = pick(3, "Sequence length (tokens)", anatomy.LENGTHS, 128, "cost_L")
    return sources[name], Architecture(depth, A, H, I), length


def show() -> None:
    top, side = st.columns([5, 3])
    with side:
        lesson.try_this(GOOD, BAD)
    with top, st.container(border=True):
        try:
            source, shape, length = choose()
        except ValueError as e:
            st.warning(literal(str(e)), icon=":material/warning:")
            return
    timed = calibration_of(source.name)
    own = anatomy.costs("Source", source.architecture, source, length, timed)
    moved = anatomy.costs("Moved", shape, source, length, timed)
    show_picture(own, moved, timed)
    layers = anatomy.short(moved.parameters.amounts[1])
    bort = sources["bort"]
    released = anatomy.costs("", bort.architecture, bort, length, None).parameters
    lesson.sentences(
        f"With {shape.num_hidden_layers} layers of width {shape.hidden_size}, "
        f"**{anatomy.percent(moved.parameters.layers)}** of the parameters and "
        f"**{anatomy.percent(moved.operations.layers)}** of the operations sit in Bⁿ.",
        "Embeddings are a table in which words are looked up: they weigh much and compute nothing, "
        f"so the *effective size* counts Bⁿ alone: here {layers} of "
        f"{anatomy.short(moved.parameters.total)} parameters.",
        "Each step in depth adds one more B, so size and work grow in a straight line, and time "
        "very nearly: a few timed layers tell the time of every depth.",
        "AB^nC is the form, and the condition, of the approximation in "
        "[\\[OSE\\]](https://arxiv.org/abs/2010.08512). Of Bort as "
        f"[\\[BORT\\]](https://arxiv.org/abs/2010.10499) released it, "
        f"{anatomy.percent(released.shares[0])} of {anatomy.short(released.total)} parameters are "
        "embeddings (computed).",
    )
    show_heads(shape, source, length, timed)
    show_property(moved, source)


def show_picture(own: anatomy.Costs, moved: anatomy.Costs, timed: Calibration | None) -> None:
    """Both shapes' costs by part, and where the numbers are from."""
    shapes, settings = (own, moved), ""
    if timed:
        s = timed.settings
        settings = f"batch {s.batch_size}, {s.sequence_length} tokens, {s.threads} threads"
    lesson.picture(
        anatomy.figure(shapes, settings),
        anatomy.summary(shapes),
        "size-work-time",
        lambda: anatomy.to_frame(shapes),
    )
    st.caption(
        f"Source: the model as it is, {own.architecture} (layers D, heads A, hidden size H, "
        f"intermediate size I). Moved: {moved.architecture}. k, M, G: thousand, million, thousand "
        "million. Patterns tell the parts apart as colours do."
    )
    lesson.origin("computed", "parameters and operations, in closed form.")
    if timed:
        lesson.origin("recorded", literal(anatomy.timing(timed)))


def show_heads(shape: Architecture, source: Source, length: int, timed: Calibration | None) -> None:
    """The same shape with other head counts: nothing moves."""
    st.subheader("Heads are free", anchor=False)
    st.markdown(
        f"Heads share the hidden size: {shape.num_attention_heads} heads of "
        f"{shape.hidden_size // shape.num_attention_heads} units each here. However it is split, "
        "the matrices stay as they are, so size and operations do not move. What is learned may: "
        "free is not without effect."
    )
    counts = ("Parameters", "Operations")
    st.dataframe(
        abnc.by_heads(shape, source, length, timed),
        hide_index=True,
        placeholder="not recorded",
        column_config={name: st.column_config.NumberColumn(format="localized") for name in counts}
        | {"One layer (ms)": st.column_config.NumberColumn(format="%.3f")},
        alt="Parameters, operations and a layer's time of the same shape with each head count",
    )
    st.caption(abnc.heads_say(timed) if timed else "Time: not recorded for this source.")


def show_property(moved: anatomy.Costs, source: Source) -> None:
    """The AB^nC property in plain words; a damaged record is one line."""
    st.subheader("Does the AB^nC property hold?", anchor=False)
    st.markdown(
        "The search trains a few networks and vouches for the rest. That is sound where the layers "
        "dominate the costs, larger networks err less, and training is tame."
    )
    show_checks(
        abnc.check_shares(moved, source), "computed", f"for {moved.architecture}; time as above."
    )
    if source.name != abnc.MEASURED:
        st.caption(
            f"Errors and gradients were not measured for {source.name}. What follows is of "
            f"{abnc.MEASURED}."
        )
    try:
        measured = tables(tuple((path, path.stat().st_mtime_ns) for path in problem.tables()))
        for table in measured:
            show_checks(abnc.check_table(table), "recorded", table.origin)
        if not measured:
            st.caption(f"Errors: no table of {abnc.MEASURED} is on record.")
        found = abnc.read_gradients()
        show_checks(
            [abnc.check_gradients(found)], "recorded", found.origin if found else "nothing yet."
        )
    except (ValueError, OSError) as e:
        st.warning(literal(str(e)), icon=":material/warning:")
        return
    if found:
        with st.expander("Gradients, training by training", icon=":material/table:"):
            st.dataframe(abnc.to_frame(found), hide_index=True, alt="Gradient norms by training")
            st.caption(
                f"Norms of the gradient of all weights at each step, before the trainer clips it "
                f"to {found.clipped_at:g}."
            )
    st.caption(abnc.RULES)


def show_checks(checks: list[abnc.Check], kind: str, detail: str) -> None:
    lines = [f"- {ICONS[c.verdict]} **{c.name}:** {literal(c.says)}" for c in checks]
    st.markdown("\n".join(lines))
    lesson.origin(kind, literal(detail))
