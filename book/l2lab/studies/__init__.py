"""Studies at full scale: ``python -m l2lab.studies NAME --profile quick|full`` measures and writes a file.

Each of `comparison`, `images`, `selection` and `tables` has a function ``main(profile)``. What they write is in
``_build/studies``, or in the folder that ``--folder`` names; ``book/results`` is what the book shows. A row is
measured again unless the file holds it with the same code, data and settings.
"""
