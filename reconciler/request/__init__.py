"""Which webhooks want an event, and what each is sent. Pure."""
