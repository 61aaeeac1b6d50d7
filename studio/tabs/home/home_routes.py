"""What the start page shows beside images: jobs, spending, templates, models, and the machine for who runs it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request

from studio.api.rights import needs
from studio.core.model import TOOLS_LANE
from studio.core.rights import Right
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.studio import Studio

MAX_JOBS = 20  # unfinished ones that are shown
MAX_LOOKED_AT = 100  # of the latest jobs, among which they are looked for
MAX_TEMPLATES = 8
PROMPT_LENGTH = 200  # characters


def build_home_router(studio: Studio) -> APIRouter:
    """The route below /page/home; it tells its caller's own jobs and money alone, and the machine to administrators."""
    router = APIRouter(prefix="/page/home", include_in_schema=False, dependencies=[needs(Right.USE)])

    @router.get("")
    def get_overview(request: Request) -> dict[str, object]:
        user: User = request.scope["user"]
        return {
            "jobs": _describe_jobs(studio, user),
            "spending": [
                {"period": name, "spent": spent, "budget": budget}
                for name, spent, budget in studio.engine.ledger.list_spending(
                    user.name, user.adjust_settings(studio.settings.current)
                )
            ],
            "models": _count_models(studio),
            "templates": _list_templates(studio, user),
            "machine": _describe_machine(studio) if user.may(Right.SETTINGS) else None,
        }

    return router


def _describe_jobs(studio: Studio, user: User) -> list[dict[str, object]]:
    unfinished = [job for job in studio.engine.jobs(user, MAX_LOOKED_AT) if not job.snapshot.status.is_final]
    return [_describe_job(job) for job in reversed(unfinished[-MAX_JOBS:])]


def _describe_job(job: Job) -> dict[str, object]:
    now = job.snapshot
    return {
        "id": job.id,
        "task": job.request.task.value,
        "prompt": job.request.prompt[:PROMPT_LENGTH],
        "model": job.model.title,
        "status": now.status.value,
        "ahead": now.ahead,
        "progress": round(now.progress, 3),
    }


def _count_models(studio: Studio) -> Mapping[str, int]:
    """How many models draw here and at cloud services, and how many are locked or broken."""
    drawing = [model for model in studio.engine.models() if any(task.is_generative for task in model.tasks)]
    ready = [model for model in drawing if not model.problem]
    local = sum(model.is_own or model.lane == TOOLS_LANE for model in ready)
    locked = sum(model.locked for model in drawing)
    return {
        "local": local,
        "cloud": len(ready) - local,
        "locked": locked,
        "broken": len(drawing) - len(ready) - locked,
    }


def _list_templates(studio: Studio, user: User) -> Sequence[Mapping[str, str]]:
    """The caller's own templates first."""
    if studio.social is None:
        return []
    found = studio.social.templates.of(user.name).templates()
    own_first = sorted(found, key=lambda each: not each.own)
    return [{"id": each.id, "name": each.name, "purpose": each.purpose} for each in own_first[:MAX_TEMPLATES]]


def _describe_machine(studio: Studio) -> Mapping[str, object]:
    """Disk and memory in bytes. What computes is a guess until the first model is loaded; torch is not asked."""
    disk = shutil.disk_usage(studio.engine.outputs_dir)
    memory = studio.store.get_memory_report()
    return {
        "disk": {"free": disk.free, "total": disk.total},
        "memory": {"device": memory.device, "free": memory.free, "total": memory.total},
        "resident": [each.title for each in memory.resident],
    }
