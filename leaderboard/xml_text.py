"""Text that XML can hold."""

import re

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """Return text with a replacement character for each that no XML may hold (XML 1.0, production 2)."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
