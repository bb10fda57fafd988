"""What every converter is: a scene in, a scene of another kind out, and a report of what was lost."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from typing import Any, ClassVar

from dreamkit.construct import Spec
from dreamkit.convert.fidelity import Fidelity
from dreamkit.renderers.scene import Scene
from dreamkit.rendering import Step
from dreamkit.representations.base import AbstractShape

Conversion = Generator[Step, None, Fidelity]
"Steps while it runs; the report is the generator's return value (`report = yield from ...`)."


class AbstractConverter(ABC):
    """A way from some kinds of shape to others. Constructor parameters are its settings; it keeps no state.

    A file in this folder is a converter: `plan` finds it, and asks these three facts which kinds it joins.
    """

    reads: ClassVar[tuple[type[AbstractShape], ...]]
    "Kinds (or abstract classes of kinds) that a teacher may be."
    makes: ClassVar[tuple[type[AbstractShape], ...]]
    "Kinds that a student may be."
    rank: ClassVar[int] = 0
    "Of several converters between two kinds, the one of the lowest rank is taken unless another is asked for."

    @abstractmethod
    def convert(self, teacher: Scene, student: Scene, seed: int = 0) -> Conversion:
        """Make `student` look like `teacher`, in place; the teacher stays as it is. Every draw comes from `seed`.

        Raises TypeError where the shapes are not of the kinds that it reads and makes.
        """

    def shape_options(self, teacher: Scene) -> Mapping[str, Any]:
        """Constructor arguments that the student's shape must have; what a person asks for goes before them."""
        return {}

    def material(self) -> Spec | None:
        """How to construct the student's material; None for a copy of the teacher's, which is what most keep."""
        return None

    @classmethod
    def joins(cls, source: type[AbstractShape], target: type[AbstractShape]) -> bool:
        """Whether it leads from one kind to the other."""
        return issubclass(source, cls.reads) and issubclass(target, cls.makes)

    def check(self, teacher: Scene, student: Scene) -> None:
        """Raise TypeError unless it joins the two shapes."""
        if not self.joins(type(teacher.shape), type(student.shape)):
            raise TypeError(
                f"{type(self).__name__} cannot make a {type(student.shape).__name__} of a "
                f"{type(teacher.shape).__name__}; `dreamkit.convert.plan.find_route` says what can"
            )
