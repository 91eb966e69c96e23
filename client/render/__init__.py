"""What people see of a run: a tree of lines, drawn live on a terminal and as changes elsewhere."""
