"""Whether an audio file holds all that it says it holds: what a download or a full disk cut off is no shorter clip.

libsndfile reads what is left of a WAV, AIFF, Ogg or MP3 file and says nothing of the rest, so the headers are read
here: RIFF and RF64 (EBU Tech 3306), AIFF (Apple, 1989), Ogg (RFC 3533, of which the last page is marked), and the Xing
or Info frame at the head of an MP3 file. A cut FLAC file is an error of libsndfile's own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

UNKNOWN_SIZES = (0, 0xFFFFFFFF)
"""Of a RIFF data chunk whose writer could not go back to fill it in, as of a pipe: nothing is said."""
MOST_CHUNKS = 10_000
"""Before that of the audio; a gigabyte of empty ones would take minutes to walk through."""
OGG_PAGE = 27 + 255 + 255 * 255
"""Bytes of the longest page of Ogg."""
OGG_LAST = 4
"""Flag of the page that ends a stream."""
MP3_HEAD = 4096
"""Bytes behind the tags of an MP3 file in which its Xing or Info frame is, if it has one."""


def cut_off(path: Path) -> str | None:
    """Return what is missing of a file by its own header; None if nothing is, or if the header does not say.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        magic, _, kind = struct.unpack("<4s4s4s", file.read(12).ljust(12, b"\0"))
        try:
            if magic in (b"RIFF", b"RF64", b"BW64") and kind == b"WAVE":
                return _missing(*_riff(file, size))
            if magic == b"FORM" and kind in (b"AIFF", b"AIFC"):
                return _missing(*_aiff(file, size))
        except struct.error:  # the file ends in the middle of a chunk that says what the audio is
            return "its header is not whole"
        if magic == b"OggS":
            return _ogg(file, size)
    return None


def says_its_length(path: Path) -> bool:
    """Return whether the number of samples that libsndfile gives of a file is one that the file states.

    Of an MP3 file without a Xing or Info frame it is estimated from the bytes of its first frames.
    """
    with open(path, "rb") as file:
        head = file.read(10)
        if not (head.startswith(b"ID3") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)):
            return True
        tags = 0
        if head.startswith(b"ID3") and len(head) == 10:
            tags = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        file.seek(tags)
        start = file.read(MP3_HEAD)
        return b"Xing" in start or b"Info" in start


def _missing(stated: int | None, there: int, least: int) -> str | None:
    if stated is None or stated - there <= least:  # some writers count one frame too many
        return None
    return f"its header says {stated} bytes of audio, of which {there} are there"


def _riff(file: BinaryIO, size: int) -> tuple[int | None, int, int]:
    """Return the bytes of audio that the header states, those that are there, and the bytes of a frame."""
    frame, of_ds64 = 1, None
    for name, length, place in _chunks(file, size, "<"):
        if name == b"fmt " and length >= 14:
            frame = struct.unpack("<12xH", file.read(14))[0]
        elif name == b"ds64" and length >= 16:
            of_ds64 = struct.unpack("<8xQ", file.read(16))[0]
        elif name == b"data":
            stated = of_ds64 if length == UNKNOWN_SIZES[1] else length
            return stated if stated not in UNKNOWN_SIZES else None, size - place, frame
    return None, 0, frame


def _aiff(file: BinaryIO, size: int) -> tuple[int | None, int, int]:
    """Return the same of AIFF, where 8 bytes before the samples belong to their chunk."""
    frame = 1
    for name, length, place in _chunks(file, size, ">"):
        if name == b"COMM" and length >= 8:
            channels, _, bits = struct.unpack(">hIh", file.read(8))
            frame = channels * -(-bits // 8)
        elif name == b"SSND":
            return length, size - place, frame
    return None, 0, frame


def _chunks(file: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, stated length and place of each chunk, with the file at the chunk's content."""
    place = 12
    for _ in range(MOST_CHUNKS):
        if place + 8 > size:
            return
        file.seek(place)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        yield name, length, place + 8
        place += 8 + length + length % 2


def _ogg(file: BinaryIO, size: int) -> str | None:
    tail = min(size, 2 * OGG_PAGE)
    file.seek(size - tail)
    content = file.read(tail)
    last = content.rfind(b"OggS")
    header = content[last : last + 27]
    if last < 0 or len(header) < 27:
        return "its last page is not whole"
    lengths = content[last + 27 : last + 27 + header[26]]
    if len(lengths) < header[26] or last + 27 + header[26] + sum(lengths) > len(content):
        return "its last page is not whole"
    return None if header[5] & OGG_LAST else "it breaks off before the page that ends its stream"
