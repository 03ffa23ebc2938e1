"""The least eval_loss and kl_divergence that templates/diffusion_2d can show: those of a model that knows the data.

`python tests/benchmarks/diffusion_floor.py` prints both for each dataset, within five minutes. The divergence is given
for new data, which is the floor of the estimate, and for what the program's own sampler makes of perfect predictions.
"""

import os

import numpy as np
import torch
from diffusion_speed import experiment
from torch import Tensor, nn

CPU = torch.device("cpu")
DRAWS = 20  # sets of new data
SEEDS = {"demo": 3, "full": 1}  # of the sampler: as many as in the tables of the template's README


class Ideal(nn.Module):
    """E[noise | x_t] for curves with Gaussian jitter: a mixture of as many Gaussians as there are centres."""

    def __init__(self, diffusion: "experiment.Diffusion", centres: int = 6000):
        super().__init__()
        curves = [draw_curve(name, centres) for name in experiment.DATASETS]
        self.diffusion, self.centres = diffusion, nn.Parameter(torch.stack(curves), requires_grad=False)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (datasets, points, 2), the same t for all -> (datasets, points, 2)."""
        signal, sigma = (scale[0, 0] for scale in self.diffusion.scales(t))
        variance = (signal * 0.06) ** 2 + sigma**2  # of x_t around a centre
        nearness = torch.softmax(-(torch.cdist(x_t, signal * self.centres) ** 2) / (2 * variance), dim=-1)
        noise = sigma * (x_t - nearness @ (signal * self.centres)) / variance
        return self.diffusion.target((x_t - sigma * noise) / signal, noise, t)


def draw_curve(name: str, n: int) -> Tensor:
    """Points of a dataset in its scale, without jitter, (n, 2)."""
    reference = experiment.draw_points(name, 20_000, np.random.default_rng(0))
    points = experiment.draw_points(name, n, np.random.default_rng(77))
    scaled = (points - reference.mean(0)) / (reference - reference.mean(0)).std()
    return torch.tensor(scaled, dtype=torch.float32)


def main() -> None:
    print(
        "| preset | dataset | eval_loss | kl_divergence of new data, mean ± sd | sampled with the perfect predictor |"
    )
    print("|---|---|---|---|---|")
    for preset, seeds in SEEDS.items():
        os.environ["KIT_PRESET"] = preset
        _, _, num_eval, num_samples = experiment.read_sizes()
        diffusion = experiment.Diffusion(experiment.noise_schedule(experiment.PRESETS[preset]), CPU)
        ideal = Ideal(diffusion)
        losses = experiment.held_out_loss(ideal, diffusion, num_eval)
        sampled = [experiment.sample(ideal, diffusion, num_samples, experiment.Draw([s], CPU)) for s in range(seeds)]
        for i, name in enumerate(experiment.DATASETS):
            held_out = experiment.make_dataset(name, num_samples, seed=3).numpy()
            drawn = [experiment.make_dataset(name, num_samples, seed=100 + j).numpy() for j in range(DRAWS)]
            new = [experiment.kl_divergence(held_out, points) for points in drawn]
            own = [experiment.kl_divergence(held_out, points[i]) for points in sampled]
            cells = [f"`{preset}`", name, f"{losses[i]:.4f}", f"{np.mean(new):.3f} ± {np.std(new, ddof=1):.3f}",
                     " ".join(f"{value:.3f}" for value in own)]  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
