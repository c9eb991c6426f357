"""A hospital's processes: the site service, and Flower's SuperNode that carries its letters."""
