"""`python -m pipeline`: an experiment's stages in order."""

import hydra
from omegaconf import DictConfig

from pipeline.command import exit_codes, run_stage
from pipeline.config import PipelineConfig


@hydra.main(version_base="1.3", config_path="../conf", config_name="pipeline")
def main(config: DictConfig) -> None:
    """Composes the configuration and hands it over."""
    from pipeline.run import run_pipeline

    run_stage(config, run_pipeline)


if __name__ == "__main__":
    with exit_codes("pipeline", PipelineConfig):
        main()
