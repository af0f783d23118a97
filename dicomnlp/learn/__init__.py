"""How good the findings are: annotated reports read, analysed and scored."""
