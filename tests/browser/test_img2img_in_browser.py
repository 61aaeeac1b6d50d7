"""Img2Img in a real Chromium: real images dropped, real masks painted, and what of it reaches the backend."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path

import pytest
from fakes import draw_fake_image
from opening import BrowserWindow, Opener
from PIL import Image
from playwright.sync_api import Page, expect
from serving import RunningStudio

from studio.core.annotate import OptionSpec
from studio.core.model import Model, Sizes
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import LOCAL_USER

pytestmark = pytest.mark.browser

CAN = frozenset(Task) - {Task.PREPROCESS, Task.STYLE_TRANSFER}
PAINTER = Model(id="fake", title="Fake", family="fake", tasks=CAN, sizes=Sizes(liked=((64, 64),), smallest=8))
FIGURE = OptionSpec(name="low", label="Low", low=1, high=255, default=100, step=1, help="Below it there is no edge.")
EDGES = Model(
    id="preprocessor/edges",
    title="Edges",
    family="preprocessor",
    lane="tools",
    tasks=frozenset({Task.PREPROCESS}),
    features=frozenset(),
    options=(FIGURE, dataclasses.replace(FIGURE, name="high", label="High", default=200)),
)
WORDS = Model(
    id="preprocessor/words",
    title="Mask by words",
    family="search",
    tasks=frozenset({Task.PREPROCESS}),
    features=frozenset(),
    sizes=Sizes(liked=((160, 96),)),
)
DROP = """([selector, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "an image.png", { type: "image/png" }));
  for (const type of ["dragover", "drop"])
    document.querySelector(selector).dispatchEvent(
      new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: transfer }),
    );
}"""


def opened(opener: Opener, **options: object) -> tuple[RunningStudio, BrowserWindow, Page]:
    """The tab, with one model that does nearly everything and a preprocessor."""
    served = opener.share(PAINTER, EDGES, WORDS)
    window = opener.open_window(served, **options)
    page = window.open()
    window.tab("Img2Img")
    return served, window, page


def image(folder: Path, width: int = 160, height: int = 96) -> Path:
    path = folder / "an image.png"
    draw_fake_image(1, width, height).save(path)
    return path


def choose(page: Page, path: Path, pad: str = "#i2i-source") -> None:
    page.set_input_files(f"{pad} input[type=file]", path)
    expect(page.locator(f"{pad} .pad-full")).to_have_count(1)


def mode(page: Page, name: str) -> None:
    page.click(f".modes label:has-text('{name}')")


def operation(page: Page, name: str) -> None:
    mode(page, "Edit")
    page.fill("#i2i-operation input", name)
    page.keyboard.press("Enter")


def stroke(page: Page, editor: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A line with the mouse; places as fractions of the shown image."""
    canvas = page.locator(f"{editor} .paint-sheet canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    (x0, y0), (x1, y1) = ((box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (start, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=10)
    page.mouse.up()


def generate(window: BrowserWindow) -> None:
    """Press the button and wait for the new job's end."""
    old = window.page.locator("#i2i-result .result").get_attribute("data-job")
    window.page.click("#i2i-generate")
    window.page.wait_for_selector(f'#i2i-result .result[data-status="finished"]:not([data-job="{old}"])')


def asked(served: RunningStudio) -> GenerationRequest:
    return served.backend.seen[-1][0]


def kept(served: RunningStudio, name: str | None) -> Image.Image:
    assert name is not None
    path = next(served.studio.engine.outputs_dir.rglob(f"{name}.png"))
    with Image.open(path) as image:
        return image.copy()


def test_a_dropped_image_is_worked_on(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    data = base64.b64encode(image(tmp_path).read_bytes()).decode()
    page.wait_for_selector("#i2i-source .pad-drop")
    page.evaluate(DROP, ["#i2i-source .pad", data])
    expect(page.locator("#i2i-source .pad-facts")).to_have_text("160 × 96")
    page.fill("#i2i-prompt textarea", "a hat")
    generate(window)
    wanted = asked(served)
    assert (wanted.task, wanted.prompt, wanted.strength) == (Task.IMG2IMG, "a hat", 0.6)
    assert (wanted.width, wanted.height) == (160, 96)
    assert kept(served, wanted.source).tobytes() == draw_fake_image(1, 160, 96).tobytes()
    assert window.complaints == []


def test_a_painted_mask_says_what_changes_and_survives_a_reload(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    choose(page, image(tmp_path))
    mode(page, "Inpaint")
    stroke(page, "#i2i-mask", (0.25, 0.5), (0.75, 0.5))
    generate(window)
    mask = kept(served, asked(served).mask)
    assert (mask.mode, mask.size) == ("L", (160, 96))
    assert [mask.getpixel(at) for at in ((80, 48), (41, 48), (80, 10), (10, 48))] == [255, 255, 0, 0]
    page.reload()
    window.ready()
    window.tab("Img2Img")
    expect(page.locator(".modes label:has(:checked)")).to_have_text("Inpaint")
    page.wait_for_function(
        "(() => { const canvas = document.querySelector('#i2i-mask canvas'); return canvas && canvas.width === 160 &&"
        " canvas.getContext('2d').getImageData(80, 48, 1, 1).data[3] > 250; })()"
    )
    before = asked(served)
    generate(window)
    assert (asked(served).source, asked(served).mask) == (before.source, before.mask)
    assert window.complaints == []


def test_the_mask_is_undone_erased_inverted_loaded_and_cleared(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    choose(page, image(tmp_path))
    mode(page, "Inpaint")
    stroke(page, "#i2i-mask", (0.25, 0.25), (0.75, 0.25))
    stroke(page, "#i2i-mask", (0.25, 0.75), (0.75, 0.75))
    page.click("#i2i-mask [aria-label^=Undo]")
    page.click("#i2i-mask [aria-label^=Invert]")
    generate(window)
    mask = kept(served, asked(served).mask)
    assert [mask.getpixel((80, y)) for y in (24, 72)] == [0, 255]
    page.click("#i2i-mask [aria-label^=Eraser]")
    stroke(page, "#i2i-mask", (0.25, 0.75), (0.75, 0.75))
    generate(window)
    assert kept(served, asked(served).mask).getpixel((80, 72)) == 0
    page.keyboard.press("Control+z")
    loaded = tmp_path / "mask.png"
    half = Image.new("L", (320, 192))
    half.paste(255, (0, 0, 160, 192))
    half.save(loaded)
    page.set_input_files("#i2i-mask input[type=file]", loaded)
    page.wait_for_function(
        "document.querySelector('#i2i-mask canvas').getContext('2d').getImageData(140, 50, 1, 1).data[3] === 0"
    )
    generate(window)
    mask = kept(served, asked(served).mask)
    assert [mask.getpixel((x, 48)) for x in (20, 140)] == [255, 0]
    page.click("#i2i-mask [aria-label^=Clear]")
    page.click("#i2i-generate")
    expect(page.get_by_text("The mask is empty")).to_be_visible()
    assert window.complaints == []


def test_the_mask_is_painted_by_keys_alone(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    choose(page, image(tmp_path))
    mode(page, "Inpaint")
    page.focus("#i2i-mask .paint-view")
    page.keyboard.press("]")
    page.keyboard.press("Space")
    generate(window)
    mask = kept(served, asked(served).mask)
    assert (mask.getpixel((80, 48)), mask.getpixel((5, 5))) == (255, 0)


def test_fingers_paint_on_a_phone_and_nothing_scrolls_sideways(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    choose(page, image(tmp_path))
    for name in ("Sketch", "Outpaint", "Edit", "Inpaint"):
        mode(page, name)
        expect(page.locator(".modes label:has(:checked)")).to_have_text(name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#i2i-mask .paint-sheet canvas").bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    generate(window)
    assert kept(served, asked(served).mask).getpixel((80, 48)) == 255
    assert window.complaints == []


def test_a_sketch_is_painted_into_the_source(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    choose(page, image(tmp_path))
    mode(page, "Sketch")
    page.fill("#i2i-paint input[type=color]", "#00ff00")
    stroke(page, "#i2i-paint", (0.25, 0.5), (0.75, 0.5))
    generate(window)
    source = kept(served, asked(served).source)
    assert source.getpixel((80, 48)) == (0, 255, 0)
    assert source.getpixel((5, 5)) == draw_fake_image(1, 160, 96).getpixel((5, 5))


def test_the_canvas_to_outpaint_is_shown_as_it_will_be(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    choose(page, image(tmp_path))
    mode(page, "Outpaint")
    expect(page.locator("#i2i-plan .note")).to_contain_text("288 × 96")
    page.fill("#i2i-top input", "32")
    page.keyboard.press("Tab")
    expect(page.locator("#i2i-plan .note")).to_contain_text("288 × 128")
    generate(window)
    outpaint = asked(served).outpaint
    assert outpaint is not None
    assert (outpaint.left, outpaint.top, outpaint.right, outpaint.bottom) == (0, 32, 128, 0)


def test_only_what_the_operation_uses_is_shown(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    choose(page, image(tmp_path))
    operation(page, "Remove background")
    expect(page.locator("#i2i-prompt")).to_have_count(0)
    expect(page.locator("#i2i-steps")).to_have_count(0)
    generate(window)
    assert asked(served).task is Task.REMOVE_BACKGROUND
    operation(page, "Search & replace")
    page.fill("#i2i-search textarea, #i2i-search input", "the cat")
    page.fill("#i2i-prompt textarea", "a dog")
    generate(window)
    assert (asked(served).task, asked(served).search, asked(served).prompt) == (Task.SEARCH_REPLACE, "the cat", "a dog")
    operation(page, "Style transfer")
    expect(page.get_by_text("No installed model supports this.")).to_be_visible()
    expect(page.get_by_text("An IP-Adapter")).to_be_visible()


def test_what_cannot_be_worked_on_is_refused_with_advice(opener: Opener, tmp_path: Path) -> None:
    served, _, page = opened(opener)
    page.click("#i2i-generate")
    expect(page.get_by_text("No image selected")).to_be_visible()
    text = tmp_path / "text.png"
    text.write_text("not an image")
    page.set_input_files("#i2i-source input[type=file]", text)
    expect(page.locator(".toast")).to_contain_text("cannot be opened")
    choose(page, image(tmp_path))
    mode(page, "Inpaint")
    page.click("#i2i-generate")
    expect(page.get_by_text("The mask is empty")).to_be_visible()
    assert served.backend.seen == []


def test_a_batch_works_on_every_image(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    page.click("button:has-text('Batch: many images')")
    for name, seed in (("a", 1), ("b", 2)):
        draw_fake_image(seed, 32, 32).save(tmp_path / f"{name}.png")
    page.set_input_files("#i2i-batch input[type=file]", [tmp_path / "a.png", tmp_path / "b.png"])
    expect(page.locator("#i2i-batch .pad-facts")).to_have_text("2 images")
    generate(window)
    sources = [kept(served, request.source).tobytes() for request, _ in served.backend.seen]
    assert sources == [draw_fake_image(seed, 32, 32).tobytes() for seed in (1, 2)]


def test_a_folder_of_odd_files_gives_its_images_and_tells_the_rest(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    page.click("button:has-text('Batch: many images')")
    folder = tmp_path / "holiday"
    (folder / "deep").mkdir(parents=True)
    draw_fake_image(1, 32, 32).save(folder / "a.png")
    draw_fake_image(2, 32, 32).save(folder / "deep" / "b.webp", lossless=True)
    (folder / "notes.txt").write_text("no image")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:60])
    with page.expect_file_chooser() as chooser:
        page.click("#i2i-batch .pad-ways .pad-folder")
    chooser.value.set_files(folder)
    expect(page.locator("#i2i-batch .pad-facts")).to_have_text("2 images")
    expect(page.locator("#i2i-batch .pad-skips")).to_contain_text("2 of 4 files skipped")
    rows = page.locator("#i2i-batch .pad-skips tr")
    expect(rows.filter(has_text="holiday/notes.txt")).to_contain_text("cannot be opened")
    expect(rows.filter(has_text="holiday/broken.png")).to_have_count(1)
    generate(window)
    assert len(served.backend.seen) == 2


def test_words_find_a_mask_that_is_shown_before_anything_is_painted(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    choose(page, image(tmp_path))
    operation(page, "Search & replace")
    page.click("#i2i-find")
    expect(page.get_by_text("Nothing to search for was given")).to_be_visible()
    page.fill("#i2i-search textarea", "the ball")
    page.click("#i2i-find")
    expect(page.locator("#i2i-found")).to_contain_text("Mask created")
    search = asked(served)
    assert (search.task, search.model, search.search) == (Task.PREPROCESS, "preprocessor/words", "the ball")
    page.fill("#i2i-prompt textarea", "a cube")
    generate(window)
    painted = asked(served)
    assert (painted.task, painted.search) == (Task.SEARCH_REPLACE, "the ball")
    assert kept(served, painted.mask or "").convert("L").getbbox() is not None


def test_a_map_is_shown_and_taken_as_control_image(opener: Opener, tmp_path: Path) -> None:
    served, _, page = opened(opener)
    choose(page, image(tmp_path))
    page.click("#i2i-control > button:has-text('ControlNet')")
    page.click("button:has-text('Control unit 1')")
    page.fill("#i2i-unit-0-preprocessor input", "Edges")
    page.keyboard.press("Enter")
    page.fill("#i2i-unit-0-option-0 input[type=number]", "50")
    page.keyboard.press("Tab")
    expect(page.locator("#i2i-unit-0-option-1")).to_be_visible()
    page.click("#i2i-unit-0-preview")
    expect(page.locator("#i2i-unit-0-map img")).to_be_visible()
    unit = asked(served).control[0]
    assert (asked(served).task, unit.preprocessor, unit.options[0].value) == (Task.PREPROCESS, "edges", 50)
    assert [(option.name, option.value) for option in unit.options] == [("low", 50), ("high", 200)]
    page.click("#i2i-unit-0-use")
    expect(page.locator("#i2i-unit-0-image .pad-full")).to_have_count(1)
    expect(page.locator("#i2i-unit-0-preprocessor input")).to_have_value("None (the image is a control map)")


def test_a_result_is_sent_on_and_tells_where_it_came_from(opener: Opener) -> None:
    served = opener.share(PAINTER, EDGES, WORDS)
    window = opener.open_window(served)
    page = window.open()
    page.fill("#prompt textarea", "a red apple")
    page.keyboard.press("Control+Enter")
    window.wait_for_status("finished")
    drawn = asked(served)
    page.click("#txt2img-send-inpaint")
    expect(page.locator("#i2i-prompt textarea")).to_have_value("a red apple")
    expect(page.locator("#i2i-seed input")).to_have_value(str(served.backend.seen[0][1][0].seed))
    stroke(page, "#i2i-mask", (0.25, 0.5), (0.75, 0.5))
    page.click("#i2i-generate")
    page.wait_for_selector('#i2i-result .result[data-status="finished"]')
    assert asked(served).task is Task.INPAINT
    page.click("#i2i-result .recipe summary")
    steps = page.locator("#i2i-result .chain li")
    expect(steps).to_have_count(2)
    expect(steps.first).to_contain_text(f"Txt2img · fake · “{drawn.prompt}”")
    page.click('#i2i-result [data-act="compare"]')
    slider = page.get_by_label("Before and after")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_value("51")
    assert "51%" in (page.locator("#i2i-result .compare").get_attribute("style") or "")
    assert window.complaints == []


def test_a_result_is_dragged_back_onto_the_form(opener: Opener, tmp_path: Path) -> None:
    served, window, page = opened(opener)
    choose(page, image(tmp_path))
    generate(window)
    first = asked(served).source
    page.drag_and_drop("#i2i-result img.shown", "#i2i-source .pad")
    page.wait_for_function(f"!document.querySelector('#i2i-source img').src.includes('{first}')")
    generate(window)
    made = served.studio.engine.assets(LOCAL_USER, 1)[0]
    assert [request.task for request in made.history] == [Task.IMG2IMG]


@pytest.mark.torch
def test_the_model_that_ships_repaints_what_is_masked_and_nothing_else(opener: Opener, tmp_path: Path) -> None:
    served = opener.serve_embedded()
    window = opener.open_window(served)
    page = window.open()
    page.set_default_timeout(200_000)  # torch is imported and the model loaded on the way
    window.tab("Img2Img")
    choose(page, image(tmp_path, 512, 512))
    page.fill("#i2i-steps input[type=number]", "4")
    page.fill("#i2i-prompt textarea", "a red apple")
    expect(page.locator("#i2i-enlarge input")).to_be_checked()
    generate(window)
    expect(page.locator("#i2i-result .notes")).to_contain_text("Drawn at 128×128 px and enlarged to 512×512 px.")
    whole = served.studio.engine.assets(LOCAL_USER, 1)[0]
    mode(page, "Inpaint")
    stroke(page, "#i2i-mask", (0.3, 0.3), (0.7, 0.3))
    generate(window)
    part = served.studio.engine.assets(LOCAL_USER, 1)[0]
    assert (whole.request.task, part.request.task) == (Task.IMG2IMG, Task.INPAINT)
    assert (whole.width, whole.height, whole.request.width, whole.request.enlarge) == (512, 512, 128, True)
    assert (part.width, part.height, part.request.width, part.request.enlarge) == (512, 512, 128, True)
    before, after = draw_fake_image(1, 512, 512), Image.open(part.path).convert("RGB")
    assert after.crop((0, 256, 512, 512)).tobytes() == before.crop((0, 256, 512, 512)).tobytes()
    assert after.getpixel((256, 152)) != before.getpixel((256, 152))
    assert window.complaints == []
