// @ts-check
/** What the panel of users says about them. */

/**
 * @typedef {{imagesToday: number, diskBytes: number, jobs: number, spentDay: number, spentMonth: number}} Usage
 * @typedef {{name: string, role: string, disabled: boolean, limits: Record<string, number | string>,
 *   applied: Record<string, number | string>, usage: Usage, rights: string[]}} User
 * @typedef {{id: string, user: string, begun: number, seen: number, client: string, address: string, own: boolean}}
 *   Session
 * @typedef {{id: string, user: string, thumbnail: string, appeal: string,
 *   verdict: {category: string, stage: string, by: string, score: number, limit: number}}} HeldImage
 * @typedef {{time: string, event: string, user: string, [fact: string]: unknown}} AuditEntry
 */

/** @type {Record<string, string>} */
export const ROLES = { administrator: "Administrator", member: "Member", guest: "Guest" };

/**
 * @param {Pick<User, "usage" | "applied">} user
 * @returns {string}
 */
export function describeUsage({ usage, applied }) {
  const { imagesToday, diskBytes, jobs, spentMonth } = usage;
  const ofImages = applied.images_per_day ? ` of ${applied.images_per_day}` : "";
  const ofDisk = applied.disk_gb_per_user ? ` of ${applied.disk_gb_per_user}` : "";
  return (
    `${imagesToday}${ofImages} images today · ${(diskBytes / 2 ** 30).toFixed(2)}${ofDisk} GiB` +
    ` · ${jobs} ${jobs === 1 ? "job" : "jobs"} · $${spentMonth.toFixed(2)} this month`
  );
}

/**
 * @param {Record<string, number | string>} limits
 * @returns {string}
 */
export function describeLimits(limits) {
  return Object.entries(limits)
    .map(([name, value]) => `${name}=${value}`)
    .join(", ");
}

/**
 * Read what `describeLimits` writes; values stay text, which the studio checks.
 * @param {string} text
 * @returns {Record<string, string>}
 */
export function parseLimits(text) {
  const parts = text.split(",").filter((part) => part.trim());
  return Object.fromEntries(
    parts.map((part) => {
      const [name, ...value] = part.split("=");
      return [name.trim(), value.join("=").trim()];
    }),
  );
}

/**
 * @param {AuditEntry} entry
 * @returns {string}
 */
export function describeEntry(entry) {
  const facts = Object.entries(entry).filter(([name]) => !["time", "user", "event"].includes(name));
  const told = facts.map(([name, value]) => {
    const shown = value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
    return `${name}: ${shown}`;
  });
  return [entry.event.replaceAll("_", " "), told.join(", ")].filter(Boolean).join(" – ");
}

/**
 * @param {Pick<HeldImage, "verdict" | "appeal">} image
 * @returns {string}
 */
export function describeVerdict({ verdict, appeal }) {
  const { by, category, stage, score, limit } = verdict;
  const found = `${by} finds ${category} in the ${stage} (${score.toFixed(2)}, the limit is ${limit.toFixed(2)}).`;
  return appeal ? `${found} Appeal: ${appeal}` : found;
}

/**
 * @param {number} seconds since the epoch
 * @returns {string}
 */
export function formatTime(seconds) {
  return new Date(seconds * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}
