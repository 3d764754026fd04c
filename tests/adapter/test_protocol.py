"""What `entries` may say."""

import json

import pytest

from adapter.errors import BadInput, InvalidEntries
from adapter.protocol import (
    Part,
    Payload,
    TaskName,
    TypeName,
    check_payload,
    clean_name,
    parse_entries,
)

VISUAL = '{"clip": {"visual": {"modelName": "ViT-B-32__openai"}}}'


def test_a_task_is_read_with_its_model_and_default_options() -> None:
    entries = parse_entries('{"ocr": {"detection": {"modelName": "PP-OCRv5_mobile"}}}')
    entry = entries[TaskName.OCR][TypeName.DETECTION]
    assert entry.part == Part(TaskName.OCR, TypeName.DETECTION, "PP-OCRv5_mobile")
    assert entry.options.model_dump() == {"min_score": 0.5, "max_resolution": 736}


def test_options_that_immich_sends_are_read() -> None:
    raw = '{"facial-recognition": {"detection": {"modelName": "b", "options": {"minScore": 0.3}}}}'
    assert parse_entries(raw)[TaskName.FACES][TypeName.DETECTION].options.min_score == 0.3


def test_languages_of_ocr_share_a_detector_and_differ_in_the_recogniser() -> None:
    def names(name: str) -> list[str]:
        both = json.dumps({"ocr": {kind: {"modelName": name} for kind in ("detection", "recognition")}})
        types = parse_entries(both)[TaskName.OCR]
        return [types[kind].part.name for kind in (TypeName.DETECTION, TypeName.RECOGNITION)]

    assert names("LATIN__PP-OCRv5_mobile") == ["PP-OCRv5_mobile", "LATIN__PP-OCRv5_mobile"]
    assert names("CH__PP-OCRv5_server") == ["PP-OCRv5_server"] * 2
    for name in ("PP-OCRv6_small", "LATIN__PP-OCRv6_small", "EL__PP-OCRv5_server", "CH__mine"):
        assert names(name) == [name] * 2


def test_unknown_options_are_ignored_and_numbers_may_be_strings() -> None:
    options = '{"scoreMode": "slow", "minScore": "0.25", "maxResolution": "960"}'
    raw = f'{{"ocr": {{"detection": {{"modelName": "m", "options": {options}}}}}}}'
    found = parse_entries(raw)[TaskName.OCR][TypeName.DETECTION].options
    assert found.model_dump() == {"min_score": 0.25, "max_resolution": 960}


@pytest.mark.parametrize("raw", ["{}", '{"clip": {}}', '{"clip": {}, "ocr": {}}'])
def test_whoever_asks_for_nothing_is_told_so(raw: str) -> None:
    with pytest.raises(InvalidEntries, match=r"^No model task requested\.$"):
        parse_entries(raw)


@pytest.mark.parametrize(
    "raw",
    [
        *("not json", '{"clip":', "[]", "5", "null", '{"clip": []}', '{"clip": {"visual": {}}}'),
        *('{"clip": {"visual": null}}', '{"clip": {"visual": []}}', '{"clip": {"visual": {"modelName": 5}}}'),
        '{"clip": {"visual": {"modelName": ""}}}',
        '{"clip": {"visual": {"modelName": "a/.."}}}',
        '{"clip": {"visual": {"modelName": "a", "options": null}}}',
        '{"clip": {"visual": {"modelName": "a", "options": []}}}',
        '{"clip": {"detection": {"modelName": "a"}}}',
        '{"clup": {"visual": {"modelName": "a"}}}',
        '{"clip": {"textual": {"modelName": "a", "options": {"language": 5}}}}',
        '{"clip": {"visual": {"modelName": "a", "options": "fast"}}}',
        '{"clip": {"visual": {"modelName": "a", "foo": 1}}}',
        '{"ocr": {"detection": {"modelName": "a", "options": {"minScore": "high"}}}}',
        '{"ocr": {"detection": {"modelName": "a", "options": {"minScore": "nan"}}}}',
        '{"ocr": {"detection": {"modelName": "a", "options": {"minScore": NaN}}}}',
        '{"ocr": {"detection": {"modelName": "a", "options": {"minScore": 1e300}}}}',
        '{"ocr": {"detection": {"modelName": "a", "options": {"maxResolution": 0}}}}',
    ],
)
def test_malformed_entries_are_refused(raw: str) -> None:
    with pytest.raises(InvalidEntries):
        parse_entries(raw)


def test_the_fault_is_named() -> None:
    with pytest.raises(InvalidEntries, match=r"ocr detection: minScore: .*number"):
        parse_entries('{"ocr": {"detection": {"modelName": "a", "options": {"minScore": "high"}}}}')


def test_recognition_needs_detection() -> None:
    with pytest.raises(BadInput, match="depends on the output of detection"):
        parse_entries('{"facial-recognition": {"recognition": {"modelName": "buffalo_s"}}}')


@pytest.mark.parametrize(
    ("sent", "cleaned"),
    [
        ("immich-app/ViT-B-32__openai", "ViT-B-32__openai"),
        ("a.b:c\\d", "ab_c_d"),
        ("../../etc/passwd", "passwd"),
    ],
)
def test_a_model_name_is_cleaned_as_immich_does(sent: str, cleaned: str) -> None:
    assert clean_name(sent) == cleaned


@pytest.mark.parametrize("name", ["x" * 129, "é" * 65, "", " ", ".."])
def test_a_name_that_no_folder_can_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidEntries):
        parse_entries(json.dumps({"clip": {"visual": {"modelName": name}}}))


def test_a_payload_of_the_wrong_kind_is_refused() -> None:
    entries = parse_entries(VISUAL)
    check_payload(entries, Payload(image=b"x"))
    with pytest.raises(BadInput, match="a text was sent"):
        check_payload(entries, Payload(text="dog"))
