"""The files of Pictograms-20: what they are stands in README.md, whose they are in ATTRIBUTION.csv."""
