"""`python -m eval.figure`: complete eval runs and published values → results.csv, figure.svg, figure.png."""

import hydra
from omegaconf import DictConfig

from eval.figure.config import FigureConfig
from pipeline.command import exit_codes, run_stage


@hydra.main(version_base="1.3", config_path="../../conf", config_name="eval_figure")
def main(config: DictConfig) -> None:
    """Composes the configuration and hands it over."""
    from eval.figure.run import make_figure

    run_stage(config, make_figure)


if __name__ == "__main__":
    with exit_codes("eval.figure", FigureConfig):
        main()
