"""What a good surface looks like, as losses on renderings: method card guidance 14.2, one function for each row.

Pure functions that return one number, to be weighted by the caller. Sums over ray samples are divided by the number of
rays, so that a loss does not depend on how many empty samples the renderer left out.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dreamkit.rendering import RaySamples, Rendering, SplatStatistics, SurfaceState
from dreamkit.representations import mesh_energies
from dreamkit.vectors import dot

OPACITY_FLOOR = 1e-3
"Opacities are kept this far from 0 and 1 in logarithms (the card's clamp)."
WEIGHT_FLOOR = 1e-5
"The same for weights of single samples."


def orientation(rendering: Rendering) -> Float[Tensor, ""]:
    """Visible normals face the camera: `sum sg(w) max(0, n.d)^2 / #{rays with o > 0}` (Ref-NeRF, arXiv 2112.03907).

    The weights are not differentiated. Raises ValueError when the rendering has no ray samples with normals.
    """
    samples = _samples(rendering, "orientation")
    if samples.normal is None:
        raise ValueError("orientation needs normals at the samples; render with normals=True")
    away = dot(samples.normal, samples.direction).squeeze(-1).clamp_min(0)
    rays = (rendering.alpha > 0).sum().clamp_min(1)
    return (samples.weight.detach() * away.square()).sum() / rays


def sparsity(rendering: Rendering) -> Float[Tensor, ""]:
    """Little is opaque: `mean sqrt(o^2 + 0.01)`; 0.1 for an empty image, which is its minimum."""
    return (rendering.alpha.square() + 0.01).sqrt().mean()


def opaque(rendering: Rendering) -> Float[Tensor, ""]:
    """Opacity is 0 or 1: `mean BCE(o, o)` in nats, o clamped to [1e-3, 1 - 1e-3]; at most log 2, at o = 1/2."""
    return _entropy(rendering.alpha)


def weight_entropy(rendering: Rendering) -> Float[Tensor, ""]:
    """Each sample is all or nothing: `sum -w log2 w - (1 - w) log2(1 - w)` over the rays' number, in bits.

    Source: ProlificDreamer's code (arXiv 2305.16213). Raises ValueError without ray samples.
    """
    samples = _samples(rendering, "weight_entropy")
    w = samples.weight.clamp(WEIGHT_FLOOR, 1 - WEIGHT_FLOOR)
    return -(w * w.log2() + (1 - w) * (1 - w).log2()).sum() / samples.rays


def emptiness(rendering: Rendering, scale: float = 10.0) -> Float[Tensor, ""]:
    """Few samples are filled: `sum log(1 + 10 w)` over the rays' number (Score Jacobian Chaining, arXiv 2212.00774).

    SJC divides by the number of samples of a ray as well. Raises ValueError without ray samples.
    """
    samples = _samples(rendering, "emptiness")
    return torch.log1p(scale * samples.weight.clamp_min(0)).sum() / samples.rays


def z_variance(rendering: Rendering) -> Float[Tensor, ""]:
    """Light comes from one depth: `mean over rays with o > 1/2 of sum w^ (t - t_mean)^2`, w^ = w / o.

    In squared scene units. Source: HiFA (arXiv 2305.18766). Raises ValueError without ray samples.
    """
    samples = _samples(rendering, "z_variance")
    total = _sum(samples.weight, samples)
    safe = total.clamp_min(1e-6)
    mean = _sum(samples.weight * samples.distance, samples) / safe
    spread = _sum(samples.weight * (samples.distance - mean[samples.ray]).square(), samples) / safe
    solid = (total > 0.5).to(spread)
    return (spread * solid).sum() / solid.sum().clamp_min(1)


def distortion(rendering: Rendering, span: float = 1.0) -> Float[Tensor, ""]:
    """Weight is compact: `mean over rays of sum_ij w_i w_j |m_i - m_j| + 1/3 sum_i w_i^2 d_i`.

    m are the samples' middles, d their lengths, both divided by `span`, the distance from near to far in scene units.
    Source: mip-NeRF 360 (arXiv 2111.12077), equation 15. Raises ValueError without ray samples.
    """
    samples = _samples(rendering, "distortion")
    # The differences of running sums over all samples need more digits than float32 has.
    w = samples.weight.double()
    start = torch.searchsorted(samples.ray, torch.arange(samples.rays, device=samples.ray.device))
    middle = samples.distance.double() / span
    before, moment = _before(w, start, samples.ray), _before(w * middle, start, samples.ray)
    # Samples of a ray are in order, so each pair is counted once, from its farther member.
    between = 2 * (w * (middle * before - moment)).sum()
    within = (w.square() * samples.length.double() / span).sum() / 3
    return ((between + within) / samples.rays).to(samples.weight)


def splat_size(rendering: Rendering, cap: float = 0.05) -> Float[Tensor, ""]:
    """No Gaussian is large: `mean relu(s_max - cap)`, both as shares of the scene's radius (card rep 6.6).

    Raises ValueError unless the scene is a cloud of Gaussians; so do the next two.
    """
    return (_splats(rendering, "splat_size").deviations.amax(dim=-1) - cap).clamp_min(0).mean()


def splat_anisotropy(rendering: Rendering, cap: float = 10.0) -> Float[Tensor, ""]:
    """No Gaussian is a needle: `mean relu(s_max / s_min - cap)` (card rep 6.6; PhysGaussian, arXiv 2311.12198)."""
    deviations = _splats(rendering, "splat_anisotropy").deviations
    return (deviations.amax(dim=-1) / deviations.amin(dim=-1).clamp_min(1e-8) - cap).clamp_min(0).mean()


def splat_entropy(rendering: Rendering) -> Float[Tensor, ""]:
    """Each Gaussian is solid or gone: `mean BCE(o, o)` in nats, o clamped to [1e-3, 1 - 1e-3] (card rep 6.6)."""
    return _entropy(_splats(rendering, "splat_entropy").opacities)


def surfel_distortion(rendering: Rendering) -> Float[Tensor, ""]:
    """Disks on a ray lie at one depth: `mean sum_{i<j} w_i w_j (m_i - m_j)^2`, m inverse depths in 1 / scene units.

    Source: 2DGS (arXiv 2403.17888), equation 13; card rep 6.8. Raises ValueError without surfels; so does the next.
    """
    distortion = _splats(rendering, "surfel_distortion").distortion
    if distortion is None:
        raise ValueError("surfel_distortion is a property of surfels; draw flat Gaussians with the surfel_renderer")
    return distortion.mean()


def surfel_normals(rendering: Rendering) -> Float[Tensor, ""]:
    """Disks lie along the surface that their depths describe: `mean a (a - n . n_depth)`, a = alpha, a constant.

    Its gradient is that of 2DGS's `mean 1 - n . (a n_depth)`; it is zero where all agree and where nothing is drawn.
    Source: arXiv 2403.17888, equation 14; card rep 6.8.
    """
    surface = _splats(rendering, "surfel_normals").depth_normal
    if surface is None or rendering.normal is None:
        raise ValueError("surfel_normals is a property of surfels; draw flat Gaussians with the surfel_renderer")
    return (dot(surface, surface) - dot(rendering.normal, surface)).mean()


def total_variation(image: Float[Tensor, "batch height width channels"]) -> Float[Tensor, ""]:
    """Mean absolute difference of neighbours, `mean |I(x+1, y) - I(x, y)| + mean |I(x, y+1) - I(x, y)|`."""
    across, down = image.diff(dim=2).abs(), image.diff(dim=1).abs()
    return across.mean() + down.mean()


def normal_smoothness(rendering: Rendering) -> Float[Tensor, ""]:
    """Mean squared difference of neighbours in the normal image. Raises ValueError without one."""
    if rendering.normal is None:
        raise ValueError("normal_smoothness needs a normal image; render with normals=True")
    return rendering.normal.diff(dim=2).square().mean() + rendering.normal.diff(dim=1).square().mean()


def eikonal(slope: Float[Tensor, "points 3"]) -> Float[Tensor, ""]:
    """A signed distance has slope one: `mean (|grad s| - 1)^2` of the gradients given (IGR, arXiv 2002.10099)."""
    # The floor inside the root keeps the gradient of |0| finite.
    return (slope.square().sum(dim=-1).clamp_min(1e-12).sqrt() - 1).square().mean()


def normal_consistency(rendering: Rendering) -> Float[Tensor, ""]:
    """Neighbouring vertices of the drawn mesh face alike (`mesh_energies.normal_consistency`)."""
    return mesh_energies.normal_consistency(_surface(rendering, "normal_consistency").mesh)


def face_consistency(rendering: Rendering) -> Float[Tensor, ""]:
    """Neighbouring faces of the drawn mesh face alike (`mesh_energies.face_consistency`)."""
    return mesh_energies.face_consistency(_surface(rendering, "face_consistency").mesh)


def laplacian(rendering: Rendering) -> Float[Tensor, ""]:
    """Vertices lie in the middle of their neighbours (`mesh_energies.laplacian`)."""
    return mesh_energies.laplacian(_surface(rendering, "laplacian").mesh)


def bending(rendering: Rendering) -> Float[Tensor, ""]:
    """Squared mean curvature over the drawn mesh (`mesh_energies.bending`, by cotangents)."""
    return mesh_energies.bending(_surface(rendering, "bending").mesh)


def edge_length(rendering: Rendering) -> Float[Tensor, ""]:
    """Mean squared edge of the drawn mesh (`mesh_energies.edge_length`)."""
    return mesh_energies.edge_length(_surface(rendering, "edge_length").mesh)


def sign_change(rendering: Rendering) -> Float[Tensor, ""]:
    """Few edges of the shape's grid are crossed (`mesh_energies.sign_change`); raises ValueError without a grid."""
    crossed = _surface(rendering, "sign_change").crossed
    if crossed is None:
        raise ValueError("sign_change needs a shape that is cut out of a grid of signed distances, such as tet_mesh")
    return mesh_energies.sign_change(crossed)


