"""The site's policy: what may leave this hospital, owned by whoever decides that in it."""
