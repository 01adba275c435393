"""Architectures and spaces: sizes counted by hand, round trips, and every error text."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bort_engine.encoder.costs import n_parameters
from bort_engine.encoder.sources import Source, sources
from bort_engine.encoder.space import Architecture, SearchSpace

unhurried = settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine
MINILM = sources["minilm-l6"]


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
    with pytest.raises(ValueError, match=r"heads 5 does not .* 12; allowed here: 1, 2, 3, 4, 6"):
        Architecture(1, 5, 12, 1)


@pytest.mark.parametrize(
    ("field", "value"), [*zip(Architecture.__slots__, [0, 1.0, True, "2"], strict=True)]
)
def test_a_field_that_is_no_positive_integer_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"{field} is .*; allowed: an integer from 1 to"):
        replace(Architecture(1, 1, 1, 1), **{field: value})


@pytest.mark.parametrize("text", ["", "4,8,1024", "a,b,c,d", "-4,1,1,1"])
def test_malformed_text_is_refused_with_what_is_allowed_and_an_example(text):
    words = rf"^architecture '{text}' is not of the form D,A,H,I; allowed: four .* 3,12,384,768\.$"
    with pytest.raises(ValueError, match=words):
        Architecture.parse(text)


def test_an_architecture_fits_in_another_only_if_no_field_is_larger():
    small, large = Architecture(2, 4, 96, 192), Architecture(2, 12, 384, 192)
    assert small.fits_in(large) and small.fits_in(small)
    assert not large.fits_in(small)
    assert not Architecture(1, 1, 1, 193).fits_in(large)


# SearchSpace


def test_borts_space_has_360_combinations_of_which_300_are_valid_with_90_sizes():
    space = SearchSpace.bort()
    raw = [len(getattr(space, axis)) for axis in Architecture.__slots__]
    assert raw == [6, 4, 3, 5]  # 6 * 4 * 3 * 5 = 360; 12 heads divide only 768
    assert len(space) == len(list(space)) == len(set(space)) == 300
    assert sum(a.num_attention_heads == 12 for a in space) == 6 * 5
    # Heads are free: 6 depths, 3 widths and 5 intermediate sizes are 90 parameter counts.
    assert len({n_parameters(a, sources["bert-large-uncased"]).total for a in space}) == 90


@pytest.mark.parametrize(
    ("source", "axes"),
    [
        (MINILM, ((1, 2, 3, 4, 5, 6), (2, 4, 6, 12), (96, 192, 288, 384), (192, 384, 768, 1536))),
        (  # steps of two that end at the source; no eighth, quarter or half of 9 is an integer
            Source("odd", "bert", Architecture(7, 9, 90, 50), vocab_size=10),
            ((2, 4, 6, 7), (9,), (22, 45, 67, 90), (6, 12, 25, 50)),
        ),
    ],
    ids=str,
)
def test_the_default_grid_is_the_documented_one(source, axes):
    assert SearchSpace.of(source) == SearchSpace.parse("default", source) == SearchSpace(*axes)
    assert len(SearchSpace.of(MINILM)) == 384


@unhurried
@given(architectures())
def test_any_source_lies_in_its_default_grid_and_is_its_largest(architecture):
    source = replace(MINILM, architecture=architecture)
    space = SearchSpace.of(source)
    assert architecture in space
    assert space.within(source) == space
    assert all(
        getattr(architecture, axis) == getattr(space, axis)[-1] for axis in Architecture.__slots__
    )


@unhurried
@given(st.lists(st.tuples(*[st.integers(1, 12)] * 4), min_size=1, max_size=4))
def test_length_iteration_and_membership_agree(rows):
    axes = [tuple(column) for column in zip(*rows, strict=True)]
    valid = {(d, a, h, i) for d, a, h, i in product(*axes) if h % a == 0}
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"space '' is not known; allowed: 'default', 'fine', 'bort', or a grid"),
        ("D=1 A=1 H=8 I=8 J=8", "is not known; allowed: 'default'"),
        ("D=1-2-3 A=1 H=8 I=8", "'1-2-3' is neither a number nor a range such as 1-6"),
        ("D=1-999999 A=1 H=8 I=8", "'1-999999' is more than 64 values"),
        ("D=6-1 A=1 H=8 I=8", r"num_hidden_layers \[\]: give 1 to 64 positive integers"),
    ],
)
def test_a_grid_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace.parse(text, MINILM)


@pytest.mark.parametrize("field", Architecture.__slots__)
def test_nothing_beyond_the_source_is_searched_where_weights_are_inherited(field):
    shape = MINILM.architecture
    axes = [(getattr(shape, name) * (1 + (name == field)),) for name in Architecture.__slots__]
    with pytest.raises(ValueError, match=rf"^{field} \d+ is beyond minilm-l6's \d+, .*scratch\.$"):
        SearchSpace(*axes).within(MINILM)


def test_the_fine_grid_is_of_slices_only():
    space = SearchSpace.fine(MINILM)
    # 13 hidden sizes with 12 heads; with 6 heads those up to 192, with 4 up to 128, with 2 none
    assert len(space) == len(list(space)) == 6 * (13 + 5 + 2) * 22 == 2640
    assert all(a.is_slice_of(MINILM.architecture) for a in space)
    assert Architecture(6, 6, 192, 192) in space and Architecture(6, 6, 216, 192) not in space
    assert next(iter(space)) == Architecture(1, 4, 96, 192) and MINILM.architecture in space
    assert SearchSpace.parse("fine", MINILM) == space


def test_a_slice_fits_and_has_no_wider_heads():
    assert Architecture(1, 6, 192, 8).is_slice_of(MINILM.architecture)
    assert not Architecture(1, 6, 198, 8).is_slice_of(MINILM.architecture)
    assert not Architecture(7, 12, 96, 8).is_slice_of(MINILM.architecture)
