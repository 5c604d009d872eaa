"""A process that has imported what every job needs, and forks a child for each: `python -m ... MODULE FD`.

Importing torch, diffusers and transformers takes seconds and most of a gigabyte; here it happens once, and children
share what was imported. The standard library's forkserver was tried first: it is one a process, keeps the environment
of its first use, and runs the caller's main script again in each child.

It talks over a socket, a line of JSON at a time. In: `{"id", "arguments", "log"}` starts `MODULE.main(arguments)` in a
child in a process group of its own, with its output at the end of the file `log`. Out: `{"id", "pid"}` when a child
has started, `{"id", "code"}` when it has ended (minus the signal, if one ended it). When the other end closes, all
children are killed. Nothing here starts a thread before it forks (OpenBLAS does when it is imported, and knows of
forks), and no plug-in is imported: children load them. What `MODULE.PRELOADED` names, if it is there, is imported too.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import random
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

Main = Callable[[Sequence[str]], int | None]

_RECEIVED = 1 << 16


class _Server:
    def __init__(self, channel: socket.socket, main: Main) -> None:
        self._channel = channel
        self._main = main
        self._children: dict[int, str] = {}
        """Process id -> the request's id."""
        self._unread = b""
        self._woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = wake
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def serve(self) -> None:
        """Fork and report until the other end closes."""
        try:
            while True:
                ready, _, _ = select.select([self._channel.fileno(), self._woken], [], [])
                if self._woken in ready:
                    os.read(self._woken, _RECEIVED)
                    self._report_ended()
                if self._channel.fileno() in ready:
                    received = self._channel.recv(_RECEIVED)
                    if not received:
                        return
                    *lines, self._unread = (self._unread + received).split(b"\n")
                    for line in lines:
                        self._start(json.loads(line))
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            for pid in self._children:
                os.killpg(pid, signal.SIGKILL)
            for pid in self._children:
                os.waitpid(pid, 0)  # in a container the first process may never do it, and the group would live on

    def _start(self, request: dict[str, Any]) -> None:
        pid = os.fork()
        if pid == 0:
            self._be_child(request)
        os.setpgid(pid, pid)  # whoever comes first: from now on the group can be killed
        self._children[pid] = request["id"]
        self._say({"id": request["id"], "pid": pid})

    def _report_ended(self) -> None:
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._say({"id": self._children.pop(pid), "code": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, Any]) -> None:
        self._channel.sendall(json.dumps(message).encode() + b"\n")

    def _be_child(self, request: dict[str, Any]) -> NoReturn:
        code = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._channel.close()
            os.close(self._woken)
            os.close(self._wake)
            _redirect(request["log"])
            _reseed()
            code = _exit_code(self._main, request["arguments"])
        except BaseException:
            traceback.print_exc()
        finally:
            # what a thread or a finalizer of a plug-in still does must not keep the process
            _flush()
            os._exit(code)


def _redirect(log: str) -> None:
    """Let the output go to the end of a file, and nothing come in."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)


def _reseed() -> None:
    """Give the child random numbers of its own, where a fresh process has them; torch starts from its default seed."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def _exit_code(main: Main, arguments: Sequence[str]) -> int:
    """Run a program and return what its process would have exited with."""
    try:
        code = main(arguments)
    except SystemExit as error:
        code = error.code if error.code is None or isinstance(error.code, int) else 1
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    atexit._run_exitfuncs()
    return code or 0


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # a full disk, or a stream that the job closed
            continue


def main(arguments: Sequence[str]) -> None:
    """Import the module of the jobs, and serve."""
    name, descriptor = arguments
    channel = socket.socket(fileno=int(descriptor))
    channel.set_inheritable(False)
    module = import_module(name)
    for later in getattr(module, "PRELOADED", ()):
        import_module(later)
    gc.freeze()  # a collection in a child would write to, and so copy, every page of what was imported
    _Server(channel, module.main).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
