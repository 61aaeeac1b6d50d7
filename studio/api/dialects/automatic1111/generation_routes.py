"""POST txt2img and img2img: jobs that are waited for, and AUTOMATIC1111's answer of their images."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import base64
import dataclasses
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image

from studio import __version__
from studio.api.dialects.automatic1111 import images, options
from studio.api.dialects.automatic1111.bodies import Img2ImgBody, Txt2ImgBody
from studio.api.dialects.automatic1111.names import SHORT_HASH, find_weight, list_upscalers
from studio.api.dialects.automatic1111.requests import BuiltRequest, RequestBuilder
from studio.api.dialects.automatic1111.scripts import ScriptPlan, plan_script
from studio.api.dialects.automatic1111.user_jobs import Call, UserJobs
from studio.api.dialects.dialect_jobs import DialectJobs
from studio.api.error_responses import clean_json
from studio.api.submit_request import get_caller
from studio.core.detailer_infotext import build_detailer_pairs
from studio.core.errors import InvalidRequest, NotFound
from studio.core.events import Status
from studio.core.grid import expand_cells
from studio.core.model import get_enlarged_size
from studio.core.model_ids import PREPROCESSOR_PREFIX
from studio.core.request import GenerationRequest, parse_size
from studio.core.request_parts import ControlUnit
from studio.core.result import Asset
from studio.core.task import Task
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.jobs.passes import make_random_seed

NO_MODULE = "none"


@dataclass
class DrawnImages:
    """What the jobs of one call made: files of the images with their assets, a labelled sheet where a job made one
    with the files of each of its pages, and what is to be told."""

    files: list[bytes] = field(default_factory=list[bytes])
    assets: list[Asset] = field(default_factory=list[Asset])
    sheet: bytes | None = None
    pages: list[list[bytes]] = field(default_factory=list[list[bytes]])
    columns: int = 1
    job: Job | None = None
    notes: list[str] = field(default_factory=list[str])


class GenerationRoutes:
    """The two routes, over the jobs of one dialect."""

    def __init__(self, jobs: DialectJobs, user_options: options.UserOptions, user_jobs: UserJobs) -> None:
        self._jobs = jobs
        self._options = user_options
        self._user_jobs = user_jobs

    def add_to(self, routes: APIRouter) -> None:
        """Put the routes among `routes`."""

        @routes.post("/txt2img")
        async def draw_from_text(request: Request, body: Txt2ImgBody) -> Response:
            """Images from a prompt."""
            return await self._answer(request, body, lambda builder: builder.build_txt2img(body))

        @routes.post("/img2img")
        async def draw_from_image(request: Request, body: Img2ImgBody) -> Response:
            """Images from an image and a prompt."""
            return await self._answer(request, body, lambda builder: builder.build_img2img(body))

    async def _answer(
        self,
        request: Request,
        body: Txt2ImgBody | Img2ImgBody,
        build: Callable[[RequestBuilder], BuiltRequest],
    ) -> Response:
        user, is_img2img = get_caller(request), isinstance(body, Img2ImgBody)

        def plan() -> tuple[BuiltRequest, ScriptPlan]:
            built = build(RequestBuilder(self._jobs.studio, user, self._options.get(user.name)))
            if built.body.script_name and built.request.seed is None:  # one seed for all jobs of a script
                built = dataclasses.replace(built, request=built.request.replace(seed=make_random_seed()))
            upscalers = list_upscalers(self._jobs.studio.engine.models())
            return built, plan_script(built, upscalers, is_img2img=is_img2img)

        with self._user_jobs.open_call(user.name) as call:
            try:
                built, planned = await anyio.to_thread.run_sync(plan)
            except OverflowError as error:  # JSON's whole numbers have any number of digits
                raise InvalidRequest("A number is too large.", hint="Send a smaller one.") from error
            call.planned = len(planned.requests) * planned.loops
            drawn = await self._draw(request, built, planned, call)
            maps = [] if call.interrupted else await self._draw_maps(request, built)
        self._keep_overrides(user, built)
        answer = await anyio.to_thread.run_sync(lambda: self._build_answer(built, planned, drawn, maps))
        return JSONResponse(clean_json(answer))

    async def _draw(self, request: Request, built: BuiltRequest, planned: ScriptPlan, call: Call) -> DrawnImages:
        """Carry out all jobs of the plan, one after the other, until one is stopped."""
        drawn = DrawnImages(notes=list(built.notes))
        task_id = built.body.force_task_id or ""
        for wanted in planned.requests:
            current = wanted
            for loop in range(planned.loops):
                if call.interrupted or not await self._run_one(request, current, drawn, call, task_id):
                    return drawn
                call.done += 1
                if loop + 1 < planned.loops:
                    current = await anyio.to_thread.run_sync(
                        self._plan_next_loop, get_caller(request), wanted, planned, loop + 1, drawn.assets[-1].id
                    )
        return drawn

    async def _run_one(
        self, request: Request, wanted: GenerationRequest, drawn: DrawnImages, call: Call, task_id: str
    ) -> bool:
        """Run one job and collect its images; False when it was stopped or made none."""
        job = await self._jobs.submit(request, lambda _: wanted)
        self._user_jobs.add(job.user, job.id, task_id)
        drawn.job = call.job = job
        if call.interrupted:  # while it was submitted
            self._jobs.studio.engine.cancel(job.id, get_caller(request))
        await self._jobs.wait(request, job)
        now = job.snapshot
        drawn.notes += [note for note in now.notices if note not in drawn.notes]
        cells = expand_cells(job.request) if job.request.axes else []
        assets = list(now.assets)
        if cells:
            sheet = next((asset for asset in assets if asset.index >= len(cells)), None)
            drawn.sheet = await self._read(sheet) if sheet is not None else None
            drawn.columns = 1 + max(cell.position[0] for cell in cells)
            drawn.pages = [[] for _ in range(1 + max(cell.position[2] for cell in cells))]
            assets = sorted(  # the first axis changes with every image
                (asset for asset in assets if asset.index < len(cells)),
                key=lambda asset: cells[asset.index].position[::-1],
            )
        for asset in assets:
            drawn.files.append(await self._read(asset))
            drawn.assets.append(asset)
            if cells:
                drawn.pages[cells[asset.index].position[2]].append(drawn.files[-1])
        return now.status is Status.FINISHED and bool(now.assets)

    async def _read(self, asset: Asset) -> bytes:
        return await anyio.to_thread.run_sync(self._jobs.read_file, asset)

    def _plan_next_loop(
        self, user: User, wanted: GenerationRequest, planned: ScriptPlan, loop: int, asset_id: str
    ) -> GenerationRequest:
        """The request of the next loop, on the image of the one before."""
        start = wanted.strength or 0.0
        part = loop / max(1, planned.loops - 1)
        kept = self._jobs.studio.engine.keep_asset(asset_id, user)
        return wanted.replace(
            source=kept.hash,
            strength=start + (planned.final_strength - start) * part,
            seed=None if wanted.seed is None else (wanted.seed + loop) % 2**32,
        )

    async def _draw_maps(self, request: Request, built: BuiltRequest) -> list[str]:
        """The maps of the ControlNet units that are to be returned, as PNG in base64."""
        if not built.body.send_images:
            return []
        wanted = built.request
        model = self._jobs.studio.engine.model(wanted.model, wanted.task)
        first, second = min(model.get_size(wanted)), min(model.get_hires_size(wanted))
        found: list[str] = []
        for one in built.units:
            sides = [first, second] if wanted.hires is not None and one.in_both_passes else [first]
            for side in sides if one.returns_map else ():
                found.append(await self._draw_map(request, one.unit, wanted, side))
        return found

    async def _draw_map(self, request: Request, unit: ControlUnit, wanted: GenerationRequest, side: int) -> str:
        """One map; a unit that is pixel perfect gets it with a short side of `side` px."""
        source = unit.image or wanted.source or (wanted.batch[0] if wanted.batch else "")
        if unit.preprocessor == NO_MODULE:
            file = self._jobs.studio.engine.get_kept_file(source, get_caller(request))
            return base64.b64encode(file.read_bytes()).decode()
        short_side = side if unit.pixel_perfect else unit.resolution
        plain = dataclasses.replace(unit, model="", image=None, pixel_perfect=False, resolution=max(64, short_side))
        job = await self._jobs.run(
            request,
            lambda _: GenerationRequest(
                task=Task.PREPROCESS,
                model=PREPROCESSOR_PREFIX + unit.preprocessor,
                source=source,
                control=(plain,),
                file=wanted.file,
            ),
        )
        if not job.snapshot.assets:
            raise NotFound("The control map was not made.", hint="Send the request again.")
        return base64.b64encode(self._jobs.read_file(job.snapshot.assets[0])).decode()

    def _keep_overrides(self, user: User, built: BuiltRequest) -> None:
        """Overrides that are not to be restored afterwards become the user's options."""
        if built.body.override_settings and built.body.override_settings_restore_afterwards is False:
            self._options.change(user.name, built.body.override_settings)

    def _build_answer(
        self, built: BuiltRequest, planned: ScriptPlan, drawn: DrawnImages, maps: Sequence[str]
    ) -> dict[str, Any]:
        body = built.body
        infotexts = [asset.infotext for asset in drawn.assets]
        sent = [base64.b64encode(data).decode() for data in drawn.files] if planned.images else []
        grids = self._build_grids(built, planned, drawn)
        sent[:0] = grids
        infotexts[:0] = infotexts[:1] * len(grids)
        echo = body.model_dump()
        if isinstance(body, Img2ImgBody) and not body.include_init_images:
            echo |= {"init_images": None, "mask": None}
        info = self._build_info(built, drawn, infotexts, first=len(grids))
        return {
            "images": [*sent, *maps] if body.send_images else [],
            "parameters": echo,
            "info": json.dumps(clean_json(info), ensure_ascii=False),
        }

    def _build_grids(self, built: BuiltRequest, planned: ScriptPlan, drawn: DrawnImages) -> list[str]:
        """What stands first, in base64: the sheet of a script, with its pages where it wants them, or the plain one of
        several images where the call has them saved."""
        if drawn.sheet is not None:
            pages = [page for page in drawn.pages if page] if planned.sub_grids else []
            return [
                base64.b64encode(drawn.sheet).decode(),
                *(images.encode_png(images.compose_plain_grid(page, drawn.columns)) for page in pages),
            ]
        wants_plain = built.body.save_images and not built.body.do_not_save_grid and len(drawn.files) > 1
        if not drawn.files or not (planned.grid or wants_plain):
            return []
        return [images.encode_png(images.compose_plain_grid(drawn.files), drawn.assets[0].infotext)]

    def _build_info(
        self, built: BuiltRequest, drawn: DrawnImages, infotexts: Sequence[str], *, first: int
    ) -> dict[str, Any]:
        """The facts that AUTOMATIC1111 tells beside the images."""
        request = drawn.job.request if drawn.job is not None else built.request
        weight = find_weight(request.model, self._jobs.studio.store.weights())
        requests = [asset.drawn for asset in drawn.assets] or [request]
        seeds = [asset.seed for asset in drawn.assets] or [request.seed or 0]
        subseeds = [one.variation_seed or 0 for one in requests]
        width, height = _measure(drawn, request)
        resized_from = parse_size(request.seed_resize) if request.seed_resize else (-1, -1)
        return {
            "prompt": request.prompt,
            "all_prompts": [one.prompt for one in requests],
            "negative_prompt": request.negative_prompt,
            "all_negative_prompts": [one.negative_prompt for one in requests],
            "seed": seeds[0],
            "all_seeds": seeds,
            "subseed": subseeds[0],
            "all_subseeds": subseeds,
            "subseed_strength": request.variation_strength,
            "width": width,
            "height": height,
            "sampler_name": request.sampler or (drawn.job.model.sampling.sampler if drawn.job else ""),
            "cfg_scale": request.guidance,
            "steps": request.steps,
            "batch_size": request.batch_size,
            "restore_faces": any(step.task is Task.RESTORE_FACES for step in request.then),
            "face_restoration_model": next(
                (step.model for step in request.then if step.task is Task.RESTORE_FACES), None
            ),
            "sd_model_name": request.model,
            "sd_model_hash": weight.sha256[:SHORT_HASH] if weight is not None else "",
            "sd_vae_name": request.vae,
            "sd_vae_hash": None,
            "seed_resize_from_w": resized_from[0],
            "seed_resize_from_h": resized_from[1],
            "denoising_strength": request.strength if request.hires is None else request.hires.strength,
            "extra_generation_params": _list_extra_parameters(request),
            "index_of_first_image": first,
            "infotexts": list(infotexts),
            "styles": list(built.body.styles or []),
            "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
            "clip_skip": request.clip_skip or 1,
            "is_using_inpainting_conditioning": False,
            "version": f"Easel {__version__}",
            "notices": list(dict.fromkeys(drawn.notes)),
        }


def _measure(drawn: DrawnImages, request: GenerationRequest) -> tuple[int, int]:
    """The size of the first pass where it is known, enlarged where the model's own network does that, else of the first
    image."""
    if request.width and request.height:
        return get_enlarged_size(request, (request.width, request.height))
    if drawn.files:
        with Image.open(io.BytesIO(drawn.files[0])) as image:
            return image.size
    return 0, 0


def _list_extra_parameters(request: GenerationRequest) -> dict[str, Any]:
    details = dict(build_detailer_pairs(request.detailers))
    if request.hires is None:
        return details
    found: dict[str, Any] = details | {"Hires upscale": request.hires.scale, "Hires upscaler": request.hires.upscaler}
    return found | ({"Hires steps": request.hires.steps} if request.hires.steps else {})
