"""Studies at full scale: ``python -m l2lab.studies NAME --profile full`` writes a file of ``book/results``.

`comparison`, `images`, `selection` and `tables` are studies, each with a function ``main(profile)``.
"""
