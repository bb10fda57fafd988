"""Colour that survives a change of shape: a hash field's features as a surface's texture."""

import pytest
import torch

from dreamkit.convert.to_surface import inherit_texture
from dreamkit.materials.lambert import Lambert
from dreamkit.ops.hash_levels import HashLevels
from dreamkit.renderers.mesh_renderer import MeshRenderer
from dreamkit.renderers.scene import Scene
from dreamkit.representations.hash_field import HashField
from dreamkit.representations.tet_mesh import TetMesh

LEVELS = HashLevels(levels=3, log2_table_size=8)
OTHERS = HashLevels(levels=2, log2_table_size=8)


def field(**options: object) -> Scene:
    shape = HashField(**{"levels": LEVELS, "hidden": 8, "seed": 1, **options})
    with torch.no_grad():
        # As if it had been trained: fresh tables are next to nothing.
        shape.table.normal_(generator=torch.Generator().manual_seed(2))
    return Scene(shape)


def surface(**options: object) -> Scene:
    return Scene(TetMesh(**{"levels": LEVELS, "hidden": 8, "resolution": 4, **options}), renderer=MeshRenderer())


def test_a_texture_of_the_fields_sizes_has_its_features(generator: torch.Generator) -> None:
    teacher, student = field(), surface()
    points = 2 * torch.rand(50, 3, generator=generator) - 1
    assert not torch.allclose(student.shape.features(points), teacher.shape.features(points), atol=0.1)
    assert inherit_texture(teacher, student)
    assert torch.equal(student.shape.features(points), teacher.shape.features(points))
    # A copy: the student learns on, and the teacher stays as it is.
    with torch.no_grad():
        student.shape.texture.table.zero_()
    assert teacher.shape.table.abs().max() > 1


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        (field(levels=OTHERS), surface()),
        (field(hidden=4), surface()),
        (field(radius=2.0), surface()),
        (field(latent=True), surface()),
        (Scene(field().shape, Lambert()), surface()),
        (surface(), surface()),
    ],
    ids=["levels", "hidden", "radius", "latent", "material", "kind"],
)
def test_what_means_something_else_is_left_alone(teacher: Scene, student: Scene) -> None:
    before = {name: value.clone() for name, value in student.state_dict().items()}
    assert not inherit_texture(teacher, student)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
