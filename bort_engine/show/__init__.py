"""Values in words, tables and figures."""
