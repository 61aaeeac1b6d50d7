"""The platform data: all of it reads, a broken part is named, one's own formats join."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from studio.core.errors import NotFound
from studio.core.social_formats import Zone
from studio.core.social_view import draw_frame_svg, draw_zones_svg
from studio.social.platforms import BUNDLED_PLATFORMS, Platforms

OWN = """
[platform.shop]
title = "My shop"
channel = false

[[format]]
platform = "shop"
id = "tile"
name = "Tile"
width = 640
height = 480
safe = { top = 10, right = 20, bottom = 30, left = 40 }
"""


@pytest.fixture(scope="module")
def platforms() -> Platforms:
    return Platforms()


def test_everything_that_ships_can_be_read(platforms: Platforms) -> None:
    assert not platforms.problems
    assert len(platforms.formats()) >= 96
    channels = [each.title for each in platforms.platforms() if each.channel]
    assert channels == ["Instagram", "Facebook", "X (Twitter)", "LinkedIn", "YouTube", "Pinterest", "TikTok"]
    assert platforms.as_of == "2026-11-20"


def test_a_platform_says_which_marks_of_origin_it_reads(platforms: Platforms, tmp_path: Path) -> None:
    reads = {each.id: each.reads for each in platforms.platforms()}
    assert "IPTC" in reads["pinterest"]
    assert "OpenAI" in reads["youtube"]
    assert reads["tiktok"] == reads["web"] == ""
    own = tmp_path / "platforms.toml"
    own.write_text(OWN.replace('title = "My shop"', 'title = "My shop"\nreads = "IPTC"'))
    found = {each.id: each.reads for each in Platforms(own).platforms()}
    assert (found["shop"], found["pinterest"]) == ("IPTC", reads["pinterest"])


def test_every_format_says_where_its_figures_come_from(platforms: Platforms) -> None:
    for each in platforms.formats():
        assert each.sources, each.id
        assert all(source.name and source.read for source in each.sources), each.id
        assert each.confidence.meaning


def test_every_zone_lies_inside_its_format(platforms: Platforms) -> None:
    for each in platforms.formats():
        zones = platforms.zones(each.id)
        assert any(zone.kind == "safe" for zone in zones)
        for zone in zones:
            assert zone.left >= 0, each.id
            assert zone.top >= 0, each.id
            assert zone.left + zone.width <= each.width, each.id
            assert zone.top + zone.height <= each.height, each.id


def test_limits_and_types_are_those_that_pass_everywhere(platforms: Platforms) -> None:
    story = platforms.format("instagram.story")
    assert (story.file_type, story.limit) == ("jpeg", 8_000_000)  # 30 MB in the app, 8 MB for tools
    assert platforms.format("youtube.thumbnail").limit == 2_000_000
    assert platforms.format("youtube.banner").limit == 6_291_456
    assert platforms.format("linkedin.page_logo").file_type == "png"
    assert platforms.format("linkedin.document_slide").file_type == "jpeg"  # a PDF's page is a still image here


def test_a_round_format_says_what_is_shown(platforms: Platforms) -> None:
    (circle,) = [zone for zone in platforms.zones("instagram.highlight_cover") if zone.kind == "circle"]
    assert (circle.left, circle.top, circle.width, circle.height) == (0, 420, 1080, 1080)


def test_zones_and_frames_become_svg_with_escaped_labels(platforms: Platforms) -> None:
    story = platforms.format("instagram.story")
    zone = Zone(id="x", kind="ui", label="<script>", left=1, top=2, width=3, height=4)
    drawn = draw_zones_svg(story, [*platforms.zones(story.id), zone])
    root = ElementTree.fromstring(drawn)
    assert root.get("viewBox") == "0 0 1080 1920"
    assert len(list(root)) == len(platforms.zones(story.id)) + 1
    assert "<script>" not in drawn
    frame = platforms.frame(story.id)
    assert frame is not None
    assert 'class="slot"' in draw_frame_svg(story, frame)
    assert all(platforms.frame(each.id) is not None for each in platforms.formats())


def test_an_unknown_format_lists_near_ones(platforms: Platforms) -> None:
    with pytest.raises(NotFound) as caught:
        platforms.format("instagram.storry")
    assert "instagram.story" in caught.value.hint
    with pytest.raises(NotFound) as caught:
        platforms.formats("instagrm")
    assert "instagram" in caught.value.hint


def test_own_formats_join_without_code(tmp_path: Path) -> None:
    own = tmp_path / "platforms.toml"
    platforms = Platforms(own)
    assert all(not each.own for each in platforms.formats())
    own.write_text(OWN)
    tile = platforms.format("shop.tile")
    assert tile.own
    assert (tile.width, tile.height, tile.safe.left) == (640, 480, 40)
    assert [each.title for each in platforms.platforms()][-1] == "My shop"


def test_an_own_format_replaces_ours_of_the_same_id(tmp_path: Path) -> None:
    own = tmp_path / "platforms.toml"
    own.write_text('[[format]]\nplatform = "instagram"\nid = "story"\nname = "Story"\nwidth = 1440\nheight = 2560\n')
    platforms = Platforms(own)
    assert platforms.format("instagram.story").width == 1440
    assert len(platforms.formats("instagram")) == len(Platforms().formats("instagram"))


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ("width = 640", "width = 'wide'"),
        ("width = 640", "width = 0"),
        ("width = 640", "width = 8000\nheigth = 3"),
        ("left = 40", "left = 640"),
        ('id = "tile"', 'id = "../tile"'),
        ("width = 640", 'width = 640\nsources = ["NOBODY"]'),
        ("width = 640", 'width = 640\ntypes = ["exe"]'),
        ("width = 640", "width = 640\nmax_bytes = -1"),
        (
            "width = 640",
            'width = 640\nzones = [{ id = "a", kind = "ui", label = "b", x = 600, y = 0, w = 100, h = 9 }]',
        ),
    ],
)
def test_a_broken_entry_is_named_and_the_rest_works(tmp_path: Path, broken: str, named: str) -> None:
    own = tmp_path / "platforms.toml"
    whole = '\n[[format]]\nplatform = "shop"\nid = "fine"\nname = "Fine"\nwidth = 100\nheight = 100\n'
    own.write_text(OWN.replace(broken, named) + whole)
    platforms = Platforms(own)
    (problem,) = platforms.problems
    assert "platforms.toml, format 1" in problem
    assert platforms.format("shop.fine").width == 100
    assert len(platforms.formats()) == len(Platforms().formats()) + 1


@pytest.mark.parametrize("content", [b"[[format", b"\xff\xfe\x00", b"format = 3", b"x = " + b"[" * 5000])
def test_a_broken_file_leaves_ours(tmp_path: Path, content: bytes) -> None:
    own = tmp_path / "platforms.toml"
    own.write_bytes(content)
    platforms = Platforms(own)
    assert len(platforms.formats()) == len(Platforms().formats())
    if content != b"format = 3":
        assert "platforms.toml" in platforms.problems[0]


def test_when_ours_is_broken_the_users_own_still_work(tmp_path: Path) -> None:
    ours, own = tmp_path / "ours.toml", tmp_path / "platforms.toml"
    ours.write_text(BUNDLED_PLATFORMS.read_text()[:40_000] + "\n[[[")
    own.write_text(OWN)
    platforms = Platforms(own, ours=ours)
    assert "ours.toml" in platforms.problems[0]
    assert [each.id for each in platforms.formats()] == ["shop.tile"]
