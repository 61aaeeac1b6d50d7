"""Saved recipes: kept, merged with changes, run, imported from other programs, and each user's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import RunningStudio, serve_studio
from test_comfyui_graphs import base

from studio.core.errors import InvalidRequest, NotFound
from studio.core.request import GenerationRequest, Hires
from studio.core.task import Task
from studio.engine.jobs.saved_recipes import MAX_RECIPES, SavedRecipes, merge_changes, read_recipe

API = "/api/image-studio"
FIELDS = {"prompt": "a pear", "model": "fake", "seed": 5, "steps": 12}
SERVICE_TEMPLATE = {
    "prompt": {
        "1": {
            "class_type": "StabilityStableImageSD_3_5Node",
            "inputs": {
                "prompt": "beautiful",
                "model": "sd3.5-large",
                "aspect_ratio": "1:1",
                "style_preset": "None",
                "cfg_scale": 4.0,
                "seed": 0,
            },
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    },
    "meta": {"description": "Stability SD3.5 Core Generation Workflow"},
}


@pytest.fixture
def recipes(tmp_path: Path) -> SavedRecipes:
    return SavedRecipes(tmp_path / "recipes")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_studio(tmp_path_factory.mktemp("recipes"), users=True, default_model="fake") as found:
        yield found


@pytest.fixture(scope="module")
def ann(served: RunningStudio) -> httpx.Client:
    return served.open_client("ann")


@pytest.fixture(scope="module")
def bob(served: RunningStudio) -> httpx.Client:
    return served.open_client("bob")


def test_a_recipe_is_kept_as_a_file_that_can_be_passed_on(recipes: SavedRecipes, tmp_path: Path) -> None:
    request = GenerationRequest(**FIELDS, hires=Hires(scale=1.5), drawn=(("x", "", "", ""),))
    kept = recipes.save("Summer  sale!", request, "for the shop")
    assert (kept.id, kept.name) == ("summer_sale", "Summer sale!")
    assert recipes.get("Summer sale!") == recipes.get("summer_sale") == kept
    assert kept.request == request.replace(drawn=())
    file = tmp_path / "recipes" / "summer_sale.json"
    assert read_recipe(json.loads(file.read_text())).request == kept.request
    recipes.delete("summer_sale")
    with pytest.raises(NotFound, match="Summer sale"):
        recipes.get("Summer sale!")


def test_ours_are_there_and_can_be_replaced_but_not_deleted(recipes: SavedRecipes) -> None:
    names = [recipe.name for recipe in recipes.all()]
    assert len(names) >= 3
    assert all(not recipe.own and recipe.about for recipe in recipes.all())
    assert {recipe.request.task for recipe in recipes.all()} >= {Task.TXT2IMG, Task.IMG2IMG}
    with pytest.raises(InvalidRequest, match="built in"):
        recipes.delete(names[0])
    recipes.save(names[0], GenerationRequest(prompt="mine"))
    assert recipes.get(names[0]).request.prompt == "mine"
    recipes.delete(names[0])
    assert recipes.get(names[0]).request.prompt != "mine"


def test_changes_are_merged_and_the_recipe_stays(recipes: SavedRecipes) -> None:
    kept = recipes.save("a", GenerationRequest(**FIELDS, hires=Hires(scale=1.5, strength=0.4)))
    changed = merge_changes(kept.request, {"steps": 30, "seed": None, "hires": {"scale": 2.0}})
    assert (changed.steps, changed.seed, changed.prompt) == (30, None, "a pear")
    assert changed.hires == Hires(scale=2.0, strength=0.4)
    assert merge_changes(kept.request, {"hires": None}).hires is None
    assert recipes.get("a") == kept
    with pytest.raises(InvalidRequest, match="no field 'colour'"):
        merge_changes(kept.request, {"colour": "red"})
    with pytest.raises(InvalidRequest, match="Steps"):
        merge_changes(kept.request, {"steps": 5000})


def test_a_changed_prompt_takes_the_place_of_a_template() -> None:
    request = GenerationRequest(prompt="a red pear", template="a {red|green} pear", negative_template="{x|y}")
    changed = merge_changes(request, {"prompt": "a plum"})
    assert (changed.prompt, changed.template, changed.negative_template) == ("a plum", "", "{x|y}")
    assert merge_changes(request, {"steps": 9}).template == request.template


@pytest.mark.parametrize("name", ["", "!!!", "x" * 61, "import", "a\0b", "__"])
def test_a_name_must_be_one(recipes: SavedRecipes, name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        recipes.save(name, GenerationRequest())
    assert not list(tmp_path.rglob("*.json"))


def test_a_name_never_leads_out_of_the_folder(recipes: SavedRecipes, tmp_path: Path) -> None:
    for name in ("../up", "/etc/x", "a/../../b", "C:\\x"):
        recipes.save(name, GenerationRequest())
    assert {file.parent for file in tmp_path.rglob("*.json")} == {tmp_path / "recipes"}


def test_a_broken_file_is_left_out_and_named_when_it_is_asked_for(recipes: SavedRecipes, tmp_path: Path) -> None:
    recipes.save("good", GenerationRequest())
    (tmp_path / "recipes" / "bad.json").write_text("{")
    (tmp_path / "recipes" / "deep.json").write_text("[" * 10_000)
    (tmp_path / "recipes" / "odd.json").write_text('{"request": {"colour": 1}}')
    assert [recipe.id for recipe in recipes.all() if recipe.own] == ["good"]
    for name in ("bad", "deep", "odd"):
        with pytest.raises(InvalidRequest):
            recipes.get(name)


def test_a_user_has_a_limit_of_recipes(recipes: SavedRecipes, tmp_path: Path) -> None:
    recipes.save("a", GenerationRequest())
    for number in range(MAX_RECIPES):
        (tmp_path / "recipes" / f"n{number}.json").write_text("{}")
    with pytest.raises(InvalidRequest, match="limit"):
        recipes.save("b", GenerationRequest())
    recipes.save("a", GenerationRequest(prompt="again"))


def test_a_comfyui_graph_becomes_a_recipe() -> None:
    found = read_recipe(base())
    assert (found.request.prompt, found.request.negative_prompt, found.request.steps) == ("a fox", "blurry", 25)
    wrapped = read_recipe({"prompt": base(), "meta": {"description": "Foxes"}})
    assert (wrapped.request, wrapped.name) == (found.request, "Foxes")


def test_a_dreamlayer_template_of_a_service_becomes_a_recipe() -> None:
    found = read_recipe(SERVICE_TEMPLATE)
    assert (found.request.prompt, found.request.aspect, found.request.seed) == ("beautiful", "1:1", None)
    assert found.request.guidance == 4.0
    assert "style_preset" in found.not_applied
    assert found.name.startswith("Stability")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "no recipe"),
        ({}, "no recipe"),
        ({"x": 1}, "no recipe"),
        ({"nodes": [], "links": []}, "Export"),
        ({"1": {"class_type": "SaveImage", "inputs": {}}}, "No node"),
        ({"prompt": "a", "steps": "many"}, "steps"),
        ({"request": {"prompt": 5}}, "prompt"),
    ],
)
def test_what_is_no_recipe_is_refused(data: Any, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_recipe(data)
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_a_recipe_is_saved_run_with_changes_and_deleted_over_http(ann: httpx.Client) -> None:
    saved = ann.put(f"{API}/recipes/My pear", json={"request": FIELDS, "about": "a test"})
    assert saved.status_code == 200, saved.text
    assert saved.json()["request"] == FIELDS
    job = ann.post(f"{API}/recipes/my_pear?wait=true", json={"changes": {"prompt": "a {plum|plum}", "count": 2}}).json()
    assert [image["seed"] for image in job["images"]] == [5, 6]
    assert all("a plum" in image["infotext"] for image in job["images"])
    copied = ann.put(f"{API}/recipes/copy", json={"base": "My pear", "changes": {"steps": None}})
    assert copied.json()["request"] == {name: value for name, value in FIELDS.items() if name != "steps"}
    from_image = ann.put(f"{API}/recipes/from image", json={"image": job["images"][1]["id"]}).json()
    assert (from_image["request"]["prompt"], from_image["request"]["seed"]) == ("a plum", 6)
    assert {"my_pear", "copy", "from_image"} <= {each["id"] for each in ann.get(f"{API}/recipes").json()["recipes"]}
    assert ann.delete(f"{API}/recipes/copy").status_code == 204
    assert ann.get(f"{API}/recipes/copy").status_code == 404


def test_a_file_of_another_program_is_imported_over_http(ann: httpx.Client) -> None:
    found = ann.post(f"{API}/recipes/import", json={"recipe": SERVICE_TEMPLATE, "name": "Stability"})
    assert found.status_code == 201, found.text
    assert found.json()["id"] == "stability"
    assert "style_preset" in found.json()["notApplied"]
    assert ann.post(f"{API}/recipes/import", json={"recipe": {"x": 1}}).status_code == 400


def test_a_recipe_is_its_users_own(ann: httpx.Client, bob: httpx.Client, served: RunningStudio) -> None:
    job = ann.post(f"{API}/create?wait=true", json={"prompt": "secret", "model": "fake"}).json()
    ann.put(f"{API}/recipes/secret", json={"request": {"prompt": "ann's secret"}})
    assert "secret" not in bob.get(f"{API}/recipes").text
    assert bob.get(f"{API}/recipes/secret").status_code == 404
    assert bob.post(f"{API}/recipes/secret", json={}).status_code == 404
    assert bob.delete(f"{API}/recipes/secret").status_code == 404
    assert bob.put(f"{API}/recipes/x", json={"base": "secret"}).status_code == 404
    assert bob.put(f"{API}/recipes/x", json={"image": job["images"][0]["id"]}).status_code == 404
    stolen = {"request": {"task": "img2img", "prompt": "x", "source": job["images"][0]["id"]}}
    assert bob.put(f"{API}/recipes/x", json=stolen).status_code == 404
    assert bob.get(f"{API}/recipes/users%2Fann%2Fsecret").status_code == 404
    assert served.open_client().get(f"{API}/recipes").status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"request": FIELDS, "base": "x"},
        {"request": {"steps": 5000}},
        {"request": {"nobody": 1}},
        {"request": FIELDS, "changes": {"prompt": 3}},
        {"request": FIELDS, "extra": 1},
    ],
)
def test_a_wrong_recipe_is_refused_over_http(ann: httpx.Client, body: dict[str, Any]) -> None:
    assert ann.put(f"{API}/recipes/wrong", json=body).status_code == 400
    assert ann.get(f"{API}/recipes/wrong").status_code == 404
