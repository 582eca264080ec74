"""`service`: dreamd as a user service of systemd, and a plain process elsewhere."""
