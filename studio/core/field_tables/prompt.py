"""The prompts, their weights, and what they are drawn from."""

from __future__ import annotations

from studio.core.feature import Feature
from studio.core.field_spec import FieldSpec, GridAxis, Group, InfotextKey, Limits, Widget
from studio.core.field_tables.limits import MAX_PROMPT_CHARS
from studio.core.request_choices import PromptOrder

_WEIGHT = Limits(-4, 4)
_WEIGHT_SLIDER = Limits(0, 2, 0.05)

PROMPT_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="prompt",
        kind=str,
        label="Prompt",
        help="What the image should show.",
        api_help="What the image should show; the same syntax as on the page.",
        group=Group.PROMPT,
        widget=Widget.TEXT,
        unset="",
        max_length=MAX_PROMPT_CHARS,
        placeholder="What should the image show?",
        lines=2,
        replaces=("template",),
        grid=GridAxis("Prompt", '"a red apple, photo", a pear', labelled=False),
        a1111="prompt",
    ),
    FieldSpec(
        name="negative_prompt",
        kind=str,
        label="Negative prompt",
        help="What the image should not show.",
        group=Group.PROMPT,
        widget=Widget.TEXT,
        unset="",
        max_length=MAX_PROMPT_CHARS,
        placeholder="What should it not show?",
        feature=Feature.NEGATIVE_PROMPT,
        replaces=("negative_template",),
        grid=GridAxis("Negative prompt", "blurry, dark"),
        a1111="negative_prompt",
    ),
)

PROMPT_WEIGHT_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="prompt_weight",
        kind=float,
        label="Prompt weight",
        help="Weight of the whole prompt.",
        group=Group.DETAILS,
        widget=Widget.SLIDER,
        unset=1.0,
        limits=_WEIGHT,
        slider=_WEIGHT_SLIDER,
        feature=Feature.PROMPT_SYNTAX,
        infotext=InfotextKey("Prompt weight"),
        grid=GridAxis("Prompt weight", "0.8, 1, 1.2"),
    ),
    FieldSpec(
        name="negative_weight",
        kind=float,
        label="Negative prompt weight",
        help="Weight of the whole negative prompt.",
        group=Group.DETAILS,
        widget=Widget.SLIDER,
        unset=1.0,
        limits=_WEIGHT,
        slider=_WEIGHT_SLIDER,
        feature=Feature.PROMPT_SYNTAX,
        infotext=InfotextKey("Negative prompt weight"),
        grid=GridAxis("Negative prompt weight", "0.8, 1, 1.2"),
    ),
)

TEMPLATE_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="prompt_order",
        kind=PromptOrder,
        label="Dynamic prompts",
        help="Random draws by the seed; all combinations gives each image the next one.",
        group=Group.DETAILS,
        widget=Widget.RADIO,
        unset=PromptOrder.RANDOM,
        options={"Random": PromptOrder.RANDOM, "All combinations": PromptOrder.COMBINATIONS},
    ),
    FieldSpec(
        name="template",
        kind=str,
        label="Template",
        help="Dynamic prompt that the prompt of each image is drawn from.",
        api_help="Dynamic prompt to draw from instead of `prompt`, as recipes hold it.",
        group=Group.TEMPLATE,
        unset="",
        max_length=MAX_PROMPT_CHARS,
        infotext=InfotextKey("Template"),
    ),
    FieldSpec(
        name="negative_template",
        kind=str,
        label="Negative template",
        help="The same for the negative prompt.",
        group=Group.TEMPLATE,
        unset="",
        max_length=MAX_PROMPT_CHARS,
        feature=Feature.NEGATIVE_PROMPT,
        infotext=InfotextKey("Negative Template"),
    ),
)
