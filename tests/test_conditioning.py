"""Prompts through real tiny text encoders, and through real pipeline runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.pipelines.run.conditioning import Conditioning, encode_prompts
from tests.tiny_models import make_tiny_sd15, make_tiny_sdxl

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")


def _pipe(folder: Path) -> Any:
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return _pipe(make_tiny_sd15(tmp_path_factory.mktemp("sd")))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return _pipe(make_tiny_sdxl(tmp_path_factory.mktemp("sdxl")))


def _encode(pipe: Any, prompt: str, *, images: int = 1, steps: int = 4, **fields: Any) -> Conditioning:
    return encode_prompts(pipe, GenerationRequest(prompt=prompt, **fields), steps=steps, images=images)


def _hidden(pipe: Any, prompt: str, **fields: Any) -> Any:
    return _encode(pipe, prompt, **fields).arguments()["prompt_embeds"]


def _run(
    pipe: Any,
    conditioning: Conditioning,
    *,
    steps: int = 4,
    guidance: float = 5.0,
    images: int = 1,
    seen: list[Any] | None = None,
) -> Any:
    """Latents of a real run; `seen` gets the embeddings that the UNet was given at each call."""

    def on_step(running: Any, step: int, _: Any, __: Any) -> dict[str, Any]:
        return conditioning.at_call(step + 1) or {}

    def look(_: Any, __: Any, kwargs: dict[str, Any]) -> None:
        if seen is not None:
            seen.append((kwargs["encoder_hidden_states"], kwargs.get("added_cond_kwargs")))

    latents = torch.randn(images, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    hook = pipe.unet.register_forward_pre_hook(look, with_kwargs=True)
    try:
        with conditioning.apply_composition(pipe):
            return pipe(
                **conditioning.arguments(),
                num_inference_steps=steps,
                guidance_scale=guidance,
                width=64,
                height=64,
                latents=latents,
                output_type="latent",
                callback_on_step_end=on_step,
            ).images
    finally:
        hook.remove()


def test_a_plain_prompt_is_what_diffusers_makes_of_it(sd: Any) -> None:
    found = _encode(sd, "a red cat", negative_prompt="blurry", images=2).arguments()
    positive, negative = sd.encode_prompt("a red cat", "cpu", 2, True, "blurry")
    torch.testing.assert_close(found["prompt_embeds"], positive, atol=1e-5, rtol=0)
    torch.testing.assert_close(found["negative_prompt_embeds"], negative, atol=1e-5, rtol=0)


def test_the_embedded_model_reads_prompts_as_diffusers_does() -> None:
    pipe = _pipe(Path("models/embedded")).to(dtype=torch.float32)
    found = _encode(pipe, "a red apple", negative_prompt="a dog").arguments()
    positive, negative = pipe.encode_prompt("a red apple", "cpu", 1, True, "a dog")
    torch.testing.assert_close(found["prompt_embeds"], positive, atol=1e-5, rtol=0)
    torch.testing.assert_close(found["negative_prompt_embeds"], negative, atol=1e-5, rtol=0)
    weighed = _hidden(pipe, "a (red:1.4) apple")
    assert weighed.mean().item() == pytest.approx(positive.mean().item(), abs=1e-5)
    length = pipe.tokenizer.model_max_length
    assert _hidden(pipe, "a red apple BREAK a dog").shape[1] == 2 * length


def test_a_plain_prompt_is_what_diffusers_makes_of_it_for_sdxl(sdxl: Any) -> None:
    found = _encode(sdxl, "a red cat", negative_prompt="blurry", images=2).arguments()
    expected = sdxl.encode_prompt("a red cat", num_images_per_prompt=2, negative_prompt="blurry")
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    for name, tensor in zip(names, expected, strict=True):
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=0)


def test_an_empty_negative_prompt_is_zero_where_sdxl_asks_for_it(sdxl: Any) -> None:
    found = _encode(sdxl, "a red cat").arguments()
    assert sdxl.config.force_zeros_for_empty_prompt
    assert not found["negative_prompt_embeds"].any()
    assert not found["negative_pooled_prompt_embeds"].any()
    assert found["pooled_prompt_embeds"].any()


def test_a_weight_moves_its_word_and_keeps_the_mean(sd: Any) -> None:
    plain, strong, weak = (_hidden(sd, prompt) for prompt in ("a cat", "a (cat:1.5)", "a (cat:0.5)"))
    assert strong.mean().item() == pytest.approx(plain.mean().item(), abs=1e-6)
    assert weak.mean().item() == pytest.approx(plain.mean().item(), abs=1e-6)
    # token 0 is the start, 1 "a", 2 to 4 the letters of "cat"
    growth = (strong[0, 2:5].norm() / plain[0, 2:5].norm()) / (strong[0, 1].norm() / plain[0, 1].norm())
    assert growth.item() == pytest.approx(1.5, abs=1e-4)
    shrink = (weak[0, 2:5].norm() / plain[0, 2:5].norm()) / (weak[0, 1].norm() / plain[0, 1].norm())
    assert shrink.item() == pytest.approx(0.5, abs=1e-4)


def test_the_prompt_weight_is_a_bracket_around_everything(sd: Any) -> None:
    torch.testing.assert_close(_hidden(sd, "a (cat:1.5)", prompt_weight=1.2), _hidden(sd, "(a (cat:1.5):1.2)"))
    negative = _encode(sd, "x", negative_prompt="a b", negative_weight=0.8).arguments()["negative_prompt_embeds"]
    torch.testing.assert_close(negative, _hidden(sd, "(a b:0.8)"))


def test_long_prompts_and_break_make_chunks_and_the_negative_follows(sd: Any) -> None:
    long = _encode(sd, "abcde " * 20, negative_prompt="blurry").arguments()
    assert long["prompt_embeds"].shape == long["negative_prompt_embeds"].shape == (1, 154, 32)
    broken = _hidden(sd, "cat BREAK dog")
    torch.testing.assert_close(broken, torch.cat([_hidden(sd, "cat"), _hidden(sd, "dog")], dim=1))
    torch.testing.assert_close(long["negative_prompt_embeds"], _hidden(sd, "blurry BREAK blurry"))
    uneven = _encode(sd, "cat BREAK dog", negative_prompt="a BREAK b BREAK c").arguments()
    assert uneven["prompt_embeds"].shape == (1, 6 * 77, 32)
    torch.testing.assert_close(uneven["prompt_embeds"], broken.repeat(1, 3, 1))


def test_a_long_prompt_is_cut_behind_a_comma_that_is_near() -> None:
    pipe = _pipe(Path("models/embedded")).to(dtype=torch.float32)
    before, after = "apple " * 64 + ", ", "pear " * 20
    torch.testing.assert_close(_hidden(pipe, before + after), _hidden(pipe, f"{before} BREAK {after}"))


def test_repeating_a_text_changes_nothing_for_the_network(sd: Any) -> None:
    sample, time = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3)), torch.tensor(500)
    short = _hidden(sd, "blurry")
    with torch.no_grad():
        once, thrice = (
            sd.unet(sample, time, encoder_hidden_states=hidden).sample for hidden in (short, short.repeat(1, 3, 1))
        )
    torch.testing.assert_close(thrice, once, atol=1e-5, rtol=1e-4)


def test_the_shorter_of_joined_prompts_is_filled_up_with_its_last_token(sd: Any) -> None:
    joined = _hidden(sd, "cat BREAK dog AND a")
    alone = _hidden(sd, "a")
    torch.testing.assert_close(joined[:, : 2 * 77], _hidden(sd, "cat BREAK dog"))
    torch.testing.assert_close(joined[:, 2 * 77 :], torch.cat([alone, alone[:, -1:].expand(-1, 77, -1)], dim=1))


def test_clip_skip_takes_an_earlier_layer_through_the_final_norm(sd: Any) -> None:
    tokens = sd.tokenizer("a cat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        out = sd.text_encoder(tokens, output_hidden_states=True)
        expected = sd.text_encoder.final_layer_norm(out.hidden_states[-2])
    torch.testing.assert_close(_hidden(sd, "a cat", clip_skip=2), expected)
    torch.testing.assert_close(_hidden(sd, "a cat", clip_skip=1), _hidden(sd, "a cat"))
    with pytest.raises(InvalidRequest, match="3 layers"):
        _hidden(sd, "a cat", clip_skip=4)


def test_clip_skip_of_sdxl_counts_from_the_last_layer_and_stays_below_it(sdxl: Any) -> None:
    torch.testing.assert_close(_hidden(sdxl, "a cat", clip_skip=1), _hidden(sdxl, "a cat"))
    torch.testing.assert_close(_hidden(sdxl, "a cat", clip_skip=2), _hidden(sdxl, "a cat"))
    expected, *_ = sdxl.encode_prompt("a cat", clip_skip=1)  # diffusers counts beyond the penultimate
    torch.testing.assert_close(_hidden(sdxl, "a cat", clip_skip=3), expected, atol=1e-5, rtol=0)


def test_a_textual_inversion_of_several_vectors_is_read_whole(sd: Any) -> None:
    before = len(sd.tokenizer), sd.text_encoder.get_input_embeddings().weight.shape
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    sd.load_textual_inversion({"word": vectors}, token="word")
    try:
        plain = _encode(sd, "a word").arguments()["prompt_embeds"]
        expected, _ = sd.encode_prompt("a word", "cpu", 1, False)
        torch.testing.assert_close(plain, expected, atol=1e-5, rtol=0)
        # 74 letters, then three vectors: they go to the second chunk together
        long = _hidden(sd, "a" * 74 + " word")
        torch.testing.assert_close(long[:, 77:], _hidden(sd, "word"), atol=1e-5, rtol=0)
    finally:
        sd.unload_textual_inversion()
    assert before == (len(sd.tokenizer), sd.text_encoder.get_input_embeddings().weight.shape)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_editing_swaps_behind_its_call(family: str, guidance: float, request: pytest.FixtureRequest) -> None:
    pipe = request.getfixturevalue(family)
    seen: list[Any] = []
    _run(
        pipe,
        _encode(pipe, "a [cat:dog:2]", negative_prompt="[x:y:1]", images=2),
        guidance=guidance,
        images=2,
        seen=seen,
    )
    guided = guidance > 1
    assert len(seen) == 4
    for step, (hidden, added) in enumerate(seen):
        now = _encode(
            pipe, "a cat" if step <= 2 else "a dog", negative_prompt="x" if step <= 1 else "y", images=2
        ).arguments()
        names = ["negative_prompt_embeds", "prompt_embeds"] if guided else ["prompt_embeds"]
        torch.testing.assert_close(hidden, torch.cat([now[name] for name in names]))
        if family == "sdxl":
            pooled = ["negative_pooled_prompt_embeds", "pooled_prompt_embeds"] if guided else ["pooled_prompt_embeds"]
            torch.testing.assert_close(added["text_embeds"], torch.cat([now[name] for name in pooled]))


def test_alternation_begins_with_two_calls_of_the_first_text(sd: Any) -> None:
    """A1111 counts calls from 0 and gives each text up to and with the number that it ends at."""
    seen: list[Any] = []
    _run(sd, _encode(sd, "[cat|dog]", steps=6), steps=6, guidance=1.0, seen=seen)
    cat = _hidden(sd, "cat")
    assert [bool(torch.equal(hidden, cat)) for hidden, _ in seen] == [True, True, False, True, False, True]


def test_both_calls_of_a_second_order_sampler_are_counted(sd: Any) -> None:
    from diffusers import HeunDiscreteScheduler

    before, sd.scheduler = sd.scheduler, HeunDiscreteScheduler.from_config(sd.scheduler.config)
    try:
        seen: list[Any] = []
        _run(sd, _encode(sd, "[cat|dog]"), guidance=1.0, seen=seen)
    finally:
        sd.scheduler = before
    cat, dog = _hidden(sd, "cat"), _hidden(sd, "dog")
    assert [bool(torch.equal(hidden, cat)) for hidden, _ in seen] == [True, True, False, True, False, True, False]
    assert torch.equal(seen[2][0], dog)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_the_same_prompt_twice_is_that_prompt(family: str, guidance: float, request: pytest.FixtureRequest) -> None:
    pipe = request.getfixturevalue(family)
    alone = _run(pipe, _encode(pipe, "a cat", images=2), guidance=guidance, images=2)
    joined = _run(pipe, _encode(pipe, "a cat AND a cat:0", images=2), guidance=guidance, images=2)
    halves = _run(pipe, _encode(pipe, "a cat:0.5 AND a cat:0.5", images=2), guidance=guidance, images=2)
    other = _run(pipe, _encode(pipe, "a cat AND a dog:-0.5", images=2), guidance=guidance, images=2)
    torch.testing.assert_close(joined, alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(halves, alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(other, alone, atol=1e-4)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_composition_is_the_sum_of_what_each_condition_moves(family: str, request: pytest.FixtureRequest) -> None:
    pipe = request.getfixturevalue(family)
    sample, time = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3)), torch.tensor(500)

    def noise(prompt: str) -> tuple[Any, Any]:
        conditioning = _encode(pipe, prompt, negative_prompt="bad")
        told = conditioning.arguments()
        hidden = torch.cat([told["negative_prompt_embeds"], told["prompt_embeds"]])
        added = None
        if family == "sdxl":
            pooled = torch.cat([told["negative_pooled_prompt_embeds"], told["pooled_prompt_embeds"]])
            added = {"text_embeds": pooled, "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)}
        with torch.no_grad(), conditioning.apply_composition(pipe):
            return pipe.unet(
                sample, time, encoder_hidden_states=hidden, added_cond_kwargs=added, return_dict=True
            ).sample

    negative, cat = noise("cat")
    _, dog = noise("dog")
    same, both = noise("cat:0.7 AND dog:1.4")
    torch.testing.assert_close(same, negative)
    torch.testing.assert_close(both, negative + 0.7 * (cat - negative) + 1.4 * (dog - negative), atol=1e-5, rtol=1e-4)


def test_nothing_is_left_on_the_unet_even_when_the_run_fails(sd: Any) -> None:
    before = dict(vars(sd.unet))
    with pytest.raises(TypeError), _encode(sd, "a AND b").apply_composition(sd):
        sd.unet("not a sample")
    assert vars(sd.unet).keys() == before.keys()
    sd.unet.forward = kept = sd.unet.forward
    with _encode(sd, "a AND b").apply_composition(sd):
        assert sd.unet.forward is not kept
    assert sd.unet.forward is kept
    del sd.unet.forward


def test_one_text_is_read_once(sd: Any) -> None:
    calls: list[int] = []
    hook = sd.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        _encode(sd, "[cat|dog] BREAK cat AND cat BREAK dog", negative_prompt="dog", steps=30)
    finally:
        hook.remove()
    assert len(calls) == 2  # cat and dog; the negative prompt is repeated where it is shorter
