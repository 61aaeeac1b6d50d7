"""The arguments of the extension Regional Prompter, as the fields of regions."""

from __future__ import annotations

from typing import Any, cast

from studio.core.errors import InvalidRequest
from studio.core.region_infotext import split_region_pairs

REGIONS_SCRIPT = "regional prompter"
_PLACES = {  # of the arguments that an infotext has too
    0: "RP Active",
    2: "RP Divide mode",
    3: "RP Matrix submode",
    6: "RP Ratios",
    7: "RP Base Ratios",
    8: "RP Use Base",
    9: "RP Use Common",
}


def read_regional_prompter(arguments: Any, prompt: str) -> dict[str, Any]:
    """The fields that the script's `args` set for regions of `prompt`, none where it is off.

    Raises:
        InvalidRequest: no list, a mode without a counterpart, or a prompt that does not fit the regions.
    """
    if not isinstance(arguments, list):
        raise InvalidRequest("The arguments of Regional Prompter are not a list.", hint="Send a list.")
    given = cast("list[Any]", arguments)
    if not given or given[0] is not True:
        return {}
    pairs = {key: str(given[place]) for place, key in _PLACES.items() if place < len(given)}
    changes, _ = split_region_pairs(prompt, pairs)
    if not changes:
        raise InvalidRequest(
            "These settings of Regional Prompter have no counterpart, or do not fit the prompt.",
            hint="Use the mode Matrix with rows or columns, and a part of the prompt for each region.",
        )
    return changes
