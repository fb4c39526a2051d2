"""How reading commands reach the store: opened, never made."""

import contextlib
from collections.abc import AsyncIterator

from reconciler.errors import StoreError
from reconciler.store.base import Store


@contextlib.asynccontextmanager
async def reading(url: str) -> AsyncIterator[Store]:
    """The existing store at `url`. Raises StoreError where there is none."""
    from reconciler.store.open import open_store

    store = open_store(url, create=False)
    if store is None:
        raise StoreError(
            f"there is no store: {url}", hint="`reconciler apply` makes it; `--store` or RECONCILER_STORE names another"
        )
    async with store:
        yield store
