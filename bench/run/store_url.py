"""URLs of storage: as they stand in grids and records, and so without anything secret in them."""

from __future__ import annotations

import re

from admbench.errors import UsageError
from admbench.private_text import Private

_URL = re.compile(r"[a-z][a-z0-9+.-]*(::[a-z][a-z0-9+.-]*)*://[^\s?#@]+")


def check_url(url: str) -> str:
    """Return a URL of storage as it stands in records: without a slash at its end.

    >>> check_url("s3://bucket/run/")
    's3://bucket/run'

    Raises:
        UsageError: it is none, or holds a password or a token, which belong into the environment.
    """
    if not _URL.fullmatch(url):
        plain = Private.here().hidden(url)
        raise UsageError(f"{plain}: expected the URL of a folder, such as s3://bucket/run, without login or parameters")
    return url.rstrip("/")
