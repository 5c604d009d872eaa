"""Shows a folder of static files to browsers on this machine, and to nobody else."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from admbench.errors import UsageError

HOST = "127.0.0.1"


def serve_folder(folder: Path, port: int) -> None:
    """Serve `folder` on the loopback interface until Ctrl-C.

    Raises:
        UsageError: the port is taken or not allowed.
    """
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    try:
        server = ThreadingHTTPServer((HOST, port), handler)
    except (OSError, OverflowError) as error:
        raise UsageError(f"--port {port}: cannot be served on ({error}); expected a free port") from None
    with server, suppress(KeyboardInterrupt):
        print(f"serving {folder} on http://{HOST}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        server.serve_forever()
