"""Parts of the page that the browser gets later: a tab's content when the tab is first opened, and the settings of the
first tab once one can type into its prompt.

`gr.render` would build such a part anew for every browser, under numbers of its own. Here each is built once, with the
page: its components and events exist on the server from the start, and other programs call them by name. Only what the
browser is sent is split: the page without these contents, and each content at its time, in the form in which Gradio's
page takes what `gr.render` made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.blocks import Block, BlockContext
from gradio.context import get_render_context
from gradio.data_classes import BlocksConfigDict
from gradio.processing_utils import add_root_url
from gradio.renderable import Renderable

from studio.tabs.common.events import HIDDEN, show_errors
from studio.tabs.common.languages import Texts, use_texts
from studio.tabs.common.translated_page import translate_components, translate_outputs

_PAGE = ""  # Gradio's name for the first of several pages; there is one
_SHOW_ONCE_SCRIPT = (
    "() => {{ const shown = (window.easelShownAccordions ??= new Set()); if (shown.has({number})) return [];"
    " shown.add({number}); return [{{__type__: 'update', visible: true}}]; }}"
)
_API_KEYS = ("api_info", "api_info_as_input", "api_info_as_output", "example_inputs")  # read by callers from outside


class DeferredContent(Renderable):
    """The place for a part of the page. What is built in its container goes to the browser at the event `trigger`."""

    def __init__(self, trigger: tuple[Block, str], blocks: gr.Blocks) -> None:
        super().__init__(
            self.apply,
            inputs=[],
            triggers=[trigger],
            concurrency_limit=None,
            concurrency_id=None,
            trigger_mode="once",
            queue=False,
            show_progress="hidden",
        )
        event = list(blocks.fns.values())[-1]
        event.renderable = None  # Gradio would describe the content as this session has changed it, and cannot
        self.opening = event._id

    @show_errors
    def apply(self) -> None:
        """Answer the event: nothing is left to build, and the content is sent along."""

    def list_component_ids(self) -> set[int]:
        """The numbers of all components inside."""
        return {block._id for child in self.container.children for block in _walk(child)}


class DeferringBlocks(gr.Blocks):
    """Blocks that hold parts of the page back until they are wanted, and that answer in the language of the visitor:
    `find_texts` gives the texts for the headers of a request."""

    def __init__(self, **options: Any) -> None:
        self.find_texts: Callable[[Mapping[str, str]], Texts] = lambda headers: {}
        self._contents: list[DeferredContent] = []
        self._empty: BlocksConfigDict | None = None
        super().__init__(**options)
        self._empty = super().get_config_file()

    @contextlib.contextmanager
    def defer_content(self, tab: gr.Tab) -> Iterator[None]:
        """Components built inside, which must be within `tab`, are sent when `tab` is first selected."""
        with self._hold_content(DeferredContent((tab, "select"), self)):
            yield
            # Takes the place of the event that fetches the content, so that it is fetched once.
            tab.select(fn=None, js="() => []", **HIDDEN)

    @contextlib.contextmanager
    def defer_column(self, *elem_classes: str) -> Iterator[None]:
        """As gr.Column; the components built inside are sent once the rest of the page is shown."""
        around = get_render_context()
        with gr.Column(render=False):  # within a row Gradio would make the container a row
            content = DeferredContent((self, "load"), self)
        if around is not None:
            around.add(content.container)
        content.container.elem_classes = list(elem_classes)
        content.container.min_width = 0
        with self._hold_content(content):
            yield

    @contextlib.contextmanager
    def add_later(self) -> Iterator[None]:
        """Components built inside, out of sight, come with the first column of `defer_column`, and the events that
        start at them, write or read them too."""
        with self._list_columns()[0].container, gr.Column(elem_classes="store", min_width=0):
            yield

    def _list_columns(self) -> list[DeferredContent]:
        return [content for content in self._contents if content.triggers[0].event_name == "load"]

    @contextlib.contextmanager
    def _hold_content(self, content: DeferredContent) -> Iterator[None]:
        first = len(self.fns)
        with content.container:
            yield
        for block in list(_walk(content.container)):
            if isinstance(block, gr.Accordion) and not block.open:
                _build_accordion_late(block)
        self._contents.append(content)
        for event in list(self.fns.values())[first:]:
            event.rendered_in = content

    def assign_events(self) -> None:
        """Send the events that were added from outside along with the deferred components that they start at, write or
        read; to be called when the page is complete."""
        homes = {number: content for content in self._contents for number in content.list_component_ids()}
        openings = {content.opening for content in self._contents}
        waiting = [event for number, event in self.fns.items() if number not in openings]
        places = _EventPlaces(homes, self.fns)
        while found := [(event, home) for event in waiting if (home := places.find_home(event))]:
            for event, home in found:
                places.put(event, home)
            waiting = [event for event in waiting if event.rendered_in is None]

    def complete(self) -> None:
        """Note that all components and events are there. Gradio describes the page at each step of its making and uses
        only the last; until this is called it gets the description of an empty one, which takes no time."""
        self._empty = None

    def get_config_file(self) -> BlocksConfigDict:
        """Gradio's description of everything, in which the page itself lacks the deferred contents."""
        if self._empty is not None:
            return self._empty
        config: Any = super().get_config_file()
        called = {
            number
            for event in config["dependencies"]
            if event["api_visibility"] == "public"
            for number in (*event["inputs"], *event["outputs"])
        }
        for component in config["components"]:
            if component["id"] not in called:
                _drop_api_keys(component)
        held = {number for content in self._contents for number in content.list_component_ids()}
        page = config["page"][_PAGE]
        page["components"] = [number for number in page["components"] if number not in held]
        page["dependencies"] = [number for number in page["dependencies"] if self.fns[number].rendered_in is None]
        page["layout"] = _prune_layout(page["layout"], {content.container_id for content in self._contents})
        return config

    def list_first_types(self) -> tuple[set[str], set[str]]:
        """The types of the components that are shown at first, and of those in the columns that come by themselves."""
        config: Any = self.config
        first = set(config["page"][_PAGE]["components"])
        following = {number for content in self._list_columns() for number in content.list_component_ids()}
        shown = [each for each in config["components"] if each["props"].get("visible") is not False]
        return (
            {each["type"] for each in shown if each["id"] in first},
            {each["type"] for each in shown if each["id"] in following},
        )

    async def process_api(self, block_fn: BlockFunction | int, *args: Any, **options: Any) -> dict[str, Any]:
        """Gradio's answer to an event; with the content of a tab, as its page would have been sent it at the start."""
        with use_texts(self._find_request_texts(options.get("request"))):
            answer = await super().process_api(block_fn, *args, **options)
            number = block_fn if isinstance(block_fn, int) else block_fn._id
            content = next((content for content in self._contents if content.opening == number), None)
            if content is not None:
                described = translate_components(self.describe_content(content))
                root = options.get("root_path")
                answer["render_config"] = add_root_url(described, root, None) if root is not None else described
            return answer

    async def postprocess_data(self, block_fn: BlockFunction, *args: Any, **options: Any) -> list[Any]:
        """Gradio's answer for each output, before it is compared with the answer before, with texts looked up."""
        return translate_outputs(block_fn.outputs, await super().postprocess_data(block_fn, *args, **options))

    def _find_request_texts(self, request: Any) -> Texts:
        """The texts for what Gradio passes as the request of an event: none where other programs call without one."""
        headers = getattr(request, "headers", None)
        return self.find_texts(headers) if headers is not None else {}

    def describe_content(self, content: DeferredContent) -> dict[str, Any]:
        """`content` as Gradio's page takes it: the components as they were built, since those that the session has
        changed lack what a description needs, and of each whether one may work on it. The page finds that out from the
        events that it had at the start."""
        described: dict[str, Any] = self.default_config.get_config(content)
        inputs = {block._id for event in self.fns.values() for block in event.inputs}
        outputs = {block._id for event in self.fns.values() for block in event.outputs}
        for component in described["components"]:
            _drop_api_keys(component)
            number, props = component["id"], component["props"]
            props.setdefault("interactive", number in inputs or (number not in outputs and not props.get("value")))
        return {**described, "render_id": content._id}


