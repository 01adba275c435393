"""The checkpoint of a chosen point, as Explore shows it: code that calls it, files, its export."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import streamlit as st

from bort_engine.encoder.export import Export, Format
from bort_engine.runs import jobs, records
from bort_engine.runs.text import literal
from bort_engine.search.cut import Cut
from bort_engine.show import deploy as words
from pages.parts import exports, form, runs, side_run, try_it

EXPORT = runs.beside("export")
KEPT = "The checkpoint stays; of an export that did not end nothing is kept."
FORMATS_HELP = (
    "ONNX runs without PyTorch; int8 is the smallest, and quick where the processor multiplies "
    "8-bit numbers. OpenVINO is an extra: `pip install -r requirements-openvino.txt`. bf16 is a "
    "transformers folder of half the size."
)
Files = dict[str, tuple[str, Callable[[], object]]]


def show() -> None:
    """The checkpoint that the address names: at work, or ready to be taken home and used."""
    load = partial(records.read, kind=Cut)
    cut = side_run.run_here("cut", load, "The source and its student are kept.")
    if cut is None:
        return
    folder = Path(cut.folder).resolve()
    with st.container(border=True):
        lines = (f":small[{literal(line)}]" for line in str(cut).splitlines())
        st.markdown("  \n".join([f"**{cut.architecture}, saved**", *lines]))
        if not (folder / "config.json").is_file():
            st.caption("Its folder is gone; save it again.")
        else:
            with runs.warning():
                show_files(cut, folder)
                candidates = exports.of(folder)
                format = show_export(cut, folder, candidates)
                try_it.show(cut, candidates, format)
        runs.show_close(runs.beside("cut"))


def show_files(cut: Cut, folder: Path) -> None:
    st.code(words.pipeline_code(cut, folder), language=None)
    show_recalls(cut)
    files: Files = {
        "checkpoint": (f"{file_name(cut)}.zip", partial(runs.packed, folder)),
        "model card": ("README.md", (folder / "README.md").read_bytes),
    }
    if cut.onnx:
        st.caption(words.widths_line(cut, form.source_of(cut.source)))
        onnx = folder.with_name("onnx")
        files["ONNX, true widths"] = (f"{file_name(cut)}-onnx.zip", partial(runs.packed, onnx))
    runs.show_downloads(files, primary="checkpoint", key="cut")


def file_name(cut: Cut) -> str:
    return str(cut.architecture).replace(",", "-").replace(":", "-")


def show_recalls(cut: Cut) -> None:
    """What of each class is found, which the accuracy of unlike classes does not tell."""
    if not cut.recalls:  # numbers have no classes
        return
    import pandas as pd

    ours, source = "Recall, this model (%)", "Recall, source (%)"
    table = pd.DataFrame(map(asdict, cut.recalls))
    table.columns = ["Class", "Rows on dev", ours, source]
    table[[ours, source]] = 100 * table[[ours, source]].astype(float)
    runs.show_table(
        table,
        {ours: "%.1f", source: "%.1f"},
        "Recall of each class on dev, by the checkpoint and by its source",
        height=min(320, 36 * (len(table) + 1)),  # of many classes it scrolls
        placeholder="",
    )
    st.caption("Recall: of a class's rows on dev, the share that is named rightly.")


def show_export(cut: Cut, folder: Path, candidates: list[jobs.Run]) -> Format:
    """Show an export, or offer it, in a format that is picked; return the format.

    Args:
        candidates: all exports of this checkpoint, newest first.
    """
    st.markdown("**Export**")
    named = st.query_params.get(EXPORT)
    of_named = next((exports.format_of(run) for run in candidates if run.id == named), None)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row:
        format = form.pick("Format", words.FORMATS, "export_format", of_named, help=FORMATS_HELP)

    def offer() -> None:
        row.button(
            "Export",
            icon=":material/deployed_code:",
            on_click=exports.start,
            args=["export", exports.request(folder, format, cut.task), EXPORT],
            help="Half a minute: it is written, run in a new process, and compared with PyTorch.",
        )

    candidates = [run for run in candidates if exports.format_of(run) == format]
    run = side_run.show_newest(candidates, EXPORT, KEPT, offer)
    if run and (export := exports.read(run)):
        show_exported(cut, export, run.folder / "model")
    return format


def show_exported(cut: Cut, export: Export, folder: Path) -> None:
    """An export's size, how near it is to PyTorch, its files, and code that calls it."""
    runs.show_facts(words.export_facts(export))
    st.markdown(words.export_lines(export))
    name = f"{file_name(cut)}-{export.format}.zip"
    files: Files = {"the export (zip)": (name, partial(runs.packed, folder))}
    runs.show_downloads(files, key="export")
    if export.format == "safetensors-bf16":
        st.code(words.pipeline_code(cut, folder), language=None)
        return
    st.code(words.run_command(cut, folder), language=None)
    st.code(words.logits_code(cut, folder), language=None)
    st.caption("Both need only `pip install onnxruntime tokenizers numpy`.")
