"""Images of waiting jobs that are drawn together with those of the running one, and kept until their job's turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from studio.core.model import GPU_LANE, Model
from studio.core.request import GenerationRequest, count_outputs
from studio.core.request_choices import NoiseSource
from studio.core.result import RenderedImage
from studio.engine.jobs.job import Job
from studio.engine.jobs.passes import PlannedImage, plan_images


@dataclass(frozen=True)
class AheadImage:
    """The only image of a job that waits."""

    job: Job
    image: PlannedImage


class DrawnAhead:
    """Chooses and keeps such images. Used by the one thread of the lane of local models.

    Nothing of it is on disk: after a crash a waiting job is drawn as any other.
    """

    def __init__(self, list_waiting: Callable[[], Sequence[Job]]) -> None:
        """`list_waiting` gives the jobs that wait for the lane in their order."""
        self._list_waiting = list_waiting
        self._kept: dict[str, tuple[Job, RenderedImage, tuple[str, ...]]] = {}

    def choose(self, job: Job, batch: Sequence[PlannedImage], model: Model) -> list[AheadImage]:
        """The images to draw beside `batch`, which is of `job`: those of waiting jobs that differ in nothing but the
        seed, as many as the setting says. None while another user waits, whose turn would come later by it."""
        room = min(job.settings.batch_jobs, model.max_batch) - len(batch)
        if room < 1 or model.lane != GPU_LANE or not _is_plain(batch[0].request):
            return []
        self._forget_ended()
        waiting = self._list_waiting()
        if any(other.user != job.user for other in waiting):
            return []
        wanted = _ignore_seed(batch[0].request)
        found: list[AheadImage] = []
        for other in waiting:
            if len(found) == room:
                break
            if self._may_join(other, job):
                image = plan_images(other.request)[0]
                if _ignore_seed(image.request) == wanted:
                    found.append(AheadImage(other, image))
        return found

    def keep(self, ahead: Sequence[AheadImage], rendered: Sequence[RenderedImage], notes: Sequence[str]) -> None:
        """Keep what was drawn for `ahead`, in its order, with what was said of it."""
        for one, result in zip(ahead, rendered, strict=True):
            self._kept[one.job.id] = one.job, result, tuple(notes)

    def take(self, job: Job) -> tuple[RenderedImage, tuple[str, ...]] | None:
        """What was drawn for `job`, once."""
        found = self._kept.pop(job.id, None)
        return None if found is None else found[1:]

    def _may_join(self, other: Job, job: Job) -> bool:
        return (
            other.images == 1
            and other.id not in self._kept
            and other.settings == job.settings
            and not other.request.axes
            and not other.snapshot.assets
            and other.stop_reason is None
        )

    def _forget_ended(self) -> None:
        for job_id in [job_id for job_id, (job, *_) in self._kept.items() if job.snapshot.status.is_final]:
            del self._kept[job_id]


def _is_plain(request: GenerationRequest) -> bool:
    """Whether images of other seeds may lie beside those of `request`: not in ComfyUI's batches, whose noise all comes
    from one seed, and not where a detailer says of each image what it found."""
    if request.noise_source is NoiseSource.COMFYUI or request.detailers:
        return False
    return request.task.is_generative and not request.then and count_outputs(request) == 1


def _ignore_seed(request: GenerationRequest) -> GenerationRequest:
    """The request without what may differ between images that are drawn together."""
    return request.replace(seed=None, count=1, batch_size=1)
