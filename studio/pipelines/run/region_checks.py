"""What regional prompts cannot be combined with, found before anything is loaded."""

from __future__ import annotations

from studio.core.errors import InvalidRequest
from studio.core.regions import list_regions
from studio.core.request import GenerationRequest
from studio.core.request_choices import RegionMode
from studio.prompting import grammar
from studio.prompting.networks import remove_tags


def check_regions(request: GenerationRequest) -> None:
    """Refuse regions that the prompt does not fit, and what their mode cannot do.

    Raises:
        InvalidRequest: the message says what does not go together.
    """
    regions = list_regions(request)
    if request.region_mode is not RegionMode.ATTENTION:
        return
    for region in regions:
        if len(grammar.schedule_prompt(remove_tags(region.prompt), 1)[0].conditions) > 1:
            raise InvalidRequest(
                "AND cannot be used in regions that are kept apart by attention.",
                hint="Choose the region mode Latent, or leave AND out.",
            )
