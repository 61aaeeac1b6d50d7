"""CLIP text encoders of diffusers pipelines, read chunk by chunk as AUTOMATIC1111 reads them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.core.errors import InvalidRequest
from studio.pipelines.run.prompt_cache import PromptCache
from studio.prompting.chunks import Chunk, TokenGroup, split_chunks
from studio.prompting.emphasis import Part

if TYPE_CHECKING:
    import torch

_SDXL_LAYER = 2  # SDXL was trained on the layer before the last, without the final norm


@dataclass(frozen=True, eq=False)
class Embeds:
    """`hidden` is (1, tokens, width), `pooled` (1, width) or None."""

    hidden: torch.Tensor
    pooled: torch.Tensor | None

    def to_zeros(self) -> Embeds:
        """The same shapes, all zeros."""
        return Embeds(self.hidden * 0, self.pooled * 0 if self.pooled is not None else None)


def build_encoders(pipe: Any, clip_skip: int | None, cache: PromptCache) -> list[Encoder]:
    """The text encoders of a Stable Diffusion 1.x, 2.x or SDXL pipeline, in the order in which their widths are joined.

    What they read is kept in `cache`. `clip_skip` counts layers from the last (1). For SDXL, 1 and 2 both mean its own
    layer, the one before the last.

    Raises:
        InvalidRequest: the encoder has fewer layers.
    """
    sdxl = getattr(pipe, "text_encoder_2", None) is not None
    pairs = [(pipe.tokenizer, pipe.text_encoder)]
    if sdxl:
        pairs.append((pipe.tokenizer_2, pipe.text_encoder_2))
    layer = max(clip_skip or 1, _SDXL_LAYER) if sdxl else clip_skip or 1
    encoders: list[Encoder] = []
    for place, (tokenizer, encoder) in enumerate(pairs):
        if encoder is not None:
            keep = functools.partial(_keep_chunk, cache, (place, layer))
            encoders.append(Encoder(pipe, tokenizer, encoder, layer, keep, normed=not sdxl))
    return encoders


def _keep_chunk(cache: PromptCache, whose: tuple[int, int], ids: TokenGroup, encode: Callable[[], Embeds]) -> Embeds:
    return cache.get((*whose, ids), encode)


class Encoder:
    """One tokenizer with its text encoder. `layer` counts from the last, 1; `normed` puts the final norm on it.

    `keep` gives what was made of a chunk's ids, and calls its second argument to make it.
    """

    def __init__(
        self,
        pipe: Any,
        tokenizer: Any,
        model: Any,
        layer: int,
        keep: Callable[[TokenGroup, Callable[[], Embeds]], Embeds],
        *,
        normed: bool,
    ) -> None:
        layers = model.config.num_hidden_layers
        if layer > layers:
            raise InvalidRequest(
                f"Clip skip {layer} is more than the text encoder's {layers} layers.",
                hint=f"Choose a value from 1 to {layers}.",
            )
        self.pools = hasattr(model, "text_projection") and not normed
        self._pipe = pipe
        self._tokenizer = tokenizer
        self._model = model
        self._layer = layer
        self._normed = normed
        self._length = tokenizer.model_max_length - 2
        self._vectors = _find_multi_vector_tokens(tokenizer)
        self._keep = keep

    def chunks(self, parts: tuple[Part, ...]) -> list[Chunk]:
        """The text cut to what the encoder takes, start and end token not counted."""
        return split_chunks(parts, self._tokenize_units, length=self._length, comma=self._find_comma())[0]

    def read(self, chunk: Chunk) -> Embeds:
        """The chunk's hidden states, weighed, and the pooled state of the encoder if it has one."""
        ids = self._pad_chunk(chunk)
        plain = self._keep(ids, lambda: self._encode_ids(ids))
        if all(weight == 1 for weight in chunk.weights):
            return plain
        rest = len(ids) - 1 - len(chunk.weights)
        return Embeds(_apply_weights(plain.hidden, [1.0, *chunk.weights, *[1.0] * rest]), plain.pooled)

    def _find_comma(self) -> int | None:
        """The id of a comma at a word's end. Only that is looked up: a copy of CLIP's vocabulary takes 12 ms a text."""
        found = self._tokenizer.convert_tokens_to_ids(",</w>")
        return None if found == self._tokenizer.unk_token_id else found

    def _pad_chunk(self, chunk: Chunk) -> tuple[int, ...]:
        tokenizer = self._tokenizer
        padding = [tokenizer.pad_token_id] * (self._length - len(chunk.ids))
        return (tokenizer.bos_token_id, *chunk.ids, tokenizer.eos_token_id, *padding)

    def _encode_ids(self, ids: tuple[int, ...]) -> Embeds:
        import torch

        with torch.no_grad():
            tokens = torch.tensor([ids], device=self._pipe._execution_device)
            out = self._model(tokens, output_hidden_states=True)
            if self._normed:
                hidden = (
                    out.last_hidden_state
                    if self._layer == 1
                    else _get_final_norm(self._model)(out.hidden_states[-self._layer])
                )
            else:
                hidden = out.hidden_states[-self._layer]
            # The end token is looked for by its id: the encoder's own pooling takes the highest id for it in old
            # configurations, which is a textual inversion's when there is one.
            pooled = (
                self._model.text_projection(out.last_hidden_state[:, ids.index(self._tokenizer.eos_token_id)])
                if self.pools
                else None
            )
        return Embeds(hidden.to(self._model.dtype), pooled)

    def _tokenize_units(self, text: str) -> list[TokenGroup]:
        converted = self._pipe.maybe_convert_prompt(text, self._tokenizer) if self._vectors else text
        ids: list[int] = self._tokenizer(converted, add_special_tokens=False, truncation=False, verbose=False).input_ids
        units: list[TokenGroup] = []
        position = 0
        while position < len(ids):
            unit = self._vectors.get(ids[position], (ids[position],))
            units.append(unit)
            position += len(unit)
        return units


def _find_multi_vector_tokens(tokenizer: Any) -> dict[int, TokenGroup]:
    """The ids that stand for each textual inversion of several vectors, by the first of them (diffusers names them x,
    x_1, x_2 …)."""
    added: dict[str, int] = tokenizer.get_added_vocab()
    found: dict[int, TokenGroup] = {}
    for name, first in added.items():
        more: list[int] = []
        while (following := added.get(f"{name}_{len(more) + 1}")) is not None:
            more.append(following)
        if more:
            found[first] = (first, *more)
    return found


def _get_final_norm(model: Any) -> Any:
    """CLIPTextModel holds its norm itself since transformers 5, the model with a projection inside `text_model`."""
    return model.final_layer_norm if hasattr(model, "final_layer_norm") else model.text_model.final_layer_norm


def _apply_weights(hidden: torch.Tensor, weights: list[float]) -> torch.Tensor:
    """Each token's state times its weight, then all of them scaled so that their mean is what it was (A1111's
    "Original" emphasis)."""
    import torch

    exact = hidden.float()
    scaled = exact * torch.tensor(weights, device=hidden.device)[None, :, None]
    mean = scaled.mean()
    restored = scaled * (exact.mean() / mean) if mean != 0 else scaled
    return restored.to(hidden.dtype)
