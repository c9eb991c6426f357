"""The coordinator: it asks the sites, combines their answers and never sees an image."""
