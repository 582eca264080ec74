"""`service`: run dreamd as a user service of systemd, or as a plain process without systemd."""
