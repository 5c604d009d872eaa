"""Stands in for `admbench.bench.run.program` without torch: does what the method of its job is called."""

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

IMPORTED_BY = os.getpid()
PRINTED = 5_000_000


def server() -> int:
    """The fork server: the parent of this process's guard."""
    return psutil.Process(os.getppid()).ppid()


def main(arguments: Sequence[str]) -> int:
    path = Path(arguments[0])
    job = json.loads(path.read_text())
    method = job.get("method", job["kind"])
    if method.endswith("-waits"):
        with open(path.parent / "tried.txt", "a") as tried:
            tried.write(f"{os.getpid()}\n")
    (path.parent / "stage.txt").write_text("generate")
    if method == "hangs" and not os.path.exists(os.environ.get("FAKE_ADM_GO_ON", "/nowhere/at/all")):
        (path.parent / "child.txt").write_text(str(os.getpid()))
        time.sleep(600)
    elif method.endswith("-waits"):
        while not (Path(job["run"]) / "go-on").exists():
            time.sleep(0.05)
    elif method == "killed":
        block = bytearray(60_000_000)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
        del block
    elif method == "raises":
        (path.parent / "failure.json").write_text(json.dumps({"reason": "RuntimeError: the scale is not finite"}))
        return 1
    elif method == "crashes":
        print("first\nlast words", file=sys.stderr)
        sys.exit(3)
    elif method == "allocates":
        bytearray(int(os.environ["FAKE_ALLOCATED"]))
    elif method.startswith("chatters"):
        print("x" * PRINTED, end="" if method == "chatters-and-crashes" else "\n", flush=True)
        if method == "chatters-and-crashes":
            sys.exit(3)
    elif method == "fills":
        return 74
    elif method == "leaves-a-daemon":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                (path.parent / "child.txt").write_text(str(os.getpid()))
                time.sleep(600)
            os._exit(0)
        os.wait()
        while not (path.parent / "child.txt").exists():
            time.sleep(0.01)
    elif method == "spawns":
        if os.fork() == 0:
            time.sleep(600)
        (path.parent / "child.txt").write_text(str(os.getpid()))
        time.sleep(600)
    elif method == "fells-its-server":
        marker = path.parent / "felled.txt"
        marker.write_text(marker.read_text() + "x" if marker.exists() else "x")
        os.kill(server(), signal.SIGKILL)
        time.sleep(600)
    elif method == "fells-its-server-once":
        marker = path.parent / "felled.txt"
        if not marker.exists():
            marker.touch()
            os.kill(server(), signal.SIGKILL)
            time.sleep(600)
    elif method in ("fells-its-node", "once-fells-its-node"):
        marker = path.parent / "felled.txt"
        tried = marker.read_text() if marker.exists() else ""
        if method == "fells-its-node" or not tried:
            marker.write_text(tried + "x")
            os.kill(psutil.Process(server()).ppid(), signal.SIGKILL)
            time.sleep(600)
    elif method == "fells-its-guard":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    elif method == "says-its-device":
        print(os.environ.get("CUDA_VISIBLE_DEVICES"))
    elif method.startswith("draws"):
        print(random.random(), os.getpid() != IMPORTED_BY, IMPORTED_BY, os.getppid())
    elif method == "leaves-a-thread":
        threading.Thread(target=time.sleep, args=(600,)).start()
    print("done", os.environ["OMP_NUM_THREADS"])
    return 0
