"""Textual inversions: embeddings that a prompt names, read by the run's own tokenizers and gone afterwards."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.ports import PipelineSpec
from studio.core.request import GenerationRequest
from studio.core.weight_reading import read_tensors
from studio.core.weights import WeightFile, WeightKind
from studio.pipelines.catalog.file_headers import read_header
from studio.pipelines.control import control_files

_ENCODERS = (("tokenizer", "text_encoder", "clip_l"), ("tokenizer_2", "text_encoder_2", "clip_g"))


def find_embeddings(
    request: GenerationRequest, known: Sequence[WeightFile], family: str
) -> tuple[GenerationRequest, list[WeightFile]]:
    """The embeddings of `known` for `family` whose name stands as a word in a prompt, upper and lower case alike, and
    the request in which each is spelled as its token."""
    used: list[WeightFile] = []
    prompts = (request.prompt, request.negative_prompt, *(area.prompt for area in request.areas))
    texts = [unicodedata.normalize("NFC", text) for text in prompts]
    for file in known:
        if file.kind is not WeightKind.EMBEDDING or file.problem or file.family not in ("", family):
            continue
        name = unicodedata.normalize("NFC", file.name.rsplit("/", 1)[-1])
        word = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])", re.IGNORECASE)
        if any(word.search(text) for text in texts):
            used.append(file)
            texts = [word.sub(make_token(file), text) for text in texts]
    if not used:
        return request, used
    areas = tuple(dataclasses.replace(area, prompt=text) for area, text in zip(request.areas, texts[2:], strict=True))
    return request.replace(prompt=texts[0], negative_prompt=texts[1], areas=areas), used


def check_embeddings(files: Sequence[WeightFile], checkpoint: WeightFile, spec: PipelineSpec) -> None:
    """Refuse what cannot fit the checkpoint's text encoders, as far as the headers tell.

    Raises:
        InvalidRequest: an embedding of another width.
    """
    for file in files:
        if file.family == spec.family:
            continue
        width = control_files.read_model_width(checkpoint, WeightKind.EMBEDDING)
        shapes = (file.header or read_header(file.path)).shapes
        if spec.add_ons.embedding_names or (width and all(shape[-1:] != (width,) for shape in shapes.values())):
            raise _make_embedding_error(file)


def make_token(file: WeightFile) -> str:
    """The embedding's name in the tokenizers: no word that CLIP knows already, as many a file's name is."""
    return f"<{hashlib.blake2s(file.name.encode(), digest_size=6).hexdigest()}>"


@contextmanager
def activate_embeddings(pipe: Any, files: Sequence[WeightFile], tell: Callable[[str], None]) -> Iterator[None]:
    """Within the block `pipe` knows the embeddings; `tell` hears what of a file was left out. The pipeline's tokenizers
    are replaced by copies, so `pipe` must be this run's own; the shared text encoders get their vocabulary back at the
    end.

    Raises:
        InvalidRequest: an embedding whose width is not that of the text encoder.
    """
    if not files:
        yield
        return
    pairs = [names for names in _ENCODERS if getattr(pipe, names[1], None) is not None]
    with ExitStack() as stack:
        for tokenizer, encoder, _ in pairs:
            setattr(pipe, tokenizer, copy.deepcopy(getattr(pipe, tokenizer)))
            stack.enter_context(_preserve_vocabulary(getattr(pipe, encoder)))
        for file in files:
            vectors = _load_vectors(file)
            unused = vectors.keys() - {"", *(key for _, _, key in pairs)}
            if unused:
                tell(f"{len(unused)} tensors of the textual inversion {file.name} were not used by this model.")
            for tokenizer, encoder, key in pairs:
                _add_embedding(
                    pipe, getattr(pipe, tokenizer), getattr(pipe, encoder), vectors.get(key, vectors.get("")), file
                )
        yield


@contextmanager
def _preserve_vocabulary(encoder: Any) -> Iterator[None]:
    table, size = encoder.get_input_embeddings(), encoder.config.vocab_size
    weight, entries = table.weight, table.num_embeddings
    try:
        yield
    finally:
        table.weight, table.num_embeddings = weight, entries  # a resize may have worked on the table itself
        encoder.set_input_embeddings(table)
        encoder.config.vocab_size = size


def _load_vectors(file: WeightFile) -> Mapping[str, Any]:
    """The file's vectors, (n, width), by the SDXL encoder that they are for, or under "" when there is only one kind.

    Raises:
        InvalidRequest: no such vectors in it.
    """
    from safetensors import SafetensorError

    try:
        tensors = read_tensors(file.path)
    except (OSError, SafetensorError) as error:
        raise _make_embedding_error(file) from error
    if "clip_l" in tensors or "clip_g" in tensors:
        return tensors
    if len(tensors) != 1:
        raise _make_embedding_error(file)
    return {"": next(iter(tensors.values()))}


def _add_embedding(pipe: Any, tokenizer: Any, encoder: Any, vectors: Any, file: WeightFile) -> None:
    if vectors is None or vectors.shape[-1] != encoder.get_input_embeddings().weight.shape[-1]:
        raise _make_embedding_error(file)
    try:
        pipe.load_textual_inversion(
            {"emb_params": vectors}, token=make_token(file), tokenizer=tokenizer, text_encoder=encoder
        )
    except ValueError as error:  # a shape that diffusers does not know
        raise _make_embedding_error(file) from error


def _make_embedding_error(file: WeightFile) -> InvalidRequest:
    return InvalidRequest(
        f"The textual inversion {file.name} does not fit this model's text encoder.",
        hint="Remove it from the prompt, or choose a model of its family.",
        details={"embedding": file.name},
    )
