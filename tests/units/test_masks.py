from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from autointerp.units.masks import count_by_column, count_by_row, firing, over, where


@given(
    rows=st.integers(0, 600),
    columns=st.integers(1, 40) | st.integers(2_030, 2_060),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
@examples(max_examples=40, deadline=None)
def test_what_is_true_is_found_and_counted_in_each_column_and_row_however_much_it_is(
    rows: int, columns: int, share: float, seed: int
) -> None:
    # Over 255 of a byte's rows, and over 255 words of a row, would spill into the next byte.
    mask = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)) < share
    assert count_by_column(mask).tolist() == mask.sum(0).tolist()
    assert count_by_row(mask).tolist() == mask.sum(1).tolist()
    found = mask.nonzero(as_tuple=True)
    assert [at.tolist() for at in where(mask)] == [at.tolist() for at in found]


def test_some_columns_of_a_mask_are_counted_as_such() -> None:
    mask = torch.arange(48).view(3, 16) % 5 == 0
    assert count_by_column(mask[:, 8:]).tolist() == mask[:, 8:].sum(0).tolist()


def test_a_mask_without_rows_counts_nothing() -> None:
    mask = over(torch.zeros(0, 16), 0.0)
    assert count_by_column(mask).tolist() == [0] * 16
    assert count_by_row(mask).tolist() == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_over_is_what_torch_says_of_numbers_and_of_columns(dtype: torch.dtype) -> None:
    values = torch.tensor([[0.1, -0.0, 0.3], [0.2, 1e-45, torch.inf]]).to(dtype)
    assert over(values, 0.0).tolist() == (values > 0).tolist()
    assert over(values, 0.1).tolist() == (values > 0.1).tolist()
    least = np.array([0.1, 0.0, 0.3], np.float32)
    assert over(values, least).tolist() == (values > torch.from_numpy(least)).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [0, 1, 50])
def test_what_fires_is_found_and_counted_however_many_rows_are_looked_at_at_once(
    rows: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autointerp.units.masks.AT_ONCE", 21)  # 7 rows of 3 columns
    values = torch.randn(rows, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    least = np.array([0.5, 1.0, 0.25], np.float32)
    found = firing(values, least, 0.25)
    expected = (values > torch.from_numpy(least)).nonzero(as_tuple=True)
    assert [at.tolist() for at in found[:2]] == [at.tolist() for at in expected]
    assert found[2].tolist() == (values > 0.25).sum(0).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_no_number_is_found_and_fires_nowhere(dtype: torch.dtype) -> None:
    values = torch.tensor([[torch.nan, 0.0], [-torch.inf, torch.inf]], dtype=dtype)
    rows, columns, count = firing(values, np.zeros(2, np.float32), 0.0)
    assert [*zip(rows.tolist(), columns.tolist(), strict=True)] == [(0, 0), (1, 1)]
    assert count.tolist() == [0, 1]
