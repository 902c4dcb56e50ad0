"""`python -m eval.report`: complete runs → results.csv, figures, index.html."""

import hydra
from omegaconf import DictConfig

from eval.report.config import ReportConfig
from pipeline.command import exit_codes, run_stage


@hydra.main(version_base="1.3", config_path="../../conf", config_name="eval_report")
def main(config: DictConfig) -> None:
    """Composes the configuration and hands it over."""
    from eval.report.run import report

    run_stage(config, report)


if __name__ == "__main__":
    with exit_codes("eval.report", ReportConfig):
        main()
