"""The parts of the studio that tabs and HTTP dialects use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from studio.core.ports import Captioner, ModelStore
from studio.core.self_check import Check
from studio.core.social import CropAdvisor
from studio.core.social_formats import PlatformData
from studio.core.social_templates import TemplateLibrary
from studio.engine.chat_account import ChatAccount
from studio.engine.engine import Engine
from studio.engine.money.cloud_accounts import CloudAccounts
from studio.engine.prompt_room import PromptRoom
from studio.engine.settings_store import SettingsStore


@dataclass(frozen=True)
class SocialParts:
    """The platform formats as the page and the API use them outside jobs."""

    platforms: PlatformData
    advisor: CropAdvisor
    templates: TemplateLibrary


@dataclass(frozen=True)
class Studio:
    """The running studio. `doctor` looks at everything that could be wrong and may take seconds. `fonts` names what
    text can be written in, `read_hidden` gives the text that is hidden in an image, `find_image_facts` phrases for what
    networks find in it."""

    engine: Engine
    settings: SettingsStore
    store: ModelStore
    doctor: Callable[[], list[Check]]
    social: SocialParts | None = None
    clouds: CloudAccounts | None = None
    prompts: PromptRoom | None = None
    chat: ChatAccount | None = None
    fonts: Callable[[], list[str]] = list[str]
    captioner: Captioner | None = None
    find_image_facts: Callable[[Image.Image], Sequence[str]] = lambda image: ()
    read_hidden: Callable[[Image.Image], str | None] = lambda image: None
