"""Mistakes in numbers that are given, each told in one line."""

from __future__ import annotations


def check_whole(name: str, value: object, least: int, most: int) -> None:
    """Raise a ValueError unless a value is an integer, and no bool, from `least` to `most`."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}; allowed: {least} to {most}.")
