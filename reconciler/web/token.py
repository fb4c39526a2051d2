"""The tokens file: who may ask the daemon for what. Read by `run --tokens`, asked by `web.access` at each request.

    ci:      {token: "at least 32 characters", roles: [apply]}
    auditor: {sha256: 64 hex digits of the token's SHA-256, roles: [read]}
    apono:   {signing_keys: ["whsec_…"], roles: [ingest]}

A list of such mappings, each with its `name`, says the same. Of a token only its digest is kept. Who signs what it
sends (Standard Webhooks: `web.signature`) needs no token.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

import yaml

from reconciler.egress.operator_file import OperatorFile, Signature, is_text, shown, signature
from reconciler.errors import ManifestError, Problem
from reconciler.observe.log import log
from reconciler.request.sign import PUBLIC_PREFIX, SECRET_PREFIX, KeyTextError
from reconciler.request.verify import VerifyingKey, parse_verifying_key

TOKEN_MIN_CHARACTERS: Final = 32  # beyond guessing even when every character is only a hex digit (128 bits)
TOKEN_MAX_CHARACTERS: Final = 4096
SIGNING_KEYS_MAX: Final = 8  # each is tried on each request that is signed
_KEY_HINT: Final = "`reconciler signing keygen` makes one: whsec_ for both sides, or whpk_, the public half of a pair"

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_PROOFS: Final = ("token", "sha256", "signing_keys")
_KEYS: Final = ("name", *_PROOFS, "roles", "owners")


class Role(StrEnum):
    """What a token may do. Who may change something may read what is changed."""

    READ = "read"  # listings, states, the page
    APPLY = "apply"  # publish revisions
    OPERATE = "operate"  # pause, replay, cancel
    INGEST = "ingest"  # send events


IMPLIED: Final = {Role.APPLY: Role.READ, Role.OPERATE: Role.READ}


@dataclass(frozen=True, slots=True)
class Token:
    """One entry: `digest` is the SHA-256 of the token, `roles` are those given and those they imply. One that signs has
    `keys` and no digest. `owners` are those that it may apply for, None for all."""

    name: str
    digest: bytes
    roles: frozenset[Role]
    keys: tuple[VerifyingKey, ...] = ()
    owners: frozenset[str] | None = None


class Tokens:
    """The tokens of one file, which is read again when it changes. `seen` is the file's signature from before it was
    read: what is written while it is read counts as a change."""

    def __init__(
        self, path: Path, tokens: tuple[Token, ...], warnings: tuple[Problem, ...], *, seen: Signature
    ) -> None:
        self._path = path
        self._tokens = tokens
        self._seen = seen
        self.warnings = warnings

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file. Raises ManifestError with every problem in it."""
        seen = signature(path)
        tokens, problems = read_tokens(path)
        if any(problem.is_error for problem in problems):
            raise ManifestError(problems)
        return cls(path, tokens, problems, seen=seen)

    def find(self, presented: str) -> Token | None:
        """The entry of a presented token. Every entry is compared, in constant time, whatever is found before."""
        self._refresh()
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        found: Token | None = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found

    def current(self, token: Token) -> Token | None:
        """The entry as the file has it now, with the roles it gives now; None where it is gone or has another token."""
        self._refresh()
        for entry in self._tokens:
            if entry.name == token.name and hmac.compare_digest(entry.digest, token.digest):
                return entry
        return None

    def signers(self) -> tuple[Token, ...]:
        """The entries that sign what they send."""
        self._refresh()
        return tuple(token for token in self._tokens if token.keys)

    def _refresh(self) -> None:
        """Take over a changed file; a broken one changes nothing and is logged once."""
        seen = signature(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        tokens, problems = read_tokens(self._path)
        errors = [problem for problem in problems if problem.is_error]
        if errors:
            log("tokens.refused", where=errors[0].where, error=errors[0].message, errors=len(errors))
            return
        self._tokens = tokens
        log("tokens.read", tokens=len(tokens))


def read_tokens(path: Path) -> tuple[tuple[Token, ...], tuple[Problem, ...]]:
    """The tokens of a file and every problem in it, with positions; never a token."""
    reading = _Reading(path, prefix="tokens", kind="tokens file")
    return reading.tokens(), tuple(reading.problems)


class _Reading(OperatorFile):
    """One pass over a tokens file."""

    def tokens(self) -> tuple[Token, ...]:
        before = len(self.problems)
        root = self.root()
        if root is None:
            if not any(problem.is_error for problem in self.problems[before:]):
                self.add("tokens-empty", "the tokens file has no token", hint="write NAME: {token: …, roles: [read]}")
            return ()
        found = self._listed(root) if isinstance(root, yaml.SequenceNode) else self._named(root)
        self._check_twins(found)
        return tuple(token for _, token in found)

    def _named(self, root: yaml.Node) -> list[tuple[yaml.Node, Token]]:
        found = ((key, self._token(key, name, node, shown(name))) for key, name, node in self.entries(root, ""))
        return [(key, token) for key, token in found if token is not None]

    def _listed(self, root: yaml.SequenceNode) -> list[tuple[yaml.Node, Token]]:
        found: list[tuple[yaml.Node, Token]] = []
        for index, node in enumerate(root.value):
            path = f"[{index}]"
            names = [value for key, value in _pairs(node) if key.value == "name"]
            if not names or not is_text(names[0]):
                self.add("tokens-name", "`name` is missing or no text", path=path, mark=node.start_mark)
                continue
            token = self._token(names[0], names[0].value, node, path)
            if token is not None:
                found.append((names[0], token))
        return found

    def _token(self, key: yaml.Node, name: str, node: yaml.Node, path: str) -> Token | None:
        before = len(self.problems)
        if not _NAME.fullmatch(name):
            hint = "a name is 1 to 63 letters, digits and . _ @ -; it is what the history shows"
            self.add("tokens-name", f"bad name: {shown(name)}", path=path, mark=key.start_mark, hint=hint)
        fields = self._fields(node, path)
        keys = self._signing_keys(fields["signing_keys"], f"{path}.signing_keys") if "signing_keys" in fields else ()
        digest = self._digest(fields, path, key)
        roles = self._roles(fields.get("roles"), f"{path}.roles" if path else "roles", key)
        if keys and roles - {Role.INGEST}:
            hint = "give it a token of its own for anything else"
            self.add("tokens-roles", "who signs may send events only", path=path, mark=key.start_mark, hint=hint)
        owners = self._owners(fields["owners"], f"{path}.owners") if "owners" in fields else None
        if owners is not None and Role.APPLY not in roles:
            hint = f"only the role `{Role.APPLY.value}` is about owners"
            self.add("tokens-owners", "`owners` has no effect here", path=path, mark=key.start_mark, hint=hint)
        if len(self.problems) > before or digest is None:
            return None
        return Token(name, digest, roles, keys, owners)

    def _owners(self, node: yaml.Node, path: str) -> frozenset[str]:
        """Whom a token may apply for; `""` is where manifests name no owner."""
        items = node.value if isinstance(node, yaml.SequenceNode) else []
        if not items or not all(is_text(item) for item in items):
            hint = 'write the owners of `kind: Project`, like [iam]; "" is where there is none'
            self.add("tokens-owners", "`owners` must be a list of texts", path=path, mark=node.start_mark, hint=hint)
            return frozenset()
        return frozenset(item.value for item in items)

    def _signing_keys(self, node: yaml.Node, path: str) -> tuple[VerifyingKey, ...]:
        """Keys of Standard Webhooks, several while one replaces another. What stands there is never quoted."""
        if not isinstance(node, yaml.SequenceNode) or not 0 < len(node.value) <= SIGNING_KEYS_MAX:
            fact = f"`signing_keys` must be a list of 1 to {SIGNING_KEYS_MAX} keys"
            self.add("tokens-key", fact, path=path, mark=node.start_mark, hint=_KEY_HINT)
            return ()
        keys: list[VerifyingKey] = []
        for index, item in enumerate(node.value):
            text = item.value if is_text(item) else ""
            try:
                if not text.startswith((SECRET_PREFIX, PUBLIC_PREFIX)):
                    raise KeyTextError("not a key")
                keys.append(parse_verifying_key(f"{index}", text))
            except KeyTextError:
                where = f"{path}[{index}]"
                self.add("tokens-key", "not a signing key", path=where, mark=item.start_mark, hint=_KEY_HINT)
        return tuple(keys)

    def _fields(self, node: yaml.Node, path: str) -> dict[str, yaml.Node]:
        fields: dict[str, yaml.Node] = {}
        for key, name, value in self.entries(node, path):
            if name in _KEYS:
                fields[name] = value
            else:
                hint = "an entry has `token`, `sha256` or `signing_keys`, and `roles`, and may have `owners`"
                self.add("unknown-key", f"unknown key: {shown(name)}", path=path, mark=key.start_mark, hint=hint)
        return fields

    def _digest(self, fields: dict[str, yaml.Node], path: str, key: yaml.Node) -> bytes | None:
        """The token's digest. What stands there is never quoted."""
        given = [name for name in _PROOFS if name in fields]
        if len(given) != 1:
            hint = "give one of them; with `sha256` the file need not hold the token"
            both = " and ".join(f"`{name}`" for name in given)
            fact = f"{both} stand both" if given else "`token`, `sha256` or `signing_keys` is missing"
            self.add("tokens-token", fact, path=path, mark=key.start_mark, hint=hint)
            return None
        if given[0] == "signing_keys":
            return b""
        node = fields[given[0]]
        where = f"{path}.{given[0]}" if path else given[0]
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        if given[0] == "sha256":
            # whatever YAML takes it for: 64 digits are a number, and 1e3… a float
            if not _SHA256.fullmatch(text):
                hint = "printf %s TOKEN | sha256sum"
                self.add("tokens-sha256", "`sha256` must be 64 hex digits", path=where, mark=node.start_mark, hint=hint)
                return None
            return bytes.fromhex(text)
        reason = _judge_token(text)
        if reason is not None:
            hint = "make one with: openssl rand -hex 32"
            self.add("tokens-token", reason, path=where, mark=node.start_mark, hint=hint)
            return None
        return hashlib.sha256(text.encode("ascii")).digest()

    def _roles(self, node: yaml.Node | None, path: str, key: yaml.Node) -> frozenset[Role]:
        known = ", ".join(Role)
        if node is None or not isinstance(node, yaml.SequenceNode) or not node.value:
            fact = "`roles` is missing" if node is None else "`roles` must be a list of at least one role"
            mark = key.start_mark if node is None else node.start_mark
            self.add("tokens-roles", fact, path=path, mark=mark, hint=f"roles are {known}")
            return frozenset()
        roles: set[Role] = set()
        for index, item in enumerate(node.value):
            if not is_text(item) or item.value not in tuple(Role):
                fact = f"not a role: {shown(item.value)}" if is_text(item) else "a role must be text"
                self.add("tokens-roles", fact, path=f"{path}[{index}]", mark=item.start_mark, hint=f"roles are {known}")
                continue
            role = Role(item.value)
            roles |= {role, IMPLIED.get(role, role)}
        return frozenset(roles)

    def _check_twins(self, found: list[tuple[yaml.Node, Token]]) -> None:
        names: set[str] = set()
        digests: dict[bytes, str] = {}
        for node, token in found:
            if token.name in names:
                self.add("duplicate-key", f"duplicate name: {token.name}", mark=node.start_mark)
            elif token.digest and token.digest in digests:
                fact = f"`{token.name}` has the token of `{digests[token.digest]}`"
                self.add("tokens-token", fact, mark=node.start_mark, hint="give each its own, so that one can be taken")
            names.add(token.name)
            digests[token.digest] = token.name


def _pairs(node: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _judge_token(text: str) -> str | None:
    """What is wrong with a token, without it; None if it can be used."""
    if len(text) < TOKEN_MIN_CHARACTERS:
        return f"`token` has {len(text)} characters, fewer than {TOKEN_MIN_CHARACTERS}"
    if len(text) > TOKEN_MAX_CHARACTERS:
        return f"`token` has more than {TOKEN_MAX_CHARACTERS} characters"
    if not _TOKEN.fullmatch(text):
        return "`token` holds characters that no bearer token has"
    return None
