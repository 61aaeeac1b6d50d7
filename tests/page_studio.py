"""The whole page of a studio with a fake backend, for tests that look at its components and events."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from serving import make_studio
from social_studio import make_social_parts

from studio.core.settings import Settings
from studio.engine.studio import Studio
from studio.page import build_page
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.local_backend import LocalPipelines


def make_page_studio(folder: Path) -> Studio:
    """A studio that can build the page; its engine is not started."""
    social, _, backends = make_social_parts(folder)
    models = folder / "models"
    catalog, hub = Catalog(models, (), models / ".cache"), Hub(models, lambda: True, lambda: None)
    store = LocalPipelines(lambda: Settings(models_dir=models), catalog, hub)
    return make_studio(folder, backends, models=store, social=social, default_model="fake")


def build_real_page(folder: Path) -> gr.Blocks:
    """Its page."""
    return build_page(make_page_studio(folder))[0]
