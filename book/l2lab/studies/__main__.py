"""Run one study: ``python -m l2lab.studies NAME --profile quick|full``."""

from __future__ import annotations

import argparse
import importlib
import inspect

from .. import runtime

STUDIES = ("comparison", "images", "selection", "tables")


def main(argv: list[str] | None = None) -> None:
    """Run the study that the command line names.

    Parameters
    ----------
    argv : list of str, optional
        Command line; ``--help`` explains it.
    """
    parser = argparse.ArgumentParser(prog="python -m l2lab.studies", description="Run a study at full scale.")
    parser.add_argument("name", choices=STUDIES, help="which study")
    parser.add_argument(
        "--profile",
        choices=runtime.PROFILES,
        default=None,
        help="its size (default: $L2LAB_PROFILE, or quick)",
    )
    parser.add_argument("--data-dir", help="folder with the data, for studies of data that others own")
    arguments = parser.parse_args(argv)
    study = importlib.import_module(f"l2lab.studies.{arguments.name}")
    options = {}
    if arguments.data_dir is not None:
        if "data_dir" not in inspect.signature(study.main).parameters:
            parser.error(f"the study {arguments.name} makes its own data and takes no --data-dir")
        options["data_dir"] = arguments.data_dir
    study.main(arguments.profile or runtime.profile(), **options)


if __name__ == "__main__":
    main()
