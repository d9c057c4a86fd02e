"""``python -m l2lab.classroom``: release, check, grade and report on assignments."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..progress import someone_watches
from .check import benchmark, check
from .format import read_assignment, release, write_notebook
from .grade import Grader, Limits, Result, collect, modules_of, read_results, write_csv, write_results
from .report import write_gradescope, write_report

_LIMITS = {
    "seconds": "seconds for one cell",
    "total": "seconds for one submission",
    "memory": "MiB more than the libraries need",
    "processes": "processes at the same time",
    "output": "MiB that one cell may print",
    "disk": "MiB of one file",
    "size": "MiB of a notebook",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of the command line.

    Returns
    -------
    int
        Exit status: 0 if all is well, 1 if a check found something, 2 for wrong input, 130 after Ctrl-C.
    """
    given = _parser().parse_args(arguments)
    try:
        return given.run(given)
    except KeyboardInterrupt:
        print("interrupted; with a journal the same command goes on where it was", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m l2lab.classroom", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    new = commands.add_parser("release", help="make the students' copy of an assignment")
    new.add_argument("source", type=Path, help="the notebook with solutions and hidden tests")
    new.add_argument("out", type=Path, help="the file to write")
    new.set_defaults(run=_release)

    new = commands.add_parser("check", help="check an assignment: solution, students' copy, wrong answers")
    new.add_argument("source", type=Path)
    new.add_argument("--mutants", type=Path, help="a Python file with the dictionary MUTANTS")
    new.set_defaults(run=_check)

    new = commands.add_parser("grade", help="grade submissions")
    new.add_argument("source", type=Path)
    new.add_argument("submissions", nargs="+", type=Path, help="notebooks, or folders with notebooks")
    new.add_argument("--csv", type=Path, help="write a table of points (without it: to the screen)")
    new.add_argument("--json", type=Path, help="write everything, with the messages of hidden tests")
    new.add_argument("--report", type=Path, metavar="DIR", help="write report.html and feedback/")
    new.add_argument("--gradescope", type=Path, metavar="DIR", help="write results.json of Gradescope")
    new.add_argument("--journal", type=Path, help="results so far (default: beside --json or --csv)")
    new.add_argument("--fresh", action="store_true", help="grade again what the journal holds")
    new.add_argument("--jobs", type=int, default=1, help="submissions at the same time")
    new.add_argument("--shard", type=_shard, default=(1, 1), metavar="K/N", help="only the K-th of N parts")
    new.add_argument("--require-sandbox", action="store_true", help="refuse to work without protection")
    new.add_argument("--no-sandbox", action="store_true", help="do without bubblewrap")
    for limit in fields(Limits):
        kind = float if isinstance(limit.default, float) else int
        flags = [f"--{limit.name}"] + (["--timeout"] if limit.name == "seconds" else [])
        text = f"limit: {_LIMITS[limit.name]} (default {limit.default:g})"
        new.add_argument(*flags, dest=f"limit_{limit.name}", type=kind, default=limit.default, help=text)
    new.set_defaults(run=_grade)

    new = commands.add_parser("report", help="make the pages anew from the JSON of an earlier run")
    new.add_argument("results", type=Path, help="what grade --json has written")
    new.add_argument("folder", type=Path)
    new.set_defaults(run=_report)

    new = commands.add_parser(
        "solutions", help="make pages with solutions and hidden tests, for those who teach"
    )
    new.add_argument("sources", nargs="+", type=Path)
    new.add_argument("--out", type=Path, default=Path("solutions"), metavar="DIR", help="default: solutions")
    new.set_defaults(run=_solutions)

    new = commands.add_parser("bench", help="measure how long many submissions take")
    new.add_argument("source", type=Path)
    new.add_argument("--count", type=int, default=200)
    new.add_argument("--jobs", type=int, default=2)
    new.add_argument("--no-sandbox", action="store_true")
    new.set_defaults(run=_bench)
    return parser


def _shard(text: str) -> tuple[int, int]:
    try:
        part, parts = (int(word) for word in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError("give K/N, as in 2/20") from None
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError("in K/N, K goes from 1 to N")
    return part, parts


def _release(given: argparse.Namespace) -> int:
    write_notebook(release(given.source), given.out)
    return 0


def _check(given: argparse.Namespace) -> int:
    mutants: dict[str, Any] = {}
    if given.mutants is not None:
        spec = importlib.util.spec_from_file_location("mutants", given.mutants)
        if spec is None or spec.loader is None:
            raise ValueError(f"{given.mutants} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        mutants = module.MUTANTS
    wrong = check(given.source, mutants)
    print("\n".join(wrong) or f"{given.source.name}: all is well")
    return int(bool(wrong))


def _grade(given: argparse.Namespace) -> int:
    assignment = read_assignment(given.source)
    submissions = collect(given.submissions)
    part, parts = given.shard
    submissions = dict(list(submissions.items())[part - 1 :: parts])
    if not submissions:
        raise ValueError("this shard is empty: there are fewer submissions than shards")
    beside = given.json or given.csv
    journal = given.journal or (beside.with_name(beside.name + ".journal") if beside else None)
    if given.fresh and journal is not None:
        journal.unlink(missing_ok=True)
    limits = Limits(**{limit.name: getattr(given, f"limit_{limit.name}") for limit in fields(Limits)})
    sandbox = "require" if given.require_sandbox else "off" if given.no_sandbox else "auto"
    with Grader(given.jobs, limits, sandbox, modules_of(assignment)) as grader:
        if warning := grader.protection.warning():
            print(f"{'!' * 78}\n{warning}\n{'!' * 78}", file=sys.stderr)
        elif hasattr(os, "geteuid") and os.geteuid() == 0:
            print("You grade as root. As any other user the walls are thicker.", file=sys.stderr)
        watched = someone_watches() is not None
        results = grader.grade(
            assignment, submissions, journal=journal, report=None if watched else _Lines(len(submissions))
        )
        protection = grader.protection
    if given.csv is not None:
        write_csv(results, given.csv)
    if given.json is not None:
        write_results(results, given.json, assignment.name, protection)
    if given.report is not None:
        write_report(assignment.name, results, given.report, protection)
    if given.gradescope is not None:
        write_gradescope(results, given.gradescope)
    if beside is None:
        for result in results:
            print(_summary(result))
    odd = [result for result in results if result.status != "ok"]
    print(f"{len(results)} submissions, {len(odd)} with a status other than ok", file=sys.stderr)
    for result in odd:
        print(f"  {result.name}: {result.status}", file=sys.stderr)
    return 0


def _summary(result: Result) -> str:
    score = "not graded" if result.score is None else f"{result.score:g} of {result.max_score:g}"
    return f"{result.name}: {score}, {result.status}"


class _Lines:
    """Tell a log file what was graded, one line each."""

    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total

    def __call__(self, result: Result) -> None:
        self.done += 1
        print(f"[{self.done}/{self.total}] {_summary(result)}", file=sys.stderr, flush=True)


def _report(given: argparse.Namespace) -> int:
    name, results = read_results(given.results)
    print(write_report(name, results, given.folder))
    return 0


def _solutions(given: argparse.Namespace) -> int:
    from .solutions import write_solutions  # needs nbconvert, which graders may lack

    for path in write_solutions(given.sources, given.out):
        print(path)
    return 0


def _bench(given: argparse.Namespace) -> int:
    print(
        json.dumps(
            benchmark(given.source, given.count, given.jobs, "off" if given.no_sandbox else "auto"), indent=1
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
