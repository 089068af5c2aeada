"""The figures of an accelerator, on a CPU and at shapes of a few thousand weights."""

import json

import pytest

from bench import device

SMALL = device.SMALL_SHAPES[0]
ROWS = SMALL.batches[0][1]
KINDS = ["tokens_per_s", "ratio", "pass_ratio", "peak_mb", "host_cpu_share", "stages"]
TOPK = ["topk_ratio", "topk_pass_ratio"]


def test_each_shape_has_its_speed_its_ratios_its_memory_and_its_stages():
    figures = {figure["figure"]: figure for figure in device.figures("cpu")}
    assert set(figures) == {
        *(f"device_pythia_{kind}" for kind in KINDS),
        *(f"device_pythia_16_{kind}" for kind in KINDS),
        *(f"device_1b_{kind}" for kind in KINDS + TOPK),
        *(f"device_pythia_all_units_{kind}" for kind in [*KINDS, "encoder_pass_ratio"]),
    }
    for name, figure in figures.items():
        assert json.loads(json.dumps(figure)) == figure
        if name.endswith(("ratio", "per_s", "share")):
            assert figure["value"] > 0
            assert "tokens in batches of" in figure["note"]
            assert "both bfloat16" in figure["note"]
            assert "cpu" in figure["note"]
    for name in ("device_pythia_stages", "device_1b_stages"):
        assert set(figures[name]["value"]) == {
            "host: read",
            "host: places",
            "host: sort and keep",
            "host: contexts",
            "forward",
            "block of features",
            "block of neurons",
            "thresholds",
        }


def test_without_an_accelerator_one_figure_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    (figure,) = device.figures()
    assert figure["figure"] == "device_accelerators"
    assert figure["value"] == 0
    assert figure["note"] == "no accelerator: torch finds neither CUDA nor MPS here"


def test_a_batch_that_the_memory_does_not_hold_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import torch

    on = device.accelerator("cpu")
    assert on is not None
    bench = device.build(SMALL, on)
    harvested = bench.harvested

    def within_memory(wants, settings):
        if settings.rows > min(ROWS):
            raise torch.OutOfMemoryError("too many rows")
        return harvested(wants, settings)

    monkeypatch.setattr(bench, "harvested", within_memory)
    rows, trial = device.faster(bench, device.wanted(bench.subject, 2, 2), 32, ROWS)
    assert rows == min(ROWS)
    assert trial.tokens == min(ROWS) * 31
    assert "bench: 70 rows of 32 tokens: too many rows" in capsys.readouterr().err
