"""Audio and video by their first bytes."""

from __future__ import annotations

MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
}
_VIDEO_BRANDS = (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ", b"dash", b"msdh")
_MPEG_AUDIO_BITRATES_BAD = (0x00, 0xF0)


def detect_media(data: bytes) -> tuple[str, str] | None:
    """(kind, file ending) of audio or video that the library takes, None for everything else. The sender's word for it
    does not count."""
    if data[4:8] == b"ftyp":
        return ("video", ".mp4") if data[8:12] in _VIDEO_BRANDS else None
    if data[:4] == b"\x1a\x45\xdf\xa3" and b"webm" in data[:64]:
        return "video", ".webm"
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "audio", ".wav"
    if data[:4] == b"fLaC":
        return "audio", ".flac"
    if data[:4] == b"OggS":
        return "audio", ".ogg"
    if data[:3] == b"ID3" or _is_mpeg_frame(data[:4]):
        return "audio", ".mp3"
    return None


def _is_mpeg_frame(head: bytes) -> bool:
    """Whether these four bytes begin a frame of MPEG audio, layer III."""
    return (
        len(head) == 4
        and head[0] == 0xFF
        and head[1] & 0xE6 == 0xE2
        and head[2] & 0xF0 not in _MPEG_AUDIO_BITRATES_BAD
        and head[2] & 0x0C != 0x0C
    )
