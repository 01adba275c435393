"""The lesson on layers that differ: a search of sums over all networks; what sums are worth."""

from functools import partial

import streamlit as st

from bort_engine.runs.text import literal
from bort_engine.search.layer_result import LayersFront
from bort_engine.show.lessons import exercises, layers, layers_figures, questions
from bort_engine.show.lessons.exercises import Exercise
from bort_engine.show.lessons.questions import Question
from pages.parts import lesson, runs

TITLE = "10²¹ networks in a second"
IDEA = (
    "Let every **layer** have its own number of heads and neurons, or be left out: nobody can look "
    "at all such networks. Where losses **add up** over the layers, nobody has to."
)
ERRORS, SUMS = VIEWS = "Measured errors", "Summed losses"
EPSILON, LOST = 0.1, 3.0  # as the lesson opens


# `_record` is no part of the key: the day it changed names it.
@st.cache_resource(max_entries=16, show_spinner=False)
def searched(changed: int, epsilon: float, _record: LayersFront) -> layers.Searched:
    return layers.searched(_record, epsilon)


def recorded() -> LayersFront:
    """Return the record. Raises ValueError where there is none."""
    return runs.opened(layers.RECORDED, LayersFront.load)


def at(epsilon: float, record: LayersFront) -> layers.Searched:
    return searched(layers.RECORDED.stat().st_mtime_ns, epsilon, record)


def asks() -> tuple[Question, Exercise]:
    record = recorded()
    return questions.layers(at(EPSILON, record)), exercises.layers(record.losses.whole)


def choose() -> tuple[float, str, float]:
    """Let epsilon, the picture and the budget be set."""
    label = "Epsilon: the tolerated share of size and latency"
    epsilon = st.select_slider(
        label, layers.EPSILONS, EPSILON, key="layers_eps", bind="query-params"
    )
    view = lesson.pick("Picture", list(VIEWS), "layers_view")
    label = "Budget of the chosen shape: accuracy you can lose (points on dev)"
    lost = st.slider(label, 0.0, 30.0, LOST, 0.5, key="layers_lost", bind="query-params")
    return epsilon, view, lost


def show() -> None:
    tables = lesson.tables()
    if tables is None:
        return
    with runs.warning():
        record = recorded()
        if record.seed not in tables:
            raise ValueError(f"no table of training seed {record.seed} is on record.")
        show_record(record, layers.uniform(record, tables[record.seed]))


def show_record(record: LayersFront, uniform: tuple[layers.UniformPoint, ...]) -> None:
    left, right = st.columns([5, 3])
    with left:
        with st.container(border=True):
            epsilon, view, lost = choose()
        result, chosen = at(epsilon, record), layers.chosen(record, lost)
        if view == SUMS:
            drawn, frame = layers_figures.sums(result), partial(layers.found_frame, result)
        else:
            drawn = layers_figures.errors(record, uniform, chosen)
            frame = partial(layers.measured_frame, record, uniform)
        lesson.picture(*drawn, "layers", frame)
        st.caption(
            "A shape is its hidden size: heads x neurons of each layer, a dash for one left out. "
            "Uniform: shapes of the recorded table with all heads. One ruler predicts all "
            "latencies, from timed parts of layers. Wrong on dev: as slices of one elastic "
            "student. "
            f"The measured ones were found at epsilon {record.epsilon:g}; the dial moves the sums."
        )
    with right:
        show_presets(record, uniform)
        columns = st.columns(2)
        columns[0].metric("Networks", layers.scientific(record.n_shapes))
        columns[1].metric("Kept at most", f"{result.n_states:,}")
        columns[0].metric("Found", f"{len(result.found):,}")
        columns[1].metric("Seconds, here", f"{result.seconds:.2f}")
        st.markdown(layers.promise(result))
        lesson.origin("measured here", "the search, run on this machine from the record's sums.")
        lesson.origin("recorded", literal(f"errors, layers' losses and latencies: {record.made}."))
    show_shape(record, chosen)
    show_audit(record, uniform)
    lesson.sentences(
        "A network is built layer by layer. Unfinished ones of about the same size and latency "
        "share a cell, and of a cell only the one with the least loss is kept.",
        "A cell is so narrow, a factor of (1 + epsilon) to the power of 1 over the number of "
        "layers, that rounding in every layer comes to 1 + epsilon in all.",
        "For that the loss must be a sum over layers, fitted to some hundred shapes that were "
        "measured. **The promise is a theorem about the sums, not about the networks.**",
        "[\\[OSE\\]](https://arxiv.org/abs/2010.08512) takes one width for all layers. Dynamic "
        "programs that are trimmed like this one are by Erlebach, Kellerer and Pferschy (2002).",
    )


