"""A page as a browser would read it, for the tests of this folder."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "rect", "br"}


class Page(HTMLParser):
    """A page as its elements, with the errors that a browser would mend silently."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.errors: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.errors += [f"never closed: {tag}" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.errors.append(f"attribute twice: {tag} {names}")
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open[-1] != tag:
            self.errors.append(f"closed out of order: {tag} while {self._open[-1:]} is open")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    def missing(self) -> list[str]:
        """What keeps a page from being for everybody: landmarks, labels, headings, headers of tables, ways past."""
        labelled = {label["for"] for label in self.all("label")}
        fields = [field for tag in ("input", "select") for field in self.all(tag) if field.get("type") != "hidden"]
        ids = [attrs["id"] for _, attrs in self.elements if "id" in attrs]
        described = [id_ for field in fields for id_ in (field.get("aria-describedby") or "").split()]
        claims = {
            "one title, first heading and main": [len(self.all(tag)) for tag in ("title", "h1", "main")] == [1, 1, 1],
            "a way past the navigation": self.all("a")[0] == {"class": "skip", "href": "#main"},
            "a label for each field": {field["id"] for field in fields} <= labelled,
            "each id once": len(ids) == len(set(ids)),
            "what describes a field is there": set(described) <= set(ids),
            "well formed": self.errors == [],
            "no script": self.all("script") == [],
        }
        return [claim for claim, holds in claims.items() if not holds]
