"""`python -m eval`: adapter → samples → estimates."""

import hydra
from omegaconf import DictConfig

from eval.config import EvalConfig
from pipeline.command import exit_codes, run_stage


@hydra.main(version_base="1.3", config_path="../conf", config_name="eval")
def main(config: DictConfig) -> None:
    """Composes the configuration and hands it over."""
    from eval.run import evaluate

    run_stage(config, evaluate)


if __name__ == "__main__":
    with exit_codes("eval", EvalConfig):
        main()
