"""Smart search: a picture or a text → its CLIP vector."""

from collections.abc import Mapping

from adapter.engine import Engine
from adapter.protocol import Entry, Payload, TypeName
from adapter.tasks import Answer, ImageSize, vector_text
from adapter.triton import bytes_tensor


async def answer(engine: Engine, types: Mapping[TypeName, Entry], payload: Payload) -> Answer:
    """The vector of the payload, by the model of its kind."""
    if entry := types.get(TypeName.VISUAL):
        return await _encode_image(engine, entry, payload)
    return await _encode_text(engine, types[TypeName.TEXTUAL], payload)


async def _encode_image(engine: Engine, entry: Entry, payload: Payload) -> Answer:
    assert payload.image is not None
    outputs = await engine.infer(entry.part, {"image": bytes_tensor(payload.image)})
    height, width = map(int, outputs["image_size"][0])
    return Answer(vector_text(outputs["embedding"][0]), ImageSize(height, width))


async def _encode_text(engine: Engine, entry: Entry, payload: Payload) -> Answer:
    assert payload.text is not None
    language = entry.options.language or ""
    outputs = await engine.infer(
        entry.part,
        {"text": bytes_tensor(payload.text.encode()), "language": bytes_tensor(language.encode())},
    )
    return Answer(vector_text(outputs["embedding"][0]))
