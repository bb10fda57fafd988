"""What every fuzz target is."""

from abc import ABC, abstractmethod
from pathlib import Path
from random import Random


class AbstractTarget(ABC):
    """One reader. `attempt` may raise what `refusals` names, which is a refusal in words; all else is a finding."""

    refusals: tuple[type[Exception], ...] = (ValueError,)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        "The only place that a case may write to."

    @abstractmethod
    def attempt(self, random: Random) -> None:
        """Draw one case and read it; asserts what must hold for input that is taken."""
