"""Bounds of a server's replies: so many bytes, unpacked, and no more is read."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx2

MEGABYTE = 2**20
LEAST_BYTES = 4 * MEGABYTE  # of any reply but a batch's results
BYTES_PER_TOKEN = 4096  # with twenty alternatives and their bytes, as JSON
RESULTS_BYTES = 2048 * MEGABYTE  # of a batch, which are read line by line
LINE_BYTES = 64 * MEGABYTE
PIECE_BYTES = 64 * 1024  # unpacked at a time: others of the event loop get their turn
RESULTS = ("/content", "/results")
PACKED = {"gzip": 47, "x-gzip": 47, "deflate": 47}
ACCEPTED = {"accept-encoding": "gzip, deflate"}


class BadBody(Exception):
    """Raised while a reply is read, for one that is too long or cannot be unpacked."""


def bound_replies(most_tokens: int) -> Callable[[httpx2.Response], Awaitable[None]]:
    """Return a hook for responses: their bodies are counted while they come, and unpacked.

    `most_tokens` may be in a reply. Reading a body raises BadBody once it is over its bound.
    """
    most = LEAST_BYTES + BYTES_PER_TOKEN * most_tokens

    async def hook(response: httpx2.Response) -> None:
        packed = response.headers.get("content-encoding", "identity").strip().lower()
        window_bits = PACKED.get(packed)
        if window_bits is None and packed not in ("identity", ""):
            raise BadBody(f"the reply is packed as {packed[:40]!r}, which was not asked for")
        if window_bits is not None:
            del response.headers["content-encoding"]
        is_results = response.request.url.path.endswith(RESULTS)
        bounds = (RESULTS_BYTES, LINE_BYTES) if is_results else (most, most)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream, window_bits, *bounds)

    return hook


class _Bounded(httpx2.AsyncByteStream):
    """A body, unpacked piece by piece, that ends with BadBody where it is over its bounds."""

    def __init__(
        self,
        inner: httpx2.AsyncByteStream,
        window_bits: int | None,
        most_bytes: int,
        line_bytes: int,
    ) -> None:
        self.inner = inner
        self.window_bits = window_bits
        self.most_bytes = most_bytes
        self.line_bytes = line_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = line = 0
        unpack = _Unpacker(self.window_bits) if self.window_bits is not None else None
        async for chunk in self.inner:
            for piece in unpack(chunk) if unpack else (chunk,):
                total += len(piece)
                line = line + len(piece) if b"\n" not in piece else len(piece)
                if total > self.most_bytes or line > self.line_bytes:
                    most = min(self.most_bytes, self.line_bytes) / MEGABYTE
                    raise BadBody(f"the reply is longer than {most:.0f} MB and was not read on")
                yield piece

    async def aclose(self) -> None:
        await self.inner.aclose()


class _Unpacker:
    """Unpacks gzip or deflate, never more than a piece at a time."""

    def __init__(self, window_bits: int) -> None:
        self.window_bits = window_bits
        self.stream = zlib.decompressobj(window_bits)

    def __call__(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            try:
                piece = self.stream.decompress(chunk, PIECE_BYTES)
            except zlib.error as error:
                raise BadBody(f"the reply cannot be unpacked ({error})") from None
            chunk = self.stream.unconsumed_tail
            if self.stream.eof:
                chunk = self.stream.unused_data
                self.stream = zlib.decompressobj(self.window_bits)
            if piece:
                yield piece
