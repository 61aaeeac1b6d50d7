"""The library finds what was asked for, in every script, and says where a query cannot be read."""

from __future__ import annotations

import itertools
import random
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from library_rows import add_asset

from studio.core.errors import InvalidRequest, NotFound, TooSlow
from studio.library.asset_library import AssetLibrary
from studio.library.changes import Change
from studio.library.database import Database
from studio.library.query import MAX_QUERY_LENGTH, Field, Order, parse_query

ORDERS = list(Order)


@pytest.fixture
def database(tmp_path: Path):
    opened = Database(tmp_path / "library.db")
    yield opened
    opened.close()


@pytest.fixture
def library(database: Database, tmp_path: Path) -> AssetLibrary:
    return AssetLibrary(database, tmp_path)


def find(library: AssetLibrary, text: str, user: str = "local", **how) -> list[str]:
    return [asset.id for asset in library.list_assets(text, user, **how).assets]


def test_words_are_found_wherever_they_stand(database, library):
    castle = add_asset(database, "a Castle on a hill", negative="blurry", path="2026/castle-keep.png")
    fort = add_asset(database, "a fort at night")
    assert find(library, "castle") == find(library, "CASTLE hill") == [castle]
    assert find(library, '"on a hill"') == find(library, "cas*") == find(library, "keep") == [castle]
    assert find(library, "blurry") == [castle]
    assert find(library, "a -night") == [castle]
    assert find(library, "-blurry") == [fort, castle], "what a negative prompt keeps out is no reason to hide the image"
    assert find(library, '"hill on"') == find(library, "castle night") == []


def test_titles_notes_and_tags_are_found_as_soon_as_they_are_written(database, library):
    one = add_asset(database, "x")
    library.change(one, Change(title="Harbour", note="for Käthe\nsecond line", tags=("Book Two", "cat")), "local")
    for text in ("harbour", "kathe", '"second line"', "book", 'tag:"book two"', "tag:CAT", 'tag:cat tag:"book two"'):
        assert find(library, text) == [one], text
    library.change(one, Change(tags=("cat",), title=""), "local")
    assert find(library, "book") == find(library, "harbour") == []


