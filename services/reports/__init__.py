"""What a night was: a JSON document for machines and a page for people, from the run's events and the catalogue."""
