"""Passes that another studio sends here to be drawn (studio/cluster)."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.errors import Forbidden
from studio.core.model import GPU_LANE
from studio.core.ports import ImageSeed, JobContext
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.rights import Right
from studio.core.user import User
from studio.engine.jobs.chain_steps import check_backend_names
from studio.engine.jobs.dispatcher import Dispatcher
from studio.engine.jobs.job_registry import JobRegistry
from studio.engine.models.model_list import Models
from studio.engine.moderation import Moderation
from studio.engine.settings_store import SettingsStore
from studio.engine.usage import Usage


class PassesForOthers:
    """Draws them with local models, between this studio's own jobs, and counts them for the user whose token came with
    them. May be called from any thread."""

    def __init__(
        self,
        settings: SettingsStore,
        models: Models,
        moderation: Moderation,
        usage: Usage,
        jobs: JobRegistry,
        dispatch: Dispatcher,
    ) -> None:
        self._settings = settings
        self._models = models
        self._moderation = moderation
        self._usage = usage
        self._jobs = jobs
        self._dispatch = dispatch

    def admit(self, user: User, request: GenerationRequest, images: int) -> None:
        """Whether `user` may let that many images of `request` be drawn here for another studio.

        Raises:
            Forbidden: the user may not make images. QuotaExceeded: the user's images of a day are used up.
            InvalidRequest: the prompt cannot be read.
        """
        user.require(Right.GENERATE)
        settings = user.adjust_settings(self._settings.current)
        coming = self._jobs.count_coming_images(user.name)
        things = self._models.count_generations(request)
        self._usage.check_images(user.name, settings, wanted=images * things, waiting=coming, is_composed=things > 1)

    def render(
        self, request: GenerationRequest, seeds: Sequence[ImageSeed], context: JobContext
    ) -> list[RenderedImage]:
        """Draw one pass in its model's lane, before any waiting job; nothing is saved.

        Raises:
            UnknownModel, ModelBroken, InvalidRequest: the model, or a file that goes with it, is not here, or cannot do
                it. Forbidden: it is a cloud service's. ContentRefused: moderation refuses its texts here. What its
                backend raises.
        """
        backend, model = self._models.find(request.model)
        if model.lane != GPU_LANE or model.paid:
            raise Forbidden(f"{model.title} does not run on this machine.", hint="Use one of its own models.")
        model.check(request)
        check_backend_names(backend, request)
        # Of one pass nothing is drawn any more: texts beside the prompt itself would only hide it from the filters.
        request = request.replace(drawn=(), axes=(), batch=(), then=())
        self._moderation.check_request(request, context.user, self._settings.current)

        def work() -> list[RenderedImage]:
            context.raise_if_cancelled()
            return backend.render(request, seeds, context)

        rendered = self._dispatch.lane(model.lane).run_work(work)
        self._usage.count_images(context.user, len(rendered) * self._models.count_generations(request))
        return rendered
