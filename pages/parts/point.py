"""The point that is chosen: its card, beside another one, and its way to a checkpoint."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import streamlit as st

from bort_engine.encoder.sources import sources
from bort_engine.encoder.space import Architecture
from bort_engine.encoder.stopwatch import Times
from bort_engine.encoder.uneven import Uneven
from bort_engine.runs import records
from bort_engine.runs.text import literal
from bort_engine.search.compare import Comparison
from bort_engine.search.result import Front, Point
from bort_engine.show import compare
from bort_engine.show import front as words
from bort_engine.show.theme import short
from pages.parts import form, measure, runs, side_run

PIN = "beside"  # the part of the address that names the point another one is held against
UNEVEN = "uneven"  # the part that names a shape whose layers differ, which is then on the card


def choose(shape: Architecture | Uneven) -> None:
    runs.leave_run(UNEVEN)
    st.query_params[UNEVEN if isinstance(shape, Uneven) else "point"] = str(shape)


def choose_row(key: str, shapes: Sequence[Architecture | Uneven]) -> None:
    """Choose the shape of the row that is selected in the table with this key."""
    for row in st.session_state[key]["selection"]["rows"][:1]:
        if 0 <= row < len(shapes):
            choose(shapes[row])


def find(front: Front, best: Point | None) -> Point:
    """Return the point that the address names; else the one that is recommended, or the knee."""
    if text := st.query_params.get("point"):
        try:
            return front[Architecture.parse(text)]
        except ValueError as e:
            st.caption(f"{literal(e)} Here is another one.")
    if best in (None, front.source_point):
        return front.knee or front.source_point
    return best


def show_card(front: Front, point: Point, recommended: Point) -> None:
    """The chosen point: four numbers against the source, its shape, and why it is on the front."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(str(point.architecture), anchor=False, width="content")
        for name in words.names(front, point, recommended):
            st.badge(name, color="orange" if name in words.WARNINGS else "primary")
    other = words.against(front, point)
    st.caption(f"{words.shape(point)}{f', against {other}' * bool(other)}.")
    runs.show_facts(words.facts(front, point))
    with st.container(horizontal=True):
        show_finetune(front, point)
        show_pin(point)
        with st.popover("Files", icon=":material/download:"):
            show_files(front, point)
    with st.expander("Why it is where it is"):
        st.markdown(words.why(front, point))


def show_finetune(front: Front, point: Point) -> None:
    """Offer to train the chosen architecture, where its source has weights to start from."""
    try:
        source = form.source_of(front.source)
    except ValueError:  # its folder may be gone
        return
    if not source.weights or not point.architecture.fits_in(source.architecture):
        return
    if st.button(runs.main_label("Fine-tune this"), icon=":material/school:"):
        address = {"parent": source.name, "point": str(point.architecture), "task": front.task}
        # Other names than here: what a widget is bound to cannot be set, and goes with its page.
        address |= {"chosen_at": f"{front.epsilon:g}"}
        st.switch_page("pages/finetune.py", query_params=address)


def show_files(front: Front, point: Point) -> None:
    files: dict[str, tuple[str, Callable[[], str]]] = {
        "front": ("front.json", lambda: json.dumps(records.dump(front))),
        "table": ("front.csv", lambda: front.to_frame().to_csv(index=False)),
    }
    if source := sources.get(front.source):
        config = {"model_type": source.model_type} | source.config(point.architecture)
        files = {"config": ("config.json", lambda: json.dumps(config, indent=2))} | files
    runs.show_downloads(files)


def show_pin(point: Point) -> None:
    """Offer to hold other points against this one."""
    if st.query_params.get(PIN) == str(point.architecture):
        label, icon, act, args = "Unpin it", ":material/keep_off:", runs.leave_run, [PIN]
    else:
        label, icon, act, args = "Pin it", ":material/keep:", pin, [point.architecture]
    about = "Pin a point, then choose another: both stand side by side."
    st.button(label, icon=icon, on_click=act, args=args, help=about)


def pin(architecture: Architecture) -> None:
    st.query_params[PIN] = str(architecture)


def pinned(front: Front) -> Point | None:
    """Return the point that others are held against, if it is one of this front's."""
    with suppress(ValueError):
        return front[Architecture.parse(st.query_params.get(PIN, ""))]
    return None


