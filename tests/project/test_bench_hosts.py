"""The figures of two hosts, where none can be made, and how their processes are found."""

import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from bench import hosts


def test_without_network_namespaces_the_figure_says_that_it_was_not_measured(
    monkeypatch: pytest.MonkeyPatch,
):
    commands: list[list[str]] = []

    def run(words: list[str], **options: Any) -> None:
        commands.append(words)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (figure,) = hosts.figures(quick=True)
    assert figure["figure"] == "two_hosts_identical"
    assert figure["value"] is None  # neither yes nor no
    assert figure["note"] == "not measured: ip or unshare is not installed"
    assert [words[2:5] for words in commands] == [["bench._small_shards", "harvest", "--subject"]]


def test_what_a_killed_host_ran_is_found_by_its_first_process():
    shell = subprocess.Popen(
        ["sh", "-c", f"{sys.executable} -c 'input()' & wait"], stdin=subprocess.PIPE
    )
    try:
        while len(hosts.descendants(shell.pid)) < 2 and shell.poll() is None:
            pass
        found = hosts.descendants(shell.pid)
        assert found[0] == shell.pid
        assert len(found) == 2
        assert shell.pid in hosts.descendants(os.getpid())
        assert all(hosts.cpu_s(process) >= 0 for process in found)
    finally:
        for process in reversed(hosts.descendants(shell.pid)):
            os.kill(process, 9)
        shell.wait()
        assert shell.stdin is not None
        shell.stdin.close()
    assert hosts.cpu_s(shell.pid) == 0.0
