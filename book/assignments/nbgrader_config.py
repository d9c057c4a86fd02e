"""What nbgrader is told about this course, by `make release`, `make grade`, and in this folder."""

from nbgrader.preprocessors import ClearHiddenTests, GetGrades
from nbgrader.utils import is_grade, is_solution


def hide_tests(notebook, resources):
    """Show of a failed hidden test its message alone: neither its code nor lines of the traceback."""
    notebook, resources = ClearHiddenTests().preprocess(notebook, resources)
    for cell in notebook.cells:
        if is_grade(cell) and not is_solution(cell):
            for output in cell.get("outputs", []):
                if output.output_type == "error":
                    output.traceback = [f"{output.ename}: {output.evalue}"]
    return notebook, resources


c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "l2"
c.ClearSolutions.code_stub = {
    "python": '# YOUR CODE HERE\nraise RuntimeError("this question has no answer yet")'
}
# Seconds for one cell. The first import of torch counts, and takes 15 on a busy machine.
c.Execute.timeout = 60
# Else a warning on stderr in a test costs all of its points.
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = r"(?s).*"
styles = "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor"
c.GenerateFeedback.preprocessors = [GetGrades, hide_tests, styles]
