"""A local server that behaves like Okta Workflows."""
