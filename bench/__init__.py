"""How fast vmproxy is, beside the smallest server that could do its work: ``python -m bench``. See README.md."""
