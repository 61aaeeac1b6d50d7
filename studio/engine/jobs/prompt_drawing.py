"""Drawing the prompts of a request's images when it is submitted, so that what it draws from may change afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence

from studio.core.errors import InvalidRequest
from studio.core.grid import expand_cells
from studio.core.prompt_texts import list_templates
from studio.core.request import MAX_SEED, GenerationRequest
from studio.core.request_choices import PromptOrder
from studio.engine.jobs.passes import make_image_seed, make_random_seed
from studio.prompting.dynamic import MAX_COMBINATIONS, count_combinations, expand_template, get_combination
from studio.prompting.dynamic_tree import is_dynamic
from studio.prompting.wildcards import Wildcards, WordLists

MAX_DRAWN_CHARS = 4_000_000  # of all prompts of one job


def draw_prompts(request: GenerationRequest, wildcards: Wildcards) -> GenerationRequest:
    """`request`, its seed fixed, with `drawn` filled where one of its prompts is dynamic: the texts of image k, or of
    each cell of a grid. The texts of image k depend on its seed alone.

    Raises:
        InvalidRequest: a prompt that cannot be drawn from, or too much text. NotFound: an unknown wildcard.
    """
    named = _name_templates(request)
    if not _has_templates(named):
        return named
    lists = wildcards.open()
    # A model without seeds: the texts are in the journal and in each recipe all the same.
    base = make_random_seed() if named.seed is None else named.seed
    if named.axes:
        cells = [_name_templates(cell.request) for cell in expand_cells(named)]
        seeds = [base if cell.seed is None else _get_text_seed(cell, 0) for cell in cells]
        drawn = [_draw_texts(cell, seed, lists) for cell, seed in zip(cells, seeds, strict=True)]
    else:
        plain = named.seed is None
        seeds = [(base + k) % (MAX_SEED + 1) if plain else _get_text_seed(named, k) for k in range(named.count)]
        drawn = [_draw_texts(named, seed, lists) for seed in seeds]
    if sum(len(text) for texts in drawn for text in texts) > MAX_DRAWN_CHARS:
        raise InvalidRequest(
            f"The prompts of this job have more than {MAX_DRAWN_CHARS:,} characters.", hint="Request fewer images."
        )
    return named.replace(prompt=drawn[0][0], negative_prompt=drawn[0][1], drawn=tuple(drawn))


def _get_text_seed(request: GenerationRequest, k: int) -> int:
    """The seed that draws the texts of image `k`: another one for each image, also where they share one."""
    seed = make_image_seed(request, k)
    return (seed.seed + seed.batch_index) % (MAX_SEED + 1)


def describe_drawing(request: GenerationRequest) -> str:
    """What a user should know of a request whose prompts are drawn, "" for nothing."""
    if request.batch_size > 1 and len(set(request.drawn)) > 1 and not request.axes:
        return "The images have different prompts, so images with the same prompt share a batch and others do not."
    return ""


def _name_templates(request: GenerationRequest) -> GenerationRequest:
    """`request` with its dynamic prompts as its templates, and without texts that were drawn before."""
    changes: dict[str, object] = {"drawn": ()} if request.drawn else {}
    if not request.template and is_dynamic(request.prompt):
        changes["template"] = request.prompt
    if not request.negative_template and is_dynamic(request.negative_prompt):
        changes["negative_template"] = request.negative_prompt
    if request.then:
        changes["then"] = tuple(_name_templates(step) for step in request.then)
    return request.replace(**changes) if changes else request


def _has_templates(request: GenerationRequest) -> bool:
    """Whether any text of the request, or of a cell of its grid, has to be drawn."""
    hires = request.hires
    return (
        bool(request.template or request.negative_template)
        or (hires is not None and (is_dynamic(hires.prompt) or is_dynamic(hires.negative_prompt)))
        or any(is_dynamic(text) for one in request.detailers for text in (one.prompt, one.negative_prompt))
        or any(is_dynamic(one.prompt) for one in request.areas)
        or any(_has_templates(step) for step in request.then)
        or any(_has_templates(_name_templates(cell.request)) for cell in expand_cells(request) if request.axes)
    )


def _draw_texts(request: GenerationRequest, seed: int, lists: WordLists) -> tuple[str, ...]:
    templates = list_templates(request)
    if request.prompt_order is PromptOrder.RANDOM:
        return tuple(expand_template(template, seed, lists) for template in templates)
    return _pick_combination(templates, seed, lists)


def _pick_combination(templates: Sequence[str], number: int, lists: WordLists) -> tuple[str, ...]:
    """Combination `number` of all texts together, the first text changing first."""
    counts = [count_combinations(template, lists) for template in templates]
    if math.prod(counts) >= MAX_COMBINATIONS:
        raise InvalidRequest(
            "The prompt has too many combinations to number them.", hint="Draw at random, or use fewer choices."
        )
    texts: list[str] = []
    for template, count in zip(templates, counts, strict=True):
        number, own = divmod(number, count)
        texts.append(get_combination(template, own, lists))
    return tuple(texts)
