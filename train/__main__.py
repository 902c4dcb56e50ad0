"""`python -m train`: documents → adapter."""

import hydra
from omegaconf import DictConfig

from pipeline.command import exit_codes, run_stage
from train.config import TrainConfig


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def main(config: DictConfig) -> None:
    """Composes the configuration and hands it over."""
    from train.run import train

    run_stage(config, train)


if __name__ == "__main__":
    with exit_codes("train", TrainConfig):
        main()
