"""What is kept on disk and how: whole or not at all, resumed where it was cut, by whom."""
