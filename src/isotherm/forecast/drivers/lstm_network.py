"""The network: an LSTM over the past, attention to it from each minute that is forecast, quantiles out. Needs torch."""

from typing import Final

import torch
from torch import Tensor, nn

from isotherm.forecast.features import KNOTS, RECENT
from isotherm.forecast.model import LEVELS

__all__ = ["Network", "pinball"]

PAST_FEATURES: Final = 11
AHEAD_FEATURES: Final = 8
MIDDLE: Final = LEVELS.index(0.5)


class Network(nn.Module):
    """One for all series, each in its own scale.

    Takes `past` [k, steps, 11], `recent` [k, RECENT] and `ahead` [k, KNOTS, 8] of `features.Inputs`; gives quantiles
    [k, KNOTS, LEVELS] of the logarithm, less the series' level, over its scale; ascending by construction.
    """

    def __init__(self, hidden: int = 48) -> None:
        super().__init__()
        self.hidden = hidden
        self.lstm = nn.LSTM(PAST_FEATURES, hidden, batch_first=True)
        self.state = nn.Linear(hidden + RECENT, hidden)
        self.query = nn.Linear(hidden + AHEAD_FEATURES, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.lead = nn.Parameter(torch.zeros(len(KNOTS), hidden))
        self.body = nn.Sequential(
            nn.Linear(2 * hidden + AHEAD_FEATURES, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.out = nn.Linear(hidden, len(LEVELS))
        self.shape = nn.Parameter(torch.full((len(KNOTS),), 0.5))  # of yesterday's way onwards, added as it is

    def forward(self, past: Tensor, recent: Tensor, ahead: Tensor) -> Tensor:
        states, _ = self.lstm(past)
        summary = torch.relu(self.state(torch.cat([states[:, -1], recent], dim=1)))
        each = summary.unsqueeze(1) + self.lead
        query = self.query(torch.cat([each, ahead], dim=2))
        score = query @ self.key(states).transpose(1, 2) / self.hidden**0.5
        context = torch.softmax(score, dim=2) @ self.value(states)
        raw = self.out(self.body(torch.cat([each, context, ahead], dim=2)))
        middle = raw[:, :, MIDDLE : MIDDLE + 1] + (self.shape * ahead[:, :, 0]).unsqueeze(2)
        steps = nn.functional.softplus(raw - 1)
        below = -torch.cumsum(steps[:, :, :MIDDLE].flip(2), dim=2).flip(2)
        above = torch.cumsum(steps[:, :, MIDDLE + 1 :], dim=2)
        return torch.cat([middle + below, middle, middle + above], dim=2)


def pinball(quantiles: Tensor, actual: Tensor) -> Tensor:
    """The mean over levels [k, KNOTS] of quantiles [k, KNOTS, LEVELS] against what came [k, KNOTS]."""
    away = actual.unsqueeze(2) - quantiles
    levels = torch.tensor(LEVELS, dtype=quantiles.dtype)
    return torch.maximum(levels * away, (levels - 1) * away).mean(dim=2)
