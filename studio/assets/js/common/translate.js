// @ts-check
/** Texts of these scripts in the language of the visitor; studio/serving/page_language.py sends them. */

/**
 * Look a text up; it stays English where the language has none for it.
 * @param {string} text as it stands in English, with the names of values in braces
 * @param {Record<string, string | number>} [values] what stands in place of the names
 * @returns {string}
 */
export function translate(text, values = {}) {
  const texts = globalThis.easelTexts ?? {};
  const shown = Object.hasOwn(texts, text) ? texts[text] : text;
  return shown.replace(/\{(\w+)\}/g, (whole, name) => String(Object.hasOwn(values, name) ? values[name] : whole));
}
