"""The routes of recipes: whole requests under a name, ours and the caller's own."""

# pyright: reportUnusedFunction=false

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from studio.api import schemas
from studio.api.image_bodies import store_request_images
from studio.api.rights import needs
from studio.api.schemas import Name, StrictModel, Text
from studio.api.submit_request import Submitter, get_caller
from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest
from studio.core.rights import Right
from studio.core.user import User
from studio.engine.jobs.saved_recipes import Recipe, merge_changes, read_recipe
from studio.engine.studio import Studio


class RecipeBody(BaseModel):
    """A recipe; `request` has the fields of a request that differ from their default."""

    id: str
    name: str
    about: str
    own: bool
    request: dict[str, Any]


class RecipeList(BaseModel):
    recipes: list[RecipeBody]


class NewRecipe(StrictModel):
    """A request to keep: its JSON, or that of the `image` with this id; `changes` are merged into it."""

    request: dict[str, Any] | None = None
    image: Name = ""
    base: Name = Field(default="", description="Name of a recipe to start from.")
    changes: dict[str, Any] = Field(default={}, description="Fields to change; null takes one back to its default.")
    about: Text = ""


class RecipeRun(StrictModel):
    """What to change for this run; the recipe stays as it is."""

    changes: dict[str, Any] = Field(default={}, description="Fields to change; null takes one back to its default.")


class RecipeImport(StrictModel):
    """The JSON of a recipe file, a ComfyUI graph or a DreamLayer template."""

    recipe: dict[str, Any]
    name: Name = Field(default="", description="Name to keep it under; left out: its own.")


class ImportedRecipeBody(RecipeBody):
    """The kept recipe, and the settings of the file that have no place in it."""

    notApplied: list[str]  # noqa: N815 - names on the wire are camelCase


def add_recipe_routes(routes: APIRouter, studio: Studio, submitter: Submitter) -> None:
    """Put the routes among `routes`."""
    _add_read_routes(routes, studio)
    _add_write_routes(routes, studio)

    @routes.post(
        "/recipes/{name}",
        status_code=202,
        response_model=schemas.QueuedJobBody,
        responses={200: {"model": schemas.JobBody}},
    )
    async def run_recipe(request: Request, name: Name, body: RecipeRun, wait: bool = False) -> Response:
        """Make what a recipe asks for, with changes. Answers as /create does."""

        def build_request(user: User) -> GenerationRequest:
            kept = studio.engine.recipes.of(user.name).get(name)
            return store_request_images(merge_changes(kept.request, body.changes), studio.engine, user)

        return await submitter.answer(request, build_request, wait=wait)


def _add_read_routes(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/recipes")
    def list_recipes(request: Request) -> RecipeList:
        """All recipes that the caller can use, their own first."""
        found = studio.engine.recipes.of(get_caller(request).name).all()
        return RecipeList(recipes=[_build_body(recipe) for recipe in found])

    @routes.get("/recipes/{name}")
    def get_recipe(request: Request, name: Name) -> RecipeBody:
        """One recipe, by its id or name."""
        return _build_body(studio.engine.recipes.of(get_caller(request).name).get(name))


def _add_write_routes(routes: APIRouter, studio: Studio) -> None:
    @routes.post("/recipes/import", status_code=201, dependencies=[needs(Right.ORGANIZE)])
    def import_recipe(request: Request, body: RecipeImport) -> ImportedRecipeBody:
        """Keep what a file of this or another program asks for."""
        found = read_recipe(body.recipe)
        kept = studio.engine.recipes.of(get_caller(request).name)
        recipe = kept.save(body.name or found.name or "Imported", found.request, found.about)
        return ImportedRecipeBody(**_build_body(recipe).model_dump(), notApplied=list(found.not_applied))

    @routes.put("/recipes/{name}", dependencies=[needs(Right.ORGANIZE)])
    def save_recipe(request: Request, name: Name, body: NewRecipe) -> RecipeBody:
        """Keep a request under a name, in the place of what had it. Its images are let in, and named by their ids from
        then on."""
        user = get_caller(request)
        recipes = studio.engine.recipes.of(user.name)
        made = merge_changes(_find_request(body, studio, user), body.changes)
        return _build_body(recipes.save(name, store_request_images(made, studio.engine, user), body.about))

    @routes.delete("/recipes/{name}", status_code=204, dependencies=[needs(Right.ORGANIZE)])
    def delete_recipe(request: Request, name: Name) -> Response:
        """Delete a recipe of the caller's own."""
        studio.engine.recipes.of(get_caller(request).name).delete(name)
        return Response(status_code=204)


def _find_request(body: NewRecipe, studio: Studio, user: User) -> GenerationRequest:
    given = [body.request is not None, bool(body.image), bool(body.base)]
    if sum(given) > 1:
        raise InvalidRequest("Give one of `request`, `image` and `base`.", hint="Remove the others.")
    if body.request is not None:
        return GenerationRequest.from_json(body.request)
    if body.image:
        return studio.engine.asset(body.image, user).request
    if body.base:
        return studio.engine.recipes.of(user.name).get(body.base).request
    if not body.changes:
        raise InvalidRequest("The recipe is empty.", hint="Give `request`, `image`, `base` or `changes`.")
    return GenerationRequest()


def _build_body(recipe: Recipe) -> RecipeBody:
    return RecipeBody(
        id=recipe.id, name=recipe.name, about=recipe.about, own=recipe.own, request=recipe.request.to_json()
    )
