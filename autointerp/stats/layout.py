"""Vectors laid out in the plane, so that near ones lie near: UMAP on cosine distance.

Up to `EXACT` vectors neighbours are found by all pairs. Beyond, they are found by nearest neighbour
descent, which misses some; their cosines are exact.
Source: McInnes, Healy & Melville 2018, arXiv:1802.03426; Dong, Moses & Li 2011, WWW.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.errors import BadInput, install_hint
from autointerp.stats import cosines
from autointerp.stats.cosines import Indices, Vectors
from autointerp.text import count

VERSION = 1  # of what the same vectors and parameters are laid out as
EXACT = 20_000
LEAST = 5  # vectors
ROUNDING = 1e-5  # extents under it are those of float32


@dataclass(frozen=True)
class LayoutParameters:
    """How vectors are laid out.

    Attributes:
        neighbours: Of each vector, that it is drawn to; fewer where there are fewer vectors.
        spread: Least distance of points on the map, UMAP's `min_dist`, 0 to 1.
        seed: Of the layout, and of the search for neighbours.
    """

    neighbours: int = 15
    spread: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.neighbours <= 200:
            raise BadInput(f"--neighbours {self.neighbours}: give 2 to 200, such as 15")
        if not 0 <= self.spread <= 1:
            raise BadInput(f"--spread {self.spread:g}: give a number from 0 to 1, such as 0.1")
        if not 0 <= self.seed < 2**32:
            raise BadInput(f"--seed {self.seed}: give 0 to {2**32 - 1}")


@dataclass(frozen=True)
class Layout:
    """Vectors in the plane, and their nearest ones.

    Attributes:
        points: [n, 2] float32.
        index: [n, k] the nearest others of each, the nearest first.
        cosine: [n, k] float32, theirs.
        is_exact: Whether `index` was found by all pairs.
    """

    points: Vectors
    index: Indices
    cosine: Vectors
    is_exact: bool


def digest_of(vectors: Vectors, parameters: LayoutParameters) -> str:
    """Return the key under which the layout of vectors [n, width] is kept: sha256."""
    about = {"version": VERSION, "shape": vectors.shape, **asdict(parameters)}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Set torch's number of threads, if torch is imported, to what it was before.

    Numba sets that of the whole process to the number of cores. Where torch was told to use one
    thread, small forward passes then take up to a thousand times as long.
    """
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 0
    try:
        yield
    finally:
        if torch and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


@torch_threads_kept()
def lay_out(
    vectors: Vectors, parameters: LayoutParameters | None = None, exact: int = EXACT
) -> Layout:
    """Return the layout of vectors [n, width] of length 1; the same vectors have the same one.

    Raises BadInput for fewer than 5 vectors, for vectors of one axis or direction, or where
    umap-learn is not installed.
    """
    parameters = parameters or LayoutParameters()
    if len(vectors) < LEAST:
        raise BadInput(
            f"{count(len(vectors), 'vector')} with a direction: a map takes at least {LEAST}; name "
            "other sources by --source"
        )
    umap = _umap()
    k = min(parameters.neighbours, len(vectors) - 1)
    is_exact = len(vectors) <= exact
    index, cosine = _exact(vectors, k) if is_exact else _descent(vectors, k, parameters.seed)
    # A vector is its own first neighbour there.
    own = np.arange(len(vectors))[:, None]
    around = np.concatenate([own, index], axis=1)
    distance = np.concatenate([np.zeros(own.shape, np.float32), 1 - cosine], axis=1)
    with warnings.catch_warnings():
        # That no new vectors can be placed later, and that tiny sets are tiny.
        warnings.simplefilter("ignore")
        made = umap.UMAP(
            n_neighbors=k + 1,
            min_dist=parameters.spread,
            metric="cosine",
            init=_first_axes(vectors),
            random_state=parameters.seed,
            n_jobs=1,  # else a seed decides nothing
            precomputed_knn=(around, np.maximum(distance, 0).astype(np.float32)),
        ).fit_transform(vectors)
    return Layout(np.asarray(made, dtype=np.float32), index, cosine, is_exact)


