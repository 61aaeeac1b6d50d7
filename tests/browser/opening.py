"""A real Chromium on a real server with the whole page; the backend is a fake that a test can hold, or the real one."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from fakes import FAKE_MODEL, FakeBackend
from serving import PASSWORDS, RunningStudio, serve_studio
from social_images import make_real_social_parts as real_parts
from social_studio import make_social_parts

from studio.core.model import Model
from studio.core.settings import Settings
from studio.engine.plugins import discover
from studio.page import mount
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.local_backend import LocalPipelines

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
EMBEDDED = Path(__file__).parents[2] / "models" / "embedded"
FORMS = {"Txt2Img": "txt2img", "Img2Img": "img2img", "Extras": "extras", "Social Optimizer": "social"}  # by tab
TIMEOUT_MS = 60_000  # ms that any expectation waits
BROKEN_OFF = ("AbortError:", "Connection errored out.")  # by loading the page again


@dataclass(frozen=True)
class Launched:
    """The browser of this process, and the event loop that Playwright follows it in."""

    browser: Browser
    loop: asyncio.AbstractEventLoop


@pytest.fixture(scope="session")
def launched() -> Iterator[Launched]:
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no Chromium, and CI must have one")
        pytest.skip("no Chromium here: apt install chromium")
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        found = Launched(playwright.chromium.launch(executable_path=CHROMIUM, args=flags), asyncio.get_running_loop())
        asyncio._set_running_loop(None)
        yield found
        asyncio._set_running_loop(found.loop)
        found.browser.close()


@pytest.fixture(scope="module")
def browser(launched: Launched) -> Iterator[Browser]:
    """The browser. Playwright marks its loop as one that runs; it is so within this file alone, since other tests of
    this process run loops of their own."""
    asyncio._set_running_loop(launched.loop)
    yield launched.browser
    asyncio._set_running_loop(None)


class BrowserWindow:
    """One browser page; what its console complains about is kept."""

    def __init__(self, page: Page, served: RunningStudio) -> None:
        self.page = page
        self.served = served
        self.complaints: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        page.on("pageerror", self._note_page_error)

    def _note_page_error(self, error: object) -> None:
        """Keep an error of the page's scripts, but for a fetch of Gradio's own that a reload breaks off."""
        if not str(error).startswith("AbortError:"):
            self.complaints.append(str(error))

    def open(self) -> Page:
        """Load the page and wait until it is alive."""
        return self._load(lambda: self.page.goto(self.served.url))

    def ready(self) -> Page:
        self.page.wait_for_selector("#generate")
        self.page.wait_for_function("window.easel && window.easel.restored")
        return self.page

    def reload(self) -> None:
        """Load the page again."""
        self._load(self.page.reload)

    def _load(self, navigate: Callable[[], object]) -> Page:
        """Let `navigate` load the page, and wait until it is alive. What Gradio says of requests of the page before,
        which this breaks off, is no complaint."""
        before = len(self.complaints)
        navigate()
        page = self.ready()
        came = self.complaints[before:]
        self.complaints[before:] = [each for each in came if not any(text in each for text in BROKEN_OFF)]
        return page

    def log_in(self, user: str) -> None:
        """Send what the login page sends, without a visit to it."""
        form = {"username": user, "password": PASSWORDS[user]}
        answer = self.page.request.post(self.served.url + "/login", form=form, max_redirects=0)
        assert answer.status == 303, answer.text()

    def tab(self, title: str) -> None:
        """Open a tab, and wait until its form is there; where the row is too narrow for all, from the menu at its
        end."""
        page = self.page
        if not page.locator(f"button[role=tab]:has-text('{title}')").count():
            page.click("[aria-label='More tabs']")
            page.click(f".overflow-dropdown button:has-text('{title}')")
        else:
            page.click(f"button[role=tab]:has-text('{title}')")
        if title in FORMS:
            page.wait_for_function("(form) => window.easel.areRestored([form])", arg=FORMS[title])
        else:
            page.wait_for_selector(f"#tab-{title.lower().replace(' ', '-')} .column > *", state="attached")

    def configure(self, title: str) -> None:
        """Open a page of Configurations."""
        self.tab("Configurations")
        self.page.click(f".config-pages button:text-is('{title}')")

    def choose_model(self, title: str, field: str = "model") -> None:
        """Choose a model of Txt2Img, or of the form with that field, by its title."""
        self.page.click(f"#{field} input")
        self.page.fill(".model-picker input[type=search]", title)
        self.page.locator(f".model-picker .picker-model:has-text('{title}')").first.click()

    def wait_for(self, happened: Callable[[], object]) -> None:
        """Wait for something that the page does not show, and let the browser go on meanwhile."""
        for _ in range(TIMEOUT_MS // 20):
            if happened():
                return
            self.page.wait_for_timeout(20)
        raise TimeoutError("it did not happen")

    def wait_for_status(self, status: str) -> None:
        """Wait until the result side shows a job in this status."""
        self.page.wait_for_selector(f'.result[data-status="{status}"]')


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class SharedStudios:
    """Running studios for the tests of a file that keep nothing in them but images."""

    def __init__(self, browser: Browser, stack: ExitStack, make_folder: Callable[[str], Path]) -> None:
        self._browser, self._stack, self._make_folder = browser, stack, make_folder
        self._studios: dict[str, RunningStudio] = {}

    def find(self, key: str, serve: Callable[[Opener], RunningStudio]) -> RunningStudio:
        """That of `key`, which is served when it is first asked for."""
        if key not in self._studios:
            self._studios[key] = serve(Opener(self._browser, self._stack, self._make_folder("shared"), self))
        return self._studios[key]


@pytest.fixture(scope="module")
def shared(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStudios]:
    with ExitStack() as stack:
        yield SharedStudios(browser, stack, tmp_path_factory.mktemp)


class Opener:
    """Serves a studio and opens windows on it; all is closed when the test ends."""

    def __init__(self, browser: Browser, stack: ExitStack, folder: Path, shared: SharedStudios | None = None) -> None:
        self.folder = folder
        self._browser, self._stack, self._shared = browser, stack, shared

    def serve(self, *fakes: Model, held: bool = False, users: bool = False, **settings: Any) -> RunningStudio:
        """A studio that draws fakes, step by step when `held`; `fakes` are its models, by default FAKE_MODEL."""
        store, backend = _make_pipelines(self.folder / "models"), FakeBackend(*(fakes or (FAKE_MODEL,)), held=held)
        return self._serve(backend, store, users=users, **{"default_model": "fake", **settings})

    def share(self, *fakes: Model, **settings: Any) -> RunningStudio:
        """As `serve`, for a test that keeps nothing in the studio but images: others may have made some in it, and
        will. What its fake has seen of them is forgotten."""
        return self.share_as(repr((fakes, settings)), lambda opener: opener.serve(*fakes, **settings))

    def share_social(self) -> RunningStudio:
        """As `serve_social`, for such a test."""
        return self.share_as("social", Opener.serve_social)

    def share_as(self, key: str, serve: Callable[[Opener], RunningStudio]) -> RunningStudio:
        """What `serve` serves, for such tests: once for all of a file that name the same `key`."""
        assert self._shared is not None, "only the fixture's opener shares studios"
        served = self._shared.find(key, serve)
        for backend in served.backend if isinstance(served.backend, list) else [served.backend]:
            if isinstance(backend, FakeBackend):
                backend.seen.clear()
        return served

    def serve_social(self) -> RunningStudio:
        """A studio with platform formats and templates; `backend` is the fake that draws and enlarges."""
        social, painter, backends = make_social_parts(self.folder)
        store = _make_pipelines(self.folder / "models")
        served = self._serve(backends, store, social=social, default_model="fake")
        served.backend = painter
        return served

    def serve_embedded(self) -> RunningStudio:
        """A studio with the model that ships, wired as the program wires it."""
        store = _make_pipelines(EMBEDDED.parent, discover("studio.pipelines.families", "PIPELINE"))
        return self._serve(store, store, models_dir=EMBEDDED.parent, preview_interval=0.1, accelerator="none")

    def serve_with(self, *backends: Any, **settings: Any) -> RunningStudio:
        """A studio over several backends, the first of which has the model "fake"."""
        return self._serve(
            list(backends), _make_pipelines(self.folder / "models"), **{"default_model": "fake", **settings}
        )

    def serve_formats(self) -> RunningStudio:
        """A studio that makes the real platform formats of what it is given, and draws fakes."""
        social, backend = real_parts(self.folder)
        return self._serve(
            [FakeBackend(), backend], _make_pipelines(self.folder / "models"), default_model="fake", social=social
        )

    def _serve(self, backend: Any, store: LocalPipelines, **options: Any) -> RunningStudio:
        studio = serve_studio(self.folder, backend=backend, page=mount, models=store, **options)
        return self._stack.enter_context(studio)

    def open_window(self, served: RunningStudio, *, user: str = "", **options: Any) -> BrowserWindow:
        # Nothing moves: to draw it takes time, and what is pressed has to come to rest before.
        usual = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"}
        context = self._browser.new_context(**{**usual, **options})
        self._stack.callback(context.close)
        window = BrowserWindow(context.new_page(), served)
        if user:
            window.log_in(user)
        return window


def _make_pipelines(models: Path, specs: Sequence[Any] = ()) -> LocalPipelines:
    catalog = Catalog(models, specs, models / ".cache")
    return LocalPipelines(lambda: Settings(models_dir=models), catalog, Hub(models, lambda: True, lambda: None))


@pytest.fixture
def opener(browser: Browser, stack: ExitStack, tmp_path: Path, shared: SharedStudios) -> Opener:
    return Opener(browser, stack, tmp_path, shared)
