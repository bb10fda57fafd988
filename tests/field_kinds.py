"""One small field of each kind, for what every kind must do."""

import torch

from dreamkit.ops.hash_levels import HashLevels
from dreamkit.representations.base import AbstractField
from dreamkit.representations.density import DensityMap
from dreamkit.representations.hash_field import HashField
from dreamkit.representations.mlp_field import MlpField
from dreamkit.representations.sdf_field import SdfField
from dreamkit.representations.tensor_field import CpField, VmField
from dreamkit.representations.triplane_field import TriplaneField
from dreamkit.representations.voxel_field import VoxelField

KINDS = {
    "hash": (HashField, {"levels": HashLevels(levels=6, log2_table_size=13, base=8, growth=1.5), "latent": True}),
    "mlp": (MlpField, {"frequencies": 5, "width": 48, "depth": 4}),
    "voxel": (VoxelField, {"resolutions": (32,)}),
    "voxels": (VoxelField, {"resolutions": (8, 16, 32)}),
    "vm": (VmField, {"resolution": 48, "density_rank": 6, "feature_rank": 8}),
    "cp": (CpField, {"resolution": 48, "density_rank": 24, "feature_rank": 32}),
    "triplane": (TriplaneField, {"resolutions": (16, 48), "features": 8}),
    "product": (TriplaneField, {"resolutions": (16, 48), "features": 8, "combine": "product"}),
    "sdf": (SdfField, {"levels": HashLevels(levels=6, log2_table_size=13, base=8, growth=1.5)}),
}


def small_field(kind: str, flat: bool = False, **options) -> AbstractField:
    """A field of the kind; `flat`: log-density 0 everywhere (a large sphere for the SDF), as converters start."""
    cls, settings = KINDS[kind]
    start = {}
    if flat:
        start = {"sphere": 0.9} if kind == "sdf" else {"density_map": DensityMap("trunc_exp", "none")}
    return cls(**{"hidden": 32, **start, **settings, **options}) if cls is not VoxelField else cls(
        **{**start, **settings, **options}
    )  # fmt: skip


def far_from_fresh(field: AbstractField, spread: float = 0.2) -> AbstractField:
    """The field in float64, each parameter moved by `spread` N(0, 1): nothing about it is special."""
    field = field.double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in field.named_parameters():
            if name != "sharpness":
                parameter.add_(spread * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return field
