"""YAML in, validated webhooks or positioned problems out."""
