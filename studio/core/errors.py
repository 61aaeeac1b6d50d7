"""The tree of errors that users see.

StudioError
├── InvalidRequest          the request cannot be carried out as it stands
│   └── BadImage            an uploaded image that is refused
├── Forbidden               the caller may not do this
├── NotFound                no such job or image, or it belongs to another user
├── UnknownModel            no model with that name
├── NotConfigured           a key, a package or a setting is missing
├── ModelBroken             a weight file that cannot be used
├── OutOfMemory             the model does not fit into memory, even after every fallback (GPU_OOM)
├── StorageFailed           the disk is full or not writable
├── ProviderError           a cloud service or the Hugging Face Hub returned an error
│   ├── RateLimited         too many calls; carries retry_after
│   ├── LlmTimeout          a language model that does not answer in time (LLM_TIMEOUT)
│   ├── ContentRefused      the service refuses to make this image
│   ├── PaymentNeeded       no credit left with the service
│   └── Unreachable         no answer: network, time-out, server down
├── QueueFull               too many jobs are waiting
├── TooSlow                 a search was stopped after its time was up
├── BudgetExceeded          the job would exceed the user's budget
├── QuotaExceeded           the user has used up images of a day, or disk space
├── JobCancelled            the user stopped the job
└── ImageSkipped          the user skipped this image; the job goes on

`title`, `message` and `hint` are shown to the user as they are. None of them ever contains a key, a traceback or a
path outside the studio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

MAY_BE_BILLED = "may_be_billed"  # key in an error's details: the service may charge for the failed call
ORDERED_AT = "ordered_at"  # key in an error's details: when the service took the order, where an earlier call sent it

_AnyError = TypeVar("_AnyError", bound=BaseException)


class StudioError(Exception):
    """Base of all errors that the user is meant to read.

    `title` names the error in two or three words, `message` says what happened, `hint` what to do next; `details` holds
    values for programs.
    """

    code: ClassVar[str] = "STUDIO_ERROR"
    title: ClassVar[str] = "Error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})

    def to_json(self) -> dict[str, Any]:
        """Return the HTTP body of the error: `{"error", "code", "details"}`, with the hint in the details."""
        details = {**self.details, "hint": self.hint} if self.hint else self.details
        return {"error": self.message, "code": self.code, "details": details}


class InvalidRequest(StudioError):
    code = "INVALID_REQUEST"
    title = "Invalid request"
    status = 400


class NothingFound(InvalidRequest):
    """What was searched for is not in the image."""

    title = "Nothing found"


class BadImage(InvalidRequest):
    code = "BAD_IMAGE"
    title = "Unusable image"


class Forbidden(StudioError):
    code = "FORBIDDEN"
    title = "Not allowed"
    status = 403


class NotFound(StudioError):
    code = "NOT_FOUND"
    title = "Not found"
    status = 404


class UnknownModel(StudioError):
    code = "UNKNOWN_MODEL"
    title = "Model not found"
    status = 404


class NotConfigured(StudioError):
    code = "NOT_CONFIGURED"
    title = "Setup needed"
    status = 409


class ModelBroken(StudioError):
    code = "MODEL_BROKEN"
    title = "Broken model file"
    status = 422


class OutOfMemory(StudioError):
    """The model does not fit into memory. `details` has `requested` and `available` in bytes."""

    code = "GPU_OOM"
    title = "Out of memory"
    status = 507


class StorageFailed(StudioError):
    code = "STORAGE_FAILED"
    title = "Saving failed"
    status = 507


class ProviderError(StudioError):
    code = "PROVIDER_ERROR"
    title = "Service error"
    status = 502


class RateLimited(ProviderError):
    """Too many calls. `retry_after` is in seconds, None if the service gives no value."""

    code = "RATE_LIMITED"
    title = "Too many requests"
    status = 429

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint, details={"retry_after": retry_after})
        self.retry_after = retry_after


class ContentRefused(ProviderError):
    code = "CONTENT_REFUSED"
    title = "Content refused"
    status = 422


class PaymentNeeded(ProviderError):
    code = "PAYMENT_NEEDED"
    title = "No credit left"
    status = 402


class Unreachable(ProviderError):
    code = "UNREACHABLE"
    title = "Service unreachable"
    status = 504


class LlmTimeout(ProviderError):
    """A language model that does not answer in time; `details` has the seconds and the stage."""

    code = "LLM_TIMEOUT"
    title = "Model too slow"
    status = 504


class QueueFull(StudioError):
    code = "QUEUE_FULL"
    title = "Queue full"
    status = 503


class TooSlow(StudioError):
    code = "TOO_SLOW"
    title = "Search stopped"
    status = 503


class BudgetExceeded(StudioError):
    code = "BUDGET_EXCEEDED"
    title = "Budget exceeded"
    status = 402


class QuotaExceeded(StudioError):
    code = "QUOTA_EXCEEDED"
    title = "Limit reached"
    status = 429


class JobCancelled(StudioError):
    code = "CANCELLED"
    title = "Cancelled"
    status = 409


class ImageSkipped(StudioError):
    code = "SKIPPED"
    title = "Image skipped"
    status = 409


def drop_tracebacks(error: _AnyError) -> _AnyError:
    """`error`, without the frames of it and of what brought it about, which keep in memory what they worked with: of a
    load that failed, all that it had read."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            left += (one.__cause__, one.__context__)
    return error
