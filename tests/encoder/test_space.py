"""Spaces, sources and architectures: sizes counted by hand, round trips, and every error text."""

import json
import re
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import LEFT_OUT, Source, sources
from bort_engine.encoder.space import Architecture, SearchSpace

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
MINILM = sources["minilm-l6"]
CONFIG = {
    "model_type": "bert",
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 64,
    "intermediate_size": 128,
    "vocab_size": 1000,
    "max_position_embeddings": 128,
    "type_vocab_size": 3,
}


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    heads = draw(st.integers(1, 64))
    width = heads * draw(st.integers(1, 64))
    return Architecture(draw(st.integers(1, 99)), heads, width, draw(st.integers(1, 9999)))


# Architecture


@unhurried
@given(architectures())
def test_an_architecture_survives_being_written_and_read(architecture):
    assert Architecture.parse(str(architecture)) == architecture


def test_an_architecture_is_written_as_layers_heads_hidden_intermediate():
    assert str(Architecture(4, 8, 1024, 768)) == "4,8,1024,768"
    assert Architecture.parse(" 4, 8 ,1024,768 ").intermediate_size == 768


def test_heads_that_do_not_divide_the_hidden_size_are_refused_with_those_that_do():
    with pytest.raises(
        ValueError, match=r"num_attention_heads 5 does not .* 12; allowed here: 1, "
    ):
        Architecture(1, 5, 12, 1)


@pytest.mark.parametrize("field", Architecture.__slots__)
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "2", None])
def test_a_field_that_is_no_positive_integer_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"{field} is .*; it must be an integer of at least 1"):
        replace(Architecture(1, 1, 1, 1), **{field: value})


@pytest.mark.parametrize(
    "text", ["", "4,8,1024", "4,8,1024,768,1", "a,b,c,d", "4;8;1;1", "-4,1,1,1"]
)
def test_malformed_text_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"not of the form D,A,H,I .* for example 3,12,384,768\."):
        Architecture.parse(text)


def test_an_architecture_fits_in_another_only_if_no_field_is_larger():
    small, large = Architecture(2, 4, 96, 192), Architecture(2, 12, 384, 192)
    assert small.fits_in(large) and small.fits_in(small)
    assert not large.fits_in(small)
    assert not Architecture(1, 1, 1, 193).fits_in(large)


# SearchSpace


def test_borts_space_has_360_combinations_of_which_300_are_valid():
    space = SearchSpace.bort()
    raw = [len(getattr(space, axis)) for axis in SearchSpace.__slots__]
    assert raw == [6, 4, 3, 5]  # 6 * 4 * 3 * 5 = 360; 12 heads divide only 768
    assert len(space) == len(list(space)) == len(set(space)) == 300
    assert sum(a.num_attention_heads == 12 for a in space) == 6 * 5


def test_borts_space_has_90_parameter_counts_since_heads_are_free():
    bert = sources["bert-large-uncased"]
    assert len({n_parameters(a, bert).total for a in SearchSpace.bort()}) == 90


def test_minilms_default_grid_is_the_documented_one():
    space = SearchSpace.of(MINILM)
    assert space.num_hidden_layers == (1, 2, 3, 4, 5, 6)
    assert space.num_attention_heads == (2, 4, 6, 12)
    assert space.hidden_size == (96, 192, 288, 384)
    assert space.intermediate_size == (192, 384, 768, 1536)
    assert len(space) == 384


@pytest.mark.parametrize("source", sources.values(), ids=str)
def test_a_source_lies_in_its_default_grid_and_is_its_largest(source):
    space = SearchSpace.of(source)
    assert source.architecture in space
    assert all(a.fits_in(source.architecture) for a in space)
    assert space.within(source) == space


@unhurried
@given(architectures())
def test_any_source_lies_in_its_default_grid_and_is_its_largest(architecture):
    space = SearchSpace.of(replace(MINILM, architecture=architecture))
    assert architecture in space
    assert all(getattr(architecture, axis) == getattr(space, axis)[-1] for axis in space.__slots__)


