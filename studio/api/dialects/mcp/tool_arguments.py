"""The arguments of tools that draw: each tool takes one object, whose fields are the schema that assistants see."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult

from studio.api.dialects.mcp import tool_fields as fields
from studio.core.request import GenerationRequest

ToolContext = Context[Any, Any]
T = TypeVar("T")
Tool = Callable[..., Awaitable[CallToolResult]]


@dataclass(frozen=True, kw_only=True)
class DrawingArguments:
    """What every tool takes that draws with a model."""

    prompt: fields.Prompt
    negative_prompt: fields.NegativePrompt = ""
    model: fields.Model = ""
    count: fields.Count = 1
    seed: fields.Seed = None
    steps: fields.Steps = None
    guidance_scale: fields.Guidance = None
    sampler: fields.Sampler = None
    schedule: fields.Schedule = None
    confirm_spend: fields.ConfirmSpend = False

    def build_request(self) -> GenerationRequest:
        """The request with these values."""
        return GenerationRequest(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            model=self.model,
            count=self.count,
            seed=self.seed,
            steps=self.steps,
            guidance=self.guidance_scale,
            sampler=self.sampler,
            schedule=self.schedule,
        )


@dataclass(frozen=True, kw_only=True)
class GenerationArguments(DrawingArguments):
    """Those of a new image."""

    width: fields.Width = None
    height: fields.Height = None
    aspect_ratio: fields.AspectRatio = None


@dataclass(frozen=True, kw_only=True)
class EditArguments(DrawingArguments):
    """Those of a change of an image."""

    image: fields.Image
    mask: fields.Mask = None
    strength: fields.Strength = None


def take_as_object(arguments: type[T]) -> Callable[[Callable[[ToolContext, T], Awaitable[CallToolResult]]], Tool]:
    """Let a tool's function take one object of the dataclass `arguments`. The protocol's library, which makes the
    schema of a tool from its signature, sees the fields as the arguments, and hands them over by name."""

    def decorate(function: Callable[[ToolContext, T], Awaitable[CallToolResult]]) -> Tool:
        @functools.wraps(function)
        async def call(ctx: ToolContext, **values: Any) -> CallToolResult:
            return await function(ctx, arguments(**values))

        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=ToolContext)
        taken = inspect.signature(arguments, eval_str=True).parameters.values()
        taken = sorted(taken, key=lambda each: each.default is not inspect.Parameter.empty)  # what is required first
        call.__dict__["__signature__"] = inspect.Signature([context, *taken], return_annotation=CallToolResult)
        return call

    return decorate
