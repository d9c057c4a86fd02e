"""Studies at full scale: ``python -m l2lab.studies NAME --profile full`` writes a file of ``book/results``.

Each module here is a study and has a function ``main(profile)``.
"""
