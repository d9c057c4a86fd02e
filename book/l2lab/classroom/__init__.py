"""The classroom: assignments are handed out, checked, graded and reported on.

``python -m l2lab.classroom --help`` lists what can be done. :mod:`l2lab.classroom.format` reads and releases
assignments, :mod:`l2lab.classroom.grade` grades submissions in processes of their own,
:mod:`l2lab.classroom.sandbox` shuts these in, :mod:`l2lab.classroom.report` shows what came of it.
"""
