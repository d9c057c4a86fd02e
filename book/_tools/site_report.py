"""Measure the built site with Lighthouse: ``python book/_tools/site_report.py`` (``make site-report``).

Lighthouse needs Node.js and is fetched once, by npm, into ``_build/tools``; a Chromium is found as for the
browser tests.  The pages come from a server on this machine that compresses as GitHub Pages does.  Lighthouse
then computes how they load on a desktop computer (40 ms, 10 Mbit/s) and on a telephone (150 ms, 1.6 Mbit/s,
a processor four times slower than this one).  A page that misses a target is measured three times, and the
medians count: on a busy machine single runs scatter.

The table goes to the console, to ``_build/site-report.md`` and ``.json``, and to the summary of a GitHub
workflow.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import chromium
from common import BOOK, BUILD, SITE, chapters, say, stop
from serve import free_server

LIGHTHOUSE = "12.8.2"  # the last line that runs on Node.js 20; 13 needs 22.19
OLDEST_NODE = (18, 20)
TOOLS = BUILD / "tools"
PRESETS = {"desktop": ["--preset=desktop"], "mobile": []}  # a telephone is Lighthouse's default
RUNS = 3
LONGEST = 180  # seconds for one run
ACCESSIBILITY = 100
# The telephone's score depends on how fast this machine is, and starting MathJax alone keeps the telephone's
# processor busy for a third of a second: here the target only guards what has been reached.
PERFORMANCE = {"desktop": 95, "mobile": 70}
# Nothing but this machine can be reached, so a page that asks another host is seen to fail.
BROWSER = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    '--host-resolver-rules="MAP * ~NOTFOUND, EXCLUDE localhost"'
)
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
HEADINGS = {
    "page": "Page",
    "preset": "Preset",
    "performance": "Performance",
    "accessibility": "Accessibility",
    "best_practices": "Best practices",
    "seo": "SEO",
    "lcp": "LCP (s)",
    "blocking": "Blocking (ms)",
    "shift": "CLS",
    "weight": "Weight (kB)",
    "requests": "Requests",
    "runs": "Runs",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """What Lighthouse says about a page.

    Attributes
    ----------
    page, preset : str
        What was measured.
    performance, accessibility, best_practices, seo : int
        Scores, at most 100.
    lcp : float
        Largest contentful paint, in seconds.
    blocking : int
        Total blocking time, in milliseconds.
    shift : float
        Cumulative layout shift.
    weight : int
        All that the page loads, as it travels, in kB.
    requests : int
        Number of files.
    runs : int
        Of how many runs these are the medians.
    """

    page: str
    preset: str
    performance: int
    accessibility: int
    best_practices: int
    seo: int
    lcp: float
    blocking: int
    shift: float
    weight: int
    requests: int
    runs: int = 1


def read_row(report: dict[str, Any], page: str, preset: str) -> Row:
    """Take the numbers of the table out of Lighthouse's report.

    Parameters
    ----------
    report : dict
        Lighthouse's report.
    page, preset : str
        What was measured.

    Returns
    -------
    Row
        The numbers.

    Raises
    ------
    ValueError
        If Lighthouse could not measure the page; the message has its reason.
    """
    if error := report.get("runtimeError"):
        raise ValueError(f"{page} ({preset}): {error.get('code')}: {error.get('message')}")
    scores = [report["categories"][name]["score"] for name in CATEGORIES]
    if None in scores:
        lacking = CATEGORIES[scores.index(None)]
        raise ValueError(f"{page} ({preset}): Lighthouse gives no score for {lacking}")
    audits = report["audits"]
    # Widgets are imported from addresses that this page has made: nothing travels.
    requests = [
        item
        for item in audits["network-requests"]["details"]["items"]
        if item["url"].startswith(("http:", "https:"))
    ]
    return Row(
        page,
        preset,
        *(round(100 * score) for score in scores),
        lcp=round(audits["largest-contentful-paint"]["numericValue"] / 1000, 2),
        blocking=round(audits["total-blocking-time"]["numericValue"]),
        shift=round(audits["cumulative-layout-shift"]["numericValue"], 3),
        weight=round(sum(item["transferSize"] for item in requests) / 1000),
        requests=len(requests),
    )


def median(rows: list[Row]) -> Row:
    """Return the medians of several runs of the same page."""
    first = rows[0]
    numbers = {
        field.name: type(getattr(first, field.name))(
            round(statistics.median(getattr(row, field.name) for row in rows), 3)
        )
        for field in dataclasses.fields(Row)
        if field.name not in ("page", "preset", "runs")
    }
    return dataclasses.replace(first, **numbers, runs=len(rows))


def misses(row: Row) -> list[str]:
    """Return one line for each target that a page misses."""
    targets = {"performance": PERFORMANCE[row.preset], "accessibility": ACCESSIBILITY}
    return [
        f"{row.page} ({row.preset}): {name} {getattr(row, name)}, target {target}"
        for name, target in targets.items()
        if getattr(row, name) < target
    ]


def measure(run: Callable[[str, str], dict[str, Any]], page: str, preset: str) -> Row:
    """Measure a page once, and twice more if it misses a target.

    Parameters
    ----------
    run : callable
        Gives Lighthouse's report for a page and a preset.
    page, preset : str
        What to measure.

    Returns
    -------
    Row
        The first run, or the medians of three.
    """
    rows = [read_row(run(page, preset), page, preset)]
    while misses(rows[0]) and len(rows) < RUNS:
        rows.append(read_row(run(page, preset), page, preset))
    return median(rows) if len(rows) > 1 else rows[0]


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a table in Markdown, its columns aligned."""
    cells = [list(HEADINGS.values())]
    cells += [[str(getattr(row, name)) for name in HEADINGS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width if k < 2 else "-" * (width - 1) + ":" for k, width in enumerate(widths)])
    sides = (str.ljust, str.ljust, *[str.rjust] * (len(HEADINGS) - 2))
    lines = [
        " | ".join(justify(text, width) for justify, text, width in zip(sides, line, widths, strict=True))
        for line in cells
    ]
    return "\n".join(f"| {line} |" for line in lines)


