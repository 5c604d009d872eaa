"""A process that has imported what every job needs, and forks a child for each.

`python -m admbench.bench.run.executors.fork_server MODULE SOCKET PARENT [HELD...]`, descriptors and a process id.
Importing torch, diffusers and transformers takes seconds and most of a gigabyte; here it happens once, and children
share what was imported. The standard library's forkserver was tried first: it is one a process, keeps the environment
of its first use, and runs the caller's main script again in each child.

It talks over a socket, a line of JSON at a time. In: `{"id", "arguments", "log", "environment"}` starts
`MODULE.main(arguments)` in a child in a process group of its own, with its output at the end of the file `log` and
variables of its own, such as the device that it sees; `{"id", "kill": true}` ends it. Out:
`{"id", "pid"}` when a child has started, `{"id", "code"}` when it has ended (minus the signal, if one ended it).

Between the server and each child stands a guard, a process that only waits: for the child, or for the wish to end it.
When the child has ended, however, the guard kills whatever it started, in its process group or out of it, and ends in
the same way as the child. If the guard itself is killed, the child goes with it, and the server ends what is left. If
the server is killed, the guards end their children. When the other end of the socket closes, the server has all guards
do so. Until there are children it goes when its parent goes.

Nothing here starts a thread before it forks (OpenBLAS does when it is imported, and knows of forks), and no plug-in is
imported: children load them. What `MODULE.PRELOADED` names is imported too, and `MODULE.prepare()` is called, if the
module has them: what it finds out is there in every child. What these libraries would do at the end of a process is not
the children's to do: taking down what torch registered took 85 ms of each.
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import multiprocessing.util
import os
import random
import resource
import select
import signal
import socket
import sys
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from admbench.bench.run.executors.descendants import adopt_orphans, end_descendants, end_with_parent, kill_group

Main = Callable[[Sequence[str]], int | None]

_RECEIVED = 1 << 16


class _Server:
    def __init__(self, channel: socket.socket, main: Main) -> None:
        self._channel = channel
        self._main = main
        self._guards: dict[int, str] = {}
        """Process id -> the request's id."""
        self._unread = b""
        self._woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = wake
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        adopt_orphans()

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
                        self._obey(json.loads(line))
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            for guard in self._guards:
                os.kill(guard, signal.SIGTERM)
            for guard in self._guards:
                os.waitpid(guard, 0)  # in a container the first process may never do it
            end_descendants()

    def _obey(self, request: dict[str, Any]) -> None:
        if request.get("kill"):
            for guard, name in self._guards.items():
                if name == request["id"]:
                    os.kill(guard, signal.SIGTERM)
            return
        server = os.getpid()
        guard = os.fork()
        if guard == 0:
            self._guard(request, server)
        self._guards[guard] = request["id"]

    def _report_ended(self) -> None:
        for guard in list(self._guards):
            ended, status = os.waitpid(guard, os.WNOHANG)
            if ended:
                _say(self._channel, {"id": self._guards.pop(guard), "code": os.waitstatus_to_exitcode(status)})
        end_descendants(but=self._guards)  # of a guard that was killed

    def _guard(self, request: dict[str, Any], server: int) -> NoReturn:
        """Be the guard of a new child: wait for it, end what it started, and end as it did."""
        try:
            signal.set_wakeup_fd(-1)
            awaited = {signal.SIGTERM, signal.SIGCHLD}
            signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
            end_with_parent(server, signal.SIGTERM)
            adopt_orphans()
            os.close(self._woken)
            os.close(self._wake)
            guard = os.getpid()
            child = os.fork()
            if child == 0:
                self._be_child(request, guard, awaited)
            with suppress(PermissionError):  # it did it itself, and went on to run another program
                os.setpgid(child, child)  # whoever comes first: from now on the group can be killed
            _say(self._channel, {"id": request["id"], "pid": child})
            self._channel.close()
            while os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
                if signal.sigwait(awaited) == signal.SIGTERM:
                    kill_group(child)
            kill_group(child)
            _, status = os.waitpid(child, 0)
            end_descendants()
            _end_as(os.waitstatus_to_exitcode(status))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def _be_child(self, request: dict[str, Any], guard: int, awaited: set[signal.Signals]) -> NoReturn:
        code = 1
        try:
            end_with_parent(guard)
            os.setpgid(0, 0)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
            self._channel.close()
            _redirect(request["log"])
            os.environ.update(request["environment"])  # before the child's CUDA is initialized, which reads it
            _reseed()
            code = _exit_code(self._main, request["arguments"])
        except BaseException:
            traceback.print_exc()
        finally:
            # what a thread or a finalizer of a plug-in still does must not keep the process
            _flush()
            os._exit(code)


def _say(channel: socket.socket, message: dict[str, Any]) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # nobody listens: the server learns of it by itself
        channel.sendall(json.dumps(message).encode() + b"\n")


def _end_as(code: int) -> NoReturn:
    """End this process as another one ended: with its exit code, or by its signal (minus its number)."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError):  # of SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
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


def _forget_exit_functions() -> None:
    """Leave to the children's ends what they themselves register, and what the standard library does with it."""
    for one in list(weakref.finalize._registry):  # type: ignore[attr-defined]  # there is no public list of them
        one.atexit = False
    atexit._clear()
    for function in (weakref.finalize._exitfunc, multiprocessing.util._exit_function, logging.shutdown):  # type: ignore
        atexit.register(function)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # a full disk, or a stream that the job closed
            continue


def main(arguments: Sequence[str]) -> None:
    """Import the module of the jobs, and serve."""
    name, descriptor, parent, *held = arguments
    end_with_parent(int(parent))
    channel = socket.socket(fileno=int(descriptor))
    for number in (channel.fileno(), *map(int, held)):
        os.set_inheritable(number, False)
    module = import_module(name)
    for later in getattr(module, "PRELOADED", ()):
        import_module(later)
    if hasattr(module, "prepare"):
        module.prepare()
    _forget_exit_functions()
    gc.freeze()  # a collection in a child would write to, and so copy, every page of what was imported
    server = _Server(channel, module.main)
    end_with_parent(int(parent), 0)  # from here on it learns of that from its channel, and ends its children first
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
