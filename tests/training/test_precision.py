"""Precision: decided by two times, asked for by name, and probed without leaving a trace."""

import time

import pytest
import torch

from bort_engine.training import precision as module
from bort_engine.training.precision import pays, precision, product_seconds


@pytest.mark.parametrize(
    ("bf16_s", "fp32_s", "expected"),
    [
        (0.0020, 0.0040, "bf16"),  # as measured with avx512_bf16
        (0.0087, 0.0036, "fp32"),  # AVX-512 without it
        (0.0180, 0.0044, "fp32"),  # AVX2
        (0.0040, 0.0040, "fp32"),
    ],
)
def test_the_faster_product_decides_and_is_timed_once(monkeypatch, bf16_s, fp32_s, expected):
    monkeypatch.delenv("BORT_PRECISION", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    calls = []
    monkeypatch.setattr(module, "product_seconds", lambda: calls.append(1) or (bf16_s, fp32_s))
    module.fast_bf16.cache_clear()
    try:
        assert precision() == precision() == expected == ("fp32", "bf16")[pays(bf16_s, fp32_s)]
        assert calls == [1]
    finally:
        module.fast_bf16.cache_clear()


def test_the_environment_decides_without_a_probe(monkeypatch):
    monkeypatch.setattr(module, "fast_bf16", lambda: pytest.fail("it was probed"))
    for name in ("bf16", "fp32"):
        monkeypatch.setenv("BORT_PRECISION", name)
        assert precision() == name
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # what a launcher says counts less
    assert precision() == "fp32"
    monkeypatch.delenv("BORT_PRECISION")
    assert precision() == "bf16"
    monkeypatch.setenv("BORT_PRECISION", "fp16")
    with pytest.raises(ValueError, match=r"BORT_PRECISION is 'fp16'; allowed: bf16, fp32"):
        precision()


def test_a_gpu_is_asked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for answer in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda answer=answer: answer)
        assert module.fast_bf16.__wrapped__() is answer


def test_the_probe_is_short_and_leaves_the_threads_as_they_were():
    threads, start = torch.get_num_threads(), time.thread_time()
    times = product_seconds()
    assert time.thread_time() - start < 1 and 0 < min(times) <= max(times) < 1
    assert torch.get_num_threads() == threads
