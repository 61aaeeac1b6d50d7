"""Convolutions with a quicker backward pass on the CPU.

The library's own backward pass of a small bfloat16 convolution takes many times as long as its forward pass. The
gradient of the input is a convolution too, and the gradient of the weights one matrix product over unfolded patches,
so both can run at the speed of the forward pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


def unfold_patches(image: torch.Tensor, stride: int) -> torch.Tensor:
    """Unfold the 3x3 neighbourhoods of a tensor [N, C, H, W] into rows, [N * H * W / stride**2, 9 * C]."""
    padded = F.pad(image.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    count, height, width, channels = padded.shape
    by_row, by_column = padded.stride(1), padded.stride(2)
    size = (count, (height - 3) // stride + 1, (width - 3) // stride + 1, 3, 3, channels)
    strides = (padded.stride(0), stride * by_row, stride * by_column, by_row, by_column, 1)
    return padded.as_strided(size, strides).reshape(-1, 9 * channels)


def share_taps(weight: torch.Tensor, axis: int) -> torch.Tensor:
    """Return what the three taps of an axis are to the two pixels below an enlarged one, [2, 2, ...]: by whether it is
    the second or the first of its pixel's copies, and by which of the two."""
    first, middle, last = weight.unbind(axis)
    return torch.stack([torch.stack([first + middle, last]), torch.stack([first, middle + last])])


def convolve_enlarged(image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Convolve a tensor [N, C, H, W], enlarged to twice its size by repeating pixels, with [O, C, 3, 3], padding 1.

    Equal pixels share a product: each corner between four pixels has four enlarged ones around it, which see these
    four pixels and no others, so it is one product of [4 * C] by [4 * C, 4 * O].
    """
    height, width = image.shape[2:]
    joined = share_taps(share_taps(weight, 2), 4).permute(2, 0, 4, 3, 1, 5)  # both places, O, both pixels, C
    kernel = joined.reshape(4 * weight.shape[0], 4 * weight.shape[1]).to(image.dtype)
    padded = F.pad(image.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    corners = [padded[:, y : y + height + 1, x : x + width + 1] for y in (0, 1) for x in (0, 1)]
    made = F.linear(torch.cat(corners, -1), kernel).unflatten(-1, (2, 2, weight.shape[0]))
    spread = made.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)
    return spread[:, 1:-1, 1:-1].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def insert_zeros(gradient: torch.Tensor, stride: int) -> torch.Tensor:
    """Put zeros between the cells of a tensor, so that a strided convolution's gradient is a plain convolution."""
    if stride == 1:
        return gradient
    count, channels, height, width = gradient.shape
    spread = gradient.new_zeros(count, channels, stride * height, stride * width)
    spread = spread.contiguous(memory_format=torch.channels_last)
    spread[:, :, ::stride, ::stride] = gradient
    return spread


class Convolution3x3(torch.autograd.Function):
    """3x3 convolution, stride 1 or 2, padding 1, without bias, for sides that the stride divides."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
        """Convolve [N, C, H, W] with [O, C, 3, 3]."""
        ctx.save_for_backward(image, weight)
        ctx.stride = stride
        return F.conv2d(image, weight, padding=1, stride=stride)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        """Return the gradients of the image and of the weights, each only when it is asked for."""
        image, weight = ctx.saved_tensors
        (gradient,) = gradients
        to_image = to_weight = None
        if ctx.needs_input_grad[0]:
            turned = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
            to_image = F.conv2d(insert_zeros(gradient, ctx.stride), turned, padding=1)
        if ctx.needs_input_grad[1]:
            rows = gradient.permute(0, 2, 3, 1).reshape(-1, weight.shape[0])
            product = rows.T @ unfold_patches(image, ctx.stride)
            to_weight = product.view(weight.shape[0], 3, 3, weight.shape[1]).permute(0, 3, 1, 2)
        return to_image, to_weight, None


class Quick3x3(torch.nn.Conv2d):
    """A 3x3 layer, padding 1, computed in bfloat16."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """Convolve [N, C, H, W]."""
        weight = self.weight.to(torch.bfloat16, memory_format=torch.channels_last)
        result: Any = Convolution3x3.apply(input.to(torch.bfloat16), weight, self.stride[0])
        return result if self.bias is None else result + self.bias.to(torch.bfloat16)[None, :, None, None]


class Quick1x1(torch.nn.Conv2d):
    """A 1x1 layer as a matrix product."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """Convolve [N, C, H, W]."""
        return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class QuickEnlargement(torch.nn.Conv2d):
    """A 3x3 layer, padding 1, of an image that is enlarged to twice its size first, computed in bfloat16."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """Enlarge and convolve [N, C, H, W]."""
        result = convolve_enlarged(input.to(torch.bfloat16), self.weight)
        return result if self.bias is None else result + self.bias.to(torch.bfloat16)[None, :, None, None]


def replace_convolutions(module: torch.nn.Module) -> None:
    """Turn every 3x3 and 1x1 convolution into its quick kind; the weights and their names stay."""
    for layer in module.modules():
        if not isinstance(layer, torch.nn.Conv2d):
            continue
        if layer.kernel_size == (3, 3) and layer.padding == (1, 1):
            layer.__class__ = Quick3x3
        elif layer.kernel_size == (1, 1):
            layer.__class__ = Quick1x1


def join_upsampling(layers: torch.nn.Sequential) -> None:
    """Let each enlargement to twice the size and the 3x3 convolution after it be one step; weights and names stay."""
    for number in range(len(layers) - 1):
        enlargement, layer = layers[number], layers[number + 1]
        if isinstance(enlargement, torch.nn.Upsample) and isinstance(layer, torch.nn.Conv2d):
            layers[number] = torch.nn.Identity()
            layer.__class__ = QuickEnlargement
