"""Which Gaussians touch which tile of the image, nearest first."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

TILE = 16
"Side of a tile, in pixels."
MARGIN = 1e-3
"Boxes are this much larger (relative, and in pixels), so that rounding never cuts a pixel off."


@dataclass(frozen=True)
class Tiles:
    """Lists of Gaussians, one for each tile of each view; a Gaussian in a tile is a pair.

    Tiles count row by row, view after view. `slot` numbers the pairs by Gaussian, `starts` by tile, so that partial
    gradients can be written by tile and added up by Gaussian in an order that no thread changes.
    """

    starts: Int[Tensor, " tiles_and_one"]
    "The pairs of tile k are `starts[k]` to `starts[k + 1]`."
    splat: Int[Tensor, " pairs"]
    "view * gaussians + Gaussian of each pair, nearest first within a tile."
    slot: Int[Tensor, " pairs"]
    "Where the pair stands when pairs are counted Gaussian by Gaussian."
    offsets: Int[Tensor, " splats_and_one"]
    "The slots of splat i are `offsets[i]` to `offsets[i + 1]`."
    rows: int
    columns: int

    def members(self, tile: int) -> Int[Tensor, " members"]:
        """The splats of one tile, nearest first."""
        return self.splat[self.starts[tile] : self.starts[tile + 1]]


@torch.no_grad()
def tile_boxes(
    centre: Float[Tensor, "batch gaussians 2"],
    reach: Float[Tensor, "batch gaussians 2"],
    radius: Float[Tensor, "batch gaussians"],
    height: int,
    width: int,
    tile: int = TILE,
) -> Int[Tensor, "batch gaussians 4"]:
    """First column, first row, and the numbers of columns and rows of tiles that a footprint's box touches."""
    grid = torch.tensor([-(-width // tile), -(-height // tile)], device=centre.device)
    wide = reach * (1 + MARGIN) + MARGIN
    # Far off the picture, coordinates would overflow an integer.
    low = ((centre - wide) / tile).clamp(-1, 1e6).floor().long().clamp_min(0)
    high = ((centre + wide) / tile).clamp(-1, 1e6).floor().long().minimum(grid - 1)
    count = (high - low + 1).clamp_min(0) * (radius > 0).unsqueeze(-1)
    return torch.cat([low, torch.where((count > 0).all(dim=-1, keepdim=True), count, 0)], dim=-1)


@torch.no_grad()
def bin_tiles(
    centre: Float[Tensor, "batch gaussians 2"],
    reach: Float[Tensor, "batch gaussians 2"],
    radius: Float[Tensor, "batch gaussians"],
    depth: Float[Tensor, "batch gaussians"],
    height: int,
    width: int,
    tile: int = TILE,
) -> Tiles:
    """Sort the footprints into tiles, by depth within each; equal depths keep the order of their numbers."""
    batch, count = depth.shape
    rows, columns = -(-height // tile), -(-width // tile)
    box = tile_boxes(centre, reach, radius, height, width, tile).view(-1, 4)
    pairs = box[:, 2] * box[:, 3]
    offsets = torch.nn.functional.pad(pairs.cumsum(dim=0), (1, 0))
    splat = torch.repeat_interleave(pairs)
    nth = torch.arange(len(splat), device=splat.device) - offsets[splat]
    columns_of = box[splat, 2].clamp_min(1)
    view = splat // max(count, 1)
    where = (view * rows + box[splat, 1] + nth // columns_of) * columns + box[splat, 0] + nth % columns_of
    rank = torch.empty_like(offsets[:-1])
    order = torch.sort(depth.reshape(-1), stable=True).indices
    rank[order] = torch.arange(len(order), device=order.device)
    slot = torch.sort(where * max(len(rank), 1) + rank[splat]).indices
    found = torch.bincount(where, minlength=batch * rows * columns)
    return Tiles(torch.nn.functional.pad(found.cumsum(0), (1, 0)), splat[slot], slot, offsets, rows, columns)