def show_pair(front: Front, point: Point) -> None:
    """The pinned point and the chosen one, side by side; and their times, once measured here."""
    text = st.query_params.get(PIN)
    if not text:
        return
    with st.container(border=True), runs.warning():
        try:
            pinned = front[Architecture.parse(text)]
        except ValueError as e:  # of another task, say
            st.warning(literal(e), icon=":material/warning:")
            st.button("Unpin", icon=":material/keep_off:", on_click=runs.leave_run, args=[PIN])
            return
        if pinned == point:
            st.caption(f"**{point.architecture}** is pinned. Choose another point to compare it.")
            return
        st.markdown(f"**{pinned.architecture} or {point.architecture}?**")
        alt = f"{pinned.architecture} beside {point.architecture}"
        runs.show_table(words.pair(front, pinned, point), {}, alt)
        with st.container(horizontal=True):
            st.button("Unpin", icon=":material/keep_off:", on_click=runs.leave_run, args=[PIN])
            shapes = dict.fromkeys((front.maximum, pinned.architecture, point.architecture))
            st.button(
                "Time them here",
                icon=":material/timer:",
                on_click=runs.start_beside,
                args=["stopwatch", words.stopwatch_options(front, list(shapes)), front.source],
                help="Whole models, in turns, now: half a minute. Nothing else should run.",
            )
            if options := compare.options(front, pinned, point):
                st.button(
                    "Where they disagree",
                    icon=":material/difference:",
                    on_click=runs.start_beside,
                    args=["compare", options, front.source],
                    help=" ".join(
                        [
                            "Both read all dev texts: some seconds to a minute.",
                            measure.preparation(front),
                        ]
                    ),
                )
    show_disagreement()
    times = side_run.run_here("stopwatch", partial(records.read, kind=Times), "Start it again.")
    if times:
        with st.container(border=True):
            runs.show_table(words.times(times), words.TIMES, "Measured latencies")
            if times.is_busy:
                st.warning(
                    f"Other programs were at work (load {times.load:.1f}), which slows all of it; "
                    "close them and time again.",
                    icon=":material/warning:",
                )
            st.caption(
                f"Measured in turns: {literal(short(times.source))}, "
                f"{words.measured_at(times.settings)}, {literal(str(times.made))}."
            )
            runs.show_close(runs.beside("stopwatch"))


def show_disagreement() -> None:
    """On how many dev texts two points are right, and some where exactly one is, once asked for."""
    load = partial(records.read, kind=Comparison)
    comparison = side_run.run_here("compare", load, "What was trained is kept.")
    if comparison is None:
        return
    with st.container(border=True):
        st.markdown(f"**Where they disagree**  \n{literal(compare.counts(comparison))}")
        st.caption(compare.which(comparison))
        if comparison.texts:
            table = compare.table(comparison)
            wide = [name for name in table if "ext" in name]
            alt = "Dev texts where exactly one of the two points is right"
            large = st.column_config.TextColumn(width="large")
            runs.show_table(table, {}, alt, dict.fromkeys(wide, large))
        runs.show_close(runs.beside("compare"))


def show_checkpoint(front: Front, point: Point) -> None:
    """Offer to save the point as a checkpoint, which is made here, and then to take it home."""
    show_save(front, words.cut_options(front, point))


def show_save(front: Front, options: dict[str, str]) -> None:
    """Offer to save what the options of `cut` name; nothing where there are none."""
    if not options:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        steps = "It alone is distilled from the source for so many steps more; 200 take a minute."
        polish = st.number_input(
            "Polish (steps)", 0, 10_000, 0, 100, key="polish", help=steps, width=150
        )
        st.button(
            "Save this as a checkpoint",
            icon=":material/save:",
            on_click=runs.start_beside,
            args=["cut", options | {"--polish": str(polish)}, front.source],
        )
    with runs.warning():  # its folder may be gone
        if front.origin == "recorded" and (note := measure.preparation(front)):
            st.caption(note)
    box = st.expander("As a command", icon=":material/terminal:", key="command", on_change="rerun")
    if box.open:
        box.code(words.cut_line(front.source, options), language=None, wrap_lines=True)
