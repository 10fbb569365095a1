"""Whether losses and gradients are finite, without a wait for the device at every step; and the scale of gradients in fp16."""

from collections.abc import Iterable, Sequence

import torch

EVERY = {"cpu": 1, "cuda": 50}
"""Steps between two looks: a look waits until the device has done all that it was given."""
FIRST_SCALE = 2.0**16
GROWTH = 2000
"""Steps without a lost one after which the scale doubles; a lost one halves it."""


class Guard:
    """The optimiser's steps; from the first one on whose numbers are not finite none is taken, so that the weights stay.

    In fp16 gradients come `scale` times larger than they are, so that small ones are not lost. Where that makes a number
    infinite, this one step is left out and the scale halved; below 1 it is not the scale's doing.
    """

    def __init__(self, optimiser: torch.optim.AdamW, count: int, device: torch.device, *, scaled: bool = False) -> None:
        """`count`: how many numbers each step has. The optimiser is a fused one."""
        self._optimiser = optimiser
        self._bad = torch.zeros((), device=device)
        self._good = torch.zeros((), device=device)
        self._seen = torch.zeros(count, device=device, dtype=torch.float64)
        self.scale: torch.Tensor | float = torch.tensor(FIRST_SCALE, device=device) if scaled else 1.0
        self._since = torch.zeros((), device=device)

    def unscale(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Make the gradients as large as they are."""
        if isinstance(self.scale, torch.Tensor):
            torch._foreach_div_([p.grad for p in parameters if p.grad is not None], self.scale)

    def step(self, numbers: torch.Tensor) -> None:
        """Step, if these numbers (float64, on the device) are finite and none before them was bad."""
        lost = 1 - torch.isfinite(numbers).all().float()
        bad = self._rescale(lost) if isinstance(self.scale, torch.Tensor) else lost
        stays = (self._bad > 0) | (lost > bad)  # a step left out tells nothing
        self._seen = torch.where(stays, self._seen, numbers)
        self._bad = torch.maximum(self._bad, bad)
        self._good = self._good + 1 - self._bad
        self._optimiser.found_inf = torch.maximum(lost, self._bad)  # type: ignore[attr-defined]  # torch's own way in for gradient scalers
        self._optimiser.step()

    def _rescale(self, lost: torch.Tensor) -> torch.Tensor:
        """Halve or double the scale; 1 where no scale is small enough."""
        assert isinstance(self.scale, torch.Tensor)
        self._since = (self._since + 1) * (1 - lost)
        grown = (self._since >= GROWTH).float()
        self._since = self._since * (1 - grown)
        self.scale.mul_(1 - lost / 2 + grown)
        return (self.scale < 1).float()

    def look(self) -> tuple[list[float], bool, int]:
        """The numbers of the newest step or of the first bad one, whether there was one, and how many good steps there were."""
        *numbers, bad, good = torch.cat([self._seen, torch.stack([self._bad, self._good]).double()]).tolist()
        return numbers, bad > 0, int(good)

    def kept(self) -> list[float]:
        """What a checkpoint needs to go on."""
        return [float(self.scale), float(self._since)]

    def restore(self, kept: Sequence[float]) -> None:
        """Go on from there."""
        if isinstance(self.scale, torch.Tensor):
            self.scale.fill_(kept[0])
            self._since.fill_(kept[1])
