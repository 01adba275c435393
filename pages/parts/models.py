"""The user's own model: a folder or a hub id is checked before anything runs."""

import streamlit as st

from bort_engine.encoder.costs import n_operations, n_parameters
from bort_engine.encoder.own import add_model, forget_model, own_models
from bort_engine.encoder.sources import Source, sources
from bort_engine.runs.text import literal
from bort_engine.search import errors as oracles
from pages.parts import runs

# A front of MiniLM-L6 at epsilon 0.1 from an empty cache, on two cores of an AMD EPYC with bf16.
MINILM_MINUTES = 6


@runs.reporting()
def use(name: str, key: str) -> None:
    """Remember a model, and choose it in the form's widget `key`."""
    add_model(name)
    st.session_state[key] = name
    runs.leave_run()


@runs.reporting()
def forget(name: str) -> None:
    forget_model(name)


def show(key: str) -> None:
    """Let a model be named, looked at, and made the source of the widget `key`."""
    name = st.text_input(
        "A folder on this machine, or a name on the Hugging Face hub",
        key="own_model_name",
        placeholder="/home/me/my-model, or google-bert/bert-base-uncased",
        help="BERT, RoBERTa and DistilBERT families, weights as safetensors.",
    ).strip()
    if name:
        with runs.warning():
            show_source(Source.load(name))
            st.button(
                runs.main_label("Use this model"),
                icon=":material/check:",
                on_click=use,
                args=[name, key],
            )
    for known in own_models():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(literal(known), width="content")
            label = "Forget it"
            st.button(label, icon=":material/delete:", on_click=forget, args=[known], key=known)


def show_source(source: Source) -> None:
    """What a model is, what can be cut from it, and about how long its front takes."""
    a, size = source.architecture, n_parameters(source.architecture, source)
    space = oracles.searched("default", "elastic", source)
    st.markdown(
        f"**{literal(source.name)}**: {source.model_type}, {a.num_hidden_layers} layers, "
        f"{a.num_attention_heads} heads, hidden size {a.hidden_size}, intermediate size "
        f"{a.intermediate_size}; {size.total / 1e6:.1f} million parameters, "
        f"{size.encoder / 1e6:.1f} of them in its layers.  \n"
        f"Its default space has **{len(space):,}** slices. A first front at epsilon 0.1 takes "
        f"about **{minutes(source)} minutes** on two cores: MiniLM-L6's {MINILM_MINUTES} (measured "
        f"on film reviews), times its work ({work_of(source):.1f} times)."
    )


def work_of(source: Source) -> float:
    """Return how many times MiniLM-L6's operations a source takes."""
    minilm = sources["minilm-l6"]
    ours, theirs = (n_operations(s.architecture, s).total for s in (source, minilm))
    return ours / theirs


def minutes(source: Source) -> int:
    """Return about how long a first front of the default space takes on two cores."""
    return max(1, round(MINILM_MINUTES * work_of(source)))
