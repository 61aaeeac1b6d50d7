"""The annotators' real network classes with tiny random weights, saved where the preprocessors look for them.

Their maps mean nothing, but every class, config and file is of the kind that is downloaded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any


def make_tiny_weights(models_dir: Path) -> Path:
    """Weights for every offer of the preprocessors and of the search by words, below `models_dir`. Returns
    `models_dir`."""
    import torch

    folder = models_dir / "preprocessors"
    folder.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, save in _REPOS.items():
            save(folder / name)
        _save_annotator_files(folder)
    write_constant_dwpose(folder / "dw-ll_ucoco_384.onnx")
    return models_dir


def make_tiny_grounding_dino(folder: Path, *, finds: bool = True) -> None:
    """With `finds` everything is found everywhere, for sure; without, nothing is."""
    import torch
    import transformers as t

    words = "[PAD] [UNK] [CLS] [SEP] . , a red cup spoon".split()
    tokenizer = t.BertTokenizer(vocab={word: index for index, word in enumerate(words)})
    vision = t.SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = t.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    model = t.GroundingDinoForObjectDetection(
        t.GroundingDinoConfig(
            backbone_config=vision,
            text_config=text,
            num_queries=12,
            d_model=32,
            max_text_len=32,
            encoder_layers=1,
            encoder_ffn_dim=32,
            encoder_attention_heads=4,
            decoder_layers=2,
            decoder_ffn_dim=32,
            decoder_attention_heads=4,
        )
    )
    # A score is the product of what the decoder says of a box and what the encoder says of a word: made constant here.
    said = (model.model.decoder.layer_norm, model.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after)
    with torch.no_grad():
        for norm, value in zip(said, (1.0, 1.0 if finds else -1.0), strict=True):
            norm.weight.zero_()
            norm.bias.fill_(value)
    model.save_pretrained(folder)
    images = t.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    t.GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)


def write_constant_dwpose(path: Path) -> None:
    """A network of DWPose's inputs and outputs that sees joint k at x = 72 + k, y = 100 + k of its 288×384 image, for
    sure.

    Written byte by byte, in the protobuf encoding of ONNX, because nothing else here would need the package that does
    it.
    """
    import numpy as np

    answers = {"simcc_x": (576, 72), "simcc_y": (768, 100)}
    graph = _encode_field(2, b"dwpose") + _encode_field(11, _encode_value_info("input", (1, 3, 384, 288)))
    for name, (length, first) in answers.items():
        data = np.zeros((1, 133, length), np.float32)
        data[0, np.arange(133), 2 * (first + np.arange(133))] = 0.9
        dims = b"".join(_encode_number(1, side) for side in data.shape)
        graph += _encode_field(
            5,
            dims + _encode_number(2, 1) + _encode_field(8, f"{name}_data".encode()) + _encode_field(9, data.tobytes()),
        )
        graph += _encode_field(
            1,
            _encode_field(1, f"{name}_data".encode()) + _encode_field(2, name.encode()) + _encode_field(4, b"Identity"),
        )
        graph += _encode_field(12, _encode_value_info(name, data.shape))
    path.write_bytes(
        _encode_number(1, 8) + _encode_field(7, graph) + _encode_field(8, _encode_field(1, b"") + _encode_number(2, 13))
    )


def _encode_value_info(name: str, shape: tuple[int, ...]) -> bytes:
    """An ONNX ValueInfo: a float tensor of that shape."""
    dims = b"".join(_encode_field(1, _encode_number(1, side)) for side in shape)
    return _encode_field(1, name.encode()) + _encode_field(
        2, _encode_field(1, _encode_number(1, 1) + _encode_field(2, dims))
    )


def _encode_field(tag: int, content: bytes) -> bytes:
    return _encode_varint(tag << 3 | 2) + _encode_varint(len(content)) + content


def _encode_number(tag: int, value: int) -> bytes:
    return _encode_varint(tag << 3) + _encode_varint(value)


def _encode_varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _encode_varint(rest) if rest else bytes([low])


def _save_sam(folder: Path) -> None:
    import transformers as t
    from transformers.models.sam2 import configuration_sam2 as sam2

    hiera = sam2.Sam2HieraDetConfig(
        image_size=[128, 128],
        hidden_size=12,
        num_attention_heads=1,
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[12, 24, 48, 96],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = sam2.Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[96, 48, 24, 12],
        fpn_hidden_size=32,
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
    )
    prompt = sam2.Sam2PromptEncoderConfig(image_size=128, patch_size=16, hidden_size=32, mask_input_channels=8)
    decoder = sam2.Sam2MaskDecoderConfig(
        hidden_size=32, mlp_dim=32, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=32, iou_head_depth=2
    )
    config = sam2.Sam2Config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    t.Sam2Model(config).save_pretrained(folder)
    images = t.Sam2ImageProcessor(size={"height": 128, "width": 128}, mask_size={"height": 32, "width": 32})
    t.Sam2Processor(images, target_size=128).save_pretrained(folder)


def _save_depth_anything(folder: Path) -> None:
    import transformers as t

    backbone = t.Dinov2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2"],
        reshape_hidden_states=False,
    )
    config = t.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        patch_size=14,
        neck_hidden_sizes=[8, 8],
        reassemble_factors=[1, 0.5],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    t.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    size = {"height": 56, "width": 56}
    t.DPTImageProcessor(size=size, keep_aspect_ratio=True, ensure_multiple_of=14).save_pretrained(folder)


def _save_dpt(folder: Path) -> None:
    import transformers as t

    config = t.DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    t.DPTForDepthEstimation(config).save_pretrained(folder)
    t.DPTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


def _save_upernet(folder: Path) -> None:
    import transformers as t

    backbone = t.ConvNextConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = t.UperNetConfig(
        backbone_config=backbone,
        hidden_size=16,
        pool_scales=[1, 2],
        num_labels=150,
        auxiliary_in_channels=16,
        auxiliary_channels=16,
    )
    t.UperNetForSemanticSegmentation(config).save_pretrained(folder)
    t.SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


def _save_rt_detr(folder: Path) -> None:
    import transformers as t

    backbone = t.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = t.RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=32,
        encoder_in_channels=[8, 16, 16],
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        d_model=32,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_queries=30,
        num_labels=2,
    )
    t.RTDetrForObjectDetection(config).save_pretrained(folder)
    t.RTDetrImageProcessor(size={"height": 128, "width": 128}).save_pretrained(folder)


def _save_vitpose(folder: Path) -> None:
    import transformers as t

    backbone = t.VitPoseBackboneConfig(
        image_size=[64, 48],
        patch_size=[16, 16],
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        out_features=["stage1"],
    )
    t.VitPoseForPoseEstimation(t.VitPoseConfig(backbone_config=backbone, num_labels=17)).save_pretrained(folder)
    t.VitPoseImageProcessor(size={"height": 64, "width": 48}).save_pretrained(folder)


def _save_annotator_files(folder: Path) -> None:
    """The pickles of ControlNet's own annotators: these networks know one size only, so it is theirs."""
    import torch
    from controlnet_aux.lineart import Generator
    from controlnet_aux.lineart_anime import UnetGenerator
    from controlnet_aux.mlsd.models.mbv2_mlsd_large import MobileV2_MLSD_Large
    from controlnet_aux.pidi.model import pidinet

    norm = functools.partial(torch.nn.InstanceNorm2d, affine=False, track_running_stats=False)
    pidi = {f"module.{name}": value for name, value in pidinet().state_dict().items()}
    states: dict[str, Any] = {
        "table5_pidinet.pth": {"state_dict": pidi},
        "sk_model.pth": Generator(3, 1, 3).state_dict(),
        "sk_model2.pth": Generator(3, 1, 3).state_dict(),
        "netG.pth": UnetGenerator(3, 1, 8, 64, norm_layer=norm).half().state_dict(),
        "mlsd_large_512_fp32.pth": MobileV2_MLSD_Large().state_dict(),
    }
    for name, state in states.items():
        torch.save(state, folder / name)


_REPOS: dict[str, Callable[[Path], None]] = {
    "Depth-Anything-V2-Small-hf": _save_depth_anything,
    "dpt-large": _save_dpt,
    "upernet-convnext-tiny": _save_upernet,
    "rtdetr_r18vd_coco_o365": _save_rt_detr,
    "vitpose-base-simple": _save_vitpose,
    "grounding-dino-tiny": make_tiny_grounding_dino,
    "sam2.1-hiera-tiny": _save_sam,
}
