"""Children of a fork server, seen from the process that wants them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from admbench import children

SERVER = "admbench.bench.run.executors.fork_server"
CLOSING_SECONDS = 10.0
_RECEIVED = 1 << 16


class ServerDied(Exception):
    """The fork server ended before its time; the message is the last line that it wrote."""


@dataclass
class Forked:
    """A child; its fields change while its server is looked at."""

    id: str
    pid: int | None = None
    """None until it has started."""
    code: int | None = None
    """As of `subprocess.Popen.returncode`; None while it runs."""


class ForkServer:
    """A server of children that run `module.main(arguments)`. Its first child waits for the imports, the others do not.

    Args:
        module: what children run; imported once, so it must not start threads when it is imported.
        threads: share of the cores of each child, and of the libraries that read it when they are imported.
        held: file descriptors that the server and its children keep open, such as that of a lock, which is then held
            until the last of them has gone. Programs that these start do not have them.
    """

    def __init__(self, module: str, threads: int, held: Sequence[int] = ()) -> None:
        self._forked: dict[str, Forked] = {}
        self._compact = False
        self._unread = b""
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                children.command(SERVER, module, *map(str, (theirs.fileno(), os.getpid(), *held))),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno(), *held],
                start_new_session=True,  # Ctrl-C reaches the run, which then stops its children
                env=children.environment(threads),
            )
        self._channel.setblocking(False)

    def start(
        self, arguments: Sequence[str], log: Path, environment: Mapping[str, str], module: str | None = None
    ) -> Forked:
        """Ask for a child whose output goes to the end of a file.

        Args:
            arguments: of `module.main`.
            log: the file.
            environment: variables that the child has beside those of the server.
            module: whose `main` it runs; None is the server's.

        Raises:
            ServerDied: there is no server any more.
        """
        child = Forked(str(len(self._forked)))
        self._forked[child.id] = child
        request = {"id": child.id, "arguments": list(arguments), "log": os.path.abspath(log)}
        self._ask(request | {"environment": dict(environment)} | ({} if module is None else {"module": module}))
        return child

    def kill(self, child: Forked) -> None:
        """Ask for the end of a child, with all that it started. Nothing is lost: every product is written atomically.

        Raises:
            ServerDied: there is no server any more.
        """
        self._ask({"id": child.id, "kill": True})

    def compact(self) -> None:
        """Say, once, that many children are to come: they start in less time, after a second of the server's own.

        Raises:
            ServerDied: there is no server any more.
        """
        if not self._compact:
            self._compact = True
            self._ask({"compact": True})

    def look(self) -> None:
        """Learn which children have started and which have ended.

        Raises:
            ServerDied: there is no server any more; its children end within a second.
        """
        while True:
            try:
                received = self._channel.recv(_RECEIVED)
            except BlockingIOError:
                return
            except OSError:
                received = b""
            if not received:
                raise ServerDied(self._last_words())
            *lines, self._unread = (self._unread + received).split(b"\n")
            for line in lines:
                message = json.loads(line)
                child = self._forked[message["id"]]
                child.pid = message.get("pid", child.pid)
                child.code = message.get("code")

    def fileno(self) -> int:
        """Return the descriptor that is ready to be read when there is something to learn; for `select`."""
        return self._channel.fileno()

    def close(self) -> None:
        """Have the server kill the children that still run, with all that they started, and end."""
        self._channel.close()
        try:
            if any(child.pid is not None for child in self._forked.values()):
                self._process.wait(CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()
            self._process.wait()
            self._output.close()

    def _ask(self, request: dict[str, Any]) -> None:
        try:
            self._channel.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            raise ServerDied(self._last_words()) from None

    def _last_words(self) -> str:
        code = self._process.wait(CLOSING_SECONDS)
        self._output.seek(0)
        lines = [line.strip() for line in self._output.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {code}"
