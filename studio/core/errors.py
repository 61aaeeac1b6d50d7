"""Everything that can go wrong, as one tree.

StudioError
├── InvalidRequest          the request cannot be carried out as it stands
│   └── BadImage            an image that the gate does not let in
├── Forbidden               the caller may not do this
├── NotFound                no such job or image, or not this user's
├── UnknownModel            no model of that name
├── NotConfigured           a key, a package or a setting is missing
├── ModelBroken             a weight file that cannot be used
├── OutOfMemory             the model does not fit, after every step of the ladder (GPU_OOM)
├── StorageFailed           the disk is full or may not be written
├── ProviderError           a cloud service, or the hub, answered with an error
│   ├── RateLimited         too many calls; carries retry_after
│   ├── ContentRefused      the service will not make this image
│   ├── PaymentNeeded       no credit left there
│   └── Unreachable         no answer: network, time-out, server down
├── QueueFull               too many jobs wait already
├── BudgetExceeded          the user's budget would be passed
├── JobCancelled            the user stopped the job
└── ImageSkipped          the user skipped this image; the job goes on

`message` and `hint` are shown to the user as they are; neither ever holds a key, a traceback or a path outside the
studio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class StudioError(Exception):
    """Base of all errors that the user is meant to read.

    `message` says what happened, `hint` what to do next, `details` carries figures for programs.
    """

    code: ClassVar[str] = "STUDIO_ERROR"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})

    def to_json(self) -> dict[str, Any]:
        """The HTTP shape of every error: `{"error", "code", "details"}`, with the hint among the details."""
        details = {**self.details, "hint": self.hint} if self.hint else self.details
        return {"error": self.message, "code": self.code, "details": details}


class InvalidRequest(StudioError):
    code = "INVALID_REQUEST"
    status = 400


class BadImage(InvalidRequest):
    code = "BAD_IMAGE"


class Forbidden(StudioError):
    code = "FORBIDDEN"
    status = 403


class NotFound(StudioError):
    code = "NOT_FOUND"
    status = 404


class UnknownModel(StudioError):
    code = "UNKNOWN_MODEL"
    status = 404


class NotConfigured(StudioError):
    code = "NOT_CONFIGURED"
    status = 409


class ModelBroken(StudioError):
    code = "MODEL_BROKEN"
    status = 422


class OutOfMemory(StudioError):
    """`details` carries `requested` and `available` in bytes."""

    code = "GPU_OOM"
    status = 507


class StorageFailed(StudioError):
    code = "STORAGE_FAILED"
    status = 507


class ProviderError(StudioError):
    code = "PROVIDER_ERROR"
    status = 502


class RateLimited(ProviderError):
    """`retry_after` is in seconds, None when the service does not say."""

    code = "RATE_LIMITED"
    status = 429

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint, details={"retry_after": retry_after})
        self.retry_after = retry_after


class ContentRefused(ProviderError):
    code = "CONTENT_REFUSED"
    status = 422


class PaymentNeeded(ProviderError):
    code = "PAYMENT_NEEDED"
    status = 402


class Unreachable(ProviderError):
    code = "UNREACHABLE"
    status = 504


class QueueFull(StudioError):
    code = "QUEUE_FULL"
    status = 503


class BudgetExceeded(StudioError):
    code = "BUDGET_EXCEEDED"
    status = 402


class JobCancelled(StudioError):
    code = "CANCELLED"
    status = 409


class ImageSkipped(StudioError):
    code = "SKIPPED"
    status = 409
