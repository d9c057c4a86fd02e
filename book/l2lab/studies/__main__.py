"""Run one study: ``python -m l2lab.studies NAME --profile quick|full``."""

from __future__ import annotations

import argparse
import importlib
import inspect

from .. import runtime

STUDIES = ("choosing", "comparison", "gpu", "images", "prices", "sealed", "selection")


def main(argv: list[str] | None = None) -> None:
    """Run the study that the command line names; ``--help`` explains it."""
    parser = argparse.ArgumentParser(prog="python -m l2lab.studies", description="Run a study at full scale.")
    parser.add_argument("name", choices=STUDIES, help="which study")
    size = "its size (default: $L2LAB_PROFILE, or quick)"
    parser.add_argument("--profile", choices=("quick", "full"), help=size)
    parser.add_argument(
        "--folder",
        help="where to write; what it holds of this study and this code is not measured again "
        "(default: _build/studies; book/results is what the book shows)",
    )
    about = "only look at what is sealed, with the settings that were chosen, and write the result"
    parser.add_argument("--final", action="store_true", default=None, help=about)
    given = {key: value for key, value in vars(parser.parse_args(argv)).items() if value is not None}
    name, profile = given.pop("name"), given.pop("profile", None)
    study = importlib.import_module(f"l2lab.studies.{name}")
    for option in given.keys() - inspect.signature(study.main).parameters.keys():
        parser.error(f"the study {name} takes no --{option.replace('_', '-')}")
    study.main(profile or runtime.profile(), **given)


if __name__ == "__main__":
    main()
