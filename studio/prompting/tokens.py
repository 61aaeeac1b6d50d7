"""How many tokens a prompt takes, without torch: the counter beside the prompt."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.errors import ModelBroken
from studio.core.lora_tags import split_tags
from studio.prompting import grammar
from studio.prompting.chunks import TokenGroup, split_chunks
from studio.prompting.networks import remove_other_tags

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_STEPS = 20  # enough to see every text of a prompt that changes while it is drawn
_DEFAULT_LENGTH = 77  # CLIP's context, start and end token included
_CACHE_SIZE = 4096  # segments; typing changes one at a time


class TokenCounter:
    """Counts with the tokenizer in a folder (tokenizer.json, or CLIP's vocab.json and merges.txt). Safe to use from any
    thread."""

    def __init__(self, folder: Path) -> None:
        """Read the tokenizer.

        Raises:
            ModelBroken: the folder holds no tokenizer that can be read.
        """
        try:
            self._tokenizer = _load_tokenizer(folder)
            self._length = _read_context_length(folder) - 2
        except (OSError, ValueError, KeyError) as error:
            raise ModelBroken(
                f"There is no readable tokenizer in {folder.name}.", hint="Download the model again."
            ) from error
        self._comma = self._tokenizer.token_to_id(",</w>")
        self._remembered = functools.lru_cache(maxsize=_CACHE_SIZE)(self._encode)

    @property
    def chunk_length(self) -> int:
        """Tokens that the text encoder reads at a time."""
        return self._length

    def count(self, text: str) -> tuple[int, int]:
        """(tokens used, tokens that fit), as A1111 shows them: 12 of 75, 80 of 150. Syntax and tags are not
        counted; of a prompt that changes while it is drawn, the longest text counts."""
        plain, _ = remove_other_tags(split_tags(text)[0])
        used = max(
            split_chunks(condition.parts, self._remembered, length=self._length, comma=self._comma)[1]
            for stage in grammar.schedule_prompt(plain, _STEPS)
            for condition in stage.conditions
        )
        return used, max(1, -(-used // self._length)) * self._length

    def shorten(self, text: str, chunks: int) -> str:
        """The longest beginning of `text` that takes at most `chunks` chunks and ends between two phrases or words,
        outside all brackets; "" where there is none."""
        places = [0, *_find_breaks(text)]
        low, high = 0, len(places) - 1
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.count(text[: places[middle]])[1] <= chunks * self._length
            low, high = (middle, high) if fits else (low, middle - 1)
        return text[: places[low]].rstrip(" ,\n")

    def _encode(self, text: str) -> tuple[TokenGroup, ...]:
        return tuple((token,) for token in self._tokenizer.encode(text, add_special_tokens=False).ids)


def _find_breaks(text: str) -> list[int]:
    """The places of commas and spaces outside brackets, in their order."""
    depth, found = 0, list[int]()
    for place, character in enumerate(text):
        if character in "([{<":
            depth += 1
        elif character in ")]}>":
            depth = max(0, depth - 1)
        elif not depth and (character == "," or character.isspace()):
            found.append(place)
    return found


def _load_tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Regex as Pattern
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    if (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(" ") for line in lines if line and not line.startswith("#version")]
    merges = [(left, right) for left, _, right in pairs]
    model = models.BPE(
        vocab=vocabulary,
        merges=merges,
        end_of_word_suffix="</w>",
        continuing_subword_prefix="",
        unk_token="<|endoftext|>",
    )
    tokenizer = Tokenizer(model)
    steps = [normalizers.NFC(), normalizers.Replace(Pattern(r"\s+"), " "), normalizers.Lowercase()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    words = Pattern(r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")
    cuts = [
        pre_tokenizers.Split(words, behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    for token in ("<|startoftext|>", "<|endoftext|>"):
        tokenizer.add_special_tokens([token])  # pyright: ignore[reportUnknownMemberType] - its stub says list
    return tokenizer


def _read_context_length(folder: Path) -> int:
    file = folder / "tokenizer_config.json"
    length = json.loads(file.read_text(encoding="utf-8")).get("model_max_length") if file.is_file() else None
    return int(length) if isinstance(length, int) and 2 < length < 10_000 else _DEFAULT_LENGTH
