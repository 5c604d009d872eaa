"""A process that has imported what every job needs, and forks a child for each.

`python -m admbench.bench.run.executors.fork_server MODULE SOCKET PARENT [HELD...]`, descriptors and a process id.
Importing torch, diffusers and transformers takes seconds and most of a gigabyte; here it happens once, and children
share what was imported. The standard library's forkserver was tried first: it is one a process, keeps the environment
of its first use, and runs the caller's main script again in each child.

It talks over a socket, a line of JSON at a time. In: `{"id", "arguments", "log", "environment"}` starts
`MODULE.main(arguments)`, or that of another `module`, in a child in a process group of its own, with its output at the
end of the file `log` and variables of its own, such as the device that it sees; `{"id", "kill": true}` ends it;
`{"compact": true}` says that many are to come, for whom the server puts its memory into huge pages. Out:
`{"id", "pid"}` when a child has started, `{"id", "code"}` when it has ended (minus the signal, if one ended it).

Between the server and each child stands a guard, a process that only waits: for the child, or for the wish to end it.
When the child has ended, however, the guard kills whatever it started, in its process group or out of it, says how it
ended, and waits for the next, which it forks as the server would: no job's code ever runs in it. If the guard itself is
killed, the child goes with it, and the server ends what is left. If the server is killed, the guards end their
children. When the other end of the socket closes, the server has all guards do so. Until there are children it goes
when its parent goes.

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
import select
import signal
import socket
import sys
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from admbench.bench.run.executors.descendants import adopt_orphans, end_descendants, end_with_parent, kill_group
from admbench.bench.run.executors.huge_pages import collapse

Main = Callable[[Sequence[str]], int | None]

_RECEIVED = 1 << 16


@dataclass
class _Guard:
    """A guard, as its server knows it."""

    pid: int
    requests: int
    """Descriptor that it is told of children by."""
    said: int
    """Descriptor that it says by what became of them."""
    busy: str | None
    """Id of the request that it is at; None while it waits for one."""
    unread: bytes = b""


class _Server:
    def __init__(self, channel: socket.socket, main: Main) -> None:
        self._channel = channel
        self._main = main
        self._guards: dict[int, _Guard] = {}
        """By process id."""
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
                saying = {guard.said: guard for guard in self._guards.values()}
                ready, _, _ = select.select([self._channel.fileno(), self._woken, *saying], [], [])
                for descriptor in saying.keys() & set(ready):
                    self._pass_on(saying[descriptor])
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
            for guard in self._guards.values():
                os.close(guard.requests)  # so that there is no next
                os.kill(guard.pid, signal.SIGTERM)
            for pid in self._guards:
                os.waitpid(pid, 0)  # in a container the first process may never do it
            end_descendants()

    def _obey(self, request: dict[str, Any]) -> None:
        if request.get("compact"):
            self._compact()
            return
        if request.get("kill"):
            for guard in self._guards.values():
                if guard.busy == request["id"]:
                    os.kill(guard.pid, signal.SIGTERM)
            return
        for guard in self._guards.values():
            if guard.busy is None:
                with suppress(BrokenPipeError):  # it was killed while it waited
                    os.write(guard.requests, json.dumps(request).encode() + b"\n")
                    guard.busy = request["id"]
                    return
        self._start_guard(request)

    def _start_guard(self, request: dict[str, Any]) -> None:
        told, requests = os.pipe2(os.O_CLOEXEC)
        said, saying = os.pipe2(os.O_CLOEXEC)
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            for other in self._guards.values():
                os.close(other.requests)
                os.close(other.said)
            os.close(requests)
            os.close(said)
            self._be_guard(request, server, told, saying)
        os.close(told)
        os.close(saying)
        os.set_blocking(said, False)
        self._guards[pid] = _Guard(pid, requests, said, request["id"])

    def _compact(self) -> None:
        """Make forks cheaper, of guards that are yet to come: those that wait have the memory as it was, and go."""
        for guard in [guard for guard in self._guards.values() if guard.busy is None]:
            os.kill(guard.pid, signal.SIGTERM)
            os.waitpid(guard.pid, 0)
            self._forget(guard)
        collapse()

    def _forget(self, guard: _Guard) -> None:
        os.close(guard.requests)
        os.close(guard.said)
        del self._guards[guard.pid]

    def _pass_on(self, guard: _Guard) -> None:
        """Say what a guard has said, line by line."""
        with suppress(BlockingIOError):
            guard.unread += os.read(guard.said, _RECEIVED)
        *lines, guard.unread = guard.unread.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "code" in message:
                guard.busy = None
            _say(self._channel, message)

    def _report_ended(self) -> None:
        for guard in list(self._guards.values()):
            ended, status = os.waitpid(guard.pid, os.WNOHANG)
            if not ended:
                continue
            self._pass_on(guard)
            if guard.busy is not None:
                _say(self._channel, {"id": guard.busy, "code": os.waitstatus_to_exitcode(status)})
            self._forget(guard)
        end_descendants(but=self._guards)  # of a guard that was killed

    def _be_guard(self, request: dict[str, Any], server: int, told: int, saying: int) -> NoReturn:
        """Be the guard of one child after another."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            awaited = {signal.SIGTERM, signal.SIGCHLD}
            signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
            end_with_parent(server, signal.SIGTERM)
            adopt_orphans()
            self._channel.close()
            os.close(self._woken)
            os.close(self._wake)
            with open(told, "rb") as requests:
                while True:
                    code = self._guard(request, awaited, (told, saying))
                    os.write(saying, json.dumps({"id": request["id"], "code": code}).encode() + b"\n")
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # which ends it now
                    line = requests.readline()
                    if not line:
                        os._exit(0)
                    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
                    request = json.loads(line)
        except BrokenPipeError:
            pass  # the server was killed: nobody is left to be told
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def _guard(self, request: dict[str, Any], awaited: set[signal.Signals], own: tuple[int, int]) -> int:
        """Start a child and wait for it, end what it started, and return as what it ended."""
        guard = os.getpid()
        child = os.fork()
        if child == 0:
            for descriptor in own:
                os.close(descriptor)
            self._be_child(request, guard, awaited)
        with suppress(PermissionError):  # it did it itself, and went on to run another program
            os.setpgid(child, child)  # whoever comes first: from now on the group can be killed
        os.write(own[1], json.dumps({"id": request["id"], "pid": child}).encode() + b"\n")
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if signal.sigwait(awaited) == signal.SIGTERM:
                kill_group(child)
        kill_group(child)
        _, status = os.waitpid(child, 0)
        end_descendants()
        return os.waitstatus_to_exitcode(status)

    def _be_child(self, request: dict[str, Any], guard: int, awaited: set[signal.Signals]) -> NoReturn:
        code = 1
        try:
            end_with_parent(guard)
            os.setpgid(0, 0)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
            _redirect(request["log"])
            os.environ.update(request["environment"])  # before the child's CUDA is initialized, which reads it
            _reseed()
            main = import_module(request["module"]).main if "module" in request else self._main
            code = _exit_code(main, request["arguments"])
        except BaseException:
            traceback.print_exc()
        finally:
            # what a thread or a finalizer of a plug-in still does must not keep the process
            _flush()
            os._exit(code)


def _say(channel: socket.socket, message: dict[str, Any]) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # nobody listens: the server learns of it by itself
        channel.sendall(json.dumps(message).encode() + b"\n")


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
