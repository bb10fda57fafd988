"""What every shape is, and what every field is: density and features at points, and the normals that follow."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dreamkit.mesh import Mesh
from dreamkit.names import check_choice
from dreamkit.rendering import Rendering, SurfaceState
from dreamkit.vectors import normalize

NORMAL_MODES = ("analytic", "forward", "central")


@dataclass(frozen=True)
class FieldValues:
    """A field at a list of points."""

    density: Float[Tensor, " points"]
    "Opacity per scene unit, at least 0."
    features: Float[Tensor, "points channels"]
    "Raw channels (no activation), for the material to read."
    normal: Float[Tensor, "points 3"] | None = None
    "Unit outward normal, where it was asked for; zero where the density is flat."


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate, `training.rates.NAME`."""

    name: str
    parameters: tuple[nn.Parameter, ...]


@dataclass(frozen=True)
class Rearrangement:
    """Rows of some parameters were moved, added or dropped: what an optimiser must do to its state of them."""

    parameters: tuple[nn.Parameter, ...]
    source: Int[Tensor, " rows"]
    "For each row as it is now, its row before; -1 for a row without a past."


class AbstractShape(nn.Module, ABC):
    """What is where: the part of a scene that a converter can exchange. A scene fits the ball of `radius`.

    There is no hidden step number: `progress`, the share of the run that is done in [0, 1], is an argument wherever a
    shape changes over a run (1, the finished shape, by default).
    """

    radius: float
    "Half the edge of the cube that holds the shape, in scene units."
    channels: int
    "Number of feature channels; must equal the material's."

    @abstractmethod
    def features(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points channels"]:
        """Raw material channels at the points: what a texture is baked from."""

    @abstractmethod
    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """Every parameter exactly once, grouped by the learning rate that it wants."""

    def adapt(
        self, rendering: Rendering, step: int, progress: float, generator: torch.Generator
    ) -> tuple[Rearrangement, ...]:
        """Change the number of parts after a training step, for shapes that do; says how rows were rearranged.

        `rendering` is the step's, after its backward pass; `step` counts those that are done, the first is 1. The
        parameters stay the same objects.
        """
        return ()


class AbstractVolume(AbstractShape):
    """A shape whose opacity can be asked for anywhere: fields, and clouds of Gaussians."""

    @abstractmethod
    def density(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, " points"]:
        """Density sigma(x) per scene unit, at least 0."""


class AbstractSurface(AbstractShape):
    """A shape that is a triangle mesh at every moment, differentiable in its parameters."""

    @abstractmethod
    def mesh(self, progress: float = 1.0) -> Mesh:
        """The surface as it stands: vertices (with their graph) and faces, without texture."""

    def surface(self, progress: float = 1.0) -> SurfaceState:
        """The mesh, and what else regularisers of this kind of shape look at."""
        return SurfaceState(self.mesh(progress))

    def features_on(
        self,
        points: Float[Tensor, "points 3"],
        face: Int[Tensor, " points"],
        weights: Float[Tensor, "points 3"],
        progress: float = 1.0,
    ) -> Float[Tensor, "points channels"]:
        """Raw channels at points of the mesh, given the face that each lies in and its barycentric weights there.

        By place alone, unless a kind keeps its channels on the faces.
        """
        return self.features(points, progress)


class AbstractField(AbstractVolume):
    """Density and material features over the cube [-radius, radius]^3.

    A field is an encoding that both heads share: `encode` then `decode_density` and `decode_features`.
    """

    @abstractmethod
    def encode(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points width"]:
        """What both heads read. Points beyond the cube are moved to its surface."""

    @abstractmethod
    def decode_density(
        self, encoding: Float[Tensor, "points width"], points: Float[Tensor, "points 3"]
    ) -> Float[Tensor, " points"]:
        """Density per scene unit from the encoding of `points`."""

    @abstractmethod
    def decode_features(self, encoding: Float[Tensor, "points width"]) -> Float[Tensor, "points channels"]:
        """Raw material channels from the encoding."""

    def latent(self, encoding: Float[Tensor, "points width"]) -> Float[Tensor, "points features"] | None:
        """The features that stand behind the log-density in PVD's 16-vector, which converters match first (card 1.3).

        None for kinds that have no such features; they skip that stage.
        """
        return None

    def decode_inside(
        self,
        encoding: Float[Tensor, "points width"],
        points: Float[Tensor, "points 3"],
        density: Float[Tensor, " points"],
    ) -> Float[Tensor, " points"]:
        """What falls on the way out of the shape, and so gives the normals: the density, unless a kind knows better."""
        return density

    @abstractmethod
    def spacing(self, progress: float = 1.0) -> float:
        """Edge of the smallest cell that is active at `progress`, in scene units: what finite differences step by."""

    @abstractmethod
    def encoding_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that are looked up by place (grids, planes): they like a high learning rate."""

    @abstractmethod
    def network_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that every point uses (the heads)."""

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """ "encoding" and "networks"; a group without parameters is left out."""
        groups = (
            ParameterGroup("encoding", tuple(self.encoding_parameters())),
            ParameterGroup("networks", tuple(self.network_parameters())),
        )
        return tuple(group for group in groups if group.parameters)

    def density(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, " points"]:
        """Density sigma(x) per scene unit."""
        return self.decode_density(self.encode(points, progress), points)

    def features(self, points: Float[Tensor, "points 3"], progress: float = 1.0) -> Float[Tensor, "points channels"]:
        """Raw material channels at the points."""
        return self.decode_features(self.encode(points, progress))

    def forward(
        self, points: Float[Tensor, "points 3"], progress: float = 1.0, normals: str | None = None
    ) -> FieldValues:
        """Everything at once, with one encoding; `normals` names a mode of `normal`, or None for none."""
        if normals == "analytic":
            return self._analytic(points, progress)
        encoding = self.encode(points, progress)
        density = self.decode_density(encoding, points)
        normal = None
        if normals is not None:
            inside = self.decode_inside(encoding, points, density)
            normal = self._difference(points, inside, normals, progress, None)
        return FieldValues(density, self.decode_features(encoding), normal)

    def normal(
        self,
        points: Float[Tensor, "points 3"],
        mode: str = "analytic",
        progress: float = 1.0,
        eps: float | None = None,
    ) -> Float[Tensor, "points 3"]:
        """Unit outward normal `-grad sigma / |grad sigma|`, zero where the density is flat (card 5.4).

        "analytic" differentiates the field and can be differentiated again; "forward" costs 3 and "central" 6 further
        queries at distance `eps` (scene units; None takes `spacing(progress)`, as in Neuralangelo, arXiv 2306.03092).
        Raises ValueError for an unknown mode.
        """
        if mode == "analytic":
            values = self._analytic(points, progress)
            assert values.normal is not None
            return values.normal
        inside = self._inside(points, progress) if mode == "forward" else None
        return self._difference(points, inside, mode, progress, eps)

    def _inside(self, points: Float[Tensor, "points 3"], progress: float) -> Float[Tensor, " points"]:
        encoding = self.encode(points, progress)
        return self.decode_inside(encoding, points, self.decode_density(encoding, points))

    def _analytic(self, points: Float[Tensor, "points 3"], progress: float) -> FieldValues:
        training = torch.is_grad_enabled()
        with torch.enable_grad():
            moved = points if points.requires_grad else points.detach().requires_grad_()
            encoding = self.encode(moved, progress)
            density = self.decode_density(encoding, moved)
            inside = self.decode_inside(encoding, moved, density)
            slope = torch.zeros_like(moved)
            # A density that is constant by pieces has no graph at all: its slope is zero.
            if inside.requires_grad:
                (slope,) = torch.autograd.grad(inside.sum(), moved, create_graph=training, materialize_grads=True)
        if not training:
            density, encoding = density.detach(), encoding.detach()
        return FieldValues(density, self.decode_features(encoding), normalize(-slope))

    def _difference(
        self,
        points: Float[Tensor, "points 3"],
        inside: Float[Tensor, " points"] | None,
        mode: str,
        progress: float,
        eps: float | None,
    ) -> Float[Tensor, "points 3"]:
        check_choice("normal mode", mode, NORMAL_MODES)
        eps = self.spacing(progress) if eps is None else eps
        if not eps > 0:
            raise ValueError(f"finite-difference normals need eps > 0; got {eps}")
        shift = eps * torch.eye(3, dtype=points.dtype, device=points.device)
        shift = torch.cat([shift, -shift]) if mode == "central" else shift
        around = self._inside((points[:, None] + shift).flatten(0, 1), progress).view(len(points), -1)
        before = around[:, 3:] if inside is None or mode == "central" else inside[:, None]
        # The activated density is differenced: its scale cancels in the normalisation.
        return normalize(before - around[:, :3])
