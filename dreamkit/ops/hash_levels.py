"""The pyramid of grids behind the hash encoding: how fine each level is and where its features lie in the table."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil


@dataclass(frozen=True)
class HashLevels:
    """Sizes of the pyramid. Level `l` has `scale_l = base * growth^l - 1` cells a side (arXiv 2201.05989; card 5.2).

    A level whose `resolution^3` vertices fit into `2^log2_table_size` entries stores each of them; a finer one hashes.
    Raises `ValueError` for sizes that the encoding has no meaning for.
    """

    levels: int = 16
    features: int = 2
    log2_table_size: int = 19
    base: int = 16
    growth: float = 1.447269237440378
    smoothstep: bool = False
    "Replace the cell fraction t by t^2 (3 - 2t): the derivative in the points becomes continuous."

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= 32:
            raise ValueError(f"HashLevels(levels={self.levels}): expected 1 to 32 levels")
        if self.features not in (1, 2, 4, 8):
            raise ValueError(f"HashLevels(features={self.features}): expected 1, 2, 4 or 8 features a level")
        if not 3 <= self.log2_table_size <= 24:
            raise ValueError(f"HashLevels(log2_table_size={self.log2_table_size}): expected 3 to 24")
        if self.base < 2 or self.growth < 1 or max(self.resolutions) > 2**20:
            raise ValueError(
                f"HashLevels(base={self.base}, growth={self.growth}): expected base >= 2, growth >= 1 and a finest "
                f"resolution of at most 2^20, got {max(self.resolutions)}; lower the growth or the number of levels"
            )

    @property
    def channels(self) -> int:
        """Width of the encoding, `levels * features`."""
        return self.levels * self.features

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """Cells along a side of the unit cube, for each level."""
        return tuple(self.base * self.growth**level - 1 for level in range(self.levels))

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Vertices along a side, `ceil(scale) + 1`."""
        # The default growth means 4096 vertices at level 15, and its rounding error must not make them 4097.
        return tuple(ceil(scale - 1e-6) + 1 for scale in self.scales)

    @cached_property
    def dense(self) -> tuple[bool, ...]:
        """Whether a level stores every vertex, so that no two share an entry."""
        return tuple(resolution**3 <= 2**self.log2_table_size for resolution in self.resolutions)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Entries of each level, rounded up to a multiple of 8."""
        vertices = (-(-(resolution**3) // 8) * 8 for resolution in self.resolutions)
        return tuple(min(count, 2**self.log2_table_size) for count in vertices)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First entry of each level in the table, and the number of entries at the end (levels + 1 numbers)."""
        return tuple(sum(self.sizes[:level]) for level in range(self.levels + 1))

    @property
    def entries(self) -> int:
        """Rows of the table."""
        return self.offsets[-1]
