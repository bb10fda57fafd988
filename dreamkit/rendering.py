"""What a renderer returns, and what a loop yields."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.mesh import Mesh


@dataclass(frozen=True)
class RaySamples:
    """The points that a volume renderer composited, flattened over all rays: what regularisers look at."""

    ray: Int[Tensor, " samples"]
    "Index of the ray (over batch, height, width) that the sample lies on; non-decreasing."
    distance: Float[Tensor, " samples"]
    "Distance of the sample's middle from the camera."
    length: Float[Tensor, " samples"]
    weight: Float[Tensor, " samples"]
    "Compositing weight `T_i alpha_i`."
    direction: Float[Tensor, "samples 3"]
    "Unit direction of the sample's ray, from the camera into the scene."
    normal: Float[Tensor, "samples 3"] | None
    "Unit outward normal of the density at the sample, where the renderer was asked for normals."
    rays: int
    "Number of rays, those without samples included."


@dataclass(frozen=True)
class SurfaceState:
    """The surface that a mesh renderer drew, with its graph: what mesh regularisers look at."""

    mesh: Mesh
    crossed: Float[Tensor, "edges 2"] | None = None
    "Signed distances at both ends of the grid edges that the surface crosses, for shapes that are cut out of a grid."
    is_closed: bool = False
    "Whether the surface is known to be watertight and outward, so that back faces are never seen."
    deviation: Float[Tensor, ""] | None = None
    "How far the surface's vertices are from developable, for FlexiCubes."


@dataclass(frozen=True)
class SplatStatistics:
    """Where each Gaussian of a cloud fell, and how it stood: what density control and regularisers look at."""

    centre: Float[Tensor, "batch gaussians 2"]
    "Pixels. Its `grad` is there after the backward pass."
    radius: Float[Tensor, "batch gaussians"]
    "Three standard deviations of the footprint, in pixels; 0 where it was not drawn."
    deviations: Float[Tensor, "gaussians axes"]
    "Standard deviations as shares of the scene's radius."
    opacities: Float[Tensor, " gaussians"]
    height: int
    width: int
    distortion: Float[Tensor, "batch height width 1"] | None = None
    "`sum_{i<j} w_i w_j (m_i - m_j)^2` of inverse depths m. This and the next are there for surfels."
    depth_normal: Float[Tensor, "batch height width 3"] | None = None
    "Normal of the surface that the depths describe, times alpha; zero where there is no one surface."


@dataclass(frozen=True)
class Rendering:
    """A batch of images of one scene. Pixel (0, 0) is the top-left corner."""

    color: Float[Tensor, "batch height width 3"]
    "Display (sRGB-encoded) colour in [0, 1], composited over the background."
    alpha: Float[Tensor, "batch height width 1"]
    "Opacity: 0 where the ray meets nothing."
    depth: Float[Tensor, "batch height width 1"]
    "Expected distance along the ray where alpha > 0, else 0."
    normal: Float[Tensor, "batch height width 3"] | None = None
    "Composited world-space normal (not unit length where alpha < 1)."
    samples: RaySamples | None = None
    "Present when the scene was rendered for training by a volume renderer."
    surface: SurfaceState | None = None
    "Present when the scene was rendered for training by a mesh renderer."
    splats: SplatStatistics | None = None
    "Present when it was rendered for training by a splat renderer."


@dataclass(frozen=True)
class Step:
    """One message of a training loop: the command line, the app and notebooks read these, and nothing else."""

    index: int
    "Steps done, from 1 to total."
    total: int
    loss: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    "Parts of the loss and whatever else the loop measured, by name."
    preview: Rendering | None = None
    "The views of this step, detached, on the steps where a preview was asked for."
    note: str | None = None
    "Something that a person should know: a rollback after NaN, a milestone."
    stage: str = "optimise"
    "What the run is doing; indices and totals count within a stage."
