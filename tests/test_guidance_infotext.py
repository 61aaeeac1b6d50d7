"""Guidance of extensions in infotexts, read and written."""

from __future__ import annotations

import pytest

from studio.core.errors import InvalidRequest
from studio.core.infotext import format_infotext, parse_infotext
from studio.core.model import Model
from studio.core.request import GenerationRequest

HEAD = "a\nSteps: 20, Sampler: Euler, Seed: 5, Size: 64x64, "


def test_what_is_set_is_written_as_forge_and_the_extension_write_it_and_read_back() -> None:
    asked = GenerationRequest(
        prompt="a", sag_scale=0.75, sag_blur=3.0, mimic_scale=7.5, threshold_percentile=99.5, guidance=12.0
    )
    text = format_infotext(asked, model=Model(id="m", title="M", family="sd15"), width=64, height=64, seed=5)
    pairs = set(text.splitlines()[-1].split(", "))
    assert {"sag_enabled: True", "sag_scale: 0.75", "sag_blur_sigma: 3", "sag_threshold: 1"} <= pairs
    assert {"Dynamic thresholding enabled: True", "Mimic scale: 7.5", "Threshold percentile: 99.5"} <= pairs
    parsed = parse_infotext(text)
    names = ("sag_scale", "sag_blur", "mimic_scale", "threshold_percentile")
    assert [getattr(parsed.request, name) for name in names] == [0.75, 3.0, 7.5, 99.5]
    assert parsed.unknown == {}


def test_tiles_are_written_and_read_back() -> None:
    asked = GenerationRequest(prompt="a", tile_size=768, tile_overlap=0.25, tile_batch=2)
    text = format_infotext(asked, model=Model(id="m", title="M", family="sd15"), width=64, height=64, seed=5)
    parsed = parse_infotext(text)
    assert (parsed.request.tile_size, parsed.request.tile_overlap, parsed.request.tile_batch) == (768, 0.25, 2)
    assert parsed.unknown == {}


@pytest.mark.parametrize(
    ("pairs", "left"),
    [
        ("sag_enabled: False, sag_scale: 0.5, sag_blur_sigma: 2, sag_threshold: 1", set()),
        ("Dynamic thresholding enabled: False, Mimic scale: 7", set()),
        ("sag_enabled: True, sag_scale: -1", {"sag_scale"}),
        ("Dynamic thresholding enabled: True, Mimic scale: many", {"Mimic scale"}),
        ("Tiled Diffusion: {}", {"Tiled Diffusion"}),
        ("Tiled Diffusion method: MultiDiffusion, Tiled Diffusion tile width: 96", {"Tiled Diffusion method"}),
        ("Tiled Diffusion method: MultiDiffusion, Tiled Diffusion tile width: nan", {"Tiled Diffusion method"}),
        ("Tiled Diffusion: {'Method': 'MultiDiffusion', 'Tile tile width': 4, 'Tile tile height': 4}", {"Tile size"}),
        ("dynthres_enabled: True, dynthres_mimic_scale: 1e999", {"Mimic scale"}),
    ],
)
def test_what_is_off_or_malformed_changes_nothing_and_is_named(pairs: str, left: set[str]) -> None:
    parsed = parse_infotext(HEAD + pairs)
    plain = parse_infotext(HEAD.rstrip(", ")).request
    assert parsed.request.replace(tile_overlap=0.5) == plain
    assert left <= set(parsed.unknown)


def test_tiles_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="Tile size"):
        GenerationRequest(tile_size=8)


def test_hashes_in_one_value_tell_the_model() -> None:
    parsed = parse_infotext(HEAD + 'Hashes: {"model": "6ce0161689", "vae": "735e4c3a44"}, Version: v1.9.0')
    assert parsed.model_hash == "6ce0161689"
    assert set(parsed.unknown) == {"Hashes", "Version"}
