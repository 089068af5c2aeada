"""A share is what the user, torchrun or srun say."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import BadInput
from autointerp.units.shares import Share, share_of_environment, share_of_text


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, Share(0, 1)),
        ({"RANK": "2", "WORLD_SIZE": "4"}, Share(2, 4)),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "0"}, Share(3, 8)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, Share(0, 1)),  # the batch script itself
    ],
)
def test_the_share_is_what_torchrun_or_srun_says(environment: dict[str, str], share: Share):
    assert share_of_environment(environment) == share


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_a_share_is_read_as_it_is_written(pair: tuple[int, int]):
    assert share_of_text(f"{pair[0]}/{pair[1]}") == Share(*pair)


@given(st.text(alphabet="0123456789/-+ .eN", max_size=8))
def test_what_is_no_share_is_refused_in_one_line(text: str):
    with contextlib.suppress(BadInput):
        share = share_of_text(text)
        assert 0 <= share.rank < share.count
        return
    with pytest.raises(BadInput, match=re.escape(f"--shard {text}: ")):
        share_of_text(text)
