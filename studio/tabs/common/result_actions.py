"""What the page's scripts let a result side do: show an image of the library, and enlarge the shown one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest, StudioError
from studio.core.finish import Upscale
from studio.core.model import Quality
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.upscale_modes import UpscaleMode, choose_upscale_model
from studio.core.user import User
from studio.engine.studio import Studio
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, Updates, make_toast, show_errors
from studio.tabs.common.result_panel import render_images
from studio.tabs.common.run_job import JobPanel, run_request

UPSCALE_FACTOR = 2.0


def wire_result_actions(studio: Studio, panel: JobPanel, *, show: gr.Button, upscale: gr.Button) -> None:
    """Let `show` put the image that the scripts name onto the panel, and `upscale` enlarge the one that it shows."""

    @show_errors
    def show_image(asset_id: Any, request: gr.Request) -> Updates:
        asset = studio.engine.asset(str(asset_id), get_user(request))
        panel.last.remember(request.session_hash or "", asset.job_id)
        return {
            panel.result: render_images([asset]),
            panel.job: asset.job_id,
            panel.actions: gr.update(visible=True),
            panel.save_again: gr.update(visible=False),
        }

    @show_errors
    def upscale_image(asset_id: Any, request: gr.Request) -> Iterator[Updates]:
        try:
            user = get_user(request)
            wanted = make_upscale_request(studio, str(asset_id), user)
        except StudioError as error:
            raise make_toast(error) from error
        yield from run_request(studio.engine, panel, wanted, user, request.session_hash)

    chosen = gr.Textbox(visible=False)
    outputs = {panel.result, panel.job, panel.actions, panel.save_again}
    show.click(show_image, chosen, outputs, js="async () => [await window.easel.getRecentImage()]", **HIDDEN)
    script = "async () => [await window.easel.getShownImage()]"
    upscale.click(upscale_image, chosen, panel.outputs(), js=script, trigger_mode="once", **HIDDEN)


def make_upscale_request(studio: Studio, asset_id: str, user: User) -> GenerationRequest:
    """The request that enlarges an image of `user` with the upscaler that *Extras* would choose.

    Raises:
        NotFound: there is no such image, or it is another user's.
        InvalidRequest: no upscaler is there.
    """
    models = studio.engine.models(Task.UPSCALE)
    model = choose_upscale_model(UpscaleMode.FAST, Quality.STANDARD, models)
    if model is None:
        raise InvalidRequest("No upscaler is installed.", hint="Put one into models/upscalers.")
    image = studio.engine.keep_asset(asset_id, user)
    return GenerationRequest(
        task=Task.UPSCALE, model=model.id, source=image.hash, upscale=Upscale(scale=UPSCALE_FACTOR)
    )
