"""The model card, filled in from the measured figures of .train/results.json."""

from __future__ import annotations

import json
from typing import Any

from .concepts import load_concepts
from .control import build_controlnet as build_control
from .lora import RANK, TRIGGER
from .paths import CONTROLNET, LORA, MODEL, PACKAGE, STATE
from .unet import load_averaged_unet

RESULTS, STEERING = STATE / "results.json", STATE / "steering.json"
TEMPLATE, STEERING_TEMPLATE = PACKAGE / "card.md", PACKAGE / "steering.md"
GROUPS = {
    "bent": "Known things bent into new shapes",
    "unseen": "Drawings that neither UNet nor ControlNet saw",
    "crossed": "Edges of one thing, the name of another",
    "all": "**All**",
}
STYLE_ROWS = {
    "without": "without",
    "with": "with",
    "silent": "without the words",
    "another": "another's",
    "autoencoder": "autoencoder",
}


def format_percent(share: float) -> str:
    """Write a share, 0..1, as whole per cent."""
    return f"{100 * share:.0f} %"


def format_hit_row(name: str, figures: dict[str, Any]) -> str:
    """Return one row of the table for a graded group."""
    return (
        f"| {name} | top-1 {format_percent(figures['top1'])}, top-5 {format_percent(figures['top5'])}"
        f" ({figures['count']} images) |"
    )


def build_results_table(results: dict[str, Any]) -> str:
    """Return the table of measurements in Markdown."""
    autoencoder, real = results["autoencoder"], results["real"]
    frechet = f"{results['frechet']:.2f}; 220 real to the other 220 {results['frechet real halves']:.2f}"
    trained, unseen = format_percent(results["colour obeyed"]), format_percent(results["unseen colour obeyed"])
    rows = [
        "| measurement | result |",
        "|---|---|",
        (
            f"| Autoencoder PSNR, 200 held-out drawings | {autoencoder['psnr']:.1f} dB (median"
            f" {autoencoder['median']:.1f}) |"
        ),
        format_hit_row("Seen concepts", results["seen"]),
        format_hit_row("Seen concepts, everyday ones only", results["everyday"]),
        format_hit_row("Seen concepts in the flat style", results["flat"]),
        format_hit_row("Concept and colour pairs that were trained on", results["colour"]),
        format_hit_row("Concept and colour pairs never trained on", results["unseen colour"]),
        format_hit_row("Held-out concepts", results["held out"]),
        format_hit_row("The judge on the real Fluent 3D drawings, which it learnt from", real["3d"]),
        format_hit_row("The judge on real drawings of a style it never saw (Noto)", real["noto"]),
        f"| Colour words obeyed, pairs that were trained on / never trained on | {trained} / {unseen} (chance 9 %) |",
        (
            f"| Fréchet distance, 200 generated images to 220 real Fluent 3D, judge's features | {frechet}; "
            f"real flat to real 3D {results['frechet real flat']:.2f} |"
        ),
        f"| Diversity: mean pixel distance between seeds of one prompt (0 to 1) | {results['diversity']:.3f} |",
        f"| Nearest training image, pixel distance (0 to 1), median | {results['nearest median']:.3f} |",
        (
            "| Nearest training drawing by pixels is the asked concept's own (chance 0.2 %) |"
            f" {format_percent(results['nearest is own'])} |"
        ),
        f"| Generated images that are near copies (distance below 0.05) | {format_percent(results['copies'])} |",
    ]
    return "\n".join(rows)


def format_spread(figures: dict[str, float]) -> str:
    """Write a mean with the half-width of its interval."""
    return f"{figures['mean']:.2f} ± {figures['half']:.2f}"


def build_control_table(figures: dict[str, Any]) -> str:
    """Return the table of how well edges are followed, in Markdown."""
    rows = [
        (
            "| control images | pairs | F1 without | F1 with | gain (95 %) | better in | SSIM without | SSIM with | at"
            " most |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for group, name in GROUPS.items():
        f1, ssim = figures[group]["f1"], figures[group]["ssim"]
        cells = (
            name,
            str(f1["gain"]["count"]),
            f"{f1['without']['mean']:.2f}",
            f"{f1['with']['mean']:.2f}",
            format_spread(f1["gain"]),
            format_percent(figures[group]["better"]),
            f"{ssim['without']['mean']:.2f}",
            f"{ssim['with']['mean']:.2f}",
            f"{f1['autoencoder']['mean']:.2f}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def find_section(card: str, title: str) -> str:
    """Return the section of a card with its heading, up to the next one; empty where there is none."""
    begin = card.find(f"## {title}\n")
    end = card.find("\n## ", begin)
    return card[begin : end + 1] if begin >= 0 else ""


def build_steering_section() -> str:
    """Return the card's section on ControlNet and LoRA: as it stands, unless the two were measured anew."""
    if not STEERING.exists():
        return find_section((MODEL / "MODEL_CARD.md").read_text(encoding="utf-8"), "Steering")
    figures = json.loads(STEERING.read_text(encoding="utf-8"))
    control, style = figures["control"], figures["lora"]
    network = build_control()
    return STEERING_TEMPLATE.read_text(encoding="utf-8").format(
        table=build_control_table(control),
        others=format_spread(control["all"]["f1"]["another's"]),
        with_control=format_spread(control["all"]["f1"]["with"]),
        control_folder=CONTROLNET.name,
        control_size=f"{sum(value.numel() for value in network.parameters()) / 1e6:.1f}",
        lora_file=LORA.name,
        rank=RANK,
        trigger=TRIGGER,
        count=style["gain"]["count"],
        style_better=format_percent(style["better"]),
        edges=format_spread(style["edges"]),
        unchanged="byte for byte what it drew before" if style["bare again"] else "not what it drew before",
        **{f"style_{name.replace(' ', '_')}": f"{style[key]['mean']:.3f}" for name, key in STYLE_ROWS.items()},
        style_gain=f"{style['gain']['mean']:.3f} ± {style['gain']['half']:.3f}",
    )


def write_card() -> None:
    """Write models/embedded/MODEL_CARD.md from the template and the results."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    unet, progress = load_averaged_unet()
    concepts = load_concepts()
    examples = json.loads((MODEL / "examples.json").read_text(encoding="utf-8"))
    prompts = list(dict.fromkeys(example["prompt"] for example in examples))
    text = TEMPLATE.read_text(encoding="utf-8").format(
        table=build_results_table(results),
        steering=build_steering_section(),
        samples=f"{progress.samples:,}",
        steps=f"{progress.step:,}",
        minutes=f"{progress.seconds / 60:.0f}",
        parameters=f"{sum(value.numel() for value in unet.parameters()) / 1e6:.1f}",
        seen=sum(not concept.held_out for concept in concepts),
        held=sum(concept.held_out for concept in concepts),
        everyday=sum(concept.everyday for concept in concepts),
        examples=", ".join(f"*{prompt}*" for prompt in prompts),
    )
    (MODEL / "MODEL_CARD.md").write_text(text, encoding="utf-8")