def pages() -> list[str]:
    """The pages to measure: the start page, all chapters, and one assignment."""
    names = [notebook.relative_to(BOOK.parent).with_suffix("").as_posix() for notebook in chapters()]
    names.sort(key=lambda name: name != "book/intro")
    return names + [f"book/assignments/{path.stem}" for path in sorted(BOOK.glob("assignments/*.ipynb"))[:1]]


def node_version() -> tuple[int, ...] | None:
    """Version of Node.js, or None if there is none."""
    node = shutil.which("node")
    if not node:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in said.strip().lstrip("v").split(".")[:2])


def lighthouse() -> Path:
    """Find Lighthouse, or let npm fetch it.

    Returns
    -------
    pathlib.Path
        Its program, for Node.js.

    Raises
    ------
    SystemExit
        If Node.js or npm is missing or too old, or npm fails; the message says what to do.
    """
    wanted = ".".join(map(str, OLDEST_NODE))
    version = node_version()
    if version is None or version < OLDEST_NODE or not shutil.which("npm"):
        found = "none was found" if version is None else f"Node.js {'.'.join(map(str, version))} was found"
        if version and version >= OLDEST_NODE:
            found += ", without npm"
        stop(
            f"The report needs Node.js {wanted} or newer with npm; {found}.\n"
            "Install both (Debian: apt-get install nodejs npm). The book itself needs neither."
        )
    folder = TOOLS / "node_modules" / "lighthouse"
    package = folder / "package.json"
    if not package.exists() or json.loads(package.read_text("utf-8"))["version"] != LIGHTHOUSE:
        say(f"Fetching Lighthouse {LIGHTHOUSE} into {TOOLS.relative_to(BUILD.parent)} …")
        TOOLS.mkdir(parents=True, exist_ok=True)
        quiet = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        command = [shutil.which("npm"), "install", "--prefix", str(TOOLS), *quiet, f"lighthouse@{LIGHTHOUSE}"]
        if subprocess.run(command).returncode:
            stop("npm could not install Lighthouse (see above). The report needs the network once.")
    return folder / "cli" / "index.js"


def run_lighthouse(program: Path, browser: str, url: str, preset: str) -> dict[str, Any]:
    """Return Lighthouse's report for an address."""
    command = [
        shutil.which("node"), str(program), url, *PRESETS[preset], "--quiet", "--output=json",
        f"--only-categories={','.join(CATEGORIES)}", f"--chrome-flags={BROWSER}",
        "--no-enable-error-reporting",
    ]  # fmt: skip
    environment = {**os.environ, "CHROME_PATH": browser}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{url} ({preset}): Lighthouse was not done after {LONGEST} s") from error
    if not done.stdout:
        raise ValueError(f"{url} ({preset}): Lighthouse gave no report: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def write(rows: list[Row], problems: list[str], folder: Path = BUILD) -> None:
    """Write the report as JSON and Markdown, and add it to the summary of a GitHub workflow."""
    document = {
        "lighthouse": LIGHTHOUSE,
        "rows": [dataclasses.asdict(row) for row in rows],
        "problems": problems,
    }
    (folder / "site-report.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    text = f"## The site, measured by Lighthouse {LIGHTHOUSE}\n\n{table(rows)}\n"
    if problems:
        text += "\nMissed:\n\n" + "\n".join(f"- {line}" for line in problems) + "\n"
    (folder / "site-report.md").write_text(text, "utf-8")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a", encoding="utf-8") as file:
            file.write(text)


def main() -> None:
    """Read the command line, measure, and end with 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Measure the built site with Lighthouse.")
    parser.add_argument(
        "pages", nargs="*", help="book/01_principles …; default: start page, chapters, one assignment"
    )
    parser.add_argument("--preset", choices=PRESETS, help="default: both")
    arguments = parser.parse_args()
    if not (SITE / "index.html").exists():
        stop("The book is not built yet: make book")
    wanted = arguments.pages or pages()
    if absent := [page for page in wanted if not (SITE / f"{page}.html").exists()]:
        stop(f"There is no page {', '.join(absent)} in the site; write it like book/01_principles.")
    browser = chromium.find()
    if browser is None:
        stop("The report needs Chromium: python book/_tools/chromium.py installs one.")
    program = lighthouse()
    rows, problems = [], []
    with free_server(8000) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def run(page: str, preset: str) -> dict[str, Any]:
            return run_lighthouse(
                program, browser, f"http://localhost:{server.server_port}/{page}.html", preset
            )

        for page in wanted:
            for preset in [arguments.preset] if arguments.preset else PRESETS:
                say(f"  {page}, {preset} …")
                try:
                    rows.append(measure(run, page, preset))
                except ValueError as error:
                    problems.append(str(error))
        server.shutdown()
    problems += [line for row in rows for line in misses(row)]
    write(rows, problems)
    say(table(rows))
    for line in problems:
        say(f"MISSED {line}")
    raise SystemExit(bool(problems))


if __name__ == "__main__":
    main()
