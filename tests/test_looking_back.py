"""The article claim by claim, and twenty beliefs: complete, counted, with evidence, and true of the code."""

from __future__ import annotations

import json
import re
from collections import Counter

import nbformat
import pytest

from common import BOOK

ARTICLE = (BOOK / "article.md").read_text("utf-8")
CLAIMS = re.findall(
    r'> \*\*(\d+)\.\*\* <span lang="zh-Hans">.+?</span>\n>\n> \*.+?\*\n\n'
    r"\*\*(Right|Wrong|It depends)\.?\*\* (.+)\n\n\*A correct sentence:\* .+\.\n",
    ARTICLE,
)
PRINTED = re.search(r"```python\n(.*?)```", ARTICLE, re.DOTALL)[1]
CELLS = nbformat.read(BOOK / "misconceptions.ipynb", 4).cells
BELIEFS = re.findall(
    r'<a id="sec-belief-[\w-]+"></a>\n\n### (\d+)\. (.+)\n\n'
    r"\*\*(True|False|It depends)\.\*\* (.+)\n\nAt length: (.+)\.",
    "\n\n".join(cell.source for cell in CELLS),
)
PLACE = re.compile(r"\]\((?:intro|\d\d_\w+)\.ipynb#(?:sec|ch|eq|fig|ex)-[\w-]+\)")


def test_every_claim_has_a_verdict_with_evidence_and_the_summary_counts_them():
    assert [int(number) for number, *_ in CLAIMS] == list(range(1, ARTICLE.count("\n> **") + 1))
    assert not [number for number, _, why in CLAIMS if not PLACE.search(why)], "no link to the book"
    said = re.search(r"makes (\d+) claims: (\d+) are right, (\d+) are wrong, and (\d+) depend", ARTICLE)
    count = Counter(verdict for _, verdict, _ in CLAIMS)
    assert [*map(int, said.groups())] == [len(CLAIMS), count["Right"], count["Wrong"], count["It depends"]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ("model(torch.ones(2, 1, 28, 28))", RuntimeError, "to have 784 channels, but got 1"),
        ("ImageClassifier(1, 10)(torch.ones(2, 1, 64, 64))", TypeError, "received an invalid combination"),
        ("WithoutLine(1, 10)(torch.ones(2, 1, 64, 64))", RuntimeError, "mat1 and mat2 shapes cannot be mult"),
        ("WithoutLine(1, 10)(torch.ones(2, 1, 48, 48))", RuntimeError, "is invalid for input"),
        ("L2Regularizer(0.01)(torch.ones(2, 10))", AttributeError, "has no attribute 'apply'"),
        ("L2正则化层(10, 0.01)(torch.ones(2, 10))", TypeError, "object is not callable"),
        ("criterion(torch.ones(4, 10), torch.ones(4))", RuntimeError, "Boolean value of Tensor"),
    ],
)
def test_the_printed_code_ends_silently_and_fails_as_the_page_says(call, error, message):
    code: dict = {}
    exec(PRINTED, code)  # without an error
    if "WithoutLine" in call:  # that of the second error
        exec(re.sub(r"\n +x = torch\.max\(.*", "", PRINTED).replace("ImageClassifier", "WithoutLine"), code)
    assert code["model"].fc1.weight.numel() == 20_971_520
    with pytest.raises(error, match=message):
        eval(call, code)
    assert re.search(rf"\*{error.__name__}, [^*]*{message}", ARTICLE)


def test_the_questionnaire_has_the_same_statements_and_the_verdicts_in_its_fold():
    assert [int(number) for number, *_ in BELIEFS] == list(range(1, 21))
    assert not [belief for _, belief, *_, place in BELIEFS if not PLACE.search(place)]
    page = (BOOK / "for_instructors.md").read_text("utf-8").partition("(sec-questionnaire)=")[2]
    listed, _, fold = page.partition("<details>")
    assert re.findall(r"(?m)^(\d+)\. (.+)\.$", listed) == [belief[:2] for belief in BELIEFS]
    for verdict in ("True", "It depends", "False"):
        numbers = [number for number, _, given, *_ in BELIEFS if given == verdict]
        assert f"- **{verdict}**: {', '.join(numbers)}\n" in fold


def test_the_tables_of_the_exploration_are_those_of_its_file():
    """They are written by hand on the page of the protocol."""
    page = (BOOK / "protocol.md").read_text("utf-8").partition("(sec-exploration)=")[2]
    rows = [re.findall(r"(?<=\| )\d?\.\d+(?= )", line) for line in page.splitlines()]
    file = json.loads((BOOK / "results" / "selection-exploration.json").read_text("utf-8"))
    f1 = {(row["problem"], row["method"]): row["f1_at_truth"] for row in file["summary"]}
    methods = ("L2 gates", "STG", "LassoNet", "group lasso (prox)", "random forest", "ANOVA")
    methods += ("mutual information",)
    problems = dict.fromkeys(problem for problem, _ in f1)
    told = [[float(v) for v in row[1:]] for row in rows if len(row) == 8]
    assert told == [[pytest.approx(f1[p, m], abs=0.00501) for m in methods] for p in problems]
    tried = [[row[k] for k in ("all", "sparse", "digits", "tables")] for row in file["tried"]["rankings"]]
    told = [[float(v) for v in row] for row in rows if len(row) == 4]
    assert told[: len(tried)] == [[pytest.approx(v, abs=0.000501) for v in row] for row in tried]
