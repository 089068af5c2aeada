"""A server on loopback that answers every connection with the same bytes, HTTP or not."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterable, Iterator


@contextlib.contextmanager
def raw_server(*chunks: bytes, repeats: Iterable[bytes] = ()) -> Iterator[str]:
    """Yield the address of a server that sends `chunks`, then `repeats`, and closes.

    It reads what it is sent once. A client that has gone away ends the answer.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            connection.recv(2**20)
            for chunk in itertools.chain(chunks, repeats):
                connection.sendall(chunk)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                thread = threading.Thread(target=answer, args=(connection,), daemon=True)
                thread.start()
                threads.append(thread)

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for thread in (serving, *threads):
            thread.join(10)
