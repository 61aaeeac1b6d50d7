// @ts-check
/** The pads of the page by name, those who follow their images, and where a pasted image goes. */

/**
 * @typedef {object} Pad
 * @property {HTMLElement} root
 * @property {() => string[]} getImages hashes of the images that lie on it
 * @property {(files: File[]) => void} addFiles
 */

/** @typedef {(hashes: string[]) => void} Listener */

/** @type {Map<string, Pad>} */
const pads = new Map();
/** @type {Map<string, Map<HTMLElement, Listener>>} */
const followers = new Map();

/**
 * @param {string} name
 * @param {Pad} pad
 */
export function registerPad(name, pad) {
  pads.set(name, pad);
}

/**
 * Call `listener` with the images of a pad now and at every change, while `node` is on the page.
 * @param {string} name of the pad
 * @param {HTMLElement} node
 * @param {Listener} listener
 */
export function followImages(name, node, listener) {
  const listeners = followers.get(name) ?? new Map();
  followers.set(name, listeners.set(node, listener));
  listener(pads.get(name)?.getImages() ?? []);
}

/**
 * Tell the followers of a pad which images lie on it.
 * @param {string} name
 * @param {string[]} hashes
 */
export function announceImages(name, hashes) {
  const listeners = followers.get(name) ?? new Map();
  for (const [node, listener] of listeners) {
    if (node.isConnected) listener(hashes);
    else listeners.delete(node);
  }
}

/** Let pasted images go to a pad. */
export function startPaste() {
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    const pad = files.length ? choosePad() : undefined;
    if (!pad) return;
    event.preventDefault();
    pad.addFiles(files);
  });
}

/**
 * The pad that has the focus, else the first empty one that is visible, else the first visible one.
 * @returns {Pad | undefined}
 */
function choosePad() {
  const visible = [...pads.values()].filter(({ root }) => root.isConnected && root.offsetParent);
  return (
    visible.find(({ root }) => root.contains(document.activeElement)) ??
    visible.find((pad) => !pad.getImages().length) ??
    visible[0]
  );
}
