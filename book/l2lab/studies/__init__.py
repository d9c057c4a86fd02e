"""Studies at full scale: ``python -m l2lab.studies NAME --profile quick|full`` measures and writes a file.

There are `choosing`, `comparison`, `gpu`, `images` and `selection`. `images` and `gpu` write into
``book/results``, which is what the book shows; the others write into ``_build/studies``, or where
``--folder`` says, and measure again what the file there does not hold with the same code, data and settings.

The study of selection has modules for its problems (`contests`), `rivals` and tests (`verdict`).
"""
