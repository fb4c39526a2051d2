"""A file system under SQLite that keeps a copy of the disk before each change of it: what kill -9 would leave there.

Beside each write there is a second copy with half of it made.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw


class Images:
    """Copies of `store`'s file and its WAL, each in a folder of its own, in the order of time."""

    def __init__(self, store: Path, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self.taken: list[Path] = []

    def take(self) -> Path:
        """Copy the disk as it is."""
        image = self._folder / f"{len(self.taken):04}"
        image.mkdir()
        for suffix in ("", "-wal"):
            file = self._store.with_name(f"{self._store.name}{suffix}")
            if file.exists():
                shutil.copy(file, image)
        self.taken.append(image)
        return image

    def take_torn(self, name: str, data: bytes, offset: int) -> None:
        """Copy it as it is with the first half of a write."""
        with (self.take() / Path(name).name).open("r+b") as file:
            file.seek(offset)
            file.write(data[: len(data) // 2])


class _File(apsw.VFSFile):
    def __init__(self, vfs: str, name: Any, flags: list[int], images: Images) -> None:
        super().__init__(vfs, name, flags)
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._images = images

    def xWrite(self, data: bytes, offset: int) -> None:
        self._images.take()
        self._images.take_torn(self._name, data, offset)
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._images.take()
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self._images.take()
        super().xSync(flags)


class _System(apsw.VFS):
    def __init__(self, images: Images) -> None:
        self._images = images
        self._base = apsw.vfs_names()[0]
        super().__init__("imaged", self._base, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self._base, name, flags, self._images)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._images.take()
        super().xDelete(filename, syncdir)


@contextmanager
def imaged(images: Images) -> Iterator[None]:
    """Connections opened inside go by this file system."""
    system = _System(images)
    try:
        yield
    finally:
        system.unregister()