def test_a_deep_sources_default_grid_steps_by_two_and_ends_at_the_source():
    odd = Source("odd", "bert", Architecture(7, 9, 90, 50), vocab_size=10)
    space = SearchSpace.of(odd)
    assert space.num_hidden_layers == (2, 4, 6, 7)
    assert space.num_attention_heads == (9,)  # an eighth, a quarter and a half are no integers
    assert space.hidden_size == (22, 45, 67, 90)
    assert space.intermediate_size == (6, 12, 25, 50)


@unhurried
@given(st.lists(st.tuples(*[st.integers(1, 12)] * 4), min_size=1, max_size=4))
def test_length_iteration_and_membership_agree(rows):
    axes = [tuple(column) for column in zip(*rows, strict=True)]
    valid = {
        (d, a, h, i)
        for d in axes[0]
        for a in axes[1]
        for h in axes[2]
        for i in axes[3]
        if h % a == 0
    }
    if not valid:
        with pytest.raises(ValueError, match="the grid is empty"):
            SearchSpace(*axes)
        return
    space = SearchSpace(*axes)
    assert {tuple(int(n) for n in str(a).split(",")) for a in space} == valid
    assert len(space) == len(valid)
    assert all(a in space for a in space)
    assert Architecture(13, 1, 1, 1) not in space


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (((), (1,), (8,), (8,)), r"num_hidden_layers \[\]: give 1 to 64 positive integers"),
        (((1,), (1,), (8, 0), (8,)), r"hidden_size \[8, 0\]: give 1 to 64 positive integers"),
        (((1,), (5, 7), (8, 9), (8,)), r"none of the heads \[5, 7\] divides .* \[8, 9\]"),
    ],
)
def test_a_grid_without_a_valid_combination_is_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace(*axes)


def test_a_grid_is_read_from_ranges_and_lists():
    assert SearchSpace.parse("D=1-3,6 A=2,12 H=96,384 I=192", MINILM) == SearchSpace(
        (1, 2, 3, 6), (2, 12), (96, 384), (192,)
    )
    assert SearchSpace.parse("bort", MINILM) == SearchSpace.bort()
    assert SearchSpace.parse("default", MINILM) == SearchSpace.of(MINILM)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"space '' is not known; allowed: 'default', 'bort', or a grid such as"),
        ("D=1 A=1 H=8", "is not known; allowed: 'default'"),
        ("D=1 A=1 H=8 I=8 J=8", "is not known; allowed: 'default'"),
        ("D=1-2-3 A=1 H=8 I=8", "'1-2-3' is neither a number nor a range such as 1-6"),
        ("D=1- A=1 H=8 I=8", "'1-' is neither a number nor a range"),
        ("D=6-1 A=1 H=8 I=8", r"num_hidden_layers \[\]: give 1 to 64 positive integers"),
    ],
)
def test_a_grid_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace.parse(text, MINILM)


@pytest.mark.parametrize("field", Architecture.__slots__)
def test_nothing_beyond_the_source_is_searched_where_weights_are_inherited(field):
    shape = MINILM.architecture
    axes = [(getattr(shape, name) * (1 + (name == field)),) for name in SearchSpace.__slots__]
    with pytest.raises(ValueError, match=rf"^{field} \d+ is beyond minilm-l6's \d+, .*scratch\.$"):
        SearchSpace(*axes).within(MINILM)


# Source


def model_folder(tmp_path: Path, weights: str = "model.safetensors", **changes: object) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    (folder / weights).write_bytes(b"")
    return folder


def test_an_unknown_source_is_refused_with_those_allowed():
    with pytest.raises(ValueError, match=r"'gpt-9' is not known; allowed: minilm-l6, .* hub id"):
        Source.load("gpt-9")


def test_mobilebert_is_left_out_with_the_reason_and_another_choice():
    with pytest.raises(ValueError, match=r"left out: its layers have bottlenecks .* Choose "):
        Source.load("mobilebert")
    assert not LEFT_OUT.keys() & sources.keys()


def test_a_local_folder_is_a_source(tmp_path):
    folder = model_folder(tmp_path)
    source = Source.load(str(folder))
    assert source == Source(
        "mine", "bert", Architecture(2, 4, 64, 128), 1000, 128, 3, weights=str(folder)
    )


