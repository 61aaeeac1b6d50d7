"""Fetching from the model hub: what of a repo is wanted, one file at a time, with resume, check sum and clear
errors."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlparse

from studio.core.durable_files import sync_folder
from studio.core.errors import InvalidRequest, NotConfigured, NotFound, ProviderError, StorageFailed, Unreachable
from studio.core.weights import DownloadableWeights

REQUEST_TIMEOUT = 15.0  # seconds for a listing or for one file's address
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_WANTED = (".json", ".txt", ".model", ".jinja", ".safetensors", ".gguf")
_SINGLE = (".safetensors", ".gguf")
_CHUNK = 8 << 20
_TOKEN_HINT = "Accept the terms on the model's page, create an access token, and start the studio with it in HF_TOKEN."


@dataclass(frozen=True)
class HubRequest:
    """A requested download: a repo, or with `file` one file in it."""

    repo: str
    file: str = ""

    @property
    def folder(self) -> str:
        """Its folder below models/hub/."""
        return self.repo.replace("/", "--")


@dataclass(frozen=True)
class RemoteFile:
    """`sha256` is empty for small files, of which the hub keeps none."""

    name: str
    size: int
    sha256: str = ""


@dataclass(frozen=True)
class RepoListing:
    """The wanted files of a repo at one `revision`."""

    revision: str
    files: tuple[RemoteFile, ...]
    endpoint: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def parse_hub_request(text: str) -> HubRequest:
    """ "org/name" or "org/name/path/file.safetensors", also as the address of its page.

    Raises:
        InvalidRequest: anything else.
    """
    plain = re.sub(r"^https?://[^/]+/|/(tree|blob|resolve)/[^/]+(?=/|$)|\?.*$", "", text.strip()).removesuffix("/")
    parts = plain.split("/")
    repo, file = "/".join(parts[:2]), "/".join(parts[2:])
    if not _REPO.fullmatch(repo) or ".." in plain or "--" in repo or (file and not file.endswith(_SINGLE)):
        raise InvalidRequest(
            f"{text[:100]!r} is not a valid model name.",
            hint="Write it as organisation/name, or organisation/name/file.safetensors for a single file.",
        )
    return HubRequest(repo, file)


def list_files(request: HubRequest, endpoint: str | None) -> RepoListing:
    """Ask the hub for the repo's files and choose.

    Raises:
        NotFound, NotConfigured, Unreachable, ProviderError: what the hub said, or that it said nothing.
        InvalidRequest: nothing in it that can be used.
    """
    listing = _list_all_files(request, endpoint)
    return dataclasses.replace(listing, files=tuple(choose_files(request, listing.files)))


def list_weights_files(weights: DownloadableWeights, endpoint: str | None) -> tuple[HubRequest, RepoListing]:
    """The one file that `weights` name in a repo, or of a repo without a file what transformers reads of it: its
    configs and one set of safetensors weights. Raises as `list_files`."""
    repo, _, file = weights.source.partition(":")
    request = HubRequest(repo, file)
    listing = _list_all_files(request, endpoint)
    files = [one for one in listing.files if one.name == file]
    if not file:
        top = [one for one in listing.files if "/" not in one.name and _is_safe_name(one.name)]
        files = [one for one in top if not re.search(r"\.(fp16|bf16|fp32|non_ema)[.-]", one.name)]
    if not any(file or one.name.endswith(".safetensors") for one in files):
        raise NotFound(
            f"{repo} has no {file or 'safetensors weights'} any more.", hint="Check its page on Hugging Face."
        )
    if file and weights.sha256:
        files = [dataclasses.replace(one, sha256=weights.sha256) for one in files]
    return request, dataclasses.replace(listing, files=tuple(files))


def _list_all_files(request: HubRequest, endpoint: str | None) -> RepoListing:
    from huggingface_hub import HfApi

    with translate_hub_errors(request):
        info = HfApi(endpoint=endpoint, token=_get_token()).model_info(
            request.repo, files_metadata=True, timeout=REQUEST_TIMEOUT
        )
    files = [RemoteFile(one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs else "") for one in info.siblings or []]
    return RepoListing(info.sha or "main", tuple(files), endpoint)


def choose_files(request: HubRequest, files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Of a diffusers repo the configs and one set of safetensors weights, half precision where all of it is there; of
    any other its only .safetensors file.

    Raises:
        InvalidRequest: nothing that can be used; the hint says what could be asked for.
    """
    safe = [file for file in files if _is_safe_name(file.name)]
    if request.file:
        chosen = [file for file in safe if file.name == request.file]
        if not chosen:
            raise InvalidRequest(f"{request.repo} has no file {request.file!r}.", hint=_hint_other_files(safe))
        return chosen
    if any(file.name == "model_index.json" for file in safe):
        return _choose_diffusers_files(request, safe)
    weights = [file for file in safe if file.name.endswith(".safetensors")]
    if len(weights) != 1:
        raise InvalidRequest(f"{request.repo} is not a single model in diffusers format.", hint=_hint_other_files(safe))
    return weights


def fetch_file(
    request: HubRequest, listing: RepoListing, file: RemoteFile, target: Path, on_bytes: Callable[[int], None]
) -> None:
    """Bring `file` to `target`, going on where an earlier try stopped. `on_bytes` hears of every piece in bytes and may
    raise.

    Raises:
        NotFound, NotConfigured, Unreachable, ProviderError, StorageFailed: as they come.
        what `on_bytes` raises; what has come so far is kept for the next try.
    """
    part = target.with_name(f"{target.name}.part")
    with translate_hub_errors(request):
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as out:
            have = out.tell()
            if have > file.size:
                out.truncate(0)
                have = 0
            on_bytes(have)
            if have < file.size or file.size == 0:
                _download_rest(request, listing, file, out, have, on_bytes)
            out.flush()
            os.fsync(out.fileno())
        check_sha256(file, part)

        part.replace(target)
        sync_folder(target.parent)


