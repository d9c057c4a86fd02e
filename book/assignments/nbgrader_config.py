"""What nbgrader is told about this course, by `make release`, `make grade`, and in this folder."""

from nbgrader.preprocessors import ClearHiddenTests, GetGrades

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "l2"
c.ClearSolutions.code_stub = {
    "python": '# YOUR CODE HERE\nraise RuntimeError("this question has no answer yet")'
}
# Seconds for one cell. The first import of torch counts, and takes 15 on a busy machine.
c.Execute.timeout = 60
# Of an error its message alone, since a traceback shows lines of hidden tests. (The first is nbgrader's own.)
c.Execute.extra_arguments = ["--HistoryManager.hist_file=:memory:", "--InteractiveShell.xmode=Minimal"]
# Else a warning on stderr in a test costs all of its points.
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = r"(?s).*"
styles = "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor"
c.GenerateFeedback.preprocessors = [GetGrades, ClearHiddenTests, styles]
