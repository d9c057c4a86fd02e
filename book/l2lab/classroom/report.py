"""What came of an assignment: a page for the person who teaches, one for each student, files for Gradescope.

All pages are single files without scripts. Whatever comes from a submission is escaped.
"""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import keyword
import math
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .grade import Result, Verdict, _cell_text
from .sandbox import Protection

__all__ = [
    "Cluster",
    "ItemStatistics",
    "common_mistakes",
    "feedback_page",
    "gradescope",
    "instructor_page",
    "item_statistics",
    "similar_submissions",
    "write_gradescope",
    "write_report",
]

SHINGLE = 5
MIN_SHINGLES = 12
MIN_SIMILARITY = 0.6


# ---- statistics --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ItemStatistics:
    """How hard a question is, and how well it tells students apart.

    Parameters
    ----------
    name : str
        The question.
    points : float
        Points possible.
    difficulty : float
        Mean share of the points that was reached, 0 (nobody) to 1 (all). Also called facility.
    discrimination : float
        Correlation of the points with those of all other questions (for questions with one test the
        point-biserial correlation, corrected for overlap); NaN if one of the two does not vary.
    upper_lower : float
        Difficulty among the best 27 % minus that among the weakest 27 %, by total score (Kelley, 1939); NaN
        with fewer than four submissions.
    unanswered : float
        Share of the submissions that left it as it was handed out.
    """

    name: str
    points: float
    difficulty: float
    discrimination: float
    upper_lower: float
    unanswered: float


def _graded(results: Iterable[Result]) -> list[Result]:
    return [result for result in results if result.tests]


def item_statistics(results: Iterable[Result]) -> list[ItemStatistics]:
    """Analyse the questions as classical test theory does.

    Parameters
    ----------
    results : iterable of Result
        All of one assignment; those that could not be graded are left out.

    Returns
    -------
    list of ItemStatistics
        One for each question, in order.

    References
    ----------
    T. L. Kelley, "The selection of upper and lower groups for the validation of test items", Journal of
    Educational Psychology 30 (1939).
    """
    graded = _graded(results)
    if not graded:
        return []
    names = list(graded[0].by_question())
    points = np.array([possible for _, possible in graded[0].by_question().values()])
    scores = np.array([[reached for reached, _ in r.by_question().values()] for r in graded], dtype=float)
    total = scores.sum(axis=1)
    group = round(0.27 * len(graded))
    order = np.argsort(total, kind="stable")
    items = []
    for k, name in enumerate(names):
        share = scores[:, k] / points[k] if points[k] else np.zeros(len(graded))
        apart = share[order[-group:]].mean() - share[order[:group]].mean() if group else math.nan
        empty = [_unanswered(r, name) for r in graded]
        items.append(
            ItemStatistics(
                name,
                float(points[k]),
                float(share.mean()),
                _correlation(scores[:, k], total - scores[:, k]),
                float(apart),
                float(np.mean(empty)),
            )
        )
    return items


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or a.std() < 1e-12 or b.std() < 1e-12:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _unanswered(result: Result, question: str) -> bool:
    tests = [test for name, test in result.tests.items() if result.questions[name] == question]
    return all(test.outcome == "not answered" for test in tests)


def common_mistakes(results: Iterable[Result]) -> list[tuple[str, str, list[str]]]:
    """Group what went wrong by test and message.

    Parameters
    ----------
    results : iterable of Result
        All of one assignment.

    Returns
    -------
    list of (str, str, list of str)
        Test, message with its numbers replaced, and names of the submissions; the most common first.
        Questions without answers are left out.
    """
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for result in _graded(results):
        for name, test in result.tests.items():
            if test.outcome not in ("passed", "not answered", "not run"):
                message = test.message if test.outcome in ("failed", "error") else test.outcome
                groups[name, _normal_message(message)].append(result.name)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(test, message, names) for (test, message), names in ordered]


def _normal_message(message: str) -> str:
    message = re.sub(r"0x[0-9a-fA-F]+", "0x…", message)
    message = re.sub(r"(?:tensor|array)\(.*\)", "tensor(…)", message, flags=re.DOTALL)
    message = re.sub(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w)", "…", message)
    return " ".join(message.split())[:200]