@contextmanager
def translate_hub_errors(request: HubRequest) -> Iterator[None]:
    """Say what the hub, the network or the disk answered in the studio's words."""
    import httpx2
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RemoteEntryNotFoundError
    from huggingface_hub.errors import RepositoryNotFoundError as NoRepo

    try:
        yield
    except GatedRepoError as error:
        raise NotConfigured(f"Access to {request.repo} requires accepting its terms.", hint=_TOKEN_HINT) from error
    except NoRepo as error:
        hint = f"Check the spelling. When it is private or gated: {_TOKEN_HINT[0].lower()}{_TOKEN_HINT[1:]}"
        raise NotFound(f"{request.repo} was not found on Hugging Face.", hint=hint) from error
    except RemoteEntryNotFoundError as error:
        raise NotFound(
            f"A file of {request.repo} is no longer on Hugging Face.", hint="Start the download again."
        ) from error
    except OfflineModeIsEnabled as error:
        raise NotConfigured(
            "HF_HUB_OFFLINE is set, so Hugging Face is not contacted.", hint="Unset it and restart."
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise NotConfigured(f"Access to {request.repo} was denied.", hint=_TOKEN_HINT) from error
        raise ProviderError(
            f"Hugging Face returned an error ({status}).", hint="Try again in a few minutes."
        ) from error
    except (httpx2.HTTPError, TimeoutError, ConnectionError) as error:
        raise Unreachable(
            "Hugging Face cannot be reached.",
            hint=(
                "Check the network and start the download again; it resumes where it stopped. Models can also be copied"
                " into models/ by hand."
            ),
        ) from error
    except OSError as error:
        raise make_disk_error(error) from error
    except ValueError as error:  # huggingface_hub's own limits
        raise ProviderError(
            f"{request.repo} cannot be downloaded.", hint="Download it with huggingface-cli."
        ) from error


def make_disk_error(error: OSError) -> Exception:
    """Translate an error of the disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFailed(
            "The disk is full.", hint="Free some space and start the download again; it resumes where it stopped."
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return StorageFailed("The models folder is not writable.", hint="Check its permissions.")
    return Unreachable("The download was interrupted.", hint="Start it again; it resumes where it stopped.")


def _download_rest(
    request: HubRequest,
    listing: RepoListing,
    file: RemoteFile,
    out: BinaryIO,
    have: int,
    on_bytes: Callable[[int], None],
) -> None:
    """huggingface_hub's own download function resumes within one call only, so the two public halves of it are used
    here."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(request.repo, file.name, revision=listing.revision, endpoint=listing.endpoint)
    metadata = get_hf_file_metadata(url, token=_get_token(), timeout=REQUEST_TIMEOUT)
    headers = build_hf_headers(token=_get_token())
    if urlparse(metadata.location).netloc != urlparse(url).netloc:
        headers.pop("authorization", None)  # the token is the hub's alone
    http_get(
        metadata.location,
        out,
        resume_size=have,
        headers=headers,
        expected_size=file.size,
        tqdm_class=_make_progress_bar(on_bytes),
    )


def _make_progress_bar(on_bytes: Callable[[int], None]) -> Any:
    """A progress bar for huggingface_hub that shows nothing and passes every piece on."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            on_bytes(int(n or 0))

    return Bar


def check_sha256(file: RemoteFile, path: Path) -> None:
    """Raises ProviderError, and throws the file away, when it is not what `sha256` says; with none known everything
    passes."""
    if not file.sha256:
        return
    digest = hashlib.sha256()
    with path.open("rb") as data:
        while chunk := data.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != file.sha256:
        path.unlink()
        raise ProviderError(f"{file.name} was damaged in transit and deleted.", hint="Start the download again.")


def _choose_diffusers_files(request: HubRequest, files: Sequence[RemoteFile]) -> list[RemoteFile]:
    inside = [
        file
        for file in files
        if ("/" in file.name or file.name == "model_index.json") and not file.name.endswith(".gguf")
    ]
    weights = [file for file in inside if file.name.endswith(".safetensors")]
    others = [file for file in inside if not file.name.endswith(".safetensors") and ".index." not in file.name]
    folders = {str(PurePosixPath(file.name).parent) for file in weights}
    if not weights:
        raise InvalidRequest(
            f"{request.repo} has no safetensors weights.", hint="Its pickle files can run code and are not downloaded."
        )
    halves = [file for file in weights if ".fp16" in file.name]
    full = [file for file in weights if not re.search(r"\.(fp16|bf16|fp32|non_ema|ema)[.-]", file.name)]
    all_half = {str(PurePosixPath(file.name).parent) for file in halves} == folders
    chosen = halves if all_half else full
    indexes = [file for file in inside if ".safetensors.index" in file.name and (".fp16" in file.name) == all_half]
    return [*others, *indexes, *chosen]


def _is_safe_name(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts)
    return not (path.is_absolute() or hidden or "\\" in name or ":" in name) and path.suffix in _WANTED


def _hint_other_files(files: Sequence[RemoteFile]) -> str:
    names = [file.name for file in files if file.name.endswith(_SINGLE)]
    return "It has: " + ", ".join(names[:8]) + "." if names else "It has no safetensors file."


def _get_token() -> str | bool:
    """The token of the environment, or False: huggingface_hub then looks nowhere else."""
    return os.environ.get("HF_TOKEN") or False