@pytest.mark.parametrize(
    ("prompt", "text", "fits"),
    [
        ("日本の庭園", "日本", True),
        ("日本の庭園", "庭園", True),
        ("日本の庭園", "園", True),
        ("日本の庭園", "本", True),
        ("日本の庭園", "日園", False),
        ("东京塔的夜景", "夜景", True),
        ("ปราสาทบนเนินเขา", "เนินเขา", True),
        ("ปราสาทบนเนินเขา", "ทะเล", False),
        ("고양이가 잔다", "고양이", True),
        ("SDXLの猫", "sdxl", True),
        ("SDXLの猫", "猫", True),
        ("Käse", "kase", True),
        ("Ка́мень на горе", "камень", True),
        ("cafe\u0301", "caf\u00e9", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("a 🦊 in snow", "🦊", True),
        ("a 🦊 in snow", "🐙", False),
        ("ＦＵＬＬ width", "full", True),
    ],
)
def test_every_script_is_found(database, library, prompt, text, fits):
    one = add_asset(database, prompt)
    assert find(library, text) == ([one] if fits else [])


@pytest.mark.parametrize(
    "text",
    [
        "red-apple",
        '"',
        "(",
        "NOT apple",
        "apple OR pear",
        "NEAR(a b)",
        "<lora:foo:0.8>",
        "l'été",
        "-",
        "--",
        "- -",
        "*",
        '""',
        '-""',
        "prompt:x",
        "keys:x",
        "a^b {c} :d",
        "http://example.org/a?b=c",
        "(masterpiece:1.2)",
        "; DROP TABLE assets; --",
        "%",
        "_",
        "\\",
        "🦊" * 50,
        "x " * 200,
        "é" * MAX_QUERY_LENGTH,
        "'\"'\"",
        'model:"a:b"',
        "tag:<script>",
        "\u202e",
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_no_text_breaks_the_search(database, library, text, order):
    add_asset(database, "plain")
    library.list_assets(text, "local", order=order)


@pytest.mark.parametrize("text", ["red-apple", "<lora:foo:0.8>", "l'été", "(masterpiece:1.2)", "a:b"])
def test_pasted_prompts_are_words(database, library, text):
    one = add_asset(database, f"some {text} here")
    add_asset(database, "something else")
    assert find(library, text) == [one]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("castle seed:abc", (7, 15)),
        ("seed:", (0, 5)),
        ("rating:9", (0, 8)),
        ("a is:lovely", (2, 11)),
        ("date:2026-13", (0, 12)),
        ("date:yesterday", (0, 14)),
        ("size:big", (0, 8)),
        ("modle:sdxl", (0, 10)),
        ("x*", (0, 2)),
    ],
)
def test_a_wrong_filter_is_named_with_its_place(library, text, place):
    with pytest.raises(InvalidRequest) as error:
        library.list_assets(text, "local")
    assert (error.value.details["from"], error.value.details["to"]) == place
    assert error.value.hint


@pytest.mark.parametrize("text", ["x" * (MAX_QUERY_LENGTH + 1), "a " * 201, "\x00", "\ud800"])
def test_what_no_search_box_gives_is_refused(library, text):
    with pytest.raises(InvalidRequest):
        library.list_assets(text, "local")


def test_each_filter_leaves_what_fits(database, library):
    seen = add_asset(
        database,
        "one",
        model="sdxl_base",
        loras=("Detail",),
        task="txt2img",
        source="Easel",
        seed=42,
        width=1024,
        height=768,
        created=1_764_374_400.0,  # 2025-11-29
    )
    other = add_asset(
        database,
        "two",
        model="flux",
        task="upscale",
        source="ComfyUI",
        job_id=None,
        kind="video",
        width=512,
        height=512,
        created=1_700_000_000.0,
    )
    library.change(seen, Change(favourite=True, rating=4), "local")
    for text in (
        "model:sdxl model:base",
        "lora:detail",
        "task:txt2img",
        "source:easel",
        "kind:image",
        "seed:42",
        "size:1024x768",
        "aspect:landscape",
        "date:2025-11",
        "date:2025-11-29",
        "since:2025",
        "is:favourite",
        "is:favorite",
        "rating:>=3",
        "rating:4",
        "-rating:0",
        "is:made",
        "-model:flux",
        "-is:imported",
        "-date:2023",
        "one is:favourite rating:>3",
    ):
        assert find(library, text) == [seen], text
    for text in ("until:2024", "is:imported", "rating:0", "aspect:square", "-is:favourite", "kind:video"):
        assert find(library, text) == [other], text
    assert find(library, "is:unused") == [seen, other]
    assert find(library, "model:sdxl -is:favourite") == find(library, "model:nothing") == find(library, "tag:x") == []


def test_pages_follow_one_another_in_every_order(database, library):
    made = [add_asset(database, "apple", created=1.7e9 + number // 3, rating=number % 6) for number in range(40)]
    for order in ORDERS:
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = library.list_assets("apple", "local", limit=7, cursor=cursor, order=order)
            assert page.total == 40
            seen += [asset.id for asset in page.assets]
            cursor = page.next
            if cursor is None:
                break
        assert sorted(seen) == sorted(made), order
        if order is Order.NEWEST:
            assert seen == made[::-1]
        if order is Order.OLDEST:
            assert seen == made
        if order is Order.RATING:
            assert seen[:6] == [made[n] for n in range(39, -1, -1) if n % 6 == 5]


@pytest.mark.parametrize("order", [Order.NEWEST, Order.OLDEST])
def test_a_page_of_whole_jobs_ends_between_two_jobs(database, library, order):
    counts = [3, 30, 1, 2]  # images of each job
    for job, count in enumerate(counts):
        for place in range(count):
            add_asset(
                database, "x", id=f"{job}-{place}", job_id=f"j{job}", number=place, created=1.7e9 + 99 * job + place
            )
    ids = [f"{job}-{place}" for job, count in enumerate(counts) for place in range(count)]
    if order is Order.NEWEST:
        ids, counts = ids[::-1], counts[::-1]
    for limit in range(1, 6):
        pages, cursor = [], None
        while not pages or cursor:
            page = library.list_assets("x", "local", limit=limit, cursor=cursor, order=order)
            page = library.complete_job(page, "x", "local", order=order)
            pages.append([one.id for one in page.assets])
            cursor = page.next
        assert [one for page in pages for one in page] == ids
        assert {*itertools.accumulate(map(len, pages))} <= {*itertools.accumulate(counts)}


def test_the_best_fit_comes_first_by_relevance(database, library):
    best = add_asset(database, "fox fox fox")
    add_asset(database, "a long text about other things in which a fox is named once and never again", negative="fox")
    assert find(library, "fox", order=Order.RELEVANCE)[0] == best


@pytest.mark.parametrize("cursor", ["x", "newest:", "newest:-1", "newest:1:2", "oldest:1", "newest:١", "0' OR 1"])
def test_a_forged_cursor_is_refused(database, library, cursor):
    with pytest.raises(InvalidRequest, match="cursor"):
        library.list_assets("", "local", cursor=cursor)


def test_time_makes_no_trouble(database, library):
    """Two images in one millisecond, a clock that was set back, dates of other centuries, and a VACUUM."""
    later = add_asset(database, "a", created=4_070_908_800.0)
    first, second = add_asset(database, "a", created=1.7e9), add_asset(database, "a", created=1.7e9)
    back = add_asset(database, "a", created=1.6e9)
    old, older = add_asset(database, "a", created=0.0), add_asset(database, "a", created=-5.0)
    order = [later, second, first, back, older, old]
    assert find(library, "a") == order
    with sqlite3.connect(database.path) as connection:
        connection.execute("VACUUM")
    connection.close()
    assert find(library, "a") == order
    assert find(library, "date:2099") + find(library, "date:2098") == [later]


def test_users_find_their_own_alone(database, library):
    mine, theirs = add_asset(database, "fox", user="ann"), add_asset(database, "fox", user="bob", favourite=1)
    library.change(theirs, Change(tags=("secret",)), "bob")
    for text in ("", "fox", "-cat", "is:favourite", "is:unused", "rating:0"):
        for order in ORDERS:
            assert theirs not in find(library, text, "ann", order=order)
    assert find(library, "fox", "ann") == [mine]
    assert library.count_facets("", "ann")["tag"] == []
    assert all("secret" not in option.text for option in library.complete("tag:s", 5, "ann").options)
    assert all("secret" not in option.text for option in library.complete("sec", 3, "ann").options)


def test_facets_count_what_is_shown(database, library):
    for number in range(3):
        add_asset(database, "fox" if number else "cat", model="sdxl", loras=("a", "b")[:number])
    add_asset(database, "cat", model="flux")
    assert library.count_facets("", "local")["model"] == [("sdxl", 3), ("flux", 1)]
    assert library.count_facets("", "local")["lora"] == [("a", 2), ("b", 1)]
    assert library.count_facets("cat", "local")["model"] == [("flux", 1), ("sdxl", 1)]
    assert library.count_facets("", "local")["day"][0][1] == 4


def test_completion_offers_filters_values_and_places(database, library):
    one = add_asset(database, "x", model="my model")
    library.change(one, Change(tags=("night sky",)), "local")
    begun = library.complete("castle mod", 10, "local")
    assert (begun.start, begun.end, begun.options[0].text) == (7, 10, "model:")
    value = library.complete("model:m castle", 7, "local")
    assert (value.start, value.end) == (6, 7)
    assert [(one.text, one.count) for one in value.options] == [('"my model"', 1)]
    assert [one.text for one in library.complete("nigh", 4, "local").options] == ['tag:"night sky"']
    assert "favourite" in [one.text for one in library.complete("is:f", 4, "local").options]
    everything = library.complete("castle ", 7, "local")
    assert {f"{name}:" for name in Field} == {one.text for one in everything.options}
    for text in ('model:"my mod', "-tag:ni", "-", "", '"', "seed:4"):
        for position in range(len(text) + 1):
            found = library.complete(text, position, "local")
            assert 0 <= found.start <= found.end <= len(text)


def test_a_completed_query_can_be_read_again(database, library):
    add_asset(database, "x", model="my model: 2")
    (option,) = library.complete("model:my", 8, "local").options
    assert len(find(library, f"model:{option.text}")) == 1


def test_a_long_search_is_stopped_and_the_next_one_runs(database):
    with pytest.raises(TooSlow), database.read(seconds=0.05) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9) SELECT sum(i) FROM n"
        ).fetchone()
    with database.read() as connection:
        assert connection.execute("SELECT 1").fetchone()[0] == 1


def test_a_reader_does_not_hold_up_a_writer(database):
    reading, written = threading.Event(), threading.Event()

    def read() -> None:
        with database.read() as connection:
            connection.execute("SELECT count(*) FROM assets").fetchone()
            reading.set()
            assert written.wait(20)

    thread = threading.Thread(target=read)
    thread.start()
    assert reading.wait(20)
    add_asset(database, "while somebody reads")
    written.set()
    thread.join(20)
    assert not thread.is_alive()


def test_a_change_of_many_stops_for_whoever_waits_to_write(database):
    saved, many = threading.Event(), range(1_000_000_000)

    def save():
        with database.transaction():
            saved.set()

    saver = threading.Thread(target=save)
    with database.transaction(patient=True):
        saver.start()
        taken = sum(len(some) for some in database.take_pieces(many, 5))
    saver.join(10)
    assert saved.is_set()
    assert 0 < taken < len(many)


def test_all_of_many_are_written_though_others_write_between(database):
    written, stop = list[int](), threading.Event()

    def save():
        while not stop.is_set():
            with database.transaction():
                pass

    saver = threading.Thread(target=save)
    saver.start()
    database.write_each(range(1000), lambda connection, number: written.append(number))
    stop.set()
    saver.join(10)
    assert written == [*range(1000)]


def test_readers_cannot_write(database):
    with database.read() as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM assets")


def test_saved_searches_are_filters_by_name(database, library):
    fox, cat = add_asset(database, "red fox"), add_asset(database, "red cat")
    saved = library.collections.create("Foxes", "local", "fox")
    assert (saved.count, saved.query) == (1, "fox")
    assert find(library, "collection:foxes") == find(library, f"red collection:{saved.id}") == [fox]
    plain = library.collections.create("Plain", "local")
    library.change(cat, Change(add_to=plain.id), "local")
    assert find(library, "collection:plain") == [cat]
    assert find(library, "-collection:plain") == [fox]
    assert find(library, "collection:plain red") == [cat]
    assert find(library, "collection:none") == []
    library.collections.change(saved.id, "local", query="collection:Foxes")
    with pytest.raises(InvalidRequest):
        library.list_assets("collection:foxes", "local")


def test_saved_searches_that_name_each_other_ask_for_no_more_than_one_search_may(database, library):
    fox = add_asset(database, "red fox")
    for name, query in (("A", "collection:b"), ("B", "collection:c"), ("C", "fox")):
        library.collections.create(name, "local", " ".join([query] * 150))
    with pytest.raises(InvalidRequest, match="more than 200 words together"):
        library.list_assets("collection:a " * 150, "local")
    with pytest.raises(InvalidRequest, match="more than 200 words together"):
        library.list_assets("collection:c red fox " * 25, "local")
    assert find(library, "collection:c red") == [fox]


def test_a_query_of_words_alone_is_read_as_written():
    query = parse_query('  castle -night "old town" cas*  ')
    assert [(word.text, word.negated, word.prefix) for word in query.words] == [
        ("castle", False, False),
        ("night", True, False),
        ("old town", False, False),
        ("cas", False, True),
    ]
    assert not query.filters
    assert parse_query('meaning:"a fort" x').meaning == "a fort"


def test_local_days_are_what_dates_mean(database, library, monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")  # UTC+14
    time.tzset()
    try:
        one = add_asset(database, "x", created=1_764_417_600.0)  # 2025-11-29 12:00 UTC, there already the 30th
        assert find(library, "date:2025-11-30") == [one]
        assert library.count_facets("", "local")["day"] == [("2025-11-30", 1)]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.slow
def test_no_answer_of_ten_thousand_names_what_is_anothers(database, library):
    """Random queries, orders, cursors and ids of one user over assets of two that are alike."""
    dice = random.Random(11)
    secret: list[str] = []
    for number in range(60):
        for user in ("ann", "bob"):
            asset = add_asset(
                database,
                f"{user} fox {number % 7}",
                user=user,
                created=1.7e9 + number // 2,
                model=f"{user}s-model",
                loras=(f"{user}s-lora",),
                favourite=number % 2,
                rating=number % 6,
                source=f"{user}s-program",
            )
            library.change(asset, Change(tags=(f"{user}s-tag",), note=f"{user}s-note"), user)
            if user == "bob":
                secret.append(asset)
    shelf = library.collections.create("bobs-shelf", "bob")
    library.change_many(Change(add_to=shelf.id), "bob", ids=secret[:20])
    library.change_many(Change(trash=True), "bob", ids=secret[-5:])
    parts = [
        *("fox", "bob", "-fox", "fo*", "is:favourite", "-is:favourite", "rating:>=3", "is:trashed", "is:unused", "3"),
        *("model:bob", "lora:bobs-lora", "tag:bobs-tag", "source:bobs", "-tag:anns-tag", "collection:bobs-shelf"),
        *(f"collection:{shelf.id}", "seed:0", "task:x", "date:2023", "until:2030", "size:0x0", "is:made", "rating:0"),
    ]
    forbidden = {*secret, shelf.id}
    for _ in range(10_000):
        answer = ask(library, dice, parts, secret)
        named = answer if isinstance(answer, str) else repr(answer)
        assert "bobs-" not in named
        assert not [one for one in forbidden if one in named], named[:500]


def ask(library: AssetLibrary, dice: random.Random, parts: list[str], secret: list[str]) -> object:
    """One random question of ann's; an error is an answer too."""
    text = " ".join(dice.choices(parts, k=dice.randint(0, 3)))
    kind = dice.randrange(8)
    try:
        if kind < 4:
            order = dice.choice(ORDERS)
            places = ":".join(str(dice.choice((0, 3, 5, 1_782_579_200_000_000_000))) for _ in range(dice.randint(1, 2)))
            cursor = dice.choice((None, f"{order}:{places}"))
            page = library.list_assets(text, "ann", order=order, cursor=cursor, trashed=dice.random() < 0.2, limit=5)
            return page.assets
        if kind == 4:
            return library.count_facets(text, "ann")
        if kind == 5:
            typed = dice.choice(("bobs", "tag:bo", "model:b", "lora:", "collection:b", "source:bobs"))
            return [option.label for option in library.complete(typed, len(typed), "ann").options]
        if kind == 6:
            return library.list_for_export("ann", ids=dice.choices(secret, k=3), text=dice.choice((None, text)))
        act = dice.choice((library.get_details, library.list_similar, library.get_entry))
        return act(dice.choice(secret), "ann")
    except (InvalidRequest, NotFound) as error:
        return error.message


def test_thousands_may_have_one_time_and_microseconds_count(database, library):
    """As files do that a copy gave the same second, and the images of one batch."""
    for _ in range(1_500):
        add_asset(database, "same", created=1.7e9)
    first, second = (add_asset(database, "batch", created=1.7e9 + 5 + us / 1e6) for us in (100, 200))
    late = add_asset(database, "batch", created=1.7e9 + 5 + 150 / 1e6)
    assert find(library, "batch") == [second, late, first]
    assert library.list_assets("same", "local").total == 1_500
