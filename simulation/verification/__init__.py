"""What `trifed verify` computes again from all rows in one table, stage by stage."""
