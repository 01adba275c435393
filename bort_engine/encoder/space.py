"""What is searched: an architecture (four integers) and a space of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

MOST_VALUES = 64  # on one axis of a grid
MOST = 999_999  # of anything in an architecture


@dataclass(frozen=True, slots=True, order=True)
class Architecture:
    """One encoder shape, in Hugging Face's field names; the papers write it (D, A, H, I).

    Raises:
        ValueError: a field is no integer from 1 to 999,999, or the heads do not divide the hidden
            size.
    """

    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    intermediate_size: int

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= MOST:
                raise ValueError(
                    f"{name} is {value!r:.40}; allowed: an integer from 1 to {MOST:,}."
                )
        if self.hidden_size % self.num_attention_heads:
            divisors = [n for n in range(1, self.hidden_size + 1) if self.hidden_size % n == 0]
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} does not divide hidden_size "
                f"{self.hidden_size}; allowed here: {', '.join(map(str, divisors))}."
            )

    @classmethod
    def parse(cls, text: str) -> Architecture:
        """Read `D,A,H,I`, the way architectures are written everywhere in this project."""
        if not re.fullmatch(r"\s*\d{1,6}(\s*,\s*\d{1,6}){3}\s*", text):
            raise ValueError(
                f"architecture {text[:60]!r} is not of the form D,A,H,I; allowed: four integers "
                "with commas between them (layers, heads, hidden size, intermediate size). Write, "
                "for example, 3,12,384,768."
            )
        return cls(*(int(part) for part in text.split(",")))

    def __str__(self) -> str:
        return ",".join(str(getattr(self, name)) for name in self.__slots__)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        """In a record an architecture is written as `D,A,H,I` (pydantic asks for this)."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            cls.parse, core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )

    @property
    def head_width(self) -> int:
        """Hidden units of one head."""
        return self.hidden_size // self.num_attention_heads

    def fits_in(self, other: Architecture) -> bool:
        """True where no field exceeds `other`'s: then weights can be inherited from it."""
        return all(getattr(self, name) <= getattr(other, name) for name in self.__slots__)

    def is_slice_of(self, other: Architecture) -> bool:
        """True where this fits in `other` and its heads are no wider: each is a part of one."""
        return self.fits_in(other) and self.head_width <= other.head_width


class Shaped(Protocol):
    """What a space asks of a source (`sources.Source`, which is built on this module)."""

    @property
    def name(self) -> str: ...
    @property
    def architecture(self) -> Architecture: ...


