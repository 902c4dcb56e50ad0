"""`python -m data_gen`: facts → documents."""

import hydra
from omegaconf import DictConfig

from data_gen.config import DataGenConfig
from pipeline.command import exit_codes, run_stage


@hydra.main(version_base="1.3", config_path="../conf", config_name="data_gen")
def main(config: DictConfig) -> None:
    """Composes the configuration and hands it over."""
    from data_gen.run import generate_data

    run_stage(config, generate_data)


if __name__ == "__main__":
    with exit_codes("data_gen", DataGenConfig):
        main()
