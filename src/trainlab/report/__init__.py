"""Everything on one page: all results of the pipeline as one self-contained HTML file."""