# ---- who wrote the same ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """Submissions that have unusual passages in common.

    Parameters
    ----------
    names : tuple of str
        The submissions.
    similarity : float
        The largest one of two of them, 0 to 1.
    passages : tuple of str
        Some lines that two or more of them share and hardly anybody else has.
    """

    names: tuple[str, ...]
    similarity: float
    passages: tuple[str, ...]


def _tokens(source: str) -> list[str]:
    """Words of a program; names that the student has chosen are one word, comments and texts stay."""
    found: list[str] = []
    try:
        stream = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return re.findall(r"\w+|[^\w\s]", source)
    previous = ""
    for token in stream:
        if token.type == tokenize.NAME:
            known = keyword.iskeyword(token.string) or previous == "."
            found.append(token.string if known else "name")
        elif token.type == tokenize.COMMENT:
            found += ["#", *re.findall(r"\w+", token.string.lower())]
        elif token.type in (tokenize.OP, tokenize.NUMBER, tokenize.STRING):
            found.append(token.string)
        previous = token.string
    return found


def _shingles(answers: Mapping[str, str]) -> list[str]:
    """All runs of five words within a cell."""
    found = []
    for grade_id, source in answers.items():
        words = _tokens(source)
        found += [f"{grade_id} {' '.join(words[k : k + SHINGLE])}" for k in range(len(words) - SHINGLE + 1)]
    return found


def similar_submissions(
    results: Sequence[Result], min_similarity: float = MIN_SIMILARITY, common: float = 0.1
) -> list[Cluster]:
    """Find submissions that share passages which hardly anybody else has.

    Short exercises have few right answers, and these look alike. So passages (runs of five words, chosen
    names made equal) that occur in more than a tenth of the submissions do not count, and what is left is
    compared by the cosine of TF-IDF weights. A submission without enough of its own is compared with none.

    Parameters
    ----------
    results : sequence of Result
        All of one assignment.
    min_similarity : float, default 0.6
        From where on two belong together.
    common : float, default 0.1
        Share of the submissions from which on a passage is common (but three may always share it).

    Returns
    -------
    list of Cluster
        The most similar first. It is a reason to read them side by side, and no proof of anything.
    """
    from scipy.sparse.csgraph import connected_components
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    texts = [_shingles(result.answers) for result in results]
    counts = Counter(shingle for text in texts for shingle in set(text))
    most = max(3, common * len(results))
    rare = [[shingle for shingle in text if counts[shingle] <= most] for text in texts]
    chosen = [k for k, text in enumerate(rare) if len(set(text)) >= MIN_SHINGLES]
    if len(chosen) < 2:
        return []
    weights = TfidfVectorizer(analyzer=lambda text: text, sublinear_tf=True)
    matrix = weights.fit_transform([rare[k] for k in chosen])
    neighbors = NearestNeighbors(radius=1 - min_similarity, metric="cosine").fit(matrix)
    graph = neighbors.radius_neighbors_graph(mode="distance")
    clusters = []
    count, labels = connected_components(graph, directed=False)
    for label in range(count):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            part = matrix[members] @ matrix[members].T
            part.setdiag(0)
            group = [results[chosen[k]] for k in members]
            clusters.append(
                Cluster(tuple(r.name for r in group), float(part.max()), _shared_lines(group, results, most))
            )
    return sorted(clusters, key=lambda c: (-c.similarity, c.names))


def _shared_lines(group: Sequence[Result], results: Sequence[Result], most: float) -> tuple[str, ...]:
    def lines(result: Result) -> set[str]:
        return {" ".join(line.split()) for text in result.answers.values() for line in text.split("\n")}

    everywhere = Counter(line for result in results for line in lines(result))
    here = Counter(line for result in group for line in lines(result))
    shared = [line for line, n in here.items() if n > 1 and len(line) > 11 and everywhere[line] <= most]
    return tuple(sorted(shared, key=len, reverse=True)[:5])


# ---- pages -------------------------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --faint: #d5d9de; --bar: #2f6db3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #16191d; --faint: #3a4048; --bar: #7fb2e5; } }
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 68rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { border-bottom: 1px solid var(--faint); padding: .3rem .6rem .3rem 0; text-align: left;
  vertical-align: top; font-weight: 400; }
thead th { font-weight: 600; }
tbody th { min-width: 7rem; max-width: 16rem; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { white-space: pre-wrap; border-left: 3px solid var(--faint); padding-left: .8rem; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg rect { fill: var(--bar); } svg line { stroke: var(--faint); }
.loud { border: 2px solid; padding: .6rem 1rem; white-space: pre-line; }
a { color: inherit; }
"""


