"""Times as people read them."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """Return a time in seconds, minutes or hours; a dash for one that is not known.

    >>> duration(4.21), duration(75), duration(4000), duration(None)
    ('4.2 s', '1 min 15 s', '1 h 07 min', '-')
    """
    if seconds is None:
        return "-"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"
