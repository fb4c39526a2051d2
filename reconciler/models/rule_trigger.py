"""What a webhook's triggers may stand with. Pure; part of `models.rule`.

Operational events have nothing in common with access requests: neither fields nor what filters ask for.
"""

from collections.abc import Mapping
from typing import Any, Final

from reconciler.models.fault import Fault, Faults
from reconciler.models.webhook import Trigger

_OPERATIONAL: Final = frozenset(trigger.value for trigger in Trigger if trigger.is_operational)


def check_triggers(spec: Mapping[str, Any]) -> Faults:
    """The faults of triggers, and of filters beside operational ones."""
    triggers = spec.get("triggers")
    known = [trigger for trigger in triggers if isinstance(trigger, str)] if isinstance(triggers, list | tuple) else []
    own = [trigger for trigger in known if trigger in _OPERATIONAL]
    if not own:
        return
    other = next((index for index, trigger in enumerate(known) if trigger not in _OPERATIONAL), None)
    if other is not None:
        message = f"`triggers` mixes operational events with others: {own[0]} and {known[other]}"
        hint = "make two webhooks of it: their events have no fields in common"
        yield Fault("triggers.mixed", ("spec", "triggers", other), message, hint)
    if spec.get("filters"):
        message = f"`filters` ask about access requests, which {own[0]} is not"
        hint = 'use `when`, like data.webhook.name.startsWith("okta-")'
        yield Fault("filter.operational", ("spec", "filters"), message, hint, on_key=True)
