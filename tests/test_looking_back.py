"""The article claim by claim, and twenty beliefs: complete, counted, with evidence, and true of the code."""

from __future__ import annotations

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
