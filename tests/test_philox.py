"""Normal numbers as a card draws them, against published numbers."""

from __future__ import annotations

import numpy as np
import pytest

from studio.pipelines.run.philox import compute_philox, draw_normals

# Random123's known answers for philox4x32 with 10 rounds: counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
# torch.manual_seed(0); torch.randn(…, device="cuda"), as torch prints it
ON_A_CARD = [
    *(-0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284),
    *(-1.0745, -0.3631, -1.6711, 2.2655, 0.3117, -0.1842, 1.2866, 1.1820),
    *(-0.1271, 1.2169, 1.4353, 1.0605, -0.4941, -1.4244, -0.7244, -1.2973),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_words_are_the_known_answers(counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]) -> None:
    found = compute_philox([np.array([word], dtype=np.uint64) for word in counter], key)
    assert tuple(int(word[0]) for word in found) == words


def test_normals_are_those_of_torch_on_a_card() -> None:
    assert draw_normals(0, 0, len(ON_A_CARD)) == pytest.approx(ON_A_CARD, abs=6e-5)


def test_a_part_of_a_draw_is_the_same_as_in_the_whole() -> None:
    whole = draw_normals(2**64 - 1, 3, 100)
    assert np.array_equal(draw_normals(2**64 - 1, 3, 60, 40), whole[40:])


def test_seeds_and_draws_differ_to_the_last_bit_of_64() -> None:
    first = draw_normals(5, 0, 50)
    assert not np.allclose(first, draw_normals(5, 1, 50))
    assert not np.allclose(first, draw_normals(5 + 2**32, 0, 50))


def test_normals_are_normal() -> None:
    numbers = draw_normals(7, 0, 100_000)
    assert numbers.dtype == np.float32
    assert abs(float(numbers.mean())) < 0.02
    assert abs(float(numbers.std()) - 1) < 0.02
