"""Prompts over HTTP: drawing from templates, and wildcards that belong to their users."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from chat_server import Reply, answer_json, run_chat_server, stall, stream_text
from fakes import DEADLINE
from PIL import Image
from serving import RunningStudio, serve_studio

from studio.core.settings import Settings
from studio.engine.api_tokens import TokenScope
from studio.engine.prompt_room import PromptRoom
from studio.providers.common.chat_connection import ChatConnection

API = "/api/image-studio"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_studio(tmp_path_factory.mktemp("prompts"), users=True) as found:
        yield found


@pytest.fixture(scope="module")
def ann(served: RunningStudio) -> httpx.Client:
    return served.open_client("ann")


@pytest.fixture(scope="module")
def bob(served: RunningStudio) -> httpx.Client:
    return served.open_client("bob")


def expand(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post(f"{API}/prompts/expand", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def save(client: httpx.Client, name: str, text: str) -> httpx.Response:
    return client.put(f"{API}/wildcards/{name}", json={"text": text})


def test_a_template_gives_prompts_by_seed(ann: httpx.Client) -> None:
    found = expand(ann, template="a {red|green|blue} __animal__", seed=7, count=5)
    assert len(found["prompts"]) == 5
    assert found["combinations"] == 120
    for k, prompt in enumerate(found["prompts"]):
        assert expand(ann, template="a {red|green|blue} __animal__", seed=7 + k)["prompts"] == [prompt]
    assert expand(ann, template="{a|b}")["seed"] >= 0


def test_all_combinations_are_given_in_order(ann: httpx.Client) -> None:
    found = expand(ann, template="{a|b} {c|d}", order="combinations", count=1000)
    assert found["prompts"] == ["a c", "a d", "b c", "b d"]
    assert found["combinations"] == 4


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"template": "a {red|blue"}, 400, "character 3"),
        ({"template": "__nobody__"}, 404, "nobody"),
        ({"template": "x", "count": 0}, 400, "count"),
        ({"template": "x", "count": 1001}, 400, "count"),
        ({"template": "x", "seed": -1}, 400, "seed"),
        ({"template": "x\u0000"}, 400, "NUL"),
        ({"template": "x", "order": "best"}, 400, "order"),
        ({"count": 2}, 400, "template"),
    ],
)
def test_what_cannot_be_drawn_is_refused(ann: httpx.Client, body: dict[str, Any], status: int, says: str) -> None:
    answer = ann.post(f"{API}/prompts/expand", json=body)
    assert (answer.status_code, says in answer.text) == (status, True), answer.text


def test_a_wildcard_is_kept_read_drawn_from_and_deleted(ann: httpx.Client) -> None:
    saved = save(ann, "My Hats", "cap\r\n# none\n2::beret")
    assert saved.status_code == 200, saved.text
    assert (saved.json()["name"], saved.json()["values"], saved.json()["own"]) == ("my_hats", 2, True)
    assert set(expand(ann, template="__my_hats__", seed=1, count=50)["prompts"]) == {"cap", "beret"}
    assert ann.get(f"{API}/wildcards/my_hats").json()["text"] == "cap\n# none\n2::beret\n"
    assert {"name": "my_hats", "own": True} in ann.get(f"{API}/wildcards").json()["wildcards"]
    assert ann.delete(f"{API}/wildcards/my_hats").status_code == 204
    assert ann.get(f"{API}/wildcards/my_hats").status_code == 404


def test_a_wildcard_is_its_users_own(ann: httpx.Client, bob: httpx.Client, served: RunningStudio) -> None:
    assert save(ann, "folder/secret", "ann's word").status_code == 200
    assert "secret" not in bob.get(f"{API}/wildcards").text
    assert bob.get(f"{API}/wildcards/folder/secret").status_code == 404
    assert bob.delete(f"{API}/wildcards/folder/secret").status_code == 404
    assert bob.post(f"{API}/prompts/expand", json={"template": "__folder/secret__"}).status_code == 404
    for way in ("users/ann/folder/secret", "..%2Fann%2Ffolder%2Fsecret", "users%2Fann%2Ffolder%2Fsecret"):
        assert bob.get(f"{API}/wildcards/{way}").status_code in (400, 404)
        assert save(bob, way, "x").status_code in (400, 404)
    assert save(bob, "folder/secret", "bob's word").status_code == 200
    assert expand(ann, template="__folder/secret__")["prompts"] == ["ann's word"]
    stranger = served.open_client()
    assert stranger.get(f"{API}/wildcards").status_code == 401
    assert stranger.post(f"{API}/prompts/expand", json={"template": "x"}).status_code == 401


@pytest.mark.parametrize("name", ["..%2F..%2Fkeys", "%2Fetc%2Fpasswd", "a%5Cb", "a%00b", ".ssh", "con__x", "%2e%2e/x"])
def test_a_name_never_leads_out_of_the_folder(ann: httpx.Client, name: str, tmp_path: Path) -> None:
    for answer in (
        save(ann, name, "x"),
        ann.get(f"{API}/wildcards/{name}"),
        ann.delete(f"{API}/wildcards/{name}"),
    ):
        assert answer.status_code in (400, 404, 405), (name, answer.text)


def test_built_in_wildcards_can_be_read_but_not_deleted(ann: httpx.Client) -> None:
    found = ann.get(f"{API}/wildcards/animal").json()
    assert not found["own"]
    assert found["values"] == len(found["text"].splitlines())
    assert ann.delete(f"{API}/wildcards/animal").status_code == 400


def test_a_wildcard_without_values_or_too_large_is_refused(ann: httpx.Client) -> None:
    assert save(ann, "empty", "# only a comment").status_code == 400
    assert save(ann, "huge", "x" * (5 * 1024 * 1024 + 1)).status_code in (400, 413)


def test_random_prompts_are_written_for_the_model(ann: httpx.Client) -> None:
    asked = {"subject": "animal", "seed": 3, "count": 2, "model": "fake"}
    found = ann.post(f"{API}/prompts/random", json=asked).json()["prompts"]
    assert found == ann.post(f"{API}/prompts/random", json=asked).json()["prompts"]
    assert [each["seed"] for each in found] == [3, 4]
    assert all(each["prompt"] and each["negativePrompt"] and each["subject"] == "animal" for each in found)
    assert ann.post(f"{API}/prompts/random", json={"subject": "cars"}).status_code == 400
    assert ann.post(f"{API}/prompts/random", json={"model": "nobody"}).status_code == 404
    assert ann.post(f"{API}/prompts/random", json={"count": 101}).status_code == 400


def test_an_enhanced_prompt_lists_what_was_added(ann: httpx.Client) -> None:
    found = ann.post(f"{API}/prompts/enhance", json={"prompt": "a red apple", "seed": 1, "model": "fake"}).json()
    assert found["prompt"].startswith("a red apple, ")
    assert 1 <= len(found["additions"]) <= 3
    assert all(each["text"] in found["prompt"] for each in found["additions"])
    assert found["advice"] == found["switchTo"] == ""
    without = {"prompt": "a", "without": ["light", "medium", "composition", "mood", "colour"], "model": "fake"}
    assert ann.post(f"{API}/prompts/enhance", json=without).json()["additions"] == []


def test_prompt_ideas_want_a_login(served: RunningStudio) -> None:
    stranger = served.open_client()
    for path, body in (("prompts/random", {}), ("prompts/enhance", {"prompt": "x"})):
        assert stranger.post(f"{API}/{path}", json=body).status_code == 401


@contextlib.contextmanager
def chatting(
    served: RunningStudio, reply: Reply, seconds: float = 20.0, *, paid: bool = False, **money: float
) -> Iterator[Any]:
    """The studio with a chat server that answers by `reply`; a `paid` one is taken for a server elsewhere."""
    with run_chat_server(reply) as server:
        settings = Settings(chat_url=server.url, chat_seconds=seconds, **money)  # type: ignore[arg-type]
        chat = ChatConnection(lambda: settings, lambda: "")
        if paid:
            chat.__class__ = type("Elsewhere", (ChatConnection,), {"paid": True})
        room = PromptRoom(chat, served.studio.engine.ledger, lambda: settings)
        object.__setattr__(served.studio, "prompts", room)
        try:
            yield server
        finally:
            object.__setattr__(served.studio, "prompts", None)


REWRITE = {"prompt": "a cat <lora:ink:1>", "rewrite": True, "model": "fake"}


def test_a_rewrite_comes_whole_or_as_events(ann: httpx.Client, served: RunningStudio) -> None:
    with chatting(served, stream_text('{"prompt": "a moonlit cat ⟦1⟧"}')):
        whole = ann.post(f"{API}/prompts/enhance", json=REWRITE)
        assert whole.json()["prompt"] == "a moonlit cat <lora:ink:1>", whole.text
        events = ann.post(f"{API}/prompts/enhance", json=REWRITE, headers={"Accept": "text/event-stream"}).text
    assert events.count("event: delta") > 1
    assert 'event: done\ndata: {"prompt": "a moonlit cat <lora:ink:1>", "notes": []}' in events


def test_a_language_model_that_describes_people_is_told_of(ann: httpx.Client, served: RunningStudio) -> None:
    with chatting(served, stream_text('{"prompt": "a young blond doctor in a kimono"}')):
        rewrite = ann.post(f"{API}/prompts/enhance", json={"prompt": "a doctor", "rewrite": True, "model": "fake"})
        brief = ann.post(f"{API}/analyze-context", json={"text": "a doctor", "model": "fake"}).json()
    for said in (rewrite.json()["advice"], *brief["notes"]):
        assert "“young blond doctor”, “kimono”" in said
    assert brief["source"] == "chat"  # it is told, not refused


def test_a_slow_language_model_is_a_timeout(ann: httpx.Client, served: RunningStudio) -> None:
    with chatting(served, stall("a"), seconds=1.0):
        answer = ann.post(f"{API}/prompts/enhance", json=REWRITE)
        assert (answer.status_code, answer.json()["code"]) == (504, "LLM_TIMEOUT")
        events = ann.post(f"{API}/prompts/enhance", json=REWRITE, headers={"Accept": "text/event-stream"}).text
        assert "event: error" in events
        assert "LLM_TIMEOUT" in events


def test_hanging_up_stops_the_language_model(ann: httpx.Client, served: RunningStudio) -> None:
    with chatting(served, stall("a")) as server:
        headers = {"Accept": "text/event-stream"}
        with ann.stream("POST", f"{API}/prompts/enhance", json=REWRITE, headers=headers) as answer:
            next(answer.iter_lines())
        assert server.ended.wait(DEADLINE), "the call goes on"


def test_a_rewrite_wants_a_chat_server(ann: httpx.Client) -> None:
    answer = ann.post(f"{API}/prompts/enhance", json=REWRITE)
    assert answer.status_code >= 400
    assert "chat" in answer.text


BRIEF = {"text": "a bakery in Lisbon, Portugal", "count": 3, "seed": 1, "model": "fake"}
IDEAS = json.dumps({"prompts": [{"name": "Oven", "prompt": "a baker at {work|rest}", "negativePrompt": "blur"}]})


@contextlib.contextmanager
def without_chat(served: RunningStudio) -> Iterator[None]:
    """The studio without a chat server."""
    settings = Settings()
    room = PromptRoom(ChatConnection(lambda: settings, lambda: ""), served.studio.engine.ledger, lambda: settings)
    object.__setattr__(served.studio, "prompts", room)
    try:
        yield
    finally:
        object.__setattr__(served.studio, "prompts", None)


def test_a_brief_becomes_prompts_by_rules(ann: httpx.Client, served: RunningStudio) -> None:
    with without_chat(served):
        answer = ann.post(f"{API}/analyze-context", json=BRIEF).json()
        assert answer == ann.post(f"{API}/analyze-context", json=BRIEF).json()
        only = ann.post(f"{API}/analyze-context", json={"filters": {"place": "Japan"}, "model": "fake"}).json()
        for wrong in ({}, {"text": " "}, {**BRIEF, "count": 9}, {**BRIEF, "nobody": 1}):
            assert ann.post(f"{API}/analyze-context", json=wrong).status_code == 400
    assert answer["source"] == "rules"
    assert [each["prompt"].startswith("a bakery in Lisbon, Portugal") for each in answer["prompts"]] == [True] * 3
    assert answer["classification"]["territories"] == ["PT"]
    assert answer["classification"]["because"] == {"PT": "lisbon"}
    model = served.studio.engine.model("fake")
    width, height = model.sizes.liked[0]
    assert answer["config"] == {
        "model": "fake",
        "width": width,
        "height": height,
        "steps": model.sampling.steps,
        "guidance_scale": model.sampling.guidance,
        "sampler": model.sampling.sampler,
        "schedule": model.sampling.schedule,
        "seed": 1,
    }
    made = ann.post(f"{API}/create?wait=true", json={**answer["config"], "prompt": answer["prompts"][0]["prompt"]})
    assert made.status_code == 200, made.text
    assert only["classification"]["territories"] == ["JP"]


def test_a_brief_is_given_to_the_language_model(ann: httpx.Client, served: RunningStudio) -> None:
    with chatting(served, stream_text(f"```json\n{IDEAS}\n```")):
        answer = ann.post(f"{API}/analyze-context", json=BRIEF).json()
        events = ann.post(f"{API}/analyze-context", json=BRIEF, headers={"Accept": "text/event-stream"}).text
    assert answer["source"] == "chat"
    assert answer["prompts"] == [{"name": "Oven", "prompt": "a baker at \\{work|rest\\}", "negativePrompt": "blur"}]
    names = [line.removeprefix("event: ") for line in events.splitlines() if line.startswith("event: ")]
    assert names[0] == "classification"
    assert set(names[1:-2]) == {"delta"}
    assert names[-2:] == ["prompts", "done"]


def test_no_more_prompts_are_given_than_were_asked_for(ann: httpx.Client, served: RunningStudio) -> None:
    many = json.dumps({"prompts": [{"prompt": f"prompt {number}"} for number in range(40)]})
    with chatting(served, stream_text(many)):
        answer = ann.post(f"{API}/analyze-context", json=BRIEF).json()
    assert [each["prompt"] for each in answer["prompts"]] == ["prompt 0", "prompt 1", "prompt 2"]


def test_a_language_model_without_prompts_gives_way_to_the_rules(ann: httpx.Client, served: RunningStudio) -> None:
    with chatting(served, stream_text("I can't help with that.")):
        answer = ann.post(f"{API}/analyze-context", json=BRIEF).json()
    assert (answer["source"], len(answer["prompts"]), len(answer["notes"])) == ("rules", 3, 1)


def test_a_language_model_that_cannot_be_asked_gives_way_to_the_rules(ann: httpx.Client, served: RunningStudio) -> None:
    for status in (429, 500):
        with chatting(served, answer_json("no", status)):
            answer = ann.post(f"{API}/analyze-context", json=BRIEF).json()
        assert (answer["source"], len(answer["prompts"])) == ("rules", 3)
        (note,) = answer["notes"]
        assert note.endswith("These are by rules.")
    with chatting(served, answer_json("no", 401)):  # for the administrator to set right
        assert ann.post(f"{API}/analyze-context", json=BRIEF).status_code == 409


def test_a_brief_costs_nothing_where_nothing_may_be_spent(ann: httpx.Client, served: RunningStudio) -> None:
    secret = served.studio.engine.tokens.create("ann", "no money", TokenScope.GENERATE)
    token = {"Authorization": f"Bearer {secret}"}
    with chatting(served, stream_text(IDEAS), paid=True) as server:
        answer = served.open_client().post(f"{API}/analyze-context", json=BRIEF, headers=token)
        refused = served.open_client().post(f"{API}/prompts/enhance", json=REWRITE, headers=token)
        assert server.seen == []
        assert ann.post(f"{API}/analyze-context", json=BRIEF).json()["source"] == "chat"
    assert (answer.json()["source"], len(answer.json()["prompts"])) == ("rules", 3)
    assert refused.status_code == 403
    with chatting(served, stream_text(IDEAS), paid=True, budget_day=1.0) as server:
        answer = ann.post(f"{API}/analyze-context", json=BRIEF).json()
        assert (answer["source"], server.seen) == ("rules", [])
        assert ann.post(f"{API}/prompts/enhance", json=REWRITE).status_code == 402
    assert "Enter its price per million tokens" in answer["notes"][1]


def test_a_brief_that_takes_too_long_still_has_what_the_rules_know(ann: httpx.Client, served: RunningStudio) -> None:
    with chatting(served, stall("a"), seconds=1.0):
        answer = ann.post(f"{API}/analyze-context", json=BRIEF)
    assert (answer.status_code, answer.json()["code"]) == (504, "LLM_TIMEOUT"), answer.text
    details = answer.json()["details"]
    assert (details["seconds"], details["stage"]) == (1.0, "answer")
    assert details["classification"]["territories"] == ["PT"]
    assert len(details["prompts"]) == 3
    assert details["config"]["model"] == "fake"
    with chatting(served, stall("a"), seconds=1.0):
        events = ann.post(f"{API}/analyze-context", json=BRIEF, headers={"Accept": "text/event-stream"}).text
    last = json.loads(events.rpartition("event: error\ndata: ")[2])
    assert (last["code"], last["details"]["prompts"]) == ("LLM_TIMEOUT", details["prompts"])
    assert served.open_client().post(f"{API}/analyze-context", json=BRIEF).status_code == 401


def test_what_was_understood_of_a_brief_is_corrected(ann: httpx.Client, served: RunningStudio) -> None:
    asked = {"text": "a church in Georgia for tourists", "count": 2, "seed": 1, "model": "fake"}
    said = {"territories": ["United States", "de"], "era": "1920s", "audience": "", "people": False}
    with without_chat(served):
        first = ann.post(f"{API}/analyze-context", json=asked).json()["classification"]
        answer = ann.post(f"{API}/analyze-context", json={**asked, "corrections": said}).json()
        for wrong in ({"territories": ["Nowhereland"]}, {"territories": ["US"] * 21}, {"skin": "x"}, {"people": "yes"}):
            refused = ann.post(f"{API}/analyze-context", json={**asked, "corrections": wrong})
            assert refused.status_code == 400, wrong
    assert first["questions"] == ["Is Georgia the country or the US state?"]
    assert (first["territories"], first["audience"]) == ([], "tourists")
    known = answer["classification"]
    assert (known["territories"], known["languages"]) == (["US", "DE"], ["en", "de"])
    assert (known["era"], known["audience"], known["questions"]) == ("1920s", "", [])
    for prompt in answer["prompts"]:
        assert prompt["prompt"].startswith("a church in Georgia for tourists, United States, de, 1920s, ")
        assert prompt["negativePrompt"].startswith("people, ")
    with chatting(served, stream_text(IDEAS)) as server:
        ann.post(f"{API}/analyze-context", json={**asked, "corrections": said})
        told = json.loads(server.seen[0]["messages"][-1]["content"])
    assert (told["territories"], told["era"], told["people"]) == (["US", "DE"], "1920s", "none")
    assert "audience" not in told


def test_advice_is_given_without_changing_the_prompt(ann: httpx.Client, served: RunningStudio) -> None:
    fits = {"advice": "", "switchTo": ""}
    assert ann.post(f"{API}/prompts/advice", json={"prompt": "a photo of a cat", "model": "fake"}).json() == fits
    assert ann.post(f"{API}/prompts/advice", json={"prompt": "a", "model": "nobody"}).status_code == 404
    assert served.open_client().post(f"{API}/prompts/advice", json={"prompt": "a"}).status_code == 401


def test_who_helps_with_prompts_is_named(ann: httpx.Client, served: RunningStudio) -> None:
    with without_chat(served):
        assert ann.get(f"{API}/prompts/helpers").json() == {"model": "", "paid": False, "captioner": False}
    with chatting(served, stream_text(IDEAS)):
        assert ann.get(f"{API}/prompts/helpers").json() == {"model": "chat", "paid": False, "captioner": False}
    assert served.open_client().get(f"{API}/prompts/helpers").status_code == 401


FRESH = {"audience": "commuters", "tone": "dry", "look": "flat shapes", "palette": "two inks", "avoid": "gradients"}


def test_a_persona_is_kept_applied_and_its_users_own(
    ann: httpx.Client, bob: httpx.Client, served: RunningStudio
) -> None:
    kept = ann.put(f"{API}/personas/City poster", json=FRESH)
    assert kept.json() == {"name": "City poster", **FRESH}
    assert ann.get(f"{API}/personas/city_poster").json() == kept.json()
    assert ann.get(f"{API}/personas").json()["personas"] == [kept.json()]
    asked = {**BRIEF, "persona": "City poster"}
    with without_chat(served):
        answer = ann.post(f"{API}/analyze-context", json=asked).json()
        assert bob.post(f"{API}/analyze-context", json=asked).status_code == 404
    for prompt in answer["prompts"]:
        assert prompt["prompt"].endswith(", flat shapes, two inks")
        assert prompt["negativePrompt"].endswith("gradients")
        assert "commuters" not in prompt["prompt"]
    with chatting(served, stream_text(IDEAS)) as server:
        written = ann.post(f"{API}/analyze-context", json=asked).json()["prompts"][0]
        assert "commuters" in server.seen[0]["messages"][-1]["content"]
    assert written["prompt"].endswith(", flat shapes, two inks")
    styled = ann.post(f"{API}/personas/city_poster/apply", json={"prompt": "a {cat|dog}", "model": "fake"}).json()
    assert styled == {
        "prompt": "a {cat|dog}, flat shapes, two inks",
        "negativePrompt": "gradients",
        "additions": [{"slot": "look", "text": "flat shapes"}, {"slot": "palette", "text": "two inks"}],
    }
    assert "City" not in bob.get(f"{API}/personas").text
    assert bob.post(f"{API}/personas/city_poster/apply", json={"prompt": "a"}).status_code == 404
    for client, status in ((bob, 404), (served.open_client(), 401)):
        assert client.get(f"{API}/personas/City poster").status_code == status
        assert client.delete(f"{API}/personas/City poster").status_code == status
    assert bob.get(f"{API}/personas/users%2Fann%2Fcity_poster").status_code == 404
    assert ann.delete(f"{API}/personas/City poster").status_code == 204
    assert ann.get(f"{API}/personas/City poster").status_code == 404


@pytest.mark.parametrize(
    ("name", "body"),
    [("!!!", {}), ("x" * 61, {}), ("a", {"skin": "x"}), ("a", {"look": "x" * 501}), ("a", {"look": "a\u0000"})],
)
def test_a_wrong_persona_is_refused(ann: httpx.Client, name: str, body: dict[str, Any]) -> None:
    assert ann.put(f"{API}/personas/{name}", json=body).status_code == 400
    assert ann.get(f"{API}/personas").json()["personas"] == []


def encode(image: Image.Image) -> str:
    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def interrogate(client: httpx.Client, image: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"{API}/prompts/interrogate", json={"image": image, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_image_is_described_by_its_own_recipe(ann: httpx.Client, bob: httpx.Client) -> None:
    asked = {"prompt": "a {plum|plum}", "negative_prompt": "blur", "model": "fake"}
    made = ann.post(f"{API}/create?wait=true", json=asked).json()["images"][0]["id"]
    assert interrogate(ann, made) == {"prompt": "a plum", "negativePrompt": "blur", "source": "recipe"}
    assert bob.post(f"{API}/prompts/interrogate", json={"image": made}).status_code == 404


def test_an_image_that_says_nothing_is_measured(ann: httpx.Client) -> None:
    halves = Image.new("RGB", (200, 100), (40, 80, 190))
    halves.paste((245, 245, 245), (100, 0, 200, 100))
    found = interrogate(ann, encode(halves))
    assert found["source"] == "measured"
    assert found["prompt"] in (
        "wide image, high contrast, blue and white",
        "wide image, high contrast, white and blue",
    )
    assert interrogate(ann, encode(Image.new("L", (50, 100), 20)))["prompt"] == (
        "tall image, dark, low contrast, black and white"
    )
    assert ann.post(f"{API}/prompts/interrogate", json={"image": "no image"}).status_code == 400


def test_an_image_is_shown_to_the_language_model_only_when_asked(ann: httpx.Client, served: RunningStudio) -> None:
    image = encode(Image.new("RGB", (1200, 600), "red"))
    with chatting(served, stream_text("<think>hm</think> A red wall {in|at} noon light.")) as server:
        assert interrogate(ann, image)["source"] == "measured"
        assert server.seen == []
        found = interrogate(ann, image, see=True)
        (part,) = [part for part in server.seen[0]["messages"][0]["content"] if part["type"] == "image_url"]
    assert (found["prompt"], found["source"]) == ("A red wall \\{in|at\\} noon light.", "chat")
    sent = Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2])))
    assert sent.size == (768, 384)
    assert ann.post(f"{API}/prompts/interrogate", json={"image": image, "see": True}).status_code >= 400
    assert served.open_client().post(f"{API}/prompts/interrogate", json={"image": image}).status_code == 401
