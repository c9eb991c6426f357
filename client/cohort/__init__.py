"""The hospital's tables: who takes part, with which files, label and split."""
