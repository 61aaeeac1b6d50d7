"""Requests as the database and recipes hold them, those of earlier versions too."""

from __future__ import annotations

import functools
import json
import logging

from studio.core.errors import InvalidRequest
from studio.core.request import GenerationRequest

_log = logging.getLogger(__name__)


@functools.lru_cache(maxsize=1000)  # a long list of jobs and their images; the same ones are asked for again and again
def decode_request(text: str) -> GenerationRequest:
    """A stored request.

    Raises:
        InvalidRequest: this version no longer understands it.
    """
    return GenerationRequest.from_stored_json(json.loads(text))


def parse_request(text: str) -> GenerationRequest:
    """A stored request; one that this version no longer understands becomes an empty one, so that the image still
    shows."""
    try:
        return decode_request(text)
    except InvalidRequest as error:
        _log.warning("a stored recipe is not understood any more: %s", error.message)
        return GenerationRequest()


def parse_requests(text: str) -> tuple[GenerationRequest, ...]:
    """Requests from their stored JSON; those that this version does not understand are left out."""
    found: list[GenerationRequest] = []
    for data in json.loads(text):
        try:
            found.append(GenerationRequest.from_stored_json(data))
        except InvalidRequest:
            continue
    return tuple(found)
