"""`python -m eval.calibrate`: a judge and labelled examples → its error, for `python -m eval calibrations=[…]`."""

import hydra
from omegaconf import DictConfig

from eval.calibrate.config import CalibrateConfig
from pipeline.command import exit_codes, run_stage


@hydra.main(version_base="1.3", config_path="../../conf", config_name="eval_calibrate")
def main(config: DictConfig) -> None:
    """Composes the configuration and hands it over."""
    from eval.calibrate.run import calibrate

    run_stage(config, calibrate)


if __name__ == "__main__":
    with exit_codes("eval.calibrate", CalibrateConfig):
        main()
