// @ts-check
/** What was dropped on the page: files, folders, or a result of the studio. */

const RESULT_ADDRESS = /\/api\/image-studio\/images\/([\w-]+)/;

/**
 * The id of the result that was dragged here from this page, "" where it was something else.
 * @param {string} link the dragged address
 * @param {string} origin of this page
 * @returns {string}
 */
export function findDraggedResult(link, origin) {
  const match = RESULT_ADDRESS.exec(link);
  return match && link.startsWith(origin) ? match[1] : "";
}

/**
 * List all files that were dropped, those in folders too.
 * @param {DataTransfer} transfer is empty once the event is over: call this before anything is awaited
 * @returns {Promise<File[]>}
 */
export async function listDroppedFiles(transfer) {
  const files = [...transfer.files];
  const entries = [...transfer.items].map((item) => (item.kind === "file" ? item.webkitGetAsEntry() : null));
  if (!entries.some((entry) => entry?.isDirectory)) return files;
  const found = [];
  for (const entry of entries) if (entry) found.push(...(await listFiles(entry)));
  return found;
}

/**
 * @param {FileSystemEntry} entry
 * @returns {Promise<File[]>}
 */
async function listFiles(entry) {
  if (entry.isFile) {
    const file = /** @type {FileSystemFileEntry} */ (entry);
    return [await new Promise((resolve, reject) => file.file(resolve, reject))];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const files = [];
  for (;;) {
    const some = await readSomeEntries(reader);
    if (!some.length) return files;
    for (const one of some) files.push(...(await listFiles(one)));
  }
}

/**
 * Read the next entries: a reader returns at most a hundred at a time, and none at the end.
 * @param {FileSystemDirectoryReader} reader
 * @returns {Promise<FileSystemEntry[]>}
 */
function readSomeEntries(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}
