"""The asset library with 100,000 images: searching, saving, changing, importing, and finding by looks and meaning.
`library_million` searches in ten times as many."""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps, PngImagePlugin

from benchmarks.report import Row
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.engine.storage.foreign_image import read_foreign_image
from studio.library.asset_index import AssetIndex
from studio.library.asset_library import AssetLibrary
from studio.library.asset_rows import NewRow, count_facets, insert_row, write_words
from studio.library.changes import Change
from studio.library.database import Database
from studio.library.likeness import MAX_DISTANCE, find_pairs, hash_image
from studio.vision.sentence_encoder import SentenceEncoder

USER = "local"
ASSETS = 100_000
PERIOD = 60  # seconds between two of them
SAVED = 300  # images
IMPORTED = 50_000  # files
ALONE = 5.0  # seconds that a saver is watched by itself
SEEDS = 2_000
QUERIES = (
    "",
    "common",
    "rare",
    "word17 word40",
    '"word17 word40"',
    "word4711*",
    "word17 -common",
    "common model:model3",
    "is:favourite",
    "common is:favourite",
    "common rating:>=3",
    "seed:77",
    "date:2024-03",
    "size:1024x1024 common -rare",
)
PROMPTS = (
    "a castle on a hill at night",
    "a red fox in fresh snow",
    "a bowl of ripe strawberries on a wooden table",
    "portrait of an old fisherman with a white beard",
    "a busy street market in Marrakesh",
    "a sailing boat in a storm",
    "a cup of coffee beside an open book",
    "an astronaut riding a horse",
    "a lighthouse on a cliff at sunset",
    "a sleeping cat on a windowsill",
    "a futuristic city with flying cars",
    "a field of sunflowers under a blue sky",
    "a steam train crossing a bridge",
    "two children building a sandcastle on the beach",
    "a dragon guarding a pile of gold",
    "a snowy mountain range at dawn",
    "a vintage car in front of a diner",
    "a ballerina on stage under a spotlight",
    "a robot repairing a bicycle in a workshop",
    "a waterfall in a tropical rainforest",
)
QUESTIONS = (
    "a fortress after dark",
    "a wild canine in winter",
    "fresh berries in a dish",
    "an elderly man of the sea",
    "people shopping in a Moroccan bazaar",
    "a ship in rough seas",
    "a hot drink and some reading",
    "a spaceman on horseback",
    "a beacon above the ocean in the evening",
    "a pet napping near the window",
    "a metropolis of tomorrow",
    "yellow flowers in the countryside",
    "a locomotive over a viaduct",
    "kids playing by the sea",
    "a mythical beast protecting treasure",
    "frosty peaks in the morning",
    "an old automobile at a roadside restaurant",
    "a dancer in a theatre",
    "a machine mending a bike",
    "a cascade in the jungle",
)
FOREIGN = (
    ("eine Burg bei Nacht", 0),
    ("un renard dans la neige", 1),
    ("un gato dormido", 9),
    ("日落时的灯塔", 8),
    ("поезд на мосту", 12),
    ("イチゴ", 2),
    ("um astronauta a cavalo", 7),
    ("ein Drache mit Gold", 14),
)
UNRELATED = (
    "quarterly tax report",
    "kubernetes cluster configuration",
    "the history of the Roman senate",
    "chocolate cake recipe",
    "a football match",
    "an office meeting",
)