def kept_neighbours(layout: Layout) -> npt.NDArray[np.float64]:
    """Return the share of each vector's nearest ones that are among as many nearest points, [n].

    It says how far the map can be trusted: 1 where every neighbourhood is as it was.
    """
    k = layout.index.shape[1]
    tree = scipy.spatial.cKDTree(layout.points)
    _, near = tree.query(layout.points, k + 1)
    own = np.arange(len(near))[:, None]
    near = np.where(near == own, -1, near)[:, : k + 1]
    shared = (near[:, :, None] == layout.index[:, None, :]).any(axis=1)
    return np.asarray(shared.mean(axis=1), dtype=np.float64)


def _umap() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for TensorFlow, which is not needed
            import umap
    except ImportError as error:
        raise BadInput(f"a map needs umap-learn ({error}): {install_hint('map')}") from None
    _keep_compiled()
    return umap


@functools.cache
def _keep_compiled() -> None:
    """Have numba keep what it compiles of umap for the next process: else it takes 6 s in each.

    It lies where numba keeps the rest: beside the sources, in the user's cache, or in the folder
    that NUMBA_CACHE_DIR names.
    """
    import umap.layouts

    for module in (umap.umap_, umap.layouts, umap.utils):
        for value in vars(module).values():
            if hasattr(value, "enable_caching"):
                with contextlib.suppress(RuntimeError):  # there is no folder that can be written
                    value.enable_caching()


def _exact(vectors: Vectors, k: int) -> tuple[Indices, Vectors]:
    near = cosines.nearest(vectors, vectors, k + 1)
    return _without_itself(near.index, near.cosine, k)


def _without_itself(index: Indices, cosine: Vectors, k: int) -> tuple[Indices, Vectors]:
    """Return the first `k` of each row that are not the row itself.

    Of vectors that stand several times the row itself need not be the first, or there at all.
    """
    is_other = index != np.arange(len(index))[:, None]
    order = np.argsort(~is_other, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(index, order, axis=1), np.take_along_axis(cosine, order, axis=1)


def _descent(vectors: Vectors, k: int, seed: int) -> tuple[Indices, Vectors]:
    import pynndescent

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = pynndescent.NNDescent(
            vectors,
            metric="cosine",
            n_neighbors=k + 1,
            random_state=seed,
            n_jobs=1,
            compressed=False,
        )
    return best_of(vectors, np.asarray(graph.neighbor_graph[0], dtype=np.int64), k)


def best_of(vectors: Vectors, candidates: Indices, k: int) -> tuple[Indices, Vectors]:
    """Return for each vector [n, width] the `k` nearest of its candidates, and their cosines.

    Candidates [n, more than k] may hold the vector itself, which is left out, and places that a
    search left empty, below 0, which come last.
    """
    cosine = np.empty(candidates.shape, np.float32)
    rows = max(1, cosines.BLOCK // (candidates.shape[1] * vectors.shape[1]))
    for begin in range(0, len(vectors), rows):
        part = slice(begin, begin + rows)
        np.einsum("nd,nkd->nk", vectors[part], vectors[candidates[part]], out=cosine[part])
    cosine[candidates < 0] = -1
    order = np.argsort(-cosine, axis=1, kind="stable")
    near = np.take_along_axis(np.maximum(candidates, 0), order, axis=1)
    return _without_itself(near, np.clip(np.take_along_axis(cosine, order, axis=1), -1, 1), k)


def _first_axes(vectors: Vectors) -> Vectors:
    """Return the first two principal components [n, 2]: where the layout begins.

    The sign of each is such that its largest loading is positive. Where vectors lie on one line,
    they begin in a row beside it, as UMAP divides by the extent of either component.
    """
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    axes = axes[:, ::-1][:, :2]
    if axes.shape[1] < 2:
        raise BadInput("vectors of one axis make no map; name other sources by --source")
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(2)])
    points = np.asarray(centred @ axes, dtype=np.float32)
    along, beside = np.ptp(points, axis=0)
    if along <= ROUNDING:
        raise BadInput(
            f"all {count(len(vectors), 'vector')} have one direction and make no map; name other "
            "sources by --source"
        )
    if beside <= ROUNDING * along:
        points[:, 1] = along * np.linspace(-0.5, 0.5, len(points), dtype=np.float32)
    return points