def _page(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{html.escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Iterable[int] = ()
) -> str:
    """A table; all cells are escaped, except those that are already markup (:class:`_Markup`)."""
    numbers = set(numbers)

    def cell(k: int, value: Any, tag: str, scope: str = "") -> str:
        css = ' class="n"' if k in numbers else ""
        text = value if isinstance(value, _Markup) else html.escape(str(value))
        return f"<{tag}{scope}{css}>{text}</{tag}>"

    lines = [f"<table>\n<caption>{html.escape(caption)}</caption>\n<thead><tr>"]
    lines.append(
        "".join(cell(k, text, "th", ' scope="col"') for k, text in enumerate(head)) + "</tr></thead>\n<tbody>"
    )
    for row in rows:
        first, *rest = row
        cells = cell(0, first, "th", ' scope="row"') + "".join(
            cell(k, v, "td") for k, v in enumerate(rest, 1)
        )
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</tbody>\n</table>"])


class _Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def _number(value: float, digits: int = 2) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def _names(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _histogram(scores: Sequence[float], top: float) -> str:
    """The distribution of the scores, drawn, with the numbers in it."""
    whole = top <= 24 and all(float(score).is_integer() for score in scores)
    bins = int(top) + 1 if whole else 20
    edges = np.arange(bins + 1) - 0.5 if whole else np.linspace(0, top, bins + 1)
    counts, _ = np.histogram(scores, edges)
    names = [str(k) if whole else f"from {edges[k]:.3g}" for k in range(bins)]
    width, height, step = 40 * bins, 160, 40
    scale = height / max(1, counts.max())
    parts = []
    for k, count in enumerate(counts):
        x, tall = k * step, count * scale
        parts.append(
            f'<rect x="{x + 4}" y="{20 + height - tall:.1f}" width="{step - 8}" height="{tall:.1f}"/>'
        )
        if count:
            parts.append(
                f'<text x="{x + step / 2:g}" y="{15 + height - tall:.1f}" text-anchor="middle">{count}</text>'
            )
        parts.append(f'<text x="{x + step / 2:g}" y="{height + 38}" text-anchor="middle">{names[k]}</text>')
    axis = "score" if whole else "score (lower end of each bar)"
    told = ", ".join(f"{name} points: {count}" for name, count in zip(names, counts, strict=True) if count)
    return (
        f'<svg role="img" viewBox="0 0 {width} {height + 60}" style="width:100%;max-width:{width}px">'
        f"<title>Submissions by score. {told}</title>"
        f'<line x1="0" x2="{width}" y1="{height + 20}" y2="{height + 20}"/>{"".join(parts)}'
        f'<text x="{width / 2:g}" y="{height + 56}" text-anchor="middle">{axis}</text>'
        "</svg>"
    )


def instructor_page(
    name: str,
    results: Sequence[Result],
    protection: Protection | None = None,
    links: Mapping[str, str] | None = None,
) -> str:
    """Make the page for the person who teaches.

    Parameters
    ----------
    name : str
        Name of the assignment.
    results : sequence of Result
        All of it.
    protection : Protection, optional
        Under which they were graded; what was missing is said at the top.
    links : mapping of str to str, optional
        Address of the feedback page of each submission.

    Returns
    -------
    str
        A whole HTML page. It holds messages of hidden tests: it is not for students.
    """
    graded = _graded(results)
    links = links or {}
    parts = ["<p>Not for students: messages of hidden tests stand here.</p>"]
    if protection is not None and protection.warning():
        parts.append(f'<p class="loud" role="note">{html.escape(protection.warning())}</p>')
    parts.append(_overview(results, graded))
    usual = [note for note, n in Counter(n for r in results for n in r.notes).items() if n > len(results) / 2]
    look = [r for r in results if r.status != "ok" or set(r.notes) - set(usual) or r.errors]
    if look or usual:
        parts.append("<h2>What a person should look at</h2>")
        parts += [f"<p>Of most submissions: {html.escape(note)}.</p>" for note in usual]
    if look:
        rows = []
        for r in look:
            told = [note for note in r.notes if note not in usual]
            rows.append((r.name, r.status, "; ".join([*told, *(f"{c}: {e}" for c, e in r.errors.items())])))
        parts.append(_table("Status and notes", ["submission", "status", "notes"], rows))
    doubled = _same_ids(results)
    if doubled:
        parts.append(_table("Submissions with the same STUDENT_ID", ["STUDENT_ID", "submissions"], doubled))
    parts += ["<h2>Questions</h2>", _question_tables(graded)]
    mistakes = common_mistakes(results)[:25]
    if mistakes:
        rows = [(test, len(names), message, _names(names)) for test, message, names in mistakes]
        parts.append("<h2>Most common wrong answers</h2>")
        parts.append(
            _table(
                "Tests that failed with the same message", ["test", "how often", "message", "who"], rows, [1]
            )
        )
    patterns = Counter(
        ", ".join(n for n, t in r.tests.items() if t.outcome != "passed") for r in graded if r.failed()
    )
    if patterns:
        parts.append(
            _table(
                "Tests that fail together", ["tests", "submissions"], patterns.most_common(10), numbers=[1]
            )
        )
    parts += ["<h2>Submissions that look alike</h2>", _cluster_table(results)]
    rows = [
        (
            _Markup(f'<a href="{html.escape(links[r.name])}">{html.escape(r.name)}</a>')
            if r.name in links
            else r.name,
            r.student_id or "",
            r.status,
            "not graded" if r.score is None else f"{r.score:g}",
        )
        for r in results
    ]
    parts.append("<h2>All submissions</h2>")
    parts.append(_table("Scores", ["submission", "STUDENT_ID", "status", "score"], rows, [3]))
    return _page(f"{name}: report", "\n".join(parts))


def _overview(results: Sequence[Result], graded: Sequence[Result]) -> str:
    text = f"<p>{len(results)} submissions, {len(graded)} graded."
    if not graded:
        return text + "</p>"
    scores = [r.score or 0.0 for r in graded]
    top = graded[0].max_score
    text += (
        f" Of {top:g} points: mean {np.mean(scores):.2f}, median {np.median(scores):g}, "
        f"lowest {min(scores):g}, highest {max(scores):g}."
    )
    if manual := graded[0].manual:
        text += " Graded by hand, not counted here: " + html.escape(
            ", ".join(f"{name} ({points:g})" for name, points in manual.items())
        )
    return text + "</p>\n<h2>Scores</h2>\n" + _histogram(scores, top)


def _same_ids(results: Iterable[Result]) -> list[tuple[str, str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for result in results:
        if result.student_id and not any(note.startswith("STUDENT_ID") for note in result.notes):
            groups[result.student_id].append(result.name)
    return [(identity, _names(names)) for identity, names in groups.items() if len(names) > 1]


def _question_tables(graded: Sequence[Result]) -> str:
    rows = [
        (
            item.name,
            f"{item.points:g}",
            _number(item.difficulty),
            _number(item.discrimination),
            _number(item.upper_lower),
            _number(item.unanswered),
        )
        for item in item_statistics(graded)
    ]
    head = ["question", "points", "difficulty", "discrimination", "upper − lower", "unanswered"]
    text = (
        "<p>Difficulty is the mean share of the points (1: all had them). Discrimination is the correlation "
        "with the points of all other questions; upper − lower is the difficulty among the best 27 % minus "
        "that among the weakest. A question with values near 0 or below tells nobody apart: read its tests "
        "again.</p>"
    )
    tests: dict[str, list[Verdict]] = defaultdict(list)
    for result in graded:
        for name, test in result.tests.items():
            tests[name].append(test)
    kinds = ["passed", "failed", "error", "timeout", "died", "not answered", "not run"]
    counts = [
        (name, f"{verdicts[0].points:g}", *(sum(v.outcome == kind for v in verdicts) for kind in kinds))
        for name, verdicts in tests.items()
    ]
    return (
        text
        + _table("Questions", head, rows, range(1, 6))
        + _table("Tests: number of submissions by outcome", ["test", "points", *kinds], counts, range(1, 9))
    )


def _cluster_table(results: Sequence[Result]) -> str:
    clusters = similar_submissions(results)
    if not clusters:
        return "<p>None share unusual passages.</p>"
    rows = [
        (
            _names(c.names, 12),
            _number(c.similarity),
            _Markup(f"<pre>{html.escape(chr(10).join(c.passages))}</pre>"),
        )
        for c in clusters[:30]
    ]
    return (
        "<p>They share passages that hardly anybody else has. That is a reason to read them side by side, "
        "and no proof: they may have learnt together, or from the same page.</p>"
        + _table("Groups", ["submissions", "similarity", "some shared lines"], rows, [1])
    )


_SIGNS = {"passed": "✓", "not answered": "○", "not run": "○"}


def feedback_page(result: Result, name: str) -> str:
    """Make the page for a student.

    Parameters
    ----------
    result : Result
        Of the student's submission.
    name : str
        Name of the assignment.

    Returns
    -------
    str
        A whole HTML page: points, outcomes, the messages that the authors of the tests have written. No
        source of a test, and nothing that was computed while one ran.
    """
    parts = [f"<p>Submission: {html.escape(result.name)}</p>"]
    if result.score is None:
        parts.append(
            f"<p>It could not be graded: {html.escape(result.status)}. That is no score of 0. Please hand in "
            "the notebook (.ipynb) as it was saved by Jupyter or Colab.</p>"
        )
        return _page(f"{name}: feedback", "\n".join(parts))
    parts.append(
        f"<p><strong>{result.score:g} of {result.max_score:g} points</strong> from automatic tests.</p>"
    )
    if result.status != "ok":
        parts.append(f"<p>What went wrong: {html.escape(result.status)}.</p>")
    if result.errors:
        cells = ", ".join(f"{cell} ({_kind_of(text)})" for cell, text in result.errors.items())
        parts.append(
            f"<p>Cells that ended with an exception: {html.escape(cells)}. Restart the kernel and run all "
            "cells from top to bottom to see the same.</p>"
        )
    rows = [(q, f"{s:g} of {p:g}") for q, (s, p) in result.by_question().items()]
    rows += [(q, f"read by a person, up to {p:g}") for q, p in result.manual.items()]
    parts.append(_table("Questions", ["question", "points"], rows))
    tests = [
        (
            grade_id,
            f"{_SIGNS.get(test.outcome, '✗')} {test.outcome}",
            f"{test.score:g} of {test.points:g}",
            test.shown if test.outcome != "passed" else "",
        )
        for grade_id, test in result.tests.items()
    ]
    parts.append(_table("Tests", ["test", "outcome", "points", "what it says"], tests))
    return _page(f"{name}: feedback", "\n".join(parts))


def _kind_of(text: str) -> str:
    import builtins

    kind = text.partition(":")[0]
    return kind if isinstance(getattr(builtins, kind, None), type) else "exception"


def gradescope(result: Result) -> dict[str, Any]:
    """Give a result in the form that Gradescope's autograder reads (``results.json``).

    Parameters
    ----------
    result : Result
        Of one submission.

    Returns
    -------
    dict
        With messages for students only. A submission that could not be graded has to get a number there;
        it gets 0, and the output says that it is none.

    References
    ----------
    Gradescope, "Autograder specifications", output format.
    """
    if result.score is None:
        output = f"COULD NOT BE GRADED ({result.status}). This 0 is not a score: hand in again, or ask."
        return {"score": 0, "output": output, "tests": []}
    return {
        "score": result.score,
        "output": "" if result.status == "ok" else f"What went wrong: {result.status}",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [
            {
                "name": name,
                "score": test.score,
                "max_score": test.points,
                "status": "passed" if test.outcome == "passed" else "failed",
                "output": "" if test.outcome == "passed" else test.shown,
                "visibility": "visible",
            }
            for name, test in result.tests.items()
        ],
    }


# ---- files -------------------------------------------------------------------------------------------------


def _file_name(name: str) -> str:
    """A file name for any name of a submission, different for different ones, that is no path."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:60].strip("_")
    return f"{plain or 'submission'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def write_report(
    name: str, results: Sequence[Result], folder: str | Path, protection: Protection | None = None
) -> Path:
    """Write all pages.

    Parameters
    ----------
    name : str
        Name of the assignment.
    results : sequence of Result
        All of it.
    folder : str or Path
        Made if it does not exist. ``report.html`` is for the person who teaches; ``feedback/`` holds one
        page for each submission and ``index.csv``, which says whose is which.
    protection : Protection, optional
        Under which they were graded.

    Returns
    -------
    Path
        Of ``report.html``.
    """
    folder = Path(folder)
    (folder / "feedback").mkdir(parents=True, exist_ok=True)
    links = {}
    with open(folder / "feedback" / "index.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["submission", "student_id", "file"])
        for result in results:
            target = _file_name(result.name) + ".html"
            links[result.name] = f"feedback/{target}"
            (folder / "feedback" / target).write_text(feedback_page(result, name), "utf-8")
            table.writerow([_cell_text(result.name), _cell_text(result.student_id or ""), target])
    page = folder / "report.html"
    page.write_text(instructor_page(name, results, protection, links), "utf-8")
    return page


def write_gradescope(results: Sequence[Result], folder: str | Path) -> None:
    """Write ``results.json`` for one submission, or a folder with one for each of several.

    Parameters
    ----------
    results : sequence of Result
        One, as in Gradescope's container (the folder is ``results`` there), or many.
    folder : str or Path
        Made if it does not exist.
    """
    for result in results:
        place = Path(folder) if len(results) == 1 else Path(folder) / _file_name(result.name)
        place.mkdir(parents=True, exist_ok=True)
        text = json.dumps(gradescope(result), indent=1, ensure_ascii=False)
        (place / "results.json").write_text(text + "\n", "utf-8")
