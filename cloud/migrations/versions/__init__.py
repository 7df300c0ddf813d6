"""One module per schema version, oldest first: `first_schema`."""