def show_presets(record: LayersFront, uniform: tuple[layers.UniformPoint, ...]) -> None:
    result, lost = at(EPSILON, record), 1.0
    source, picked = record.source_point, layers.chosen(record, lost)
    rival = layers.fastest(uniform, source, lost)
    values = {"layers_eps": EPSILON, "layers_hidden": max(record.latency.outside_ms)}
    lesson.try_this(
        lesson.Preset(
            f"All there are, at epsilon {EPSILON:g}",
            values | {"layers_view": SUMS, "layers_lost": LOST},
            f"{len(result.found):,} shapes stand for {layers.scientific(record.n_shapes)}, as far "
            "as sums go.",
        ),
        lesson.Preset(
            "Measured, one point lost",
            values | {"layers_view": ERRORS, "layers_lost": lost},
            f"The fastest uneven shape that was measured takes {picked.latency_ms:.1f} ms, the "
            f"fastest uniform one {rival.latency_ms:.1f} ms.",
        ),
    )


def show_shape(record: LayersFront, chosen: layers.UnevenPoint) -> None:
    """The chosen shape by layer, its command, and what layers lose."""
    left, right = st.columns(2)
    with left:
        st.subheader("The chosen shape", anchor=False)
        st.markdown(layers.drawn(chosen, record))
        lesson.picture(*layers_figures.shape(chosen, record), "layers-shape")
        if chosen.found_by != "source":
            st.markdown(
                "A checkpoint of it (its ONNX model has these widths; the one for transformers is "
                "padded with zeros, and no faster):"
            )
            st.code(layers.command(chosen, record), language=None, wrap_lines=True)
    with right:
        st.subheader("What layers lose", anchor=False)
        sizes = sorted(record.latency.outside_ms)
        hidden = lesson.pick("Hidden size", sizes, "layers_hidden", sizes[-1])
        lesson.picture(
            *layers_figures.losses(record, hidden),
            "layers-losses",
            lambda: layers.lost_by_layer(record, hidden),
        )
        st.caption(
            "Log loss: the logarithm of the KL divergence from the source's answers (0.01 nats "
            "added), so +0.1 is 10 % more. Below 0 the fit calls less of a layer better than all "
            "of it: each is a term of a fit, not a measurement of that layer."
        )


def show_audit(record: LayersFront, uniform: tuple[layers.UniformPoint, ...]) -> None:
    """What the sums are worth: against measured losses, and against uniform shapes."""
    left, right = st.columns(2)
    with left:
        st.subheader("The audit", anchor=False)
        lesson.picture(
            *layers_figures.audit(record), "layers-audit", lambda: layers.audit_frame(record)
        )
        st.caption(
            "Most shapes of the search were then learned from; none of the random ones, and none "
            "of local search, were."
        )
        st.markdown(layers.audit(record))
    with right:
        st.subheader("Against uniform shapes", anchor=False)
        runs.show_table(
            layers.compare_frame(record, uniform),
            {"Uneven (ms)": "%.2f", "Uniform (ms)": "%.2f"},
            "The latency of the fastest uneven and uniform shape, by the points that may be lost",
        )
        st.markdown(layers.against_uniform(record, uniform))
        st.caption(
            f"Both were picked on the {record.teacher.n_dev:,} dev rows that the errors are "
            "counted on, so both flatter themselves; of a share near a fifth the standard error "
            "there is about 1 point."
        )
