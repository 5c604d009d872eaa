"""Stands in for `admbench.bench.run.program` without torch: does what the method of its job is called."""

import json
import os
import signal
import sys
import time
from pathlib import Path

path = Path(sys.argv[1])
job = json.loads(path.read_text())
(path.parent / "stage.txt").write_text("generate")
method = job.get("method", job["kind"])
if method == "hangs" and not os.path.exists(os.environ.get("FAKE_ADM_GO_ON", "/nowhere/at/all")):
    time.sleep(600)
elif method == "killed":
    block = bytearray(60_000_000)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
elif method == "raises":
    (path.parent / "failure.json").write_text(json.dumps({"reason": "RuntimeError: the scale is not finite"}))
    sys.exit(1)
elif method == "crashes":
    print("first\nlast words", file=sys.stderr)
    sys.exit(3)
elif method == "fills":
    sys.exit(74)
elif method == "spawns":
    if os.fork() == 0:
        time.sleep(600)
    (path.parent / "child.txt").write_text(str(os.getpid()))
    time.sleep(600)
print("done", os.environ["OMP_NUM_THREADS"])
