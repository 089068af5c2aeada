"""How often a harvest makes a device wait: some times a batch, whatever its windows and units."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from autointerp.settings import RunSettings
from autointerp.subjects import Subject
from autointerp.units.passes import Wanted, parts_of, places_of, take_in
from autointerp.units.shards import state_of
from autointerp.units.sources import SiteBatch
from autointerp.units.sources.features import Features
from autointerp.units.sources.neurons import Neurons
from autointerp.units.stream import at_site, quiet_torch, readings

aten = torch.ops.aten
WAITS = (
    aten.nonzero.default,
    aten.nonzero_numpy.default,
    aten._local_scalar_dense.default,
    aten.is_nonzero.default,
)
PLACE = "meta"  # what the device is called: torch knows it everywhere


class OnDevice(Tensor):
    """A tensor of a device that is not there; its values are in `inner`, out of reach."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> Any:
        return Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=PLACE
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside of the device's mode")


class Device(TorchDispatchMode):
    """Computes what is asked of a device, and counts what goes there and back.

    A host's tensor among those of the device is an error, as it is of a real one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        every = tree_leaves((args, kwargs))
        leaves = [leaf for leaf in every if isinstance(leaf, Tensor)]
        on_device = [leaf for leaf in leaves if isinstance(leaf, OnDevice)]
        targets = [leaf.type for leaf in every if isinstance(leaf, torch.device)]
        goes_there = PLACE in targets
        comes_back = "cpu" in targets and bool(on_device)
        inner = tree_map_only(OnDevice, lambda one: one.inner, (args, kwargs))
        inner = tree_map_only(torch.device, lambda one: torch.device("cpu"), inner)
        out = func(*inner[0], **inner[1])
        if comes_back:
            self.counts["read"] += 1
            return out
        if not on_device and not goes_there:
            return out
        if func in WAITS:
            self.counts["wait"] += 1
        strangers = [leaf for leaf in leaves if not isinstance(leaf, OnDevice) and leaf.dim()]
        if strangers and func._schema.name not in ("aten::to", "aten::_to_copy"):
            assert func is aten.index.Tensor, f"{func} mixes host and device"
        self.counts["write"] += len(strangers)
        if func._schema.name.endswith("_"):
            return args[0]
        return tree_map_only(Tensor, OnDevice, out)


def on_device(batch: SiteBatch) -> SiteBatch:
    there = {name: getattr(batch, name).to(PLACE) for name in ("activations", "ids", "kept")}
    return replace(batch, **there)


def taken(
    subject: Subject, settings: RunSettings, units: int, rows: int, device: Device | None
) -> tuple[list[dict[str, Any]], list[Counter[str]]]:
    """What is kept after three batches of `rows` windows, and the counts of each batch."""
    asked = replace(settings.harvest, rows=rows)
    numbers = np.arange(units)
    assert subject.sae is not None
    sae = subject.sae if device is None else subject.sae.to(PLACE)
    sources: list[tuple[str, Any]] = [
        ("features", Features(sae)),
        ("neurons", Neurons(subject.d_site, subject.signed)),
    ]
    parts = parts_of([Wanted(name, one, numbers, numbers) for name, one in sources], asked, 0)
    counts = []
    with quiet_torch():
        for number, reading in enumerate(readings(subject, asked)):
            if number == 3:
                break
            batch = at_site(subject, reading, 0)
            batch = batch if device is None else on_device(batch)
            if device is not None:
                device.counts.clear()
            take_in(parts, batch, places_of(reading, asked, 0, is_first=False))
            counts.append(Counter() if device is None else Counter(device.counts))
    return [state_of(part.columns) for part in parts], counts


def test_a_device_waits_a_fixed_number_of_times_a_batch_whatever_its_windows_and_units(
    subject: Subject, settings: RunSettings
):
    counts = {}
    for units, rows in ((3, 8), (30, 8), (30, 48)):
        expected, _ = taken(subject, settings, units, rows, None)
        with Device() as device:
            found, counts[units, rows] = taken(subject, settings, units, rows, device)
        for one, other in zip(
            expected, found, strict=True
        ):  # the device computed what the host does
            assert all(np.array_equal(one[name], other[name]) for name in one)
    few, many, long = counts.values()
    assert few == many == long
    # For each of the two parts: where units fire (places, units, values) and how often (4 reads);
    # the contexts of the strongest (1); of the levels the values of places, and contexts (2);
    # contexts at random (1). It waits for what is over the least of the thresholds.
    for batch in few:
        assert 0 < batch["read"] <= 2 * 8
        assert 0 < batch["wait"] <= 2
