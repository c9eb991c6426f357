"""Patients who object: whose data is not read, what was kept of them, where they took part."""
