"""Taking dreams back out of the field that they were fed to, by the host that feeds it."""