def rows() -> Iterator[Row]:
    """All bars of the library but those of a million images."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        database = Database(root / "many" / "library.db")
        fill(database, ASSETS)
        library = AssetLibrary(database, root / "many")
        yield from measure_search(library, ASSETS, 30.0)
        yield from _measure_bulk(library, database)
        database.close()
        yield from _measure_saving(root / "saving")
        yield from _measure_import(root)
    yield from _measure_likeness()
    yield from _measure_meaning()


def measure_search(library: AssetLibrary, count: int, bar: float) -> Iterator[Row]:
    """Queries and pages in a library of `count` assets made by `fill`; `bar` in ms for a query."""
    first, again = _measure_queries(library)
    yield Row(f"search at {count:,} assets, p95", first, bar, "ms", f"{len(QUERIES)} queries, number of hits too")
    yield Row("the same, asked again, p95", again, bar, "ms", "the numbers are remembered")
    yield Row(f"page of 50 at {count:,} assets, p95", _measure_pages(library), 10, "ms", "forty pages in a row")
    far, near = _compare_pages(library)
    yield Row(f"page 2,000 against page 2 at {count:,}", far / near, 3, "×", f"{near:.1f} and {far:.1f} ms")


def fill(database: Database, count: int) -> None:
    """`count` assets with prompts of 10 to 40 words out of 50,000, nine of ten with a common one."""
    dice = random.Random(1)
    request = json.dumps({"model": "sdxl", "prompt": "x" * 200, "steps": 20, "seed": 3})
    for begin in range(0, count, 1_000):
        with database.transaction() as connection:
            for number in range(begin, begin + 1_000):
                words = [f"word{dice.randrange(50_000)}" for _ in range(dice.randint(10, 38))]
                words += ["word17"] * (dice.random() < 0.01) + ["word40"] * (dice.random() < 0.01)
                words += ["common"] * (dice.random() < 0.9) + ["rare"] * (number % 1_000 == 0)
                columns: dict[str, Any] = {
                    "id": f"{number:x}-0",
                    "job_id": f"{number:x}",
                    "user": USER,
                    "state": "done",
                    "path": f"{number}.png",
                    "width": 1024 if number % 3 else 512,
                    "height": 1024,
                    "seed": number,
                    "task": "txt2img",
                    "model": f"model{number % 20}",
                    "source": "Easel",
                    "favourite": int(number % 100 == 0),
                    "rating": number % 6 if number % 7 == 0 else 0,
                }
                row = NewRow(columns=columns, created=1.7e9 + PERIOD * number, prompt=" ".join(words), request=request)
                seq = insert_row(connection, row)
                assert seq is not None
                write_words(connection, seq)
                count_facets(connection, seq, 1)


def _measure_queries(library: AssetLibrary) -> tuple[float, float]:
    """(p95 of every query asked for the first time, p95 of asking again) in ms."""
    first = [_time(lambda text=text: library.list_assets(text, USER)) for text in QUERIES]
    again = [_time(lambda text=text: library.list_assets(text, USER)) for text in QUERIES for _ in range(5)]
    return _get_percentile(first), _get_percentile(again)


def _measure_pages(library: AssetLibrary) -> float:
    taken: list[float] = []
    for text in ("", "common"):
        cursor: str | None = None
        for _ in range(20):
            begin = time.perf_counter()
            page = library.list_assets(text, USER, cursor=cursor)
            taken.append(1000 * (time.perf_counter() - begin))
            cursor = page.next
    return _get_percentile(taken[1:])


def _compare_pages(library: AssetLibrary) -> tuple[float, float]:
    """Median ms of page 2,000 (or the last) and of page 2."""
    pages = [library.list_assets("", USER, limit=50)]
    for _ in range(min(199, pages[0].total // 500 - 1)):
        pages.append(library.list_assets("", USER, limit=500, cursor=pages[-1].next))
    far, near = (
        statistics.median(_time(lambda at=at: library.list_assets("", USER, cursor=at)) for _ in range(9))
        for at in (pages[-1].next, pages[0].next)
    )
    return far, near


def _measure_bulk(library: AssetLibrary, database: Database) -> Iterator[Row]:
    """The longest time that a saver's transaction takes while all assets are changed."""
    with _watch_saver(database) as alone:
        time.sleep(ALONE)
    for what, change in (("favourites", Change(favourite=True)), ("tags", Change(add_tags=("bulk",)))):
        begin = time.perf_counter()
        with _watch_saver(database) as waits:
            changed, _ = library.change_many(change, USER, text="")
        seconds = time.perf_counter() - begin
        note = f"{changed:,} changed in {seconds:.0f} s, {len(waits)} savings; {max(alone):.0f} ms without the change"
        yield Row(f"longest wait of a saver while {what} of all change", max(waits), 100, " ms", note)


@contextlib.contextmanager
def _watch_saver(database: Database) -> Iterator[list[float]]:
    """The ms that each transaction of a thread takes that writes a little every 20 ms."""
    stop, waits = threading.Event(), list[float]()

    def save() -> None:
        while not stop.is_set():
            begin = time.perf_counter()
            with database.transaction() as connection:
                connection.execute("INSERT OR REPLACE INTO timings (key, seconds) VALUES ('bench', 1)")
            waits.append(1000 * (time.perf_counter() - begin))
            stop.wait(0.02)

    saver = threading.Thread(target=save)
    saver.start()
    try:
        yield waits
    finally:
        stop.set()
        saver.join()


def _measure_saving(root: Path) -> Iterator[Row]:
    """What the index costs a saved image: the CPU of noting it before and after its file is written."""
    database = Database(root / "library.db")
    index = AssetIndex(database, root)
    dice = random.Random(2)
    taken: list[float] = []
    for number in range(SAVED):
        prompt = " ".join(f"word{dice.randrange(50_000)}" for _ in range(40))
        asset = Asset(
            id=f"{number:x}-0",
            job_id=f"{number:x}",
            user=USER,
            index=0,
            path=root / f"{number}.png",
            width=1024,
            height=1024,
            seed=number,
            created=time.time(),
            request=GenerationRequest(prompt=prompt, model="sdxl", seed=number),
            infotext=prompt,
        )
        begin = time.process_time()
        index.record_intent(asset, "0" * 64)
        index.record_done(asset.id)
        taken.append(1000 * (time.process_time() - begin))
    database.close()
    yield Row("CPU of the index for a saved image", statistics.median(taken), 3, "ms", "all of it, journal and words")


