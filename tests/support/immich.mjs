// What an Immich server does with its machine-learning URLs: Node's own fetch, FormData and Blob; the first that answers.
// usage: node immich.mjs '{"urls": [...], "entries": {...}, "image": "path" | "text": "..."}'
import { readFile } from 'node:fs/promises';

const { urls, entries, image, text } = JSON.parse(process.argv[2]);
for (const url of urls) {
  const form = new FormData();
  form.append('entries', JSON.stringify(entries));
  if (image) form.append('image', new Blob([await readFile(image)]));
  else form.append('text', text);
  try {
    const ping = await (await fetch(new URL('ping', url), { signal: AbortSignal.timeout(2000) })).text();
    const response = await fetch(new URL('predict', url), { method: 'POST', body: form });
    const body = response.ok ? await response.json() : null;
    console.log(JSON.stringify({ url: response.url, ping, status: response.status, body }));
    if (response.ok) break;
  } catch (error) {
    console.log(JSON.stringify({ url, error: error.cause?.code ?? error.name }));
  }
}
