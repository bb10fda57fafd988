"""Learning rates by the names of parameter groups, for every loop that optimises a shape."""

from dataclasses import dataclass

from dreamkit.schedules import Schedule


@dataclass(frozen=True)
class Rates:
    """Learning rate of each of the scene's parameter groups; a shape uses those that it has."""

    encoding: Schedule = 0.01
    "Grids, tables and planes."
    networks: Schedule = 0.001
    background: Schedule = 0.001
    geometry: Schedule = 0.001
    "Signed distances and deformations of mesh shapes."
    positions: Schedule = 0.001
    "Centres of Gaussians; the following are theirs too."
    scales: Schedule = 0.005
    rotations: Schedule = 0.001
    opacities: Schedule = 0.05
    colors: Schedule = 0.01
