"""A harvest by two hosts, one of which is killed with -9 and started again: the same bytes?

Hosts are network namespaces that only a pair of virtual ethernet devices joins, each with process
numbers of its own, over one file system; torchrun meets over that network. To kill a host is to
kill the first of its processes, with which the kernel kills the others. Needs root and `ip`.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autointerp.store.run import open_run
from bench._shapes import figure

PORT = 29_471
ADDRESSES = ("10.213.77.1", "10.213.77.2")
LIMIT_S = 1_500.0
# torchrun tells hosts apart by address and process number: a host that comes back with the number
# that it had is taken for the one that was killed, so a few are used up first.
NUMBERED = 'for i in $(seq "$0"); do true & done; "$@" & wait $!'
# Without it, torch 2.13 says where the first process is once, and not to a host that comes back.
REJOINS = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
TABLES = ("unit", "context", "silence")


class Host:
    """A network namespace, and what runs in it."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.process: subprocess.Popen[bytes] | None = None
        self.killed_cpu_s = 0.0
        self.starts = 0

    def start(self, words: Sequence[str]) -> None:
        """Start torchrun with a command, as the only one of its process numbers."""
        # torch finds out by names of hosts who keeps the meeting place; ours have none.
        meets = f"is_host={int(self.address == ADDRESSES[0])},read_timeout=600,join_timeout=900"
        self.starts += 1
        alone = ["ip", "netns", "exec", self.name, "unshare", "--pid", "--fork", "--kill-child"]
        launch = [*alone, "sh", "-c", NUMBERED, str(3 * self.starts), sys.executable,
                  "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1",
                  "--rdzv-backend", "c10d", "--rdzv-id", "bench", "--rdzv-conf", meets,
                  "--rdzv-endpoint", f"{ADDRESSES[0]}:{PORT}", "--max-restarts", "3",
                  "--local-addr", self.address, *words]  # fmt: skip
        environment = {**os.environ, **REJOINS, "BATCH_S": "0.3", "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                launch, cwd=self.folder, env=environment, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """Kill all of its processes at once, as a power cut does."""
        assert self.process is not None
        self.killed_cpu_s += sum(map(cpu_s, descendants(self.process.pid)))
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """The end of what its processes printed."""
        return (self.folder / f"{self.name}.log").read_text(errors="replace")[-2500:]

    def wait(self, limit_s: float) -> int:
        """Return the exit status of torchrun."""
        assert self.process is not None
        return self.process.wait(timeout=limit_s)


def children_of() -> dict[int, list[int]]:
    """Return the children of each process."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(place.name))
    return children


def descendants(process: int) -> list[int]:
    """Return a process and all that it started."""
    children = children_of()
    found, left = [], [process]
    while left:
        one = left.pop()
        found.append(one)
        left.extend(children.get(one, []))
    return found


def cpu_s(process: int) -> float:
    """Return the CPU seconds of a process; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_cpu_s() -> float:
    """Return the CPU seconds of the processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ip(*words: str) -> None:
    """Run `ip`. Raises OSError with what it says if it fails."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Yield two hosts on one network, and remove them and all that runs in them.

    Raises OSError where this machine does not let us make them.
    """
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        raise OSError("ip or unshare is not installed")
    mark = f"{os.getpid() % 100_000}"
    hosts = tuple(
        Host(f"bench{letter}{mark}", address, folder)
        for letter, address in zip("ab", ADDRESSES, strict=True)
    )
    first, second = hosts
    try:
        for host in hosts:
            ip("netns", "add", host.name)
        ip("link", "add", f"va{mark}", "netns", first.name, "type", "veth", "peer", "name",
           f"vb{mark}", "netns", second.name)  # fmt: skip
        for host, device in ((first, f"va{mark}"), (second, f"vb{mark}")):
            ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", device)
            for name in ("lo", device):
                ip("-n", host.name, "link", "set", name, "up")
        yield first, second
    finally:
        for host in hosts:
            if host.process is not None and host.process.poll() is None:
                host.kill()
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True, check=False)


