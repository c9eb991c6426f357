"""Fuse: the server fits the fusion layer on the rows that the sites disclosed.

Asks nothing of any site; nothing leaves a hospital.
"""
