"""A study's statistics of any table: every number from parts that pool, divided by site or not."""
