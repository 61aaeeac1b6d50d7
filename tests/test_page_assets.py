from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from serving import serve_studio

import studio
from studio.core.errors import BadImage, OutOfMemory
from studio.core.settings import Settings
from studio.page import mount
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.local_backend import LocalPipelines
from studio.serving.page_assets import PageAssets, list_error_titles
from studio.serving.page_language import build_text_scripts
from studio.tabs.common.languages import Languages

PACKAGE = Path(studio.__file__).parent
SCRIPTS = PACKAGE / "assets" / "js"


def make_assets() -> PageAssets:
    """The scripts as the page serves them."""
    return PageAssets(SCRIPTS, build_text_scripts(Languages(), SCRIPTS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "main.js").write_text('import { a } from "./parts/a.js";\nimport("./late.js");\n')
    (tmp_path / "late.js").write_text("export const late = 1;\n")
    (tmp_path / "parts" / "a.js").write_text('import {\n  b,\n} from "../b.js";\nexport const a = b;\n')
    (tmp_path / "b.js").write_text("export const b = 1;\n")
    (tmp_path / "types.d.ts").write_text("export {};\n")
    (tmp_path / "loader.js").write_text("(() => {})();\n")
    return tmp_path


def make_store(folder: Path) -> LocalPipelines:
    return LocalPipelines(
        lambda: Settings(models_dir=folder),
        Catalog(folder, [], folder / ".cache"),
        Hub(folder, lambda: True, lambda: None),
    )


def test_the_version_follows_names_and_contents(folder: Path) -> None:
    first = PageAssets(folder).version
    assert PageAssets(folder).version == first
    (folder / "b.js").write_text("export const b = 2;\n")
    changed = PageAssets(folder).version
    (folder / "b.js").rename(folder / "c.js")
    assert len({first, changed, PageAssets(folder).version}) == 3


def test_what_the_entry_needs_is_loaded_once_one_can_type_and_what_is_loaded_later_is_not(folder: Path) -> None:
    assets = PageAssets(folder)
    assert assets.find_imports("main.js") == ["main.js", "parts/a.js", "b.js"]
    head = assets.render_head(
        theme="dark", forms=["txt2img"], theme_styles="t.css", styles="own.css", following=["assets/x-1.css"]
    )
    settings = json.loads(head[head.index("{") : head.index(";\n")])
    place = f"page/assets/{assets.version}"
    assert settings["entry"] == f"{place}/main.js"
    assert settings["following"] == [f"{place}/parts/a.js", f"{place}/b.js", "assets/x-1.css"]
    assert (settings["theme"], settings["forms"]) == ("dark", ["txt2img"])
    assert (settings["themeStyles"], settings["styles"]) == ("t.css", "own.css")
    assert "src=" not in head, "the browser would fetch it at once"


def test_what_fills_the_fields_of_the_first_tab_comes_with_the_modules() -> None:
    """A prompt that is left before its tools are there would get no advice."""
    assert {"prompts/prompt_tools.js", "result/recent_strip.js"} <= set(make_assets().find_imports("main.js"))


def test_a_value_cannot_end_the_script(folder: Path) -> None:
    hostile = "</script><script>alert(1)</script>"
    for assets in (PageAssets(folder), PageAssets(SCRIPTS)):
        head = assets.render_head(theme=hostile, forms=[], theme_styles=hostile, styles=hostile)
        assert head.count("</script>") == 1


def test_the_scripts_are_served_for_good_under_their_version_alone(tmp_path: Path) -> None:
    assets = make_assets()
    with serve_studio(tmp_path, page=mount, models=make_store(tmp_path / "models"), default_model="fake") as served:
        client = served.open_client()
        head = client.get("/").text
        for name in assets.find_imports("main.js"):
            assert assets.get_address(name) in head
            answer = client.get("/" + assets.get_address(name))
            assert answer.content == (SCRIPTS / name).read_bytes()
            assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
            assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
            assert "script-src 'self'" in answer.headers["content-security-policy"]
        for other in ("0000000000000000/main.js", f"{assets.version}/globals.d.ts", f"{assets.version}/../../page.py"):
            assert client.get(f"/page/assets/{other}").status_code == 404


def test_the_scripts_are_behind_the_login(tmp_path: Path) -> None:
    address = "/" + make_assets().get_address("main.js")
    store = make_store(tmp_path / "models")
    with serve_studio(tmp_path, users=True, page=mount, models=store, default_model="fake") as served:
        assert served.open_client("bob").get(address).status_code == 200
        assert served.open_client().get(address).status_code == 401


def test_python_calls_only_what_the_page_api_has() -> None:
    source = (SCRIPTS / "page_api.js").read_text()
    api = source[source.index("const api = {") : source.index("/** @typedef {typeof api}")]
    names = set(re.findall(r"^  (?:get )?(\w+)", api, flags=re.MULTILINE))
    called = {
        name
        for path in PACKAGE.rglob("*.py")
        if path.name != "page_assets.py"
        for name in re.findall(r"window\.easel\.(\w+)", path.read_text())
    }
    assert called <= names, called - names
    assert {"mountField", "packForm", "rememberForm", "markRestored", "getShownImage"} <= called


def test_errors_carry_their_titles_to_the_page() -> None:
    titles = list_error_titles()
    assert titles["BAD_IMAGE"] == BadImage.title
    assert titles["GPU_OOM"] == OutOfMemory.title
    assert all(titles.values())
