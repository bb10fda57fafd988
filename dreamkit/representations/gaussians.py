"""A cloud of 3D Gaussians, or of flat ones (surfels): a volume whose parts move, split and vanish."""

from dataclasses import fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dreamkit.ops.splat_projection import rotation_matrices
from dreamkit.rendering import Rendering
from dreamkit.representations.base import AbstractVolume, ParameterGroup, Rearrangement
from dreamkit.representations.density_control import DensityControl, History
from dreamkit.representations.gaussian_cloud import GaussianCloud
from dreamkit.representations.gaussian_field import Blobs, blobs, density_of, features_of
from dreamkit.representations.gaussian_init import ball_cloud, facing
from dreamkit.representations.spherical_harmonics import harmonics
from dreamkit.vectors import dot, normalize

THICKNESS = 1e-4
"Standard deviation of a surfel across its plane, as a share of the scene's radius."
LEAST_THICKNESS = 2e-3
"The same, when a cloud is asked as a volume: no grid meets a thinner sheet."
GROUPS = tuple(entry.name for entry in fields(GaussianCloud))


class Gaussians(AbstractVolume):
    """`count` Gaussians: position, `s = exp(raw)`, quaternion, `o = sigmoid(raw)`, raw channels for any material.

    They start in a ball of radius `size`, grey (card 6.6). With `degree` > 0 the channels depend on the direction d
    from which they are seen: `f(d) = f_0 + sum_lm Y_lm(d) f_lm`. With `flat` the Gaussians are disks (at the start
    facing outwards) whose normal is the third axis, turned to the camera; otherwise it is the shortest axis. `control`
    lets them split and vanish while they are trained. Sources: arXiv 2308.04079, flat ones 2403.17888; method card
    representations 6.
    Raises ValueError for settings without meaning.
    """

    positions: nn.Parameter
    scales: nn.Parameter
    rotations: nn.Parameter
    opacities: nn.Parameter
    colors: nn.Parameter

    def __init__(
        self,
        radius: float = 1.0,
        channels: int = 3,
        count: int = 4096,
        size: float = 0.5,
        opacity: float = 0.1,
        degree: int = 0,
        flat: bool = False,
        control: DensityControl | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not radius > 0 or channels < 1 or count < 2 or not 0 < size <= radius or not 0 < opacity < 1:
            raise ValueError(
                "Gaussians need radius > 0, channels >= 1, count >= 2, 0 < size <= radius and 0 < opacity < 1; "
                f"got radius={radius}, channels={channels}, count={count}, size={size}, opacity={opacity}"
            )
        if not 0 <= degree <= 3:
            raise ValueError(f"spherical harmonics are known for degrees 0 to 3; got degree={degree}")
        self.radius, self.channels, self.degree, self.flat = radius, channels, degree, flat
        self.control = control
        generator = torch.Generator().manual_seed(seed)
        cloud = ball_cloud(count, size, opacity, channels, generator, degree)
        # Disks that all lie alike would be lines for the views from the side.
        self.replace_cloud(replace(cloud, rotations=facing(normalize(cloud.positions))) if flat else cloud)

    @classmethod
    def holding(cls, cloud: GaussianCloud, radius: float = 1.0, control: DensityControl | None = None) -> "Gaussians":
        """A shape that holds the cloud as it is: surfels where it has two scales."""
        channels, flat = cloud.colors.shape[2], cloud.scales.shape[1] == 2
        shape = cls(radius, channels, 2, radius, degree=cloud.degree, flat=flat, control=control)
        shape.replace_cloud(cloud)
        return shape

    def replace_cloud(self, cloud: GaussianCloud) -> None:
        """Take these Gaussians instead; parameters stay the objects that an optimiser knows."""
        scales = cloud.scales[:, :2] if self.flat else cloud.scales
        for name, value in {**vars(cloud), "scales": scales}.items():
            if hasattr(self, name):
                _take(getattr(self, name), value.detach().clone())
            else:
                self.register_parameter(name, nn.Parameter(value.detach().clone()))
        for name, value in vars(History.empty(len(cloud), cloud.positions.device)).items():
            self.register_buffer(f"history_{name}", value)

    @property
    def cloud(self) -> GaussianCloud:
        """The raw parameters."""
        return GaussianCloud(**{name: getattr(self, name) for name in GROUPS})

    @property
    def history(self) -> History:
        """What density control has seen since it last acted."""
        return History(**{entry.name: getattr(self, f"history_{entry.name}") for entry in fields(History)})

    @property
    def deviations(self) -> Float[Tensor, "gaussians 3"]:
        """Standard deviations along the local axes, in scene units."""
        deviations = self.scales.exp()
        thin = deviations.new_full((len(deviations), 1), THICKNESS * self.radius)
        return torch.cat([deviations, thin], dim=-1) if self.flat else deviations

    @property
    def alphas(self) -> Float[Tensor, " gaussians"]:
        """Peak opacities."""
        return torch.sigmoid(self.opacities)

    def seen_from(self, directions: Float[Tensor, "views gaussians 3"]) -> Float[Tensor, "views gaussians channels"]:
        """Raw channels towards cameras; `directions` are unit vectors from the camera to each Gaussian."""
        base = self.colors[:, 0].expand(len(directions), -1, -1)
        if self.degree == 0:
            return base
        basis = harmonics(directions.reshape(-1, 3), self.degree)[:, 1:].view(*directions.shape[:2], -1)
        return base + torch.einsum("vnk,nkc->vnc", basis, self.colors[:, 1:])

    def normals_to(self, directions: Float[Tensor, "views gaussians 3"]) -> Float[Tensor, "views gaussians 3"]:
        """Unit normals that face the cameras; `directions` point from the camera to each Gaussian."""
        shortest = self.deviations.argmin(dim=-1)
        matrices = rotation_matrices(self.rotations)
        axis = matrices[torch.arange(len(shortest), device=shortest.device), :, shortest]
        return torch.where(dot(axis.expand_as(directions), directions) > 0, -axis, axis)

    def density(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, " points"]:
        """`sigma(x) = sum_i -ln(1 - o_i) / (s_i sqrt(2 pi)) exp(-d_i(x)^2 / 2)`, s_i the mean size (card 1.9)."""
        return density_of(self._blobs(), points)

    def features(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points channels"]:
        """Mean of the Gaussians' constant channels, weighted by their densities at the points."""
        return features_of(self._blobs(), points, self.colors[:, 0])

    def _blobs(self) -> Blobs:
        thick = self.deviations.clamp_min(LEAST_THICKNESS * self.radius)
        return blobs(self.positions, thick, rotation_matrices(self.rotations), self.alphas)

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """ "positions", "scales", "rotations", "opacities", "colors"."""
        return tuple(ParameterGroup(name, (getattr(self, name),)) for name in GROUPS)

    def adapt(
        self, rendering: Rendering, step: int, progress: float, generator: torch.Generator
    ) -> tuple[Rearrangement, ...]:
        """See `AbstractShape.adapt`: what `control` says, where there is one."""
        if self.control is None or rendering.splats is None:
            return ()
        history = self.history.after(rendering.splats)
        for name, value in vars(history).items():
            setattr(self, f"history_{name}", value)
        source = self.control.grown(self.cloud, history, self.radius, step, progress, generator)
        changes: tuple[Rearrangement, ...] = ()
        if source is not None:
            self.replace_cloud(source.cloud)
            changes = (Rearrangement(tuple(getattr(self, name) for name in GROUPS), source.rows),)
        if self.control.resets(step, progress):
            self.opacities.data = self.opacities.data.clamp(max=self.control.reset_logit)
            forgotten = torch.full((len(self.opacities),), -1, device=self.opacities.device)
            changes = (*changes, Rearrangement((self.opacities,), forgotten))
        return changes

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # The number of Gaussians changes while they are trained: take the stored one before the values are copied.
        stored = state_dict.get(prefix + "positions")
        if stored is not None and stored.ndim == 2:
            for value in (*self.parameters(recurse=False), *self.buffers(recurse=False)):
                _take(value, value.data.new_zeros(len(stored), *value.shape[1:]))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _take(parameter: Tensor, value: Tensor) -> None:
    """Let a parameter hold a value of another size."""
    parameter.grad = None
    # With another type in between, it forgets the node that adds up its gradient: while anyone holds an old graph, that
    # node would go on to insist on the old size.
    parameter.data = value.new_empty(0, dtype=torch.float16)
    parameter.data = value
