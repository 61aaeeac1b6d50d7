"""What the page shows of a form while it is filled in, without asking Gradio: the state of its closed accordions, what
it is warned of, and whether its model waits for a key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, field_validator

from studio.api.rights import needs
from studio.core.fields import MAX_PROMPT_CHARS
from studio.core.operations import find_operation
from studio.core.rights import Right
from studio.core.task import Task
from studio.core.user import User
from studio.engine.studio import Studio
from studio.tabs.common import model_selection
from studio.tabs.common.accordion_states import describe_accordions
from studio.tabs.common.form_guide import FormGuide
from studio.tabs.common.form_warnings import list_warnings

MAX_VALUES = 400
MAX_TEXT = 4 * MAX_PROMPT_CHARS  # characters of one value
MAX_NUMBER = 1e15


class FormValues(BaseModel):
    """The values of a form by name, as the browser has them."""

    values: Annotated[dict[str, Any], Field(max_length=MAX_VALUES)]

    @field_validator("values")
    @classmethod
    def leave_out_what_no_form_holds(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The values without texts that would be read for minutes, and numbers that are none of an image."""
        return {name: value for name, value in values.items() if _fits(name, value)}


def _fits(name: str, value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= (MAX_PROMPT_CHARS if "prompt" in name else MAX_TEXT)
    return not isinstance(value, int | float) or -MAX_NUMBER <= value <= MAX_NUMBER


def build_check_router(studio: Studio) -> APIRouter:
    """The route that looks at a form."""
    router = APIRouter(prefix="/page", include_in_schema=False, dependencies=[needs(Right.USE)])
    guide = FormGuide(studio)

    @router.post("/form-check")
    def check_form(body: FormValues, request: Request) -> dict[str, Any]:
        return describe_form(studio, guide, body.values, request.scope["user"])

    return router


def describe_form(studio: Studio, guide: FormGuide, values: dict[str, Any], user: User) -> dict[str, Any]:
    """The state of the form with `values`: of each accordion that asks for something, the warnings, and the service
    whose key or address is missing."""
    task = find_operation(values.get("mode"), values.get("operation")).task if "mode" in values else Task.TXT2IMG
    platforms = studio.social.platforms.of(user.name) if studio.social is not None else None
    warnings = list_warnings(studio, guide, values, task, user)
    return {
        "accordions": describe_accordions(values, platforms),
        "warnings": [warning.to_json() for warning in warnings],
        "locked": _describe_lock(studio, str(values.get("model") or ""), task, user),
    }


def _describe_lock(studio: Studio, model_id: str, task: Task, user: User) -> dict[str, Any] | None:
    """The service that the chosen model waits for and whether `user` may unlock it, None where it is ready."""
    model = model_selection.find_selectable_model(studio, model_id, task)
    if model is None or not model.locked or studio.clouds is None:
        return None
    service = next((each for each in studio.clouds.all() if each.id == model.lane), None)
    if service is None:
        return None
    may_unlock = user.may(Right.SETTINGS)
    return {"title": service.title, "missing": service.missing, "reason": model.problem, "mayUnlock": may_unlock}