def developability(rendering: Rendering) -> Float[Tensor, ""]:
    """How far dual vertices are from their crossings' sphere (FlexiCubes); raises ValueError for other shapes."""
    deviation = _surface(rendering, "developability").deviation
    if deviation is None:
        raise ValueError("developability is a property of flexi_mesh shapes; leave it out for others")
    return deviation


def _surface(rendering: Rendering, loss: str) -> SurfaceState:
    if rendering.surface is None:
        raise ValueError(
            f"{loss} needs a surface: a mesh renderer gives it in training, scene.render(..., generator=...)"
        )
    return rendering.surface


def _entropy(opacity: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    o = opacity.clamp(OPACITY_FLOOR, 1 - OPACITY_FLOOR)
    return -(o * o.log() + (1 - o) * (1 - o).log()).mean()


def _splats(rendering: Rendering, loss: str) -> SplatStatistics:
    if rendering.splats is None:
        raise ValueError(
            f"{loss} needs a cloud of Gaussians: a splat renderer gives its statistics in training, "
            "scene.render(..., generator=...)"
        )
    return rendering.splats


def _samples(rendering: Rendering, loss: str) -> RaySamples:
    if rendering.samples is None:
        raise ValueError(
            f"{loss} needs ray samples: a volume renderer gives them in training, scene.render(..., generator=...)"
        )
    return rendering.samples


def _sum(values: Float[Tensor, " samples"], samples: RaySamples) -> Float[Tensor, " rays"]:
    return values.new_zeros(samples.rays).index_add(0, samples.ray, values)


def _before(
    values: Float[Tensor, " samples"], start: Int[Tensor, " rays"], ray: Int[Tensor, " samples"]
) -> Float[Tensor, " samples"]:
    """Sum over the samples of the same ray that come before."""
    running = torch.nn.functional.pad(values.cumsum(dim=0), (1, 0))
    return running[:-1] - running[start][ray]
