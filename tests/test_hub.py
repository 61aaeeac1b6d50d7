"""Downloads over real HTTP from a hub of our own."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.core.errors import InvalidRequest, NotConfigured
from studio.core.ports import DownloadState
from studio.pipelines.catalog.downloads import HubRequest, RemoteFile, choose_files, parse_hub_request
from studio.pipelines.catalog.hub import Hub
from tests.hub_server import HubServer

PIECE = 64 * 1024
BIG = os.urandom(1_000_000)
SMALL = os.urandom(3000)
REPO = {
    "model_index.json": b"{}",
    "README.md": b"no",
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": BIG,
    "unet/diffusion_pytorch_model.bin": b"pickle",
    "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.safetensors": SMALL,
    "all-in-one.safetensors": b"x" * 50,
    "custom.py": b"import os",
}
WANTED = {
    "model_index.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", PIECE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)


class Trial:
    """A hub that downloads from `server` below `models`, and how often it said that something came through."""

    def __init__(self, models: Path, server: HubServer | None, endpoint: str = "") -> None:
        self.models, self.finished = models, 0
        self.hub = Hub(models, lambda: False, self._count, endpoint=server.endpoint if server else endpoint)

    def _count(self) -> None:
        self.finished += 1

    def wait(self, name: str = "org/model", until: Callable[[DownloadState], bool] | None = None) -> DownloadState:
        return self.hub.wait(name, lambda state: state.finished or (until is not None and until(state)), 30)

    def run(self, name: str = "org/model") -> DownloadState:
        self.hub.download(name)
        state = self.wait(name)
        assert state.finished
        return state

    def files(self) -> set[str]:
        folder = self.models / "hub" / "org--model"
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer({"org/model": REPO, "org/lora": {"style.safetensors": SMALL, "README.md": b""}}) as running:
        yield running


def test_a_diffusers_repo_arrives_whole_and_nothing_else_of_it(models: Path, server: HubServer) -> None:
    trial = Trial(models, server)
    state = trial.run()
    assert state.error == ""
    assert state.done == state.total == sum(len(REPO[name]) for name in WANTED)
    assert trial.files() == WANTED
    assert (models / "hub/org--model/unet/diffusion_pytorch_model.safetensors").read_bytes() == BIG
    assert trial.finished == 1
    assert not list((models / "hub" / ".partial").rglob("*"))
    before = len([line for line in server.requests if "/resolve/" in line])
    assert trial.run().error == ""
    assert len([line for line in server.requests if "/resolve/" in line]) == before, (
        "what is there is not fetched again"
    )


def test_single_files(models: Path, server: HubServer) -> None:
    trial = Trial(models, server)
    assert trial.run("org/model/all-in-one.safetensors").error == ""
    assert trial.run("org/lora").error == ""
    assert trial.files() == {"all-in-one.safetensors"}
    assert (models / "hub" / "org--lora" / "style.safetensors").read_bytes() == SMALL
    assert "no file" in trial.run("org/model/none.safetensors").error


def test_progress_is_seen_while_it_runs_and_nothing_half_done_is_listed(models: Path, server: HubServer) -> None:
    server.gate = threading.Event()
    trial = Trial(models, server)
    trial.hub.download("org/model")
    state = trial.wait(until=lambda state: state.done >= 400_000)
    assert 400_000 <= state.done < state.total
    assert not state.finished
    assert trial.files() == set()
    trial.hub.download("org/model")  # a second click changes nothing
    server.gate.set()
    assert trial.wait().error == ""
    assert trial.finished == 1


def test_cancel_keeps_what_came_and_the_next_try_goes_on_there(models: Path, server: HubServer) -> None:
    server.gate = threading.Event()
    trial = Trial(models, server)
    trial.hub.download("org/model")
    trial.wait(until=lambda state: state.done >= 400_000)
    trial.hub.cancel("org/model")
    server.gate.set()
    state = trial.wait()
    assert state.error.startswith("Stopped")
    assert trial.finished == 0
    assert trial.files() == set()
    server.gate = None
    again = trial.run()
    assert again.error == ""
    assert again.done == again.total
    (asked,) = server.ranges
    assert int(asked.removeprefix("bytes=").rstrip("-").split("-")[0]) >= 6 * PIECE
    assert (models / "hub/org--model/unet/diffusion_pytorch_model.safetensors").read_bytes() == BIG


def test_a_dropped_connection_is_taken_up_again(models: Path, server: HubServer) -> None:
    server.break_after, server.breaks = 300_000, 1
    trial = Trial(models, server)
    assert trial.run().error == ""
    assert server.ranges
    assert (models / "hub/org--model/unet/diffusion_pytorch_model.safetensors").read_bytes() == BIG


def test_a_spoilt_file_is_thrown_away(models: Path, server: HubServer) -> None:
    server.spoilt = True
    trial = Trial(models, server)
    assert "damaged" in trial.run("org/lora").error
    assert not list(models.rglob("style*"))
    server.spoilt = False
    assert trial.run("org/lora").error == ""


@pytest.mark.parametrize(
    ("status", "word"), [(401, "HF_TOKEN"), (403, "terms"), (404, "spelling"), (500, "error (500)")]
)
def test_refusals_say_what_to_do(models: Path, server: HubServer, status: int, word: str) -> None:
    server.status["org/model"] = status
    state = Trial(models, server).run()
    assert word in state.error
    assert "127.0.0.1" not in state.error


def test_an_unknown_repo_is_not_found(models: Path, server: HubServer) -> None:
    assert "org/other was not found on Hugging Face" in Trial(models, server).run("org/other").error


def test_a_download_larger_than_the_disk_does_not_begin(models: Path, server: HubServer) -> None:
    server.claimed["unet/diffusion_pytorch_model.safetensors"] = 10**15
    state = Trial(models, server).run()
    assert "1000000.0 GB" in state.error
    assert not any("/resolve/" in line for line in server.requests)


def test_without_a_network_the_message_says_so(models: Path) -> None:
    import socket

    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        state = Trial(models, None, f"http://127.0.0.1:{taken.getsockname()[1]}").run()
    assert "cannot be reached" in state.error
    assert "network" in state.error


def test_offline_nothing_is_asked(models: Path, server: HubServer) -> None:
    hub = Hub(models, lambda: True, lambda: None, endpoint=server.endpoint)
    with pytest.raises(NotConfigured):
        hub.download("org/model")
    assert server.requests == []


def test_the_token_comes_from_the_environment_alone_and_is_not_logged(
    models: Path, server: HubServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    (tmp_path / "token").write_text("hf_from_a_file")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with caplog.at_level(logging.DEBUG):
        assert Trial(models, server).run().error == ""
        assert server.tokens == {""}
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        assert Trial(tmp_path / "other", server).run().error == ""
    assert "Bearer hf_secret" in server.tokens
    assert "hf_secret" not in caplog.text


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("org/name", HubRequest("org/name")),
        (" https://huggingface.co/org/na.me-1 ", HubRequest("org/na.me-1")),
        ("https://huggingface.co/org/name/blob/main/a/b.safetensors", HubRequest("org/name", "a/b.safetensors")),
        ("https://huggingface.co/org/name/tree/main", HubRequest("org/name")),
        ("org/name/file.safetensors", HubRequest("org/name", "file.safetensors")),
    ],
)
def test_names(text: str, wish: HubRequest) -> None:
    assert parse_hub_request(text) == wish


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "../etc/passwd",
        "org/name/../../x.safetensors",
        "org/name/model.ckpt",
        "a b/c",
        "org/na--me",
        "/etc/passwd",
        "org/",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_hub_request(text)


def _files(*names: str) -> list[RemoteFile]:
    return [RemoteFile(name, 1) for name in names]


def test_a_gguf_file_comes_when_it_is_asked_for_and_not_with_a_model() -> None:
    files = _files("model_index.json", "unet/a.safetensors", "x-Q8_0.gguf", "transformer/y.gguf")
    wish = parse_hub_request("org/name/x-Q8_0.gguf")
    assert [file.name for file in choose_files(wish, files)] == ["x-Q8_0.gguf"]
    whole = choose_files(HubRequest("org/name"), files)
    assert {file.name for file in whole} == {"model_index.json", "unet/a.safetensors"}


def test_one_set_of_weights_is_chosen() -> None:
    index, wish = "model_index.json", HubRequest("org/name")
    both = _files(index, "unet/a.safetensors", "unet/a.fp16.safetensors", "vae/b.safetensors", "vae/b.fp16.safetensors")
    assert {file.name for file in choose_files(wish, both)} == {
        index,
        "unet/a.fp16.safetensors",
        "vae/b.fp16.safetensors",
    }
    partly = both[:-1]
    assert {file.name for file in choose_files(wish, partly)} == {index, "unet/a.safetensors", "vae/b.safetensors"}
    parts = _files(
        index,
        "t/m-00001-of-00002.safetensors",
        "t/m-00002-of-00002.safetensors",
        "t/m.safetensors.index.json",
        "t/m.safetensors.index.fp16.json",
    )
    assert {file.name for file in choose_files(wish, parts)} == {file.name for file in parts[:-1]}


def test_what_could_leave_the_folder_or_run_is_not_chosen() -> None:
    nasty = _files(
        "model_index.json",
        "../../evil.safetensors",
        "/etc/x.json",
        "unet/a.safetensors",
        "unet/code.py",
        ".git/config.json",
        "unet/..\\x.json",
        "C:/x.json",
    )
    assert {file.name for file in choose_files(HubRequest("org/name"), nasty)} == {
        "model_index.json",
        "unet/a.safetensors",
    }
    with pytest.raises(InvalidRequest, match="no safetensors"):
        choose_files(HubRequest("org/name"), _files("model_index.json", "unet/a.bin"))
    with pytest.raises(InvalidRequest, match="not a single model") as caught:
        choose_files(HubRequest("org/name"), _files("a.safetensors", "b.safetensors"))
    assert "a.safetensors" in caught.value.hint