def _measure_import(root: Path) -> Iterator[Row]:
    source = root / "theirs"
    _write_files(source)
    database = Database(root / "import" / "library.db")
    library = AssetLibrary(database, root / "import", read=read_foreign_image)
    imports = library.imports
    begin = time.perf_counter()
    imports.start([(USER, source)])
    _wait_for_scan(library)
    first = time.perf_counter() - begin
    found = library.list_assets("is:imported", USER).total
    begin = time.perf_counter()
    imports.scan(imports.list_folders(USER)[0].id)
    _wait_for_scan(library)
    second = time.perf_counter() - begin
    imports.close()
    database.close()
    yield Row(f"import of {IMPORTED:,} files", first, 180, " s", f"{found:,} found, with infotext, small images")
    yield Row("the second scan", second, 5, " s", "nothing has changed")


def _write_files(folder: Path) -> None:
    picture = draw_scene(1, 64)
    for number in range(IMPORTED):
        chunks = PngImagePlugin.PngInfo()
        text = f"a castle, word{number % 5000}, <lora:stone:0.8>\nNegative prompt: blurry\nSteps: 25, Sampler: Euler a,"
        chunks.add_text("parameters", f"{text} CFG scale: 6.5, Seed: {number}, Size: 64x64, Model: foxes")
        path = folder / f"{number // 1000:02}" / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, pnginfo=chunks, compress_level=1)


def _wait_for_scan(library: AssetLibrary) -> None:
    while library.imports.list_folders(USER)[0].state in ("waiting", "scanning"):
        time.sleep(0.05)


def _measure_likeness() -> Iterator[Row]:
    images = [draw_scene(seed) for seed in range(100)]
    missed = 0
    for image in images:
        own = hash_image(image)
        copies = (_repack(image, 30), image.resize((128, 128)), ImageOps.grayscale(image))
        for copy in copies:
            other = hash_image(copy)
            missed += own is None or other is None or (own ^ other).bit_count() > MAX_DISTANCE
    yield Row("near duplicates missed, of 300", missed, 0, "", "JPEG 30, half size, grey")
    hashes = [found for seed in range(SEEDS) if (found := hash_image(draw_scene(seed, 96))) is not None]
    pairs = {frozenset(pair) for pair in find_pairs(np.array(hashes, np.uint64))}
    yield Row(f"false pairs among {SEEDS:,} seeds", len(pairs), 0, "", "drawn scenes")


def draw_scene(seed: int, side: int = 256) -> Image.Image:
    """Shapes of many sizes and colours on a gradient, different for each seed."""
    dice = random.Random(seed)
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    first, second = (np.array([dice.random() * 255 for _ in range(3)], np.float32) for _ in range(2))
    ground = np.broadcast_to(first + (second - first) * ramp[:, None, None], (side, side, 3))
    image = Image.fromarray(ground.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, size = dice.random() * side, dice.random() * side, (0.1 + 0.4 * dice.random()) * side
        colour = (dice.randrange(256), dice.randrange(256), dice.randrange(256))
        (draw.ellipse if dice.random() < 0.5 else draw.rectangle)((x, y, x + size, y + size), fill=colour)
    return image


def _repack(image: Image.Image, quality: int) -> Image.Image:
    with tempfile.TemporaryFile() as file:
        image.save(file, "JPEG", quality=quality)
        file.seek(0)
        with Image.open(file) as again:
            return again.copy()


def _measure_meaning() -> Iterator[Row]:
    encoder = SentenceEncoder()
    begin = time.process_time()
    prompts = encoder.embed(PROMPTS)
    loaded = time.process_time() - begin
    scores = encoder.embed(QUESTIONS) @ prompts.T
    first = sum(int(scores[place].argmax()) == place for place in range(len(QUESTIONS)))
    foreign = encoder.embed([text for text, _ in FOREIGN]) @ prompts.T
    right = sum(int(foreign[row].argmax()) == place for row, (_, place) in enumerate(FOREIGN))
    hidden = sum(float(scores[place, place]) < encoder.cut for place in range(len(QUESTIONS)))
    hidden += sum(float(foreign[row, place]) < encoder.cut for row, (_, place) in enumerate(FOREIGN))
    shown = int((encoder.embed(UNRELATED) @ prompts.T >= encoder.cut).sum())
    note = f"of {len(QUESTIONS)}; model loaded in {loaded:.1f} s CPU"
    yield Row("questions in other words not answered first", len(QUESTIONS) - first, 3, "", note)
    yield Row("questions in other languages not answered first", len(FOREIGN) - right, 0, "", f"of {len(FOREIGN)}")
    yield Row("right answers below the cut", hidden, 2, "", f"cosine {encoder.cut}")
    yield Row("images shown for what no image means", shown, 0, "", f"{len(UNRELATED)} questions")


def _time(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begin)


def _get_percentile(values: Sequence[float], part: float = 0.95) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]
