"""What the page's scripts let a result do: an image of the library is shown, and the shown one enlarged."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes import wait_until_final
from serving import RunningStudio, serve_studio
from social_studio import make_social_parts
from test_page import store

from studio.core.errors import InvalidRequest, NotFound
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import User
from studio.page import mount
from studio.tabs.common.result_actions import make_upscale_request

ANN, BOB = User("ann"), User("bob")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningStudio]:
    social, painter, backends = make_social_parts(tmp_path)
    with serve_studio(
        tmp_path,
        users=True,
        page=mount,
        backend=backends,
        social=social,
        models=store(tmp_path / "models"),
        default_model="fake",
    ) as served:
        served.backend = painter
        yield served


def draw(served: RunningStudio, user: User) -> str:
    """The id of an image that `user` made."""
    job = served.studio.engine.submit(GenerationRequest(prompt="a pear"), user)
    return wait_until_final(job).assets[0].id


def press(client: httpx.Client, button: str, asset_id: str) -> str:
    """What the page is sent when the button is pressed for that image, as any script with a session could."""
    config = client.get("/config").json()
    number = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == button)
    event = next(one for one in config["dependencies"] if [number, "click"] in one["targets"])
    body: dict[str, Any] = {"data": [asset_id], "fn_index": event["id"], "session_hash": f"session-{uuid.uuid4().hex}"}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": body["session_hash"]}) as answer:
        return next(line for line in answer.iter_lines() if "process_completed" in line)


def test_an_image_of_the_library_is_shown_to_its_owner_alone(served: RunningStudio) -> None:
    asset_id = draw(served, ANN)
    assert asset_id in press(served.open_client("ann"), "show-image", asset_id)
    refused = press(served.open_client("bob"), "show-image", asset_id)
    assert "a pear" not in refused
    assert '"success":false' in refused.replace(" ", "")


def test_an_image_is_enlarged_for_its_owner_alone(served: RunningStudio) -> None:
    asset_id = draw(served, ANN)
    wanted = make_upscale_request(served.studio, asset_id, ANN)
    assert (wanted.task, wanted.model) == (Task.UPSCALE, "upscaler/realesr-general-x4v3")
    assert wanted.upscale is not None
    assert wanted.upscale.scale == 2
    with pytest.raises(NotFound):
        make_upscale_request(served.studio, asset_id, BOB)
    refused = press(served.open_client("bob"), "upscale-image", asset_id)
    assert '"success":false' in refused.replace(" ", "")
    assert len(served.studio.engine.jobs(BOB, 10)) == 0


def test_without_an_upscaler_the_page_says_where_to_put_one(tmp_path: Path) -> None:
    with serve_studio(tmp_path, page=mount, models=store(tmp_path / "models"), default_model="fake") as served:
        user = User("local")
        with pytest.raises(InvalidRequest, match="No upscaler") as refused:
            make_upscale_request(served.studio, draw(served, user), user)
        assert "models/upscalers" in refused.value.hint
