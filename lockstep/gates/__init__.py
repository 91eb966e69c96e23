"""Health gates: a frozen snapshot in, a verdict out (docs/spec/gates.md)."""
