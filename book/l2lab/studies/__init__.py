"""Studies at full scale: ``python -m l2lab.studies NAME --profile quick|full`` measures and writes a file.

Each of `comparison`, `gpu`, `images`, `selection` and `tables` has a function ``main(profile)``. `images`
and `gpu` write into ``book/results``, which is what the book shows; the others write into
``_build/studies``, or where ``--folder`` says, and measure again what the file there does not hold with the
same code, data and settings.
"""
