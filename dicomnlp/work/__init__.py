"""Moves pending objects through extract, analyse and store on Dask distributed."""