def test_a_folder_without_a_config_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no config\.json; save the model there with"):
        Source.load(str(tmp_path))


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "nothing.txt"])
def test_a_folder_without_safe_weights_is_refused(tmp_path, weights):
    folder = model_folder(tmp_path, weights)
    with pytest.raises(ValueError, match=r"no model\.safetensors: .* pickled ones are not read"):
        Source.load(str(folder))


def test_another_family_is_refused_by_name(tmp_path):
    folder = model_folder(tmp_path, model_type="gpt2")
    with pytest.raises(ValueError, match=r"model_type 'gpt2'; allowed: bert, roberta, distilbert"):
        Source.load(str(folder))


def test_a_config_that_lacks_a_field_is_refused_by_the_fields_name():
    with pytest.raises(ValueError, match=r"mine: config\.json lacks 'hidden_size'"):
        Source.from_config({k: v for k, v in CONFIG.items() if k != "hidden_size"}, "mine", None)


def test_a_config_that_is_not_json_is_refused(tmp_path):
    folder = model_folder(tmp_path)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not JSON .*; save the model again"):
        Source.load(str(folder))


@pytest.mark.parametrize("config", [[], 5, None, "text"])
def test_a_config_that_is_not_an_object_is_refused(tmp_path, config):
    folder = model_folder(tmp_path)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"mine: config\.json is not a JSON object"):
        Source.load(str(folder))


@pytest.mark.parametrize("name", ["x" * 300, "~nobody-by-that-name/model"])
def test_a_name_that_the_file_system_cannot_take_is_an_unknown_source(name):
    with pytest.raises(ValueError, match="is not known; allowed: minilm-l6"):
        Source.load(name)


def hub_error(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)  # their constructors want a response, which is beside the point
    error.args = ("no",)
    return error


@pytest.mark.parametrize(
    "kind", [LocalEntryNotFoundError, RepositoryNotFoundError, ConnectionError, PermissionError]
)
def test_a_hub_that_cannot_be_reached_is_one_clear_line(monkeypatch, kind):
    def fail(*args: object, **named: object) -> str:
        raise hub_error(kind)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    expected = rf"'a/b' could not be fetched from the hub \({kind.__name__}\): check .* minilm-l6"
    with pytest.raises(ValueError, match=expected) as caught:
        Source.load("a/b")
    assert "\n" not in str(caught.value)


def test_a_hub_id_is_a_source(monkeypatch, tmp_path):
    config = model_folder(tmp_path) / "config.json"
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda name, file: str(config))
    source = Source.load("someone/something")
    assert (source.name, source.weights) == ("someone/something", "someone/something")
    assert source.architecture == Architecture(2, 4, 64, 128)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("bert-tiny", "Bert"), ("roberta-base", "Roberta"), ("distilbert-base-uncased", "DistilBert")],
)
def test_a_real_transformers_config_is_built_and_read_back(name, kind):
    from transformers import AutoConfig

    shape = Architecture(3, 2, 64, 96)
    source = sources[name]
    config = AutoConfig.for_model(source.model_type, **source.config(shape))
    assert type(config).__name__ == f"{kind}Config"
    assert config.num_hidden_layers == 3 and config.hidden_size == 64
    read = Source.from_config(config.to_dict(), name, source.weights)
    assert read == replace(source, architecture=shape)


def test_every_reference_weights_are_a_hub_id_or_embedded_or_none():
    for source in sources.values():
        assert source.weights in (None, "embedded") or re.fullmatch(r"[\w.-]+/.+", source.weights)
    assert MINILM.weights == "embedded" and sources["bort"].weights is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("vocab_size", "many"), ("max_position_embeddings", None), ("type_vocab_size", -1)],
)
def test_a_source_s_sizes_are_checked(field, value):
    config = {"model_type": "bert", "vocab_size": 9, "max_position_embeddings": 9}
    config |= dict.fromkeys(("num_hidden_layers", "num_attention_heads"), 1)
    config |= {"hidden_size": 8, "intermediate_size": 8, field: value}
    with pytest.raises(ValueError, match=rf"source mine: {field} is {value!r}; it must be an int"):
        Source.from_config(config, "mine", None)
