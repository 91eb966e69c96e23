"""One file a command; ``client.main`` holds the table of them."""
