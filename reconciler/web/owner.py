"""Whose webhooks a token may apply: the operator's answer to manifests that name another owner than their own.

A plan is judged by the policy of the owner that its manifests name, so who may write them could name one without a
policy. Asked by `web.state` before it publishes, holds or releases, where the tokens file gives a token its `owners`.
"""

from collections.abc import Iterable
from typing import Final

from starlette.responses import Response

from reconciler.models.revision import NOBODY, ChangeSet, LiveWebhook
from reconciler.source.problem import problem_response
from reconciler.store.base import RevisionStore
from reconciler.web.content import CLOSE
from reconciler.web.token import Token

HINT: Final = (
    "say the `owner` of this pipeline in `kind: Project`; the operator gives a token its `owners` in the tokens file"
)


def refused_owner(token: Token | None, owner: str) -> Response | None:
    """The answer to a token that is not for this owner."""
    if token is None or token.owners is None or owner in token.owners:
        return None
    fact = f"the token `{token.name}` may not apply for owner `{owner}`"
    return problem_response(403, fact, hint=HINT, headers=CLOSE, code="refused")


async def refused_change_set(token: Token | None, change_set: ChangeSet, store: RevisionStore) -> Response | None:
    """The same for a change set, all of whose owners are asked about. Raises StoreError."""
    if token is None or token.owners is None:
        return None
    owner = await _foreign_owner(change_set, token.owners, store)
    return None if owner is None else refused_owner(token, owner)


async def _foreign_owner(change_set: ChangeSet, owners: frozenset[str], store: RevisionStore) -> str | None:
    """An owner whose webhooks the change set would write, take or delete though it is none of `owners`. What nobody
    owns may be taken."""
    allowed = owners | {NOBODY}
    named = {change_set.owner} - owners | {item.owner for item in change_set.upserts} - allowed
    if named:
        return min(named)
    # a change set is for the state that it was made from: where this is another one, it is stale
    live = (await store.live_state()).webhooks
    return next(iter(sorted(_owners_of(change_set, live) - allowed)), None)


def _owners_of(change_set: ChangeSet, live: Iterable[LiveWebhook]) -> set[str]:
    touched = {*change_set.deletes, *change_set.released, *[item.uid for item in change_set.upserts]}
    return {item.owner for item in live if item.uid in touched}
