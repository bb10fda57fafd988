"""Scores of finished assets by real models: CLIP score and R-precision, and a reward, over eight views."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from dreamkit.cameras import orbit
from dreamkit.evaluate.clip import Clip, clip_score, r_precision
from dreamkit.evaluate.reward import AbstractReward
from dreamkit.export.load import load_mesh
from dreamkit.renderers.surface import render_surface

VIEWS, ELEVATION, SIZE = 8, 15.0, 256


@dataclass(frozen=True)
class Scores:
    """What models say of one asset; None for what was not asked."""

    clip_score: float | None = None
    "`100 max(0, cos)` of each view and the prompt, in the mean."
    r_precision: float | None = None
    "Share of views to which none of the other prompts is nearer; None where there are no others."
    reward: float | None = None
    "Mean over the views, in the unit of the model."
    best_reward: float | None = None
    "That of the best view."

    def entries(self) -> dict[str, float | None]:
        """For `metrics.json`; what was not asked stays as it was."""
        return {f"score_{name}": value for name, value in asdict(self).items() if value is not None}


def asset_views(path: Path, size: int = SIZE) -> Float[Tensor, "views height width 3"]:
    """Eight sides of the asset in a GLB or OBJ file, fitted to the frame, before white."""
    cameras = orbit([360.0 / VIEWS * i for i in range(VIEWS)], ELEVATION, height=size, width=size)
    return render_surface(load_mesh(path).fitted(), cameras).color


def score_asset(
    views: Float[Tensor, "views height width 3"],
    prompt: str,
    others: Sequence[str] = (),
    clip: Clip | None = None,
    reward: AbstractReward | None = None,
) -> Scores:
    """Ask the models that are given; `others` are prompts among which R-precision looks for `prompt`."""
    cosine = precision = mean = best = None
    if clip is not None:
        among = [prompt, *(other for other in dict.fromkeys(others) if other != prompt)]
        similarity = clip.similarity(views, among)
        cosine = clip_score(similarity, [0] * len(views))
        precision = r_precision(similarity, [0] * len(views)) if len(among) > 1 else None
    if reward is not None:
        values = reward.scores(views, prompt)
        mean, best = float(values.mean()), float(values.max())
    return Scores(cosine, precision, mean, best)
