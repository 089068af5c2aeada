"""Latents of NaN or infinite weights are named, and fire nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.sae_files import B_DEC, B_ENC, D_SAE, PLAIN, RAW, W_DEC, W_ENC, X, top, written
from torch import Tensor
from torch.nn.functional import relu

from autointerp.errors import SubjectError
from autointerp.subjects.formats import Flags, load_sae

PLAIN_INPUT = Flags(subtract_b_dec=False)
ODD = (float("nan"), float("inf"), float("-inf"))


def broken(tensor: Tensor, *where: int | slice, value: float = float("nan")) -> Tensor:
    out = tensor.clone()
    out[where] = value
    return out


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("part", ["W_enc", "b_enc", "W_dec"])
@pytest.mark.parametrize("k", [None, 4])
def test_a_broken_latent_is_named_and_takes_no_place(
    value: float, part: str, k: int | None, tmp_path: Path
) -> None:
    where = {"W_enc": (0, 7), "b_enc": (7,), "W_dec": (7, 2)}[part]
    tensors = {**PLAIN, part: broken(PLAIN[part], *where, value=value)}
    flags = Flags(subtract_b_dec=False, k=k)
    loaded = load_sae(written(tmp_path / "sae.pt", tensors), flags=flags)
    assert "latent 7 of 16 has NaN or infinite weights" in loaded.notes[-1]
    others = broken(RAW, slice(None), 7, value=0.0)
    expected = others if k is None else top(others, k)
    torch.testing.assert_close(loaded.sae.encode(X), expected, atol=1e-5, rtol=1e-5)
    assert bool(torch.isfinite(loaded.sae.decode(expected)).all())
    columns = torch.tensor([7, 3])
    torch.testing.assert_close(loaded.sae.encode(X, columns), expected[:, columns])


def test_a_threshold_that_is_not_a_number_silences_its_latent(tmp_path: Path) -> None:
    threshold = broken(torch.full((D_SAE,), 0.1), 3)
    path = written(tmp_path / "sae.pt", {**PLAIN, "threshold": threshold})
    loaded = load_sae(path, flags=PLAIN_INPUT)
    assert not loaded.sae.encode(X)[:, 3].any()
    assert "latent 3 of 16" in loaded.notes[-1]


@pytest.mark.parametrize("value", ODD)
def test_a_broken_bias_of_the_decoder_is_refused(value: float, tmp_path: Path) -> None:
    path = written(tmp_path / "sae.pt", {**PLAIN, "b_dec": broken(B_DEC, 3, value=value)})
    with pytest.raises(SubjectError, match="1 of 6 values of b_dec are NaN or infinite"):
        load_sae(path, flags=Flags(subtract_b_dec=True))


def test_an_sae_that_is_mostly_broken_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "sae.pt", {**PLAIN, "b_enc": broken(B_ENC, slice(0, 9))})
    with pytest.raises(SubjectError, match=r"9 of 16 latents .*\(0, 1, 2, 3, 4, 5, 6, 7, …\)"):
        load_sae(path, flags=PLAIN_INPUT)


def test_a_broken_latent_of_a_gated_sae_fires_nowhere(tmp_path: Path) -> None:
    gate, scale = torch.ones(D_SAE) * 10, torch.zeros(D_SAE)
    tensors = {
        "W_enc": W_ENC, "W_dec": W_DEC, "b_dec": B_DEC, "b_mag": B_ENC,
        "b_gate": broken(gate, 2), "r_mag": scale,
    }  # fmt: skip
    loaded = load_sae(written(tmp_path / "sae.pt", tensors), flags=PLAIN_INPUT)
    magnitude = relu(X @ W_ENC + B_ENC) * (X @ W_ENC + 10 > 0)
    expected = broken(magnitude, slice(None), 2, value=0.0)
    torch.testing.assert_close(loaded.sae.encode(X), expected, atol=1e-5, rtol=1e-5)
