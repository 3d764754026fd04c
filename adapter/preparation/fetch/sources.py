"""Where the files of a known model are published, and which of them a part is made of."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from adapter.preparation.fetch.hub import Hub, Listing, RemoteFile
from adapter.protocol import GRAPH, MAIN, Part, TypeName


class Source(Protocol):
    def offer(self, part: Part, revision: str, pinned: Mapping[str, str]) -> Listing | None:
        """The files that a part is made of, of the commit that is pinned for a repository; None: not published here."""


class HubRepositories:
    """`https://huggingface.co/immich-app/<name>`, or another organisation's. Each revision is a branch."""

    def __init__(self, hub: Hub, organization: str) -> None:
        self._hub = hub
        self._organization = organization

    def offer(self, part: Part, revision: str, pinned: Mapping[str, str]) -> Listing | None:
        repository = f"{self._organization}/{part.name}"
        listing = self._hub.list_files(repository, pinned.get(repository, revision))
        return replace(listing, files=tuple(file for file in listing.files if part.owns(file.path)))


# RapidOCR publishes the PP-OCR graphs that Immich runs. Source: its default_models.yaml, where a file's hash has been
# the same in every release that names it, up to 3.10.0.
RAPIDOCR = "RapidAI/RapidOCR"
RAPIDOCR_TAG = "v3.9.2"
RAPIDOCR_URL = f"https://www.modelscope.cn/models/{RAPIDOCR}/resolve/{RAPIDOCR_TAG}/onnx"
RAPIDOCR_SHA256 = {
    "PP-OCRv5/det/ch_PP-OCRv5_det_mobile": "4d97c44a20d30a81aad087d6a396b08f786c4635742afc391f6621f5c6ae78ae",
    "PP-OCRv5/det/ch_PP-OCRv5_det_server": "0f8846b1d4bba223a2a2f9d9b44022fbc22cc019051a602b41a7fda9667e4cad",
    "PP-OCRv5/rec/ch_PP-OCRv5_rec_mobile": "5825fc7ebf84ae7a412be049820b4d86d77620f204a041697b0494669b1742c5",
    "PP-OCRv5/rec/ch_PP-OCRv5_rec_server": "e09385400eaaaef34ceff54aeb7c4f0f1fe014c27fa8b9905d4709b65746562a",
    "PP-OCRv5/rec/el_PP-OCRv5_rec_mobile": "b4368bccd557123c702b7549fee6cd1e94b581337d1c9b65310f109131542b7f",
    "PP-OCRv5/rec/en_PP-OCRv5_rec_mobile": "c3461add59bb4323ecba96a492ab75e06dda42467c9e3d0c18db5d1d21924be8",
    "PP-OCRv5/rec/eslav_PP-OCRv5_rec_mobile": "08705d6721849b1347d26187f15a5e362c431963a2a62bfff4feac578c489aab",
    "PP-OCRv5/rec/korean_PP-OCRv5_rec_mobile": "cd6e2ea50f6943ca7271eb8c56a877a5a90720b7047fe9c41a2e541a25773c9b",
    "PP-OCRv5/rec/latin_PP-OCRv5_rec_mobile": "b20bd37c168a570f583afbc8cd7925603890efbcdc000a59e22c269d160b5f5a",
    "PP-OCRv5/rec/th_PP-OCRv5_rec_mobile": "de541dd83161c241ff426f7ecfd602a0ba77d686cf3ab9a6c255ea82fd08006e",
    "PP-OCRv6/det/PP-OCRv6_det_tiny": "f42c0fbd294d95eac1a550e131b277dac97462c8025fa4b6c3cec1b7894bd3d5",
    "PP-OCRv6/det/PP-OCRv6_det_small": "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    "PP-OCRv6/det/PP-OCRv6_det_medium": "92078b7355007ccfffcd4c8cd441a3afd4538904d06881b29a155e1e679907c2",
    "PP-OCRv6/rec/PP-OCRv6_rec_tiny": "e16e242de5937ad92609223f19bc2aff3727ee40b095f996907c24749bad251b",
    "PP-OCRv6/rec/PP-OCRv6_rec_small": "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    "PP-OCRv6/rec/PP-OCRv6_rec_medium": "eef444829dbbe18d7fea59a3f6eb75647518d2b3a9568d27c92e42940204894b",
}


class RapidOcrRelease:
    """The PP-OCR graphs that RapidOCR publishes for revision `main`: one file a part, of a hash that is known here."""

    def __init__(self, url: str = RAPIDOCR_URL) -> None:
        self._url = url

    def offer(self, part: Part, revision: str, pinned: Mapping[str, str]) -> Listing | None:
        path = _rapidocr_path(part)
        if revision != MAIN or path not in RAPIDOCR_SHA256:
            return None
        file = RemoteFile(f"{part.type}/{GRAPH}", f"{self._url}/{path}.onnx", sha256=RAPIDOCR_SHA256[path])
        return Listing(RAPIDOCR, RAPIDOCR_TAG, (file,))


def _rapidocr_path(part: Part) -> str:
    """Such as `PP-OCRv5/rec/latin_PP-OCRv5_rec_mobile`; version 6 has one model for all languages."""
    prefix, _, base = part.name.rpartition("__")
    version, _, size = base.rpartition("_")
    kind = "det" if part.type is TypeName.DETECTION else "rec"
    language = prefix.lower() or ("ch" if version == "PP-OCRv5" else "")
    return f"{version}/{kind}/{language}{'_' if language else ''}{version}_{kind}_{size}"
