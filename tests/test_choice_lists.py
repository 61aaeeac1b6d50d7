"""Lists of models and files come when they are opened: the page weighs the same with any number of files."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from fakes import FAKE_MODEL, FakeBackend
from serving import RunningStudio, serve_studio
from social_studio import make_social_parts
from test_catalog import lora, write
from test_page import store
from test_page_weight import open_tab, read_page

from studio.core.model import Model
from studio.core.task import Task
from studio.page import mount

LORA_NAME = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
SHAPES = {
    "loras": lora(LORA_NAME),
    "vae": {"decoder.conv_in.weight": (512, 4, 3, 3), "encoder.conv_in.weight": (128, 3, 3, 3)},
    "upscalers": {"conv_first.weight": (64, 3, 3, 3), "body.0.rdb1.conv1.weight": (32, 64, 3, 3)},
    "controlnet": {
        "control_model.time_embed.0.weight": (1280, 320),
        "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    },
}
CHECKPOINTS = tuple(dataclasses.replace(FAKE_MODEL, id=f"own/{n}", title=f"Own {n}") for n in range(40))
BROKEN = dataclasses.replace(FAKE_MODEL, id="broken", title="Broken", problem="It is not whole.")
EDITOR = dataclasses.replace(FAKE_MODEL, id="editor", title="Editor", tasks=frozenset({Task.ERASE}))
Serve = Callable[..., RunningStudio]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve a studio with the given models, and as many files of each kind."""
    with ExitStack() as stack:
        numbers = itertools.count()

        def serve_one(*models: Model, files: int = 0, **options: Any) -> RunningStudio:
            return stack.enter_context(serve_lists(tmp_path / str(next(numbers)), *models, files=files, **options))

        yield serve_one


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """One studio, with three files of each kind, for the tests that change nothing."""
    with serve_lists(tmp_path_factory.mktemp("unchanged"), files=3) as served:
        yield served


def serve_lists(folder: Path, *models: Model, files: int, **options: Any) -> AbstractContextManager[RunningStudio]:
    for place, shapes in SHAPES.items():
        for number in range(files):
            write(folder / "models" / place / f"{place} <b> {number}.safetensors", shapes)
    social, _, backends = make_social_parts(folder)
    backends[0] = FakeBackend(FAKE_MODEL, *models)
    return serve_studio(
        folder,
        page=mount,
        backend=backends,
        social=social,
        models=store(folder / "models"),
        default_model="fake",
        **options,
    )


def get_list(served: RunningStudio, name: str, **query: str) -> list[list[str]]:
    answer = served.open_client().get(f"/page/lists/{name}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_page_and_its_tabs_weigh_the_same_with_any_number_of_models_and_files(serve: Serve) -> None:
    few, many = serve(), serve(*CHECKPOINTS, files=40)
    pages = [served.open_client().get("/").text for served in (few, many)]
    assert measure(pages[0]) == measure(pages[1])
    opened = [open_tab(served, read_page(page), "Img2Img") for served, page in zip((few, many), pages, strict=True)]
    assert measure(json.dumps(opened[0])) == measure(json.dumps(opened[1]))


def measure(text: str) -> int:
    """Characters without digits: the numbers of components grow within a process."""
    return len(re.sub(r"\d+", "", text))


def find_lists(served: RunningStudio) -> dict[str, str]:
    """The list that each field of Txt2Img fetches, by the id of its element."""
    page = served.open_client().get("/config").json()
    calls = re.findall(r"listChoices\((\{.*?\}), \.\.\.values", json.dumps(page["dependencies"]).replace('\\"', '"'))
    return {options["field"]: options["list"] for options in map(json.loads, calls)}


def test_every_list_field_fetches_a_list_that_there_is(unchanged: RunningStudio) -> None:
    lists = find_lists(unchanged)
    assert {"fallbacks", "hires-model", "hires-upscaler", "vae", "lora-0", "unit-0-model"} <= set(lists)
    for name in set(lists.values()):
        assert get_list(unchanged, name) or name == "refiners", "the model has no other of its family"


def test_lists_have_the_usable_files_of_their_kind(serve: Serve) -> None:
    served = serve(files=2)
    folder = served.studio.settings.current.models_dir
    (folder / "loras" / "damaged.safetensors").write_bytes(b"<html>")
    served.studio.store.refresh()
    assert get_list(served, "loras") == [[name, name] for name in ("loras <b> 0", "loras <b> 1")]
    assert [value for _, value in get_list(served, "controls")] == ["controlnet <b> 0", "controlnet <b> 1"]
    assert [value for _, value in get_list(served, "vaes")] == ["vae <b> 0", "vae <b> 1"]


def test_lists_of_models_are_those_of_the_task_with_broken_ones_last(serve: Serve) -> None:
    served = serve(BROKEN, EDITOR, *CHECKPOINTS[:2])
    labels = [label for label, _ in get_list(served, "models")]
    assert labels[:3] == ["Fake", "Own 0", "Own 1"]
    assert labels.index("Broken (unavailable)") > labels.index("Own 1")
    assert not any(label.startswith("Automatic") for label in labels)
    assert [label for label, _ in get_list(served, "models", task="erase")] == ["Editor"]


def test_a_list_that_is_still_the_same_is_not_sent_again(serve: Serve) -> None:
    served = serve(files=3)
    client = served.open_client()
    first = client.get("/page/lists/loras")
    again = client.get("/page/lists/loras", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    write(served.studio.settings.current.models_dir / "loras" / "new.safetensors", lora(LORA_NAME))
    served.studio.store.refresh()
    fresh = client.get("/page/lists/loras", headers={"If-None-Match": first.headers["etag"]})
    assert fresh.status_code == 200
    assert ["new", "new"] in fresh.json()


@pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e%2fetc", "unknown", "weights", "<script>"])
def test_there_are_no_other_lists(unchanged: RunningStudio, name: str) -> None:
    answer = unchanged.open_client().get(f"/page/lists/{name}")
    assert answer.status_code in (400, 404)
    assert "<script>" not in answer.text


def test_a_task_that_there_is_not_is_refused(unchanged: RunningStudio) -> None:
    answer = unchanged.open_client().get("/page/lists/models", params={"task": "nonsense"})
    assert answer.status_code in (400, 422)


def test_lists_are_for_those_who_are_logged_in(serve: Serve) -> None:
    served = serve(files=1, users=True)
    stranger = served.open_client().get("/page/lists/loras", follow_redirects=False)
    assert stranger.status_code in (302, 303, 401)
    assert "loras <b>" not in stranger.text
    for user in ("ann", "bob"):
        answer = served.open_client(user).get("/page/lists/loras")
        assert answer.json() == [["loras <b> 0", "loras <b> 0"]]
        assert answer.headers["cache-control"] == "private, no-cache"
