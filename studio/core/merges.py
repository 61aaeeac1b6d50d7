"""A checkpoint made of others: what is mixed, how strongly, and in which blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from studio.core.block_weights import parse_blocks
from studio.core.errors import InvalidRequest


class MergeMethod(StrEnum):
    WEIGHTED = "weighted sum"  # A (1 - amount) + B amount
    DIFFERENCE = "add difference"  # A + (B - C) amount


class MergePrecision(StrEnum):
    SAME = "as in A"
    F16 = "float16"
    BF16 = "bfloat16"
    F32 = "float32"


_NAME = re.compile(r"\w[\w .,()+-]{0,100}")
_MOST_BYTES = 200  # of a name: with its ending and that of the unfinished file it is below the 255 of file systems


@dataclass(frozen=True, kw_only=True)
class MergeRecipe:
    """`first`, `second` and `third` are checkpoints' names, the third for add difference alone. `amount` is how much of
    the second (or of the difference) comes in, 0 to 1 (2 for a difference); `blocks` says otherwise for single
    blocks."""

    name: str
    first: str
    second: str
    third: str = ""
    method: MergeMethod = MergeMethod.WEIGHTED
    amount: float = 0.5
    blocks: str = ""
    precision: MergePrecision = MergePrecision.SAME

    def check(self) -> None:
        """Refuse what cannot be merged, before any file is read.

        Raises:
            InvalidRequest: a name that is no file's, a missing checkpoint, a number out of range, unknown blocks.
        """
        if len(self.name.encode()) > _MOST_BYTES:
            raise InvalidRequest("The name of the merged checkpoint is too long.", hint="Choose another name.")
        if not _NAME.fullmatch(self.name) or self.name != self.name.strip() or self.name.endswith("."):
            raise InvalidRequest(
                "The merged checkpoint needs a name.", hint="Use letters, digits, spaces and . , - + ( ) _."
            )
        if not self.first or not self.second:
            raise InvalidRequest("Two checkpoints are needed.", hint="Choose A and B.")
        if self.method is MergeMethod.DIFFERENCE and not self.third:
            raise InvalidRequest("A difference needs a third checkpoint.", hint="Choose C, what B was made from.")
        _check_amount(self.amount, self.method)
        for amount in self.read_blocks().values():
            _check_amount(amount, self.method)

    def read_blocks(self) -> Mapping[str, float]:
        """The amounts of the blocks that have their own.

        Raises:
            InvalidRequest: `blocks` is neither a list of 20 or 26 numbers nor entries like "IN00-IN05: 0.2".
        """
        return parse_blocks(self.blocks)


def _check_amount(amount: float, method: MergeMethod) -> None:
    largest = 2.0 if method is MergeMethod.DIFFERENCE else 1.0
    if not 0 <= amount <= largest:
        raise InvalidRequest(
            f"The amount {amount:g} is out of range.", hint=f"It goes from 0 to {largest:g} for {method}."
        )
