"""Whether losses and gradients are finite, without a wait for the device at every step."""

import torch

EVERY = {"cpu": 1, "cuda": 50}
"""Steps between two looks: a look waits until the device has done all that it was given."""


class Guard:
    """The optimiser's steps; from the first one on whose numbers are not finite none is taken, so that the weights stay."""

    def __init__(self, optimiser: torch.optim.AdamW, count: int, device: torch.device) -> None:
        """`count`: how many numbers each step has. The optimiser is a fused one."""
        self._optimiser = optimiser
        self._bad = torch.zeros((), device=device)
        self._good = torch.zeros((), device=device)
        self._seen = torch.zeros(count, device=device, dtype=torch.float64)

    def step(self, numbers: torch.Tensor) -> None:
        """Step, if these numbers (float64, on the device) and all before them are finite."""
        self._seen = torch.where(self._bad > 0, self._seen, numbers)
        self._bad = torch.maximum(self._bad, 1 - torch.isfinite(numbers).all().float())
        self._good = self._good + 1 - self._bad
        self._optimiser.found_inf = self._bad  # type: ignore[attr-defined]  # torch's own way in for gradient scalers
        self._optimiser.step()

    def look(self) -> tuple[list[float], bool, int]:
        """The numbers of the newest step or of the first bad one, whether there was one, and how many good steps there were."""
        *numbers, bad, good = torch.cat([self._seen, torch.stack([self._bad, self._good]).double()]).tolist()
        return numbers, bad > 0, int(good)
