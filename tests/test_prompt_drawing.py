"""Dynamic prompts in jobs: each image has its own prompt, the same alone, in a batch, and after a crash."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FAKE_MODEL, FakeBackend, open_engine, wait_until_final
from test_journal import start, told

from studio.core.errors import InvalidRequest, ModelBroken, NotFound
from studio.core.events import Status
from studio.core.field_spec import Group
from studio.core.infotext import parse_infotext
from studio.core.model import Feature, Model
from studio.core.request import Axis, GenerationRequest, Hires
from studio.core.request_choices import PromptOrder
from studio.core.result import Asset
from studio.core.task import Task
from studio.core.user import LOCAL_USER, User
from studio.engine.engine import Engine
from studio.engine.jobs.prompt_drawing import draw_prompts
from studio.tabs.common.form_values import write_form
from studio.tabs.common.prompt_notes import describe_combinations

TEMPLATE = "a {red|green|blue} __fruit__"
BARE = Model(id="bare", title="Bare", family="fake", features=frozenset(), sizes=FAKE_MODEL.sizes)
DRAWER = dataclasses.replace(FAKE_MODEL, tasks=frozenset({Task.TXT2IMG, Task.IMG2IMG}))
ANN = User("ann")


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend(DRAWER, BARE, steps=1)


@pytest.fixture
def engine(tmp_path: Path, backend: FakeBackend) -> Iterator[Engine]:
    opened = open_engine(tmp_path, backend)
    opened.wildcards.save("fruit", "apple\npear\nplum\nfig\n")
    yield opened
    opened.close()


def draw(engine: Engine, **fields: Any) -> list[Asset]:
    """The images of a job, in their order."""
    job = engine.submit(GenerationRequest(**{"prompt": TEMPLATE, "seed": 100, "model": "fake", **fields}), LOCAL_USER)
    snapshot = wait_until_final(job)
    assert snapshot.status is Status.FINISHED, snapshot.error
    return sorted(snapshot.assets, key=lambda asset: asset.index)


def prompts(assets: list[Asset]) -> list[str]:
    return [asset.request.prompt for asset in assets]


def test_every_image_has_a_prompt_of_its_own(engine: Engine, backend: FakeBackend) -> None:
    assets = draw(engine, count=8)
    assert len(set(prompts(assets))) >= 4
    assert [request.prompt for request, _ in backend.seen] == prompts(assets)
    for asset in assets:
        assert asset.request.template == TEMPLATE
        assert not asset.request.drawn
        assert "{" not in asset.infotext.splitlines()[0]


def test_an_image_alone_has_the_prompt_that_it_has_in_a_batch(engine: Engine) -> None:
    together = draw(engine, count=6, batch_size=3)
    for asset in together:
        (alone,) = draw(engine, seed=asset.seed)
        assert alone.request.prompt == asset.request.prompt
        (again,) = draw(engine, **_fields(asset.request))
        assert again.request == asset.request


def _fields(request: GenerationRequest) -> dict[str, Any]:
    return {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}


def test_an_edited_wildcard_changes_no_queued_job(tmp_path: Path) -> None:
    backend = FakeBackend(held=True, steps=1)
    engine = open_engine(tmp_path, backend)
    engine.wildcards.save("fruit", "apple\n")
    job = engine.submit(GenerationRequest(prompt="__fruit__", seed=1, count=2), LOCAL_USER)
    backend.entered.acquire()
    engine.wildcards.save("fruit", "stone\n")
    engine.wildcards.delete("fruit")
    backend.release(2)
    assert prompts(list(wait_until_final(job).assets)) == ["apple", "apple"]
    engine.close()


def test_a_killed_process_goes_on_with_the_prompts_that_were_drawn(tmp_path: Path) -> None:
    words = tmp_path / "user" / "wildcards" / "fruit.txt"
    words.parent.mkdir(parents=True)
    words.write_text("apple\npear\nplum\nfig\n")
    expected = _expand_in_new_engine(tmp_path / "other", words.read_text())
    (job_id,), code, _ = told(start(tmp_path, "render:3", count=1, prompt=TEMPLATE))
    assert code != 0
    words.write_text("stone\n")
    engine = open_engine(tmp_path)
    snapshot = wait_until_final(engine.job(job_id, LOCAL_USER))
    engine.close()
    assert prompts(sorted(snapshot.assets, key=lambda asset: asset.index)) == expected


def _expand_in_new_engine(folder: Path, words: str) -> list[str]:
    folder.mkdir()
    engine = open_engine(folder)
    engine.wildcards.save("fruit", words)
    found = prompts(draw(engine, seed=0, count=4))
    engine.close()
    return found


def test_equal_prompts_share_a_batch_and_others_are_told_not_to(engine: Engine, backend: FakeBackend) -> None:
    draw(engine, prompt="{a|a}", count=4, batch_size=4)
    assert [len(seeds) for _, seeds in backend.seen] == [4]
    backend.seen.clear()
    assets = draw(engine, count=4, batch_size=4)
    assert sum(len(seeds) for _, seeds in backend.seen) == 4
    assert len(backend.seen) > 1
    assert any("different prompts" in note for note in assets[0].notes)


def test_the_negative_prompt_the_hires_prompt_and_steps_are_drawn_too(engine: Engine, backend: FakeBackend) -> None:
    (asset,) = draw(
        engine,
        negative_prompt="{x|y}",
        hires=Hires(prompt="__fruit__ detail", scale=1.0),
        then=(GenerationRequest(task=Task.IMG2IMG, model="fake", prompt="{p|q} step"),),
    )
    assert asset.request.negative_prompt in ("x", "y")
    assert asset.request.negative_template == "{x|y}"
    assert asset.request.hires is not None
    assert asset.request.hires.prompt in {f"{fruit} detail" for fruit in ("apple", "pear", "plum", "fig")}
    assert asset.request.then[0].prompt in ("p step", "q step")
    assert asset.request.then[0].template == "{p|q} step"
    assert "Negative Template: {x|y}" in asset.infotext


def test_both_texts_are_in_the_infotext_and_read_back(engine: Engine) -> None:
    (asset,) = draw(engine, prompt="a {red, ripe|green: unripe} __fruit__")
    parsed = parse_infotext(asset.infotext).request
    assert (parsed.prompt, parsed.template) == (asset.request.prompt, asset.request.template)


def test_the_form_shows_what_was_drawn_with_its_braces_escaped(engine: Engine) -> None:
    (asset,) = draw(engine, prompt="{a \\{red\\|blue\\} pear|a \\{red\\|blue\\} pear}")
    assert asset.request.prompt == "a {red|blue} pear"
    typed = write_form(asset.request)["prompt"]
    (again,) = draw(engine, prompt=typed)
    assert again.request.prompt == asset.request.prompt
    grid = asset.request.replace(axes=(Axis(parameter="Steps", values=("1",)),))
    assert write_form(grid)["prompt"] == asset.request.template


def test_a_grid_keeps_its_prompt_where_only_something_else_changes(engine: Engine) -> None:
    cells = draw(engine, axes=(Axis(parameter="Steps", values=("10,20,30",)),))
    assert len(set(prompts(cells[:3]))) == 1
    seeds = draw(engine, axes=(Axis(parameter="Seed", values=("1-6",)),))
    assert len(set(prompts(seeds[:6]))) > 1
    assert cells[3].request.template == TEMPLATE
    assert not cells[3].request.drawn


def test_prompt_replacement_works_on_the_template(engine: Engine) -> None:
    cells = draw(engine, axes=(Axis(parameter="Prompt S/R", values=("__fruit__, a stone, {x|x}",)),))
    colour = cells[0].request.prompt.split()[1]
    assert [prompt.split()[0] for prompt in prompts(cells[:3])] == ["a", "a", "a"]
    assert cells[1].request.prompt == f"a {colour} a stone"
    assert cells[2].request.prompt == f"a {colour} x"


def test_a_prompt_axis_takes_the_place_of_the_template(engine: Engine) -> None:
    cells = draw(engine, axes=(Axis(parameter="Prompt", values=("a stone", "{x|x} stone")),))
    assert prompts(cells[:2]) == ["a stone", "x stone"]


def test_all_combinations_come_once_each(engine: Engine) -> None:
    fields = {"prompt": "{a|b} {c|d|e}", "negative_prompt": "{x|y}", "prompt_order": PromptOrder.COMBINATIONS}
    assets = draw(engine, count=12, seed=7, **fields)
    assert len({(asset.request.prompt, asset.request.negative_prompt) for asset in assets}) == 12
    (alone,) = draw(engine, seed=assets[5].seed, **fields)
    assert alone.request == assets[5].request


def test_a_fallback_model_draws_the_same_prompts(engine: Engine, backend: FakeBackend) -> None:
    backend.fail = lambda request, step: ModelBroken("gone", hint="x") if request.model == "fake" else None
    assets = draw(engine, negative_prompt="{x|y}", count=3, fallbacks=("bare",))
    backend.fail = lambda request, step: None
    assert prompts(assets) == prompts(draw(engine, count=3))
    assert {asset.request.negative_prompt for asset in assets} == {""}
    assert {asset.request.model for asset in assets} == {"bare"}


def test_a_model_without_seeds_records_what_was_drawn(engine: Engine, backend: FakeBackend) -> None:
    assets = draw(engine, model="bare", seed=None, count=4)
    assert prompts(assets) == [request.prompt for request, _ in backend.seen]
    assert all("{" not in prompt for prompt in prompts(assets))


def test_variations_of_one_seed_have_one_prompt(engine: Engine) -> None:
    assets = draw(engine, count=4, variation_strength=0.3, variation_seed=5)
    assert len(set(prompts(assets))) == 1


def test_texts_that_a_caller_claims_were_drawn_are_not_believed(engine: Engine) -> None:
    (asset,) = draw(engine, prompt="a pear", drawn=(("a stone", "", "", ""),))
    assert asset.request.prompt == "a pear"
    (asset,) = draw(engine, prompt="ignored", template="{a|a} pear", drawn=(("a stone",),))
    assert asset.request.prompt == "a pear"


@pytest.mark.parametrize(
    ("prompt", "error"),
    [("__nobody__", NotFound), ("{a|b", InvalidRequest), ("${x} {a|b}", InvalidRequest), ("__loop__", InvalidRequest)],
)
def test_what_cannot_be_drawn_is_refused_before_it_waits(engine: Engine, prompt: str, error: Any) -> None:
    engine.wildcards.save("loop", "__loop__\n")
    with pytest.raises(error):
        engine.submit(GenerationRequest(prompt=prompt), LOCAL_USER)
    assert engine.jobs(LOCAL_USER) == []


def test_a_job_draws_from_its_users_wildcards(engine: Engine) -> None:
    engine.wildcards.of("ann").save("fruit", "ann's quince\n")
    job = engine.submit(GenerationRequest(prompt="__fruit__"), ANN)
    assert prompts(list(wait_until_final(job).assets)) == ["ann's quince"]


def test_too_much_text_in_one_job_is_refused(engine: Engine) -> None:
    request = GenerationRequest(prompt="{a|b}" + "x" * 19_000, count=300, seed=1)
    with pytest.raises(InvalidRequest, match="4,000,000 characters"):
        draw_prompts(request, engine.wildcards)


def test_the_form_counts_the_combinations_or_says_what_is_wrong(engine: Engine) -> None:
    drawn, note = describe_combinations(["a {red|green} __fruit__", "{x|y|z}"], engine.wildcards)
    assert "<b>24</b>" in note
    assert "{" not in drawn[0]
    assert describe_combinations(["a pear", ""], engine.wildcards) == (["a pear", ""], "")
    for text, said in (("__<b>__", ""), ("__nobody__", "“nobody” not found"), ("{a|<b>", "&lt;b&gt;")):
        assert said in describe_combinations([text, ""], engine.wildcards)[1]
    assert "<b>{" not in describe_combinations(["{a|<b>", ""], engine.wildcards)[1]
    assert "more than" in describe_combinations(["{a|b|c|d|e|f|g|h|i|j}" * 20, ""], engine.wildcards)[1]


def test_a_plain_prompt_leaves_no_trace_of_templates(engine: Engine) -> None:
    (asset,) = draw(engine, prompt="a {nice} #ff0000 pear")
    assert asset.request.prompt == "a {nice} #ff0000 pear"
    assert not {"template", "negative_template", "drawn", "prompt_order"} & set(asset.request.to_json())
    assert "Template" not in asset.infotext


def test_the_table_knows_the_templates() -> None:
    names = [spec.name for spec in GenerationRequest.FIELDS if spec.group is Group.TEMPLATE]
    assert names == ["template", "negative_template"]
    assert Feature.NEGATIVE_PROMPT in {spec.feature for spec in GenerationRequest.FIELDS if spec.name in names}
