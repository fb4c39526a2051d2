"""Events in: from bytes to `dispatch.intake`."""
