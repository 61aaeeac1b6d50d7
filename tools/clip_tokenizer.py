"""Makes studio/pipelines/configs/clip_tokenizer from the BPE file in the package open-clip-torch (MIT).

Usage: python tools/clip_tokenizer.py open_clip_torch-….whl

CLIP's vocabulary follows from its merges: 256 bytes, the same at a word's end, a token for each merge, and two marks.
"""

from __future__ import annotations

import gzip
import json
import sys
import zipfile
from pathlib import Path

TARGET = Path(__file__).parent.parent / "studio" / "pipelines" / "configs" / "clip_tokenizer"
VOCABULARY = 49_408
START, END = "<|startoftext|>", "<|endoftext|>"


def list_byte_characters() -> list[str]:
    """A printable character for every byte: printable ones stand for themselves, the others for characters from 256 on,
    as GPT-2 has it."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def main(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        lines = gzip.decompress(archive.read("open_clip/bpe_simple_vocab_16e6.txt.gz")).decode().split("\n")
        licence = next(name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        text = archive.read(licence)
    merges = lines[1 : VOCABULARY - 512 - 2 + 1]
    characters = list_byte_characters()
    words = [
        *characters,
        *(character + "</w>" for character in characters),
        *("".join(m.split()) for m in merges),
        START,
        END,
    ]
    TARGET.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: index for index, word in enumerate(words)}
    (TARGET / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")))
    (TARGET / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    (TARGET / "LICENSE").write_bytes(text)
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
        "do_lower_case": True,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": True,
        "errors": "replace",
    }
    (TARGET / "tokenizer_config.json").write_text(json.dumps(config, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