def check_slice(architecture: Architecture, source: Shaped) -> None:
    """Raise a ValueError unless the architecture is a slice of the source."""
    if not architecture.is_slice_of(source.architecture):
        raise ValueError(
            f"{architecture} is no slice of {source.name} ({source.architecture}): it has more of "
            "something, or wider heads. Choose a smaller one, or the oracle brief."
        )


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A finite product grid where heads must divide the hidden size; iterates in grid order.

    `widest_head` leaves out what has wider heads (hidden units of one head); 0 for no limit.

    Raises:
        ValueError: an axis is empty, or no combination is valid.
    """

    num_hidden_layers: tuple[int, ...]
    num_attention_heads: tuple[int, ...]
    hidden_size: tuple[int, ...]
    intermediate_size: tuple[int, ...]
    widest_head: int = 0

    def __post_init__(self) -> None:
        for name in Architecture.__slots__:
            values = getattr(self, name)
            positive = all(type(value) is int and value > 0 for value in values)
            if not positive or not 0 < len(values) <= MOST_VALUES:
                raise ValueError(
                    f"{name} {str(list(values))[:80]}: give 1 to {MOST_VALUES} positive integers."
                )
            object.__setattr__(self, name, tuple(sorted(set(values))))  # the way in when frozen
        if not len(self):
            limit = f" into heads of at most {self.widest_head}" if self.widest_head else ""
            raise ValueError(
                f"the grid is empty: none of the heads {list(self.num_attention_heads)} divides "
                f"a hidden size in {list(self.hidden_size)}{limit}. Change one of the two."
            )

    @classmethod
    def bort(cls) -> SearchSpace:
        """The 300 valid architectures searched for Bort ([BORT] section 3)."""
        return cls(
            (2, 4, 6, 8, 10, 12), (4, 8, 12, 16), (512, 768, 1024), (256, 512, 768, 1024, 3072)
        )

    @classmethod
    def of(cls, source: Shaped) -> SearchSpace:
        """The default grid of a source: nothing in it exceeds the source, which is its maximum."""
        shape = source.architecture
        depth, heads = shape.num_hidden_layers, shape.num_attention_heads
        step = 1 if depth <= 6 else 2
        # 12 heads have no eighth, so they are shared out as 2, 4, 6 and 12.
        shares = (6, 3, 2, 1) if heads % 6 == 0 else (8, 4, 2, 1)
        return cls(
            tuple({*range(step, depth + 1, step), depth}),
            tuple(heads // share for share in shares if heads % share == 0),
            tuple(max(1, shape.hidden_size * quarters // 4) for quarters in (1, 2, 3, 4)),
            tuple(max(1, shape.intermediate_size // share) for share in (8, 4, 2, 1)),
        )

    @classmethod
    def fine(cls, source: Shaped) -> SearchSpace:
        """The slices of a source in small steps, for the elastic student: 2,640 of MiniLM-L6.

        Heads as wide as 4 to 16 sixteenths of the source's, 3 to 24 twenty-fourths of its neurons.
        """
        shape, coarse = source.architecture, cls.of(source)
        heads, width = shape.num_attention_heads, shape.head_width
        return cls(
            coarse.num_hidden_layers,
            coarse.num_attention_heads,
            tuple(heads * -(-width * part // 16) for part in range(4, 17)),
            tuple(-(-shape.intermediate_size * part // 24) for part in range(3, 25)),
            widest_head=width,
        )

    @classmethod
    def parse(cls, text: str, source: Shaped) -> SearchSpace:
        """Read `default`, `fine`, `bort`, or a grid such as `D=1-6 A=2,12 H=96,384 I=192,1536`."""
        if text in ("default", "fine"):
            return cls.of(source) if text == "default" else cls.fine(source)
        if text == "bort":
            return cls.bort()
        axes = dict(re.findall(r"([DAHI])=([\d,\-]+)", text))
        remainder = re.sub(r"[DAHI]=[\d,\-]+", "", text).strip(" ;")
        if remainder or sorted(axes) != ["A", "D", "H", "I"]:
            raise ValueError(
                f"space {text[:80]!r} is not known; allowed: 'default', 'fine', 'bort', or a grid "
                "such as 'D=1-6 A=2,12 H=96,384 I=192,1536'. The command `layers` searches shapes "
                "whose layers differ."
            )
        depths, heads, hidden, neurons = (_numbers(axes[letter]) for letter in "DAHI")
        return cls(depths, heads, hidden, neurons)

    def within(self, source: Shaped) -> SearchSpace:
        """Return this space, checked: weights can be inherited only from something larger."""
        for name in Architecture.__slots__:
            largest, limit = max(getattr(self, name)), getattr(source.architecture, name)
            if largest > limit:
                raise ValueError(
                    f"{name} {largest} is beyond {source.name}'s {limit}, and weights are "
                    f"inherited from it; give values up to {limit}, or start from scratch."
                )
        return self

    def _holds(self, heads: int, hidden: int) -> bool:
        return hidden % heads == 0 and (not self.widest_head or hidden // heads <= self.widest_head)

    def __iter__(self) -> Iterator[Architecture]:
        axes = (getattr(self, name) for name in Architecture.__slots__)
        return (Architecture(d, a, h, i) for d, a, h, i in product(*axes) if self._holds(a, h))

    def __len__(self) -> int:
        pairs = sum(self._holds(*p) for p in product(self.num_attention_heads, self.hidden_size))
        return len(self.num_hidden_layers) * pairs * len(self.intermediate_size)

    def __contains__(self, architecture: object) -> bool:
        return (
            isinstance(architecture, Architecture)
            and self._holds(architecture.num_attention_heads, architecture.hidden_size)
            and all(
                getattr(architecture, name) in getattr(self, name)
                for name in Architecture.__slots__
            )
        )


def _numbers(text: str) -> tuple[int, ...]:
    """Read `1-3,6` as 1, 2, 3, 6."""
    values: list[int] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part)
        if match is None:
            raise ValueError(f"{part!r} is neither a number nor a range such as 1-6.")
        values += range(int(match[1]), int(match[2] or match[1]) + 1)
        if len(values) > MOST_VALUES:
            raise ValueError(f"{text[:40]!r} is more than {MOST_VALUES} values; give fewer.")
    return tuple(values)
