"""Where the files of a known model are published, and which of them a part is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Protocol

from adapter.protocol import GRAPH, PARTS, Part, TypeName, types_of

ORGANISATION = "immich-app"
BRANCH = "main"

_OTHER_FORMATS = (".armnn", ".rknn")
_OTHER_FOLDERS = {"rknpu", "fp16"}


@dataclass(frozen=True)
class RemoteFile:
    """A file as its source describes it.

    Attributes:
        path: below the model's folder, in Immich's layout.
        size: in bytes, where the source says so.
        sha256: of the content; large files of the hub have it.
        git_sha1: of the git blob; small files of the hub have it.
        from_hub: the URL is the hub's, which may be sent the user's token.
    """

    path: str
    url: str
    size: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None
    from_hub: bool = False


@dataclass(frozen=True)
class Listing:
    """Files of one revision of a repository."""

    repository: str
    revision: str
    files: tuple[RemoteFile, ...]

    @property
    def source(self) -> str:
        return f"{self.repository}@{self.revision}"


class Source(Protocol):
    def offer(self, part: Part, pinned: Mapping[str, str]) -> Listing | None:
        """The files that a part is made of, at the revision pinned for their repository; None: not published here."""


class Lister(Protocol):
    def list_files(self, repository: str, revision: str) -> Listing:
        """All files of a revision of a repository of the hub; the answer holds the commit's full name."""


class HubRepositories:
    """`https://huggingface.co/immich-app/<name>`."""

    def __init__(self, hub: Lister) -> None:
        self._hub = hub

    def offer(self, part: Part, pinned: Mapping[str, str]) -> Listing | None:
        repository = f"{ORGANISATION}/{part.name}"
        listing = self._hub.list_files(repository, pinned.get(repository, BRANCH))
        return replace(listing, files=tuple(file for file in listing.files if belongs(file.path, part)))


def belongs(path: str, part: Part) -> bool:
    """Whether a file of a repository is one of a part: all of its folder, except graphs in other formats.

    What lies beside the folders, and one of them needs, is of all.
    """
    if "/" not in path:
        return any(path in PARTS[part.task, type_name].files for type_name in types_of(part.task))
    pure = PurePosixPath(path)
    if pure.parts[:1] != (part.type,) or ".." in pure.parts or pure.suffix in _OTHER_FORMATS:
        return False
    return not _OTHER_FOLDERS.intersection(pure.parts) and (pure.suffix != ".onnx" or pure.name == GRAPH)


# RapidOCR publishes the PP-OCR graphs that Immich 3.1 runs. Source: its default_models.yaml, where these hashes
# have been the same in every release from 3.4 to 3.9.2 that names the file.
RAPIDOCR = "RapidAI/RapidOCR"
RAPIDOCR_TAG = "v3.9.2"
RAPIDOCR_URL = f"https://www.modelscope.cn/models/{RAPIDOCR}/resolve/{RAPIDOCR_TAG}/onnx/PP-OCRv5"
DETECTORS = {
    "mobile": "4d97c44a20d30a81aad087d6a396b08f786c4635742afc391f6621f5c6ae78ae",
    "server": "0f8846b1d4bba223a2a2f9d9b44022fbc22cc019051a602b41a7fda9667e4cad",
}
RECOGNISERS = {
    "ch_mobile": "5825fc7ebf84ae7a412be049820b4d86d77620f204a041697b0494669b1742c5",
    "ch_server": "e09385400eaaaef34ceff54aeb7c4f0f1fe014c27fa8b9905d4709b65746562a",
    "el_mobile": "b4368bccd557123c702b7549fee6cd1e94b581337d1c9b65310f109131542b7f",
    "en_mobile": "c3461add59bb4323ecba96a492ab75e06dda42467c9e3d0c18db5d1d21924be8",
    "eslav_mobile": "08705d6721849b1347d26187f15a5e362c431963a2a62bfff4feac578c489aab",
    "korean_mobile": "cd6e2ea50f6943ca7271eb8c56a877a5a90720b7047fe9c41a2e541a25773c9b",
    "latin_mobile": "b20bd37c168a570f583afbc8cd7925603890efbcdc000a59e22c269d160b5f5a",
    "th_mobile": "de541dd83161c241ff426f7ecfd602a0ba77d686cf3ab9a6c255ea82fd08006e",
}
_PP_OCR = "PP-OCRv5_"
_DEFAULT_LANGUAGE = "ch"


class RapidOcrRelease:
    """The PP-OCR graphs that RapidOCR publishes: one file a part, of a hash that is known here."""

    def __init__(self, url: str = RAPIDOCR_URL) -> None:
        self._url = url

    def offer(self, part: Part, pinned: Mapping[str, str]) -> Listing | None:
        language, _, base = part.name.rpartition("__")
        language, size = (language or _DEFAULT_LANGUAGE).lower(), base.removeprefix(_PP_OCR)
        if base == size or f"{language}_{size}" not in RECOGNISERS:
            return None
        if part.type is TypeName.DETECTION:
            name, sha256 = f"det/ch_{_PP_OCR}det_{size}.onnx", DETECTORS[size]
        else:
            name, sha256 = f"rec/{language}_{_PP_OCR}rec_{size}.onnx", RECOGNISERS[f"{language}_{size}"]
        file = RemoteFile(f"{part.type}/{GRAPH}", f"{self._url}/{name}", sha256=sha256)
        return Listing(RAPIDOCR, RAPIDOCR_TAG, (file,))
