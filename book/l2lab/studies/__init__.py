"""Studies at full scale: ``python -m l2lab.studies NAME --profile quick|full`` measures and writes a file.

`images` and `gpu` write into ``book/results``, which the book shows; `choosing`, `comparison`, `prices`,
`sealed` and `selection` into ``_build/studies`` (or ``--folder``), where what has the same code, data and
settings is kept.
"""
