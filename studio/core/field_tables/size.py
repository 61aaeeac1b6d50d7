"""The size of the image."""

from __future__ import annotations

from studio.core.feature import Feature
from studio.core.field_spec import FieldSpec, GridAxis, Group, InfotextKey, Widget
from studio.core.field_tables.limits import SIDE

SIZE_FIELDS: tuple[FieldSpec, ...] = (
    FieldSpec(
        name="width",
        kind=int,
        label="Width",
        help="In px.",
        group=Group.SIZE,
        widget=Widget.NUMBER,
        limits=SIDE,
        infotext=InfotextKey("Size"),
        grid=GridAxis("Width", "512, 768"),
        a1111="width",
    ),
    FieldSpec(
        name="height",
        kind=int,
        label="Height",
        help="In px.",
        group=Group.SIZE,
        widget=Widget.NUMBER,
        limits=SIDE,
        infotext=InfotextKey("Size"),
        grid=GridAxis("Height", "512, 768"),
        a1111="height",
    ),
    FieldSpec(
        name="aspect",
        kind=str,
        label="Aspect ratio",
        help='Such as "16:9"; stands in for width and height.',
        group=Group.SIZE,
        replaces=("width", "height"),
        grid=GridAxis("Aspect", "1:1, 3:2, 16:9"),
        api="aspect_ratio",
    ),
    FieldSpec(
        name="enlarge",
        kind=bool,
        label="Enlarge 4×",
        help="Sharpens and enlarges the image with the network made for this model.",
        group=Group.ENLARGE,
        widget=Widget.CHECKBOX,
        unset=False,
        from_model=True,
        feature=Feature.ENLARGE,
        infotext=InfotextKey("Enlarge"),
        api_help="Sharpen the image and enlarge it 4×, for models that bring a network for it.",
    ),
    FieldSpec(
        name="enlarged_size",
        kind=str,
        label="Enlarged size",
        help="Of the image after Enlarge 4×, such as 1024x768; empty for four times as large.",
        group=Group.DETAILS,
        widget=Widget.TEXT,
        unset="",
        max_length=20,
        placeholder="1024x768",
        feature=Feature.ENLARGE,
        infotext=InfotextKey("Enlarged size"),
        depends_on="enlarge",
        api_help='Size in px after enlarging, such as "1024x768", instead of four times the size, in the shape of '
        "width and height; an image from text that is drawn square is set on its ground in any other.",
    ),
    FieldSpec(
        name="compose",
        kind=bool,
        label="Compose several things",
        help="Makes each thing of the prompt by itself and puts them together in one image.",
        group=Group.ENLARGE,
        widget=Widget.CHECKBOX,
        unset=False,
        from_model=True,
        feature=Feature.COMPOSE,
        infotext=InfotextKey("Compose"),
        api_help='Make each thing of a prompt such as "a cat and two red apples" by itself and put them together, for '
        "models that know single things.",
    ),
    FieldSpec(
        name="scenery",
        kind=bool,
        label="Scenery",
        help="Shows the place that the prompt names behind composed things, and sizes them by their kind.",
        group=Group.ENLARGE,
        widget=Widget.CHECKBOX,
        unset=False,
        from_model=True,
        feature=Feature.COMPOSE,
        infotext=InfotextKey("Scenery"),
        depends_on="compose",
        api_help="Put composed things into the place that the prompt names, such as a meadow below a sky, with "
        "shadows, each as large as its kind is; without it they stand on a ground of one colour.",
    ),
)