class _EventPlaces:
    """Where events belong. `homes` has the deferred components, by number. Of two events one draws the other along
    where Gradio's page would lose it otherwise: it joins an event to the one that it follows only where both come at
    once, and forgets the events of a component for which it is sent others."""

    def __init__(self, homes: Mapping[int, DeferredContent], events: Mapping[int, BlockFunction]) -> None:
        self._homes, self._events = homes, events
        self._starts: dict[tuple[int | None, str], Renderable] = {}
        self._followed: dict[int, Renderable] = {}

    def put(self, event: BlockFunction, home: Renderable) -> None:
        """Note that `event` is sent with `home`."""
        event.rendered_in = home
        self._starts.update({target: home for target in event.targets if target[0] is not None and target[1] != "load"})
        if event.trigger_after is not None:
            self._followed[event.trigger_after] = home

    def find_home(self, event: BlockFunction) -> Renderable | None:
        """The content that `event` is sent with, None where it stays with the page so far."""
        if event.rendered_in is not None:
            return event.rendered_in
        if event.trigger_after is not None and (home := self._events[event.trigger_after].rendered_in) is not None:
            return home
        touched = (
            *(number for number, _ in event.targets),
            *(block._id for block in (*event.outputs, *event.inputs)),
        )
        found = next((self._homes[number] for number in touched if number in self._homes), None)
        drawn = (self._followed.get(event._id), *(self._starts.get(target) for target in event.targets))
        return found or next((home for home in drawn if home is not None), None)


def _build_accordion_late(accordion: gr.Accordion) -> None:
    """Let the page build what is in `accordion` when it is first opened, as it does by itself with those that it is
    sent at the start."""
    inside = list(accordion.children)
    with accordion:
        column = gr.Column(visible=False, min_width=0)
    for child in inside:
        child.parent = column
    column.children, accordion.children = inside, [column]
    accordion.expand(fn=None, inputs=[], outputs=[column], js=_SHOW_ONCE_SCRIPT.format(number=column._id), **HIDDEN)


def _drop_api_keys(component: dict[str, Any]) -> None:
    for key in _API_KEYS:
        component.pop(key, None)


def _prune_layout(node: Mapping[str, Any], emptied: set[int]) -> dict[str, Any]:
    """`node` with no children below those in `emptied`."""
    children: Sequence[Mapping[str, Any]] = () if node["id"] in emptied else node.get("children", ())
    return (
        {**node, "children": [_prune_layout(child, emptied) for child in children]} if "children" in node else {**node}
    )


def _walk(block: Block) -> Iterator[Block]:
    yield block
    if isinstance(block, BlockContext):
        for child in block.children:
            yield from _walk(child)
