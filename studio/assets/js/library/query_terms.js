// @ts-check
/**
 * The query as it is typed: split into terms, and terms put in or taken out. What a term means is the studio's matter
 * (`GET /assets`); here they are only told apart, so that each can be shown as a chip.
 */

/**
 * @typedef {object} Term
 * @property {number} from where it begins in the query
 * @property {number} to
 * @property {string} key such as "model", "" for words
 * @property {string} value without quotes
 * @property {boolean} isExcluded it begins with "-"
 */

const TERM = /(?:"[^"]*"?|[^\s"])+/g;
const WORD = /^[\p{L}\p{N}]{2,}$/u; // that may go on: the studio asks for two letters at least
const PARTS = /^(-?)(?:([a-z]+):)?([^]*)$/i;

/** What a key is called on a chip. @type {Record<string, string>} */
const LABELS = {
  model: "Model",
  lora: "LoRA",
  tag: "Tag",
  collection: "Collection",
  task: "Task",
  source: "Source",
  kind: "Kind",
  seed: "Seed",
  rating: "Rating",
  size: "Size",
  aspect: "Aspect",
  date: "Date",
  since: "Since",
  until: "Until",
  is: "",
  meaning: "Meaning",
};

/** What the values of `is:` are called on a chip. @type {Record<string, string>} */
const STATES = { favourite: "Favourites", imported: "Imported", made: "Made here", unused: "Never used" };

/**
 * Split a query into its terms; a phrase in quotes is one.
 * @param {string} query
 * @returns {Term[]}
 */
export function parseTerms(query) {
  return [...query.matchAll(TERM)].map((match) => {
    const [, minus = "", name = "", rest = ""] = PARTS.exec(match[0]) ?? [];
    const isKey = Object.hasOwn(LABELS, name.toLowerCase());
    const value = isKey || !name ? rest : `${name}:${rest}`;
    return {
      from: match.index,
      to: match.index + match[0].length,
      key: isKey ? name.toLowerCase() : "",
      value: value.replaceAll('"', ""),
      isExcluded: Boolean(minus),
    };
  });
}

/**
 * Write a term as it is typed; a value with spaces is put in quotes.
 * @param {string} key
 * @param {string} value
 * @returns {string}
 */
export function formatTerm(key, value) {
  const plain = value.replaceAll('"', "");
  return `${key}:${/[\s:]/.test(plain) ? `"${plain}"` : plain}`;
}

/**
 * @param {string} query
 * @param {string} key
 * @param {string} value
 * @returns {boolean} whether the query asks for `key:value`
 */
export function hasTerm(query, key, value) {
  return parseTerms(query).some((term) => isSameTerm(term, key, value));
}

/**
 * Take `key:value` out of the query where it stands, else add it.
 * @param {string} query
 * @param {string} key
 * @param {string} value
 * @returns {string}
 */
export function toggleTerm(query, key, value) {
  const kept = dropTerms(query, (term) => isSameTerm(term, key, value));
  return hasTerm(query, key, value) ? kept : joinWords(kept, formatTerm(key, value));
}

/**
 * Ask for `key:value` instead of any other value of `key`; "" asks for none.
 * @param {string} query
 * @param {string} key
 * @param {string} value
 * @returns {string}
 */
export function setTerm(query, key, value) {
  const kept = dropTerms(query, (term) => term.key === key && !term.isExcluded);
  return value ? joinWords(kept, formatTerm(key, value)) : kept;
}

/**
 * @param {string} query
 * @param {number} index of the term
 * @returns {string} the query without it
 */
export function removeTerm(query, index) {
  return dropTerms(query, (_, place) => place === index);
}

/**
 * Ask for words that begin like those of the query.
 * @param {string} query
 * @returns {string} "" where it has no word that could go on
 */
export function loosenWords(query) {
  let isLoosened = false;
  const words = parseTerms(query).map((term) => {
    const text = query.slice(term.from, term.to);
    if (!WORD.test(text)) return text;
    isLoosened = true;
    return `${text}*`;
  });
  return isLoosened ? words.join(" ") : "";
}

/**
 * What stands on a term's chip.
 * @param {Term} term
 * @returns {string}
 */
export function describeTerm(term) {
  const state = term.key === "is" ? (STATES[term.value] ?? term.value) : "";
  const label = LABELS[term.key] ?? "";
  const text = state || (label ? `${label}: ${term.value}` : term.value);
  return term.isExcluded ? `Not ${text}` : text;
}

/**
 * @param {Term} term
 * @param {string} key
 * @param {string} value
 * @returns {boolean}
 */
function isSameTerm(term, key, value) {
  return term.key === key && !term.isExcluded && term.value.toLowerCase() === value.replaceAll('"', "").toLowerCase();
}

/**
 * @param {string} query
 * @param {(term: Term, index: number) => boolean} isDropped
 * @returns {string} the other terms, as they were typed
 */
function dropTerms(query, isDropped) {
  const kept = parseTerms(query).filter((term, index) => !isDropped(term, index));
  return kept.map((term) => query.slice(term.from, term.to)).join(" ");
}

/**
 * @param {...string} words
 * @returns {string}
 */
function joinWords(...words) {
  return words.filter(Boolean).join(" ");
}