def command(run: str, tokens: int) -> list[str]:
    """Return the command of a harvest."""
    return ["-m", "bench._small_shards", "harvest", "--subject", "embedded", "-s", "features",
            "-s", "neurons", "-n", "20", "--controls", "5", "--tokens", str(tokens), "-q",
            "-r", run]  # fmt: skip


def digest(runs: Path, name: str) -> tuple[str, int]:
    """Return a digest of a run's units, contexts and silence, and how many contexts it has."""
    with open_run(name, folder=runs, read_only=True) as run:
        rows = [run.rows(f"SELECT * FROM {table} ORDER BY ALL") for table in TABLES]
    return hashlib.sha256(repr(rows).encode()).hexdigest(), len(rows[1])


def killed_and_restarted(folder: Path, tokens: int) -> tuple[float, float, str]:
    """Harvest by two hosts, the second of which is killed; return wall and CPU seconds, and a note.

    Raises OSError where hosts cannot be made, RuntimeError if they do not finish.
    """
    place = folder / "runs" / "two" / "harvest"
    with two_hosts(folder) as (first, second):
        began, cpu = time.monotonic(), children_cpu_s()
        for host in (first, second):
            host.start(command("two", tokens))

        def parts() -> list[Path]:
            return sorted(place.glob("*/part-*.npz"))

        def require(condition: Any, what: str) -> None:
            while not condition():
                for host in (first, second):
                    if host.process is not None and host.process.poll() is not None:
                        raise RuntimeError(f"{host.name} ended before {what}: {host.said}")
                if time.monotonic() - began > LIMIT_S:
                    raise RuntimeError(f"no {what} within {LIMIT_S:.0f} s")
                time.sleep(0.05)

        require(lambda: len(parts()) >= 2, "a checkpoint of each host")
        ranks = rank_in(second)
        second.kill()
        time.sleep(2.0)
        second.start(command("two", tokens))
        for host in (first, second):
            if status := host.wait(LIMIT_S):
                raise RuntimeError(f"{host.name} ended with {status}: {host.said}")
        spent = children_cpu_s() - cpu + second.killed_cpu_s
        note = f"the killed one was rank {ranks}"
        return time.monotonic() - began, spent, note


def rank_in(host: Host) -> str:
    """Return the rank of the process that a host's torchrun started."""
    assert host.process is not None
    for process in descendants(host.process.pid):
        try:
            environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for entry in environment:
            if entry.startswith(b"RANK="):
                return entry.removeprefix(b"RANK=").decode()
    return "unknown"


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield whether two hosts leave the bytes of one process, and what they take over it."""
    tokens = 40_000 if quick else 100_000
    # Where the modules are, for processes that start elsewhere.
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began, cpu = time.monotonic(), children_cpu_s()
        subprocess.run([sys.executable, *command("one", tokens)], cwd=folder, check=True,
                       env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        one_s, one_cpu_s = time.monotonic() - began, children_cpu_s() - cpu
        try:
            wall_s, spent_s, note = killed_and_restarted(folder, tokens)
        except OSError as error:
            yield figure("two_hosts_identical", None, "", f"not measured: {error}")
            return
        one, contexts = digest(folder / "runs", "one")
        two, _ = digest(folder / "runs", "two")
    what = (
        f"embedded subject, {tokens:,} tokens, 20 features and 20 neurons; two network namespaces "
        f"with a veth pair, torchrun's c10d rendezvous over it; one host killed with -9 in the "
        f"middle and started again ({note})"
    )
    yield figure(
        "two_hosts_identical", one == two, "", f"{contexts:,} contexts in each run; {what}"
    )
    yield figure(
        "two_hosts_cpu_ratio",
        round(spent_s / one_cpu_s, 2),
        "ratio",
        f"CPU seconds of all processes ({spent_s:.0f}), those killed included, over those of one "
        f"process ({one_cpu_s:.0f}); each start imports the libraries and calibrates; {what}",
    )
    yield figure(
        "two_hosts_wall_ratio",
        round(wall_s / one_s, 2),
        "ratio",
        f"{wall_s:.0f} s, of which each batch waits 0.3 s for the kill to meet it, over "
        f"{one_s:.0f} s; {os.cpu_count()} cores for both hosts; {what}",
    )
