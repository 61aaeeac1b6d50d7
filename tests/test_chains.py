"""Named chains: kept per user, refused when they could not run, and carried out after an image."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from fakes import FAKE_MODEL, FakeBackend, open_engine, wait_until_final
from serving import RunningStudio, serve_studio

from studio.api.responses import PREFIX as API
from studio.core.errors import InvalidRequest, NotFound
from studio.core.finish import Derivative, Finish, OutputOptions
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.jobs.saved_chains import MAX_CHAINS, SavedChains, append_steps, extract_steps, parse_steps
from studio.finishing.finish_backend import FinishingBackend
from studio.finishing.fonts import Fonts
from studio.library.database import Database
from tests.foreign_images import make_png_with_chunks

SMALL = GenerationRequest(
    task=Task.FINISH,
    finish=Finish(derivatives=(Derivative(width=16), Derivative(width=8))),
    file=OutputOptions(format="webp"),
)


@pytest.fixture
def chains(tmp_path: Path) -> SavedChains:
    return SavedChains(Database(tmp_path / "library.db"))


def test_a_chain_is_kept_under_its_name_for_its_user_alone(chains: SavedChains) -> None:
    assert chains.save("ann", "  web \n images ", [SMALL]) == "web images"
    chains.save("ann", "Again", [SMALL, SMALL.replace(finish=None)][1:])
    assert chains.names("ann") == ["Again", "web images"]
    assert chains.steps("ann", "web images") == (SMALL,)
    assert chains.names("bob") == []
    with pytest.raises(NotFound) as unknown:
        chains.steps("bob", "web images")
    assert "none yet" in unknown.value.hint
    chains.save("ann", "Again", [SMALL])
    assert chains.steps("ann", "Again") == (SMALL,), "what had the name is replaced"
    chains.delete("ann", "Again")
    assert chains.names("ann") == ["web images"]


def test_what_could_not_run_is_not_kept(chains: SavedChains) -> None:
    two = SMALL, SMALL  # several files, and then another step
    for name, steps in ((" ", [SMALL]), ("x", []), ("x", two), ("x", [GenerationRequest(prompt="a cat")])):
        with pytest.raises(InvalidRequest) as refused:
            chains.save("ann", name, steps)
        assert refused.value.hint
    for number in range(MAX_CHAINS):
        chains.save("ann", f"n{number}", [SMALL])
    with pytest.raises(InvalidRequest, match="limit"):
        chains.save("ann", "one more", [SMALL])
    chains.save("ann", "n3", [SMALL])


@pytest.mark.parametrize("data", [None, 3, "x", [], [3], [SMALL.to_json()] * 13, {"task": "txt2img", "prompt": "a"}])
def test_odd_json_is_refused(data: object) -> None:
    with pytest.raises(InvalidRequest):
        parse_steps(data)


def test_the_file_is_written_as_the_chain_says() -> None:
    wanted = append_steps(GenerationRequest(prompt="a cat"), (SMALL,))
    assert wanted.file == SMALL.file
    assert wanted.then == (SMALL.replace(file=None),)
    assert append_steps(wanted, ()) is wanted
    assert extract_steps(wanted) == (SMALL,)
    assert extract_steps(GenerationRequest(prompt="a cat", file=SMALL.file)) == ()


def test_a_chain_is_known_by_what_was_carried_out(chains: SavedChains) -> None:
    larger = GenerationRequest(task=Task.UPSCALE, model="upscaler/x")
    chains.save("ann", "web", [larger, SMALL])
    assert chains.find_name("ann", (larger, SMALL.replace(model="finish"))) == "web"
    assert chains.find_name("ann", (larger.replace(model="upscaler/y"), SMALL)) is None
    assert chains.find_name("ann", (larger,)) is None
    assert chains.find_name("bob", (larger, SMALL)) is None


def test_a_chain_of_another_version_is_left_out(tmp_path: Path) -> None:
    database = Database(tmp_path / "library.db")
    chains = SavedChains(database)
    chains.save("ann", "web", [SMALL])
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO chains (user, name, steps, created) VALUES ('ann', 'later', '[{\"sparkle\": 1}]', 0)"
        )
    assert chains.all("ann") == {"web": (SMALL,)}
    assert chains.find_name("ann", (SMALL,)) == "web"


def test_a_chain_follows_a_drawing(tmp_path: Path) -> None:
    engine: Engine = open_engine(tmp_path, FakeBackend(), FinishingBackend(Fonts(tmp_path)))
    try:
        engine.chains.save(
            LOCAL_USER.name, "web", [GenerationRequest(task=Task.FINISH, finish=Finish(width=16), file=SMALL.file)]
        )
        wanted = append_steps(GenerationRequest(model="fake", seed=1), engine.chains.steps(LOCAL_USER.name, "web"))
        [asset] = wait_until_final(engine.submit(wanted, LOCAL_USER)).assets
        assert (asset.width, asset.path.suffix) == (16, ".webp")
    finally:
        engine.close()


@pytest.fixture
def served(tmp_path: Path):
    backends = [FakeBackend(FAKE_MODEL), FinishingBackend(Fonts(tmp_path))]
    with serve_studio(tmp_path, backend=backends, users=True, default_model="fake") as server:
        yield server


def test_chains_through_http(served: RunningStudio) -> None:
    ann, bob = served.open_client("ann"), served.open_client("bob")
    kept = ann.put(f"{API}/chains/web", json={"steps": [SMALL.to_json()]})
    assert kept.status_code == 200, kept.text
    assert kept.json() == {"name": "web", "steps": [SMALL.to_json()]}
    assert ann.get(f"{API}/chains").json() == {"chains": [kept.json()]}
    assert ann.get(f"{API}/chains/web").json() == kept.json()
    assert bob.get(f"{API}/chains/web").status_code == 404
    assert bob.get(f"{API}/chains").json() == {"chains": []}
    made = ann.post(f"{API}/create?wait=true", json={"prompt": "a cat", "chain": "web"}).json()
    assert len(made["images"]) == 2
    then = ann.post(f"{API}/create?wait=true", json={"prompt": "a cat", "then": [SMALL.to_json()]}).json()
    assert len(then["images"]) == 2
    source = base64.b64encode(make_png_with_chunks()).decode()
    through = ann.post(f"{API}/chains/web?wait=true", json={"images": [source]}).json()
    assert [image["width"] for image in through["images"]] == [16, 8]
    assert ann.post(f"{API}/chains/web", json={}).status_code == 400
    missing = bob.post(f"{API}/create", json={"prompt": "a cat", "chain": "web"})
    assert (missing.status_code, missing.json()["details"]["hint"]) == (404, "Saved chains: none yet.")
    logo = SMALL.to_json() | {"finish": {"watermark": {"image": source}}}
    named = ann.put(f"{API}/chains/with/logo", json={"steps": [logo]}).json()["steps"][0]["finish"]["watermark"][
        "image"
    ]
    assert named == ann.post(f"{API}/inputs", json={"image": source}).json()["id"]
    theirs = SMALL.to_json() | {"finish": {"watermark": {"image": named}}}
    assert bob.put(f"{API}/chains/mine", json={"steps": [theirs]}).status_code == 404
    odd = ann.put(f"{API}/chains/web", json={"steps": [{"task": "txt2img"}]})
    assert odd.status_code == 400
    assert ann.delete(f"{API}/chains/web").status_code == 204
    assert ann.delete(f"{API}/chains/web").status_code == 404
