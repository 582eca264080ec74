"""What `dreamctl doctor` looks at. Each file has one subject: `look` gathers facts and changes nothing, `check`
judges them and is pure. Nothing here needs a daemon that lives."""
