"""LoRA tags, the token counter, chunks and styles."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from studio.core.errors import InvalidRequest, ModelBroken
from studio.core.request import GenerationRequest, Hires, LoraUse
from studio.core.task import Task
from studio.prompting import styles
from studio.prompting.chunks import split_chunks
from studio.prompting.comments import strip_comments, strip_request_comments
from studio.prompting.emphasis import Segment
from studio.prompting.networks import extract_loras, move_tags_to_loras, remove_other_tags
from studio.prompting.tokens import TokenCounter

CLIP = Path("studio/pipelines/configs/clip_tokenizer")
EMBEDDED = Path("models/embedded/tokenizer")
TEXTS = [
    "a red apple",
    "It's 42 o'clock, naïve café ☕ don't  STOP!!! \n x_y",
    "日本語 ééé ½",
    "",
    "a" * 300,
    "<|endoftext|> x",
]


@pytest.mark.parametrize(
    ("prompt", "text", "uses"),
    [
        ("a <lora:fur:0.8> cat", "a  cat", [("fur", 0.8)]),
        ("<lora:fur>cat", "cat", [("fur", 1.0)]),
        ("<lora:dir/fur v2:-0.5:0.3>", "", [("dir/fur v2", 0.3, -0.5)]),
        ("<lora:fur:te=0.4:unet=1>", "", [("fur", 1.0, 0.4)]),
        ("<lora:fur:0:1>", "", [("fur", 1.0, 0.0)]),
        ("<lora:fur:unet=1:te=0>", "", [("fur", 1.0, 0.0)]),
        ("<lora:fur:0.5:0.5>", "", [("fur", 0.5)]),
        ("<lora:fur:0.5:unet=1>", "", [("fur", 1.0, 0.5)]),
        ("<lora:fur:unet=0.7>", "", [("fur", 0.7)]),
        ("<lora:fur:1:lbw=MIDD>", "", [("fur", 1.0)]),
        ("<LORA:a:1><lyco:b:2>", "", [("a", 1.0), ("b", 2.0)]),
        ("<lora:a:1> <lora:a:0.5>", " ", [("a", 0.5)]),
        ("a < b <3 <hypernet:x:1> <lora:>", "a < b <3 <hypernet:x:1> <lora:>", []),
    ],
)
def test_lora_tags_are_taken_out(prompt: str, text: str, uses: list[tuple[str, float]]) -> None:
    expected = tuple(
        LoraUse(name=name, weight=weight, encoder_weight=encoder[0] if encoder else None)
        for name, weight, *encoder in uses
    )
    assert extract_loras(prompt) == (text, expected)


@pytest.mark.parametrize(
    ("prompt", "text", "tags"),
    [
        ("a <hypernet:x:1> b <hypernet:x:1>", "a  b ", ("<hypernet:x:1>",)),
        ("<wildcard:a><lyco_2:b>", "", ("<wildcard:a>", "<lyco_2:b>")),
        ("a < b <3 <b>bold</b> <lora:> <a b:c> <:x>", "a < b <3 <b>bold</b> <lora:> <a b:c> <:x>", ()),
        ("<think: of\na fox>, fur", ", fur", ("<think: of\na fox>",)),
    ],
)
def test_what_looks_like_a_tag_is_taken_out_too(prompt: str, text: str, tags: tuple[str, ...]) -> None:
    assert remove_other_tags(prompt) == (text, tags)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a fox # in winter\nsnow", "a fox\nsnow"),
        ("# all of it", ""),
        ("a\n# one\n# two\nb", "a\nb"),
        ("a\n\nb  \nc #", "a\n\nb  \nc"),
        ("no comment ", "no comment "),
    ],
)
def test_comments_end_with_their_line(prompt: str, text: str) -> None:
    assert strip_comments(prompt) == text


def test_comments_are_left_out_of_every_prompt_of_a_request() -> None:
    step = GenerationRequest(task=Task.IMG2IMG, prompt="c#d")
    request = GenerationRequest(
        prompt="a#b", negative_prompt="#x", template="{a|b}#c", hires=Hires(prompt="h#i"), then=(step,)
    )
    found = strip_request_comments(request)
    assert (found.prompt, found.negative_prompt, found.template) == ("a", "", "{a|b}")
    assert (found.hires.prompt, found.then[0].prompt) == ("h", "c")


def test_a_weight_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="strong"):
        extract_loras("<lora:fur:strong>")


def test_tags_join_the_chosen_loras_and_win() -> None:
    request = GenerationRequest(prompt="x<lora:a:0.5>", loras=(LoraUse(name="a"), LoraUse(name="b")))
    expected = request.replace(prompt="x", loras=(LoraUse(name="a", weight=0.5), LoraUse(name="b")))
    assert move_tags_to_loras(request) == expected
    assert move_tags_to_loras(expected) is expected


@pytest.mark.torch
@pytest.mark.parametrize("folder", [CLIP, EMBEDDED], ids=["clip", "embedded"])
@pytest.mark.parametrize("text", TEXTS)
def test_the_counter_reads_as_the_pipeline_does(folder: Path, text: str) -> None:
    from transformers import CLIPTokenizer

    reference = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    counted = TokenCounter(folder)
    assert counted.count(f"{text} ")[0] == len(reference(text, add_special_tokens=False).input_ids)
    assert counted.count("x")[1] == reference.model_max_length - 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 75)),
        ("a (red:1.2) [fox]", (3, 75)),
        ("a red fox <lora:fur:0.8>", (3, 75)),
        ("a BREAK b", (76, 150)),
        ("a [red:blue yellow:5] fox", (4, 75)),
        ("a AND b c", (2, 75)),
        ("a " * 80, (80, 150)),
    ],
)
def test_tokens_are_counted_as_a1111_shows_them(text: str, expected: tuple[int, int]) -> None:
    assert TokenCounter(CLIP).count(text) == expected


def test_many_threads_count_alike() -> None:
    counter = TokenCounter(CLIP)
    texts = [f"a {'very ' * n}red fox" for n in range(40)] * 5
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(counter.count, texts)) == [(n + 3, 75) for n in range(40)] * 5


def test_counting_needs_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from studio.prompting.tokens import TokenCounter;"
        f" TokenCounter(Path({str(CLIP)!r})).count('x'); print('torch' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
        ).stdout.strip()
        == "False"
    )


def test_a_folder_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelBroken, match="no readable tokenizer"):
        TokenCounter(tmp_path)


def _chunks(text: str) -> list[list[int]]:
    found, _ = split_chunks([(Segment(text),)], lambda t: [(ord(char),) for char in t], length=30, comma=ord(","))
    return ["".join(map(chr, chunk.ids)) for chunk in found]  # type: ignore[misc]


def test_a_chunk_is_cut_at_a_comma_that_is_near() -> None:
    assert _chunks("a" * 15 + "," + "b" * 20) == ["a" * 15 + ",", "b" * 20]
    assert _chunks("a" * 5 + "," + "b" * 30) == ["a" * 5 + "," + "b" * 24, "b" * 6]
    assert _chunks("a" * 30 + "," + "b") == ["a" * 30, ",b"]


def test_styles_wrap_the_prompt_in_their_order() -> None:
    prompt, negative = styles.apply_styles("a fox", "blurry", ["Watercolour", "Sticker"])
    assert prompt.startswith("sticker of watercolour painting of a fox,")
    assert negative.startswith("blurry, photo, opaque")
    assert styles.apply_styles("a fox", "blurry", []) == ("a fox", "blurry")


def test_the_presets_are_complete() -> None:
    presets = styles.load_styles()
    assert len(presets) >= 24
    assert {style.group for style in presets.values()} == {"Photo", "Illustration", "3D", "Painting", "Design"}
    assert all("{prompt}" in style.prompt and style.negative_prompt for style in presets.values())


def test_own_styles_add_and_replace(tmp_path: Path) -> None:
    own = tmp_path / "styles.json"
    own.write_text(json.dumps([{"name": "Mine", "prompt": "in my way"}, {"name": "Photo", "prompt": "{prompt}!"}]))
    found = styles.load_styles(own)
    assert styles.apply_styles("a fox", "", ["Mine", "Photo"], found) == ("a fox, in my way!", "")
    assert styles.load_styles(tmp_path / "none.json") == styles.load_styles()


@pytest.mark.parametrize(
    "text", ["{", "{}", "[1]", '[{"prompt": "x"}]', '[{"name": "x", "colour": "y"}]', '[{"name": 1}]']
)
def test_own_styles_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    own = tmp_path / "styles.json"
    own.write_text(text)
    with pytest.raises(InvalidRequest, match=r"styles\.json"):
        styles.load_styles(own)


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Nope"):
        styles.apply_styles("", "", ["Nope"])
