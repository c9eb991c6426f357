"""Secure aggregation: a server learns the sum over sites, and of no single site anything."""
