"""`python -m train`: documents → adapter."""

import hydra
from omegaconf import DictConfig

from pipeline.command import exit_codes, run_stage
from train.config import TrainConfig


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(config: DictConfig) -> float | None:
    """Composes the configuration and hands it over; a sweeper is given the held-out loss."""
    from train.run import heldout_loss_of, train

    return run_stage(config, train, heldout_loss_of)


if __name__ == "__main__":
    with exit_codes("train", TrainConfig):
        main()
