"""fedspark's side of every case."""
