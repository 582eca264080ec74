"""`doctor`: find what is wrong. Each file has one subject: `look` gathers facts and changes nothing, `check` is pure
and turns them into findings. None of it needs a running daemon."""
